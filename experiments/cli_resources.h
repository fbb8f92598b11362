/* Opening what flags name: the store, a split of it, the thread pool; with cli_policy.h and cli_choice.h,
 * policies. And the small pieces of JSON results that several verbs share. */
#ifndef KEEL_EXPERIMENTS_CLI_RESOURCES_H
#define KEEL_EXPERIMENTS_CLI_RESOURCES_H

#include "core/parallel.h"
#include "datasets/store.h"
#include "experiments/cli.h"
#include "experiments/cli_choice.h"
#include "experiments/cli_policy.h"
#include "policies/policy.h"
#include "rl/judge/intervals.h"

/* --store. A missing file is an error with the hint how stores come about (unless mode creates). */
keel_status keel_cli_open_store(const keel_cli *cli, keel_store_mode mode, keel_store **out, keel_err *err);
/* --split, or `standard` when not given; a malformed expression is KEEL_E_USAGE, a split that holds nothing
 * KEEL_E_NOT_FOUND. */
keel_status keel_cli_open_split(const keel_cli *cli, keel_store *store, const char *standard, keel_split *out,
                                keel_err *err);
/* --threads; 0 and absent: one per processor. */
keel_status keel_cli_open_pool(const keel_cli *cli, keel_pool **out, keel_err *err);
#define KEEL_FLAG_REPLACE                                                                                    \
    { "--replace", NULL, false, false, "write over an artefact in --out that another configuration made" }

/* A file that a flag names for a result may be new (in a folder that is there and may be written), empty, no
 * regular file (a pipe, a terminal), or hold from byte `at` on what the program writes there. Anything else
 * is somebody's and not written over: KEEL_E_CONFLICT. NULL path: the flag was not given. */
keel_status keel_cli_open_out_file(const char *path, size_t at, const char *begins, keel_err *err);
#define KEEL_METRICS_BEGIN "{\"step\": "

/* Puts a run into the store: verb, its arguments, the result so far and its metrics. A store that may not be
 * written goes without, and a note says so. */
keel_status keel_record_run(keel_cli *cli, keel_store *store, keel_err *err);

/* The result of a verb that wrote an artefact to dir: {"out", "kind", "hash", "split", "metrics", "lineage",
 * "config"}, and its print function. */
keel_status keel_artefact_result(keel_cli *cli, const char *dir, const char *kind, const char *split,
                                 keel_err *err);
void keel_artefact_print(const cJSON *result, FILE *out);

/* {"value", "low", "high", "n"}; the first three null where n is 0. */
cJSON *keel_interval_json(const keel_interval *interval);
/* The manifest of an artefact (keel.json), unchecked: for reports. */
keel_status keel_manifest_read(const char *dir, cJSON **out, keel_err *err);

/* What a base may know of a part of the log, by its keel.json and those of what it was compressed from. */
typedef struct keel_base_saw {
    bool itself;    /* it was tuned on some of it, or nobody says on what */
    bool teacher;   /* the base that taught it was */
    char text[160]; /* the split that it, or its teacher, was tuned on */
} keel_base_saw;
keel_status keel_cli_base_saw(const char *dir, const keel_split *part, keel_base_saw *out, keel_err *err);

#endif
