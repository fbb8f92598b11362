#include "rl/learn/shard.h"

#include <string.h>

keel_status keel_shard_input_make(const keel_qnet *net, const float *state, const float *candidates,
                                  const int32_t *offsets, const int32_t *own, size_t first, size_t n,
                                  keel_arena *arena, keel_shard_input *out, keel_err *err) {
    const keel_qnet_shape *shape = &net->shape;
    const float *own_state = state + first * shape->state_dim;
    if (shape->space != KEEL_SPACE_CANDIDATES) {
        *out = (keel_shard_input){own_state, n, NULL};
        return KEEL_OK;
    }
    size_t base = (size_t)offsets[first], rows = (size_t)offsets[first + n] - base;
    int32_t *local = keel_arena_alloc(arena, (n + 1) * sizeof *local);
    float *x = keel_arena_alloc(arena, rows * net->input_dim * sizeof *x);
    if (!local || !x) return keel_nomem(err, "learner");
    for (size_t i = 0; i <= n; ++i) local[i] = offsets[first + i] - offsets[first];
    keel_qnet_rows(net, own_state, candidates + base * shape->candidate_dim, local, own ? own + first : NULL,
                   n, x);
    *out = (keel_shard_input){x, rows, local};
    return KEEL_OK;
}

const float *keel_shard_shared(const keel_learner *learner, const keel_shard_input *input, size_t n,
                               keel_arena *arena) {
    if (!input->offsets) return input->x;
    size_t own = learner->net.shape.candidate_dim, all = learner->net.input_dim, dim = all - own;
    float *shared = keel_arena_calloc(arena, n * dim, sizeof *shared);
    for (size_t i = 0; shared && i < n; ++i)
        if (input->offsets[i + 1] > input->offsets[i])
            memcpy(shared + i * dim, input->x + (size_t)input->offsets[i] * all + own, dim * sizeof *shared);
    return shared;
}
