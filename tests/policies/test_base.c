/* The door of bases: a kind from outside the tree is one file (toy_base.c) and one row, and does all that the
 * kinds of the tree do. This program's table takes the place of policies/base_kinds.c. */
#include "fixture.h"

#include <math.h>

#include "policies/base.h"
#include "policies/compress_base.h"
#include "policies/encode_store.h"
#include "policies/ngram_base/encode.h"
#include "policies/sft.h"
#include "toy_base.h"

const keel_base_kind *const keel_base_kinds[] = {&keel_ngram_base_kind, &toy_base_kind, NULL};

static char folder[256];
static keel_store *store;
static keel_split split;
static keel_pool *pool;
static keel_arena arena;

static const char *in(const char *name) {
    return scratch_path(folder, name);
}

static int set_up(void **state) {
    (void)state;
    if (!scratch_make(folder, "base")) return -1;
    if (keel_store_open(&store, in("logs.db"), KEEL_STORE_CREATE, &err) != KEEL_OK) return -1;
    if (keel_pool_open(&pool, 2, &err) != KEEL_OK) return -1;
    return keel_split_parse("train", &split, &err) == KEEL_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    keel_arena_free(&arena);
    keel_pool_close(pool);
    keel_store_close(store);
    return keel_folder_remove(folder, &err);
}

static keel_status tune_toy(const char *spec, const char *out, int64_t width) {
    toy_base_config config;
    char from[512], dir[512];
    snprintf(from, sizeof from, "%s", spec);
    snprintf(dir, sizeof dir, "%s", in(out));
    assert_ok(keel_options_defaults(toy_base_kind.options, &config, &err));
    config.width = width;
    return keel_sft(store, &split, from, &config.common, dir, true, NULL, pool, &err);
}

static keel_base *tune_ngram_with(bool user_acts) {
    struct keel_ngram_base_config config;
    keel_base *base = NULL;
    assert_ok(keel_options_defaults(keel_ngram_base_options, &config, &err));
    assert_false(config.user_acts); /* the default */
    config.min_updates = 20, config.buckets = 1024, config.dim = config.features = 8;
    config.user_acts = user_acts;
    assert_ok(keel_sft(store, &split, "ngram", &config.common, in("ngram"), true, NULL, pool, &err));
    assert_ok(keel_base_load(&base, in("ngram"), &err));
    assert_string_equal(base->kind->type, "builtin");
    return base;
}

static keel_base *tune_ngram(void) {
    return tune_ngram_with(false);
}

static keel_conversation *read_conversation(int64_t id) {
    keel_conversation *conversation;
    assert_ok(keel_store_conversation(store, id, &arena, &conversation, &err));
    return conversation;
}

/* 12 conversations: 12 greetings, 6 answers, 6 refusals; smoothing adds 1 to each. */
static void a_kind_from_outside_is_tuned_saved_loaded_and_encodes(void **state) {
    (void)state;
    keel_base *base = NULL;
    keel_features features;
    size_t encoded = 0;
    bool found = false;
    add_acts(store, 12, "train", true);
    assert_ok(tune_toy("toy", "base", 3));
    assert_ok(keel_base_load(&base, in("base"), &err));
    assert_ptr_equal(base->kind, &toy_base_kind);
    assert_int_equal(base->n_acts, 3);
    assert_ok(keel_encode_store(store, &split, base, pool, &encoded, &err));
    assert_int_equal(encoded, 24);
    const keel_conversation *conversation = read_conversation(5);
    assert_ok(
        keel_encode_store_find(base, store, &conversation->decisions[1], &arena, &features, &found, &err));
    assert_true(found);
    assert_int_equal(features.state_dim, 3);
    assert_float_equal(features.state[2], 3, 0);
    assert_float_equal(features.log_prior[keel_base_act_index(base, "greet")], log(13.0 / 27), 1e-6);
    assert_float_equal(features.log_prior[keel_base_act_index(base, "refuse")], log(7.0 / 27), 1e-6);
    keel_base_close(base);
}

static void a_kind_from_outside_is_tuned_further_in_its_own_shape(void **state) {
    (void)state;
    keel_base *base = NULL;
    char first[512];
    add_acts(store, 12, "train", true);
    assert_ok(tune_toy("toy", "first", 3));
    snprintf(first, sizeof first, "%s", in("first"));
    assert_int_equal(tune_toy(first, "second", 4), KEEL_E_CONFLICT);
    contains(err.message, "width");
    contains(err.hint, "--base toy");
    assert_ok(tune_toy(first, "second", 2)); /* the default: nothing was asked for */
    assert_ok(keel_base_load(&base, in("second"), &err));
    assert_int_equal(base->state_dim, 3);
    double log_prob;
    keel_candidate greeting = {.act = "greet"};
    assert_ok(keel_base_log_prob(base, read_conversation(1), 0, &greeting, 1, &arena, &log_prob, &err));
    assert_float_equal(log_prob, log(25.0 / 51), 1e-6);
    keel_base_close(base);
}

/* Whether the state of a decision depends on the act of a turn before it. */
static bool reads_act(const keel_base *base, size_t decision, size_t turn) {
    keel_features without, with;
    keel_conversation *conversation = read_conversation(1);
    conversation->turns[turn].act = NULL;
    assert_ok(keel_base_encode_decision(base, conversation, decision, &arena, &without, &err));
    conversation->turns[turn].act = "greet";
    assert_ok(keel_base_encode_decision(base, conversation, decision, &arena, &with, &err));
    return memcmp(without.state, with.state, without.state_dim * sizeof *with.state) != 0;
}

static void acts_of_users_are_read_where_they_are_asked_for(void **state) {
    (void)state;
    add_acts(store, 12, "train", true);
    for (int asked = 0; asked < 2; asked++) {
        keel_base *base = tune_ngram_with(asked);
        const keel_conversation *c = read_conversation(1);
        assert_int_equal(c->turns[0].role, KEEL_ROLE_USER);
        assert_int_equal(c->turns[1].role, KEEL_ROLE_ASSISTANT);
        assert_true(reads_act(base, 0, 0) == asked);
        assert_true(reads_act(base, 1, 1)); /* what the assistant did is known */
        keel_base_close(base);
    }
}

static void a_name_that_is_no_base_lists_the_kinds(void **state) {
    (void)state;
    const keel_base_kind *kind;
    assert_int_equal(keel_base_find_kind(in("nowhere"), &kind, &err), KEEL_E_NOT_FOUND);
    contains(err.hint, "\"builtin\", \"toy\"");
    assert_ok(keel_base_find_kind("ngram", &kind, &err));
    assert_ptr_equal(kind, &keel_ngram_base_kind);
}

static void a_kind_that_writes_is_asked_and_one_that_does_not_says_so(void **state) {
    (void)state;
    enum { WANTED = 200 };
    keel_base *toy = NULL;
    keel_proposal written[WANTED], again[WANTED];
    keel_proposal_config config = {.seed = 7, .max_tokens = 10, .temperature = 1, .top_p = 1};
    add_acts(store, 12, "train", true);
    assert_ok(tune_toy("toy", "toy", 2));
    assert_ok(keel_base_load(&toy, in("toy"), &err));
    const keel_conversation *conversation = read_conversation(1);
    keel_proposal_item item = {conversation, 0, WANTED, written}, other = {conversation, 0, WANTED, again};
    assert_ok(keel_base_propose(toy, &item, 1, &config, &arena, &err));
    assert_ok(keel_base_propose(toy, &other, 1, &config, &arena, &err));
    size_t greetings = 0;
    for (size_t i = 0; i < WANTED; i++) {
        assert_string_equal(written[i].text, again[i].text);
        greetings += strcmp(written[i].text, "greet") == 0;
    }
    assert_in_range(greetings, 70, 125); /* 13 of 27, at four deviations */
    item.decision = 2;
    assert_int_equal(keel_base_propose(toy, &item, 1, &config, &arena, &err), KEEL_E_USAGE);
    item.decision = 0;
    keel_base_close(toy);
    keel_base *ngram = tune_ngram();
    assert_int_equal(keel_base_propose(ngram, &item, 1, &config, &arena, &err), KEEL_E_UNSUPPORTED);
    contains(err.message, "writes none itself");
    keel_base_close(ngram);
}

static void same_features(const keel_features *a, const keel_features *b) {
    assert_int_equal(a->n_actions, b->n_actions);
    assert_int_equal(a->n_candidates, b->n_candidates);
    assert_memory_equal(a->state, b->state, a->state_dim * sizeof(float));
    assert_memory_equal(a->log_prior, b->log_prior, a->n_actions * sizeof(float));
    if (a->candidates)
        assert_memory_equal(a->candidates, b->candidates, a->n_candidates * a->candidate_dim * sizeof(float));
}

/* A conversation of several topics, each asked and answered in turn. */
static void long_conversation(keel_conversation *out) {
    enum { TURNS = 2 * N_TOPICS };
    static keel_turn turns[TURNS];
    static keel_candidate candidates[N_TOPICS][2];
    static keel_decision decisions[N_TOPICS];
    for (size_t i = 0; i < N_TOPICS; i++) {
        turns[2 * i] = (keel_turn){.role = KEEL_ROLE_USER, .text = topics[i].ask};
        turns[2 * i + 1] = (keel_turn){
            .role = KEEL_ROLE_ASSISTANT, .text = topics[i].answer, .act = i % 2 ? "answer" : NULL};
        candidates[i][0].text = topics[i].answer;
        candidates[i][1].text = "No.";
        decisions[i] = (keel_decision){.turn = 2 * i + 1, .n_candidates = 2, .candidates = candidates[i]};
    }
    *out = (keel_conversation){.source = "chat",
                               .external_id = "long",
                               .n_turns = TURNS,
                               .turns = turns,
                               .n_decisions = N_TOPICS,
                               .decisions = decisions};
}

static void features_do_not_depend_on_the_batch(void **state) {
    (void)state;
    static const size_t some[] = {1, 2, 5};
    keel_conversation conversation;
    keel_features alone, all[N_TOPICS], part[3];
    add_sets(store, 30, "train");
    keel_base *base = tune_ngram();
    long_conversation(&conversation);
    const keel_base_item items[] = {{&conversation, NULL, N_TOPICS, all}, {&conversation, some, 3, part}};
    assert_ok(keel_base_encode(base, items, 2, &arena, &err));
    for (size_t d = 0; d < N_TOPICS; d++) {
        assert_ok(keel_base_encode_decision(base, &conversation, d, &arena, &alone, &err));
        same_features(&alone, &all[d]);
        for (size_t k = 0; k < 3; k++)
            if (some[k] == d) same_features(&alone, &part[k]);
    }
    conversation.decisions[3].n_candidates = 0;
    assert_int_equal(keel_base_encode(base, items, 1, &arena, &err), KEEL_E_INVALID);
    contains(err.message, "decision 3");
    assert_ok(keel_base_encode(base, items + 1, 1, &arena, &err));
    keel_base_close(base);
}

static void same_bag(const keel_bag *bag, const keel_ngram_base *model, const char *const *texts, size_t n,
                     int field) {
    keel_grams grams;
    assert_ok(keel_ngram_texts(&model->rules, texts, n, (uint64_t)field, field == KEEL_FIELD_LAST, &arena,
                               &grams, NULL, &err));
    assert_int_equal(bag->count, grams.count);
    assert_memory_equal(bag->row, grams.bucket, grams.count * sizeof *grams.bucket);
}

/* Decision d reads the user's turn before it by itself, and up to four turns before that. */
static void each_field_holds_its_turns(void **state) {
    (void)state;
    keel_conversation conversation;
    keel_ngram_sample sample[N_TOPICS];
    add_sets(store, 30, "train");
    keel_base *base = tune_ngram();
    const keel_ngram_base *model = (const keel_ngram_base *)base;
    long_conversation(&conversation);
    assert_ok(keel__ngram_base_samples(model, &conversation, NULL, N_TOPICS, &arena, sample, &err));
    for (size_t d = 0; d < N_TOPICS; d++) {
        const char *asked[2], *answered[2];
        size_t n = d < 2 ? d : 2;
        for (size_t i = 0; i < n; i++) {
            asked[i] = topics[d - 1 - i].ask;
            answered[i] = topics[d - 1 - i].answer;
        }
        same_bag(&sample[d].field[KEEL_FIELD_LAST], model, &topics[d].ask, 1, KEEL_FIELD_LAST);
        same_bag(&sample[d].field[KEEL_FIELD_USER], model, asked, n, KEEL_FIELD_USER);
        same_bag(&sample[d].field[KEEL_FIELD_ASSISTANT], model, answered, n, KEEL_FIELD_ASSISTANT);
    }
    keel_base_close(base);
}

/* In memory and on disk the same features, near those of before; without a change written again to the same
 * bytes; a toy cannot be made smaller. */
static void an_ngram_base_at_8_bits_is_the_same_on_disk(void **state) {
    (void)state;
    keel_compress_config config;
    keel_compress_report report = {0};
    const keel_compress_job job = {.config = &config, .pool = pool, .report = &report};
    keel_features before, held, read;
    keel_base *loaded = NULL, *again = NULL;
    assert_ok(keel_options_defaults(keel_compress_options, &config, &err));
    add_sets(store, 30, "train");
    keel_base *base = tune_ngram();
    const keel_conversation *conversation = read_conversation(3);
    assert_ok(keel_base_encode_decision(base, conversation, 0, &arena, &before, &err));
    config.weights = KEEL_COMPRESS_INT8;
    assert_ok(keel_compress_base(in("ngram"), in("small"), true, &job, &err));
    assert_true(report.bytes < report.bytes_before / 2 && report.parameters == report.parameters_before);
    assert_ok(keel_base_compress(base, &job, &err));
    assert_ok(keel_base_encode_decision(base, conversation, 0, &arena, &held, &err));
    assert_ok(keel_base_load(&loaded, in("small"), &err));
    assert_ok(keel_base_encode_decision(loaded, conversation, 0, &arena, &read, &err));
    same_features(&held, &read);
    for (size_t i = 0; i < before.n_actions; i++)
        assert_float_equal(before.log_prior[i], held.log_prior[i], 0.05);
    assert_memory_not_equal(before.candidates, held.candidates,
                            before.n_candidates * before.candidate_dim * sizeof(float));
    config.weights = KEEL_COMPRESS_NONE;
    assert_ok(keel_compress_base(in("small"), in("copy"), true, &job, &err));
    assert_ok(keel_base_load(&again, in("copy"), &err));
    assert_string_equal(again->hash, loaded->hash);
    keel_base_kind cannot = *base->kind;
    cannot.compress = NULL;
    base->kind = &cannot;
    assert_int_equal(keel_base_compress(base, &job, &err), KEEL_E_UNSUPPORTED);
    keel_base_close(base);
    keel_base_close(loaded);
    keel_base_close(again);
}

static void log_prob_is_the_prior_over_the_given_candidates(void **state) {
    (void)state;
    keel_features features;
    double log_prob[2], one;
    add_sets(store, 30, "train");
    keel_base *base = tune_ngram();
    const keel_conversation *conversation = read_conversation(3);
    const keel_decision *decision = &conversation->decisions[0];
    assert_ok(keel_base_encode_decision(base, conversation, 0, &arena, &features, &err));
    assert_ok(keel_base_log_prob(base, conversation, 0, decision->candidates, 2, &arena, log_prob, &err));
    for (int i = 0; i < 2; i++) assert_float_equal(log_prob[i], features.log_prior[i], 0);
    keel_candidate other = {.text = "Something that nobody said."};
    assert_ok(keel_base_log_prob(base, conversation, 0, &other, 1, &arena, &one, &err));
    assert_float_equal(one, 0, 1e-6); /* the only one there is */
    static const keel_candidate refusal = {.text = "No."};
    base->fixed = &refusal;
    base->n_fixed = 1; /* a third action, which was not asked about */
    assert_ok(keel_base_log_prob(base, conversation, 0, decision->candidates, 2, &arena, log_prob, &err));
    for (int i = 0; i < 2; i++) assert_float_equal(log_prob[i], features.log_prior[i], 1e-6);
    keel_base_close(base);
}

/* What a server said by a fixed answer is a candidate of the log: one action, which has the features of the
 * other and all of the prior that the two would share. */
static void a_fixed_answer_that_is_a_candidate_is_offered_once(void **state) {
    (void)state;
    static const keel_candidate fixed[] = {{.text = "No."},
                                           {.text = "A colleague answers.", .act = "handover"}};
    keel_features features, apart;
    add_sets(store, 30, "train");
    keel_base *base = tune_ngram();
    keel_conversation *conversation = read_conversation(3);
    base->fixed = fixed;
    base->n_fixed = 2;
    keel_candidate said[] = {conversation->decisions[0].candidates[0], {.text = "No."}};
    conversation->decisions[0].candidates = said;
    conversation->decisions[0].n_candidates = 2;
    assert_ok(keel_base_encode_decision(base, conversation, 0, &arena, &features, &err));
    const size_t dim = features.candidate_dim;
    assert_int_equal(features.n_actions, 4);
    assert_true(isinf(features.log_prior[2]) && isfinite(features.log_prior[1]) &&
                isfinite(features.log_prior[3]));
    assert_memory_equal(features.candidates + dim, features.candidates + 2 * dim, dim * sizeof(float));
    conversation->decisions[0].n_candidates = 1;
    assert_ok(keel_base_encode_decision(base, conversation, 0, &arena, &apart, &err));
    assert_int_equal(apart.n_actions, 3);
    for (size_t i = 0; i < 3; i++)
        assert_float_equal(features.log_prior[i == 0 ? 0 : i == 1 ? 1 : 3], apart.log_prior[i], 1e-6);
    assert_true(keel_candidate_among(said, 2, &(keel_candidate){.text = "No.", .act = ""}));
    assert_false(keel_candidate_among(said, 2, &(keel_candidate){.act = ""}));
    said[1].act = "handover"; /* then it is another answer */
    conversation->decisions[0].n_candidates = 2;
    assert_ok(keel_base_encode_decision(base, conversation, 0, &arena, &features, &err));
    assert_true(isfinite(features.log_prior[2]));
    keel_base_close(base);
}

static void log_prob_in_fixed_spaces_goes_by_the_act(void **state) {
    (void)state;
    keel_features features;
    double log_prob[2];
    keel_candidate candidates[2] = {{.act = "refuse"}, {.act = "greet"}};
    add_acts(store, 30, "train", true);
    keel_base *base = tune_ngram();
    const keel_conversation *conversation = read_conversation(3);
    assert_ok(keel_base_encode_decision(base, conversation, 1, &arena, &features, &err));
    assert_ok(keel_base_log_prob(base, conversation, 1, candidates, 2, &arena, log_prob, &err));
    assert_float_equal(log_prob[0], features.log_prior[keel_base_act_index(base, "refuse")], 0);
    assert_float_equal(log_prob[1], features.log_prior[keel_base_act_index(base, "greet")], 0);
    candidates[1].act = "sing";
    assert_int_equal(keel_base_log_prob(base, conversation, 1, candidates, 2, &arena, log_prob, &err),
                     KEEL_E_INVALID);
    contains(err.message, "candidate 1");
    keel_base_close(base);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_kind_from_outside_is_tuned_saved_loaded_and_encodes),
        TEST(a_kind_from_outside_is_tuned_further_in_its_own_shape),
        TEST(acts_of_users_are_read_where_they_are_asked_for),
        TEST(a_name_that_is_no_base_lists_the_kinds),
        TEST(a_kind_that_writes_is_asked_and_one_that_does_not_says_so),
        TEST(features_do_not_depend_on_the_batch),
        TEST(each_field_holds_its_turns),
        TEST(an_ngram_base_at_8_bits_is_the_same_on_disk),
        TEST(log_prob_is_the_prior_over_the_given_candidates),
        TEST(a_fixed_answer_that_is_a_candidate_is_offered_once),
        TEST(log_prob_in_fixed_spaces_goes_by_the_act),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
