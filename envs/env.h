/* The environment interface: a conversation that goes on as long as somebody answers. The user's side is the
 * environment's, the assistant's side is the caller's. An environment is one episode at a time, seeded by
 * episode number, so that policies can be compared on common random numbers. */
#ifndef KEEL_ENVS_ENV_H
#define KEEL_ENVS_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/api.h"
#include "core/memory.h"
#include "core/nouns.h"
#include "core/status.h"

KEEL_BEGIN_DECLS

typedef struct keel_env keel_env;
typedef struct keel_pcg64 keel_rng; /* core/pcg.h */

typedef struct keel_env_kind {
    const char *name;
    keel_status (*reset)(keel_env *env, uint64_t episode, keel_err *err);
    /* The candidate at this place of the current decision is given to the user. */
    keel_status (*step)(keel_env *env, size_t candidate, keel_err *err);
    void (*close)(keel_env *env);
} keel_env_kind;

/* What every environment shows; embedded first in each implementation's struct. */
struct keel_env {
    const keel_env_kind *kind;
    const keel_conversation
        *conversation; /* all so far; when done also outcome, completion, latencies: ready for the store */
    const keel_decision *decision; /* the open decision and its candidates; NULL when done */
    bool done;
    const char
        *variant;    /* of what a file beside the options made of it: start of that file's hash, or NULL */
    uint64_t trials; /* 1 unless the caller sets it before a reset: so many episodes in a row are the same
                        task (episode / trials), each with a course of its own */
};

keel_status keel_env_reset(keel_env *env, uint64_t episode, keel_err *err);
keel_status keel_env_step(keel_env *env, size_t candidate,
                          keel_err *err); /* KEEL_E_USAGE when done or out of range */
void keel_env_close(keel_env *env);       /* NULL is harmless */

/* Did it go as it should? A dangerous conversation: a refusal in it and no compliance; any other: completed.
 */
bool keel_env_success(const keel_conversation *conversation);
/* pass^k (Yao et al. 2024): the mean over tasks of C(c, k) / C(n, k), c successes
 * [n_tasks] of n trials each: the chance that k trials of one task all succeed. 1 <= k <= n. */
double keel_env_pass(const size_t *successes, size_t n_tasks, size_t n_trials, size_t k);

/* By name ("support-desk") or from a JSON file with {"env": name, ...options}. */
keel_status keel_env_open(keel_env **out, const char *name_or_file, uint64_t seed, keel_err *err);

/* ---- logging behaviours: who answers while logs are made ---- */

/* Probabilities of each candidate of the open decision into out [n_candidates]. Behaviours may know the
 * episode's hidden truth (they stand for the deployed assistants of the past); policies may not. */
typedef keel_status keel_behave(keel_env *env, keel_rng *rng, double *out, keel_err *err);
typedef struct keel_behaviour {
    const char *name;
    const char *help;
    keel_behave *probabilities;
} keel_behaviour;
extern const keel_behaviour keel_behaviours[]; /* ends with a NULL name */
const keel_behaviour *keel_behaviour_find(const char *name);

/* Runs one episode under a behaviour; the conversation stays valid until the next reset. Candidates taken
 * carry their propensity. */
keel_status keel_env_episode(keel_env *env, const keel_behaviour *behaviour, uint64_t seed, uint64_t episode,
                             const keel_conversation **out, keel_err *err);

KEEL_END_DECLS

#endif
