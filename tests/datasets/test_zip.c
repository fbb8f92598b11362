/* Zip archives: what was packed comes out, by each method, and what lies about itself is an error. */
#define SCRATCH "zip"
#include "datasets/zip.h"

#include "fixture.h"
#include "support/faults.h"
#include "support/zip.h"

static const zip_file files[] = {{"a.json", "{\"a\": 1}", 0},
                                 {"folder/b.json", "deflated deflated deflated deflated", 8},
                                 {"c", "zstd zstd zstd zstd zstd zstd zstd", 93},
                                 {"nothing", "", 0}};
enum { N_FILES = sizeof files / sizeof *files };

static keel_buf archive;

/* Fresh bytes, and where the n-th central record begins. */
static unsigned char *made(size_t n) {
    keel_buf_clear(&archive);
    zip_make(&archive, files, N_FILES);
    for (size_t at = 0; at + 4 <= archive.length; at++)
        if (memcmp(archive.data + at, "PK\x01\x02", 4) == 0 && n-- == 0)
            return (unsigned char *)archive.data + at;
    return NULL;
}

static keel_status read_from(const void *bytes, size_t length, size_t n, keel_buf *out) {
    keel__zip zip;
    keel_status status = keel__zip_open(&zip, "x.zip", bytes, length, &err);
    if (status == KEEL_OK && n < zip.count)
        status = keel__zip_read(&zip, &zip.entries[n], "x.zip: entry", out, &err);
    keel__zip_close(&zip);
    return status;
}

static void what_was_packed_comes_out(void **state) {
    (void)state;
    keel__zip zip;
    keel_buf out = {0};
    assert_non_null(made(0));
    keel_buf_text(&archive, "a comment");
    assert_true(keel__zip_begins(archive.data, archive.length));
    assert_ok(keel__zip_open(&zip, "x.zip", archive.data, archive.length, &err));
    assert_int_equal(zip.count, N_FILES);
    for (size_t i = 0; i < N_FILES; i++) {
        const keel__zip_entry *entry = keel__zip_find(&zip, files[i].name);
        assert_non_null(entry);
        assert_ok(keel__zip_read(&zip, entry, "x.zip: entry", &out, &err));
        assert_string_equal(out.data, files[i].text);
    }
    assert_null(keel__zip_find(&zip, "b.json"));
    keel_buf_free(&out);
    keel__zip_close(&zip);
}

/* Each is one change of a central record: place in it, what it becomes, and what is said. */
static void an_archive_that_lies_is_an_error(void **state) {
    (void)state;
    static const struct {
        size_t file, at, bytes;
        uint64_t value;
        keel_status code;
        const char *message;
    } lies[] = {
        {0, 8, 2, 1, KEEL_E_UNSUPPORTED, "encrypted"},
        {0, 10, 2, 12, KEEL_E_UNSUPPORTED, "method 12"},
        {0, 16, 4, 7, KEEL_E_PARSE, "checksum"},
        {1, 16, 4, 7, KEEL_E_PARSE, "checksum"},
        {0, 24, 4, 3, KEEL_E_PARSE, "checksum"},
        {1, 24, 4, 3, KEEL_E_PARSE, "checksum"}, /* gives more than it says */
        {2, 24, 4, 3, KEEL_E_INVALID, "at most 4 bytes"},
        {1, 24, 4, 0x7fffffff, KEEL_E_INVALID, "at most 1024 MiB"},
        {1, 20, 4, 9, KEEL_E_PARSE, "cut off in the archive"},
        {0, 20, 4, 0xfffffffe, KEEL_E_PARSE, "together longer than the file"},
        {0, 42, 4, 0xfffffffe, KEEL_E_PARSE, "beyond the end"},
        {0, 42, 4, 1, KEEL_E_PARSE, "beyond the end"},
        {0, 0, 1, 'Q', KEEL_E_PARSE, "its directory ends too early"},
        {3, 28, 2, 0xffff, KEEL_E_PARSE, "its directory ends too early"},
    };
    keel_buf out = {0};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        unsigned char *record = made(lies[i].file);
        for (size_t k = 0; k < lies[i].bytes; k++)
            record[lies[i].at + k] = (unsigned char)(lies[i].value >> 8 * k);
        assert_int_equal(read_from(archive.data, archive.length, lies[i].file, &out), lies[i].code);
        contains(err.message, lies[i].message);
    }
    assert_non_null(made(0));
    archive.data[archive.length - 12] = 0x7f; /* number of entries */
    assert_int_equal(read_from(archive.data, archive.length, 0, &out), KEEL_E_PARSE);
    contains(err.message, "longer than the file");
    keel_buf_free(&out);
}

/* Entries that stand for the same bytes again and again are how a small file unpacks to petabytes. */
static void entries_cannot_be_longer_than_the_file(void **state) {
    (void)state;
    keel_buf out = {0}, unpacked = {0}, bomb = {0};
    const zip_file one = {"x",
                          "0123456789012345678901234567890123456789012345678901234567890123456789"
                          "0123456789012345678901234567890123456789012345678901234567890123456789"
                          "0123456789012345678901234567890123456789012345678901234567890123456789",
                          0};
    zip_make(&bomb, &one, 1);
    const size_t copies = 3, size = 47, body = bomb.length - 22 - size; /* size: of a central record */
    keel_buf_append(&out, bomb.data, body);
    for (size_t i = 0; i < copies; i++) keel_buf_append(&out, bomb.data + body, size);
    keel_buf_append(&out, "PK\x05\x06\x00\x00\x00\x00", 8);
    zip_number(&out, copies, 2);
    zip_number(&out, copies, 2);
    zip_number(&out, copies * size, 4);
    zip_number(&out, body, 4);
    zip_number(&out, 0, 2);
    assert_int_equal(read_from(out.data, out.length, 0, &unpacked), KEEL_E_PARSE);
    contains(err.message, "together longer than the file");
    keel_buf_free(&out);
    keel_buf_free(&unpacked);
    keel_buf_free(&bomb);
}

/* Sizes and places beyond 32 bits: the marks in the records, the numbers in extra fields. */
static void wide_archives_are_read(void **state) {
    (void)state;
    keel_buf wide = {0}, out = {0};
    const char text[] = "wide";
    zip_number(&wide, 0x04034b50, 4);
    zip_number(&wide, 45, 2);
    zip_number(&wide, 0, 20);
    zip_number(&wide, 1, 2);
    zip_number(&wide, 0, 2);
    keel_buf_text(&wide, "w");
    keel_buf_text(&wide, text);
    const size_t directory = wide.length;
    zip_number(&wide, 0x02014b50, 4);
    zip_number(&wide, 0, 12);
    zip_number(&wide, crc32(0, (const Bytef *)text, 4), 4);
    zip_number(&wide, UINT32_MAX, 4);
    zip_number(&wide, UINT32_MAX, 4);
    zip_number(&wide, 1, 2);
    zip_number(&wide, 8 + 28, 2);
    zip_number(&wide, 0, 10);
    zip_number(&wide, UINT32_MAX, 4);
    keel_buf_text(&wide, "w");
    zip_number(&wide, 0x7075, 2); /* another field first */
    zip_number(&wide, 4, 2);
    zip_number(&wide, 0, 4);
    zip_number(&wide, 1, 2);
    zip_number(&wide, 24, 2);
    zip_number(&wide, 4, 8);
    zip_number(&wide, 4, 8);
    zip_number(&wide, 0, 8);
    const size_t end = wide.length;
    zip_number(&wide, 0x06064b50, 4);
    zip_number(&wide, 44, 8);
    zip_number(&wide, 0, 12);
    zip_number(&wide, 1, 8);
    zip_number(&wide, 1, 8);
    zip_number(&wide, end - directory, 8);
    zip_number(&wide, directory, 8);
    zip_number(&wide, 0x07064b50, 4);
    zip_number(&wide, 0, 4);
    zip_number(&wide, end, 8);
    zip_number(&wide, 1, 4);
    zip_number(&wide, 0x06054b50, 4);
    zip_number(&wide, 0, 4);
    zip_number(&wide, 0xffff, 2);
    zip_number(&wide, 0xffff, 2);
    zip_number(&wide, UINT32_MAX, 4);
    zip_number(&wide, UINT32_MAX, 4);
    zip_number(&wide, 0, 2);
    assert_ok(read_from(wide.data, wide.length, 0, &out));
    assert_string_equal(out.data, text);
    keel_buf_free(&wide);
    keel_buf_free(&out);
}

static void every_cut_is_an_error(void **state) {
    (void)state;
    keel_buf out = {0};
    assert_non_null(made(0));
    for (size_t length = 0; length < archive.length; length++) {
        char *exact = malloc(length + 1); /* so that what is read behind it is seen */
        memcpy(exact, archive.data, length);
        assert_int_equal(read_from(exact, length, 0, &out), KEEL_E_PARSE);
        free(exact);
    }
    keel_buf_free(&out);
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    for (size_t n = 0; n < N_FILES; n++) {
        bool whole = false;
        for (size_t i = 1; !whole && i < 100; i++) {
            faults broken;
            keel_buf out = {0};
            assert_non_null(made(0));
            faults_begin(&broken, i);
            const keel_status status = read_from(archive.data, archive.length, n, &out);
            keel_buf_free(&out);
            faults_end();
            whole = status == KEEL_OK;
            assert_true(whole || status == KEEL_E_NOMEM);
            assert_int_equal(broken.live, 0);
        }
        assert_true(whole);
    }
    keel_buf_free(&archive);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_was_packed_comes_out),
        TEST(an_archive_that_lies_is_an_error),
        TEST(entries_cannot_be_longer_than_the_file),
        TEST(wide_archives_are_read),
        TEST(every_cut_is_an_error),
        TEST(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
