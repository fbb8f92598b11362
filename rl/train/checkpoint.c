#include "rl/train/checkpoint.h"

#include <math.h>
#include <string.h>

#include "core/checkpoint.h"

enum {
    N_TENSORS = 6,
    N_CHOOSING = 2, /* more, where there is something to choose */
    COUNTERS = 2,
    WINDOW = sizeof(keel_loss_window) / sizeof(double),
    TRIALS = sizeof(keel_validation_trials) / sizeof(double)
};
_Static_assert(sizeof(keel_loss_window) == WINDOW * sizeof(double), "the window is kept as plain doubles");
_Static_assert(sizeof(keel_validation_trials) == TRIALS * sizeof(double), "and so are the trials");
_Static_assert(sizeof(double) == sizeof(int64_t), "bit patterns of doubles are kept as I64");

/* What is not in memory as the file keeps it. */
typedef struct numbers {
    int64_t counters[COUNTERS]; /* steps of the learner, of Adam */
    int64_t window[WINDOW];     /* bit patterns: safetensors has no doubles here */
    int64_t trials[TRIALS];     /* likewise */
} numbers;

/* Once for writer and reader; how many. */
static size_t list(const keel_learner *learner, const keel_choosing *choosing, const numbers *other,
                   keel_named_tensor out[N_TENSORS + N_CHOOSING]) {
    static const char *const names[] = {"parameters", "target", "adam.first", "adam.second", "best"};
    const float *const blocks[] = {learner->params.data, learner->target, learner->adam.first,
                                   learner->adam.second, choosing ? choosing->best : NULL};
    size_t size = learner->params.size, n = 0;
    for (size_t i = 0; i < 5; i++)
        if (blocks[i])
            out[n++] = (keel_named_tensor){names[i], KEEL_F32, 1, {size}, blocks[i], size * sizeof(float)};
    out[n++] =
        (keel_named_tensor){"counters", KEEL_I64, 1, {COUNTERS}, other->counters, sizeof other->counters};
    out[n++] = (keel_named_tensor){"window", KEEL_I64, 1, {WINDOW}, other->window, sizeof other->window};
    if (choosing)
        out[n++] = (keel_named_tensor){"trials", KEEL_I64, 1, {TRIALS}, other->trials, sizeof other->trials};
    return n;
}

keel_status keel_learner_save(const keel_learner *learner, const keel_loss_window *window,
                              const keel_choosing *choosing, const char *identity, const char *path,
                              keel_err *err) {
    numbers other = {.counters = {(int64_t)learner->step, (int64_t)learner->adam.steps}};
    keel_named_tensor tensors[N_TENSORS + N_CHOOSING];
    memcpy(other.window, window, sizeof *window);
    if (choosing) memcpy(other.trials, &choosing->trials, sizeof choosing->trials);
    size_t n = list(learner, choosing, &other, tensors);
    return keel_checkpoint_save(path, identity, tensors, n, err);
}

/* The checksum guards against accidents; these against a file that was made up. */
static bool are_finite(const int64_t *bits, size_t count) {
    for (size_t i = 0; i < count; i++) {
        double value;
        memcpy(&value, &bits[i], sizeof value);
        if (!isfinite(value)) return false;
    }
    return true;
}

static bool are_possible(const keel_learner_config *config, const numbers *read) {
    keel_loss_window window;
    keel_validation_trials trials;
    memcpy(&window, read->window, sizeof window);
    memcpy(&trials, read->trials, sizeof trials);
    return are_finite(read->window, WINDOW) && are_finite(read->trials, TRIALS) && read->counters[0] >= 0 &&
           read->counters[0] <= config->steps && read->counters[1] == read->counters[0] &&
           window.steps >= 0 && window.steps <= (double)config->log_every && trials.count >= 0 &&
           trials.count <= KEEL_MOST_TRIALS && trials.best >= -1 && trials.best < fmax(1, trials.count) &&
           trials.count == floor(trials.count) && trials.best == floor(trials.best);
}

keel_status keel_learner_resume(keel_learner *learner, keel_loss_window *window, keel_choosing *choosing,
                                const char *identity, const char *path, bool *found, keel_err *err) {
    numbers read = {0};
    keel_named_tensor tensors[N_TENSORS + N_CHOOSING];
    size_t n = list(learner, choosing, &read, tensors);
    KEEL_TRY(keel_checkpoint_load(path, identity, tensors, n, found, err));
    if (!*found) return KEEL_OK;
    if (!are_possible(&learner->config, &read))
        return keel_fail(err, KEEL_E_INVALID, path, "the checkpoint holds impossible counts of steps");
    learner->step = (uint64_t)read.counters[0];
    learner->adam.steps = (uint64_t)read.counters[1];
    memcpy(window, read.window, sizeof *window);
    if (choosing) memcpy(&choosing->trials, read.trials, sizeof choosing->trials);
    return KEEL_OK;
}
