#include "policies/compress/quantise.h"

#include "core/file.h"
#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/llama_internal.h"

keel_matrix_type keel_quantise_type(const keel_compress_config *config, bool outer) {
    (void)outer;
    switch (config->weights) {
    case KEEL_COMPRESS_Q8_0:
    default:
        return KEEL_MATRIX_Q8_0;
    }
}

/* ---- one matrix ---- */

typedef struct quantising {
    const keel_matrix *from;
    keel_matrix to;
    char *data;
    size_t rows; /* of a shard */
} quantising;

static keel_status quantise_rows(void *context, size_t shard, size_t thread, keel_err *err) {
    const quantising *q = context;
    const size_t bytes = keel_matrix_row_bytes(q->to.type, q->to.cols), first = shard * q->rows,
                 end = first + q->rows < q->to.rows ? first + q->rows : q->to.rows;
    float *row = keel_alloc(q->to.cols * sizeof *row);
    (void)thread;
    if (!row) return keel_nomem(err, "compress");
    for (size_t r = first; r < end; r++) {
        keel_matrix_read_row(q->from, r, row);
        keel_matrix_write_row(q->to.type, row, q->to.cols, q->data + r * bytes);
    }
    keel_free(row);
    return KEEL_OK;
}

/* *out: the matrix in the type, its data taken with keel_alloc. */
static keel_status quantise(const keel_matrix *from, keel_matrix_type type, const char *name,
                            const keel_compress_job *job, keel_matrix *out, keel_err *err) {
    enum { SHARD_ROWS = 64 };
    quantising q = {
        .from = from, .to = {.type = type, .rows = from->rows, .cols = from->cols}, .rows = SHARD_ROWS};
    const size_t shards = (from->rows + SHARD_ROWS - 1) / SHARD_ROWS;
    if (from->cols % KEEL_MATRIX_BLOCK != 0) {
        keel_fail(err, KEEL_E_UNSUPPORTED, name,
                  "its width %zu is no multiple of %d, which this format needs", from->cols,
                  KEEL_MATRIX_BLOCK);
        return keel_hint(err, "--weights int8 takes any width");
    }
    q.data = keel_alloc(from->rows * keel_matrix_row_bytes(type, from->cols));
    if (!q.data) return keel_nomem(err, name);
    const keel_status status = keel_compress_share(job, shards, quantise_rows, &q, err);
    q.to.data = q.data;
    *out = q.to;
    if (status != KEEL_OK) keel_free(q.data);
    return status;
}

/* ---- models ---- */

keel_status keel_quantise_llama(keel_llama *llama, const keel_compress_job *job, keel_err *err) {
    const keel_llama_config *c = &llama->config;
    if (job->config->weights == KEEL_COMPRESS_NONE) return KEEL_OK;
    for (size_t row = 0; row < llama->n_rows; row++) {
        const bool outer = row == KEEL_LLAMA_EMBED || row == keel_llama_head(c);
        char name[128];
        keel_matrix made;
        if (!llama->matrix[row].data || !keel_llama_is_matrix(c, row)) continue;
        keel_llama_name(c, row, name);
        KEEL_TRY(
            quantise(&llama->matrix[row], keel_quantise_type(job->config, outer), name, job, &made, err));
        KEEL_TRY(keel__llama_replace(llama, row, made, err));
    }
    return KEEL_OK;
}

keel_status keel_quantise_bert(keel_bert *bert, const keel_compress_job *job, keel_err *err) {
    const size_t n = keel_bert_rows(bert);
    if (job->config->weights == KEEL_COMPRESS_NONE) return KEEL_OK;
    keel_matrix_type *type = keel_calloc(n, sizeof *type);
    if (!type) return keel_nomem(err, "compress");
    for (size_t row = 0; row < n; row++)
        type[row] = keel_quantise_type(job->config, row < KEEL_BERT_FIRST_LAYER);
    const keel_status status = keel_bert_convert(bert, type, err);
    keel_free(type);
    return status;
}
