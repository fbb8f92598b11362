/* Simulated users of what a server chooses: what is asked and told, and what is made of answers that are
 * none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/json.h"
#include "experiments/simulate_server.h"
#include "support/check.h"
#include "support/fake_server.h"
#include "support/with_curl.h"

static keel_err err;

/* ---- the server ---- */

enum { MOST_TOLD = 4096 };
static struct {
    int index; /* what it chooses; -1: the refusal */
    const char *instead;
    const char *status;
    atomic_int asked, told;
    char last_asked[1 << 16], told_of[MOST_TOLD];
} now;

static int place_of_refusal(const cJSON *candidates) {
    int place = 0;
    const cJSON *item;
    cJSON_ArrayForEach (item, candidates) {
        const char *act = cJSON_GetStringValue(keel_json_get(item, "act"));
        if (act && strcmp(act, "refuse") == 0) return place;
        place++;
    }
    return 0;
}

static bool answer(int peer, const char *request) {
    const char *body = strstr(request, "\r\n\r\n");
    char text[200];
    cJSON *json = NULL;
    body = body ? body + 4 : "";
    if (keel_json_parse(body, strlen(body), "body", &json, NULL) != KEEL_OK) abort();
    if (strncmp(request, "POST /v1/choose ", 16) == 0) {
        const int index = now.index < 0 ? place_of_refusal(keel_json_get(json, "candidates")) : now.index;
        snprintf(now.last_asked, sizeof now.last_asked, "%s", body);
        snprintf(text, sizeof text, "{\"id\": \"r%d\", \"index\": %d}", ++now.asked, index);
        fake_say_body(peer, now.status, "application/json", now.instead ? now.instead : text);
    } else {
        const size_t length = strlen(now.told_of);
        now.told++;
        snprintf(now.told_of + length, sizeof now.told_of - length, "%s\n", body);
        fake_say_body(peer, "200 OK", "application/json", "{}");
    }
    cJSON_Delete(json);
    return true;
}

/* ---- episodes ---- */

static fake_server fake;
static keel_simulate_server server;
static keel_env *env;
static keel_arena arena;

static int begin_test(void **state) {
    (void)state;
    now.index = -1;
    now.instead = NULL;
    now.status = "200 OK";
    now.asked = now.told = 0;
    now.told_of[0] = '\0';
    if (keel_env_open(&env, "support-desk", 3, &err) != KEEL_OK) return -1;
    return keel_simulate_server_open(&server, fake.url, NULL, &err) == KEEL_OK ? 0 : -1;
}

static int end_test(void **state) {
    (void)state;
    keel_simulate_server_close(&server);
    keel_env_close(env);
    keel_arena_free(&arena);
    return 0;
}

static const keel_conversation *play(uint64_t episode) {
    const keel_conversation *talk;
    keel_arena_reset(&arena);
    assert_ok(keel_simulate_server_episode(&server, env, "talk-7", episode, &arena, &talk, &err));
    return talk;
}

static void the_choice_is_played_and_the_end_is_told(void **state) {
    (void)state;
    bool dangerous = false, benign = false;
    for (uint64_t episode = 0; episode < 40 && !(dangerous && benign); episode++) {
        now.asked = now.told = 0;
        now.told_of[0] = '\0';
        const keel_conversation *talk = play(episode);
        char last[16];
        assert_true(env->done && talk->n_decisions == (size_t)now.asked && now.told >= 1);
        for (size_t d = 0; d < talk->n_decisions; d++)
            assert_string_equal(talk->decisions[d].candidates[0].act, "refuse");
        snprintf(last, sizeof last, "\"r%zu\"", talk->n_decisions);
        assert_non_null(strstr(now.told_of, last));
        const bool bad = talk->risk == KEEL_RISK_DANGEROUS;
        assert_non_null(strstr(now.told_of, bad ? "\"risk\": \"dangerous\"" : "\"risk\": \"benign\""));
        assert_true((strstr(now.told_of, "\"completed\": false") != NULL) == !bad);
        assert_non_null(strstr(now.told_of, "\"outcome\": \"refusal\""));
        dangerous = dangerous || bad;
        benign = benign || !bad;
    }
    assert_true(dangerous && benign);
}

static void what_is_asked_is_the_talk_so_far_and_all_candidates(void **state) {
    (void)state;
    cJSON *asked = NULL;
    const keel_conversation *talk = play(1);
    assert_ok(keel_json_parse(now.last_asked, strlen(now.last_asked), "asked", &asked, &err));
    const cJSON *messages = keel_json_get(asked, "messages"),
                *candidates = keel_json_get(asked, "candidates");
    assert_int_equal(cJSON_GetArraySize(messages), talk->decisions[talk->n_decisions - 1].turn);
    assert_string_equal(cJSON_GetStringValue(keel_json_get(messages->child, "content")), talk->turns[0].text);
    assert_int_equal(cJSON_GetArraySize(candidates), 9);
    const cJSON *item;
    cJSON_ArrayForEach (item, candidates) {
        assert_true(cJSON_IsString(keel_json_get(item, "text")) &&
                    cJSON_IsString(keel_json_get(item, "act")));
        assert_true(keel_json_get(item, "latency_ms")->valuedouble > 0);
        assert_string_equal(cJSON_GetStringValue(keel_json_get(item, "outcome")), "none");
    }
    assert_string_equal(cJSON_GetStringValue(keel_json_get(asked, "conversation")), "talk-7");
    assert_null(strstr(now.last_asked, "risk")); /* nothing of the hidden truth */
    assert_null(strstr(now.last_asked, "dangerous"));
    cJSON_Delete(asked);
}

static void a_silent_application_tells_nothing(void **state) {
    (void)state;
    server.silent = true;
    (void)play(2);
    assert_int_equal(now.told, 0);
}

static void assert_refused(keel_status code) {
    const keel_conversation *talk;
    keel_arena_reset(&arena);
    assert_int_equal(keel_simulate_server_episode(&server, env, "t", 1, &arena, &talk, &err), code);
    assert_non_null(strstr(err.where, "/v1/choose"));
}

static void what_is_no_choice_is_refused(void **state) {
    (void)state;
    static const char *const answers[] = {"",
                                          "{}",
                                          "[]",
                                          "{\"id\": \"r\"}",
                                          "{\"id\": \"r\", \"index\": null}",
                                          "{\"id\": \"r\", \"index\": 9}",
                                          "{\"id\": \"r\", \"index\": -1}",
                                          "{\"id\": \"r\", \"index\": 0.5}",
                                          "{\"id\": 1, \"index\": 0}"};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        now.instead = answers[i];
        assert_refused(KEEL_E_PARSE);
    }
    now.status = "400 Bad Request";
    assert_refused(KEEL_E_IO);
    now.asked = 0;
    now.status = "503 Service Unavailable"; /* tried again, and then given up */
    now.instead = "busy";
    assert_refused(KEEL_E_IO);
}

static void a_server_that_is_not_there(void **state) {
    (void)state;
    keel_simulate_server other;
    assert_int_equal(keel_simulate_server_open(&other, "ftp://x", NULL, &err), KEEL_E_USAGE);
    keel_simulate_server_close(&other);
    assert_ok(keel_simulate_server_open(&other, "http://127.0.0.1:1/", NULL, &err));
    const keel_conversation *talk;
    assert_int_equal(keel_simulate_server_episode(&other, env, "t", 1, &arena, &talk, &err), KEEL_E_IO);
    assert_string_equal(err.where, "http://127.0.0.1:1/v1/choose");
    keel_simulate_server_close(&other);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin_test, end_test)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_choice_is_played_and_the_end_is_told),
        TEST(what_is_asked_is_the_talk_so_far_and_all_candidates),
        TEST(a_silent_application_tells_nothing),
        TEST(what_is_no_choice_is_refused),
        TEST(a_server_that_is_not_there),
    };
    if (without_curl()) return 77;
    fake_start(&fake, answer);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fake_stop(&fake);
    return failed;
}
