/* Redaction: what a rule finds goes, whatever the text is like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "experiments/serve/redact.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/scratch.h"

static keel_err err;

static void expect(const char *rules, const char *text, const char *want) {
    keel_redact *redact = NULL;
    keel_arena arena = {0};
    bool failed = false;
    assert_int_equal(keel_redact_parse(&redact, rules, "rules", &err), KEEL_OK);
    assert_string_equal(keel_redact_text(redact, text, &arena, &failed), want);
    assert_false(failed);
    keel_redact_close(redact);
    keel_arena_free(&arena);
}

static void what_a_rule_finds_is_replaced_by_its_name(void **state) {
    (void)state;
    expect("email\t[\\w.]+@[\\w.]+\n", "to ann@x.org and bo@y.de.", "to [email] and [email]");
    expect("# cards\n\ncard\t\\b\\d(?:[ -]?\\d){12,15}\\b\r\nsecret\n", "4111 1111 1111 1111 is secret",
           "[card] is [redacted]");
    expect("iban\tDE\\d+\n", "nothing here", "nothing here");
    expect("name\t\\bMüller\\b\n", "Frau Müller, Müllerin", "Frau [name], Müllerin");
    expect("x\ta\ny\t\\[x\\]\n", "a", "[y]"); /* one rule after the other */
    expect("look\tfoo(?=bar)\n", "foobar foo", "[look]bar foo");
    expect("end\tx$\n", "xx", "x[end]");
}

static void a_match_across_windows_is_found(void **state) {
    (void)state;
    enum { LONG = 5000 };
    char *text = calloc(1, 3 * LONG), *want = calloc(1, 3 * LONG);
    for (size_t at = 490; at < 540; at++) { /* places one after the other */
        memset(text, 0, 3 * LONG);
        memset(text, 'a', at);
        strcpy(want, text);
        strcat(text, "key-1"), strcat(want, "[k]");
        expect("k\tkey-\\d+\n", text, want);
    }
    for (size_t at = 480; at < 560; at++) {
        memset(text, 0, 3 * LONG);
        for (size_t i = 0; i < at; i++) strcat(text, "\xc3\xa4"); /* two bytes each */
        strcpy(want, text);
        strcat(text, "key-123 tail"), strcat(want, "[k] tail");
        expect("k\tkey-\\d+\n", text, want);
    }
    free(text);
    free(want);
}

/* Nothing that was not searched is kept, and it does not take long. */
static void a_hostile_text_is_given_up_as_a_whole(void **state) {
    (void)state;
    char *text = calloc(1, 200001);
    memset(text, 'a', 199998);
    strcpy(text + 199998, "!x");
    expect("evil\t(a+)+[^a!]x\n", text, "[evil: too long to search]");
    expect("slow\ta*a*a*a*[^a!]x\n", text, "[slow: too long to search]");
    text[199999] = '\xff';
    expect("x\tb\n", text, "[not UTF-8]");
    free(text);
}

static void fails(const char *rules, const char *where, const char *message) {
    keel_redact *redact = NULL;
    assert_int_equal(keel_redact_parse(&redact, rules, "rules.txt", &err), KEEL_E_INVALID);
    assert_null(redact);
    assert_string_equal(err.where, where);
    if (!strstr(err.message, message)) fail_msg("\"%s\" is not in: %s", message, err.message);
}

static void a_bad_rule_is_an_error_that_names_its_line(void **state) {
    (void)state;
    fails("a\tx\n\nb\t(x\n", "rules.txt:3", "at byte 2");
    fails("a\tx\nb\ta*\n", "rules.txt:2", "empty text");
    fails("two words\tx\n", "rules.txt:1", "letters, digits");
    fails("\tx\n", "rules.txt:1", "letters, digits");
    fails("a\t\\C\n", "rules.txt:1", "byte");
    keel_redact *redact = NULL;
    assert_int_equal(keel_redact_open(&redact, "no-such-file", &err), KEEL_E_IO);
}

/* "aa…c" again and again: a match in every window, and every place before it as long as is allowed. */
static char *slow_text(size_t length) {
    char *text = malloc(length + 1);
    for (size_t i = 0; i < length; i++) text[i] = i % 100 == 99 ? 'c' : 'a';
    text[length] = '\0';
    return text;
}

/* How long a text must be to take too long depends on the processor: each is searched to its end, or given
 * up. */
static void matches_among_hostile_places_do_not_buy_time(void **state) {
    (void)state;
    static const char rule[] = "slow\ta*a*[^ac]x|c\n", given_up[] = "[slow: too long to search]";
    keel_redact *redact = NULL;
    assert_ok(keel_redact_parse(&redact, rule, "rules", &err));
    bool over = false;
    for (size_t length = 1000000; !over && length < 1000000000; length *= 4) {
        keel_arena arena = {0};
        bool failed = false;
        char *text = slow_text(length);
        const char *kept = keel_redact_text(redact, text, &arena, &failed);
        over = !strcmp(kept, given_up);
        assert_true(over || !strchr(kept, 'c'));
        assert_false(failed);
        keel_arena_free(&arena);
        free(text);
    }
    assert_true(over);
    keel_redact_close(redact);
}

static void a_conversation_of_hostile_texts_takes_its_time_once(void **state) {
    (void)state;
    enum { TURNS = 200 };
    keel_redact *redact = NULL;
    keel_arena arena = {0};
    char *text = slow_text(2000000);
    keel_turn turns[TURNS];
    keel_conversation c = {.n_turns = TURNS, .turns = turns};
    for (size_t i = 0; i < TURNS; i++) turns[i] = (keel_turn){.text = i + 1 < TURNS ? text : "hello"};
    assert_ok(keel_redact_parse(&redact, "slow\ta*a*[^ac]x|c\n", "rules", &err));
    assert_ok(keel_redact_conversation(redact, &c, &arena, &err));
    assert_string_equal(turns[TURNS - 1].text, "[too long to search]");
    keel_redact_close(redact);
    keel_arena_free(&arena);
    free(text);
}

static void numbers_and_keys_of_meta_are_searched(void **state) {
    (void)state;
    keel_redact *redact = NULL;
    keel_arena arena = {0};
    keel_conversation c = {
        .meta = "{\"tel\": 5550123, \"at 5550123\": true, \"n\": [{\"x\": \"5550123!\"}], \"big\":"
                " 55501239007199254740993}"};
    assert_int_equal(keel_redact_parse(&redact, "phone\t5550\\d{3}\n", "rules", &err), KEEL_OK);
    assert_int_equal(keel_redact_conversation(redact, &c, &arena, &err), KEEL_OK);
    assert_string_equal(c.meta,
                        "{\"tel\":\"[phone]\",\"at [phone]\":true,\"n\":[{\"x\":\"[phone]!\"}],\"big\":"
                        "\"[phone]9007199254740993\"}");
    c.meta = "{5550123";
    assert_int_equal(keel_redact_conversation(redact, &c, &arena, &err), KEEL_OK);
    assert_null(c.meta);
    keel_redact_close(redact);
    keel_arena_free(&arena);
}

static void without_memory_nothing_is_kept(void **state) {
    (void)state;
    faults fault;
    bool done = false;
    for (size_t at = 1; !done; at++) {
        keel_redact *redact = NULL;
        keel_arena arena = {0};
        faults_begin(&fault, at);
        fault.alone = true;
        if (keel_redact_parse(&redact, "k\tsecret\n", "rules", NULL) == KEEL_OK) {
            keel_turn turn = {.text = "a secret here"};
            keel_conversation c = {.n_turns = 1, .turns = &turn, .meta = "{\"a\":\"secret\"}"};
            const keel_status status = keel_redact_conversation(redact, &c, &arena, NULL);
            done = fault.calls < at;
            if (status == KEEL_OK) assert_string_equal(turn.text, "a [k] here");
            if (status == KEEL_OK) assert_string_equal(c.meta, "{\"a\":\"[k]\"}");
        }
        keel_redact_close(redact);
        keel_arena_free(&arena);
        faults_end();
        assert_int_equal(fault.live, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_rule_finds_is_replaced_by_its_name),
        cmocka_unit_test(a_match_across_windows_is_found),
        cmocka_unit_test(a_hostile_text_is_given_up_as_a_whole),
        cmocka_unit_test(a_bad_rule_is_an_error_that_names_its_line),
        cmocka_unit_test(matches_among_hostile_places_do_not_buy_time),
        cmocka_unit_test(a_conversation_of_hostile_texts_takes_its_time_once),
        cmocka_unit_test(numbers_and_keys_of_meta_are_searched),
        cmocka_unit_test(without_memory_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
