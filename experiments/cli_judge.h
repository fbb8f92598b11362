/* What `label` and `judge` share: the judge that a flag names, labels by humans, agreement as JSON and text.
 */
#ifndef KEEL_EXPERIMENTS_CLI_JUDGE_H
#define KEEL_EXPERIMENTS_CLI_JUDGE_H

#include "datasets/store.h"
#include "experiments/cli.h"
#include "rewards/judge.h"
#include "rl/judge/agreement.h"

#define KEEL_FLAG_JUDGE                                                                                      \
    {                                                                                                        \
        "--judge", "DIR|FILE|KIND", false, false,                                                            \
            "the judge: a folder of `keel judge fit`, its file, or a kind as it is shipped (default: the "   \
            "first below)"                                                                                   \
    }
#define KEEL_JUDGE_FILE "judge.safetensors" /* in a folder of `keel judge fit` */

/* --judge. KEEL_E_UNSUPPORTED for one that does not judge outcomes of responses, which is what labels are. */
keel_status keel_cli_open_judge(keel_cli *cli, keel_judge **out, keel_err *err);
void keel_cli_list_judges(FILE *out);

/* A response with its label by a human. */
typedef struct keel_labelled {
    keel_judge_example example;
    const char *source, *id; /* model, or NULL; conversation */
} keel_labelled;
typedef struct keel_labels {
    keel_labelled *items; /* [count] by content: not by the order of imports */
    size_t count, capacity;
    keel_arena texts;
} keel_labels;
keel_status keel_cli_read_labels(keel_store *store, const keel_split *split, keel_labels *out, keel_err *err);
void keel_labels_free(keel_labels *labels);

/* The judge's verdicts on the labels' responses, into items [count] of the arena. */
keel_status keel_cli_judge_labels(const keel_judge *judge, const keel_labels *labels, keel_arena *arena,
                                  keel_agreement_item **items, keel_err *err);
/* {"n", "unjudged", "any_accuracy", "any_kappa", "accuracy", "kappa", "judged_accuracy", "bias", "ece"};
 * "any" is what the kind calls its classes but the first. */
cJSON *keel_cli_agreement_json(const keel_judge_kind *kind, const keel_agreement *agreement);
/* A table of such objects [n], a column each. */
void keel_cli_print_agreement(const char *const *heads, const cJSON *const *columns, size_t n, FILE *out);

#endif
