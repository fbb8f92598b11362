/* Internal header of the tokenizers: tokens and ids, and a list of ids that grows. */
#ifndef KEEL_POLICIES_TOKENS_VOCABULARY_H
#define KEEL_POLICIES_TOKENS_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

/* Open addressing over hashes of the tokens' bytes. */
typedef struct keel__vocabulary {
    size_t size;        /* one more than the largest id */
    const char **token; /* [size], NULL where an id is not used */
    int32_t *slot;      /* [slots] id or -1 */
    size_t slots;       /* a power of two */
} keel__vocabulary;

/* Room for `size` ids, none used yet. */
keel_status keel__vocabulary_room(keel__vocabulary *vocabulary, size_t size, keel_arena *arena,
                                  keel_err *err);
/* token is borrowed. false if the id is out of range or used, or the token is there under another id. */
bool keel__vocabulary_add(keel__vocabulary *vocabulary, const char *token, int32_t id);
/* hash: keel_hash64 of the bytes, seed 0. -1: not there. */
int32_t keel__vocabulary_find_hashed(const keel__vocabulary *vocabulary, uint64_t hash, const char *first,
                                     size_t n_first, const char *second, size_t n_second);
int32_t keel__vocabulary_find(const keel__vocabulary *vocabulary, const char *token);
int32_t keel__vocabulary_find_bytes(const keel__vocabulary *vocabulary, const char *token, size_t length);
/* Of the two written one behind the other. */
int32_t keel__vocabulary_find_two(const keel__vocabulary *vocabulary, const char *first, const char *second);

typedef struct keel__ids {
    int32_t *id;
    size_t count, room;
} keel__ids;
/* false when out of memory. id is of keel_alloc. */
bool keel__ids_add(keel__ids *ids, int32_t id);

#endif
