#include "experiments/program.h"

#include <fcntl.h>
#include <stdlib.h>

#include "core/json.h"
#include "core/process.h"
#include "experiments/table.h"

int keel_program_fail(const keel_verb *verb, const keel_err *err) {
    if (verb)
        fprintf(stderr, "%s%s: ", KEEL_VERB_WORDS(verb));
    else
        fputs("keel: ", stderr);
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

keel_status keel_program_flush(keel_err *err) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return KEEL_OK;
    return keel_fail(err, KEEL_E_IO, "stdout", "could not be written");
}

/* As the verb prints it. What stands in it may come from a log, a store or a server: none of it moves the
 * cursor. */
static keel_status print_for_people(const keel_cli *cli, keel_err *err) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out) return keel_nomem(err, "stdout");
    cli->verb->print(cli->result, out);
    const bool whole = fclose(out) == 0;
    if (whole) keel_print_text(stdout, text);
    free(text);
    return whole ? KEEL_OK : keel_nomem(err, "stdout");
}

/* The result as JSON or for people; a full disk or a closed pipe is an error like any other. */
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
        KEEL_TRY(print_for_people(cli, err));
    }
    return keel_program_flush(err);
}

int keel_program_run(const keel_verb *verb, keel_context *context, size_t argc, const char *const *argv) {
    keel_err err = {0}, print_err = {0};
    keel_cli cli;
    bool help = false;
    int exit_code = 0;
    keel_status status = keel_cli_parse(&cli, verb, argc, argv, &help, &err);
    if (help) {
        keel_cli_help(&cli, stdout);
        keel_cli_free(&cli);
        return keel_program_flush(&err) == KEEL_OK ? 0 : keel_program_fail(verb, &err);
    }
    if (status == KEEL_OK) {
        if (keel_cli_has(&cli, "--quiet")) context->log_level = KEEL_LOG_QUIET;
        status = keel_cli_run(&cli, &err);
    }
    err.code = status;
    if (status == KEEL_OK || status == KEEL_E_GATE)
        if (print_result(&cli, &print_err) != KEEL_OK) exit_code = keel_program_fail(verb, &print_err);
    if (status != KEEL_OK) exit_code = keel_program_fail(verb, &err);
    keel_cli_free(&cli);
    if (status == KEEL_E_INTERRUPTED) keel_process_end_by_signal();
    return exit_code;
}

bool keel_program_hold_streams(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) != fd) return false;
    return true;
}
