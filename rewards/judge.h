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

/* A judge of any kind: the first member of each kind's own struct, zeroed by its fit and load, but for name.
 */
typedef struct keel_judge {
    const struct keel_judge_kind *kind; /* set by keel_judge_fit and keel_judge_load */
    char name[64];                      /* for provenance: kind, version, and a hash of what was learned */
    bool learned;                       /* from examples; else fixed rules */
} keel_judge;

typedef struct keel_judge_kind {
    const char *name; /* as files and the command line say it */
    const char *help; /* one line */
    keel_judged judged;
    const char *const *classes; /* [n_classes] names */
    size_t n_classes;           /* K: 2 .. KEEL_JUDGE_MAX_CLASSES */
    const char *any;            /* what all classes but the first are, for the agreement on two classes */
    /* Deterministic. Examples have an input of the kind and a label below K. Too few to learn from is no
     * error: the judge then is what the kind knows by rule. */
    keel_status (*fit)(keel_judge **out, const keel_judge_example *examples, size_t count, keel_err *err);
    keel_status (*predict)(const keel_judge *judge, const keel_judge_input *input, keel_judge_verdict *out,
                           keel_err *err); /* thread-safe */
    keel_status (*save)(const keel_judge *judge, const char *path, const char *const *metadata,
                        keel_err *err); /* safetensors with this metadata */
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
keel_status keel_judge_predict(const keel_judge *judge, const keel_judge_input *input,
                               keel_judge_verdict *out, keel_err *err);
void keel_judge_free(keel_judge *judge); /* NULL is harmless */

/* The file says of which kind the judge is; load finds it in the table. */
keel_status keel_judge_save(const keel_judge *judge, const char *path, keel_err *err);
keel_status keel_judge_load(keel_judge **out, const char *path, keel_err *err);
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
keel_judge_agreement keel_judge_agree(const keel_judge_kind *kind, const keel_judge_example *examples,
                                      const keel_judge_verdict *verdicts, size_t count);

KEEL_END_DECLS

#endif
