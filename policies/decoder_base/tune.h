/* Internal header of the decoder base: its tuning, in order. */
#ifndef KEEL_POLICIES_DECODER_BASE_TUNE_H
#define KEEL_POLICIES_DECODER_BASE_TUNE_H

#include "policies/decoder_base/model.h"

keel_status keel__decoder_base_tune(const keel_base_tuning *job, keel_base **out, keel_base_report *report,
                                    keel_err *err);

#endif
