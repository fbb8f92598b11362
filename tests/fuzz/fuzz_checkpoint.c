/* Checkpoints of training (a learner's state) and of tuning (any list of tensors, as core/checkpoint.h reads
 * them). What parses is also tried with a checksum that is right, and the input once more as the numbers
 * alone, in tensors that a learner wrote itself: so what lies behind those checks is reached. */
#include <math.h>

#include "core/checkpoint.h"
#include "fuzz.h"
#include "rl/train/checkpoint.h"

static const char identity[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

enum { ROOM = 64 }; /* parameters of the learner below, each tensor's rounded up */

static keel_learner *learner(void) {
    static keel_learner made;
    keel_learner_config config;
    keel_qnet_shape shape = {.space = KEEL_SPACE_ACTS,
                             .state_dim = 1,
                             .n_acts = 2,
                             .heads = 1,
                             .critics = 1,
                             .hidden = {.count = 1, .items = {1}}};
    if (made.target) return &made;
    FUZZ_CHECK(keel_learner_preset("keel", "cql", &config, &fuzz_err) == KEEL_OK);
    config.vector_heads = false;
    config.critics = 1;
    config.steps = 1000;
    config.hidden = shape.hidden;
    FUZZ_CHECK(keel_learner_open(&made, &config, &shape, NULL, NULL, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(made.params.size == ROOM);
    return &made;
}

/* A run that chooses among checkpoints, or one that does not (choosing NULL). */
static void resume_run(const char *path, keel_choosing *choosing) {
    keel_loss_window window = {0};
    keel_learner *to = learner();
    bool found = true;
    float first = to->net.params.data[0];
    if (!fuzz_ok(keel_learner_resume(to, &window, choosing, identity, path, &found, &fuzz_err))) return;
    if (!found) FUZZ_CHECK(to->net.params.data[0] == first || isnan(first));
    FUZZ_CHECK(to->step <= 1000 && isfinite(window.sum.total));
    for (size_t i = 0; found && i < to->net.params.size; i++)
        FUZZ_CHECK(isfinite(to->net.params.data[i]) && isfinite(to->adam.second[i]));
    if (!found || !choosing) return;
    FUZZ_CHECK(choosing->trials.count <= KEEL_MOST_TRIALS && choosing->trials.best < KEEL_MOST_TRIALS);
    for (size_t i = 0; i < to->net.params.size; i++) FUZZ_CHECK(isfinite(choosing->best[i]));
}

static void resume(const char *path) {
    float best[ROOM] = {0};
    keel_choosing choosing = {.trials.best = -1, .best = best};
    resume_run(path, NULL);
    resume_run(path, &choosing);
}

/* Tensors of the input under a checksum of ours; its own identity and checksum stay out. */
static void resume_sealed(const keel_safetensors *file) {
    static keel_named_tensor kept[64];
    size_t count = 0;
    const char *path = fuzz_path("sealed.checkpoint");
    for (size_t i = 0; i < file->count && count < 64; i++)
        if (strcmp(file->tensors[i].name, "identity") != 0 && strcmp(file->tensors[i].name, "checksum") != 0)
            kept[count++] = file->tensors[i];
    FUZZ_CHECK(keel_checkpoint_save(path, identity, kept, count, &fuzz_err) == KEEL_OK);
    resume(path);
}

typedef struct numbers {
    uint64_t steps, adam_steps;
    keel_loss_window window;
    keel_validation_trials trials;
    float blocks[5][ROOM];
} numbers;

static void resume_numbers(const uint8_t *data, size_t size) {
    static numbers n;
    const char *path = fuzz_path("numbers.checkpoint");
    memset(&n, 0, sizeof n);
    memcpy(&n, data, size < sizeof n ? size : sizeof n);
    keel_learner from = *learner();
    from.step = n.steps;
    from.adam.steps = n.adam_steps;
    from.params.data = n.blocks[0];
    from.target = n.blocks[1];
    from.adam.first = n.blocks[2];
    from.adam.second = n.blocks[3];
    keel_choosing choosing = {.trials = n.trials, .best = n.blocks[4]};
    bool chooses = size % 2;
    FUZZ_CHECK(keel_learner_save(&from, &n.window, chooses ? &choosing : NULL, identity, path, &fuzz_err) ==
               KEEL_OK);
    resume(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_safetensors file = {0};
    const char *path = fuzz_put("in.checkpoint", data, size);
    resume(path);
    resume_numbers(data, size);
    if (fuzz_ok(keel_safetensors_read(path, &file, &fuzz_err))) resume_sealed(&file);
    keel_safetensors_free(&file);
    return 0;
}
