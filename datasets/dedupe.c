#include "datasets/dedupe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/text.h"
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

/* *asked: whether a user says anything. */
static keel_status hash_prompt(const keel_conversation *conversation, keel_arena *arena, uint64_t *hash,
                               bool *asked, keel_err *err) {
    size_t of_user = 0, words;
    *hash = 0;
    *asked = false;
    for (size_t i = 0; i < conversation->n_turns; i++) {
        const keel_turn *turn = &conversation->turns[i];
        if (turn->role == KEEL_ROLE_ASSISTANT && of_user >= ENOUGH_WORDS) break;
        if (turn->role == KEEL_ROLE_ASSISTANT) continue;
        KEEL_TRY(add_turn(turn, arena, hash, &words, err));
        if (turn->role == KEEL_ROLE_USER) of_user += words;
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
    KEEL_TRY(hash_prompt(conversation, arena, &hash, &asked, err));
    if (!asked) return KEEL_OK;
    if (conversation->split)
        hash = keel_hash64_mix(hash, keel_hash64(conversation->split, strlen(conversation->split), 0));
    snprintf(name, sizeof name, "prompt:%016llx", (unsigned long long)hash);
    *out = keel_arena_strdup(arena, name);
    return *out ? KEEL_OK : keel_nomem(err, "duplicates");
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

static keel_status mark_conversation(const keel_conversation *conversation, keel_arena *arena, marks *turns,
                                     marks *prompts, keel_err *err) {
    const uint64_t split = keel_hash64(conversation->split, strlen(conversation->split), 0);
    uint64_t hash = 0;
    size_t words;
    bool asked;
    for (size_t i = 0; i < conversation->n_turns; i++)
        KEEL_TRY(add_turn(&conversation->turns[i], arena, &hash, &words, err));
    KEEL_TRY(add_mark(turns, (mark){hash, split, conversation->id}, err));
    KEEL_TRY(hash_prompt(conversation, arena, &hash, &asked, err));
    return asked ? add_mark(prompts, (mark){hash, split, conversation->id}, err) : KEEL_OK;
}

keel_status keel_dedupe_stats(keel_store *store, keel_dedupe_count *out, keel_err *err) {
    keel_cursor *cursor;
    keel_arena arena = {0};
    marks turns = {0}, prompts = {0};
    KEEL_TRY(keel_cursor_open(&cursor, store, NULL, KEEL_ORDER_STORED, err));
    keel_status status = KEEL_OK;
    for (keel_conversation *conversation = NULL; status == KEEL_OK;) {
        keel_arena_reset(&arena);
        status = keel_cursor_next(cursor, &arena, &conversation, err);
        if (status != KEEL_OK || !conversation) break;
        status = mark_conversation(conversation, &arena, &turns, &prompts, err);
    }
    keel_cursor_close(cursor);
    if (status == KEEL_OK) {
        count_marks(&turns, &out->same_turns, &out->same_turns_straddling);
        count_marks(&prompts, &out->same_prompt, &out->same_prompt_straddling);
    }
    keel_free(turns.at);
    keel_free(prompts.at);
    keel_arena_free(&arena);
    return status;
}
