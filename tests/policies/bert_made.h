/* Encoders made in memory: random weights of any shape, with the tokenizer of a golden one. */
#ifndef KEEL_TESTS_BERT_MADE_H
#define KEEL_TESTS_BERT_MADE_H

#include <stdlib.h>

#include "fixture.h"

#include "core/pcg.h"
#include "policies/transformer/bert_internal.h"
#include "policies/transformer/bert_matrix.h"

/* Widths that every number format takes; more than one panel of outputs, and an uneven one. */
enum { MADE_HIDDEN = 64, MADE_LAYERS = 2, MADE_HEADS = 4, MADE_INNER = 96 };

/* Every weight, norms and biases too, is drawn anew. */
static inline void bert_draw(keel_bert *bert) {
    keel_rng rng = keel_rng_named(1, "made bert", 0);
    for (size_t row = 0; row < bert->params.count; row++) {
        keel_real *data = keel_params_at(&bert->params, row);
        for (size_t i = 0; i < bert->params.table[row].rows * bert->params.table[row].cols; i++)
            data[i] = (float)(keel_rng_normal(&rng) * 0.3);
    }
}

static inline keel_bert *bert_of(size_t layers, size_t hidden, size_t heads, size_t inner) {
    keel_bert *bert = NULL;
    assert_ok(keel_bert_load(&bert, KEEL_SOURCE_DIR "/tests/policies/golden/bert/mean", &err));
    bert->config.layers = layers, bert->config.hidden = hidden, bert->config.heads = heads,
    bert->config.inner = inner;
    const size_t count = keel_bert_rows(bert);
    keel_param *table = calloc(count, sizeof *table);
    char(*names)[128] = calloc(count, sizeof *names);
    assert_true(table && names);
    for (size_t row = 0; row < count; row++) {
        keel__bert_name(row, keel__bert_source_of(row)->name[0], names[row]);
        table[row].name = names[row];
        keel__bert_shape(&bert->config, row, &table[row].rows, &table[row].cols);
    }
    keel_params_free(&bert->params);
    assert_ok(keel_params_make(&bert->params, table, count, &err));
    bert_draw(bert);
    free(table);
    free(names);
    return bert;
}

static inline keel_bert *made_bert(void) {
    return bert_of(MADE_LAYERS, MADE_HIDDEN, MADE_HEADS, MADE_INNER);
}

/* Every matrix and table in this format. */
static inline void convert_all(keel_bert *bert, keel_matrix_type type) {
    keel_bert_form *form = calloc(keel_bert_rows(bert), sizeof *form);
    assert_non_null(form);
    for (size_t row = 0; row < keel_bert_rows(bert); row++) form[row].type = type;
    assert_ok(keel_bert_convert(bert, form, NULL, &err));
    free(form);
}

#endif
