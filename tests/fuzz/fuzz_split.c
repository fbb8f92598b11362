/* Split expressions: what parses is within range, and what is held out of it parses too and shares nothing.
 */
#include "datasets/split.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_split split, again, held;
    char *text = fuzz_text(data, size);
    (void)fuzz_ok(keel_split_check_name(text, "input", &fuzz_err));
    if (fuzz_ok(keel_split_parse(text, &split, &fuzz_err))) {
        FUZZ_CHECK(strcmp(split.text, text) == 0);
        FUZZ_CHECK(split.kind == KEEL_FOLD_NONE || (split.fold >= 0 && split.fold < split.folds));
        FUZZ_CHECK(!split.name[0] || keel_split_check_name(split.name, "name", &fuzz_err) == KEEL_OK);
        if (fuzz_ok(keel_split_held_out(&split, &held, &fuzz_err))) {
            FUZZ_CHECK(keel_split_disjoint(&split, &held) && keel_split_disjoint(&held, &split));
            FUZZ_CHECK(keel_split_parse(held.text, &again, &fuzz_err) == KEEL_OK);
            FUZZ_CHECK(again.fold == held.fold && again.folds == held.folds && again.kind == held.kind);
        }
    }
    free(text);
    return 0;
}
