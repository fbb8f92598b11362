/* Progress of a long call: handed to the sink of the context (core/context.h). */
#ifndef KEEL_CORE_PROGRESS_H
#define KEEL_CORE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/api.h"

KEEL_BEGIN_DECLS

typedef struct keel_progress {
    const char *what;
    uint64_t total;           /* 0: unknown */
    double started;           /* keel_clock at the start */
    double last_shown, pause; /* for the sink: when it showed something, seconds until it does so again */
    bool terminal;            /* for the sink */
} keel_progress;

typedef enum keel_progress_event {
    KEEL_PROGRESS_START,
    KEEL_PROGRESS_STEP,
    KEEL_PROGRESS_END
} keel_progress_event;

/* Called at each step, so the sink chooses what to show. note: a short text such as "loss 0.12", or NULL. */
typedef void keel_progress_sink(void *user, keel_progress *progress, keel_progress_event event, uint64_t done,
                                const char *note);

void keel_progress_start(keel_progress *progress, const char *what, uint64_t total);
void keel_progress_step(keel_progress *progress, uint64_t done, const char *note);
void keel_progress_end(keel_progress *progress, uint64_t done);

KEEL_END_DECLS

#endif
