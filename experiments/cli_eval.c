#include "experiments/cli_eval.h"

#include <string.h>

#include "experiments/verbs.h"

static bool is_among(const char *name, const char *const *list) {
    while (*list && strcmp(*list, name) != 0) list++;
    return *list != NULL;
}

static keel_status arguments(keel_cli *cli, const char *const *but, const char *const *also,
                             const char ***argv, size_t *argc, keel_err *err) {
    size_t more = 0;
    while (also[more]) more++;
    *argv = keel_arena_calloc(&cli->arena, 2 * cli->n_given + more + 1, sizeof **argv);
    *argc = 0;
    if (!*argv) return keel_nomem(err, "arguments");
    for (size_t i = 0; i < cli->n_given; i++) {
        const keel_given *given = &cli->given[i];
        if (is_among(given->flag->name, but)) continue;
        (*argv)[(*argc)++] = given->flag->name;
        if (given->value) (*argv)[(*argc)++] = given->value;
    }
    for (size_t i = 0; i < more; i++) (*argv)[(*argc)++] = also[i];
    return KEEL_OK;
}

keel_status keel_cli_eval(keel_cli *cli, const char *const *but, const char *const *also, cJSON **result,
                          keel_err *err) {
    const char **argv;
    size_t argc;
    bool help = false;
    keel_cli inner;
    *result = NULL;
    KEEL_TRY(arguments(cli, but, also, &argv, &argc, err));
    keel_status status = keel_cli_parse(&inner, &keel_verb_eval, argc, argv, &help, err);
    if (status == KEEL_OK) status = keel_cli_run(&inner, err);
    if (status == KEEL_OK || status == KEEL_E_GATE) {
        *result = inner.result;
        inner.result = NULL;
    }
    keel_cli_free(&inner);
    return status;
}
