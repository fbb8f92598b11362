/* Importers: logged conversations of a public or native format into the store. Each file is one transaction:
 * all of it is in or none of it; the same file again changes nothing. Bad input is an error naming file and
 * line (or key). */
#ifndef KEEL_DATASETS_IMPORT_H
#define KEEL_DATASETS_IMPORT_H

#include "datasets/store.h"

typedef struct keel_import_report {
    int64_t files, files_known;                 /* read; of those, already imported before */
    int64_t conversations, unchanged, extended; /* new; already there; there and given new candidates */
    int64_t turns, decisions, candidates, completed;
    int64_t unseen;           /* new or extended conversations that `each` was not called with */
    int64_t early_difference; /* hh-rlhf: pairs that differ in more than the last turn */
    int64_t prompts_differ; /* hh-rlhf: of those, pairs whose human turns differ: kept as two conversations */
} keel_import_report;

/* format: "chat", "hh-rlhf", "sgd" or "xstest" (keel_import_formats, NULL-terminated). split: NULL for the
 * format's own: the `split` key of chat, the folder's name (train, dev, test) of sgd, else by group. A path
 * may be a folder: it stands for the files of that format in it and below, in sorted order. */
extern const char *const keel_import_formats[];
/* each (may be NULL): called with each new conversation that is whole, ids filled in, within the transaction
 * of its file. Those of xstest never are: later files add answers to them. */
typedef keel_status keel_import_each(void *user, const keel_conversation *conversation, keel_err *err);
keel_status keel_import(keel_store *store, const char *format, const char *split, const char *const *paths,
                        size_t count, keel_import_each *each, void *user, keel_import_report *report,
                        keel_err *err);

#endif
