/* A policy on a smaller base: bound to it, its harm threshold tested anew, and set beside what it was on
 * conversations held out. */
#ifndef KEEL_EXPERIMENTS_COMPRESS_POLICY_H
#define KEEL_EXPERIMENTS_COMPRESS_POLICY_H

#include <cjson/cJSON.h>

#include "core/parallel.h"
#include "datasets/store.h"
#include "policies/compress_base.h"

typedef struct keel_compress_policy_job {
    const keel_compress_config *config;
    keel_store *store; /* writable: decisions are encoded under the smaller base */
    keel_split held_out;
    const keel_split *looked_at; /* by compression; NULL: nothing */
    const char *policy;          /* the artefact */
    const char *base;            /* that it belongs to */
    const char *small_base;      /* the smaller one */
    const char *out;             /* folder that the policy is written to, new */
    const char
        *place; /* where it comes to lie: what another run made there is KEEL_E_CONFLICT unless replace */
    bool replace;
    bool anyway;         /* also where a bound breaks */
    keel_corpus *logged; /* that importance is measured on; NULL: none */
    keel_pool *pool;
} keel_compress_policy_job;

/* Where the policy was trained under a bound of harm, or config.max_harm gives one, the threshold is the
 * least strict one that passes on the fold that tested the policy, or, where its keel.json names none or the
 * base was tuned on some of it or its compression looked at it, on half of `held_out`, and what is compared
 * are the conversations left. KEEL_E_USAGE where that half is known so too.
 *
 * *out gets {"held_out", "tested_on", "table": {metric: {"before", "after", "difference"}}, "changed",
 * "loss" (the mean fall of refusal and completion), "constraint", "threshold": {"before", "after"},
 * "refused": why}; also with KEEL_E_GATE, where the bound breaks or more is lost than config.max_loss: then
 * nothing is written, unless `anyway`. */
keel_status keel_compress_policy(const keel_compress_policy_job *job, cJSON **out, keel_err *err);
void keel_compress_policy_print(const cJSON *result, FILE *out);

#endif
