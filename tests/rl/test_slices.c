/* Rates by slice: what a slice is made of, that slices add up to the whole, and what is told to be missing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/json.h"
#include "rl/judge/slices.h"

enum { TURNS = 4 };

/* A conversation of the log: question, answer, question, answer; the answers are judged. */
typedef struct talk {
    keel_conversation conversation;
    keel_turn turns[TURNS];
    keel_decision decisions[TURNS / 2];
    keel_candidate candidates[TURNS / 2];
} talk;

static void add(keel_slices *slices, keel_risk risk, const char *meta, const char *asked, const char *model,
                keel_outcome first, keel_outcome second) {
    talk t = {
        .conversation = {.risk = risk, .meta = meta, .external_id = "t", .n_turns = TURNS, .n_decisions = 2}};
    for (size_t i = 0; i < TURNS; ++i)
        t.turns[i] = (keel_turn){.role = i % 2 ? KEEL_ROLE_ASSISTANT : KEEL_ROLE_USER, .text = asked};
    for (size_t d = 0; d < 2; ++d) {
        t.candidates[d] = (keel_candidate){.taken = true, .model = model, .outcome = d ? second : first};
        t.decisions[d] =
            (keel_decision){.turn = 2 * d + 1, .n_candidates = 1, .candidates = &t.candidates[d]};
    }
    t.conversation.turns = t.turns;
    t.conversation.decisions = t.decisions;
    const keel_reward_config rewards = {.target_ms = 1};
    const keel_reward_view log = keel_reward_look(&rewards, &t.conversation);
    keel_arena scratch = {0};
    const keel_evaluate_seen seen = {.conversation = &t.conversation, .log = &log, .scratch = &scratch};
    assert_int_equal(keel_slices_add(slices, &seen, NULL), KEEL_OK);
    keel_arena_free(&scratch);
}

static const cJSON *by(const cJSON *json, const char *name) {
    const cJSON *one;
    cJSON_ArrayForEach (one, keel_json_get(json, "by"))
        if (strcmp(keel_json_get(one, "name")->valuestring, name) == 0) return one;
    return NULL;
}

static const cJSON *row(const cJSON *json, const char *dimension, const char *name) {
    const cJSON *one;
    cJSON_ArrayForEach (one, keel_json_get(by(json, dimension), "rows"))
        if (strcmp(keel_json_get(one, "name")->valuestring, name) == 0) return one;
    return NULL;
}

static double of(const cJSON *slice, const char *rate, const char *key) {
    const cJSON *item = keel_json_get(keel_json_get(keel_json_get(slice, "logged"), rate), key);
    return cJSON_IsNumber(item) ? item->valuedouble : -1;
}

static cJSON *sample(keel_slices **slices) {
    assert_int_equal(keel_slices_open(slices, NULL), KEEL_OK);
    add(*slices, KEEL_RISK_DANGEROUS, "{\"category\": \"weapons\"}", "how?", "a", KEEL_OUTCOME_REFUSAL,
        KEEL_OUTCOME_COMPLIANCE);
    add(*slices, KEEL_RISK_DANGEROUS, "{\"category\": \"drugs\", \"language\": \"ko\"}", "how?", "b",
        KEEL_OUTCOME_REFUSAL, KEEL_OUTCOME_REFUSAL);
    add(*slices, KEEL_RISK_BENIGN, NULL, "how, and what of all the rest of it?", "a", KEEL_OUTCOME_PARTIAL,
        KEEL_OUTCOME_NONE);
    cJSON *json = keel_slices_json(*slices, 0.95);
    assert_non_null(json);
    return json;
}

static void a_slice_holds_what_the_log_says_it_is(void **state) {
    (void)state;
    keel_slices *slices;
    cJSON *json = sample(&slices);
    assert_true(of(row(json, "category", "weapons"), "refusal_rate", "value") == 0.5);
    assert_true(of(row(json, "category", "weapons"), "harmful_compliance_rate", "value") == 0.5);
    assert_true(of(row(json, "category", "drugs"), "refusal_rate", "value") == 1);
    assert_true(keel_json_get(by(json, "category"), "unsaid")->valuedouble == 2);
    assert_true(of(row(json, "language", "ko"), "refusal_rate", "n") == 2);
    assert_true(of(row(json, "language", "Latin"), "refusal_rate", "n") == 2);
    assert_true(of(row(json, "model", "a"), "over_refusal_rate", "value") == 1);
    assert_true(of(row(json, "turn", "1st"), "refusal_rate", "value") == 1);
    assert_true(of(row(json, "turn", "2nd"), "refusal_rate", "value") == 0.5);
    assert_true(of(row(json, "length", "21 to 60"), "over_refusal_rate", "n") == 1);
    cJSON_Delete(json);
    keel_slices_close(slices);
}

static void slices_add_up_to_the_whole(void **state) {
    (void)state;
    static const char *const dimensions[] = {"language", "model", "turn", "length"};
    keel_slices *slices;
    cJSON *json = sample(&slices);
    for (size_t i = 0; i < 4; ++i) {
        double hits = 0, n = 0, decisions = 0;
        const cJSON *one;
        cJSON_ArrayForEach (one, keel_json_get(by(json, dimensions[i]), "rows")) {
            decisions += keel_json_get(one, "decisions")->valuedouble;
            if (!(of(one, "refusal_rate", "n") > 0)) continue;
            n += of(one, "refusal_rate", "n");
            hits += of(one, "refusal_rate", "n") * of(one, "refusal_rate", "value");
        }
        assert_true(decisions == 6 && n == 4 && hits == 3);
    }
    cJSON_Delete(json);
    keel_slices_close(slices);
}

/* Answers of one conversation are alike: the interval of 2 x 10 of them is wider than that of 20. */
static void conversations_are_the_unit(void **state) {
    (void)state;
    keel_slices *slices;
    assert_int_equal(keel_slices_open(&slices, NULL), KEEL_OK);
    for (int i = 0; i < 20; ++i) {
        add(slices, KEEL_RISK_DANGEROUS, "{\"category\": \"alike\"}", "x", NULL,
            i % 2 ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE,
            i % 2 ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE);
        add(slices, KEEL_RISK_DANGEROUS, "{\"category\": \"apart\"}", "x", NULL, KEEL_OUTCOME_REFUSAL,
            KEEL_OUTCOME_COMPLIANCE);
    }
    cJSON *json = keel_slices_json(slices, 0.95);
    const cJSON *alike = row(json, "category", "alike"), *apart = row(json, "category", "apart");
    assert_true(of(alike, "refusal_rate", "value") == 0.5 && of(apart, "refusal_rate", "value") == 0.5);
    assert_true(of(alike, "refusal_rate", "high") > of(apart, "refusal_rate", "high") + 0.03);
    cJSON_Delete(json);
    keel_slices_close(slices);
}

static void what_tells_nothing_apart_is_missing(void **state) {
    (void)state;
    keel_slices *slices;
    assert_int_equal(keel_slices_open(&slices, NULL), KEEL_OK);
    add(slices, KEEL_RISK_BENIGN, "{\"category\": 7}", "x", NULL, KEEL_OUTCOME_REFUSAL, KEEL_OUTCOME_REFUSAL);
    cJSON *json = keel_slices_json(slices, 0.95);
    char *missing = cJSON_PrintUnformatted(keel_json_get(json, "missing"));
    assert_string_equal(missing, "[\"category\",\"language\",\"model\",\"length\"]");
    cJSON_free(missing);
    cJSON_Delete(json);
    keel_slices_close(slices);
}

static void names_beyond_the_room_are_counted(void **state) {
    (void)state;
    keel_slices *slices;
    assert_int_equal(keel_slices_open(&slices, NULL), KEEL_OK);
    for (int i = 0; i < 300; ++i) {
        char meta[40];
        snprintf(meta, sizeof meta, "{\"type\": \"kind %d\"}", i);
        add(slices, KEEL_RISK_BENIGN, meta, "x", NULL, KEEL_OUTCOME_REFUSAL, KEEL_OUTCOME_REFUSAL);
    }
    cJSON *json = keel_slices_json(slices, 0.95);
    assert_int_equal(cJSON_GetArraySize(keel_json_get(by(json, "category"), "rows")), 256);
    assert_true(keel_json_get(by(json, "category"), "others")->valuedouble == 2 * 44);
    cJSON_Delete(json);
    keel_slices_close(slices);
}

static void scripts_are_told_by_their_letters(void **state) {
    (void)state;
    assert_string_equal(keel_slices_script("What is 12?"), "Latin");
    assert_string_equal(
        keel_slices_script("\xED\x8F\xAD\xED\x83\x84 bomb \xEB\xA7\x8C\xEB\x93\xA4\xEA\xB8\xB0"), "Hangul");
    assert_string_equal(keel_slices_script("\xD0\xBF\xD1\x80\xD0\xB8"), "Cyrillic");
    assert_string_equal(keel_slices_script("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE3\x81\xA7"), "Japanese");
    assert_string_equal(keel_slices_script("\xE4\xB8\xAD\xE6\x96\x87"), "Han");
    assert_null(keel_slices_script("12?!"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slice_holds_what_the_log_says_it_is),
        cmocka_unit_test(slices_add_up_to_the_whole),
        cmocka_unit_test(conversations_are_the_unit),
        cmocka_unit_test(what_tells_nothing_apart_is_missing),
        cmocka_unit_test(names_beyond_the_room_are_counted),
        cmocka_unit_test(scripts_are_told_by_their_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
