#include "experiments/search/search_tidy.h"

#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/lock.h"

keel_status keel_search_tidy_base(keel_store *store, keel_recipe_run *run, const char *step, keel_err *err) {
    cJSON *result = NULL;
    const char *hash = NULL;
    KEEL_TRY(keel_recipe_run_result(run, step, &result, err));
    keel_status status = keel_json_string(result, "hash", true, &hash, step, err);
    if (status == KEEL_OK) status = keel_store_begin(store, err);
    if (status == KEEL_OK) {
        status = keel_store_drop_features(store, hash, err);
        if (status == KEEL_OK) status = keel_store_commit(store, err);
        if (status != KEEL_OK) keel_store_rollback(store);
    }
    cJSON_Delete(result);
    return status;
}

/* The bases of one trial. */
static keel_status tidy_trial(const keel_search_plan *plan, keel_store *store, const keel_search_trials *all,
                              size_t i, keel_arena *arena, keel_err *err) {
    const char *folder = keel_search_trial_folder(plan, i, arena);
    keel_recipe recipe;
    if (!folder) return keel_nomem(err, "search");
    if (!keel_file_is_folder(folder)) return KEEL_OK; /* as an earlier one: it was not run */
    keel_status status =
        keel_search_plan_steps(plan, all->values[i], all->stored[i].budget, NULL, folder, &recipe, err);
    keel_recipe_run run = {.recipe = &recipe, .out = folder, .root = plan->asked.out, .arena = arena};
    for (size_t k = plan->first; status == KEEL_OK && k < recipe.n_steps; ++k)
        if (strcmp(recipe.steps[k].verb->name, "sft") == 0 && all->trials[i].state == KEEL_TRIAL_DONE)
            status = keel_search_tidy_base(store, &run, recipe.steps[k].name, err);
    keel_recipe_free(&recipe);
    return status;
}

static keel_status tidy_all(const keel_search_plan *plan, keel_store *store, const keel_search_trials *all,
                            const char *path, keel_arena *arena, keel_err *err) {
    cJSON *done = NULL;
    if (keel_file_exists(path)) KEEL_TRY(keel_json_parse_file(path, &done, err));
    const bool is_done = cJSON_IsNumber(done) && done->valuedouble == (double)all->n;
    cJSON_Delete(done);
    for (size_t i = 0; i < all->n; ++i)
        if (is_done || all->trials[i].state == KEEL_TRIAL_RUNNING) return KEEL_OK;
    for (size_t i = 0; i < all->n; ++i) KEEL_TRY(tidy_trial(plan, store, all, i, arena, err));
    done = cJSON_CreateNumber((double)all->n);
    const keel_status status = done ? keel_json_write_file(path, done, err) : keel_nomem(err, path);
    cJSON_Delete(done);
    return status;
}

/* Not while another process judges the kept trial: that one will tidy up. */
static keel_status lock_held_out(const keel_search_plan *plan, keel_arena *arena, keel_lock *lock, bool *free,
                                 keel_err *err) {
    const char *inside = keel_path_join(arena, plan->asked.out, "held-out/");
    *free = true;
    if (!inside) return keel_nomem(err, "search");
    if (plan->asked.held_out.n == 0) return KEEL_OK;
    const keel_status status = keel_lock_take(lock, inside, err);
    *free = status == KEEL_OK;
    return status == KEEL_E_CONFLICT ? KEEL_OK : status;
}

static keel_status tidy(const keel_search_plan *plan, keel_store *store, keel_arena *arena, keel_err *err) {
    keel_search_trials all;
    const char *path = keel_path_join(arena, plan->asked.out, "tidied.json");
    if (!path) return keel_nomem(err, "search");
    keel_status status = keel_search_trial_list(plan, store, &all, err);
    if (status == KEEL_OK) status = tidy_all(plan, store, &all, path, arena, err);
    keel_search_trial_free(&all);
    return status;
}

keel_status keel_search_tidy(const keel_search_plan *plan, keel_store *store, keel_err *err) {
    keel_arena arena = {0};
    keel_lock lock = {0};
    bool free;
    keel_status status = lock_held_out(plan, &arena, &lock, &free, err);
    if (status == KEEL_OK && free) status = tidy(plan, store, &arena, err);
    keel_lock_release(&lock);
    keel_arena_free(&arena);
    return status;
}
