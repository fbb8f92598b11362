#include "policies/qnet.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/gemm.h"
#include "core/ops.h"

/* ---- shape ---- */

static size_t n_layers(const keel_qnet_shape *shape) {
    return shape->hidden.count + 1;
}

static size_t outputs(const keel_qnet_shape *shape) {
    size_t heads = keel_qnet_outputs(shape);
    return shape->space == KEEL_SPACE_CANDIDATES ? heads : heads * shape->n_acts;
}

static size_t inputs(const keel_qnet_shape *shape) {
    if (shape->space != KEEL_SPACE_CANDIDATES) return shape->state_dim;
    return 2 * shape->candidate_dim + shape->state_dim; /* own, mean of the set, state */
}

static size_t layer_in(const keel_qnet_shape *shape, size_t layer) {
    return layer == 0 ? inputs(shape) : (size_t)shape->hidden.items[layer - 1];
}

static size_t layer_out(const keel_qnet_shape *shape, size_t layer) {
    return layer == shape->hidden.count ? outputs(shape) : (size_t)shape->hidden.items[layer];
}

static size_t weight_index(const keel_qnet_shape *shape, size_t critic, size_t layer) {
    return 2 * (critic * n_layers(shape) + layer);
}

static keel_status check_shape(const keel_qnet_shape *shape, keel_err *err) {
    static const char where[] = "Q-network";
    const size_t most = 1u << 20; /* of any one dimension: keeps every product below in range */
    bool fixed = shape->space != KEEL_SPACE_CANDIDATES;
    if (shape->heads == 0 || shape->heads > KEEL_N_REWARDS || shape->critics == 0 || shape->critics > 64)
        return keel_fail(err, KEEL_E_INVALID, where,
                         "expected 1 to %d heads and 1 to 64 critics, got %zu and %zu", (int)KEEL_N_REWARDS,
                         shape->heads, shape->critics);
    if (inputs(shape) == 0 || shape->state_dim > most || shape->candidate_dim > most ||
        shape->n_acts > most || (fixed ? shape->n_acts == 0 : shape->candidate_dim == 0))
        return keel_fail(err, KEEL_E_INVALID, where,
                         "impossible sizes: state %zu, candidate %zu, acts %zu (space %s)", shape->state_dim,
                         shape->candidate_dim, shape->n_acts, keel_space_name(shape->space));
    if (shape->cost && shape->quantiles > 1)
        return keel_fail(err, KEEL_E_INVALID, where, "no cost critic with several quantiles");
    if (shape->quantiles > 1024)
        return keel_fail(err, KEEL_E_INVALID, where, "expected at most 1024 quantiles, got %zu",
                         shape->quantiles);
    if (shape->hidden.count > KEEL_INT_LIST_MAX)
        return keel_fail(err, KEEL_E_INVALID, where, "expected at most %d hidden layers, got %zu",
                         (int)KEEL_INT_LIST_MAX, shape->hidden.count);
    for (size_t i = 0; i < shape->hidden.count; i++)
        if (shape->hidden.items[i] < 1 || shape->hidden.items[i] > (int64_t)most)
            return keel_fail(err, KEEL_E_INVALID, where, "expected hidden layers of 1 to %zu units, got %lld",
                             most, (long long)shape->hidden.items[i]);
    return KEEL_OK;
}

size_t keel_qnet_elements(const keel_qnet_shape *shape) {
    size_t sum = 0;
    if (check_shape(shape, NULL) != KEEL_OK) return 0;
    for (size_t layer = 0; layer < n_layers(shape); layer++)
        sum += (layer_in(shape, layer) + 1) * layer_out(shape, layer);
    return sum * shape->critics;
}

/* ---- life ---- */

enum { NAME_ROOM = 64 };

static void name_layer(keel_param *param, char (*name)[NAME_ROOM], const keel_qnet_shape *shape,
                       const char *prefix, size_t critic, size_t layer) {
    size_t in = layer_in(shape, layer), out = layer_out(shape, layer);
    snprintf(name[0], NAME_ROOM, "%s.%zu.layer.%zu.weight", prefix, critic, layer);
    snprintf(name[1], NAME_ROOM, "%s.%zu.layer.%zu.bias", prefix, critic, layer);
    param[0] = (keel_param){name[0], out, in, KEEL_INIT_UNIFORM, (double)in, true, 0};
    param[1] = (keel_param){name[1], 1, out, KEEL_INIT_UNIFORM, (double)in, false, 0};
}

size_t keel_qnet_n_params(const keel_qnet_shape *shape) {
    return 2 * shape->critics * n_layers(shape);
}

keel_status keel_qnet_list(const keel_qnet_shape *shape, const char *name, keel_arena *arena,
                           keel_param *rows, keel_err *err) {
    KEEL_TRY(check_shape(shape, err));
    char(*names)[NAME_ROOM] = keel_arena_calloc(arena, keel_qnet_n_params(shape), NAME_ROOM);
    if (!names) return keel_nomem(err, "Q-network");
    for (size_t critic = 0; critic < shape->critics; critic++)
        for (size_t layer = 0; layer < n_layers(shape); layer++) {
            size_t index = weight_index(shape, critic, layer);
            name_layer(rows + index, names + index, shape, name, critic, layer);
        }
    return KEEL_OK;
}

keel_qnet keel_qnet_over(const keel_qnet_shape *shape, const keel_params *block, size_t first) {
    keel_qnet net = {.shape = *shape, .first = first, .input_dim = inputs(shape), .params = *block};
    net.params.count = keel_qnet_n_params(shape);
    net.params.table += first;
    net.params.offset += first;
    return net;
}

keel_status keel_qnet_open(keel_qnet *net, const keel_qnet_shape *shape, keel_err *err) {
    KEEL_TRY(check_shape(shape, err));
    size_t count = keel_qnet_n_params(shape);
    keel_arena arena = {0};
    keel_params block;
    keel_param *table = keel_arena_calloc(&arena, count, sizeof *table);
    keel_status status =
        table ? keel_qnet_list(shape, "critic", &arena, table, err) : keel_nomem(err, "Q-network");
    if (status == KEEL_OK) status = keel_params_make(&block, table, count, err);
    keel_arena_free(&arena);
    if (status == KEEL_OK) *net = keel_qnet_over(shape, &block, 0);
    return status;
}

void keel_qnet_init(keel_qnet *net, uint64_t seed) {
    size_t per_critic = 2 * n_layers(&net->shape);
    for (size_t critic = 0; critic < net->shape.critics; critic++) {
        keel_params view = net->params; /* the critic's own rows of the table, over the same block */
        view.count = per_critic;
        view.table += critic * per_critic;
        view.offset += critic * per_critic;
        keel_rng rng = keel_rng_stream(seed, KEEL_STREAM_CRITIC_INIT, net->first + critic);
        keel_params_init(&view, &rng);
    }
}

void keel_qnet_close(keel_qnet *net) {
    if (!net) return;
    keel_params_free(&net->params);
    *net = (keel_qnet){0};
}

/* ---- rows ---- */

size_t keel_qnet_n_rows(const keel_qnet *net, const int32_t *offsets, size_t n) {
    return net->shape.space == KEEL_SPACE_CANDIDATES ? (size_t)offsets[n] : n;
}

/* Of the distinct candidates, so that one that is offered twice counts once. */
static void mean_of_set(float *mean, const float *set, size_t n, size_t dim) {
    size_t distinct = 0;
    memset(mean, 0, dim * sizeof *mean);
    for (size_t i = 0; i < n; i++) {
        size_t same = 0;
        while (same < i && memcmp(set + same * dim, set + i * dim, dim * sizeof *set) != 0) same++;
        if (same < i) continue;
        for (size_t d = 0; d < dim; d++) mean[d] += set[i * dim + d];
        distinct++;
    }
    for (size_t d = 0; d < dim; d++) mean[d] /= (float)distinct;
}

/* The summary is made in the first row and copied on: all rows of a set share it. */
static void set_rows(const keel_qnet *net, const float *state, const float *set, size_t n, size_t own,
                     float *x) {
    size_t state_dim = net->shape.state_dim, dim = net->shape.candidate_dim;
    float *shared = x + dim;
    mean_of_set(shared, set, own, dim);
    memcpy(shared + dim, state, state_dim * sizeof *x);
    for (size_t i = 0; i < n; i++, x += net->input_dim) {
        memcpy(x, set + i * dim, dim * sizeof *x);
        if (i > 0) memcpy(x + dim, shared, (net->input_dim - dim) * sizeof *x);
    }
}

void keel_qnet_rows(const keel_qnet *net, const float *state, const float *candidates, const int32_t *offsets,
                    const int32_t *own, size_t n, float *x) {
    size_t state_dim = net->shape.state_dim, dim = net->shape.candidate_dim;
    if (net->shape.space != KEEL_SPACE_CANDIDATES) {
        if (n > 0) memcpy(x, state, n * state_dim * sizeof *x);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        size_t first = (size_t)offsets[i], size = (size_t)offsets[i + 1] - first;
        if (size == 0) continue; /* transitions without a next decision have an empty set */
        set_rows(net, state + i * state_dim, candidates + first * dim, size, own ? (size_t)own[i] : size,
                 x + first * net->input_dim);
    }
}

/* ---- the composite ---- */

double keel_qnet_share(const keel_qnet_shape *shape, const double *weight, size_t h) {
    size_t quantiles = keel_qnet_quantiles(shape);
    if (h >= shape->heads * quantiles) return 0;
    return (shape->heads > 1 ? weight[h / quantiles] : 1) / (double)quantiles;
}

double keel_qnet_composite(const keel_qnet_shape *shape, const double *weight, const float *q,
                           size_t stride) {
    size_t quantiles = keel_qnet_quantiles(shape);
    double sum = 0;
    for (size_t k = 0; k < shape->heads; k++) {
        double head = 0;
        for (size_t j = 0; j < quantiles; j++) head += (double)q[(k * quantiles + j) * stride];
        sum += keel_qnet_share(shape, weight, k * quantiles) * head;
    }
    return sum;
}

double keel_qnet_cost(const keel_qnet_shape *shape, const float *q, size_t stride) {
    return shape->cost ? fmax(0, (double)q[shape->heads * stride]) : 0;
}

double keel_qnet_objective(const keel_qnet_shape *shape, const double *weight, double cost_weight,
                           const float *q, size_t stride) {
    return keel_qnet_composite(shape, weight, q, stride) - cost_weight * keel_qnet_cost(shape, q, stride);
}

/* ---- forward ---- */

keel_tensor *keel_qnet_forward(keel_tape *tape, const keel_qnet *net, const float *params, float *grads,
                               size_t critic, keel_tensor *x, float dropout, keel_rng *rng) {
    keel_params view =
        net->params; /* the same table over the caller's block; the tape keeps only pointers into it */
    view.data = (float *)(uintptr_t)params;
    for (size_t layer = 0; layer < n_layers(&net->shape); layer++) {
        size_t index = weight_index(&net->shape, critic, layer);
        bool last = layer == net->shape.hidden.count;
        keel_tensor *weight = keel_tape_param(tape, &view, index, grads);
        keel_tensor *bias = keel_tape_param(tape, &view, index + 1, grads);
        x = keel_op_linear(tape, x, weight, bias, last ? KEEL_LINEAR : KEEL_RELU);
        if (!last && dropout > 0) x = keel_op_dropout(tape, x, dropout, rng);
    }
    return x;
}

/* y [rows, out] = x [rows, in] w[out, in]^T + bias, without the tape; rectified when relu. */
static void plain_linear(float *y, const float *x, size_t rows, size_t in, size_t out, const float *weight,
                         const float *bias, bool relu) {
    for (size_t r = 0; r < rows; r++) memcpy(y + r * out, bias, out * sizeof *y);
    keel_gemm(false, true, rows, out, in, 1, x, in, weight, in, 1, y, out);
    if (!relu) return;
    for (size_t i = 0; i < rows * out; i++) y[i] = y[i] > 0 ? y[i] : 0;
}

static const float *plain_critic(const keel_qnet *net, size_t critic, const float *x, size_t rows,
                                 float *buffer[2]) {
    for (size_t layer = 0; layer < n_layers(&net->shape); layer++) {
        size_t index = weight_index(&net->shape, critic, layer);
        float *y = buffer[layer % 2];
        plain_linear(y, x, rows, layer_in(&net->shape, layer), layer_out(&net->shape, layer),
                     keel_params_at(&net->params, index), keel_params_at(&net->params, index + 1),
                     layer < net->shape.hidden.count);
        x = y;
    }
    return x;
}

keel_status keel_qnet_infer(const keel_qnet *net, const float *x, size_t rows, float *q, float *minimum,
                            keel_arena *scratch, keel_err *err) {
    size_t widest = outputs(&net->shape), total = rows * outputs(&net->shape), room;
    for (size_t i = 0; i < net->shape.hidden.count; i++)
        if (layer_out(&net->shape, i) > widest) widest = layer_out(&net->shape, i);
    float *buffer[2] = {NULL, NULL};
    if (keel_size_mul(rows, widest * sizeof(float), &room)) {
        buffer[0] = keel_arena_alloc(scratch, room);
        buffer[1] = keel_arena_alloc(scratch, room);
    }
    if (!buffer[0] || !buffer[1]) return keel_nomem(err, "Q-network");
    for (size_t critic = 0; critic < net->shape.critics; critic++) {
        const float *one = plain_critic(net, critic, x, rows, buffer);
        for (size_t i = 0; i < total; i++) {
            q[i] = critic == 0 ? one[i] : q[i] + one[i];
            if (minimum) minimum[i] = critic == 0 || one[i] < minimum[i] ? one[i] : minimum[i];
        }
    }
    for (size_t i = 0; net->shape.critics > 1 && i < total; i++) q[i] /= (float)net->shape.critics;
    return KEEL_OK;
}
