#include "policies/transformer/tuning_rows.h"

const char *const keel_fake_input_names[] = {"none", "int8", NULL};

keel_status keel_tuning_check_fake(const keel_tuning_fake *fake, bool tunes, keel_err *err) {
    enum { AS_THEY_ARE };
    if (fake->quant && !tunes)
        return keel_fail(err, KEEL_E_USAGE, "fake_quant",
                         "weights that are not tuned cannot make up for it: use --mode full or freeze");
    if (!fake->quant && (fake->scales || fake->inputs == AS_THEY_ARE))
        return keel_fail(err, KEEL_E_USAGE, fake->scales ? "learned_scales" : "fake_inputs",
                         "are those of fake_quant: set it too");
    return KEEL_OK;
}

keel_status keel_tuning_check_frozen(int64_t frozen, size_t layers, const char *model, keel_err *err) {
    if ((uint64_t)frozen <= layers) return KEEL_OK;
    return keel_fail(err, KEEL_E_USAGE, "frozen_layers", "the %s has %zu layers, got %lld", model, layers,
                     (long long)frozen);
}
