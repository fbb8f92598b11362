/* Lines that a person types: edited and with a history on a terminal (libedit, optional at build time), as
 * they come elsewhere. */
#ifndef KEEL_EXPERIMENTS_LINE_H
#define KEEL_EXPERIMENTS_LINE_H

#include "core/memory.h"
#include "core/status.h"

/* The next line of standard input without its end, in the arena; NULL at the end. The prompt stands on a
 * terminal alone. KEEL_E_PARSE for bytes that are no UTF-8 text. */
keel_status keel_line_read(const char *prompt, keel_arena *arena, const char **out, keel_err *err);
/* Before the program ends: leaves the terminal as it was. */
void keel_line_close(void);

#endif
