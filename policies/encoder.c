#include "policies/encoder.h"

#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/peft.h"
#include "policies/transformer/weights.h"

struct keel_encoder {
    keel_bert *bert;
};

keel_status keel_encoder_open(keel_encoder **out, const char *dir, keel_err *err) {
    keel_encoder *made = keel_calloc(1, sizeof *made);
    keel_status status = made ? keel_peft_open(&made->bert, dir, err) : keel_nomem(err, dir);
    if (status == KEEL_OK)
        *out = made;
    else
        keel_free(made);
    return status;
}

void keel_encoder_close(keel_encoder *encoder) {
    if (!encoder) return;
    keel_bert_close(encoder->bert);
    keel_free(encoder);
}

/* The format of the layers, whose first matrix says it; tables may have another. */
static const char *weights_of(const keel_bert *bert) {
    const size_t first = KEEL_BERT_FIRST_LAYER + KEEL_BERT_QKV;
    const char *name = bert->config.layers ? keel_weights_format(keel_bert_matrix(bert, first).type) : NULL;
    return name ? name : "f32";
}

keel_encoder_about keel_encoder_look(const keel_encoder *encoder) {
    const keel_bert *bert = encoder->bert;
    const keel_bert_config *c = &bert->config;
    keel_encoder_about about = {.kind = "BERT encoder, WordPiece tokenizer",
                                .vector = c->first_token ? "that of the first token" : "mean of the tokens",
                                .layers = c->layers,
                                .width = c->hidden,
                                .heads = c->heads,
                                .inner = c->inner,
                                .vocabulary = c->vocab,
                                .most_tokens = c->max_tokens,
                                .normalised = c->normalise};
    for (size_t row = 0; row < keel_bert_rows(bert); row++) {
        const keel_matrix matrix = keel_bert_matrix(bert, row);
        about.parameters += matrix.rows * matrix.cols;
    }
    about.bytes = keel_bert_bytes(bert);
    about.weights = weights_of(bert);
    return about;
}

keel_status keel_encoder_tokens(const keel_encoder *encoder, const char *text, keel_arena *arena,
                                const char *const **out, size_t *count, size_t *cut, keel_err *err) {
    keel_bert_batch batch;
    *cut = 0;
    KEEL_TRY(keel_bert_read(encoder->bert, &text, 1, arena, &batch, cut, err));
    const char **tokens = keel_arena_calloc(arena, (size_t)batch.offsets[1], sizeof *tokens);
    if (!tokens) return keel_nomem(err, "encoder");
    for (int32_t t = 0; t < batch.offsets[1]; t++)
        tokens[t] = keel_tokenizer_token(encoder->bert->tokenizer, batch.id[t]);
    *out = tokens;
    *count = (size_t)batch.offsets[1];
    return KEEL_OK;
}

keel_status keel_encoder_vectors(const keel_encoder *encoder, const char *const *texts, size_t n,
                                 keel_arena *scratch, float *out, keel_err *err) {
    keel_bert_batch batch;
    size_t cut = 0;
    KEEL_TRY(keel_bert_read(encoder->bert, texts, n, scratch, &batch, &cut, err));
    return keel_bert_encode(encoder->bert, &batch, scratch, out, err);
}
