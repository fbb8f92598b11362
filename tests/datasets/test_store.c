/* What goes into a store and comes out: conversations, features, runs, under failing allocations too. */
#define SCRATCH "store"
#include "fixture.h"
#include "support/faults.h"

/* ---- conversations ---- */

/* A conversation that uses every field. */
static void make_rich(keel_conversation *out) {
    static keel_turn turns[] = {
        {.role = KEEL_ROLE_SYSTEM, .text = "Be kind."},
        {.role = KEEL_ROLE_USER, .text = "\xe4\xbd\xa0\xe5\xa5\xbd"},
        {.role = KEEL_ROLE_ASSISTANT,
         .text = "Hello",
         .model = "m1",
         .act = "GREET",
         .latency_ms = {true, 12.5}},
        {.role = KEEL_ROLE_USER, .text = ""},
    };
    static keel_candidate first[] = {
        {.text = "Hello",
         .act = "GREET",
         .model = "m1",
         .taken = true,
         .propensity = {true, 0.25},
         .latency_ms = {true, 12.5},
         .feedback = {true, -1},
         .logged_reward = {{0.1f, 0, -0.3f}, {true, false, true}},
         .outcome = KEEL_OUTCOME_PARTIAL,
         .judge = KEEL_AUTHORITY_HUMAN},
        {.text = "Go away", .model = "m2"},
    };
    static keel_candidate second[] = {{.text = "", .act = "REFUSE", .taken = false}};
    static keel_decision decisions[] = {{.turn = 2, .n_candidates = 2, .candidates = first},
                                        {.turn = 4, .n_candidates = 1, .candidates = second}};
    *out = (keel_conversation){.source = "test",
                               .external_id = "rich",
                               .split = "dev",
                               .group = "g",
                               .risk = KEEL_RISK_DANGEROUS,
                               .completed = KEEL_NO,
                               .truncated = true,
                               .n_turns = 4,
                               .turns = turns,
                               .n_decisions = 2,
                               .decisions = decisions,
                               .meta = "{\"a\":1}"};
}

static void what_goes_in_comes_out(void **state) {
    (void)state;
    keel_conversation in_, *out;
    make_rich(&in_);
    assert_int_equal(add(&in_), KEEL_ADDED_NEW);
    out = get("rich");
    assert_string_equal(out->source, "test");
    assert_string_equal(out->split, "dev");
    assert_string_equal(out->group, "g");
    assert_int_equal(out->risk, KEEL_RISK_DANGEROUS);
    assert_int_equal(out->completed, KEEL_NO);
    assert_true(out->truncated);
    assert_string_equal(out->meta, "{\"a\":1}");
    assert_int_equal(out->n_turns, 4);
    assert_string_equal(out->turns[1].text, in_.turns[1].text);
    assert_string_equal(out->turns[2].act, "GREET");
    assert_null(out->turns[1].act);
    assert_true(out->turns[2].latency_ms.present && out->turns[2].latency_ms.value == 12.5);
    assert_int_equal(out->n_decisions, 2);
    const keel_candidate *taken = &out->decisions[0].candidates[0];
    assert_string_equal(taken->text, "Hello");
    assert_true(taken->taken && taken->propensity.value == 0.25 && taken->feedback.value == -1);
    assert_true(taken->logged_reward.present[0] && !taken->logged_reward.present[1]);
    assert_true(taken->logged_reward.value[0] == 0.1f && taken->logged_reward.value[2] == -0.3f);
    assert_int_equal(taken->outcome, KEEL_OUTCOME_PARTIAL);
    assert_int_equal(taken->judge, KEEL_AUTHORITY_HUMAN);
    assert_string_equal(out->decisions[0].candidates[1].text, "Go away");
    assert_string_equal(out->decisions[1].candidates[0].text, "");
    assert_string_equal(out->decisions[1].candidates[0].act, "REFUSE");
    assert_int_equal(out->decisions[1].turn, 4);
}

static void the_same_again_changes_nothing_and_other_content_is_a_conflict(void **state) {
    (void)state;
    keel_conversation rich;
    make_rich(&rich);
    add(&rich);
    assert_int_equal(add(&rich), KEEL_ADDED_NOTHING);
    rich.split = NULL;
    assert_int_equal(add(&rich), KEEL_ADDED_NOTHING);
    keel_conversation other = rich;
    other.n_turns = 3;
    other.n_decisions = 1;
    assert_int_equal(add(&other), KEEL_ADDED_NOTHING); /* an older copy */
    keel_turn turns[3] = {rich.turns[0], rich.turns[1], rich.turns[2]};
    turns[1].text = "another";
    other.turns = turns;
    assert_int_equal(keel_store_add_conversation(store, &other, true, "f:9", NULL, &err), KEEL_E_CONFLICT);
    contains(err.message, "the text of turn 1");
    contains(err.where, "f:9");
    contains(err.message, "rich");
    other = rich;
    other.risk = KEEL_RISK_BENIGN;
    assert_int_equal(keel_store_add_conversation(store, &other, true, "f", NULL, &err), KEEL_E_CONFLICT);
    contains(err.message, "risk");
    other = rich;
    other.meta = "{\"a\":2}";
    assert_int_equal(keel_store_add_conversation(store, &other, false, "f", NULL, &err), KEEL_E_CONFLICT);
}

static void merging_adds_candidates_and_drops_features_that_no_longer_fit(void **state) {
    (void)state;
    keel_conversation rich;
    keel_added added;
    float numbers[4] = {1, 2, 3, 4};
    keel_features features = {.state_dim = 2, .n_actions = 2, .state = numbers, .log_prior = numbers + 2};
    bool found;
    make_rich(&rich);
    add(&rich);
    int64_t decision = get("rich")->decisions[0].id;
    assert_ok(keel_store_put_features(store, "base", decision, &features, &err));
    keel_candidate more[] = {rich.decisions[0].candidates[0],
                             {.text = "Good day", .model = "m3", .taken = true}};
    keel_decision decisions[] = {{.turn = 2, .n_candidates = 2, .candidates = more}, rich.decisions[1]};
    rich.decisions = decisions;
    rich.meta = "{\"b\":[2]}";
    assert_int_equal(keel_store_add_conversation(store, &rich, false, "f", NULL, &err), KEEL_E_CONFLICT);
    assert_ok(keel_store_get_features(store, "base", decision, &arena, &features, &found, &err));
    assert_true(found);
    assert_ok(keel_store_add_conversation(store, &rich, true, "f", &added, &err));
    assert_int_equal(added, KEEL_ADDED_MORE);
    assert_int_equal(get("rich")->decisions[0].n_candidates, 3);
    assert_string_equal(get("rich")->meta, "{\"a\":1,\"b\":[2]}");
    assert_ok(keel_store_get_features(store, "base", decision, &arena, &features, &found, &err));
    assert_false(found);
    more[1].feedback = (keel_optional){true, 1};
    assert_ok(keel_store_add_conversation(store, &rich, true, "f", &added, &err));
    assert_int_equal(added, KEEL_ADDED_MORE);
    more[1].feedback = (keel_optional){true, -1};
    assert_int_equal(keel_store_add_conversation(store, &rich, true, "f", NULL, &err), KEEL_E_CONFLICT);
}

static void a_name_that_two_sources_share_must_say_which(void **state) {
    (void)state;
    keel_conversation conversation;
    int64_t id;
    make(&conversation, "a:b", NULL, NULL, "x", "y");
    add(&conversation);
    conversation.source = "other";
    add(&conversation);
    assert_int_equal(keel_store_find_conversation(store, "a:b", &id, &err), KEEL_E_CONFLICT);
    assert_ok(keel_store_find_conversation(store, "other:a:b", &id, &err));
    assert_int_equal(id, 2);
    assert_int_equal(keel_store_find_conversation(store, "nobody", &id, &err), KEEL_E_NOT_FOUND);
    contains(err.message, "nobody");
    keel_conversation *out;
    assert_int_equal(keel_store_conversation(store, 77, &arena, &out, &err), KEEL_E_NOT_FOUND);
}

/* What reads it would call the store damaged. */
static void a_name_that_is_no_text_is_refused(void **state) {
    (void)state;
    keel_conversation conversation;
    int64_t id;
    make(&conversation, "caf\xe9", NULL, NULL, "x", "y");
    assert_int_equal(keel_store_add_conversation(store, &conversation, false, "f", NULL, &err),
                     KEEL_E_INVALID);
    contains(err.message, "not UTF-8");
    make(&conversation, "caf\xc3\xa9", NULL, NULL, "x", "y");
    add(&conversation);
    assert_ok(keel_store_find_conversation(store, "caf\xc3\xa9", &id, &err));
    assert_int_equal(keel_store_find_conversation(store, "caf\xe9", &id, &err), KEEL_E_INVALID);
    assert_ok(keel_store_find_conversation(store, "caf\xc3\xa9", &id, &err));
}

static void decisions_out_of_order_are_refused(void **state) {
    (void)state;
    keel_conversation rich;
    make_rich(&rich);
    keel_decision decisions[] = {rich.decisions[1], rich.decisions[0]};
    rich.decisions = decisions;
    assert_int_equal(keel_store_add_conversation(store, &rich, false, "f", NULL, &err), KEEL_E_INVALID);
    decisions[0].turn = 5;
    rich.n_decisions = 1;
    assert_int_equal(keel_store_add_conversation(store, &rich, false, "f", NULL, &err), KEEL_E_INVALID);
}

/* Decisions and candidates come by one query: none of them may take another's. */
static void decisions_keep_their_own_candidates_be_they_none_or_many(void **state) {
    (void)state;
    enum { DECISIONS = 4, MOST = 20 };
    static const size_t count[DECISIONS] = {2, 0, MOST, 1};
    keel_turn turns[DECISIONS + 1];
    keel_decision decisions[DECISIONS];
    keel_candidate candidates[DECISIONS][MOST] = {{{0}}};
    char text[DECISIONS][MOST][48];
    keel_conversation conversation = {.source = "chat",
                                      .external_id = "c",
                                      .n_turns = DECISIONS + 1,
                                      .turns = turns,
                                      .n_decisions = DECISIONS,
                                      .decisions = decisions};
    for (size_t i = 0; i <= DECISIONS; i++)
        turns[i] = (keel_turn){.role = i ? KEEL_ROLE_ASSISTANT : KEEL_ROLE_USER, .text = "said"};
    for (size_t i = 0; i < DECISIONS; i++) {
        decisions[i] = (keel_decision){.turn = i + 1, .n_candidates = count[i], .candidates = candidates[i]};
        for (size_t k = 0; k < count[i]; k++) {
            snprintf(text[i][k], sizeof text[i][k], "%zu of %zu", k, i);
            candidates[i][k] = (keel_candidate){.text = text[i][k], .taken = k == 0};
        }
    }
    add(&conversation);
    const keel_conversation *there = get("c");
    assert_int_equal(there->n_decisions, DECISIONS);
    for (size_t i = 0; i < DECISIONS; i++) {
        assert_int_equal(there->decisions[i].turn, i + 1);
        assert_int_equal(there->decisions[i].n_candidates, count[i]);
        for (size_t k = 0; k < count[i]; k++)
            assert_string_equal(there->decisions[i].candidates[k].text, text[i][k]);
    }
}

static void the_content_hash_ignores_order_and_split_but_no_content(void **state) {
    (void)state;
    char hashes[3][65];
    for (int round = 0; round < 3; round++) {
        keel_conversation conversation;
        close_store();
        keel_folder_remove(folder, NULL);
        scratch_make(folder, SCRATCH);
        open_store(KEEL_STORE_CREATE);
        for (int i = 0; i < 20; i++) {
            char id[16];
            snprintf(id, sizeof id, "c%d", round == 0 ? i : 19 - i);
            make(&conversation, id, NULL, round == 1 ? "train" : NULL, id, "y");
            if (round == 2 && i == 7) conversation.decisions[0].candidates[0].outcome = KEEL_OUTCOME_REFUSAL;
            add(&conversation);
        }
        assert_ok(keel_store_content_hash(store, NULL, hashes[round], &err));
    }
    assert_string_equal(hashes[0], hashes[1]);
    assert_string_not_equal(hashes[0], hashes[2]);
}

/* ---- transitions, features, counts ---- */

static void a_cursor_may_be_written_under(void **state) {
    (void)state;
    keel_cursor *cursor;
    keel_conversation conversation, *out;
    int walked = 0;
    for (int i = 0; i < 30; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%d", i);
        make(&conversation, id, NULL, i % 2 ? "train" : "test", "a", "b");
        add(&conversation);
    }
    keel_split split;
    assert_ok(keel_split_parse("train", &split, &err));
    assert_ok(keel_cursor_open(&cursor, store, &split, KEEL_ORDER_STORED, &err));
    for (;; walked++) {
        assert_ok(keel_store_begin(store, &err));
        assert_ok(keel_cursor_next(cursor, &arena, &out, &err));
        if (!out) break;
        const keel_decision *decision = &out->decisions[0];
        keel_transition transition = {.decision_id = decision->id,
                                      .candidate_id = decision->candidates[0].id,
                                      .reward = {{1, 0, 0}, {true, false, false}},
                                      .terminal = true};
        assert_ok(keel_store_put_label(store, transition.candidate_id, KEEL_OUTCOME_REFUSAL,
                                       KEEL_AUTHORITY_RULE, "r", 1, &err));
        if (walked % 2) keel_store_gather(store);
        assert_ok(keel_store_put_transitions(store, out->id, &transition, 1, &err));
        assert_ok(keel_store_put_transitions(store, out->id, &transition, 1, &err));
        if (walked % 3)
            assert_ok(keel_store_commit(store, &err));
        else
            keel_store_rollback(store);
        keel_arena_reset(&arena);
    }
    keel_store_rollback(store);
    keel_cursor_close(cursor);
    assert_int_equal(walked, 15);
    keel_split_count *counts;
    size_t n;
    assert_ok(keel_store_counts(store, &arena, &counts, &n, &err));
    assert_int_equal(n, 2);
    assert_string_equal(counts[1].name, "train");
    assert_int_equal(counts[1].conversations, 15);
    assert_int_equal(counts[1].turns, 30);
    assert_int_equal(counts[1].taken, 15);
    assert_int_equal(counts[1].transitions, 10);
    assert_int_equal(counts[1].reward_present[KEEL_ACCURACY], 10);
    assert_int_equal(counts[1].reward_present[KEEL_SPEED], 0);
    assert_int_equal(counts[1].outcome[KEEL_OUTCOME_REFUSAL], 10);
    assert_int_equal(counts[1].judged_by[KEEL_AUTHORITY_RULE], 10);
    assert_int_equal(counts[1].risk_unknown, 15);
    assert_int_equal(counts[0].transitions, 0);
}

static void features_come_back_as_they_were_kept(void **state) {
    (void)state;
    keel_conversation conversation;
    float state_[3] = {1, 2, 3}, candidates[4] = {4, 5, 6, 7}, prior[2] = {-0.5f, -1};
    keel_features kept = {.state_dim = 3,
                          .candidate_dim = 2,
                          .n_candidates = 2,
                          .n_actions = 2,
                          .state = state_,
                          .candidates = candidates,
                          .log_prior = prior},
                  back;
    bool found;
    size_t missing;
    make(&conversation, "one", NULL, NULL, "a", "b");
    add(&conversation);
    assert_ok(keel_store_missing_features(store, "base", NULL, &missing, &err));
    assert_int_equal(missing, 1);
    assert_ok(keel_store_get_features(store, "base", 1, &arena, &back, &found, &err));
    assert_false(found);
    assert_ok(keel_store_put_features(store, "base", 1, &kept, &err));
    prior[1] = -2;
    assert_ok(keel_store_put_features(store, "base", 1, &kept, &err));
    assert_ok(keel_store_get_features(store, "base", 1, &arena, &back, &found, &err));
    assert_true(found);
    assert_memory_equal(back.state, state_, sizeof state_);
    assert_memory_equal(back.candidates, candidates, sizeof candidates);
    assert_memory_equal(back.log_prior, prior, sizeof prior);
    assert_ok(keel_store_missing_features(store, "base", NULL, &missing, &err));
    assert_int_equal(missing, 0);
    assert_ok(keel_store_missing_features(store, "other", NULL, &missing, &err));
    assert_int_equal(missing, 1);
}

static void acts_are_those_of_taken_candidates_sorted(void **state) {
    (void)state;
    keel_conversation rich, plain;
    const char **acts;
    size_t count;
    make_rich(&rich);
    add(&rich);
    make(&plain, "plain", NULL, "dev", "a", "b");
    plain.decisions[0].candidates[0].act = "BYE";
    add(&plain);
    assert_ok(keel_store_acts(store, NULL, &arena, &acts, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(acts[0], "BYE");
    assert_string_equal(acts[1], "GREET");
}

static void runs_and_replays_are_kept(void **state) {
    (void)state;
    keel_conversation conversation;
    make(&conversation, "one", NULL, NULL, "a", "b");
    add(&conversation);
    assert_ok(keel_store_put_run(store, "label", "{}", "{\"n\": 1}", NULL, 0, &err));
    assert_ok(keel_store_put_run(store, "label", "{}", "{\"n\": 2}", NULL, 0, &err));
    assert_ok(keel_store_put_run(store, "eval", "{}", "{\"n\": 3}", NULL, 0, &err));
    expect_sql(
        "SELECT group_concat(verb || result) = 'label{\"n\": 1},label{\"n\": 2},eval{\"n\": 3}' FROM runs");
    assert_ok(keel_store_put_run(store, "label", "{}", NULL, NULL, 0, &err));
    assert_ok(keel_store_put_replay(store, "policy", 1, "b", "{}", &err));
    assert_ok(keel_store_put_replay(store, "policy", 1, "c", NULL, &err));
    assert_int_equal(keel_store_put_replay(store, "policy", 5, "c", NULL, &err), KEEL_E_STORE);
}

static void a_run_that_repeats_the_last_of_its_verb_is_recorded_once(void **state) {
    (void)state;
    assert_ok(keel_store_put_run(store, "label", "[1]", "{}", NULL, 0, &err));
    assert_ok(keel_store_put_run(store, "eval", "[]", NULL, NULL, 0, &err));
    assert_ok(keel_store_put_run(store, "label", "[1]", "{}", NULL, 0, &err));
    assert_ok(keel_store_put_run(store, "eval", "[]", NULL, NULL, 0, &err));
    expect_sql("SELECT count(*) = 2 FROM runs");
    assert_ok(keel_store_put_run(store, "label", "[2]", "{}", NULL, 0, &err));
    assert_ok(keel_store_put_run(store, "label", "[1]", "{}", NULL, 0, &err));
    expect_sql("SELECT count(*) = 4 FROM runs");
}

static void what_runs_measured_is_kept_by_name(void **state) {
    (void)state;
    const keel_store_metric first[] = {{"refusal_rate.low", {true, 0.25}}, {"speed.value", {false, 0}}};
    const keel_store_metric second[] = {{"refusal_rate.low", {true, 0.5}}};
    keel_arena local = {0};
    keel_measured *found = NULL;
    size_t count = 9;
    assert_ok(keel_store_measured(store, "refusal_rate.low", &local, &found, &count, &err));
    assert_int_equal(count, 0);
    assert_ok(keel_store_put_run(store, "eval", "[1]", "{}", first, 2, &err));
    assert_ok(keel_store_put_run(store, "eval", "[1]", "{}", first, 2, &err)); /* the same run */
    assert_ok(keel_store_put_run(store, "eval", "[2]", "{}", second, 1, &err));
    assert_ok(keel_store_measured(store, "refusal_rate.low", &local, &found, &count, &err));
    assert_int_equal(count, 2);
    assert_true(found[0].run < found[1].run && found[0].value.value == 0.25 && found[1].value.value == 0.5);
    assert_string_equal(found[1].config_json, "[2]");
    assert_ok(keel_store_measured(store, "speed.value", &local, &found, &count, &err));
    assert_true(count == 1 && !found[0].value.present);
    keel_arena_free(&local);
}

static void a_run_whose_metrics_cannot_be_kept_is_not_kept_either(void **state) {
    (void)state;
    const keel_store_metric twice[] = {{"speed.value", {true, 1}}, {"speed.value", {true, 1}}};
    assert_int_equal(keel_store_put_run(store, "eval", "[1]", "{}", twice, 2, &err), KEEL_E_STORE);
    expect_sql("SELECT count(*) = 0 FROM runs");
    assert_ok(keel_store_put_run(store, "eval", "[1]", "{}", twice, 1, &err));
}

/* ---- faults ---- */

static keel_status whole_life(const char *path) {
    keel_store *mine = NULL;
    keel_arena local = {0};
    keel_conversation rich, *out;
    char hex[65];
    make_rich(&rich);
    keel_status status = keel_store_open(&mine, path, KEEL_STORE_CREATE, &err);
    if (status == KEEL_OK) status = keel_store_begin(mine, &err);
    if (status == KEEL_OK) status = keel_store_add_conversation(mine, &rich, true, "f", NULL, &err);
    if (status == KEEL_OK) status = keel_store_commit(mine, &err);
    if (status == KEEL_OK) status = keel_store_conversation(mine, 1, &local, &out, &err);
    if (status == KEEL_OK) status = keel_store_content_hash(mine, NULL, hex, &err);
    keel_store_close(mine);
    keel_arena_free(&local);
    return status;
}

static void running_out_of_memory_anywhere_is_an_error_without_a_leak(void **state) {
    (void)state;
    faults failing;
    const char *path = in("faults.db");
    size_t failures = 0;
    close_store();
    for (size_t n = 1;; n += 1 + n / 40) {
        keel_folder_remove(folder, NULL);
        scratch_make(folder, SCRATCH);
        sqlite3_release_memory(INT32_MAX);
        faults_begin(&failing, n);
        keel_status status = whole_life(path);
        faults_end();
        if (status == KEEL_OK) break;
        if (status != KEEL_E_NOMEM) print_error("%zu: %s: %s\n", n, err.where, err.message);
        assert_int_equal(status, KEEL_E_NOMEM);
        failures++;
    }
    assert_true(failures > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_goes_in_comes_out),
        TEST(the_same_again_changes_nothing_and_other_content_is_a_conflict),
        TEST(merging_adds_candidates_and_drops_features_that_no_longer_fit),
        TEST(a_name_that_two_sources_share_must_say_which),
        TEST(a_name_that_is_no_text_is_refused),
        TEST(decisions_out_of_order_are_refused),
        TEST(decisions_keep_their_own_candidates_be_they_none_or_many),
        TEST(the_content_hash_ignores_order_and_split_but_no_content),
        TEST(a_cursor_may_be_written_under),
        TEST(features_come_back_as_they_were_kept),
        TEST(acts_are_those_of_taken_candidates_sorted),
        TEST(runs_and_replays_are_kept),
        TEST(a_run_that_repeats_the_last_of_its_verb_is_recorded_once),
        TEST(what_runs_measured_is_kept_by_name),
        TEST(a_run_whose_metrics_cannot_be_kept_is_not_kept_either),
        TEST(running_out_of_memory_anywhere_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
