/* Log lines: handed to the sink of the context (core/context.h). */
#ifndef KEEL_CORE_LOG_H
#define KEEL_CORE_LOG_H

#include "core/api.h"

KEEL_BEGIN_DECLS

typedef enum keel_log_level { KEEL_LOG_QUIET = 0, KEEL_LOG_INFO = 1, KEEL_LOG_DEBUG = 2 } keel_log_level;

/* line: without a line end, and harmless to a terminal (core/text.h). */
typedef void keel_log_sink(void *user, keel_log_level level, const char *line);

/* Lines of more than 8 KiB are cut. */
void keel_log(keel_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

KEEL_END_DECLS

#endif
