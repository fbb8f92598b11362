#include "policies/transformer/reply.h"

#include <string.h>

#include "core/text.h"

/* Whole code points go to the text, what is none as U+FFFD; returns the bytes that may go on. */
static size_t take_bytes(keel_buf *text, const char *bytes, size_t n, bool last) {
    while (n > 0) {
        const size_t good = keel_utf8_valid_prefix(bytes, n);
        keel_buf_append(text, bytes, good);
        bytes += good;
        n -= good;
        if (n == 0) break;
        bool unfinished;
        const size_t bad = keel_utf8_broken(bytes, n, &unfinished);
        if (unfinished && !last) return n;
        keel_buf_text(text, "\xEF\xBF\xBD");
        bytes += bad;
        n -= bad;
    }
    return 0;
}

static size_t longest_stop(const keel_reply *reply) {
    size_t most = 0;
    for (size_t i = 0; i < reply->n_stop; i++)
        if (strlen(reply->stop[i]) > most) most = strlen(reply->stop[i]);
    return most;
}

/* Cuts the text before the first stop string that begins at `from` or behind it. */
static void look_for_stop(keel_reply *reply, size_t from) {
    for (size_t at = from; at < reply->text.length && !reply->stopped; at++)
        for (size_t i = 0; i < reply->n_stop && !reply->stopped; i++) {
            const size_t n = strlen(reply->stop[i]);
            if (n > reply->text.length - at || memcmp(reply->text.data + at, reply->stop[i], n) != 0)
                continue;
            reply->text.length = at;
            reply->text.data[at] = '\0';
            reply->stopped = true;
        }
}

/* Bytes at the end that a stop string begins with. */
static size_t held_back(const keel_reply *reply, size_t longest) {
    const size_t untold = reply->text.length - reply->told;
    for (size_t n = longest ? longest - 1 : 0; n > 0; n--)
        for (size_t i = 0; i < reply->n_stop; i++)
            if (n <= untold && n < strlen(reply->stop[i]) &&
                memcmp(reply->text.data + reply->text.length - n, reply->stop[i], n) == 0)
                return n;
    return 0;
}

static void tell(keel_reply *reply, size_t to) {
    if (to > reply->told && reply->said)
        reply->said(reply->context, reply->text.data + reply->told, to - reply->told);
    if (to > reply->told) reply->told = to;
}

static void add(keel_reply *reply, const char *bytes, size_t n, bool last) {
    keel_buf joined = {0};
    const size_t longest = longest_stop(reply), before = reply->text.length;
    if (reply->stopped || reply->text.failed) return;
    keel_buf_append(&joined, reply->part, reply->n_part);
    keel_buf_append(&joined, bytes, n);
    if (joined.failed) reply->text.failed = true;
    const size_t rest = joined.failed ? 0 : take_bytes(&reply->text, joined.data, joined.length, last);
    if (rest) memcpy(reply->part, joined.data + joined.length - rest, rest);
    reply->n_part = rest;
    keel_buf_free(&joined);
    if (reply->text.failed) return;
    look_for_stop(reply, before > longest ? before - longest : 0);
    tell(reply, reply->text.length - (reply->stopped || last ? 0 : held_back(reply, longest)));
}

void keel_reply_add(keel_reply *reply, const char *bytes, size_t n) {
    add(reply, bytes, n, false);
}

void keel_reply_end(keel_reply *reply, bool cut) {
    if (cut) reply->n_part = 0;
    add(reply, "", 0, true);
}

void keel_reply_free(keel_reply *reply) {
    keel_buf_free(&reply->text);
}
