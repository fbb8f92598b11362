#include "rl/checkpoint.h"

#include <math.h>
#include <string.h>

#include "core/checkpoint.h"

enum { N_TENSORS = 6, COUNTERS = 2, WINDOW = sizeof(keel_loss_window) / sizeof(double) };
_Static_assert(sizeof(keel_loss_window) == WINDOW * sizeof(double), "the window is kept as plain doubles");
_Static_assert(sizeof(double) == sizeof(int64_t), "bit patterns of doubles are kept as I64");

/* What is not in memory as the file keeps it. */
typedef struct numbers {
    int64_t counters[COUNTERS]; /* steps of the learner, of Adam */
    int64_t window[WINDOW];     /* bit patterns: safetensors has no doubles here */
} numbers;

/* Once for writer and reader. */
static void list(const keel_learner *learner, const numbers *other, keel_named_tensor out[N_TENSORS]) {
    static const char *const names[] = {"parameters", "target", "adam.first", "adam.second"};
    const float *const blocks[] = {learner->params.data, learner->target, learner->adam.first,
                                   learner->adam.second};
    size_t size = learner->params.size;
    for (size_t i = 0; i < 4; i++)
        out[i] = (keel_named_tensor){names[i], KEEL_F32, 1, {size}, blocks[i], size * sizeof(float)};
    out[4] =
        (keel_named_tensor){"counters", KEEL_I64, 1, {COUNTERS}, other->counters, sizeof other->counters};
    out[5] = (keel_named_tensor){"window", KEEL_I64, 1, {WINDOW}, other->window, sizeof other->window};
}

keel_status keel_learner_save(const keel_learner *learner, const keel_loss_window *window,
                              const char *identity, const char *path, keel_err *err) {
    numbers other = {.counters = {(int64_t)learner->step, (int64_t)learner->adam.steps}};
    keel_named_tensor tensors[N_TENSORS];
    memcpy(other.window, window, sizeof *window);
    list(learner, &other, tensors);
    return keel_checkpoint_save(path, identity, tensors, N_TENSORS, err);
}

/* The checksum guards against accidents; this against a file that was made up. */
static bool are_possible(const keel_learner_config *config, const numbers *read) {
    double window[WINDOW];
    memcpy(window, read->window, sizeof window);
    for (size_t i = 0; i < WINDOW; i++)
        if (!isfinite(window[i])) return false;
    return read->counters[0] >= 0 && read->counters[0] <= config->steps &&
           read->counters[1] == read->counters[0] && window[WINDOW - 1] >= 0 &&
           window[WINDOW - 1] <= (double)config->log_every;
}

keel_status keel_learner_resume(keel_learner *learner, keel_loss_window *window, const char *identity,
                                const char *path, bool *found, keel_err *err) {
    numbers read = {0};
    keel_named_tensor tensors[N_TENSORS];
    list(learner, &read, tensors);
    KEEL_TRY(keel_checkpoint_load(path, identity, tensors, N_TENSORS, found, err));
    if (!*found) return KEEL_OK;
    if (!are_possible(&learner->config, &read))
        return keel_fail(err, KEEL_E_INVALID, path, "the checkpoint holds impossible counts of steps");
    learner->step = (uint64_t)read.counters[0];
    learner->adam.steps = (uint64_t)read.counters[1];
    memcpy(window, read.window, sizeof *window);
    return KEEL_OK;
}
