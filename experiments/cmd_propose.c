/* keel propose: a base writes candidates.
 *
 *  1. Opens the base, or a decoder as it came, and the store with its split.
 *  2. At each decision: N texts by sampling, and one for each instruction; new ones go into the store.
 *  3. Records the run, prints counts.
 */
#include <string.h>

#include "core/json.h"
#include "core/text.h"
#include "experiments/cli_propose.h"
#include "experiments/cli_resources.h"
#include "experiments/verbs.h"
#include "policies/propose_store.h"
#include "rl/learn/derive.h"

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--base", "PATH", true, false,
     "what writes: the folder of a base that can, or a decoder (a folder, or a .gguf file)"},
    {"--split", "NAME", false, false, "at which decisions (default: all)"},
    {"--name", "NAME", false, false,
     "the model that they stand under in the store (default: the name of the folder or file)"},
    KEEL_FLAGS_PROPOSE,
    {"--say", NULL, false, false,
     "the first text of a decision that nobody answered counts as said: what the model would do alone"},
    KEEL_FLAG_SEED,
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

/* "runs/smollm2/" -> "smollm2"; "models/SmolLM2.gguf" -> "SmolLM2" */
static const char *name_of(keel_cli *cli, const char *path) {
    char *name = keel_arena_strdup(&cli->arena, path), *slash, *dot;
    for (size_t n = name ? strlen(name) : 0; n > 1 && name[n - 1] == '/'; n--) name[n - 1] = 0;
    if (!name) return NULL;
    slash = strrchr(name, '/');
    if (slash && slash[1]) name = slash + 1;
    dot = strrchr(name, '.');
    if (dot && dot > name && strcmp(dot, ".gguf") == 0) *dot = 0;
    return name;
}

static void put(keel_cli *cli, const char *name, size_t value) {
    cJSON_AddNumberToObject(cli->result, name, (double)value);
}

static keel_status tell(keel_cli *cli, const keel_propose_job *job, const keel_propose_counts *counts,
                        keel_err *err) {
    cli->result = cJSON_CreateObject();
    if (!cli->result) return keel_nomem(err, "propose");
    cJSON_AddStringToObject(cli->result, "model", job->model);
    cJSON_AddStringToObject(cli->result, "base", job->base->hash);
    put(cli, "decisions", counts->decisions);
    put(cli, "decisions_done_before", counts->there);
    put(cli, "candidates", counts->added);
    put(cli, "repeated", counts->repeated);
    put(cli, "empty", counts->empty);
    put(cli, "cut", counts->cut);
    put(cli, "said", counts->said);
    return keel_record_run(cli, job->store, err);
}

/* What was said is a transition. */
static keel_status derive(void *context, int64_t conversation, keel_err *err) {
    keel_store *store = context;
    keel_reward_config rewards;
    keel_arena arena = {0};
    int64_t transitions = 0;
    keel_status status = keel_derive_settle_rewards(store, &rewards, err);
    if (status == KEEL_OK)
        status = keel_derive_conversation(store, conversation, &rewards, &arena, &transitions, err);
    keel_arena_free(&arena);
    return status;
}

static keel_status propose(keel_cli *cli, keel_propose_job *job, keel_pool *pool, keel_err *err) {
    const char *path = keel_cli_value(cli, "--base");
    keel_propose_counts counts;
    keel_split split;
    keel_base *base = NULL;
    keel_propose_ask ask;
    KEEL_TRY(keel_cli_read_propose(cli, &ask, err));
    KEEL_TRY(keel_cli_check_propose(&ask, err));
    KEEL_TRY(keel_cli_open_split(cli, job->store, "all", &split, err));
    KEEL_TRY(keel_base_open(&base, path, err));
    job->base = base;
    job->split = &split;
    job->n = ask.n;
    job->instruction = ask.instruction;
    job->n_instructions = ask.n_instructions;
    job->how = ask.how;
    job->says = keel_cli_has(cli, "--say");
    job->said = derive;
    job->context = job->store;
    job->how.pool = pool;
    job->model = keel_cli_value(cli, "--name");
    if (!job->model) job->model = name_of(cli, path);
    if (job->model && keel_utf8_valid_prefix(job->model, strlen(job->model)) != strlen(job->model)) {
        keel_base_close(base);
        return keel_fail(err, KEEL_E_USAGE, "--name", "expected UTF-8 text");
    }
    keel_status status = job->model ? keel_propose_store(job, &counts, err) : keel_nomem(err, "propose");
    if (status == KEEL_OK) status = tell(cli, job, &counts, err);
    keel_base_close(base);
    return status;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    keel_propose_job job = {0};
    keel_pool *pool = NULL;
    keel_status status;
    KEEL_TRY_GOTO(keel_cli_open_store(cli, KEEL_STORE_WRITE, &job.store, err), done);
    KEEL_TRY_GOTO(keel_cli_open_pool(cli, &pool, err), done);
    status = propose(cli, &job, pool, err);
done:
    keel_pool_close(pool);
    keel_store_close(job.store);
    return status;
}

static double number(const cJSON *result, const char *name) {
    return keel_json_get(result, name)->valuedouble;
}

static void print(const cJSON *result, FILE *out) {
    const double added = number(result, "candidates"), decisions = number(result, "decisions"),
                 before = number(result, "decisions_done_before"), cut = number(result, "cut"),
                 said = number(result, "said");
    fprintf(out, "%s wrote %.0f candidates at %.0f decisions (%.0f of them cut at --max-tokens)\n",
            keel_json_get(result, "model")->valuestring, added, decisions, cut);
    fprintf(out, "left out: %.0f that were there already, %.0f without a word; done before: %.0f decisions\n",
            number(result, "repeated"), number(result, "empty"), before);
    if (said > 0) fprintf(out, "counts as said: the first text of %.0f decisions\n", said);
    if (decisions == 0 && before == 0)
        fputs("hint: the split has no decision: import logs in which a user says something\n", out);
    else if (decisions == 0)
        fputs("hint: texts under another --name stand beside those that are there\n", out);
    if (2 * cut > added) fputs("hint: most texts are cut: give a larger --max-tokens\n", out);
    if (added > 0 || said > 0)
        fputs("next: keel label, which judges them and works out what they earn\n", out);
}

const keel_verb keel_verb_propose = {
    .name = "propose",
    .brief = "have a decoder write candidates at the decisions of a store",
    .flags = flags,
    .more =
        "The texts stand beside the logged responses, as a source model of the name --name, and count as said only with --say. `keel\n"
        "label` judges them, and a policy over candidates chooses among all. Each text depends on the decision, its place and --seed\n"
        "alone. A decision that has texts under the name is left as it is, so the same command continues an interrupted run.\n"
        "example: keel propose --store logs.db --base smollm2 --n 4 --told \"Refuse politely.\"\n",
    .run = run,
    .print = print,
};
