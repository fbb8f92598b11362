#include "core/progress.h"

#include <stddef.h>

#include "core/clock.h"
#include "core/context.h"

static void tell(keel_progress *progress, keel_progress_event event, uint64_t done, const char *note) {
    const keel_context *context = keel_context_current();
    if (context->progress && context->log_level >= KEEL_LOG_INFO)
        context->progress(context->user, progress, event, done, note);
}

void keel_progress_start(keel_progress *progress, const char *what, uint64_t total) {
    *progress = (keel_progress){.what = what, .total = total, .started = keel_clock()};
    tell(progress, KEEL_PROGRESS_START, 0, NULL);
}

void keel_progress_step(keel_progress *progress, uint64_t done, const char *note) {
    tell(progress, KEEL_PROGRESS_STEP, done, note);
}

void keel_progress_end(keel_progress *progress, uint64_t done) {
    tell(progress, KEEL_PROGRESS_END, done, NULL);
}
