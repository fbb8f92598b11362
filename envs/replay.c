#include "envs/replay.h"

#include <string.h>

typedef struct replay {
    keel_env env; /* first */
    keel_arena arena;
    keel_decision open; /* a copy: who answers may write on the candidates, the log stays as it is */
    size_t next;        /* decision of the log to open next */
} replay;

/* Opens the next decision that has anything to choose from, or ends the episode. */
static keel_status open_next(replay *r, keel_err *err) {
    const keel_conversation *log = r->env.conversation;
    while (r->next < log->n_decisions && log->decisions[r->next].n_candidates == 0) r->next++;
    r->env.done = r->next == log->n_decisions;
    r->env.decision = NULL;
    if (r->env.done) return KEEL_OK;
    const keel_decision *decision = &log->decisions[r->next++];
    keel_candidate *copy = keel_arena_calloc(&r->arena, decision->n_candidates, sizeof *copy);
    if (!copy)
        return keel_fail(err, KEEL_E_NOMEM, "replay", "out of memory for %zu candidates",
                         decision->n_candidates);
    memcpy(copy, decision->candidates, decision->n_candidates * sizeof *copy);
    r->open = *decision;
    r->open.candidates = copy;
    r->env.decision = &r->open;
    return KEEL_OK;
}

static keel_status replay_reset(keel_env *env, uint64_t episode, keel_err *err) {
    replay *r = (replay *)env;
    (void)episode; /* a log has but one course */
    if (!env->conversation) return keel_fail(err, KEEL_E_USAGE, "replay", "no conversation is loaded");
    keel_arena_reset(&r->arena);
    r->next = 0;
    return open_next(r, err);
}

static keel_status replay_step(keel_env *env, size_t candidate, keel_err *err) {
    (void)candidate; /* the log goes on as it did */
    return open_next((replay *)env, err);
}

static void replay_close(keel_env *env) {
    keel_arena_free(&((replay *)env)->arena);
    keel_free(env);
}

static const keel_env_kind replay_kind = {"replay", replay_reset, replay_step, replay_close};

keel_status keel_replay_open(keel_env **out, keel_err *err) {
    replay *r = keel_calloc(1, sizeof *r);
    if (!r) return keel_fail(err, KEEL_E_NOMEM, "replay", "out of memory for an environment");
    r->env.kind = &replay_kind;
    *out = &r->env;
    return KEEL_OK;
}

void keel_replay_load(keel_env *env, const keel_conversation *conversation) {
    env->conversation = conversation;
    env->decision = NULL;
    env->done = false;
}
