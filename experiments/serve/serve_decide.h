/* What a policy answers to the requests of a batch: all encoded in one call, then decided one by one. What it
 * answers does not depend on what else is in the batch. */
#ifndef KEEL_EXPERIMENTS_SERVE_DECIDE_H
#define KEEL_EXPERIMENTS_SERVE_DECIDE_H

#include <stdint.h>

#include "core/memory.h"
#include "policies/policy.h"

/* One decision to be taken: the last of the conversation. */
typedef struct keel_serve_request {
    const keel_conversation *talk;
    uint64_t number; /* what is drawn for it depends on seed and number alone */
} keel_serve_request;

typedef struct keel_serve_choice {
    keel_choice choice; /* arrays in the scratch arena */
    size_t action;      /* what is done: choice.chosen, or what was drawn */
    bool explored;      /* it was drawn from pi */
    double propensity;  /* (1 - explore) [action = chosen] + explore pi(action) */
} keel_serve_choice;

typedef struct keel_serve_deciding {
    const keel_policy *policy;
    const keel_base *base;
    double explore; /* share of decisions that are drawn from pi; the others take its most likely action */
    uint64_t seed;
} keel_serve_deciding;

/* out [n]. encode_seconds: of the one call. Where the space is fixed and a decision has candidates, only acts
 * that a candidate is are on offer, unless there is none. */
keel_status keel_serve_decide(const keel_serve_deciding *by, const keel_serve_request *requests, size_t n,
                              keel_arena *scratch, keel_serve_choice *out, double *encode_seconds,
                              keel_err *err);

/* The candidate of the decision that an action is: in candidate sets its own, in fixed spaces the first of
 * this act or outcome. SIZE_MAX: none, so that the base's fixed answer, or the act's name, is the answer. */
size_t keel_serve_candidate(const keel_base *base, const keel_decision *decision, size_t action);

#endif
