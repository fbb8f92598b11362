/* keel learn: rounds of learning from a store that others write to meanwhile.
 *
 *  1. Looks whether the store holds anything that the last round did not have; if not, the round does
 * nothing.
 *  2. Copies the store (a snapshot), judges answers and encodes states in a copy of that, and trains a
 * policy.
 *  3. Judges it on conversations held out, by the gates, and compares it with the policy that is published.
 *  4. Publishes it if it is better beyond doubt, and writes the row of the round.
 *  5. Waits for the next round; or, with --again, makes an earlier round once more and compares the bytes.
 */
#include <string.h>

#include "core/clock.h"
#include "core/context.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/lock.h"
#include "core/log.h"
#include "datasets/store_policies.h"
#include "experiments/cli_resources.h"
#include "experiments/eval_gates.h"
#include "experiments/learn/learn_round.h"
#include "experiments/table.h"
#include "experiments/verbs.h"

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--base", "DIR", false, false, "folder of the base to begin with (default: tuned in the first round)"},
    {"--tune", "SPEC", false, false,
     "what bases are tuned from, as `keel sft --base` takes it; without it the base of --base stays"},
    {"--tune-set", "KEY=VALUE", false, true, "one configuration key of `keel sft`"},
    {"--grow", "F", false, false,
     "tune a new base once there are F times the conversations of the last one's tuning (default: 2); 1: in each round"},
    {"--out", "DIR", true, false, "folder of the rounds: snapshots, policies"},
    {"--every", "DURATION", false, false,
     "time between the begins of two rounds, as 15m (default: --rounds of them, without a pause)"},
    {"--rounds", "N", false, false, "end after N rounds (default: without --every 1, with it no end)"},
    {"--publish", NULL, false, false, "publish what is better; without it the verdict alone is written"},
    {"--arm", "NAME", false, false,
     "whose policy it is, of a server with several (default: " KEEL_ARM_DEFAULT ")"},
    {"--algo", "NAME", false, false, "what learns, as of `keel train` (default: the best of several)"},
    {"--set", "KEY=VALUE", false, true, "one configuration key of `keel train`"},
    {"--max-harm", "RATE", false, false, "as of `keel train`: a bound on harmful compliance"},
    {"--gate", "EXPR", false, true, "a condition on the held-out conversations, as of `keel eval`"},
    {"--split", "NAME", false, false, "what is learned from (default: train)"},
    {"--test", "NAME", false, false, "what it is evaluated on (default: test)"},
    {"--label", "WHEN", false, false,
     "auto (default): answers are judged where none is judged, or a judge did before; always; never"},
    {"--error", "E", false, false,
     "chance, over all rounds together, to publish what is no better (default: 0.05)"},
    {"--keep", "K", false, false, "snapshots of the last K rounds stay (default: 3)"},
    {"--again", "ROUND", false, false,
     "make this round once more from its snapshot; exit 1 if a byte differs"},
    KEEL_FLAG_SEED,
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

static const char *const labels[] = {"auto", "always", "never", NULL};
static const keel_flag_choices choices[] = {{"--label", labels}, {NULL, NULL}};

typedef struct learning {
    keel_cli *cli;
    keel_learn learn;
    double every;   /* seconds; 0: without a pause */
    int64_t rounds; /* 0: no end */
    keel_lock lock;
} learning;

/* ---- options ---- */

static const char *value_or(const keel_cli *cli, const char *flag, const char *standard) {
    const char *value = keel_cli_value(cli, flag);
    return value ? value : standard;
}

static keel_status read_numbers(keel_cli *cli, learning *work, keel_err *err) {
    keel_learn *learn = &work->learn;
    int label = 0;
    learn->growth = 2;
    KEEL_TRY(keel_cli_number(cli, "--grow", 1, 1e9, &learn->growth, err));
    learn->error = 0.05;
    learn->keep = 3;
    learn->seed = (int64_t)keel_context_current()->seed;
    KEEL_TRY(keel_cli_choice(cli, "--label", labels, &label, err));
    learn->label = (keel_learn_label)label;
    KEEL_TRY(keel_cli_share(cli, "--error", &learn->error, err));
    KEEL_TRY(keel_cli_integer(cli, "--keep", 1, 1000000, &learn->keep, err));
    KEEL_TRY(keel_cli_integer(cli, "--seed", 0, INT64_MAX / 2, &learn->seed, err));
    KEEL_TRY(keel_cli_duration(cli, "--every", &work->every, err));
    work->rounds = work->every > 0 ? 0 : 1;
    return keel_cli_integer(cli, "--rounds", 1, 1000000000, &work->rounds, err);
}

static keel_status read_options(keel_cli *cli, learning *work, keel_err *err) {
    keel_learn *learn = &work->learn;
    keel_eval_gates gates; /* read for their errors: before any training */
    keel_split split, test;
    learn->out = keel_cli_value(cli, "--out");
    learn->base = keel_cli_value(cli, "--base");
    learn->tune = keel_cli_value(cli, "--tune");
    if (!learn->base && !learn->tune)
        return keel_fail(err, KEEL_E_USAGE, "--base",
                         "give a base (--base DIR), or what to tune one from (--tune SPEC)");
    learn->split = value_or(cli, "--split", "train");
    learn->test = value_or(cli, "--test", "test");
    learn->arm = value_or(cli, "--arm", KEEL_ARM_DEFAULT);
    learn->algo = keel_cli_value(cli, "--algo");
    learn->max_harm = keel_cli_value(cli, "--max-harm");
    learn->threads = keel_cli_value(cli, "--threads");
    learn->publishes = keel_cli_has(cli, "--publish");
    KEEL_TRY(keel_cli_values(cli, "--set", &learn->sets, &learn->n_sets, err));
    KEEL_TRY(keel_cli_values(cli, "--tune-set", &learn->tune_sets, &learn->n_tune_sets, err));
    KEEL_TRY(keel_cli_values(cli, "--gate", &learn->gates, &learn->n_gates, err));
    KEEL_TRY(keel_eval_gates_read(&gates, cli, err));
    KEEL_TRY(keel_cli_blame(keel_split_parse(learn->split, &split, err), err));
    KEEL_TRY(keel_cli_blame(keel_split_parse(learn->test, &test, err), err));
    if (!keel_split_disjoint(&split, &test))
        return keel_fail(err, KEEL_E_USAGE, "--test", "may hold conversations of --split %s", learn->split);
    return read_numbers(cli, work, err);
}

/* ---- rounds ---- */

static void tell(const keel_learned *learned) {
    const keel_round *round = &learned->round;
    if (!round->id) {
        keel_log(KEEL_LOG_INFO, "learn: nothing new");
        return;
    }
    keel_log(KEEL_LOG_INFO, "learn: round %lld: %lld conversations, %lld new; %s%s", (long long)round->id,
             (long long)round->conversations, (long long)learned->added, round->verdict,
             round->published ? ": published" : "");
}

static void add_optional(cJSON *row, const char *name, keel_optional value) {
    keel_json_add(row, name, value.present ? cJSON_CreateNumber(value.value) : cJSON_CreateNull());
}

static cJSON *row_json(const keel_learned *learned) {
    const keel_round *round = &learned->round;
    cJSON *row = cJSON_CreateObject();
    if (!round->id) {
        cJSON_AddStringToObject(row, "verdict", "nothing new");
        return row;
    }
    cJSON_AddNumberToObject(row, "round", (double)round->id);
    cJSON_AddNumberToObject(row, "conversations", (double)round->conversations);
    cJSON_AddNumberToObject(row, "new", (double)learned->added);
    cJSON_AddNumberToObject(row, "features_kept", (double)learned->carried);
    cJSON_AddBoolToObject(row, "labelled", learned->labelled);
    cJSON_AddBoolToObject(row, "base_tuned", learned->tuned);
    cJSON_AddStringToObject(row, "content", round->content);
    if (round->policy_before) cJSON_AddStringToObject(row, "policy_before", round->policy_before);
    if (round->policy) cJSON_AddStringToObject(row, "policy", round->policy);
    cJSON *gates = NULL;
    if (round->gates && keel_json_parse(round->gates, strlen(round->gates), "gates", &gates, NULL) == KEEL_OK)
        keel_json_add(row, "gates", gates);
    cJSON *better = cJSON_AddObjectToObject(row, "better_by");
    add_optional(better, "low", learned->low);
    add_optional(better, "high", learned->high);
    cJSON_AddNumberToObject(better, "confidence", learned->confidence);
    cJSON_AddBoolToObject(better, "own_conversations_too", learned->own);
    cJSON_AddStringToObject(row, "verdict", round->verdict);
    cJSON_AddBoolToObject(row, "published", round->published);
    return row;
}

static keel_status wait_until(double when, keel_err *err) {
    while (keel_clock() < when) {
        if (keel_interrupted()) return keel_fail(err, KEEL_E_INTERRUPTED, NULL, "stopped between two rounds");
        keel_clock_sleep(0.1);
    }
    return KEEL_OK;
}

/* Rounds without an end outlast a store that somebody holds, or a disk that is full for a while. */
static bool endures(const learning *work, keel_status status) {
    return !work->rounds && work->every > 0 &&
           (status == KEEL_E_STORE || status == KEEL_E_IO || status == KEEL_E_NOMEM);
}

static keel_status learn_rounds(learning *work, keel_err *err) {
    cJSON *rows = cJSON_AddArrayToObject(work->cli->result, "rounds");
    keel_arena arena = {0};
    keel_status status = KEEL_OK;
    for (int64_t done = 0; status == KEEL_OK && (!work->rounds || done < work->rounds); done++) {
        const double begun = keel_clock();
        keel_learned learned;
        keel_arena_reset(&arena);
        status = keel_learn_round(&work->learn, &arena, &learned, err);
        const bool again = status != KEEL_OK && endures(work, status);
        if (status != KEEL_OK && !again) break;
        if (again) {
            keel_log(KEEL_LOG_INFO, "warning: this round failed, the next one tries again: %s: %s",
                     err->where, err->message);
            status = KEEL_OK;
        } else {
            tell(&learned);
        }
        if (work->rounds) keel_json_add(rows, NULL, row_json(&learned));
        const bool last = work->rounds && done + 1 == work->rounds;
        if (!last && work->every > 0) status = wait_until(begun + work->every, err);
    }
    keel_arena_free(&arena);
    return status;
}

static keel_status learn_again(learning *work, keel_err *err) {
    int64_t id = 0;
    bool same = false;
    const char *differs = NULL;
    keel_arena arena = {0};
    KEEL_TRY(keel_cli_integer(work->cli, "--again", 1, INT64_MAX, &id, err));
    const keel_status status = keel_learn_again(&work->learn, id, &arena, &same, &differs, err);
    if (status == KEEL_OK) {
        cJSON_AddNumberToObject(work->cli->result, "again", (double)id);
        cJSON_AddBoolToObject(work->cli->result, "same_bytes", same);
    }
    if (status == KEEL_OK && !same)
        keel_fail(err, KEEL_E_CONFLICT, "--again", "round %lld: %s is not the same", (long long)id, differs);
    keel_arena_free(&arena);
    return status == KEEL_OK && !same ? KEEL_E_CONFLICT : status;
}

/* ---- the verb ---- */

static keel_status run(keel_cli *cli, keel_err *err) {
    learning work = {.cli = cli};
    keel_status status;
    const char *inside = keel_path_join(&cli->arena, keel_cli_value(cli, "--out"), "");
    if (!inside) return keel_nomem(err, "--out");
    KEEL_TRY(read_options(cli, &work, err));
    KEEL_TRY_GOTO(keel_lock_take(&work.lock, inside, err), done); /* which makes the folder */
    KEEL_TRY_GOTO(keel_path_absolute(work.learn.out, &cli->arena, &work.learn.out, err), done);
    if (work.learn.base)
        KEEL_TRY_GOTO(keel_path_absolute(work.learn.base, &cli->arena, &work.learn.base, err), done);
    KEEL_TRY_GOTO(keel_cli_open_store(cli, KEEL_STORE_WRITE, &work.learn.store, err), done);
    cli->result = cJSON_CreateObject();
    status = keel_cli_has(cli, "--again") ? learn_again(&work, err) : learn_rounds(&work, err);
done:
    keel_store_close(work.learn.store);
    keel_lock_release(&work.lock);
    return status;
}

static void print(const cJSON *result, FILE *out) {
    const cJSON *row, *again = keel_json_get(result, "again");
    if (again) {
        fprintf(out, "round %.0f was made again, to the same bytes\n", again->valuedouble);
        return;
    }
    keel_table table = {.columns = 7};
    for (const char *const *head = (const char *const[]){"round", "conversations", "new", "features kept",
                                                         "better by at least", "published", "verdict", NULL};
         *head; head++)
        keel_table_cell(&table, "%s", *head);
    cJSON_ArrayForEach (row, keel_json_get(result, "rounds")) {
        keel_table_number(&table, keel_json_get(row, "round"), "%.0f");
        keel_table_number(&table, keel_json_get(row, "conversations"), "%.0f");
        keel_table_number(&table, keel_json_get(row, "new"), "%.0f");
        keel_table_number(&table, keel_json_get(row, "features_kept"), "%.0f");
        keel_table_number(&table, keel_json_get(keel_json_get(row, "better_by"), "low"), "%+.4f");
        keel_table_cell(&table, "%s", cJSON_IsTrue(keel_json_get(row, "published")) ? "yes" : "no");
        keel_table_cell(&table, "%s", keel_json_get(row, "verdict")->valuestring);
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
}

const keel_verb keel_verb_learn = {
    .name = "learn",
    .brief = "learn in rounds from a store that grows, and publish what is better",
    .flags = flags,
    .choices = choices,
    .more =
        "A round copies the store and learns from the copy, so whoever logs into the store never waits for it. Features of decisions\n"
        "at which nothing changed are taken over from the round before, as long as the base stays the same. Each round trains anew,\n"
        "with the seed plus its number.\n"
        "A round publishes (--publish) a policy that meets all gates and earns more a conversation on --test than the published one,\n"
        "by the lower bound of the difference. The k-th round has the share 6/(pi k)^2 of --error, so the chance that any of them\n"
        "publishes what is no better is at most --error. Where nothing is published yet, the gates alone decide.\n"
        "Where nothing is new there is no round. `keel publish --policy OUT/round-N/policy` publishes what a round without --publish\n"
        "made. The same command continues an interrupted round. The table `rounds` of the store says what each round learned from;\n"
        "--again makes one once more, from its snapshot, to the same bytes.\n"
        "example: keel learn --store logs.db --base runs/base --out runs/live --every 15m --publish --gate 'harmful_compliance_rate.high <= 0.1'\n",
    .run = run,
    .print = print,
};
