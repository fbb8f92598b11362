/* Decoders at work, without the tape: the keys and values of texts are kept, so that each token is read once,
 * and texts that begin alike share their beginning.
 *
 * What a token comes to depends on the tokens before it alone: not on how a text was cut into feeds, what it
 * stands on, what else is read at the same time, or on threads. Its bits are the same. */
#ifndef KEEL_POLICIES_TRANSFORMER_LLAMA_RUN_H
#define KEEL_POLICIES_TRANSFORMER_LLAMA_RUN_H

#include "core/parallel.h"
#include "policies/transformer/llama.h"

/* A text as it was read: keys and values of its tokens. Virtual tokens of a tuned prompt (llama->n_virtual)
 * stand before every text and are read with its first token; they are not counted here. */
typedef struct keel_llama_sequence keel_llama_sequence;

/* An empty text; or with a parent, one that begins with the parent's first `shared` tokens. The parent must
 * outlive it, and keep these. The model outlives both. KEEL_E_INVALID: the parent is shorter. */
keel_status keel_llama_sequence_open(keel_llama_sequence **out, const keel_llama *llama,
                                     const keel_llama_sequence *parent, size_t shared, keel_err *err);
void keel_llama_sequence_close(keel_llama_sequence *sequence); /* NULL is harmless */
size_t keel_llama_sequence_length(const keel_llama_sequence *sequence);
/* Forgets tokens from `length` on, which is at least what it shares with its parent and at most its length;
 * nobody may stand on them. */
void keel_llama_sequence_cut(keel_llama_sequence *sequence, size_t length);
/* Bytes that one more token takes. */
size_t keel_llama_token_bytes(const keel_llama *llama);

typedef struct keel_llama_feed {
    keel_llama_sequence *sequence; /* each in one feed of a run */
    const int32_t *id;             /* [n] in 0 .. vocab - 1 */
    size_t n;                      /* may be 0: logits of what was read before */
    float *logits;   /* [vocab] after the last token, -INFINITY for ids beyond the tokenizer's; or NULL */
    float *log_prob; /* [n] ln p(id[i] | all before it), 0 for the first of an empty text; or NULL */
} keel_llama_feed;

/* Appends the tokens of all feeds. pool NULL: on this thread. After an error all texts are as before:
 * KEEL_E_INVALID for an id out of range, more tokens than the model has positions for, or numbers that are
 * not finite; KEEL_E_USAGE for a text in two feeds; KEEL_E_INTERRUPTED. */
keel_status keel_llama_run(const keel_llama *llama, const keel_llama_feed *feeds, size_t n, keel_pool *pool,
                           keel_arena *scratch, keel_err *err);

#endif
