/* UTF-8, folding and words: prefixes are valid, cuts never part a code point, words lie in the text in order
 * and without white space, and folding twice is folding once. */
#include "core/text.h"
#include "fuzz.h"

static void check_words(keel_arena *arena, const char *folded) {
    size_t count = 0;
    const keel_word *words = keel_text_words(arena, folded, &count);
    const char *at = folded, *end = folded + strlen(folded);
    FUZZ_CHECK(words);
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(words[i].length > 0 && words[i].text >= at && words[i].text + words[i].length <= end);
        FUZZ_CHECK(keel_utf8_valid_prefix(words[i].text, words[i].length) == words[i].length);
        FUZZ_CHECK(!memchr(words[i].text, ' ', words[i].length));
        at = words[i].text + words[i].length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_arena arena = {0};
    char *text = fuzz_text(data, size);
    size_t valid = keel_utf8_valid_prefix(text, size), cut = keel_utf8_cut(text, valid, size / 2);
    FUZZ_CHECK(valid <= size && cut <= valid && cut <= size / 2);
    FUZZ_CHECK(keel_utf8_valid_prefix(text, cut) == cut);
    const char *folded = keel_text_fold(&arena, text, size);
    FUZZ_CHECK(folded && keel_utf8_valid_prefix(folded, strlen(folded)) == strlen(folded));
    const char *twice = keel_text_fold(&arena, folded, strlen(folded));
    FUZZ_CHECK(twice && strcmp(folded, twice) == 0);
    check_words(&arena, folded);
    keel_arena_free(&arena);
    free(text);
    return 0;
}
