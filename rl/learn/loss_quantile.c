/* Quantile regression of the return's distribution (QR-DQN, Dabney et al. 2018): N outputs theta_j at
 * tau_j = (j + 1/2) / N, and for targets y_j'
 *
 *   TD = sum_j mean_j' |tau_j - 1[u < 0]| Huber(u),  u = y_j' - theta_j
 *
 * Q is the mean of the quantiles. */
#include "core/simd.h"
#include "rl/learn/loss.h"

enum { LANES = 16 }; /* quantiles side by side, each with sums of its own */

/* The losses of n quantiles, each a mean over the n targets and all added up, and their derivatives by theta
 * times `scale`. */
KEEL_SIMD static void regress(const float *restrict theta, const float *restrict y, size_t n, float scale,
                              float *restrict slopes, double *restrict loss) {
    *loss = 0;
    for (size_t first = 0; first < n; first += LANES) {
        size_t width = n - first < LANES ? n - first : LANES;
        float at[LANES], tau[LANES], sum[LANES] = {0}, slope[LANES] = {0};
        for (size_t j = 0; j < LANES; ++j) {
            at[j] = theta[first + (j < width ? j : 0)];
            tau[j] = ((float)(first + j) + 0.5f) / (float)n;
        }
        for (size_t i = 0; i < n; ++i)
            for (size_t j = 0; j < LANES; ++j) {
                float u = y[i] - at[j], clipped = u > 1 ? 1 : u < -1 ? -1 : u;
                float weighted = (u < 0 ? 1 - tau[j] : tau[j]) * clipped;
                sum[j] += weighted * (u - 0.5f * clipped);
                slope[j] -= weighted;
            }
        for (size_t j = 0; j < width; ++j) {
            *loss += (double)sum[j] / (double)n;
            slopes[first + j] = scale * slope[j];
        }
    }
}

keel_tensor *keel_loss_quantiles(keel_loss *l, keel_tensor *taken) {
    size_t heads = l->learner->net.shape.heads, n = l->learner->net.shape.quantiles;
    float *slopes = taken ? keel_arena_calloc(&l->shard->arena, l->n * taken->cols, sizeof *slopes) : NULL;
    if (!slopes) return NULL;
    const float scale = 1 / ((float)n * (float)l->batch->n);
    for (size_t at = 0; at < l->n * heads; ++at) {
        double loss = 0; /* no analyser sees through the clones of KEEL_SIMD */
        if (l->weight[at] == 0.0f) continue;
        regress(taken->data + at * n, l->y + at * n, n, scale, slopes + at * n, &loss);
        l->shard->sums.td_head[at % heads] += loss;
    }
    return keel_loss_given(l, taken, slopes);
}
