#include "experiments/search/search_result.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "experiments/table.h"

/* ---- JSON ---- */

static void add_number(cJSON *to, const char *key, keel_optional number) {
    keel_json_add(to, key, number.present ? cJSON_CreateNumber(number.value) : cJSON_CreateNull());
}

static void add_value(cJSON *to, const keel_search_value *value) {
    add_number(to, "value", value->value);
    add_number(to, "low", value->low);
    add_number(to, "high", value->high);
}

static void add_json(cJSON *to, const char *key, const char *text) {
    cJSON *value = NULL;
    if (text && keel_json_parse(text, strlen(text), key, &value, NULL) == KEEL_OK)
        keel_json_add(to, key, value);
}

/* The values of a trial; null: one that is left out beside the others. */
static keel_status add_config(cJSON *to, const keel_search_plan *plan, const keel_search_trials *all,
                              size_t i, keel_err *err) {
    bool taken[KEEL_SPACE_DIMS];
    cJSON *config = cJSON_AddObjectToObject(to, "config");
    KEEL_TRY(keel_search_plan_taken(plan, all->values[i], taken, err));
    for (size_t d = 0; d < plan->space.n; ++d)
        keel_json_add(config, plan->space.dims[d].name,
                      taken[d] ? cJSON_CreateString(all->values[i][d]) : cJSON_CreateNull());
    return KEEL_OK;
}

static keel_status add_trial(cJSON *list, const keel_search_plan *plan, const keel_search_trials *all,
                             size_t i, keel_err *err) {
    const keel_stored_trial *stored = &all->stored[i];
    cJSON *row = cJSON_CreateObject();
    if (!keel_json_add(list, NULL, row)) return keel_nomem(err, "search");
    cJSON_AddNumberToObject(row, "trial", (double)i);
    KEEL_TRY(add_config(row, plan, all, i, err));
    if (stored->budget.present) add_number(row, "budget", stored->budget);
    cJSON_AddStringToObject(row, "state", keel_trial_states[stored->state]);
    add_value(row, &(keel_search_value){stored->value, stored->low, stored->high});
    add_json(row, "required", stored->required);
    cJSON_AddBoolToObject(row, "feasible", keel_trial_feasible(&plan->search, &all->trials[i]));
    if (stored->note) cJSON_AddStringToObject(row, "note", stored->note);
    return KEEL_OK;
}

/* Best first; of equals the earlier. Insertion: there are hundreds. */
static keel_status add_trials(cJSON *to, const keel_search_plan *plan, const keel_search_trials *all,
                              keel_err *err) {
    size_t *order = keel_calloc(all->n + 1, sizeof *order);
    cJSON *list = cJSON_AddArrayToObject(to, "trials");
    if (!order) return keel_nomem(err, "search");
    for (size_t i = 0; i < all->n; ++i) {
        size_t k = i;
        for (; k > 0 && keel_trial_better(&plan->search, &all->trials[i], &all->trials[order[k - 1]]); --k)
            order[k] = order[k - 1];
        order[k] = i;
    }
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < all->n && status == KEEL_OK; ++i)
        status = add_trial(list, plan, all, order[i], err);
    keel_free(order);
    return status;
}

static keel_status add_held_out(cJSON *to, const keel_search_plan *plan, const keel_search_trials *all,
                                size_t which, keel_err *err) {
    const keel_search_list *settings = &plan->asked.held_out;
    keel_search_value goal = {0}, required[KEEL_SEARCH_REQUIRES] = {0};
    bool feasible = true;
    if (settings->n == 0) return KEEL_OK;
    KEEL_TRY(keel_search_trial_held_out(plan, all, which, &goal, required, err));
    cJSON *row = cJSON_AddObjectToObject(to, "held_out"), *list;
    keel_json_add(row, "settings", cJSON_CreateStringArray(settings->items, (int)settings->n));
    add_value(row, &goal);
    if (plan->search.n_requires == 0) return KEEL_OK;
    list = cJSON_AddArrayToObject(row, "required");
    for (size_t i = 0; i < plan->search.n_requires; ++i) {
        const double over = required[i].value.value - plan->require[i].bound;
        keel_json_add(list, NULL,
                      required[i].value.present ? cJSON_CreateNumber(required[i].value.value)
                                                : cJSON_CreateNull());
        feasible =
            feasible && required[i].value.present && (plan->require[i].at_least ? over >= 0 : over <= 0);
    }
    cJSON_AddBoolToObject(row, "feasible", feasible);
    return KEEL_OK;
}

static keel_status add_kept(cJSON *to, const keel_search_plan *plan, const keel_search_trials *all,
                            size_t which, const keel_search_belief *belief, keel_err *err) {
    const keel_stored_trial *stored = &all->stored[which];
    keel_arena arena = {0};
    const char *folder = keel_search_trial_folder(plan, which, &arena);
    cJSON *kept = cJSON_AddObjectToObject(to, "kept");
    cJSON_AddNumberToObject(kept, "trial", (double)which);
    const keel_status status = add_config(kept, plan, all, which, err);
    if (folder)
        cJSON_AddStringToObject(kept, "folder", folder);
    else
        keel_json_lose();
    add_value(kept, &(keel_search_value){stored->value, stored->low, stored->high});
    add_number(kept, "expected",
               (keel_optional){belief->known, plan->minimise ? -belief->mean : belief->mean});
    add_number(kept, "expected_sd", (keel_optional){belief->known, belief->sd});
    add_number(kept, "noise", (keel_optional){belief->known, belief->noise});
    keel_arena_free(&arena);
    return status;
}

static void note(cJSON *notes, const char *text) {
    keel_json_add(notes, NULL, cJSON_CreateString(text));
}

static void add_notes(cJSON *to, const keel_search_plan *plan, const keel_search_trials *all, size_t done,
                      bool kept) {
    cJSON *notes = cJSON_AddArrayToObject(to, "notes");
    char text[200];
    if (!kept && done) note(notes, "No trial meets all that is required.");
    if (kept && done > 1) {
        snprintf(
            text, sizeof text,
            "It was chosen among %zu by the value it shows: that value flatters, the more so the more are compared.",
            done);
        note(notes, text);
    }
    if (kept && plan->asked.held_out.n == 0)
        note(notes,
             "Judge it on what nothing was chosen by: --held-out STEP.FLAG=VALUE, as eval.split=test.");
    if (done < all->n) {
        snprintf(text, sizeof text, "%zu of %zu trials have no value; their notes say why.", all->n - done,
                 all->n);
        note(notes, text);
    }
}

static keel_status fill(cJSON *json, const keel_search_plan *plan, const keel_search_trials *all,
                        bool in_time, keel_err *err) {
    keel_search_belief belief;
    size_t which, done = 0;
    for (size_t i = 0; i < all->n; ++i) done += all->trials[i].state == KEEL_TRIAL_DONE;
    KEEL_TRY(keel_search_keep(&plan->search, all->trials, all->n, &which, &belief, err));
    cJSON_AddStringToObject(json, "search", plan->hash);
    cJSON_AddStringToObject(json, "out", plan->asked.out);
    cJSON_AddStringToObject(json, "method", keel_search_methods[plan->search.method]);
    cJSON_AddStringToObject(json, plan->minimise ? "minimise" : "maximise", plan->goal.text);
    cJSON *require = cJSON_AddArrayToObject(json, "require");
    for (size_t i = 0; i < plan->search.n_requires; ++i)
        keel_json_add(require, NULL, cJSON_CreateString(plan->require[i].text));
    cJSON_AddNumberToObject(json, "asked", (double)keel_search_size(&plan->search));
    cJSON_AddNumberToObject(json, "done", (double)done);
    cJSON_AddBoolToObject(json, "in_time", in_time);
    KEEL_TRY(add_trials(json, plan, all, err));
    if (which < all->n)
        KEEL_TRY(add_kept(json, plan, all, which, &belief, err));
    else
        cJSON_AddNullToObject(json, "kept");
    if (which < all->n) KEEL_TRY(add_held_out(json, plan, all, which, err));
    add_notes(json, plan, all, done, which < all->n);
    return KEEL_OK;
}

keel_status keel_search_result_json(const keel_search_plan *plan, keel_store *store, bool in_time,
                                    cJSON **out, keel_err *err) {
    keel_search_trials all;
    cJSON *json = cJSON_CreateObject();
    keel_status status = keel_search_trial_list(plan, store, &all, err);
    if (status == KEEL_OK) status = fill(json, plan, &all, in_time, err);
    keel_search_trial_free(&all);
    if (status == KEEL_OK)
        *out = json;
    else
        cJSON_Delete(json);
    return status;
}

keel_status keel_search_result_seconds(const keel_search_plan *plan, keel_store *store, cJSON **out,
                                       keel_err *err) {
    keel_search_trials all;
    const keel_status status = keel_search_trial_list(plan, store, &all, err);
    cJSON *list = status == KEEL_OK ? cJSON_CreateArray() : NULL;
    for (size_t i = 0; list && i < all.n; ++i)
        keel_json_add(list, NULL, cJSON_CreateNumber(all.stored[i].seconds));
    keel_search_trial_free(&all);
    *out = list;
    return status;
}

/* ---- for people ---- */

/* "0.65 [0.61, 0.7]" */
static void put_estimate(keel_buf *out, const cJSON *row) {
    const cJSON *value = keel_json_get(row, "value"), *low = keel_json_get(row, "low"),
                *high = keel_json_get(row, "high");
    const bool interval = cJSON_IsNumber(low) && cJSON_IsNumber(high);
    if (!cJSON_IsNumber(value))
        keel_buf_text(out, "-");
    else
        keel_buf_format(out, interval ? "%.4g" : "%.6g", value->valuedouble);
    if (interval) keel_buf_format(out, " [%.4g, %.4g]", low->valuedouble, high->valuedouble);
}

static void print_estimate(const cJSON *row, FILE *out) {
    keel_buf text = {0};
    put_estimate(&text, row);
    fputs(text.data ? text.data : "", out);
    keel_buf_free(&text);
}

static void add_estimate(keel_table *table, const cJSON *row) {
    keel_buf text = {0};
    put_estimate(&text, row);
    keel_table_cell(table, "%s", text.data ? text.data : "");
    keel_buf_free(&text);
}

static const char *state_of(const cJSON *row) {
    const char *state = keel_json_get(row, "state")->valuestring;
    if (strcmp(state, "done") != 0) return state;
    return cJSON_IsTrue(keel_json_get(row, "feasible")) ? "" : "not as required";
}

void keel_search_result_print_trials(const cJSON *result, const cJSON *seconds, FILE *out) {
    const cJSON *list = keel_json_get(result, "trials"), *require = keel_json_get(result, "require"), *row,
                *item;
    const cJSON *config = keel_json_get(list->child, "config");
    if (!list->child) return;
    const bool budget = keel_json_get(list->child, "budget") != NULL;
    const cJSON *goal = keel_json_get(result, "maximise");
    if (!goal) goal = keel_json_get(result, "minimise");
    keel_table table = {.columns = 4 + (size_t)cJSON_GetArraySize(config) + budget +
                                   (size_t)cJSON_GetArraySize(require)};
    keel_table_cell(&table, "trial");
    cJSON_ArrayForEach (item, config) keel_table_cell(&table, "%s", item->string);
    if (budget) keel_table_cell(&table, "budget");
    keel_table_cell(&table, "%s", goal->valuestring);
    cJSON_ArrayForEach (item, require) keel_table_cell(&table, "%s", item->valuestring);
    keel_table_cell(&table, "seconds");
    keel_table_cell(&table, "%s", "");
    cJSON_ArrayForEach (row, list) {
        keel_table_number(&table, keel_json_get(row, "trial"), "%.0f");
        cJSON_ArrayForEach (item, keel_json_get(row, "config"))
            keel_table_cell(&table, "%s", cJSON_IsString(item) ? item->valuestring : "-");
        if (budget) keel_table_number(&table, keel_json_get(row, "budget"), "%.6g");
        add_estimate(&table, row);
        for (int i = 0; i < cJSON_GetArraySize(require); ++i)
            keel_table_number(&table, cJSON_GetArrayItem(keel_json_get(row, "required"), i), "%.4g");
        keel_table_number(&table, cJSON_GetArrayItem(seconds, keel_json_get(row, "trial")->valueint), "%.1f");
        keel_table_cell(&table, "%s", state_of(row));
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
}

static void print_kept(const cJSON *result, FILE *out) {
    const cJSON *kept = keel_json_get(result, "kept"), *held = keel_json_get(result, "held_out"), *item;
    fprintf(out, "\nkept: trial %.0f: ", keel_json_get(kept, "trial")->valuedouble);
    cJSON_ArrayForEach (item, keel_json_get(kept, "config")) {
        if (!cJSON_IsString(item)) continue;
        fprintf(out, "%s=", item->string);
        keel_print_line(out, item->valuestring, 0);
        fputc(' ', out);
    }
    fputs("shows ", out);
    print_estimate(kept, out);
    const cJSON *expected = keel_json_get(kept, "expected");
    if (cJSON_IsNumber(expected))
        fprintf(out,
                "\nby what all trials show together, such settings give %.4g +- %.2g on these conversations",
                expected->valuedouble, 1.96 * keel_json_get(kept, "expected_sd")->valuedouble);
    fprintf(out, "\nin %s\n", keel_json_get(kept, "folder")->valuestring);
    if (!held) return;
    fputs("held out (", out);
    cJSON_ArrayForEach (item, keel_json_get(held, "settings"))
        fprintf(out, "%s%s", item->valuestring, item->next ? " " : "): ");
    print_estimate(held, out);
    fputs(cJSON_IsFalse(keel_json_get(held, "feasible")) ? "; not as required\n" : "\n", out);
}

void keel_search_result_print(const cJSON *result, FILE *out) {
    const cJSON *note_text;
    keel_search_result_print_trials(result, keel_json_get(result, "seconds"), out);
    if (cJSON_IsObject(keel_json_get(result, "kept"))) print_kept(result, out);
    if (cJSON_IsFalse(keel_json_get(result, "in_time")))
        fprintf(out, "time is up: %.0f of %.0f trials; the same command with more --time goes on\n",
                keel_json_get(result, "done")->valuedouble, keel_json_get(result, "asked")->valuedouble);
    cJSON_ArrayForEach (note_text, keel_json_get(result, "notes"))
        fprintf(out, "note: %s\n", note_text->valuestring);
}
