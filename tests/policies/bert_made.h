/* Encoders made in memory: random weights of any shape, with the tokenizer of a golden one. */
#ifndef KEEL_TESTS_BERT_MADE_H
#define KEEL_TESTS_BERT_MADE_H

#include "bert_fixture.h"

#include "core/pcg.h"
#include "policies/transformer/bert_internal.h"
#include "policies/transformer/bert_matrix.h"

/* Widths that every number format takes; more than one panel of outputs, and an uneven one. */
enum { MADE_HIDDEN = 64, MADE_LAYERS = 2, MADE_HEADS = 4, MADE_INNER = 96 };

static inline keel_bert *made_bert(void) {
    keel_bert *bert = load("mean");
    keel_rng rng = keel_rng_named(1, "made bert", 0);
    bert->config.hidden = MADE_HIDDEN, bert->config.layers = MADE_LAYERS, bert->config.heads = MADE_HEADS,
    bert->config.inner = MADE_INNER;
    const size_t count = keel_bert_rows(bert);
    keel_param *table = keel_arena_calloc(&arena, count, sizeof *table);
    char(*names)[128] = keel_arena_calloc(&arena, count, sizeof *names);
    for (size_t row = 0; row < count; row++) {
        keel__bert_name(row, keel__bert_source_of(row)->name[0], names[row]);
        table[row] = (keel_param){.name = names[row], .init = KEEL_INIT_NORMAL, .scale = 0.3};
        keel__bert_shape(&bert->config, row, &table[row].rows, &table[row].cols);
    }
    keel_params_free(&bert->params);
    assert_ok(keel_params_make(&bert->params, table, count, &err));
    keel_params_init(&bert->params, &rng);
    return bert;
}

/* Every matrix and table in this format. */
static inline void convert_all(keel_bert *bert, keel_matrix_type type) {
    keel_bert_form *form = keel_arena_calloc(&arena, keel_bert_rows(bert), sizeof *form);
    for (size_t row = 0; row < keel_bert_rows(bert); row++) form[row].type = type;
    assert_ok(keel_bert_convert(bert, form, NULL, &err));
}

#endif
