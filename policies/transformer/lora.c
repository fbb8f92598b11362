#include "policies/transformer/lora.h"

const char *const keel_lora_target_names[] = {"attention", "all", NULL};

keel_status keel_lora_check(const keel_lora_config *lora, size_t width, unsigned all, keel_err *err) {
    if (lora->rank == 0 || lora->rank > width)
        return keel_fail(err, KEEL_E_INVALID, "LoRA", "rank: expected 1 to %zu, the width, got %zu", width,
                         lora->rank);
    if (lora->targets == 0 || lora->targets > all)
        return keel_fail(err, KEEL_E_INVALID, "LoRA", "targets: expected bits of 1 to %u, got %u", all,
                         lora->targets);
    if (!(lora->alpha > 0 && lora->alpha <= 1e6))
        return keel_fail(err, KEEL_E_INVALID, "LoRA", "alpha: expected above 0 to 1e6, got %g", lora->alpha);
    if (!(lora->dropout >= 0 && lora->dropout < 1))
        return keel_fail(err, KEEL_E_INVALID, "LoRA", "dropout: expected 0 to below 1, got %g",
                         lora->dropout);
    return KEEL_OK;
}
