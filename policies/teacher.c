#include "policies/teacher.h"

#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "policies/corpus_pass.h"
#include "policies/policy_internal.h"

typedef struct teacher {
    keel_corpus corpus; /* first: what callers see */
    keel_corpus *of;
    const keel_policy *policy;
    const keel_base *base;
    uint32_t *
        *choice; /* [count][1 + n_decisions] their number, then chosen actions, NOTHING: none; by place */
    bool names;  /* a chosen act or outcome that no candidate has is a candidate of its own */
    keel_teacher_counts counts;
    keel_arena arena;
} teacher;

static const uint32_t NOTHING = UINT32_MAX;

/* ---- what it chooses ---- */

typedef struct asking {
    teacher *of;
    uint32_t *choice[KEEL_PASS_ONCE]; /* as teacher.choice */
    keel_arena scratch[KEEL_PASS_ONCE];
} asking;

static keel_status ask_decision(const teacher *t, const keel_conversation *conversation, size_t d,
                                keel_arena *scratch, uint32_t *out, keel_err *err) {
    keel_features features;
    keel_choice choice;
    *out = NOTHING;
    if (!keel_base_can_encode(t->base, &conversation->decisions[d])) return KEEL_OK;
    keel_arena_reset(scratch);
    KEEL_TRY(keel_base_encode_decision(t->base, conversation, d, scratch, &features, err));
    KEEL_TRY(keel_policy_decide_at(t->policy, t->base, conversation, d, &features, scratch, &choice, err));
    *out = (uint32_t)choice.chosen;
    return KEEL_OK;
}

static keel_status ask(void *context, const keel_corpus_some *some, size_t i, keel_err *err) {
    asking *to = context;
    const keel_conversation *conversation = some->read[i];
    const size_t n = conversation->n_decisions;
    uint32_t *choice = to->choice[i] = keel_arena_alloc(&some->arena[i], (n + 1) * sizeof *choice);
    if (!choice) return keel_nomem(err, "teacher");
    *choice = (uint32_t)n;
    for (size_t d = 0; d < n; d++)
        KEEL_TRY(ask_decision(to->of, conversation, d, &to->scratch[i], &choice[d + 1], err));
    return KEEL_OK;
}

/* ---- what was said, by its choice ---- */

static bool is_chosen(const teacher *t, const keel_decision *decision, size_t i, uint32_t choice) {
    if (choice == NOTHING) return false;
    return t->base->space == KEEL_SPACE_CANDIDATES
               ? i == choice
               : keel_base_action_index(t->base, &decision->candidates[i]) == (int32_t)choice;
}

/* What is chosen and stands among no candidates: a fixed answer, or an act or outcome by its name. */
static bool has_more(const teacher *t, const keel_decision *decision, uint32_t choice, keel_candidate *out) {
    const keel_base *base = t->base;
    const size_t n = decision->n_candidates;
    if (choice == NOTHING) return false;
    if (base->space == KEEL_SPACE_CANDIDATES) {
        if (choice < n || choice - n >= base->n_fixed) return false;
        *out = base->fixed[choice - n];
        return true;
    }
    for (size_t i = 0; i < n; i++)
        if (is_chosen(t, decision, i, choice)) return false;
    *out = base->space == KEEL_SPACE_ACTS ? (keel_candidate){.act = base->acts[choice]}
                                          : (keel_candidate){.outcome = (keel_outcome)(choice + 1)};
    return true;
}

/* Candidates with the chosen one alone taken: it becomes one of them where it is none. */
static keel_status take_choice(const teacher *t, keel_decision *decision, uint32_t choice, keel_arena *arena,
                               keel_err *err) {
    const size_t n = decision->n_candidates;
    keel_candidate *all = keel_arena_alloc(arena, (n + 1) * sizeof *all);
    if (!all) return keel_nomem(err, "teacher");
    if (n > 0) memcpy(all, decision->candidates, n * sizeof *all);
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        all[i].taken = !found && is_chosen(t, decision, i, choice);
        found |= all[i].taken;
    }
    const bool sets = t->base->space == KEEL_SPACE_CANDIDATES;
    if ((sets || t->names) && has_more(t, decision, choice, &all[n])) {
        all[n].taken = true;
        decision->n_candidates++;
    }
    decision->candidates = all;
    return KEEL_OK;
}

static keel_status teach(const teacher *t, size_t place, keel_arena *arena, keel_conversation **conversation,
                         keel_err *err) {
    keel_conversation *copy = keel_arena_alloc(arena, sizeof *copy);
    if (!copy) return keel_nomem(err, "teacher");
    *copy = **conversation;
    if (t->choice[place][0] != copy->n_decisions) {
        keel_fail(err, KEEL_E_CONFLICT, copy->external_id,
                  "its decisions changed while a base was tuned on them");
        return keel_hint(err, "run the command again when nothing writes into the store");
    }
    copy->decisions = keel_arena_calloc(arena, copy->n_decisions + 1, sizeof *copy->decisions);
    if (!copy->decisions) return keel_nomem(err, "teacher");
    for (size_t d = 0; d < copy->n_decisions; d++) {
        copy->decisions[d] = (*conversation)->decisions[d];
        KEEL_TRY(take_choice(t, &copy->decisions[d], t->choice[place][d + 1], arena, err));
    }
    *conversation = copy;
    return KEEL_OK;
}

static keel_status read_places(keel_corpus *corpus, const size_t *place, size_t n, keel_arena *arena,
                               keel_conversation **out, keel_err *err) {
    teacher *t = (teacher *)corpus;
    KEEL_TRY(t->of->read(t->of, place, n, arena, out, err));
    for (size_t i = 0; i < n; i++) KEEL_TRY(teach(t, place[i], &arena[i], &out[i], err));
    return KEEL_OK;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Those of the log, and those that the teacher knows. */
static keel_status list_acts(keel_corpus *corpus, keel_arena *arena, const char ***acts, size_t *n,
                             keel_err *err) {
    teacher *t = (teacher *)corpus;
    const size_t more = t->names && t->base->space == KEEL_SPACE_ACTS ? t->base->n_acts : 0;
    const char **logged;
    size_t total, kept = 0;
    KEEL_TRY(t->of->acts(t->of, arena, &logged, &total, err));
    const char **all = keel_arena_calloc(arena, total + more + 1, sizeof *all);
    if (!all) return keel_nomem(err, "teacher");
    for (size_t i = 0; i < total; i++) all[i] = logged[i];
    for (size_t i = 0; i < more; i++) all[total++] = t->base->acts[i];
    qsort(all, total, sizeof *all, by_text);
    for (size_t i = 0; i < total; i++)
        if (kept == 0 || strcmp(all[kept - 1], all[i]) != 0) all[kept++] = all[i];
    *acts = all;
    *n = kept;
    return KEEL_OK;
}

static void forget(keel_corpus *corpus) {
    teacher *t = (teacher *)corpus;
    t->of->forget(t->of);
    t->corpus.in_memory = t->of->in_memory;
}

/* ---- opening ---- */

/* What the choices of one conversation teach. Names are counted apart: they offer no choice between texts. */
static keel_status count(teacher *t, size_t place, keel_conversation *logged, keel_arena *arena,
                         keel_err *err) {
    keel_corpus_counts *counts = &t->corpus.counts;
    keel_conversation *taught = logged;
    keel_candidate more;
    t->names = false;
    KEEL_TRY(teach(t, place, arena, &taught, err));
    t->names = true;
    const size_t before = counts->taken;
    keel_corpus_count(counts, taught);
    t->counts.silent += logged->n_decisions - (counts->taken - before);
    if (t->base->space == KEEL_SPACE_CANDIDATES) return KEEL_OK;
    for (size_t d = 0; d < logged->n_decisions; d++) {
        if (!has_more(t, &logged->decisions[d], t->choice[place][d + 1], &more)) continue;
        t->counts.named++, t->counts.silent--;
        counts->taken++;
        counts->with_act += more.act != NULL;
        counts->judged += more.outcome != KEEL_OUTCOME_NONE;
    }
    return KEEL_OK;
}

static keel_status count_some(void *context, const keel_corpus_some *some, keel_err *err) {
    const asking *to = context;
    teacher *t = to->of;
    for (size_t i = 0; i < some->n; i++) {
        const size_t size = (some->read[i]->n_decisions + 1) * sizeof(uint32_t);
        uint32_t *choice = t->choice[some->place[i]] = keel_arena_alloc(&t->arena, size);
        if (!choice) return keel_nomem(err, "teacher");
        memcpy(choice, to->choice[i], size);
        KEEL_TRY(count(t, some->place[i], some->read[i], &some->arena[i], err));
    }
    return KEEL_OK;
}

static keel_status ask_all(teacher *t, keel_pool *pool, keel_err *err) {
    asking to = {.of = t};
    const keel_corpus_pass pass = {
        .what = "ask the teacher", .who = "teacher", .look = ask, .take = count_some, .context = &to};
    const keel_status status = keel_corpus_pass_run(&pass, t->of, pool, err);
    for (size_t i = 0; i < KEEL_PASS_ONCE; i++) keel_arena_free(&to.scratch[i]);
    return status;
}

static void identify(teacher *t) {
    keel_sha256 sum;
    keel_sha256_init(&sum);
    keel_sha256_add_text(&sum, t->of->content);
    keel_sha256_add_text(&sum, t->policy->hash);
    keel_sha256_hex(&sum, t->corpus.content);
}

keel_status keel_teacher_open(keel_corpus **out, keel_corpus *of, const keel_policy *policy,
                              const keel_base *base, keel_pool *pool, keel_err *err) {
    teacher *t = keel_calloc(1, sizeof *t);
    if (!t) return keel_nomem(err, "teacher");
    t->corpus = *of;
    t->corpus.counts = (keel_corpus_counts){0};
    t->corpus.read = read_places;
    t->corpus.acts = list_acts;
    t->corpus.forget = forget;
    t->of = of;
    t->policy = policy;
    t->base = base;
    identify(t);
    t->choice = keel_arena_calloc(&t->arena, of->count + 1, sizeof *t->choice);
    keel_status status = t->choice ? ask_all(t, pool, err) : keel_nomem(err, "teacher");
    if (status == KEEL_OK && t->corpus.counts.taken == 0) {
        keel_fail(err, KEEL_E_NOT_FOUND, of->name, "the teacher chooses nothing in any of %zu decisions",
                  t->corpus.counts.decisions);
        status = keel_hint(err, "give it a split whose decisions have candidates, or acts that it knows");
    }
    if (status == KEEL_OK)
        *out = &t->corpus;
    else
        keel_teacher_close(&t->corpus);
    return status;
}

keel_teacher_counts keel_teacher_settle(keel_corpus *corpus, keel_action_space space) {
    teacher *t = (teacher *)corpus;
    if (space != t->base->space && t->names) {
        t->names = false;
        t->counts.silent += t->counts.named;
        t->counts.named = 0;
    }
    return t->counts;
}

void keel_teacher_close(keel_corpus *corpus) {
    teacher *t = (teacher *)corpus;
    if (!t) return;
    keel_arena_free(&t->arena);
    keel_free(t);
}
