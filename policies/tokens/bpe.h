/* Internal header of the tokenizers: byte pair encoding (Sennrich et al. 2016): of the neighbours in a piece,
 * those whose merge was learned first become one, the leftmost of equals before the others, until none is
 * left to merge. */
#ifndef KEEL_POLICIES_TOKENS_BPE_H
#define KEEL_POLICIES_TOKENS_BPE_H

#include "policies/tokens/component.h"
#include "policies/tokens/vocabulary.h"

typedef struct keel__bpe_merge {
    uint64_t pair; /* left id above, right id below */
    uint32_t rank;
    int32_t id; /* what the two become; -1: a free slot */
} keel__bpe_merge;

typedef struct keel__bpe {
    const keel__vocabulary *vocabulary;
    keel__bpe_merge *merge; /* [slots], open addressing */
    size_t slots;           /* a power of two */
    bool bytes;             /* symbols are bytes in GPT-2's alphabet, not code points */
    bool ignore_merges;     /* a piece that is a token is that token, whatever the merges say */
    bool byte_fallback, fuse_unknown;
    int32_t unknown;              /* -1: none */
    int32_t symbol[256];          /* of a byte; -1: none */
    int32_t fallback[256];        /* "<0x41>"; -1: none */
    struct keel__bpe_word *words; /* pieces met before, with their tokens: written once, never taken out */
} keel__bpe;

/* bytes: whether pieces are of ByteLevel. KEEL_E_UNSUPPORTED for dropout and marks of word ends. */
keel_status keel__bpe_read(const keel__reader *r, const cJSON *model, bool bytes, keel__bpe *to);
/* Appends the tokens of one piece. Thread-safe. */
keel_status keel__bpe_encode(const keel__bpe *model, const char *piece, size_t length, keel_arena *scratch,
                             keel__ids *out, keel_err *err);

#endif
