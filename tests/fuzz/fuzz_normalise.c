/* The normaliser of responses: what comes out is valid, folded and bounded, words are where they are looked
 * up, and the rules judge it. */
#include "core/text.h"
#include "fuzz.h"
#include "rewards/normalise.h"
#include "rewards/refusal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_arena arena = {0};
    char *text = fuzz_text(data, size);
    const char *folded = keel_text_fold(&arena, text, size);
    const char *normal = keel_normalise(&arena, text, size);
    FUZZ_CHECK(folded && normal);
    const size_t length = strlen(normal);
    FUZZ_CHECK(keel_utf8_valid_prefix(normal, length) == length);
    FUZZ_CHECK(length <= KEEL_NORMALISE_GROWTH * strlen(folded) + 4);
    const keel_answer answer = keel_answer_of(text);
    keel_outcome outcome;
    FUZZ_CHECK(keel_refusal_rule(&answer, &outcome));
    keel_arena_free(&arena);
    free(text);
    return 0;
}
