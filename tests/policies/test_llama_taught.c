/* Decoders that learn what another one says: losses fall as in PyTorch (golden/make_decoder_taught.py). */
#include "llama_curves.h"

#include <math.h>

#include "core/optim.h"

enum { STEPS = 50 };

static const keel_llama_batch batch = {ids, offsets, N_TEXTS, weights};

/* Of all texts. */
static double loss_of(const keel_llama *llama, const keel_llama_training *training, keel_llama_loss loss) {
    keel_tape *tape;
    double total = 0;
    for (size_t i = 0; i < N_TEXTS; i++)
        for (int32_t t = offsets[i] + 1; t < offsets[i + 1]; t++) total += (double)weights[t];
    loss.divisor = (float)total;
    assert_ok(keel_tape_open(&tape, &err));
    keel_tensor *sum =
        keel_op_sum(tape, keel_llama_on_tape(tape, llama, training, &batch, &loss, &arena, &err), 1);
    assert_ok(keel_tape_check(tape, sum, &err));
    total = (double)sum->data[0];
    if (training->grads) assert_ok(keel_tape_backward(tape, sum, &err));
    keel_tape_close(tape);
    keel_arena_reset(&arena);
    return total;
}

typedef struct curve {
    const char *name, *student, *teacher;
    keel_llama_tuning tuning;
    float share, temperature, smoothing;
    double rate;
} curve;

static const curve followed[] = {
    {"full", "tied", "untied", {.mode = KEEL_LLAMA_FULL}, 0.6f, 2, 0.1f, 1e-3},
    {"prompt", "untied", "tied", {.mode = KEEL_LLAMA_PROMPT, .n_virtual = 3}, 0.3f, 1, 0, 0.1},
    {"alone", "untied", "tied", {.mode = KEEL_LLAMA_FULL}, 1, 0.7f, 0, 3e-3},
};

static void follow(const curve *c, keel_keep keep, const cJSON *expected) {
    keel_llama *llama = load(c->student), *other = load(c->teacher);
    const keel_llama_teacher teacher = {other, c->share, c->temperature};
    keel_adam adam;
    keel_adam_config rule = keel_adam_defaults();
    assert_ok(keel_llama_train(llama, &c->tuning, &err));
    float *grads = keel_calloc(llama->params.size, sizeof *grads);
    for (size_t i = 0; llama->n_virtual && i < llama->n_virtual * llama->config.hidden; i++)
        llama->params.data[i] = (float)(0.1 * sin((double)(i + 1)));
    assert_ok(keel_adam_open(&adam, llama->params.size, &err));
    rule.learning_rate = c->rate;
    rule.weight_decay = 0.01;
    for (size_t i = 0; i < STEPS; i++) {
        const keel_llama_training training = {.grads = grads, .keep = keep};
        const double want = at(expected, i),
                     have = loss_of(llama, &training,
                                    (keel_llama_loss){.smoothing = c->smoothing, .teacher = &teacher});
        if (!(fabs(have - want) <= 1e-3 * want))
            fail_msg("%s, step %zu: %.8g, PyTorch %.8g", c->name, i, have, want);
        keel_adam_step(&adam, &rule, &llama->params, grads, 1);
    }
    keel_adam_close(&adam);
    keel_free(grads);
    keel_llama_close(other);
    keel_llama_close(llama);
}

static void losses_fall_as_in_pytorch(void **state) {
    (void)state;
    cJSON *golden;
    assert_ok(keel_json_parse_file(GOLDEN "taught.json", &golden, &err));
    for (size_t k = 0; k < sizeof followed / sizeof *followed; k++) {
        const cJSON *expected = keel_json_get(golden, followed[k].name);
        assert_int_equal(cJSON_GetArraySize(expected), STEPS);
        follow(&followed[k], k % 2 ? KEEL_KEEP_NOTHING : KEEL_KEEP_ALL, expected);
    }
    cJSON_Delete(golden);
}

/* A decoder has nothing to learn of what it says itself: its loss and its gradient are what is left. */
static void itself_it_teaches_nothing(void **state) {
    (void)state;
    keel_llama *llama = load("tied"), *other = load("tied");
    const keel_llama_teacher teacher = {other, 1, 1.5f};
    assert_ok(keel_llama_train(llama, &(keel_llama_tuning){.mode = KEEL_LLAMA_FULL}, &err));
    float *grads = keel_calloc(llama->params.size, sizeof *grads);
    const keel_llama_training training = {.grads = grads};
    assert_true(fabs(loss_of(llama, &training, (keel_llama_loss){.teacher = &teacher})) < 1e-5);
    for (size_t i = 0; i < llama->params.size; i++) assert_true(fabsf(grads[i]) < 1e-5f);
    keel_free(grads);
    keel_llama_close(other);
    keel_llama_close(llama);
}

static void virtual_tokens_do_not_teach(void **state) {
    (void)state;
    keel_llama *llama = load("tied"), *other = load("tied");
    const keel_llama_teacher teacher = {other, 0.5f, 1};
    const keel_llama_loss loss = {.divisor = 1, .teacher = &teacher};
    keel_tape *tape;
    assert_ok(keel_tape_open(&tape, &err));
    assert_ok(keel_llama_train(other, &(keel_llama_tuning){.mode = KEEL_LLAMA_PROMPT, .n_virtual = 2}, &err));
    err = (keel_err){0};
    assert_null(keel_llama_on_tape(tape, llama, &(keel_llama_training){0}, &batch, &loss, &arena, &err));
    assert_int_equal(err.code, KEEL_E_UNSUPPORTED);
    /* and what only virtual tokens predict has no teacher */
    const float first = weights[0];
    const keel_llama_teacher plain = {llama, 0.5f, 1};
    const keel_llama_loss from_plain = {.divisor = 1, .teacher = &plain};
    weights[0] = 1;
    err = (keel_err){0};
    assert_null(
        keel_llama_on_tape(tape, other, &(keel_llama_training){0}, &batch, &from_plain, &arena, &err));
    assert_int_equal(err.code, KEEL_E_UNSUPPORTED);
    weights[0] = first;
    keel_tape_close(tape);
    keel_llama_close(other);
    keel_llama_close(llama);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_fall_as_in_pytorch),
        cmocka_unit_test(itself_it_teaches_nothing),
        cmocka_unit_test(virtual_tokens_do_not_teach),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
