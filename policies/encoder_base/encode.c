/* From decisions to features: texts that the tables of crossed logits know need no encoder; the rest of a
 * batch goes through it together. */
#include "policies/encoder_base/encode.h"

#include <math.h>
#include <string.h>

#include "core/numeric.h"

/* ---- vectors ---- */

static bool same(const keel_reading *a, const keel_reading *b) {
    return a->hash == b->hash && a->n == b->n && memcmp(a->id, b->id, a->n * sizeof *a->id) == 0 &&
           memcmp(a->type, b->type, a->n * sizeof *a->type) == 0;
}

/* place[i]: which of the *n_unique texts text i is. */
static keel_status find_unique(const keel_reading *const *text, size_t n, keel_arena *scratch, size_t **place,
                               size_t **unique, size_t *n_unique, keel_err *err) {
    size_t slots = 4;
    while (slots < 2 * n) slots *= 2;
    size_t *slot = keel_arena_calloc(scratch, slots, sizeof *slot); /* 1 + place among the unique */
    *place = keel_arena_calloc(scratch, n + 1, sizeof **place);
    *unique = keel_arena_calloc(scratch, n + 1, sizeof **unique);
    *n_unique = 0;
    if (!slot || !*place || !*unique) return keel_nomem(err, "encoder base");
    for (size_t i = 0; i < n; i++) {
        size_t at = (size_t)text[i]->hash & (slots - 1);
        while (slot[at] && !same(text[(*unique)[slot[at] - 1]], text[i])) at = (at + 1) & (slots - 1);
        if (!slot[at]) {
            (*unique)[(*n_unique)++] = i;
            slot[at] = *n_unique;
        }
        (*place)[i] = slot[at] - 1;
    }
    return KEEL_OK;
}

static keel_status lay_out(const keel_reading *const *text, const size_t *unique, size_t n,
                           keel_arena *scratch, keel_bert_batch *out, keel_err *err) {
    size_t tokens = 0, at = 0;
    for (size_t i = 0; i < n; i++) tokens += text[unique[i]]->n;
    int32_t *id = keel_arena_alloc(scratch, (tokens + 1) * sizeof *id);
    int32_t *type = keel_arena_alloc(scratch, (tokens + 1) * sizeof *type);
    int32_t *offsets = keel_arena_calloc(scratch, n + 1, sizeof *offsets);
    if (!id || !type || !offsets || tokens > INT32_MAX) return keel_nomem(err, "encoder base");
    for (size_t i = 0; i < n; i++) {
        const keel_reading *from = text[unique[i]];
        memcpy(id + at, from->id, from->n * sizeof *id);
        memcpy(type + at, from->type, from->n * sizeof *type);
        at += from->n;
        offsets[i + 1] = (int32_t)at;
    }
    *out = (keel_bert_batch){.id = id, .type = type, .offsets = offsets, .n = n};
    return KEEL_OK;
}

/* So many tokens at a time: more is no faster, and takes memory. */
enum { TOKENS_AT_ONCE = 4096 };

static size_t take_some(const keel_reading *const *text, const size_t *unique, size_t n) {
    size_t some = 0, tokens = 0;
    while (some < n && (some == 0 || tokens + text[unique[some]]->n <= TOKENS_AT_ONCE))
        tokens += text[unique[some++]]->n;
    return some;
}

keel_status keel__encoder_readings(const keel_encoder_base *model, const keel_reading *const *text, size_t n,
                                   keel_arena *scratch, float *out, keel_err *err) {
    const size_t hidden = model->bert->config.hidden;
    size_t *place, *unique, n_unique;
    KEEL_TRY(find_unique(text, n, scratch, &place, &unique, &n_unique, err));
    float *vector = keel_arena_alloc(scratch, (n_unique * hidden + 1) * sizeof *vector);
    if (!vector) return keel_nomem(err, "encoder base");
    for (size_t done = 0; done < n_unique;) {
        const size_t some = take_some(text, unique + done, n_unique - done);
        keel_bert_batch batch;
        KEEL_TRY(lay_out(text, unique + done, some, scratch, &batch, err));
        KEEL_TRY(keel_bert_encode(model->bert, &batch, scratch, vector + done * hidden, err));
        done += some;
    }
    for (size_t i = 0; i < n; i++) memcpy(out + i * hidden, vector + place[i] * hidden, hidden * sizeof *out);
    return KEEL_OK;
}

/* ---- logits of a batch ---- */

typedef struct decision_work {
    const keel_conversation *conversation;
    const keel_decision *decision;
    size_t n_actions;
    keel_candidate *actions; /* [n_actions] of candidate sets: its candidates, then the fixed answers */
    keel_lesson_texts texts;
    float *state, *candidates;  /* [n_state], [n_actions, n_candidate] logits */
    const float *vector;        /* of its state, where it was encoded */
    const float *crossed_state; /* or NULL */
    const float **crossed;      /* [n_actions] or NULL each */
    size_t first; /* of its texts in the batch: its state where that is asked, then candidates */
    bool asks_state;
    keel_features *out;
    const keel_features *beside;
} decision_work;

static keel_status list_actions(const keel_encoder_base *model, decision_work *work, keel_arena *scratch,
                                keel_err *err) {
    const keel_base *base = &model->base;
    const keel_decision *decision = work->decision;
    work->n_actions = keel_base_n_actions(base, decision);
    if (base->space != KEEL_SPACE_CANDIDATES) return KEEL_OK;
    work->actions = keel_arena_alloc(scratch, (work->n_actions + 1) * sizeof *work->actions);
    if (!work->actions) return keel_nomem(err, "encoder base");
    for (size_t i = 0; i < work->n_actions; i++)
        work->actions[i] =
            i < decision->n_candidates ? decision->candidates[i] : base->fixed[i - decision->n_candidates];
    return KEEL_OK;
}

static keel_status read_decision(const keel_encoder_base *model, decision_work *work, keel_arena *scratch,
                                 keel_err *err) {
    KEEL_TRY(list_actions(model, work, scratch, err));
    const size_t n = work->actions ? work->n_actions : 0;
    KEEL_TRY(keel__encoder_read(model, work->conversation, work->decision->turn, work->actions, n, scratch,
                                &work->texts, err));
    work->state = keel_arena_calloc(scratch, model->n_state + 1, sizeof *work->state);
    work->candidates = keel_arena_calloc(scratch, n * model->n_candidate + 1, sizeof *work->candidates);
    work->crossed = keel_arena_calloc(scratch, n + 1, sizeof *work->crossed);
    if (!work->state || !work->candidates || !work->crossed) return keel_nomem(err, "encoder base");
    work->crossed_state = keel_crossed_find(&model->states, work->texts.state_key);
    bool missing = false;
    for (size_t i = 0; i < work->texts.n_candidates; i++) {
        work->crossed[i] = keel_crossed_find(&model->candidates, work->texts.candidate_key[i]);
        missing |= !work->crossed[i];
    }
    work->asks_state =
        (model->n_state > 0 && !work->crossed_state) || (missing && keel__encoder_compares(model));
    return KEEL_OK;
}

static size_t list_texts(decision_work *work, size_t n, const keel_reading **text) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        work[i].first = count;
        if (work[i].asks_state) text[count++] = &work[i].texts.state;
        for (size_t k = 0; k < work[i].texts.n_candidates; k++)
            if (!work[i].crossed[k]) text[count++] = &work[i].texts.candidate[k];
    }
    return count;
}

static void fill_logits(const keel_encoder_base *model, decision_work *work, const float *vector) {
    const size_t hidden = model->bert->config.hidden;
    const float *state = work->asks_state ? vector + work->first * hidden : NULL;
    work->vector = state;
    const float *next = vector + (work->first + work->asks_state) * hidden;
    if (work->crossed_state)
        memcpy(work->state, work->crossed_state, model->n_state * sizeof *work->state);
    else if (state)
        keel__encoder_state_logits(model, state, work->state);
    for (size_t k = 0; k < work->texts.n_candidates; k++) {
        float *to = work->candidates + k * model->n_candidate;
        if (work->crossed[k]) {
            memcpy(to, work->crossed[k], model->n_candidate * sizeof *to);
            continue;
        }
        keel__encoder_candidate_logits(model, state, next, to);
        next += hidden;
    }
}

static keel_status work_out_logits(const keel_encoder_base *model, decision_work *work, size_t n,
                                   keel_arena *scratch, keel_err *err) {
    size_t most = n;
    for (size_t i = 0; i < n; i++) {
        KEEL_TRY(read_decision(model, &work[i], scratch, err));
        most += work[i].texts.n_candidates;
    }
    const keel_reading **text = keel_arena_alloc(scratch, (most + 1) * sizeof *text);
    if (!text) return keel_nomem(err, "encoder base");
    const size_t count = list_texts(work, n, text);
    float *vector = keel_arena_alloc(scratch, (count * model->bert->config.hidden + 1) * sizeof *vector);
    if (!vector) return keel_nomem(err, "encoder base");
    KEEL_TRY(keel__encoder_readings(model, text, count, scratch, vector, err));
    for (size_t i = 0; i < n; i++) fill_logits(model, &work[i], vector);
    return KEEL_OK;
}

/* ---- features ---- */

static void put_prior(const keel_encoder_base *model, const decision_work *work, float *out) {
    const bool sets = model->base.space == KEEL_SPACE_CANDIDATES;
    const bool own = model->uses[sets ? KEEL_HEAD_RANK : KEEL_HEAD_ACT];
    const float *acts = work->state + model->uses[KEEL_HEAD_RISK];
    const float *other = work->beside ? work->beside->log_prior : NULL;
    for (size_t i = 0; own && i < work->n_actions; i++)
        out[i] = sets ? work->candidates[(i + 1) * model->n_candidate - 1] : acts[i];
    if (own) keel_log_softmax(out, work->n_actions, out);
    for (size_t i = 0; other && i < work->n_actions; i++) out[i] = own ? (out[i] + other[i]) / 2 : other[i];
    keel_log_softmax(out, work->n_actions, out);
}

static keel_status put_features(const keel_encoder_base *model, const decision_work *work,
                                keel_arena *scratch, keel_err *err) {
    const keel_base *base = &model->base;
    const bool sets = base->space == KEEL_SPACE_CANDIDATES;
    const size_t rows = sets ? work->n_actions : 0, scores = model->uses[KEEL_HEAD_RANK];
    const keel_features *beside = work->beside;
    float *state = keel_arena_calloc(scratch, base->state_dim + 1, sizeof *state);
    float *candidates = keel_arena_calloc(scratch, rows * base->candidate_dim + 1, sizeof *candidates);
    float *log_prior = keel_arena_calloc(scratch, work->n_actions + 1, sizeof *log_prior);
    if (!state || !candidates || !log_prior) return keel_nomem(err, "encoder base");
    size_t at = keel_beside_put(beside ? beside->state : NULL, beside ? beside->state_dim : 1,
                                (double)work->decision->turn, state);
    keel_standardise(work->state, model->mean, model->scale, model->n_state, state + at);
    for (size_t i = 0; i < rows; i++) {
        float *to = candidates + i * base->candidate_dim;
        const char *text = work->actions[i].text;
        at = keel_beside_put(beside ? beside->candidates + i * beside->candidate_dim : NULL,
                             beside ? beside->candidate_dim : 1, text ? (double)strlen(text) : 0, to);
        if (model->n_candidate > 0)
            keel_standardise(work->candidates + i * model->n_candidate, model->mean + model->n_state,
                             model->scale + model->n_state, model->n_candidate - scores, to + at);
    }
    put_prior(model, work, log_prior);
    *work->out = (keel_features){.state_dim = base->state_dim,
                                 .candidate_dim = base->candidate_dim,
                                 .n_candidates = rows,
                                 .n_actions = work->n_actions,
                                 .state = state,
                                 .candidates = sets ? candidates : NULL,
                                 .log_prior = log_prior};
    if (keel_all_finite(state, base->state_dim) && keel_all_finite(candidates, rows * base->candidate_dim) &&
        keel_all_finite(log_prior, work->n_actions))
        return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "encoder base", "its weights give features that are not finite");
}

/* ---- all decisions of all items ---- */

static keel_status encode_beside(const keel_encoder_base *model, const keel_base_item *items, size_t n,
                                 size_t count, keel_arena *scratch, keel_features **out, keel_err *err) {
    keel_base_item *inner = keel_arena_alloc(scratch, (n + 1) * sizeof *inner);
    *out = keel_arena_calloc(scratch, count + 1, sizeof **out);
    if (!inner || !*out) return keel_nomem(err, "encoder base");
    for (size_t i = 0, at = 0; i < n; at += items[i++].n) {
        inner[i] = items[i];
        inner[i].features = *out + at;
    }
    return keel_base_encode(model->base.beside, inner, n, scratch, err);
}

/* All decisions of all items with their logits, *count of them; and, where features are asked, what the
 * n-gram base says. */
static keel_status look_at(const keel_encoder_base *model, const keel_base_item *items, size_t n,
                           bool features, keel_arena *scratch, decision_work **out, size_t *count,
                           keel_err *err) {
    keel_features *beside = NULL;
    size_t at = 0;
    *count = 0;
    for (size_t i = 0; i < n; i++) *count += items[i].n;
    decision_work *work = *out = keel_arena_calloc(scratch, *count + 1, sizeof *work);
    if (!work) return keel_nomem(err, "encoder base");
    if (model->base.beside && features)
        KEEL_TRY(encode_beside(model, items, n, *count, scratch, &beside, err));
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < items[i].n; k++, at++) {
            const size_t decision = items[i].decision ? items[i].decision[k] : k;
            work[at].conversation = items[i].conversation;
            work[at].decision = &items[i].conversation->decisions[decision];
            work[at].out = features ? &items[i].features[k] : NULL;
            work[at].beside = beside ? &beside[at] : NULL;
        }
    return work_out_logits(model, work, *count, scratch, err);
}

keel_status keel__encoder_base_encode(const keel_base *base, const keel_base_item *items, size_t n,
                                      keel_arena *scratch, keel_err *err) {
    const keel_encoder_base *model = (const keel_encoder_base *)base;
    decision_work *work;
    size_t count;
    KEEL_TRY(look_at(model, items, n, true, scratch, &work, &count, err));
    for (size_t i = 0; i < count; i++) KEEL_TRY(put_features(model, &work[i], scratch, err));
    return KEEL_OK;
}

/* ---- as a teacher: the encoder's own heads, without the n-gram base beside it ---- */

static keel_status put_opinion(const keel_encoder_base *model, const decision_work *work, keel_arena *scratch,
                               keel_base_opinion *out, keel_err *err) {
    const size_t own = work->decision->n_candidates;
    const bool chooses =
        model->uses[model->base.space == KEEL_SPACE_CANDIDATES ? KEEL_HEAD_RANK : KEEL_HEAD_ACT];
    float *prior = keel_arena_calloc(scratch, work->n_actions + 1, sizeof *prior);
    float *outcomes = keel_arena_calloc(scratch, 2 * own + 1, sizeof *outcomes);
    if (!prior || !outcomes) return keel_nomem(err, "encoder base");
    *out = (keel_base_opinion){.risk = model->uses[KEEL_HEAD_RISK] ? work->state[0] : NAN};
    if (!work->crossed_state) out->vector = work->vector;
    if (chooses && work->n_actions > 0) {
        put_prior(model, work, prior);
        out->log_prior = prior;
    }
    if (!model->uses[KEEL_HEAD_OUTCOME]) return KEEL_OK;
    for (size_t k = 0; k < own; k++) /* the outcome head's log odds are a candidate's first two */
        memcpy(outcomes + 2 * k, work->candidates + k * model->n_candidate, 2 * sizeof *outcomes);
    out->outcomes = outcomes;
    return KEEL_OK;
}

keel_status keel__encoder_base_opinion(const keel_base *base, const keel_conversation *conversation,
                                       keel_arena *scratch, keel_base_opinion *out, keel_err *err) {
    const keel_encoder_base *model = (const keel_encoder_base *)base;
    const keel_base_item item = {.conversation = conversation, .n = conversation->n_decisions};
    decision_work *work;
    size_t count;
    KEEL_TRY(look_at(model, &item, 1, false, scratch, &work, &count, err));
    for (size_t i = 0; i < count; i++) KEEL_TRY(put_opinion(model, &work[i], scratch, &out[i], err));
    return KEEL_OK;
}

/* ---- what else is asked of a base ---- */

keel_status keel__encoder_base_place(const keel_base *base, const keel_conversation *conversation,
                                     size_t decision, bool seen, keel_arena *scratch, keel_sparse_vector *out,
                                     keel_err *err) {
    const keel_encoder_base *model = (const keel_encoder_base *)base;
    const size_t hidden = model->bert->config.hidden;
    keel_lesson_texts texts;
    (void)seen;
    int32_t *dims = keel_arena_alloc(scratch, hidden * sizeof *dims);
    float *vector = keel_arena_alloc(scratch, hidden * sizeof *vector);
    if (!dims || !vector) return keel_nomem(err, "encoder base");
    KEEL_TRY(keel__encoder_read(model, conversation, conversation->decisions[decision].turn, NULL, 0, scratch,
                                &texts, err));
    const keel_reading *text = &texts.state;
    KEEL_TRY(keel__encoder_readings(model, &text, 1, scratch, vector, err));
    for (size_t i = 0; i < hidden; i++) dims[i] = (int32_t)i;
    *out = (keel_sparse_vector){hidden, dims, vector};
    return KEEL_OK;
}
