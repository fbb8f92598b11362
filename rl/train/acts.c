#include "rl/train/acts.h"

#include <string.h>

enum { N_RISKS = 3, N_LABELS = KEEL_N_OUTCOMES + 1 };

/* How often an act, taken in conversations of a risk, was judged to be each outcome: [risk][act][outcome]. */
typedef struct act_counts {
    size_t n_acts;
    size_t *count;
} act_counts;

static size_t *count_at(const act_counts *counts, size_t risk, size_t act) {
    return counts->count + (risk * counts->n_acts + act) * N_LABELS;
}

static void count_conversation(const keel_base *base, const keel_conversation *conversation,
                               act_counts *counts) {
    for (size_t d = 0; d < conversation->n_decisions; ++d) {
        const keel_decision *decision = &conversation->decisions[d];
        for (size_t c = 0; c < decision->n_candidates; ++c) {
            const keel_candidate *candidate = &decision->candidates[c];
            int32_t act = candidate->taken && candidate->act ? keel_base_act_index(base, candidate->act) : -1;
            if (act >= 0) count_at(counts, conversation->risk, (size_t)act)[candidate->outcome]++;
        }
    }
}

static keel_status count_split(keel_store *store, const keel_split *split, const keel_base *base,
                               act_counts *counts, keel_err *err) {
    keel_cursor *cursor;
    keel_arena arena = {0};
    keel_conversation *conversation;
    KEEL_TRY(keel_cursor_open(&cursor, store, split, KEEL_ORDER_STORED, err));
    bool held = false;
    keel_status status = keel_store_hold(store, &held, err);
    while (status == KEEL_OK) {
        status = keel_cursor_next(cursor, &arena, &conversation, err);
        if (status != KEEL_OK || !conversation) break;
        count_conversation(base, conversation, counts);
        keel_arena_reset(&arena);
    }
    keel_cursor_close(cursor);
    keel_store_release(store, held);
    keel_arena_free(&arena);
    return status;
}

/* The judged outcome seen most; the more cautious one on ties; NONE if never judged. */
static keel_outcome majority(const size_t *count) {
    keel_outcome best = KEEL_OUTCOME_NONE;
    for (int o = KEEL_OUTCOME_COMPLIANCE; o <= KEEL_OUTCOME_REFUSAL; ++o)
        if (count[o] && (best == KEEL_OUTCOME_NONE || count[o] >= count[best])) best = (keel_outcome)o;
    return best;
}

/* The act most often judged a refusal among those that mostly are one; -1 if none is. */
static int32_t find_fallback(const act_counts *counts) {
    int32_t best = -1;
    size_t most = 0;
    for (size_t act = 0; act < counts->n_acts; ++act) {
        size_t all[N_LABELS] = {0};
        for (size_t risk = 0; risk < N_RISKS; ++risk)
            for (size_t o = 0; o < N_LABELS; ++o) all[o] += count_at(counts, risk, act)[o];
        if (majority(all) != KEEL_OUTCOME_REFUSAL || all[KEEL_OUTCOME_REFUSAL] <= most) continue;
        best = (int32_t)act;
        most = all[KEEL_OUTCOME_REFUSAL];
    }
    return best;
}

/* One risk's takings of an act: judged, and as what. */
static bool is_mostly_declined(const size_t *count, bool in_part) {
    size_t judged = 0;
    for (size_t o = KEEL_OUTCOME_COMPLIANCE; o < N_LABELS; ++o) judged += count[o];
    keel_outcome most = majority(count);
    return judged >= count[KEEL_OUTCOME_NONE] &&
           (most == KEEL_OUTCOME_REFUSAL || (in_part && most == KEEL_OUTCOME_PARTIAL));
}

static bool declines(const act_counts *counts, size_t act) {
    bool taken[N_RISKS] = {false}, all = true;
    for (size_t risk = 0; risk < N_RISKS; ++risk) {
        const size_t *count = count_at(counts, risk, act);
        for (size_t o = 0; o < N_LABELS; ++o) taken[risk] = taken[risk] || count[o] > 0;
    }
    for (size_t risk = 0; risk < N_RISKS; ++risk)
        if (taken[risk])
            all = all && is_mostly_declined(count_at(counts, risk, act), taken[KEEL_RISK_BENIGN]);
    return all && (taken[0] || taken[1] || taken[2]);
}

static void fill(const act_counts *counts, keel_acts *out) {
    for (size_t act = 0; act < counts->n_acts; ++act) {
        for (size_t risk = 0; risk < N_RISKS; ++risk)
            out->outcome[risk][act] = majority(count_at(counts, risk, act));
        out->declines[act] = declines(counts, act);
    }
    out->fallback = find_fallback(counts);
}

static void fill_outcomes(size_t n_acts, keel_acts *out) {
    for (size_t risk = 0; risk < N_RISKS; ++risk)
        for (size_t act = 0; act < n_acts; ++act) out->outcome[risk][act] = (keel_outcome)(act + 1);
    out->fallback = KEEL_OUTCOME_REFUSAL - 1;
    out->declines[out->fallback] = true;
}

keel_status keel_acts_learn(keel_store *store, const keel_split *split, const keel_base *base,
                            keel_arena *arena, keel_acts *out, keel_err *err) {
    *out = (keel_acts){.declines = keel_arena_calloc(arena, base->n_acts, sizeof(bool)), .fallback = -1};
    if (!out->declines) return keel_nomem(err, "training");
    for (size_t risk = 0; risk < N_RISKS; ++risk) {
        out->outcome[risk] = keel_arena_calloc(arena, base->n_acts, sizeof(keel_outcome));
        if (!out->outcome[risk]) return keel_nomem(err, "training");
    }
    if (base->space == KEEL_SPACE_OUTCOMES) fill_outcomes(base->n_acts, out);
    if (base->space != KEEL_SPACE_ACTS) return KEEL_OK;
    act_counts counts = {base->n_acts,
                         keel_arena_calloc(arena, N_RISKS * base->n_acts * N_LABELS, sizeof(size_t))};
    if (!counts.count) return keel_nomem(err, "training");
    KEEL_TRY(count_split(store, split, base, &counts, err));
    fill(&counts, out);
    return KEEL_OK;
}
