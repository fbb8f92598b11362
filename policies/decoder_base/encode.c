#include "policies/decoder_base/encode.h"

#include <math.h>
#include <string.h>

#include "core/numeric.h"

/* ---- reading ---- */

void keel__decoder_forget(keel_decoder_memory *memory) {
    keel_llama_sequence_close(memory->read);
    keel_free(memory->tokens.id);
    *memory = (keel_decoder_memory){0};
}

static size_t in_common(const keel_tokens *a, const keel_tokens *b) {
    size_t n = 0;
    while (n < a->count && n < b->count && a->id[n] == b->id[n]) n++;
    return n;
}

/* One token at least is read anew: what follows is said by the state after it. */
keel_status keel__decoder_read_prompt(const keel_decoder_base *model, const keel_tokens *prompt,
                                      keel_decoder_memory *memory, keel_pool *pool, keel_arena *scratch,
                                      keel_err *err) {
    size_t kept = in_common(&memory->tokens, prompt);
    if (prompt->count == 0) return keel_fail(err, KEEL_E_INVALID, "decoder base", "a prompt without a token");
    if (kept == prompt->count) kept--;
    int32_t *id = keel_realloc(memory->tokens.id, prompt->count * sizeof *id);
    if (!id) return keel_nomem(err, "decoder base");
    memory->tokens = (keel_tokens){kept, id};
    if (!memory->read) KEEL_TRY(keel_llama_sequence_open(&memory->read, model->llama, NULL, 0, err));
    keel_llama_sequence_cut(memory->read, kept);
    const keel_llama_feed feed = {
        .sequence = memory->read, .id = prompt->id + kept, .n = prompt->count - kept};
    KEEL_TRY(keel_llama_run(model->llama, &feed, 1, pool, scratch, err));
    memcpy(id + kept, prompt->id + kept, (prompt->count - kept) * sizeof *id);
    memory->tokens.count = prompt->count;
    return KEEL_OK;
}

/* ---- likelihoods ---- */

static keel_status open_feeds(const keel_decoder_base *model, const keel_decoder_memory *memory,
                              const keel_tokens *response, size_t n, keel_llama_feed *feed,
                              keel_arena *scratch, keel_err *err) {
    const size_t length = keel_llama_sequence_length(memory->read);
    for (size_t i = 0; i < n; i++) {
        feed[i].id = response[i].id;
        feed[i].n = response[i].count;
        feed[i].log_prob = keel_arena_calloc(scratch, response[i].count + 1, sizeof *feed[i].log_prob);
        if (!feed[i].log_prob) return keel_nomem(err, "decoder base");
        KEEL_TRY(keel_llama_sequence_open(&feed[i].sequence, model->llama, memory->read, length, err));
    }
    return KEEL_OK;
}

/* sum[i]: log-likelihood of response[i] behind what memory holds; prompt its tokens. */
static keel_status score_all(const keel_decoder_base *model, const keel_decoder_memory *memory,
                             const keel_tokens *response, size_t n, keel_pool *pool, keel_arena *scratch,
                             double *sum, keel_err *err) {
    keel_llama_feed *feed = keel_arena_calloc(scratch, n + 1, sizeof *feed);
    if (!feed) return keel_nomem(err, "decoder base");
    keel_status status = open_feeds(model, memory, response, n, feed, scratch, err);
    if (status == KEEL_OK) status = keel_llama_run(model->llama, feed, n, pool, scratch, err);
    for (size_t i = 0; i < n; i++) {
        sum[i] = 0;
        for (size_t t = 0; status == KEEL_OK && t < feed[i].n; t++) sum[i] += (double)feed[i].log_prob[t];
        keel_llama_sequence_close(feed[i].sequence);
    }
    return status;
}

/* The mean log-likelihood of a response without a token. */
enum { SAYS_NOTHING = -20 };

/* mean[i]: log-likelihood of each action by token; in fixed spaces their sum. */
static keel_status score_actions(const keel_decoder_base *model, const keel_conversation *conversation,
                                 const keel_decision *decision, size_t n, keel_decoder_memory *memory,
                                 keel_arena *scratch, double *out, keel_err *err) {
    keel_tokens *response = keel_arena_calloc(scratch, n + 1, sizeof *response);
    keel_decoder_prompt prompt;
    size_t cut;
    if (!response) return keel_nomem(err, "decoder base");
    KEEL_TRY(keel__decoder_prompt(model, conversation, decision->turn, NULL, scratch, &prompt, err));
    KEEL_TRY(keel__decoder_read_prompt(model, &prompt.tokens, memory, NULL, scratch, err));
    for (size_t i = 0; i < n; i++)
        KEEL_TRY(keel__decoder_action(model, decision, i, scratch, &response[i], &cut, err));
    KEEL_TRY(score_all(model, memory, response, n, NULL, scratch, out, err));
    for (size_t i = 0; i < n && model->base.space == KEEL_SPACE_CANDIDATES; i++)
        out[i] = response[i].count ? out[i] / (double)response[i].count : SAYS_NOTHING;
    return KEEL_OK;
}

/* ---- features ---- */

/* Standardised; values are cut at four deviations. */
static float standardise(const keel_decoder_base *model, double x) {
    const double z = (x - (double)model->mean) * (double)model->scale;
    return (float)(z > 4 ? 4 : z < -4 ? -4 : z);
}

static void put_prior(const keel_decoder_base *model, const double *score, const keel_features *beside,
                      size_t n, float *out) {
    const double factor = model->base.space == KEEL_SPACE_CANDIDATES ? model->config.prior_factor : 1;
    for (size_t i = 0; i < n; i++) out[i] = (float)(factor * score[i]);
    keel_log_softmax(out, n, out);
    if (!beside) return;
    for (size_t i = 0; i < n; i++) out[i] = (out[i] + beside->log_prior[i]) / 2;
    keel_log_softmax(out, n, out);
}

static keel_status put_features(const keel_decoder_base *model, const keel_decision *decision,
                                const double *score, size_t n, const keel_features *beside,
                                keel_arena *scratch, keel_features *out, keel_err *err) {
    const keel_base *base = &model->base;
    const bool sets = base->space == KEEL_SPACE_CANDIDATES;
    const size_t rows = sets ? n : 0;
    float *state = keel_arena_calloc(scratch, base->state_dim + 1, sizeof *state);
    float *candidates = keel_arena_calloc(scratch, rows * base->candidate_dim + 1, sizeof *candidates);
    float *log_prior = keel_arena_calloc(scratch, n + 1, sizeof *log_prior);
    if (!state || !candidates || !log_prior) return keel_nomem(err, "decoder base");
    keel_beside_put(beside ? beside->state : NULL, beside ? beside->state_dim : 1, (double)decision->turn,
                    state);
    for (size_t i = 0; i < rows; i++) {
        const keel_candidate *one =
            i < decision->n_candidates ? &decision->candidates[i] : &base->fixed[i - decision->n_candidates];
        float *to = candidates + i * base->candidate_dim;
        const size_t at = keel_beside_put(beside ? beside->candidates + i * beside->candidate_dim : NULL,
                                          beside ? beside->candidate_dim : 1,
                                          one->text ? (double)strlen(one->text) : 0, to);
        if (keel__decoder_says(model)) to[at] = standardise(model, score[i]);
    }
    put_prior(model, score, beside, n, log_prior);
    *out = (keel_features){.state_dim = base->state_dim,
                           .candidate_dim = base->candidate_dim,
                           .n_candidates = rows,
                           .n_actions = n,
                           .state = state,
                           .candidates = sets ? candidates : NULL,
                           .log_prior = log_prior};
    if (keel_all_finite(state, base->state_dim) && keel_all_finite(candidates, rows * base->candidate_dim) &&
        keel_all_finite(log_prior, n))
        return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "decoder base", "its weights give features that are not finite");
}

/* ---- all decisions of all items ---- */

/* work: what one decision takes, and no longer. */
static keel_status encode_item(const keel_decoder_base *model, const keel_base_item *item,
                               keel_decoder_memory *memory, keel_arena *work, keel_arena *scratch,
                               keel_err *err) {
    keel_features *beside = NULL;
    if (model->base.beside) {
        keel_base_item inner = *item;
        inner.features = beside = keel_arena_calloc(scratch, item->n + 1, sizeof *beside);
        if (!beside) return keel_nomem(err, "decoder base");
        KEEL_TRY(keel_base_encode(model->base.beside, &inner, 1, scratch, err));
    }
    for (size_t k = 0; k < item->n; k++) {
        const keel_decision *decision =
            &item->conversation->decisions[item->decision ? item->decision[k] : k];
        const size_t n = keel_base_n_actions(&model->base, decision);
        keel_arena_reset(work);
        double *score = keel_arena_calloc(work, n + 1, sizeof *score);
        if (!score) return keel_nomem(err, "decoder base");
        KEEL_TRY(score_actions(model, item->conversation, decision, n, memory, work, score, err));
        KEEL_TRY(put_features(model, decision, score, n, beside ? &beside[k] : NULL, scratch,
                              &item->features[k], err));
    }
    return KEEL_OK;
}

keel_status keel__decoder_base_encode(const keel_base *base, const keel_base_item *items, size_t n,
                                      keel_arena *scratch, keel_err *err) {
    const keel_decoder_base *model = (const keel_decoder_base *)base;
    keel_status status = KEEL_OK;
    keel_arena work = {0};
    for (size_t i = 0; i < n && status == KEEL_OK; i++) {
        keel_decoder_memory memory = {0};
        status = encode_item(model, &items[i], &memory, &work, scratch, err);
        keel__decoder_forget(&memory);
    }
    keel_arena_free(&work);
    return status;
}

/* ---- what else is asked of a base ---- */

/* What was said at one decision; work: what it takes, and no longer. */
static keel_status add_said(const keel_decoder_base *model, const keel_conversation *conversation,
                            const keel_decision *decision, keel_decoder_memory *memory, keel_arena *work,
                            keel_base_said *out, keel_err *err) {
    keel_tokens *said = keel_arena_calloc(work, decision->n_candidates + 1, sizeof *said);
    double *sum = keel_arena_calloc(work, decision->n_candidates + 1, sizeof *sum);
    keel_decoder_prompt prompt;
    size_t n = 0, cut;
    if (!said || !sum) return keel_nomem(err, "decoder base");
    for (size_t i = 0; i < decision->n_candidates; i++) {
        if (!decision->candidates[i].taken) continue;
        KEEL_TRY(keel__decoder_lesson(model, &decision->candidates[i], work, &said[n], &cut, err));
        n += said[n].count > 0;
    }
    if (n == 0) return KEEL_OK;
    KEEL_TRY(keel__decoder_prompt(model, conversation, decision->turn, NULL, work, &prompt, err));
    KEEL_TRY(keel__decoder_read_prompt(model, &prompt.tokens, memory, NULL, work, err));
    KEEL_TRY(score_all(model, memory, said, n, NULL, work, sum, err));
    for (size_t i = 0; i < n; i++) {
        out->log_prob += sum[i];
        out->tokens += said[i].count;
    }
    out->responses += n;
    return KEEL_OK;
}

keel_status keel__decoder_base_likelihood(const keel_base *base, const keel_conversation *conversation,
                                          keel_base_said *out, keel_err *err) {
    keel_decoder_memory memory = {0};
    keel_arena work = {0};
    keel_status status = KEEL_OK;
    for (size_t d = 0; d < conversation->n_decisions && status == KEEL_OK; d++) {
        keel_arena_reset(&work);
        status = add_said((const keel_decoder_base *)base, conversation, &conversation->decisions[d], &memory,
                          &work, out, err);
    }
    keel__decoder_forget(&memory);
    keel_arena_free(&work);
    return status;
}

keel_status keel__decoder_base_place(const keel_base *base, const keel_conversation *conversation,
                                     size_t decision, bool seen, keel_arena *scratch, keel_sparse_vector *out,
                                     keel_err *err) {
    static const int32_t nowhere[1] = {0};
    static const float nothing[1] = {0};
    (void)base, (void)conversation, (void)decision, (void)seen, (void)scratch, (void)err;
    *out = (keel_sparse_vector){1, nowhere, nothing}; /* without an n-gram base all states are alike */
    return KEEL_OK;
}
