/* Server-sent events (HTML Living Standard, 9.2.6, "Interpreting an event stream"): bytes in pieces of any
 * size into events. Lines end by CRLF, LF or CR; data lines of an event are joined by LF; comments, other
 * fields and an event that the stream ends within are left out. */
#ifndef KEEL_EXPERIMENTS_SERVE_SSE_H
#define KEEL_EXPERIMENTS_SERVE_SSE_H

#include <stdbool.h>

#include "core/memory.h"
#include "core/status.h"

/* Set most, zero the rest. */
typedef struct keel_sse {
    size_t most;         /* bytes of an event's data, and of a line */
    keel_buf line, data; /* of what is not yet whole */
    bool after_cr, begun, failed;
} keel_sse;

/* The data of an event, ended by a 0 that is not counted; valid during the call. */
typedef keel_status keel_sse_event(void *context, const char *data, size_t length, keel_err *err);
/* KEEL_E_PARSE: an event is too long; else what `event` returns, which ends it. Later calls fail, too. */
keel_status keel_sse_take(keel_sse *sse, const char *bytes, size_t length, keel_sse_event *event,
                          void *context, keel_err *err);
void keel_sse_free(keel_sse *sse);

#endif
