#include "experiments/search/search_plan.h"

#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "experiments/recipe_words.h"
#include "policies/artefact.h"

/* What is searched when nothing else is named: a base, a policy on it, its rates on conversations that
 * neither has seen. */
static const char *const standard_steps[] = {
    "sft",           "--base",        "builtin",     "--split", "train,rest:0/5",
    "--out",         "${out}/base",   "--",          "train",   "--base",
    "${out}/base",   "--algo",        "cql",         "--split", "train,rest:0/5",
    "--out",         "${out}/policy", "--",          "eval",    "--policy",
    "${out}/policy", "--base",        "${out}/base", "--split", "train,fold:0/5"};
static const char standard_goal[] = "eval.composite_reward";

/* ---- steps ---- */

static bool is_verb(const char *word) {
    for (size_t i = 0; keel_verbs[i]; ++i)
        if (strcmp(keel_verbs[i]->name, word) == 0) return true;
    return false;
}

static keel_status read_steps(keel_search_plan *plan, keel_err *err) {
    const keel_search_list *words = &plan->asked.words;
    const char *const add[] = {"--store", plan->asked.store};
    const size_t n_add = plan->asked.store ? 2 : 0;
    plan->path = "steps";
    if (words->n == 1 && !is_verb(words->items[0])) {
        plan->path = words->items[0];
        return keel_json_parse_file(words->items[0], &plan->recipe, err);
    }
    if (!plan->asked.store && words->n == 0) {
        keel_fail(err, KEEL_E_USAGE, "--store", "is missing: the store");
        return keel_hint(err, "give the logs, or a recipe, or the steps after --");
    }
    if (words->n) return keel_recipe_words_read(words->items, words->n, add, n_add, &plan->recipe, err);
    return keel_recipe_words_read(standard_steps, sizeof standard_steps / sizeof *standard_steps, add, n_add,
                                  &plan->recipe, err);
}

/* The steps with settings [n] in ${out}. */
static keel_status load(const keel_search_plan *plan, const char *const *settings, size_t n,
                        const char *out_dir, keel_recipe *out, keel_err *err) {
    const keel_recipe_places places = {
        .data = plan->asked.data, .out = out_dir, .settings = settings, .n_settings = n};
    return keel_recipe_read(out, plan->recipe, plan->path, &places, err);
}

/* ---- names ---- */

/* The steps of which a key may be, as "sft.seed, train.seed" into `owners`; *key: the last of them. */
static size_t find_owners(const keel_recipe *recipe, const char *name, keel_buf *owners, char *key,
                          size_t room) {
    size_t n = 0;
    for (size_t i = 0; i < recipe->n_steps; ++i) {
        if (!keel_recipe_step_takes(&recipe->steps[i], name, true)) continue;
        snprintf(key, room, "%s.%s", recipe->steps[i].name, name);
        keel_buf_format(owners, "%s%s", n++ ? ", " : "", key);
    }
    return n;
}

static bool names_any_step(const keel_recipe *recipe, const char *name) {
    for (size_t i = 0; i < recipe->n_steps; ++i)
        if (keel_recipe_setting_for(name, recipe->steps[i].name)) return true;
    return false;
}

/* "STEP.KEY" of a name that may be a KEY alone. */
static keel_status resolve(keel_search_plan *plan, const keel_recipe *recipe, const char *name,
                           const char **out, keel_err *err) {
    keel_buf owners = {0};
    char key[200] = "";
    if (names_any_step(recipe, name)) {
        *out = name;
        return KEEL_OK;
    }
    const size_t n = find_owners(recipe, name, &owners, key, sizeof key);
    keel_status status = KEEL_OK;
    if (n == 0) status = keel_fail(err, KEEL_E_USAGE, "--over", "no step takes \"%.80s\"", name);
    if (n == 0) keel_hint(err, "write STEP.FLAG or STEP.KEY; `keel VERB --help` lists what a step takes");
    if (n > 1) status = keel_fail(err, KEEL_E_USAGE, "--over", "\"%.60s\" is a key of several steps", name);
    if (n > 1) keel_hint(err, "say which: %.200s", owners.data ? owners.data : "");
    keel_buf_free(&owners);
    if (status == KEEL_OK && !(*out = keel_arena_strdup(&plan->arena, key))) return keel_nomem(err, "--over");
    return status;
}

static keel_status resolve_all(keel_search_plan *plan, const keel_recipe *recipe, keel_err *err) {
    for (size_t i = 0; i < plan->space.n; ++i)
        KEEL_TRY(resolve(plan, recipe, plan->space.dims[i].name, &plan->key[i], err));
    return plan->search.budget.name ? resolve(plan, recipe, plan->search.budget.name, &plan->budget_key, err)
                                    : KEEL_OK;
}

/* ---- the steps of a trial ---- */

static bool is_flag(const keel_recipe *recipe, const char *setting) {
    for (size_t i = 0; i < recipe->n_steps; ++i) {
        const char *key = keel_recipe_setting_for(setting, recipe->steps[i].name);
        char flag[100];
        if (key) snprintf(flag, sizeof flag, "--%s", key);
        if (key && keel_verb_has_flag(recipe->steps[i].verb, flag) &&
            !keel_recipe_is_named_key(recipe->steps[i].verb, key))
            return true;
    }
    return false;
}

/* Whether a step that the setting is for takes it beside the flags that it has. */
static bool is_taken(const keel_recipe *recipe, const char *setting) {
    bool any_name = false;
    for (size_t i = 0; i < recipe->n_steps; ++i) {
        const char *key = keel_recipe_setting_for(setting, recipe->steps[i].name);
        if (key && keel_recipe_step_takes(&recipe->steps[i], key, false)) return true;
        any_name = any_name || (key && keel_recipe_step_takes(&recipe->steps[i], key, true));
    }
    return !any_name; /* nobody takes it under any name: left to the recipe, which says so */
}

static keel_status push(keel_search_plan *into, const char **list, size_t *n, const char *key,
                        const char *value, keel_err *err) {
    keel_buf text = {0};
    keel_buf_format(&text, "%s=%s", key, value);
    list[*n] = text.failed ? NULL : keel_arena_strdup(&into->arena, text.data);
    keel_buf_free(&text);
    return list[(*n)++] ? KEEL_OK : keel_nomem(err, "search");
}

/* Flags first: which keys a step takes may hang on them. */
static keel_status add_values(const keel_search_plan *plan, keel_search_plan *into, const char *const *values,
                              const char *out_dir, const char **list, size_t *n, bool *taken, keel_err *err) {
    for (int flags = 1; flags >= 0; --flags) {
        keel_recipe recipe;
        keel_status status = load(plan, list, *n, out_dir, &recipe, err);
        for (size_t i = 0; i < plan->space.n && status == KEEL_OK; ++i) {
            const bool flag = is_flag(&recipe, plan->key[i]);
            if (flag != flags) continue;
            taken[i] = flag || is_taken(&recipe, plan->key[i]);
            if (taken[i]) status = push(into, list, n, plan->key[i], values[i], err);
        }
        keel_recipe_free(&recipe);
        if (status != KEEL_OK) return status;
    }
    return KEEL_OK;
}

keel_status keel_search_plan_taken(const keel_search_plan *plan, const char *const *values,
                                   bool taken[KEEL_SPACE_DIMS], keel_err *err) {
    const keel_search_list *own = &plan->asked.settings;
    keel_search_plan scratch = {0}; /* for its arena */
    const char **list = keel_arena_calloc(&scratch.arena, own->n + plan->space.n + 1, sizeof *list);
    size_t n = 0;
    for (size_t i = 0; list && i < own->n; ++i) list[n++] = own->items[i];
    const keel_status status = list
                                   ? add_values(plan, &scratch, values, plan->asked.out, list, &n, taken, err)
                                   : keel_nomem(err, "search");
    keel_arena_free(&scratch.arena);
    return status;
}

keel_status keel_search_plan_steps(const keel_search_plan *plan, const char *const *values,
                                   keel_optional budget, const keel_search_list *extra, const char *out_dir,
                                   keel_recipe *out, keel_err *err) {
    const keel_search_list *own = &plan->asked.settings;
    keel_search_plan scratch = {0}; /* for its arena */
    const size_t most = own->n + plan->space.n + 1 + (extra ? extra->n : 0);
    const char **list = keel_arena_calloc(&scratch.arena, most, sizeof *list);
    size_t n = 0;
    bool taken[KEEL_SPACE_DIMS];
    keel_status status = list ? KEEL_OK : keel_nomem(err, "search");
    *out = (keel_recipe){0};
    for (size_t i = 0; list && i < own->n; ++i) list[n++] = own->items[i];
    if (status == KEEL_OK) status = add_values(plan, &scratch, values, out_dir, list, &n, taken, err);
    if (status == KEEL_OK && budget.present) {
        keel_buf text = {0};
        keel_json_put_number(&text, budget.value);
        status = text.failed ? keel_nomem(err, "search")
                             : push(&scratch, list, &n, plan->budget_key, text.data, err);
        keel_buf_free(&text);
    }
    for (size_t i = 0; status == KEEL_OK && extra && i < extra->n; ++i) list[n++] = extra->items[i];
    if (status == KEEL_OK) status = load(plan, list, n, out_dir, out, err);
    keel_arena_free(&scratch.arena);
    return status;
}

size_t keel_search_plan_first(const keel_recipe *recipe, const keel_search_list *settings) {
    for (size_t i = 0; i < recipe->n_steps; ++i)
        for (size_t k = 0; k < settings->n; ++k)
            if (keel_recipe_setting_for(settings->items[k], recipe->steps[i].name)) return i;
    return recipe->n_steps;
}

/* ---- the plan ---- */

static keel_status read_space(keel_search_plan *plan, keel_err *err) {
    keel_space budget = {0};
    if (plan->asked.over.n == 0) {
        keel_fail(err, KEEL_E_USAGE, "--over", "is missing: what to vary");
        return keel_hint(err, "as --over train.alpha=log:0.01:1 or --over train.algo=cql,bc");
    }
    for (size_t i = 0; i < plan->asked.over.n; ++i)
        KEEL_TRY(keel_cli_blame(
            keel_space_add(&plan->space, plan->asked.over.items[i], &plan->arena, "--over", err), err));
    if (!plan->asked.budget) return KEEL_OK;
    KEEL_TRY(keel_cli_blame(keel_space_add(&budget, plan->asked.budget, &plan->arena, "--budget", err), err));
    plan->search.budget = budget.dims[0];
    if (budget.dims[0].kind != KEEL_DIMENSION_CHOICE && budget.dims[0].low > 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_USAGE, "--budget", "expected NAME=LOW:HIGH with LOW above 0");
}

static keel_status read_metrics(keel_search_plan *plan, const keel_recipe *recipe, keel_err *err) {
    const keel_search_asked *asked = &plan->asked;
    const char *goal = asked->maximise ? asked->maximise : asked->minimise;
    const char *where = asked->minimise ? "--minimise" : "--maximise";
    if (asked->maximise && asked->minimise)
        return keel_fail(err, KEEL_E_USAGE, "--minimise", "excludes --maximise");
    if (!goal && asked->words.n)
        return keel_fail(err, KEEL_E_USAGE, where, "is missing: the metric, or --minimise");
    plan->minimise = asked->minimise != NULL;
    KEEL_TRY(
        keel_search_metric_read(recipe, goal ? goal : standard_goal, &plan->arena, where, &plan->goal, err));
    if (asked->require.n > KEEL_SEARCH_REQUIRES)
        return keel_fail(err, KEEL_E_USAGE, "--require", "at most %d", (int)KEEL_SEARCH_REQUIRES);
    plan->search.n_requires = asked->require.n;
    for (size_t i = 0; i < asked->require.n; ++i)
        KEEL_TRY(keel_search_metric_require(recipe, asked->require.items[i], &plan->arena, &plan->require[i],
                                            err));
    return KEEL_OK;
}

static cJSON *list_json(const keel_search_list *list) {
    return list->n ? cJSON_CreateStringArray(list->items, (int)list->n) : cJSON_CreateArray();
}

/* Whether a step may change the logs: then the store's content says nothing of what trials were made from. */
static bool changes_logs(const keel_recipe *recipe) {
    static const char *const verbs[] = {"import", "label", "judge", "review", "simulate", NULL};
    for (size_t i = 0; i < recipe->n_steps; ++i)
        for (size_t k = 0; verbs[k]; ++k)
            if (strcmp(recipe->steps[i].verb->name, verbs[k]) == 0) return true;
    return false;
}

/* All that the trials' results and their order hang on. */
static keel_status identify(keel_search_plan *plan, const keel_recipe *recipe, keel_err *err) {
    const keel_search_asked *asked = &plan->asked;
    const size_t lost = keel_json_lost();
    cJSON *json = plan->json = cJSON_CreateObject();
    keel_json_add(json, "steps", cJSON_Duplicate(plan->recipe, true));
    cJSON_AddStringToObject(json, "data", asked->data);
    keel_json_add(json, "set", list_json(&asked->settings));
    keel_json_add(json, "over", list_json(&asked->over));
    keel_json_add(json, "require", list_json(&asked->require));
    cJSON_AddStringToObject(json, plan->minimise ? "minimise" : "maximise", plan->goal.text);
    cJSON_AddStringToObject(json, "method", keel_search_methods[asked->method]);
    cJSON_AddNumberToObject(json, "seed", (double)asked->seed);
    if (asked->budget) {
        cJSON_AddStringToObject(json, "budget", asked->budget);
        cJSON_AddNumberToObject(json, "eta", asked->eta);
        cJSON_AddNumberToObject(json, "trials", (double)asked->trials);
    }
    cJSON_AddNumberToObject(json, "points", (double)asked->points);
    if (asked->content && !changes_logs(recipe)) cJSON_AddStringToObject(json, "content", asked->content);
    keel_json_add(json, "build", keel_build_info());
    if (keel_json_lost() != lost) return keel_nomem(err, "search");
    return keel_json_hash(json, plan->hash, err);
}

/* Which keys a step takes hangs on its flags: where none varies, what one trial does not take none takes. */
static keel_status check_taken(const keel_search_plan *plan, const keel_recipe *recipe,
                               const char *const *values, keel_err *err) {
    bool taken[KEEL_SPACE_DIMS];
    for (size_t i = 0; i < plan->space.n; ++i)
        if (is_flag(recipe, plan->key[i])) return KEEL_OK;
    KEEL_TRY(keel_search_plan_taken(plan, values, taken, err));
    for (size_t i = 0; i < plan->space.n; ++i) {
        if (taken[i]) continue;
        keel_fail(err, KEEL_E_USAGE, "--over", "no trial takes \"%.80s\" beside the step's other flags",
                  plan->key[i]);
        return keel_hint(err, "name what takes it, as --set sft.base=FOLDER or --set train.algo=NAME");
    }
    return KEEL_OK;
}

/* The steps with the first value of each range: what is wrong with them is said before any work. */
static keel_status try_first(keel_search_plan *plan, keel_err *err) {
    const char *values[KEEL_SPACE_DIMS];
    keel_search_list keys = {plan->key, plan->space.n};
    keel_recipe recipe;
    for (size_t i = 0; i < plan->space.n; ++i) {
        values[i] = keel_dimension_value(&plan->space.dims[i], 0, &plan->arena);
        if (!values[i]) return keel_nomem(err, "--over");
    }
    const keel_optional budget = {plan->budget_key != NULL, plan->search.budget.low};
    keel_status status =
        keel_search_plan_steps(plan, values, budget, &plan->asked.held_out, plan->asked.out, &recipe, err);
    if (status == KEEL_OK) status = check_taken(plan, &recipe, values, err);
    if (status == KEEL_OK) {
        plan->first = keel_search_plan_first(&recipe, &keys);
        const keel_search_list by_budget = {&plan->budget_key, plan->budget_key ? 1 : 0};
        const size_t other = keel_search_plan_first(&recipe, &by_budget);
        if (other < plan->first) plan->first = other;
    }
    keel_recipe_free(&recipe);
    return keel_cli_blame(status, err);
}

static keel_status lay_out(keel_search_plan *plan, const keel_recipe *recipe, keel_err *err) {
    if (recipe->n_steps == 0) return keel_fail(err, KEEL_E_USAGE, plan->path, "it has no step");
    KEEL_TRY(resolve_all(plan, recipe, err));
    KEEL_TRY(read_metrics(plan, recipe, err));
    KEEL_TRY(keel_cli_blame(keel_search_check(&plan->search, err), err));
    KEEL_TRY(try_first(plan, err));
    return identify(plan, recipe, err);
}

keel_status keel_search_plan_open(keel_search_plan *plan, const keel_search_asked *asked, keel_err *err) {
    keel_recipe recipe = {0};
    *plan = (keel_search_plan){.asked = *asked};
    plan->search = (keel_search){.space = &plan->space,
                                 .method = asked->method,
                                 .seed = asked->seed,
                                 .trials = asked->trials,
                                 .points = asked->points,
                                 .eta = asked->eta};
    KEEL_TRY(read_space(plan, err));
    KEEL_TRY(read_steps(plan, err));
    keel_status status =
        keel_cli_blame(load(plan, asked->settings.items, asked->settings.n, asked->out, &recipe, err), err);
    if (status == KEEL_OK) status = lay_out(plan, &recipe, err);
    keel_recipe_free(&recipe);
    return status;
}

void keel_search_plan_close(keel_search_plan *plan) {
    cJSON_Delete(plan->recipe);
    cJSON_Delete(plan->json);
    keel_arena_free(&plan->arena);
    *plan = (keel_search_plan){0};
}
