/* Log lines and a progress bar on stderr: sinks for the context of a program. */
#ifndef KEEL_CORE_CONSOLE_H
#define KEEL_CORE_CONSOLE_H

#include "core/api.h"
#include "core/context.h"

KEEL_BEGIN_DECLS

/* Progress is a bar with rate and time left on a terminal, one plain line every ten seconds elsewhere. */
void keel_console_attach(keel_context *context);

KEEL_END_DECLS

#endif
