/* Between the files of students: student.c shapes weights, student_vocabulary.c chooses tokens. */
#ifndef KEEL_POLICIES_COMPRESS_STUDENT_INTERNAL_H
#define KEEL_POLICIES_COMPRESS_STUDENT_INTERNAL_H

#include "policies/compress/student.h"

/* The tokens that stay, old ids in rising order, in the arena: at most job->config->student_vocabulary. */
keel_status keel__student_tokens(const keel_bert *bert, const keel_compress_job *job, keel_arena *arena,
                                 int32_t **out, size_t *n, keel_err *err);
/* A tokenizer of these alone, numbered in their order. */
keel_status keel__student_tokenizer(const keel_tokenizer *from, const int32_t *token, size_t n,
                                    keel_tokenizer **out, keel_err *err);

#endif
