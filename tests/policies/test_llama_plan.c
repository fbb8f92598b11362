/* Memory that is planned is what a step takes. */
#include "fixture.h"

#include <math.h>

#include "policies/transformer/llama_fake.h"
#include "policies/transformer/llama_plan.h"
#include "policies/transformer/llama_tape.h"

enum { TEXTS = 3, LONGEST = 300, TOKENS = 600 };

static const keel_llama_config shape = {.vocab = 1500,
                                        .hidden = 64,
                                        .layers = 6,
                                        .heads = 4,
                                        .kv_heads = 2,
                                        .head_dim = 24,
                                        .inner = 160,
                                        .positions = 512,
                                        .epsilon = 1e-5,
                                        .rope_theta = 1e4,
                                        .tied = true,
                                        .bos = -1,
                                        .pad = -1};
static const int32_t offsets[TEXTS + 1] = {0, 100, 400, TOKENS};
static int32_t ids[TOKENS];
static float weights[TOKENS];

/* Bytes of the tape and of the arena after a step, the second time, when nothing grows any more. */
static size_t used(const keel_llama *llama, const keel_llama *other, const keel_llama_plan *plan) {
    const keel_llama_teacher teacher = {other, 0.5f, 2};
    keel_tape *tape;
    keel_arena arena = {0};
    float *grads = keel_calloc(llama->params.size, sizeof *grads);
    const keel_llama_training training = {
        .grads = grads, .keep = plan->keep, .drops = true, .dropout = 0, .seed = 1};
    const keel_llama_batch batch = {ids, offsets, TEXTS, weights};
    const keel_llama_loss loss = {.divisor = 1, .teacher = other ? &teacher : NULL};
    assert_ok(keel_tape_open(&tape, &err));
    for (int i = 0; i < 2; i++) {
        keel_tape_reset(tape);
        keel_arena_reset(&arena);
        keel_tensor *sums = keel_llama_on_tape(tape, llama, &training, &batch, &loss, &arena, &err);
        assert_ok(keel_tape_backward(tape, keel_op_sum(tape, sums, 1), &err));
    }
    const size_t bytes = keel_tape_bytes(tape) + arena.peak;
    keel_tape_close(tape);
    keel_arena_free(&arena);
    keel_free(grads);
    return bytes;
}

static size_t count_counted(void) {
    size_t n = 0;
    for (size_t i = 0; i < TEXTS; i++)
        for (int32_t t = offsets[i] + 1; t < offsets[i + 1]; t++) n += weights[t] > 0;
    return n;
}

static keel_llama_plan plan_of(const keel_llama_tuning *tuning, keel_keep keep, size_t shards) {
    return (keel_llama_plan){.tuning = *tuning,
                             .keep = keep,
                             .texts = TEXTS,
                             .tokens = TOKENS,
                             .longest = LONGEST,
                             .counted = count_counted(),
                             .shards = shards};
}

static void compare(const keel_llama_config *config, const keel_llama_tuning *tuning, keel_keep keep,
                    double by) {
    keel_llama *llama;
    const keel_llama_plan plan = plan_of(tuning, keep, 2);
    assert_ok(keel_llama_make(&llama, config, NULL, NULL, 1, &err));
    assert_ok(keel_llama_train(llama, tuning, &err));
    const keel_llama_memory memory = keel_llama_memory_of(config, &plan);
    const double planned = (double)memory.tape, taken = (double)used(llama, NULL, &plan);
    if (!(fabs(planned / taken - 1) < by))
        fail_msg("mode %d, keep %d: planned %g, took %g", (int)tuning->mode, (int)keep, planned, taken);
    assert_int_equal(memory.weights, llama->params.size * sizeof(float));
    assert_int_equal(memory.gradients, 2 * memory.weights);
    assert_int_equal(memory.moments, 2 * memory.weights);
    assert_int_equal(memory.total, 5 * memory.weights + 2 * memory.tape);
    keel_llama_close(llama);
}

static void what_is_planned_is_what_a_step_takes(void **state) {
    (void)state;
    static const keel_llama_tuning tunings[] = {
        {.mode = KEEL_LLAMA_FULL},
        {.mode = KEEL_LLAMA_FREEZE, .frozen_layers = 4},
        {.mode = KEEL_LLAMA_LORA, .lora = {8, 16, 0, false, KEEL_LORA_DECODER}},
        {.mode = KEEL_LLAMA_LORA, .lora = {4, 8, 0.1, false, KEEL_LORA_QUERY | KEEL_LORA_DOWN}},
        {.mode = KEEL_LLAMA_PROMPT, .n_virtual = 20}};
    for (size_t t = 0; t < TOKENS; t++) ids[t] = (int32_t)(t * 31 % shape.vocab);
    for (size_t k = 0; k < sizeof tunings / sizeof *tunings; k++)
        for (keel_keep keep = KEEL_KEEP_ALL; keep <= KEEL_KEEP_NOTHING; keep++)
            for (size_t some = 0; some < 2; some++) { /* all tokens count, or a third */
                for (size_t t = 0; t < TOKENS; t++) weights[t] = some && t % 3 ? 0 : 1;
                compare(&shape, &tunings[k], keep, 0.1);
            }
}

static void layers_of_unequal_sizes_are_counted_each(void **state) {
    (void)state;
    static const uint32_t kv_heads[] = {1, 2, 1, 1, 2, 1}, inner[] = {32, 160, 64, 96, 32, 128};
    const keel_llama_tuning full = {.mode = KEEL_LLAMA_FULL},
                            lora = {.mode = KEEL_LLAMA_LORA, .lora = {8, 16, 0, false, KEEL_LORA_DECODER}};
    keel_llama_config config = shape;
    config.layer_kv_heads = kv_heads;
    config.layer_inner = inner;
    for (size_t t = 0; t < TOKENS; t++) weights[t] = 1;
    compare(&config, &full, KEEL_KEEP_BF16, 0.15);
    compare(&config, &full, KEEL_KEEP_NOTHING, 0.15);
    compare(&config, &lora, KEEL_KEEP_ALL, 0.15);
}

/* So it is with a teacher, larger or smaller than the student; more is planned where both use the same room.
 */
static void a_teacher_is_planned_for(void **state) {
    (void)state;
    const keel_llama_tuning full = {.mode = KEEL_LLAMA_FULL};
    for (size_t t = 0; t < TOKENS; t++) weights[t] = t % 3 ? 0 : 1;
    for (keel_keep keep = KEEL_KEEP_ALL; keep <= KEEL_KEEP_NOTHING; keep += KEEL_KEEP_NOTHING)
        for (int larger = 0; larger < 2; larger++) {
            keel_llama *llama, *other;
            keel_llama_config another = shape;
            another.hidden = larger ? 96 : 48;
            another.inner = larger ? 400 : 64;
            another.layers = larger ? 9 : 2;
            keel_llama_plan plan = plan_of(&full, keep, 1);
            plan.teacher = &another;
            assert_ok(keel_llama_make(&llama, &shape, NULL, NULL, 1, &err));
            assert_ok(keel_llama_make(&other, &another, NULL, NULL, 2, &err));
            assert_ok(keel_llama_train(llama, &plan.tuning, &err));
            const double planned = (double)keel_llama_memory_of(&shape, &plan).tape,
                         taken = (double)used(llama, other, &plan);
            if (!(planned > 0.95 * taken && planned < 1.25 * taken))
                fail_msg("keep %d, larger %d: planned %g, took %g", (int)keep, larger, planned, taken);
            keel_llama_close(other);
            keel_llama_close(llama);
        }
}

/* And so it is where inputs are rounded, which stay beside what they were. */
static void rounded_inputs_are_planned_for(void **state) {
    (void)state;
    const keel_llama_tuning scaled = {.mode = KEEL_LLAMA_FULL, .scales = true};
    for (size_t t = 0; t < TOKENS; t++) weights[t] = 1;
    for (keel_keep keep = KEEL_KEEP_ALL; keep <= KEEL_KEEP_NOTHING; keep += KEEL_KEEP_NOTHING) {
        keel_llama *llama;
        keel_llama_plan plan = plan_of(&scaled, keep, 1);
        plan.fake = plan.fake_inputs = true;
        assert_ok(keel_llama_make(&llama, &shape, NULL, NULL, 1, &err));
        assert_ok(keel_llama_train(llama, &plan.tuning, &err));
        keel_matrix_type *type = keel_calloc(llama->n_rows, sizeof *type);
        for (size_t row = 0; row < llama->n_rows; row++) type[row] = KEEL_MATRIX_Q4_G32;
        assert_ok(keel_llama_fake_open(llama, type, true, NULL, &err));
        const keel_llama_memory memory = keel_llama_memory_of(&shape, &plan);
        const double planned = (double)memory.tape, taken = (double)used(llama, NULL, &plan);
        if (!(fabs(planned / taken - 1) < 0.15))
            fail_msg("keep %d: planned %g, took %g", (int)keep, planned, taken);
        assert_int_equal(memory.weights, 2 * llama->params.size * sizeof(float));
        keel_free(type);
        keel_llama_close(llama);
    }
}

/* What is not kept is not needed: at least two fifths of the tape by 16 bits, three by running layers again.
 */
static void what_is_not_kept_is_saved(void **state) {
    (void)state;
    keel_llama_config deep = shape;
    deep.layers = 24;
    keel_llama_plan plan = {.tuning = {.mode = KEEL_LLAMA_FULL},
                            .texts = 1,
                            .tokens = 4096,
                            .longest = 4096,
                            .counted = 4095,
                            .shards = 1};
    const size_t all = keel_llama_memory_of(&deep, &plan).tape;
    plan.keep = KEEL_KEEP_BF16;
    assert_true((double)keel_llama_memory_of(&deep, &plan).tape < 0.6 * (double)all);
    plan.keep = KEEL_KEEP_NOTHING;
    assert_true((double)keel_llama_memory_of(&deep, &plan).tape < 0.4 * (double)all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_planned_is_what_a_step_takes),
        cmocka_unit_test(layers_of_unequal_sizes_are_counted_each),
        cmocka_unit_test(a_teacher_is_planned_for),
        cmocka_unit_test(rounded_inputs_are_planned_for),
        cmocka_unit_test(what_is_not_kept_is_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
