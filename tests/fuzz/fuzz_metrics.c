/* A file of metrics that a resumed run goes on with: cut off after a step, then appended to. What is kept are
 * lines of the file, in order; trimming twice is trimming once. */
#include "core/json.h"
#include "core/metrics.h"
#include "fuzz.h"

/* What is kept may begin like gzip; then nothing is checked but that nothing breaks. */
static bool read_back(const char *path, keel_buf *out) {
    return fuzz_ok(keel_file_read(path, 0, out, &fuzz_err));
}

/* Every line of `kept` is one of `all`, in its order. */
static void check_kept(const keel_buf *all, const keel_buf *kept) {
    const char *from = all->data, *end = all->data + all->length;
    for (const char *line = kept->data, *stop; line < kept->data + kept->length; line = stop) {
        stop = (const char *)memchr(line, '\n', kept->length - (size_t)(line - kept->data)) + 1;
        size_t length = (size_t)(stop - line);
        while (from < end && ((size_t)(end - from) < length || memcmp(from, line, length) != 0)) {
            const char *next = memchr(from, '\n', (size_t)(end - from));
            from = next ? next + 1 : end;
        }
        FUZZ_CHECK(from < end);
        from += length;
    }
}

static void append(const char *path) {
    static const char *const names[] = {"loss"};
    static const char line[] = "{\"step\": 8, \"loss\": 0.5}\n";
    keel_metrics *metrics = NULL;
    keel_buf text = {0};
    double value = 0.5;
    FUZZ_CHECK(keel_metrics_open(&metrics, path, true, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(keel_metrics_write(metrics, 8, names, &value, 1, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(keel_metrics_close(metrics, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(read_back(path, &text));
    FUZZ_CHECK(text.length >= strlen(line) && strcmp(text.data + text.length - strlen(line), line) == 0);
    keel_buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_buf all = {0}, once = {0}, twice = {0};
    uint64_t step = size ? data[0] % 10 : 7;
    const char *path = fuzz_put("metrics.jsonl", data, size);
    if (!fuzz_ok(keel_file_read(path, 0, &all, &fuzz_err))) goto done;
    if (!fuzz_ok(keel_metrics_trim(path, step, &fuzz_err))) goto done;
    if (!read_back(path, &once)) goto done;
    check_kept(&all, &once);
    FUZZ_CHECK(keel_metrics_trim(path, step, &fuzz_err) == KEEL_OK && read_back(path, &twice));
    FUZZ_CHECK(once.length == twice.length && memcmp(once.data, twice.data, once.length) == 0);
    append(path);
done:
    keel_buf_free(&all);
    keel_buf_free(&once);
    keel_buf_free(&twice);
    return 0;
}
