/* Recipes: an experiment as a list of calls of verbs.
 *
 *   {"name": "example", "about": "...", "needs": ["${data}/xstest"],
 *    "steps": [
 *      {"name": "import", "verb": "import", "args": {...}, "positional": ["${data}/xstest"],
 *       "if": "${data}/xstest"},
 *      {"for": {"k": [0, 1, 2]}, "steps": [
 *        {"name": "train-${k}", "verb": "train", "title": "CQL", "args": {"out": "${out}/${k}", ...}}]},
 *      {"name": "eval", "verb": "eval", "title": "CQL", "group": "...",
 *       "args": {"policy": {"for": {"k": [0, 1, 2]}, "value": "${out}/${k}"}, ...}}]}
 *
 * A value is a text, a number, true (a switch), or an array or loop of them. A loop repeats its steps, or its
 * value, for every combination of the variables in "for": {"k": [0, 1], "a": ["x", "y"]}, or once for each
 * object in "for": [{"a": "cql", "title": "CQL"}, {"a": "bc", "title": "BC"}]. ${data}, ${out} and the
 * variables of enclosing loops are replaced in every text. `if` and `unless` name a path that must or must
 * not exist. title and group say how the report calls a step's results and in which table they stand,
 * columns which metrics the table shows besides the usual ones. */
#ifndef KEEL_EXPERIMENTS_RECIPE_H
#define KEEL_EXPERIMENTS_RECIPE_H

#include "experiments/cli.h"

typedef struct keel_step {
    const char *name;
    const char *title;   /* defaults to the name */
    const char *group;   /* or NULL */
    const char *columns; /* "accuracy,latency_s": metrics that its table shows besides; or NULL */
    const keel_verb *verb;
    const char **argv;
    size_t argc;
} keel_step;

typedef struct keel_recipe {
    const char *name, *about;
    keel_step *steps;
    size_t n_steps, capacity;
    keel_arena arena;
} keel_recipe;

typedef struct keel_recipe_places {
    const char *data;            /* ${data}; "" when there is none */
    const char *out;             /* ${out} */
    const char *const *settings; /* "STEP.FLAG=VALUE" replaces a flag, "STEP.KEY=VALUE" adds to the step's
                                    --set; "train*" stands for all steps whose name starts so */
    size_t n_settings;
} keel_recipe_places;

/* Reads a recipe into a list of steps and checks every step's command line; what is wrong is named by recipe
 * and step. A setting that no step answers to is KEEL_E_USAGE. Free in any case. */
keel_status keel_recipe_load(keel_recipe *recipe, const char *path, const keel_recipe_places *places,
                             keel_err *err);
/* The same from JSON that is read already; path: what errors call it. */
keel_status keel_recipe_read(keel_recipe *recipe, const cJSON *json, const char *path,
                             const keel_recipe_places *places, keel_err *err);
void keel_recipe_free(keel_recipe *recipe);

/* Whether "STEP.KEY..." is for a step of that name, and what follows the point; NULL: it is not. */
const char *keel_recipe_setting_for(const char *setting, const char *step);
/* Whether KEY is a configuration key of some names of the verb's (learners, kinds of base), though it may be
 * a flag too
 * (--mode). */
bool keel_recipe_is_named_key(const keel_verb *verb, const char *key);
/* Whether a step takes KEY as a flag or a configuration key: as its command line is (with the learner or kind
 * of base that it names), or, with any, under some name. */
bool keel_recipe_step_takes(const keel_step *step, const char *key, bool any);

#endif
