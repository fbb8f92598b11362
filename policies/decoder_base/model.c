#include "policies/decoder_base/model.h"

#include <string.h>

#include "policies/transformer/llama_text.h"

/* ---- the end of a turn ---- */

/* What the template puts behind an answer, as text. */
static keel_status ending_text(const keel_decoder_base *model, keel_arena *arena, const char **out,
                               keel_err *err) {
    static const char answer[] = "Answer";
    const keel_llama *llama = model->llama;
    cJSON *messages = cJSON_CreateArray();
    const bool good = messages && keel_llama_add_message(messages, "user", "Question") &&
                      keel_llama_add_message(messages, "assistant", answer);
    const keel_chat_request request = keel_llama_request(llama, messages, false);
    const char *text;
    keel_span *span;
    size_t n = 0;
    keel_status status = good ? keel_chat_template_spans(llama->chat, &request, arena, &text, &span, &n, err)
                              : keel_nomem(err, "decoder base");
    cJSON_Delete(messages);
    if (status != KEEL_OK) return status;
    const char *said = n > 0 ? strstr(text + span[n - 1].from, answer) : NULL;
    if (!said)
        return keel_fail(err, KEEL_E_INVALID, "decoder base",
                         "its chat template does not write what the assistant says");
    const size_t from = (size_t)(said - text) + strlen(answer);
    char *ending = keel_arena_calloc(arena, span[n - 1].to > from ? span[n - 1].to - from + 1 : 1, 1);
    if (!ending) return keel_nomem(err, "decoder base");
    if (span[n - 1].to > from) memcpy(ending, text + from, span[n - 1].to - from);
    *out = ending;
    return KEEL_OK;
}

static bool is_stop(const keel_llama *llama, int32_t id) {
    for (size_t i = 0; i < llama->config.n_eos; i++)
        if (llama->config.eos[i] == id) return true;
    return false;
}

/* Up to the first token that ends a text: after it nothing is written. Where the template has none, the
 * model's own end. */
static keel_status find_ending(keel_decoder_base *model, keel_err *err) {
    const keel_llama *llama = model->llama;
    const char *text = "";
    keel_tokens tokens;
    KEEL_TRY(ending_text(model, &model->arena, &text, err));
    KEEL_TRY(keel_tokenizer_encode(llama->tokenizer, text, true, &model->arena, &tokens, err));
    for (size_t i = 0; i < tokens.count; i++)
        if (is_stop(llama, tokens.id[i]) || keel_tokenizer_special(llama->tokenizer, tokens.id[i])) {
            model->ending = (keel_tokens){i + 1, tokens.id};
            return KEEL_OK;
        }
    int32_t *end = keel_arena_alloc(&model->arena, sizeof *end);
    if (!end) return keel_nomem(err, "decoder base");
    if (llama->config.n_eos > 0) *end = llama->config.eos[0];
    model->ending = llama->config.n_eos > 0 ? (keel_tokens){1, end} : tokens;
    return KEEL_OK;
}

/* ---- life ---- */

static keel_status list_special(keel_decoder_base *model, keel_err *err) {
    const keel_tokenizer *tokenizer = model->llama->tokenizer;
    const size_t size = keel_tokenizer_size(tokenizer);
    const char **list;
    for (size_t id = 0; id < size; id++) model->n_special += keel_tokenizer_special(tokenizer, (int32_t)id);
    list = keel_arena_calloc(&model->arena, model->n_special + 1, sizeof *list);
    if (!list) return keel_nomem(err, "decoder base");
    for (size_t id = 0, n = 0; id < size; id++)
        if (keel_tokenizer_special(tokenizer, (int32_t)id))
            list[n++] = keel_tokenizer_token(tokenizer, (int32_t)id);
    model->special = list;
    return KEEL_OK;
}

static void count_features(keel_decoder_base *model) {
    const keel_base *beside = model->base.beside;
    const bool sets = model->base.space == KEEL_SPACE_CANDIDATES;
    model->base.state_dim = beside ? beside->state_dim : 1;
    model->base.candidate_dim = sets ? (beside ? beside->candidate_dim : 1) + keel__decoder_says(model) : 0;
}

keel_status keel__decoder_base_fit(keel_decoder_base *model, keel_err *err) {
    enum { LEAST = 32 };
    const size_t positions = model->llama->config.positions,
                 taken = model->llama->n_virtual + model->ending.count + model->longest_name;
    if (taken + LEAST > positions)
        return keel_fail(err, KEEL_E_INVALID, "decoder base",
                         "the model has %zu positions: no room beside %zu virtual tokens", positions,
                         model->llama->n_virtual);
    const size_t half = (positions - taken) / 2;
    if ((size_t)model->config.candidate_tokens > half) model->config.candidate_tokens = (int64_t)half;
    return KEEL_OK;
}

static keel_status find_longest_name(keel_decoder_base *model, keel_err *err) {
    keel_arena arena = {0};
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < model->base.n_acts && status == KEEL_OK; i++) {
        keel_tokens tokens;
        keel_arena_reset(&arena);
        status =
            keel_tokenizer_encode(model->llama->tokenizer, model->base.acts[i], false, &arena, &tokens, err);
        if (status == KEEL_OK && tokens.count + 1 > model->longest_name)
            model->longest_name = tokens.count + 1;
    }
    keel_arena_free(&arena);
    return status;
}

static keel_status make(keel_decoder_base *model, const keel_base_space *space, keel_err *err) {
    model->base.kind = &keel_decoder_base_kind;
    model->base.config = &model->config.common;
    model->scale = 1;
    KEEL_TRY(keel_base_space_set(&model->base, space, &model->arena, err));
    if (!model->llama->chat)
        KEEL_TRY(
            keel_chat_template_parse(&model->llama->chat, keel_chat_template_chatml, "chat template", err));
    KEEL_TRY(list_special(model, err));
    KEEL_TRY(find_ending(model, err));
    KEEL_TRY(find_longest_name(model, err));
    KEEL_TRY(keel__decoder_base_fit(model, err));
    count_features(model);
    return KEEL_OK;
}

keel_status keel__decoder_base_make(keel_decoder_base **out, const struct keel_decoder_base_config *config,
                                    keel_llama *llama, const keel_base_space *space, keel_err *err) {
    keel_decoder_base *model = keel_calloc(1, sizeof *model);
    if (!model) {
        keel_llama_close(llama);
        return keel_nomem(err, "decoder base");
    }
    model->config = *config;
    model->llama = llama;
    model->split = "";
    keel_status status = make(model, space, err);
    if (status == KEEL_OK)
        *out = model;
    else
        keel__decoder_base_close(&model->base);
    return status;
}

keel_status keel__decoder_base_join(keel_decoder_base *model, keel_base *beside, keel_err *err) {
    KEEL_TRY(keel_beside_join(&model->base, beside, err));
    count_features(model);
    return KEEL_OK;
}

void keel__decoder_base_close(keel_base *base) {
    keel_decoder_base *model = (keel_decoder_base *)base;
    if (!model) return;
    keel_llama_close(model->llama);
    keel_arena_free(&model->arena);
    keel_free(model);
}
