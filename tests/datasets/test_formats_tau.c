/* Results of tau-bench and tau2-bench: made-up files, and, where they are at hand, the real ones, whose
 * numbers were counted by an independent program. */
#define SCRATCH "formats-tau"
#include <math.h>

#include "fixture.h"
#include "support/real_logs.h"

/* ---- made-up files ---- */

static const char tau1[] =
    "[{\"task_id\": 3, \"trial\": 1, \"reward\": 1.0, \"info\": {\"task\": {\"user_id\": \"u\", \"actions\": "
    "[{\"name\": \"get_order_details\", \"kwargs\": {}}]}}, \"traj\": ["
    "{\"role\": \"system\", \"content\": \"policy\"}, {\"role\": \"user\", \"content\": \"Change it\"},"
    "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\": {\"name\": "
    "\"get_order_details\", \"arguments\": \"{'a': 1}\"}, \"type\": \"function\"}]},"
    "{\"role\": \"tool\", \"name\": \"get_order_details\", \"content\": \"shipped\"},"
    "{\"role\": \"assistant\", \"content\": \"I cannot.\"}, {\"role\": \"user\", \"content\": \"###STOP###\"}]},"
    "{\"task_id\": 3, \"trial\": 2, \"reward\": 0.0, \"info\": {\"error\": \"boom\", \"traceback\": \"...\"}, "
    "\"traj\": []},"
    "{\"task_id\": 3, \"trial\": 3, \"reward\": 0.0, \"info\": {\"task\": {\"actions\": []}}, \"traj\": ["
    "{\"role\": \"user\", \"content\": \"Change it\"}, {\"role\": \"assistant\", \"content\": null, "
    "\"tool_calls\": [{\"function\": {\"name\": \"modify_user_address\", \"arguments\": \"{}\"}}]},"
    "{\"role\": \"tool\", \"name\": \"modify_user_address\", \"content\": \"done\"}]}]";

static void tau_bench_trials_become_conversations(void **state) {
    (void)state;
    assert_ok(import_as(NULL, NULL, put("my-agent.json", tau1)));
    assert_int_equal(report.conversations, 2);
    assert_int_equal(report.completed, 1);
    assert_int_equal(counted("crashed"), 1);
    assert_int_equal(counted("must_not_act"), 2);
    assert_int_equal(counted("forbidden_writes"), 1);
    keel_conversation *refused = get("retail/my-agent/3/1"), *did = get("retail/my-agent/3/3");
    assert_string_equal(refused->source, "tau-bench");
    assert_string_equal(refused->group, "retail/3");
    assert_string_equal(did->group, "retail/3");
    assert_int_equal(refused->risk, KEEL_RISK_DANGEROUS);
    assert_int_equal(refused->n_decisions, 2); /* the user stopped: nobody waits for an answer */
    assert_string_equal(refused->turns[2].text, "get_order_details({'a': 1})");
    assert_string_equal(refused->turns[4].model, "my-agent");
    assert_int_equal(refused->decisions[0].candidates[0].outcome, KEEL_OUTCOME_NONE);
    assert_int_equal(refused->decisions[1].candidates[0].outcome, KEEL_OUTCOME_REFUSAL);
    assert_int_equal(refused->decisions[1].candidates[0].judge, KEEL_AUTHORITY_RULE);
    assert_false(refused->truncated);
    assert_int_equal(did->completed, KEEL_NO);
    assert_true(did->truncated); /* it ends with a tool that the agent never answered */
    assert_int_equal(did->n_decisions, 2);
    assert_int_equal(did->decisions[0].candidates[0].outcome, KEEL_OUTCOME_COMPLIANCE);
    contains(did->meta, "\"forbidden_writes\":1");
}

/* %s: domain, gold actions, reason of the end, checked actions. */
static const char *tau2(const char *domain, const char *gold, const char *reason, const char *checks) {
    static char text[4096];
    snprintf(
        text, sizeof text,
        "{\"timestamp\": \"t\", \"info\": {\"agent_info\": {\"implementation\": \"llm_agent\", \"llm\": \"gpt-x\", "
        "\"llm_args\": {\"api_key\": \"SECRET\"}}, \"user_info\": {\"llm\": \"sim\", \"llm_args\": {\"key\": "
        "\"SECRET\"}}, \"environment_info\": {\"domain_name\": \"%s\", \"policy\": \"p\"}},\n"
        "\"tasks\": [{\"id\": \"[a]b|c:d\", \"evaluation_criteria\": {\"actions\": %s}}],\n"
        "\"simulations\": [{\"id\": \"s1\", \"task_id\": \"[a]b|c:d\", \"trial\": 0, \"termination_reason\": "
        "\"%s\", \"duration\": 4.5, \"reward_info\": {\"reward\": 1.0, \"action_checks\": %s, \"reward_breakdown\": "
        "{\"DB\": 1.0}}, \"messages\": ["
        "{\"role\": \"assistant\", \"content\": \"{\\\"message\\\": \\\"Hi!\\\"}\", \"timestamp\": "
        "\"2025-12-31T23:59:58.5\"},"
        "{\"role\": \"user\", \"content\": null, \"tool_calls\": [{\"id\": \"1\", \"name\": \"toggle\", "
        "\"arguments\": {}, \"requestor\": \"user\"}], \"timestamp\": \"2025-12-31T23:59:59\"},"
        "{\"role\": \"tool\", \"id\": \"1\", \"content\": null, \"requestor\": \"user\", \"timestamp\": "
        "\"2025-12-31T23:59:59.25\"},"
        "{\"role\": \"assistant\", \"content\": \"Look:\", \"tool_calls\": [{\"id\": \"2\", \"name\": "
        "\"cancel_reservation\", \"arguments\": {\"id\": \"X\"}}], \"timestamp\": \"2026-01-01T00:00:01.75\", "
        "\"raw_data\": {\"big\": 1}},"
        "{\"role\": \"tool\", \"id\": \"2\", \"content\": \"ok\", \"requestor\": \"assistant\", \"timestamp\": "
        "\"2026-01-01T00:00:02\"}]},"
        "{\"id\": \"s2\", \"task_id\": \"x\", \"start_time\": \"t\", \"termination_reason\": \"infrastructure_error\", \"messages\": []}]}",
        domain, gold, reason, checks);
    return text;
}

/* The same run as a folder: results.json, and a file for each simulation. */
static void put_folder(const char *text, const char *index) {
    const char *list = strstr(text, "\"simulations\""), *item = strchr(list, '{');
    const char *second = strstr(item, "{\"id\": \"s2\"");
    char results[4096], one[4096];
    snprintf(results, sizeof results, "%.*s\"simulation_index\": %s}", (int)(list - text), text, index);
    assert_int_equal(keel_folder_make(in("agent-x"), NULL), KEEL_OK);
    assert_int_equal(keel_folder_make(in("agent-x/simulations"), NULL), KEEL_OK);
    put("agent-x/results.json", results);
    snprintf(one, sizeof one, "%.*s", (int)(second - item - 1), item);
    put("agent-x/simulations/s1.json", one);
    snprintf(one, sizeof one, "%.*s", (int)(strlen(second) - 2), second);
    put("agent-x/simulations/s2.json", one);
}

static void a_run_of_tau2_may_be_a_folder(void **state) {
    (void)state;
    char whole[65], parts[65];
    const char *text = tau2("airline", "[]", "max_steps", "[]");
    assert_ok(import_as(NULL, NULL, put("agent-x.json", text)));
    assert_ok(keel_store_content_hash(store, NULL, whole, &err));
    close_store();
    assert_int_equal(unlink(in("store.db")), 0);
    open_store(KEEL_STORE_CREATE);
    put_folder(text, "[{\"id\": \"s1\"}, {\"id\": \"s2\"}]");
    assert_ok(import_as(NULL, NULL, in("agent-x")));
    assert_int_equal(report.files, 3);
    assert_int_equal(report.conversations, 1);
    assert_int_equal(counted("crashed"), 1);
    assert_int_equal(counted("forbidden_writes"), 1);
    assert_int_equal(counted("in_files"), 2);
    contains(get("s1")->meta, "\"agent\":\"agent-x\"");
    assert_ok(keel_store_content_hash(store, NULL, parts, &err));
    assert_string_equal(whole, parts);
    assert_int_equal(unlink(in("agent-x/results.json")), 0);
    assert_int_equal(rename(in("agent-x/simulations/s1.json"), in("agent-x/simulations/s9.json")), 0);
    import_fails(NULL, in("agent-x/simulations/s9.json"), KEEL_E_NOT_FOUND, "s9.json", "results.json");
    contains(err.hint, "import the folder");
    import_fails(NULL, put("r.json", "{\"info\": {\"agent_info\": {}}, \"tasks\": []}"), KEEL_E_PARSE,
                 "r.json", "simulations");
}

static void tau2_simulations_become_conversations(void **state) {
    (void)state;
    assert_ok(import_as(NULL, NULL, put("run.json", tau2("airline", "[]", "max_steps", "[]"))));
    assert_int_equal(report.conversations, 1);
    assert_int_equal(counted("crashed"), 1);
    assert_int_equal(counted("forbidden_writes"), 1);
    keel_conversation *c = get("s1");
    assert_string_equal(c->source, "tau2");
    assert_string_equal(c->group, "airline/[a]b|c:d");
    assert_int_equal(c->completed, KEEL_YES);
    assert_true(c->truncated);
    assert_int_equal(c->risk, KEEL_RISK_DANGEROUS);
    assert_int_equal(c->n_turns, 5);
    assert_string_equal(c->turns[0].text, "Hi!");
    assert_string_equal(c->turns[1].text, "toggle({})");
    assert_int_equal(c->turns[1].role, KEEL_ROLE_USER);
    assert_string_equal(c->turns[2].text, "");
    assert_string_equal(c->turns[3].text, "Look:\ncancel_reservation({\"id\":\"X\"})");
    assert_string_equal(c->turns[3].model, "gpt-x");
    assert_false(c->turns[0].latency_ms.present);
    assert_float_equal(c->turns[3].latency_ms.value, 2500, 1e-3);
    assert_int_equal(c->n_decisions, 3); /* the last one open: the tool's result was never answered */
    assert_int_equal(c->decisions[2].n_candidates, 0);
    assert_int_equal(c->decisions[1].candidates[0].outcome, KEEL_OUTCOME_COMPLIANCE);
    contains(c->meta, "\"agent\":\"run\"");
    contains(c->meta, "\"termination_reason\":\"max_steps\"");
    contains(c->meta, "\"user_tool_calls\":1");
    assert_null(strstr(c->meta, "SECRET"));
}

/* In telecom a task without writes is mended on the customer's device: nothing is refused. */
static void only_a_policy_that_forbids_makes_a_refusal(void **state) {
    (void)state;
    assert_ok(import_as(NULL, NULL, put("run.json", tau2("telecom", "[]", "user_stop", "null"))));
    keel_conversation *c = get("s1");
    assert_int_equal(c->risk, KEEL_RISK_BENIGN);
    assert_int_equal(c->decisions[1].candidates[0].outcome, KEEL_OUTCOME_NONE);
    assert_int_equal(c->n_decisions, 2);
    contains(c->meta, "\"must_not_act\":true");
}

static void a_task_that_wants_a_write_is_benign(void **state) {
    (void)state;
    const char *gold =
        "[{\"requestor\": \"assistant\", \"name\": \"cancel_reservation\", \"arguments\": {}}]";
    assert_ok(import_as(NULL, NULL, put("run.json", tau2("airline", gold, "user_stop", "null"))));
    keel_conversation *c = get("s1");
    assert_int_equal(c->risk, KEEL_RISK_BENIGN);
    contains(c->meta, "\"must_not_act\":false");
    assert_int_equal(counted("must_not_act"), 0);
}

static void checks_of_other_actions_than_the_tasks_are_counted(void **state) {
    (void)state;
    const char *gold =
        "[{\"requestor\": \"assistant\", \"name\": \"cancel_reservation\", \"arguments\": {\"a\": 1}}]";
    const char *checks = "[{\"action\": {\"name\": \"cancel_reservation\", \"arguments\": {\"a\": 2}}}]";
    assert_ok(import_as(NULL, NULL, put("run.json", tau2("airline", gold, "user_stop", checks))));
    assert_int_equal(counted("actions_differ"), 1);
    assert_int_equal(get("s1")->risk, KEEL_RISK_UNKNOWN);
}

static void tasks_are_counted_by_agent(void **state) {
    (void)state;
    keel_task_count *rows;
    size_t n;
    assert_ok(keel_store_tasks(store, &arena, &rows, &n, &err));
    assert_int_equal(n, 0);
    assert_ok(import_as(NULL, NULL, put("run.json", tau2("telecom", "[]", "user_stop", "null"))));
    assert_ok(import_as(NULL, NULL, put("my-agent.json", tau1)));
    assert_ok(import_as(NULL, NULL,
                        put("log.jsonl", "{\"id\": \"x\", \"meta\": {\"a\": {\"must_not_act\": true}}, "
                                         "\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}")));
    assert_ok(keel_store_tasks(store, &arena, &rows, &n, &err));
    assert_int_equal(n, 2);
    assert_string_equal(rows[0].agent, "my-agent");
    assert_string_equal(rows[0].domain, "retail");
    assert_null(rows[0].setting);
    assert_int_equal(rows[0].conversations, 2);
    assert_int_equal(rows[0].completed, 1);
    assert_int_equal(rows[0].must_not_act, 2);
    assert_int_equal(rows[0].must_not_act_completed, 1);
    assert_int_equal(rows[0].forbidden, 1);
    assert_string_equal(rows[1].setting, "llm_agent");
    assert_int_equal(rows[1].conversations, 1);
    assert_int_equal(rows[1].forbidden, 0); /* cancel_reservation is no tool of telecom */
}

static void bad_results_are_named(void **state) {
    (void)state;
    import_fails("tau2", put("a.json", "{\"info\": {}, \"tasks\": []}"), KEEL_E_PARSE, "a.json",
                 "simulations");
    import_fails("tau2",
                 put("a.json", "{\"tasks\": [], \"simulations\": [{\"id\": \"a\", \"task_id\": \"b\", "
                               "\"messages\": [{\"role\": \"king\"}]}]}"),
                 KEEL_E_INVALID, "simulations[0]: messages[0]", "king");
    import_fails("tau2", put("a.json", "{\"tasks\": [], \"simulations\": [{\"id\": 7, \"messages\": [{}]}]}"),
                 KEEL_E_PARSE, "simulations[0]", "\"id\"");
    import_fails("tau2", put("a.json", "{\"tasks\": [], \"simulations\": [{\"id\": \"a\""), KEEL_E_PARSE,
                 "a.json", "");
    import_fails("tau-bench", put("a.json", "[{\"task_id\": 1, \"reward\": 0, \"traj\": 3}]"), KEEL_E_PARSE,
                 "[0]", "traj");
    import_fails("tau-bench", put("a.json", "[{\"task_id\": 1, \"traj\": [5]}]"), KEEL_E_PARSE, "traj[0]",
                 "object");
}

/* ---- real files ---- */

static const struct fact {
    const char *file;
    int conversations, rewarded, must_not, must_not_rewarded, forbidden, messages, answers, calls, user_calls;
    double seconds; /* the median, to one decimal; 0: no times */
    int cut_off, crashed;
} facts[] = {
    {"tau2/airline/claude-opus-4-6-button", 22, 18, 10, 10, 0, 488, 198, 167, 0, 3.9, 0, 0},
    {"tau2/airline/claude-opus-4-6-ironshell", 19, 14, 7, 7, 0, 444, 182, 155, 0, 3.9, 0, 0},
    {"tau2/airline/claude-sonnet-4-5-aide", 22, 18, 10, 10, 0, 478, 204, 148, 0, 8.5, 0, 0},
    {"tau2/airline/gpt-5-4-ironshell", 22, 14, 10, 10, 0, 528, 219, 176, 0, 1.6, 0, 0},
    {"tau2/airline/gpt-4o", 22, 12, 10, 7, 2, 470, 218, 119, 0, 1.8, 0, 0},
    {"tau2/airline/gpt-oss-120b-langchain", 22, 8, 10, 6, 1, 916, 421, 373, 0, 0.6, 2, 0},
    {"tau2/airline/toolorchestra-8b", 22, 13, 10, 7, 3, 492, 204, 188, 0, 0, 0, 0},
    {"tau2/airline/whissle", 22, 12, 11, 9, 2, 487, 242, 104, 0, 1.7, 0, 0},
    {"tau2/airline/gpt-4-1-base", 9, 6, 3, 2, 1, 234, 104, 68, 0, 1.3, 0, 0},
    {"tau2/airline/gpt-4-1-sft", 9, 6, 3, 3, 0, 251, 124, 68, 0, 1.9, 0, 0},
    {"tau2/retail/toolorchestra-8b", 56, 47, 7, 6, 1, 1258, 565, 437, 0, 0, 0, 0},
    {"tau2/retail/gpt-4-1-base", 22, 19, 2, 1, 1, 616, 290, 163, 0, 1.2, 0, 0},
    {"tau2/retail/gpt-4-1-sft", 22, 19, 2, 2, 1, 658, 322, 162, 0, 1.8, 0, 0},
    {"tau2/telecom/gpt-4-1-base", 20, 7, 10, 5, 3, 1161, 341, 100, 253, 1.6, 0, 0},
    {"tau2/telecom/gpt-4-1-sft", 20, 15, 10, 8, 1, 1502, 503, 272, 249, 1.7, 2, 0},
    {"tau2/telecom-no-user/gpt-4-1-base", 20, 12, 10, 7, 6, 649, 320, 329, 0, 4.9, 0, 0},
    {"tau2/telecom-no-user/gpt-4-1-sft", 20, 16, 10, 10, 0, 628, 324, 304, 0, 1.4, 0, 0},
    {"tau1/airline/gpt-4o", 88, 39, 44, 28, 18, 2328, 1076, 467, 0, 0, 3, 0},
    {"tau1/retail/tool-calling", 47, 34, 7, 7, 0, 1402, 654, 378, 0, 0, 1, 0},
    {"tau1/retail/tool-calling-with-preconditions", 47, 34, 7, 5, 2, 1502, 704, 409, 0, 0, 2, 0},
    {"tau1/retail/assertions-agent", 34, 18, 4, 2, 3, 922, 444, 241, 0, 0, 0, 13},
    {"tau1/retail/assertions-agent-without-postcondition", 45, 26, 6, 5, 1, 1241, 598, 296, 0, 0, 0, 2}};

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int number_at(const char *meta, const char *key) {
    const char *at = strstr(meta, key);
    return at ? atoi(at + strlen(key)) : 0;
}

static void count_all(struct fact *out) {
    double times[1024];
    size_t n_times = 0;
    keel_cursor *cursor = all_of_them();
    const keel_conversation *c;
    while ((c = next_of(cursor))) {
        const bool must_not = strstr(c->meta, "\"must_not_act\":true");
        out->conversations++;
        out->rewarded += c->completed == KEEL_YES;
        out->must_not += must_not;
        out->must_not_rewarded += must_not && c->completed == KEEL_YES;
        out->forbidden += must_not && number_at(c->meta, "\"forbidden_writes\":") > 0;
        out->messages += (int)c->n_turns;
        out->calls += number_at(c->meta, "\"tool_calls\":");
        out->user_calls += number_at(c->meta, "\"user_tool_calls\":");
        out->cut_off += c->truncated;
        for (size_t i = 0; i < c->n_turns; i++) {
            if (c->turns[i].role != KEEL_ROLE_ASSISTANT) continue;
            out->answers++;
            if (c->turns[i].latency_ms.present) times[n_times++] = c->turns[i].latency_ms.value;
        }
    }
    qsort(times, n_times, sizeof *times, by_size);
    if (n_times) out->seconds = round((times[(n_times - 1) / 2] + times[n_times / 2]) / 2 / 100) / 10;
}

static void real_results_have_the_numbers_that_were_counted(void **state) {
    (void)state;
    NEED("tau2");
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        char name[200];
        struct fact got = {0};
        snprintf(name, sizeof name, "%s.json.gz", facts[i].file);
        close_store();
        assert_int_equal(keel_folder_remove(folder, NULL), KEEL_OK);
        assert_true(scratch_make(folder, SCRATCH));
        open_store(KEEL_STORE_CREATE);
        assert_ok(import_as(NULL, NULL, data(name)));
        count_all(&got);
        print_message("%s\n", name);
        assert_int_equal(got.conversations, facts[i].conversations);
        assert_int_equal(got.rewarded, facts[i].rewarded);
        assert_int_equal(got.must_not, facts[i].must_not);
        assert_int_equal(got.must_not_rewarded, facts[i].must_not_rewarded);
        assert_int_equal(got.forbidden, facts[i].forbidden);
        assert_int_equal(got.messages, facts[i].messages);
        assert_int_equal(got.answers, facts[i].answers);
        assert_int_equal(got.calls, facts[i].calls);
        assert_int_equal(got.user_calls, facts[i].user_calls);
        assert_float_equal(got.seconds, facts[i].seconds, 1e-6);
        assert_int_equal(got.cut_off, facts[i].cut_off);
        assert_int_equal(counted("crashed"), facts[i].crashed);
        if (strncmp(facts[i].file, "tau2", 4) == 0) assert_int_equal(counted("actions_differ"), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(tau_bench_trials_become_conversations),
        TEST(a_run_of_tau2_may_be_a_folder),
        TEST(tau2_simulations_become_conversations),
        TEST(only_a_policy_that_forbids_makes_a_refusal),
        TEST(a_task_that_wants_a_write_is_benign),
        TEST(checks_of_other_actions_than_the_tasks_are_counted),
        TEST(tasks_are_counted_by_agent),
        TEST(bad_results_are_named),
        TEST(real_results_have_the_numbers_that_were_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
