/* Internal header of the n-gram base: its files. */
#ifndef KEEL_POLICIES_NGRAM_BASE_FILE_H
#define KEEL_POLICIES_NGRAM_BASE_FILE_H

#include "policies/ngram_base/model.h"

keel_status keel__ngram_base_load(keel_base **out, const char *dir, keel_err *err);
keel_status keel__ngram_base_save(const keel_base *base, const char *dir, keel_err *err);
keel_status keel__ngram_base_compress(keel_base *base, const keel_compress_job *job, keel_err *err);

#endif
