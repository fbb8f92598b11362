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
    static const char mark[] = "\n----\n";
    keel_tokenizer *tokenizer = NULL;
    keel_buf all = {0};
    keel_buf_append(&all, data, size);
    keel_buf_append(&all, "", 1);
    char *cut = all.data ? strstr(all.data, mark) : NULL, *text = cut ? cut + strlen(mark) : NULL;
    if (text && keel_utf8_valid_prefix(text, strlen(text)) == strlen(text) &&
        fuzz_ok(keel_tokenizer_load(
            &tokenizer, fuzz_put("tokenizer.json", all.data, (size_t)(cut - all.data)), &fuzz_err))) {
        encode(tokenizer, text, true);
        encode(tokenizer, text, false);
    }
    keel_tokenizer_close(tokenizer);
    keel_buf_free(&all);
    return 0;
}
