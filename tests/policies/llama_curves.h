/* What the tests of tuning decoders share: the texts of golden/decoder/curves.json, and its decoders. */
#ifndef KEEL_TESTS_LLAMA_CURVES_H
#define KEEL_TESTS_LLAMA_CURVES_H

#include "fixture.h"

#include "core/json.h"
#include "policies/transformer/llama_tape.h"

#define GOLDEN KEEL_SOURCE_DIR "/tests/policies/golden/decoder/"

enum { N_TEXTS = 6, MOST_TOKENS = 64 };

static cJSON *curves;
static keel_arena arena;
static int32_t ids[MOST_TOKENS], offsets[N_TEXTS + 1];
static float weights[MOST_TOKENS];

static double at(const cJSON *list, size_t i) {
    return cJSON_GetArrayItem(list, (int)i)->valuedouble;
}

static int set_up(void **state) {
    (void)state;
    assert_ok(keel_json_parse_file(GOLDEN "curves.json", &curves, &err));
    for (int i = 0; i < N_TEXTS; i++) {
        const cJSON *text = cJSON_GetArrayItem(keel_json_get(curves, "texts"), i),
                    *weight = cJSON_GetArrayItem(keel_json_get(curves, "weights"), i);
        const size_t n = (size_t)cJSON_GetArraySize(text), first = (size_t)offsets[i];
        for (size_t t = 0; t < n; t++) {
            ids[first + t] = (int32_t)at(text, t);
            weights[first + t] = (float)at(weight, t);
        }
        offsets[i + 1] = offsets[i] + (int32_t)n;
    }
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cJSON_Delete(curves);
    keel_arena_free(&arena);
    return 0;
}

static keel_llama *load(const char *name) {
    keel_llama *llama;
    char dir[512];
    snprintf(dir, sizeof dir, GOLDEN "%s", name);
    assert_ok(keel_llama_open(&llama, dir, KEEL_LLAMA_AS_STORED, &err));
    return llama;
}

#endif
