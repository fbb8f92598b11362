#include "experiments/recipe_words.h"

#include <string.h>

#include "core/json.h"

/* Adds "flag": value to args; of a flag that stands there already the values become a list. */
static bool add_argument(cJSON *args, const char *flag, const char *value) {
    cJSON *there = cJSON_GetObjectItemCaseSensitive(args, flag);
    cJSON *text = value ? cJSON_CreateString(value) : cJSON_CreateTrue();
    if (!there) return keel_json_add(args, flag, text);
    if (cJSON_IsArray(there)) return keel_json_add(there, NULL, text);
    cJSON *list = cJSON_CreateArray();
    if (!keel_json_add(list, NULL, cJSON_Duplicate(there, true)) || !keel_json_add(list, NULL, text)) {
        cJSON_Delete(list);
        return false;
    }
    return cJSON_ReplaceItemInObjectCaseSensitive(args, flag, list);
}

/* The arguments of one verb, parsed as the program would. */
static keel_status add_arguments(cJSON *step, const keel_verb *verb, const char *const *words, size_t n,
                                 const char *const *add, size_t n_add, keel_err *err) {
    cJSON *args = cJSON_AddObjectToObject(step, "args");
    cJSON *positional = cJSON_AddArrayToObject(step, "positional");
    keel_cli cli = {0};
    bool help = false, whole = args && positional;
    const char **all = keel_calloc(n + n_add + 1, sizeof *all);
    size_t count = 0;
    if (!all) return keel_nomem(err, verb->name);
    for (size_t i = 0; i + 1 < n_add; i += 2) {
        bool given = !keel_verb_has_flag(verb, add[i]);
        for (size_t k = 0; k < n; k++)
            given |= strcmp(words[k], add[i]) == 0 ||
                     (strncmp(words[k], add[i], strlen(add[i])) == 0 && words[k][strlen(add[i])] == '=');
        for (size_t k = 0; !given && k < 2; k++) all[count++] = add[i + k];
    }
    for (size_t k = 0; k < n; k++) all[count++] = words[k];
    keel_status status = keel_cli_parse(&cli, verb, count, all, &help, err);
    if (status == KEEL_OK && help)
        status = keel_fail(err, KEEL_E_USAGE, verb->name, "a step cannot ask for help");
    for (size_t i = 0; status == KEEL_OK && whole && i < cli.n_given; i++) {
        const keel_given *one = &cli.given[i];
        whole = one->flag ? add_argument(args, one->flag->name + 2, one->value)
                          : keel_json_add(positional, NULL, cJSON_CreateString(one->value));
    }
    keel_cli_free(&cli);
    keel_free(all);
    return status == KEEL_OK && !whole ? keel_nomem(err, verb->name) : status;
}

static keel_status add_words_step(cJSON *steps, const char *const *words, size_t n, const char *const *add,
                                  size_t n_add, keel_err *err) {
    const keel_verb *verb;
    const cJSON *other;
    size_t same = 1;
    char name[64];
    if (n == 0) return keel_fail(err, KEEL_E_USAGE, "--", "a verb is missing");
    KEEL_TRY(keel_verb_find(words[0], &verb, err));
    cJSON_ArrayForEach (other, steps)
        same += strcmp(keel_json_get(other, "verb")->valuestring, words[0]) == 0;
    snprintf(name, sizeof name, same > 1 ? "%s-%zu" : "%s", verb->name, same);
    cJSON *step = cJSON_CreateObject();
    if (!keel_json_add(steps, NULL, step) || !cJSON_AddStringToObject(step, "name", name) ||
        !cJSON_AddStringToObject(step, "verb", verb->name))
        return keel_nomem(err, name);
    return add_arguments(step, verb, words + 1, n - 1, add, n_add, err);
}

keel_status keel_recipe_words_read(const char *const *words, size_t n, const char *const *add, size_t n_add,
                                   cJSON **out, keel_err *err) {
    cJSON *recipe = cJSON_CreateObject(), *steps = NULL;
    keel_status status = KEEL_OK;
    if (!recipe || !cJSON_AddStringToObject(recipe, "name", words[0]) ||
        !(steps = cJSON_AddArrayToObject(recipe, "steps")))
        status = keel_nomem(err, "search");
    for (size_t from = 0, to; status == KEEL_OK && from <= n; from = to + 1) {
        for (to = from; to < n && strcmp(words[to], "--") != 0;) to++;
        status = add_words_step(steps, words + from, to - from, add, n_add, err);
    }
    if (status == KEEL_OK)
        *out = recipe;
    else
        cJSON_Delete(recipe);
    return status;
}
