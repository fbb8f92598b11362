#include "experiments/serve/serve_decide.h"

#include <math.h>

#include "core/clock.h"
#include "core/numeric.h"
#include "core/pcg.h"

static size_t last_decision(const keel_conversation *talk) {
    return talk->n_decisions - 1;
}

/* ---- what is on offer ---- */

size_t keel_serve_candidate(const keel_base *base, const keel_decision *decision, size_t action) {
    if (base->space == KEEL_SPACE_CANDIDATES) return action < decision->n_candidates ? action : SIZE_MAX;
    for (size_t i = 0; i < decision->n_candidates; i++)
        if (keel_base_action_index(base, &decision->candidates[i]) == (int32_t)action) return i;
    return SIZE_MAX;
}

/* In a fixed space the prior is over all acts; those that nobody offers are taken out of it. */
static keel_status restrict_prior(const keel_base *base, const keel_decision *decision,
                                  keel_features *features, keel_arena *scratch, keel_err *err) {
    const size_t n = features->n_actions;
    size_t offered = 0;
    if (base->space == KEEL_SPACE_CANDIDATES) return KEEL_OK;
    float *prior = keel_arena_alloc(scratch, n * sizeof *prior);
    if (!prior) return keel_nomem(err, "serve");
    for (size_t a = 0; a < n; a++) {
        const bool there = keel_serve_candidate(base, decision, a) != SIZE_MAX;
        prior[a] = there ? features->log_prior[a] : -INFINITY;
        offered += there;
    }
    if (offered == 0) return KEEL_OK;
    keel_log_softmax(prior, n, prior);
    features->log_prior = prior;
    return KEEL_OK;
}

/* ---- what is drawn ---- */

/* By inversion; rounding cannot lead past the last action that has any probability. */
static size_t draw(const keel_choice *choice, double u) {
    size_t last = choice->chosen;
    double sum = 0;
    for (size_t a = 0; a < choice->n; a++) {
        const double p = exp((double)choice->log_pi[a]);
        if (!(p > 0)) continue;
        last = a;
        sum += p;
        if (u < sum) break;
    }
    return last;
}

static void take(const keel_serve_deciding *by, uint64_t number, keel_serve_choice *out) {
    const keel_choice *choice = &out->choice;
    out->action = choice->chosen;
    out->explored = false;
    if (by->explore > 0) {
        keel_rng rng = keel_rng_stream(by->seed, KEEL_STREAM_EXPLORE, number);
        out->explored = keel_rng_uniform(&rng) < by->explore;
        if (out->explored) out->action = draw(choice, keel_rng_uniform(&rng));
    }
    const double greedy = out->action == choice->chosen ? 1 - by->explore : 0,
                 p = greedy + by->explore * exp((double)choice->log_pi[out->action]);
    out->propensity = p < 1 ? p : 1;
}

/* ---- a batch ---- */

static keel_status encode(const keel_serve_deciding *by, const keel_serve_request *requests, size_t n,
                          keel_arena *scratch, keel_features *features, keel_err *err) {
    keel_base_item *items = keel_arena_alloc(scratch, n * sizeof *items);
    size_t *places = keel_arena_alloc(scratch, n * sizeof *places);
    if (!items || !places) return keel_nomem(err, "serve");
    for (size_t i = 0; i < n; i++) {
        places[i] = last_decision(requests[i].talk);
        items[i] = (keel_base_item){requests[i].talk, &places[i], 1, &features[i]};
    }
    return keel_base_encode(by->base, items, n, scratch, err);
}

keel_status keel_serve_decide(const keel_serve_deciding *by, const keel_serve_request *requests, size_t n,
                              keel_arena *scratch, keel_serve_choice *out, double *encode_seconds,
                              keel_err *err) {
    const double begun = keel_clock();
    keel_features *features = keel_arena_alloc(scratch, n * sizeof *features);
    if (!features) return keel_nomem(err, "serve");
    KEEL_TRY(encode(by, requests, n, scratch, features, err));
    *encode_seconds = keel_clock() - begun;
    for (size_t i = 0; i < n; i++) {
        const keel_conversation *talk = requests[i].talk;
        const size_t place = last_decision(talk);
        KEEL_TRY(restrict_prior(by->base, &talk->decisions[place], &features[i], scratch, err));
        KEEL_TRY(keel_policy_decide_at(by->policy, by->base, talk, place, &features[i], scratch,
                                       &out[i].choice, err));
        take(by, requests[i].number, &out[i]);
    }
    return KEEL_OK;
}
