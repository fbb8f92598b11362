/* What takes the place of the reader of SQLite files (datasets/format_llm.c) where there is no SQLite. */
#include "datasets/reader_internal.h"

static bool looks_like(const keel_sniff *sniff) {
    (void)sniff;
    return false;
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    (void)arena, (void)out;
    keel_fail(err, KEEL_E_UNSUPPORTED, reader->place, "this program reads no SQLite files");
    return keel_hint(err, "`keel decide` does");
}

const keel_reader_kind keel__llm_reader = {.looks_like = looks_like, .next = next};
