#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "core/file.h"
#include "core/pcg.h"
#include "core/source.h"
#include "support/faults.h"
#include "support/scratch.h"

static char folder[256];

static const char *in(const char *name) {
    return scratch_path(folder, name);
}

static void put(const char *name, const void *bytes, size_t length) {
    assert_int_equal(keel_file_write(in(name), bytes, length, NULL), KEEL_OK);
}

static void put_text(const char *name, const char *text) {
    put(name, text, strlen(text));
}

static void assert_holds(const char *name, const char *text) {
    keel_buf buf = {0};
    assert_int_equal(keel_file_read(in(name), 0, &buf, NULL), KEEL_OK);
    assert_string_equal(buf.data, text);
    keel_buf_free(&buf);
}

/* Gzips bytes into buf (appended), so that calling it twice makes two members. */
static void gzip(keel_buf *buf, const void *bytes, size_t length) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t bound = deflateBound(&z, length);
    unsigned char *out = malloc(bound);
    z.next_in = (unsigned char *)(uintptr_t)bytes, z.avail_in = (unsigned)length;
    z.next_out = out, z.avail_out = (unsigned)bound;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    keel_buf_append(buf, out, bound - z.avail_out);
    deflateEnd(&z);
    free(out);
}

static void plain_and_gzipped_files_read_alike(void **state) {
    (void)state;
    enum { LENGTH = 300000 };
    char *text = malloc(LENGTH + 1);
    keel_rng rng = keel_rng_named(1, "file", 0);
    for (size_t i = 0; i < LENGTH; i++) text[i] = (char)('a' + keel_rng_below(&rng, 26));
    text[LENGTH] = '\0';
    keel_buf packed = {0}, got = {0};
    gzip(&packed, text, 200000);
    gzip(&packed, text + 200000, LENGTH - 200000);
    keel_buf_append(&packed, "\0\0\0", 3); /* padding, as on tapes */
    put("plain", text, LENGTH);
    put("packed.gz", packed.data, packed.length);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(keel_file_read(in(i ? "packed.gz" : "plain"), 0, &got, NULL), KEEL_OK);
        assert_int_equal(got.length, LENGTH);
        assert_memory_equal(got.data, text, LENGTH + 1);
    }
    keel_buf_free(&packed);
    keel_buf_free(&got);
    free(text);
}

static void empty_and_tiny_files_read_as_they_are(void **state) {
    (void)state;
    put_text("empty", "");
    put_text("one", "\x1f");
    assert_holds("empty", "");
    assert_holds("one", "\x1f");
}

static void a_missing_file_or_a_folder_is_an_error_that_names_it(void **state) {
    (void)state;
    keel_buf buf = {0};
    keel_err err = {0};
    assert_int_equal(keel_file_read(in("missing"), 0, &buf, &err), KEEL_E_IO);
    assert_string_equal(err.where, in("missing"));
    assert_int_equal(keel_file_read(folder, 0, &buf, &err), KEEL_E_IO);
    keel_source *reader = NULL;
    assert_int_equal(keel_source_open(&reader, in("missing"), &err), KEEL_E_IO);
    assert_null(reader);
    char hex[65];
    assert_int_equal(keel_file_hash(in("missing"), hex, &err), KEEL_E_IO);
    keel_buf_free(&buf);
}

static void reading_stops_at_the_largest_size(void **state) {
    (void)state;
    keel_buf buf = {0};
    put_text("ten", "0123456789");
    assert_int_equal(keel_file_read(in("ten"), 10, &buf, NULL), KEEL_OK);
    assert_int_equal(keel_file_read(in("ten"), 9, &buf, NULL), KEEL_E_INVALID);
    keel_buf_free(&buf);
}

static void a_gzip_file_cut_off_anywhere_is_an_error(void **state) {
    (void)state;
    keel_buf packed = {0}, got = {0};
    const char *text = "the quick brown fox jumps over the lazy dog";
    gzip(&packed, text, strlen(text));
    for (size_t length = 2; length < packed.length; length++) {
        put("cut.gz", packed.data, length);
        assert_int_equal(keel_file_read(in("cut.gz"), 0, &got, NULL), KEEL_E_PARSE);
    }
    keel_buf_free(&packed);
    keel_buf_free(&got);
}

static void a_flipped_byte_of_gzip_data_is_an_error_or_changes_nothing(void **state) {
    (void)state;
    keel_buf packed = {0}, got = {0};
    const char *text = "the quick brown fox jumps over the lazy dog, twice";
    gzip(&packed, text, 10);
    gzip(&packed, text + 10, strlen(text) - 10);
    for (size_t i = 2; i < packed.length; i++) {
        packed.data[i] = (char)(packed.data[i] ^ 0x55);
        put("bad.gz", packed.data, packed.length);
        keel_status status = keel_file_read(in("bad.gz"), 0, &got, NULL);
        /* Time stamp and the like in the header are not covered by any check. */
        if (status == KEEL_OK)
            assert_string_equal(got.data, text);
        else
            assert_int_equal(status, KEEL_E_PARSE);
        packed.data[i] = (char)(packed.data[i] ^ 0x55);
    }
    keel_buf_free(&packed);
    keel_buf_free(&got);
}

/* One frame; with checksum as the program zstd writes them. */
static void zstd(keel_buf *buf, const void *bytes, size_t length, int checksum) {
    ZSTD_CCtx *context = ZSTD_createCCtx();
    const size_t bound = ZSTD_compressBound(length);
    char *out = malloc(bound);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, checksum);
    const size_t size = ZSTD_compress2(context, out, bound, bytes, length);
    assert_false(ZSTD_isError(size));
    keel_buf_append(buf, out, size);
    ZSTD_freeCCtx(context);
    free(out);
}

/* Long runs, so that much is still to come when all input is read; and a frame to be skipped in front. */
static void files_compressed_with_zstd_read_alike(void **state) {
    (void)state;
    enum { LENGTH = 3000000 };
    char *text = malloc(LENGTH + 1);
    for (size_t i = 0; i < LENGTH; i++) text[i] = (char)('a' + i / 100000 % 26);
    text[LENGTH] = '\0';
    for (int checksum = 0; checksum < 2; checksum++) {
        keel_buf packed = {0}, got = {0};
        keel_buf_append(&packed, "\x5D\x2A\x4D\x18\x01\0\0\0x", 9);
        zstd(&packed, text, 2000000, checksum);
        zstd(&packed, text + 2000000, LENGTH - 2000000, checksum);
        put("packed.zst", packed.data, packed.length);
        assert_int_equal(keel_file_read(in("packed.zst"), 0, &got, NULL), KEEL_OK);
        assert_int_equal(got.length, LENGTH);
        assert_memory_equal(got.data, text, LENGTH);
        assert_int_equal(keel_file_read(in("packed.zst"), LENGTH - 1, &got, NULL), KEEL_E_INVALID);
        keel_buf_free(&packed);
        keel_buf_free(&got);
    }
    free(text);
}

static void broken_zstd_data_are_errors(void **state) {
    (void)state;
    keel_buf packed = {0}, got = {0};
    const char *text = "the quick brown fox jumps over the lazy dog";
    keel_err err;
    zstd(&packed, text, strlen(text), 1);
    for (size_t length = 4; length < packed.length; length++) {
        put("cut.zst", packed.data, length);
        assert_int_equal(keel_file_read(in("cut.zst"), 0, &got, &err), KEEL_E_PARSE);
        assert_non_null(strstr(err.message, "zstd"));
    }
    for (size_t i = 4; i < packed.length; i++) {
        packed.data[i] = (char)(packed.data[i] ^ 0x55);
        put("bad.zst", packed.data, packed.length);
        if (keel_file_read(in("bad.zst"), 0, &got, &err) == KEEL_OK) assert_string_equal(got.data, text);
        packed.data[i] = (char)(packed.data[i] ^ 0x55);
    }
    keel_buf_text(&packed, "more");
    put("tail.zst", packed.data, packed.length);
    assert_int_equal(keel_file_read(in("tail.zst"), 0, &got, NULL), KEEL_E_PARSE);
    keel_buf_free(&packed);
    keel_buf_free(&got);
}

static void text_after_a_gzip_member_is_not_dropped_in_silence(void **state) {
    (void)state;
    keel_buf packed = {0}, got = {0};
    gzip(&packed, "text", 4);
    keel_buf_text(&packed, "more");
    put("tail.gz", packed.data, packed.length);
    assert_int_equal(keel_file_read(in("tail.gz"), 0, &got, NULL), KEEL_E_PARSE);
    keel_buf_free(&packed);
    keel_buf_free(&got);
}

static void assert_line(keel_source *reader, const char *text, size_t at) {
    char *line;
    size_t length, number = 0;
    assert_int_equal(keel_source_line(reader, &line, &length, &number, NULL), KEEL_OK);
    assert_non_null(line);
    assert_string_equal(line, text);
    assert_int_equal(length, strlen(text));
    assert_int_equal(number, at);
}

static void assert_no_line(keel_source *reader) {
    char *line;
    size_t length;
    assert_int_equal(keel_source_line(reader, &line, &length, NULL, NULL), KEEL_OK);
    assert_null(line);
}

static void lines_come_without_their_ends_and_numbered(void **state) {
    (void)state;
    keel_source *reader;
    put_text("lines", "one\r\n\ntwo\rtwo\nlast");
    assert_int_equal(keel_source_open(&reader, in("lines"), NULL), KEEL_OK);
    assert_line(reader, "one", 1);
    assert_line(reader, "", 2);
    assert_line(reader, "two\rtwo", 3);
    assert_line(reader, "last", 4);
    assert_no_line(reader);
    assert_no_line(reader);
    keel_source_close(reader);
    put_text("lines", "");
    assert_int_equal(keel_source_open(&reader, in("lines"), NULL), KEEL_OK);
    assert_no_line(reader);
    keel_source_close(reader);
}

static void lines_of_all_lengths_cross_the_chunks(void **state) {
    (void)state;
    enum { LINES = 700 };
    keel_buf text = {0}, packed = {0};
    for (size_t i = 0; i < LINES; i++) {
        for (size_t j = 0; j < i * i; j++) keel_buf_append(&text, &"abcdefghij"[(i + j) % 10], 1);
        keel_buf_append(&text, "\n", 1);
        if (i == 200) i = LINES - 3; /* then three long ones */
    }
    gzip(&packed, text.data, text.length);
    put("lines.gz", packed.data, packed.length);
    keel_source *reader;
    assert_int_equal(keel_source_open(&reader, in("lines.gz"), NULL), KEEL_OK);
    char *line;
    size_t length, number, total = 0;
    const char *at = text.data;
    while (assert_int_equal(keel_source_line(reader, &line, &length, &number, NULL), KEEL_OK), line) {
        assert_memory_equal(line, at, length);
        assert_int_equal(at[length], '\n');
        at += length + 1;
        total += length + 1;
    }
    assert_int_equal(total, text.length);
    keel_source_close(reader);
    keel_buf_free(&text);
    keel_buf_free(&packed);
}

static void corrupt_gzip_lines_name_file_and_line(void **state) {
    (void)state;
    keel_buf packed = {0};
    keel_err err = {0};
    gzip(&packed, "first\nsecond\nthird", 18);
    put("cut.gz", packed.data, packed.length - 3);
    keel_source *reader;
    assert_int_equal(keel_source_open(&reader, in("cut.gz"), NULL), KEEL_OK);
    assert_line(reader, "first", 1);
    assert_line(reader, "second", 2);
    char *line;
    size_t length;
    assert_int_equal(keel_source_line(reader, &line, &length, NULL, &err), KEEL_E_PARSE);
    assert_non_null(strstr(err.where, "cut.gz:3"));
    keel_source_close(reader);
    keel_buf_free(&packed);
}

static void endless_lines_are_refused(void **state) {
    (void)state;
    /* 80 MiB of 'a' pack into some 80 KiB. */
    const size_t step = 1 << 20;
    keel_buf packed = {0};
    char *text = malloc(step);
    memset(text, 'a', step);
    for (int i = 0; i < 80; i++) gzip(&packed, text, step);
    put("endless.gz", packed.data, packed.length);
    keel_source *reader;
    keel_err err = {0};
    char *line;
    size_t length;
    assert_int_equal(keel_source_open(&reader, in("endless.gz"), NULL), KEEL_OK);
    assert_int_equal(keel_source_line(reader, &line, &length, NULL, &err), KEEL_E_INVALID);
    assert_non_null(strstr(err.where, "endless.gz:1"));
    keel_source_close(reader);
    keel_buf_free(&packed);
    free(text);
}

static void the_hash_of_a_file_is_sha256_of_its_bytes(void **state) {
    (void)state;
    char hex[65];
    put_text("abc", "abc");
    assert_int_equal(keel_file_hash(in("abc"), hex, NULL), KEEL_OK);
    assert_string_equal(
        hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); /* FIPS 180-4 example */
}

static void a_write_replaces_the_whole_file_and_leaves_nothing_beside_it(void **state) {
    (void)state;
    keel_arena arena = {0};
    const char **names;
    size_t count;
    char path[512];
    snprintf(path, sizeof path, "%s", in("solo"));
    assert_int_equal(keel_folder_make(path, NULL), KEEL_OK);
    put_text("solo/.file.partial", "left by a killed process");
    put_text("solo/file", "old and longer");
    put_text("solo/file", "new");
    assert_holds("solo/file", "new");
    unlink(in("solo/.file.partial"));
    assert_int_equal(keel_folder_list(path, NULL, &arena, &names, &count, NULL), KEEL_OK);
    assert_int_equal(count, 1);
    keel_arena_free(&arena);
}

static void a_failed_write_keeps_the_old_file(void **state) {
    (void)state;
    keel_err err = {0};
    assert_int_equal(keel_file_write(in("no/such/folder"), "x", 1, &err), KEEL_E_IO);
    assert_int_equal(keel_file_write(in("ends-in-slash/"), "x", 1, &err), KEEL_E_INVALID);
    assert_int_equal(keel_file_write("..", "x", 1, &err), KEEL_E_INVALID);
    /* A folder stands where the file should go, or a link, or what is no file at all: it stays. */
    assert_int_equal(keel_folder_make(in("taken/inside"), NULL), KEEL_OK);
    assert_int_equal(keel_file_write(in("taken"), "x", 1, &err), KEEL_E_CONFLICT);
    assert_true(keel_file_is_folder(in("taken/inside")));
    assert_int_equal(symlink("taken", in("linked")), 0);
    assert_int_equal(keel_file_write(in("linked"), "x", 1, &err), KEEL_E_CONFLICT);
    assert_int_equal(keel_file_write("/dev/null", "x", 1, &err), KEEL_E_CONFLICT);
    assert_false(keel_file_exists(in(".taken.partial")));
}

static void a_write_does_not_follow_a_planted_link(void **state) {
    (void)state;
    put_text("victim", "precious");
    assert_int_equal(symlink("victim", in(".target.partial")), 0);
    assert_int_not_equal(keel_file_write(in("target"), "x", 1, NULL), KEEL_OK);
    assert_holds("victim", "precious");
    unlink(in(".target.partial"));
}

static void a_folder_lists_the_sorted_files_that_end_in_a_suffix(void **state) {
    (void)state;
    keel_arena arena = {0};
    const char **names;
    size_t count;
    assert_int_equal(keel_folder_make(in("list/sub.jsonl"), NULL), KEEL_OK);
    put_text("list/b.jsonl", "");
    put_text("list/a.jsonl.gz", "");
    put_text("list/c.txt", "");
    const char *suffixes[] = {".jsonl", ".jsonl.gz", NULL};
    assert_int_equal(keel_folder_list(in("list"), suffixes, &arena, &names, &count, NULL), KEEL_OK);
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "a.jsonl.gz");
    assert_string_equal(names[1], "b.jsonl");
    assert_int_equal(keel_folder_list(in("missing"), NULL, &arena, &names, &count, NULL), KEEL_E_IO);
    keel_arena_free(&arena);
}

static void put_in(const keel_folder_write *write, const char *name, const char *text) {
    char path[4400];
    snprintf(path, sizeof path, "%s/%s", write->temporary, name);
    assert_int_equal(keel_file_write(path, text, strlen(text), NULL), KEEL_OK);
}

static void a_folder_appears_whole_at_commit_and_replaces_the_older_one(void **state) {
    (void)state;
    keel_folder_write write;
    assert_int_equal(keel_folder_begin(&write, in("deep/er/art/"), NULL), KEEL_OK);
    put_in(&write, "old", "1");
    assert_false(keel_file_exists(in("deep/er/art")));
    assert_int_equal(keel_folder_commit(&write, NULL), KEEL_OK);
    assert_holds("deep/er/art/old", "1");

    assert_int_equal(keel_folder_begin(&write, in("deep/er/art"), NULL), KEEL_OK);
    put_in(&write, "new", "2");
    assert_holds("deep/er/art/old", "1");
    assert_int_equal(keel_folder_commit(&write, NULL), KEEL_OK);
    assert_holds("deep/er/art/new", "2");
    assert_false(keel_file_exists(in("deep/er/art/old")));
    assert_false(keel_file_exists(in("deep/er/.art.old")));
    assert_false(keel_file_exists(in("deep/er/.art.partial")));
}

static void an_abandoned_folder_leaves_no_trace_and_a_stale_one_is_swept(void **state) {
    (void)state;
    keel_folder_write write;
    assert_int_equal(keel_folder_begin(&write, in("gone"), NULL), KEEL_OK);
    put_in(&write, "file", "1");
    keel_folder_abandon(&write);
    assert_false(keel_file_exists(in("gone")));
    assert_false(keel_file_exists(in(".gone.partial")));

    assert_int_equal(keel_folder_make(in(".gone.partial/sub"), NULL), KEEL_OK);
    put_text(".gone.partial/sub/stale", "x");
    assert_int_equal(keel_folder_begin(&write, in("gone"), NULL), KEEL_OK);
    put_in(&write, "fresh", "1");
    assert_int_equal(keel_folder_commit(&write, NULL), KEEL_OK);
    assert_holds("gone/fresh", "1");
    assert_false(keel_file_exists(in("gone/sub")));
}

static void a_commit_killed_between_its_renames_gives_the_older_folder_back(void **state) {
    (void)state;
    keel_folder_write write;
    assert_int_equal(keel_folder_make(in(".half.old"), NULL), KEEL_OK);
    assert_int_equal(keel_folder_make(in(".half.partial"), NULL), KEEL_OK);
    put_text(".half.old/file", "older");
    assert_int_equal(keel_folder_begin(&write, in("half"), NULL), KEEL_OK);
    assert_holds("half/file", "older");
    keel_folder_abandon(&write);
    assert_holds("half/file", "older");
}

static void a_file_in_the_way_of_a_folder_stays(void **state) {
    (void)state;
    keel_folder_write write;
    put_text("wall", "stone");
    assert_int_equal(keel_folder_begin(&write, in("wall"), NULL), KEEL_E_CONFLICT);
    assert_int_equal(keel_folder_begin(&write, in("wall/art"), NULL), KEEL_E_CONFLICT);
    assert_int_equal(keel_folder_begin(&write, ".", NULL), KEEL_E_INVALID);
    assert_int_equal(keel_folder_begin(&write, "", NULL), KEEL_E_INVALID);
    assert_holds("wall", "stone");
    assert_int_equal(keel_folder_remove(in("wall"), NULL), KEEL_E_CONFLICT);
}

static void removing_a_folder_does_not_follow_links(void **state) {
    (void)state;
    assert_int_equal(keel_folder_make(in("safe"), NULL), KEEL_OK);
    put_text("safe/file", "precious");
    assert_int_equal(keel_folder_make(in("doomed/sub"), NULL), KEEL_OK);
    assert_int_equal(symlink("../../safe", in("doomed/sub/link")), 0);
    assert_int_equal(keel_folder_remove(in("doomed"), NULL), KEEL_OK);
    assert_false(keel_file_exists(in("doomed")));
    assert_holds("safe/file", "precious");
    assert_int_equal(symlink("safe", in("link")), 0);
    assert_int_equal(keel_folder_remove(in("link/"), NULL), KEEL_E_CONFLICT);
    assert_holds("safe/file", "precious");
    assert_int_equal(keel_folder_remove(in("missing"), NULL), KEEL_OK);
}

static void paths_that_are_too_long_are_refused(void **state) {
    (void)state;
    char path[5000];
    keel_folder_write write;
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(keel_folder_begin(&write, path, NULL), KEEL_E_INVALID);
    assert_int_equal(keel_folder_make(path, NULL), KEEL_E_INVALID);
    assert_int_equal(keel_folder_remove(path, NULL), KEEL_E_INVALID);
    assert_int_equal(keel_file_write(path, "", 0, NULL), KEEL_E_INVALID);
}

static void paths_join_with_one_slash(void **state) {
    (void)state;
    keel_arena arena = {0};
    assert_string_equal(keel_path_join(&arena, "a", "b"), "a/b");
    assert_string_equal(keel_path_join(&arena, "a//", "/b"), "a/b");
    assert_string_equal(keel_path_join(&arena, "/", "b"), "/b");
    assert_string_equal(keel_path_join(&arena, "", "b"), "b");
    keel_arena_free(&arena);
}

/* Twenty links back would be 160,000 folders four deep. */
static void a_deep_list_does_not_go_in_circles(void **state) {
    (void)state;
    keel_arena arena = {0};
    const char **names;
    size_t count = 0;
    assert_int_equal(keel_folder_make(in("round/sub"), NULL), KEEL_OK);
    put_text("round/sub/file", "");
    assert_int_equal(symlink("sub/file", in("round/link")), 0);
    for (int i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "round/back-%d", i);
        assert_int_equal(symlink(".", in(name)), 0);
    }
    assert_int_equal(keel_folder_list_deep(in("round"), NULL, &arena, &names, &count, NULL), KEEL_OK);
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "link");
    assert_string_equal(names[1], "sub/file");
    keel_arena_free(&arena);
}

/* One pass over everything here that allocates. */
static keel_status read_all_ways(void) {
    keel_buf buf = {0};
    keel_arena arena = {0};
    keel_source *reader = NULL;
    const char **names;
    char *line = NULL;
    size_t count;
    keel_status status;
    KEEL_TRY_GOTO(keel_file_read(in("memory/packed.gz"), 0, &buf, NULL), done);
    KEEL_TRY_GOTO(keel_source_open(&reader, in("memory/packed.gz"), NULL), done);
    do KEEL_TRY_GOTO(keel_source_line(reader, &line, &count, NULL, NULL), done);
    while (line);
    KEEL_TRY_GOTO(keel_folder_list(in("memory"), NULL, &arena, &names, &count, NULL), done);
done:
    keel_source_close(reader);
    keel_arena_free(&arena);
    keel_buf_free(&buf);
    return status;
}

static void running_out_of_memory_anywhere_is_an_error_without_a_leak(void **state) {
    (void)state;
    enum { LENGTH = 200000 }; /* several chunks, with lines longer than one */
    keel_buf packed = {0};
    char *text = malloc(LENGTH);
    for (size_t i = 0; i < LENGTH; i++) text[i] = i % 90000 == 89999 ? '\n' : 'a';
    gzip(&packed, text, LENGTH);
    assert_int_equal(keel_folder_make(in("memory"), NULL), KEEL_OK);
    put("memory/packed.gz", packed.data, packed.length);
    keel_buf_free(&packed);
    free(text);
    faults memory;
    keel_status status = KEEL_E_NOMEM;
    size_t n = 0;
    while (status != KEEL_OK && n < 1000) {
        faults_begin(&memory, ++n);
        status = read_all_ways();
        faults_end();
        assert_true(status == KEEL_OK || status == KEEL_E_NOMEM);
        assert_int_equal(memory.live, 0);
    }
    assert_int_equal(status, KEEL_OK);
    assert_true(n > 10);
}

static int set_up(void **state) {
    (void)state;
    return scratch_make(folder, "file") ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return keel_folder_remove(folder, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_and_gzipped_files_read_alike),
        cmocka_unit_test(empty_and_tiny_files_read_as_they_are),
        cmocka_unit_test(a_missing_file_or_a_folder_is_an_error_that_names_it),
        cmocka_unit_test(reading_stops_at_the_largest_size),
        cmocka_unit_test(a_gzip_file_cut_off_anywhere_is_an_error),
        cmocka_unit_test(files_compressed_with_zstd_read_alike),
        cmocka_unit_test(broken_zstd_data_are_errors),
        cmocka_unit_test(a_flipped_byte_of_gzip_data_is_an_error_or_changes_nothing),
        cmocka_unit_test(text_after_a_gzip_member_is_not_dropped_in_silence),
        cmocka_unit_test(lines_come_without_their_ends_and_numbered),
        cmocka_unit_test(lines_of_all_lengths_cross_the_chunks),
        cmocka_unit_test(corrupt_gzip_lines_name_file_and_line),
        cmocka_unit_test(endless_lines_are_refused),
        cmocka_unit_test(the_hash_of_a_file_is_sha256_of_its_bytes),
        cmocka_unit_test(a_write_replaces_the_whole_file_and_leaves_nothing_beside_it),
        cmocka_unit_test(a_failed_write_keeps_the_old_file),
        cmocka_unit_test(a_write_does_not_follow_a_planted_link),
        cmocka_unit_test(a_folder_lists_the_sorted_files_that_end_in_a_suffix),
        cmocka_unit_test(a_deep_list_does_not_go_in_circles),
        cmocka_unit_test(a_folder_appears_whole_at_commit_and_replaces_the_older_one),
        cmocka_unit_test(an_abandoned_folder_leaves_no_trace_and_a_stale_one_is_swept),
        cmocka_unit_test(a_commit_killed_between_its_renames_gives_the_older_folder_back),
        cmocka_unit_test(a_file_in_the_way_of_a_folder_stays),
        cmocka_unit_test(removing_a_folder_does_not_follow_links),
        cmocka_unit_test(paths_that_are_too_long_are_refused),
        cmocka_unit_test(paths_join_with_one_slash),
        cmocka_unit_test(running_out_of_memory_anywhere_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
