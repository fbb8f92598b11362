#define SCRATCH "sampler"
#include "core/hash.h"
#include "core/pcg.h"
#include "datasets/sampler.h"
#include "fixture.h"
#include "support/faults.h"

#include <math.h>

enum { STATE = 3, DIM = 2, BATCH = 16, CONVERSATIONS = 60, TURNS = 3 };

static const char *const acts[] = {"A", "B"};

/* Writes conversation c: TURNS decisions with 1 to 4 candidates, one or two taken; every seventh is cut off,
 * every ninth has a first decision without features. What the floats hold says whose they are. */
static void write_conversation(int c, keel_action_space space) {
    keel_turn turns[2 * TURNS];
    keel_decision decisions[TURNS];
    keel_candidate candidates[TURNS][4] = {0};
    char id[16];
    snprintf(id, sizeof id, "c%d", c);
    for (int t = 0; t < TURNS; t++) {
        size_t n = (size_t)(c + t) % 4 + 1;
        turns[2 * t] = (keel_turn){.role = KEEL_ROLE_USER, .text = "u"};
        turns[2 * t + 1] = (keel_turn){.role = KEEL_ROLE_ASSISTANT, .text = "a"};
        for (size_t k = 0; k < n; k++)
            candidates[t][k] = (keel_candidate){.text = k ? "b" : "a",
                                                .model = k == 2 ? "m" : NULL,
                                                .act = k == 0 ? acts[c % 2] : "C",
                                                .taken = k == 0 || k == 2,
                                                .outcome = k == 0 ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_NONE};
        decisions[t] =
            (keel_decision){.turn = (size_t)(2 * t + 1), .n_candidates = n, .candidates = candidates[t]};
    }
    keel_conversation made = {.source = "test",
                              .external_id = id,
                              .split = c % 5 ? "train" : "dev",
                              .truncated = c % 7 == 0,
                              .n_turns = 2 * TURNS,
                              .turns = turns,
                              .n_decisions = TURNS,
                              .decisions = decisions,
                              .completed = KEEL_UNKNOWN};
    assert_int_equal(add(&made), KEEL_ADDED_NEW);
    keel_conversation *stored = get(id);
    keel_transition transitions[TURNS * 2];
    size_t count = 0;
    for (size_t t = 0; t < TURNS; t++) {
        const keel_decision *decision = &stored->decisions[t];
        bool last = t == TURNS - 1;
        for (size_t k = 0; k < decision->n_candidates; k++)
            if (decision->candidates[k].taken)
                transitions[count++] =
                    (keel_transition){.decision_id = decision->id,
                                      .candidate_id = decision->candidates[k].id,
                                      .reward = {{(float)c / 100, 0.5f, 0}, {true, k == 0, false}},
                                      .next_decision_id = last ? 0 : stored->decisions[t + 1].id,
                                      .terminal = last && !stored->truncated,
                                      .truncated = last && stored->truncated};
        if (c % 9 == 0 && t == 0) continue;
        size_t n = decision->n_candidates;
        float state[STATE] = {(float)c, (float)t, 1}, sets[4 * DIM], prior[4];
        for (size_t k = 0; k < 4; k++) {
            sets[k * DIM] = (float)c * 10 + (float)t;
            sets[k * DIM + 1] = (float)k;
            prior[k] = -(float)k - (float)c;
        }
        bool ragged = space == KEEL_SPACE_CANDIDATES;
        keel_features features = {.state_dim = STATE,
                                  .candidate_dim = ragged ? DIM : 0,
                                  .n_candidates = ragged ? n : 0,
                                  .n_actions = ragged                     ? n
                                               : space == KEEL_SPACE_ACTS ? 2
                                                                          : 3,
                                  .state = state,
                                  .candidates = ragged ? sets : NULL,
                                  .log_prior = prior};
        assert_ok(keel_store_put_features(store, "base", decision->id, &features, &err));
    }
    assert_ok(keel_store_put_transitions(store, stored->id, transitions, count, &err));
}

static void fill(keel_action_space space) {
    assert_ok(keel_store_begin(store, &err));
    for (int c = 0; c < CONVERSATIONS; c++) write_conversation(c, space);
    assert_ok(keel_store_commit(store, &err));
}

static keel_sampler_config config_of(keel_action_space space, size_t cache) {
    return (keel_sampler_config){.base_hash = "base",
                                 .space = space,
                                 .acts = acts,
                                 .n_acts = 2,
                                 .state_dim = STATE,
                                 .candidate_dim = DIM,
                                 .batch = BATCH,
                                 .cache_bytes = cache,
                                 .seed = 5};
}

static keel_sampler *open_sampler(keel_action_space space, const char *split_text, size_t cache) {
    keel_sampler *sampler;
    keel_split split;
    keel_sampler_config config = config_of(space, cache);
    assert_ok(keel_split_parse(split_text, &split, &err));
    assert_ok(keel_sampler_open(&sampler, store, &split, &config, &err));
    return sampler;
}

static void same_bytes(const void *a, const void *b, size_t bytes) {
    assert_true((a == NULL) == (b == NULL));
    if (a) assert_memory_equal(a, b, bytes);
}

static void same_batch(const keel_batch *a, const keel_batch *b, size_t actions) {
    assert_int_equal(a->n, b->n);
    size_t n = a->n, rows = a->offsets ? (size_t)a->offsets[n] : n * actions;
    size_t next_rows = a->offsets ? (size_t)a->next_offsets[n] : n * actions;
    same_bytes(a->state, b->state, n * STATE * sizeof(float));
    same_bytes(a->next_state, b->next_state, n * STATE * sizeof(float));
    same_bytes(a->action, b->action, n * sizeof(int32_t));
    same_bytes(a->reward, b->reward, n * KEEL_N_REWARDS * sizeof(float));
    same_bytes(a->present, b->present, n * KEEL_N_REWARDS);
    same_bytes(a->bootstrap, b->bootstrap, n * sizeof(float));
    same_bytes(a->usable, b->usable, n);
    same_bytes(a->offsets, b->offsets, (n + 1) * sizeof(int32_t));
    same_bytes(a->next_offsets, b->next_offsets, (n + 1) * sizeof(int32_t));
    same_bytes(a->candidates, b->candidates, rows * DIM * sizeof(float));
    same_bytes(a->next_candidates, b->next_candidates, next_rows * DIM * sizeof(float));
    same_bytes(a->log_prior, b->log_prior, rows * sizeof(float));
    same_bytes(a->next_log_prior, b->next_log_prior, next_rows * sizeof(float));
}

static void batches_are_the_same_from_memory_and_from_the_store(void **state) {
    (void)state;
    static const keel_action_space spaces[] = {KEEL_SPACE_CANDIDATES, KEEL_SPACE_ACTS, KEEL_SPACE_OUTCOMES};
    for (int s = 0; s < 3; s++) {
        close_store();
        keel_folder_remove(folder, NULL);
        scratch_make(folder, SCRATCH);
        open_store(KEEL_STORE_CREATE);
        fill(spaces[s]);
        keel_sampler *memory = open_sampler(spaces[s], "train", 1 << 20),
                     *disk = open_sampler(spaces[s], "train", 0);
        keel_batch a, b;
        size_t total = keel_sampler_about(memory)->transitions;
        assert_memory_equal(keel_sampler_about(memory), keel_sampler_about(disk),
                            sizeof(keel_sampler_summary));
        for (uint64_t step = 0; step < 30; step++) {
            assert_ok(
                keel_sampler_draw(memory, 29 - step, &a, &err)); /* draws do not depend on earlier ones */
            for (uint64_t k = 0; k < 2; k++) assert_ok(keel_sampler_draw(disk, 29 - step, &b, &err));
            assert_int_equal(a.n, BATCH);
            same_batch(&a, &b, s == 1 ? 2 : 3);
        }
        for (size_t i = 0; i < total; i += BATCH) {
            assert_ok(keel_sampler_read(memory, i, &a, &err));
            assert_ok(keel_sampler_read(disk, i, &b, &err));
            assert_int_equal(a.n, total - i < BATCH ? total - i : BATCH);
            same_batch(&a, &b, s == 1 ? 2 : 3);
        }
        assert_ok(keel_sampler_read(memory, total, &a, &err));
        assert_int_equal(a.n, 0);
        keel_sampler_close(memory);
        keel_sampler_close(disk);
    }
}

static void near(double got, double expected) {
    if (!(got > expected - 1e-12 && got < expected + 1e-12))
        fail_msg("got %.17g, expected %.17g", got, expected);
}

static uint64_t by_name(int conversation) {
    char id[16];
    snprintf(id, sizeof id, "c%d", conversation);
    return keel_hash64(id, strlen(id), keel_hash64("test", 4, 0));
}

/* Walks all transitions of the split and checks each against what write_conversation put there. */
static void every_transition_comes_with_its_own_features(void **state) {
    (void)state;
    fill(KEEL_SPACE_CANDIDATES);
    keel_sampler *sampler = open_sampler(KEEL_SPACE_CANDIDATES, "all", 1 << 20);
    const keel_sampler_summary *about = keel_sampler_about(sampler);
    keel_batch batch;
    uint64_t before = 0;
    size_t seen = 0, cut = 0, ends = 0, second = 0;
    for (size_t i = 0; i < about->transitions; i += BATCH) {
        assert_ok(keel_sampler_read(sampler, i, &batch, &err));
        for (size_t b = 0; b < batch.n; b++, seen++) {
            int c = (int)batch.state[b * STATE], t = (int)batch.state[b * STATE + 1];
            int set = batch.offsets[b + 1] - batch.offsets[b],
                next = batch.next_offsets[b + 1] - batch.next_offsets[b];
            const float *candidate = batch.candidates + (batch.offsets[b] + batch.action[b]) * DIM;
            assert_int_equal(set, (c + t) % 4 + 1);
            assert_true(candidate[0] == (float)(c * 10 + t) && candidate[1] == (float)batch.action[b]);
            assert_true(batch.log_prior[batch.offsets[b] + batch.action[b]] == -(float)(batch.action[b] + c));
            assert_true(batch.reward[b * 3] == (float)c / 100);
            assert_int_equal(batch.present[b * 3 + KEEL_SPEED], batch.action[b] == 0);
            assert_int_equal(batch.present[b * 3 + KEEL_SAFETY], 0);
            bool last = t == TURNS - 1;
            assert_true(batch.bootstrap[b] == (last ? 0.0f : 1.0f));
            assert_int_equal(batch.usable[b], !(last && c % 7 == 0));
            assert_int_equal(next, last ? 0 : (c + t + 1) % 4 + 1);
            assert_true(batch.next_state[b * STATE + 1] == (last ? 0.0f : (float)(t + 1)));
            assert_false(c % 9 == 0 && t == 0);
            if (next)
                assert_true(batch.next_candidates[batch.next_offsets[b] * DIM] == (float)(c * 10 + t + 1));
            assert_true(batch.action[b] == 0 || batch.action[b] == set - 1); /* who has a model comes last */
            assert_true(by_name(c) >= before);
            before = by_name(c);
            second += batch.action[b] != 0;
            ends += last;
            cut += !batch.usable[b];
        }
    }
    assert_true(second > 20 && ends > CONVERSATIONS && cut > 5);
    assert_int_equal(about->left_out, 10); /* first decisions of 7 conversations, 3 of them taken twice */
    assert_int_equal(about->largest_set, 4);
    assert_true(about->coverage[KEEL_ACCURACY] == 1 && about->coverage[KEEL_SAFETY] == 0);
    near(about->coverage[KEEL_SPEED], 1 - (double)second / (double)seen);
    near(about->reward_low[KEEL_ACCURACY], 0);
    near(about->reward_high[KEEL_ACCURACY], (double)0.59f);
    near(about->mean_return_length, (3.0 * 60 - 7) / 60);
    keel_sampler_close(sampler);
}

static void actions_outside_the_space_are_left_out_and_counted(void **state) {
    (void)state;
    fill(KEEL_SPACE_ACTS);
    keel_sampler *sampler = open_sampler(KEEL_SPACE_ACTS, "all", 1 << 20);
    keel_batch batch;
    assert_int_equal(keel_sampler_about(sampler)->transitions,
                     60 * 3 - 7); /* the second takings have act C */
    assert_ok(keel_sampler_draw(sampler, 0, &batch, &err));
    assert_null(batch.candidates);
    for (size_t b = 0; b < batch.n; b++) assert_int_equal(batch.action[b], (int)batch.state[b * STATE] % 2);
    keel_sampler_close(sampler);
}

static void check_uniform(size_t cache) {
    enum { STEPS = 4000 };
    keel_sampler *sampler = open_sampler(KEEL_SPACE_ACTS, "all", cache);
    double n = (double)keel_sampler_about(sampler)->transitions, expected = STEPS * BATCH / n, chi = 0;
    size_t hits[CONVERSATIONS][TURNS] = {0};
    keel_batch batch;
    for (uint64_t step = 0; step < STEPS; step++) {
        assert_ok(keel_sampler_draw(sampler, step, &batch, &err));
        for (size_t b = 0; b < batch.n; b++)
            hits[(int)batch.state[b * STATE]][(int)batch.state[b * STATE + 1]]++;
    }
    for (int c = 0; c < CONVERSATIONS; c++)
        for (int t = 0; t < TURNS; t++) {
            if (c % 9 == 0 && t == 0) continue;
            double off = (double)hits[c][t] - expected;
            chi += off * off / expected;
        }
    double z =
        (chi - (n - 1)) / 18.5; /* chi-square of 172 degrees of freedom: deviation sqrt(2 x 172) = 18.5 */
    assert_true(z > -3 && z < 3);
    keel_sampler_close(sampler);
}

static void draws_are_uniform_from_memory_and_from_the_store(void **state) {
    (void)state;
    fill(KEEL_SPACE_ACTS);
    check_uniform(1 << 20);
    check_uniform(0);
}

static void what_cannot_be_sampled_says_why(void **state) {
    (void)state;
    keel_sampler *sampler = NULL;
    keel_split split;
    keel_sampler_config config = config_of(KEEL_SPACE_CANDIDATES, 1 << 20);
    keel_conversation plain;
    assert_ok(keel_split_parse("train", &split, &err));
    assert_int_equal(keel_sampler_open(&sampler, store, &split, &config, &err), KEEL_E_NOT_FOUND);
    contains(err.hint, "empty");
    make(&plain, "plain", NULL, "train", "a", "b");
    add(&plain);
    assert_int_equal(keel_sampler_open(&sampler, store, &split, &config, &err), KEEL_E_NOT_FOUND);
    contains(err.message, "no transitions");
    contains(err.hint, "keel label");
    fill(KEEL_SPACE_CANDIDATES);
    config.base_hash = "another";
    assert_int_equal(keel_sampler_open(&sampler, store, &split, &config, &err), KEEL_E_NOT_FOUND);
    contains(err.hint, "no features");
    config = config_of(KEEL_SPACE_CANDIDATES, 1 << 20);
    config.state_dim++;
    assert_int_equal(keel_sampler_open(&sampler, store, &split, &config, &err), KEEL_E_CONFLICT);
    contains(err.message, "state");
    config.batch = 0;
    assert_int_equal(keel_sampler_open(&sampler, store, &split, &config, &err), KEEL_E_INVALID);
    assert_null(sampler);
}

/* One answer, and then a decision of four candidates that was left open. */
static void write_open_end(bool terminal, bool next_features) {
    enum { SET = 4 };
    keel_turn turns[3] = {{.role = KEEL_ROLE_USER, .text = "u"},
                          {.role = KEEL_ROLE_ASSISTANT, .text = "a"},
                          {.role = KEEL_ROLE_USER, .text = "v"}};
    keel_candidate taken = {.text = "a", .taken = true};
    keel_candidate open[SET] = {{.text = "a"}, {.text = "b"}, {.text = "c"}, {.text = "d"}};
    keel_decision decisions[2] = {{.turn = 1, .n_candidates = 1, .candidates = &taken},
                                  {.turn = 3, .n_candidates = SET, .candidates = open}};
    keel_conversation made = {.source = "test",
                              .external_id = "open",
                              .split = "train",
                              .n_turns = 3,
                              .turns = turns,
                              .n_decisions = 2,
                              .decisions = decisions,
                              .completed = KEEL_UNKNOWN};
    const float numbers[SET * DIM] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_ok(keel_store_begin(store, &err));
    assert_int_equal(add(&made), KEEL_ADDED_NEW);
    keel_conversation *stored = get("open");
    for (size_t d = 0; d < (next_features ? 2 : 1); d++) {
        size_t n = stored->decisions[d].n_candidates;
        keel_features features = {STATE, DIM, n, n, numbers, numbers, numbers};
        assert_ok(keel_store_put_features(store, "base", stored->decisions[d].id, &features, &err));
    }
    keel_transition transition = {.decision_id = stored->decisions[0].id,
                                  .candidate_id = stored->decisions[0].candidates[0].id,
                                  .reward = {{1, 0, 0}, {true, false, false}},
                                  .next_decision_id = stored->decisions[1].id,
                                  .terminal = terminal};
    assert_ok(keel_store_put_transitions(store, stored->id, &transition, 1, &err));
    assert_ok(keel_store_commit(store, &err));
}

static void a_set_that_is_only_ever_next_has_its_room(void **state) {
    (void)state;
    write_open_end(false, true);
    keel_sampler *sampler = open_sampler(KEEL_SPACE_CANDIDATES, "all", 1 << 20);
    keel_batch batch;
    assert_int_equal(keel_sampler_about(sampler)->largest_set, 4);
    assert_ok(keel_sampler_draw(sampler, 0, &batch, &err));
    for (int b = 0; b < BATCH; b++) {
        assert_int_equal(batch.next_offsets[b + 1], 4 * (b + 1));
        assert_true(batch.bootstrap[b] == 1 && batch.next_candidates[(4 * b + 3) * DIM + 1] == 8);
    }
    keel_sampler_close(sampler);
}

static void nothing_is_looked_at_after_a_terminal(void **state) {
    (void)state;
    write_open_end(true, true);
    keel_sampler *sampler = open_sampler(KEEL_SPACE_CANDIDATES, "all", 1 << 20);
    keel_batch batch;
    assert_ok(keel_sampler_read(sampler, 0, &batch, &err));
    assert_true(batch.n == 1 && batch.bootstrap[0] == 0 && batch.usable[0] && batch.next_offsets[1] == 0);
    keel_sampler_close(sampler);
}

static void a_transition_to_a_decision_without_features_is_left_out(void **state) {
    (void)state;
    keel_sampler *sampler = NULL;
    keel_sampler_config config = config_of(KEEL_SPACE_CANDIDATES, 1 << 20);
    write_open_end(false, false);
    assert_int_equal(keel_sampler_open(&sampler, store, NULL, &config, &err), KEEL_E_NOT_FOUND);
    contains(err.message, "none of the 1 transitions");
}

static void reading_needs_no_right_to_write(void **state) {
    (void)state;
    fill(KEEL_SPACE_CANDIDATES);
    close_store();
    open_store(KEEL_STORE_READ);
    keel_sampler *sampler = open_sampler(KEEL_SPACE_CANDIDATES, "dev", 0);
    keel_batch batch;
    assert_ok(keel_sampler_draw(sampler, 3, &batch, &err));
    for (size_t b = 0; b < batch.n; b++) assert_int_equal((int)batch.state[b * STATE] % 5, 0);
    keel_sampler_close(sampler);
}

static void running_out_of_memory_is_an_error_without_a_leak(void **state) {
    (void)state;
    keel_sampler_config config;
    faults failing;
    keel_batch batch;
    fill(KEEL_SPACE_CANDIDATES);
    for (size_t cache = 0; cache <= 1 << 20; cache += 1 << 20) {
        size_t failures = 0;
        config = config_of(KEEL_SPACE_CANDIDATES, cache);
        for (size_t n = 1;; n += 1 + n / 20, failures++) {
            keel_sampler *sampler = NULL;
            faults_begin(&failing, n);
            keel_status status = keel_sampler_open(&sampler, store, NULL, &config, &err);
            if (status == KEEL_OK) status = keel_sampler_draw(sampler, 1, &batch, &err);
            keel_sampler_close(sampler);
            faults_end();
            if (status == KEEL_OK) break;
            assert_int_equal(status, KEEL_E_NOMEM);
        }
        assert_true(failures > 10);
    }
}

/* ---- several steps, the best conversations ---- */

static keel_sampler *open_acts(size_t n_step, double keep_top, size_t cache) {
    keel_sampler *sampler;
    keel_split split;
    keel_sampler_config config = config_of(KEEL_SPACE_ACTS, cache);
    config.n_step = n_step, config.gamma = 0.5, config.keep_top = keep_top;
    config.weight[KEEL_ACCURACY] = 1;
    assert_ok(keel_split_parse("train", &split, &err));
    assert_ok(keel_sampler_open(&sampler, store, &split, &config, &err));
    return sampler;
}

/* Item b of a batch against the conversation and turn that its state names. */
static void check_steps(const keel_batch *batch, size_t b, int n_step) {
    int c = (int)batch->state[b * STATE], t = (int)batch->state[b * STATE + 1];
    bool cut = c % 7 == 0;
    int end = cut ? TURNS - 1 : TURNS, steps = n_step < end - t ? n_step : end - t;
    if (steps == 0) steps = 1; /* the decision at which it was cut off */
    float sum = 0, factor = 1;
    for (int i = 0; i < steps; i++, factor *= 0.5f) sum += factor * (float)c / 100;
    bool goes_on = t + steps < TURNS;
    assert_true(fabsf(batch->reward[b * KEEL_N_REWARDS] - sum) < 1e-6f);
    assert_true(batch->present[b * KEEL_N_REWARDS + KEEL_SPEED] &&
                !batch->present[b * KEEL_N_REWARDS + KEEL_SAFETY]);
    assert_int_equal(batch->usable[b], !cut || t < TURNS - 1);
    assert_true(batch->bootstrap[b] == (goes_on ? 2 * factor : 0));
    if (goes_on) assert_true(batch->next_state[b * STATE + 1] == (float)(t + steps));
}

static void rewards_of_several_steps_end_where_their_conversation_does(void **state) {
    (void)state;
    fill(KEEL_SPACE_ACTS);
    for (int n_step = 1; n_step <= 4; n_step++)
        for (size_t cache = 0; cache < 2; cache++) {
            keel_batch batch;
            keel_sampler *sampler = open_acts((size_t)n_step, 0, cache << 20);
            size_t n = keel_sampler_about(sampler)->transitions;
            assert_int_equal(n, 48 * TURNS -
                                    5); /* five of the split lack the features of their first decision */
            for (size_t i = 0; i < n; i += BATCH) {
                assert_ok(keel_sampler_read(sampler, i, &batch, &err));
                for (size_t b = 0; b < batch.n; b++) check_steps(&batch, b, n_step);
            }
            keel_sampler_close(sampler);
        }
}

static void only_the_conversations_of_the_highest_return_are_kept(void **state) {
    (void)state;
    static const int sum_of_best = 53 + 56 + 57 + 58 + 59; /* 54 lacks a third of its own */
    fill(KEEL_SPACE_ACTS);
    for (size_t cache = 0; cache < 2; cache++) {
        keel_batch batch;
        keel_sampler *sampler = open_acts(1, 10, cache << 20);
        assert_int_equal(keel_sampler_about(sampler)->transitions, 5 * TURNS);
        assert_true(keel_sampler_about(sampler)->mean_return_length == TURNS);
        assert_ok(keel_sampler_read(sampler, 0, &batch, &err));
        int sum = 0;
        for (size_t b = 0; b < batch.n; b++) sum += (int)batch.state[b * STATE];
        assert_int_equal(batch.n, 5 * TURNS);
        assert_int_equal(sum, TURNS * sum_of_best);
        keel_sampler_close(sampler);
        sampler = open_acts(1, 100, cache << 20);
        assert_int_equal(keel_sampler_about(sampler)->transitions, 48 * TURNS - 5);
        keel_sampler_close(sampler);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(batches_are_the_same_from_memory_and_from_the_store),
        TEST(every_transition_comes_with_its_own_features),
        TEST(actions_outside_the_space_are_left_out_and_counted),
        TEST(draws_are_uniform_from_memory_and_from_the_store),
        TEST(what_cannot_be_sampled_says_why),
        TEST(a_set_that_is_only_ever_next_has_its_room),
        TEST(nothing_is_looked_at_after_a_terminal),
        TEST(a_transition_to_a_decision_without_features_is_left_out),
        TEST(reading_needs_no_right_to_write),
        TEST(rewards_of_several_steps_end_where_their_conversation_does),
        TEST(only_the_conversations_of_the_highest_return_are_kept),
        TEST(running_out_of_memory_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
