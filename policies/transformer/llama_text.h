/* Texts as a decoder reads them: messages by its chat template, and tokens. */
#ifndef KEEL_POLICIES_TRANSFORMER_LLAMA_TEXT_H
#define KEEL_POLICIES_TRANSFORMER_LLAMA_TEXT_H

#include "policies/transformer/llama.h"

/* Adds a message to the list; false: no memory, which text NULL says too. */
bool keel_llama_add_message(cJSON *messages, const char *role, const char *text);
/* What its chat template is asked for, with the texts of its marks; "" for those that it has not. */
keel_chat_request keel_llama_request(const keel_llama *llama, const cJSON *messages, bool generation);
/* Tokens of a text, with what the decoder wants before it unless that stands there; in the arena. marks: a
 * special token that is written out is that token. */
keel_status keel_llama_read_text(const keel_llama *llama, const char *text, bool marks, keel_arena *arena,
                                 keel_tokens *out, keel_err *err);

#endif
