/* Importing: conversations that readers give, into the store. Each file is one transaction: all of it is in
 * or none of it. A file that is in the store already changes nothing. Bad input is an error that names file
 * and line (or key). */
#ifndef KEEL_DATASETS_IMPORT_H
#define KEEL_DATASETS_IMPORT_H

#include "core/api.h"
#include "core/source.h"
#include "datasets/formats.h"
#include "datasets/store.h"

KEEL_BEGIN_DECLS

enum { KEEL_IMPORT_COUNTS = 16 };

/* Something that a format counts, as its row in formats.c names it. */
typedef struct keel_import_count {
    const char *name;
    int64_t count;
} keel_import_count;

typedef struct keel_import_report {
    int64_t files, files_known;                 /* read; of those, already imported before */
    int64_t conversations, unchanged, extended; /* new; already there; there and completed */
    int64_t passed_over;                        /* files in folders that are no logs, or of another format */
    int64_t skipped;                            /* bad lines */
    int64_t near;                               /* groups that joined that of a similar prompt */
    int64_t turns, decisions, candidates, completed;
    int64_t unseen; /* new or extended conversations that `each` was not called with */
    size_t n_counts;
    keel_import_count counts[KEEL_IMPORT_COUNTS]; /* of the formats that were read */
} keel_import_report;

/* Called with each new conversation that is whole, ids filled in, within the transaction of its file. It is
 * not called where other files may add candidates to the conversation. */
typedef keel_status keel_import_each(void *user, const keel_conversation *conversation, keel_err *err);

/* Called with every conversation that comes in, new or not, by its row id. MORE, or `merge` of a reader: its
 * transitions are to be derived anew. */
typedef keel_status keel_import_came(void *user, int64_t id, keel_added added, keel_err *err);

/* Called with each bad line that is passed over. */
typedef void keel_import_bad(void *user, const keel_err *bad);

typedef struct keel_import_options {
    const keel_format *format; /* NULL: the one that the content of each file looks like */
    const char *split;  /* NULL: as the log says (the `split` key of chat, the folder's name of sgd), else
                           by group */
    const char *source; /* instead of the format's name: ids are unique within it; NULL: as it is */
    const char
        *columns;     /* "prompt=COLUMN,response=COLUMN,...": where rows keep what (row.h); NULL: by name */
    int64_t skip_bad; /* how many conversations, over all files, may be bad: unreadable, or contradicting
                         the store. They are passed over and counted; one more fails its file */
    double near; /* conversations whose prompts are as similar as this get one group (dedupe.h); 0: none do */
    keel_import_each *each; /* may be NULL */
    void *each_user;
    keel_import_bad *bad; /* may be NULL */
    void *bad_user;
    keel_import_came *came; /* may be NULL */
    void *came_user;
} keel_import_options;

/* KEEL_E_USAGE, with the fields there are, for what is not "FIELD=COLUMN,..."; NULL is right. */
keel_status keel_import_check_columns(const char *columns, keel_err *err);
/* options NULL: the defaults. A path may be a folder: it stands for the files in it and below whose names are
 * of the format, or of any format, sorted. "-" is standard input. */
keel_status keel_import(keel_store *store, const keel_import_options *options, const char *const *paths,
                        size_t count, keel_import_report *report, keel_err *err);
/* The same of one source, such as a buffer in memory. Takes the source over, also if it fails. */
keel_status keel_import_source(keel_store *store, const keel_import_options *options, keel_source *source,
                               keel_import_report *report, keel_err *err);
/* The same of one message of a stream, inside the caller's transaction: it is not noted among the imports,
 * splits stay provisional (keel_stratify), and the report is added to. After an error the caller rolls back.
 * Takes the source over, also if it fails. */
keel_status keel_import_message(keel_store *store, const keel_import_options *options, keel_source *source,
                                keel_import_report *report, keel_err *err);

KEEL_END_DECLS

#endif
