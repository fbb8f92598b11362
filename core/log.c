#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/context.h"
#include "core/text.h"

enum { LONGEST_LINE = 1 << 13 };

void keel_log(keel_log_level level, const char *format, ...) {
    const keel_context *context = keel_context_current();
    char line[LONGEST_LINE];
    if (level == KEEL_LOG_QUIET || level > context->log_level || !context->log) return;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    keel_text_tame(line);
    context->log(context->user, level, line);
}
