/* Sources of bytes: a file, standard input or a buffer in memory, with gzip and zstd decompressed on the way.
 * A source is read once, from its beginning to its end, in pieces, in lines or as a whole. Not thread-safe.
 */
#ifndef KEEL_CORE_SOURCE_H
#define KEEL_CORE_SOURCE_H

#include <stddef.h>

#include "core/api.h"
#include "core/memory.h"
#include "core/status.h"

KEEL_BEGIN_DECLS

typedef struct keel_source keel_source;

/* The file at path, which must be a regular file (KEEL_E_IO otherwise), as keel_file_open. The path is
 * copied. */
keel_status keel_source_open(keel_source **out, const char *path, keel_err *err);
/* What is left of an open descriptor, which stays the caller's. What comes from a pipe is first copied into a
 * temporary file without a name, in the folder TMPDIR or else /var/tmp, so that it can be hashed before it is
 * read. name is for errors and is copied. */
keel_status keel_source_open_stream(keel_source **out, int descriptor, const char *name, keel_err *err);
/* bytes[length] in memory, which must outlive the source. name is for errors and is copied. */
keel_status keel_source_open_memory(keel_source **out, const char *name, const void *bytes, size_t length,
                                    keel_err *err);
void keel_source_close(keel_source *source); /* NULL is harmless */

const char *keel_source_name(const keel_source *source); /* the path, or the given name */
const char *keel_source_path(const keel_source *source); /* NULL if it is not a file with a path */

/* SHA-256 of the bytes as they are stored, before any decompression. Does not move the source. */
keel_status keel_source_hash(const keel_source *source, char hex[65], keel_err *err);

/* All of these give decompressed bytes. Corrupt or truncated data are KEEL_E_PARSE. */

/* The bytes that come next, at least `least` of them unless the source ends before (at most 1 MiB). They stay
 * to be read. *data is valid until the next call. */
keel_status keel_source_peek(keel_source *source, size_t least, const char **data, size_t *length,
                             keel_err *err);
/* The next line without its line end, NUL-terminated, valid until the next call; *line is NULL at the end. A
 * line longer than 64 MiB is KEEL_E_INVALID. Errors name source and line. *number (may be NULL) counts from
 * 1. */
keel_status keel_source_line(keel_source *source, char **line, size_t *length, size_t *number, keel_err *err);
/* Everything that is left into buf (cleared first, NUL-terminated). More than max_bytes (0: 1 GiB) is
 * KEEL_E_INVALID. */
keel_status keel_source_rest(keel_source *source, size_t max_bytes, keel_buf *buf, keel_err *err);

KEEL_END_DECLS

#endif
