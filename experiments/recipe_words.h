/* A command line as a recipe: verbs with their arguments, "--" between them. Steps are called by their verbs,
 * a second one of the same verb NAME-2. */
#ifndef KEEL_EXPERIMENTS_RECIPE_WORDS_H
#define KEEL_EXPERIMENTS_RECIPE_WORDS_H

#include "experiments/cli.h"

/* Words [n >= 1] as the JSON of a recipe; the caller deletes *out. add [n_add]: flags, each followed by its
 * value, that every step gets whose verb takes them and that does not give them itself. An unknown verb or a
 * wrong command line is KEEL_E_USAGE. */
keel_status keel_recipe_words_read(const char *const *words, size_t n, const char *const *add, size_t n_add,
                                   cJSON **out, keel_err *err);

#endif
