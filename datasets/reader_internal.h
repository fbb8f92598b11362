/* What the readers share. Not for other folders. */
#ifndef KEEL_DATASETS_READER_INTERNAL_H
#define KEEL_DATASETS_READER_INTERNAL_H

#include "core/json.h"
#include "datasets/reader.h"

/* At one decision: each is compared with all others. */
enum { KEEL__MOST_ANSWERS = 10000 };

bool keel__is_space(char c); /* white space of JSON */
/* Length of a file name without ".gz" or ".zst". */
size_t keel__plain_length(const char *name);

/* Whether a status says that what was read is wrong: of a reader that skips bad input, one conversation. */
bool keel__is_bad_input(keel_status status);

/* A reader of this kind whose state is zeroed. Takes the source over, also if it fails. */
keel_status keel__reader_make(keel_reader **out, const keel_reader_kind *kind, const keel_format *format,
                              keel_source *source, keel_err *err);

/* The JSON objects of a source: one a line, or the items of one array, as the first character says. An array
 * is in memory as text, but only one item of it as values. */
typedef struct keel__objects {
    const char *array_of;     /* set before the first call: only an array of these will do; NULL: either */
    bool begun, array, whole; /* whole: the source is one object over several lines */
    keel_buf text;
    keel_json_items items;
} keel__objects;
/* The next object, in the arena with its place; *object NULL at the end. */
keel_status keel__objects_next(keel__objects *objects, keel_source *source, keel_arena *arena,
                               const cJSON **object, const char **where, keel_err *err);
void keel__objects_close(keel__objects *objects);
/* The close of a reader whose state they are. */
void keel__objects_end(keel_reader *reader);

/* formats.c: where the value of a key of the JSON object that fills text[0..length) stands, so that large
 * values are read one by one. It is skipped over, not checked: parse it. False: there is no such key. */
bool keel__member(const char *text, size_t length, const char *key, const char **value, size_t *size);

/* formats.c: what the beginning of a source looks like. */
keel_status keel__sniff(keel_source *source, keel_sniff *out, keel_err *err);

/* formats.c: whether the beginning of a source is that of something that has to be unpacked or converted
 * first; sets the hint that says how. */
bool keel__container_hint(const char *text, size_t length, keel_err *err);

/* Makes every assistant turn a decision with one taken candidate that says what the turn says. decisions has
 * room for them; returns their number, or SIZE_MAX when out of memory. */
size_t keel__decide_turns(keel_arena *arena, const keel_turn *turns, size_t n_turns,
                          keel_decision *decisions);

/* The printed value in the arena. NULL or an empty object gives NULL. */
keel_status keel__print_value(keel_arena *arena, const cJSON *value, const char *where, const char **out,
                              keel_err *err);

/* What the chat reader counts, in the order of its row in formats.c. */
enum {
    KEEL__CHAT_SERVICE_REFUSALS,
    KEEL__CHAT_CUT_OFF,
    KEEL__CHAT_CONTEXT,
    KEEL__CHAT_MISPLACED,
    KEEL__CHAT_UNANSWERED,
    KEEL__CHAT_COUNTS
};
/* chat.c: as keel_chat_read, of a parsed object; adds to counts [KEEL__CHAT_COUNTS], which may be NULL. */
keel_status keel__chat_read_object(const cJSON *object, const char *where, keel_arena *arena, int64_t *counts,
                                   keel_conversation *out, keel_err *err);

/* chat_plain.c: the object in the plain shape, in the arena; *out is the object itself where it has that. */
keel_status keel__chat_plain(const cJSON *object, const char *where, keel_arena *arena, const cJSON **out,
                             keel_err *err);

/* The keys of the chat format, NULL-terminated: of a conversation, a message, a candidate. The first of the
 * latter two is "content", which is kept in meta where it holds more than text. */
extern const char *const keel__chat_conversation_keys[], *const keel__chat_message_keys[],
                                                             *const keel__chat_candidate_keys[];
/* Whether two mentions of a candidate in one decision are the same response. */
bool keel__chat_same_response(const keel_candidate *a, const keel_candidate *b);

#endif
