/* Artefacts: a folder that holds a base or a policy. It appears whole or not at all.
 *
 *   keel.json           {"keel": 1, "kind": "base" | "policy", "type", "lineage": {...}, "config": {...},
 *                        "metrics": {...}, "files": {name: sha256}, "sha256": of all the rest of keel.json}
 *   model.safetensors   weights
 *   config.json         what a loader needs beside the weights
 *   tokenizer.json      bases only: how text becomes features
 *
 * An artefact's hash is the SHA-256 over the names and hashes of its files but keel.json: the same weights
 * have the same hash, whoever trained them. Loading checks every file against its recorded hash, keel.json
 * too: it is hashed as it prints without white space and without its own "sha256". */
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

/* Build lineage common to all artefacts: {"keel": version, "compiler", "flags", "blas", "seed"}; the caller
 * deletes. */
cJSON *keel_build_info(void);

#endif
