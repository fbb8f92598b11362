#include "datasets/dedupe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/text.h"
#include "datasets/minhash.h"
#include "datasets/store_internal.h"

enum { ENOUGH_WORDS = 5 };

/* ---- prompts ---- */

/* Adds a turn's words to a running hash; *words gets their number. */
static keel_status add_turn(const keel_turn *turn, keel_arena *arena, uint64_t *hash, size_t *words,
                            keel_err *err) {
    const char *text = turn->text ? turn->text : "";
    const char *folded = keel_text_fold(arena, text, strlen(text));
    const keel_word *word = folded ? keel_text_words(arena, folded, words) : NULL;
    if (!word) return keel_nomem(err, "duplicates");
    *hash = keel_hash64_mix(*hash, (uint64_t)turn->role + 1);
    for (size_t i = 0; i < *words; i++) *hash = keel_hash64_mix(*hash, word[i].hash);
    return KEEL_OK;
}

/* The prompt's hash, and, unless text is NULL, its text with a line for each turn. *asked: whether a user
 * says anything. */
static keel_status read_prompt(const keel_conversation *conversation, keel_arena *arena, uint64_t *hash,
                               bool *asked, keel_buf *text, keel_err *err) {
    size_t of_user = 0, words;
    *hash = 0;
    for (size_t i = 0; i < conversation->n_turns; i++) {
        const keel_turn *turn = &conversation->turns[i];
        if (turn->role == KEEL_ROLE_ASSISTANT && of_user >= ENOUGH_WORDS) break;
        if (turn->role == KEEL_ROLE_ASSISTANT) continue;
        KEEL_TRY(add_turn(turn, arena, hash, &words, err));
        if (turn->role == KEEL_ROLE_USER) of_user += words;
        if (text && text->length) keel_buf_text(text, "\n");
        if (text) keel_buf_text(text, turn->text ? turn->text : "");
    }
    *asked = of_user > 0;
    return KEEL_OK;
}

keel_status keel_dedupe_group(const keel_conversation *conversation, keel_arena *arena, const char **out,
                              keel_err *err) {
    uint64_t hash;
    bool asked;
    char name[32];
    *out = NULL;
    KEEL_TRY(read_prompt(conversation, arena, &hash, &asked, NULL, err));
    if (!asked) return KEEL_OK;
    if (conversation->split)
        hash = keel_hash64_mix(hash, keel_hash64(conversation->split, strlen(conversation->split), 0));
    snprintf(name, sizeof name, "%s%016llx", conversation->split ? KEEL_GROUP_PROMPT : KEEL_GROUP_ASKED,
             (unsigned long long)hash);
    *out = keel_arena_strdup(arena, name);
    return *out ? KEEL_OK : keel_nomem(err, "duplicates");
}

/* Adds the text of the prompt, folded. */
static keel_status add_prompt(keel_minhash *to, const keel_conversation *conversation, keel_arena *arena,
                              keel_err *err) {
    keel_buf text = {0};
    uint64_t hash;
    bool asked;
    keel_status status = read_prompt(conversation, arena, &hash, &asked, &text, err);
    const char *folded = text.failed ? NULL : keel_text_fold(arena, text.data ? text.data : "", text.length);
    keel_buf_free(&text);
    if (status == KEEL_OK)
        status = folded ? keel_minhash_add(to, folded, err) : keel_nomem(err, "near-duplicates");
    return status;
}

/* ---- counting ---- */

typedef struct mark {
    uint64_t hash, split;
    int64_t id;
} mark;

typedef struct marks {
    mark *at;
    size_t n, capacity;
} marks;

static keel_status add_mark(marks *to, mark one, keel_err *err) {
    if (!keel_grow(&to->at, to->n + 1, &to->capacity, sizeof *to->at)) return keel_nomem(err, "duplicates");
    to->at[to->n++] = one;
    return KEEL_OK;
}

static int compare_marks(const void *a, const void *b) {
    const mark *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Those beyond the first of each hash, and of them those in another split than the first. */
static void count_marks(marks *of, int64_t *beyond, int64_t *straddling) {
    if (of->n) qsort(of->at, of->n, sizeof *of->at, compare_marks);
    *beyond = *straddling = 0;
    for (size_t i = 1, first = 0; i < of->n; i++) {
        if (of->at[i].hash != of->at[first].hash) first = i;
        *beyond += first != i;
        *straddling += of->at[i].split != of->at[first].split;
    }
}

/* near: NULL, or what gets the prompt. */
static keel_status mark_conversation(const keel_conversation *conversation, keel_arena *arena, marks *turns,
                                     marks *prompts, keel_minhash *near, keel_err *err) {
    const uint64_t split = keel_hash64(conversation->split, strlen(conversation->split), 0);
    uint64_t hash = 0;
    size_t words;
    bool asked;
    for (size_t i = 0; i < conversation->n_turns; i++)
        KEEL_TRY(add_turn(&conversation->turns[i], arena, &hash, &words, err));
    KEEL_TRY(add_mark(turns, (mark){hash, split, conversation->id}, err));
    KEEL_TRY(read_prompt(conversation, arena, &hash, &asked, NULL, err));
    if (!asked) return KEEL_OK;
    if (near) KEEL_TRY(add_prompt(near, conversation, arena, err));
    return add_mark(prompts, (mark){hash, split, conversation->id}, err);
}

/* prompts: as added, one for each text. */
static keel_status count_near(keel_minhash *all, const marks *prompts, double threshold,
                              keel_dedupe_count *out, keel_err *err) {
    KEEL_TRY(keel_minhash_join(all, threshold, err));
    for (size_t i = 0; i < all->n; i++) {
        const size_t first = keel_minhash_first(all, i);
        out->near_prompt += first != i;
        out->near_prompt_straddling += prompts->at[first].split != prompts->at[i].split;
    }
    return KEEL_OK;
}

keel_status keel_dedupe_stats(keel_store *store, double near, keel_dedupe_count *out, keel_err *err) {
    keel_cursor *cursor;
    keel_minhash all = {0};
    *out = (keel_dedupe_count){0};
    keel_arena arena = {0};
    marks turns = {0}, prompts = {0};
    KEEL_TRY(keel_cursor_open(&cursor, store, NULL, KEEL_ORDER_STORED, err));
    keel_status status = KEEL_OK;
    for (keel_conversation *conversation = NULL; status == KEEL_OK;) {
        keel_arena_reset(&arena);
        status = keel_cursor_next(cursor, &arena, &conversation, err);
        if (status != KEEL_OK || !conversation) break;
        status = mark_conversation(conversation, &arena, &turns, &prompts, near > 0 ? &all : NULL, err);
    }
    keel_cursor_close(cursor);
    if (status == KEEL_OK && near > 0) status = count_near(&all, &prompts, near, out, err);
    keel_minhash_free(&all);
    if (status == KEEL_OK) {
        count_marks(&turns, &out->same_turns, &out->same_turns_straddling);
        count_marks(&prompts, &out->same_prompt, &out->same_prompt_straddling);
    }
    keel_free(turns.at);
    keel_free(prompts.at);
    keel_arena_free(&arena);
    return status;
}

/* ---- joining groups ---- */

/* A group by its first conversation. */
typedef struct group {
    int64_t id, hash;
    const char *name, *split;
    bool pending;
    int risk; /* of a pending one */
} group;

typedef struct joining {
    keel_store *store;
    keel_arena arena;
    group *groups; /* [n], by name */
    size_t n, capacity;
    keel_minhash prompts; /* one for each */
    keel_err *err;
} joining;

static keel_status read_groups(joining *j) {
    sqlite3_stmt *row;
    bool more;
    KEEL_TRY(keel__store_statement(j->store, KEEL__SQL_PROMPT_GROUPS, &row, j->err));
    for (;;) {
        KEEL_TRY(keel__store_step(j->store, row, &more, "reading groups", j->err));
        if (!more) return KEEL_OK;
        if (!keel_grow(&j->groups, j->n + 1, &j->capacity, sizeof *j->groups))
            return keel_nomem(j->err, "near-duplicates");
        group *to = &j->groups[j->n++];
        *to = (group){.id = sqlite3_column_int64(row, 0),
                      .hash = sqlite3_column_int64(row, 1),
                      .pending = sqlite3_column_type(row, 4) != SQLITE_NULL,
                      .risk = sqlite3_column_int(row, 4)};
        KEEL_TRY(keel__column_text(row, 2, &j->arena, &to->name, j->err));
        KEEL_TRY(keel__column_text(row, 3, &j->arena, &to->split, j->err));
    }
}

static keel_status move_group(joining *j, const group *from, const group *to) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(j->store, KEEL__SQL_JOIN_GROUP, &statement, j->err));
    sqlite3_bind_int64(statement, 1, from->hash);
    keel__bind_text(statement, 2, from->name);
    sqlite3_bind_int64(statement, 3, to->hash);
    keel__bind_text(statement, 4, to->name);
    keel__bind_text(statement, 5, to->split);
    KEEL_TRY(keel__store_run(j->store, statement, "joining groups", j->err));
    KEEL_TRY(keel__store_statement(j->store, KEEL__SQL_DROP_PENDING, &statement, j->err));
    sqlite3_bind_int64(statement, 1, from->id);
    KEEL_TRY(keel__store_run(j->store, statement, "joining groups", j->err));
    KEEL_TRY(keel__store_statement(j->store, KEEL__SQL_RAISE_PENDING, &statement, j->err));
    sqlite3_bind_int64(statement, 1, to->id);
    sqlite3_bind_int(statement, 2, from->risk);
    return keel__store_run(j->store, statement, "joining groups", j->err);
}

static keel_status add_prompts(joining *j) {
    keel_arena arena = {0};
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < j->n && status == KEEL_OK; i++) {
        keel_conversation *conversation;
        keel_arena_reset(&arena);
        status = keel_store_conversation(j->store, j->groups[i].id, &arena, &conversation, j->err);
        if (status == KEEL_OK) status = add_prompt(&j->prompts, conversation, &arena, j->err);
    }
    keel_arena_free(&arena);
    return status;
}

/* The target of a set is its first settled group, else its first. */
static keel_status join_groups(joining *j, double near, int64_t *merged) {
    KEEL_TRY(add_prompts(j));
    KEEL_TRY(keel_minhash_join(&j->prompts, near, j->err));
    size_t *target = keel_arena_alloc(&j->arena, (j->n + 1) * sizeof *target);
    if (!target) return keel_nomem(j->err, "near-duplicates");
    for (size_t i = 0; i < j->n; i++) target[i] = i;
    for (size_t i = j->n; i-- > 0;)
        if (!j->groups[i].pending) target[keel_minhash_first(&j->prompts, i)] = i;
    for (size_t i = 0; i < j->n; i++) {
        const size_t to = target[keel_minhash_first(&j->prompts, i)];
        if (to == i || !j->groups[i].pending) continue;
        KEEL_TRY(move_group(j, &j->groups[i], &j->groups[to]));
        (*merged)++;
    }
    return KEEL_OK;
}

keel_status keel_dedupe_join(keel_store *store, double near, int64_t *merged, keel_err *err) {
    joining j = {.store = store, .err = err};
    *merged = 0;
    KEEL_TRY(keel__rows_insert(store, err));
    keel_status status = read_groups(&j);
    if (status == KEEL_OK && j.n) status = join_groups(&j, near, merged);
    keel_minhash_free(&j.prompts);
    keel_free(j.groups);
    keel_arena_free(&j.arena);
    return status;
}
