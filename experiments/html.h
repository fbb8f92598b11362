/* HTML that holds what others wrote: the report's page and the review's. What comes from a log, a recipe or a
 * file goes through keel_html_text or keel_html_said, which let nothing become markup and nothing hide.
 *
 * - Markup: & < > " ' become references, so the text is safe in elements and in quoted attributes.
 * - Controls: C0 as control pictures, others as U+FFFD; line and paragraph separators as line breaks; bytes
 *   that are not UTF-8 as U+FFFD.
 * - Invisible format characters (bidirectional controls, tags, joiners of words) as "[U+202E]". Those that
 *   scripts and emoji need stay: ZWJ, ZWNJ, ZWSP, soft hyphen, the Arabic and other number signs.
 * - Of more than KEEL_HTML_MARKS combining marks in a row the rest is left out and counted: "[+120 marks]".
 */
#ifndef KEEL_EXPERIMENTS_HTML_H
#define KEEL_EXPERIMENTS_HTML_H

#include "core/memory.h"

enum { KEEL_HTML_MARKS = 4 };

void keel_html_text(keel_buf *html, const char *text);
/* At most max_bytes of it, never cut inside a character; what is left out is said in bytes. */
void keel_html_said(keel_buf *html, const char *text, size_t max_bytes);
/* The same characters without references, for a place that is not markup; cut without a word. */
void keel_html_visible(keel_buf *out, const char *text, size_t max_bytes);
/* "refusal_rate" as "refusal rate". */
void keel_html_words(keel_buf *html, const char *name);

/* A Content-Security-Policy that allows no source but these: appends 'sha256-...' of a script or style as it
 * stands between its tags. */
void keel_html_hash(keel_buf *html, const char *text);

/* Files of the repository that are compiled in (keel_embed in CMakeLists.txt), each ended by a 0. */
extern const unsigned char keel_embedded_report_css[], keel_embedded_report_js[];
extern const unsigned char keel_embedded_review_html[], keel_embedded_review_css[], keel_embedded_review_js[];

#endif
