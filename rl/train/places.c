#include "rl/train/places.h"

#include <stdio.h>

#include "core/interrupt.h"
#include "policies/encode_store.h"
#include "policies/policy_internal.h"

typedef struct gathering {
    const keel_export *with;
    size_t n, most_each; /* states so far; at most so many of one conversation */
    keel_place place[KEEL_FAMILIAR_MOST], unseen[KEEL_FAMILIAR_MOST];
    int64_t group[KEEL_FAMILIAR_MOST];
} gathering;

static size_t count_answered(const keel_conversation *c) {
    size_t n = 0;
    for (size_t d = 0; d < c->n_decisions; ++d) n += c->decisions[d].n_candidates > 0;
    return n;
}

static keel_status gather(gathering *g, const keel_conversation *c, keel_arena *scratch, keel_err *err) {
    const size_t answered = count_answered(c), wanted = answered < g->most_each ? answered : g->most_each;
    const int64_t group = keel_conversation_group_hash(c);
    size_t seen = 0;
    for (size_t d = 0; d < c->n_decisions && g->n < KEEL_FAMILIAR_MOST; ++d) {
        if (!c->decisions[d].n_candidates) continue;
        const size_t rank = (seen++ + (size_t)((uint64_t)group % answered)) % answered; /* begins anywhere */
        if (rank * wanted / answered == (rank + 1) * wanted / answered) continue;
        keel_features features;
        KEEL_TRY(keel_encode_store_decision(g->with->base, g->with->store, c, d, scratch, &features, err));
        KEEL_TRY(keel_base_place(g->with->base, c, d, &features, false, scratch, &g->place[g->n], err));
        KEEL_TRY(keel_base_place(g->with->base, c, d, &features, true, scratch, &g->unseen[g->n], err));
        g->group[g->n++] = group;
    }
    return KEEL_OK;
}

/* About as many conversations as there is room for: a fold of the split where it is longer and can be cut. */
static keel_status choose_part(const keel_export *with, gathering *g, keel_split *part, keel_err *err) {
    size_t total;
    keel_split rest;
    char fold[48];
    if (with->learned)
        *part = *with->learned;
    else
        KEEL_TRY(keel_split_parse("all", part, err));
    KEEL_TRY(keel_store_count_conversations(with->store, part, &total, err));
    g->most_each = total > 0 && total < KEEL_FAMILIAR_MOST ? KEEL_FAMILIAR_MOST / total : 1;
    const keel_split whole = *part;
    for (size_t n = total / KEEL_FAMILIAR_MOST; n > 1; --n) { /* n without a divisor in common, if need be */
        keel_split cut;
        snprintf(fold, sizeof fold, "0/%zu", n);
        if (keel_split_cut(&whole, fold, &cut, &rest, NULL) != KEEL_OK) continue;
        *part = cut;
        break;
    }
    return KEEL_OK;
}

static keel_status walk(gathering *g, const keel_split *part, keel_err *err) {
    keel_cursor *cursor;
    keel_arena arena = {0}, scratch = {0};
    keel_conversation *conversation = NULL;
    KEEL_TRY(keel_cursor_open(&cursor, g->with->store, part, KEEL_ORDER_NAMED, err));
    keel_status status = KEEL_OK;
    while (status == KEEL_OK && g->n < KEEL_FAMILIAR_MOST) {
        keel_arena_reset(&arena);
        keel_arena_reset(&scratch);
        status = keel_interrupted()
                     ? keel_fail(err, KEEL_E_INTERRUPTED, part->text, "looking at familiar states: stopped")
                     : keel_cursor_next(cursor, &arena, &conversation, err);
        if (status != KEEL_OK || !conversation) break;
        status = gather(g, conversation, &scratch, err);
    }
    keel_cursor_close(cursor);
    keel_arena_free(&scratch);
    keel_arena_free(&arena);
    return status;
}

keel_status keel_places_find(const keel_export *with, keel_policy *policy, keel_err *err) {
    keel_split part;
    gathering *g = keel_calloc(1, sizeof *g);
    keel_status status = g ? KEEL_OK : keel_nomem(err, "training");
    if (g) g->with = with;
    if (status == KEEL_OK) status = choose_part(with, g, &part, err);
    if (status == KEEL_OK) status = walk(g, &part, err);
    if (status == KEEL_OK)
        status =
            keel_familiar_make(g->place, g->unseen, g->group, g->n, &policy->arena, &policy->familiar, err);
    keel_free(g);
    return status;
}
