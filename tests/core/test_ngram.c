#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "core/ngram.h"

static keel_err err;

#define assert_ok(call) assert_int_equal(call, KEEL_OK)

static const keel_ngram_rules rules = {
    .word_high = 2, .char_low = 3, .char_high = 4, .max_words = 100, .buckets = 1u << 30};
enum { SALT = 7 };

static keel_grams grams_of(keel_arena *arena, const char *text, bool characters) {
    keel_grams grams;
    assert_ok(keel_ngram_texts(&rules, &text, 1, SALT, characters, arena, &grams, NULL, &err));
    return grams;
}

static bool has(const keel_grams *grams, uint64_t hash) {
    for (size_t i = 0; i < grams->count; i++)
        if (grams->bucket[i] == hash % rules.buckets) return true;
    return false;
}

static uint64_t word(const char *text) {
    return keel_hash64(text, strlen(text), 0);
}
static uint64_t one(const char *a) {
    return keel_hash64_mix(SALT, word(a));
}
static uint64_t two(const char *a, const char *b) {
    return keel_hash64_mix(one(b), word(a));
}
static uint64_t chars(const char *text) {
    return keel_hash64(text, strlen(text), ~(uint64_t)SALT);
}

static void words_runs_and_marked_character_ngrams_are_all_there_is(void **state) {
    (void)state;
    keel_arena arena = {0};
    keel_grams grams = grams_of(&arena, "The cat, the CAT", true);
    const uint64_t expected[] = {one("the"),      one("cat"),      one(","),      two("the", "cat"),
                                 two("cat", ","), two(",", "the"), chars("<th"),  chars("the"),
                                 chars("he>"),    chars("<the"),   chars("the>"), chars("<ca"),
                                 chars("cat"),    chars("at>"),    chars("<cat"), chars("cat>")};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (!has(&grams, expected[i])) fail_msg("n-gram %zu is missing", i);
    assert_int_equal(grams.count, sizeof expected / sizeof *expected);
    keel_arena_free(&arena);
}

static void a_cut_never_splits_a_code_point(void **state) {
    (void)state;
    keel_arena arena = {0};
    keel_grams grams = grams_of(&arena, "naïve", true);
    const char *const expected[] = {"<na", "naï", "aïv", "ïve", "ve>", "<naï", "naïv", "aïve", "ïve>"};
    for (size_t i = 0; i < 9; i++)
        if (!has(&grams, chars(expected[i]))) fail_msg("%s is missing", expected[i]);
    assert_int_equal(grams.count, 9 + 1);
    keel_arena_free(&arena);
}

static void chinese_text_gives_characters_and_their_pairs(void **state) {
    (void)state;
    keel_arena arena = {0};
    keel_grams grams = grams_of(&arena, "泡绿茶", true);
    const uint64_t expected[] = {one("泡"), one("绿"), one("茶"), two("泡", "绿"), two("绿", "茶")};
    for (size_t i = 0; i < 5; i++)
        if (!has(&grams, expected[i])) fail_msg("n-gram %zu is missing", i);
    assert_int_equal(grams.count, 5);
    keel_arena_free(&arena);
}

static void very_long_words_are_cut_between_code_points(void **state) {
    (void)state;
    keel_arena arena = {0};
    char text[900];
    for (size_t i = 0; i < 297; i++)
        memcpy(text + 3 * i, "ก", 3); /* U+0E01, three bytes: the limit of 256 is no multiple */
    text[891] = '\0';
    keel_grams grams = grams_of(&arena, text, true);
    assert_true(has(&grams, chars("กกก")));
    assert_true(has(&grams, chars("กก>")));
    assert_true(grams.count < 12);
    keel_arena_free(&arena);
}

static void buckets_come_ascending_and_runs_do_not_cross_texts(void **state) {
    (void)state;
    keel_arena arena = {0};
    keel_grams grams;
    const char *texts[] = {"red blue", "green"};
    size_t n_words = 0;
    assert_ok(keel_ngram_texts(&rules, texts, 2, SALT, false, &arena, &grams, &n_words, &err));
    assert_int_equal(n_words, 3);
    assert_int_equal(grams.count, 4);
    assert_false(has(&grams, two("blue", "green")));
    for (size_t i = 1; i < grams.count; i++) assert_true(grams.bucket[i - 1] < grams.bucket[i]);
    keel_arena_free(&arena);
}

static void empty_text_has_no_ngrams(void **state) {
    (void)state;
    keel_arena arena = {0};
    assert_int_equal(grams_of(&arena, "", true).count, 0);
    assert_int_equal(grams_of(&arena, " \n ", true).count, 0);
    keel_arena_free(&arena);
}

static void windows_read_the_ends_of_a_text_each_under_its_own_salt(void **state) {
    (void)state;
    keel_arena arena = {0};
    keel_grams grams;
    enum { LENGTH_SALT = 9 };
    const keel_ngram_window windows[] = {
        {.rules = {.word_high = 2, .char_low = 1, .max_words = 2, .buckets = 1u << 30}, .salt = SALT},
        {.rules = {.word_high = 1, .char_low = 1, .max_words = 2, .buckets = 1u << 30},
         .salt = SALT + 1,
         .ending = true}};
    assert_ok(keel_ngram_windows(windows, 2, "red blue green grey", LENGTH_SALT, &arena, &grams, &err));
    const uint64_t expected[] = {one("red"),
                                 one("blue"),
                                 two("red", "blue"),
                                 keel_hash64_mix(SALT + 1, word("green")),
                                 keel_hash64_mix(SALT + 1, word("grey")),
                                 keel_hash64_mix(LENGTH_SALT, 3)};
    for (size_t i = 0; i < 6; i++)
        if (!has(&grams, expected[i])) fail_msg("n-gram %zu is missing", i);
    assert_int_equal(grams.count, 6);
    assert_ok(keel_ngram_windows(windows, 2, "red", LENGTH_SALT, &arena, &grams, &err));
    assert_int_equal(grams.count, 3);
    assert_ok(keel_ngram_windows(windows, 2, "", LENGTH_SALT, &arena, &grams, &err));
    assert_int_equal(grams.count, 1);
    keel_arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_runs_and_marked_character_ngrams_are_all_there_is),
        cmocka_unit_test(a_cut_never_splits_a_code_point),
        cmocka_unit_test(chinese_text_gives_characters_and_their_pairs),
        cmocka_unit_test(very_long_words_are_cut_between_code_points),
        cmocka_unit_test(buckets_come_ascending_and_runs_do_not_cross_texts),
        cmocka_unit_test(empty_text_has_no_ngrams),
        cmocka_unit_test(windows_read_the_ends_of_a_text_each_under_its_own_salt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
