/* Lines and whole files, gzip seen through: both readers agree on every byte and on whether the file is
 * sound. */
#include "core/file.h"
#include "core/source.h"
#include "fuzz.h"
#include "gunzip.h"

/* Lines put together again, each with a line end. */
static bool read_lines(const char *path, keel_buf *out) {
    keel_source *reader = NULL;
    char *line = NULL;
    size_t length = 0, number = 0, last = 0;
    bool good = fuzz_ok(keel_source_open(&reader, path, &fuzz_err));
    while (good && (good = fuzz_ok(keel_source_line(reader, &line, &length, &number, &fuzz_err))) && line) {
        FUZZ_CHECK(number == ++last && line[length] == '\0' && !memchr(line, '\n', length));
        keel_buf_append(out, line, length);
        keel_buf_append(out, "\n", 1);
    }
    keel_source_close(reader);
    return good;
}

/* Line ends as the line reader leaves them. */
static void drop_returns(keel_buf *buf) {
    size_t kept = 0;
    for (size_t i = 0; i < buf->length; i++)
        if (buf->data[i] != '\r' || i + 1 == buf->length || buf->data[i + 1] != '\n')
            buf->data[kept++] = buf->data[i];
    buf->length = kept;
    if (kept && buf->data[kept - 1] != '\n') keel_buf_append(buf, "\n", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_buf whole = {0}, lines = {0};
    const char *path = fuzz_put("input", data, size);
    bool good = fuzz_ok(keel_file_read(path, 1 << 24, &whole, &fuzz_err));
    FUZZ_CHECK(read_lines(path, &lines) == good || whole.length >= 1 << 24);
    if (good) {
        drop_returns(&whole);
        FUZZ_CHECK(whole.length == lines.length);
        FUZZ_CHECK(!lines.length || memcmp(whole.data, lines.data, lines.length) == 0);
    }
    keel_buf_free(&whole);
    keel_buf_free(&lines);
    return 0;
}
