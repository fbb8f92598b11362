/* Exporting: conversations of the store, with their labels and rewards, into a file that can be imported
 * again. */
#ifndef KEEL_DATASETS_EXPORT_H
#define KEEL_DATASETS_EXPORT_H

#include "core/file.h"
#include "datasets/store.h"

/* Appends what becomes of a conversation, and adds the number of its rows to *count. */
typedef keel_status keel_export_write(void *user, const keel_conversation *conversation, keel_buf *lines,
                                      int64_t *count, keel_err *err);
/* What write makes of the conversations of a split (NULL: all), in the order in which they were imported. The
 * caller commits or abandons the file. */
keel_status keel_export(keel_store *store, const keel_split *split, keel_export_write *write, void *user,
                        keel_file_writer *to, int64_t *count, keel_err *err);
/* The conversations of a split (NULL: all), in the order in which they were imported, as lines of the chat
 * format (chat.h). Imported into a new store they give the same content hash. *count: how many. The caller
 * commits or abandons the file. */
keel_status keel_export_chat(keel_store *store, const keel_split *split, keel_file_writer *to, int64_t *count,
                             keel_err *err);

#endif
