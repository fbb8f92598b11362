/* Every operation against central differences. The numeric half of core is compiled again into this test with
 * KEEL_REAL_DOUBLE, so that a step of 1e-5 leaves an error near 1e-10 and the bound of 1e-6 means something.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/memory.h"
#include "core/ops.h"
#include "core/params.h"
#include "core/sparse.h"
#include "core/tape.h"

enum { MOST_INPUTS = 3 };
static const double STEP = 1e-5, TOLERANCE = 1e-6;

typedef keel_tensor *build(keel_tape *tape, keel_tensor *const *in);

typedef struct op_case {
    const char *name;
    build *build;
    size_t shape[MOST_INPUTS][2]; /* rows 0: no such input */
} op_case;

/* ---- the operations, on inputs of odd sizes ---- */

static const int32_t OFFSETS[] = {0, 2, 3, 7}, ROWS[] = {4, 0, 4, 2, 4};
static const int32_t RUNS[] = {1, 3, 4, 5};
static const int32_t COLUMNS[] = {1, 0, 2, 2, 1};
static const uint8_t MASK[] = {1, 0, 1, 1, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 1};
static const keel_real HEADS[] = {0.6, 0.3, -0.1};
static const keel_real TARGET[] = {0.2, 0.3, 0.5, 0, 1, 0, 0.9, 0.05, 0.05, 0.5, 0.25, 0.25, 0, 0, 1};
static const keel_real SEGMENT_TARGET[] = {0.25, 0.75, 1, 0.1, 0.2, 0.3, 0.4};
static const keel_real WEIGHT[] = {1, 0.5, 2, 0, 1.5, 3, 1, 0.25, 1, 1, 2, 0.7, 0.1, 1, 0.9};

#define OP(name, expression)                                                                                 \
    static keel_tensor *name(keel_tape *tape, keel_tensor *const *in) {                                      \
        return (expression);                                                                                 \
    }

OP(linear, keel_op_linear(tape, in[0], in[1], in[2], KEEL_LINEAR))
OP(linear_relu, keel_op_linear(tape, in[0], in[1], in[2], KEEL_RELU))
OP(linear_tanh, keel_op_linear(tape, in[0], in[1], in[2], KEEL_TANH))
OP(linear_gelu, keel_op_linear(tape, in[0], in[1], in[2], KEEL_GELU))
OP(linear_no_bias, keel_op_linear(tape, in[0], in[1], NULL, KEEL_LINEAR))
OP(relu_no_bias, keel_op_linear(tape, in[0], in[1], NULL, KEEL_RELU))
OP(gelu_no_bias, keel_op_linear(tape, in[0], in[1], NULL, KEEL_GELU))
OP(linear_runs, keel_op_linear_runs(tape, in[0], in[1], in[2], KEEL_TANH, RUNS, 2))
OP(linear_nothing, keel_op_linear_runs(tape, in[0], in[1], in[2], KEEL_TANH, RUNS, 0))
OP(linear_twice, keel_op_add(tape, keel_op_linear_runs(tape, in[0], in[1], in[2], KEEL_TANH, RUNS, 1),
                             keel_op_linear_runs(tape, in[0], in[1], in[2], KEEL_RELU, RUNS + 2, 1)))
static keel_tensor *branched(keel_tape *tape, keel_tensor *const *in, keel_activation act) {
    const keel_branch both[] = {{in[0], in[1], -0.7, 2}, {in[2], in[1], 1.3, 0}};
    return keel_op_linear_branched(tape, in[2], in[0], NULL, act, both, 2);
}
OP(linear_branched, branched(tape, in, KEEL_LINEAR))
OP(gelu_branched, branched(tape, in, KEEL_GELU))
OP(add, keel_op_add(tape, in[0], in[1]))
OP(add_to_itself, keel_op_add(tape, in[0], in[0]))
static const keel_real FLOOR[15] = {-9, 9, 0, 0, 0, -9, -9, 9, 0, 0, 0, 0, 0, 9, -9}, SHIFT[15] = {1, 2, 3};
OP(raised, keel_op_floor(tape, in[0], FLOOR, SHIFT))
OP(sub, keel_op_sub(tape, in[0], in[1]))
OP(mul, keel_op_mul(tape, in[0], in[1]))
OP(square, keel_op_mul(tape, in[0], in[0]))
OP(scale, keel_op_scale(tape, in[0], -1.7))
OP(concat, keel_op_concat(tape, (keel_tensor *const[]){in[0], in[1], in[0], in[2]}, 4))
OP(stack, keel_op_stack(tape, in[0], in[1]))
OP(stack_on_itself, keel_op_stack(tape, in[0], in[0]))
OP(rows, keel_op_rows(tape, in[0], ROWS, 5))
OP(pick, keel_op_pick_heads(tape, in[0], COLUMNS, 1))
OP(pick_heads, keel_op_pick_heads(tape, in[0], COLUMNS, 3))
OP(mix_heads, keel_op_mix_heads(tape, in[0], HEADS, 0, 3))
OP(mix_heads_by_row, keel_op_mix_heads(tape, in[0], WEIGHT, 3, 3))
OP(logsumexp, keel_op_logsumexp(tape, in[0], NULL))
OP(masked_logsumexp, keel_op_logsumexp(tape, in[0], MASK))
OP(segment_logsumexp, keel_op_segment_logsumexp(tape, in[0], OFFSETS, 3))
OP(dot, keel_op_dot(tape, in[0], in[1]))
OP(dot_with_itself, keel_op_dot(tape, in[0], in[0]))
OP(huber, keel_op_huber(tape, in[0], TARGET, WEIGHT, 0.7, 4))
OP(huber_unweighted, keel_op_huber(tape, in[0], TARGET, NULL, 1, 15))
OP(half_square, keel_op_half_square(tape, in[0], TARGET, WEIGHT, 3))
OP(logistic, keel_op_logistic(tape, in[0], TARGET, WEIGHT, 7))
OP(cross_entropy, keel_op_cross_entropy(tape, in[0], TARGET, WEIGHT, 5))
OP(cross_entropy_unweighted, keel_op_cross_entropy(tape, in[0], TARGET, NULL, 5))
OP(segment_cross_entropy, keel_op_segment_cross_entropy(tape, in[0], OFFSETS, 3, SEGMENT_TARGET, WEIGHT, 2))
OP(sum, keel_op_sum(tape, in[0], 0.3))

static const int32_t TEXTS[] = {0, 3, 4, 6};
OP(layer_norm, keel_op_layer_norm(tape, in[0], NULL, in[1], in[2], 1e-3))
OP(layer_norm_of_sum, keel_op_layer_norm(tape, in[0], in[0], in[1], in[2], 1e-12))
OP(layer_norm_of_two, keel_op_layer_norm(tape, in[0], in[1], in[2], in[2], 1e-5))
OP(attention, keel_op_attention(tape, in[0], 2, TEXTS, 3))
OP(attention_of_one_head, keel_op_attention(tape, in[0], 1, TEXTS, 2))
OP(text_mean, keel_op_text_mean(tape, in[0], TEXTS, 3))
OP(unit_rows, keel_op_unit_rows(tape, in[0]))

OP(rms_norm, keel_op_rms_norm(tape, in[0], NULL, in[1], 1e-3, NULL))
/* What is written over lies on the tape for that alone. */
#define OWN(x) keel_op_scale(tape, x, 1)
OP(rms_norm_of_two, keel_op_rms_norm(tape, in[0], OWN(in[1]), in[2], 1e-3, NULL))
OP(rms_norm_alone_in_the_gain,
   keel_op_rms_norm(tape, keel_tape_input(tape, WEIGHT, 3, 4), NULL, in[0], 1, NULL))
static keel_tensor *rms_norm_and_sum(keel_tape *tape, keel_tensor *const *in) {
    keel_tensor *sum, *y = keel_op_rms_norm(tape, in[0], OWN(in[1]), in[2], 1e-3, &sum);
    return keel_op_add(tape, y, keel_op_mul(tape, sum, sum));
}
static keel_tensor *rms_norm_for_its_sum(keel_tape *tape, keel_tensor *const *in) {
    keel_tensor *sum = NULL;
    keel_op_rms_norm(tape, in[0], OWN(in[1]), in[2], 1e-3, &sum);
    return sum;
}
OP(add_onto, keel_op_add_onto(tape, in[0], OWN(in[1])))
OP(add_onto_itself, keel_op_add_onto(tape, in[0], OWN(in[0])))
OP(gate, keel_op_gate(tape, in[0], in[1]))
OP(gate_by_itself, keel_op_gate(tape, in[0], in[0]))
static const int32_t PLACES[] = {0, 1, 2, 0, 0, 1}, LONG_TEXTS[] = {0, 1, 71};
static const keel_real TURNS[] = {1, 1, 0, 0, 0.6, 0.8, 0.8, 0.6, -0.28, 0.96, 0.96, -0.28};
OP(rope, keel_op_rope(tape, OWN(in[0]), 2, TURNS, PLACES))
OP(causal_attention, keel_op_causal_attention(tape, in[0], in[1], in[2], 4, 2, TEXTS, 3))
OP(causal_attention_of_one_group, keel_op_causal_attention(tape, in[0], in[1], in[1], 3, 1, TEXTS, 3))
OP(causal_attention_in_tiles, keel_op_causal_attention(tape, in[0], in[1], in[2], 2, 2, LONG_TEXTS, 2))

static const float FROZEN[] = {0.5f, -1, 2, 0.25f, 3, -0.125f, 1, 1, -2, 0.75f, 1.5f, -0.5f, 0.0625f, 1, -1};
static const keel_matrix FROZEN_5_3 = {.type = KEEL_MATRIX_F32, .rows = 5, .cols = 3, .data = FROZEN};
static keel_tensor *frozen(keel_tape *tape, keel_tensor *const *in) {
    const keel_branch branch = {in[0], in[2], 0.7, 1};
    return keel_op_linear_frozen(tape, in[0], &FROZEN_5_3, in[1], KEEL_GELU, &branch, 1);
}

static const int32_t NEXT[] = {4, 0, 99, 10, 3, 3, 7};
static const keel_real COUNTS[] = {1, 0.5, 0, 2, 1.5, 0.25, 1}, EVEN[] = {1, 1, 1, 1, 1, 1, 1};
static keel_tensor *taught_loss(keel_tape *tape, keel_tensor *const *in, const keel_real *weight, size_t rows,
                                size_t vocabulary, keel_real smoothing, const keel_token_teacher *teacher) {
    static const int32_t texts[] = {0, 2, 5, 7}, few[] = {0, 0, 2};
    const keel_token_loss loss = {.w = in[1],
                                  .frozen = in[1] ? NULL : &FROZEN_5_3,
                                  .vocabulary = vocabulary,
                                  .target = rows == 7 ? NEXT : NEXT + 4,
                                  .weight = weight,
                                  .offsets = rows == 7 ? texts : few,
                                  .n = rows == 7 ? 3 : 2,
                                  .divisor = 3,
                                  .smoothing = smoothing,
                                  .teacher = teacher};
    return keel_op_token_loss(tape, in[0], &loss);
}
static keel_tensor *token_loss(keel_tape *tape, keel_tensor *const *in, const keel_real *weight, size_t rows,
                               size_t vocabulary, keel_real smoothing) {
    return taught_loss(tape, in, weight, rows, vocabulary, smoothing, NULL);
}
OP(token_loss_of_all, token_loss(tape, in, EVEN, 2, 5, 0))
OP(token_loss_of_some, token_loss(tape, in, COUNTS, 7, 11, 0))
OP(token_loss_smoothed, token_loss(tape, in, COUNTS, 7, 11, 0.3))
OP(token_loss_in_tiles, token_loss(tape, in, EVEN, 2, 1030, 0.1))
OP(token_loss_frozen, token_loss(tape, in, EVEN, 2, 5, 0.1))

static keel_tensor *with_teacher(keel_tape *tape, keel_tensor *const *in, size_t rows, size_t vocabulary) {
    static keel_real states[7 * 2];
    static float words[1030 * 2];
    static const keel_matrix head = {.type = KEEL_MATRIX_F32, .rows = 1030, .cols = 2, .data = words};
    static const keel_token_teacher teacher = {.x = states, .w = &head, .share = 0.6, .temperature = 1.7};
    for (size_t i = 0; i < 7 * 2; ++i) states[i] = sin(3 * (double)i);
    for (size_t i = 0; i < 1030 * 2; ++i) words[i] = (float)cos(2 * (double)i);
    return taught_loss(tape, in, COUNTS, rows, vocabulary, 0.1, &teacher);
}
OP(token_loss_taught, with_teacher(tape, in, 7, 11))
OP(token_loss_taught_in_tiles, with_teacher(tape, in, 2, 1030))

/* Inner tensors that are worked out anew, from inputs that backward finds again. */
static keel_tensor *inner(const void *context, keel_tape *tape, keel_tensor *x) {
    keel_tensor *const *in = context;
    keel_tensor *hidden = keel_op_linear(tape, x, in[1], in[2], KEEL_GELU);
    return keel_op_add_onto(tape, x, keel_op_linear(tape, hidden, in[1], NULL, KEEL_LINEAR));
}

static keel_tensor *segments_of(keel_tape *tape, keel_tensor *const *in, size_t n) {
    static keel_tensor *kept[MOST_INPUTS];
    keel_tensor *x = in[0];
    memcpy(kept, in, sizeof kept);
    while (n-- > 0) x = keel_tape_segment(tape, x, KEEL_KEEP_NOTHING, true, inner, kept);
    return x;
}
OP(segment, segments_of(tape, in, 1))
OP(segments, segments_of(tape, in, 2))

static keel_tensor *dropped_norm(keel_tape *tape, keel_tensor *const *in) {
    keel_rng rng = keel_rng_named(1, "dropout", 0);
    return keel_op_residual_norm(tape, in[0], in[1], 0.4, &rng, in[2], in[2], 1e-3);
}

static keel_tensor *dropout(keel_tape *tape, keel_tensor *const *in) {
    keel_rng rng = keel_rng_named(1, "dropout", 0); /* the same mask at every evaluation */
    return keel_op_dropout(tape, in[0], 0.4, &rng);
}

/* The shape of the CQL step: a network used twice, pick and log-sum-exp of the same output, one combined
 * loss. */
static keel_tensor *network(keel_tape *tape, keel_tensor *const *in) {
    keel_tensor *hidden = keel_op_linear(tape, in[0], in[1], in[2], KEEL_TANH);
    keel_tensor *again = keel_op_linear(tape, hidden, in[1], in[2], KEEL_GELU);
    keel_tensor *gap =
        keel_op_sub(tape, keel_op_logsumexp(tape, again, NULL), keel_op_pick_heads(tape, again, COLUMNS, 1));
    return keel_op_add(tape, keel_op_sum(tape, gap, 0.1), keel_op_huber(tape, hidden, TARGET, NULL, 1, 5));
}

#define CASE(name, ...)                                                                                      \
    {                                                                                                        \
#name, name, {                                                                                       \
            __VA_ARGS__                                                                                      \
        }                                                                                                    \
    }
static const op_case CASES[] = {
    CASE(linear, {5, 3}, {7, 3}, {1, 7}),
    CASE(linear, {1, 1}, {1, 1}, {1, 1}),
    CASE(raised, {5, 3}),
    CASE(linear_relu, {5, 3}, {7, 3}, {1, 7}),
    CASE(linear_runs, {5, 6}, {7, 6}, {1, 7}),
    CASE(linear_nothing, {5, 6}, {7, 6}, {1, 7}),
    CASE(linear_twice, {5, 6}, {7, 6}, {1, 7}),
    CASE(linear_tanh, {5, 3}, {7, 3}, {1, 7}),
    CASE(linear_gelu, {5, 3}, {7, 3}, {1, 7}),
    CASE(linear_no_bias, {3, 17}, {2, 17}),
    CASE(relu_no_bias, {3, 17}, {2, 17}),
    CASE(gelu_no_bias, {3, 17}, {2, 17}),
    CASE(linear_branched, {5, 3}, {2, 3}, {5, 3}),
    CASE(gelu_branched, {5, 3}, {2, 3}, {5, 3}),
    CASE(add, {3, 5}, {3, 5}),
    CASE(add_to_itself, {3, 5}),
    CASE(sub, {3, 5}, {3, 5}),
    CASE(mul, {3, 5}, {3, 5}),
    CASE(square, {3, 5}),
    CASE(scale, {3, 5}),
    CASE(concat, {3, 5}, {3, 1}, {3, 2}),
    CASE(stack, {2, 3}, {4, 3}),
    CASE(stack_on_itself, {2, 3}),
    CASE(rows, {5, 3}),
    CASE(pick, {5, 3}),
    CASE(pick_heads, {5, 9}),
    CASE(mix_heads, {5, 9}),
    CASE(mix_heads_by_row, {5, 9}),
    CASE(logsumexp, {5, 3}),
    CASE(masked_logsumexp, {5, 3}),
    CASE(segment_logsumexp, {7, 1}),
    CASE(dot, {5, 3}, {5, 3}),
    CASE(dot_with_itself, {5, 3}),
    CASE(dropout, {5, 9}),
    CASE(huber, {5, 3}),
    CASE(huber_unweighted, {5, 3}),
    CASE(half_square, {5, 3}),
    CASE(logistic, {5, 3}),
    CASE(cross_entropy, {5, 3}),
    CASE(cross_entropy_unweighted, {5, 3}),
    CASE(segment_cross_entropy, {7, 1}),
    CASE(layer_norm, {5, 7}, {1, 7}, {1, 7}),
    CASE(layer_norm_of_sum, {3, 4}, {1, 4}, {1, 4}),
    CASE(layer_norm_of_two, {3, 4}, {3, 4}, {1, 4}),
    CASE(dropped_norm, {5, 17}, {5, 17}, {1, 17}),
    CASE(attention, {6, 12}),
    CASE(attention_of_one_head, {4, 9}),
    CASE(text_mean, {6, 3}),
    CASE(rms_norm, {5, 7}, {1, 7}),
    CASE(rms_norm_of_two, {3, 4}, {3, 4}, {1, 4}),
    CASE(rms_norm_alone_in_the_gain, {1, 4}),
    CASE(rms_norm_and_sum, {3, 4}, {3, 4}, {1, 4}),
    CASE(rms_norm_for_its_sum, {3, 4}, {3, 4}, {1, 4}),
    CASE(add_onto, {3, 5}, {3, 5}),
    CASE(add_onto_itself, {3, 5}),
    CASE(gate, {3, 17}, {3, 17}),
    CASE(gate_by_itself, {3, 5}),
    CASE(rope, {6, 8}),
    CASE(causal_attention, {6, 12}, {6, 6}, {6, 6}),
    CASE(causal_attention_of_one_group, {6, 6}, {6, 2}),
    CASE(causal_attention_in_tiles, {71, 2}, {71, 2}, {71, 2}),
    CASE(frozen, {4, 3}, {1, 5}, {3, 3}),
    CASE(token_loss_of_all, {2, 3}, {6, 3}),
    CASE(token_loss_of_some, {7, 3}, {12, 3}),
    CASE(token_loss_smoothed, {7, 3}, {12, 3}),
    CASE(token_loss_in_tiles, {2, 2}, {1030, 2}),
    CASE(token_loss_frozen, {2, 3}),
    CASE(token_loss_taught, {7, 3}, {12, 3}),
    CASE(token_loss_taught_in_tiles, {2, 2}, {1030, 2}),
    CASE(segment, {5, 3}, {3, 3}, {1, 3}),
    CASE(segments, {5, 3}, {3, 3}, {1, 3}),
    CASE(unit_rows, {5, 4}),
    CASE(sum, {3, 5}),
    CASE(network, {5, 3}, {3, 3}, {1, 3}),
};

/* ---- the check ---- */

/* Whether the inputs are also used outside the operation: after it (then their gradient is already written
 * when its backward runs, and it must add) or before it (then it writes first, and the other use must add).
 */
typedef enum other_use { NONE, BEFORE, AFTER } other_use;

static keel_tensor *use_inputs(keel_tape *tape, keel_tensor *const *in, keel_tensor *loss) {
    for (size_t i = 0; i < MOST_INPUTS && in[i]; ++i) {
        keel_tensor *squares = keel_op_sum(tape, keel_op_mul(tape, in[i], in[i]), 0.25);
        loss = loss ? keel_op_add(tape, loss, squares) : squares;
    }
    return loss;
}

/* A scalar: the outputs of the operation in fixed random proportions. */
static keel_tensor *build_loss(keel_tape *tape, const op_case *test, other_use use, keel_tensor *const *in) {
    keel_tensor *loss = use == BEFORE ? use_inputs(tape, in, NULL) : NULL;
    keel_tensor *out = test->build(tape, in);
    assert_non_null(out);
    static keel_real proportion[256];
    assert_true(out->rows * out->cols <= 256);
    keel_rng rng = keel_rng_named(2, "proportions", 0);
    for (size_t i = 0; i < 256; ++i) proportion[i] = keel_rng_normal(&rng);
    keel_tensor *mixed = keel_op_mul(tape, out, keel_tape_input(tape, proportion, out->rows, out->cols));
    keel_tensor *sum = keel_op_sum(tape, mixed, 1);
    loss = loss ? keel_op_add(tape, loss, sum) : sum;
    return use == AFTER ? use_inputs(tape, in, loss) : loss;
}

static keel_tensor *run(keel_tape *tape, const op_case *test, other_use use, const keel_params *params,
                        keel_real *grads) {
    keel_tensor *in[MOST_INPUTS + 1] = {NULL};
    keel_tape_reset(tape);
    for (size_t i = 0; i < params->count; ++i) in[i] = keel_tape_param(tape, params, i, grads);
    return build_loss(tape, test, use, in);
}

static void check(keel_tape *tape, const op_case *test, other_use use, const keel_params *params,
                  keel_real *grads) {
    keel_err err = {0};
    keel_tensor *loss = run(tape, test, use, params, grads);
    assert_int_equal(keel_tape_backward(tape, loss, &err), KEEL_OK);
    for (size_t p = 0; p < params->count; ++p) {
        for (size_t j = 0; j < params->table[p].rows * params->table[p].cols; ++j) {
            keel_real *x = keel_params_at(params, p) + j, kept = *x;
            *x = kept + STEP;
            double above = run(tape, test, use, params, NULL)->data[0];
            *x = kept - STEP;
            double below = run(tape, test, use, params, NULL)->data[0];
            *x = kept;
            double expected = (above - below) / (2 * STEP), got = grads[params->offset[p] + j];
            if (!(fabs(got - expected) <= TOLERANCE * fmax(1, fabs(expected))))
                fail_msg(
                    "%s, other use %d, input %zu, element %zu: gradient %.12g, difference quotient %.12g",
                    test->name, (int)use, p, j, got, expected);
        }
    }
}

static void check_case(keel_tape *tape, const op_case *test) {
    keel_param table[MOST_INPUTS];
    size_t count = 0;
    for (; count < MOST_INPUTS && test->shape[count][0]; ++count)
        table[count] = (keel_param){.name = "x",
                                    .rows = test->shape[count][0],
                                    .cols = test->shape[count][1],
                                    .init = KEEL_INIT_NORMAL,
                                    .scale = 1};
    keel_params params;
    assert_int_equal(keel_params_make(&params, table, count, NULL), KEEL_OK);
    keel_rng rng = keel_rng_named(3, test->name, 0);
    keel_params_init(&params, &rng);
    /* What grads hold before the step must not matter. */
    keel_real *grads = keel_alloc(params.size * sizeof *grads);
    for (size_t use = NONE; use <= AFTER; ++use) {
        for (size_t i = 0; i < params.size; ++i) grads[i] = 1e9;
        check(tape, test, (other_use)use, &params, grads);
    }
    keel_free(grads);
    keel_params_free(&params);
}

static void every_operation_agrees_with_central_differences(void **state) {
    (void)state;
    keel_tape *tape;
    assert_int_equal(keel_tape_open(&tape, NULL), KEEL_OK);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; ++i) check_case(tape, &CASES[i]);
    keel_tape_close(tape);
}

/* ---- bags of embeddings, whose gradient is sparse ---- */

enum { TABLE_ROWS = 70, TABLE_COLS = 3 };

static keel_tensor *bag_loss(keel_tape *tape, const keel_real *table, keel_sparse_grad *grad) {
    static const uint32_t ids[] = {69, 3, 3, 64, 0, 69, 12, 63};
    static const int32_t offsets[] = {0, 3, 3, 8};
    static const keel_real proportion[9] = {1, -2, 0.5, 3, 1, 2, -1, 0.25, 0.75};
    keel_tape_reset(tape);
    keel_tensor *one =
        keel_op_embedding_bag(tape, table, TABLE_ROWS, TABLE_COLS, ids, WEIGHT, offsets, 3, grad);
    keel_tensor *two =
        keel_op_embedding_bag(tape, table, TABLE_ROWS, TABLE_COLS, ids + 2, WEIGHT, offsets, 2, grad);
    keel_tensor *squares = keel_op_sum(tape, keel_op_mul(tape, two, two), 0.5);
    keel_tensor *mixed = keel_op_mul(tape, one, keel_tape_input(tape, proportion, 3, 3));
    return keel_op_add(tape, keel_op_sum(tape, mixed, 1), squares);
}

/* dense[table] = what is bags, added up. */
static void add_up(const keel_sparse_grad *grad, keel_real *dense) {
    memset(dense, 0, TABLE_ROWS * TABLE_COLS * sizeof *dense);
    for (size_t i = 0; i < grad->count; ++i) {
        const keel_bag_gradient *bags = &grad->bags[i];
        for (size_t s = 0; s < bags->n_bags; ++s)
            for (int32_t j = bags->offsets[s]; j < bags->offsets[s + 1]; ++j)
                for (size_t c = 0; c < TABLE_COLS; ++c)
                    dense[bags->id[j] * TABLE_COLS + c] += bags->weight[j] * bags->slope[s * TABLE_COLS + c];
    }
}

static void embedding_bags_agree_with_central_differences(void **state) {
    (void)state;
    static keel_real table[TABLE_ROWS * TABLE_COLS], dense[TABLE_ROWS * TABLE_COLS];
    keel_rng rng = keel_rng_named(4, "table", 0);
    for (size_t i = 0; i < TABLE_ROWS * TABLE_COLS; ++i) table[i] = keel_rng_normal(&rng);
    keel_tape *tape;
    keel_sparse_grad grad = {.table_rows = TABLE_ROWS, .cols = TABLE_COLS};
    assert_int_equal(keel_tape_open(&tape, NULL), KEEL_OK);
    for (size_t step = 0; step < 2; ++step) { /* the second time the gradient has been used before */
        keel_sparse_grad_clear(&grad);
        assert_int_equal(keel_tape_backward(tape, bag_loss(tape, table, &grad), NULL), KEEL_OK);
        assert_int_equal(grad.count, 2);
        add_up(&grad, dense);
        for (size_t i = 0; i < TABLE_ROWS * TABLE_COLS; ++i) {
            keel_real kept = table[i];
            table[i] = kept + STEP;
            double above = bag_loss(tape, table, NULL)->data[0];
            table[i] = kept - STEP;
            double below = bag_loss(tape, table, NULL)->data[0];
            table[i] = kept;
            assert_true(fabs(dense[i] - (above - below) / (2 * STEP)) <= TOLERANCE * fmax(1, fabs(dense[i])));
        }
    }
    keel_sparse_grad_free(&grad);
    keel_tape_close(tape);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_agrees_with_central_differences),
        cmocka_unit_test(embedding_bags_agree_with_central_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
