/* Smaller models of the same kind: what `keel compress` does to a decoder or an encoder, in place, in this
 * order: pruning, then quantising (docs/compress.md). */
#ifndef KEEL_POLICIES_COMPRESS_COMPRESS_H
#define KEEL_POLICIES_COMPRESS_COMPRESS_H

#include "policies/compress/job.h"
#include "policies/transformer/bert.h"
#include "policies/transformer/llama.h"

/* In place. After an error the model is of no use but to be closed. KEEL_E_UNSUPPORTED: a width that the
 * number format does not take; KEEL_E_USAGE: a step that needs conversations, and there are none. */
keel_status keel_compress_llama(keel_llama *llama, const keel_compress_job *job, keel_err *err);
keel_status keel_compress_bert(keel_bert *bert, const keel_compress_job *job, keel_err *err);

#endif
