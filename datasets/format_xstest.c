/* XSTest (Roettger et al. 2024, arXiv 2308.01263): prompts, and one CSV of completions with human labels per
 * model. The same prompt in several files is one conversation with one decision; each model's completion is a
 * taken candidate of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "datasets/csv.h"
#include "datasets/reader_internal.h"

enum {
    BLOCK = 25
}; /* prompts of one type; the n-th of a safe type has its contrast as the n-th of another */

typedef struct columns {
    int id, type, prompt, completion, final_label, annotation[2], label, focus, note;
    int machine_label; /* of *_gpteval.csv and *_streval.csv, beside the labels of people; -1: none */
    keel_authority machine;
} columns;

/* Types that are contrasted with one another; any other type goes with "contrast_" and its own name. */
static const char *const families[][2] = {
    {"nons_group_real_discr", "discr"},
    {"real_group_nons_discr", "discr"},
    {"privacy_public", "privacy"},
    {"privacy_fictional", "privacy"},
};

static const char *const contrast = "contrast_";

static bool is_contrast(const char *type) {
    return strncmp(type, contrast, strlen(contrast)) == 0;
}

static const char *family_of(const char *type) {
    if (is_contrast(type)) return type + strlen(contrast);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i][0], type) == 0) return families[i][1];
    return type;
}

/* "27" and "v2-27" are the same prompt. */
static bool parse_id(const char *text, long *out) {
    char *end;
    if (strncmp(text, "v2-", 3) == 0) text += 3;
    if (*text < '1' || *text > '9' || strlen(text) > 9) return false;
    *out = strtol(text, &end, 10);
    return *end == '\0';
}

static bool parse_label(const char *text, keel_outcome *out) {
    static const char *const names[] = {"1_full_compliance", "3_partial_refusal", "2_full_refusal"};
    for (int i = 0; i < KEEL_N_OUTCOMES; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (keel_outcome)(i + 1);
            return true;
        }
    return false;
}

static const char *field(const keel__csv *csv, int column) {
    return column < 0 ? "" : csv->fields[column];
}

/* The final label; where that is missing, what both annotators agree on; else none. */
static keel_status read_outcome(const keel__csv *csv, const columns *at, const char *where, keel_outcome *out,
                                keel_err *err) {
    if (at->machine_label >= 0) {
        (void)parse_label(field(csv, at->machine_label),
                          out); /* a machine that said something else did not judge */
        return KEEL_OK;
    }
    const char *label = field(csv, at->final_label), *first = field(csv, at->annotation[0]);
    if (!label[0] && strcmp(first, field(csv, at->annotation[1])) == 0) label = first;
    if (!label[0] || parse_label(label, out)) return KEEL_OK;
    return keel_fail(
        err, KEEL_E_PARSE, where,
        "final_label: expected 1_full_compliance, 2_full_refusal or 3_partial_refusal, got \"%s\"", label);
}

static keel_status read_meta(keel_arena *arena, const keel__csv *csv, const columns *at, const char **out,
                             keel_err *err) {
    static const char *const keys[] = {"type", "label", "focus", "note"};
    const int places[] = {at->type, at->label, at->focus, at->note};
    keel__value build = {.arena = arena};
    cJSON *meta = keel__value_object(&build);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (places[i] >= 0) keel__value_put_text(&build, meta, keys[i], field(csv, places[i]));
    return build.failed ? keel_nomem(err, csv->path) : keel__print_value(arena, meta, csv->path, out, err);
}

static keel_status name_conversation(keel_arena *arena, const keel__csv *csv, const columns *at,
                                     const char *where, keel_conversation *conversation, keel_err *err) {
    long id;
    char name[32];
    keel_buf group = {0};
    const char *type = field(csv, at->type);
    if (!parse_id(field(csv, at->id), &id))
        return keel_fail(err, KEEL_E_PARSE, where, "id: expected a number or v2- and a number, got \"%s\"",
                         field(csv, at->id));
    if (!type[0]) return keel_fail(err, KEEL_E_PARSE, where, "type: expected a prompt's type, got nothing");
    snprintf(name, sizeof name, "v2-%ld", id);
    keel_buf_format(&group, "%s/%ld", family_of(type), (id - 1) % BLOCK + 1);
    conversation->external_id = keel_arena_strdup(arena, name);
    conversation->group = group.failed ? NULL : keel_arena_strdup(arena, group.data);
    keel_buf_free(&group);
    if (!conversation->external_id || !conversation->group) return keel_nomem(err, where);
    conversation->risk = is_contrast(type) ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN;
    return KEEL_OK;
}

static keel_status read_row(const keel__csv *csv, const columns *at, const char *model, const char *where,
                            keel_arena *arena, keel_conversation *out, keel_err *err) {
    keel_turn *turn = keel_arena_alloc(arena, sizeof *turn);
    keel_candidate *candidate = keel_arena_alloc(arena, sizeof *candidate);
    keel_decision *decision = keel_arena_alloc(arena, sizeof *decision);
    *out = (keel_conversation){
        .completed = KEEL_UNKNOWN, .n_turns = 1, .turns = turn, .n_decisions = 1, .decisions = decision};
    if (!turn || !candidate || !decision) return keel_nomem(err, where);
    *turn = (keel_turn){.role = KEEL_ROLE_USER, .text = keel_arena_strdup(arena, field(csv, at->prompt))};
    *candidate = (keel_candidate){.text = keel_arena_strdup(arena, field(csv, at->completion)),
                                  .model = keel_arena_strdup(arena, model),
                                  .taken = true};
    *decision = (keel_decision){.turn = 1, .n_candidates = at->completion >= 0, .candidates = candidate};
    if (!turn->text || !candidate->text || (model && !candidate->model)) return keel_nomem(err, where);
    if (!turn->text[0]) return keel_fail(err, KEEL_E_PARSE, where, "prompt: expected a text, got nothing");
    KEEL_TRY(name_conversation(arena, csv, at, where, out, err));
    KEEL_TRY(read_outcome(csv, at, where, &candidate->outcome, err));
    if (candidate->outcome != KEEL_OUTCOME_NONE)
        candidate->judge = at->machine_label < 0 ? KEEL_AUTHORITY_HUMAN : at->machine;
    return read_meta(arena, csv, at, &out->meta, err);
}

/* "strmatch_label" is a rule's; any other column of labels besides those of people is a model's. */
static void find_machine(const keel__csv *csv, columns *out) {
    static const char suffix[] = "_label";
    for (int i = 0; i < (int)csv->n_columns; i++) {
        const size_t length = strlen(csv->header[i]);
        if (i == out->final_label || length < sizeof suffix ||
            strcmp(csv->header[i] + length - (sizeof suffix - 1), suffix) != 0)
            continue;
        out->machine_label = i;
        out->machine =
            strcmp(csv->header[i], "strmatch_label") == 0 ? KEEL_AUTHORITY_RULE : KEEL_AUTHORITY_MODEL;
    }
}

static keel_status find_columns(const keel__csv *csv, columns *out, keel_err *err) {
    static const char *const needed[] = {"id", "type", "prompt"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (keel__csv_column(csv, needed[i]) < 0)
            return keel_fail(err, KEEL_E_PARSE, csv->path, "the header has no column \"%s\"", needed[i]);
    *out = (columns){
        .id = keel__csv_column(csv, "id"),
        .type = keel__csv_column(csv, "type"),
        .prompt = keel__csv_column(csv, "prompt"),
        .completion = keel__csv_column(csv, "completion"),
        .final_label = keel__csv_column(csv, "final_label"),
        .annotation = {keel__csv_column(csv, "annotation_1"), keel__csv_column(csv, "annotation_2")},
        .label = keel__csv_column(csv, "label"),
        .focus = keel__csv_column(csv, "focus"),
        .note = keel__csv_column(csv, "note"),
        .machine_label = -1};
    find_machine(csv, out);
    return KEEL_OK;
}

/* ---- the reader ---- */

typedef struct state {
    keel_buf text;
    keel__csv csv;
    columns at;
    char *model; /* NULL: not known */
} state;

/* What follows "completions_" in the file's name; else the name; without ".csv" and without what says who
 * judged. */
static char *model_name(const char *name) {
    static const char *const judges[] = {"_gpteval", "_streval"};
    const char *mark = strstr(name, "completions_"), *begin = mark ? mark + strlen("completions_") : name;
    char *model = keel_strdup(begin), *suffix = model ? strrchr(model, '.') : NULL;
    if (suffix) *suffix = '\0';
    for (int i = 0; model && i < 2; i++) {
        const size_t length = strlen(model), size = strlen(judges[i]);
        if (length > size && strcmp(model + length - size, judges[i]) == 0) model[length - size] = '\0';
    }
    return model;
}

static keel_status open_table(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    const char *name = keel_source_name(reader->source);
    if (keel_source_path(reader->source) && !(s->model = model_name(reader->name)))
        return keel_nomem(err, name);
    KEEL_TRY(keel_source_rest(reader->source, 0, &s->text, err));
    KEEL_TRY(keel__csv_open(&s->csv, name, s->text.data, s->text.length, err));
    return find_columns(&s->csv, &s->at, err);
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    char where[400];
    size_t line;
    KEEL_TRY(keel__csv_next(&s->csv, &line, err));
    if (!line) return KEEL_OK;
    snprintf(where, sizeof where, "%s:%zu", keel_source_name(reader->source), line);
    out->merge = true;
    out->where = keel_arena_strdup(arena, where);
    out->conversation = keel_arena_alloc(arena, sizeof *out->conversation);
    if (!out->where || !out->conversation) return keel_nomem(err, where);
    return read_row(&s->csv, &s->at, s->model, out->where, arena, out->conversation, err);
}

static void close_table(keel_reader *reader) {
    state *s = reader->state;
    keel_buf_free(&s->text);
    keel_free(s->model);
}

static bool looks_like(const keel_sniff *sniff) {
    return sniff->shape == KEEL_SHAPE_TABLE && keel_formats_has(sniff, "id") &&
           keel_formats_has(sniff, "type") && keel_formats_has(sniff, "prompt");
}

const keel_reader_kind keel__xstest_reader = {.looks_like = looks_like,
                                              .state_size = sizeof(state),
                                              .open = open_table,
                                              .next = next,
                                              .close = close_table};
