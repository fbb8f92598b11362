#include "experiments/html.h"

#include <stdbool.h>
#include <string.h>
#include <utf8proc.h>

#include "core/hash.h"
#include "core/text.h"

/* ---- characters ---- */

/* Format characters (category Cf) that text needs: they show, or shape what stands beside them. */
static bool is_needed(int32_t point) {
    static const int32_t needed[][2] = {{0x00AD, 0x00AD}, {0x0600, 0x0605},   {0x06DD, 0x06DD},
                                        {0x070F, 0x070F}, {0x0890, 0x0891},   {0x08E2, 0x08E2},
                                        {0x200B, 0x200D}, {0x110BD, 0x110BD}, {0x110CD, 0x110CD}};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (point >= needed[i][0] && point <= needed[i][1]) return true;
    return false;
}

/* Code points that no text may hold: U+FFFE, U+FFFF of each plane, U+FDD0 to U+FDEF. */
static bool is_no_character(int32_t point) {
    return (point & 0xFFFE) == 0xFFFE || (point >= 0xFDD0 && point <= 0xFDEF);
}

/* What stands for a byte of markup, or NULL. */
static const char *reference(int32_t point) {
    switch (point) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static const char replacement[] = "\xEF\xBF\xBD";

static void put_control(keel_buf *html, int32_t point) {
    if (point == '\n')
        keel_buf_text(html, "\n");
    else if (point == '\t' || point == '\r')
        keel_buf_text(html, " ");
    else if (point < ' ')
        keel_buf_format(html, "\xE2\x90%c", 0x80 + (int)point); /* control pictures: U+2400 on */
    else
        keel_buf_text(html, replacement);
}

/* escape: in markup, so that it stays text. */
static void put_point(keel_buf *html, int32_t point, const char *bytes, size_t length, bool escape) {
    const utf8proc_category_t category = point < 0 ? UTF8PROC_CATEGORY_CN : utf8proc_category(point);
    const char *markup = reference(point);
    if (markup && escape)
        keel_buf_text(html, markup);
    else if (category == UTF8PROC_CATEGORY_CC)
        put_control(html, point);
    else if (point == 0x2028 || point == 0x2029)
        keel_buf_text(html, "\n");
    else if (category == UTF8PROC_CATEGORY_CF && !is_needed(point))
        keel_buf_format(html, "[U+%04X]", (unsigned)point);
    else if (point < 0 || is_no_character(point))
        keel_buf_text(html, replacement);
    else
        keel_buf_append(html, bytes, length);
}

static bool is_mark(int32_t point) {
    const utf8proc_category_t category = point < 0 ? UTF8PROC_CATEGORY_CN : utf8proc_category(point);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME;
}

static void end_marks(keel_buf *html, size_t *marks) {
    if (*marks > KEEL_HTML_MARKS) keel_buf_format(html, "[+%zu marks]", *marks - KEEL_HTML_MARKS);
    *marks = 0;
}

static void put_bytes(keel_buf *html, const char *text, size_t length, bool escape) {
    size_t marks = 0;
    while (length > 0) {
        utf8proc_int32_t point = -1;
        utf8proc_ssize_t used =
            utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, &point);
        const size_t bytes = used > 0 ? (size_t)used : 1;
        if (used <= 0) point = -1;
        if (is_mark(point))
            marks++;
        else
            end_marks(html, &marks);
        if (marks <= KEEL_HTML_MARKS) put_point(html, point, text, bytes, escape);
        text += bytes;
        length -= bytes;
    }
    end_marks(html, &marks);
}

/* ---- text ---- */

void keel_html_text(keel_buf *html, const char *text) {
    put_bytes(html, text, strlen(text), true);
}

void keel_html_said(keel_buf *html, const char *text, size_t max_bytes) {
    const size_t length = strlen(text),
                 shown = length > max_bytes ? keel_utf8_cut(text, length, max_bytes) : length;
    put_bytes(html, text, shown, true);
    if (shown < length) keel_buf_format(html, " [... %zu bytes more]", length - shown);
}

void keel_html_visible(keel_buf *out, const char *text, size_t max_bytes) {
    const size_t length = strlen(text);
    put_bytes(out, text, length > max_bytes ? keel_utf8_cut(text, length, max_bytes) : length, false);
}

void keel_html_words(keel_buf *html, const char *name) {
    for (const char *end; (end = strchr(name, '_')); name = end + 1) {
        put_bytes(html, name, (size_t)(end - name), true);
        keel_buf_text(html, " ");
    }
    keel_html_text(html, name);
}

/* ---- what may run ---- */

void keel_html_hash(keel_buf *html, const char *text) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char digest[33] = {0}; /* and one byte, so that thirds are whole */
    char base64[45];
    keel_sha256 hash;
    keel_sha256_init(&hash);
    keel_sha256_add(&hash, text, strlen(text));
    keel_sha256_finish(&hash, digest);
    for (size_t i = 0; i < 11; i++) {
        const unsigned three =
            (unsigned)digest[3 * i] << 16 | (unsigned)digest[3 * i + 1] << 8 | digest[3 * i + 2];
        for (size_t k = 0; k < 4; k++) base64[4 * i + k] = digits[three >> (18 - 6 * k) & 63];
    }
    base64[43] = '=';
    base64[44] = '\0';
    keel_buf_format(html, "'sha256-%s'", base64);
}
