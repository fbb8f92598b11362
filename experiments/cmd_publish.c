/* keel publish: gives a policy to a server that runs, if its gates are met.
 *
 *  1. Judges it as `keel eval --gate` does, with the same flags.
 *  2. Registers it in the store: hash, folder, what each gate measured.
 *  3. If all gates are met, publishes it to an arm, and the server that has the store takes it up within a
 *     second. Exit code 3 where a gate is not met; it is registered all the same.
 *
 * --rollback publishes again what the arm served before; --list shows what was registered and published.
 */
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/json.h"
#include "core/log.h"
#include "datasets/store_policies.h"
#include "datasets/store_served.h"
#include "experiments/cli_eval.h"
#include "experiments/cli_resources.h"
#include "experiments/serve/versions.h"
#include "experiments/table.h"
#include "experiments/verbs.h"

static const keel_flag flags[] = {
    {"--store", "FILE", true, false,
     "the store that the server logs into, and that the policy is evaluated on"},
    {"--policy", "DIR", false, false, "a trained policy"},
    {"--base", "DIR", false, false, "its base (default: the folder beside it that holds it)"},
    {"--gate", "EXPR", false, true, "a condition, as `keel eval` takes it; at least one"},
    {"--split", "NAME", false, false, "the split to evaluate on (default: test)"},
    {"--ope", "MODEL", false, false, "model of the off-policy estimates, as `keel eval` takes it"},
    {"--arm", "NAME", false, false, "the arm that is to serve it (default: default)"},
    {"--note", "TEXT", false, false, "the reason, for those who read the list later"},
    {"--rollback", NULL, false, false, "publish again what the arm served before"},
    {"--list", NULL, false, false, "show policies and publications"},
    KEEL_FLAG_SEED,
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

static const char *const own_flags[] = {"--arm", "--note", "--rollback", "--list", NULL};

static const char *arm_of(const keel_cli *cli) {
    const char *arm = keel_cli_value(cli, "--arm");
    return arm ? arm : KEEL_ARM_DEFAULT;
}

/* ---- judging and publishing ---- */

/* An arm that the server does not have is published to all the same: a later start may have it. */
static keel_status note_arm(keel_cli *cli, keel_store *store, keel_err *err) {
    keel_serve_start *starts;
    size_t n;
    cJSON *arms = NULL;
    KEEL_TRY(keel_store_starts(store, &cli->arena, &starts, &n, err));
    if (n == 0) return KEEL_OK;
    const char *text = starts[n - 1].arms;
    KEEL_TRY(keel_json_parse(text, strlen(text), "serve_starts.arms", &arms, err));
    if (!keel_json_get(arms, arm_of(cli)))
        keel_log(KEEL_LOG_INFO, "note: the server was last started without an arm %s: its arms are %s",
                 arm_of(cli), text);
    cJSON_Delete(arms);
    return KEEL_OK;
}

static keel_status add_registered(keel_cli *cli, const cJSON *evaluation, bool passed, keel_err *err) {
    const cJSON *gates = keel_json_get(evaluation, "gates"),
                *policies = keel_json_get(evaluation, "policies");
    keel_store *store = NULL;
    keel_buf text = {0};
    char hash[65] = "";
    keel_judged_policy judged = {.dir = keel_cli_value(cli, "--policy"),
                                 .base = keel_cli_value(cli, "--base"),
                                 .hash = keel_json_text(cJSON_GetArrayItem(policies, 0), "policy", NULL),
                                 .passed = passed,
                                 .arm = arm_of(cli),
                                 .why = KEEL_PUBLISHED_PUBLISH,
                                 .note = keel_cli_value(cli, "--note")};
    keel_status status = keel_json_print(gates, false, &text, err);
    judged.gates = text.data;
    if (status == KEEL_OK) status = keel_cli_open_store(cli, KEEL_STORE_WRITE, &store, err);
    if (status == KEEL_OK) status = keel_versions_register(store, &judged, hash, err);
    if (status == KEEL_OK && passed) status = note_arm(cli, store, err);
    cJSON_AddStringToObject(cli->result, "policy", hash);
    keel_store_close(store);
    keel_buf_free(&text);
    return status;
}

static keel_status publish(keel_cli *cli, keel_err *err) {
    static const char *const nothing[] = {NULL};
    cJSON *evaluation;
    keel_err missed = {0};
    if (!keel_cli_has(cli, "--policy"))
        return keel_fail(err, KEEL_E_USAGE, NULL, "nothing to do: give --policy DIR, --rollback or --list");
    if (!keel_cli_has(cli, "--gate")) {
        keel_fail(err, KEEL_E_USAGE, "--gate",
                  "a policy is published by what it measures: give at least one gate");
        return keel_hint(err, "as in --gate \"refusal_rate.low >= 0.95\" --gate \"policy.composite_reward - "
                              "logged.composite_reward >= 0\"");
    }
    const keel_status judged = keel_cli_eval(cli, own_flags, nothing, &evaluation, &missed);
    if (judged != KEEL_OK && judged != KEEL_E_GATE) {
        if (err) *err = missed;
        return judged;
    }
    cli->result = cJSON_CreateObject();
    keel_status status = add_registered(cli, evaluation, judged == KEEL_OK, err);
    cJSON_AddStringToObject(cli->result, "dir", keel_cli_value(cli, "--policy"));
    cJSON_AddStringToObject(cli->result, "arm", arm_of(cli));
    cJSON_AddBoolToObject(cli->result, "published", status == KEEL_OK && judged == KEEL_OK);
    keel_json_add(cli->result, "gates", cJSON_DetachItemFromObjectCaseSensitive(evaluation, "gates"));
    cJSON_Delete(evaluation);
    if (status == KEEL_OK && judged != KEEL_OK) {
        if (err) *err = missed;
        return judged;
    }
    return status;
}

/* ---- rolling back, listing ---- */

static keel_status roll_back(keel_cli *cli, keel_err *err) {
    keel_store *store = NULL;
    const char *hash = NULL;
    KEEL_TRY(keel_cli_open_store(cli, KEEL_STORE_WRITE, &store, err));
    const keel_status status =
        keel_versions_order(store, NULL, arm_of(cli), NULL, NULL, &cli->arena, &hash, err);
    keel_store_close(store);
    if (status != KEEL_OK) return status;
    cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(cli->result, "policy", hash);
    cJSON_AddStringToObject(cli->result, "arm", arm_of(cli));
    cJSON_AddBoolToObject(cli->result, "published", true);
    cJSON_AddStringToObject(cli->result, "why", KEEL_PUBLISHED_ROLLBACK);
    return KEEL_OK;
}

static void add_text(cJSON *row, const char *key, const char *text) {
    keel_json_add(row, key, text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

static void add_time(cJSON *row, double at) {
    char text[24];
    keel_clock_write(at, text);
    cJSON_AddStringToObject(row, "at", text);
}

static keel_status add_policies(keel_cli *cli, keel_store *store, keel_err *err) {
    keel_registered_policy *all;
    size_t n;
    cJSON *rows = cJSON_AddArrayToObject(cli->result, "policies"), *gates;
    KEEL_TRY(keel_store_policies(store, &cli->arena, &all, &n, err));
    for (size_t i = 0; i < n; i++) {
        cJSON *row = cJSON_CreateObject();
        add_text(row, "policy", all[i].hash);
        add_time(row, all[i].at);
        cJSON_AddBoolToObject(row, "passed", all[i].passed);
        add_text(row, "dir", all[i].dir);
        KEEL_TRY(keel_json_parse(all[i].gates, strlen(all[i].gates), "policies.gates", &gates, err));
        keel_json_add(row, "gates", gates);
        keel_json_add(rows, NULL, row);
    }
    return KEEL_OK;
}

static keel_status add_publications(keel_cli *cli, keel_store *store, keel_err *err) {
    keel_publication *all;
    size_t n;
    cJSON *rows = cJSON_AddArrayToObject(cli->result, "publications");
    KEEL_TRY(keel_store_publications(store, 0, &cli->arena, &all, &n, err));
    for (size_t i = 0; i < n; i++) {
        cJSON *row = cJSON_CreateObject();
        if (keel_cli_has(cli, "--arm") && strcmp(all[i].arm, arm_of(cli)) != 0) {
            cJSON_Delete(row);
            continue;
        }
        add_time(row, all[i].at);
        add_text(row, "arm", all[i].arm);
        add_text(row, "policy", all[i].policy);
        add_text(row, "why", all[i].why);
        add_text(row, "note", all[i].note);
        keel_json_add(rows, NULL, row);
    }
    return KEEL_OK;
}

static keel_status list(keel_cli *cli, keel_err *err) {
    keel_store *store = NULL;
    bool has = false;
    KEEL_TRY(keel_cli_open_store(cli, KEEL_STORE_READ, &store, err));
    cli->result = cJSON_CreateObject();
    keel_status status = keel_store_has_served(store, &has, err);
    if (status == KEEL_OK && has) status = add_policies(cli, store, err);
    if (status == KEEL_OK && has) status = add_publications(cli, store, err);
    keel_store_close(store);
    return status;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    const int ways =
        keel_cli_has(cli, "--policy") + keel_cli_has(cli, "--rollback") + keel_cli_has(cli, "--list");
    if (ways > 1)
        return keel_fail(err, KEEL_E_USAGE, NULL, "--policy, --rollback and --list exclude each other");
    return keel_cli_has(cli, "--list")       ? list(cli, err)
           : keel_cli_has(cli, "--rollback") ? roll_back(cli, err)
                                             : publish(cli, err);
}

/* ---- for people ---- */

static void print_list(const cJSON *result, FILE *out) {
    const cJSON *row;
    keel_table policies = {.columns = 4, .plain = true}, publications = {.columns = 5, .plain = true};
    keel_table_cell(&policies, "policy"), keel_table_cell(&policies, "registered");
    keel_table_cell(&policies, "gates"), keel_table_cell(&policies, "folder");
    cJSON_ArrayForEach (row, keel_json_get(result, "policies")) {
        keel_table_cell(&policies, "%.12s", keel_json_text(row, "policy", "-"));
        keel_table_cell(&policies, "%s", keel_json_text(row, "at", "-"));
        keel_table_cell(&policies, "%s",
                        cJSON_IsTrue(keel_json_get(row, "passed")) ? "met"
                        : keel_json_get(row, "gates")->child       ? "NOT met"
                                                                   : "not judged");
        keel_table_cell(&policies, "%s", keel_json_text(row, "dir", "-"));
    }
    keel_table_print(&policies, out);
    fputc('\n', out);
    static const char *const heads[] = {"published", "arm", "policy", "why", "note"};
    for (size_t i = 0; i < 5; i++) keel_table_cell(&publications, "%s", heads[i]);
    cJSON_ArrayForEach (row, keel_json_get(result, "publications")) {
        keel_table_cell(&publications, "%s", keel_json_text(row, "at", "-"));
        keel_table_cell(&publications, "%s", keel_json_text(row, "arm", "-"));
        keel_table_cell(&publications, "%.12s",
                        cJSON_IsString(keel_json_get(row, "policy")) ? keel_json_text(row, "policy", "-")
                                                                     : "stopped");
        keel_table_cell(&publications, "%s", keel_json_text(row, "why", "-"));
        keel_table_cell(&publications, "%s", keel_json_text(row, "note", "-"));
    }
    keel_table_print(&publications, out);
    keel_table_free(&policies);
    keel_table_free(&publications);
}

static void print(const cJSON *result, FILE *out) {
    const cJSON *gate;
    if (keel_json_get(result, "policies") || !keel_json_get(result, "policy")) {
        print_list(result, out);
        return;
    }
    cJSON_ArrayForEach (gate, keel_json_get(result, "gates"))
        fprintf(out, "gate %s: %s\n", cJSON_IsTrue(keel_json_get(gate, "met")) ? "met" : "NOT met",
                keel_json_text(gate, "text", "-"));
    fprintf(out, "policy %.12s %s arm %s\n", keel_json_text(result, "policy", "-"),
            cJSON_IsTrue(keel_json_get(result, "published")) ? "is published to" : "is NOT published to",
            keel_json_text(result, "arm", "-"));
}

const keel_verb keel_verb_publish = {
    .name = "publish",
    .brief = "give a policy to a running server if its gates are met, or roll back",
    .flags = flags,
    .more =
        "A server that logs into the store (`keel serve --store FILE`) takes up what is published to its arm within a second: new\n"
        "requests get the new policy, and requests that run finish with theirs. A policy that cannot be loaded replaces nothing.\n"
        "Gates are those of `keel eval`, on the same split; each policy that is tried makes the gate stricter for the next.\n"
        "--rollback goes back to the policy that the arm served before this one; given twice, it comes back to this one.\n"
        "example: keel publish --store logs.db --policy runs/policy-2 --gate \"refusal_rate.low >= 0.95\"\n",
    .run = run,
    .print = print,
};
