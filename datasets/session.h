/* Logs of single calls of a model, each of which repeats the conversation so far: observability, chat
 * servers. The longest history of a session is its conversation. Calls whose history it begins with give its
 * answers their latency, model and feedback; an answer that the history does not go on with is a candidate. A
 * call that fits nowhere begins a conversation of its own in the same group. All of a source is in memory at
 * once. Not for other folders. */
#ifndef KEEL_DATASETS_SESSION_H
#define KEEL_DATASETS_SESSION_H

#include "datasets/reader_internal.h"
#include "datasets/value.h"

typedef struct keel__call {
    const char *session; /* name of its session */
    const char *group;   /* NULL: the session */
    const char *where;   /* its place */
    double time;         /* when it began; the unit is the log's */
    cJSON *history;      /* array of messages in the chat format, not empty */
    cJSON *answers;      /* the same of the answers; the first was given to the user */
    const cJSON *meta;   /* of the conversation, or NULL */
    /* set by keel__sessions_add: */
    uint64_t *hashes; /* [n + 1]: of the first k messages */
    size_t n, number; /* number: its place among those added */
    uint64_t key;     /* of session and whole history */
    bool used;
} keel__call;

/* A name under which a session is called too. */
typedef struct keel__alias {
    const char *other, *session;
} keel__alias;

/* A name under which other records speak of an answer. */
typedef struct keel__named {
    const char *name;
    double time;   /* of the call */
    cJSON *answer; /* the first one of the call */
} keel__named;

enum { KEEL__SESSION_WIDEST = 4096 }; /* answers to one history */

/* The state of a reader, or its first member. */
typedef struct keel__sessions {
    keel__objects objects;
    keel_arena arena; /* of all that is read */
    keel__call *calls;
    size_t count, capacity;
    keel__alias *aliases;
    size_t n_aliases, aliases_capacity;
    keel__named *named;
    size_t n_named, named_capacity, n_sorted; /* n_sorted: how many stand in order */
    bool read;
    size_t next, *by_key; /* by_key [count]: calls in the order of key and time */
    const char *last_session;
    size_t heads; /* conversations of last_session so far */
} keel__sessions;

keel_status keel__sessions_add(keel__sessions *sessions, const keel__call *call, keel_err *err);

/* From now on or before, what is called `other` belongs to the session. */
keel_status keel__sessions_alias(keel__sessions *sessions, const char *other, const char *session,
                                 keel_err *err);

/* The call's first answer may be spoken of under this name; NULL: does nothing. */
keel_status keel__sessions_name(keel__sessions *sessions, const char *name, const keel__call *call,
                                keel_err *err);
/* The answer of the latest call under that name; NULL: there is none. */
cJSON *keel__sessions_named(keel__sessions *sessions, const char *name);

/* Adds the calls of one object of the log. */
typedef keel_status keel__sessions_read(keel_reader *reader, const cJSON *object, const char *where,
                                        keel_err *err);
/* Called once all objects are read; NULL: nothing to do. */
typedef keel_status keel__sessions_finish(keel_reader *reader, keel_err *err);
/* The next conversation. At the first call all of the source is read. */
keel_status keel__sessions_next(keel_reader *reader, keel__sessions_read *read, keel__sessions_finish *finish,
                                keel_arena *arena, keel_read *out, keel_err *err);
void keel__sessions_close(keel_reader *reader);

/* Texts that are JSON (they begin with a bracket) are parsed into the arena; all else is given back. */
const cJSON *keel__sessions_unpack(keel__sessions *sessions, const cJSON *value);

#endif
