/* keel label: a judge fills the outcomes that no human gave.
 *
 *  1. Checks the reward keys, opens the store and the judge (shipped, or --judge).
 *  2. Drops what another judge of the kind said, and predicts the outcome of every candidate without a label
 * by a human, with provenance. What it says beside a label by a human, which wins, tells how it errs.
 *  3. Computes the rewards of all transitions with the reward keys, and records the run.
 */
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/log.h"
#include "core/options_internal.h"
#include "core/progress.h"
#include "core/text.h"
#include "experiments/cli_judge.h"
#include "experiments/cli_resources.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "rl/learn/derive.h"

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    KEEL_FLAG_JUDGE,
    {"--config", "FILE", false, false, "JSON object of reward keys"},
    {"--set", "KEY=VALUE", false, true, "one reward key"},
    KEEL_FLAG_END,
};

/* ---- judging ---- */

enum { LEAST_CERTAIN = 10, EXCERPT = 160 /* bytes */ };

typedef struct doubt {
    const char *id, *text; /* of the conversation; of the beginning of the response */
    int label;
    double p;
} doubt;

typedef struct judging {
    keel_store *store;
    const keel_judge *judge;
    int64_t candidates, known, filled, dropped, unjudged, without_text;
    int64_t found[KEEL_AUTHORITY_HUMAN + 1][KEEL_N_OUTCOMES + 1]; /* by who judged and outcome */
    doubt doubts[LEAST_CERTAIN + 1];                              /* the least certain first */
    size_t n_doubts;
    keel_agreement_item *compared; /* [n_compared] responses that a human labelled */
    size_t n_compared, compared_room;
    keel_arena texts;
} judging;

/* Equal ones by what they are, so that the order of imports does not show. */
static bool less_certain(const doubt *a, const doubt *b) {
    if (a->p != b->p) return a->p < b->p;
    const int order = strcmp(a->id, b->id);
    return order ? order < 0 : strcmp(a->text, b->text) < 0;
}

/* Where the same text is among the least certain; n_doubts if it is not. */
static size_t find_text(const judging *work, const char *text, size_t length) {
    size_t at = 0;
    while (at < work->n_doubts &&
           (strncmp(work->doubts[at].text, text, length) != 0 || work->doubts[at].text[length]))
        at++;
    return at;
}

/* Among the least certain, if it is one of them; each text once. */
static keel_status note_doubt(judging *work, const char *id, const char *text, int label, double p,
                              keel_err *err) {
    size_t at = work->n_doubts;
    const doubt seen = {id ? id : "", text, label, p}; /* copied only if it stays: a store may be large */
    if (at == LEAST_CERTAIN && !less_certain(&seen, &work->doubts[at - 1])) return KEEL_OK;
    const size_t shown = keel_utf8_cut(text, strlen(text), EXCERPT), same = find_text(work, text, shown);
    if (same < work->n_doubts) {
        if (!less_certain(&seen, &work->doubts[same])) return KEEL_OK;
        memmove(&work->doubts[same], &work->doubts[same + 1],
                (--work->n_doubts - same) * sizeof *work->doubts);
        at = work->n_doubts;
    }
    const doubt new = {keel_arena_strdup(&work->texts, seen.id),
                       keel_arena_strndup(&work->texts, text, shown), label, p};
    if (!new.id || !new.text) return keel_nomem(err, "label");
    while (at > 0 && less_certain(&new, &work->doubts[at - 1])) at--;
    memmove(&work->doubts[at + 1], &work->doubts[at], (work->n_doubts - at) * sizeof *work->doubts);
    work->doubts[at] = new;
    if (work->n_doubts < LEAST_CERTAIN) work->n_doubts++;
    return KEEL_OK;
}

/* What the judge says of a response that a human labelled is kept beside it: that tells how the judge errs.
 * One that learned from labels and does not know which tells nothing. */
static keel_status compare(judging *work, const keel_conversation *conversation,
                           const keel_decision *decision, const keel_candidate *candidate, keel_err *err) {
    const char *group = keel_conversation_group(conversation);
    const keel_judge *judge = work->judge;
    if ((judge->learned && !judge->n_held_out) || !candidate->text || candidate->text[0] == '\0')
        return KEEL_OK;
    if (!keel_grow(&work->compared, work->n_compared + 1, &work->compared_room, sizeof *work->compared))
        return keel_nomem(err, "label");
    keel_agreement_item *item = &work->compared[work->n_compared++];
    *item = (keel_agreement_item){.label = (int)candidate->outcome - KEEL_OUTCOME_COMPLIANCE,
                                  .group = keel_hash64(group, strlen(group), 0)};
    const keel_judge_input input = {candidate->text, conversation->turns, decision->turn};
    KEEL_TRY(keel_judge_predict(judge, &input, &item->verdict, err));
    if (item->verdict.label == KEEL_UNJUDGED) return KEEL_OK;
    return keel_store_put_label(
        work->store, candidate->id, (keel_outcome)(KEEL_OUTCOME_COMPLIANCE + item->verdict.label),
        item->verdict.authority, judge->name, (double)item->verdict.p[item->verdict.label], err);
}

static keel_status judge_candidate(judging *work, const keel_conversation *conversation,
                                   const keel_decision *decision, const keel_candidate *candidate,
                                   keel_err *err) {
    keel_judge_verdict verdict;
    work->candidates++;
    if (candidate->outcome != KEEL_OUTCOME_NONE) {
        work->known++;
        work->found[candidate->judge][candidate->outcome]++;
        return candidate->judge == KEEL_AUTHORITY_HUMAN
                   ? compare(work, conversation, decision, candidate, err)
                   : KEEL_OK;
    }
    if (!candidate->text || candidate->text[0] == '\0') { /* an act alone is not judged */
        work->without_text++;
        return KEEL_OK;
    }
    const keel_judge_input input = {candidate->text, conversation->turns, decision->turn};
    KEEL_TRY(keel_judge_predict(work->judge, &input, &verdict, err));
    if (verdict.label == KEEL_UNJUDGED) {
        work->unjudged++;
        return KEEL_OK;
    }
    const double p = (double)verdict.p[verdict.label];
    const keel_outcome outcome = (keel_outcome)(KEEL_OUTCOME_COMPLIANCE + verdict.label);
    work->filled++;
    work->found[verdict.authority][outcome]++;
    KEEL_TRY(note_doubt(work, conversation->external_id, candidate->text, verdict.label, p, err));
    return keel_store_put_label(work->store, candidate->id, outcome, verdict.authority, work->judge->name, p,
                                err);
}

static keel_status judge_conversation(judging *work, const keel_conversation *conversation, keel_err *err) {
    for (size_t d = 0; d < conversation->n_decisions; d++) {
        const keel_decision *decision = &conversation->decisions[d];
        for (size_t c = 0; c < decision->n_candidates; c++)
            KEEL_TRY(judge_candidate(work, conversation, decision, &decision->candidates[c], err));
    }
    return KEEL_OK;
}

static keel_status judge_all(judging *work, keel_err *err) {
    keel_cursor *cursor = NULL;
    keel_arena arena = {0};
    keel_conversation *conversation = NULL;
    keel_progress progress;
    uint64_t done = 0;
    keel_status status;
    keel_progress_start(&progress, "judging", 0);
    KEEL_TRY(keel_store_begin(work->store, err));
    KEEL_TRY_GOTO(
        keel_store_drop_judged(work->store, work->judge->kind->name, work->judge->name, &work->dropped, err),
        done);
    KEEL_TRY_GOTO(keel_cursor_open(&cursor, work->store, NULL, KEEL_ORDER_STORED, err), done);
    for (;;) {
        keel_arena_reset(&arena);
        KEEL_TRY_GOTO(keel_cursor_next(cursor, &arena, &conversation, err), done);
        if (!conversation) break;
        KEEL_TRY_GOTO(judge_conversation(work, conversation, err), done);
        if (keel_interrupted())
            KEEL_TRY_GOTO(keel_fail(err, KEEL_E_INTERRUPTED, NULL, "while judging"), done);
        keel_progress_step(&progress, ++done, NULL);
    }
done:
    keel_cursor_close(cursor);
    keel_progress_end(&progress, done);
    keel_arena_free(&arena);
    if (status == KEEL_OK) status = keel_store_commit(work->store, err);
    if (status != KEEL_OK) keel_store_rollback(work->store);
    return status;
}

/* ---- the verb ---- */

/* A store whose setting cannot be read gets it anew. */
static keel_status note_change(keel_store *store, const keel_reward_config *rewards, keel_err *err) {
    keel_reward_config before;
    keel_buf text = {0};
    keel_status status = keel_derive_rewards(store, &before, err);
    if (status != KEEL_OK) return status == KEEL_E_NOMEM ? status : KEEL_OK;
    cJSON *had = keel_options_to_json(keel_reward_options, &before);
    cJSON *has = keel_options_to_json(keel_reward_options, rewards);
    keel_json_differences(had, has, &text);
    if (!had || !has || text.failed)
        status = keel_nomem(err, "label");
    else if (text.length)
        keel_log(KEEL_LOG_INFO, "note: the rewards of this store were computed otherwise before: %s",
                 text.data);
    cJSON_Delete(had);
    cJSON_Delete(has);
    keel_buf_free(&text);
    return status;
}

/* What follows from the labels: transitions, and the record of the reward keys that hold from now on, in one
 * transaction. */
static keel_status settle(keel_cli *cli, keel_store *store, const keel_reward_config *rewards,
                          keel_err *err) {
    int64_t transitions = 0;
    KEEL_TRY(keel_store_begin(store, err));
    keel_status status = note_change(store, rewards, err);
    if (status == KEEL_OK) status = keel_derive_put_rewards(store, rewards, err);
    if (status == KEEL_OK) status = keel_derive(store, NULL, rewards, 0, &transitions, err);
    cJSON_AddNumberToObject(cli->result, "transitions", (double)transitions);
    keel_json_add(cli->result, "rewards", keel_options_to_json(keel_reward_options, rewards));
    if (status == KEEL_OK) status = keel_record_run(cli, store, err);
    if (status == KEEL_OK) status = keel_store_commit(store, err);
    if (status != KEEL_OK) keel_store_rollback(store);
    return status;
}

/* What was found: outcomes by who judged, what stays unjudged, and, for this call, the least certain. */
static void report(keel_cli *cli, const judging *work) {
    cJSON *json = cli->result, *found = cJSON_AddObjectToObject(json, "found");
    const char *const *classes = work->judge->kind->classes;
    cJSON_AddStringToObject(json, "judge", work->judge->name);
    cJSON_AddNumberToObject(json, "candidates", (double)work->candidates);
    const double judged = (double)(work->known + work->filled);
    cJSON_AddNumberToObject(json, "coverage", work->candidates ? judged / (double)work->candidates : 0.0);
    cJSON_AddNumberToObject(json, "unjudged", (double)work->unjudged);
    cJSON_AddNumberToObject(json, "without_text", (double)work->without_text);
    for (int judge = KEEL_AUTHORITY_HUMAN; judge > KEEL_AUTHORITY_NONE; judge--) {
        cJSON *by = cJSON_AddObjectToObject(found, keel_authority_name((keel_authority)judge));
        for (int k = 0; k < KEEL_N_OUTCOMES; k++)
            cJSON_AddNumberToObject(by, classes[k], (double)work->found[judge][KEEL_OUTCOME_COMPLIANCE + k]);
    }
    cli->told = cJSON_CreateObject();
    cJSON_AddNumberToObject(cli->told, "judged_before", (double)work->known);
    cJSON_AddNumberToObject(cli->told, "filled", (double)work->filled);
    cJSON_AddNumberToObject(cli->told, "judged_anew", (double)work->dropped);
    cJSON *doubts = cJSON_AddArrayToObject(cli->told, "least_certain");
    for (size_t i = 0; i < work->n_doubts; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "id", work->doubts[i].id);
        cJSON_AddStringToObject(one, "outcome", classes[work->doubts[i].label]);
        cJSON_AddNumberToObject(one, "probability", work->doubts[i].p);
        cJSON_AddStringToObject(one, "response", work->doubts[i].text);
        cJSON_AddItemToArray(doubts, one);
    }
}

static keel_status report_agreement(keel_cli *cli, const judging *work, keel_err *err) {
    enum { RESAMPLES = 2000, SEED = 1 };
    keel_agreement found;
    if (!work->n_compared) return KEEL_OK;
    KEEL_TRY(keel_agreement_measure(work->compared, work->n_compared, RESAMPLES, SEED, &found, err));
    keel_json_add(cli->result, "agreement", keel_cli_agreement_json(work->judge->kind, &found));
    return KEEL_OK;
}

static keel_status label(keel_cli *cli, keel_store *store, const keel_reward_config *rewards,
                         const keel_judge *judge, keel_err *err) {
    judging work = {.store = store, .judge = judge};
    keel_status status = judge_all(&work, err);
    if (status == KEEL_OK) {
        report(cli, &work);
        status = report_agreement(cli, &work, err);
    }
    if (status == KEEL_OK) status = settle(cli, store, rewards, err);
    keel_free(work.compared);
    keel_arena_free(&work.texts);
    return status;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    keel_reward_config rewards;
    keel_store *store = NULL;
    keel_judge *judge = NULL;
    KEEL_TRY(keel_options_defaults(keel_reward_options, &rewards, err));
    KEEL_TRY(keel_cli_options(cli, keel_reward_options, &rewards, err));
    KEEL_TRY(keel_cli_open_store(cli, KEEL_STORE_WRITE, &store, err));
    cli->result = cJSON_CreateObject();
    keel_split all;
    keel_status status = keel_split_parse("all", &all, err);
    if (status == KEEL_OK) status = keel_store_check_split(store, &all, err);
    if (status == KEEL_OK) status = keel_cli_open_judge(cli, &judge, err);
    if (status == KEEL_OK) status = label(cli, store, &rewards, judge, err);
    keel_judge_free(judge);
    keel_store_close(store);
    return status;
}

static void print_found(const cJSON *result, FILE *out) {
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(result, "found"), *by, *count;
    keel_table table = {.columns = 4};
    keel_table_cell(&table, "judged by");
    cJSON_ArrayForEach (count, cJSON_GetArrayItem(found, 0)) keel_table_cell(&table, "%s", count->string);
    cJSON_ArrayForEach (by, found) {
        keel_table_cell(&table, "%s", by->string);
        cJSON_ArrayForEach (count, by) keel_table_cell(&table, "%.0f", count->valuedouble);
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
}

static void print_doubts(const cJSON *doubts, FILE *out) {
    enum { COLUMNS = 100 };
    const cJSON *one;
    if (cJSON_GetArraySize(doubts) == 0) return;
    fprintf(out, "\nleast certain responses (outcome, its probability, one conversation: response):\n");
    cJSON_ArrayForEach (one, doubts) {
        fprintf(out, "  %-15s %.2f  ", cJSON_GetObjectItemCaseSensitive(one, "outcome")->valuestring,
                cJSON_GetObjectItemCaseSensitive(one, "probability")->valuedouble);
        keel_print_line(out, cJSON_GetObjectItemCaseSensitive(one, "id")->valuestring, COLUMNS / 2);
        fprintf(out, ": ");
        keel_print_line(out, cJSON_GetObjectItemCaseSensitive(one, "response")->valuestring, COLUMNS);
        fprintf(out, "\n");
    }
}

static void print_agreement(const cJSON *agreement, FILE *out) {
    static const char *const head = "value";
    if (agreement) {
        fputc('\n', out);
        keel_cli_print_agreement(&head, &agreement, 1, out);
    } else {
        fputs(
            "\nHow far to trust these labels is unknown: no response has a human label. `keel review` collects "
            "some; then `keel judge test` says how the judge agrees with them.\n",
            out);
    }
}

static void print(const cJSON *result, FILE *out) {
    keel_table table = {.columns = 2, .plain = true};
    cJSON *rest = cJSON_Duplicate(result, true);
    print_found(result, out);
    fprintf(out, "\n");
    cJSON_DeleteItemFromObjectCaseSensitive(rest, "rewards"); /* the configuration, not what was found */
    cJSON_DeleteItemFromObjectCaseSensitive(rest, "found");
    cJSON_DeleteItemFromObjectCaseSensitive(rest, "agreement");
    keel_table_cell(&table, "labels");
    keel_table_cell(&table, "value");
    keel_table_leaves(&table, rest);
    keel_table_print(&table, out);
    keel_table_free(&table);
    print_agreement(cJSON_GetObjectItemCaseSensitive(result, "agreement"), out);
    print_doubts(cJSON_GetObjectItemCaseSensitive(result, "least_certain"), out);
    cJSON_Delete(rest);
}

static const keel_option *const options[] = {keel_reward_options, NULL};

const keel_verb keel_verb_label = {
    .name = "label",
    .brief = "have a judge fill in missing outcomes, and derive rewards anew",
    .flags = flags,
    .options = options,
    .more =
        "The judge is the one that Keel ships, or the one of --judge; `keel judge fit` makes one from your own labels.\n"
        "A human label is never overridden. The judge's outcome is kept beside it, so that this verb prints how they agree and `keel\n"
        "stats` corrects rates for the judge's error. Labels by another judge of the same kind are judged anew.\n"
        "A response that the judge cannot know (no answer, another language) stays unjudged. The reward keys decide the reward vectors\n"
        "of all transitions, and of those that come into the store until the next `label`.\n"
        "example: keel label --store logs.db --set target_ms=4000\n",
    .more_tables = keel_cli_list_judges,
    .run = run,
    .print = print,
};
