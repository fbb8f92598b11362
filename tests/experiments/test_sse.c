/* Server-sent events: the examples of the HTML Living Standard (9.2.6), cut at every place, and limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "experiments/serve/sse.h"

static keel_buf events; /* each in angle brackets */

static keel_status take(void *context, const char *data, size_t length, keel_err *err) {
    (void)context;
    if (strcmp(data, "stop") == 0) return keel_fail(err, KEEL_E_INVALID, "test", "stop");
    assert_int_equal(strlen(data), length);
    keel_buf_format(&events, "<%s>", data);
    return KEEL_OK;
}

/* In pieces of at most `piece` bytes, the first one shorter by `off`. */
static keel_status feed(const char *text, size_t piece, size_t off, size_t most) {
    keel_sse sse = {.most = most};
    keel_status status = KEEL_OK;
    keel_buf_clear(&events);
    keel_buf_text(&events, "");
    for (size_t at = 0, n, length = strlen(text); status == KEEL_OK && at < length; at += n) {
        n = at == 0 && off > 0 ? off : piece;
        if (n > length - at) n = length - at;
        char *alone = malloc(n); /* so that a step beyond it is seen */
        assert_non_null(alone);
        memcpy(alone, text + at, n);
        keel_err err;
        status = keel_sse_take(&sse, alone, n, take, NULL, &err);
        free(alone);
        if (status != KEEL_OK) assert_int_equal(keel_sse_take(&sse, "\n", 1, take, NULL, &err), KEEL_E_PARSE);
    }
    keel_sse_free(&sse);
    return status;
}

static void events_are_the_same_wherever_they_are_cut(void **state) {
    (void)state;
    static const struct {
        const char *text, *events;
    } rows[] = {
        /* of the standard */
        {"data: YHOO\ndata: +2\ndata: 10\n\n", "<YHOO\n+2\n10>"},
        {": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
         "<first event><second event>< third event>"},
        {"data\n\ndata\ndata\n\ndata:", "<><\n>"},
        {"data:test\n\ndata: test\n\n", "<test><test>"},
        /* ends of lines */
        {"data: a\r\n\r\ndata: b\r\rdata: c\n\n", "<a><b><c>"},
        {"data: a\r\ndata: b\rdata: c\n\r\n", "<a\nb\nc>"},
        {"\r\n\r\n\n\ndata: a\n\n\n\n", "<a>"},
        /* what is no data */
        {"event: x\ndata: a\nretry: 10\n: c\ndatum: b\ndata2: c\n data: d\n\n", "<a>"},
        {"event: x\n\n: only a comment\n\n", ""},
        {"\xEF\xBB\xBF"
         "data: a\n\n\xEF\xBB\xBF"
         "data: b\n\n",
         "<a>"},
        /* an event that the stream ends within */
        {"data: a\n\ndata: b\n", "<a>"},
        {"data: [DONE]\n\n", "<[DONE]>"},
        {"data: {\"a\": \"\xc3\xa4\xf0\x9f\x98\x80\"}\n\n", "<{\"a\": \"\xc3\xa4\xf0\x9f\x98\x80\"}>"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t piece = 1; piece <= strlen(rows[i].text); piece++)
            for (size_t off = 0; off < piece; off++) {
                assert_int_equal(feed(rows[i].text, piece, off, 1000), KEEL_OK);
                assert_string_equal(events.data ? events.data : "", rows[i].events);
            }
}

static void an_event_and_a_line_have_a_length(void **state) {
    (void)state;
    assert_int_equal(feed("data: 12345\n\n", 3, 0, 11), KEEL_OK);
    assert_int_equal(feed("data: 12345\n\n", 3, 0, 10), KEEL_E_PARSE); /* the line has 11 */
    assert_int_equal(feed("data:1\ndata:2\ndata:3\n\n", 3, 0, 7), KEEL_OK);
    assert_int_equal(feed("data:1\ndata:2\ndata:3\ndata:4\n\n", 3, 0, 7), KEEL_E_PARSE); /* the event has 8 */
    assert_int_equal(feed(": a long comment that goes on\n", 3, 0, 10), KEEL_E_PARSE);
}

static void the_reader_of_events_ends_it(void **state) {
    (void)state;
    assert_int_equal(feed("data: a\n\ndata: stop\n\ndata: b\n\n", 100, 0, 1000), KEEL_E_INVALID);
    assert_string_equal(events.data, "<a>");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_the_same_wherever_they_are_cut),
        cmocka_unit_test(an_event_and_a_line_have_a_length),
        cmocka_unit_test(the_reader_of_events_ends_it),
    };
    const int failed = cmocka_run_group_tests_name("server-sent events", tests, NULL, NULL);
    keel_buf_free(&events);
    return failed;
}
