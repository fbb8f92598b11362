/* The keel program: finds the verb, runs it, prints its result or its error, and exits. Nothing else prints
 * or exits. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/process.h"
#include "datasets/store.h"
#include "experiments/cli.h"
#include "experiments/table.h"

static int print_error(const char *verb, const keel_err *err) {
    fprintf(stderr, "keel%s%s: ", verb ? " " : "", verb ? verb : "");
    if (err->where[0]) {
        keel_print_text(stderr, err->where);
        fputs(": ", stderr);
    }
    keel_print_text(stderr, err->message[0] ? err->message : keel_status_text(err->code));
    fputc('\n', stderr);
    if (err->code == KEEL_E_INTERRUPTED && !err->hint[0])
        fputs("hint: the same command goes on from here\n", stderr);
    if (err->hint[0]) {
        fputs("hint: ", stderr);
        keel_print_text(stderr, err->hint);
        fputc('\n', stderr);
    }
    return err->code == KEEL_E_USAGE ? 2 : err->code == KEEL_E_GATE ? 3 : 1;
}

static keel_status flush_stdout(keel_err *err) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return KEEL_OK;
    return keel_fail(err, KEEL_E_IO, "stdout", "could not be written");
}

/* The result as JSON or as the verb prints it; a full disk or a closed pipe is an error like any other. */
static keel_status print_result(keel_cli *cli, keel_err *err) {
    if (!cli->result) return KEEL_OK;
    keel_cli_tell(cli);
    KEEL_TRY(keel_cli_check_result(cli, err));
    if (keel_cli_has(cli, "--json")) {
        keel_buf text = {0};
        keel_status status = keel_json_print(cli->result, true, &text, err);
        if (status == KEEL_OK) fwrite(text.data, 1, text.length, stdout);
        keel_buf_free(&text);
        if (status != KEEL_OK) return status;
    } else {
        cli->verb->print(cli->result, stdout);
    }
    return flush_stdout(err);
}

static int run_verb(const keel_verb *verb, keel_context *context, size_t argc, const char *const *argv) {
    keel_err err = {0}, print_err = {0};
    keel_cli cli;
    bool help = false;
    int exit_code = 0;
    keel_status status = keel_cli_parse(&cli, verb, argc, argv, &help, &err);
    if (help) {
        keel_cli_help(&cli, stdout);
        keel_cli_free(&cli);
        return flush_stdout(&err) == KEEL_OK ? 0 : print_error(verb->name, &err);
    }
    if (status == KEEL_OK) {
        if (keel_cli_has(&cli, "--quiet")) context->log_level = KEEL_LOG_QUIET;
        status = keel_cli_run(&cli, &err);
    }
    err.code = status;
    if (status == KEEL_OK || status == KEEL_E_GATE)
        if (print_result(&cli, &print_err) != KEEL_OK) exit_code = print_error(verb->name, &print_err);
    if (status != KEEL_OK) exit_code = print_error(verb->name, &err);
    keel_cli_free(&cli);
    if (status == KEEL_E_INTERRUPTED) keel_process_end_by_signal();
    return exit_code;
}

/* A program that is started with a standard stream closed would open a file under its number, and write
 * results or the log into an artefact. /dev/null takes their place; on stdout read-only, so that a result
 * that goes nowhere is an error. */
static bool hold_standard_streams(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) != fd) return false;
    return true;
}

int main(int argc, char **argv) {
    static char help[] = "help", help_flag[] = "--help";
    keel_err err = {0};
    if (!hold_standard_streams()) return 1;
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
        return flush_stdout(&err) == KEEL_OK ? 0 : print_error(NULL, &err);
    }
    /* `keel help VERB ...` is `keel VERB --help ...`. */
    if (strcmp(argv[1], "help") == 0 && argc > 2 && argv[2][0] != '-') {
        argv[1] = argv[2];
        argv[2] = help_flag;
    }
    const keel_verb *verb;
    if (keel_verb_find(argv[1], &verb, &err) != KEEL_OK) return print_error(NULL, &err);
    return run_verb(verb, context, (size_t)argc - 2, (const char *const *)argv + 2);
}
