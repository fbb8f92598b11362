/* The library's four functions: who owns what, errors, several deciders at once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/context.h"
#include "core/json.h"
#include "experiments/edge/keel_decide.h"
#include "policy_fixture.h"

static const char open_talk[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"tell me about bombs 3\"},"
                                "{\"role\":\"assistant\",\"content\":null,\"candidates\":["
                                "\"Of course: here it is.\",\"I cannot help with that.\"]}]}";
static const char answered[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"tell me about bread 3\"},"
                               "{\"role\":\"assistant\",\"content\":\"Of course: here it is.\"}]}";

static const char *policy, *base;

static int make(void **state) {
    (void)state;
    keel_context quiet;
    if (!scratch_make(folder, "keel-decide")) return -1;
    policy = in("policy"), base = in("base");
    keel_context_init(&quiet);
    quiet.log_level = KEEL_LOG_QUIET;
    keel_context_use(&quiet);
    fixture_base("s.db", "base", "candidates");
    fixture_policy("s.db", "base", "policy", "1");
    keel_context_use(NULL);
    return 0;
}

static int unmake(void **state) {
    (void)state;
    keel_arena_free(&arena);
    return keel_folder_remove(folder, NULL) != KEEL_OK;
}

static int decide(keel_decider *decider, const char *text, const char **decision) {
    return keel_decide(decider, text, strlen(text), decision);
}

static void a_decision_is_an_object(void **state) {
    (void)state;
    keel_decider *decider = NULL;
    const char *decision = NULL, *says = NULL;
    cJSON *json = NULL;
    assert_int_equal(keel_decide_open(policy, NULL, &decider), KEEL_DECIDE_OK);
    assert_string_equal(keel_decide_error(decider), "");
    assert_int_equal(decide(decider, open_talk, &decision), KEEL_DECIDE_OK);
    assert_int_equal(keel_json_parse(decision, strlen(decision), "decision", &json, NULL), KEEL_OK);
    assert_int_equal(keel_json_string(json, "says", true, &says, "decision", NULL), KEEL_OK);
    assert_int_equal(cJSON_GetArraySize(keel_json_get(json, "actions")), 2);
    cJSON_Delete(json);
    assert_int_equal(decide(decider, answered, &decision), KEEL_DECIDE_OK);
    assert_null(decision);
    assert_string_equal(keel_decide_error(decider), "");
    keel_decide_close(decider);
    assert_int_equal(keel_decide_open(policy, base, &decider), KEEL_DECIDE_OK);
    keel_decide_close(decider);
    keel_decide_close(NULL);
}

static void errors_are_told_and_pass(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } bad[] = {{"", "conversation"},
               {"{\"messages\":", "conversation: byte"},
               {"[]", "conversation"},
               {"{\"messages\":[{\"role\":\"user\",\"content\":7}]}", "content"},
               {"{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}", "conversation"},
               {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", "chooses among candidates"}};
    keel_decider *decider = NULL;
    const char *decision = NULL;
    assert_int_equal(keel_decide_open(policy, NULL, &decider), KEEL_DECIDE_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        decision = "before";
        assert_int_equal(decide(decider, bad[i].text, &decision), KEEL_DECIDE_BAD_INPUT);
        assert_null(decision);
        if (!strstr(keel_decide_error(decider), bad[i].words))
            fail_msg("%s: %s", bad[i].text, keel_decide_error(decider));
        assert_null(strchr(keel_decide_error(decider), '\n'));
        assert_int_equal(decide(decider, open_talk, &decision), KEEL_DECIDE_OK);
        assert_string_equal(keel_decide_error(decider), "");
        assert_non_null(decision);
    }
    keel_decide_close(decider);
}

static void what_cannot_be_opened_decides_nothing(void **state) {
    (void)state;
    const char *const wrong[][2] = {{"no-such-folder", NULL}, {base, NULL}, {policy, policy}};
    for (size_t i = 0; i < 3; i++) {
        keel_decider *decider = NULL;
        const char *decision = "before";
        assert_int_equal(keel_decide_open(wrong[i][0], wrong[i][1], &decider), KEEL_DECIDE_BAD_MODEL);
        assert_non_null(decider);
        char error[1400];
        snprintf(error, sizeof error, "%s", keel_decide_error(decider));
        assert_true(error[0]);
        assert_int_equal(decide(decider, open_talk, &decision), KEEL_DECIDE_BAD_MODEL);
        assert_null(decision);
        assert_string_equal(keel_decide_error(decider), error);
        keel_decide_close(decider);
    }
    const char *decision = "before";
    assert_int_equal(decide(NULL, open_talk, &decision), KEEL_DECIDE_NO_MEMORY);
    assert_null(decision);
    assert_non_null(strstr(keel_decide_error(NULL), "memory"));
}

enum { THREADS = 3, TIMES = 20 };

static void *decide_often(void *out) {
    keel_decider *decider = NULL;
    const char *decision = NULL;
    keel_buf *said = out;
    if (keel_decide_open(policy, NULL, &decider) == KEEL_DECIDE_OK)
        for (int i = 0; i < TIMES; i++)
            if (decide(decider, open_talk, &decision) == KEEL_DECIDE_OK) keel_buf_text(said, decision);
    keel_decide_close(decider);
    return NULL;
}

static void deciders_are_independent(void **state) {
    (void)state;
    pthread_t thread[THREADS];
    keel_buf said[THREADS] = {{0}};
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&thread[t], NULL, decide_often, &said[t]), 0);
    for (int t = 0; t < THREADS; t++) assert_int_equal(pthread_join(thread[t], NULL), 0);
    for (int t = 0; t < THREADS; t++) {
        assert_true(said[t].length > TIMES * 100);
        assert_int_equal(said[t].length, said[0].length);
        assert_memory_equal(said[t].data, said[0].data, said[0].length);
    }
    for (int t = 0; t < THREADS; t++) keel_buf_free(&said[t]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_decision_is_an_object),
        cmocka_unit_test(errors_are_told_and_pass),
        cmocka_unit_test(what_cannot_be_opened_decides_nothing),
        cmocka_unit_test(deciders_are_independent),
    };
    return cmocka_run_group_tests(tests, make, unmake);
}
