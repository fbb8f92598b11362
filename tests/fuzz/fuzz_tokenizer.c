/* The reader of tokenizers, and the encoder: the input is a tokenizer, a line "----" and a text. */
#include <string.h>

#include "core/text.h"
#include "fuzz.h"
#include "policies/tokens/tokenizer.h"

static void encode(const keel_tokenizer *tokenizer, const char *text, bool specials) {
    keel_arena arena = {0};
    keel_tokens found, framed;
    int32_t *type;
    if (fuzz_ok(keel_tokenizer_encode(tokenizer, text, specials, &arena, &found, &fuzz_err))) {
        for (size_t i = 0; i < found.count; i++)
            FUZZ_CHECK(keel_tokenizer_token(tokenizer, found.id[i]) != NULL);
        if (fuzz_ok(keel_tokenizer_frame(tokenizer, &found, &found, &arena, &framed, &type, &fuzz_err)))
            for (size_t i = 0; i < framed.count; i++) FUZZ_CHECK(type[i] == 0 || type[i] == 1);
    }
    keel_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_part parts[2];
    keel_tokenizer *tokenizer = NULL;
    if (fuzz_parts(data, size, parts, 2) < 2) return 0;
    char *text = fuzz_text(parts[1].data, parts[1].size);
    if (keel_utf8_valid_prefix(text, strlen(text)) == strlen(text) &&
        fuzz_ok(keel_tokenizer_load(&tokenizer, fuzz_put("tokenizer.json", parts[0].data, parts[0].size),
                                    &fuzz_err))) {
        encode(tokenizer, text, true);
        encode(tokenizer, text, false);
    }
    free(text);
    keel_tokenizer_close(tokenizer);
    return 0;
}
