#include "policies/tokens/chat_template.h"

#include <string.h>

#include "core/json.h"
#include "policies/tokens/jinja.h"

struct keel_chat_template {
    const char *source, *name;
    const keel__jinja_node *parsed;
    keel_arena arena; /* owns the rest */
};

const char keel_chat_template_chatml[] =
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message['role'] + '\\n' }}\n"
    "    {%- if message['role'] == 'assistant' %}\n"
    "        {%- generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}\n"
    "    {%- else %}\n"
    "        {{- message['content'] + '<|im_end|>' }}\n"
    "    {%- endif %}\n"
    "    {{- '\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}\n";

keel_status keel_chat_template_parse(keel_chat_template **out, const char *source, const char *name,
                                     keel_err *err) {
    keel_chat_template *made = keel_calloc(1, sizeof *made);
    if (!made) return keel_nomem(err, name);
    made->source = keel_arena_strdup(&made->arena, source);
    made->name = keel_arena_strdup(&made->arena, name);
    keel_status status = made->source && made->name
                             ? keel__jinja_parse(&made->parsed, made->source, made->name, &made->arena, err)
                             : keel_nomem(err, name);
    if (status == KEEL_OK)
        *out = made;
    else
        keel_chat_template_close(made);
    return status;
}

void keel_chat_template_close(keel_chat_template *chat) {
    if (!chat) return;
    keel_arena_free(&chat->arena);
    keel_free(chat);
}

/* ---- rendering ---- */

/* A request of the first n messages. */
typedef struct part {
    const keel_chat_request *of;
    size_t n;
    bool generation_prompt;
} part;

static keel_status set(keel__jinja_budget *on, const keel__jinja_value *to, const char *name,
                       keel__jinja_value v) {
    return keel__jinja_dict_set(on, to, keel__jinja_text(name), v);
}

/* A message as transformers hands it on: without what is null, its reasoning under each of the names. */
static keel_status make_message(keel__jinja_budget *on, const cJSON *message, keel__jinja_value *out) {
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    const keel__jinja_value thinking = keel__jinja_text("thinking");
    const cJSON *item, *reasoning = NULL;
    keel__jinja_value v;
    if (!cJSON_IsObject(message))
        return keel_fail(on->err, KEEL_E_INVALID, on->name, "messages: expected a list of objects");
    KEEL_TRY(keel__jinja_dict_make(on, JINJA_DICT, out));
    for (int i = 0; i < 3 && (!reasoning || cJSON_IsNull(reasoning)); i++)
        reasoning = keel_json_get(message, names[i]);
    const bool reasons = reasoning && !cJSON_IsNull(reasoning);
    if (reasons) KEEL_TRY(keel__jinja_from_json(on, reasoning, &v));
    if (reasons) KEEL_TRY(keel__jinja_dict_set(on, out, thinking, v));
    cJSON_ArrayForEach (item, message) {
        if (cJSON_IsNull(item)) continue;
        KEEL_TRY(keel__jinja_from_json(on, item, &v));
        KEEL_TRY(set(on, out, item->string, v));
    }
    if (reasons) KEEL_TRY(keel__jinja_from_json(on, reasoning, &v));
    return reasons ? set(on, out, names[0], v) : KEEL_OK;
}

static keel_status make_messages(keel__jinja_budget *on, const part *p, keel__jinja_value *out) {
    const cJSON *message;
    keel__jinja_value v;
    if (!cJSON_IsArray(p->of->messages))
        return keel_fail(on->err, KEEL_E_INVALID, on->name, "messages: expected a list");
    KEEL_TRY(keel__jinja_list_make(on, JINJA_LIST, out));
    cJSON_ArrayForEach (message, p->of->messages) {
        if (out->list->n == p->n) break;
        KEEL_TRY(make_message(on, message, &v));
        KEEL_TRY(keel__jinja_list_add(on, out, v));
    }
    return KEEL_OK;
}

/* What transformers hands to a template. */
static keel_status make_variables(keel__jinja_budget *on, const part *p, keel__jinja_value *out) {
    const keel_chat_request *of = p->of;
    keel__jinja_value messages, tools, v;
    const cJSON *item;
    KEEL_TRY(keel__jinja_dict_make(on, JINJA_DICT, out));
    KEEL_TRY(make_messages(on, p, &messages));
    KEEL_TRY(keel__jinja_from_json(on, of->tools, &tools));
    KEEL_TRY(set(on, out, "messages", messages));
    KEEL_TRY(set(on, out, "tools", tools));
    KEEL_TRY(set(on, out, "documents", keel__jinja_text(NULL)));
    KEEL_TRY(set(on, out, "add_generation_prompt", keel__jinja_bool(p->generation_prompt)));
    if (of->bos) KEEL_TRY(set(on, out, "bos_token", keel__jinja_text(of->bos)));
    if (of->eos) KEEL_TRY(set(on, out, "eos_token", keel__jinja_text(of->eos)));
    cJSON_ArrayForEach (item, of->extra) {
        if (!item->string) return keel_fail(on->err, KEEL_E_INVALID, on->name, "extra: expected an object");
        KEEL_TRY(keel__jinja_from_json(on, item, &v));
        KEEL_TRY(set(on, out, item->string, v));
    }
    return KEEL_OK;
}

typedef struct rendered {
    const char *text;
    size_t length;
    keel_span *span; /* of {% generation %} */
    size_t n;
    bool hidden;
} rendered;

/* The text and its spans, in the arena. */
static keel_status keep(const keel__jinja_output *from, keel_arena *arena, const char *name, rendered *out,
                        keel_err *err) {
    *out = (rendered){keel_arena_strndup(arena, from->text.data ? from->text.data : "", from->text.length),
                      from->text.length, keel_arena_alloc(arena, (from->n + 1) * sizeof *out->span), from->n,
                      from->hidden};
    if (!out->text || !out->span) return keel_nomem(err, name);
    for (size_t i = 0; i < from->n; i++) out->span[i] = (keel_span){from->mark[i].from, from->mark[i].to};
    return KEEL_OK;
}

enum { STEPS_OF_JSON = 10 * 1000 * 1000 };

static keel_status render(const keel_chat_template *chat, const part *p, keel_arena *arena, rendered *out,
                          keel_err *err) {
    keel_arena scratch = {0};
    keel__jinja_output output = {0};
    keel__jinja_budget on = {&scratch, STEPS_OF_JSON, chat->name, 1, err};
    keel__jinja_value variables;
    keel_status status = make_variables(&on, p, &variables);
    if (status == KEEL_OK)
        status = keel__jinja_render(chat->parsed, chat->name, &variables, p->of->now, &scratch, &output, err);
    if (status == KEEL_OK) status = keep(&output, arena, chat->name, out, err);
    keel_buf_free(&output.text);
    keel_arena_free(&scratch);
    return status;
}

keel_status keel_chat_template_render(const keel_chat_template *chat, const keel_chat_request *request,
                                      keel_arena *arena, const char **out, keel_err *err) {
    rendered whole;
    KEEL_TRY(render(chat, &(part){request, SIZE_MAX, request->generation_prompt}, arena, &whole, err));
    *out = whole.text;
    return KEEL_OK;
}

/* ---- what the assistant says ---- */

static bool is_assistant(const cJSON *message) {
    const cJSON *role = keel_json_get(message, "role");
    return cJSON_IsString(role) && strcmp(role->valuestring, "assistant") == 0;
}

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Whether the text without the blanks around it stands in the span. */
static bool holds(const rendered *whole, const keel_span *span, const char *text) {
    size_t n = strlen(text);
    while (n > 0 && is_blank(text[n - 1])) n--;
    while (n > 0 && is_blank(*text)) text++, n--;
    for (size_t at = span->from; n > 0 && at + n <= span->to; at++)
        if (memcmp(whole->text + at, text, n) == 0) return true;
    return n == 0;
}

/* Whether what is a string there stands in the span; anything else does. */
static bool holds_string(const rendered *whole, const keel_span *span, const cJSON *text) {
    return !cJSON_IsString(text) || holds(whole, span, text->valuestring);
}

/* Its words, part by part, its reasoning, the functions that it calls. */
static bool holds_message(const rendered *whole, const keel_span *span, const cJSON *message) {
    static const char *const keys[] = {"content", "reasoning_content", "thinking", "reasoning"};
    const cJSON *item;
    bool all = true;
    for (int i = 0; i < 4; i++) all &= holds_string(whole, span, keel_json_get(message, keys[i]));
    const cJSON *content = keel_json_get(message, "content");
    if (!cJSON_IsArray(content)) content = NULL;
    cJSON_ArrayForEach (item, content) all &= holds_string(whole, span, keel_json_get(item, "text"));
    cJSON_ArrayForEach (item, keel_json_get(message, "tool_calls")) {
        const cJSON *function = keel_json_get(item, "function");
        all &= holds_string(whole, span, keel_json_get(function ? function : item, "name"));
    }
    return all;
}

/* All that the assistant says must be there: a part that the template leaves out would be unlearned. */
static keel_status check_content(const keel_chat_template *chat, const cJSON *message, size_t k,
                                 const rendered *whole, const keel_span *span, keel_err *err) {
    if (holds_message(whole, span, message)) return KEEL_OK;
    keel_fail(err, KEEL_E_UNSUPPORTED, chat->name,
              "the template leaves out or changes a part of what the assistant says in message %zu", k + 1);
    return keel_hint(err,
                     "take that part (reasoning, calls) out of the message, or a template that keeps it");
}

/* The mark that ends the turn belongs to what the assistant says; blanks behind it do not. */
static void settle_end(const keel_chat_request *request, const rendered *whole, keel_span *span) {
    const size_t n = request->eos ? strlen(request->eos) : 0;
    if (n == 0) return;
    if (span->to + n <= whole->length && memcmp(whole->text + span->to, request->eos, n) == 0) {
        span->to += n;
        return;
    }
    size_t end = span->to;
    while (end > span->from && is_blank(whole->text[end - 1])) end--;
    if (end >= span->from + n && memcmp(whole->text + end - n, request->eos, n) == 0) span->to = end;
}

static bool begins(const rendered *whole, const rendered *with) {
    return whole->length >= with->length && memcmp(whole->text, with->text, with->length) == 0;
}

/* From the text that asks for message k to the text that ends with it. */
static keel_status derive(const keel_chat_template *chat, const keel_chat_request *request, size_t k,
                          const rendered *whole, keel_arena *scratch, keel_span *out, keel_err *err) {
    rendered before, with;
    keel_arena_reset(scratch);
    KEEL_TRY(render(chat, &(part){request, k, true}, scratch, &before, err));
    KEEL_TRY(render(chat, &(part){request, k + 1, false}, scratch, &with, err));
    if (!begins(&with, &before) || !begins(whole, &with)) {
        keel_fail(err, KEEL_E_UNSUPPORTED, chat->name,
                  "what the assistant says in message %zu cannot be told: the text up to it is not how the "
                  "whole text begins",
                  k + 1);
        return keel_hint(err, "mark it in the template with {%% generation %%} and {%% endgeneration %%}");
    }
    *out = (keel_span){before.length, with.length};
    return KEEL_OK;
}

static keel_status derive_all(const keel_chat_template *chat, const keel_chat_request *request,
                              rendered *whole, keel_arena *arena, keel_err *err) {
    keel_arena scratch = {0};
    const cJSON *message;
    keel_status status = KEEL_OK;
    size_t k = 0;
    whole->span =
        keel_arena_alloc(arena, ((size_t)cJSON_GetArraySize(request->messages) + 1) * sizeof *whole->span);
    if (!whole->span) return keel_nomem(err, chat->name);
    cJSON_ArrayForEach (message, request->messages) {
        if (is_assistant(message))
            status = derive(chat, request, k, whole, &scratch, &whole->span[whole->n++], err);
        if (status != KEEL_OK) break;
        k++;
    }
    keel_arena_free(&scratch);
    return status;
}

keel_status keel_chat_template_spans(const keel_chat_template *chat, const keel_chat_request *request,
                                     keel_arena *arena, const char **text, keel_span **spans, size_t *n,
                                     keel_err *err) {
    rendered whole;
    const cJSON *message;
    size_t assistants = 0, k = 0, i = 0;
    KEEL_TRY(render(chat, &(part){request, SIZE_MAX, request->generation_prompt}, arena, &whole, err));
    if (whole.hidden)
        return keel_fail(err, KEEL_E_UNSUPPORTED, chat->name,
                         "{%% generation %%} in a macro or a block whose text is kept");
    if (whole.n == 0) KEEL_TRY(derive_all(chat, request, &whole, arena, err));
    cJSON_ArrayForEach (message, request->messages) assistants += is_assistant(message);
    cJSON_ArrayForEach (message, request->messages) {
        if (is_assistant(message) && assistants == whole.n)
            KEEL_TRY(check_content(chat, message, k, &whole, &whole.span[i++], err));
        k++;
    }
    for (i = 0; i < whole.n; i++) settle_end(request, &whole, &whole.span[i]);
    *text = whole.text;
    *spans = whole.span;
    *n = whole.n;
    return KEEL_OK;
}
