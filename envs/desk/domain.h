/* What a support desk is about, as a JSON file says it: intents with their slots, the facts that its database
 * holds, requests that people come with, policies that say which of them must be refused, and the phrases in
 * which all of it is said. Private to this room.
 *
 * Keys of the file (required ones with *; phrases are lists of texts):
 *   intents*   name: {task* what it is in words, summary* of a filled form, question, required [slots],
 *              optional [slots], facts [facts], flexible a slot whose value may be turned down, weak}
 *   slots      name: {label*, values [texts] or pattern (each '#' a digit), ask* and tell* phrases}
 *   facts      name: {label*, values* [texts] or, with `by` a slot, {value of the slot: text}, ask*, tell*}
 *   requests*  [{name*, intent (absent: any), against a policy: dangerous, alarming: borderline,
 *              say* phrases or opens_like another request, then phrases said a turn or two later, weak}]
 *   policies   name: what must be refused, in words
 *   words      name: [texts], one of them per conversation; synonyms: one of them each time
 *   phrases    {user: {move: phrases}, desk: {act: phrases}}; latency_ms {act: median}. Those of the built-in
 *              domain stand where a file says nothing.
 * weak: the logged desks of the past err here by habit (envs/desk/behaviours.c).
 *
 * In phrases {name} stands for a word or synonym; {value} and {label} in those of slots and facts; {task} in
 * requests; {summary} and {answers} in the desk's; the intent's slots in a summary.
 *
 * The database: a fact with `by` is a table over that slot's values; any other is drawn from its values by a
 * hash of the required slots, so that the same question always has the same answer.
 *
 * A list of services with "service_name" is a schema of the Schema-Guided Dialogue data; it is turned into
 * such a domain (domain_sgd.c). */
#ifndef KEEL_ENVS_DESK_DOMAIN_H
#define KEEL_ENVS_DESK_DOMAIN_H

#include "core/json.h"
#include "core/memory.h"
#include "core/status.h"

typedef enum desk_act {
    DESK_ASK_GOAL,
    DESK_REQUEST_SLOT, /* the next missing one */
    DESK_CONFIRM,
    DESK_EXECUTE,
    DESK_ANSWER,
    DESK_CLARIFY,
    DESK_REFUSE,
    DESK_HANDOVER,
    DESK_GOODBYE,
    DESK_N_ACTS
} desk_act;
extern const char *const keel_desk_act_names[DESK_N_ACTS];

/* What a user says; a turn is up to four of them. */
typedef enum desk_move {
    DESK_GREET,
    DESK_ASK,      /* states the request */
    DESK_INSIST,   /* states it again */
    DESK_THEN,     /* says more about it, which may change everything */
    DESK_INFORM,   /* gives a slot */
    DESK_WHATEVER, /* does not care about a slot */
    DESK_AFFIRM,
    DESK_DENY,   /* something is wrong */
    DESK_CHANGE, /* another value then */
    DESK_QUERY,  /* asks for a fact */
    DESK_THANK,
    DESK_LEAVE,
    DESK_N_MOVES
} desk_move;

/* Sets of phrases beyond one per act: what is said while the request is not understood. */
enum {
    DESK_SAY_EXECUTE_BLIND = DESK_N_ACTS,
    DESK_SAY_ANSWER_BLIND,
    DESK_N_SAYINGS,
    DESK_SAY_BEFORE = DESK_N_MOVES, /* of the user: what is said before a request */
    DESK_N_USER_SAYINGS
};

enum { DESK_MAX_SLOTS = 12, DESK_MAX_FACTS = 4, DESK_MAX_PHRASE = 1000 };

typedef struct desk_phrases {
    size_t count;
    const char **items;
} desk_phrases;

typedef struct desk_slot {
    const char *name, *label;
    const char *pattern;    /* or NULL: */
    desk_phrases values;    /* texts, no phrases */
    uint64_t n_values;      /* of either */
    desk_phrases ask, tell; /* the desk asks, the user tells */
} desk_slot;

typedef struct desk_fact {
    const char *name, *label;
    const desk_slot *by;    /* or NULL */
    desk_phrases values;    /* with `by` in the order of its values */
    desk_phrases ask, tell; /* the user asks, the desk tells */
} desk_fact;

typedef struct desk_intent {
    const char *name, *task, *summary;
    bool question, weak;
    size_t n_required, n_slots; /* the required ones come first */
    const desk_slot *slots[DESK_MAX_SLOTS];
    size_t n_facts;
    const desk_fact *facts[DESK_MAX_FACTS];
    int flexible; /* or -1 */
} desk_intent;

typedef enum desk_kind { DESK_BENIGN, DESK_BORDERLINE, DESK_DANGEROUS, DESK_N_KINDS } desk_kind;

typedef struct desk_request {
    const char *name;
    const desk_intent *intent; /* NULL: any */
    desk_kind kind;
    const char *policy; /* name of the one it is against, or NULL */
    bool weak;
    desk_phrases say, then;
} desk_request;

/* A named list of texts. */
typedef struct desk_words {
    const char *name;
    desk_phrases texts;
    bool each_time; /* a synonym */
} desk_words;

typedef struct desk_domain {
    keel_arena arena; /* owns everything */
    const char *name;
    char hash[9]; /* start of the file's SHA-256, "" for the built-in one */
    size_t n_slots, n_facts, n_intents, n_requests, n_words;
    desk_slot *slots;
    desk_fact *facts;
    desk_intent *intents;
    desk_request *requests;         /* ordered by kind */
    size_t first[DESK_N_KINDS + 1]; /* of each kind in requests */
    desk_words *words;
    desk_phrases user[DESK_N_USER_SAYINGS], desk[DESK_N_SAYINGS];
    double latency_ms[DESK_N_ACTS];
} desk_domain;

/* path NULL: the built-in one. Errors name file, key and what was expected. */
keel_status keel_domain_open(desk_domain **out, const char *path, keel_err *err);
void keel_domain_close(desk_domain *domain); /* NULL is harmless */

/* The list of that name, or NULL; name need not end with a NUL. */
const desk_words *keel_domain_words(const desk_domain *domain, const char *name, size_t length);

/* domain_builtin.c.in: the built-in domain's JSON. */
extern const char keel_domain_builtin[];
extern const size_t keel_domain_builtin_length;

/* domain_sgd.c: the JSON of a domain out of a schema's services. */
keel_status keel_domain_from_sgd(const cJSON *services, const cJSON *builtin, const char *where,
                                 keel_buf *out, keel_err *err);

#endif
