/* Tokenizers as the Python library `tokenizers` writes them (tokenizer.json): added tokens, normalizer,
 * pre-tokenizer, model (BPE, WordPiece), post-processor, decoder. Each component's type is a row of the table
 * in its file (normalizer.c, pre_tokenizer.c, ...); any other is refused by name. Truncation and padding
 * blocks are left out: how much is read is the model's to say. Immutable once loaded; encoding and decoding
 * are thread-safe. */
#ifndef KEEL_POLICIES_TOKENS_TOKENIZER_H
#define KEEL_POLICIES_TOKENS_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

typedef struct keel_tokenizer keel_tokenizer;

typedef struct keel_tokens {
    size_t count;
    int32_t *id; /* [count], in the arena */
} keel_tokens;

/* The file is hostile until checked: component types, ids within the vocabulary, each once. */
keel_status keel_tokenizer_load(keel_tokenizer **out, const char *path, keel_err *err);
/* The same of a text; name: what errors call it. */
keel_status keel_tokenizer_parse(keel_tokenizer **out, const char *json, size_t length, const char *name,
                                 keel_err *err);
void keel_tokenizer_close(keel_tokenizer *tokenizer); /* NULL is harmless */
/* The file's text as it was read. */
const char *keel_tokenizer_file(const keel_tokenizer *tokenizer, size_t *length);
/* One more than the largest id. */
size_t keel_tokenizer_size(const keel_tokenizer *tokenizer);
/* Whether capital letters become small ones. */
bool keel_tokenizer_lowercases(const keel_tokenizer *tokenizer);
/* The text of an id; NULL for one that is not there. */
const char *keel_tokenizer_token(const keel_tokenizer *tokenizer, int32_t id);
/* The id of a token; -1 if there is none. */
int32_t keel_tokenizer_find(const keel_tokenizer *tokenizer, const char *token);
/* Whether it is an added token that is marked as special: no text, but a mark of the model's. */
bool keel_tokenizer_special(const keel_tokenizer *tokenizer, int32_t id);
/* Whether each id is the same token in both, and special in both or in neither. */
bool keel_tokenizer_same(const keel_tokenizer *a, const keel_tokenizer *b);
/* The bytes that a token stands for in the middle of a text; maybe a part of a code point, not
 * NUL-terminated. NULL for an id that is not there. */
const char *keel_tokenizer_bytes(const keel_tokenizer *tokenizer, int32_t id, size_t *length);
/* The text of tokens, as the library's decode makes it; specials: with the special ones. Ids that are not
 * there are left out; bytes that are no UTF-8, and NUL, become U+FFFD. */
keel_status keel_tokenizer_decode(const keel_tokenizer *tokenizer, const int32_t *id, size_t n, bool specials,
                                  keel_arena *arena, const char **out, keel_err *err);

/* Tokens of a UTF-8 text, nothing around them. specials: an added token that is written out in the text
 * ("[SEP]") is that token, as in the library; false: it is text like any other, as behoves what users say.
 * What has no token is the unknown one; where the file names none, it is left out, as in the library
 * (SmolLM2's has no token for some control characters). */
keel_status keel_tokenizer_encode(const keel_tokenizer *tokenizer, const char *text, bool specials,
                                  keel_arena *arena, keel_tokens *out, keel_err *err);

/* Tokens that the post-processor adds to one text or a pair of them. */
size_t keel_tokenizer_frame_size(const keel_tokenizer *tokenizer, bool pair);
/* The text, or the pair of texts, with what the post-processor puts around them: out and type
 * [count of a and b + frame size]; type: the segment that each belongs to. b NULL: one text. */
keel_status keel_tokenizer_frame(const keel_tokenizer *tokenizer, const keel_tokens *a, const keel_tokens *b,
                                 keel_arena *arena, keel_tokens *out, int32_t **type, keel_err *err);

#endif
