/* keel review: a page on which people look at conversations and label responses.
 *
 *  1. Opens the store, and the policy if one is given.
 *  2. Gives each response that has none yet its place in the order (rl/judge/review_order.h), by what the
 * judge said of it and by whether the policy would do something else.
 *  3. Serves the page (experiments/review/) until it is interrupted. Labels are in the store at once.
 */
#include <string.h>

#include "core/json.h"
#include "core/log.h"
#include "core/progress.h"
#include "experiments/choice_view.h"
#include "experiments/cli_resources.h"
#include "experiments/review/review_desk.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "policies/encode_store.h"
#include "rl/judge/review_order.h"

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--policy", "DIR", false, false,
     "also ask for responses in whose place this policy would do something else"},
    {"--base", "DIR", false, false, "its base (default: the folder beside it that holds it)"},
    {"--listen", "HOST:PORT", false, false,
     "where the page is served, port 0: any (default: 127.0.0.1:8090, this machine alone)"},
    {"--name", "WHO", false, false, "the name that the page offers first"},
    {"--interval", "W", false, false,
     "half the width that an interval of a rate shall have; the page counts the labels until then (default: 0.03)"},
    {"--rate", "NAME", false, false,
     "the rate to label for: its requests get nine labels in ten (default: all alike); refusal_rate, "
     "harmful_compliance_rate or over_refusal_rate"},
    KEEL_FLAG_END,
};
static const char *const rates[] = {"refusal_rate", "harmful_compliance_rate", "over_refusal_rate", NULL};
static const keel_flag_choices choices[] = {{"--rate", rates}, {NULL, NULL}};

/* ---- where the policy would do something else ---- */

typedef struct asking {
    keel_store *store;
    keel_policy *policy;
    keel_base *base;
    const keel_review_response *responses; /* [count] by row, so those of a conversation stand together */
    size_t count;
    bool *differs;
    keel_arena conversation, scratch;
} asking;

static keel_status ask_decision(asking *a, const keel_conversation *conversation, size_t place, bool *differs,
                                keel_err *err) {
    keel_features features;
    keel_choice choice;
    *differs = false;
    if (!keel_base_can_encode(a->base, &conversation->decisions[place])) return KEEL_OK;
    keel_arena_reset(&a->scratch);
    KEEL_TRY(keel_encode_store_decision(a->base, a->store, conversation, place, &a->scratch, &features, err));
    KEEL_TRY(keel_policy_decide(a->policy, &features, &a->scratch, &choice, err));
    *differs =
        keel_choice_view_compare(a->base, &conversation->decisions[place], &choice) == KEEL_CHOICE_DIFFERS;
    return KEEL_OK;
}

/* responses [first, end) are of one conversation. */
static keel_status ask_conversation(asking *a, size_t first, size_t end, keel_err *err) {
    keel_conversation *conversation;
    keel_arena_reset(&a->conversation);
    KEEL_TRY(keel_store_conversation(a->store, a->responses[first].conversation, &a->conversation,
                                     &conversation, err));
    for (size_t place = 0; place < conversation->n_decisions; place++) {
        bool differs = false, wanted = false;
        for (size_t i = first; i < end; i++)
            wanted = wanted || a->responses[i].decision == conversation->decisions[place].id;
        if (wanted) KEEL_TRY(ask_decision(a, conversation, place, &differs, err));
        for (size_t i = first; i < end; i++)
            if (a->responses[i].decision == conversation->decisions[place].id) a->differs[i] = differs;
    }
    return KEEL_OK;
}

static keel_status ask_policy(asking *a, keel_err *err) {
    keel_progress progress;
    keel_status status = KEEL_OK;
    size_t end = 0;
    keel_progress_start(&progress, "asking the policy", a->count);
    for (size_t first = 0; first < a->count && status == KEEL_OK; first = end) {
        for (end = first + 1; end < a->count; end++)
            if (a->responses[end].conversation != a->responses[first].conversation) break;
        status = ask_conversation(a, first, end, err);
        keel_progress_step(&progress, end, NULL);
    }
    keel_progress_end(&progress, end);
    return status;
}

/* ---- the order ---- */

/* Of the rate that --rate names; read_options has checked the name. */
static keel_risk wished_risk(const keel_cli *cli) {
    static const keel_risk risks[] = {KEEL_RISK_DANGEROUS, KEEL_RISK_DANGEROUS, KEEL_RISK_BENIGN};
    keel_err err;
    int rate = -1;
    return keel_cli_choice(cli, "--rate", rates, &rate, &err) == KEEL_OK && rate >= 0 ? risks[rate]
                                                                                      : KEEL_RISK_UNKNOWN;
}

static void say_order(const keel_review_response *responses, const bool *differs, size_t count) {
    size_t judged = 0, other = 0;
    for (size_t i = 0; i < count; i++) {
        judged += responses[i].judged != KEEL_OUTCOME_NONE;
        other += differs && differs[i];
    }
    if (!count) return;
    keel_log(KEEL_LOG_INFO, "%zu responses join the order of reviews; a judge labelled %zu of them", count,
             judged);
    if (!judged)
        keel_log(
            KEEL_LOG_INFO,
            "note: no judge labelled any, so the order is random; `keel label` first makes it ask for what "
            "is unsure");
    if (differs) keel_log(KEEL_LOG_INFO, "the policy would do something else in place of %zu", other);
}

static keel_status place(keel_store *store, asking *a, keel_risk aim, keel_err *err) {
    keel_review_place *places = keel_calloc(a->count + 1, sizeof *places);
    if (!places) return keel_nomem(err, "review");
    say_order(a->responses, a->differs, a->count);
    keel_review_order_place(a->responses, a->differs, a->count,
                            &(keel_review_aim){KEEL_REVIEW_RANDOM_SHARE, aim}, places);
    const keel_status status = keel_store_review_add(store, a->responses, places, a->count, err);
    keel_free(places);
    return status;
}

static keel_status order(keel_cli *cli, keel_store *store, keel_err *err) {
    asking a = {.store = store};
    keel_review_response *responses = NULL;
    const char *policy = keel_cli_value(cli, "--policy");
    keel_status status;
    KEEL_TRY_GOTO(keel_store_review_restart(store, err), done);
    KEEL_TRY_GOTO(keel_store_review_new(store, &responses, &a.count, err), done);
    a.responses = responses;
    if (policy) {
        KEEL_TRY_GOTO(keel_cli_open_policy(policy, keel_cli_value(cli, "--base"), &a.policy, &a.base, err),
                      done);
        a.differs = keel_calloc(a.count + 1, sizeof *a.differs);
        KEEL_TRY_GOTO(a.differs ? ask_policy(&a, err) : keel_nomem(err, "review"), done);
    }
    status = place(store, &a, wished_risk(cli), err);
done:
    keel_free(responses);
    keel_free(a.differs);
    keel_arena_free(&a.conversation);
    keel_arena_free(&a.scratch);
    keel_policy_close(a.policy);
    keel_base_close(a.base);
    return status;
}

/* ---- the verb ---- */

static keel_status read_options(const keel_cli *cli, keel_http_address *address,
                                keel_review_desk_options *options, keel_err *err) {
    const char *listen = keel_cli_value(cli, "--listen");
    *options = (keel_review_desk_options){.wished = 0.03, .name = keel_cli_value(cli, "--name")};
    KEEL_TRY(keel_http_address_parse(listen ? listen : "127.0.0.1:8090", address, err));
    KEEL_TRY(keel_cli_number(cli, "--interval", 0.001, 0.5, &options->wished, err));
    if (options->name && !keel_review_name_ok(options->name))
        return keel_fail(err, KEEL_E_USAGE, "--name", "a name has 1 to %d bytes and no control characters",
                         KEEL_REVIEW_NAME);
    int rate;
    KEEL_TRY(keel_cli_choice(cli, "--rate", rates, &rate, err));
    if (keel_cli_has(cli, "--base") && !keel_cli_has(cli, "--policy"))
        return keel_fail(err, KEEL_E_USAGE, "--base", "goes with --policy");
    return KEEL_OK;
}

static keel_status serve(keel_cli *cli, keel_http_server *server, const keel_http_address *address,
                         const keel_review_desk *desk, keel_err *err) {
    if (!address->loopback)
        keel_log(KEEL_LOG_INFO, "warning: who reaches %s reads these conversations and can label them",
                 keel_http_url(server));
    keel_log(KEEL_LOG_INFO, "review at %s (Ctrl-C ends it; labels are kept as they are given)",
             keel_http_url(server));
    KEEL_TRY(keel_http_run(server, err));
    const keel_review_desk_tally tally = keel_review_desk_counted(desk);
    cli->result = cJSON_CreateObject();
    cJSON_AddNumberToObject(cli->result, "labels", (double)tally.labels);
    cJSON_AddNumberToObject(cli->result, "skipped", (double)tally.skipped);
    cJSON_AddNumberToObject(cli->result, "undone", (double)tally.undone);
    return KEEL_OK;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    keel_http_address address;
    keel_review_desk_options options;
    keel_store *store = NULL;
    keel_review_desk *desk = NULL;
    keel_http_server *server = NULL;
    keel_http_page page = {.answer = keel_review_desk_answer};
    keel_http_options http = keel_http_pages;
    keel_split all;
    keel_status status;
    KEEL_TRY(read_options(cli, &address, &options, err));
    KEEL_TRY(keel_split_parse("all", &all, err));
    KEEL_TRY_GOTO(keel_cli_open_store(cli, KEEL_STORE_WRITE, &store, err), done);
    KEEL_TRY_GOTO(keel_store_check_split(store, &all, err), done);
    KEEL_TRY_GOTO(order(cli, store, err), done);
    KEEL_TRY_GOTO(keel_review_desk_open(&desk, store, &options, err), done);
    page.context = desk;
    http.exposed = true; /* serve() warns */
    KEEL_TRY_GOTO(keel_http_open(&server, &address, &http, keel_http_answer_page, &page, err), done);
    status = serve(cli, server, &address, desk, err);
done:
    keel_http_close(server);
    keel_review_desk_close(desk);
    keel_store_close(store);
    return status;
}

static void print(const cJSON *result, FILE *out) {
    const double labels = keel_json_get(result, "labels")->valuedouble,
                 skipped = keel_json_get(result, "skipped")->valuedouble,
                 undone = keel_json_get(result, "undone")->valuedouble;
    fprintf(out, "%.0f labels given, %.0f responses skipped, %.0f taken back\n", labels, skipped, undone);
    if (labels > 0)
        fputs(
            "next: `keel label` (rewards and the judge beside these labels), `keel stats` (corrected rates), "
            "`keel judge fit`\n",
            out);
}

const keel_verb keel_verb_review = {
    .name = "review",
    .brief = "serve a page on which people label responses",
    .flags = flags,
    .choices = choices,
    .more =
        "Serves a page on this machine. Each person gives a name, and several may work at once. The keyboard does everything, with\n"
        "undo (? on the page lists the keys). A label is in the store, with name and time, before the page goes on; closing the page\n"
        "or ending the program loses none, and the next start continues.\n"
        "Each response is drawn with a known chance. Half of the chance is the same for all; the rest goes by how unsure the judge is\n"
        "and, with --policy, by whether the policy would do something else. Label the store first (`keel label`). The page shows the\n"
        "rates so far and how many labels the wished interval needs. One response in eight is shown to two people; the page shows how\n"
        "they agree (Cohen's kappa), and a third person sees what they disagree about. The label of most people counts; of equally\n"
        "many, the first.\n"
        "example: keel review --store logs.db --name ann\n",
    .run = run,
    .print = print,
};
