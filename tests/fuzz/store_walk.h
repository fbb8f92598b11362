/* Reads everything a store holds and checks that what comes out keeps the contract of core/nouns.h. */
#ifndef KEEL_TESTS_FUZZ_STORE_WALK_H
#define KEEL_TESTS_FUZZ_STORE_WALK_H

#include <float.h>
#include <math.h>

#include "core/file.h"
#include "core/text.h"
#include "datasets/store.h"
#include "datasets/store_trials.h"
#include "fuzz.h"

/* An empty store in the file at path: made once, then of the same bytes. */
static inline keel_status fuzz_empty_store(keel_store **out, const char *path, keel_err *err) {
    static const char *const tails[] = {"-wal", "-shm"};
    static keel_buf empty;
    char file[300];
    for (int i = 0; i < 2; i++) {
        snprintf(file, sizeof file, "%s%s", path, tails[i]);
        remove(file);
    }
    if (!empty.length) {
        remove(path);
        KEEL_TRY(keel_store_open(out, path, KEEL_STORE_CREATE, err));
        keel_store_close(*out);
        KEEL_TRY(keel_file_read(path, 0, &empty, err));
    }
    KEEL_TRY(keel_file_write(path, empty.data, empty.length, err));
    return keel_store_open(out, path, KEEL_STORE_WRITE, err);
}

static inline void fuzz_check_text(const char *text) {
    if (text) FUZZ_CHECK(keel_utf8_valid_prefix(text, strlen(text)) == strlen(text));
}

static inline void fuzz_check_optional(keel_optional value, double low, double high) {
    if (value.present) FUZZ_CHECK(value.value >= low && value.value <= high);
}

static inline void fuzz_check_candidate(const keel_candidate *candidate) {
    FUZZ_CHECK(candidate->text);
    fuzz_check_text(candidate->text);
    fuzz_check_text(candidate->act);
    fuzz_check_text(candidate->model);
    fuzz_check_optional(candidate->propensity, DBL_TRUE_MIN, 1);
    fuzz_check_optional(candidate->latency_ms, 0, DBL_MAX);
    fuzz_check_optional(candidate->feedback, -1, 1);
    for (int k = 0; k < KEEL_N_REWARDS; k++)
        if (candidate->logged_reward.present[k]) FUZZ_CHECK(fabsf(candidate->logged_reward.value[k]) <= 1);
    FUZZ_CHECK((unsigned)candidate->outcome <= KEEL_N_OUTCOMES);
    FUZZ_CHECK((unsigned)candidate->judge <= KEEL_AUTHORITY_HUMAN);
}

static inline void fuzz_check_decisions(const keel_conversation *c) {
    for (size_t i = 0; i < c->n_decisions; i++) {
        FUZZ_CHECK(c->decisions[i].turn <= c->n_turns);
        FUZZ_CHECK(i == 0 || c->decisions[i].turn > c->decisions[i - 1].turn);
        for (size_t k = 0; k < c->decisions[i].n_candidates; k++)
            fuzz_check_candidate(&c->decisions[i].candidates[k]);
    }
}

static inline void fuzz_check_conversation(const keel_conversation *c) {
    FUZZ_CHECK(c->source && c->external_id && c->split);
    fuzz_check_text(c->source);
    fuzz_check_text(c->external_id);
    fuzz_check_text(c->split);
    fuzz_check_text(c->group);
    fuzz_check_text(c->meta);
    FUZZ_CHECK((unsigned)c->risk <= KEEL_RISK_DANGEROUS);
    FUZZ_CHECK(c->completed >= KEEL_UNKNOWN && c->completed <= KEEL_YES);
    for (size_t i = 0; i < c->n_turns; i++) {
        FUZZ_CHECK((unsigned)c->turns[i].role <= KEEL_ROLE_TOOL && c->turns[i].text);
        fuzz_check_text(c->turns[i].text);
        fuzz_check_text(c->turns[i].act);
        fuzz_check_text(c->turns[i].model);
        fuzz_check_optional(c->turns[i].latency_ms, 0, DBL_MAX);
    }
    fuzz_check_decisions(c);
}

/* Number of conversations that could be read. `each` (may be NULL) sees them. */
static inline size_t fuzz_walk_store(keel_store *store, void (*each)(const keel_conversation *)) {
    keel_arena arena = {0};
    keel_cursor *cursor = NULL;
    keel_conversation *conversation = NULL;
    size_t count = 0;
    if (!fuzz_ok(keel_cursor_open(&cursor, store, NULL, KEEL_ORDER_STORED, &fuzz_err))) return 0;
    while (fuzz_ok(keel_cursor_next(cursor, &arena, &conversation, &fuzz_err)) && conversation) {
        fuzz_check_conversation(conversation);
        if (each) each(conversation);
        count++;
        keel_arena_reset(&arena);
    }
    keel_cursor_close(cursor);
    keel_arena_free(&arena);
    return count;
}

/* The queries that go over the whole store; any of them may fail, none may harm. */
static inline void fuzz_query_store(keel_store *store) {
    keel_arena arena = {0};
    keel_split_count *counts = NULL;
    const char **acts = NULL, *setting = NULL;
    keel_stored_search *search = NULL;
    keel_stored_trial *trials = NULL;
    size_t count = 0;
    char hash[65];
    (void)fuzz_ok(keel_store_find_search(store, "1", &arena, &search, &fuzz_err)); /* fuzz_rows' */
    if (fuzz_ok(keel_store_trials(store, "1", &arena, &trials, &count, &fuzz_err)))
        for (size_t i = 0; i < count; i++) FUZZ_CHECK(trials[i].config && trials[i].number == (int64_t)i);
    (void)fuzz_ok(keel_store_counts(store, &arena, &counts, &count, &fuzz_err));
    (void)fuzz_ok(keel_store_acts(store, NULL, &arena, &acts, &count, &fuzz_err));
    (void)fuzz_ok(keel_store_content_hash(store, NULL, hash, &fuzz_err));
    (void)fuzz_ok(keel_store_get_setting(store, "rewards", &arena, &setting, &fuzz_err));
    (void)fuzz_ok(keel_store_get_setting(store, "1", &arena, &setting, &fuzz_err)); /* fuzz_rows' */
    keel_arena_free(&arena);
}

#endif
