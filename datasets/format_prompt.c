/* A prompt and its answer in one object: Alpaca's instruction, input and output, prompt and completion,
 * question and answer, TRL's unpaired preferences (label: true or false), K-OverRefusal. */
#include <string.h>

#include "core/memory.h"
#include "datasets/row.h"

typedef struct state {
    keel__objects objects;
    keel__row_state rows;
    char *model;
} state;

/* Files of K-OverRefusal are named after the model that answered. */
static keel_status name_model(keel_reader *reader, const cJSON *object, keel_err *err) {
    state *s = reader->state;
    if (s->model || !keel_json_get(object, "refusal_clf_label")) return KEEL_OK;
    if (!(s->model = keel_strdup(reader->name))) return keel_nomem(err, reader->name);
    char *dot = strrchr(s->model, '.');
    if (dot && strcmp(dot, ".jsonl") == 0) *dot = '\0';
    s->rows.file_model = s->model;
    return KEEL_OK;
}

static keel_status name_keys(keel_reader *reader, keel_err *err) {
    return keel__row_name(&((state *)reader->state)->rows, reader->columns, err);
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    const cJSON *object = NULL;
    do {
        KEEL_TRY(keel__objects_next(&s->objects, reader->source, arena, &object, &out->where, err));
        if (!object) return KEEL_OK;
        KEEL_TRY(name_model(reader, object, err));
        KEEL_TRY(keel__row_read(&s->rows, object, arena, reader->counts, out, err));
    } while (!out->conversation);
    return KEEL_OK;
}

static void close_state(keel_reader *reader) {
    state *s = reader->state;
    keel__objects_close(&s->objects);
    keel__row_free(&s->rows);
    keel_free(s->model);
}

static bool looks_like(const keel_sniff *sniff) {
    return (sniff->shape == KEEL_SHAPE_OBJECTS || sniff->shape == KEEL_SHAPE_ARRAY) &&
           keel__row_looks_like(sniff);
}

const keel_reader_kind keel__prompt_reader = {.looks_like = looks_like,
                                              .state_size = sizeof(state),
                                              .open = name_keys,
                                              .next = next,
                                              .close = close_state};
