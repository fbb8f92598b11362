/* Domains: a small one from a file, its database, schemas, and everything that can be wrong with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "envs/desk/desk.h"
#include "support/faults.h"
#include "support/real_logs.h"

static char folder[] = "/tmp/keel-domain-XXXXXX";

static void must(keel_status status, const keel_err *err) {
    if (status != KEEL_OK) fail_msg("%s: %s", err->where, err->message);
}

static int setup(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return keel_folder_remove(folder, NULL) == KEEL_OK ? 0 : -1;
}

static const char *put(const char *name, const char *text) {
    static char path[200];
    keel_err err;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    must(keel_file_write(path, text, strlen(text), &err), &err);
    return path;
}

/* The domain's file stands beside that of the environment. */
static keel_status open_with(keel_env **env, const char *domain, const char *options, keel_err *err) {
    char json[400];
    (void)put("domain.json", domain);
    snprintf(json, sizeof json, "{\"env\": \"support-desk\", \"domain\": \"domain.json\"%s}", options);
    return keel_env_open(env, put("env.json", json), 1, err);
}

#define NOBODY_ELSE ", \"dangerous\": 0, \"borderline\": 0"
#define SLOTS                                                                                                \
    "\"slots\": {\"size\": {\"label\": \"size\", \"values\": [\"small\", \"large\", \"huge\"], \"ask\": "    \
    "[\"Which?\"], "                                                                                         \
    "\"tell\": [\"The {value} one.\"]}}"
#define FACTS                                                                                                \
    "\"facts\": {\"price\": {\"label\": \"price\", \"by\": \"size\", \"values\": {\"small\": \"three\", "    \
    "\"large\": \"five\", \"huge\": \"nine\"}, \"ask\": [\"How much?\"], \"tell\": [\"It is {value}.\"]}}"
#define INTENTS                                                                                              \
    "\"intents\": {\"ask\": {\"task\": \"ask\", \"summary\": \"price {size}\", \"question\": true, "         \
    "\"required\": [\"size\"], \"facts\": [\"price\"]}}"
#define REQUESTS "\"requests\": [{\"name\": \"r\", \"intent\": \"ask\", \"say\": [\"What does it cost?\"]}]"
static const char shop[] = "{" SLOTS ", " FACTS ", " INTENTS ", " REQUESTS "}";

static void answers_come_from_the_database(void **state) {
    (void)state;
    keel_env *env = NULL;
    keel_err err;
    static const char *const prices[] = {"three", "five", "nine"};
    size_t told = 0;
    must(open_with(&env, shop, NOBODY_ELSE, &err), &err);
    assert_non_null(env->variant);
    for (uint64_t e = 0; e < 100; e++) {
        const keel_conversation *log;
        must(keel_env_episode(env, keel_behaviour_find("scripted"), 1, e, &log, &err), &err);
        const keel_desk *desk = (const keel_desk *)env;
        assert_int_equal(log->completed, KEEL_YES);
        for (size_t t = 0; t < log->n_turns; t++) {
            if (!log->turns[t].act || strcmp(log->turns[t].act, "answer") != 0) continue;
            assert_non_null(strstr(log->turns[t].text, prices[desk->user.goal[0]]));
            told++;
        }
    }
    assert_true(told >= 100);
    keel_env_close(env);
}

/* The right act on a form that was misheard: the user is content, the judge is not. */
static void what_was_told_for_another_form_does_not_count(void **state) {
    (void)state;
    keel_env *env = NULL;
    keel_err err;
    must(open_with(&env, shop, NOBODY_ELSE ", \"noise\": 0", &err), &err);
    for (int misheard = 0; misheard < 2; misheard++) {
        keel_desk *desk = (keel_desk *)env;
        must(keel_env_reset(env, 3, &err), &err);
        while (!env->done) {
            if (misheard && desk->form.known) desk->form.value[0] = (desk->user.goal[0] + 1) % 3;
            const desk_act act = desk->user.done             ? DESK_GOODBYE
                                 : !desk->form.understood    ? DESK_ASK_GOAL
                                 : keel_desk_form_full(desk) ? DESK_ANSWER
                                                             : DESK_REQUEST_SLOT;
            must(keel_env_step(env, act, &err), &err);
        }
        assert_true(desk->user.done);
        assert_int_equal(env->conversation->completed, misheard ? KEEL_NO : KEEL_YES);
    }
    keel_env_close(env);
}

static void what_is_wrong_with_a_domain_is_named(void **state) {
    (void)state;
    static const struct {
        const char *json, *named;
    } rows[] = {
        {"{", "domain.json"},
        {"7", "domain"},
        {"{}", "slots"},
        {"{" SLOTS ", " FACTS ", " INTENTS "}", "requests"},
        {"{" SLOTS ", " FACTS ", " INTENTS ", \"requests\": []}", "benign"},
        {"{\"colour\": 1, " SLOTS ", " FACTS ", " INTENTS ", " REQUESTS "}", "colour"},
        {"{" SLOTS ", \"facts\": {}, " INTENTS ", " REQUESTS "}", "price"},
        {"{\"slots\": {}, " FACTS ", " INTENTS ", " REQUESTS "}", "size"},
        {"{\"slots\": {\"n\": {\"label\": \"n\", \"pattern\": \"none\", \"ask\": [\"?\"], \"tell\": "
         "[\"!\"]}}, " INTENTS "}",
         "pattern"},
        {"{\"slots\": {\"n\": {\"label\": \"n\", \"values\": [], \"ask\": [\"?\"], \"tell\": "
         "[\"!\"]}}, " INTENTS "}",
         "values"},
        {"{\"slots\": {\"n\": {\"label\": \"n\", \"values\": [\"x\"], \"ask\": [\"{\"], \"tell\": "
         "[\"!\"]}}, " INTENTS "}",
         "slots.n"},
        {"{\"slots\": {\"n\": {\"label\": \"n\", \"values\": [\"x\"], \"ask\": [\"{who}\"], \"tell\": "
         "[\"!\"]}}, " INTENTS "}",
         "{who}"},
        {"{" SLOTS ", \"facts\": {\"f\": {\"label\": \"f\", \"by\": \"size\", \"values\": {\"small\": "
         "\"1\"}}}, " INTENTS "}",
         "large"},
        {"{" SLOTS ", " FACTS ", " INTENTS
         ", \"requests\": [{\"name\": \"r\", \"against\": \"law\", \"say\": [\"!\"]}]}",
         "law"},
        {"{" SLOTS ", " FACTS ", " INTENTS ", \"requests\": [{\"name\": \"r\", \"opens_like\": \"s\"}]}",
         "\"s\""},
        {"{" SLOTS ", " FACTS ", " INTENTS ", " REQUESTS ", \"phrases\": {\"desk\": {\"sing\": [\"la\"]}}}",
         "sing"},
        {"{" SLOTS ", " FACTS ", " INTENTS ", " REQUESTS ", \"latency_ms\": {\"ask_goal\": -1}}", "ask_goal"},
        {"[{\"service_name\": \"S\"}]", "slots"},
        {"[]", "intents"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        keel_env *env = NULL;
        keel_err err = {0};
        if (open_with(&env, rows[i].json, NOBODY_ELSE, &err) == KEEL_OK) fail_msg("opened: %s", rows[i].json);
        assert_null(env);
        if (!strstr(err.message, rows[i].named) && !strstr(err.where, rows[i].named))
            fail_msg("\"%s\" is not in \"%s: %s\"", rows[i].named, err.where, err.message);
    }
    keel_env *env = NULL;
    keel_err err = {0};
    assert_int_equal(open_with(&env, shop, "", &err), KEEL_E_INVALID); /* nobody is dangerous here */
    assert_non_null(strstr(err.message, "borderline"));
    assert_int_equal(keel_env_open(&env,
                                   put("env.json", "{\"env\": \"support-desk\", \"domain\": \"none.json\"}"),
                                   1, &err),
                     KEEL_E_IO);
}

static void every_allocation_of_a_domain_may_fail(void **state) {
    (void)state;
    faults allocator;
    keel_status status = KEEL_E_NOMEM;
    char path[200];
    long n = 0;
    snprintf(path, sizeof path, "%s", put("domain.json", shop));
    for (; status != KEEL_OK && n < 1000; n++) {
        desk_domain *domain = NULL;
        keel_err err;
        faults_begin(&allocator, (size_t)n + 1);
        status = keel_domain_open(&domain, path, &err);
        keel_domain_close(domain);
        if (status != KEEL_OK) assert_int_equal(status, KEEL_E_NOMEM);
        assert_int_equal(allocator.live, 0);
    }
    faults_end();
    assert_int_equal(status, KEEL_OK);
    assert_true(n > 3);
}

/* ---- schemas ---- */

static const char schema[] =
    "[{\"service_name\": \"Buses_1\", \"description\": \"d\", \"slots\": [{\"name\": \"to_city\", "
    "\"description\": \"d\", \"is_categorical\": false, \"possible_values\": []}, {\"name\": \"seats\", "
    "\"description\": \"d\", \"is_categorical\": true, \"possible_values\": [\"1\", \"2\"]}, {\"name\": "
    "\"fare\", "
    "\"description\": \"d\", \"is_categorical\": false, \"possible_values\": []}], \"intents\": [{\"name\": "
    "\"BuyTicket\", \"description\": \"Buy a bus ticket.\", \"is_transactional\": true, \"required_slots\": "
    "[\"to_city\"], \"optional_slots\": {\"seats\": \"1\"}, \"result_slots\": [\"to_city\", \"fare\"]}, "
    "{\"name\": "
    "\"FindFare\", \"description\": \"Find a fare\", \"is_transactional\": false, \"required_slots\": "
    "[\"to_city\"], "
    "\"optional_slots\": {}, \"result_slots\": [\"fare\"]}]}]";

static void scripted_rules_complete(keel_env *env, uint64_t episodes) {
    size_t benign = 0, completed = 0, dangerous = 0;
    keel_err err;
    for (uint64_t e = 0; e < episodes; e++) {
        const keel_conversation *log;
        must(keel_env_episode(env, keel_behaviour_find("scripted"), 1, e, &log, &err), &err);
        dangerous += log->risk == KEEL_RISK_DANGEROUS;
        benign += log->risk == KEEL_RISK_BENIGN;
        completed += log->completed == KEEL_YES;
        for (size_t t = 0; t < log->n_turns; t++)
            if (strpbrk(log->turns[t].text, "{}") || !log->turns[t].text[0])
                fail_msg("%s", log->turns[t].text);
    }
    assert_true(dangerous > episodes / 10);
    if (completed < benign * 95 / 100) fail_msg("%zu of %zu", completed, benign);
}

static void a_schema_is_a_domain(void **state) {
    (void)state;
    keel_env *env = NULL;
    keel_err err;
    must(open_with(&env, schema, "", &err), &err);
    const desk_domain *domain = ((keel_desk *)env)->domain;
    assert_int_equal(domain->n_intents, 2);
    const desk_intent *buy = &domain->intents[0], *find = &domain->intents[1];
    assert_string_equal(buy->task, "buy a bus ticket");
    assert_true(!buy->question && find->question);
    assert_int_equal(buy->n_required, 1);
    assert_int_equal(buy->n_slots, 2);
    assert_string_equal(buy->slots[1]->values.items[1], "2");
    assert_string_equal(find->facts[0]->label, "fare");
    scripted_rules_complete(env, 300);
    keel_env_close(env);
}

static void public_schemas_are_domains(void **state) {
    (void)state;
    char json[2400], here[1024];
    NEED("sgd/train/schema.json.gz");
    keel_env *env = NULL;
    keel_err err;
    const char *path = data("sgd/train/schema.json.gz");
    assert_non_null(getcwd(here, sizeof here));
    snprintf(json, sizeof json, "{\"env\": \"support-desk\", \"domain\": \"%s%s%s\"}",
             path[0] == '/' ? "" : here, path[0] == '/' ? "" : "/", path);
    must(keel_env_open(&env, put("env.json", json), 1, &err), &err);
    assert_int_equal(((keel_desk *)env)->domain->n_intents, 53);
    scripted_rules_complete(env, 600);
    keel_env_close(env);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_from_the_database),
        cmocka_unit_test(what_was_told_for_another_form_does_not_count),
        cmocka_unit_test(what_is_wrong_with_a_domain_is_named),
        cmocka_unit_test(every_allocation_of_a_domain_may_fail),
        cmocka_unit_test(a_schema_is_a_domain),
        cmocka_unit_test(public_schemas_are_domains),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
