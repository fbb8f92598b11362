#include "policies/transformer/bert_adapt.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/gemm.h"
#include "policies/transformer/bert_internal.h"

const keel__lora_target keel__lora_targets[KEEL__N_LORA_TARGETS] = {
    {KEEL_BERT_QKV, 0, 3, "attention.self.query"}, {KEEL_BERT_QKV, 1, 3, "attention.self.key"},
    {KEEL_BERT_QKV, 2, 3, "attention.self.value"}, {KEEL_BERT_OUT, 0, 1, "attention.output.dense"},
    {KEEL_BERT_UP, 0, 1, "intermediate.dense"},    {KEEL_BERT_DOWN, 0, 1, "output.dense"},
};

/* ---- the layout of rows ---- */

static size_t n_targets(const keel_lora_config *lora) {
    size_t n = 0;
    for (unsigned t = 0; t < KEEL__N_LORA_TARGETS; t++) n += lora->targets >> t & 1;
    return lora->rank ? n : 0;
}

static size_t first_lora(const keel_bert *bert) {
    return keel__bert_row(bert->config.layers, 0);
}

size_t keel__lora_row(const keel_bert *bert, size_t layer, size_t target) {
    size_t before = 0;
    for (size_t t = 0; t < target; t++) before += bert->lora.targets >> t & 1;
    return first_lora(bert) + 2 * (layer * n_targets(&bert->lora) + before);
}

size_t keel_bert_first_head(const keel_bert *bert) {
    return bert->params.count - bert->n_heads;
}

size_t keel_bert_first_trained(const keel_bert *bert, keel_bert_mode mode, size_t frozen_layers) {
    switch (mode) {
    case KEEL_BERT_FULL:
        return 0;
    case KEEL_BERT_FREEZE:
        return keel__bert_row(frozen_layers, 0);
    case KEEL_BERT_LORA:
        return first_lora(bert);
    case KEEL_BERT_HEAD:
        break;
    }
    return keel_bert_first_head(bert);
}

/* ---- more rows ---- */

static keel_status check_lora(const keel_bert *bert, const keel_lora_config *lora, keel_err *err) {
    if (lora->rank == 0) return KEEL_OK;
    if (bert->compressed) return keel__bert_refuse_compressed(err);
    return keel_lora_check(lora, bert->config.hidden, KEEL_LORA_ALL, err);
}

/* A and B of one target of one layer. */
static bool list_target(const keel_bert *bert, size_t rank, size_t layer, size_t target, keel_arena *arena,
                        keel_param rows[2]) {
    enum { ROOM = 128 };
    const keel__lora_target *to = &keel__lora_targets[target];
    const keel_param *weight = &bert->params.table[keel__bert_row(layer, to->row)];
    char *name[2];
    for (int i = 0; i < 2; i++) {
        name[i] = keel_arena_alloc(arena, ROOM);
        if (!name[i]) return false;
        snprintf(name[i], ROOM, "encoder.layer.%zu.%s.lora_%c.weight", layer, to->module, i ? 'B' : 'A');
    }
    rows[0] = (keel_param){.name = name[0],
                           .rows = rank,
                           .cols = weight->cols,
                           .init = KEEL_INIT_UNIFORM,
                           .scale = (double)weight->cols,
                           .decay = true};
    rows[1] = (keel_param){.name = name[1],
                           .rows = weight->rows / to->parts,
                           .cols = rank,
                           .init = KEEL_INIT_ZERO,
                           .decay = true};
    return true;
}

/* The table of the encoder, LoRA and the heads; NULL without memory. */
static keel_param *list_rows(const keel_bert *bert, const keel_lora_config *lora, const keel_param *heads,
                             size_t n_heads, keel_arena *arena, size_t *count) {
    const size_t first = bert->params.count, n_lora = 2 * bert->config.layers * n_targets(lora);
    keel_param *table = keel_arena_calloc(arena, first + n_lora + n_heads, sizeof *table);
    if (!table) return NULL;
    memcpy(table, bert->params.table, first * sizeof *table);
    *count = first;
    for (size_t layer = 0; n_lora && layer < bert->config.layers; layer++)
        for (size_t t = 0; t < KEEL__N_LORA_TARGETS; t++) {
            if (!(lora->targets >> t & 1)) continue;
            if (!list_target(bert, lora->rank, layer, t, arena, table + *count)) return NULL;
            *count += 2;
        }
    if (n_heads) memcpy(table + *count, heads, n_heads * sizeof *table);
    *count += n_heads;
    return table;
}

keel_status keel_bert_extend(keel_bert *bert, const keel_lora_config *lora, const keel_param *heads,
                             size_t n_heads, keel_err *err) {
    const keel_lora_config none = {0}, *low = lora ? lora : &none;
    keel_arena arena = {0};
    keel_params made;
    size_t count = 0;
    if (bert->params.count != first_lora(bert))
        return keel_fail(err, KEEL_E_USAGE, "encoder", "it has its heads and corrections already");
    KEEL_TRY(check_lora(bert, low, err));
    keel_param *table = list_rows(bert, low, heads, n_heads, &arena, &count);
    keel_status status = table ? keel_params_make(&made, table, count, err) : keel_nomem(err, "encoder");
    keel_arena_free(&arena);
    if (status != KEEL_OK) return status;
    memcpy(made.data, bert->params.data, bert->params.size * sizeof *made.data);
    keel_params_free(&bert->params);
    bert->params = made;
    bert->n_heads = n_heads;
    if (low->rank) bert->lora = *low;
    return KEEL_OK;
}

void keel_bert_adapt_init(keel_bert *bert, keel_rng *rng) {
    keel_params added = keel_params_from(&bert->params, first_lora(bert));
    keel_params_init(&added, rng);
}

/* ---- merging ---- */

/* Whether a target has a correction, and its weights. */
static bool find_target(const keel_bert *bert, size_t layer, size_t target, keel_real **weights,
                        size_t *size) {
    const keel__lora_target *to = &keel__lora_targets[target];
    const size_t row = keel__bert_row(layer, to->row);
    const keel_param *param = &bert->params.table[row];
    *size = param->rows * param->cols / to->parts;
    *weights = keel_params_at(&bert->params, row) + to->part * *size;
    return bert->lora.rank && bert->lora.targets >> target & 1;
}

void keel__lora_add(const keel_bert *bert, size_t layer, size_t target, keel_real *weights) {
    const size_t row = keel__lora_row(bert, layer, target);
    const size_t in = bert->params.table[row].cols, out = bert->params.table[row + 1].rows;
    const keel_real *a = keel_params_at(&bert->params, row), *b = keel_params_at(&bert->params, row + 1);
    keel_gemm(false, false, out, in, bert->lora.rank, (keel_real)keel_lora_factor(&bert->lora), b,
              bert->lora.rank, a, in, 1, weights, in);
}

static bool are_finite(const keel_real *x, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

typedef enum step { COUNT, MERGE, UNMERGE } step;

/* Elements of all weights with a correction; kept: room for these. *finite: whether those merged are. */
static size_t visit_targets(const keel_bert *bert, step what, keel_real *kept, bool *finite) {
    size_t total = 0, size;
    keel_real *weights;
    for (size_t layer = 0; layer < bert->config.layers; layer++)
        for (size_t t = 0; t < KEEL__N_LORA_TARGETS; t++) {
            if (!find_target(bert, layer, t, &weights, &size)) continue;
            if (what == MERGE) {
                memcpy(kept + total, weights, size * sizeof *kept);
                keel__lora_add(bert, layer, t, weights);
                *finite = *finite && are_finite(weights, size);
            }
            if (what == UNMERGE) memcpy(weights, kept + total, size * sizeof *kept);
            total += size;
        }
    return total;
}

keel_status keel_bert_merge(keel_bert *bert, keel_err *err) {
    const size_t size = visit_targets(bert, COUNT, NULL, NULL);
    bool finite = true;
    if (bert->unmerged) return keel_fail(err, KEEL_E_USAGE, "encoder", "it is merged already");
    if (size == 0) return KEEL_OK;
    bert->unmerged = keel_alloc(size * sizeof *bert->unmerged);
    if (!bert->unmerged) return keel_nomem(err, "encoder");
    visit_targets(bert, MERGE, bert->unmerged, &finite);
    if (finite) return KEEL_OK;
    keel_bert_unmerge(bert);
    return keel_fail(err, KEEL_E_INVALID, "encoder", "merged with its corrections, weights are not finite");
}

void keel_bert_unmerge(keel_bert *bert) {
    if (!bert->unmerged) return;
    visit_targets(bert, UNMERGE, bert->unmerged, NULL);
    keel_free(bert->unmerged);
    bert->unmerged = NULL;
}

keel_status keel_bert_settle(keel_bert *bert, keel_err *err) {
    keel_params made;
    if (!bert->unmerged) KEEL_TRY(keel_bert_merge(bert, err));
    KEEL_TRY(keel_params_make(&made, bert->params.table, first_lora(bert), err));
    memcpy(made.data, bert->params.data, made.size * sizeof *made.data);
    keel_params_free(&bert->params);
    keel_free(bert->unmerged);
    bert->params = made;
    bert->unmerged = NULL;
    bert->lora = (keel_lora_config){0};
    bert->n_heads = 0;
    return KEEL_OK;
}
