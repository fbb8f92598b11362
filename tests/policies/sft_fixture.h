/* What the tests of tuning share: a store of logs in a scratch folder, which SCRATCH names, and artefacts
 * made from it. */
#ifndef KEEL_TESTS_SFT_FIXTURE_H
#define KEEL_TESTS_SFT_FIXTURE_H

#include "fixture.h"

#include "core/file.h"
#include "core/json.h"
#include "policies/sft.h"
#include "support/interrupt.h"

static char folder[256];
static keel_store *store;
static keel_split split;

static inline const char *in(const char *name) {
    return scratch_path(folder, name);
}

static inline int open_store(void) {
    interrupt_listen();
    if (!scratch_make(folder, SCRATCH)) return -1;
    if (keel_store_open(&store, in("logs.db"), KEEL_STORE_CREATE, &err) != KEEL_OK) return -1;
    return keel_split_parse("train", &split, &err) == KEEL_OK ? 0 : -1;
}

static inline int tear_down(void **state) {
    (void)state;
    interrupt_set(false);
    keel_store_close(store);
    return keel_folder_remove(folder, &err);
}

/* The artefact is `name` in the folder. extras, metrics_path: or NULL. */
static inline keel_status sft(const char *spec, const keel_base_config *how, const keel_sft_extras *extras,
                              const char *name, const char *metrics_path, size_t threads) {
    keel_pool *pool;
    char dir[512];
    snprintf(dir, sizeof dir, "%s", in(name));
    assert_ok(keel_pool_open(&pool, threads, &err));
    keel_status status = keel_sft_with(store, &split, spec, how, extras, dir, true, metrics_path, pool, &err);
    keel_pool_close(pool);
    return status;
}

/* Interrupted at the question `at`, then `step` later each time, until it is through: how often. */
static inline size_t tune_in_pieces(keel_status (*tune)(const char *name, size_t threads), const char *name,
                                    long at, long step) {
    for (size_t cuts = 0;; cuts++, at += step) {
        interrupt_set(false);
        interrupt_at(at);
        const keel_status status = tune(name, 1);
        interrupt_at(0);
        interrupt_set(false);
        if (status == KEEL_OK) return cuts;
        if (status != KEEL_E_INTERRUPTED) fail_msg("%s: %s", err.where, err.message);
    }
}

static inline bool equal_files(const char *a, const char *b, const char *name) {
    char one[512], other[512], first[65], second[65];
    snprintf(one, sizeof one, "%s/%s/%s", folder, a, name);
    snprintf(other, sizeof other, "%s/%s/%s", folder, b, name);
    assert_ok(keel_file_hash(one, first, &err));
    assert_ok(keel_file_hash(other, second, &err));
    return strcmp(first, second) == 0;
}

static inline void same_file(const char *a, const char *b, const char *name) {
    if (!equal_files(a, b, name)) fail_msg("%s differs between %s and %s", name, a, b);
}

/* To be deleted. */
static inline cJSON *manifest_of(const char *name) {
    cJSON *manifest;
    char path[512];
    snprintf(path, sizeof path, "%s/keel.json", in(name));
    assert_ok(keel_json_parse_file(path, &manifest, &err));
    return manifest;
}

/* A figure of the metrics that the artefact has, "losses" by their name. */
static inline double figure(const char *name, const char *key) {
    cJSON *manifest = manifest_of(name);
    const cJSON *metrics = keel_json_get(manifest, "metrics"), *found = keel_json_get(metrics, key);
    const double value =
        cJSON_GetNumberValue(found ? found : keel_json_get(keel_json_get(metrics, "losses"), key));
    cJSON_Delete(manifest);
    return value;
}

static inline const char *teacher_in_lineage(const cJSON *manifest) {
    return cJSON_GetStringValue(keel_json_get(keel_json_get(manifest, "lineage"), "teacher_base"));
}

#endif
