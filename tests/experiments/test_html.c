/* What others wrote stays text: markup, controls, bidirectional and invisible characters, stacks of marks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/pcg.h"
#include "core/text.h"
#include "experiments/html.h"

static void is_shown(const char *text, const char *expected) {
    keel_buf html = {0};
    keel_html_text(&html, text);
    assert_string_equal(html.data ? html.data : "", expected);
    keel_buf_free(&html);
}

static void markup_is_text(void **state) {
    (void)state;
    is_shown("<img src=\"x\" onerror='a()'>&amp;",
             "&lt;img src=&quot;x&quot; onerror=&#39;a()&#39;&gt;&amp;amp;");
}

static void controls_are_seen(void **state) {
    (void)state;
    is_shown("a\033[2J\nb\tc\x7F", "a\xE2\x90\x9B[2J\nb c\xEF\xBF\xBD");
    is_shown("a\xE2\x80\xA8"
             "b",
             "a\nb");                                   /* line separator */
    is_shown("\xC2\x9B", "\xEF\xBF\xBD");               /* C1 */
    is_shown("\xFFx\xC3", "\xEF\xBF\xBDx\xEF\xBF\xBD"); /* not UTF-8 */
    is_shown("\xEF\xBF\xBE", "\xEF\xBF\xBD");           /* U+FFFE */
}

static void nothing_hides(void **state) {
    (void)state;
    is_shown("abc\xE2\x80\xAE"
             "fdp",
             "abc[U+202E]fdp");
    is_shown("\xE2\x81\xA6\xEF\xBB\xBF\xF3\xA0\x81\x81", "[U+2066][U+FEFF][U+E0041]");
    is_shown("\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x94\xAC", "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x94\xAC");
}

static void stacks_of_marks_are_cut(void **state) {
    (void)state;
    keel_buf text = {0};
    keel_buf_text(&text, "a");
    for (int i = 0; i < 104; i++) keel_buf_text(&text, "\xCC\x81");
    keel_buf_text(&text, "b");
    is_shown(text.data, "a\xCC\x81\xCC\x81\xCC\x81\xCC\x81[+100 marks]b");
    keel_buf_free(&text);
}

static void what_is_cut_is_said(void **state) {
    (void)state;
    keel_buf html = {0};
    keel_html_said(&html,
                   "ab\xC3\xA9"
                   "cd",
                   3);
    assert_string_equal(html.data, "ab [... 4 bytes more]");
    keel_buf_free(&html);
}

static void the_hash_is_that_of_browsers(void **state) {
    (void)state;
    keel_buf html = {0};
    keel_html_hash(&html, "alert('Hello, world.');"); /* the example of W3C's Content Security Policy 2 */
    assert_string_equal(html.data, "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='");
    keel_buf_free(&html);
}

/* Any bytes give valid UTF-8 without markup. */
static void any_bytes_are_harmless(void **state) {
    (void)state;
    keel_pcg64 rng;
    keel_pcg64_seed(&rng, 5, 1);
    for (int round = 0; round < 20000; round++) {
        char text[64] = {0};
        const size_t length = keel_rng_below(&rng, sizeof text);
        for (size_t i = 0; i < length; i++) {
            static const char often[] = "<>&\"'\xE2\x80\xAE\xCC\x81\n\033";
            text[i] = keel_rng_below(&rng, 2) ? often[keel_rng_below(&rng, sizeof often - 1)]
                                              : (char)keel_rng_below(&rng, 256);
        }
        keel_buf html = {0};
        keel_html_text(&html, text);
        if (html.length) {
            assert_null(strpbrk(html.data, "<>\"'\033\x7F"));
            assert_null(strstr(html.data, "\xE2\x80\xAE"));
            assert_int_equal(keel_utf8_valid_prefix(html.data, html.length), html.length);
        }
        keel_buf_free(&html);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markup_is_text),         cmocka_unit_test(controls_are_seen),
        cmocka_unit_test(nothing_hides),          cmocka_unit_test(stacks_of_marks_are_cut),
        cmocka_unit_test(what_is_cut_is_said),    cmocka_unit_test(the_hash_is_that_of_browsers),
        cmocka_unit_test(any_bytes_are_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
