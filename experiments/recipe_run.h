/* The steps of a recipe, run one after the other in a run folder. Each finished step leaves steps/NAME.json
 * there, with its result and a key over all that led to it: build, verbs, arguments, the content of files
 * from outside. A second run keeps the steps whose markers say that exactly this was done. */
#ifndef KEEL_EXPERIMENTS_RECIPE_RUN_H
#define KEEL_EXPERIMENTS_RECIPE_RUN_H

#include "experiments/recipe.h"

typedef struct keel_recipe_run {
    const keel_recipe *recipe;
    size_t from;         /* the first step that is run: those before it were run elsewhere */
    size_t to;           /* one past the last */
    const char *out;     /* the run folder */
    const char *root;    /* what moves as a whole: the run folder, or one that it lies in */
    const char *threads; /* for steps that take --threads and do not say; or NULL */
    keel_arena *arena;
    char key[65]; /* of the step before: each key contains all that led to it */
    bool redo;    /* a step was run anew, so all after it are */
    size_t kept;
    keel_err gate; /* the first gate that was not met; its code is KEEL_OK if all were */
} keel_recipe_run;

/* Starts the chain of keys with the build, and makes the folder of markers. */
keel_status keel_recipe_run_begin(keel_recipe_run *run, keel_err *err);
/* Runs the steps from `from` to `to`. A marker of something else in the way is KEEL_E_CONFLICT. */
keel_status keel_recipe_run_steps(keel_recipe_run *run, keel_err *err);
/* The result of a step of that run; the caller deletes *out. */
keel_status keel_recipe_run_result(keel_recipe_run *run, const char *step, cJSON **out, keel_err *err);

/* Whether the flag names what a step writes: --store, --out, --metrics. */
bool keel_recipe_is_output(const char *flag);
/* Whether a path is the folder or lies in it, by their texts. */
bool keel_recipe_is_inside(const char *path, const char *folder);

#endif
