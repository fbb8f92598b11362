#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <utf8proc.h>

#include "core/hash.h"
#include "core/nouns.h"
#include "core/pcg.h"
#include "core/text.h"

static size_t valid(const char *text) {
    return keel_utf8_valid_prefix(text, strlen(text));
}

static void valid_utf8_is_accepted_up_to_the_largest_code_point(void **state) {
    (void)state;
    const char *texts[] = {"",
                           "plain",
                           "\x01\x7f",
                           "\xc2\x80",
                           "\xdf\xbf",
                           "\xe0\xa0\x80",
                           "\xed\x9f\xbf",
                           "\xee\x80\x80",
                           "\xef\xbf\xbf",
                           "\xf0\x90\x80\x80",
                           "\xf4\x8f\xbf\xbf",
                           "a\xe4\xb8\xad\xe6\x96\x87z"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(valid(texts[i]), strlen(texts[i]));
}

static void invalid_utf8_ends_the_valid_prefix_where_it_starts(void **state) {
    (void)state;
    const char *bad[] = {"\x80",
                         "\xbf",
                         "\xc0\x80",
                         "\xc1\xbf",
                         "\xc2",
                         "\xc2\x41",
                         "\xe0\x9f\xbf",
                         "\xe4\xb8",
                         "\xed\xa0\x80",
                         "\xed\xbf\xbf",
                         "\xf0\x8f\x80\x80",
                         "\xf4\x90\x80\x80",
                         "\xf5\x80\x80\x80",
                         "\xff",
                         "\xe4\xb8\x41"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (size_t lead = 0; lead < 20; lead++) { /* every place relative to the eight-byte steps */
            char text[64];
            memset(text, 'a', lead);
            snprintf(text + lead, sizeof text - lead, "%s and more text", bad[i]);
            assert_int_equal(valid(text), lead);
        }
    }
}

static void a_nul_byte_is_not_valid_text(void **state) {
    (void)state;
    char text[] = "0123456789abcdef";
    for (size_t i = 0; i < 16; i++) {
        text[i] = '\0';
        assert_int_equal(keel_utf8_valid_prefix(text, 16), i);
        text[i] = 'x';
    }
}

static void cuts_never_part_a_code_point(void **state) {
    (void)state;
    const char *text = "a\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80";
    const size_t cuts[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (size_t max = 0; max < 12; max++) assert_int_equal(keel_utf8_cut(text, 10, max), cuts[max]);
}

static void assert_folds(const char *text, const char *wanted) {
    keel_arena arena = {0};
    char *folded = keel_text_fold(&arena, text, strlen(text));
    assert_non_null(folded);
    assert_string_equal(folded, wanted);
    char *again = keel_text_fold(&arena, folded, strlen(folded));
    assert_string_equal(again, folded);
    keel_arena_free(&arena);
}

static void errors_are_utf8_whatever_they_are_made_of(void **state) {
    (void)state;
    keel_err e;
    char place[400];
    for (size_t i = 0; i < sizeof place; i++) place[i] = i % 2 ? '\xa9' : '\xc3'; /* é é é */
    place[sizeof place - 1] = '\0';
    keel_fail(&e, KEEL_E_INVALID, place, "unknown key \"%.3s\", %s%s%s", "\xc3\xa9\xc3\xa9", "\xff\xfe",
              place, place);
    keel_hint(&e, "try \"%.2s\"", "\xe2\x82\xac");
    assert_string_equal(e.hint, "try \"?\"");
    assert_memory_equal(e.message, "unknown key \"\xc3\xa9?\", ??\xc3", 21);
    assert_int_equal(keel_utf8_valid_prefix(e.message, strlen(e.message)), strlen(e.message));
    assert_int_equal(keel_utf8_valid_prefix(e.where, strlen(e.where)), strlen(e.where));
    assert_int_equal(e.where[strlen(e.where) - 1], '?');
}

static void folding_lowers_normalises_and_straightens_apostrophes(void **state) {
    (void)state;
    assert_folds("", "");
    assert_folds("I CAN'T @[`{ Zz09", "i can't @[`{ zz09");
    assert_folds("I can\xe2\x80\x99t", "i can't");
    assert_folds("\xe2\x80\x98quote\xca\xbc", "'quote'");
    assert_folds("Stra\xc3\x9f"
                 "e",
                 "strasse");
    assert_folds("e\xcc\x81t\xc3\x89", "\xc3\xa9t\xc3\xa9");        /* composed and decomposed agree */
    assert_folds("\xef\xbc\xa8\xef\xbd\x89 \xef\xac\x81", "hi fi"); /* full width, ligature */
    assert_folds("\xce\xa3\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x82", /* final sigma */
                 "\xcf\x83\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x83");
    assert_folds("\xe4\xbd\xa0\xe5\xa5\xbd", "\xe4\xbd\xa0\xe5\xa5\xbd");
    assert_folds("zero\xe2\x80\x8bwidth", "zerowidth");
    assert_folds("\xc5\x89", "'n"); /* an apostrophe that only appears by decomposition */
}

static void folding_makes_room_for_code_points_that_grow(void **state) {
    (void)state;
    /* U+FDFA becomes 18 code points: more than the room of the first try. */
    char text[3 * 50 + 1] = "";
    for (int i = 0; i < 50; i++) strcat(text, "\xef\xb7\xba");
    keel_arena arena = {0};
    char *folded = keel_text_fold(&arena, text, strlen(text));
    assert_non_null(folded);
    assert_int_equal(strlen(folded), 50 * (15 * 2 + 3)); /* 15 letters and 3 spaces each */
    keel_arena_free(&arena);
}

static void folding_ends_at_bytes_that_are_not_utf8(void **state) {
    (void)state;
    keel_arena arena = {0};
    assert_string_equal(keel_text_fold(&arena,
                                       "AB\xc3\x89\xff"
                                       "CD",
                                       7),
                        "ab\xc3\xa9");
    assert_string_equal(keel_text_fold(&arena, "AB\0CD", 5), "ab");
    keel_arena_free(&arena);
}

static void hostile_runs_of_marks_fold_in_linear_time(void **state) {
    (void)state;
    /* Marks of falling combining class: sorting one long run of them would take quadratic time. */
    enum { PAIRS = 400000 };
    keel_arena arena = {0};
    char *text = keel_arena_alloc(&arena, 4 * PAIRS + 1);
    for (size_t i = 0; i < PAIRS; i++) memcpy(text + 2 * i, i < PAIRS / 2 ? "\xcc\x81" : "\xcc\xa3", 2);
    char *folded = keel_text_fold(&arena, text, 2 * PAIRS);
    assert_non_null(folded);
    assert_int_equal(strlen(folded), 2 * PAIRS);
    keel_arena_free(&arena);
}

static void long_text_folds_as_its_pieces_do(void **state) {
    (void)state;
    /* Longer than any inner chunk, with composition everywhere, so that a cut in the wrong place shows. */
    enum { TIMES = 3000 };
    const char *piece = "Ae\xcc\x81\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab \xce\xa3\xe2\x80\x99",
               *wanted = "a\xc3\xa9\xed\x95\x9c \xcf\x83'";
    keel_arena arena = {0};
    keel_buf text = {0}, expected = {0};
    for (int i = 0; i < TIMES; i++) keel_buf_text(&text, piece), keel_buf_text(&expected, wanted);
    char *folded = keel_text_fold(&arena, text.data, text.length);
    assert_non_null(folded);
    assert_true(strcmp(folded, expected.data) == 0);
    keel_buf_free(&text);
    keel_buf_free(&expected);
    keel_arena_free(&arena);
}

static utf8proc_int32_t no_curls(utf8proc_int32_t point, void *unused) {
    (void)unused;
    return point == 0x2018 || point == 0x2019 || point == 0x02BC ? '\'' : point;
}

static void folding_in_chunks_agrees_with_utf8proc_on_the_whole(void **state) {
    (void)state;
    static const utf8proc_int32_t palette[] = {
        'a',    'Z',    ' ',    '\'',    0xC9,   0x301,  0x323,  0x345,   0x3B9,  0x3A3,
        0x1100, 0x1161, 0x11A8, 0xAC00,  0x4E2D, 0x304B, 0x3099, 0xFF76,  0xFF9E, 0x3131,
        0x2019, 0xFDFA, 0xFB01, 0x1F600, 0x9C7,  0x9BE,  0xDF,   0x130,   0x200B, 0x5D0,
        0x5BC,  0x627,  0x653,  0x915,   0x93C,  0x958,  0xD55C, 0x1D400, 0x390};
    keel_rng rng = keel_rng_named(7, "fold", 0);
    keel_arena arena = {0};
    for (int trial = 0; trial < 300; trial++) {
        keel_buf text = {0};
        for (uint64_t points = keel_rng_below(&rng, 900); points > 0; points--) {
            utf8proc_uint8_t bytes[4];
            size_t first = trial % 2 ? 4 : 0; /* every other text has no ASCII at which to cut */
            size_t pick = first + (size_t)keel_rng_below(&rng, sizeof palette / sizeof *palette - first);
            utf8proc_ssize_t length = utf8proc_encode_char(palette[pick], bytes);
            keel_buf_append(&text, bytes, (size_t)length);
        }
        utf8proc_uint8_t *whole = NULL;
        const utf8proc_option_t options =
            UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE;
        utf8proc_map_custom((const utf8proc_uint8_t *)(text.data ? text.data : ""),
                            (utf8proc_ssize_t)text.length, &whole, options, no_curls, NULL);
        char *folded = keel_text_fold(&arena, text.data ? text.data : "", text.length);
        assert_non_null(folded);
        assert_true(strcmp(folded, (const char *)whole) == 0);
        free(whole);
        keel_buf_free(&text);
        keel_arena_reset(&arena);
    }
    keel_arena_free(&arena);
}

static void assert_words(const char *folded, const char *joined) {
    keel_arena arena = {0};
    size_t count = 99;
    keel_word *words = keel_text_words(&arena, folded, &count);
    assert_non_null(words);
    char got[512] = "";
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(got);
        snprintf(got + used, sizeof got - used, "%s%.*s", i ? "|" : "", (int)words[i].length, words[i].text);
        assert_true(words[i].hash == keel_hash64(words[i].text, words[i].length, 0));
    }
    assert_string_equal(got, joined);
    keel_arena_free(&arena);
}

static void words_are_runs_of_letters_digits_and_inner_apostrophes(void **state) {
    (void)state;
    assert_words("", "");
    assert_words("  \t\n ", "");
    assert_words("i can't, sorry!", "i|can't|,|sorry|!");
    assert_words("rock 'n' roll's", "rock|'|n|'|roll's");
    assert_words("a''b 'c", "a|'|'|b|'|c");
    assert_words("x86_64 3.14", "x86|_|64|3|.|14");
    assert_words("d'\xc3\xa9t\xc3\xa9 \xd0\xbf\xd1\x80\xd0\xb8",
                 "d'\xc3\xa9t\xc3\xa9|\xd0\xbf\xd1\x80\xd0\xb8");
    assert_words("\xe0\xa4\xb9\xe0\xa4\xbf\xe0\xa4\xa8",
                 "\xe0\xa4\xb9\xe0\xa4\xbf\xe0\xa4\xa8"); /* vowel signs are inside */
    assert_words("ok\xf0\x9f\x98\x80\xf0\x9f\x98\x80", "ok|\xf0\x9f\x98\x80|\xf0\x9f\x98\x80");
}

static void scripts_without_spaces_give_one_word_a_code_point(void **state) {
    (void)state;
    assert_words("\xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82ok", "\xe4\xbd\xa0|\xe5\xa5\xbd|\xe3\x80\x82|ok");
    assert_words("\xe3\x81\x82\xe3\x82\xa2\xed\x95\x9c", "\xe3\x81\x82|\xe3\x82\xa2|\xed\x95\x9c");
    assert_words("it'\xe4\xbd\xa0", "it|'|\xe4\xbd\xa0");
    assert_words("\xf0\xa0\x80\x80\xe3\x80\x80z", "\xf0\xa0\x80\x80|z");
}

static void names_of_nouns_read_back_and_unknown_ones_are_refused(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        keel_risk risk;
        assert_true(keel_risk_parse(keel_risk_name((keel_risk)i), &risk));
        assert_int_equal(risk, i);
        keel_action_space space;
        assert_true(keel_space_parse(keel_space_name((keel_action_space)i), &space));
        assert_int_equal(space, i);
    }
    for (int i = 0; i < 4; i++) {
        keel_outcome outcome;
        assert_true(keel_outcome_parse(keel_outcome_name((keel_outcome)i), &outcome));
        assert_int_equal(outcome, i);
    }
    keel_outcome outcome = KEEL_OUTCOME_PARTIAL;
    assert_false(keel_outcome_parse("Refusal", &outcome));
    assert_false(keel_outcome_parse(NULL, &outcome));
    assert_int_equal(outcome, KEEL_OUTCOME_PARTIAL);
    assert_string_equal(keel_reward_name(KEEL_SAFETY), "safety");
    assert_string_equal(keel_authority_name(KEEL_AUTHORITY_HUMAN), "human");
    assert_string_equal(keel_outcome_name(KEEL_OUTCOME_PARTIAL), "partial_refusal");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_utf8_is_accepted_up_to_the_largest_code_point),
        cmocka_unit_test(invalid_utf8_ends_the_valid_prefix_where_it_starts),
        cmocka_unit_test(a_nul_byte_is_not_valid_text),
        cmocka_unit_test(cuts_never_part_a_code_point),
        cmocka_unit_test(errors_are_utf8_whatever_they_are_made_of),
        cmocka_unit_test(folding_lowers_normalises_and_straightens_apostrophes),
        cmocka_unit_test(folding_makes_room_for_code_points_that_grow),
        cmocka_unit_test(folding_ends_at_bytes_that_are_not_utf8),
        cmocka_unit_test(hostile_runs_of_marks_fold_in_linear_time),
        cmocka_unit_test(long_text_folds_as_its_pieces_do),
        cmocka_unit_test(folding_in_chunks_agrees_with_utf8proc_on_the_whole),
        cmocka_unit_test(words_are_runs_of_letters_digits_and_inner_apostrophes),
        cmocka_unit_test(scripts_without_spaces_give_one_word_a_code_point),
        cmocka_unit_test(names_of_nouns_read_back_and_unknown_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
