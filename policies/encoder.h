/* Encoders of texts, whatever kind of model they are: the door to policies/transformer. Read-only once open;
 * thread-safe. */
#ifndef KEEL_POLICIES_ENCODER_H
#define KEEL_POLICIES_ENCODER_H

#include <stdbool.h>
#include <stddef.h>

#include "core/memory.h"
#include "core/status.h"

typedef struct keel_encoder keel_encoder;

typedef struct keel_encoder_about {
    const char *kind;    /* static, for people */
    const char *vector;  /* static: what the vector of a text is */
    const char *weights; /* static: the number format of its layers' matrices */
    size_t bytes;        /* of all weights */
    size_t parameters, layers, width, heads, inner, vocabulary, most_tokens;
    bool normalised; /* vectors have length 1 */
} keel_encoder_about;

/* A folder as Hugging Face and sentence-transformers lay it out (policies/transformer/bert.h). */
keel_status keel_encoder_open(keel_encoder **out, const char *dir, keel_err *err);
void keel_encoder_close(keel_encoder *encoder); /* NULL is harmless */
keel_encoder_about keel_encoder_look(const keel_encoder *encoder);

/* The tokens that the encoder reads of a text, what is put around them included; in the arena. *cut: how many
 * more there are. */
keel_status keel_encoder_tokens(const keel_encoder *encoder, const char *text, keel_arena *arena,
                                const char *const **out, size_t *count, size_t *cut, keel_err *err);
/* out [n, width]. What a text's vector is does not depend on the others. */
keel_status keel_encoder_vectors(const keel_encoder *encoder, const char *const *texts, size_t n,
                                 keel_arena *scratch, float *out, keel_err *err);

#endif
