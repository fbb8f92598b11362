/* Advice for a log in a shape that no format has: a command of jq that makes the chat format of it. */
#ifndef KEEL_DATASETS_RESHAPE_H
#define KEEL_DATASETS_RESHAPE_H

#include <stdbool.h>

#include "core/status.h"
#include "datasets/formats.h"

/* Hints at the command in err, which is filled, where the first object of the source, or the source, has a
 * list of messages under names of its own: objects with a text that names a role and another text. False: it
 * has none. */
bool keel__reshape_hint(const keel_sniff *sniff, keel_err *err);

#endif
