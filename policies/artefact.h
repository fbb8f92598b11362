/* Artefacts: a folder that holds a base or a policy. It appears whole or not at all.
 *
 *   keel.json           {"keel": 2, "kind": "base" | "policy", "type", "lineage": {...}, "config": {...},
 *                        "metrics": {...}, "files": {name: sha256}, "sha256": of all the rest of keel.json}
 *                       lineage: {"identity", "build", "seed", ...}, all that the artefact was made from
 *   model.safetensors   weights
 *   config.json         what a loader needs beside the weights
 *   tokenizer.json      bases only: how text becomes features
 *
 * An artefact's hash is the SHA-256 over the names and hashes of its files but keel.json: the same weights
 * have the same hash, on whichever machine they were trained. Loading checks every file against its recorded
 * hash, keel.json too: it is hashed as it prints without white space and without its own "sha256". */
#ifndef KEEL_POLICIES_ARTEFACT_H
#define KEEL_POLICIES_ARTEFACT_H

#include <cjson/cJSON.h>

#include "core/file.h"
#include "core/status.h"

/* Writes keel.json for the files already in folder->temporary and commits the folder. lineage, config,
 * metrics are borrowed; hash may be NULL. */
keel_status keel_artefact_commit(keel_folder_write *folder, const char *kind, const char *type,
                                 const cJSON *lineage, const cJSON *config, const cJSON *metrics,
                                 char hash[65], keel_err *err);

/* Reads and checks keel.json and the files' hashes. kind: what is expected. The caller deletes *manifest.
 * Errors say what the folder is instead (missing, not an artefact, a base where a policy is wanted, damaged).
 */
keel_status keel_artefact_open(const char *dir, const char *kind, cJSON **manifest, char hash[65],
                               keel_err *err);

/* The hash that an artefact has by its keel.json, whose files are not read: to find one among many, before it
 * is opened. Damage to files is found then. */
keel_status keel_artefact_claim(const char *dir, const char *kind, char hash[65], keel_err *err);

/* {"keel": version, "commit", "compiler", "flags", "blas"}; the caller deletes. NULL when out of memory.
 * commit: `git describe` of the source as it was configured, or the version where there was no git. */
cJSON *keel_build_info(void);

/* Adds to a lineage, which names all inputs of a run, and to which nothing is added later: "identity", the
 * SHA-256 of the lineage and the configuration (two runs with the same identity give the same weights), and
 * "build". identity may be NULL. */
keel_status keel_artefact_identify(cJSON *lineage, const cJSON *config, char identity[65], keel_err *err);

/* Whether dir holds an undamaged artefact of the kind that a run of this identity made. */
bool keel_artefact_is(const char *dir, const char *kind, const char *identity);

/* Whether a run may write an artefact of that kind to dir: nothing is there, or an artefact of the kind with
 * the run's identity; with `replace`, any artefact of the kind. Else KEEL_E_CONFLICT, which says what is
 * there and how it differs. lineage NULL: whatever identity is found is left for a later call. */
keel_status keel_artefact_check_out(const char *dir, const char *kind, const cJSON *lineage,
                                    const cJSON *config, bool replace, keel_err *err);

#endif
