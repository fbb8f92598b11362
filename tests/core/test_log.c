#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/console.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/metrics.h"
#include "core/process.h"
#include "support/scratch.h"

static char folder[256], said[4096];
static int real_stderr;
static keel_context context;

/* What is told on stderr between the two calls stands in `said`. */
static void listen(void) {
    fflush(stderr);
    real_stderr = dup(STDERR_FILENO);
    int fd = open(scratch_path(folder, "stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(fd, STDERR_FILENO);
    close(fd);
}

static void stop_listening(void) {
    keel_buf buf = {0};
    fflush(stderr);
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    assert_int_equal(keel_file_read(scratch_path(folder, "stderr"), sizeof said - 1, &buf, NULL), KEEL_OK);
    snprintf(said, sizeof said, "%s", buf.data);
    keel_buf_free(&buf);
}

static void log_lines_follow_the_level(void **state) {
    (void)state;
    const char *wanted[] = {"", "info 1\n", "info 2\ndebug 2\n"};
    for (int level = KEEL_LOG_QUIET; level <= KEEL_LOG_DEBUG; level++) {
        context.log_level = (keel_log_level)level;
        listen();
        keel_log(KEEL_LOG_INFO, "info %d", level);
        keel_log(KEEL_LOG_DEBUG, "debug %d", level);
        stop_listening();
        assert_string_equal(said, wanted[level]);
    }
    context.log_level = KEEL_LOG_INFO;
}

static void a_line_is_one_line_and_harmless(void **state) {
    (void)state;
    listen();
    keel_log(KEEL_LOG_INFO, "%s", "a\x1b[2J\nb\tc\r\x7f \u202e \xc2\x9b \xff\xc3 \u00e9\u0301");
    stop_listening();
    assert_string_equal(said, "a?[2J b c ? ? ? ?? \u00e9\u0301\n");
}

static void progress_off_a_terminal_is_a_plain_line_now_and_then(void **state) {
    (void)state;
    keel_progress progress;
    listen();
    keel_progress_start(&progress, "import", 200);
    for (uint64_t i = 0; i < 100; i++) keel_progress_step(&progress, i, "early");
    progress.started -= 20; /* as if time had passed */
    progress.last_shown -= 20;
    keel_progress_step(&progress, 100, "loss 0.5");
    keel_progress_step(&progress, 101, "early");
    keel_progress_end(&progress, 200);
    stop_listening();
    assert_int_equal(strncmp(said, "import 100/200 50 %, ", 21), 0);
    assert_non_null(strstr(said, "/s, 0:20 left, loss 0.5\nimport 200/200 100 %, "));
    assert_null(strstr(said, "early"));
    assert_null(strchr(said, '\x1b'));
}

static void progress_on_a_terminal_is_a_bar_on_one_line(void **state) {
    (void)state;
    keel_progress progress;
    listen();
    keel_progress_start(&progress, "train", 4);
    progress.terminal = true;
    progress.started -= 7200;
    progress.last_shown -= 20;
    keel_progress_step(&progress, 1, NULL);
    keel_progress_end(&progress, 4);
    stop_listening();
    assert_int_equal(
        strncmp(said, "\r\x1b[Ktrain [######------------------] 1/4 25 %, 0.00/s, 6:00:00 left\r\x1b[K", 69),
        0);
    assert_int_equal(said[strlen(said) - 1], '\n');
}

static void progress_of_an_unknown_total_and_quiet_progress(void **state) {
    (void)state;
    keel_progress progress;
    listen();
    keel_progress_start(&progress, "read", 0);
    keel_progress_end(&progress, 12);
    stop_listening();
    assert_int_equal(strncmp(said, "read 12, ", 9), 0);
    context.log_level = KEEL_LOG_QUIET;
    listen();
    keel_progress_start(&progress, "read", 0);
    progress.last_shown -= 100;
    keel_progress_step(&progress, 1, NULL);
    keel_progress_end(&progress, 12);
    stop_listening();
    context.log_level = KEEL_LOG_INFO;
    assert_string_equal(said, "");
}

static const char *const names[] = {"loss", "td"};

static void write_metrics(const char *path, bool append, uint64_t step, double loss) {
    keel_metrics *metrics;
    assert_int_equal(keel_metrics_open(&metrics, path, append, NULL), KEEL_OK);
    assert_int_equal(keel_metrics_write(metrics, step, names, (double[]){loss, NAN}, 2, NULL), KEEL_OK);
    assert_int_equal(keel_metrics_close(metrics, NULL), KEEL_OK);
}

static void assert_file(const char *path, const char *wanted) {
    keel_buf buf = {0};
    assert_int_equal(keel_file_read(path, 0, &buf, NULL), KEEL_OK);
    assert_string_equal(buf.data, wanted);
    keel_buf_free(&buf);
}

static void metrics_are_one_json_object_a_line(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    write_metrics(path, false, 1, 9);
    write_metrics(path, false, 2, 0.5);
    write_metrics(path, true, 18446744073709551615u, -1e-3);
    assert_file(path, "{\"step\": 2, \"loss\": 0.5, \"td\": null}\n"
                      "{\"step\": 18446744073709551615, \"loss\": -0.001, \"td\": null}\n");
}

static void appending_drops_the_line_that_a_killed_process_left_unfinished(void **state) {
    (void)state;
    const char *torn[] = {"", "{\"st", "{\"step\": 1}\n{\"step\": 2, \"lo", "{\"step\": 1}\n"};
    char path[512];
    snprintf(path, sizeof path, "%s/torn.jsonl", folder);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(keel_file_write(path, torn[i], strlen(torn[i]), NULL), KEEL_OK);
        write_metrics(path, true, 2, 1);
        assert_file(path, i < 2 ? "{\"step\": 2, \"loss\": 1, \"td\": null}\n"
                                : "{\"step\": 1}\n{\"step\": 2, \"loss\": 1, \"td\": null}\n");
    }
}

static void trimming_keeps_the_lines_up_to_a_step(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/trimmed.jsonl", folder);
    for (uint64_t step = 1; step <= 4; step++) write_metrics(path, step > 1, step, 1);
    assert_int_equal(keel_metrics_trim(path, 2, NULL), KEEL_OK);
    assert_file(path, "{\"step\": 1, \"loss\": 1, \"td\": null}\n"
                      "{\"step\": 2, \"loss\": 1, \"td\": null}\n");
    assert_int_equal(keel_metrics_trim(path, 0, NULL), KEEL_OK);
    assert_file(path, "");
}

static void trimming_keeps_to_the_line_and_goes_on_after_a_nul(void **state) {
    (void)state;
    static const char text[] = "no number\n{\"step\": 1}\n\0\n{\"step\": 2}\n{\"step\": 3}\n{\"st";
    char path[512];
    snprintf(path, sizeof path, "%s/odd.jsonl", folder);
    assert_int_equal(keel_file_write(path, text, sizeof text - 1, NULL), KEEL_OK);
    assert_int_equal(keel_metrics_trim(path, 2, NULL), KEEL_OK);
    assert_file(path, "{\"step\": 1}\n{\"step\": 2}\n");
}

static void metrics_without_a_path_are_a_sink_and_bad_paths_are_errors(void **state) {
    (void)state;
    keel_err err = {0};
    keel_metrics *metrics = NULL;
    write_metrics(NULL, false, 1, 1);
    assert_int_equal(keel_metrics_close(NULL, NULL), KEEL_OK);
    assert_int_equal(keel_metrics_open(&metrics, scratch_path(folder, "no/such/file"), false, &err),
                     KEEL_E_IO);
    assert_null(metrics);
    if (access("/dev/full", W_OK) != 0) {
        print_message("skipped the full disk: no /dev/full here\n");
        return;
    }
    assert_int_equal(keel_metrics_open(&metrics, "/dev/full", false, NULL), KEEL_OK);
    assert_int_equal(keel_metrics_write(metrics, 1, names, (double[]){1, 2}, 2, &err), KEEL_E_IO);
    (void)keel_metrics_close(metrics, NULL);
}

/* Raises the signals in a child; its exit code, or minus the signal that killed it. */
static int child_with(int first, int second) {
    pid_t child = fork();
    if (child == 0) {
        keel_process_own();
        if (keel_interrupted()) _exit(1);
        raise(first);
        if (!keel_interrupted()) _exit(2);
        if (second) raise(second);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void the_first_signal_asks_and_the_second_kills(void **state) {
    (void)state;
    assert_int_equal(child_with(SIGINT, 0), 0);
    assert_int_equal(child_with(SIGTERM, 0), 0);
    assert_int_equal(child_with(SIGHUP, 0), 0);
    assert_int_equal(child_with(SIGINT, SIGINT), -SIGINT);
    assert_int_equal(child_with(SIGINT, SIGTERM), -SIGTERM);
    assert_false(keel_interrupted());
}

/* SIGINT alone is taken back, and the next signal asks again. */
static void an_interrupt_is_taken_back(void **state) {
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        keel_process_own();
        if (keel_process_go_on()) _exit(1);
        for (int i = 0; i < 2; i++) {
            raise(SIGINT);
            if (!keel_interrupted()) _exit(2);
            if (!keel_process_go_on() || keel_interrupted()) _exit(3);
        }
        raise(SIGTERM);
        _exit(keel_process_go_on() || !keel_interrupted() ? 4 : 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int set_up(void **state) {
    (void)state;
    keel_context_init(&context);
    keel_console_attach(&context);
    keel_context_use(&context);
    return scratch_make(folder, "log") ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return keel_folder_remove(folder, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_lines_follow_the_level),
        cmocka_unit_test(a_line_is_one_line_and_harmless),
        cmocka_unit_test(progress_off_a_terminal_is_a_plain_line_now_and_then),
        cmocka_unit_test(progress_on_a_terminal_is_a_bar_on_one_line),
        cmocka_unit_test(progress_of_an_unknown_total_and_quiet_progress),
        cmocka_unit_test(metrics_are_one_json_object_a_line),
        cmocka_unit_test(appending_drops_the_line_that_a_killed_process_left_unfinished),
        cmocka_unit_test(trimming_keeps_the_lines_up_to_a_step),
        cmocka_unit_test(trimming_keeps_to_the_line_and_goes_on_after_a_nul),
        cmocka_unit_test(metrics_without_a_path_are_a_sink_and_bad_paths_are_errors),
        cmocka_unit_test(the_first_signal_asks_and_the_second_kills),
        cmocka_unit_test(an_interrupt_is_taken_back),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
