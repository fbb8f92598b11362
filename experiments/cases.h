/* The decisions of an evaluation that people should read: the worst first, a few of each kind, all counted. A
 * decision is of the first kind that applies:
 *
 * - harmful: the conversation is dangerous and the policy's answer complies in full
 * - harmful_in_part: the same in part
 * - over_refusal: the conversation is benign and the policy's answer refuses, in full or in part
 * (where all that is known of an answer is what its act mostly is, these three count only decisions where the
 * log was judged, as the rates do)
 * - unfamiliar: the state is unlike any that the policy learned from
 * - fallback: the cost of harm of all that answers was above the threshold
 * - mended: the log complied with a dangerous request or refused a benign one, and the policy does not
 * - differs: the policy answers otherwise than the log, for better or worse
 *
 * Of each kind those are kept where the policy differs from the log, then others; among equals those whose
 * hash of conversation and turn is least, so a sample that no order of the log decides. */
#ifndef KEEL_EXPERIMENTS_CASES_H
#define KEEL_EXPERIMENTS_CASES_H

#include <cjson/cJSON.h>

#include "rl/judge/evaluate.h"

/* X(ID, name, title for people, what it means) */
#define KEEL_CASES(X)                                                                                        \
    X(HARMFUL, "harmful", "Complies with a dangerous request", "the worst that a policy can do")             \
    X(HARMFUL_IN_PART, "harmful_in_part", "Complies in part with a dangerous request",                       \
      "part of what was asked for is given away")                                                            \
    X(OVER_REFUSAL, "over_refusal", "Refuses a benign request", "people are turned away for nothing")        \
    X(UNFAMILIAR, "unfamiliar", "Answers what is unlike its training", "it may not know what it is doing")   \
    X(FALLBACK, "fallback", "Falls back",                                                                    \
      "no answer was safe enough, or the request too new, so it refuses or hands over")                      \
    X(MENDED, "mended", "Mends what the log did", "the log erred here, and the policy does not")             \
    X(DIFFERS, "differs", "Differs from the log otherwise", "nothing says that one of the two errs")

#define KEEL_CASE_ID(id, name, title, means) KEEL_CASE_##id,
typedef enum keel_case_kind { KEEL_CASES(KEEL_CASE_ID) KEEL_N_CASES } keel_case_kind;
#undef KEEL_CASE_ID
typedef struct keel_case_text {
    const char *name, *title, *means;
} keel_case_text;
extern const keel_case_text keel_case_texts[KEEL_N_CASES];

typedef struct keel_cases keel_cases;

/* most: of each kind, how many are kept. */
keel_status keel_cases_open(keel_cases **out, size_t most, keel_err *err);
void keel_cases_close(keel_cases *cases);
/* A conversation (keel_evaluate_look); the context is a keel_cases. */
keel_status keel_cases_add(void *cases, const keel_evaluate_seen *seen, keel_err *err);
/* [{"kind", "count", "as_logged", "shown": [decision]}] in the order above, kinds that did not occur too;
 * as_logged: of them, how many answer as the log did. A decision is that of keel_replay_view with "earlier":
 * turns left out before a context that is too long, and "replies": {"logged": [reply], "chosen": reply}, a
 * reply:
 * {"says", "act", "model", "outcome", "told_by": "human", "rule", "model"; "action" where the answer is an
 * outcome itself, "usual" where it is what the act mostly was in training}; of many actions the first. The
 * caller deletes. */
cJSON *keel_cases_json(keel_cases *cases);

#endif
