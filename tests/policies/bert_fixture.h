/* What the tests of BERT encoders share: tiny encoders, the texts of the golden vectors, and these; a scratch
 * folder, where SCRATCH names one. */
#ifndef KEEL_TESTS_BERT_FIXTURE_H
#define KEEL_TESTS_BERT_FIXTURE_H

#include "fixture.h"

#include "core/file.h"
#include "core/json.h"
#include "policies/transformer/bert.h"

#define GOLDEN KEEL_SOURCE_DIR "/tests/policies/golden/"

enum { MOST_TEXTS = 16 };

static cJSON *golden; /* vectors.json */
static const char *texts[MOST_TEXTS];
static size_t n_texts;
static keel_arena arena;

static void open_golden(void) {
    const cJSON *text;
    assert_ok(keel_json_parse_file(GOLDEN "vectors.json", &golden, &err));
    cJSON_ArrayForEach (text, keel_json_get(golden, "texts")) texts[n_texts++] = text->valuestring;
}

static void close_golden(void) {
    cJSON_Delete(golden);
    keel_arena_free(&arena);
}

#ifdef SCRATCH
static char folder[256];

static int set_up(void **state) {
    (void)state;
    if (!scratch_make(folder, SCRATCH)) return -1;
    open_golden();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    close_golden();
    return keel_folder_remove(folder, &err);
}
#endif

static keel_bert *load(const char *name) {
    keel_bert *bert;
    char dir[512];
    snprintf(dir, sizeof dir, GOLDEN "bert/%s", name);
    assert_ok(keel_bert_load(&bert, dir, &err));
    return bert;
}

static inline float *vectors_of(const keel_bert *bert, const char *const *some, size_t n) {
    keel_bert_batch batch;
    size_t cut = 0;
    float *out = keel_arena_calloc(&arena, n * bert->config.hidden, sizeof *out);
    assert_ok(keel_bert_read(bert, some, n, &arena, &batch, &cut, &err));
    assert_ok(keel_bert_encode(bert, &batch, &arena, out, &err));
    return out;
}

#endif
