/* Encoders as ONNX, for other programs: the door to transformer/onnx.h. */
#ifndef KEEL_POLICIES_ENCODER_ONNX_H
#define KEEL_POLICIES_ENCODER_ONNX_H

#include "core/status.h"

/* Writes the encoder in a folder (policies/encoder.h), LoRA merged and what is compressed in F32, as a graph
 * from tokens to vectors. KEEL_E_CONFLICT where `to` is there. KEEL_E_UNSUPPORTED where Keel was built
 * without it. */
keel_status keel_encoder_onnx(const char *from, const char *to, keel_err *err);

#endif
