/* What the tests of decoders share: the tiny folders of golden/make_llama.py, copies of them with something
 * changed. */
#ifndef KEEL_TESTS_LLAMA_FIXTURE_H
#define KEEL_TESTS_LLAMA_FIXTURE_H

#include "fixture.h"

#include "core/file.h"
#include "core/json.h"
#include "policies/transformer/llama.h"

#define GOLDEN KEEL_SOURCE_DIR "/tests/policies/golden/"

enum { N_LLAMA = 4 };
static const char *const llama_names[N_LLAMA] = {"tied", "biased", "llama3", "plain"};
static char llama_folder[256]; /* scratch */

static inline keel_llama *llama_golden(const char *name, keel_llama_weights weights) {
    keel_llama *llama = NULL;
    char dir[512];
    snprintf(dir, sizeof dir, GOLDEN "llama/%s", name);
    assert_ok(keel_llama_open(&llama, dir, weights, &err));
    return llama;
}

/* Not keel_file_write, which waits for the disk. */
static inline void llama_write_bytes(const char *name, const void *bytes, size_t length) {
    FILE *file = fopen(scratch_path(llama_folder, name), "wb");
    assert_true(file && fwrite(bytes, 1, length, file) == length && fclose(file) == 0);
}

static inline void llama_write(const char *name, const char *text) {
    llama_write_bytes(name, text, strlen(text));
}

/* A copy of a golden folder. */
static inline void llama_lay_out(const char *model) {
    keel_arena arena = {0};
    const char **names = NULL;
    char dir[512], path[1024];
    size_t n = 0;
    snprintf(dir, sizeof dir, GOLDEN "llama/%s", model);
    assert_ok(keel_folder_remove(llama_folder, &err));
    assert_ok(keel_folder_make(llama_folder, &err));
    assert_ok(keel_folder_list(dir, NULL, &arena, &names, &n, &err));
    for (size_t i = 0; i < n; i++) {
        keel_buf text = {0};
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        assert_ok(keel_file_read(path, 1 << 20, &text, &err));
        llama_write_bytes(names[i], text.data, text.length);
        keel_buf_free(&text);
    }
    keel_arena_free(&arena);
}

/* One text in place of another in a file of the scratch folder, as the golden folder has it. */
static inline void llama_change(const char *model, const char *name, const char *old, const char *made) {
    keel_buf text = {0}, changed = {0};
    char path[512];
    size_t at = 0;
    snprintf(path, sizeof path, GOLDEN "llama/%s/%s", model, name);
    assert_ok(keel_file_read(path, 1 << 20, &text, &err));
    while (at + strlen(old) <= text.length && memcmp(text.data + at, old, strlen(old)) != 0) at++;
    if (at + strlen(old) > text.length) fail_msg("%s: no %s", name, old);
    keel_buf_append(&changed, text.data, at);
    keel_buf_text(&changed, made);
    keel_buf_append(&changed, text.data + at + strlen(old), text.length - at - strlen(old));
    llama_write_bytes(name, changed.data, changed.length);
    keel_buf_free(&text);
    keel_buf_free(&changed);
}

/* Bytes in a file of the scratch folder; a negative place counts from the end. */
static inline void llama_poke(const char *name, long at, const void *bytes, size_t n) {
    FILE *file = fopen(scratch_path(llama_folder, name), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* Set up and tear down of a test that has golden numbers in golden/NAME.json and a scratch folder, which no
 * other test may have. */
static cJSON *llama_numbers;

static inline int llama_set_up_in(const char *folder, const char *name) {
    char path[512];
    if (!scratch_make(llama_folder, folder)) return -1;
    snprintf(path, sizeof path, GOLDEN "%s.json", name);
    assert_ok(keel_json_parse_file(path, &llama_numbers, &err));
    return 0;
}

static inline int llama_set_up(const char *name) {
    return llama_set_up_in(name, name);
}

static inline int llama_tear_down(void **state) {
    (void)state;
    cJSON_Delete(llama_numbers);
    return keel_folder_remove(llama_folder, &err);
}

#endif
