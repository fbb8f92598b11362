/* Students: an untuned encoder of another shape, made from a BERT, to be tuned with the big one as its
 * teacher (keel sft --teacher-base). In this order:
 *
 *   vocabulary  the marks, single characters, and the tokens that logged text uses most; tokenizer.json is
 *               rewritten with them
 *   layers      evenly spaced ones of the teacher's (DistilBERT, Sanh et al. 2019); static: none, and one
 *               vector a token wherever it stands (model2vec): what the teacher makes of that token alone
 *   hidden      the first principal directions of the token table P: W becomes P^T W P, with as many heads
 *               and channels of the feed-forward layer, those of the largest weights, as the width asks for
 *
 * An encoder without layers is a BERT with "num_hidden_layers": 0. */
#ifndef KEEL_POLICIES_COMPRESS_STUDENT_H
#define KEEL_POLICIES_COMPRESS_STUDENT_H

#include "policies/compress/job.h"
#include "policies/transformer/bert.h"

/* In place; nothing where no option asks for it. KEEL_E_UNSUPPORTED: the encoder is tuned or in another
 * number format; KEEL_E_INVALID: a shape that is not smaller, or no multiple of a head's width; KEEL_E_USAGE:
 * a vocabulary without conversations. After an error the encoder is of no use but to be closed. */
keel_status keel_student_bert(keel_bert *bert, const keel_compress_job *job, keel_err *err);

/* Of what is no encoder: KEEL_E_UNSUPPORTED where a student is asked for. */
keel_status keel_student_none(const keel_compress_job *job, keel_err *err);

#endif
