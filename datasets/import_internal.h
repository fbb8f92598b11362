/* What the importers share: the file at hand, and adding a conversation with its counts. Not for other rooms.
 */
#ifndef KEEL_DATASETS_IMPORT_INTERNAL_H
#define KEEL_DATASETS_IMPORT_INTERNAL_H

#include "core/json.h"
#include "datasets/import.h"

typedef struct keel__prefetch keel__prefetch;

/* One file being imported: the reader has one of these without store, the one that adds has one without
 * arena. */
typedef struct keel__import {
    keel_store *store;
    const char *path;
    const char *name;   /* file name without folder and ".gz" */
    const char *folder; /* name of the folder it lies in; "" if the path names none */
    const char *split;  /* asked for, or NULL */
    struct keel__prefetch *ahead;
    keel_arena *arena;      /* of what is read: keeps each conversation until it is in the store */
    keel_import_each *each; /* may be NULL */
    void *user;
    keel_import_report *report;
} keel__import;

typedef keel_status keel__import_file(keel__import *import, keel_err *err);
keel__import_file keel__import_chat, keel__import_hh, keel__import_sgd, keel__import_xstest;

/* Fills in what the path tells; path must stay, names are in the arena. */
keel_status keel__import_name(keel__import *import, const char *path, keel_arena *arena, keel_err *err);

/* The files of one import, which a thread reads ahead. For who adds them, file by file: begin gives the hash
 * of the next file, add adds its conversations, or lets them go by. After an error there is only close. */
typedef struct keel__files {
    const char *format;
    keel__import_file *read;
    const char *const *paths;
    size_t count;
} keel__files;
keel_status keel__prefetch_open(keel__prefetch **out, const keel__files *files, keel_err *err);
void keel__prefetch_close(keel__prefetch *ahead);
keel_status keel__prefetch_begin(keel__prefetch *ahead, char hash[65], keel_err *err);
keel_status keel__prefetch_add(keel__prefetch *ahead, keel__import *import, size_t file, bool skip,
                               keel_err *err);

/* For who reads. Next: a conversation begins; all of it lies in import->arena. Add: puts it in line for the
 * store. The split asked for wins over its own. */
keel_status keel__import_next(keel__import *import, keel_err *err);
keel_status keel__import_add(keel__import *import, const keel_conversation *conversation, bool merge,
                             const char *where, keel_err *err);

/* One whole conversation per line: calls `each` with the line's JSON object, which lives in the import's
 * arena as all of the conversation does. where is "file:line". */
typedef keel_status keel__import_object(keel__import *import, const cJSON *object, const char *where,
                                        keel_err *err);
keel_status keel__import_lines(keel__import *import, keel__import_object *each, keel_err *err);

/* One array that holds the conversations: calls `each` with item and index. of: what they are, in errors. */
typedef keel_status keel__import_item(keel__import *import, const cJSON *item, size_t index, void *user,
                                      keel_err *err);
keel_status keel__import_items(keel__import *import, const char *of, keel__import_item *each, void *user,
                               keel_err *err);

/* The printed value in the import's arena. NULL or an empty object gives NULL. */
keel_status keel__import_print(keel__import *import, const cJSON *value, const char **out, keel_err *err);

/* Makes every assistant turn a decision with one taken candidate that says what the turn says. decisions has
 * room for them; returns their number, or SIZE_MAX when out of memory. */
size_t keel__import_decide_turns(keel__import *import, const keel_turn *turns, size_t n_turns,
                                 keel_decision *decisions);

#endif
