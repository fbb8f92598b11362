/* A split of a store as a corpus: counts, content, order, and reading with and without memory. */
#define SCRATCH "corpus"
#include "fixture.h"

#include "datasets/store_corpus.h"

static keel_split split;

/* Conversation `name`: one decision, of one or two candidates, the first taken. */
static void add_one(const char *name, size_t n_candidates, const char *act, keel_risk risk) {
    keel_turn turn = {.role = KEEL_ROLE_USER, .text = "Hello."};
    keel_candidate candidates[2] = {{.text = "Hi.", .act = act, .taken = true}, {.text = "No."}};
    keel_decision decision = {.turn = 1, .n_candidates = n_candidates, .candidates = candidates};
    keel_conversation conversation = {.source = "chat",
                                      .external_id = name,
                                      .split = "train",
                                      .risk = risk,
                                      .completed = KEEL_UNKNOWN,
                                      .n_turns = 1,
                                      .turns = &turn,
                                      .n_decisions = 1,
                                      .decisions = &decision};
    add(&conversation);
}

static const char *const names[] = {"ape", "bee", "cat", "dog"};

static void add_all(bool backwards) {
    for (size_t i = 0; i < 4; i++) {
        size_t k = backwards ? 3 - i : i;
        add_one(names[k], k % 2 + 1, k < 3 ? (k ? "wave" : "bow") : NULL,
                k ? KEEL_RISK_BENIGN : KEEL_RISK_UNKNOWN);
    }
    assert_ok(keel_split_parse("train", &split, &err));
}

static keel_corpus *open_corpus(size_t memory) {
    keel_corpus *corpus = NULL;
    assert_ok(keel_store_corpus_open(&corpus, store, &split, memory, &err));
    return corpus;
}

static void a_corpus_counts_what_there_is_to_learn_from(void **state) {
    (void)state;
    const char **acts;
    size_t n;
    add_all(false);
    keel_corpus *corpus = open_corpus(0);
    assert_int_equal(corpus->count, 4);
    assert_int_equal(corpus->counts.conversations, 4);
    assert_int_equal(corpus->counts.decisions, 4);
    assert_int_equal(corpus->counts.candidates, 6);
    assert_int_equal(corpus->counts.taken, 4);
    assert_int_equal(corpus->counts.with_act, 3);
    assert_int_equal(corpus->counts.judged, 0);
    assert_int_equal(corpus->counts.choices, 2);
    assert_int_equal(corpus->counts.with_risk, 3);
    assert_string_equal(corpus->name, "train");
    assert_ok(corpus->acts(corpus, &arena, &acts, &n, &err));
    assert_int_equal(n, 2);
    assert_string_equal(acts[0], "bow");
    assert_string_equal(acts[1], "wave");
    keel_store_corpus_close(corpus);
}

static void read_by_name(keel_corpus *corpus, char out[4][8]) {
    keel_arena arenas[4] = {{0}};
    keel_conversation *read[4];
    assert_ok(corpus->read(corpus, corpus->by_name, 4, arenas, read, &err));
    memset(out, 0, 4 * sizeof *out);
    for (size_t i = 0; i < 4; i++) snprintf(out[i], 8, "%s", read[i]->external_id);
    for (size_t i = 0; i < 4; i++) keel_arena_free(&arenas[i]);
}

static void order_by_name_and_content_do_not_depend_on_the_import(void **state) {
    char first[4][8], second[4][8], content[65];
    add_all(false);
    keel_corpus *corpus = open_corpus(0);
    read_by_name(corpus, first);
    memcpy(content, corpus->content, sizeof content);
    keel_store_corpus_close(corpus);
    end_test(state);
    begin_test(state);
    add_all(true);
    corpus = open_corpus(0);
    read_by_name(corpus, second);
    assert_memory_equal(first, second, sizeof first);
    assert_string_equal(content, corpus->content);
    keel_store_corpus_close(corpus);
}

static void memory_changes_nothing_that_is_read(void **state) {
    (void)state;
    char kept[4][8], read[4][8];
    add_all(false);
    keel_corpus *none = open_corpus(0), *some = open_corpus(1), *all = open_corpus(1 << 20);
    assert_true(some->in_memory < all->in_memory);
    read_by_name(none, read);
    read_by_name(some, kept);
    assert_memory_equal(kept, read, sizeof read);
    read_by_name(all, kept);
    assert_memory_equal(kept, read, sizeof read);
    all->forget(all);
    assert_int_equal(all->in_memory, 0);
    read_by_name(all, kept);
    assert_memory_equal(kept, read, sizeof read);
    keel_store_corpus_close(none);
    keel_store_corpus_close(some);
    keel_store_corpus_close(all);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)
    const struct CMUnitTest tests[] = {
        TEST(a_corpus_counts_what_there_is_to_learn_from),
        TEST(order_by_name_and_content_do_not_depend_on_the_import),
        TEST(memory_changes_nothing_that_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
