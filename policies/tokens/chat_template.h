/* Chat templates: from the messages of a conversation to the text that a model reads, by the template in
 * Jinja that its folder brings (chat_template in tokenizer_config.json), byte for byte as transformers
 * renders it. A template is hostile until checked: steps, depth, memory and output are bounded
 * (policies/tokens/jinja.h). */
#ifndef KEEL_POLICIES_TOKENS_CHAT_TEMPLATE_H
#define KEEL_POLICIES_TOKENS_CHAT_TEMPLATE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

typedef struct keel_chat_template keel_chat_template; /* immutable, thread-safe */

/* source is copied; name: what errors call it, with the line. */
keel_status keel_chat_template_parse(keel_chat_template **out, const char *source, const char *name,
                                     keel_err *err);
void keel_chat_template_close(keel_chat_template *chat); /* NULL is harmless */

typedef struct keel_chat_request {
    const cJSON *messages;  /* [{"role", "content", "tool_calls", ...}, ...] */
    const cJSON *tools;     /* [{"type": "function", "function": {...}}, ...]; NULL: none */
    bool generation_prompt; /* ends with what the assistant's answer begins with */
    const char *bos, *eos;  /* texts of the model's marks; NULL: none */
    const cJSON *extra;     /* further variables of the template, by name; NULL: none */
    int64_t now;            /* seconds since 1970 in UTC, for strftime_now */
} keel_chat_request;

/* The text, in the arena. KEEL_E_INVALID where the template itself refuses (raise_exception), with its words;
 * KEEL_E_UNSUPPORTED, KEEL_E_PARSE with the line elsewhere. */
keel_status keel_chat_template_render(const keel_chat_template *chat, const keel_chat_request *request,
                                      keel_arena *arena, const char **out, keel_err *err);

typedef struct keel_span {
    size_t from, to; /* bytes */
} keel_span;

/* The text, and which bytes of it the assistant says: what {% generation %} encloses, or, where the template
 * has none, what each assistant's message adds to the text that asks for it. The mark that ends the turn
 * belongs to it. Refused with KEEL_E_UNSUPPORTED where that cannot be told: a text of the first messages is
 * not how the text of more begins, or the template drops a part of what the assistant says. */
keel_status keel_chat_template_spans(const keel_chat_template *chat, const keel_chat_request *request,
                                     keel_arena *arena, const char **text, keel_span **spans, size_t *n,
                                     keel_err *err);

/* ChatML, with the assistant's part marked: for models of our own. */
extern const char keel_chat_template_chatml[];

#endif
