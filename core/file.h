/* Files: whole reads (gzip and zstd decompressed), and writes that leave the whole file or nothing. Pieces
 * and lines: source.h. */
#ifndef KEEL_CORE_FILE_H
#define KEEL_CORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

/* "cannot DOING: why", by errno: KEEL_E_NOMEM for ENOMEM, else KEEL_E_IO. */
keel_status keel_file_fail(keel_err *err, const char *path, const char *doing);

bool keel_file_exists(const char *path);
bool keel_file_is_folder(const char *path);

/* Opens a regular file for reading; the caller closes *fd. A pipe or a device, which could keep a reader
 * waiting for ever, is KEEL_E_IO. So are all readers below. */
keel_status keel_file_open(const char *path, int *fd, keel_err *err);

/* Reads a whole file, compressed with gzip or zstd or not, into buf (cleared first; NUL-terminated). Fails
 * with KEEL_E_IO naming the path, or KEEL_E_INVALID when more than max_bytes come out (0: 1 GiB). A truncated
 * or corrupt gzip stream is KEEL_E_PARSE. */
keel_status keel_file_read(const char *path, size_t max_bytes, keel_buf *buf, keel_err *err);

/* SHA-256 of a file's bytes as they are on disk. */
keel_status keel_file_hash(const char *path, char hex[65], keel_err *err);

/* Writes bytes to path by way of a temporary file in the same folder, fsync and rename: path holds the old
 * content or the new, never a part. What is there and no file (a device, a link) is left alone:
 * KEEL_E_CONFLICT. */
keel_status keel_file_write(const char *path, const void *bytes, size_t length, keel_err *err);

/* The same piece by piece, for what is too long to be in memory. gzip: what is added is compressed. path
 * NULL: to standard output, at once. After open, call commit or abandon, which free the writer. */
typedef struct keel_file_writer keel_file_writer;
keel_status keel_file_writer_open(keel_file_writer **out, const char *path, bool gzip, keel_err *err);
keel_status keel_file_writer_add(keel_file_writer *writer, const void *bytes, size_t length, keel_err *err);
keel_status keel_file_writer_commit(keel_file_writer *writer, keel_err *err);
void keel_file_writer_abandon(keel_file_writer *writer); /* NULL is harmless */

/* The folder of temporary files: TMPDIR, else /var/tmp, which is no memory in disguise. */
const char *keel_file_temporary(void);
/* A temporary file there without a name, which goes with the process; the caller closes *fd. */
keel_status keel_file_unnamed(int *fd, keel_err *err);

keel_status keel_folder_make(const char *path, keel_err *err); /* with parents; existing is fine */

/* Sorted names (not paths) of the regular files in a folder that end in one of the suffixes (NULL-terminated
 * list; NULL list: all). Names in the arena. */
keel_status keel_folder_list(const char *path, const char *const *suffixes, keel_arena *arena,
                             const char ***names, size_t *count, keel_err *err);
/* The same with those in its folders, four deep: "1_Pooling/config.json". Links to folders, which may lead
 * back, are not followed; those to files are. */
keel_status keel_folder_list_deep(const char *path, const char *const *suffixes, keel_arena *arena,
                                  const char ***names, size_t *count, keel_err *err);

/* A folder that appears whole or not at all: files are written under `temporary` and commit renames it to
 * path, replacing an older folder (not a link to one). Use begin, write files into folder->temporary, then
 * commit or abandon. A temporary folder left behind by a killed process is removed by the next begin for the
 * same path. */
typedef struct keel_folder_write {
    char path[4096];
    char temporary[4112];
} keel_folder_write;
keel_status keel_folder_begin(keel_folder_write *folder, const char *path, keel_err *err);
keel_status keel_folder_commit(keel_folder_write *folder, keel_err *err);
void keel_folder_abandon(keel_folder_write *folder);
keel_status keel_folder_remove(const char *path, keel_err *err); /* recursively; missing is fine */

/* Joins with one '/', into the arena. */
char *keel_path_join(keel_arena *arena, const char *folder, const char *name);
/* The path of what is there, from the root on, into the arena. KEEL_E_IO. */
keel_status keel_path_absolute(const char *path, keel_arena *arena, const char **out, keel_err *err);
/* Beside "some/where/NAME": "some/where/.NAME.SUFFIX". Into the arena; NULL when out of memory. */
char *keel_path_beside(keel_arena *arena, const char *path, const char *suffix);
/* The folder that holds it, as its path says; "." where that names none. */
void keel_path_parent(const char *path, char *out, size_t size);

#endif
