/* What the columns and rows of each verb's output mean, and what is healthy: `keel VERB --explain`, the
 * report's definitions and docs/outputs.md come from one table. */
#ifndef KEEL_EXPERIMENTS_EXPLAIN_H
#define KEEL_EXPERIMENTS_EXPLAIN_H

#include <stdio.h>

typedef struct keel_explained {
    const char *verb; /* "eval" */
    const char *name; /* as it is printed, or its JSON key */
    int better;       /* 1: more is better, -1: less is, 0: neither */
    const char *means, *healthy;
} keel_explained;
extern const keel_explained keel_explanations[]; /* verb after verb; ended by a row of NULL */

/* The row of a name in the output of a verb, or NULL. */
const keel_explained *keel_explain_find(const char *verb, const char *name);
/* The rows of a verb for people. */
void keel_explain_print(const char *verb, FILE *out);
/* All of them as docs/outputs.md. */
void keel_explain_document(FILE *out);

#endif
