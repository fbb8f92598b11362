/* Included before everything else by tests/check.sh analyzer and tidy: what the analysers cannot see because
 * it stands in another file. A function that fails never returns KEEL_OK. */
#ifndef KEEL_TESTS_ANALYSIS_H
#define KEEL_TESTS_ANALYSIS_H

#include "core/status.h"
#include "datasets/store_internal.h"
#include "policies/ngram_base/linear_probes_internal.h"

#define keel_fail(err, code, ...)          (keel_fail(err, code, __VA_ARGS__), (code))
#define keel_hint(...)                     (keel_hint(__VA_ARGS__), KEEL_E_INVALID)
#define keel_nomem(err, where)             (keel_nomem(err, where), KEEL_E_NOMEM)
#define keel__linear_probes_no_memory(err) (keel__linear_probes_no_memory(err), KEEL_E_NOMEM)

#endif
