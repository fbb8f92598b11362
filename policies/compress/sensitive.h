/* Layers that suffer most from few bits, which keep 8 of them (config.sensitive_share). Of each layer the
 * matrices alone are rounded as config.weights will have them. It suffers as much as the squares add up to of
 * what ln p of the tokens of logged text (a decoder) or the vectors of logged texts (an encoder) differ by
 * from what they were, as in prune.h: a rise of the loss on few tokens would be lost in its noise. */
#ifndef KEEL_POLICIES_COMPRESS_SENSITIVE_H
#define KEEL_POLICIES_COMPRESS_SENSITIVE_H

#include "core/matrix_fit.h"
#include "policies/compress/compress.h"

/* keep [config.layers] gets which layers are to keep 8 bits: none where the share is 0 or the format has 8
 * bits. fit [rows of the model]: how scales are found. The model is as it was in the end. Tells
 * "layers_at_8_bits". KEEL_E_USAGE without a log; KEEL_E_INTERRUPTED. */
keel_status keel_sensitive_llama(keel_llama *llama, const keel_matrix_fit *fit, const keel_compress_job *job,
                                 bool *keep, keel_err *err);
keel_status keel_sensitive_bert(keel_bert *bert, const keel_matrix_fit *fit, const keel_compress_job *job,
                                bool *keep, keel_err *err);

#endif
