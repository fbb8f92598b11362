#include <string.h>

#include "policies/transformer/llama_run_internal.h"

/* Floats of the keys and of the values of one head in one layer. */
static size_t key_size(const keel_llama_config *c) {
    return KEEL__BLOCK * c->head_dim;
}

static size_t value_size(const keel_llama_config *c) {
    return KEEL__BLOCK * keel__value_width(c);
}

float *keel__keys(const keel_llama_config *c, float *block, size_t layer, size_t head) {
    return block + (keel_llama_kv_heads_before(c, layer) + head) * (key_size(c) + value_size(c));
}

float *keel__values(const keel_llama_config *c, float *block, size_t layer, size_t head) {
    return keel__keys(c, block, layer, head) + key_size(c);
}

float *keel__hidden(const keel_llama_config *c, const keel__piece *pieces, size_t position) {
    const keel__piece *piece = keel__piece_of(pieces, position);
    return keel__keys(c, piece->block, c->layers, 0) + (position - piece->first) * c->hidden;
}

int32_t *keel__block_ids(const keel_llama_config *c, float *block) {
    return (int32_t *)(keel__keys(c, block, c->layers, 0) + KEEL__BLOCK * c->hidden);
}

size_t keel_llama_token_bytes(const keel_llama *llama) {
    const keel_llama_config *c = &llama->config;
    return (keel_llama_kv_heads_before(c, c->layers) * (c->head_dim + keel__value_width(c)) + c->hidden) *
               sizeof(float) +
           sizeof(int32_t);
}

keel_status keel_llama_sequence_open(keel_llama_sequence **out, const keel_llama *llama,
                                     const keel_llama_sequence *parent, size_t shared, keel_err *err) {
    if (parent && (parent->llama != llama || shared > keel_llama_sequence_length(parent)))
        return keel_fail(err, KEEL_E_INVALID, "decoder",
                         "a text of %zu tokens of this model was expected to stand on, got one of %zu",
                         shared, keel_llama_sequence_length(parent));
    keel_llama_sequence *made = keel_calloc(1, sizeof *made);
    if (!made) return keel_nomem(err, "decoder");
    made->llama = llama;
    made->unread = llama->n_virtual;
    if (parent && !parent->unread) {
        made->parent = parent;
        made->unread = 0;
        made->length = made->shared = llama->n_virtual + shared;
    }
    *out = made;
    return KEEL_OK;
}

void keel_llama_sequence_close(keel_llama_sequence *sequence) {
    if (!sequence) return;
    for (size_t i = 0; i < sequence->n_blocks; i++) keel_free(sequence->block[i]);
    keel_free(sequence->block);
    keel_free(sequence);
}

size_t keel_llama_sequence_length(const keel_llama_sequence *sequence) {
    return sequence->unread ? 0 : sequence->length - sequence->llama->n_virtual;
}

void keel_llama_sequence_cut(keel_llama_sequence *sequence, size_t length) {
    const size_t position = length + sequence->llama->n_virtual;
    if (!sequence->unread && position >= sequence->shared && position < sequence->length)
        sequence->length = position;
}

keel_status keel__sequence_reserve(keel_llama_sequence *s, size_t length, keel_err *err) {
    const size_t bytes = KEEL__BLOCK * keel_llama_token_bytes(s->llama) + 64; /* to be aligned */
    const size_t blocks = (length - s->shared + KEEL__BLOCK - 1) / KEEL__BLOCK;
    if (blocks > s->n_blocks && !keel_grow(&s->block, blocks, &s->capacity, sizeof *s->block))
        return keel_nomem(err, "decoder");
    for (; s->n_blocks < blocks; s->n_blocks++) {
        s->block[s->n_blocks] = keel_calloc(1, bytes);
        if (s->block[s->n_blocks]) continue;
        keel_fail(err, KEEL_E_NOMEM, "decoder", "no memory for the keys and values of %zu tokens", length);
        return keel_hint(err, "%zu bytes a token are needed; shorten the texts, or read fewer at once",
                         keel_llama_token_bytes(s->llama));
    }
    return KEEL_OK;
}

static float *aligned(void *block) {
    return (float *)(((uintptr_t)block + 63) / 64 * 64);
}

void keel__sequence_ids(const keel_llama_sequence *sequence, int32_t *id) {
    const size_t before = sequence->llama->n_virtual;
    size_t end = sequence->length;
    for (const keel_llama_sequence *s = sequence; s && !s->unread; end = s->shared, s = s->parent)
        for (size_t p = s->shared > before ? s->shared : before; p < end; p++) {
            const size_t at = p - s->shared;
            id[p - before] =
                keel__block_ids(&s->llama->config, aligned(s->block[at / KEEL__BLOCK]))[at % KEEL__BLOCK];
        }
}

keel__piece *keel__sequence_pieces(const keel_llama_sequence *sequence, size_t length, keel_arena *arena,
                                   size_t *n) {
    size_t count = 0, end = length;
    for (const keel_llama_sequence *s = sequence; s; end = s->shared, s = s->parent)
        count += (end - s->shared + KEEL__BLOCK - 1) / KEEL__BLOCK;
    keel__piece *pieces = keel_arena_alloc(arena, (count ? count : 1) * sizeof *pieces);
    *n = count;
    if (!pieces) return NULL;
    end = length;
    for (const keel_llama_sequence *s = sequence; s; end = s->shared, s = s->parent) {
        const size_t own = (end - s->shared + KEEL__BLOCK - 1) / KEEL__BLOCK;
        count -= own;
        for (size_t i = 0; i < own; i++) {
            const size_t first = s->shared + i * KEEL__BLOCK;
            pieces[count + i] = (keel__piece){aligned(s->block[i]), first,
                                              end - first < KEEL__BLOCK ? end - first : KEEL__BLOCK};
        }
    }
    return pieces;
}
