/* keel replay: logged conversations turn by turn, beside what the policy would do.
 *
 *  1. Opens the store, the policy with its base (with --diff a second one), and the split or one
 * conversation.
 *  2. At each decision that passes the filters asks the policy and compares its choice with the logged one.
 *  3. Lists decisions (with --disagree or --diff only those that differ), the first or, with --random, any
 *     --limit of them; counts all.
 *  4. Keeps the shown ones in the store's table `replays`, where it may be written.
 */
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/progress.h"
#include "envs/replay.h"
#include "experiments/cli_resources.h"
#include "experiments/eval_config.h"
#include "experiments/replay_filter.h"
#include "experiments/replay_nearest.h"
#include "experiments/replay_read.h"
#include "experiments/report/report.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "policies/policy_internal.h"
#include "rl/judge/compare.h"
#include "rl/learn/derive.h"

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--policy", "DIR", true, false, "the policy that is asked"},
    {"--base", "DIR", false, false, "its base (default: the folder beside it that holds it)"},
    {"--diff", "DIR", false, false, "a second policy: shows where the two differ, and which earns more"},
    {"--diff-base", "DIR", false, false, "its base (default: the folder beside it that holds it)"},
    {"--confidence", "C", false, false,
     "with --diff: of the interval of what the two earn apart (default: 0.95)"},
    {"--weights", "A,S,S", false, false, KEEL_WEIGHTS_HELP},
    KEEL_FLAG_THRESHOLD,
    KEEL_FLAG_UNFAMILIAR,
    {"--split", "NAME", false, false, "whose conversations (default: test)"},
    {"--conversation", "ID", false, false, "one conversation, by its id in the log (or source:id)"},
    {"--disagree", NULL, false, false, "only decisions where the policy would act differently"},
    KEEL_REPLAY_FILTER_FLAGS,
    {"--limit", "N", false, false, "how many decisions are shown (default: 20); all are counted"},
    {"--random", NULL, false, false, "show decisions drawn at random instead of the first"},
    KEEL_FLAG_SEED,
    {"--format", "NAME", false, false,
     "text (default), json (as --json), or html: a page that opens from disk, on standard output"},
    {"--detail", NULL, false, false,
     "every candidate with its numbers, texts at full length, and the nearest decisions that were learned from"},
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

static const char *const formats[] = {"text", "json", "html", NULL};
enum { TEXT, JSON, HTML };
static const keel_flag_choices choices[] = {{"--format", formats}, {NULL, NULL}};

enum { FIRST, SECOND, N_ASKED };

/* A decision that is shown; the walk's number of it, for their order. */
typedef struct pick {
    int64_t id, number;
    keel_replay_seat seat; /* with the JSON of it */
} pick;

typedef struct replaying {
    keel_store *store;
    keel_policy *policy[N_ASKED]; /* the second NULL without --diff */
    keel_base *base[N_ASKED];
    keel_env *env;
    keel_replay_filter filter;
    keel_reward_config rewards;
    keel_eval_config measure;
    keel_compare *compare;            /* NULL without --diff */
    double confidence;                /* of its interval */
    bool disagree_only, random, near; /* near: the nearest decisions of training are looked for */
    keel_rng rng;
    int64_t limit, seen, differing, untold, open, apart, matching, shown;
    pick *picks; /* [limit] */
    keel_pool *pool;
    keel_replay_round round; /* of the conversations at hand */
} replaying;

/* What a policy does at a decision. */
typedef struct asked {
    keel_choice choice;
    keel_choice_verdict verdict;
    keel_answer answer;
    const char *says;
} asked;

/* ---- decisions ---- */

static keel_status ask(const replaying *work, size_t who, const keel_reward_view *view, size_t place,
                       const keel_features *features, keel_arena *scratch, asked *out, keel_err *err) {
    const keel_conversation *conversation = view->conversation;
    const keel_decision *decision = &conversation->decisions[place];
    const keel_base *base = work->base[who];
    KEEL_TRY(keel_policy_decide_at(work->policy[who], base, conversation, place, features, scratch,
                                   &out->choice, err));
    out->verdict = keel_choice_view_compare(base, decision, &out->choice);
    out->answer = keel_answer_of_action(view, base, work->policy[who], place, out->choice.chosen);
    out->says = keel_choice_view_says(base, decision, out->choice.chosen);
    return KEEL_OK;
}

static void add_second(const replaying *work, const keel_decision *decision, const asked *second,
                       cJSON *json) {
    keel_json_add(json, "other",
                  keel_choice_view_action(work->policy[SECOND], work->base[SECOND], decision, &second->choice,
                                          second->choice.chosen));
}

/* Place for one more: the next, or that of one that is given up; NULL if it is not shown. */
static pick *place_for(replaying *work) {
    if (work->shown < work->limit) return &work->picks[work->shown++];
    if (!work->random) return NULL;
    uint64_t at =
        keel_rng_below(&work->rng, (uint64_t)work->matching); /* reservoir sampling: Vitter 1985, R */
    if (at >= (uint64_t)work->limit) return NULL;
    cJSON_Delete(work->picks[at].seat.json);
    work->picks[at].seat.json = NULL;
    return &work->picks[at];
}

static keel_status show(replaying *work, const keel_conversation *conversation, size_t place, const asked *by,
                        keel_arena *scratch, keel_err *err) {
    const keel_replayed replayed = {.policy = work->policy[FIRST],
                                    .base = work->base[FIRST],
                                    .conversation = conversation,
                                    .place = place,
                                    .choice = &by[FIRST].choice,
                                    .verdict = by[FIRST].verdict};
    work->matching++;
    pick *to = place_for(work);
    if (!to) return KEEL_OK;
    *to = (pick){.id = conversation->decisions[place].id, .number = work->seen};
    KEEL_TRY(keel_replay_view(&replayed, scratch, &to->seat.json, err));
    if (work->policy[SECOND]) add_second(work, &conversation->decisions[place], &by[SECOND], to->seat.json);
    to->seat.group = keel_conversation_group_hash(conversation);
    return work->near ? keel_base_place(work->base[FIRST], conversation, place, NULL, false, scratch,
                                        &to->seat.place, err)
                      : KEEL_OK;
}

static keel_status replay_decision(replaying *work, const keel_reward_view *view, size_t place,
                                   const keel_replay_seen *seen, keel_arena *scratch, asked by[N_ASKED],
                                   keel_err *err) {
    const bool two = work->policy[SECOND] != NULL;
    bool same = true;
    for (size_t who = 0; who < (two ? N_ASKED : 1); who++)
        KEEL_TRY(ask(work, who, view, place, &seen->features[who][place], scratch, &by[who], err));
    if (!keel_replay_filter_takes(&work->filter, &by[FIRST].answer, &by[FIRST].choice)) return KEEL_OK;
    work->seen++;
    work->differing += by[FIRST].verdict == KEEL_CHOICE_DIFFERS;
    work->untold += by[FIRST].verdict == KEEL_CHOICE_UNTOLD;
    work->open += by[FIRST].verdict == KEEL_CHOICE_OPEN;
    if (two) {
        const keel_answer both[2] = {by[FIRST].answer, by[SECOND].answer};
        same = strcmp(by[FIRST].says, by[SECOND].says) == 0;
        keel_compare_add(work->compare, view, both, same);
    }
    work->apart += !same;
    if ((work->disagree_only && by[FIRST].verdict != KEEL_CHOICE_DIFFERS) || (two && same)) return KEEL_OK;
    return show(work, view->conversation, place, by, scratch, err);
}

/* What the environment is told was answered: the chosen candidate, or one that stands for the chosen act. */
static size_t candidate_for(const replaying *work, const keel_decision *decision, size_t action) {
    size_t taken = 0;
    for (size_t c = 0; c < decision->n_candidates; c++) {
        if (keel_answer_action(work->base[FIRST], decision, c) == (int64_t)action) return c;
        if (decision->candidates[c].taken) taken = c;
    }
    return taken;
}

static keel_status replay_conversation(replaying *work, const keel_replay_seen *seen, keel_arena *scratch,
                                       keel_err *err) {
    const keel_conversation *conversation = seen->conversation;
    const keel_reward_view view = keel_reward_look(&work->rewards, conversation);
    keel_replay_load(work->env, conversation);
    KEEL_TRY(keel_env_reset(work->env, 0, err));
    for (size_t place = 0; place < conversation->n_decisions; place++) {
        const keel_decision *decision = &conversation->decisions[place];
        asked by[N_ASKED] = {0};
        bool can = keel_base_can_encode(work->base[FIRST], decision) &&
                   (!work->policy[SECOND] || keel_base_can_encode(work->base[SECOND], decision));
        if (!can) continue;
        keel_arena_reset(scratch);
        if (seen->asked[place]) KEEL_TRY(replay_decision(work, &view, place, seen, scratch, by, err));
        if (decision->n_candidates) /* it leaves out the others */
            KEEL_TRY(keel_env_step(work->env, candidate_for(work, decision, by[FIRST].choice.chosen), err));
    }
    return work->compare ? keel_compare_end_conversation(work->compare, err) : KEEL_OK;
}

/* ---- conversations ---- */

static keel_status replay_split(replaying *work, const keel_split *split, keel_err *err) {
    keel_replay_round *round = &work->round;
    keel_arena scratch = {0};
    keel_cursor *cursor;
    keel_progress progress;
    size_t done = 0;
    bool held = false;
    KEEL_TRY(keel_cursor_open(&cursor, work->store, split, KEEL_ORDER_STORED, err));
    keel_progress_start(&progress, "replay", 0);
    keel_status status = keel_store_hold(work->store, &held, err);
    do {
        if (status == KEEL_OK) status = keel_replay_read(round, cursor, err);
        for (size_t i = 0; i < round->n && status == KEEL_OK; i++) {
            status = replay_conversation(work, &round->seen[i], &scratch, err);
            keel_progress_step(&progress, ++done, NULL);
        }
    } while (status == KEEL_OK && round->n == KEEL_REPLAY_ROUND);
    keel_cursor_close(cursor);
    keel_store_release(work->store, held);
    keel_arena_free(&scratch);
    return status;
}

static keel_status replay_one(replaying *work, const char *name, keel_err *err) {
    keel_arena scratch = {0};
    int64_t id;
    KEEL_TRY(keel_store_find_conversation(work->store, name, &id, err));
    keel_status status = keel_replay_read_one(&work->round, id, err);
    if (status == KEEL_OK) status = replay_conversation(work, &work->round.seen[0], &scratch, err);
    keel_arena_free(&scratch);
    return status;
}

static keel_status replay_chosen(keel_cli *cli, replaying *work, keel_err *err) {
    const char *name = keel_cli_value(cli, "--conversation");
    keel_split split;
    if (name) return replay_one(work, name, err);
    KEEL_TRY(keel_cli_open_split(cli, work->store, "test", &split, err));
    return replay_split(work, &split, err);
}

/* ---- what comes out ---- */

static keel_status keep_decision(const replaying *work, const pick *of, keel_err *err) {
    keel_buf text = {0};
    const cJSON *at = keel_json_get(of->seat.json, "chosen");
    const cJSON *action =
        at ? cJSON_GetArrayItem(keel_json_get(of->seat.json, "actions"), at->valueint) : NULL;
    const cJSON *chosen = keel_json_get(action, "says");
    keel_status status = keel_json_print(of->seat.json, false, &text, err);
    if (status == KEEL_OK)
        status = keel_store_put_replay(work->store, work->policy[FIRST]->hash, of->id,
                                       cJSON_IsString(chosen) ? chosen->valuestring : "", text.data, err);
    keel_buf_free(&text);
    return status;
}

/* All that is shown, when the walk is over: nobody waits for the store during it. */
static keel_status keep_replays(const replaying *work, keel_err *err) {
    if (!keel_store_writable(work->store)) return KEEL_OK;
    KEEL_TRY(keel_store_begin(work->store, err));
    keel_status status = KEEL_OK;
    for (int64_t i = 0; i < work->shown && status == KEEL_OK; i++)
        status = keep_decision(work, &work->picks[i], err);
    if (status == KEEL_OK) status = keel_store_commit(work->store, err);
    if (status != KEEL_OK) keel_store_rollback(work->store);
    return status;
}

static int by_number(const void *a, const void *b) {
    const pick *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static keel_status compared_json(const replaying *work, cJSON *result, keel_err *err) {
    keel_compared found;
    KEEL_TRY(keel_compare_finish(work->compare, (size_t)work->measure.resamples, (uint64_t)work->measure.seed,
                                 work->confidence, &found, err));
    cJSON *json = cJSON_AddObjectToObject(result, "compared");
    cJSON_AddStringToObject(json, "other", work->policy[SECOND]->hash);
    cJSON_AddNumberToObject(json, "differing", (double)found.differing);
    cJSON_AddNumberToObject(json, "known", (double)found.known);
    keel_json_add(json, "composite_reward", keel_interval_json(&found.difference));
    cJSON_AddNumberToObject(json, "least", found.least);
    cJSON_AddNumberToObject(json, "most", found.most);
    return KEEL_OK;
}

/* Of the decisions that the policy learned from, as far as this store has them. */
static keel_status add_nearest(replaying *work, keel_err *err) {
    keel_split split;
    keel_replay_seat *seats = keel_calloc((size_t)work->shown + 1, sizeof *seats);
    if (!seats) return keel_nomem(err, "replay");
    for (int64_t i = 0; i < work->shown; i++) seats[i] = work->picks[i].seat;
    keel_status status = keel_split_parse(work->policy[FIRST]->split, &split, err);
    if (status == KEEL_OK)
        status = keel_replay_nearest(work->store, work->base[FIRST], &split, seats, (size_t)work->shown, err);
    keel_free(seats);
    return status;
}

static keel_status list_result(keel_cli *cli, replaying *work, keel_err *err) {
    cJSON *result = cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(result, "policy", work->policy[FIRST]->hash);
    cJSON *decisions = cJSON_AddArrayToObject(result, "decisions");
    qsort(work->picks, (size_t)work->shown, sizeof *work->picks, by_number);
    keel_status status = work->near ? add_nearest(work, err) : KEEL_OK;
    if (status == KEEL_OK) status = keep_replays(work, err);
    for (int64_t i = 0; i < work->shown; i++) {
        keel_json_add(decisions, NULL, work->picks[i].seat.json);
        work->picks[i].seat.json = NULL;
    }
    cJSON_AddNumberToObject(result, "seen", (double)work->seen);
    cJSON_AddNumberToObject(result, "differing", (double)work->differing);
    cJSON_AddNumberToObject(result, "untold", (double)work->untold);
    cJSON_AddNumberToObject(result, "open", (double)work->open);
    cJSON_AddNumberToObject(result, "matching", (double)work->matching);
    if (status == KEEL_OK && work->compare) status = compared_json(work, result, err);
    if (keel_cli_has(cli, "--detail")) cJSON_AddBoolToObject(result, "detail", true);
    if (keel_cli_has(cli, "--format"))
        cJSON_AddStringToObject(result, "format", keel_cli_value(cli, "--format"));
    return status == KEEL_OK ? keel_cli_check_result(cli, err) : status;
}

/* ---- running ---- */

static keel_status check_flags(const keel_cli *cli, keel_err *err) {
    int format = TEXT;
    KEEL_TRY(keel_cli_choice(cli, "--format", formats, &format, err));
    if (format == HTML && keel_cli_has(cli, "--json"))
        return keel_fail(err, KEEL_E_USAGE, "--json", "excludes --format html");
    if (keel_cli_has(cli, "--conversation") && keel_cli_has(cli, "--split"))
        return keel_fail(err, KEEL_E_USAGE, "--split", "excludes --conversation");
    if (keel_cli_has(cli, "--seed") && !keel_cli_has(cli, "--random"))
        return keel_fail(err, KEEL_E_USAGE, "--seed", "needs --random");
    if (keel_cli_has(cli, "--diff-base") && !keel_cli_has(cli, "--diff"))
        return keel_fail(err, KEEL_E_USAGE, "--diff-base", "needs --diff");
    if (keel_cli_has(cli, "--confidence") && !keel_cli_has(cli, "--diff"))
        return keel_fail(err, KEEL_E_USAGE, "--confidence", "needs --diff");
    return KEEL_OK;
}

static keel_status open_policies(keel_cli *cli, replaying *work, keel_err *err) {
    KEEL_TRY(keel_cli_open_chooser(cli, &work->policy[FIRST], &work->base[FIRST], err));
    work->confidence = 0.95;
    KEEL_TRY(keel_cli_share(cli, "--confidence", &work->confidence, err));
    if (!keel_cli_has(cli, "--diff")) return KEEL_OK;
    KEEL_TRY(keel_cli_open_policy(keel_cli_value(cli, "--diff"), keel_cli_value(cli, "--diff-base"),
                                  &work->policy[SECOND], &work->base[SECOND], err));
    return keel_compare_open(&work->compare, work->measure.weight, err);
}

static keel_status open_all(keel_cli *cli, replaying *work, keel_err *err) {
    int64_t seed = 1;
    work->limit = 20;
    work->disagree_only = keel_cli_has(cli, "--disagree");
    work->random = keel_cli_has(cli, "--random");
    KEEL_TRY(check_flags(cli, err));
    KEEL_TRY(keel_cli_integer(cli, "--limit", 1, 1000000, &work->limit, err));
    KEEL_TRY(keel_cli_integer(cli, "--seed", 0, 9007199254740991, &seed, err));
    KEEL_TRY(keel_replay_filter_open(&work->filter, cli, err));
    KEEL_TRY(keel_options_defaults(keel_eval_config_options, &work->measure, err));
    work->near = keel_cli_has(cli, "--detail") && work->limit <= KEEL_REPLAY_NEAREST_SEATS;
    work->rng = keel_rng_stream((uint64_t)seed, KEEL_STREAM_REPLAY, 0);
    work->picks = keel_arena_calloc(&cli->arena, (size_t)work->limit, sizeof *work->picks);
    if (!work->picks)
        return keel_fail(err, KEEL_E_NOMEM, "--limit", "no memory for %lld decisions",
                         (long long)work->limit);
    KEEL_TRY(keel_cli_open_store(cli, KEEL_STORE_EITHER, &work->store, err));
    KEEL_TRY(keel_derive_rewards(work->store, &work->rewards, err));
    KEEL_TRY(open_policies(cli, work, err));
    KEEL_TRY(keel_cli_open_pool(cli, &work->pool, err));
    work->round = (keel_replay_round){.store = work->store,
                                      .base = {work->base[FIRST], work->base[SECOND]},
                                      .filter = &work->filter,
                                      .pool = work->pool};
    return keel_replay_open(&work->env, err);
}

static void close_all(replaying *work) {
    for (int64_t i = 0; i < work->shown; i++) cJSON_Delete(work->picks[i].seat.json);
    keel_env_close(work->env);
    keel_replay_round_free(&work->round);
    keel_pool_close(work->pool);
    keel_compare_close(work->compare);
    for (size_t who = 0; who < N_ASKED; who++) {
        keel_policy_close(work->policy[who]);
        keel_base_close(work->base[who]);
    }
    keel_replay_filter_close(&work->filter);
    keel_store_close(work->store);
}

static keel_status run(keel_cli *cli, keel_err *err) {
    replaying work = {0};
    keel_status status = open_all(cli, &work, err);
    if (status == KEEL_OK) status = replay_chosen(cli, &work, err);
    if (status == KEEL_OK) status = list_result(cli, &work, err);
    close_all(&work);
    return status;
}

/* ---- for people ---- */

static void print_text(const cJSON *result, FILE *out) {
    const cJSON *decision;
    keel_buf summary = {0};
    cJSON_ArrayForEach (decision, keel_json_get(result, "decisions")) {
        keel_replay_view_print(decision, keel_json_get(result, "detail") != NULL, out);
        fputc('\n', out);
    }
    keel_replay_view_summary(result, &summary);
    if (!summary.failed) fputs(summary.data, out);
    keel_buf_free(&summary);
}

/* The whole in one piece: as JSON or as a page. */
static void print_whole(const cJSON *result, bool page, FILE *out) {
    keel_buf text = {0};
    keel_err err = {0};
    const keel_status status =
        page ? keel_report_replay_html(result, &text, &err) : keel_json_print(result, true, &text, &err);
    if (status == KEEL_OK)
        fwrite(text.data, 1, text.length, out);
    else
        fprintf(stderr, "keel replay: %s\n", err.message);
    keel_buf_free(&text);
}

static void print(const cJSON *result, FILE *out) {
    const cJSON *format = keel_json_get(result, "format");
    if (format && strcmp(format->valuestring, formats[TEXT]) != 0)
        print_whole(result, strcmp(format->valuestring, formats[HTML]) == 0, out);
    else
        print_text(result, out);
}

const keel_verb keel_verb_replay = {
    .name = "replay",
    .brief = "show logged conversations: what was answered, what the policy would answer, and why",
    .flags = flags,
    .choices = choices,
    .more =
        "Each decision is a transcript: what was said before, what the log answered, what the policy would answer, and why in one\n"
        "sentence. `words` are those that make the base take the request for dangerous, in log-odds. --detail adds Q of each reward\n"
        "component, the advantage over what the base would do, log-probabilities of base and policy, and the Shapley values of the\n"
        "choice, which sum to the difference of probabilities. Open decisions, which nobody answered, are answered too. Decisions that\n"
        "are shown are kept in the store's table replays, unless the store is read-only.\n"
        "example: keel replay --store logs.db --policy runs/policy --disagree --risk dangerous --limit 5\n",
    .run = run,
    .print = print,
};
