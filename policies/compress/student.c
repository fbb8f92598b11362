#include "policies/compress/student.h"

#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "core/interrupt.h"
#include "policies/compress/rank.h"
#include "policies/compress/student_internal.h"
#include "policies/transformer/bert_internal.h"
#include "policies/transformer/bert_matrix.h"

static bool is_wanted(const keel_compress_config *config) {
    return config->student_layers > 0 || config->student_hidden > 0 || config->student_static ||
           config->student_vocabulary > 0;
}

typedef struct making {
    keel_bert *bert; /* the teacher, until all is made */
    const keel_compress_job *job;
    keel_bert_config to;
    int32_t *token;           /* [to.vocab] old ids of the tokens that stay */
    size_t *layer;            /* [to.layers] of the teacher's */
    const float *table;       /* [to.vocab, hidden] vectors of the tokens, in the teacher's directions */
    double *basis;            /* [hidden, to.hidden] orthonormal columns; NULL: as wide as the teacher */
    uint32_t *head, *channel; /* [to.heads], [to.inner] that stay of the layer at hand */
    keel_arena arena;
    keel_err *err;
} making;

keel_status keel_student_none(const keel_compress_job *job, keel_err *err) {
    if (!is_wanted(job->config)) return KEEL_OK;
    keel_fail(err, KEEL_E_UNSUPPORTED, "student", "students are made of encoders alone");
    return keel_hint(err, "of a decoder, --ratio with prune=layers takes layers away");
}

static bool is_static(const making *m) {
    return m->job->config->student_static;
}

static size_t head_width(const making *m) {
    return m->bert->config.hidden / m->bert->config.heads;
}

static const float *param(const making *m, size_t row) {
    return keel_params_at(&m->bert->params, row);
}

/* ---- the shape ---- */

static keel_status fail_shape(const making *m, const char *key, size_t got, const char *expected, size_t of) {
    return keel_fail(m->err, KEEL_E_INVALID, key, "%zu: expected %s %zu", got, expected, of);
}

static keel_status choose_shape(making *m) {
    const keel_compress_config *c = m->job->config;
    const keel_bert_config *from = &m->bert->config;
    const size_t hidden = (size_t)c->student_hidden, layers = (size_t)c->student_layers;
    m->to = *from;
    if (layers > from->layers) return fail_shape(m, "student_layers", layers, "at most", from->layers);
    if (hidden > from->hidden) return fail_shape(m, "student_hidden", hidden, "at most", from->hidden);
    if (hidden % head_width(m))
        return fail_shape(m, "student_hidden", hidden, "a multiple of a head's width,", head_width(m));
    if (is_static(m) && layers)
        return keel_fail(m->err, KEEL_E_INVALID, "student_static", "a static encoder has no layers");
    if (layers) m->to.layers = layers;
    if (is_static(m)) m->to.layers = 0;
    if (hidden == 0 || hidden == from->hidden) return KEEL_OK;
    m->to.hidden = hidden;
    m->to.heads = hidden / head_width(m);
    m->to.inner = from->inner * hidden / from->hidden;
    return m->to.inner ? KEEL_OK
                       : fail_shape(m, "student_hidden", hidden, "enough to leave one of the inner numbers,",
                                    from->inner);
}

static keel_status check(const making *m) {
    const keel_bert_config *c = &m->bert->config;
    if (m->bert->compressed || m->bert->n_heads || m->bert->lora.rank || c->head_dim || c->layer_heads ||
        c->layer_inner)
        return keel_fail(m->err, KEEL_E_UNSUPPORTED, "student",
                         "a student is made from a model as it came, not from what was tuned or compressed");
    return KEEL_OK;
}

/* ---- tokens and their vectors ---- */

static keel_status choose_tokens(making *m) {
    if (m->job->config->student_vocabulary > 0) {
        if (!m->job->logged)
            return keel_fail(m->err, KEEL_E_USAGE, "student_vocabulary",
                             "needs logged text: give --store and --split");
        return keel__student_tokens(m->bert, m->job, &m->arena, &m->token, &m->to.vocab, m->err);
    }
    m->token = keel_arena_calloc(&m->arena, m->to.vocab, sizeof *m->token);
    if (!m->token) return keel_nomem(m->err, "student");
    for (size_t i = 0; i < m->to.vocab; i++) m->token[i] = (int32_t)i;
    return KEEL_OK;
}

enum { AT_ONCE = 64 };

typedef struct encoding {
    const making *m;
    float *to; /* [to.vocab, hidden] */
} encoding;

/* What the teacher makes of tokens alone: "[CLS] token [SEP]", pooled. */
static keel_status encode_tokens(void *context, size_t shard, size_t thread, keel_err *err) {
    const encoding *e = context;
    const making *m = e->m;
    const size_t first = shard * AT_ONCE, left = m->to.vocab - first, n = left < AT_ONCE ? left : AT_ONCE;
    const int32_t cls = keel_tokenizer_find(m->bert->tokenizer, "[CLS]"),
                  sep = keel_tokenizer_find(m->bert->tokenizer, "[SEP]");
    int32_t id[3 * AT_ONCE], offsets[AT_ONCE + 1] = {0};
    keel_arena scratch = {0};
    (void)thread;
    KEEL_TRY(keel_compress_go_on(err));
    if (cls < 0 || sep < 0)
        return keel_fail(err, KEEL_E_UNSUPPORTED, "student", "the tokenizer has no [CLS] and [SEP]");
    for (size_t i = 0; i < n; i++) {
        id[3 * i] = cls;
        id[3 * i + 1] = m->token[first + i];
        id[3 * i + 2] = sep;
        offsets[i + 1] = (int32_t)(3 * i + 3);
    }
    const keel_bert_batch batch = {.id = id, .offsets = offsets, .n = n};
    keel_status status =
        keel_bert_encode(m->bert, &batch, &scratch, e->to + first * m->bert->config.hidden, err);
    keel_arena_free(&scratch);
    return status;
}

/* Without their mean, which tells nothing of a token. */
static void centre(float *table, size_t rows, size_t cols) {
    for (size_t d = 0; d < cols; d++) {
        double sum = 0;
        for (size_t i = 0; i < rows; i++) sum += (double)table[i * cols + d];
        for (size_t i = 0; i < rows; i++) table[i * cols + d] -= (float)(sum / (double)rows);
    }
}

static keel_status make_table(making *m) {
    const size_t hidden = m->bert->config.hidden;
    float *table = keel_arena_calloc(&m->arena, m->to.vocab * hidden, sizeof *table);
    if (!table) return keel_nomem(m->err, "student");
    m->table = table;
    if (is_static(m)) {
        encoding e = {m, table};
        KEEL_TRY(
            keel_compress_share(m->job, (m->to.vocab + AT_ONCE - 1) / AT_ONCE, encode_tokens, &e, m->err));
        centre(table, m->to.vocab, hidden);
        return KEEL_OK;
    }
    for (size_t i = 0; i < m->to.vocab; i++)
        memcpy(table + i * hidden, param(m, KEEL_BERT_WORD) + (size_t)m->token[i] * hidden,
               hidden * sizeof *table);
    return KEEL_OK;
}

/* ---- principal directions ---- */

/* [n, n] sums of products of the table's columns. */
static double *second_moments(making *m) {
    const size_t n = m->bert->config.hidden;
    double *sum = keel_arena_calloc(&m->arena, n * n, sizeof *sum);
    for (size_t i = 0; sum && i < m->to.vocab; i++) {
        const float *x = m->table + i * n;
        for (size_t a = 0; a < n; a++)
            for (size_t b = 0; b <= a; b++) sum[a * n + b] += (double)x[a] * (double)x[b];
    }
    for (size_t a = 0; sum && a < n; a++)
        for (size_t b = 0; b < a; b++) sum[b * n + a] = sum[a * n + b];
    return sum;
}

/* Makes the columns [n, k] orthonormal, one after the other, twice for rounding (Gram-Schmidt). */
static void orthonormalise(double *q, size_t n, size_t k) {
    for (size_t j = 0; j < 2 * k; j++) {
        double *column = q + j / 2, square = 0;
        for (size_t before = 0; before < j / 2; before++) {
            double dot = 0;
            for (size_t i = 0; i < n; i++) dot += column[i * k] * q[i * k + before];
            for (size_t i = 0; i < n; i++) column[i * k] -= dot * q[i * k + before];
        }
        for (size_t i = 0; i < n; i++) square += column[i * k] * column[i * k];
        for (size_t i = 0; i < n; i++) column[i * k] /= fmax(sqrt(square), 1e-300);
    }
}

enum { ITERATIONS = 40 };

/* The first directions by orthogonal iteration (Golub and Van Loan, section 8.2.4). */
static keel_status find_basis(making *m) {
    const size_t n = m->bert->config.hidden, k = m->to.hidden;
    if (k == n) return KEEL_OK;
    const double *moments = second_moments(m);
    double *q = m->basis = keel_arena_calloc(&m->arena, n * k, sizeof *q),
           *next = keel_arena_calloc(&m->arena, n * k, sizeof *next);
    if (!moments || !q || !next) return keel_nomem(m->err, "student");
    for (size_t i = 0; i < n * k; i++) q[i] = (double)(keel_hash64_mix(i, 0x62617365) >> 11) * 0x1p-53 - 0.5;
    orthonormalise(q, n, k);
    for (int turn = 0; turn < ITERATIONS; turn++) {
        if (keel_interrupted()) return keel_fail(m->err, KEEL_E_INTERRUPTED, "student", "stopped");
        memset(next, 0, n * k * sizeof *next);
        for (size_t a = 0; a < n; a++)
            for (size_t b = 0; b < n; b++)
                for (size_t j = 0; j < k; j++) next[a * k + j] += moments[a * n + b] * q[b * k + j];
        memcpy(q, next, n * k * sizeof *q);
        orthonormalise(q, n, k);
    }
    return KEEL_OK;
}

/* x [hidden] of the teacher in the student's directions: out [to.hidden]. */
static void turn(const making *m, const float *x, float *out) {
    const size_t n = m->bert->config.hidden, k = m->to.hidden;
    for (size_t j = 0; j < k; j++) {
        double sum = 0;
        if (!m->basis) sum = (double)x[j];
        for (size_t i = 0; m->basis && i < n; i++) sum += (double)x[i] * m->basis[i * k + j];
        out[j] = (float)sum;
    }
}

/* ---- weights ---- */

/* Groups of `width` numbers that stay, of so many. */
typedef struct groups {
    size_t n, of, width;
    uint32_t *kept; /* [n] rising */
} groups;

/* Those inputs of a matrix [rows, of groups] with the largest weights. */
static keel_status choose_groups(making *m, const float *weight, size_t rows, const groups *to) {
    double *score = keel_arena_calloc(&m->arena, to->of, sizeof *score);
    uint32_t *order = keel_arena_calloc(&m->arena, to->of, sizeof *order);
    if (!score || !order) return keel_nomem(m->err, "student");
    for (size_t g = 0; g < to->of; g++)
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < to->width; i++) {
                const double w = (double)weight[(r * to->of + g) * to->width + i];
                score[g] += w * w;
            }
    KEEL_TRY(keel_rank(score, to->of, order, m->err));
    keel_rank_stay(order, to->of, to->of - to->n, to->kept);
    return KEEL_OK;
}

/* A norm's gain and bias, turned: rows at `from` and the next of the teacher, to `row` and the next. */
static void put_norm(const making *m, size_t from, size_t row, float *const *to) {
    const size_t n = m->bert->config.hidden;
    const float *gain = param(m, from);
    double square = 0;
    for (size_t i = 0; i < n; i++) square += (double)gain[i] * (double)gain[i];
    for (size_t j = 0; j < m->to.hidden; j++)
        to[row][j] = m->basis ? (float)sqrt(square / (double)n) : gain[j];
    turn(m, param(m, from + 1), to[row + 1]);
}

static void put_first(const making *m, float *const *to) {
    const size_t n = m->bert->config.hidden, k = m->to.hidden;
    for (size_t i = 0; i < m->to.vocab; i++) turn(m, m->table + i * n, to[KEEL_BERT_WORD] + i * k);
    if (is_static(m)) { /* positions, segments: zeros */
        for (size_t j = 0; j < k; j++) to[KEEL_BERT_GAIN][j] = 1;
        return;
    }
    for (size_t i = 0; i < m->to.positions; i++)
        turn(m, param(m, KEEL_BERT_POSITION) + i * n, to[KEEL_BERT_POSITION] + i * k);
    for (size_t i = 0; i < m->to.types; i++)
        turn(m, param(m, KEEL_BERT_TYPE) + i * n, to[KEEL_BERT_TYPE] + i * k);
    put_norm(m, KEEL_BERT_GAIN, KEEL_BERT_GAIN, to);
}

/* Matrices whose inputs are hidden numbers: rows that stay, turned. q, k, v: rows of the heads that stay. to:
 * the student's rows of the layer, the bias of each behind it. */
static void put_inputs(const making *m, size_t layer, size_t row, size_t parts, const groups *stay,
                       float *const *to) {
    const size_t n = m->bert->config.hidden, k = m->to.hidden;
    const float *from = param(m, keel__bert_row(layer, row)),
                *bias = param(m, keel__bert_row(layer, row + 1));
    for (size_t p = 0; p < parts; p++)
        for (size_t g = 0; g < stay->n; g++)
            for (size_t i = 0; i < stay->width; i++) {
                const size_t was = (p * stay->of + stay->kept[g]) * stay->width + i,
                             is = (p * stay->n + g) * stay->width + i;
                turn(m, from + was * n, to[row] + is * k);
                to[row + 1][is] = bias[was];
            }
}

/* Matrices whose outputs are hidden numbers: columns that stay, turned. */
static void put_outputs(const making *m, size_t layer, size_t row, const groups *stay, float *spare,
                        float *const *to) {
    const size_t n = m->bert->config.hidden, k = m->to.hidden, cols = stay->of * stay->width,
                 kept = stay->n * stay->width;
    const float *from = param(m, keel__bert_row(layer, row));
    float *column = spare, *turned = spare + n;
    for (size_t c = 0; c < kept; c++) {
        const size_t was = stay->kept[c / stay->width] * stay->width + c % stay->width;
        for (size_t r = 0; r < n; r++) column[r] = from[r * cols + was];
        turn(m, column, turned);
        for (size_t j = 0; j < k; j++) to[row][j * kept + c] = turned[j];
    }
    turn(m, param(m, keel__bert_row(layer, row + 1)), to[row + 1]);
}

static keel_status put_layer(making *m, size_t l, float *const *to) {
    const keel_bert_config *c = &m->bert->config;
    const size_t from = m->layer[l];
    const groups heads = {m->to.heads, c->heads, head_width(m), m->head},
                 inner = {m->to.inner, c->inner, 1, m->channel};
    float *spare = keel_arena_calloc(&m->arena, 2 * c->hidden, sizeof *spare);
    if (!spare) return keel_nomem(m->err, "student");
    KEEL_TRY(choose_groups(m, param(m, keel__bert_row(from, KEEL_BERT_OUT)), c->hidden, &heads));
    KEEL_TRY(choose_groups(m, param(m, keel__bert_row(from, KEEL_BERT_DOWN)), c->hidden, &inner));
    put_inputs(m, from, KEEL_BERT_QKV, 3, &heads, to);
    put_outputs(m, from, KEEL_BERT_OUT, &heads, spare, to);
    put_norm(m, keel__bert_row(from, KEEL_BERT_GAIN_1), KEEL_BERT_GAIN_1, to);
    put_inputs(m, from, KEEL_BERT_UP, 1, &inner, to);
    put_outputs(m, from, KEEL_BERT_DOWN, &inner, spare, to);
    put_norm(m, keel__bert_row(from, KEEL_BERT_GAIN_2), KEEL_BERT_GAIN_2, to);
    return KEEL_OK;
}

/* ---- all of it ---- */

static keel_status make_rooms(making *m, keel__bert_rooms *rooms) {
    const size_t n = KEEL_BERT_FIRST_LAYER + m->to.layers * KEEL_BERT_LAYER;
    keel_param *table = keel_arena_calloc(&m->arena, n, sizeof *table);
    keel_matrix_type *type = keel_arena_calloc(&m->arena, n, sizeof *type);
    if (!table || !type) return keel_nomem(m->err, "student");
    for (size_t row = 0; row < n; row++) {
        type[row] = KEEL_MATRIX_F32;
        table[row] = m->bert->params.table[row]; /* the same names */
        keel__bert_shape(&m->to, row, &table[row].rows, &table[row].cols);
    }
    return keel__bert_rooms_make(rooms, table, n, type, n, m->err);
}

static keel_status put_all(making *m, const keel_params *to) {
    float *row[KEEL_BERT_LAYER]; /* more than the first ones are */
    for (size_t i = 0; i < KEEL_BERT_FIRST_LAYER; i++) row[i] = keel_params_at(to, i);
    put_first(m, row);
    for (size_t l = 0; l < m->to.layers; l++) {
        for (size_t i = 0; i < KEEL_BERT_LAYER; i++) row[i] = keel_params_at(to, keel__bert_row(l, i));
        KEEL_TRY(put_layer(m, l, row));
    }
    return KEEL_OK;
}

static keel_status choose_layers(making *m) {
    const keel_bert_config *c = &m->bert->config;
    m->layer = keel_arena_calloc(&m->arena, m->to.layers + 1, sizeof *m->layer);
    m->head = keel_arena_calloc(&m->arena, c->heads, sizeof *m->head);
    m->channel = keel_arena_calloc(&m->arena, c->inner, sizeof *m->channel);
    if (!m->layer || !m->head || !m->channel) return keel_nomem(m->err, "student");
    for (size_t l = 0; l < m->to.layers; l++) m->layer[l] = l * c->layers / m->to.layers;
    return KEEL_OK;
}

static keel_status make(making *m, keel__bert_rooms *rooms, keel_tokenizer **tokenizer) {
    KEEL_TRY(check(m));
    KEEL_TRY(choose_shape(m));
    KEEL_TRY(choose_tokens(m));
    KEEL_TRY(choose_layers(m));
    KEEL_TRY(make_table(m));
    KEEL_TRY(find_basis(m));
    KEEL_TRY(make_rooms(m, rooms));
    KEEL_TRY(put_all(m, &rooms->params));
    if (m->job->config->student_vocabulary == 0) return KEEL_OK;
    return keel__student_tokenizer(m->bert->tokenizer, m->token, m->to.vocab, tokenizer, m->err);
}

keel_status keel_student_bert(keel_bert *bert, const keel_compress_job *job, keel_err *err) {
    making m = {.bert = bert, .job = job, .err = err};
    keel__bert_rooms rooms = {0};
    keel_tokenizer *tokenizer = NULL;
    if (!is_wanted(job->config)) return KEEL_OK;
    const keel_status status = make(&m, &rooms, &tokenizer);
    if (status == KEEL_OK) {
        keel__bert_rooms_take(bert, &rooms);
        bert->config = m.to;
        if (tokenizer) keel_tokenizer_close(bert->tokenizer);
        if (tokenizer) bert->tokenizer = tokenizer;
    }
    keel__bert_rooms_free(&rooms);
    keel_arena_free(&m.arena);
    return status;
}
