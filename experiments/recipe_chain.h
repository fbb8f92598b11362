/* A chain of verbs that a verb runs: what `auto` and `learn` are made of. A recipe whose steps and words are
 * put together on the way; a second run continues where the first stopped. */
#ifndef KEEL_EXPERIMENTS_RECIPE_CHAIN_H
#define KEEL_EXPERIMENTS_RECIPE_CHAIN_H

#include "experiments/recipe_run.h"

enum { KEEL_CHAIN_WORDS = 160 };

/* "VERB", its words, "--", "VERB" and so on; borrowed. Words beyond its room make keel_chain_run fail. */
typedef struct keel_chain {
    const char *list[KEEL_CHAIN_WORDS];
    size_t n;
    bool over;
} keel_chain;

void keel_chain_add(keel_chain *chain, const char *const *words); /* NULL-terminated */
#define KEEL_CHAIN_SAY(chain, ...) keel_chain_add(chain, (const char *const[]){__VA_ARGS__, NULL})

typedef struct keel_chain_place {
    const char *name;  /* of the verb that runs it, for errors */
    const char *store; /* of every step that takes one */
    const char *out;   /* the run folder, ${out} */
    const char *root;  /* what moves as a whole: out, or a folder that it lies in */
    const char *threads;
    const char *const *settings; /* "STEP.KEY=VALUE" */
    size_t n_settings;
    keel_arena *arena;
} keel_chain_place;

/* The chain as a run in that place, of recipe. */
keel_recipe_run keel_chain_in(const keel_chain_place *place, const keel_recipe *recipe);
/* *gate (may be NULL): the first gate that was not met. */
keel_status keel_chain_run(const keel_chain *chain, const keel_chain_place *place, keel_err *gate,
                           keel_err *err);
/* The result of a step that was run there; the caller deletes *out. */
keel_status keel_chain_result(const keel_chain_place *place, const char *step, cJSON **out, keel_err *err);

#endif
