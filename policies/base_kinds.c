#include "policies/base.h"
#include "policies/encoder_base/kind.h"
#include "policies/ngram_base/kind.h"

/* One row a kind. */
const keel_base_kind *const keel_base_kinds[] = {&keel_ngram_base_kind, &keel_encoder_base_kind, NULL};
