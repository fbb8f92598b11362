/* Judges: what says of a text what it is. A judge is one file that defines its kind, and one row of
 * KEEL_JUDGES; whoever uses judges (`keel label`) goes through the functions below and names none. Judges get
 * texts handed in; they know neither store nor base model. K: the number of a kind's classes. */
#ifndef KEEL_REWARDS_JUDGE_H
#define KEEL_REWARDS_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/api.h"
#include "core/nouns.h"
#include "core/status.h"

KEEL_BEGIN_DECLS

typedef struct keel_safetensors keel_safetensors; /* core/safetensors.h */

/* ROW(kind): keel_judge_<kind> is its keel_judge_kind. The first is the one that `keel label` uses unless
 * told otherwise. */
#define KEEL_JUDGES(ROW) ROW(refusal)

/* What is judged, and what the classes mean. */
typedef enum keel_judged {
    KEEL_JUDGED_OUTCOME,    /* of a response; class k is outcome KEEL_OUTCOME_COMPLIANCE + k */
    KEEL_JUDGED_HARM,       /* of a response: harmless, harmful */
    KEEL_JUDGED_COMPLETION, /* of a conversation: not completed, completed */
    KEEL_JUDGED_RISK        /* of a request: benign, dangerous */
} keel_judged;

typedef struct keel_judge_input {
    const char *response;   /* the response that is judged; NULL for a conversation or a request */
    const keel_turn *turns; /* [n_turns] what was said before the response; the whole conversation; or what
                               was said up to the request, which is the last turn. May be empty where the kind
                               reads a response alone */
    size_t n_turns;
} keel_judge_input;

enum { KEEL_JUDGE_MAX_CLASSES = 4, KEEL_UNJUDGED = -1 };

typedef struct keel_judge_verdict {
    int label;                       /* class, or KEEL_UNJUDGED: the judge does not know */
    float p[KEEL_JUDGE_MAX_CLASSES]; /* [K] calibrated probabilities of the classes, also of what is unjudged;
                                        they sum to 1 */
    keel_authority authority;        /* a rule or a model */
} keel_judge_verdict;

typedef struct keel_judge_example {
    keel_judge_input input;
    int label;      /* class, by a human */
    uint64_t group; /* examples of one group fall into the same fold */
} keel_judge_example;

/* What makes the probabilities of a kind those of the labels it is used on: q_k is proportional to p_k^slope
 * (temperature scaling: Platt 2000 without an intercept, Guo et al. 2017). The label is the largest q; where
 * max(q_0, 1 - q_0), the confidence in the first class or in any other, is below `least`, the response stays
 * unjudged. */
typedef struct keel_judge_calibration {
    double slope, least;
} keel_judge_calibration;

/* The verdict on an example by a judge that did not learn from its group. */
typedef struct keel_judge_held_out {
    uint64_t response; /* its hash */
    float p[KEEL_JUDGE_MAX_CLASSES];
    int label;
} keel_judge_held_out;

/* A judge of any kind: the first member of each kind's own struct, zeroed by its fit and load, but for name.
 */
typedef struct keel_judge {
    const struct keel_judge_kind *kind; /* set by keel_judge_fit and keel_judge_load */
    char name[64];                      /* for provenance: kind, version, and a hash of what was learned */
    bool learned; /* from examples of the one who uses it; else it is as it was shipped */
    bool calibrated;
    keel_judge_calibration calibration;
    keel_judge_held_out *held_out; /* [n_held_out] by response, ascending: what it learned from */
    size_t n_held_out;
} keel_judge;

typedef struct keel_judge_kind {
    const char *name; /* as files and the command line say it */
    const char *help; /* one line */
    keel_judged judged;
    const char *const *classes; /* [n_classes] names */
    size_t n_classes;           /* K: 2 .. KEEL_JUDGE_MAX_CLASSES */
    const char *any;            /* what all classes but the first are, for the agreement on two classes */
    const char *taught;         /* what the judge that is shipped learned from; NULL: nothing */
    /* Deterministic. Examples have an input of the kind and a label below K. Too few to learn from is no
     * error: the judge then is what the kind knows by rule. */
    keel_status (*fit)(keel_judge **out, const keel_judge_example *examples, size_t count, keel_err *err);
    /* The same from where another judge of the kind stands, which learned from other examples: what few
     * examples do not tell stays as it is there. NULL: the kind has no such thing. */
    keel_status (*adapt)(keel_judge **out, const keel_judge *from, const keel_judge_example *examples,
                         size_t count, keel_err *err);
    keel_status (*predict)(const keel_judge *judge, const keel_judge_input *input, keel_judge_verdict *out,
                           keel_err *err); /* thread-safe */
    keel_status (*save)(const keel_judge *judge, const char *path,
                        keel_err *err); /* hands its tensors to keel_judge_write */
    keel_status (*load)(keel_judge **out, const keel_safetensors *file, keel_err *err); /* hostile file */
    void (*free)(keel_judge *judge);
} keel_judge_kind;

#define KEEL_JUDGE_DECLARE(kind) extern const keel_judge_kind keel_judge_##kind;
KEEL_JUDGES(KEEL_JUDGE_DECLARE)
#undef KEEL_JUDGE_DECLARE
extern const keel_judge_kind *const keel_judge_kinds[];   /* NULL-terminated */
const keel_judge_kind *keel_judge_find(const char *name); /* NULL when no kind has the name */

/* Fits a judge. KEEL_E_INVALID names an example without the input that the kind reads, or without a label. */
keel_status keel_judge_fit(keel_judge **out, const keel_judge_kind *kind, const keel_judge_example *examples,
                           size_t count, keel_err *err);
/* Calibrated. Of a response that the judge learned from: the verdict that it has of it held out, so that no
 * agreement with labels flatters. */
keel_status keel_judge_predict(const keel_judge *judge, const keel_judge_input *input,
                               keel_judge_verdict *out, keel_err *err);
void keel_judge_free(keel_judge *judge); /* NULL is harmless */

typedef struct keel_judge_adaptation {
    size_t folds; /* of groups */
    double error; /* share of verdicts (first class or any other) that may be wrong among those that do not
                     stay unjudged; 0: all are judged as far as the kind knows */
} keel_judge_adaptation;

/* A judge for these examples: what `from` is (NULL: nothing) and what they add. Each fold is judged by one
 * that has not seen it; of these verdicts come the calibration and the threshold, and the verdicts that the
 * judge keeps of its examples, each calibrated by the other folds. What `from` learned from keeps the verdict
 * that it has held out. KEEL_E_INVALID: too few groups, too few examples to learn from, or no threshold has
 * so few errors. */
keel_status keel_judge_adapt(keel_judge **out, const keel_judge_kind *kind, const keel_judge *from,
                             const keel_judge_example *examples, size_t count,
                             const keel_judge_adaptation *how, keel_err *err);
/* Whether it learned from this response and has its verdict held out. */
bool keel_judge_remembers(const keel_judge *judge, const char *response);

/* The file says of which kind the judge is; load finds it in the table. */
keel_status keel_judge_save(const keel_judge *judge, const char *path, keel_err *err);
keel_status keel_judge_load(keel_judge **out, const char *path, keel_err *err);
typedef struct keel_named_tensor keel_named_tensor; /* core/safetensors.h */
/* Writes a kind's tensors (at most KEEL_JUDGE_MOST_TENSORS) with what all kinds have. */
keel_status keel_judge_write(const keel_judge *judge, const char *path, const keel_named_tensor *tensors,
                             size_t count, keel_err *err);
enum { KEEL_JUDGE_MOST_TENSORS = 16 };
/* How a saved judge begins, after the eight bytes of a safetensors file's length. */
#define KEEL_JUDGE_FILE_BEGIN "{\"__metadata__\":{\"judge\":"

/* Verdicts [count] on each example by a judge fitted without the fold of its group. Groups take folds in
 * turn, in the order in which they first appear, so that as many folds as groups leaves one group out. */
keel_status keel_judge_cross_validate(const keel_judge_kind *kind, const keel_judge_example *examples,
                                      size_t count, size_t folds, keel_judge_verdict *out, keel_err *err);

/* Agreement of verdicts with labels; what is unjudged agrees with nothing. */
typedef struct keel_judge_agreement {
    size_t n, unjudged;
    double any_accuracy, any_kappa; /* the first class against the others */
    double accuracy, kappa;         /* all classes; kappa: Cohen 1960 */
} keel_judge_agreement;
/* Cohen 1960, of counts [k, k] by label and verdict: the agreement above what the margins give by chance,
 * over what is left; 1 where no disagreement was possible. */
double keel_judge_kappa(const double *table, size_t k);
keel_judge_agreement keel_judge_agree(const keel_judge_kind *kind, const keel_judge_example *examples,
                                      const keel_judge_verdict *verdicts, size_t count);

KEEL_END_DECLS

#endif
