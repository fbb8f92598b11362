#include "experiments/serve/sse.h"

#include <stdbool.h>
#include <string.h>

static keel_status too_long(const keel_sse *sse, keel_err *err) {
    return keel_fail(err, KEEL_E_PARSE, "stream", "an event has more than %zu bytes", sse->most);
}

/* An empty line: the event that data lines made, if any did, is told. */
static keel_status dispatch(keel_sse *sse, keel_sse_event *event, void *context, keel_err *err) {
    keel_status status = KEEL_OK;
    if (sse->data.length > 0) {
        sse->data.data[--sse->data.length] = '\0'; /* the LF after the last line */
        status = event(context, sse->data.data, sse->data.length, err);
    }
    keel_buf_clear(&sse->data);
    return status;
}

/* A line is "field: value", "field", or ": a comment". */
static keel_status take_line(keel_sse *sse, keel_sse_event *event, void *context, keel_err *err) {
    static const char field[] = "data";
    const size_t n = sizeof field - 1;
    const char *line = sse->line.data;
    size_t length = sse->line.length;
    if (!sse->begun && length >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) line += 3, length -= 3;
    sse->begun = true;
    if (length == 0) return dispatch(sse, event, context, err);
    if (length < n || memcmp(line, field, n) != 0 || (length > n && line[n] != ':')) return KEEL_OK;
    size_t skip = length > n ? n + 1 : n;
    if (skip < length && line[skip] == ' ') skip++;
    if (length - skip >= sse->most - sse->data.length) return too_long(sse, err);
    keel_buf_append(&sse->data, line + skip, length - skip);
    keel_buf_append(&sse->data, "\n", 1);
    return sse->data.failed ? keel_nomem(err, "stream") : KEEL_OK;
}

static keel_status take_all(keel_sse *sse, const char *bytes, size_t length, keel_sse_event *event,
                            void *context, keel_err *err) {
    for (size_t i = 0; i < length;) {
        if (sse->after_cr && bytes[i] == '\n') i++; /* the second half of CRLF */
        sse->after_cr = false;
        size_t n = 0;
        while (i + n < length && bytes[i + n] != '\n' && bytes[i + n] != '\r') n++;
        if (n > sse->most - sse->line.length) return too_long(sse, err);
        keel_buf_append(&sse->line, bytes + i, n);
        if (sse->line.failed) return keel_nomem(err, "stream");
        i += n;
        if (i == length) break;
        sse->after_cr = bytes[i++] == '\r';
        KEEL_TRY(take_line(sse, event, context, err));
        keel_buf_clear(&sse->line);
    }
    return KEEL_OK;
}

keel_status keel_sse_take(keel_sse *sse, const char *bytes, size_t length, keel_sse_event *event,
                          void *context, keel_err *err) {
    if (sse->failed) return keel_fail(err, KEEL_E_PARSE, "stream", "it ended by an error before");
    const keel_status status = take_all(sse, bytes, length, event, context, err);
    sse->failed = status != KEEL_OK;
    return status;
}

void keel_sse_free(keel_sse *sse) {
    keel_buf_free(&sse->line);
    keel_buf_free(&sse->data);
    *sse = (keel_sse){0};
}
