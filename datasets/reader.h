/* Readers: conversations from a source of bytes, one after the other. A reader knows no store. Every log
 * format has a kind of reader (formats.h); prefetch.h wraps a reader so that a thread of its own reads ahead.
 */
#ifndef KEEL_DATASETS_READER_H
#define KEEL_DATASETS_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/api.h"
#include "core/memory.h"
#include "core/nouns.h"
#include "core/source.h"
#include "core/status.h"
#include "datasets/formats.h"

KEEL_BEGIN_DECLS

/* What next gives. It lies in the arena or in the reader, and is valid until the next call. */
typedef struct keel_read {
    keel_conversation *conversation; /* NULL at the end */
    const char *where;               /* its place: "file:line" */
    const keel_err *bad; /* instead of a conversation, where the reader skips bad ones: what is wrong here */
    bool merge;          /* other sources may hold more candidates of the same conversation: add them to it */
} keel_read;

typedef struct keel_reader keel_reader;

/* How a kind of reader works. */
typedef struct keel_reader_kind {
    bool (*looks_like)(const keel_sniff *sniff);             /* whether the source may be of the format */
    size_t state_size;                                       /* bytes at reader->state, zeroed before open */
    keel_status (*open)(keel_reader *reader, keel_err *err); /* before the first next; NULL: nothing to do */
    keel_status (*next)(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err);
    void (*close)(keel_reader *reader); /* also after a failed open; NULL: nothing to do */
} keel_reader_kind;

struct keel_reader {
    const keel_reader_kind *kind;
    const keel_format *format;
    keel_source *source; /* owned */
    void *state;         /* [kind->state_size] */
    const char *place;   /* name of the source, for errors */
    const char *name;    /* the same without its folder and ".gz" or ".zst"; owned */
    const char *folder;  /* name of the folder that holds the file; "" if the path has none; owned */
    bool opened;
    const char *columns; /* set before the first next: where rows keep what (row.h); NULL: by name */
    bool skip_bad; /* set before the first next: what cannot be read is given as `bad`, and next goes on */
    char bad_at[sizeof((keel_err *)0)->where]; /* the last such place */
    int64_t counts[KEEL_FORMAT_COUNTS];        /* as format->counts; complete at the end */
};

/* A reader of the format; NULL: of the format that the content looks like, KEEL_E_PARSE if there is none.
 * Takes the source over, also if it fails. */
keel_status keel_reader_open(keel_reader **out, const keel_format *format, keel_source *source,
                             keel_err *err);
/* The next conversation. Bad input is an error that names file and line (or key); after an error there is
 * only close. With skip_bad, bad input is given as out->bad, unless it is not that of one conversation: the
 * reader stays at the same place. out->conversation->source is never NULL. */
keel_status keel_reader_next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err);
void keel_reader_close(keel_reader *reader); /* NULL is harmless */

KEEL_END_DECLS

#endif
