#include "policies/propose_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "core/text.h"

/* Conversations whose texts are written together, and committed together. */
enum { AT_ONCE = 4, MOST_NAME = 200 };

typedef struct proposing {
    const keel_propose_job *job;
    keel_propose_counts *counts;
    keel_conversation *read[AT_ONCE];
    bool changed[AT_ONCE], said[AT_ONCE];
    keel_arena arena[AT_ONCE];
    size_t n;
    keel_buf items;  /* keel_proposal_item */
    keel_buf owners; /* size_t: place in `read` of each */
    keel_arena scratch;
} proposing;

/* ---- what is to be written ---- */

/* The decision that the conversation waits for, where the log has none. */
static keel_status open_end(keel_conversation *c, keel_arena *arena, keel_err *err) {
    const keel_role last = c->n_turns ? c->turns[c->n_turns - 1].role : KEEL_ROLE_SYSTEM;
    if (last != KEEL_ROLE_USER && last != KEEL_ROLE_TOOL) return KEEL_OK;
    if (c->n_decisions > 0 && c->decisions[c->n_decisions - 1].turn == c->n_turns) return KEEL_OK;
    keel_decision *more = keel_arena_calloc(arena, c->n_decisions + 1, sizeof *more);
    if (!more) return keel_nomem(err, c->external_id);
    if (c->n_decisions > 0) memcpy(more, c->decisions, c->n_decisions * sizeof *more);
    more[c->n_decisions++].turn = c->n_turns;
    c->decisions = more;
    return KEEL_OK;
}

/* "smollm2", or "smollm2: refuse politely"; one that is too long ends in a hash of the instruction. */
static const char *name_of(const keel_propose_job *job, size_t kind, keel_arena *arena) {
    char name[MOST_NAME];
    if (kind == 0) return job->model;
    const char *told = job->instruction[kind - 1];
    const int wanted = snprintf(name, sizeof name, "%s: %s", job->model, told);
    if (wanted >= (int)sizeof name) {
        const size_t kept = keel_utf8_valid_prefix(name, sizeof name - 20);
        snprintf(name + kept, sizeof name - kept, "~%08" PRIx32,
                 (uint32_t)keel_hash64(told, strlen(told), 0));
    }
    return keel_arena_strdup(arena, name);
}

static bool has_of(const keel_decision *decision, const char *model) {
    for (size_t i = 0; i < decision->n_candidates; i++)
        if (decision->candidates[i].model && strcmp(decision->candidates[i].model, model) == 0) return true;
    return false;
}

/* ---- one kind of text, for all conversations of a round ---- */

static keel_status list_items(proposing *p, const char *name, size_t texts, bool counts, keel_err *err) {
    keel_buf_clear(&p->items);
    keel_buf_clear(&p->owners);
    for (size_t i = 0; i < p->n; i++)
        for (size_t d = 0; d < p->read[i]->n_decisions; d++) {
            keel_proposal_item item = {p->read[i], d, texts, NULL};
            const bool there = has_of(&p->read[i]->decisions[d], name);
            if (counts) p->counts->there += there, p->counts->decisions += !there;
            if (there) continue;
            item.proposal = keel_arena_calloc(&p->arena[i], texts, sizeof *item.proposal);
            if (!item.proposal) return keel_nomem(err, "propose");
            keel_buf_append(&p->items, &item, sizeof item);
            keel_buf_append(&p->owners, &i, sizeof i);
        }
    return p->items.failed || p->owners.failed ? keel_nomem(err, "propose") : KEEL_OK;
}

static bool is_answered(const keel_decision *decision) {
    for (size_t i = 0; i < decision->n_candidates; i++)
        if (decision->candidates[i].taken) return true;
    return false;
}

static keel_candidate *find_text(const keel_decision *decision, const char *text) {
    for (size_t i = 0; i < decision->n_candidates; i++)
        if (decision->candidates[i].text && strcmp(decision->candidates[i].text, text) == 0)
            return &decision->candidates[i];
    return NULL;
}

/* New texts become candidates behind those that are there. */
static keel_status add_texts(proposing *p, const keel_proposal_item *item, size_t owner, const char *name,
                             keel_err *err) {
    keel_arena *arena = &p->arena[owner];
    keel_decision *decision = &p->read[owner]->decisions[item->decision];
    keel_candidate *all = keel_arena_calloc(arena, decision->n_candidates + item->n, sizeof *all);
    if (!all) return keel_nomem(err, "propose");
    if (decision->n_candidates > 0) memcpy(all, decision->candidates, decision->n_candidates * sizeof *all);
    decision->candidates = all;
    const bool open = p->job->says && name == p->job->model && !is_answered(decision);
    for (size_t k = 0; k < item->n; k++) {
        const keel_proposal *one = &item->proposal[k];
        const bool said = open && k == 0; /* an empty first text says nothing */
        keel_candidate *there = one->text[0] ? find_text(decision, one->text) : NULL;
        p->counts->empty += !one->text[0];
        p->counts->repeated += there != NULL;
        if (said && one->text[0]) p->counts->said++, p->said[owner] = true;
        if (there && said) there->taken = p->changed[owner] = true;
        if (!one->text[0] || there) continue;
        const char *text = keel_arena_strdup(arena, one->text);
        if (!text) return keel_nomem(err, "propose");
        all[decision->n_candidates++] = (keel_candidate){.text = text, .model = name, .taken = said};
        p->counts->added++;
        p->counts->cut += !one->ended;
        p->changed[owner] = true;
    }
    return KEEL_OK;
}

static size_t first_kind(const keel_propose_job *job) {
    return job->n > 0 ? 0 : 1;
}

static keel_status write_kind(proposing *p, size_t kind, keel_err *err) {
    const keel_propose_job *job = p->job;
    const char *name = name_of(job, kind, &p->scratch);
    keel_proposal_config how = job->how;
    how.instruction = kind ? job->instruction[kind - 1] : NULL;
    if (!name) return keel_nomem(err, "propose");
    KEEL_TRY(list_items(p, name, kind ? 1 : job->n, kind == first_kind(job), err));
    const keel_proposal_item *item = (const keel_proposal_item *)(const void *)p->items.data;
    const size_t *owner = (const size_t *)(const void *)p->owners.data, n = p->items.length / sizeof *item;
    if (n == 0) return KEEL_OK;
    KEEL_TRY(keel_base_propose(job->base, item, n, &how, &p->scratch, err));
    for (size_t i = 0; i < n; i++) KEEL_TRY(add_texts(p, &item[i], owner[i], name, err));
    return KEEL_OK;
}

/* ---- rounds ---- */

static keel_status write_round(proposing *p, keel_err *err) {
    keel_arena_reset(&p->scratch);
    for (size_t kind = first_kind(p->job); kind <= p->job->n_instructions; kind++)
        KEEL_TRY(write_kind(p, kind, err));
    KEEL_TRY(keel_store_begin(p->job->store, err));
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < p->n && status == KEEL_OK; i++) {
        keel_added added;
        if (!p->changed[i]) continue;
        p->read[i]->meta = NULL; /* it has that */
        status = keel_store_add_conversation(p->job->store, p->read[i], false, p->read[i]->external_id,
                                             &added, err);
        if (status == KEEL_OK && p->said[i] && p->job->said)
            status = p->job->said(p->job->context, p->read[i]->id, err);
    }
    if (status == KEEL_OK) return keel_store_commit(p->job->store, err);
    keel_store_rollback(p->job->store);
    return status;
}

static keel_status read_round(proposing *p, const int64_t *ids, size_t n, keel_err *err) {
    p->n = n;
    for (size_t i = 0; i < n; i++) {
        keel_arena_reset(&p->arena[i]);
        p->changed[i] = p->said[i] = false;
        KEEL_TRY(keel_store_conversation(p->job->store, ids[i], &p->arena[i], &p->read[i], err));
        KEEL_TRY(open_end(p->read[i], &p->arena[i], err));
    }
    return KEEL_OK;
}

static keel_status run_rounds(proposing *p, const int64_t *ids, size_t count, keel_err *err) {
    keel_progress progress;
    keel_status status = KEEL_OK;
    keel_progress_start(&progress, "write candidates", count);
    for (size_t at = 0; at < count && status == KEEL_OK; at += AT_ONCE) {
        const size_t n = count - at < AT_ONCE ? count - at : AT_ONCE;
        status = keel_interrupted()
                     ? keel_fail(err, KEEL_E_INTERRUPTED, "propose", "stopped after %zu conversations", at)
                     : read_round(p, ids + at, n, err);
        if (status == KEEL_OK) status = write_round(p, err);
        char note[64];
        snprintf(note, sizeof note, "%zu candidates", p->counts->added);
        keel_progress_step(&progress, at + n, note);
    }
    keel_progress_end(&progress, count);
    return status;
}

keel_status keel_propose_store(const keel_propose_job *job, keel_propose_counts *out, keel_err *err) {
    proposing *p = keel_calloc(1, sizeof *p);
    int64_t *ids = NULL;
    size_t count;
    *out = (keel_propose_counts){0};
    if (!p) return keel_nomem(err, "propose");
    if (!job->base->kind->propose) {
        keel_free(p);
        keel_fail(err, KEEL_E_UNSUPPORTED, job->model,
                  "a base of type \"%s\" chooses among candidates and writes none itself",
                  job->base->kind->type);
        return keel_hint(err, "give a decoder: experiments/fetch-base.sh smollm2");
    }
    p->job = job;
    p->counts = out;
    keel_status status =
        keel_store_conversation_ids(job->store, job->split, KEEL_ORDER_NAMED, &ids, &count, err);
    if (status == KEEL_OK) status = run_rounds(p, ids, count, err);
    for (size_t i = 0; i < AT_ONCE; i++) keel_arena_free(&p->arena[i]);
    keel_arena_free(&p->scratch);
    keel_buf_free(&p->items);
    keel_buf_free(&p->owners);
    keel_free(ids);
    keel_free(p);
    return status;
}
