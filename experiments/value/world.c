#include "experiments/value/world.h"

#include <string.h>

keel_status value_world_open(value_world *world, const value_world_kind *kind, uint64_t seed,
                             double precision, keel_err *err) {
    *world = (value_world){.kind = kind, .seed = seed, .precision = precision};
    return kind->open(world, err);
}

void value_world_close(value_world *world) {
    if (world->own) world->kind->close(world);
    *world = (value_world){0};
}

void value_log_free(value_log *log) {
    keel_free(log->state);
    keel_free(log->action);
    keel_free(log->reward);
    keel_free(log->first);
    keel_free(log->last);
    *log = (value_log){0};
}

static bool grow(void **block, size_t count, size_t size) {
    size_t bytes;
    void *grown = keel_size_mul(count, size, &bytes) ? keel_realloc(*block, bytes) : NULL;
    if (grown) *block = grown;
    return grown != NULL;
}

static keel_status make_room(value_log *log, size_t dim, keel_err *err) {
    const size_t room = log->room ? 2 * log->room : 1024;
    void *blocks[] = {log->state, log->action, log->reward, log->first, log->last};
    const bool made = grow(&blocks[0], room, dim * sizeof(float)) &&
                      grow(&blocks[1], room, sizeof(int32_t)) && grow(&blocks[2], room, sizeof(float)) &&
                      grow(&blocks[3], room, sizeof(bool)) && grow(&blocks[4], room, sizeof(bool));
    log->state = blocks[0];
    log->action = blocks[1];
    log->reward = blocks[2];
    log->first = blocks[3];
    log->last = blocks[4];
    if (!made) return keel_fail(err, KEEL_E_NOMEM, "log", "no memory for %zu steps", room);
    log->room = room;
    return KEEL_OK;
}

keel_status value_log_add(value_log *log, size_t dim, const float *state, int32_t action, bool first,
                          keel_err *err) {
    if (log->n == log->room) KEEL_TRY(make_room(log, dim, err));
    memcpy(log->state + log->n * dim, state, dim * sizeof *state);
    log->action[log->n] = action;
    log->reward[log->n] = 0;
    log->first[log->n] = first;
    log->last[log->n++] = false;
    log->n_conversations += first;
    return KEEL_OK;
}
