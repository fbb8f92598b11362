#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "core/memory.h"

/* ---- log lines ---- */

static atomic_int current_level = KEEL_LOG_INFO;

void keel_log_set_level(keel_log_level level) {
    atomic_store(&current_level, level);
}

static bool tells(keel_log_level level) {
    return (int)level <= atomic_load(&current_level);
}

void keel_log(keel_log_level level, const char *format, ...) {
    if (level == KEEL_LOG_QUIET || !tells(level)) return;
    va_list args;
    va_start(args, format);
    flockfile(stderr);
    if (isatty(STDERR_FILENO))
        fputs("\r\x1b[K", stderr); /* wipes a progress bar; its next step draws it again */
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    funlockfile(stderr);
    va_end(args);
}

/* ---- progress ---- */

static const double terminal_pause = 0.1, plain_pause = 10; /* seconds between two showings */
enum { BAR_WIDTH = 24 };

double keel_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void keel_progress_start(keel_progress *progress, const char *what, uint64_t total) {
    double now = keel_clock();
    *progress = (keel_progress){
        .what = what, .total = total, .started = now, .shown = now, .terminal = isatty(STDERR_FILENO) == 1};
}

static void put_duration(keel_buf *line, double seconds) {
    uint64_t whole = (uint64_t)(seconds + 0.5);
    unsigned h = (unsigned)(whole / 3600), m = (unsigned)(whole / 60 % 60), s = (unsigned)(whole % 60);
    if (h > 0)
        keel_buf_format(line, "%u:%02u:%02u", h, m, s);
    else
        keel_buf_format(line, "%u:%02u", m, s);
}

static void put_bar(keel_buf *line, double share) {
    char bar[BAR_WIDTH + 1];
    int full = (int)(share * BAR_WIDTH);
    memset(bar, '-', BAR_WIDTH);
    memset(bar, '#', (size_t)full);
    bar[BAR_WIDTH] = '\0';
    keel_buf_format(line, " [%s]", bar);
}

static void show(const keel_progress *progress, uint64_t done, const char *note, double now, bool last) {
    keel_buf line = {0};
    double elapsed = now - progress->started, rate = elapsed > 0 ? (double)done / elapsed : 0;
    double share = progress->total ? (double)done / (double)progress->total : 0;
    if (share > 1) share = 1;
    if (progress->terminal) keel_buf_text(&line, "\r\x1b[K");
    keel_buf_text(&line, progress->what);
    if (progress->terminal && progress->total && !last) put_bar(&line, share);
    keel_buf_format(&line, " %llu", (unsigned long long)done);
    if (progress->total)
        keel_buf_format(&line, "/%llu %.0f %%", (unsigned long long)progress->total, 100 * share);
    keel_buf_format(&line, ", %.*f/s, ", rate < 10 ? 2 : 0, rate);
    if (last) {
        put_duration(&line, elapsed);
    } else if (progress->total && rate > 0 && done < progress->total) {
        put_duration(&line, (double)(progress->total - done) / rate);
        keel_buf_text(&line, " left");
    } else {
        put_duration(&line, elapsed);
        keel_buf_text(&line, " so far");
    }
    if (note) keel_buf_format(&line, ", %s", note);
    if (!progress->terminal || last) keel_buf_text(&line, "\n");
    if (!line.failed) fwrite(line.data, 1, line.length, stderr);
    keel_buf_free(&line);
}

void keel_progress_step(keel_progress *progress, uint64_t done, const char *note) {
    if (!tells(KEEL_LOG_INFO)) return;
    double now = keel_clock();
    if (now - progress->shown < (progress->terminal ? terminal_pause : plain_pause)) return;
    progress->shown = now;
    show(progress, done, note, now, false);
}

void keel_progress_end(keel_progress *progress, uint64_t done) {
    if (tells(KEEL_LOG_INFO)) show(progress, done, NULL, keel_clock(), true);
}

/* ---- metrics ---- */

struct keel_metrics {
    FILE *file; /* NULL: a sink */
    char *path;
    keel_buf line;
};

static keel_status fail_metrics(const char *path, const char *doing, keel_err *err) {
    return keel_fail(err, KEEL_E_IO, path, "cannot %s the metrics: %s", doing, strerror(errno));
}

/* Cuts off what a killed process left of its last line, so that every line stays one JSON object. */
static bool drop_torn_line(FILE *file) {
    if (fseek(file, 0, SEEK_END) != 0) return false;
    long length = ftell(file), keep = length;
    for (; keep > 0; keep--)
        if (fseek(file, keep - 1, SEEK_SET) != 0 || fgetc(file) == '\n') break;
    if (ferror(file) || fseek(file, 0, SEEK_END) != 0) return false;
    return keep == length || ftruncate(fileno(file), keep) == 0;
}

keel_status keel_metrics_trim(const char *path, uint64_t step, keel_err *err) {
    keel_buf text = {0}, kept = {0};
    keel_status status = keel_file_read(path, 0, &text, err);
    char *line = text.data, *stop = line ? line + text.length : NULL, *end;
    for (; status == KEEL_OK && line < stop && (end = memchr(line, '\n', (size_t)(stop - line)));
         line = end + 1) {
        *end = '\0'; /* so that the search stays within the line */
        const char *number = strstr(line, "\"step\":");
        if (!number || strtoull(number + 7, NULL, 10) > step) continue;
        *end = '\n';
        keel_buf_append(&kept, line, (size_t)(end - line) + 1);
    }
    if (kept.failed) status = keel_fail(err, KEEL_E_NOMEM, path, "no memory for the metrics");
    if (status == KEEL_OK) status = keel_file_write(path, kept.data ? kept.data : "", kept.length, err);
    keel_buf_free(&text);
    keel_buf_free(&kept);
    return status;
}

keel_status keel_metrics_open(keel_metrics **out, const char *path, bool append, keel_err *err) {
    keel_metrics *metrics = keel_calloc(1, sizeof *metrics);
    if (!metrics) return keel_fail(err, KEEL_E_NOMEM, path, "no memory for metrics");
    keel_status status = KEEL_OK;
    if (path && !(metrics->path = keel_strdup(path))) {
        status = keel_fail(err, KEEL_E_NOMEM, path, "no memory for metrics");
        goto fail;
    }
    if (path && !(metrics->file = fopen(path, append ? "a+" : "w"))) {
        status = fail_metrics(path, "open", err);
        goto fail;
    }
    if (path && append && !drop_torn_line(metrics->file)) {
        status = fail_metrics(path, "continue", err);
        goto fail;
    }
    *out = metrics;
    return KEEL_OK;
fail:
    keel_metrics_close(metrics, NULL);
    return status;
}

keel_status keel_metrics_write(keel_metrics *metrics, uint64_t step, const char *const *names,
                               const double *values, size_t count, keel_err *err) {
    keel_buf *line = &metrics->line;
    if (!metrics->file) return KEEL_OK;
    keel_buf_clear(line);
    keel_buf_format(line, "{\"step\": %llu", (unsigned long long)step);
    for (size_t i = 0; i < count; i++) {
        keel_buf_text(line, ", ");
        keel_json_put_string(line, names[i]);
        keel_buf_text(line, ": ");
        keel_json_put_number(line, values[i]);
    }
    keel_buf_text(line, "}\n");
    if (line->failed) return keel_fail(err, KEEL_E_NOMEM, metrics->path, "no memory for a line of metrics");
    /* Flushed line by line: a full disk is noticed here, and curves can be followed while they grow. */
    if (fwrite(line->data, 1, line->length, metrics->file) != line->length || fflush(metrics->file) != 0)
        return fail_metrics(metrics->path, "write", err);
    return KEEL_OK;
}

keel_status keel_metrics_close(keel_metrics *metrics, keel_err *err) {
    if (!metrics) return KEEL_OK;
    keel_status status = KEEL_OK;
    if (metrics->file && fclose(metrics->file) != 0) status = fail_metrics(metrics->path, "write", err);
    keel_buf_free(&metrics->line);
    keel_free(metrics->path);
    keel_free(metrics);
    return status;
}

/* ---- interrupts ---- */

static atomic_bool interrupted;

enum { N_ASKING = 3 };
static const int asking[N_ASKING] = {SIGINT, SIGTERM, SIGHUP};

/* The first signal asks; any of them after it kills as usual. */
static void on_signal(int number) {
    (void)number;
    struct sigaction usual = {.sa_handler = SIG_DFL};
    atomic_store(&interrupted, true);
    for (int i = 0; i < N_ASKING; i++) sigaction(asking[i], &usual, NULL);
}

/* A SIGHUP that is ignored stays ignored: that is what nohup is for. */
void keel_interrupt_install(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < N_ASKING; i++)
        if (asking[i] != SIGHUP || (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN))
            sigaction(asking[i], &action, NULL);
}

bool keel_interrupted(void) {
    return atomic_load(&interrupted);
}

void keel_interrupt_set(bool value) {
    atomic_store(&interrupted, value);
}
