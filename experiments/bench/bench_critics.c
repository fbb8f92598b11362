/* Q-networks at 8 bits: is a decision quicker by products in whole numbers, or by floats that were made once
 * when the policy was opened?
 *
 *     bench_critics [rounds]      default: 15
 *
 * One decision at a time: 5 candidates of 24 features in a state of 64, two critics of 256 and 256 hidden
 * units, on one thread. `floats` is keel_qnet_infer; `int8` the same layers as rows of int8 by
 * keel_panel_matrix, inputs rounded anew for each layer. The two take turns; medians [least, most] of
 * processor time, bytes of the weights, and how far the 8 bits (by either way) are from the networks as they
 * were. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/packed.h"
#include "core/panels.h"
#include "core/process.h"
#include "policies/qnet.h"

enum { ROWS = 5, REPEAT = 400, MAX_ROUNDS = 99, WIDEST = 256, MOST_LAYERS = 16 };

static void need(keel_status status, const keel_err *err) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s\n", err->where, err->message);
    exit(1);
}

static void *room(size_t bytes) {
    void *made = calloc(1, bytes + 64);
    if (!made) exit(1);
    return made;
}

/* The layers of all critics as rows of int8. */
typedef struct held {
    size_t n;
    keel_matrix weight[MOST_LAYERS];
    const float *bias[MOST_LAYERS];
    float *panel[2];
    void *packed;
} held;

static held hold(const keel_qnet *net) {
    held made = {.panel = {room(WIDEST * 16 * sizeof(float)), room(WIDEST * 16 * sizeof(float))},
                 .packed = room(keel_panel_packed(KEEL_PANEL_ROWS, WIDEST))};
    for (size_t i = 0; i < net->params.count && made.n < MOST_LAYERS; i += 2) {
        const keel_param *param = &net->params.table[i];
        unsigned char *bytes = room(param->rows * keel_packed_row(param->cols));
        float *copy = room(param->rows * param->cols * sizeof *copy);
        memcpy(copy, keel_params_at(&net->params, i), param->rows * param->cols * sizeof *copy);
        keel_packed_round(copy, param->rows, param->cols, bytes);
        free(copy);
        made.bias[made.n] = keel_params_at(&net->params, i + 1);
        made.weight[made.n++] =
            (keel_matrix){.type = KEEL_MATRIX_I8, .rows = param->rows, .cols = param->cols, .data = bytes};
    }
    return made;
}

/* q [ROWS, outputs], the mean of critics. */
static void infer_whole(const held *h, size_t critics, const float *x, size_t in, float *q) {
    const size_t layers = h->n / critics, outputs = h->weight[layers - 1].rows;
    memset(q, 0, ROWS * outputs * sizeof *q);
    for (size_t c = 0; c < critics; c++) {
        float *from = h->panel[0], *to = h->panel[1];
        for (size_t r = 0; r < ROWS; r++)
            for (size_t i = 0; i < in; i++) from[keel_panel_at(r, i, in)] = x[r * in + i];
        for (size_t l = 0; l < layers; l++) {
            const keel_matrix *w = &h->weight[c * layers + l];
            keel_panel_pack(KEEL_PANEL_ROWS, from, 1, w->cols, 0, w->cols, h->packed);
            keel_panel_matrix(h->packed, ROWS, w, h->bias[c * layers + l], 0, w->rows, to);
            for (size_t i = 0; l + 1 < layers && i < w->rows * KEEL_PANEL; i++) to[i] = to[i] > 0 ? to[i] : 0;
            float *swap = from;
            from = to;
            to = swap;
        }
        for (size_t r = 0; r < ROWS; r++)
            for (size_t o = 0; o < outputs; o++)
                q[r * outputs + o] += from[keel_panel_at(r, o, outputs)] / (float)critics;
    }
}

static int by_number(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *name, double *seconds, size_t n) {
    qsort(seconds, n, sizeof *seconds, by_number);
    printf("%-8s %7.1f us [%.1f, %.1f]\n", name, 1e6 * seconds[n / 2], 1e6 * seconds[0],
           1e6 * seconds[n - 1]);
}

static double most_off(const float *a, const float *b, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

/* Weights become what 8 bits hold; bytes before and after. */
static void round_weights(keel_qnet *net, size_t bytes[2]) {
    for (size_t i = 0; i < net->params.count; i++) {
        const keel_param *param = &net->params.table[i];
        const size_t whole = param->rows * param->cols * sizeof(float),
                     small = param->rows * keel_packed_row(param->cols);
        unsigned char *packed = room(small);
        if (i % 2 == 0) keel_packed_round(keel_params_at(&net->params, i), param->rows, param->cols, packed);
        free(packed);
        bytes[0] += whole;
        bytes[1] += i % 2 == 0 ? small : whole;
    }
}

int main(int argc, char **argv) {
    const size_t wanted = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 15, rounds = wanted < 1 ? 1
                                                                                       : wanted > MAX_ROUNDS
                                                                                           ? MAX_ROUNDS
                                                                                           : wanted;
    const keel_qnet_shape shape = {.space = KEEL_SPACE_CANDIDATES,
                                   .state_dim = 64,
                                   .candidate_dim = 24,
                                   .heads = KEEL_N_REWARDS,
                                   .critics = 2,
                                   .hidden = {2, {256, 256}},
                                   .cost = true};
    double floats[MAX_ROUNDS], whole[MAX_ROUNDS];
    float q[3][ROWS * 16];
    size_t bytes[2] = {0};
    keel_err err = {0};
    keel_qnet net;
    keel_arena arena = {0};
    keel_rng rng = keel_rng_named(1, "bench critics", 0);
    need(keel_qnet_open(&net, &shape, &err), &err);
    keel_qnet_init(&net, 1);
    float *x = room(ROWS * net.input_dim * sizeof *x);
    const size_t n = ROWS * keel_qnet_outputs(&shape);
    for (size_t i = 0; i < ROWS * net.input_dim; i++) x[i] = (float)keel_rng_normal(&rng);
    need(keel_qnet_infer(&net, x, ROWS, q[0], NULL, &arena, &err), &err);
    round_weights(&net, bytes);
    const held h = hold(&net);
    for (size_t r = 0; r < rounds; r++) {
        double start = keel_clock_thread();
        for (int i = 0; i < REPEAT; i++) {
            keel_arena_reset(&arena);
            need(keel_qnet_infer(&net, x, ROWS, q[1], NULL, &arena, &err), &err);
        }
        floats[r] = (keel_clock_thread() - start) / REPEAT;
        start = keel_clock_thread();
        for (int i = 0; i < REPEAT; i++) infer_whole(&h, shape.critics, x, net.input_dim, q[2]);
        whole[r] = (keel_clock_thread() - start) / REPEAT;
    }
    print_times("floats", floats, rounds);
    print_times("int8", whole, rounds);
    printf("bytes    %zu, at 8 bits %zu: %.2f times smaller\n", bytes[0], bytes[1],
           (double)bytes[0] / (double)bytes[1]);
    printf("off      %.4f as floats, %.4f in whole numbers, of Q up to %.2f\n", most_off(q[0], q[1], n),
           most_off(q[0], q[2], n), most_off(q[0], (const float[ROWS * 16]){0}, n));
    return 0;
}
