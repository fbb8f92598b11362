/* Quantile regression of the return's distribution (QR-DQN, Dabney et al. 2018): N outputs theta_j at
 * tau_j = (j + 1/2) / N, and for targets y_j'
 *
 *   TD = sum_j mean_j' |tau_j - 1[u < 0]| Huber(u),  u = y_j' - theta_j   (reference offline-rl 2.1b)
 *
 * Q is the mean of the quantiles. */
#include <math.h>

#include "core/wide.h"
#include "rl/loss.h"

enum { LANES = 16 }; /* sums side by side, because one chain of additions would cost more than the rest */

/* One quantile's loss summed over the targets, and its derivative by theta. */
KEEL_WIDE static void regress(float theta, float tau, const float *restrict y, size_t n, float *restrict loss,
                              float *restrict slope) {
    float losses[LANES] = {0}, slopes[LANES] = {0};
    for (size_t first = 0; first < n; first += LANES)
        for (size_t j = 0; j < LANES; ++j) {
            size_t at = first + j < n ? first + j : n - 1;
            float u = y[at] - theta, size = fabsf(u), clipped = size < 1 ? u : copysignf(1, u);
            float weight = (first + j < n ? 1.0f : 0.0f) * (u < 0 ? 1 - tau : tau);
            losses[j] += weight * clipped * (u - 0.5f * clipped);
            slopes[j] -= weight * clipped;
        }
    *loss = *slope = 0;
    for (size_t j = 0; j < LANES; ++j) {
        *loss += losses[j];
        *slope += slopes[j];
    }
}

/* Row and head `at` of [n, K]; slopes [N] of a batch's mean. Returns the loss. */
static double regress_all(const keel_loss *l, const keel_tensor *taken, size_t at, float *slopes) {
    size_t n = l->learner->net.shape.quantiles;
    const float *theta = taken->data + at * n, *y = l->y + at * n;
    double sum = 0;
    for (size_t j = 0; j < n; ++j) {
        float loss = 0, slope = 0; /* no analyser sees through the clones of KEEL_WIDE */
        regress(theta[j], ((float)j + 0.5f) / (float)n, y, n, &loss, &slope);
        sum += (double)loss / (double)n;
        slopes[j] = slope / ((float)n * (float)l->batch->n);
    }
    return sum;
}

keel_tensor *keel_loss_quantiles(keel_loss *l, keel_tensor *taken) {
    size_t heads = l->learner->net.shape.heads, n = l->learner->net.shape.quantiles;
    float *slopes = taken ? keel_arena_calloc(&l->shard->arena, l->n * taken->cols, sizeof *slopes) : NULL;
    if (!slopes) return NULL;
    for (size_t at = 0; at < l->n * heads; ++at)
        if (l->weight[at] != 0.0f)
            l->shard->sums.td_head[at % heads] += regress_all(l, taken, at, slopes + at * n);
    return keel_loss_given(l, taken, slopes);
}
