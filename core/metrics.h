/* Metrics of a run, as JSON Lines in a file: one object a line, {"step": n, "name": value, ...}. Values that
 * are not finite are written as null. */
#ifndef KEEL_CORE_METRICS_H
#define KEEL_CORE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef struct keel_metrics keel_metrics;
keel_status keel_metrics_open(keel_metrics **out, const char *path, bool append,
                              keel_err *err); /* path NULL: a sink */
/* Drops the lines beyond a step: a run that was killed wrote them after its last checkpoint, and they come
 * again. */
keel_status keel_metrics_trim(const char *path, uint64_t step, keel_err *err);
/* names/values of equal length. */
keel_status keel_metrics_write(keel_metrics *metrics, uint64_t step, const char *const *names,
                               const double *values, size_t count, keel_err *err);
keel_status keel_metrics_close(keel_metrics *metrics, keel_err *err); /* NULL is harmless */

#endif
