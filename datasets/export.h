/* Exporting: conversations of the store, with their labels and rewards, into a file that can be imported
 * again. */
#ifndef KEEL_DATASETS_EXPORT_H
#define KEEL_DATASETS_EXPORT_H

#include "core/file.h"
#include "datasets/store.h"

/* The conversations of a split (NULL: all), in the order in which they were imported, as lines of the chat
 * format (chat.h). Imported into a new store they give the same content hash. *count: how many. The caller
 * commits or abandons the file. */
keel_status keel_export_chat(keel_store *store, const keel_split *split, keel_file_writer *to, int64_t *count,
                             keel_err *err);

#endif
