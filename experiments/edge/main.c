/* keel-decide: `keel decide` as a program of its own, small and static: without BLAS, without a store. */
#include <string.h>

#include "core/process.h"
#include "experiments/program.h"
#include "experiments/verbs.h"

static keel_verb verb;

const keel_verb *const keel_verbs[] = {&verb, NULL};

int main(int argc, char **argv) {
    keel_err err = {0};
    if (!keel_program_hold_streams()) return 1;
    keel_context *context = keel_process_own();
    verb = keel_verb_decide;
    verb.alone = "keel-decide";
    if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) {
        keel_cli_version(true, stdout);
        fputc('\n', stdout);
        return keel_program_flush(&err) == KEEL_OK ? 0 : keel_program_fail(&verb, &err);
    }
    return keel_program_run(&verb, context, (size_t)argc - 1, (const char *const *)argv + 1);
}
