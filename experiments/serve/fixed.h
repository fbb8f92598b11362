/* Answers that are offered at every request beside what is written for it: a refusal, a hand-over, an
 * apology. JSON Lines: {"text": "...", "outcome": "refusal", "act": "handover"}; outcome and act may be left
 * out. */
#ifndef KEEL_EXPERIMENTS_SERVE_FIXED_H
#define KEEL_EXPERIMENTS_SERVE_FIXED_H

#include "core/memory.h"
#include "core/nouns.h"
#include "core/status.h"

enum { KEEL_FIXED_MOST = 64 };

/* Into the arena. KEEL_E_PARSE and KEEL_E_INVALID name the line. */
keel_status keel_fixed_read(const char *path, keel_arena *arena, keel_candidate **out, size_t *n,
                            keel_err *err);

#endif
