#include "policies/soft_loss.h"

#include "policies/soft_labels.h"

bool keel_soft_targets_make(const keel_base_config *config, size_t n, size_t classes, keel_arena *arena,
                            keel_soft_targets *out) {
    *out = (keel_soft_targets){.distil = config->distil,
                               .temperature = config->distil_temperature,
                               .hard = keel_arena_calloc(arena, n * classes + 1, sizeof(float)),
                               .soft = keel_arena_calloc(arena, n * classes + 1, sizeof(float)),
                               .hard_weight = keel_arena_calloc(arena, n + 1, sizeof(float)),
                               .soft_weight = keel_arena_calloc(arena, n + 1, sizeof(float))};
    return out->hard && out->soft && out->hard_weight && out->soft_weight;
}

void keel_soft_targets_weigh(keel_soft_targets *to, size_t i, bool labelled, bool taught) {
    const double share = keel_soft_label_share(taught, labelled, to->distil);
    to->hard_weight[i] = labelled ? (float)(1 - share) : 0;
    to->soft_weight[i] = (float)(share * to->temperature * to->temperature);
    to->taught |= taught;
}

/* x / T, for the teacher's part. */
static keel_tensor *cooled(keel_tape *tape, keel_tensor *x, const keel_soft_targets *of) {
    return keel_op_scale(tape, x, (float)(1 / of->temperature));
}

keel_tensor *keel_soft_cross_entropy(keel_tape *tape, keel_tensor *x, const keel_soft_targets *of,
                                     double divisor) {
    const float by = (float)divisor;
    keel_tensor *hard = keel_op_cross_entropy(tape, x, of->hard, of->hard_weight, by);
    if (!of->taught) return hard;
    return keel_op_add(tape, hard,
                       keel_op_cross_entropy(tape, cooled(tape, x, of), of->soft, of->soft_weight, by));
}

keel_tensor *keel_soft_logistic(keel_tape *tape, keel_tensor *x, const keel_soft_targets *of,
                                double divisor) {
    const float by = (float)divisor;
    keel_tensor *hard = keel_op_logistic(tape, x, of->hard, of->hard_weight, by);
    if (!of->taught) return hard;
    return keel_op_add(tape, hard,
                       keel_op_logistic(tape, cooled(tape, x, of), of->soft, of->soft_weight, by));
}

keel_tensor *keel_soft_segments(keel_tape *tape, keel_tensor *x, const int32_t *offsets, size_t n_segments,
                                const keel_soft_targets *of, double divisor) {
    const float by = (float)divisor;
    keel_tensor *hard =
        keel_op_segment_cross_entropy(tape, x, offsets, n_segments, of->hard, of->hard_weight, by);
    if (!of->taught) return hard;
    return keel_op_add(tape, hard,
                       keel_op_segment_cross_entropy(tape, cooled(tape, x, of), offsets, n_segments, of->soft,
                                                     of->soft_weight, by));
}
