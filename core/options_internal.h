/* Options and JSON, inside the library: cJSON is in no public header. */
#ifndef KEEL_CORE_OPTIONS_INTERNAL_H
#define KEEL_CORE_OPTIONS_INTERNAL_H

#include <cjson/cJSON.h>

#include "core/options.h"

/* Bytes of the target of a row. */
size_t keel_option_size(keel_option_type type);
/* All keys of the object, or none. */
keel_status keel_options_json(const keel_option *table, void *config, const cJSON *object, const char *where,
                              keel_err *err);
/* Every key with its resolved value; the caller deletes. NULL when out of memory. */
cJSON *keel_options_to_json(const keel_option *table, const void *config);

#endif
