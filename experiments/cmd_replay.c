/* keel replay: logged conversations turn by turn, beside what the policy would do.
 *
 *  1. Opens the store, the policy with its base, and the split or one conversation.
 *  2. At each decision asks the policy and compares its choice with the logged one.
 *  3. Lists the decisions (with --disagree only those that differ), up to --limit; counts all.
 *  4. Keeps the shown ones in the store's table `replays`, where it may be written.
 */
#include <string.h>

#include "core/json.h"
#include "core/progress.h"
#include "envs/replay.h"
#include "experiments/choice_view.h"
#include "experiments/cli_resources.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "policies/encode_store.h"
#include "policies/policy_internal.h"
#include "rl/judge/answer.h"

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--policy", "DIR", true, false, "the policy that is asked"},
    {"--base", "DIR", false, false, "its base (default: the folder beside it that holds it)"},
    {"--weights", "A,S,S", false, false, KEEL_WEIGHTS_HELP},
    KEEL_FLAG_FLOOR,
    {"--split", "NAME", false, false, "whose conversations (default: test)"},
    {"--conversation", "ID", false, false, "one conversation, by its id in the log (or source:id)"},
    {"--disagree", NULL, false, false, "only decisions where the policy would act differently"},
    {"--limit", "N", false, false, "how many decisions are shown (default: 20); all are counted"},
    KEEL_FLAG_END,
};

typedef struct replaying {
    keel_store *store;
    const keel_policy *policy;
    const keel_base *base;
    keel_env *env;
    bool disagree_only;
    int64_t limit, seen, differing, untold, open, shown;
    cJSON *decisions; /* shown; in cli->result */
    int64_t *ids;     /* [shown] of theirs, room for limit */
} replaying;

/* ---- decisions ---- */

static cJSON *decision_json(const replaying *work, const keel_conversation *conversation,
                            const keel_decision *decision, const keel_choice *choice,
                            keel_choice_verdict found) {
    cJSON *json = cJSON_CreateObject();
    const char *user = "";
    for (size_t t = 0; t < decision->turn && t < conversation->n_turns; t++)
        if (conversation->turns[t].role == KEEL_ROLE_USER) user = conversation->turns[t].text;
    cJSON_AddStringToObject(json, "conversation", conversation->external_id);
    cJSON_AddStringToObject(json, "risk", keel_risk_name(conversation->risk));
    cJSON_AddNumberToObject(json, "turn", (double)decision->turn);
    cJSON_AddStringToObject(json, "user", user);
    keel_json_add(json, "agrees",
                  found == KEEL_CHOICE_UNTOLD || found == KEEL_CHOICE_OPEN
                      ? cJSON_CreateNull()
                      : cJSON_CreateBool(found == KEEL_CHOICE_AGREES));
    if (found == KEEL_CHOICE_OPEN) cJSON_AddBoolToObject(json, "open", true);
    cJSON_AddNumberToObject(json, "value", choice->value);
    cJSON_AddNumberToObject(json, "kl", choice->kl);
    int64_t other = found == KEEL_CHOICE_DIFFERS ? keel_choice_view_logged(work->base, decision, choice)
                                                 : keel_choice_view_runner_up(choice);
    if (other >= 0)
        keel_json_add(
            json, "why",
            keel_choice_view_why(work->policy, choice, (size_t)other, found == KEEL_CHOICE_DIFFERS));
    cJSON *actions = cJSON_AddArrayToObject(json, "actions");
    for (size_t a = 0; a < choice->n; a++)
        keel_json_add(actions, NULL, keel_choice_view_action(work->policy, work->base, decision, choice, a));
    return json;
}

/* ---- replaying ---- */

static keel_status keep_decision(const replaying *work, int64_t id, const cJSON *json, keel_err *err) {
    keel_buf text = {0};
    const char *chosen = "";
    const cJSON *action;
    cJSON_ArrayForEach (action, cJSON_GetObjectItemCaseSensitive(json, "actions")) {
        if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(action, "chosen")))
            chosen = cJSON_GetObjectItemCaseSensitive(action, "says")->valuestring;
    }
    keel_status status = keel_json_print(json, false, &text, err);
    if (status == KEEL_OK)
        status = keel_store_put_replay(work->store, work->policy->hash, id, chosen, text.data, err);
    keel_buf_free(&text);
    return status;
}

/* All that is shown, when the walk is over: nobody waits for the store during it. */
static keel_status keep_replays(const replaying *work, keel_err *err) {
    const cJSON *json;
    size_t i = 0;
    if (!keel_store_writable(work->store)) return KEEL_OK;
    KEEL_TRY(keel_store_begin(work->store, err));
    keel_status status = KEEL_OK;
    cJSON_ArrayForEach (json, work->decisions) {
        if (status == KEEL_OK) status = keep_decision(work, work->ids[i++], json, err);
    }
    if (status == KEEL_OK) status = keel_store_commit(work->store, err);
    if (status != KEEL_OK) keel_store_rollback(work->store);
    return status;
}

/* What the environment is told was answered: the chosen candidate, or one that stands for the chosen act. */
static size_t candidate_for(const replaying *work, const keel_decision *decision, size_t action) {
    size_t taken = 0;
    for (size_t c = 0; c < decision->n_candidates; c++) {
        if (keel_answer_action(work->base, decision, c) == (int64_t)action) return c;
        if (decision->candidates[c].taken) taken = c;
    }
    return taken;
}

static keel_status replay_decision(replaying *work, const keel_conversation *conversation, size_t place,
                                   keel_arena *scratch, size_t *candidate, keel_err *err) {
    const keel_decision *decision = &conversation->decisions[place];
    keel_features features;
    keel_choice choice;
    KEEL_TRY(
        keel_encode_store_decision(work->base, work->store, conversation, place, scratch, &features, err));
    KEEL_TRY(keel_policy_decide(work->policy, &features, scratch, &choice, err));
    keel_choice_verdict found = keel_choice_view_compare(work->base, decision, &choice);
    *candidate = candidate_for(work, decision, choice.chosen);
    work->seen++;
    work->differing += found == KEEL_CHOICE_DIFFERS;
    work->untold += found == KEEL_CHOICE_UNTOLD;
    work->open += found == KEEL_CHOICE_OPEN;
    if ((work->disagree_only && found != KEEL_CHOICE_DIFFERS) || work->shown >= work->limit) return KEEL_OK;
    work->ids[work->shown++] = decision->id;
    keel_json_add(work->decisions, NULL, decision_json(work, conversation, decision, &choice, found));
    return KEEL_OK;
}

static keel_status replay_conversation(replaying *work, const keel_conversation *conversation,
                                       keel_arena *scratch, keel_err *err) {
    keel_replay_load(work->env, conversation);
    KEEL_TRY(keel_env_reset(work->env, 0, err));
    for (size_t place = 0; place < conversation->n_decisions; place++) {
        const keel_decision *decision = &conversation->decisions[place];
        size_t candidate = 0;
        if (!keel_base_can_encode(work->base, decision)) continue;
        keel_arena_reset(scratch);
        KEEL_TRY(replay_decision(work, conversation, place, scratch, &candidate, err));
        if (decision->n_candidates)
            KEEL_TRY(keel_env_step(work->env, candidate, err)); /* it leaves out the others */
    }
    return KEEL_OK;
}

static keel_status replay_split(replaying *work, const keel_split *split, keel_err *err) {
    keel_arena arena = {0}, scratch = {0};
    keel_conversation *conversation = NULL;
    keel_cursor *cursor;
    keel_progress progress;
    size_t done = 0;
    bool held = false;
    KEEL_TRY(keel_cursor_open(&cursor, work->store, split, KEEL_ORDER_STORED, err));
    keel_progress_start(&progress, "replay", 0);
    keel_status status = keel_store_hold(work->store, &held, err);
    while (status == KEEL_OK) {
        keel_arena_reset(&arena);
        status = keel_cursor_next(cursor, &arena, &conversation, err);
        if (status != KEEL_OK || !conversation) break;
        status = replay_conversation(work, conversation, &scratch, err);
        keel_progress_step(&progress, ++done, NULL);
    }
    keel_cursor_close(cursor);
    keel_store_release(work->store, held);
    keel_arena_free(&arena);
    keel_arena_free(&scratch);
    return status;
}

static keel_status replay_one(replaying *work, const char *name, keel_err *err) {
    keel_arena arena = {0}, scratch = {0};
    keel_conversation *conversation;
    int64_t id;
    KEEL_TRY(keel_store_find_conversation(work->store, name, &id, err));
    keel_status status = keel_store_conversation(work->store, id, &arena, &conversation, err);
    if (status == KEEL_OK) status = replay_conversation(work, conversation, &scratch, err);
    keel_arena_free(&arena);
    keel_arena_free(&scratch);
    return status;
}

static keel_status replay_chosen(keel_cli *cli, replaying *work, keel_err *err) {
    const char *name = keel_cli_value(cli, "--conversation");
    keel_split split;
    if (name && keel_cli_has(cli, "--split"))
        return keel_fail(err, KEEL_E_USAGE, "--split", "excludes --conversation");
    if (name) return replay_one(work, name, err);
    KEEL_TRY(keel_cli_open_split(cli, work->store, "test", &split, err));
    return replay_split(work, &split, err);
}

static keel_status replay(keel_cli *cli, replaying *work, keel_err *err) {
    work->ids = keel_arena_alloc(&cli->arena, (size_t)work->limit * sizeof *work->ids);
    if (!work->ids)
        return keel_fail(err, KEEL_E_NOMEM, "--limit", "no memory for %lld decisions",
                         (long long)work->limit);
    cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(cli->result, "policy", work->policy->hash);
    work->decisions = cJSON_AddArrayToObject(cli->result, "decisions");
    KEEL_TRY(replay_chosen(cli, work, err));
    cJSON_AddNumberToObject(cli->result, "seen", (double)work->seen);
    cJSON_AddNumberToObject(cli->result, "differing", (double)work->differing);
    cJSON_AddNumberToObject(cli->result, "untold", (double)work->untold);
    cJSON_AddNumberToObject(cli->result, "open", (double)work->open);
    KEEL_TRY(keel_cli_check_result(cli, err));
    return keep_replays(work, err);
}

static keel_status run(keel_cli *cli, keel_err *err) {
    replaying work = {.limit = 20, .disagree_only = keel_cli_has(cli, "--disagree")};
    keel_policy *policy = NULL;
    keel_base *base = NULL;
    keel_status status;
    KEEL_TRY(keel_cli_integer(cli, "--limit", 1, 1000000, &work.limit, err));
    KEEL_TRY_GOTO(keel_cli_open_store(cli, KEEL_STORE_EITHER, &work.store, err), done);
    KEEL_TRY_GOTO(keel_cli_open_policy(keel_cli_value(cli, "--policy"), keel_cli_value(cli, "--base"),
                                       &policy, &base, err),
                  done);
    KEEL_TRY_GOTO(keel_replay_open(&work.env, err), done);
    KEEL_TRY_GOTO(keel_cli_weigh(cli, policy, err), done);
    KEEL_TRY_GOTO(keel_cli_open_floor(cli, policy, err), done);
    work.policy = policy;
    work.base = base;
    status = replay(cli, &work, err);
done:
    keel_env_close(work.env);
    keel_policy_close(policy);
    keel_base_close(base);
    keel_store_close(work.store);
    return status;
}

/* ---- for people ---- */

static void print(const cJSON *result, FILE *out) {
    const cJSON *decision;
    cJSON_ArrayForEach (decision, keel_json_get(result, "decisions")) {
        const cJSON *agrees = keel_json_get(decision, "agrees");
        fputs("conversation ", out);
        keel_print_line(out, keel_json_get(decision, "conversation")->valuestring, 60);
        fprintf(out, ", turn %.0f, %s: the %s\nuser: ", keel_json_get(decision, "turn")->valuedouble,
                keel_json_get(decision, "risk")->valuestring,
                keel_json_get(decision, "open") ? "answer is still to be given"
                : cJSON_IsTrue(agrees)          ? "policy does as logged"
                : cJSON_IsFalse(agrees)         ? "policy acts differently"
                                                : "log does not say what was done");
        keel_print_line(out, keel_json_get(decision, "user")->valuestring, 200);
        fputc('\n', out);
        keel_choice_view_print(keel_json_get(decision, "actions"), out);
        keel_choice_view_print_why(keel_json_get(decision, "why"), true, out);
        fputc('\n', out);
    }
    fprintf(out, "%.0f of %.0f decisions replayed differ from the log; > chosen, * taken in the log\n",
            keel_json_get(result, "differing")->valuedouble, keel_json_get(result, "seen")->valuedouble);
    double untold = keel_json_get(result, "untold")->valuedouble;
    if (untold > 0)
        fprintf(out, "of %.0f of them the log does not say what was done: no act, or not judged\n", untold);
    double open = keel_json_get(result, "open")->valuedouble;
    if (open > 0) fprintf(out, "%.0f of them are open: nothing was answered\n", open);
}

const keel_verb keel_verb_replay = {
    .name = "replay",
    .brief = "logged conversations turn by turn: what was done, what the policy would do, why",
    .flags = flags,
    .more =
        "Each decision lists the responses with the policy's view of them: Q of each reward component, "
        "the advantage over what the\n"
        "base would do, log-probabilities of base and policy. `why` takes the preference apart; its "
        "parts sum to the difference in\n"
        "log-probability. Open decisions, which nobody answered, are answered too. Shown decisions are kept in the store's replays table, unless it may only be "
        "read.\n"
        "example: keel replay --store logs.db --policy runs/policy --disagree --limit 5\n",
    .run = run,
    .print = print,
};
