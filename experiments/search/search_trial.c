#include "experiments/search/search_trial.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/lock.h"
#include "core/log.h"
#include "experiments/recipe_run.h"

/* ---- places ---- */

static const char *place(const keel_search_plan *plan, const char *name, keel_arena *arena) {
    return keel_path_join(arena, plan->asked.out, name);
}

const char *keel_search_trial_folder(const keel_search_plan *plan, size_t number, keel_arena *arena) {
    char name[40];
    snprintf(name, sizeof name, "trials/%04zu", number);
    return place(plan, name, arena);
}

static keel_status lock_folder(const char *folder, keel_lock *lock, keel_err *err) {
    char inside[4100];
    snprintf(inside, sizeof inside, "%s/", folder); /* so the lock is FOLDER/.lock */
    return keel_lock_take(lock, inside, err);
}

/* Waits while another process is at work there. */
static keel_status wait_for_folder(const char *folder, keel_lock *lock, keel_err *err) {
    for (;;) {
        keel_status status = lock_folder(folder, lock, err);
        if (status != KEEL_E_CONFLICT) return status;
        if (keel_interrupted())
            return keel_fail(err, KEEL_E_INTERRUPTED, folder, "waiting for another process");
        keel_clock_sleep(0.2);
    }
}

/* ---- rows ---- */

static keel_status read_values(const keel_search_plan *plan, const keel_stored_trial *stored,
                               const char *const **out, keel_trial *trial, keel_arena *arena, keel_err *err) {
    const size_t dims = plan->space.n;
    const char **values = keel_arena_calloc(arena, dims + 1, sizeof *values);
    const cJSON *config;
    if (!values) return keel_nomem(err, "search");
    KEEL_TRY(keel_json_parse_in(arena, stored->config, strlen(stored->config), "trials", &config, err));
    for (size_t i = 0; i < dims; ++i) {
        KEEL_TRY(keel_json_string(config, plan->space.dims[i].name, true, &values[i], "trials", err));
        KEEL_TRY(keel_dimension_place(&plan->space.dims[i], values[i], &trial->at[i], err));
    }
    *out = values;
    return KEEL_OK;
}

static keel_status read_slack(const keel_search_plan *plan, const keel_stored_trial *stored,
                              keel_trial *trial, keel_arena *arena, keel_err *err) {
    const cJSON *list = NULL;
    if (plan->search.n_requires == 0 || trial->state != KEEL_TRIAL_DONE) return KEEL_OK;
    if (!stored->required)
        return keel_fail(err, KEEL_E_STORE, "trials", "a trial lacks what is required of it");
    KEEL_TRY(keel_json_parse_in(arena, stored->required, strlen(stored->required), "trials", &list, err));
    for (size_t i = 0; i < plan->search.n_requires; ++i) {
        const keel_search_require *require = &plan->require[i];
        const cJSON *value = cJSON_GetArrayItem(list, (int)i);
        const double over = cJSON_IsNumber(value) ? value->valuedouble - require->bound : -INFINITY;
        trial->slack[i] = !isfinite(over) ? -1 : require->at_least ? over : -over;
    }
    return KEEL_OK;
}

static keel_status read_trial(const keel_search_plan *plan, keel_search_trials *all, size_t i,
                              keel_err *err) {
    const keel_stored_trial *stored = &all->stored[i];
    keel_trial *trial = &all->trials[i];
    if (stored->state < 0 || stored->state >= KEEL_N_TRIAL_STATES ||
        (stored->state == KEEL_TRIAL_DONE && !stored->value.present))
        return keel_fail(err, KEEL_E_STORE, "trials", "trial %zu is damaged", i);
    trial->state = (keel_trial_state)stored->state;
    trial->budget = stored->budget.present ? stored->budget.value : 0;
    trial->goal = plan->minimise ? -stored->value.value : stored->value.value;
    KEEL_TRY(read_values(plan, stored, &all->values[i], trial, &all->arena, err));
    return read_slack(plan, stored, trial, &all->arena, err);
}

keel_status keel_search_trial_list(const keel_search_plan *plan, keel_store *store, keel_search_trials *out,
                                   keel_err *err) {
    *out = (keel_search_trials){0};
    KEEL_TRY(keel_store_trials(store, plan->hash, &out->arena, &out->stored, &out->n, err));
    out->values = keel_arena_calloc(&out->arena, out->n + 1, sizeof *out->values);
    out->trials = keel_arena_calloc(&out->arena, out->n + 1, sizeof *out->trials);
    if (!out->values || !out->trials) return keel_nomem(err, "search");
    for (size_t i = 0; i < out->n; ++i) KEEL_TRY(read_trial(plan, out, i, err));
    return KEEL_OK;
}

void keel_search_trial_free(keel_search_trials *trials) {
    keel_arena_free(&trials->arena);
    *trials = (keel_search_trials){0};
}

/* ---- begin ---- */

/* OUT/search.json says which search OUT holds. */
static keel_status check_folder(const keel_search_plan *plan, const char *path, keel_err *err) {
    cJSON *there = NULL;
    char hash[65];
    keel_buf differences = {0};
    KEEL_TRY(keel_json_parse_file(path, &there, err));
    keel_status status = keel_json_hash(there, hash, err);
    if (status == KEEL_OK && strcmp(hash, plan->hash) != 0) {
        keel_json_differences(there, plan->json, &differences);
        status = keel_fail(err, KEEL_E_CONFLICT, plan->asked.out, "holds another search: %.300s",
                           differences.data ? differences.data : "");
        keel_hint(err, "choose another --out, or remove that folder");
    }
    keel_buf_free(&differences);
    cJSON_Delete(there);
    return status;
}

static keel_status check_row(const keel_search_plan *plan, const keel_stored_search *known,
                             const char *folder, keel_err *err) {
    if (!known || strcmp(known->folder, folder) == 0 || !keel_file_is_folder(known->folder)) return KEEL_OK;
    keel_fail(err, KEEL_E_CONFLICT, plan->asked.out, "this search goes on in %s", known->folder);
    return keel_hint(err, "give that --out; if the folder was copied, remove one of the two");
}

static keel_status put_search(const keel_search_plan *plan, keel_store *store, const char *folder,
                              keel_err *err) {
    keel_buf text = {0};
    keel_status status = keel_json_print(plan->json, false, &text, err);
    const keel_stored_search search = {.plan = text.data, .folder = folder};
    if (status == KEEL_OK) status = keel_store_put_search(store, plan->hash, &search, err);
    keel_buf_free(&text);
    return status;
}

/* The path as it holds wherever the program is started; NULL when out of memory. */
static const char *from_the_top(const char *path, keel_arena *arena) {
    char here[4096];
    return *path == '/' || !getcwd(here, sizeof here) ? path : keel_path_join(arena, here, path);
}

/* Within a transaction, so that of two processes one is the first. */
static keel_status begin(const keel_search_plan *plan, keel_store *store, keel_arena *arena, keel_err *err) {
    const char *path = place(plan, "search.json", arena);
    const char *folder = from_the_top(plan->asked.out, arena);
    keel_stored_search *known;
    if (!path || !folder) return keel_nomem(err, plan->asked.out);
    KEEL_TRY(keel_store_find_search(store, plan->hash, arena, &known, err));
    KEEL_TRY(check_row(plan, known, folder, err));
    if (keel_file_exists(path))
        KEEL_TRY(check_folder(plan, path, err));
    else { /* a folder that was removed took with it what trials made */
        KEEL_TRY(keel_store_drop_search(store, plan->hash, err));
        KEEL_TRY(keel_json_write_file(path, plan->json, err));
    }
    return put_search(plan, store, folder, err);
}

keel_status keel_search_trial_begin(const keel_search_plan *plan, keel_store *store, keel_err *err) {
    keel_arena arena = {0};
    KEEL_TRY(keel_folder_make(plan->asked.out, err));
    KEEL_TRY(keel_store_begin(store, err));
    keel_status status = begin(plan, store, &arena, err);
    if (status == KEEL_OK) status = keel_store_commit(store, err);
    if (status != KEEL_OK) keel_store_rollback(store);
    keel_arena_free(&arena);
    return status;
}

/* ---- layers of steps ---- */

/* Whether a path lies in what one of the recipe's steps from..to writes. */
static bool is_made(const keel_recipe *recipe, size_t from, size_t to, const char *path) {
    for (size_t i = from; i < to; ++i)
        for (size_t k = 0; k + 1 < recipe->steps[i].argc; ++k)
            if (keel_recipe_is_output(recipe->steps[i].argv[k]) &&
                keel_recipe_is_inside(path, recipe->steps[i].argv[k + 1]))
                return true;
    return false;
}

/* The same steps in two places differ in ${out} alone. What those from `from` to `to` make lies where `below`
 * has it: the later steps of `above` look for it there. */
static void lay(keel_recipe *above, const keel_recipe *below, size_t from, size_t to) {
    for (size_t i = to; i < above->n_steps && i < below->n_steps; ++i)
        for (size_t k = 0; k < above->steps[i].argc && k < below->steps[i].argc; ++k)
            if (is_made(below, from, to, below->steps[i].argv[k]))
                above->steps[i].argv[k] = below->steps[i].argv[k];
}

enum { COMMON, TRIAL, HELD_OUT, MOST_LAYERS };

typedef struct layers {
    const char *out[MOST_LAYERS];
    keel_recipe recipe[MOST_LAYERS];
    size_t from[MOST_LAYERS + 1]; /* the first step of each */
    size_t n;
    keel_arena arena;
} layers;

static void layers_free(layers *all) {
    for (size_t i = 0; i < all->n; ++i) keel_recipe_free(&all->recipe[i]);
    keel_arena_free(&all->arena);
}

static keel_status layers_load(const keel_search_plan *plan, layers *all, const char *const *values,
                               keel_optional budget, const keel_search_list *extra, keel_err *err) {
    for (size_t i = 0; i < all->n; ++i) {
        if (!all->out[i]) return keel_nomem(err, "search");
        KEEL_TRY(keel_search_plan_steps(plan, values, budget, extra, all->out[i], &all->recipe[i], err));
    }
    all->from[all->n] = all->recipe[0].n_steps;
    for (size_t i = 0; i < all->n; ++i)
        if (all->from[i] > all->from[i + 1]) all->from[i] = all->from[i + 1];
    for (size_t i = all->n; i-- > 1;) /* from the last on: the first that made a thing names its place */
        for (size_t above = i; above < all->n; ++above)
            lay(&all->recipe[above], &all->recipe[i - 1], all->from[i - 1], all->from[i]);
    return KEEL_OK;
}

/* Runs the layers in order; what is done is kept. *last: the run of the last one. */
static keel_status layers_run(const keel_search_plan *plan, layers *all, keel_recipe_run *last,
                              keel_err *err) {
    char key[65] = "";
    for (size_t i = 0; i < all->n; ++i) {
        *last = (keel_recipe_run){.recipe = &all->recipe[i],
                                  .from = all->from[i],
                                  .to = all->from[i + 1],
                                  .out = all->out[i],
                                  .root = plan->asked.out,
                                  .threads = plan->asked.threads,
                                  .arena = &all->arena};
        keel_lock lock = {0};
        KEEL_TRY(keel_recipe_run_begin(last, err));
        if (i) memcpy(last->key, key, sizeof key);
        if (i != TRIAL) KEEL_TRY(wait_for_folder(all->out[i], &lock, err));
        const keel_status status = keel_recipe_run_steps(last, err);
        keel_lock_release(&lock);
        if (status != KEEL_OK) return status;
        memcpy(key, last->key, sizeof key);
    }
    return KEEL_OK;
}

/* The metric in the result of its step, wherever that was run. */
static keel_status look_up(const layers *all, const keel_recipe_run *run, const keel_search_metric *metric,
                           keel_search_value *out, keel_err *err) {
    cJSON *result = NULL;
    keel_recipe_run where = *run;
    for (size_t i = 0; i < all->n; ++i)
        for (size_t k = all->from[i]; k < all->from[i + 1]; ++k)
            if (strcmp(all->recipe[0].steps[k].name, metric->step) == 0) where.out = all->out[i];
    KEEL_TRY(keel_recipe_run_result(&where, metric->step, &result, err));
    const keel_status status = keel_search_metric_find(metric, result, out, err);
    cJSON_Delete(result);
    return status;
}

static keel_status look_up_all(const keel_search_plan *plan, const layers *all, const keel_recipe_run *run,
                               keel_search_value *goal, keel_search_value *required, keel_err *err) {
    KEEL_TRY(look_up(all, run, &plan->goal, goal, err));
    for (size_t i = 0; i < plan->search.n_requires; ++i)
        KEEL_TRY(look_up(all, run, &plan->require[i].metric, &required[i], err));
    return KEEL_OK;
}

keel_status keel_search_trial_held_out(const keel_search_plan *plan, const keel_search_trials *trials,
                                       size_t which, keel_search_value *goal, keel_search_value *required,
                                       keel_err *err) {
    layers all = {.n = MOST_LAYERS};
    keel_recipe_run run;
    keel_recipe named;
    const keel_search_list *extra = &plan->asked.held_out;
    all.out[COMMON] = place(plan, "common", &all.arena);
    all.out[TRIAL] = keel_search_trial_folder(plan, which, &all.arena);
    all.out[HELD_OUT] = place(plan, "held-out", &all.arena);
    keel_status status = keel_search_plan_steps(plan, trials->values[which], trials->stored[which].budget,
                                                extra, plan->asked.out, &named, err);
    all.from[TRIAL] = plan->first;
    all.from[HELD_OUT] = keel_search_plan_first(&named, extra);
    keel_recipe_free(&named);
    if (status == KEEL_OK)
        status = layers_load(plan, &all, trials->values[which], trials->stored[which].budget, extra, err);
    if (status == KEEL_OK) status = layers_run(plan, &all, &run, err);
    if (status == KEEL_OK) status = look_up_all(plan, &all, &run, goal, required, err);
    layers_free(&all);
    return status;
}

/* ---- one trial ---- */

static keel_status required_text(const keel_search_plan *plan, const keel_search_value *required,
                                 keel_arena *arena, const char **out, keel_err *err) {
    keel_buf text = {0};
    if (plan->search.n_requires == 0) return KEEL_OK;
    for (size_t i = 0; i < plan->search.n_requires; ++i) {
        keel_buf_text(&text, i ? "," : "[");
        if (required[i].value.present)
            keel_json_put_number(&text, required[i].value.value);
        else
            keel_buf_text(&text, "null");
    }
    keel_buf_text(&text, "]");
    *out = text.failed ? NULL : keel_arena_strdup(arena, text.data);
    keel_buf_free(&text);
    return *out ? KEEL_OK : keel_nomem(err, "search");
}

/* What came of the steps into the row. A trial that diverges, whose values do not go together, or of whose
 * goal nothing is known, has failed; all other errors are the search's. */
static keel_status run_trial(const keel_search_plan *plan, layers *all, keel_stored_trial *trial,
                             const char *const *values, keel_err *err) {
    keel_search_value goal = {0}, required[KEEL_SEARCH_REQUIRES] = {0};
    keel_recipe_run run;
    keel_err inner = {0};
    KEEL_TRY(layers_load(plan, all, values, trial->budget, NULL, err));
    keel_status status = layers_run(plan, all, &run, &inner);
    if (status == KEEL_OK) status = look_up_all(plan, all, &run, &goal, required, &inner);
    if (status != KEEL_OK && status != KEEL_E_DIVERGED && status != KEEL_E_INVALID) {
        if (err) *err = inner;
        return status;
    }
    trial->state = goal.value.present ? KEEL_TRIAL_DONE : KEEL_TRIAL_FAILED;
    trial->value = goal.value;
    trial->low = goal.low;
    trial->high = goal.high;
    if (trial->state == KEEL_TRIAL_DONE)
        return required_text(plan, required, &all->arena, &trial->required, err);
    trial->note =
        keel_arena_strdup(&all->arena, status == KEEL_OK ? "nothing is known of the metric" : inner.message);
    return trial->note ? KEEL_OK : keel_nomem(err, "search");
}

static keel_status put(const keel_search_plan *plan, keel_store *store, const keel_stored_trial *trial,
                       keel_err *err) {
    KEEL_TRY(keel_store_begin(store, err));
    keel_status status = keel_store_put_trial(store, plan->hash, trial, err);
    if (status == KEEL_OK) status = keel_store_commit(store, err);
    if (status != KEEL_OK) keel_store_rollback(store);
    return status;
}

static void tell(const keel_search_plan *plan, const keel_stored_trial *trial) {
    if (trial->state == KEEL_TRIAL_DONE)
        keel_log(KEEL_LOG_INFO, "trial %lld: %s %.6g", (long long)trial->number, plan->goal.text,
                 trial->value.value);
    else
        keel_log(KEEL_LOG_INFO, "trial %lld failed: %s", (long long)trial->number, trial->note);
}

/* Runs a trial whose lock is held, and puts what came of it. */
static keel_status end_trial(const keel_search_plan *plan, keel_store *store, keel_stored_trial *trial,
                             const char *const *values, keel_err *err) {
    layers all = {.n = 2};
    all.out[COMMON] = place(plan, "common", &all.arena);
    all.out[TRIAL] = keel_search_trial_folder(plan, (size_t)trial->number, &all.arena);
    all.from[TRIAL] = plan->first;
    const double begun = keel_clock();
    keel_log(KEEL_LOG_INFO, "trial %lld: %s", (long long)trial->number, trial->config);
    keel_status status = run_trial(plan, &all, trial, values, err);
    trial->seconds = keel_clock() - begun;
    if (status == KEEL_OK) status = put(plan, store, trial, err);
    if (status == KEEL_OK) tell(plan, trial);
    layers_free(&all);
    return status;
}

/* ---- taking trials ---- */

/* The values of a point. Those that are left out beside the others are the first of their range, whatever the
 * point says: trials that are the same look so. */
static keel_status values_of(const keel_search_plan *plan, const keel_trial *trial, keel_arena *arena,
                             const char *const **out, keel_err *err) {
    const size_t dims = plan->space.n;
    const char **list = keel_arena_calloc(arena, dims + 1, sizeof *list);
    bool counts[KEEL_SPACE_DIMS], whole = list != NULL;
    for (size_t i = 0; whole && i < dims; ++i)
        whole = (list[i] = keel_dimension_value(&plan->space.dims[i], trial->at[i], arena)) != NULL;
    if (!whole) return keel_nomem(err, "search");
    KEEL_TRY(keel_search_plan_taken(plan, list, counts, err));
    for (size_t i = 0; whole && i < dims; ++i)
        if (!counts[i]) whole = (list[i] = keel_dimension_value(&plan->space.dims[i], 0, arena)) != NULL;
    *out = list;
    return whole ? KEEL_OK : keel_nomem(err, "search");
}

static keel_status config_text(const keel_search_plan *plan, const char *const *values, keel_arena *arena,
                               const char **out, keel_err *err) {
    keel_buf text = {0};
    for (size_t i = 0; i < plan->space.n; ++i) {
        keel_buf_text(&text, i ? ", " : "{");
        keel_json_put_string(&text, plan->space.dims[i].name);
        keel_buf_text(&text, ": ");
        keel_json_put_string(&text, values[i]);
    }
    keel_buf_text(&text, "}");
    *out = text.failed ? NULL : keel_arena_strdup(arena, text.data);
    keel_buf_free(&text);
    return *out ? KEEL_OK : keel_nomem(err, "search");
}

/* What came of an earlier trial of the same values and budget comes of this one. */
static bool has_come(const keel_search_trials *all, keel_stored_trial *trial) {
    for (size_t i = 0; i < all->n; ++i) {
        const keel_stored_trial *other = &all->stored[i];
        if (other->state == KEEL_TRIAL_RUNNING || other->budget.value != trial->budget.value ||
            strcmp(other->config, trial->config) != 0)
            continue;
        const int64_t number = trial->number;
        *trial = *other;
        trial->number = number;
        trial->seconds = 0;
        return true;
    }
    return false;
}

typedef struct taken {
    keel_stored_trial *trial; /* NULL: none */
    const char *const *values;
    keel_lock lock;
    bool has_come; /* it needs not be run */
    bool waits;    /* others are at work, and what they find decides */
    bool in_time;  /* false: it would not end in time */
} taken;

/* A trial of a process that was killed: its folder is not locked. */
static keel_status take_up(const keel_search_plan *plan, keel_search_trials *all, taken *out, keel_err *err) {
    for (size_t i = 0; i < all->n && !out->trial; ++i) {
        if (all->trials[i].state != KEEL_TRIAL_RUNNING) continue;
        const char *folder = keel_search_trial_folder(plan, i, &all->arena);
        if (!folder) return keel_nomem(err, "search");
        const keel_status status = lock_folder(folder, &out->lock, err);
        if (status == KEEL_E_CONFLICT) continue;
        if (status != KEEL_OK) return status;
        out->trial = &all->stored[i];
        out->values = all->values[i];
    }
    return KEEL_OK;
}

/* By the longest so far, a further one would end after the time that is given to all. */
static bool is_late(const keel_search_plan *plan, const keel_search_trials *all) {
    double sum = 0, longest = 0;
    for (size_t i = 0; i < all->n; ++i) {
        sum += all->stored[i].seconds;
        longest = fmax(longest, all->stored[i].seconds);
    }
    return plan->asked.seconds > 0 && all->n > 0 && sum + longest > plan->asked.seconds;
}

static keel_status take_new(const keel_search_plan *plan, keel_search_trials *all, taken *out,
                            keel_err *err) {
    keel_search_turn turn;
    keel_trial next;
    keel_stored_trial *trial = keel_arena_calloc(&all->arena, 1, sizeof *trial);
    const char *folder = keel_search_trial_folder(plan, all->n, &all->arena);
    if (!trial || !folder) return keel_nomem(err, "search");
    for (size_t i = 0; i < all->n; ++i) out->waits |= all->trials[i].state == KEEL_TRIAL_RUNNING;
    KEEL_TRY(keel_search_next(&plan->search, all->trials, all->n, &next, &turn, err));
    if (turn != KEEL_SEARCH_TRIAL) return KEEL_OK;
    out->in_time = !is_late(plan, all);
    if (!out->in_time) return KEEL_OK;
    *trial = (keel_stored_trial){.number = (int64_t)all->n, .seed = (int64_t)plan->search.seed};
    trial->budget = (keel_optional){plan->search.budget.name != NULL, next.budget};
    KEEL_TRY(values_of(plan, &next, &all->arena, &out->values, err));
    KEEL_TRY(config_text(plan, out->values, &all->arena, &trial->config, err));
    out->has_come = has_come(all, trial);
    out->trial = trial;
    return out->has_come ? KEEL_OK : lock_folder(folder, &out->lock, err);
}

/* In one transaction: no two processes take the same. */
static keel_status take(const keel_search_plan *plan, keel_store *store, keel_search_trials *all, taken *out,
                        keel_err *err) {
    *out = (taken){.in_time = true};
    KEEL_TRY(keel_store_begin(store, err));
    keel_status status = keel_search_trial_list(plan, store, all, err);
    if (status == KEEL_OK) status = take_up(plan, all, out, err);
    if (status == KEEL_OK && !out->trial) status = take_new(plan, all, out, err);
    if (status == KEEL_OK && out->trial) {
        out->trial->pid = (int64_t)getpid();
        status = keel_store_put_trial(store, plan->hash, out->trial, err);
    }
    if (status == KEEL_OK) status = keel_store_commit(store, err);
    if (status != KEEL_OK) {
        keel_store_rollback(store);
        keel_lock_release(&out->lock);
    }
    return status;
}

keel_status keel_search_trial_all(const keel_search_plan *plan, keel_store *store, bool *in_time,
                                  keel_err *err) {
    for (;;) {
        keel_search_trials all = {0};
        taken one;
        if (keel_interrupted())
            return keel_fail(err, KEEL_E_INTERRUPTED, plan->asked.out, "between two trials");
        keel_status status = take(plan, store, &all, &one, err);
        *in_time = one.in_time;
        const bool found = status == KEEL_OK && one.trial;
        if (found && one.has_come)
            tell(plan, one.trial);
        else if (found)
            status = end_trial(plan, store, one.trial, one.values, err);
        keel_lock_release(&one.lock);
        keel_search_trial_free(&all);
        if (status != KEEL_OK) return status;
        if (!found && !one.waits) return KEEL_OK;
        if (!found) keel_clock_sleep(0.2);
    }
}
