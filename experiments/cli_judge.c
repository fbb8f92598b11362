#include "experiments/cli_judge.h"

#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "experiments/cli_resources.h"
#include "experiments/table.h"

/* ---- the judge ---- */

/* Labels of the store are outcomes of responses: judges of anything else have no place for theirs yet. */
static keel_status check_kind(const keel_judge_kind *kind, keel_err *err) {
    if (kind->judged == KEEL_JUDGED_OUTCOME && kind->n_classes == KEEL_N_OUTCOMES) return KEEL_OK;
    return keel_fail(err, KEEL_E_UNSUPPORTED, "--judge",
                     "\"%s\" does not judge outcomes of responses, which is what labels are", kind->name);
}

keel_status keel_cli_open_judge(keel_cli *cli, keel_judge **out, keel_err *err) {
    const char *given = keel_cli_value(cli, "--judge");
    const keel_judge_kind *kind = given ? keel_judge_find(given) : keel_judge_kinds[0];
    keel_judge *judge;
    if (kind) {
        KEEL_TRY(check_kind(kind, err));
        return keel_judge_fit(out, kind, NULL, 0, err);
    }
    if (keel_file_is_folder(given)) given = keel_path_join(&cli->arena, given, KEEL_JUDGE_FILE);
    if (!given) return keel_nomem(err, "--judge");
    KEEL_TRY(keel_judge_load(&judge, given, err));
    const keel_status status = check_kind(judge->kind, err);
    if (status == KEEL_OK)
        *out = judge;
    else
        keel_judge_free(judge);
    return status;
}

void keel_cli_list_judges(FILE *out) {
    fprintf(out, "\njudges (--judge KIND; the first is the default):\n");
    for (const keel_judge_kind *const *kind = keel_judge_kinds; *kind; kind++)
        fprintf(out, "  %-12s %s\n", (*kind)->name, (*kind)->help);
}

/* ---- labels by humans ---- */

static keel_status add_label(keel_labels *all, const keel_conversation *conversation,
                             const keel_candidate *candidate, keel_err *err) {
    const char *group = keel_conversation_group(conversation);
    if (!keel_grow(&all->items, all->count + 1, &all->capacity, sizeof *all->items))
        return keel_nomem(err, "labels");
    const char *text = keel_arena_strdup(&all->texts, candidate->text),
               *source = keel_arena_strdup(&all->texts, candidate->model),
               *id = keel_arena_strdup(&all->texts, conversation->external_id);
    if (!text || !id || (candidate->model && !source)) return keel_nomem(err, "labels");
    all->items[all->count++] =
        (keel_labelled){.example = {.input.response = text,
                                    .label = (int)candidate->outcome - KEEL_OUTCOME_COMPLIANCE,
                                    .group = keel_hash64(group, strlen(group), 0)},
                        .source = source,
                        .id = id};
    return KEEL_OK;
}

static keel_status add_labels(keel_labels *all, const keel_conversation *conversation, keel_err *err) {
    for (size_t d = 0; d < conversation->n_decisions; d++)
        for (size_t c = 0; c < conversation->decisions[d].n_candidates; c++) {
            const keel_candidate *candidate = &conversation->decisions[d].candidates[c];
            if (candidate->judge == KEEL_AUTHORITY_HUMAN && candidate->outcome != KEEL_OUTCOME_NONE &&
                candidate->text && candidate->text[0])
                KEEL_TRY(add_label(all, conversation, candidate, err));
        }
    return KEEL_OK;
}

static int by_content(const void *a, const void *b) {
    const keel_labelled *x = a, *y = b;
    if (x->example.group != y->example.group) return x->example.group < y->example.group ? -1 : 1;
    int order = strcmp(x->example.input.response, y->example.input.response);
    if (!order) order = x->example.label - y->example.label;
    if (!order) order = strcmp(x->source ? x->source : "", y->source ? y->source : "");
    return order ? order : strcmp(x->id, y->id);
}

keel_status keel_cli_read_labels(keel_store *store, const keel_split *split, keel_labels *out,
                                 keel_err *err) {
    keel_cursor *cursor = NULL;
    keel_arena arena = {0};
    keel_conversation *conversation = NULL;
    keel_status status;
    KEEL_TRY(keel_cursor_open(&cursor, store, split, KEEL_ORDER_STORED, err));
    for (;;) {
        keel_arena_reset(&arena);
        KEEL_TRY_GOTO(keel_cursor_next(cursor, &arena, &conversation, err), done);
        if (!conversation) break;
        KEEL_TRY_GOTO(add_labels(out, conversation, err), done);
    }
    if (out->count > 0) qsort(out->items, out->count, sizeof *out->items, by_content);
done:
    keel_cursor_close(cursor);
    keel_arena_free(&arena);
    return status;
}

void keel_labels_free(keel_labels *labels) {
    keel_free(labels->items);
    keel_arena_free(&labels->texts);
    *labels = (keel_labels){0};
}

/* ---- agreement ---- */

keel_status keel_cli_judge_labels(const keel_judge *judge, const keel_labels *labels, keel_arena *arena,
                                  keel_agreement_item **items, keel_err *err) {
    *items = keel_arena_calloc(arena, labels->count + 1, sizeof **items);
    if (!*items) return keel_nomem(err, "labels");
    for (size_t i = 0; i < labels->count; i++) {
        const keel_labelled *one = &labels->items[i];
        keel_agreement_item *item = &(*items)[i];
        *item = (keel_agreement_item){
            .label = one->example.label, .source = one->source, .group = one->example.group};
        KEEL_TRY(keel_judge_predict(judge, &one->example.input, &item->verdict, err));
    }
    return KEEL_OK;
}

cJSON *keel_cli_agreement_json(const keel_judge_kind *kind, const keel_agreement *agreement) {
    cJSON *json = cJSON_CreateObject();
    char key[64];
    cJSON_AddNumberToObject(json, "n", (double)agreement->n);
    cJSON_AddNumberToObject(json, "unjudged", (double)agreement->unjudged);
    snprintf(key, sizeof key, "any_%s_accuracy", kind->any);
    keel_json_add(json, key, keel_interval_json(&agreement->any_accuracy));
    snprintf(key, sizeof key, "any_%s_kappa", kind->any);
    keel_json_add(json, key, keel_interval_json(&agreement->any_kappa));
    keel_json_add(json, "accuracy", keel_interval_json(&agreement->accuracy));
    keel_json_add(json, "kappa", keel_interval_json(&agreement->kappa));
    snprintf(key, sizeof key, "any_%s_accuracy_if_judged", kind->any);
    keel_json_add(json, key, keel_interval_json(&agreement->judged_accuracy));
    snprintf(key, sizeof key, "any_%s_rate_bias", kind->any);
    keel_json_add(json, key, keel_interval_json(&agreement->bias));
    cJSON_AddNumberToObject(json, "ece", agreement->ece);
    return json;
}

void keel_cli_print_agreement(const char *const *heads, const cJSON *const *columns, size_t n, FILE *out) {
    keel_table table = {.columns = n + 1};
    const cJSON *row;
    keel_table_cell(&table, "agreement with humans");
    for (size_t i = 0; i < n; i++) keel_table_cell(&table, "%s", heads[i]);
    cJSON_ArrayForEach (row, columns[0]) {
        keel_table_cell(&table, "%s", row->string);
        for (size_t i = 0; i < n; i++) {
            const cJSON *value = keel_json_get(columns[i], row->string);
            const bool count = strcmp(row->string, "ece") != 0;
            if (cJSON_IsObject(value))
                keel_table_interval(&table, value);
            else
                keel_table_cell(&table, count ? "%.0f" : "%.3f", cJSON_GetNumberValue(value));
        }
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
}
