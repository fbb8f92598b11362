/* The keel program: finds the verb, which program.c runs. */
#include <string.h>

#include "core/process.h"
#include "datasets/store.h"
#include "experiments/program.h"

int main(int argc, char **argv) {
    static char help[] = "help", help_flag[] = "--help";
    keel_err err = {0};
    if (!keel_program_hold_streams()) return 1;
    keel_context *context = keel_process_own();
    keel_store_use_allocator();
    if (argc < 2) {
        keel_cli_overview(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) argv[1] = help;
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0 ||
        (strcmp(argv[1], "version") == 0 && argc == 2)) {
        keel_cli_version(true, stdout);
        fputc('\n', stdout);
        return keel_program_flush(&err) == KEEL_OK ? 0 : keel_program_fail(NULL, &err);
    }
    /* `keel help VERB ...` is `keel VERB --help ...`. */
    if (strcmp(argv[1], "help") == 0 && argc > 2 && argv[2][0] != '-') {
        argv[1] = argv[2];
        argv[2] = help_flag;
    }
    const keel_verb *verb;
    if (keel_verb_find(argv[1], &verb, &err) != KEEL_OK) return keel_program_fail(NULL, &err);
    return keel_program_run(verb, context, (size_t)argc - 2, (const char *const *)argv + 2);
}
