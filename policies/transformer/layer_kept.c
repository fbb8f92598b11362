#include "policies/transformer/layer_kept.h"

keel_status keel_layer_largest(const uint32_t *size, size_t layers, size_t *most, bool *alike,
                               const char *model, const char *what, keel_err *err) {
    *alike = true;
    if (!size || layers == 0) return KEEL_OK;
    *most = 0;
    for (size_t l = 0; l < layers; l++) {
        if (size[l] == 0) return keel_fail(err, KEEL_E_INVALID, model, "layer %zu has no %s", l, what);
        if (size[l] > *most) *most = size[l];
        *alike = *alike && size[l] == size[0];
    }
    return KEEL_OK;
}
