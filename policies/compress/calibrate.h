/* How the scales of a model's matrices are chosen: by config.calibrate, and, with KEEL_FIT_MSE, by what each
 * input column carries on the log, where there is one (mean squares: the error of a product is then least on
 * such text; Frantar et al. 2022, arXiv:2210.17323, have the same diagonal). */
#ifndef KEEL_POLICIES_COMPRESS_CALIBRATE_H
#define KEEL_POLICIES_COMPRESS_CALIBRATE_H

#include "core/matrix_fit.h"
#include "policies/compress/job.h"
#include "policies/transformer/bert.h"
#include "policies/transformer/llama.h"

/* fit: for each row of the model's table, [n_rows] and [keel_bert_rows]; importance in the arena. A matrix
 * whose inputs nobody saw (an embedding that is no head) counts all columns alike. */
keel_status keel_calibrate_llama(keel_llama *llama, const keel_compress_job *job, keel_arena *arena,
                                 keel_matrix_fit *fit, keel_err *err);
keel_status keel_calibrate_bert(keel_bert *bert, const keel_compress_job *job, keel_arena *arena,
                                keel_matrix_fit *fit, keel_err *err);

#endif
