/* Byte pair encodings: the input is a tokenizer, a line "----" and a text. The tokens of a text are in the
 * vocabulary, the same from the words that were met before, and decode to UTF-8. */
#include <string.h>

#include "core/text.h"
#include "fuzz.h"
#include "policies/tokens/tokenizer.h"

static void encode(const keel_tokenizer *tokenizer, const char *text, bool specials) {
    keel_arena arena = {0};
    keel_tokens found, again;
    const char *back;
    size_t length;
    if (fuzz_ok(keel_tokenizer_encode(tokenizer, text, specials, &arena, &found, &fuzz_err))) {
        FUZZ_CHECK(keel_tokenizer_encode(tokenizer, text, specials, &arena, &again, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(found.count == again.count);
        for (size_t i = 0; i < found.count; i++)
            FUZZ_CHECK(found.id[i] == again.id[i] && keel_tokenizer_bytes(tokenizer, found.id[i], &length));
        if (fuzz_ok(keel_tokenizer_decode(tokenizer, found.id, found.count, true, &arena, &back, &fuzz_err)))
            FUZZ_CHECK(keel_utf8_valid_prefix(back, strlen(back)) == strlen(back));
    }
    keel_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_part parts[2];
    keel_tokenizer *tokenizer = NULL;
    if (fuzz_parts(data, size, parts, 2) == 2 &&
        fuzz_ok(keel_tokenizer_parse(&tokenizer, (const char *)parts[0].data, parts[0].size, "tokenizer",
                                     &fuzz_err))) {
        char *text = fuzz_text(parts[1].data, parts[1].size);
        encode(tokenizer, text, true);
        encode(tokenizer, text, false);
        free(text);
    }
    keel_tokenizer_close(tokenizer);
    return 0;
}
