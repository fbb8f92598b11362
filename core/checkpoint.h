/* Checkpoints: the state of a run as one safetensors file beside the artefact to be, written atomically. It
 * belongs to one identity and carries a checksum: a run goes on from exactly what was saved, or not at all.
 */
#ifndef KEEL_CORE_CHECKPOINT_H
#define KEEL_CORE_CHECKPOINT_H

#include "core/safetensors.h"

/* "some/where/NAME" has its checkpoint at "some/where/.NAME.checkpoint". Into the arena; NULL when out of
 * memory. */
char *keel_checkpoint_path(keel_arena *arena, const char *out_dir);

/* identity: 64 hex digits over everything the result depends on. */
keel_status keel_checkpoint_save(const char *path, const char *identity, const keel_named_tensor *tensors,
                                 size_t count, keel_err *err);

/* Fills the memory that the tensors' data point to, all of it or none. *found false, and nothing touched, if
 * there is no checkpoint or it is of another identity, which is logged. One that is damaged, of other sizes,
 * or holds numbers that are not finite is an error that names it. */
keel_status keel_checkpoint_load(const char *path, const char *identity, const keel_named_tensor *tensors,
                                 size_t count, bool *found, keel_err *err);

#endif
