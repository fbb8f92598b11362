#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/safetensors.h"
#include "support/faults.h"
#include "support/scratch.h"

static char folder[256], path[512];

static const float weights[6] = {1, -2, 3.5f, 0, 1e-30f, 6};
static const float scalar = 42;
static const int8_t bytes[3] = {-1, 0, 1};
static const int64_t steps[1] = {1ll << 60};
static const keel_named_tensor several[] = {
    {.name = "z.weight",
     .dtype = KEEL_F32,
     .n_dims = 2,
     .shape = {2, 3},
     .data = weights,
     .bytes = sizeof weights},
    {.name = "bytes", .dtype = KEEL_I8, .n_dims = 1, .shape = {3}, .data = bytes, .bytes = sizeof bytes},
    {.name = "a \"quoted\" \xe4\xbd\xa0",
     .dtype = KEEL_F32,
     .n_dims = 0,
     .data = &scalar,
     .bytes = sizeof scalar},
    {.name = "steps", .dtype = KEEL_I64, .n_dims = 1, .shape = {1}, .data = steps, .bytes = sizeof steps},
    {.name = "empty", .dtype = KEEL_F32, .n_dims = 2, .shape = {0, 7}, .data = NULL, .bytes = 0}};
enum { SEVERAL = sizeof several / sizeof *several };

static void what_is_written_reads_back(void **state) {
    (void)state;
    keel_safetensors file;
    const char *const metadata[] = {"made by", "a \"test\"", NULL};
    assert_int_equal(keel_safetensors_write(path, several, SEVERAL, metadata, NULL), KEEL_OK);
    assert_int_equal(keel_safetensors_read(path, &file, NULL), KEEL_OK);
    assert_int_equal(file.count, SEVERAL);
    const char *order[] = {"steps", "a \"quoted\" \xe4\xbd\xa0", "empty", "z.weight", "bytes"};
    for (size_t i = 0; i < SEVERAL; i++) assert_string_equal(file.tensors[i].name, order[i]);
    for (size_t i = 0; i < SEVERAL; i++) {
        const keel_named_tensor *got = keel_safetensors_find(&file, several[i].name);
        assert_non_null(got);
        assert_int_equal(got->dtype, several[i].dtype);
        assert_int_equal(got->n_dims, several[i].n_dims);
        assert_memory_equal(got->shape, several[i].shape, several[i].n_dims * sizeof(size_t));
        assert_int_equal(got->bytes, several[i].bytes);
        if (got->bytes) assert_memory_equal(got->data, several[i].data, got->bytes);
    }
    assert_null(keel_safetensors_find(&file, "Z.weight"));
    assert_non_null(
        strstr(file.file.data + 8, "{\"__metadata__\":{\"made by\":\"a \\\"test\\\"\",\"format\":\"pt\"},"));
    uint64_t header;
    memcpy(&header, file.file.data, 8);
    assert_int_equal(header % 8, 0);
    keel_safetensors_free(&file);
    keel_safetensors_free(&file);
}

/* The data of a tensor in two pieces; KEEL_E_IO for the scalar. context: the tensors. */
static keel_status in_pieces(void *context, const keel_named_tensor *tensor, keel_file_writer *to,
                             keel_err *err) {
    const char *data = several[tensor - (const keel_named_tensor *)context].data;
    const size_t half = tensor->bytes / 2;
    if (tensor->n_dims == 0) return keel_fail(err, KEEL_E_IO, tensor->name, "of the test");
    if (!tensor->bytes) return KEEL_OK;
    KEEL_TRY(keel_file_writer_add(to, data, half, err));
    return keel_file_writer_add(to, data + half, tensor->bytes - half, err);
}

static void data_that_come_later_are_written_alike(void **state) {
    (void)state;
    keel_named_tensor later[SEVERAL];
    char one[65], other[65];
    memcpy(later, several, sizeof later);
    for (size_t i = 0; i < SEVERAL; i++)
        if (i != 2) later[i].data = NULL; /* the scalar stays */
    assert_int_equal(keel_safetensors_write(path, several, SEVERAL, NULL, NULL), KEEL_OK);
    assert_int_equal(keel_file_hash(path, one, NULL), KEEL_OK);
    assert_int_equal(keel_safetensors_stream(path, later, SEVERAL, NULL, in_pieces, later, NULL), KEEL_OK);
    assert_int_equal(keel_file_hash(path, other, NULL), KEEL_OK);
    assert_string_equal(one, other);
    later[2].data = NULL;
    unlink(path);
    assert_int_equal(keel_safetensors_stream(path, later, SEVERAL, NULL, in_pieces, later, NULL), KEEL_E_IO);
    assert_false(keel_file_exists(path));
}

static void a_file_without_tensors_reads_back(void **state) {
    (void)state;
    keel_safetensors file;
    assert_int_equal(keel_safetensors_write(path, NULL, 0, NULL, NULL), KEEL_OK);
    assert_int_equal(keel_safetensors_read(path, &file, NULL), KEEL_OK);
    assert_int_equal(file.count, 0);
    keel_safetensors_free(&file);
}

static void copies_want_the_exact_name_type_and_shape(void **state) {
    (void)state;
    keel_safetensors file;
    keel_err err = {0};
    float out[6] = {0};
    assert_int_equal(keel_safetensors_write(path, several, SEVERAL, NULL, NULL), KEEL_OK);
    assert_int_equal(keel_safetensors_read(path, &file, NULL), KEEL_OK);
    assert_int_equal(keel_safetensors_copy(&file, "z.weight", (size_t[]){2, 3}, 2, out, NULL), KEEL_OK);
    assert_memory_equal(out, weights, sizeof out);
    assert_int_equal(keel_safetensors_copy(&file, "z.weight", (size_t[]){3, 2}, 2, out, &err),
                     KEEL_E_INVALID);
    assert_string_equal(err.message, "tensor \"z.weight\": expected shape [3, 2], got [2, 3]");
    assert_int_equal(keel_safetensors_copy(&file, "z.weight", (size_t[]){6}, 1, out, &err), KEEL_E_INVALID);
    assert_int_equal(keel_safetensors_copy(&file, "none", (size_t[]){6}, 1, out, &err), KEEL_E_INVALID);
    assert_int_equal(keel_safetensors_copy(&file, "bytes", (size_t[]){3}, 1, out, &err), KEEL_E_INVALID);
    assert_int_equal(keel_safetensors_copy(&file, several[2].name, NULL, 0, out, NULL), KEEL_OK);
    assert_true(out[0] == 42);
    keel_safetensors_free(&file);
}

static void the_writer_refuses_what_the_reader_would(void **state) {
    (void)state;
    keel_named_tensor twice[2] = {several[0], several[0]}, wrong = several[0];
    const char *const metadata[] = {"key", "1", "key", "2", NULL};
    unlink(path);
    assert_int_equal(keel_safetensors_write(path, twice, 2, NULL, NULL), KEEL_E_INVALID);
    wrong.bytes = 20;
    assert_int_equal(keel_safetensors_write(path, &wrong, 1, NULL, NULL), KEEL_E_INVALID);
    wrong = several[0];
    wrong.name = "__metadata__";
    assert_int_equal(keel_safetensors_write(path, &wrong, 1, NULL, NULL), KEEL_E_INVALID);
    wrong.name = "\xff";
    assert_int_equal(keel_safetensors_write(path, &wrong, 1, NULL, NULL), KEEL_E_INVALID);
    assert_int_equal(keel_safetensors_write(path, several, 1, metadata, NULL), KEEL_E_INVALID);
    assert_false(keel_file_exists(path));
}

/* Reads a file of this header and so many bytes of data. */
static keel_status read_made(uint64_t stated, const char *header, size_t data, keel_err *err) {
    keel_buf buf = {0};
    keel_safetensors file;
    keel_buf_append(&buf, &stated, sizeof stated);
    keel_buf_text(&buf, header);
    for (size_t i = 0; i < data; i++) keel_buf_append(&buf, "x", 1);
    assert_int_equal(keel_file_write(path, buf.data, buf.length, NULL), KEEL_OK);
    keel_buf_free(&buf);
    keel_status status = keel_safetensors_read(path, &file, err);
    if (status == KEEL_OK) keel_safetensors_free(&file);
    return status;
}

#define I8_3  "{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":"
#define I8_5  "{\"dtype\":\"I8\",\"shape\":[5],\"data_offsets\":"
#define F32_2 "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":"

static void headers_as_other_writers_make_them_are_taken(void **state) {
    (void)state;
    const char *good[] = {
        "{\"a\":" F32_2 "[0,8]}}     ", /* padded with spaces */
        "{\"b\":" F32_2 "[0,8]},\"e\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[8,8]}}",
        "{\"e\":{\"dtype\":\"U8\",\"shape\":[4,0],\"data_offsets\":[0,0]},\"b\":" F32_2 "[0,8]}}",
        "{\"b\":" I8_3 "[0,3]},\"c\":" I8_5 "[3,8]}}"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(read_made(strlen(good[i]), good[i], 8, NULL), KEEL_OK);
}

static void each_way_to_be_malformed_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *header, *why;
        size_t data;
    } bad[] = {
        {"[]", "begin with '{'", 0},
        {" {}", "begin with '{'", 0},
        {"{", "got the end", 0},
        {"{\"a\":1}", "expected an object", 0},
        {"{\"a\xff\":1}", "invalid UTF-8", 0},
        {"{} {}", "nothing more", 0},
        {"{\"a\":" F32_2 "[0,8]},\"a\":" F32_2 "[0,8]}}", "stands twice", 8},
        {"{}", "expected 0 bytes of data", 1},
        {"{\"a\":" F32_2 "[0,8]}}", "not within", 7},
        {"{\"a\":" F32_2 "[0,8]}}", "expected 8 bytes of data", 9},
        {"{\"a\":" F32_2 "[0,8]},\"b\":" F32_2 "[9,17]}}", "after a hole", 17},
        {"{\"a\":" F32_2 "[0,8]},\"b\":" F32_2 "[4,12]}}", "inside the one before", 12},
        {"{\"a\":" F32_2 "[1,9]}}", "after a hole", 9},
        {"{\"a\":" F32_2 "[8,0]}}", "not within", 8},
        {"{\"a\":" F32_2 "[0,4]}}", "do not fill", 4},
        {"{\"a\":" F32_2 "[0]}}", "two sizes", 8},
        {"{\"a\":" F32_2 "[0,8,8]}}", "two sizes", 8},
        {"{\"a\":" F32_2 "[0,8.5]}}", "two sizes", 8},
        {"{\"a\":" F32_2 "[-8,0]}}", "two sizes", 8},
        {"{\"a\":" F32_2 "[0,1e30]}}", "two sizes", 8},
        {"{\"a\":" F32_2 "[0,\"8\"]}}", "two sizes", 8},
        {"{\"a\":" F32_2 "8}}", "expected an array", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", "\"shape\": expected an array, got nothing",
         8},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", "\"dtype\": expected a string", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", "no size", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.5],\"data_offsets\":[0,8]}}", "no size", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,0]}}",
         "do not fill", 0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[9007199254740992,2048],\"data_offsets\":[0,0]}}",
         "do not fill", 0},
        {"{\"a\":{\"dtype\":\"Q4\",\"shape\":[2],\"data_offsets\":[0,8]}}", "unknown dtype", 8},
        {"{\"__metadata__\":[]}", "expected an object", 0},
        {"{\"__metadata__\":{\"a\":1}}", "must be a string", 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        keel_err err = {0};
        assert_int_equal(read_made(strlen(bad[i].header), bad[i].header, bad[i].data, &err), KEEL_E_PARSE);
        assert_string_equal(err.where, path);
        if (!strstr(err.message, bad[i].why)) fail_msg("%s: got \"%s\"", bad[i].header, err.message);
        assert_non_null(strstr(err.hint, "download it again"));
    }
}

static void a_pointer_of_git_lfs_is_told(void **state) {
    (void)state;
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90\n";
    keel_safetensors file;
    keel_err err = {0};
    assert_int_equal(keel_safetensors_read_bytes(pointer, sizeof pointer - 1, "model", &file, &err),
                     KEEL_E_PARSE);
    assert_non_null(strstr(err.hint, "git lfs pull"));
}

static void header_lengths_that_do_not_fit_are_refused(void **state) {
    (void)state;
    const uint64_t lengths[] = {0, 1, 3, 100000001, UINT64_MAX, UINT64_MAX - 7, 1ull << 63};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        assert_int_equal(read_made(lengths[i], "{}", 0, NULL), KEEL_E_PARSE);
    keel_safetensors file;
    assert_int_equal(keel_safetensors_read(scratch_path(folder, "missing"), &file, NULL), KEEL_E_IO);
    assert_int_equal(keel_safetensors_read(folder, &file, NULL), KEEL_E_IO);
}

static void types_and_ranks_that_are_known_but_not_kept_are_named(void **state) {
    (void)state;
    keel_err err = {0};
    const char *wide = "{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}";
    const char *deep = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,2],\"data_offsets\":[0,8]}}";
    assert_int_equal(read_made(strlen(wide), wide, 8, &err), KEEL_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "got F64"));
    assert_int_equal(read_made(strlen(deep), deep, 8, &err), KEEL_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "more than 4 dimensions"));
}

/* Reads what is in path and, if it is taken, touches every byte of every tensor. */
static keel_status read_and_touch(void) {
    keel_safetensors file;
    keel_status status = keel_safetensors_read(path, &file, NULL);
    if (status != KEEL_OK) return status;
    unsigned sum = 0;
    for (size_t i = 0; i < file.count; i++)
        for (size_t j = 0; j < file.tensors[i].bytes; j++)
            sum += ((const unsigned char *)file.tensors[i].data)[j];
    keel_safetensors_free(&file);
    return sum == (unsigned)-1 ? KEEL_E_INVALID : KEEL_OK;
}

static void every_cut_is_refused_and_every_flip_survived(void **state) {
    (void)state;
    keel_buf buf = {0};
    assert_int_equal(keel_safetensors_write(path, several, SEVERAL, NULL, NULL), KEEL_OK);
    assert_int_equal(keel_file_read(path, 0, &buf, NULL), KEEL_OK);
    for (size_t length = 0; length < buf.length; length++) {
        FILE *out = fopen(path, "wb");
        assert_int_equal(fwrite(buf.data, 1, length, out), length);
        fclose(out);
        assert_int_equal(read_and_touch(), KEEL_E_PARSE);
    }
    for (size_t i = 0; i < buf.length; i++) {
        for (int flip = 1; flip < 256; flip = flip < 128 ? 2 * flip : 256) {
            buf.data[i] = (char)(buf.data[i] ^ flip);
            FILE *out = fopen(path, "wb");
            assert_int_equal(fwrite(buf.data, 1, buf.length, out), buf.length);
            fclose(out);
            keel_status status = read_and_touch();
            assert_true(status == KEEL_OK || status == KEEL_E_PARSE || status == KEEL_E_UNSUPPORTED);
            buf.data[i] = (char)(buf.data[i] ^ flip);
        }
    }
    keel_buf_free(&buf);
}

static keel_status write_and_read(void) {
    keel_safetensors file;
    keel_status status = keel_safetensors_write(path, several, SEVERAL, NULL, NULL);
    if (status == KEEL_OK) status = keel_safetensors_read(path, &file, NULL);
    if (status == KEEL_OK) keel_safetensors_free(&file);
    return status;
}

static void running_out_of_memory_anywhere_is_an_error_without_a_leak(void **state) {
    (void)state;
    faults memory;
    keel_status status = KEEL_E_NOMEM;
    size_t n = 0;
    while (status != KEEL_OK && n < 10000) {
        faults_begin(&memory, ++n);
        status = write_and_read();
        faults_end();
        assert_true(status == KEEL_OK || status == KEEL_E_NOMEM);
        assert_int_equal(memory.live, 0);
    }
    assert_int_equal(status, KEEL_OK);
    assert_true(n > 50);
}

static int set_up(void **state) {
    (void)state;
    if (!scratch_make(folder, "safetensors")) return -1;
    snprintf(path, sizeof path, "%s/file.safetensors", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return keel_folder_remove(folder, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(data_that_come_later_are_written_alike),
        cmocka_unit_test(a_file_without_tensors_reads_back),
        cmocka_unit_test(copies_want_the_exact_name_type_and_shape),
        cmocka_unit_test(the_writer_refuses_what_the_reader_would),
        cmocka_unit_test(headers_as_other_writers_make_them_are_taken),
        cmocka_unit_test(each_way_to_be_malformed_is_refused),
        cmocka_unit_test(header_lengths_that_do_not_fit_are_refused),
        cmocka_unit_test(a_pointer_of_git_lfs_is_told),
        cmocka_unit_test(types_and_ranks_that_are_known_but_not_kept_are_named),
        cmocka_unit_test(every_cut_is_refused_and_every_flip_survived),
        cmocka_unit_test(running_out_of_memory_anywhere_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
