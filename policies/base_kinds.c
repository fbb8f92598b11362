#include "policies/base.h"
#include "policies/decoder_base/kind.h"
#include "policies/encoder_base/kind.h"
#include "policies/ngram_base/kind.h"

/* One row a kind. Of those that start from a model, the first that knows it takes it: the encoder takes every
 * one that is left. */
const keel_base_kind *const keel_base_kinds[] = {&keel_ngram_base_kind, &keel_decoder_base_kind,
                                                 &keel_encoder_base_kind, NULL};
