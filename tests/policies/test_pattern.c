/* The patterns of tokenizers, run by PCRE2 here and by Oniguruma in the library `tokenizers`: the same pieces
 * of made-up texts. Oniguruma is a dependency of this test alone. */
#include "fixture.h"

#include <oniguruma.h>
#include <utf8proc.h>

#include "core/pcg.h"
#include "policies/tokens/pattern.h"

static const char *const patterns[] = {
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re)?|\\p{N}{1,3}",
    "\\w+|[^\\w\\s]+",
    "\\W+\\S|\\d",
    "^.|.$",
    "x*",
};

enum { TEXTS = 3000, MOST = 24 };

/* Code points of scripts and kinds that the patterns tell apart; those of Unicode 14 and before alone. */
static size_t made_text(keel_pcg64 *random, char *out) {
    static const int32_t ranges[][2] = {
        {0x20, 0x7E},       {0x20, 0x7E},     {'\t', '\r'},     {0xA0, 0x24F},     {0x300, 0x36F},
        {0x370, 0x5FF},     {0x660, 0x669},   {0x2000, 0x206F}, {0x2150, 0x218F},  {0x24B0, 0x24F0},
        {0x1F120, 0x1F190}, {0x3000, 0x30FF}, {0x4E00, 0x4EFF}, {0x1F600, 0x1F64F}};
    static const char *const words[] = {"'s",       "'LL",      "  ",        "\r\n",         " \n",
                                        "12345",    "\xC5\xBF", "'\xC5\xBF", "\xE2\x84\xAA", "\xE1\xA0\x8E",
                                        "\xC2\x85", "x",        "_"};
    char *at = out;
    for (size_t n = 1 + keel_rng_below(random, MOST); n > 0; n--) {
        const size_t kind = keel_rng_below(random, 22);
        if (kind < sizeof ranges / sizeof *ranges) {
            const int32_t c =
                ranges[kind][0] +
                (int32_t)keel_rng_below(random, (uint64_t)(ranges[kind][1] - ranges[kind][0] + 1));
            if (utf8proc_category(c) != UTF8PROC_CATEGORY_CN)
                at += utf8proc_encode_char(c, (utf8proc_uint8_t *)at);
        } else
            at += sprintf(at, "%s", words[keel_rng_below(random, sizeof words / sizeof *words)]);
    }
    *at = '\0';
    return (size_t)(at - out);
}

/* The next match of Oniguruma. */
static bool oracle_find(regex_t *regex, OnigRegion *region, const char *text, size_t length, size_t from,
                        size_t *start, size_t *end) {
    const OnigUChar *at = (const OnigUChar *)text;
    onig_region_clear(region);
    if (onig_search(regex, at, at + length, at + from, at + length, region, ONIG_OPTION_NONE) < 0)
        return false;
    *start = (size_t)region->beg[0];
    *end = (size_t)region->end[0];
    return true;
}

static void same_matches(const keel__pattern *pattern, regex_t *regex, keel_arena *arena, const char *text,
                         size_t length, const char *of) {
    keel__matching matching = {.arena = arena, .err = &err};
    OnigRegion *region = onig_region_new();
    for (size_t from = 0; from < length;) {
        size_t start, end, start_of = length, end_of = length;
        const bool found = oracle_find(regex, region, text, length, from, &start_of, &end_of);
        assert_ok(keel__pattern_find(pattern, &matching, text, length, from, &start, &end));
        if (start != start_of || (start < length && end != end_of))
            fail_msg("%s on \"%s\" from %zu: [%zu, %zu), Oniguruma [%zu, %zu)", of, text, from, start, end,
                     start_of, end_of);
        if (!found) break;
        from = end > from ? end : from + 1;
        while (from < length && ((unsigned char)text[from] & 0xC0) == 0x80) from++;
    }
    onig_region_free(region, 1);
}

static void pieces_are_those_of_oniguruma(void **state) {
    OnigEncoding encoding = ONIG_ENCODING_UTF8;
    char text[16 * MOST];
    (void)state;
    onig_initialize(&encoding, 1);
    for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
        keel_pcg64 random;
        keel_arena kept = {0}, scratch = {0};
        keel__pattern *all = NULL;
        const keel__reader reader = {"made", &kept, NULL, &all, &err};
        const keel__pattern *pattern;
        regex_t *regex;
        const OnigUChar *source = (const OnigUChar *)patterns[p];
        keel_pcg64_seed(&random, 7, p);
        assert_ok(keel__pattern_open(&reader, patterns[p], false, &pattern));
        assert_int_equal(onig_new(&regex, source, source + strlen(patterns[p]), ONIG_OPTION_NONE, encoding,
                                  ONIG_SYNTAX_DEFAULT, NULL),
                         ONIG_NORMAL);
        for (size_t i = 0; i < TEXTS; i++) {
            const size_t length = made_text(&random, text);
            same_matches(pattern, regex, &scratch, text, length, patterns[p]);
            keel_arena_reset(&scratch);
        }
        onig_free(regex);
        keel__pattern_close(all);
        keel_arena_free(&scratch);
        keel_arena_free(&kept);
    }
    onig_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(pieces_are_those_of_oniguruma)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
