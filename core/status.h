/* Status codes and error text: every fallible call in Keel returns a keel_status and, on failure, fills a
 * caller-owned keel_err. Only the program prints. Passing a NULL keel_err is allowed everywhere: then only
 * the code is reported. */
#ifndef KEEL_CORE_STATUS_H
#define KEEL_CORE_STATUS_H

#include "core/api.h"

KEEL_BEGIN_DECLS

/* X(name, code, text): the one list of codes. */
#define KEEL_STATUS_LIST(X)                                                                                  \
    X(KEEL_OK, 0, "ok")                                                                                      \
    X(KEEL_E_NOMEM, -1, "out of memory")                                                                     \
    X(KEEL_E_IO, -2, "input or output failed")                                                               \
    X(KEEL_E_PARSE, -3, "malformed input")                                                                   \
    X(KEEL_E_INVALID, -4, "invalid value")                                                                   \
    X(KEEL_E_NOT_FOUND, -5, "not found")                                                                     \
    X(KEEL_E_CONFLICT, -6, "conflict with what is there")                                                    \
    X(KEEL_E_STORE, -7, "store failure")                                                                     \
    X(KEEL_E_DIVERGED, -8, "training diverged")                                                              \
    X(KEEL_E_INTERRUPTED, -9, "interrupted")                                                                 \
    X(KEEL_E_UNSUPPORTED, -10, "unsupported")                                                                \
    X(KEEL_E_USAGE, -11, "used wrongly")                                                                     \
    X(KEEL_E_GATE, -12, "a gate was not met")

typedef enum keel_status {
#define X(name, code, text) name = code,
    KEEL_STATUS_LIST(X)
#undef X
} keel_status;

/* What went wrong. All strings are NUL-terminated, cut if too long, and UTF-8: in place of what is none, half
 * a letter where a text was cut, stands '?'. */
typedef struct keel_err {
    keel_status code;
    char where[320];   /* file and line, key, row or call; may be empty */
    char message[512]; /* what is wrong: expected and got */
    char hint[256];    /* what to do about it; may be empty */
} keel_err;

/* Fixed text of a code; never NULL. */
const char *keel_status_text(keel_status code);

/* Fills err (if not NULL) and returns code, so that `return keel_fail(err, KEEL_E_IO, path, "...")` reads
 * well. where may be NULL. Clears the hint. */
keel_status keel_fail(keel_err *err, keel_status code, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Adds a hint to a filled error; returns err->code (KEEL_E_INVALID if err is NULL and so nothing was kept).
 */
keel_status keel_hint(keel_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* KEEL_E_NOMEM at `where`, in the same words everywhere. */
keel_status keel_nomem(keel_err *err, const char *where);

/* Leaves on the first failure: for calls whose cleanup is elsewhere. */
#define KEEL_TRY(call)                                                                                       \
    do {                                                                                                     \
        keel_status keel_try_status_ = (call);                                                               \
        if (keel_try_status_ != KEEL_OK) return keel_try_status_;                                            \
    } while (0)

/* The same, but through a label that frees: needs a `keel_status status` in scope. */
#define KEEL_TRY_GOTO(call, label)                                                                           \
    do {                                                                                                     \
        status = (call);                                                                                     \
        if (status != KEEL_OK) goto label;                                                                   \
    } while (0)

KEEL_END_DECLS

#endif
