/* What never reaches the store: rules that find it in every text, and write [NAME] in its place.
 *
 * A file of rules has one a line: a name, a tab, a pattern of PCRE2 (UTF-8); or a pattern alone, whose name
 * is "redacted". Blank lines and lines that begin with # say nothing. A name is letters, digits, - and _. */
#ifndef KEEL_EXPERIMENTS_SERVE_REDACT_H
#define KEEL_EXPERIMENTS_SERVE_REDACT_H

#include "core/memory.h"
#include "core/nouns.h"
#include "core/status.h"

typedef struct keel_redact keel_redact;

/* A pattern that does not compile, or that matches the empty text, is KEEL_E_INVALID and names file and line.
 */
keel_status keel_redact_open(keel_redact **out, const char *path, keel_err *err);
/* The same of rules in memory; where: what errors call them. */
keel_status keel_redact_parse(keel_redact **out, const char *rules, const char *where, keel_err *err);
void keel_redact_close(keel_redact *redact); /* NULL is harmless */

/* The text with what rules find replaced, in the arena; the text itself where they find nothing. NULL stays
 * NULL. A text on which a rule takes too many steps or too long becomes "[NAME: too long to search]" as a
 * whole: nothing that was not searched is kept. NULL with out of memory: *failed is set, never cleared. From
 * several threads at once. redact NULL: the text. */
const char *keel_redact_text(const keel_redact *redact, const char *text, keel_arena *arena, bool *failed);
/* All texts of a conversation in place: turns, candidates, acts, models, meta, its name and group; not source
 * and split. Whatever they are it takes a second or two: what is left by then becomes
 * "[too long to search]". KEEL_E_NOMEM: nothing of it may be kept. */
keel_status keel_redact_conversation(const keel_redact *redact, keel_conversation *conversation,
                                     keel_arena *arena, keel_err *err);

#endif
