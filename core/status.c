#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/text.h"

const char *keel_status_text(keel_status code) {
    switch (code) {
#define X(name, number, text)                                                                                \
    case name:                                                                                               \
        return text;
        KEEL_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

/* Names in parentheses: tests/support/analysis.h makes macros of them. */
keel_status(keel_fail)(keel_err *err, keel_status code, const char *where, const char *format, ...) {
    if (err) {
        /* Format first: the arguments may point into err itself when an error is wrapped. */
        char message[sizeof err->message], place[sizeof err->where];
        va_list args;
        va_start(args, format);
        vsnprintf(message, sizeof message, format, args);
        va_end(args);
        snprintf(place, sizeof place, "%s", where ? where : "");
        err->code = code;
        snprintf(err->where, sizeof err->where, "%s", place);
        snprintf(err->message, sizeof err->message, "%s", message);
        err->hint[0] = '\0';
        keel_utf8_mend(err->where);
        keel_utf8_mend(err->message);
    }
    return code;
}

keel_status(keel_hint)(keel_err *err, const char *format, ...) {
    if (!err) return KEEL_E_INVALID;
    va_list args;
    va_start(args, format);
    vsnprintf(err->hint, sizeof err->hint, format, args);
    va_end(args);
    keel_utf8_mend(err->hint);
    return err->code;
}

keel_status(keel_nomem)(keel_err *err, const char *where) {
    return keel_fail(err, KEEL_E_NOMEM, where, "out of memory");
}
