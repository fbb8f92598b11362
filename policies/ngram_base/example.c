#include <string.h>

#include "policies/ngram_base/tune.h"

/* The first taken candidate that says what it is; a fixed space has one label a decision. */
static int32_t taken_act(const keel_ngram_base *model, const keel_decision *decision) {
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

static keel_status read_lesson(const keel_ngram_base *model, const keel_conversation *conversation,
                               size_t decision, keel_arena *arena, keel_lesson *out, keel_err *err) {
    const keel_decision *at = &conversation->decisions[decision];
    KEEL_TRY(keel__ngram_base_sample(model, conversation, decision, arena, &out->sample, err));
    out->act = taken_act(model, at);
    size_t n = out->sample.n_candidates;
    out->taken = keel_arena_alloc(arena, n * sizeof *out->taken);
    out->outcome = keel_arena_alloc(arena, n * sizeof *out->outcome);
    out->feedback = keel_arena_alloc(arena, n * sizeof *out->feedback);
    if (!out->taken || !out->outcome || !out->feedback) return keel_nomem(err, "builtin base");
    for (size_t i = 0; i < n; i++) {
        out->taken[i] = at->candidates[i].taken;
        out->outcome[i] = (int8_t)at->candidates[i].outcome;
        out->feedback[i] = at->candidates[i].feedback;
        out->n_taken += at->candidates[i].taken;
    }
    return KEEL_OK;
}

static keel_status make_example(const keel_ngram_base *model, const keel_conversation *conversation,
                                keel_arena *arena, keel_example *out, keel_err *err) {
    keel_example example = {.n_lessons = conversation->n_decisions,
                            .risk = conversation->risk,
                            .name = keel__ngram_base_name(conversation),
                            .group = keel__ngram_base_group(conversation)};
    example.lesson = keel_arena_calloc(arena, example.n_lessons, sizeof *example.lesson);
    if (!example.lesson) return keel_nomem(err, "builtin base");
    for (size_t i = 0; i < example.n_lessons; i++)
        KEEL_TRY(read_lesson(model, conversation, i, arena, &example.lesson[i], err));
    *out = example;
    return KEEL_OK;
}

void keel__ngram_base_weigh_example(const keel_ngram_base *model, keel_example *example) {
    for (size_t i = 0; i < example->n_lessons && !example->weighed; i++)
        keel__ngram_base_weigh(model, &example->lesson[i].sample);
    example->weighed = true;
}

/* ---- a compact copy: bags and labels, not what reading them left behind ---- */

static void *copy(keel_arena *arena, const void *from, size_t bytes) {
    void *to = keel_arena_alloc(arena, bytes);
    if (to && bytes) memcpy(to, from, bytes);
    return to;
}

static bool keep_bags(keel_bag *bags, size_t n, keel_arena *arena) {
    for (size_t i = 0; i < n; i++) {
        bags[i].row = copy(arena, bags[i].row, bags[i].count * sizeof *bags[i].row);
        bags[i].weight = keel_arena_alloc(arena, bags[i].count * sizeof *bags[i].weight);
        if (!bags[i].row || !bags[i].weight) return false;
    }
    return true;
}

static bool keep_lesson(keel_lesson *lesson, keel_arena *arena) {
    size_t n = lesson->sample.n_candidates;
    bool good = keep_bags(lesson->sample.field, KEEL_N_STATE_FIELDS, arena);
    if (n == 0) return good;
    lesson->taken = copy(arena, lesson->taken, n * sizeof *lesson->taken);
    lesson->outcome = copy(arena, lesson->outcome, n * sizeof *lesson->outcome);
    lesson->feedback = copy(arena, lesson->feedback, n * sizeof *lesson->feedback);
    lesson->sample.candidate = copy(arena, lesson->sample.candidate, n * sizeof *lesson->sample.candidate);
    good = good && lesson->taken && lesson->outcome && lesson->feedback && lesson->sample.candidate;
    for (size_t i = 0; good && i < n; i++)
        good = keep_bags(lesson->sample.candidate[i].field, KEEL_N_CANDIDATE_FIELDS, arena);
    return good;
}

static keel_example *keep_example(const keel_example *example, keel_arena *arena) {
    keel_example *kept = copy(arena, example, sizeof *example);
    if (!kept) return NULL;
    kept->lesson = copy(arena, example->lesson, example->n_lessons * sizeof *example->lesson);
    bool good = kept->lesson != NULL;
    for (size_t i = 0; good && i < kept->n_lessons; i++) good = keep_lesson(&kept->lesson[i], arena);
    return good ? kept : NULL;
}

/* ---- the reader ---- */

keel_status keel__ngram_base_reader_open(keel_reader *reader, keel_tuning *tuning, size_t room,
                                         keel_err *err) {
    keel_reader made = {.tuning = tuning, .room = room};
    made.arena = keel_calloc(room, sizeof *made.arena);
    made.read = keel_calloc(room, sizeof *made.read);
    made.fresh = keel_calloc(room, sizeof *made.fresh);
    made.example = keel_calloc(room, sizeof *made.example);
    if (made.arena && made.read && made.fresh && made.example) {
        *reader = made;
        return KEEL_OK;
    }
    keel__ngram_base_reader_close(&made);
    return keel_nomem(err, "builtin base");
}

void keel__ngram_base_reader_close(keel_reader *reader) {
    for (size_t i = 0; reader->arena && i < reader->room; i++) keel_arena_free(&reader->arena[i]);
    keel_free(reader->example);
    keel_free(reader->fresh);
    keel_free(reader->read);
    keel_free(reader->arena);
    *reader = (keel_reader){0};
}

/* Out of the store, one after the other, the conversations that are not kept. */
static keel_status read_slots(keel_reader *reader, const size_t *place, size_t n, size_t *n_read,
                              keel_err *err) {
    keel_tuning *tuning = reader->tuning;
    bool held = false;
    keel_status status = KEEL_OK;
    *n_read = 0;
    for (size_t i = 0; i < n && status == KEEL_OK; i++) {
        reader->read[i] = NULL;
        reader->example[i] = tuning->kept[place[i]];
        if (reader->example[i]) continue;
        keel_arena_reset(&reader->arena[i]);
        reader->example[i] = &reader->fresh[i];
        ++*n_read;
        if (place[i] < tuning->n_surveyed) {
            reader->read[i] = tuning->surveyed[place[i]];
            continue;
        }
        if (!held) KEEL_TRY(keel_store_hold(tuning->store, &held, err));
        status = keel_store_conversation(tuning->store, tuning->ids[place[i]], &reader->arena[i],
                                         &reader->read[i], err);
    }
    keel_store_release(tuning->store, held);
    return status;
}

static keel_status make_slot(void *context, size_t slot, size_t thread, keel_err *err) {
    keel_reader *reader = context;
    (void)thread;
    if (!reader->read[slot]) return KEEL_OK;
    return make_example(reader->tuning->model, reader->read[slot], &reader->arena[slot], &reader->fresh[slot],
                        err);
}

keel_status keel__ngram_base_fetch(keel_reader *reader, const size_t *place, size_t n, keel_err *err) {
    keel_tuning *tuning = reader->tuning;
    size_t budget = (size_t)tuning->model->config.memory_mb << 20, n_read;
    KEEL_TRY(read_slots(reader, place, n, &n_read, err));
    if (n_read == 0) return KEEL_OK;
    KEEL_TRY(keel_pool_run(tuning->pool, n, make_slot, reader, err));
    for (size_t i = 0; i < n && tuning->memory.used + tuning->texts.used < budget; i++) {
        if (!reader->read[i]) continue;
        keel_example *kept = keep_example(&reader->fresh[i], &tuning->memory);
        if (!kept) return keel_nomem(err, "builtin base");
        reader->example[i] = tuning->kept[place[i]] = kept;
    }
    return KEEL_OK;
}
