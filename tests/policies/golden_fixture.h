/* What tests share whose numbers are in one golden file: tests/policies/golden/GOLDEN_FILE. */
#ifndef KEEL_TESTS_GOLDEN_FIXTURE_H
#define KEEL_TESTS_GOLDEN_FIXTURE_H

#include "fixture.h"

#include "core/json.h"

static cJSON *golden;
static keel_arena arena;

static int set_up(void **state) {
    (void)state;
    return keel_json_parse_file(KEEL_SOURCE_DIR "/tests/policies/golden/" GOLDEN_FILE, &golden, &err) ==
                   KEEL_OK
               ? 0
               : -1;
}

static int tear_down(void **state) {
    (void)state;
    cJSON_Delete(golden);
    keel_arena_free(&arena);
    return 0;
}

#endif
