#include "policies/transformer/llama_tape.h"

#include "policies/transformer/llama_fake.h"
#include "policies/transformer/llama_internal.h"

/* Rows of the computation: of each text its virtual tokens, then its tokens. Those that predict a token that
 * counts have its id and weight. */
typedef struct pass {
    keel_tape *tape;
    const keel_llama *llama;
    const keel_llama_training *training;
    const keel_llama_batch *batch;
    keel_arena *arena;
    const keel_llama_fake *fake; /* NULL: the weights as they are */
    size_t n_virtual, rows;
    int32_t *offsets;           /* [n + 1] */
    int32_t *position, *target; /* [rows] */
    keel_real *weight, *turn;   /* [rows]; [longest, head_dim] */
} pass;

typedef struct layer {
    const pass *pass;
    size_t number;
    keel_rng rng; /* as it was before the layer */
} layer;

/* ---- parameters ---- */

static bool is_trained(const pass *p, size_t row) {
    return p->training->grads && row >= p->llama->first_trained;
}

/* A row that is read from parameters: it is trained, or held as its format would. */
static bool is_param(const pass *p, size_t row) {
    return is_trained(p, row) || (p->fake && row >= p->llama->first_trained);
}

/* A row that is trained, or a vector, or a correction: always in reals. NULL: there is none. */
static keel_tensor *param(const pass *p, size_t row) {
    const keel_llama *llama = p->llama;
    const keel_matrix *matrix = &llama->matrix[row];
    if (!matrix->data) return NULL;
    if (is_param(p, row))
        return keel_tape_param(p->tape, p->fake ? &p->fake->quant.held : &llama->params,
                               row - llama->first_trained, p->training->grads);
    return keel_tape_input(p->tape, matrix->data, matrix->rows, matrix->cols);
}

/* A matrix that is not trained. */
static const keel_matrix *frozen(const pass *p, size_t row) {
    return p->fake ? &p->fake->matrix[row] : &p->llama->matrix[row];
}

/* What a matrix is multiplied with. */
static keel_tensor *input_of(const pass *p, size_t row, keel_tensor *x) {
    return p->fake && p->fake->inputs ? keel_op_round_inputs(p->tape, x, p->fake->type[row]) : x;
}

static keel_tensor *drop(const pass *p, keel_tensor *x, double rate, keel_rng *rng) {
    return p->training->drops ? keel_op_dropout(p->tape, x, (keel_real)rate, rng) : x;
}

/* s drop(x) A^T B^T */
static keel_branch low_rank(const layer *l, keel_tensor *x, size_t target, keel_rng *rng) {
    const pass *p = l->pass;
    const keel_lora_config *lora = &p->llama->lora;
    const size_t row = keel_llama_lora_row(p->llama, l->number, 1u << target);
    keel_tensor *seen =
        keel_op_linear(p->tape, drop(p, x, lora->dropout, rng), param(p, row), NULL, KEEL_LINEAR);
    return (keel_branch){.x = seen, .b = param(p, row + 1), .factor = (keel_real)keel_lora_factor(lora)};
}

static keel_tensor *linear(const layer *l, keel_tensor *x, size_t weight, size_t bias, keel_rng *rng) {
    const pass *p = l->pass;
    const size_t row = keel_llama_row(l->number, weight);
    keel_tensor *b = param(p, keel_llama_row(l->number, bias));
    keel_branch branch;
    size_t n = 0;
    for (size_t t = 0; p->llama->lora.rank && !p->training->plain && t < KEEL__N_LLAMA_TARGETS; t++)
        if (keel__llama_targets[t].row == weight && p->llama->lora.targets >> t & 1)
            branch = low_rank(l, x, t, rng), n = 1;
    if (is_param(p, row))
        return keel_op_linear_branched(p->tape, x, param(p, row), b, KEEL_LINEAR, &branch, n);
    return keel_op_linear_frozen(p->tape, x, frozen(p, row), b, KEEL_LINEAR, &branch, n);
}

/* ---- the computation ---- */

static keel_tensor *attend(const layer *l, keel_tensor *x, keel_rng *rng) {
    const pass *p = l->pass;
    const keel_llama_config *c = &p->llama->config;
    x = input_of(p, keel_llama_row(l->number, KEEL_LLAMA_Q), x);
    keel_tensor *q = linear(l, x, KEEL_LLAMA_Q, KEEL_LLAMA_Q_BIAS, rng),
                *k = linear(l, x, KEEL_LLAMA_K, KEEL_LLAMA_K_BIAS, rng),
                *v = linear(l, x, KEEL_LLAMA_V, KEEL_LLAMA_V_BIAS, rng);
    const size_t heads = keel_llama_heads(c, l->number), kv_heads = keel_llama_kv_heads(c, l->number);
    q = keel_op_rope(p->tape, q, heads, p->turn, p->position);
    k = keel_op_rope(p->tape, k, kv_heads, p->turn, p->position);
    keel_tensor *seen = keel_op_causal_attention(p->tape, q, k, v, heads, kv_heads, p->offsets, p->batch->n);
    seen = input_of(p, keel_llama_row(l->number, KEEL_LLAMA_O), seen);
    return linear(l, seen, KEEL_LLAMA_O, KEEL_LLAMA_O_BIAS, rng);
}

static keel_tensor *feed(const layer *l, keel_tensor *x, keel_rng *rng) {
    const pass *p = l->pass;
    x = input_of(p, keel_llama_row(l->number, KEEL_LLAMA_GATE), x);
    keel_tensor *gate = linear(l, x, KEEL_LLAMA_GATE, KEEL_LLAMA_GATE_BIAS, rng),
                *up = linear(l, x, KEEL_LLAMA_UP, KEEL_LLAMA_UP_BIAS, rng);
    x = input_of(p, keel_llama_row(l->number, KEEL_LLAMA_DOWN), keel_op_gate(p->tape, gate, up));
    return linear(l, x, KEEL_LLAMA_DOWN, KEEL_LLAMA_DOWN_BIAS, rng);
}

/* One layer; again in backward where nothing of it was kept. */
static keel_tensor *run_layer(const void *context, keel_tape *tape, keel_tensor *x) {
    const layer *l = context;
    const pass *p = l->pass;
    const double epsilon = p->llama->config.epsilon, rate = p->training->dropout;
    keel_rng rng = l->rng;
    keel_tensor *sum = NULL, *gain = param(p, keel_llama_row(l->number, KEEL_LLAMA_NORM_1)),
                *more = attend(l, keel_op_rms_norm(tape, x, NULL, gain, epsilon, NULL), &rng);
    gain = param(p, keel_llama_row(l->number, KEEL_LLAMA_NORM_2));
    x = keel_op_rms_norm(tape, x, drop(p, more, rate, &rng), gain, epsilon, &sum);
    return keel_op_add_onto(tape, sum, drop(p, feed(l, x, &rng), rate, &rng));
}

static keel_tensor *run_layers(const pass *p, keel_tensor *x) {
    const keel_llama *llama = p->llama;
    const size_t n = llama->config.layers;
    layer *layers = keel_arena_calloc(p->arena, n, sizeof *layers);
    if (!layers) return NULL;
    for (size_t i = 0; i < n; i++) {
        const bool trains = is_trained(p, llama->lora.rank ? llama->n_rows : keel_llama_row(i, 0));
        layers[i] = (layer){.pass = p, .number = i};
        keel_pcg64_seed(&layers[i].rng, p->training->seed, i);
        x = keel_tape_segment(p->tape, x, p->training->keep, trains, run_layer, &layers[i]);
    }
    return x;
}

/* ---- tokens in and out ---- */

/* Vectors of tokens, in the order of the batch. */
static keel_tensor *embed_tokens(const pass *p) {
    const keel_matrix *table = frozen(p, KEEL_LLAMA_EMBED);
    const size_t total = (size_t)p->batch->offsets[p->batch->n];
    if (is_param(p, KEEL_LLAMA_EMBED))
        return keel_op_rows(p->tape, param(p, KEEL_LLAMA_EMBED), p->batch->id, total);
    keel_real *rows = keel_arena_calloc(p->arena, total * table->cols, sizeof *rows);
    for (size_t t = 0; rows && t < total; t++)
        keel_matrix_read_row(table, (size_t)p->batch->id[t], rows + t * table->cols);
    return rows ? keel_tape_input(p->tape, rows, total, table->cols) : NULL;
}

/* Each text's virtual tokens before its tokens. */
static keel_tensor *embed(const pass *p) {
    keel_tensor *tokens = embed_tokens(p);
    if (!p->n_virtual) return tokens;
    int32_t *index = keel_arena_calloc(p->arena, p->rows, sizeof *index);
    if (!index) return NULL;
    for (size_t r = 0, t = 0; r < p->rows; r++)
        index[r] = (size_t)p->position[r] < p->n_virtual ? p->position[r] : (int32_t)(p->n_virtual + t++);
    return keel_op_rows(p->tape, keel_op_stack(p->tape, param(p, keel_llama_virtual_row(p->llama)), tokens),
                        index, p->rows);
}

static size_t vocabulary(const keel_llama *llama) {
    const size_t size = llama->tokenizer ? keel_tokenizer_size(llama->tokenizer) : llama->config.vocab;
    return size < llama->config.vocab ? size : llama->config.vocab;
}

static size_t head_row(const keel_llama *llama) {
    return llama->config.tied ? (size_t)KEEL_LLAMA_EMBED : keel_llama_head(&llama->config);
}

/* [rows, hidden] behind the last norm. */
static keel_tensor *states(const pass *p) {
    keel_tensor *gain = param(p, keel_llama_norm(&p->llama->config));
    return keel_op_rms_norm(p->tape, run_layers(p, embed(p)), NULL, gain, p->llama->config.epsilon, NULL);
}

/* log_prob [rows] or NULL: of what rows predict. teacher: or NULL. */
static keel_tensor *predict(const pass *p, const keel_llama_loss *loss, const keel_token_teacher *teacher,
                            keel_real *log_prob) {
    const keel_llama *llama = p->llama;
    const size_t head = head_row(llama);
    const keel_token_loss to = {.w = is_param(p, head) ? param(p, head) : NULL,
                                .frozen = frozen(p, head),
                                .vocabulary = vocabulary(llama),
                                .target = p->target,
                                .weight = p->weight,
                                .offsets = p->offsets,
                                .n = p->batch->n,
                                .divisor = loss->divisor,
                                .smoothing = loss->smoothing,
                                .log_prob = log_prob,
                                .teacher = teacher};
    return keel_op_token_loss(p->tape, input_of(p, head, states(p)), &to);
}

/* ---- the batch ---- */

static keel_status check(const pass *p, size_t *longest, keel_err *err) {
    const keel_llama_batch *batch = p->batch;
    const size_t size = vocabulary(p->llama);
    *longest = 0;
    if (p->llama->unmerged && !p->training->plain)
        return keel_fail(err, KEEL_E_USAGE, "decoder",
                         "it is merged: it cannot be tuned before it is unmerged");
    if (batch->n == 0 || batch->offsets[0] != 0)
        return keel_fail(err, KEEL_E_INVALID, "decoder", "expected texts from 0 on, got %zu", batch->n);
    for (size_t i = 0; i < batch->n; i++) {
        if (batch->offsets[i + 1] <= batch->offsets[i])
            return keel_fail(err, KEEL_E_INVALID, "decoder", "text %zu is empty", i);
        const size_t tokens = (size_t)(batch->offsets[i + 1] - batch->offsets[i]) + p->n_virtual;
        if (tokens > p->llama->config.positions)
            return keel_fail(err, KEEL_E_INVALID, "decoder",
                             "text %zu has %zu tokens, the model %zu positions", i, tokens,
                             p->llama->config.positions);
        if (tokens > *longest) *longest = tokens;
    }
    for (int32_t t = 0; t < batch->offsets[batch->n]; t++)
        if (batch->id[t] < 0 || (size_t)batch->id[t] >= size)
            return keel_fail(err, KEEL_E_INVALID, "decoder", "token %d: expected 0 to %zu, got %d", t,
                             size - 1, batch->id[t]);
    return KEEL_OK;
}

/* The row of a token is told what it is predicted by: the row before it, if its text has one. */
static void fill_rows(const pass *p) {
    const keel_llama_batch *batch = p->batch;
    for (size_t i = 0; i < batch->n; i++) {
        const int32_t before = (int32_t)((i + 1) * p->n_virtual);
        p->offsets[i + 1] = batch->offsets[i + 1] + before;
        for (int32_t r = p->offsets[i]; r < p->offsets[i + 1]; r++) p->position[r] = r - p->offsets[i];
        for (int32_t t = batch->offsets[i]; t < batch->offsets[i + 1]; t++) {
            if (t + before == p->offsets[i]) continue;
            p->target[t + before - 1] = batch->id[t];
            p->weight[t + before - 1] = batch->weight[t];
        }
    }
}

static keel_status prepare(pass *p, keel_err *err) {
    size_t longest;
    p->fake = p->training->plain ? NULL : p->llama->fake;
    p->n_virtual = p->training->plain ? 0 : p->llama->n_virtual;
    KEEL_TRY(check(p, &longest, err));
    p->rows = (size_t)p->batch->offsets[p->batch->n] + p->batch->n * p->n_virtual;
    p->offsets = keel_arena_calloc(p->arena, p->batch->n + 1, sizeof *p->offsets);
    p->position = keel_arena_calloc(p->arena, p->rows, sizeof *p->position);
    p->target = keel_arena_calloc(p->arena, p->rows, sizeof *p->target);
    p->weight = keel_arena_calloc(p->arena, p->rows, sizeof *p->weight);
    p->turn = keel_arena_calloc(p->arena, longest * p->llama->config.head_dim, sizeof *p->turn);
    if (!p->offsets || !p->position || !p->target || !p->weight || !p->turn)
        return keel_nomem(err, "decoder");
    fill_rows(p);
    for (size_t i = 0; i < longest; i++)
        keel_llama_turn(&p->llama->config, i, p->turn + i * p->llama->config.head_dim);
    return KEEL_OK;
}

/* ---- a teacher ---- */

/* Its states by the student's rows: both predict the same token. A row that predicts the first token of a
 * text, which only virtual tokens do, has none: it must not count. */
static keel_tensor *by_rows_of(const pass *student, const pass *teacher, keel_tensor *x, keel_err *err) {
    int32_t *index = keel_arena_calloc(student->arena, student->rows, sizeof *index);
    if (!student->n_virtual || !index) return index ? x : NULL;
    for (size_t i = 0, r = 0; i < student->batch->n; i++)
        for (; (int32_t)r < student->offsets[i + 1]; r++) {
            const size_t position = (size_t)student->position[r];
            if (position < student->n_virtual && student->weight[r] != 0) {
                keel_fail(err, KEEL_E_UNSUPPORTED, "decoder", "the teacher does not predict first tokens");
                return NULL;
            }
            index[r] = teacher->offsets[i] +
                       (int32_t)(position < student->n_virtual ? 0 : position - student->n_virtual);
        }
    return keel_op_rows(student->tape, x, index, student->rows);
}

/* What the teacher says of the same texts, without a gradient. */
static keel_status listen(const pass *student, const keel_llama_teacher *from, keel_token_teacher *out,
                          keel_err *err) {
    keel_llama_training *training = keel_arena_calloc(student->arena, 1, sizeof *training);
    pass *p = keel_arena_calloc(student->arena, 1, sizeof *p);
    if (!training || !p) return keel_nomem(err, "decoder");
    if (from->llama->n_virtual)
        return keel_fail(err, KEEL_E_UNSUPPORTED, "decoder", "a teacher with virtual tokens");
    *training = (keel_llama_training){.keep = KEEL_KEEP_NOTHING, .plain = from->llama->unmerged != NULL};
    *p = (pass){.tape = student->tape,
                .llama = from->llama,
                .training = training,
                .batch = student->batch,
                .arena = student->arena};
    KEEL_TRY(prepare(p, err));
    keel_tensor *x = states(p);
    KEEL_TRY(keel_tape_check(p->tape, x, err));
    x = by_rows_of(student, p, x, err);
    if (!x) return err && err->code != KEEL_OK ? err->code : keel_nomem(err, "decoder");
    *out = (keel_token_teacher){.x = x->data,
                                .w = &from->llama->matrix[head_row(from->llama)],
                                .share = from->share,
                                .temperature = from->temperature};
    return KEEL_OK;
}

/* ---- all together ---- */

/* By tokens what was by the rows that predict them. */
static void put_back(const pass *p, const keel_real *by_row, keel_real *by_token) {
    const keel_llama_batch *batch = p->batch;
    for (size_t i = 0; i < batch->n; i++)
        for (int32_t t = batch->offsets[i]; t < batch->offsets[i + 1]; t++) {
            const int32_t row = t + (int32_t)((i + 1) * p->n_virtual);
            by_token[t] = row > p->offsets[i] ? by_row[row - 1] : 0;
        }
}

keel_tensor *keel_llama_on_tape(keel_tape *tape, const keel_llama *llama, const keel_llama_training *training,
                                const keel_llama_batch *batch, const keel_llama_loss *loss, keel_arena *arena,
                                keel_err *err) {
    pass *p = keel_arena_calloc(arena, 1, sizeof *p);
    if (!p) {
        keel_nomem(err, "decoder");
        return NULL;
    }
    *p = (pass){.tape = tape, .llama = llama, .training = training, .batch = batch, .arena = arena};
    if (prepare(p, err) != KEEL_OK) return NULL;
    keel_real *log_prob = loss->log_prob ? keel_arena_calloc(arena, p->rows, sizeof *log_prob) : NULL;
    if (loss->log_prob && !log_prob) {
        keel_nomem(err, "decoder");
        return NULL;
    }
    keel_token_teacher *teacher = loss->teacher ? keel_arena_calloc(arena, 1, sizeof *teacher) : NULL;
    if (loss->teacher && !teacher) keel_nomem(err, "decoder");
    if (loss->teacher && (!teacher || listen(p, loss->teacher, teacher, err) != KEEL_OK)) return NULL;
    keel_tensor *out = predict(p, loss, teacher, log_prob);
    if (out && log_prob) put_back(p, log_prob, loss->log_prob);
    return out;
}
