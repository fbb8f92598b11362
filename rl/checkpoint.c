#include "rl/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/safetensors.h"

enum { BLOCKS = 4, COUNTERS = 2, WINDOW = sizeof(keel_loss_window) / sizeof(double), IDENTITY = 64 };
_Static_assert(sizeof(keel_loss_window) == WINDOW * sizeof(double), "the window is kept as plain doubles");
_Static_assert(sizeof(double) == sizeof(int64_t), "bit patterns of doubles are kept as I64");

char *keel_checkpoint_path(keel_arena *arena, const char *out_dir) {
    size_t end = strlen(out_dir);
    while (end > 1 && out_dir[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && out_dir[start - 1] != '/') start--;
    size_t bytes = end + sizeof "..checkpoint";
    char *path = keel_arena_alloc(arena, bytes);
    if (path)
        snprintf(path, bytes, "%.*s.%.*s.checkpoint", (int)start, out_dir, (int)(end - start),
                 out_dir + start);
    return path;
}

/* What a checkpoint holds, once for writer and reader. */
typedef struct contents {
    float *block[BLOCKS];       /* the learner's own memory */
    int64_t counters[COUNTERS]; /* steps of the learner, of Adam */
    int64_t window[WINDOW];     /* bit patterns: safetensors has no doubles here */
    char identity[IDENTITY];
} contents;

static const char *const block_names[BLOCKS] = {"parameters", "target", "adam.first", "adam.second"};

static contents of_learner(const keel_learner *learner) {
    return (contents){
        .block = {learner->net.params.data, learner->target, learner->adam.first, learner->adam.second},
        .counters = {(int64_t)learner->step, (int64_t)learner->adam.steps}};
}

keel_status keel_checkpoint_write(const char *path, const char *identity, const keel_learner *learner,
                                  const keel_loss_window *window, keel_err *err) {
    contents c = of_learner(learner);
    memcpy(c.window, window, sizeof *window);
    memcpy(c.identity, identity, IDENTITY);
    size_t size = learner->net.params.size;
    keel_named_tensor tensors[BLOCKS + 3] = {
        {"counters", KEEL_I64, 1, {COUNTERS}, c.counters, sizeof c.counters},
        {"window", KEEL_I64, 1, {WINDOW}, c.window, sizeof c.window},
        {"identity", KEEL_U8, 1, {IDENTITY}, c.identity, sizeof c.identity},
    };
    for (size_t i = 0; i < BLOCKS; ++i)
        tensors[3 + i] =
            (keel_named_tensor){block_names[i], KEEL_F32, 1, {size}, c.block[i], size * sizeof(float)};
    return keel_safetensors_write(path, tensors, BLOCKS + 3, NULL, err);
}

static keel_status take(const keel_safetensors *file, const char *path, const char *name, keel_dtype dtype,
                        void *out, size_t bytes, keel_err *err) {
    const keel_named_tensor *tensor = keel_safetensors_find(file, name);
    if (!tensor || tensor->dtype != dtype || tensor->bytes != bytes) {
        keel_fail(err, KEEL_E_INVALID, path, "tensor %s: expected %zu bytes, got %zu", name, bytes,
                  tensor ? tensor->bytes : 0);
        return keel_hint(err, "delete the checkpoint to start anew");
    }
    memcpy(out, tensor->data, bytes);
    return KEEL_OK;
}

/* The blocks are checked before the first is copied, so that a refused file leaves the learner as it was. */
static keel_status take_blocks(const keel_safetensors *file, const char *path, const contents *c, size_t size,
                               keel_err *err) {
    for (size_t i = 0; i < BLOCKS; ++i) {
        const keel_named_tensor *tensor = keel_safetensors_find(file, block_names[i]);
        if (!tensor || tensor->dtype != KEEL_F32 || tensor->bytes != size * sizeof(float))
            return keel_fail(err, KEEL_E_INVALID, path, "tensor %s: expected %zu elements", block_names[i],
                             size);
    }
    for (size_t i = 0; i < BLOCKS; ++i)
        KEEL_TRY(take(file, path, block_names[i], KEEL_F32, c->block[i], size * sizeof(float), err));
    return KEEL_OK;
}

static keel_status take_all(const keel_safetensors *file, const char *path, const char *identity,
                            keel_learner *learner, keel_loss_window *window, bool *found, keel_err *err) {
    contents c = of_learner(learner);
    KEEL_TRY(take(file, path, "identity", KEEL_U8, c.identity, sizeof c.identity, err));
    if (memcmp(c.identity, identity, IDENTITY) != 0) {
        *found = false;
        return KEEL_OK;
    }
    KEEL_TRY(take(file, path, "counters", KEEL_I64, c.counters, sizeof c.counters, err));
    KEEL_TRY(take(file, path, "window", KEEL_I64, c.window, sizeof c.window, err));
    KEEL_TRY(take_blocks(file, path, &c, learner->net.params.size, err));
    learner->step = (uint64_t)c.counters[0];
    learner->adam.steps = (uint64_t)c.counters[1];
    memcpy(window, c.window, sizeof *window);
    *found = true;
    return KEEL_OK;
}

keel_status keel_checkpoint_read(const char *path, const char *identity, keel_learner *learner,
                                 keel_loss_window *window, bool *found, keel_err *err) {
    if (!keel_file_exists(path)) {
        *found = false;
        return KEEL_OK;
    }
    keel_safetensors file = {0};
    KEEL_TRY(keel_safetensors_read(path, &file, err));
    keel_status status = take_all(&file, path, identity, learner, window, found, err);
    keel_safetensors_free(&file);
    return status;
}
