#include <string.h>

#include "policies/builtin_tune.h"

static keel_status no_memory(keel_err *err) {
    return keel_fail(err, KEEL_E_NOMEM, "builtin base", "no memory for an example");
}

/* The first taken candidate that says what it is; a fixed space has one label a decision. */
static int32_t taken_act(const keel_builtin *model, const keel_decision *decision) {
    for (size_t i = 0; i < decision->n_candidates; i++) {
        const keel_candidate *candidate = &decision->candidates[i];
        if (!candidate->taken) continue;
        if (model->base.space == KEEL_SPACE_OUTCOMES && candidate->outcome != KEEL_OUTCOME_NONE)
            return (int32_t)candidate->outcome - 1;
        int32_t act =
            model->base.space == KEEL_SPACE_ACTS ? keel_base_act_index(&model->base, candidate->act) : -1;
        if (act >= 0) return act;
    }
    return -1;
}

static keel_status read_lesson(const keel_builtin *model, const keel_conversation *conversation,
                               size_t decision, keel_arena *arena, keel_lesson *out, keel_err *err) {
    const keel_decision *at = &conversation->decisions[decision];
    KEEL_TRY(keel__builtin_sample(model, conversation, decision, true, arena, &out->sample, err));
    out->act = taken_act(model, at);
    out->taken = keel_arena_calloc(arena, at->n_candidates, sizeof *out->taken);
    out->outcome = keel_arena_calloc(arena, at->n_candidates, sizeof *out->outcome);
    if (!out->taken || !out->outcome) return no_memory(err);
    for (size_t i = 0; i < at->n_candidates; i++) {
        out->taken[i] = at->candidates[i].taken;
        out->outcome[i] = (int8_t)at->candidates[i].outcome;
        out->n_taken += at->candidates[i].taken;
    }
    return KEEL_OK;
}

keel_status keel__builtin_example(const keel_builtin *model, const keel_conversation *conversation,
                                  keel_arena *arena, keel_example *out, keel_err *err) {
    keel_example example = {.n_lessons = conversation->n_decisions, .risk = conversation->risk};
    example.lesson = keel_arena_calloc(arena, example.n_lessons, sizeof *example.lesson);
    if (!example.lesson) return no_memory(err);
    for (size_t i = 0; i < example.n_lessons; i++)
        KEEL_TRY(read_lesson(model, conversation, i, arena, &example.lesson[i], err));
    *out = example;
    return KEEL_OK;
}

/* ---- a compact copy ---- */

static void *copy(keel_arena *arena, const void *from, size_t bytes) {
    void *to = keel_arena_alloc(arena, bytes);
    if (to && bytes) memcpy(to, from, bytes);
    return to;
}

static bool keep_bags(keel_bag *bags, size_t n, keel_arena *arena) {
    for (size_t i = 0; i < n; i++) {
        bags[i].row = copy(arena, bags[i].row, bags[i].count * sizeof *bags[i].row);
        bags[i].weight = copy(arena, bags[i].weight, bags[i].count * sizeof *bags[i].weight);
        if (!bags[i].row || !bags[i].weight) return false;
    }
    return true;
}

static bool keep_lesson(keel_lesson *lesson, keel_arena *arena) {
    size_t n = lesson->sample.n_candidates;
    lesson->taken = copy(arena, lesson->taken, n * sizeof *lesson->taken);
    lesson->outcome = copy(arena, lesson->outcome, n * sizeof *lesson->outcome);
    lesson->sample.candidate = copy(arena, lesson->sample.candidate, n * sizeof *lesson->sample.candidate);
    lesson->sample.last = (keel_grams){0}; /* the heads have read theirs */
    bool good = lesson->taken && lesson->outcome && lesson->sample.candidate &&
                keep_bags(lesson->sample.field, KEEL_N_STATE_FIELDS, arena);
    for (size_t i = 0; good && i < n; i++) {
        lesson->sample.candidate[i].text = (keel_grams){0};
        good = keep_bags(lesson->sample.candidate[i].field, KEEL_N_CANDIDATE_FIELDS, arena);
    }
    return good;
}

keel_example *keel__builtin_keep(const keel_example *example, keel_arena *arena) {
    keel_example *kept = copy(arena, example, sizeof *example);
    if (!kept) return NULL;
    kept->lesson = copy(arena, example->lesson, example->n_lessons * sizeof *example->lesson);
    bool good = kept->lesson != NULL;
    for (size_t i = 0; good && i < kept->n_lessons; i++) good = keep_lesson(&kept->lesson[i], arena);
    return good ? kept : NULL;
}
