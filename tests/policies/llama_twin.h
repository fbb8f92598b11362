/* The plain twin of decoders: a forward pass in double precision, straight from the formulas of
 * policies/transformer/llama.h, one token and one head after the other. */
#ifndef KEEL_TESTS_LLAMA_TWIN_H
#define KEEL_TESTS_LLAMA_TWIN_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policies/transformer/llama.h"

typedef struct llama_twin {
    const keel_llama *llama;
    size_t n;          /* tokens */
    double *x;         /* [n, hidden] */
    double *r, *a, *b; /* spare, [n, widest] */
    double *q, *k, *v; /* [n, heads * dim] */
    float *row;
    double **square; /* NULL, or for each row of the model NULL or [cols]: gets sums of its inputs' squares */
} llama_twin;

static inline double twin_frequency(const keel_llama_config *c, size_t i) {
    const double f = pow(c->rope_theta, -2 * (double)i / (double)c->head_dim), l = 2 * acos(-1) / f;
    const double original = (double)c->rope_original;
    if (c->rope == KEEL_ROPE_LINEAR) return f / c->rope_factor;
    if (c->rope == KEEL_ROPE_PLAIN || l < original / c->rope_high) return f;
    if (l > original / c->rope_low) return f / c->rope_factor;
    const double s = (original / l - c->rope_low) / (c->rope_high - c->rope_low);
    return (1 - s) * f / c->rope_factor + s * f;
}

static inline void twin_rms(const llama_twin *t, size_t row, const double *x, double *out) {
    const size_t width = t->llama->config.hidden;
    keel_matrix_read_row(&t->llama->matrix[row], 0, t->row);
    for (size_t p = 0; p < t->n; p++) {
        double sum = 0;
        for (size_t i = 0; i < width; i++) sum += x[p * width + i] * x[p * width + i];
        const double scale = 1 / sqrt(sum / (double)width + t->llama->config.epsilon);
        for (size_t i = 0; i < width; i++) out[p * width + i] = (double)t->row[i] * x[p * width + i] * scale;
    }
}

/* out [n, rows] = x [n, cols] w^T + bias */
static inline void twin_linear(const llama_twin *t, size_t row, size_t bias, const double *x, double *out) {
    const keel_matrix *w = &t->llama->matrix[row], *b = &t->llama->matrix[bias];
    float *offsets = calloc(w->rows, sizeof *offsets);
    for (size_t i = 0; t->square && t->square[row] && i < t->n * w->cols; i++)
        t->square[row][i % w->cols] += x[i] * x[i];
    if (bias && b->data) keel_matrix_read_row(b, 0, offsets);
    for (size_t o = 0; o < w->rows; o++) {
        keel_matrix_read_row(w, o, t->row);
        for (size_t p = 0; p < t->n; p++) {
            double sum = (double)offsets[o];
            for (size_t i = 0; i < w->cols; i++) sum += (double)t->row[i] * x[p * w->cols + i];
            out[p * w->rows + o] = sum;
        }
    }
    free(offsets);
}

static inline void twin_turn(const llama_twin *t, double *x, size_t heads) {
    const keel_llama_config *c = &t->llama->config;
    const size_t half = c->head_dim / 2;
    for (size_t p = 0; p < t->n; p++)
        for (size_t h = 0; h < heads; h++)
            for (size_t i = 0; i < half; i++) {
                double *at = x + (p * heads + h) * c->head_dim + i, first = at[0], second = at[half];
                const double angle = (double)p * twin_frequency(c, i);
                at[0] = first * cos(angle) - second * sin(angle);
                at[half] = second * cos(angle) + first * sin(angle);
            }
}

static inline void twin_attend(const llama_twin *t, size_t heads, size_t kv_heads, double *out) {
    const keel_llama_config *c = &t->llama->config;
    const size_t d = c->head_dim;
    double *score = calloc(t->n, sizeof *score);
    memset(out, 0, t->n * heads * d * sizeof *out);
    for (size_t h = 0; h < heads; h++) {
        const size_t g = h / (heads / kv_heads);
        for (size_t p = 0; p < t->n; p++) {
            double most = -INFINITY, sum = 0;
            for (size_t s = 0; s <= p; s++) {
                score[s] = 0;
                for (size_t i = 0; i < d; i++)
                    score[s] += t->q[(p * heads + h) * d + i] * t->k[(s * kv_heads + g) * d + i];
                score[s] /= sqrt((double)d);
                most = fmax(most, score[s]);
            }
            for (size_t s = 0; s <= p; s++) sum += score[s] = exp(score[s] - most);
            for (size_t s = 0; s <= p; s++)
                for (size_t i = 0; i < d; i++)
                    out[(p * heads + h) * d + i] += score[s] / sum * t->v[(s * kv_heads + g) * d + i];
        }
    }
    free(score);
}

static inline void twin_layer(llama_twin *t, size_t layer) {
    const keel_llama_config *c = &t->llama->config;
    const size_t first = keel_llama_row(layer, 0), inner = t->llama->matrix[first + KEEL_LLAMA_UP].rows,
                 heads = t->llama->matrix[first + KEEL_LLAMA_Q].rows / c->head_dim,
                 kv_heads = t->llama->matrix[first + KEEL_LLAMA_K].rows / c->head_dim;
    twin_rms(t, first + KEEL_LLAMA_NORM_1, t->x, t->r);
    twin_linear(t, first + KEEL_LLAMA_Q, first + KEEL_LLAMA_Q_BIAS, t->r, t->q);
    twin_linear(t, first + KEEL_LLAMA_K, first + KEEL_LLAMA_K_BIAS, t->r, t->k);
    twin_linear(t, first + KEEL_LLAMA_V, first + KEEL_LLAMA_V_BIAS, t->r, t->v);
    twin_turn(t, t->q, heads);
    twin_turn(t, t->k, kv_heads);
    twin_attend(t, heads, kv_heads, t->a);
    twin_linear(t, first + KEEL_LLAMA_O, first + KEEL_LLAMA_O_BIAS, t->a, t->r);
    for (size_t i = 0; i < t->n * c->hidden; i++) t->x[i] += t->r[i];
    twin_rms(t, first + KEEL_LLAMA_NORM_2, t->x, t->r);
    twin_linear(t, first + KEEL_LLAMA_GATE, first + KEEL_LLAMA_GATE_BIAS, t->r, t->a);
    twin_linear(t, first + KEEL_LLAMA_UP, first + KEEL_LLAMA_UP_BIAS, t->r, t->b);
    for (size_t i = 0; i < t->n * inner; i++) t->a[i] = t->a[i] / (1 + exp(-t->a[i])) * t->b[i];
    twin_linear(t, first + KEEL_LLAMA_DOWN, first + KEEL_LLAMA_DOWN_BIAS, t->a, t->r);
    for (size_t i = 0; i < t->n * c->hidden; i++) t->x[i] += t->r[i];
}

/* logits [n, vocab] of all positions of a text. square: see above. */
static inline void llama_twin_see(const keel_llama *llama, const int32_t *id, size_t n, double **square,
                                  double *logits) {
    const keel_llama_config *c = &llama->config;
    const size_t widest = c->hidden + c->inner + c->heads * c->head_dim;
    llama_twin t = {.llama = llama, .n = n, .square = square};
    double **parts[] = {&t.x, &t.r, &t.a, &t.b, &t.q, &t.k, &t.v};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) *parts[i] = calloc(n * widest, sizeof(double));
    t.row = calloc(widest, sizeof *t.row);
    for (size_t p = 0; p < n; p++) {
        keel_matrix_read_row(&llama->matrix[KEEL_LLAMA_EMBED], (size_t)id[p], t.row);
        for (size_t i = 0; i < c->hidden; i++) t.x[p * c->hidden + i] = (double)t.row[i];
    }
    for (size_t layer = 0; layer < c->layers; layer++) twin_layer(&t, layer);
    twin_rms(&t, keel_llama_norm(c), t.x, t.r);
    twin_linear(&t, c->tied ? KEEL_LLAMA_EMBED : keel_llama_head(c), 0, t.r, logits);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(*parts[i]);
    free(t.row);
}

static inline void llama_twin_run(const keel_llama *llama, const int32_t *id, size_t n, double *logits) {
    llama_twin_see(llama, id, n, NULL, logits);
}

/* ln of the probability of a token under the logits of a position. */
static inline double twin_log_prob(const double *logits, size_t vocab, int32_t id) {
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < vocab; i++) most = fmax(most, logits[i]);
    for (size_t i = 0; i < vocab; i++) sum += exp(logits[i] - most);
    return logits[id] - most - log(sum);
}

#endif
