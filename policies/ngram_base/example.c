#include <string.h>

#include "policies/ngram_base/example.h"

/* Fixed spaces: the act or outcome of the first taken candidate that has one, or -1. */
static int32_t taken_act(const keel_ngram_base *model, const keel_decision *decision) {
    int32_t act = -1;
    for (size_t i = 0; i < decision->n_candidates && act < 0; i++)
        if (decision->candidates[i].taken)
            act = keel_base_action_index(&model->base, &decision->candidates[i]);
    return act;
}

static keel_status read_lesson(const keel_ngram_base *model, const keel_conversation *conversation,
                               size_t decision, const keel_ngram_sample *sample, keel_arena *arena,
                               keel_lesson *out, keel_err *err) {
    const keel_decision *at = &conversation->decisions[decision];
    out->sample = *sample;
    out->act = taken_act(model, at);
    size_t n = out->sample.n_candidates;
    out->taken = keel_arena_alloc(arena, n * sizeof *out->taken);
    out->outcome = keel_arena_alloc(arena, n * sizeof *out->outcome);
    out->feedback = keel_arena_alloc(arena, n * sizeof *out->feedback);
    if (!out->taken || !out->outcome || !out->feedback) return keel_nomem(err, "n-gram base");
    for (size_t i = 0; i < n; i++) {
        out->taken[i] = at->candidates[i].taken;
        out->outcome[i] = (int8_t)at->candidates[i].outcome;
        out->feedback[i] = at->candidates[i].feedback;
        out->n_taken += at->candidates[i].taken;
    }
    return KEEL_OK;
}

static keel_status make_example(const keel_tuning *tuning, size_t place,
                                const keel_conversation *conversation, keel_arena *arena, keel_example *out,
                                keel_err *err) {
    const keel_ngram_base *model = tuning->model;
    keel_example example = {.n_lessons = conversation->n_decisions,
                            .risk = conversation->risk,
                            .name = keel_conversation_name_hash(conversation),
                            .group = keel_conversation_group_hash(conversation)};
    example.lesson = keel_arena_calloc(arena, example.n_lessons, sizeof *example.lesson);
    keel_ngram_sample *samples = keel_arena_alloc(arena, example.n_lessons * sizeof *samples);
    if (!example.lesson || !samples) return keel_nomem(err, "n-gram base");
    KEEL_TRY(keel__ngram_base_samples(model, conversation, NULL, example.n_lessons, arena, samples, err));
    for (size_t i = 0; i < example.n_lessons; i++) {
        KEEL_TRY(read_lesson(model, conversation, i, &samples[i], arena, &example.lesson[i], err));
        example.lesson[i].soft = keel_soft_label_of(tuning->soft, place, i);
    }
    *out = example;
    return KEEL_OK;
}

void keel__ngram_base_weigh_example(const keel_ngram_base *model, keel_example *example) {
    for (size_t i = 0; i < example->n_lessons && !example->weighed; i++)
        keel__ngram_base_weigh(model, &example->lesson[i].sample);
    example->weighed = true;
}

/* ---- a compact copy: bags and labels without the garbage of reading ---- */

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

keel_status keel__ngram_base_reader_open(keel_example_reader *reader, keel_tuning *tuning, size_t room,
                                         keel_err *err) {
    keel_example_reader made = {.tuning = tuning, .room = room};
    made.arena = keel_calloc(room, sizeof *made.arena);
    made.slot = keel_calloc(room, sizeof *made.slot);
    made.place = keel_calloc(room, sizeof *made.place);
    made.read = keel_calloc(room, sizeof *made.read);
    made.fresh = keel_calloc(room, sizeof *made.fresh);
    made.example = keel_calloc(room, sizeof *made.example);
    if (made.arena && made.slot && made.place && made.read && made.fresh && made.example) {
        *reader = made;
        return KEEL_OK;
    }
    keel__ngram_base_reader_close(&made);
    return keel_nomem(err, "n-gram base");
}

void keel__ngram_base_reader_close(keel_example_reader *reader) {
    for (size_t i = 0; reader->arena && i < reader->room; i++) keel_arena_free(&reader->arena[i]);
    keel_free(reader->example);
    keel_free(reader->fresh);
    keel_free(reader->read);
    keel_free(reader->place);
    keel_free(reader->slot);
    keel_free(reader->arena);
    *reader = (keel_example_reader){0};
}

static keel_status make_read(void *context, size_t i, size_t thread, keel_err *err) {
    keel_example_reader *reader = context;
    (void)thread;
    return make_example(reader->tuning, reader->place[i], reader->read[i], &reader->arena[i],
                        &reader->fresh[i], err);
}

/* Copies what was just read into memory, while there is room for it. */
static keel_status keep_read(keel_example_reader *reader, keel_err *err) {
    keel_tuning *tuning = reader->tuning;
    size_t budget = (size_t)tuning->model->config.common.memory_mb << 20;
    for (size_t i = 0; i < reader->n_read && tuning->memory.used + tuning->corpus->in_memory < budget; i++) {
        keel_example *kept = keep_example(&reader->fresh[i], &tuning->memory);
        if (!kept) return keel_nomem(err, "n-gram base");
        reader->example[reader->slot[i]] = tuning->kept[reader->place[i]] = kept;
    }
    return KEEL_OK;
}

keel_status keel__ngram_base_fetch(keel_example_reader *reader, const size_t *place, size_t n,
                                   keel_err *err) {
    keel_tuning *tuning = reader->tuning;
    size_t n_read = 0;
    for (size_t i = 0; i < n; i++) {
        reader->example[i] = tuning->kept[place[i]];
        if (reader->example[i]) continue;
        reader->example[i] = &reader->fresh[n_read];
        reader->slot[n_read] = i;
        reader->place[n_read++] = place[i];
    }
    reader->n_read = n_read;
    if (n_read == 0) return KEEL_OK;
    KEEL_TRY(tuning->corpus->read(tuning->corpus, reader->place, n_read, reader->arena, reader->read, err));
    KEEL_TRY(keel_pool_run(tuning->job->pool, n_read, make_read, reader, err));
    return keep_read(reader, err);
}
