/* Decoders of texts, whatever kind of model they are: the door to policies/transformer. Read-only once open;
 * thread-safe. */
#ifndef KEEL_POLICIES_DECODER_H
#define KEEL_POLICIES_DECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/parallel.h"
#include "core/status.h"

typedef struct keel_decoder keel_decoder;

typedef struct keel_decoder_about {
    const char *kind;    /* static: "llama", "qwen2" */
    const char *weights; /* static: what matrices are computed with, "F32", "BF16" or "Q8_0" */
    const char *rope;    /* static: how positions are scaled, "default", "linear" or "llama3" */
    size_t parameters, layers, width, heads, kv_heads, head_width, inner;
    size_t vocabulary, tokens; /* rows of the embedding; tokens that the tokenizer has */
    size_t positions;
    size_t file_bytes,
        weight_bytes;   /* of weights: in the files; as they are computed with, mapped or copied */
    size_t token_bytes; /* of keys and values, for each token of a text */
    double rope_theta;
    bool tied, has_template;
} keel_decoder_about;

/* What --weights takes, NULL-terminated: formats of core/matrix.h to compute with; "f32", "f16",
 * "bf16", "q8_0" and "q4_0" to save as. */
extern const char *const keel_decoder_weights[];
extern const char *const keel_decoder_saved_weights[];

/* Whether the path is a .gguf file, or a folder whose config.json names a family of decoders that Keel reads.
 */
bool keel_decoder_is(const char *path);
/* path: a folder as Hugging Face lays it out, or a .gguf file (policies/transformer/llama.h). weights: one of
 * keel_decoder_weights, NULL: as they are stored. */
keel_status keel_decoder_open(keel_decoder **out, const char *path, const char *weights, keel_err *err);
void keel_decoder_close(keel_decoder *decoder); /* NULL is harmless */
keel_decoder_about keel_decoder_look(const keel_decoder *decoder);

/* Reads the model at `from` and writes it: a name that ends in .gguf is such a file, any other a folder,
 * which appears whole or not at all. weights: one of keel_decoder_saved_weights; NULL: what
 * `keel compress` made as it is stored (in a file: KEEL_E_UNSUPPORTED, with a hint, for formats that GGUF has
 * no name for), else "bf16" where it is stored so, else "f32". KEEL_E_CONFLICT where `to` is there. *saved
 * (static): the weights taken. */
keel_status keel_decoder_convert(const char *from, const char *to, const char *weights, const char **saved,
                                 keel_err *err);

/* The ids of a text as the model reads it, with what it wants before a text; in the arena. marks: a special
 * token that is written out is that token. */
keel_status keel_decoder_read(const keel_decoder *decoder, const char *text, bool marks, keel_arena *arena,
                              int32_t **ids, size_t *n, keel_err *err);
/* A token as it is written in the tokenizer; NULL: no token has the id. */
const char *keel_decoder_token(const keel_decoder *decoder, int32_t id);
/* Small conversations that show what a chat template takes: a user's question; the same behind what a system
 * says; with an answer, of which it must be plain what the assistant says; with functions, a call and what
 * came of it. Names, NULL-terminated. */
extern const char *const keel_decoder_talks[];
/* What the talk becomes, and which parts of it the template leaves out in silence (NULL: none), in the arena;
 * KEEL_E_INVALID or KEEL_E_UNSUPPORTED where the template refuses it.
 * KEEL_E_NOT_FOUND: the decoder has no template that Keel understands. */
keel_status keel_decoder_talk(const keel_decoder *decoder, size_t talk, keel_arena *arena, const char **out,
                              const char **missing, keel_err *err);
/* logits [vocabulary] of what comes after the ids; -INFINITY for ids that no token has. n at least 1. */
keel_status keel_decoder_next(const keel_decoder *decoder, const int32_t *ids, size_t n, float *logits,
                              keel_pool *pool, keel_arena *scratch, keel_err *err);
/* Adds the log-probabilities of a text's tokens, each given those before it, but for the first of each window
 * of at most KEEL_DECODER_WINDOW tokens, and counts them: perplexity is exp(-*log_prob / *count). */
enum { KEEL_DECODER_WINDOW = 1024 };
keel_status keel_decoder_likelihood(const keel_decoder *decoder, const char *text, double *log_prob,
                                    size_t *count, keel_pool *pool, keel_arena *scratch, keel_err *err);

#endif
