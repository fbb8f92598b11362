#include "experiments/compress_target.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/file.h"
#include "core/json.h"
#include "datasets/store.h"
#include "experiments/search/search_result.h"
#include "experiments/table.h"
#include "policies/artefact.h"
#include "policies/base.h"

/* ---- the target ---- */

/* What may be asked for; in the order of a trial's requirements. */
enum { LATENCY, BYTES, N_TARGETS };
static const char *const targets[] = {"latency_ms", "bytes", NULL};
static const double unlimited = 1e18;

typedef struct aiming {
    keel_cli *cli;
    double most[N_TARGETS], most_loss;
    const char **words, **over, *require[N_TARGETS + 1];
    size_t n_words, n_over, n_require;
    const char *out; /* OUT.search */
    keel_search_asked asked;
    char content[65];
    keel_err *err;
} aiming;

static keel_status read_target(aiming *a, const char *text) {
    for (int i = 0; i < N_TARGETS; i++) {
        const size_t length = strlen(targets[i]);
        if (strncmp(text, targets[i], length) != 0 || text[length] != '=') continue;
        KEEL_TRY(keel_cli_numbers("--target", text + length + 1, &a->most[i], 1, a->err));
        if (a->most[i] > 0) return KEEL_OK;
        return keel_fail(a->err, KEEL_E_USAGE, "--target", "%s is to be above 0", targets[i]);
    }
    keel_fail(a->err, KEEL_E_USAGE, "--target", "expected latency_ms=N or bytes=N, got \"%.80s\"", text);
    return keel_hint(a->err, "both may be given; milliseconds are of one decision, bytes of all weights");
}

static keel_status read_targets(aiming *a) {
    const char *const *given;
    size_t n;
    KEEL_TRY(keel_cli_values(a->cli, "--target", &given, &n, a->err));
    for (int i = 0; i < N_TARGETS; i++) a->most[i] = unlimited;
    for (size_t i = 0; i < n; i++) KEEL_TRY(read_target(a, given[i]));
    if (keel_cli_has(a->cli, "--store")) return KEEL_OK;
    keel_fail(a->err, KEEL_E_USAGE, "--target", "needs --store, on whose held-out decisions it is measured");
    return keel_hint(a->err, "a log whose split --held-out (default: test) has decisions");
}

/* ---- the search ---- */

/* Whether the command line gives the key, as --set KEY=VALUE or by a flag. */
static bool is_given(const keel_cli *cli, const char *key) {
    char flag[64];
    const size_t length = strlen(key);
    snprintf(flag, sizeof flag, "--%s", key);
    if (keel_verb_has_flag(cli->verb, flag) && keel_cli_has(cli, flag)) return true;
    for (size_t i = 0; i < cli->n_given; i++)
        if (cli->given[i].flag && strcmp(cli->given[i].flag->name, "--set") == 0 &&
            strncmp(cli->given[i].value, key, length) == 0 && cli->given[i].value[length] == '=')
            return true;
    return false;
}

/* The command without what is the search's own. */
static bool make_words(aiming *a) {
    static const char *const own[] = {"--target", "--max-loss", "--out",     "--replace",
                                      "--trials", "--anyway",   "--threads", "--json",
                                      "--quiet",  "--memory",   NULL};
    const keel_cli *cli = a->cli;
    a->words = keel_arena_calloc(&a->cli->arena, 2 * cli->n_given + 4, sizeof *a->words);
    if (!a->words) return false;
    a->words[a->n_words++] = cli->verb->name;
    for (size_t i = 0; i < cli->n_given; i++) {
        const keel_given *given = &cli->given[i];
        bool mine = false;
        for (size_t k = 0; own[k]; k++) mine = mine || strcmp(given->flag->name, own[k]) == 0;
        if (mine) continue;
        a->words[a->n_words++] = given->flag->name;
        if (given->value) a->words[a->n_words++] = given->value;
    }
    a->words[a->n_words++] = "--out";
    a->words[a->n_words++] = "${out}/small";
    if (keel_cli_has(cli, "--policy")) a->words[a->n_words++] = "--anyway";
    return true;
}

static keel_status make_over(aiming *a) {
    static const char *const varied[][2] = {{"weights", "weights=int8,q4_g32"},
                                            {"ratio", "ratio=0,0.1,0.2,0.3,0.4,0.5"},
                                            {"sensitive_share", "sensitive_share=0,0.25,0.5"}};
    a->over = keel_arena_calloc(&a->cli->arena, sizeof varied / sizeof *varied, sizeof *a->over);
    if (!a->over) return keel_nomem(a->err, "compress");
    for (size_t i = 0; i < sizeof varied / sizeof *varied; i++)
        if (!is_given(a->cli, varied[i][0])) a->over[a->n_over++] = varied[i][1];
    return KEEL_OK;
}

static bool make_require(aiming *a) {
    char text[96];
    for (int i = 0; i < N_TARGETS; i++) {
        snprintf(text, sizeof text, "%s <= %.17g", targets[i], a->most[i]);
        if (!(a->require[a->n_require++] = keel_arena_strdup(&a->cli->arena, text))) return false;
    }
    snprintf(text, sizeof text, "loss <= %.17g", a->most_loss);
    return (a->require[a->n_require++] = keel_arena_strdup(&a->cli->arena, text)) != NULL;
}

static keel_status hash_log(aiming *a) {
    keel_store *store;
    KEEL_TRY(keel_store_open(&store, keel_cli_value(a->cli, "--store"), KEEL_STORE_READ, a->err));
    const keel_status status = keel_store_content_hash(store, NULL, a->content, a->err);
    keel_store_close(store);
    return status;
}

/* Of a base without layers there is one smaller form: nothing to search. */
static keel_status check_kind(aiming *a) {
    const char *base = keel_cli_value(a->cli, "--base");
    const keel_base_kind *kind;
    KEEL_TRY(keel_base_find_made(base, &kind, a->err));
    if (kind->prunes) return KEEL_OK;
    keel_fail(a->err, KEEL_E_USAGE, "--target", "%s has no layers: there is one smaller form of it", base);
    return keel_hint(a->err, "`keel compress --weights int8` makes it");
}

static keel_status lay_out(aiming *a) {
    const char *out = keel_cli_value(a->cli, "--out");
    const size_t size = strlen(out) + sizeof ".search";
    char *folder = keel_arena_alloc(&a->cli->arena, size);
    int64_t trials = 12;
    KEEL_TRY(read_targets(a));
    KEEL_TRY(check_kind(a));
    KEEL_TRY(keel_cli_integer(a->cli, "--trials", 1, KEEL_SEARCH_TRIALS, &trials, a->err));
    KEEL_TRY(hash_log(a));
    KEEL_TRY(make_over(a));
    if (!folder || !make_words(a) || !make_require(a)) return keel_nomem(a->err, out);
    snprintf(folder, size, "%s.search", out);
    a->out = folder;
    a->asked = (keel_search_asked){.out = folder,
                                   .data = "",
                                   .content = a->content,
                                   .threads = keel_cli_value(a->cli, "--threads"),
                                   .words = {a->words, a->n_words},
                                   .over = {a->over, a->n_over},
                                   .require = {a->require, a->n_require},
                                   .minimise = "changed",
                                   .method = 2, /* bayes */
                                   .trials = (size_t)trials,
                                   .points = 5,
                                   .seed = keel_context_current()->seed};
    return KEEL_OK;
}

/* Features of the trials' bases, which their policies were tested on: as large as what is held out for each.
 */
static keel_status drop_features(aiming *a, const keel_search_plan *plan, size_t n, keel_store *log) {
    for (size_t i = 0; i < n; i++) {
        char hash[65];
        const char *folder = keel_search_trial_folder(plan, i, &a->cli->arena),
                   *base = folder ? keel_path_join(&a->cli->arena, folder, "small/base") : NULL;
        if (!base) return keel_nomem(a->err, a->out);
        if (keel_artefact_claim(base, "base", hash, NULL) == KEEL_OK)
            KEEL_TRY(keel_store_drop_features(log, hash, a->err));
    }
    return KEEL_OK;
}

static keel_status tidy(aiming *a, const keel_search_plan *plan, keel_store *trials) {
    keel_search_trials all;
    keel_store *log = NULL;
    if (!keel_cli_has(a->cli, "--policy")) return KEEL_OK;
    keel_status status = keel_search_trial_list(plan, trials, &all, a->err);
    if (status == KEEL_OK)
        status = keel_store_open(&log, keel_cli_value(a->cli, "--store"), KEEL_STORE_WRITE, a->err);
    if (status == KEEL_OK) status = keel_store_begin(log, a->err);
    if (status == KEEL_OK) {
        status = drop_features(a, plan, all.n, log);
        if (status == KEEL_OK) status = keel_store_commit(log, a->err);
        if (status != KEEL_OK) keel_store_rollback(log);
    }
    keel_store_close(log);
    keel_search_trial_free(&all);
    return status;
}

static keel_status search_in(aiming *a, const keel_search_plan *plan, cJSON **result) {
    bool in_time;
    keel_store *store;
    const char *path = keel_path_join(&a->cli->arena, a->out, "trials.db");
    if (!path) return keel_nomem(a->err, a->out);
    KEEL_TRY(keel_folder_make(a->out, a->err));
    KEEL_TRY(keel_store_open(&store, path, KEEL_STORE_CREATE, a->err));
    keel_status status = keel_search_trial_begin(plan, store, a->err);
    if (status == KEEL_OK) status = keel_search_trial_all(plan, store, &in_time, a->err);
    if (status == KEEL_OK) status = keel_search_result_json(plan, store, in_time, result, a->err);
    if (status == KEEL_OK) status = tidy(a, plan, store);
    keel_store_close(store);
    return status;
}

static keel_status search(aiming *a, cJSON **result) {
    keel_search_plan plan;
    keel_status status = keel_search_plan_open(&plan, &a->asked, a->err);
    if (status == KEEL_OK) status = search_in(a, &plan, result);
    if (status == KEEL_E_INTERRUPTED) keel_hint(a->err, "the same command goes on from here");
    keel_search_plan_close(&plan);
    return status;
}

/* ---- what was found ---- */

/* Whether a is no worse than b in anything, and better in something. */
static bool is_above(const cJSON *a, const cJSON *b) {
    static const char *const keys[] = {"latency_ms", "bytes", "changed"};
    bool better = false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const double x = keel_json_value(a, keys[i]), y = keel_json_value(b, keys[i]);
        if (!(x <= y)) return false;
        better = better || x < y;
    }
    return better;
}

static void mark_front(const cJSON *points) {
    cJSON *point;
    const cJSON *other;
    cJSON_ArrayForEach (point, points) {
        bool front = isfinite(keel_json_value(point, "changed"));
        cJSON_ArrayForEach (other, points) front = front && !is_above(other, point);
        cJSON_AddBoolToObject(point, "front", front);
    }
}

static void copy_item(cJSON *to, const char *key, const cJSON *from) {
    keel_json_add(to, key, from ? cJSON_Duplicate(from, true) : cJSON_CreateNull());
}

static void add_point(cJSON *points, const cJSON *trial) {
    const cJSON *required = keel_json_get(trial, "required");
    cJSON *point = cJSON_CreateObject();
    copy_item(point, "config", keel_json_get(trial, "config"));
    for (int i = 0; i < N_TARGETS; i++) copy_item(point, targets[i], cJSON_GetArrayItem(required, i));
    copy_item(point, "loss", cJSON_GetArrayItem(required, N_TARGETS));
    copy_item(point, "changed", keel_json_get(trial, "value"));
    copy_item(point, "changed_low", keel_json_get(trial, "low"));
    copy_item(point, "changed_high", keel_json_get(trial, "high"));
    copy_item(point, "meets", keel_json_get(trial, "feasible"));
    if (keel_json_get(trial, "note")) copy_item(point, "note", keel_json_get(trial, "note"));
    keel_json_add(points, NULL, point);
}

static double latency_of(const cJSON *trial) {
    const cJSON *item = cJSON_GetArrayItem(keel_json_get(trial, "required"), LATENCY);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)INFINITY;
}

/* The quickest first; insertion: there are dozens. */
static keel_status add_points(aiming *a, cJSON *points, const cJSON *trials) {
    const cJSON **order =
        keel_arena_calloc(&a->cli->arena, (size_t)cJSON_GetArraySize(trials) + 1, sizeof *order);
    const cJSON *trial;
    size_t n = 0;
    if (!order) return keel_nomem(a->err, a->out);
    cJSON_ArrayForEach (trial, trials) {
        size_t k = n++;
        for (; k > 0 && latency_of(order[k - 1]) > latency_of(trial); k--) order[k] = order[k - 1];
        order[k] = trial;
    }
    for (size_t i = 0; i < n; i++) add_point(points, order[i]);
    return KEEL_OK;
}

static keel_status describe(aiming *a, const cJSON *result, cJSON **out) {
    cJSON *found = *out = cJSON_CreateObject(), *list, *points;
    const cJSON *kept = keel_json_get(result, "kept");
    cJSON_AddStringToObject(found, "search", a->out);
    list = cJSON_AddArrayToObject(found, "target");
    for (int i = 0; i < N_TARGETS; i++)
        if (a->most[i] < unlimited) keel_json_add(list, NULL, cJSON_CreateString(a->require[i]));
    cJSON_AddNumberToObject(found, "max_loss", a->most_loss);
    points = cJSON_AddArrayToObject(found, "points");
    KEEL_TRY(add_points(a, points, keel_json_get(result, "trials")));
    mark_front(points);
    copy_item(found, "chosen", cJSON_IsObject(kept) ? keel_json_get(kept, "config") : NULL);
    return KEEL_OK;
}

keel_status keel_compress_target(keel_cli *cli, double most_loss, cJSON **found, keel_err *err) {
    aiming a = {.cli = cli, .most_loss = most_loss, .err = err};
    cJSON *result = NULL;
    *found = NULL;
    keel_status status = lay_out(&a);
    if (status == KEEL_OK) status = search(&a, &result);
    if (status == KEEL_OK) status = describe(&a, result, found);
    cJSON_Delete(result);
    KEEL_TRY(status);
    KEEL_TRY(keel_cli_check_result(cli, err));
    if (cJSON_IsObject(keel_json_get(*found, "chosen"))) return KEEL_OK;
    keel_fail(err, KEEL_E_GATE, "--target", "none of the points tried meets it with a loss of at most %g",
              most_loss);
    return keel_hint(err,
                     "more --trials, another --max-loss, or a recovery after pruning (docs/compress.md)");
}

/* ---- for people ---- */

static void put_number(keel_table *table, const cJSON *row, const char *key, double unit,
                       const char *format) {
    const double number = keel_json_value(row, key);
    if (isfinite(number))
        keel_table_cell(table, format, number / unit);
    else
        keel_table_cell(table, "-");
}

static void put_changed(keel_table *table, const cJSON *point) {
    const double changed = keel_json_value(point, "changed"), low = keel_json_value(point, "changed_low"),
                 high = keel_json_value(point, "changed_high");
    if (isfinite(changed) && isfinite(low) && isfinite(high))
        keel_table_cell(table, "%.4f [%.4f, %.4f]", changed, low, high);
    else
        put_number(table, point, "changed", 1, "%.4f");
}

void keel_compress_target_print(const cJSON *found, FILE *out) {
    const cJSON *points = keel_json_get(found, "points"), *point, *item,
                *chosen = keel_json_get(found, "chosen");
    const cJSON *config = points && points->child ? keel_json_get(points->child, "config") : NULL;
    keel_table table = {.columns = 5 + (size_t)cJSON_GetArraySize(config)};
    if (!config) return;
    cJSON_ArrayForEach (item, config) keel_table_cell(&table, "%s", item->string);
    for (const char *const *head = (const char *const[]){"ms a decision", "MB", "changed", "loss", "", NULL};
         *head; head++)
        keel_table_cell(&table, "%s", *head);
    cJSON_ArrayForEach (point, points) {
        const bool front = cJSON_IsTrue(keel_json_get(point, "front")),
                   is_chosen = cJSON_Compare(keel_json_get(point, "config"), chosen, true);
        cJSON_ArrayForEach (item, keel_json_get(point, "config"))
            keel_table_cell(&table, "%s", cJSON_IsString(item) ? item->valuestring : "-");
        put_number(&table, point, "latency_ms", 1, "%.3g");
        put_number(&table, point, "bytes", 1e6, "%.3g");
        put_changed(&table, point);
        put_number(&table, point, "loss", 1, "%.4f");
        keel_table_cell(&table, "%s", is_chosen ? "chosen" : front ? "front" : "");
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
    fprintf(out, "\nWhat is shown flatters the point that was chosen by it: judge it on another split.\n\n");
}
