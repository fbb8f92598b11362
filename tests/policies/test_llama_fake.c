/* Decoders that are tuned as number formats hold them: the forward pass is that of the decoder that
 * compression makes of them, and tuning makes up for what rounding costs. */
#include "llama_made.h"

#include <math.h>

#include "core/optim.h"
#include "policies/compress/quantise.h"
#include "policies/transformer/llama_fake.h"
#include "policies/transformer/llama_run.h"
#include "policies/transformer/llama_tape.h"

enum { TEXTS = 3, TOKENS = 90 };

static keel_llama_config shape; /* made_config of fewer tokens */
static const int32_t offsets[TEXTS + 1] = {0, 31, 50, TOKENS};
static int32_t ids[TOKENS];
static float weights[TOKENS];
static const keel_llama_batch batch = {ids, offsets, TEXTS, weights};
static keel_arena arena;

static int set_up(void **state) {
    (void)state;
    shape = made_config;
    shape.vocab = 300;
    shape.positions = 64;
    for (size_t t = 0; t < TOKENS; t++) ids[t] = (int32_t)(t * t * 7 % shape.vocab), weights[t] = 1;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    keel_arena_free(&arena);
    return 0;
}

/* A decoder with weights large enough that it says something. */
static keel_llama *make(const keel_llama_config *config) {
    keel_llama *llama;
    assert_ok(keel_llama_make(&llama, config, NULL, NULL, 3, &err));
    for (size_t row = 0; row < llama->n_rows; row++) {
        float *data = (float *)(uintptr_t)llama->matrix[row].data;
        const size_t n = llama->matrix[row].rows * llama->matrix[row].cols;
        for (size_t i = 0; data && keel_llama_is_matrix(config, row) && i < n; i++) data[i] *= 6;
    }
    return llama;
}

static void fake(keel_llama *llama, keel_matrix_type inner, keel_matrix_type outer) {
    keel_matrix_type *type = keel_arena_calloc(&arena, llama->n_rows, sizeof *type);
    for (size_t row = 0; row < llama->n_rows; row++)
        if (keel_llama_is_matrix(&llama->config, row))
            type[row] = row == KEEL_LLAMA_EMBED || row == keel_llama_head(&llama->config) ? outer : inner;
    assert_ok(keel_llama_fake_open(llama, type, true, NULL, &err));
}

static double loss_of(const keel_llama *llama, float *grads, float *log_prob) {
    const keel_llama_training training = {.grads = grads};
    const keel_llama_loss loss = {.divisor = TOKENS - TEXTS, .log_prob = log_prob};
    keel_tape *tape;
    assert_ok(keel_tape_open(&tape, &err));
    keel_tensor *sum =
        keel_op_sum(tape, keel_llama_on_tape(tape, llama, &training, &batch, &loss, &arena, &err), 1);
    assert_ok(keel_tape_check(tape, sum, &err));
    const double value = (double)sum->data[0];
    if (grads) assert_ok(keel_tape_backward(tape, sum, &err));
    keel_tape_close(tape);
    if (grads) keel_llama_fake_flow(llama, grads);
    return value;
}

/* ln p of each token by the decoder at work. */
static void run(const keel_llama *llama, float *log_prob) {
    keel_llama_feed feeds[TEXTS];
    keel_arena scratch = {0};
    for (size_t i = 0; i < TEXTS; i++) {
        feeds[i] = (keel_llama_feed){.id = ids + offsets[i],
                                     .n = (size_t)(offsets[i + 1] - offsets[i]),
                                     .log_prob = log_prob + offsets[i]};
        assert_ok(keel_llama_sequence_open(&feeds[i].sequence, llama, NULL, 0, &err));
    }
    assert_ok(keel_llama_run(llama, feeds, TEXTS, NULL, &scratch, &err));
    for (size_t i = 0; i < TEXTS; i++) keel_llama_sequence_close(feeds[i].sequence);
    keel_arena_free(&scratch);
}

/* What the decoder computes with, row by row, as numbers: bytes of `to` after each other. */
static void copy_held(const keel_llama *llama, float *to) {
    for (size_t row = 0; row < llama->n_rows; row++) {
        const keel_matrix *m = &llama->matrix[row];
        if (!m->data || !keel_llama_is_matrix(&llama->config, row)) continue;
        if (row >= llama->first_trained)
            memcpy(to, keel_params_at(&llama->fake->quant.held, row - llama->first_trained),
                   m->rows * m->cols * sizeof *to);
        for (size_t r = 0; row < llama->first_trained && r < m->rows; r++)
            keel_matrix_read_row(&llama->fake->matrix[row], r, to + r * m->cols);
        to += m->rows * m->cols;
    }
}

static size_t count_weights(const keel_llama *llama) {
    size_t n = 0;
    for (size_t row = 0; row < llama->n_rows; row++)
        if (keel_llama_is_matrix(&llama->config, row)) n += llama->matrix[row].rows * llama->matrix[row].cols;
    return n;
}

static void compress(keel_llama *llama, int format) {
    keel_compress_config config;
    keel_compress_report report = {0};
    assert_ok(keel_options_defaults(keel_compress_options, &config, &err));
    config.weights = format;
    const keel_compress_job job = {.config = &config, .report = &report};
    assert_ok(keel_llama_settle(llama, &err));
    assert_ok(keel_quantise_llama(llama, &job, &err));
}

static const keel_llama_tuning tunings[] = {
    {.mode = KEEL_LLAMA_FULL},
    {.mode = KEEL_LLAMA_FREEZE, .frozen_layers = 1},
    {.mode = KEEL_LLAMA_FULL, .scales = true},
};

static void shrink_factors(keel_llama *llama) {
    for (size_t i = llama->n_rows - llama->first_trained; i < llama->params.count; i++)
        for (size_t r = 0; r < llama->params.table[i].cols; r++)
            keel_params_at(&llama->params, i)[r] = 0.75f + 0.01f * (float)(r % 16);
    assert_ok(keel_llama_fake_hold(llama, NULL, &err));
}

/* Every weight of the compressed decoder is, bit for bit, what tuning computed with; and the integer kernels
 * say what tuning saw: in the mean, since the last bit of a product decides a code that lies on a tie, and
 * all that follows. */
static void tuning_sees_what_compression_makes(void **state) {
    (void)state;
    for (int format = KEEL_COMPRESS_INT8; format < KEEL_N_COMPRESS_WEIGHTS; format++)
        for (size_t k = 0; k < sizeof tunings / sizeof *tunings; k++) {
            const keel_compress_config how = {.weights = format};
            keel_llama *llama = make(&shape);
            float seen[TOKENS], said[TOKENS], plain[TOKENS];
            loss_of(llama, NULL, plain);
            assert_ok(keel_llama_train(llama, &tunings[k], &err));
            fake(llama, keel_quantise_type(&how, false, 64), keel_quantise_type(&how, true, 64));
            if (tunings[k].scales) shrink_factors(llama);
            loss_of(llama, NULL, seen);
            const size_t n = count_weights(llama);
            float *held = keel_calloc(n, sizeof *held), *row = keel_calloc(n, sizeof *row), *at = held;
            copy_held(llama, held);
            keel_llama_fake_settle(llama);
            compress(llama, format);
            for (size_t i = 0; i < llama->n_rows; i++) {
                const keel_matrix *m = &llama->matrix[i];
                for (size_t r = 0; keel_llama_is_matrix(&shape, i) && m->data && r < m->rows; r++) {
                    keel_matrix_read_row(m, r, row);
                    assert_memory_equal(row, at, m->cols * sizeof *row);
                    at += m->cols;
                }
            }
            run(llama, said);
            double apart = 0, moved = 0;
            for (size_t t = 0; t < TOKENS; t++) {
                apart += fabs((double)seen[t] - (double)said[t]) / TOKENS;
                moved += fabs((double)seen[t] - (double)plain[t]) / TOKENS;
            }
            if (!(apart < 5e-3 && moved > 30 * apart))
                fail_msg("format %d, tuning %zu: %g apart, %g from the floats", format, k, apart, moved);
            keel_free(held), keel_free(row);
            keel_llama_close(llama);
        }
}

/* At first factors limit nothing; each limits its own matrix alone. */
static void factors_are_of_their_own_matrix(void **state) {
    (void)state;
    keel_llama *llama = make(&shape), *without = make(&shape);
    const size_t down = keel_llama_row(1, KEEL_LLAMA_DOWN), n = llama->n_rows;
    assert_ok(keel_llama_train(llama, &tunings[2], &err));
    assert_ok(keel_llama_train(without, &tunings[0], &err));
    fake(llama, KEEL_MATRIX_Q4_0, KEEL_MATRIX_I8);
    fake(without, KEEL_MATRIX_Q4_0, KEEL_MATRIX_I8);
    const keel_params *held = &llama->fake->quant.held, *plain = &without->fake->quant.held;
    assert_memory_equal(held->data, plain->data, plain->size * sizeof *plain->data);
    keel_params_at(&llama->params, llama->params.count - 1)[0] = 0.5f; /* of the last matrix, its first row */
    assert_ok(keel_llama_fake_hold(llama, NULL, &err));
    for (size_t row = 0; row < n; row++) {
        const keel_param *param = &plain->table[row];
        const size_t bytes = param->rows * param->cols * sizeof(float);
        const int same = memcmp(keel_params_at(held, row), keel_params_at(plain, row), bytes);
        assert_true((same != 0) == (row == down));
    }
    keel_llama_close(without);
    keel_llama_close(llama);
}

/* The loss of the compressed decoder falls when tuning goes by it: more than when it goes by the floats. */
static void tuning_makes_up_for_rounding(void **state) {
    (void)state;
    double after[2];
    for (int faked = 0; faked < 2; faked++) {
        keel_llama *llama = make(&shape);
        keel_adam adam;
        keel_adam_config rule = keel_adam_defaults();
        rule.learning_rate = 2e-3;
        assert_ok(keel_llama_train(llama, &(keel_llama_tuning){.mode = KEEL_LLAMA_FULL}, &err));
        if (faked) fake(llama, KEEL_MATRIX_Q4_0, KEEL_MATRIX_Q8_0);
        float *grads = keel_calloc(llama->params.size, sizeof *grads);
        assert_ok(keel_adam_open(&adam, llama->params.size, &err));
        for (size_t i = 0; i < 120; i++) {
            loss_of(llama, grads, NULL);
            keel_adam_step(&adam, &rule, &llama->params, grads, 1);
            assert_ok(keel_llama_fake_hold(llama, NULL, &err));
            keel_arena_reset(&arena);
        }
        keel_llama_fake_settle(llama);
        fake(llama, KEEL_MATRIX_Q4_0, KEEL_MATRIX_Q8_0);
        after[faked] = loss_of(llama, NULL, NULL);
        keel_adam_close(&adam);
        keel_free(grads);
        keel_llama_close(llama);
    }
    if (!(after[1] < 0.85 * after[0])) fail_msg("tuned by floats %g, by what is held %g", after[0], after[1]);
}

static void what_is_not_tuned_cannot_be_held(void **state) {
    (void)state;
    keel_llama *llama = make(&shape);
    const keel_matrix_type *none = keel_arena_calloc(&arena, llama->n_rows, sizeof *none);
    assert_int_equal(keel_llama_fake_open(llama, none, true, NULL, &err), KEEL_E_UNSUPPORTED);
    assert_ok(keel_llama_train(llama, &(keel_llama_tuning){.mode = KEEL_LLAMA_PROMPT, .n_virtual = 2}, &err));
    assert_int_equal(keel_llama_fake_open(llama, none, true, NULL, &err), KEEL_E_UNSUPPORTED);
    assert_null(llama->fake);
    keel_llama_close(llama);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tuning_sees_what_compression_makes),
        cmocka_unit_test(factors_are_of_their_own_matrix),
        cmocka_unit_test(tuning_makes_up_for_rounding),
        cmocka_unit_test(what_is_not_tuned_cannot_be_held),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
