/* Rows of a prompt and its answer, as objects of JSON or as lines of a table: which key holds what, and the
 * conversation that a row is. Not for other folders.
 *
 * Rows that name their model are gathered: the answers of several models to one prompt (or, where rows have
 * an id, under one id) are taken candidates of one decision, and the n-th answer of one model to it goes to
 * the n-th such conversation, all of one group. Other rows are a conversation each. */
#ifndef KEEL_DATASETS_ROW_H
#define KEEL_DATASETS_ROW_H

#include "datasets/build.h"

typedef enum keel__field {
    KEEL__FIELD_PROMPT,
    KEEL__FIELD_INPUT, /* what the prompt, an instruction, is about */
    KEEL__FIELD_RESPONSE,
    KEEL__FIELD_SYSTEM,
    KEEL__FIELD_HISTORY, /* a list of [what the user said, what was answered] */
    KEEL__FIELD_ID,
    KEEL__FIELD_RISK,
    KEEL__FIELD_OUTCOME,
    KEEL__FIELD_JUDGE,
    KEEL__FIELD_MODEL,
    KEEL__FIELD_LATENCY,
    KEEL__FIELD_FEEDBACK,
    KEEL__FIELD_GROUP,
    KEEL__FIELD_SPLIT,
    KEEL__N_FIELDS
} keel__field;

/* What rows counts, in the order of the rows in formats.c. */
enum { KEEL__ROWS_WITHOUT_PROMPT, KEEL__ROWS_WITHOUT_ANSWER, KEEL__ROWS_UNCLEAR, KEEL__ROWS_COUNTS };

typedef struct keel__row_state {
    const char *names[KEEL__N_FIELDS]; /* of keys, as the user gave them; NULL: by default */
    char *columns;                     /* what names point into; owned */
    const char *file_model;            /* who answered, where no key says it; NULL: nobody knows */
    struct keel__row_seen { /* [capacity] by hash; which model answered which prompt, and how often */
        uint64_t hash;
        int64_t times; /* 0: free */
    } * seen;
    size_t n_seen, capacity;
} keel__row_state;

/* Whether a source with these keys has prompts and answers under default names. */
bool keel__row_looks_like(const keel_sniff *sniff);
/* The conversation of a row. out->conversation stays NULL if the row has no prompt, which is counted.
 * out->where is set. */
keel_status keel__row_read(keel__row_state *rows, const cJSON *row, keel_arena *arena, int64_t *counts,
                           keel_read *out, keel_err *err);
/* Sets names from "prompt=COLUMN,response=COLUMN,..."; NULL: nothing to do. KEEL_E_USAGE for a field that is
 * none. */
keel_status keel__row_name(keel__row_state *rows, const char *columns, keel_err *err);
/* The field that the user said this column has; NULL: none. */
const char *keel__row_field(const keel__row_state *rows, const char *column);
void keel__row_free(keel__row_state *rows);

#endif
