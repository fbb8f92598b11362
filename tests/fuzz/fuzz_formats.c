/* Formats told apart: any beginning of a source has names that are UTF-8 if the text is, and every format's
 * reader may be given any source. Input: the source. */
#include "core/text.h"
#include "datasets/reader.h"
#include "fuzz.h"

static void read_all(const keel_format *format, const uint8_t *data, size_t size) {
    keel_source *source = NULL;
    keel_reader *reader = NULL;
    keel_arena arena = {0};
    keel_read read;
    if (!fuzz_ok(keel_source_open_memory(&source, "input", data, size, &fuzz_err))) return;
    if (!fuzz_ok(keel_reader_open(&reader, format, source, &fuzz_err))) return;
    while (fuzz_ok(keel_reader_next(reader, &arena, &read, &fuzz_err)) && read.conversation) {
        FUZZ_CHECK(read.where && read.conversation->source);
        keel_arena_reset(&arena);
    }
    keel_reader_close(reader);
    keel_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_sniff sniff;
    char *text = malloc(size ? size : 1);
    (void)fuzz_folder();
    memcpy(text, data, size);
    keel_formats_sniff(text, size, &sniff);
    FUZZ_CHECK(sniff.n_names <= KEEL_SNIFF_NAMES);
    for (size_t i = 0; i < sniff.n_names; i++) {
        const size_t length = strlen(sniff.names[i]);
        FUZZ_CHECK(length < KEEL_SNIFF_SIZE);
        FUZZ_CHECK(keel_utf8_valid_prefix(text, size) < size ||
                   keel_utf8_valid_prefix(sniff.names[i], length) == length);
    }
    free(text);
    read_all(NULL, data, size);
    for (const keel_format *format = keel_formats; format->name; format++) read_all(format, data, size);
    return 0;
}
