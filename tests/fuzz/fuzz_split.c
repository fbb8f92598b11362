/* Split expressions: what parses is within range, and what is held out of it parses too and shares nothing.
 */
#include "datasets/split.h"
#include "fuzz.h"

static bool is_sound(const keel_fold *fold) {
    return fold->kind == KEEL_FOLD_NONE || (fold->fold >= 0 && fold->fold < fold->folds);
}

static bool same_fold(const keel_fold *a, const keel_fold *b) {
    return a->kind == b->kind && a->fold == b->fold && a->folds == b->folds;
}

/* What was made of a split can be written down and read again. */
static void check_reads_back(const keel_split *split) {
    keel_split again;
    FUZZ_CHECK(keel_split_parse(split->text, &again, &fuzz_err) == KEEL_OK);
    for (int i = 0; i < KEEL_SPLIT_FOLDS; i++) {
        FUZZ_CHECK(is_sound(&split->folds[i]));
        FUZZ_CHECK(same_fold(&split->folds[i], &again.folds[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_split split, held, part, rest;
    char *text = fuzz_text(data, size);
    (void)fuzz_ok(keel_split_check_name(text, "input", &fuzz_err));
    if (fuzz_ok(keel_split_parse(text, &split, &fuzz_err))) {
        FUZZ_CHECK(strcmp(split.text, text) == 0);
        FUZZ_CHECK(!split.name[0] || keel_split_check_name(split.name, "name", &fuzz_err) == KEEL_OK);
        check_reads_back(&split);
        if (fuzz_ok(keel_split_held_out(&split, &held, &fuzz_err))) {
            FUZZ_CHECK(keel_split_disjoint(&split, &held) && keel_split_disjoint(&held, &split));
            check_reads_back(&held);
        }
        if (fuzz_ok(keel_split_cut(&split, "1/3", &part, &rest, &fuzz_err))) {
            FUZZ_CHECK(keel_split_disjoint(&part, &rest) && keel_split_disjoint(&rest, &part));
            check_reads_back(&part);
            check_reads_back(&rest);
        }
    }
    free(text);
    return 0;
}
