#include "core/console.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"

static const double terminal_pause = 0.1, plain_pause = 10; /* seconds between two showings */
enum { BAR_WIDTH = 24 };

static void print_line(void *user, keel_log_level level, const char *line) {
    (void)user, (void)level;
    /* A progress bar is wiped; its next step draws it again. */
    fprintf(stderr, "%s%s\n", isatty(STDERR_FILENO) ? "\r\x1b[K" : "", line);
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

static void print_progress(void *user, keel_progress *progress, keel_progress_event event, uint64_t done,
                           const char *note) {
    (void)user;
    if (event == KEEL_PROGRESS_START) {
        progress->terminal = isatty(STDERR_FILENO) == 1;
        progress->pause = progress->terminal ? terminal_pause : plain_pause;
        progress->last_shown = progress->started;
        return;
    }
    double now = keel_clock();
    if (event == KEEL_PROGRESS_STEP && now - progress->last_shown < progress->pause) return;
    const bool shown = progress->last_shown > progress->started;
    if (event == KEEL_PROGRESS_END && done == 0 && !shown) return; /* nothing came of it: an error says why */
    progress->last_shown = now;
    show(progress, done, note, now, event == KEEL_PROGRESS_END);
}

void keel_console_attach(keel_context *context) {
    context->log = print_line;
    context->progress = print_progress;
}
