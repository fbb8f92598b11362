/* experiments/serve/sse: a stream in pieces is the stream whole. The first byte says how it is cut. */
#include "experiments/serve/sse.h"
#include "fuzz.h"

typedef struct told {
    keel_buf events;
    size_t most, n;
} told;

static keel_status take(void *context, const char *data, size_t length, keel_err *err) {
    told *t = context;
    (void)err;
    FUZZ_CHECK(data[length] == '\0' && length <= t->most);
    FUZZ_CHECK(!memchr(data, '\r', length));
    keel_buf_append(&t->events, data, length);
    keel_buf_append(&t->events, "\0", 1);
    t->n++;
    return KEEL_OK;
}

/* Pieces grow from 1 to `longest` and begin anew. */
static keel_status feed(const uint8_t *data, size_t size, size_t longest, told *t) {
    keel_sse sse = {.most = t->most};
    keel_status status = KEEL_OK;
    for (size_t at = 0, n, piece = 0; status == KEEL_OK && at < size; at += n) {
        piece = piece % longest + 1;
        n = size - at < piece || longest >= size ? size - at : piece;
        char *alone = fuzz_text(data + at, n);
        status = keel_sse_take(&sse, alone, n, take, t, &fuzz_err);
        free(alone);
    }
    if (status != KEEL_OK) FUZZ_CHECK(!fuzz_ok(keel_sse_take(&sse, "\n", 1, take, t, &fuzz_err)));
    keel_sse_free(&sse);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const size_t most = data[0] % 2 ? 64 : 1 << 16, longest = data[0] / 2 + 1;
    told whole = {.most = most}, pieces = {.most = most};
    const keel_status status = feed(data + 1, size - 1, size, &whole);
    FUZZ_CHECK(fuzz_ok(feed(data + 1, size - 1, longest, &pieces)) == (status == KEEL_OK));
    FUZZ_CHECK(whole.n == pieces.n && whole.events.length == pieces.events.length);
    FUZZ_CHECK(whole.n == 0 || memcmp(whole.events.data, pieces.events.data, whole.events.length) == 0);
    keel_buf_free(&whole.events);
    keel_buf_free(&pieces.events);
    return 0;
}
