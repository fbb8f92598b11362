#include "policies/compress/compress.h"

#include "policies/compress/prune_bert.h"
#include "policies/compress/prune_llama.h"
#include "policies/compress/quantise.h"
#include "policies/compress/student.h"
#include "policies/transformer/bert_matrix.h"

static void measure_llama(const keel_llama *llama, double *parameters, double *bytes) {
    for (size_t row = 0; row < llama->n_rows; row++) {
        const keel_matrix *matrix = &llama->matrix[row];
        if (!matrix->data) continue;
        *parameters += (double)(matrix->rows * matrix->cols);
        *bytes += (double)(matrix->rows * keel_matrix_row_bytes(matrix->type, matrix->cols));
    }
}

keel_status keel_compress_llama(keel_llama *llama, const keel_compress_job *job, keel_err *err) {
    KEEL_TRY(keel_student_none(job, err));
    measure_llama(llama, &job->report->parameters_before, &job->report->bytes_before);
    KEEL_TRY(keel_prune_llama(llama, job, err));
    KEEL_TRY(keel_quantise_llama(llama, job, err));
    measure_llama(llama, &job->report->parameters, &job->report->bytes);
    return KEEL_OK;
}

static void measure_bert(const keel_bert *bert, double *parameters, double *bytes) {
    for (size_t row = 0; row < keel_bert_rows(bert); row++) {
        const keel_matrix matrix = keel_bert_matrix(bert, row);
        *parameters += (double)(matrix.rows * matrix.cols);
        *bytes += (double)(matrix.rows * keel_matrix_row_bytes(matrix.type, matrix.cols));
    }
}

keel_status keel_compress_bert(keel_bert *bert, const keel_compress_job *job, keel_err *err) {
    measure_bert(bert, &job->report->parameters_before, &job->report->bytes_before);
    KEEL_TRY(keel_student_bert(bert, job, err));
    KEEL_TRY(keel_prune_bert(bert, job, err));
    KEEL_TRY(keel_quantise_bert(bert, job, err));
    measure_bert(bert, &job->report->parameters, &job->report->bytes);
    return KEEL_OK;
}
