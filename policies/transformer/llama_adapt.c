#include "policies/transformer/llama_adapt.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/gemm.h"
#include "core/numeric.h"
#include "policies/transformer/llama_internal.h"

const keel__llama_target keel__llama_targets[KEEL__N_LLAMA_TARGETS] = {
    {KEEL_LLAMA_Q, "self_attn.q_proj"}, {KEEL_LLAMA_K, "self_attn.k_proj"},
    {KEEL_LLAMA_V, "self_attn.v_proj"}, {KEEL_LLAMA_O, "self_attn.o_proj"},
    {KEEL_LLAMA_UP, "mlp.up_proj"},     {KEEL_LLAMA_DOWN, "mlp.down_proj"},
    {KEEL_LLAMA_GATE, "mlp.gate_proj"},
};

/* ---- the layout of rows ---- */

static size_t n_targets(const keel_lora_config *lora) {
    size_t n = 0;
    for (unsigned t = 0; t < KEEL__N_LLAMA_TARGETS; t++) n += lora->targets >> t & 1;
    return lora->rank ? n : 0;
}

static size_t count_rows(const keel_llama_config *config) {
    return keel_llama_head(config) + 1;
}

static size_t first_row(const keel_llama_config *config, const keel_llama_tuning *tuning) {
    switch (tuning->mode) {
    case KEEL_LLAMA_FULL:
        return 0;
    case KEEL_LLAMA_FREEZE:
        return keel_llama_row(tuning->frozen_layers, 0);
    default:
        return count_rows(config);
    }
}

bool keel__llama_has_factors(const keel_llama_config *config, size_t row) {
    return keel_llama_has(config, row) && keel_llama_is_matrix(config, row);
}

/* Trained matrices below `end`, where tuning has factors of their rows. */
static size_t count_factors(const keel_llama_config *config, const keel_llama_tuning *tuning, size_t end) {
    size_t n = 0;
    for (size_t row = first_row(config, tuning); tuning->scales && row < end; row++)
        n += keel__llama_has_factors(config, row);
    return n;
}

/* Rows behind the model's own. */
static size_t count_added(const keel_llama_config *config, const keel_llama_tuning *tuning) {
    if (tuning->mode == KEEL_LLAMA_LORA) return 2 * config->layers * n_targets(&tuning->lora);
    if (tuning->mode == KEEL_LLAMA_PROMPT) return 1;
    return count_factors(config, tuning, count_rows(config));
}

/* ---- parameters ---- */

enum { NAME_ROOM = 128 };

static void describe_own(const keel_llama_config *config, size_t row, char *name, keel_param *out) {
    *out = (keel_param){.name = name, .decay = keel_llama_is_matrix(config, row)};
    keel_llama_name(config, row, name);
    if (keel_llama_has(config, row)) keel_llama_shape(config, row, &out->rows, &out->cols);
}

/* A (even `at`) or B of a target. */
static void describe_lora(const keel_llama_config *config, const keel_lora_config *lora, size_t at,
                          char *name, keel_param *out) {
    const size_t layer = at / 2 / n_targets(lora);
    size_t target = 0, rows, cols;
    for (size_t before = at / 2 % n_targets(lora);; target++)
        if (lora->targets >> target & 1 && before-- == 0) break;
    keel_llama_shape(config, keel_llama_row(layer, keel__llama_targets[target].row), &rows, &cols);
    snprintf(name, NAME_ROOM, "model.layers.%zu.%s.lora_%c.weight", layer, keel__llama_targets[target].module,
             at % 2 ? 'B' : 'A');
    *out = at % 2 ? (keel_param){.name = name, .rows = rows, .cols = lora->rank, .decay = true}
                  : (keel_param){.name = name,
                                 .rows = lora->rank,
                                 .cols = cols,
                                 .init = KEEL_INIT_UNIFORM,
                                 .scale = (double)cols,
                                 .decay = true};
}

/* The factors of the at-th matrix that has some. Their size is 1, and they learn quicker than weights. */
static void describe_factors(const keel_llama_config *config, const keel_llama_tuning *tuning, size_t at,
                             char *name, keel_param *out) {
    enum { QUICKER = 100, BEHIND = sizeof ".factors" };
    size_t row = first_row(config, tuning), rows, cols;
    char of[NAME_ROOM - BEHIND + 1];
    while (!keel__llama_has_factors(config, row) || at-- > 0) row++;
    keel_llama_shape(config, row, &rows, &cols);
    keel_llama_name(config, row, name);
    snprintf(of, sizeof of, "%s", name);
    snprintf(name, NAME_ROOM, "%s.factors", of);
    *out = (keel_param){.name = name, .rows = 1, .cols = rows, .init = KEEL_INIT_ONE, .rate = QUICKER};
}

static void describe(const keel_llama_config *config, const keel_llama_tuning *tuning, size_t row, char *name,
                     keel_param *out) {
    const size_t own = count_rows(config);
    if (row < own) {
        describe_own(config, row, name, out);
    } else if (tuning->mode == KEEL_LLAMA_LORA) {
        describe_lora(config, &tuning->lora, row - own, name, out);
    } else if (tuning->mode != KEEL_LLAMA_PROMPT) {
        describe_factors(config, tuning, row - own, name, out);
    } else {
        snprintf(name, NAME_ROOM, "prompt_embeddings");
        *out = (keel_param){.name = name, .rows = tuning->n_virtual, .cols = config->hidden, .decay = true};
    }
}

size_t keel_llama_trained_size(const keel_llama_config *config, const keel_llama_tuning *tuning) {
    enum { PADDING = 16 };
    const size_t end = count_rows(config) + count_added(config, tuning);
    size_t size = 0;
    char name[NAME_ROOM];
    keel_param param;
    for (size_t row = first_row(config, tuning); row < end; row++) {
        describe(config, tuning, row, name, &param);
        size += (param.rows * param.cols + PADDING - 1) / PADDING * PADDING;
    }
    return size;
}

static keel_status check_tuning(const keel_llama *llama, const keel_llama_tuning *tuning, keel_err *err) {
    if (llama->params.data || llama->lora.rank || llama->n_virtual)
        return keel_fail(err, KEEL_E_USAGE, "decoder", "it is being tuned already");
    if (tuning->mode == KEEL_LLAMA_FREEZE && tuning->frozen_layers > llama->config.layers)
        return keel_fail(err, KEEL_E_INVALID, "decoder", "frozen layers: expected 0 to %zu, got %zu",
                         llama->config.layers, tuning->frozen_layers);
    if (tuning->mode == KEEL_LLAMA_PROMPT &&
        (tuning->n_virtual == 0 || tuning->n_virtual > KEEL_LLAMA_MOST_VIRTUAL))
        return keel_fail(err, KEEL_E_INVALID, "decoder", "virtual tokens: expected 1 to %d, got %zu",
                         KEEL_LLAMA_MOST_VIRTUAL, tuning->n_virtual);
    return tuning->mode == KEEL_LLAMA_LORA
               ? keel_lora_check(&tuning->lora, llama->config.hidden, KEEL_LORA_DECODER, err)
               : KEEL_OK;
}

static keel_status make_params(const keel_llama *llama, const keel_llama_tuning *tuning, keel_params *out,
                               keel_err *err) {
    const size_t first = first_row(&llama->config, tuning),
                 count = llama->n_rows + count_added(&llama->config, tuning) - first;
    keel_arena arena = {0};
    keel_param *table = keel_arena_calloc(&arena, count, sizeof *table);
    char(*names)[NAME_ROOM] = keel_arena_calloc(&arena, count, sizeof *names);
    keel_status status = table && names ? KEEL_OK : keel_nomem(err, "decoder");
    for (size_t i = 0; status == KEEL_OK && i < count; i++)
        describe(&llama->config, tuning, first + i, names[i], &table[i]);
    if (status == KEEL_OK) status = keel_params_make(out, table, count, err);
    keel_arena_free(&arena);
    return status;
}

/* Rows from `first` on lie in params from now on; what the model has itself is copied there. */
static void point_to_params(keel_llama *llama, size_t first) {
    for (size_t i = 0; i < llama->params.count; i++) {
        const keel_param *param = &llama->params.table[i];
        keel_matrix *matrix = &llama->matrix[first + i];
        float *data = keel_params_at(&llama->params, i);
        if (param->rows == 0) continue;
        for (size_t r = 0; first + i < llama->n_rows && r < param->rows; r++)
            keel_matrix_read_row(matrix, r, data + r * param->cols);
        *matrix =
            (keel_matrix){.type = KEEL_MATRIX_F32, .rows = param->rows, .cols = param->cols, .data = data};
    }
}

keel_status keel_llama_train(keel_llama *llama, const keel_llama_tuning *tuning, keel_err *err) {
    keel_params made;
    KEEL_TRY(check_tuning(llama, tuning, err));
    const size_t added = count_added(&llama->config, tuning), rows = llama->n_rows + added;
    KEEL_TRY(make_params(llama, tuning, &made, err));
    keel_matrix *matrix = keel_realloc(llama->matrix, rows * sizeof *matrix);
    if (!matrix) {
        keel_params_free(&made);
        return keel_nomem(err, "decoder");
    }
    memset(matrix + llama->n_rows, 0, added * sizeof *matrix);
    llama->matrix = matrix;
    llama->params = made;
    llama->first_trained = first_row(&llama->config, tuning);
    if (tuning->mode == KEEL_LLAMA_LORA) llama->lora = tuning->lora;
    if (tuning->mode == KEEL_LLAMA_PROMPT) llama->n_virtual = tuning->n_virtual;
    point_to_params(llama, llama->first_trained);
    if (llama->first_trained == 0)
        keel_arena_free(&llama->files->copies); /* nothing of it is read any more */
    return KEEL_OK;
}

keel_llama_tuning keel_llama_tuning_of(const keel_llama *llama) {
    if (llama->lora.rank) return (keel_llama_tuning){.mode = KEEL_LLAMA_LORA, .lora = llama->lora};
    if (llama->n_virtual)
        return (keel_llama_tuning){.mode = KEEL_LLAMA_PROMPT, .n_virtual = llama->n_virtual};
    const bool scales = llama->first_trained + llama->params.count > llama->n_rows;
    if (llama->first_trained == 0) return (keel_llama_tuning){.mode = KEEL_LLAMA_FULL, .scales = scales};
    return (keel_llama_tuning){.mode = KEEL_LLAMA_FREEZE,
                               .scales = scales,
                               .frozen_layers =
                                   (llama->first_trained - KEEL_LLAMA_FIRST_LAYER) / KEEL_LLAMA_LAYER};
}

/* ---- starting ---- */

void keel_llama_lora_start(keel_llama *llama, keel_rng *rng) {
    if (llama->lora.rank) keel_params_init(&llama->params, rng);
}

static keel_status check_prompt(const keel_llama *llama, keel_err *err) {
    return llama->n_virtual ? KEEL_OK
                            : keel_fail(err, KEEL_E_USAGE, "decoder", "it has no virtual tokens to start");
}

/* The last of params. */
static float *virtual_row(const keel_llama *llama, size_t i) {
    return keel_params_at(&llama->params, llama->params.count - 1) + i * llama->config.hidden;
}

keel_status keel_llama_prompt_random(keel_llama *llama, keel_rng *rng, keel_err *err) {
    const keel_matrix *table = &llama->matrix[KEEL_LLAMA_EMBED];
    KEEL_TRY(check_prompt(llama, err));
    double squares = 0;
    float *row = virtual_row(llama, 0);
    for (size_t r = 0; r < table->rows; r++) {
        keel_matrix_read_row(table, r, row);
        squares += keel_dot(row, row, table->cols);
    }
    const double size = sqrt(squares / ((double)table->rows * (double)table->cols));
    for (size_t i = 0; i < llama->n_virtual * table->cols; i++) row[i] = (float)(size * keel_rng_normal(rng));
    return KEEL_OK;
}

keel_status keel_llama_prompt_vocabulary(keel_llama *llama, keel_rng *rng, keel_err *err) {
    enum { COMMON = 5000 };
    const size_t size = keel_tokenizer_size(llama->tokenizer);
    int32_t common[COMMON];
    size_t n = 0, length;
    KEEL_TRY(check_prompt(llama, err));
    for (int32_t id = 0; (size_t)id < size && n < COMMON; id++)
        if (keel_tokenizer_bytes(llama->tokenizer, id, &length) &&
            !keel_tokenizer_special(llama->tokenizer, id))
            common[n++] = id;
    if (n == 0) return keel_fail(err, KEEL_E_INVALID, "decoder", "its vocabulary has no tokens of text");
    for (size_t i = 0; i < llama->n_virtual; i++)
        keel_matrix_read_row(&llama->matrix[KEEL_LLAMA_EMBED], (size_t)common[keel_rng_below(rng, n)],
                             virtual_row(llama, i));
    return KEEL_OK;
}

keel_status keel_llama_prompt_text(keel_llama *llama, const char *text, keel_err *err) {
    keel_arena arena = {0};
    keel_tokens tokens = {0};
    KEEL_TRY(check_prompt(llama, err));
    keel_status status = keel_tokenizer_encode(llama->tokenizer, text, false, &arena, &tokens, err);
    if (status == KEEL_OK && tokens.count == 0)
        status =
            keel_fail(err, KEEL_E_INVALID, "decoder", "the text that starts virtual tokens has no tokens");
    for (size_t i = 0; status == KEEL_OK && i < llama->n_virtual; i++)
        keel_matrix_read_row(&llama->matrix[KEEL_LLAMA_EMBED], (size_t)tokens.id[i % tokens.count],
                             virtual_row(llama, i));
    keel_arena_free(&arena);
    return status;
}

/* ---- merging ---- */

/* to [out, in] = W + s B A */
static void merge_target(const keel_llama *llama, size_t layer, size_t target, float *to) {
    const keel_matrix *w = &llama->matrix[keel_llama_row(layer, keel__llama_targets[target].row)];
    const size_t row = keel_llama_lora_row(llama, layer, 1u << target);
    const keel_matrix *a = &llama->matrix[row], *b = &llama->matrix[row + 1];
    for (size_t r = 0; r < w->rows; r++) keel_matrix_read_row(w, r, to + r * w->cols);
    keel_gemm(false, false, w->rows, w->cols, a->rows, (float)keel_lora_factor(&llama->lora), b->data,
              b->cols, a->data, a->cols, 1, to, w->cols);
}

typedef enum step { COUNT, MERGE } step;

/* Elements of all targets' weights; merges them into memory for as many. *finite: whether all are. */
static size_t visit_targets(keel_llama *llama, step what, float *memory, bool *finite) {
    size_t total = 0;
    for (size_t layer = 0; llama->lora.rank && layer < llama->config.layers; layer++)
        for (size_t t = 0; t < KEEL__N_LLAMA_TARGETS; t++) {
            if (!(llama->lora.targets >> t & 1)) continue;
            keel_matrix *w = &llama->matrix[keel_llama_row(layer, keel__llama_targets[t].row)];
            if (what == MERGE) {
                merge_target(llama, layer, t, memory + total);
                *finite = *finite && keel_all_finite(memory + total, w->rows * w->cols);
                const size_t row = keel_llama_lora_row(llama, layer, 1u << t);
                llama->matrix[row].data = llama->matrix[row + 1].data = NULL;
                w->type = KEEL_MATRIX_F32;
                w->data = memory + total;
            }
            total += w->rows * w->cols;
        }
    return total;
}

keel_status keel_llama_merge(keel_llama *llama, keel_err *err) {
    const size_t size = visit_targets(llama, COUNT, NULL, NULL),
                 bytes = keel_llama_virtual_row(llama) * sizeof(keel_matrix);
    bool finite = true;
    if (llama->unmerged) return keel_fail(err, KEEL_E_USAGE, "decoder", "it is merged already");
    if (size == 0) return KEEL_OK;
    llama->unmerged = keel_alloc(bytes);
    llama->files->merged = keel_calloc(size, sizeof(float));
    if (!llama->unmerged || !llama->files->merged) {
        keel_free(llama->unmerged), keel_free(llama->files->merged);
        llama->unmerged = NULL, llama->files->merged = NULL;
        return keel_nomem(err, "decoder");
    }
    memcpy(llama->unmerged, llama->matrix, bytes);
    visit_targets(llama, MERGE, llama->files->merged, &finite);
    if (finite) return KEEL_OK;
    keel_llama_unmerge(llama);
    return keel_fail(err, KEEL_E_INVALID, "decoder", "merged with its corrections, weights are not finite");
}

void keel_llama_unmerge(keel_llama *llama) {
    if (!llama->unmerged) return;
    memcpy(llama->matrix, llama->unmerged, keel_llama_virtual_row(llama) * sizeof *llama->matrix);
    keel_free(llama->unmerged), keel_free(llama->files->merged);
    llama->unmerged = NULL, llama->files->merged = NULL;
}

keel_status keel_llama_settle(keel_llama *llama, keel_err *err) {
    struct keel_llama_files *files = llama->files;
    if (llama->n_virtual)
        return keel_fail(err, KEEL_E_UNSUPPORTED, "decoder", "virtual tokens cannot become weights");
    if (!llama->unmerged) KEEL_TRY(keel_llama_merge(llama, err));
    if (!keel_grow(&files->owned, files->n_owned + 2, &files->owned_capacity, sizeof *files->owned))
        return keel_nomem(err, "decoder");
    if (llama->lora.rank) {
        files->owned[files->n_owned++] = files->merged;
        keel_params_free(&llama->params);
    } else if (llama->params.data) {
        files->owned[files->n_owned++] = llama->params.table; /* the one allocation of parameters */
    }
    keel_free(llama->unmerged);
    llama->unmerged = NULL;
    files->merged = NULL;
    llama->params = (keel_params){0};
    llama->lora = (keel_lora_config){0};
    llama->first_trained = llama->n_rows;
    return KEEL_OK;
}
