/* Decoders made in memory: random weights of any shape and number format, with what tuning adds. */
#ifndef KEEL_TESTS_LLAMA_MADE_H
#define KEEL_TESTS_LLAMA_MADE_H

#include <math.h>
#include <stdlib.h>

#include "core/pcg.h"
#include "fixture.h"
#include "policies/transformer/llama.h"

typedef struct made_llama {
    keel_llama llama;
    keel_arena arena;
} made_llama;

/* 64 wide, 2 layers, 4 heads over 2 of keys and values: Q8_0 can be made of it. */
static const keel_llama_config made_config = {.vocab = 700,
                                              .hidden = 64,
                                              .layers = 2,
                                              .heads = 4,
                                              .kv_heads = 2,
                                              .head_dim = 16,
                                              .inner = 96,
                                              .positions = 256,
                                              .epsilon = 1e-5,
                                              .rope_theta = 10000,
                                              .tied = true,
                                              .bos = -1,
                                              .pad = -1};

static inline keel_matrix made_matrix(made_llama *m, keel_matrix_type type, size_t rows, size_t cols,
                                      double scale, double mean, keel_rng *rng) {
    const size_t bytes = keel_matrix_row_bytes(type, cols);
    char *data = keel_arena_alloc(&m->arena, rows * bytes);
    float *row = keel_arena_alloc(&m->arena, cols * sizeof *row);
    assert_true(data && row);
    const keel_matrix made = {.type = type, .rows = rows, .cols = cols, .data = data};
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < cols; c++) row[c] = (float)(mean + scale * keel_rng_normal(rng));
        keel_matrix_write_row(type, row, cols, data + r * bytes);
    }
    return made;
}

static inline void made_tuning(made_llama *m, keel_rng *rng) {
    keel_llama *llama = &m->llama;
    for (size_t l = 0; llama->lora.rank && l < llama->config.layers; l++)
        for (unsigned t = 1; t <= KEEL_LORA_GATE; t <<= 1) {
            static const size_t rows[] = {KEEL_LLAMA_Q,  KEEL_LLAMA_K,    KEEL_LLAMA_V,   KEEL_LLAMA_O,
                                          KEEL_LLAMA_UP, KEEL_LLAMA_DOWN, KEEL_LLAMA_GATE};
            if (!(llama->lora.targets & t)) continue;
            size_t which = 0, at = keel_llama_lora_row(llama, l, t), out, in;
            while (t >> which != 1) which++;
            keel_llama_shape(&llama->config, keel_llama_row(l, rows[which]), &out, &in);
            llama->matrix[at] = made_matrix(m, KEEL_MATRIX_F32, llama->lora.rank, in, 0.3, 0, rng);
            llama->matrix[at + 1] = made_matrix(m, KEEL_MATRIX_F32, out, llama->lora.rank, 0.3, 0, rng);
        }
    if (llama->n_virtual)
        llama->matrix[keel_llama_virtual_row(llama)] =
            made_matrix(m, KEEL_MATRIX_F32, llama->n_virtual, llama->config.hidden, 1, 0, rng);
}

/* lora (NULL: none) and n_virtual: what tuning adds. */
static inline void made_open(made_llama *m, const keel_llama_config *config, keel_matrix_type type,
                             const keel_lora_config *lora, size_t n_virtual) {
    keel_rng rng = keel_rng_named(1, "made llama", 0);
    *m = (made_llama){.llama = {.config = *config, .n_virtual = n_virtual}};
    keel_llama *llama = &m->llama;
    llama->n_rows = llama->first_trained = keel_llama_head(config) + 1;
    if (lora) llama->lora = *lora;
    llama->matrix = keel_arena_calloc(&m->arena, keel_llama_virtual_row(llama) + 1, sizeof *llama->matrix);
    assert_non_null(llama->matrix);
    for (size_t row = 0; row < llama->n_rows; row++) {
        size_t rows, cols;
        if (!keel_llama_has(config, row)) continue;
        keel_llama_shape(config, row, &rows, &cols);
        const bool matrix = keel_llama_is_matrix(config, row), table = row == KEEL_LLAMA_EMBED;
        char name[128];
        keel_llama_name(config, row, name);
        llama->matrix[row] =
            matrix ? made_matrix(m, type, rows, cols, table ? 1 : 1.4 / sqrt((double)cols), 0, &rng)
                   : made_matrix(m, KEEL_MATRIX_F32, rows, cols, 0.1, strstr(name, "norm") ? 1 : 0, &rng);
    }
    made_tuning(m, &rng);
}

static inline void made_close(made_llama *m) {
    keel_tokenizer_close(m->llama.tokenizer);
    keel_arena_free(&m->arena);
}

#endif
