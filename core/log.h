/* Telling: log lines and a progress bar on stderr, metrics as JSON Lines in a file, and the interrupt flag.
 * The level is process-wide, set once by the program; libraries only tell. */
#ifndef KEEL_CORE_LOG_H
#define KEEL_CORE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef enum keel_log_level { KEEL_LOG_QUIET = 0, KEEL_LOG_INFO = 1, KEEL_LOG_DEBUG = 2 } keel_log_level;
void keel_log_set_level(keel_log_level level);
void keel_log(keel_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Progress: a bar with rate and time left on a terminal, one plain line every ten seconds elsewhere, nothing
 * when quiet. */
typedef struct keel_progress {
    const char *what;
    uint64_t total; /* 0: unknown */
    double started; /* seconds of the monotonic clock */
    double shown;
    bool terminal;
} keel_progress;
void keel_progress_start(keel_progress *progress, const char *what, uint64_t total);
/* note: a short text such as "loss 0.12", or NULL. Cheap to call often. */
void keel_progress_step(keel_progress *progress, uint64_t done, const char *note);
void keel_progress_end(keel_progress *progress, uint64_t done);

double keel_clock(void); /* monotonic seconds; for progress and benchmarks only, never for results */

/* Metrics: one JSON object a line, {"step": n, "name": value, ...}. Non-finite values are written as null. */
typedef struct keel_metrics keel_metrics;
keel_status keel_metrics_open(keel_metrics **out, const char *path, bool append,
                              keel_err *err); /* path NULL: a sink */
/* Drops the lines beyond a step: a run that was killed wrote them after its last checkpoint, and they come
 * again. */
keel_status keel_metrics_trim(const char *path, uint64_t step, keel_err *err);
/* names/values of equal length. */
keel_status keel_metrics_write(keel_metrics *metrics, uint64_t step, const char *const *names,
                               const double *values, size_t count, keel_err *err);
keel_status keel_metrics_close(keel_metrics *metrics, keel_err *err); /* NULL is harmless */

/* SIGINT, SIGTERM and SIGHUP (unless ignored) set a flag that long loops poll; they then save a resumable
 * state and return KEEL_E_INTERRUPTED. */
void keel_interrupt_install(void);
bool keel_interrupted(void);
void keel_interrupt_set(bool value); /* for tests */

#endif
