/* The store: one SQLite file that holds logs, labels, transitions, features, runs and replays. Everything
 * enters and leaves as the nouns of core/nouns.h. A store handle belongs to one thread.
 *
 * Writing happens inside keel_store_begin / keel_store_commit; a rollback (or a crash) leaves the file as it
 * was. */
#ifndef KEEL_DATASETS_STORE_H
#define KEEL_DATASETS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/api.h"
#include "core/memory.h"
#include "core/nouns.h"
#include "core/status.h"
#include "datasets/split.h"

KEEL_BEGIN_DECLS

typedef struct keel_store keel_store;

typedef enum keel_store_mode {
    KEEL_STORE_READ,   /* must exist */
    KEEL_STORE_WRITE,  /* must exist; older schemas are migrated forward */
    KEEL_STORE_CREATE, /* made if missing */
    KEEL_STORE_EITHER  /* as WRITE where file and folder may be written, else as READ */
} keel_store_mode;

/* A file of another application, a newer schema or a damaged file is an error that says so. A store in a
 * folder that may not be written is read too, as long as nobody else writes to it. */
keel_status keel_store_open(keel_store **out, const char *path, keel_store_mode mode, keel_err *err);
void keel_store_close(keel_store *store); /* NULL is harmless; rolls back what was not committed */
const char *keel_store_path(const keel_store *store);
bool keel_store_writable(const keel_store *store);

/* For a program that owns its process (core/process.h), before the first store is opened: SQLite takes its
 * memory from the context's allocator. */
void keel_store_use_allocator(void);

keel_status keel_store_begin(keel_store *store,
                             keel_err *err); /* BEGIN IMMEDIATE; waits for another writer, then says who */
keel_status keel_store_commit(keel_store *store, keel_err *err);
void keel_store_rollback(keel_store *store);
/* From here to the end of the transaction, what is added may wait for more, which is much quicker; it is not
 * to be read before. */
void keel_store_gather(keel_store *store);
/* What waits is inserted, and may be read. */
keel_status keel_store_gathered(keel_store *store, keel_err *err);

/* KEEL_E_USAGE for a name that SQLite reads as something else than a file: "", ":memory:", "file:...". */
keel_status keel_store_check_path(const char *path, keel_err *err);

/* ---- conversations ---- */

typedef enum keel_added { KEEL_ADDED_NEW, KEEL_ADDED_NOTHING, KEEL_ADDED_MORE } keel_added;

/* Adds a conversation with its turns, decisions, candidates and labels. One whose (source, external_id) is
 * there already is completed (KEEL_ADDED_MORE): where the turns of one are the first turns of the other, the
 * turns, decisions and candidates that are missing are added, and so is what was absent (risk, completion,
 * feedback, labels, keys of meta ...); features of decisions that change are dropped, the caller derives
 * transitions anew. What contradicts the store is KEEL_E_CONFLICT, which names it. `merge`: several deployed
 * models answered the same prompt; taken responses are added to those there, and of meta the first value of a
 * key stays. where ("file:line") goes into errors. conversation->split NULL: assigned by group, 80 % "train",
 * 20 % "test", which is provisional until keel_stratify (datasets/stratify.h). A new one gets the ids of its
 * rows: its own, its decisions' and its candidates'. */
keel_status keel_store_add_conversation(keel_store *store, keel_conversation *conversation, bool merge,
                                        const char *where, keel_added *added, keel_err *err);

/* The order in which conversations come. */
typedef enum keel_order {
    KEEL_ORDER_STORED, /* by row id: as they were imported, and as they lie in the file */
    KEEL_ORDER_NAMED /* by what they are called: the hash of source and group, then the names themselves. The
                        same whatever order they were imported in, so numbers that are drawn or added up go by
                        it and do not tell one import from another; neighbours in it lie anywhere in the file.
                      */
} keel_order;

/* Walks the conversations of a split; NULL split: all. Each is read into the arena (the caller resets it
 * between conversations). Writing labels, transitions and features while a cursor is open is allowed.
 * KEEL_ORDER_NAMED takes 8 bytes of memory a conversation. A walk ends with KEEL_E_INTERRUPTED when the
 * program is asked to stop. */
typedef struct keel_cursor keel_cursor;
keel_status keel_cursor_open(keel_cursor **out, keel_store *store, const keel_split *split, keel_order order,
                             keel_err *err);
keel_status keel_cursor_next(keel_cursor *cursor, keel_arena *arena, keel_conversation **conversation,
                             keel_err *err); /* NULL at the end */
void keel_cursor_close(keel_cursor *cursor);

/* One conversation, by row id or by "external id" (optionally "source:external_id"). KEEL_E_NOT_FOUND names
 * it. */
keel_status keel_store_conversation(keel_store *store, int64_t id, keel_arena *arena, keel_conversation **out,
                                    keel_err *err);
/* What is read between the two is of one state of the store, which need not be locked for each conversation
 * anew. Inside a transaction hold does nothing, and *held says so to release. Write nothing in between. */
keel_status keel_store_hold(keel_store *store, bool *held, keel_err *err);
void keel_store_release(keel_store *store, bool held);
keel_status keel_store_find_conversation(keel_store *store, const char *name, int64_t *id, keel_err *err);
/* Row ids of a split's conversations; the caller frees *ids with keel_free. */
keel_status keel_store_conversation_ids(keel_store *store, const keel_split *split, keel_order order,
                                        int64_t **ids, size_t *count, keel_err *err);

keel_status keel_store_count_conversations(keel_store *store, const keel_split *split, size_t *count,
                                           keel_err *err);

/* Fails with KEEL_E_NOT_FOUND, naming the splits there are, if the split holds no conversation. */
keel_status keel_store_check_split(keel_store *store, const keel_split *split, keel_err *err);

/* SHA-256 over the sum modulo 2^256 of the SHA-256 of the split's conversations (content and winning labels):
 * the same logs give the same hash whatever order they were imported in. */
keel_status keel_store_content_hash(keel_store *store, const keel_split *split, char hex[65], keel_err *err);
/* The same, for who wants to see the conversations too: look gets each, as stored. Up to the first for which
 * it returns false they lie in `keep` and stay. */
typedef bool keel_store_look(void *context, keel_conversation *conversation);
keel_status keel_store_walk(keel_store *store, const keel_split *split, keel_arena *keep,
                            keel_store_look *look, void *context, char hex[65], keel_err *err);

/* Distinct dialogue acts of taken candidates in a split, sorted; in the arena. */
keel_status keel_store_acts(keel_store *store, const keel_split *split, keel_arena *arena, const char ***acts,
                            size_t *count, keel_err *err);

/* ---- labels ---- */

/* Records a judgement; the candidate's winning label is the one of highest authority, the latest among
 * equals, of humans what most say, and of equally many what was said first. */
keel_status keel_store_put_label(keel_store *store, int64_t candidate_id, keel_outcome outcome,
                                 keel_authority judge, const char *judge_name, double confidence,
                                 keel_err *err);

/* Drops the labels that judges of a kind gave, all but those of the judge `keep`; the best of what is left
 * wins, if anything is. Judges' names begin "<kind>-...". Labels by humans and labels that came with a log
 * stay. */
keel_status keel_store_drop_judged(keel_store *store, const char *kind, const char *keep, int64_t *dropped,
                                   keel_err *err);

/* A candidate with a label by a human, which wins, and one by a judge. */
typedef struct keel_judged_pair {
    int64_t conversation;
    keel_risk risk; /* of the conversation */
    const char *model;
    keel_outcome human, judge;
    double weight; /* how many responses without a label by a human it stands for: 1; of those that were drawn
                      with a chance pi (datasets/store_review.h) 1 / pi - 1, scaled to 1 on average; 0: it was
                      drawn for sure, or not yet in its turn */
} keel_judged_pair;

/* What humans say about the labels of a store's judge: the judge, a model or a rule, that labelled most of
 * what humans labelled too, else the one that labelled most. */
typedef struct keel_judged_pairs {
    const char *judge; /* its name; NULL: no judge labelled anything */
    keel_authority authority;
    int64_t labels; /* that it gave where no human did */
    int64_t others; /* that others of the same authority gave where no human did */
    size_t n;
    keel_judged_pair *pairs; /* [n] by what conversations are called (KEEL_ORDER_NAMED) */
} keel_judged_pairs;
/* In the arena. */
keel_status keel_store_judged_pairs(keel_store *store, keel_arena *arena, keel_judged_pairs *out,
                                    keel_err *err);

/* ---- transitions ---- */

/* Transitions of a conversation that has none yet. */
keel_status keel_store_add_transitions(keel_store *store, const keel_transition *transitions, size_t count,
                                       keel_err *err);
/* Replaces the transitions of one conversation. */
keel_status keel_store_put_transitions(keel_store *store, int64_t conversation_id,
                                       const keel_transition *transitions, size_t count, keel_err *err);

/* ---- features ---- */

keel_status keel_store_put_features(keel_store *store, const char *base_hash, int64_t decision_id,
                                    const keel_features *features, keel_err *err);
/* *found false when the decision has none under that base. Into the arena. */
keel_status keel_store_get_features(keel_store *store, const char *base_hash, int64_t decision_id,
                                    keel_arena *arena, keel_features *out, bool *found, keel_err *err);
/* Removes all features of that base. */
keel_status keel_store_drop_features(keel_store *store, const char *base_hash, keel_err *err);
/* Decisions of the split without features under that base. */
keel_status keel_store_missing_features(keel_store *store, const char *base_hash, const keel_split *split,
                                        size_t *count, keel_err *err);

/* ---- counts ---- */

typedef struct keel_split_count {
    const char *name;
    int64_t conversations, turns, decisions, candidates, taken, transitions;
    int64_t benign, dangerous, risk_unknown, completed, completion_known;
    int64_t outcome[KEEL_N_OUTCOMES + 1];   /* of taken candidates, by keel_outcome */
    int64_t judged_by[4];                   /* of taken candidates, by keel_authority */
    int64_t reward_present[KEEL_N_REWARDS]; /* of transitions */
} keel_split_count;
/* One row per split name, sorted; in the arena. */
keel_status keel_store_counts(keel_store *store, keel_arena *arena, keel_split_count **out, size_t *count,
                              keel_err *err);

/* The shortest and the longest time taken (ms) of taken candidates; absent where none has one. */
keel_status keel_store_latencies(keel_store *store, keel_optional *low, keel_optional *high, keel_err *err);

/* ---- settings ---- */

/* What holds for the whole store, as text under a key ("rewards": the reward configuration, a JSON object).
 * The value goes into the arena; *value NULL when the key is not set. */
keel_status keel_store_get_setting(keel_store *store, const char *key, keel_arena *arena, const char **value,
                                   keel_err *err);
/* Replaces an older value. */
keel_status keel_store_put_setting(keel_store *store, const char *key, const char *value, keel_err *err);

/* ---- what was done ---- */

typedef struct keel_store_metric {
    const char *name;    /* as gates name it: "refusal_rate.low" */
    keel_optional value; /* absent: nothing is known of it */
} keel_store_metric;
/* What an agent did with the tasks of a benchmark: of the conversations whose meta has must_not_act (true:
 * their task allows no change of the world) and, where it is true, forbidden_writes (how many changes were
 * made all the same). */
typedef struct keel_task_count {
    const char *source, *domain, *agent, *setting; /* the latter three by the keys of meta; NULL: not there */
    int64_t conversations, completed, completion_known;
    int64_t must_not_act, must_not_act_completed, must_not_act_known; /* of those */
    int64_t forbidden;                                                /* of those, with a forbidden write */
} keel_task_count;
/* By source, domain, agent and setting; in the arena. *count 0: the store has no such logs. */
keel_status keel_store_tasks(keel_store *store, keel_arena *arena, keel_task_count **out, size_t *count,
                             keel_err *err);

/* A run (import, label, sft, train, eval ...) with its resolved configuration and result, as JSON texts, and
 * what it measured. One that repeats the verb's last run to the letter adds nothing: a command that was
 * killed after it was recorded and is given again is one run. All of it is in, or nothing. */
keel_status keel_store_put_run(keel_store *store, const char *verb, const char *config_json,
                               const char *result_json, const keel_store_metric *metrics, size_t n_metrics,
                               keel_err *err);

/* ---- the ledger of gates ---- */

/* Whether the store keeps one: a store of an older schema that may only be read does not. */
keel_status keel_store_has_tries(keel_store *store, bool *has, keel_err *err);
/* How many policies a gate was tried on, on the split of this content hash, and the place of this policy
 * among them, from 1; 0: it was not tried yet. */
keel_status keel_store_find_try(keel_store *store, const char *split_hash, const char *gate,
                                const char *policy, int64_t *tries, int64_t *place, keel_err *err);
/* Adds the try unless it is there. */
keel_status keel_store_put_try(keel_store *store, const char *split_hash, const char *gate,
                               const char *policy, const char *split, keel_err *err);

/* One run that measured a metric. */
typedef struct keel_measured {
    int64_t run; /* ascending in time */
    const char *verb, *config_json;
    keel_optional value;
} keel_measured;
/* The runs that measured it, oldest first; in the arena. */
keel_status keel_store_measured(keel_store *store, const char *metric, keel_arena *arena, keel_measured **out,
                                size_t *count, keel_err *err);
/* One replayed decision; replaces an older one of the same policy and decision. */
keel_status keel_store_put_replay(keel_store *store, const char *policy_hash, int64_t decision_id,
                                  const char *chosen, const char *detail_json, keel_err *err);

KEEL_END_DECLS

#endif
