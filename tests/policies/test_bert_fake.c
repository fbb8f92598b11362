/* Encoders that are tuned as number formats hold them: the forward pass is that of the encoder that
 * compression makes of them. */
#include "bert_fixture.h"

#include <math.h>

#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/bert_tape.h"

static int set_up(void **state) {
    (void)state;
    open_golden();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    close_golden();
    return 0;
}

/* Vectors on the tape, as the formats hold the encoder. */
static void on_tape(const keel_bert *bert, const keel_bert_batch *batch, const keel_bert_training *training,
                    float *out) {
    keel_tape *tape;
    assert_ok(keel_tape_open(&tape, &err));
    keel_tensor *found = keel_bert_on_tape(tape, bert, training, batch, &arena, &err);
    assert_ok(keel_tape_check(tape, found, &err));
    memcpy(out, found->data, n_texts * bert->config.hidden * sizeof *out);
    if (training->grads) assert_ok(keel_tape_backward(tape, keel_op_sum(tape, found, 1), &err));
    keel_tape_close(tape);
}

/* Every weight of the converted encoder is, bit for bit, what tuning computed with, and its vectors are. */
static void tuning_sees_what_compression_makes(void **state) {
    (void)state;
    keel_bert_batch batch;
    size_t cut = 0;
    keel_bert *bert = load("mean");
    keel_bert_fake fake;
    bert->config.normalise = false;
    assert_ok(keel_bert_read(bert, texts, n_texts, &arena, &batch, &cut, &err));
    const size_t n = keel_bert_rows(bert), size = n_texts * bert->config.hidden;
    keel_matrix_type *type = keel_arena_calloc(&arena, n, sizeof *type);
    keel_bert_form *form = keel_arena_calloc(&arena, n, sizeof *form);
    float *seen = keel_arena_calloc(&arena, size, sizeof *seen),
          *said = keel_arena_calloc(&arena, size, sizeof *said),
          *plain = keel_arena_calloc(&arena, size, sizeof *plain);
    for (size_t row = 0; row < n; row++) type[row] = form[row].type = KEEL_MATRIX_I8;
    float *grads = keel_calloc(bert->params.size, sizeof *grads);
    const keel_bert_training frozen = {0};
    on_tape(bert, &batch, &frozen, plain);
    assert_ok(keel_bert_fake_open(&fake, bert, type, true, &err));
    assert_ok(keel_fake_quant_hold(&fake.quant, &bert->params, NULL, &err));
    const keel_bert_training held = {
        .trained = keel_params_from(&bert->params, 0), .grads = grads, .fake = &fake};
    on_tape(bert, &batch, &held, seen);
    double moved = 0;
    for (size_t i = 0; i < bert->params.size; i++) moved += fabs((double)grads[i]);
    assert_true(moved > 0);
    assert_ok(keel_bert_convert(bert, form, NULL, &err));
    for (size_t row = 0; row < n; row++) {
        const keel_matrix m = keel_bert_matrix(bert, row);
        const float *at = keel_params_at(&fake.quant.held, row);
        float *one = keel_arena_calloc(&arena, m.cols, sizeof *one);
        for (size_t r = 0; keel_bert_is_matrix(row) && r < m.rows; r++) {
            keel_matrix_read_row(&m, r, one);
            assert_memory_equal(one, at + r * m.cols, m.cols * sizeof *one);
        }
    }
    assert_ok(keel_bert_encode(bert, &batch, &arena, said, &err));
    double apart = 0, from_plain = 0;
    for (size_t i = 0; i < size; i++) {
        apart = fmax(apart, fabs((double)seen[i] - (double)said[i]));
        from_plain = fmax(from_plain, fabs((double)seen[i] - (double)plain[i]));
    }
    if (!(apart < 2e-2 && from_plain > 2 * apart))
        fail_msg("%g apart, %g from the floats", apart, from_plain);
    keel_fake_quant_close(&fake.quant);
    keel_free(grads);
    keel_bert_close(bert);
}

static void widths_that_a_format_cannot_have_are_named(void **state) {
    (void)state;
    keel_bert *bert = load("mean");
    keel_bert_fake fake;
    keel_matrix_type *type = keel_arena_calloc(&arena, keel_bert_rows(bert), sizeof *type);
    for (size_t row = 0; row < keel_bert_rows(bert); row++) type[row] = KEEL_MATRIX_Q4_0;
    assert_true(bert->config.hidden % 32 != 0);
    assert_int_equal(keel_bert_fake_open(&fake, bert, type, true, &err), KEEL_E_UNSUPPORTED);
    keel_bert_close(bert);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tuning_sees_what_compression_makes),
        cmocka_unit_test(widths_that_a_format_cannot_have_are_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
