/* From a base or a model to a smaller one on disk, with its lineage: the door to policies/compress. */
#ifndef KEEL_POLICIES_COMPRESS_BASE_H
#define KEEL_POLICIES_COMPRESS_BASE_H

#include "policies/compress/job.h"

/* from: a model as it came (docs/bases.md), which becomes a model in out_dir with its lineage in
 * compress.json; or an artefact of a base, which becomes an artefact. Lineage: "compressed_from" (the hash of
 * what it was), "content" and "split" of the conversations that were looked at, "before" (the lineage of what
 * it was), "identity", "build". All appears in out_dir or nothing; what another run made is KEEL_E_CONFLICT
 * unless `replace`. The same inputs give the same bytes, for any number of threads. */
keel_status keel_compress_base(const char *from, const char *out_dir, bool replace,
                               const keel_compress_job *job, keel_err *err);

/* Whether the same call may write out_dir: KEEL_OK where nothing is there, or what this run would write, or
 * `replace` and something that it may write over. */
keel_status keel_compress_base_check(const char *from, const char *out_dir, bool replace,
                                     const keel_compress_job *job, keel_err *err);

/* The file of a model's lineage. */
extern const char keel_compress_base_lineage[];

#endif
