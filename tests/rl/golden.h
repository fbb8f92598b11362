/* What tests share whose numbers are in one golden file: tests/rl/golden/GOLDEN_FILE. */
#ifndef KEEL_TESTS_RL_GOLDEN_H
#define KEEL_TESTS_RL_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/json.h"

static cJSON *golden;

static int golden_load(void **state) {
    (void)state;
    keel_err err = {0};
    if (keel_json_parse_file(KEEL_SOURCE_DIR "/tests/rl/golden/" GOLDEN_FILE, &golden, &err) == KEEL_OK)
        return 0;
    fprintf(stderr, "%s: %s\n", err.where, err.message);
    return -1;
}

static int golden_drop(void **state) {
    (void)state;
    cJSON_Delete(golden);
    return 0;
}

/* Numbers of a nested array in reading order. */
static inline size_t golden_numbers(const cJSON *list, double *out) {
    size_t n = 0;
    const cJSON *item;
    cJSON_ArrayForEach (item, list) {
        if (cJSON_IsArray(item))
            n += golden_numbers(item, out + n);
        else
            out[n++] = item->valuedouble;
    }
    assert_true(n > 0);
    return n;
}

#endif
