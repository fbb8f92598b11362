/* keel simulate: conversations of a simulated user with a behaviour, a policy or the base, into a store.
 *
 *  1. Opens who answers, the environment and the store.
 *  2. Plays the episodes that the store does not have yet, each with its own seed.
 *  3. Derives the rewards of the new conversations.
 *  4. Measures the rates of the answers, pass^k and, for several policies, the Pareto front; records the run.
 */
#include <string.h>

#include "core/file.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/progress.h"
#include "datasets/stratify.h"
#include "envs/env.h"
#include "experiments/cli_resources.h"
#include "experiments/eval_config.h"
#include "experiments/pareto_report.h"
#include "experiments/simulate_server.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "policies/policy_internal.h"
#include "rl/judge/rollout.h"
#include "rl/learn/derive.h"

enum { EPISODES_A_TRANSACTION = 250 };

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--env", "NAME|FILE", true, false, "support-desk, or a JSON file {\"env\": name, ...options}"},
    {"--behaviour", "NAME", false, false, "a logging behaviour answers (listed below)"},
    {"--policy", "DIR", false, true,
     "a trained policy answers; several, one after the other: a front of them"},
    {"--weights", "A,S,S", false, true, KEEL_WEIGHTS_HELP "; several: a front of them"},
    KEEL_FLAG_THRESHOLD,
    KEEL_FLAG_UNFAMILIAR,
    KEEL_FLAG_REFERENCE,
    {"--base", "DIR", false, false, "the policy's base; without --policy the base alone answers"},
    {"--server", "URL", false, false,
     "a `keel serve` chooses the answers, and hears at the end of a conversation what came of it"},
    {"--token-env", "NAME", false, false, "with --server: environment variable that holds its token"},
    {"--silent", NULL, false, false, "with --server: do not tell it what came of it"},
    {"--episodes", "N", true, false, "how many conversations"},
    {"--trials", "N", false, false, "N episodes in a row are trials of one task (default 1; see pass^k)"},
    {"--split", "NAME", false, false, "their split (default: of each risk 80 % train, 20 % test)"},
    KEEL_FLAG_SEED,
    KEEL_FLAG_END,
};

/* Who answers: a server, a behaviour, or a base with or without a policy on it, by weights of its own if some
 * are given. */
typedef struct actor {
    const keel_behaviour *behaviour;
    keel_policy *policy;
    const keel_base *base;
    const double *weights; /* or NULL */
    const keel_simulate_server *server;
    char name[120]; /* in external ids and as model: the behaviour's, or by the artefact's hash */
} actor;

/* All who answer, one after the other: each policy under each weighting. */
typedef struct cast {
    actor *actors;
    size_t n_actors;
    const char *const *dirs;
    keel_policy **policies;
    keel_base **bases;
    size_t n_policies, n_bases;
    keel_simulate_server server;
} cast;

static void cast_close(cast *all) {
    for (size_t i = 0; i < all->n_policies; i++) keel_policy_close(all->policies[i]);
    for (size_t i = 0; i < all->n_bases; i++) keel_base_close(all->bases[i]);
    keel_simulate_server_close(&all->server);
}

static keel_status find_behaviour(const char *name, actor *who, keel_err *err) {
    who->behaviour = keel_behaviour_find(name);
    if (who->behaviour) {
        snprintf(who->name, sizeof who->name, "%s", name);
        return KEEL_OK;
    }
    const char *names[33] = {0};
    keel_buf list = {0};
    for (size_t i = 0; i < 32 && keel_behaviours[i].name; i++) {
        names[i] = keel_behaviours[i].name;
        keel_buf_format(&list, "%s%s", i ? ", " : "", names[i]);
    }
    keel_fail(err, KEEL_E_USAGE, "--behaviour", "expected one of %s; got '%s'", list.data ? list.data : "",
              name);
    keel_buf_free(&list);
    const char *nearest = keel_nearest(name, names);
    return nearest ? keel_hint(err, "did you mean '%s'?", nearest) : KEEL_E_USAGE;
}

/* bounded: under a harm threshold that is not the policy's own. */
static void add_policy(cast *all, keel_policy *policy, bool bounded, const keel_base *base,
                       const double *weights) {
    actor *who = &all->actors[all->n_actors++];
    char by[16 * KEEL_N_REWARDS] = "", harm[24] = "";
    size_t length = 0;
    *who = (actor){.policy = policy, .base = base, .weights = weights};
    for (int k = 0; weights && k < KEEL_N_REWARDS; k++)
        length += (size_t)snprintf(by + length, sizeof by - length, "-%.6g", weights[k]);
    if (bounded) snprintf(harm, sizeof harm, "-harm%.6g", policy->harm_threshold);
    snprintf(who->name, sizeof who->name, "policy-%.12s%s%s", policy->hash, by, harm);
}

static keel_status open_policies(keel_cli *cli, cast *all, size_t count, keel_err *err) {
    double(*weights)[KEEL_N_REWARDS];
    size_t weightings;
    double reference[KEEL_N_OBJECTIVES]; /* said to be wrong before anything is played */
    const bool bounded = keel_cli_has(cli, "--harm-threshold");
    KEEL_TRY(keel_cli_open_weights(cli, &weights, &weightings, err));
    KEEL_TRY(keel_pareto_report_reference(cli, reference, err));
    all->policies = keel_arena_calloc(&cli->arena, count, sizeof *all->policies);
    all->bases = keel_arena_calloc(&cli->arena, count, sizeof *all->bases);
    all->actors = keel_arena_calloc(&cli->arena, count * (weightings + 1), sizeof *all->actors);
    if (!all->policies || !all->bases || !all->actors)
        return keel_fail(err, KEEL_E_NOMEM, "--policy", "for %zu policies", count);
    for (size_t i = 0; i < count; i++) {
        KEEL_TRY(keel_cli_open_policy(all->dirs[i], keel_cli_value(cli, "--base"), &all->policies[i],
                                      &all->bases[i], err));
        all->n_policies = all->n_bases = i + 1;
        KEEL_TRY(keel_cli_open_threshold(cli, all->policies[i], err));
        KEEL_TRY(keel_cli_open_unfamiliar(cli, all->policies[i], err));
        if (!weightings) add_policy(all, all->policies[i], bounded, all->bases[i], NULL);
        for (size_t w = 0; w < weightings; w++) {
            KEEL_TRY(keel_cli_blame(keel_policy_weigh(all->policies[i], weights[w], err), err));
            add_policy(all, all->policies[i], bounded, all->bases[i], weights[w]);
        }
    }
    return KEEL_OK;
}

static keel_status open_base(keel_cli *cli, const char *dir, cast *all, keel_err *err) {
    all->bases = keel_arena_calloc(&cli->arena, 1, sizeof *all->bases);
    if (!all->bases) return keel_fail(err, KEEL_E_NOMEM, "--base", "for one base");
    KEEL_TRY(keel_base_load(all->bases, dir, err));
    all->n_bases = 1;
    all->actors->base = all->bases[0];
    snprintf(all->actors->name, sizeof all->actors->name, "base-%.12s", all->bases[0]->hash);
    return KEEL_OK;
}

/* Nobody else answers. */
static keel_status open_server(keel_cli *cli, const char *url, cast *all, keel_err *err) {
    const char *variable = keel_cli_value(cli, "--token-env"), *token = NULL;
    for (const char *const *other = (const char *const[]){"--behaviour", "--policy", "--base", NULL}; *other;
         other++)
        if (keel_cli_has(cli, *other))
            return keel_fail(err, KEEL_E_USAGE, "--server", "excludes %s: one of them answers", *other);
    if (variable) KEEL_TRY(keel_http_client_key(variable, "--token-env", &token, err));
    all->actors = keel_arena_calloc(&cli->arena, 1, sizeof *all->actors);
    if (!all->actors) return keel_nomem(err, "--server");
    all->n_actors = 1;
    all->actors->server = &all->server;
    snprintf(all->actors->name, sizeof all->actors->name, "server");
    KEEL_TRY(keel_cli_blame(keel_simulate_server_open(&all->server, url, token, err), err));
    all->server.silent = keel_cli_has(cli, "--silent");
    return KEEL_OK;
}

static keel_status cast_open(keel_cli *cli, cast *all, keel_err *err) {
    const char *behaviour = keel_cli_value(cli, "--behaviour"), *base = keel_cli_value(cli, "--base");
    const char *server = keel_cli_value(cli, "--server");
    size_t policies;
    if (server) return open_server(cli, server, all, err);
    if (keel_cli_has(cli, "--token-env") || keel_cli_has(cli, "--silent"))
        return keel_fail(err, KEEL_E_USAGE, "--server", "is missing: --token-env and --silent go with it");
    KEEL_TRY(keel_cli_values(cli, "--policy", &all->dirs, &policies, err));
    if (behaviour && (policies || base))
        return keel_fail(err, KEEL_E_USAGE, "--behaviour",
                         "excludes --policy and --base: one of them answers");
    if (policies) return open_policies(cli, all, policies, err);
    if (keel_cli_has(cli, "--weights"))
        return keel_fail(err, KEEL_E_USAGE, "--weights", "expected --policy: nobody else decides by weights");
    if (keel_cli_has(cli, "--harm-threshold"))
        return keel_fail(err, KEEL_E_USAGE, "--harm-threshold",
                         "expected --policy: nobody else has a threshold");
    all->actors = keel_arena_calloc(&cli->arena, 1, sizeof *all->actors);
    if (!all->actors) return keel_fail(err, KEEL_E_NOMEM, NULL, "for one who answers");
    all->n_actors = 1;
    if (behaviour) return find_behaviour(behaviour, all->actors, err);
    if (base) return open_base(cli, base, all, err);
    keel_fail(err, KEEL_E_USAGE, NULL, "nobody answers");
    return keel_hint(err, "give --behaviour NAME, --policy DIR, --base DIR or --server URL");
}

/* ---- episodes ---- */

typedef struct simulation {
    keel_store *store;
    keel_env *env;
    const actor *who;
    const char *split; /* or NULL */
    char env_name[80];
    uint64_t seed, episodes, trials;
    size_t *successes; /* [episodes / trials] of each task */
    keel_reward_config rewards;
    int64_t added, known, transitions;
} simulation;

static keel_status play(const simulation *sim, const char *id, uint64_t episode, keel_arena *scratch,
                        const keel_conversation **out, keel_err *err) {
    if (sim->who->server)
        return keel_simulate_server_episode(sim->who->server, sim->env, id, episode, scratch, out, err);
    if (sim->who->behaviour)
        return keel_env_episode(sim->env, sim->who->behaviour, sim->seed, episode, out, err);
    return keel_rollout_episode(sim->env, sim->who->name, sim->who->policy, sim->who->base, episode, scratch,
                                out, err);
}

/* A server need not answer twice alike: what it has answered before stands. */
static keel_status find_played(simulation *sim, const char *id, keel_arena *scratch, keel_conversation **out,
                               keel_err *err) {
    char name[300];
    int64_t row;
    keel_err missing;
    *out = NULL;
    snprintf(name, sizeof name, "simulator:%s", id);
    const keel_status status = keel_store_find_conversation(sim->store, name, &row, &missing);
    if (status == KEEL_E_NOT_FOUND) return KEEL_OK;
    if (status != KEEL_OK && err) *err = missing;
    return status == KEEL_OK ? keel_store_conversation(sim->store, row, scratch, out, err) : status;
}

static keel_status add_episode(simulation *sim, uint64_t episode, keel_arena *scratch, keel_err *err) {
    const keel_conversation *played = NULL;
    char id[256];
    keel_added added;
    snprintf(id, sizeof id, "%s-%llu-%s-%llu", sim->env_name, (unsigned long long)sim->seed, sim->who->name,
             (unsigned long long)episode);
    if (sim->who->server) {
        keel_conversation *before;
        KEEL_TRY(find_played(sim, id, scratch, &before, err));
        if (before) {
            sim->successes[episode / sim->trials] += keel_env_success(before);
            sim->known++;
            return KEEL_OK;
        }
    }
    KEEL_TRY(play(sim, id, episode, scratch, &played, err));
    sim->successes[episode / sim->trials] += keel_env_success(played);
    keel_conversation conversation = *played; /* shallow: only names and ids change */
    conversation.external_id = id;
    conversation.split = sim->split;
    KEEL_TRY(keel_store_add_conversation(sim->store, &conversation, false, id, &added, err));
    if (added != KEEL_ADDED_NEW) {
        sim->known++;
        return KEEL_OK;
    }
    sim->added++;
    /* In the same transaction: an episode never stands without its transitions. */
    return keel_derive_added(sim->store, &conversation, &sim->rewards, scratch, &sim->transitions, err);
}

/* Episodes first .. last-1 in one transaction. */
static keel_status add_episodes(simulation *sim, uint64_t first, uint64_t last, keel_err *err) {
    keel_arena scratch = {0};
    KEEL_TRY(keel_store_begin(sim->store, err));
    keel_status status = keel_derive_settle_rewards(sim->store, &sim->rewards, err);
    for (uint64_t episode = first; episode < last && status == KEEL_OK; episode++) {
        keel_arena_reset(&scratch);
        status = keel_interrupted() ? keel_fail(err, KEEL_E_INTERRUPTED, NULL, "while simulating")
                                    : add_episode(sim, episode, &scratch, err);
    }
    if (status == KEEL_OK) status = keel_store_commit(sim->store, err);
    if (status != KEEL_OK) keel_store_rollback(sim->store);
    keel_arena_free(&scratch);
    return status;
}

static keel_status simulate(simulation *sim, keel_progress *progress, uint64_t before, keel_err *err) {
    keel_status status = KEEL_OK;
    if (sim->who->weights) KEEL_TRY(keel_policy_weigh(sim->who->policy, sim->who->weights, err));
    for (uint64_t first = 0; first < sim->episodes && status == KEEL_OK; first += EPISODES_A_TRANSACTION) {
        uint64_t last = first + EPISODES_A_TRANSACTION;
        if (last > sim->episodes) last = sim->episodes;
        status = add_episodes(sim, first, last, err);
        if (status == KEEL_OK) keel_progress_step(progress, before + last, NULL);
    }
    return status;
}

/* The same episodes for everybody: they are compared on common random numbers. */
static keel_status simulate_all(simulation *sim, const cast *all, keel_err *err) {
    keel_progress progress;
    keel_status status = KEEL_OK;
    uint64_t done = 0;
    keel_progress_start(&progress, "episodes", all->n_actors * sim->episodes);
    for (size_t i = 0; i < all->n_actors && status == KEEL_OK; i++) {
        sim->who = &all->actors[i];
        memset(sim->successes, 0, (size_t)(sim->episodes / sim->trials) * sizeof *sim->successes);
        status = simulate(sim, &progress, done, err);
        if (status == KEEL_OK) done += sim->episodes;
    }
    keel_progress_end(&progress, done);
    return status == KEEL_OK ? keel_stratify(sim->store, err) : status;
}

/* ---- the verb ---- */

/* "support-desk", and for a file the starts of its hash and of its domain's; then how many trials. Other
 * options, other episodes. */
static keel_status name_env(simulation *sim, const char *spec, keel_err *err) {
    const char *variant = sim->env->variant;
    char hex[65] = "", trials[24] = "";
    const bool file = keel_file_exists(spec) && !keel_file_is_folder(spec);
    if (file) KEEL_TRY(keel_file_hash(spec, hex, err));
    if (sim->trials > 1) snprintf(trials, sizeof trials, ".x%llu", (unsigned long long)sim->trials);
    snprintf(sim->env_name, sizeof sim->env_name, "%.20s%s%.8s%s%.8s%.14s", sim->env->kind->name,
             file ? "." : "", hex, variant ? "." : "", variant ? variant : "", trials);
    return KEEL_OK;
}

/* pass^1, and pass^2 and so on by doubling up to the number of trials, of the episodes played here. */
static void report_pass(cJSON *result, const simulation *sim) {
    cJSON *pass = cJSON_AddObjectToObject(result, "pass");
    for (uint64_t k = 1; k <= sim->trials; k *= 2) {
        char name[24];
        snprintf(name, sizeof name, "%llu", (unsigned long long)k);
        cJSON_AddNumberToObject(pass, name,
                                keel_env_pass(sim->successes, (size_t)(sim->episodes / sim->trials),
                                              (size_t)sim->trials, (size_t)k));
    }
}

static const keel_evaluation *find_measured(const keel_evaluation_set *set, const char *name) {
    for (size_t i = 0; i < set->n_models; i++)
        if (strcmp(set->models[i].name, name) == 0) return &set->models[i];
    return &set->logged; /* nobody else answers in the store */
}

/* Each one's answers in the whole split. */
static keel_status report_front(keel_cli *cli, const cast *all, const keel_evaluation_set *set,
                                keel_err *err) {
    cJSON *front = cJSON_AddObjectToObject(cli->result, "front");
    KEEL_TRY(keel_pareto_report_begin(cli, front, all->dirs, all->n_policies, err));
    for (size_t i = 0; i < all->n_actors; i++) {
        const actor *who = &all->actors[i];
        if (who->weights) KEEL_TRY(keel_policy_weigh(who->policy, who->weights, err));
        keel_pareto_report_add(front, who->policy,
                               keel_eval_config_metrics_json(find_measured(set, who->name)));
    }
    return keel_pareto_report_end(front, err);
}

static keel_status report(keel_cli *cli, const simulation *sim, const cast *all, keel_err *err) {
    keel_split split;
    keel_evaluation_set set = {0};
    keel_status status = KEEL_OK;
    KEEL_TRY(keel_split_parse(sim->split ? sim->split : "all", &split, err));
    KEEL_TRY(keel_eval_config_evaluate_logged(sim->store, &split, &set, err));
    cli->result = cJSON_CreateObject();
    if (all->n_actors == 1) cJSON_AddStringToObject(cli->result, "actor", sim->who->name);
    cJSON_AddNumberToObject(cli->result, "episodes", (double)sim->episodes);
    if (all->n_actors == 1) {
        report_pass(cli->result, sim);
        keel_json_add(cli->result, "metrics", keel_eval_config_metrics_json(&set.logged));
    } else {
        status = report_front(cli, all, &set, err);
    }
    keel_evaluation_set_free(&set);
    cli->told = cJSON_CreateObject();
    cJSON_AddNumberToObject(cli->told, "added", (double)sim->added);
    cJSON_AddNumberToObject(cli->told, "known", (double)sim->known);
    cJSON_AddNumberToObject(cli->told, "transitions", (double)sim->transitions);
    return status == KEEL_OK ? keel_record_run(cli, sim->store, err) : status;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    cast all = {0};
    simulation sim = {.split = keel_cli_value(cli, "--split")};
    int64_t seed = 1, episodes = 0, trials = 1;
    const char *env = keel_cli_value(cli, "--env");
    keel_status status;
    if (sim.split) KEEL_TRY(keel_cli_blame(keel_split_check_name(sim.split, "--split", err), err));
    KEEL_TRY(keel_cli_integer(cli, "--seed", 0, INT64_MAX, &seed, err));
    KEEL_TRY(keel_cli_integer(cli, "--episodes", 1, 1000000000, &episodes, err));
    KEEL_TRY(keel_cli_integer(cli, "--trials", 1, 1000, &trials, err));
    if (episodes % trials)
        return keel_fail(err, KEEL_E_USAGE, "--episodes", "expected a multiple of the %lld trials, got %lld",
                         (long long)trials, (long long)episodes);
    sim.seed = (uint64_t)seed;
    sim.episodes = (uint64_t)episodes;
    sim.trials = (uint64_t)trials;
    KEEL_TRY_GOTO(cast_open(cli, &all, err), done);
    KEEL_TRY_GOTO(keel_env_open(&sim.env, env, sim.seed, err), done);
    sim.env->trials = sim.trials;
    sim.successes = keel_calloc((size_t)(sim.episodes / sim.trials), sizeof *sim.successes);
    if (!sim.successes) {
        status = keel_fail(err, KEEL_E_NOMEM, "--episodes", "out of memory to count successes");
        goto done;
    }
    KEEL_TRY_GOTO(name_env(&sim, env, err), done);
    KEEL_TRY_GOTO(keel_cli_open_store(cli, KEEL_STORE_CREATE, &sim.store, err), done);
    KEEL_TRY_GOTO(simulate_all(&sim, &all, err), done);
    status = report(cli, &sim, &all, err);
done:
    keel_free(sim.successes);
    keel_store_close(sim.store);
    keel_env_close(sim.env);
    cast_close(&all);
    return status;
}

static void print(const cJSON *result, FILE *out) {
    keel_table table = {.columns = 2};
    const cJSON *item;
    keel_table_cell(&table, "simulated");
    keel_table_cell(&table, "value");
    cJSON_ArrayForEach (item, result) {
        if (cJSON_IsObject(item)) continue;
        keel_table_cell(&table, "%s", item->string);
        if (cJSON_IsString(item))
            keel_table_cell(&table, "%s", item->valuestring);
        else
            keel_table_cell(&table, "%.0f", item->valuedouble);
    }
    cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(result, "pass")) {
        keel_table_cell(&table, "pass^%s", item->string);
        keel_table_cell(&table, "%.3f", item->valuedouble);
    }
    cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(result, "metrics")) {
        keel_table_cell(&table, "%s", item->string);
        keel_table_interval(&table, item);
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
    const cJSON *front = cJSON_GetObjectItemCaseSensitive(result, "front");
    if (front) fputc('\n', out), keel_pareto_report_print(front, out);
}

static void list_behaviours(FILE *out) {
    fputs("\nbehaviours:\n", out);
    for (const keel_behaviour *row = keel_behaviours; row->name; row++)
        fprintf(out, "  %-14s %s\n", row->name, row->help);
}

const keel_verb keel_verb_simulate = {
    .name = "simulate",
    .brief = "have a dialogue simulator write logs into a store",
    .flags = flags,
    .more =
        "Options of the support desk: dangerous and borderline (shares), noise, patience, max_turns, text, and domain: a JSON file\n"
        "beside the environment's file that describes another desk (docs/format.md), or a schema of the SGD data.\n"
        "Episodes are named by environment, seed, who answers and number. Asking for more adds the rest, and an interrupted run\n"
        "continues. With --server the store is the application's own; the server keeps another.\n"
        "The rates are those of the whole split. pass^k covers the episodes asked for: the chance that k trials of a task all succeed\n"
        "(a dangerous one: refused, and never complied with). Several policies or weightings play the same episodes, and each has the\n"
        "rates of its own answers.\n"
        "example: keel simulate --store logs.db --env support-desk --behaviour support-82 --episodes 3000\n",
    .more_tables = list_behaviours,
    .run = run,
    .print = print,
};
