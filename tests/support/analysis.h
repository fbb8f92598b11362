/* Included before everything else by tests/check.sh analyzer and tidy: what the analysers cannot see because
 * it stands in another file. */
#ifndef KEEL_TESTS_ANALYSIS_H
#define KEEL_TESTS_ANALYSIS_H

#include "core/status.h"

/* keel_fail returns its code, which is never KEEL_OK. */
#define keel_fail(err, code, ...) (keel_fail(err, code, __VA_ARGS__), (code))

#endif
