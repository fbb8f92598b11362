#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "envs/env.h"
#include "experiments/derive.h"
#include "experiments/measure.h"
#include "experiments/open.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "rl/rollout.h"

enum { EPISODES_A_TRANSACTION = 250 };

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--env", "NAME|FILE", true, false, "support-desk, or a JSON file {\"env\": name, ...options}"},
    {"--behaviour", "NAME", false, false, "a logging behaviour answers (listed below)"},
    {"--policy", "DIR", false, false, "a trained policy answers"},
    {"--base", "DIR", false, false, "the policy's base; without --policy the base alone answers"},
    {"--episodes", "N", true, false, "how many conversations"},
    {"--trials", "N", false, false,
     "so many episodes in a row are trials of one task (default 1; see pass^k)"},
    {"--split", "NAME", false, false, "their split (default: 80 % train, 20 % test)"},
    KEEL_FLAG_SEED,
    KEEL_FLAG_END,
};

/* Who answers: a behaviour, or a base with or without a policy on it. */
typedef struct actor {
    const keel_behaviour *behaviour;
    keel_policy *policy;
    keel_base *base;
    char name[80]; /* in external ids: the behaviour's name, or the artefact's short hash */
} actor;

static void actor_close(actor *who) {
    keel_policy_close(who->policy);
    keel_base_close(who->base);
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

static keel_status actor_open(const keel_cli *cli, actor *who, keel_err *err) {
    const char *behaviour = keel_cli_value(cli, "--behaviour");
    const char *policy = keel_cli_value(cli, "--policy"), *base = keel_cli_value(cli, "--base");
    if (behaviour && (policy || base))
        return keel_fail(err, KEEL_E_USAGE, "--behaviour",
                         "excludes --policy and --base: one of them answers");
    if (behaviour) return find_behaviour(behaviour, who, err);
    if (policy) {
        KEEL_TRY(keel_open_policy(policy, base, &who->policy, &who->base, err));
        snprintf(who->name, sizeof who->name, "policy-%.12s", who->policy->hash);
        return KEEL_OK;
    }
    if (!base) {
        keel_fail(err, KEEL_E_USAGE, NULL, "nobody answers");
        return keel_hint(err, "give --behaviour NAME, --policy DIR or --base DIR");
    }
    KEEL_TRY(keel_base_load(&who->base, base, err));
    snprintf(who->name, sizeof who->name, "base-%.12s", who->base->hash);
    return KEEL_OK;
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

static keel_status play(const simulation *sim, uint64_t episode, keel_arena *scratch,
                        const keel_conversation **out, keel_err *err) {
    if (sim->who->behaviour)
        return keel_env_episode(sim->env, sim->who->behaviour, sim->seed, episode, out, err);
    return keel_rollout_episode(sim->env, sim->who->policy, sim->who->base, episode, scratch, out, err);
}

static keel_status add_episode(simulation *sim, uint64_t episode, keel_arena *scratch, keel_err *err) {
    const keel_conversation *played = NULL;
    char id[256];
    keel_added added;
    snprintf(id, sizeof id, "%s-%llu-%s-%llu", sim->env_name, (unsigned long long)sim->seed, sim->who->name,
             (unsigned long long)episode);
    KEEL_TRY(play(sim, episode, scratch, &played, err));
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
    keel_status status = KEEL_OK;
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

static keel_status simulate(simulation *sim, keel_err *err) {
    keel_progress progress;
    keel_status status = KEEL_OK;
    uint64_t done = 0;
    keel_progress_start(&progress, "episodes", sim->episodes);
    for (uint64_t first = 0; first < sim->episodes && status == KEEL_OK; first += EPISODES_A_TRANSACTION) {
        uint64_t last = first + EPISODES_A_TRANSACTION;
        if (last > sim->episodes) last = sim->episodes;
        status = add_episodes(sim, first, last, err);
        if (status == KEEL_OK) keel_progress_step(&progress, done = last, NULL);
    }
    keel_progress_end(&progress, done);
    return status;
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

static keel_status report(keel_cli *cli, const simulation *sim, keel_err *err) {
    keel_split split;
    cJSON *metrics = NULL;
    KEEL_TRY(keel_split_parse(sim->split ? sim->split : "all", &split, err));
    KEEL_TRY(keel_measure_logged(sim->store, &split, &metrics, err));
    cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(cli->result, "actor", sim->who->name);
    cJSON_AddNumberToObject(cli->result, "episodes", (double)sim->episodes);
    report_pass(cli->result, sim);
    keel_json_add(cli->result, "metrics", metrics);
    cli->told = cJSON_CreateObject();
    cJSON_AddNumberToObject(cli->told, "added", (double)sim->added);
    cJSON_AddNumberToObject(cli->told, "known", (double)sim->known);
    cJSON_AddNumberToObject(cli->told, "transitions", (double)sim->transitions);
    return keel_record_run(cli, sim->store, err);
}

static keel_status run(keel_cli *cli, keel_err *err) {
    actor who = {0};
    simulation sim = {.who = &who, .split = keel_cli_value(cli, "--split")};
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
    KEEL_TRY_GOTO(actor_open(cli, &who, err), done);
    KEEL_TRY_GOTO(keel_env_open(&sim.env, env, sim.seed, err), done);
    sim.env->trials = sim.trials;
    sim.successes = keel_calloc((size_t)(sim.episodes / sim.trials), sizeof *sim.successes);
    if (!sim.successes) {
        status = keel_fail(err, KEEL_E_NOMEM, "--episodes", "out of memory to count successes");
        goto done;
    }
    KEEL_TRY_GOTO(name_env(&sim, env, err), done);
    KEEL_TRY_GOTO(keel_open_store(cli, KEEL_STORE_CREATE, &sim.store, err), done);
    KEEL_TRY_GOTO(keel_derive_rewards(sim.store, &sim.rewards, err), done);
    KEEL_TRY_GOTO(simulate(&sim, err), done);
    status = report(cli, &sim, err);
done:
    keel_free(sim.successes);
    keel_store_close(sim.store);
    keel_env_close(sim.env);
    actor_close(&who);
    return status;
}

static void print(const cJSON *result, FILE *out) {
    keel_table table = {.columns = 2};
    const cJSON *item;
    keel_table_cell(&table, "simulated");
    keel_table_cell(&table, "value");
    cJSON_ArrayForEach(item, result) {
        if (cJSON_IsObject(item)) continue;
        keel_table_cell(&table, "%s", item->string);
        if (cJSON_IsString(item))
            keel_table_cell(&table, "%s", item->valuestring);
        else
            keel_table_cell(&table, "%.0f", item->valuedouble);
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(result, "pass")) {
        keel_table_cell(&table, "pass^%s", item->string);
        keel_table_cell(&table, "%.3f", item->valuedouble);
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(result, "metrics")) {
        keel_table_cell(&table, "%s", item->string);
        keel_table_interval(&table, item);
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
}

static void list_behaviours(FILE *out) {
    fputs("\nbehaviours:\n", out);
    for (const keel_behaviour *row = keel_behaviours; row->name; row++)
        fprintf(out, "  %-14s %s\n", row->name, row->help);
}

const keel_verb keel_verb_simulate = {
    .name = "simulate",
    .brief = "a dialogue simulator writes logs into a store",
    .flags = flags,
    .more =
        "Options of the support desk: dangerous and borderline (shares), noise, patience, max_turns, text, "
        "and domain:\n"
        "a JSON file of its own (envs/domain.h) or a schema of the SGD data, beside the environment's file.\n"
        "Episodes are named by environment, seed, who answers and number: asking again for more adds the "
        "rest, and an interrupted run\n"
        "goes on. Rates printed are those of the whole split; pass^k, over the episodes asked for, is the "
        "chance that k trials of a task\n"
        "all succeed (a dangerous one: refused, and never complied with).\n"
        "example: keel simulate --store logs.db --env support-desk --behaviour support-82 --episodes 3000\n",
    .more_tables = list_behaviours,
    .run = run,
    .print = print,
};
