#include "policies/compress/prune_qnet.h"

#include <math.h>
#include <string.h>

#include "policies/compress/rank.h"
#include "policies/policy_internal.h"

typedef struct pruning {
    const keel_qnet *from;
    keel_qnet to;
    size_t critic;
    const float *x; /* [rows, input_dim], or NULL */
    size_t rows;
    keel_arena arena;
    keel_err *err;
} pruning;

/* A hidden layer of one critic. */
typedef struct hidden {
    size_t n;
    double *mean, *importance; /* [n]; mean: 0 where it is not known */
    uint32_t *kept;            /* [n_kept] rising */
    bool *stays;               /* [n] */
    size_t n_kept;
} hidden;

static size_t index_of(const keel_qnet *net, size_t critic, size_t layer) {
    return 2 * (critic * (net->shape.hidden.count + 1) + layer);
}

static const float *weight_of(const pruning *p, size_t layer) {
    return keel_params_at(&p->from->params, index_of(p->from, p->critic, layer));
}

static const float *bias_of(const pruning *p, size_t layer) {
    return keel_params_at(&p->from->params, index_of(p->from, p->critic, layer) + 1);
}

static const keel_param *param_of(const pruning *p, size_t layer) {
    return &p->from->params.table[index_of(p->from, p->critic, layer)];
}

/* ---- what stays ---- */

/* ||w_u||^2 of what the next layer reads of the unit. */
static double read_by(const pruning *p, size_t layer, size_t unit) {
    const keel_param *next = param_of(p, layer + 1);
    const float *w = weight_of(p, layer + 1);
    double sum = 0;
    for (size_t r = 0; r < next->rows; r++)
        sum += (double)w[r * next->cols + unit] * (double)w[r * next->cols + unit];
    return sum;
}

static double own_weight(const pruning *p, size_t layer, size_t unit) {
    const size_t cols = param_of(p, layer)->cols;
    const float *v = weight_of(p, layer) + unit * cols;
    double sum = (double)bias_of(p, layer)[unit] * (double)bias_of(p, layer)[unit];
    for (size_t c = 0; c < cols; c++) sum += (double)v[c] * (double)v[c];
    return sum;
}

/* a [rows, n] = max(0, x w^T + b) */
static float *activate(pruning *p, size_t layer, const float *x) {
    const keel_param *param = param_of(p, layer);
    float *a = keel_arena_alloc(&p->arena, p->rows * param->rows * sizeof *a);
    for (size_t r = 0; a && r < p->rows; r++)
        for (size_t u = 0; u < param->rows; u++) {
            const float *w = weight_of(p, layer) + u * param->cols;
            float sum = bias_of(p, layer)[u];
            for (size_t c = 0; c < param->cols; c++) sum += w[c] * x[r * param->cols + c];
            a[r * param->rows + u] = sum > 0 ? sum : 0;
        }
    return a;
}

/* Means into layer->mean; out: the variance. */
static double variance(const pruning *p, hidden *layer, const float *a, size_t unit) {
    double sum = 0, squares = 0;
    for (size_t r = 0; r < p->rows; r++) {
        const double value = (double)a[r * layer->n + unit];
        sum += value;
        squares += value * value;
    }
    layer->mean[unit] = sum / (double)p->rows;
    return fmax(0, squares / (double)p->rows - layer->mean[unit] * layer->mean[unit]);
}

/* The most important, of equal ones the first. */
static keel_status choose(pruning *p, hidden *layer) {
    uint32_t *order = keel_arena_alloc(&p->arena, layer->n * sizeof *order);
    if (!order) return keel_nomem(p->err, "Q-network");
    KEEL_TRY(keel_rank(layer->importance, layer->n, order, p->err));
    keel_rank_stay(order, layer->n, layer->n - layer->n_kept, layer->kept);
    for (size_t i = 0; i < layer->n_kept; i++) layer->stays[layer->kept[i]] = true;
    return KEEL_OK;
}

static keel_status look_at(pruning *p, hidden *layers) {
    const float *x = p->x;
    for (size_t l = 0; l < p->from->shape.hidden.count; l++) {
        hidden *layer = &layers[l];
        layer->n = (size_t)p->from->shape.hidden.items[l];
        layer->n_kept = (size_t)p->to.shape.hidden.items[l];
        layer->mean = keel_arena_calloc(&p->arena, layer->n, sizeof *layer->mean);
        layer->importance = keel_arena_calloc(&p->arena, layer->n, sizeof *layer->importance);
        layer->kept = keel_arena_calloc(&p->arena, layer->n, sizeof *layer->kept);
        layer->stays = keel_arena_calloc(&p->arena, layer->n, sizeof *layer->stays);
        if (!layer->mean || !layer->importance || !layer->kept || !layer->stays)
            return keel_nomem(p->err, "Q-network");
        if (x && !(x = activate(p, l, x))) return keel_nomem(p->err, "Q-network");
        for (size_t u = 0; u < layer->n; u++)
            layer->importance[u] = read_by(p, l, u) * (x ? variance(p, layer, x, u) : own_weight(p, l, u));
        KEEL_TRY(choose(p, layer));
    }
    return KEEL_OK;
}

/* ---- the smaller network ---- */

/* rows, cols: the hidden layers on both sides; NULL: outputs, inputs, which all stay. */
static void copy_layer(const pruning *p, size_t l, const hidden *rows, const hidden *cols) {
    const keel_param *from = param_of(p, l);
    const size_t at = index_of(&p->to, p->critic, l);
    const keel_param *made = &p->to.params.table[at];
    float *weight = keel_params_at(&p->to.params, at), *bias = keel_params_at(&p->to.params, at + 1);
    for (size_t r = 0; r < made->rows; r++) {
        const size_t row = rows ? rows->kept[r] : r;
        const float *w = weight_of(p, l) + row * from->cols;
        double sum = (double)bias_of(p, l)[row];
        for (size_t c = 0; c < made->cols; c++) weight[r * made->cols + c] = w[cols ? cols->kept[c] : c];
        for (size_t c = 0; cols && c < from->cols; c++)
            if (!cols->stays[c]) sum += cols->mean[c] * (double)w[c];
        bias[r] = (float)sum;
    }
}

static keel_status prune_critic(pruning *p) {
    const size_t n = p->from->shape.hidden.count;
    hidden layers[KEEL_INT_LIST_MAX] = {0};
    KEEL_TRY(look_at(p, layers));
    for (size_t l = 0; l <= n; l++)
        copy_layer(p, l, l < n ? &layers[l] : NULL, l > 0 ? &layers[l - 1] : NULL);
    keel_arena_reset(&p->arena);
    return KEEL_OK;
}

/* The largest network of the same share of each layer that has few enough weights. */
static keel_status find_shape(const keel_qnet *net, double ratio, keel_qnet_shape *out, keel_err *err) {
    enum { STEPS = 1000 };
    const double most = (1 - ratio) * (double)keel_qnet_elements(&net->shape);
    for (int step = STEPS; step > 0; step--) {
        *out = net->shape;
        for (size_t l = 0; l < out->hidden.count; l++) {
            const double units = floor((double)net->shape.hidden.items[l] * step / STEPS + .5);
            out->hidden.items[l] = units > 1 ? (int64_t)units : 1;
        }
        if ((double)keel_qnet_elements(out) <= most) return KEEL_OK;
    }
    return keel_fail(err, KEEL_E_INVALID, "critic_ratio",
                     "%g of a Q-network with %zu hidden layers cannot go", ratio, net->shape.hidden.count);
}

keel_status keel_prune_qnet(keel_qnet *net, double ratio, const float *x, size_t rows, keel_err *err) {
    pruning p = {.from = net, .x = rows ? x : NULL, .rows = rows, .err = err};
    keel_qnet_shape shape;
    KEEL_TRY(find_shape(net, ratio, &shape, err));
    KEEL_TRY(keel_qnet_open(&p.to, &shape, err));
    keel_status status = KEEL_OK;
    for (; status == KEEL_OK && p.critic < shape.critics; p.critic++) status = prune_critic(&p);
    keel_arena_free(&p.arena);
    if (status != KEEL_OK) {
        keel_qnet_close(&p.to);
        return status;
    }
    keel_qnet_close(net);
    *net = p.to;
    return KEEL_OK;
}

/* ---- policies ---- */

/* Rows of the network for the decisions of one conversation, behind those that are there. */
static keel_status add_rows(const keel_policy *policy, const keel_base *base, const keel_conversation *c,
                            keel_arena *scratch, keel_buf *to, keel_err *err) {
    for (size_t d = 0; d < c->n_decisions; d++) {
        keel_features features;
        const float *x;
        size_t rows;
        if (!keel_base_can_encode(base, &c->decisions[d])) continue;
        KEEL_TRY(keel_base_encode_decision(base, c, d, scratch, &features, err));
        KEEL_TRY(keel_policy_rows(policy, &features, scratch, &x, &rows, err));
        keel_buf_append(to, x, rows * policy->net.input_dim * sizeof *x);
    }
    return to->failed ? keel_nomem(err, "Q-network") : KEEL_OK;
}

static keel_status draw(const keel_policy *policy, const keel_base *base, const keel_compress_config *config,
                        keel_corpus *logged, keel_buf *out, keel_err *err) {
    keel_arena arena = {0}, scratch = {0};
    keel_status status = KEEL_OK;
    for (size_t i = 0; status == KEEL_OK && i < logged->count && i < (size_t)config->conversations; i++) {
        keel_conversation *read = NULL;
        keel_arena_reset(&arena);
        keel_arena_reset(&scratch);
        status = keel_compress_go_on(err);
        if (status == KEEL_OK) status = logged->read(logged, logged->by_name + i, 1, &arena, &read, err);
        if (status == KEEL_OK) status = add_rows(policy, base, read, &scratch, out, err);
    }
    keel_arena_free(&arena);
    keel_arena_free(&scratch);
    return status;
}

/* At 8 bits it stays so: the bytes are those of the network that is left. */
static keel_status pack_again(keel_policy *policy, keel_err *err) {
    if (!policy->packed) return KEEL_OK;
    policy->packed = NULL;
    return keel_policy_pack(policy, err);
}

keel_status keel_prune_policy(keel_policy *policy, const keel_base *base, const keel_compress_config *config,
                              keel_corpus *logged, keel_err *err) {
    keel_buf x = {0};
    keel_status status = KEEL_OK;
    if (config->critic_ratio == 0) return KEEL_OK;
    if (logged) status = draw(policy, base, config, logged, &x, err);
    const size_t rows = x.length / (policy->net.input_dim * sizeof(float));
    float *aligned = status == KEEL_OK && rows ? keel_alloc(x.length) : NULL;
    if (status == KEEL_OK && rows && !aligned) status = keel_nomem(err, "Q-network");
    if (aligned) memcpy(aligned, x.data, x.length);
    if (status == KEEL_OK) status = keel_prune_qnet(&policy->net, config->critic_ratio, aligned, rows, err);
    if (status == KEEL_OK) status = pack_again(policy, err);
    keel_free(aligned);
    keel_buf_free(&x);
    return status;
}
