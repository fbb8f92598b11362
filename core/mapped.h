/* Files that are read where they lie, mapped into memory. One that is cut short while it is in use, as by a
 * copy over it, has no bytes there any more, and the process gets SIGBUS: what lies where is kept, so that
 * who owns the process (core/process.h) can say which file it was. */
#ifndef KEEL_CORE_MAPPED_H
#define KEEL_CORE_MAPPED_H

#include <stddef.h>

#include "core/status.h"

/* Maps a regular file for reading; *data NULL where it is empty. */
keel_status keel_mapped_open(const char *path, void **data, size_t *length, keel_err *err);
void keel_mapped_close(void *data, size_t length); /* NULL is harmless */

/* The same of what the caller maps by itself. Of the first KEEL_MAPPED_MOST at once the name is known. */
enum { KEEL_MAPPED_MOST = 256 };
void keel_mapped_add(const void *data, size_t length, const char *path);
void keel_mapped_remove(const void *data); /* before it is unmapped */

/* The file that an address lies in, as a terminal can show it; NULL: none that is known. May be called in the
 * handler of a signal; the text stays until the file is unmapped. */
const char *keel_mapped_path(const void *address);

#endif
