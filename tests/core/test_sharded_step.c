/* The sharded step against the same arithmetic on the whole block: sums in shard order, clipping by the
 * global norm, Adam with decay where the table says so, the target behind it, and the filter of each shard's
 * gradient. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/memory.h"
#include "core/sharded_step.h"

enum { SHARDS = 5, ROWS = 250, COLS = 70 }; /* more than one piece */

typedef struct fixture {
    keel_pool *pool;
    keel_params params;
    keel_adam adam;
    keel_sharded_step *step;
    float *target;
} fixture;

static fixture f;

static void set_up(size_t threads) {
    keel_param table[] = {{"weight", ROWS, COLS, KEEL_INIT_ZERO, 1, true, 0},
                          {"bias", 1, COLS, KEEL_INIT_ZERO, 1, false, 20}};
    assert_int_equal(keel_pool_open(&f.pool, threads, NULL), KEEL_OK);
    assert_int_equal(keel_params_make(&f.params, table, 2, NULL), KEEL_OK);
    assert_int_equal(keel_adam_open(&f.adam, f.params.size, NULL), KEEL_OK);
    assert_int_equal(keel_sharded_step_open(&f.step, &f.params, SHARDS, f.pool, NULL), KEEL_OK);
    f.target = keel_calloc(f.params.size, sizeof(float));
    keel_rng rng = keel_rng_named(1, "sharded step", 0);
    for (size_t i = 0; i < f.params.size; ++i) f.params.data[i] = f.target[i] = (float)keel_rng_normal(&rng);
}

static void tear_down(void) {
    keel_sharded_step_close(f.step);
    keel_adam_close(&f.adam);
    keel_params_free(&f.params);
    keel_free(f.target);
    keel_pool_close(f.pool);
}

static void fill(uint64_t seed, size_t shard, float *gradient) {
    keel_rng rng = keel_rng_named(seed, "gradient", shard);
    for (size_t p = 0; p < f.params.count; ++p) /* nothing between the parameters */
        for (size_t i = 0; i < f.params.table[p].rows * f.params.table[p].cols; ++i)
            gradient[f.params.offset[p] + i] = (float)keel_rng_normal(&rng);
}

/* context: the seed. */
static keel_status work(void *context, size_t shard, size_t thread, keel_err *err) {
    (void)thread, (void)err;
    fill(*(uint64_t *)context, shard, keel_sharded_step_gradient(f.step, shard));
    return KEEL_OK;
}

static double norm_of(const float *x) {
    double squares = 0;
    for (size_t i = 0; i < f.params.size; ++i) squares += (double)x[i] * (double)x[i];
    return sqrt(squares);
}

/* The sum of the shards' gradients in their order, each first scaled to a norm of at most `each`. */
static float *plain_sum(uint64_t seed, size_t shards, double each) {
    float *sum = keel_calloc(f.params.size, sizeof *sum), *one = keel_calloc(f.params.size, sizeof *one);
    for (size_t s = 0; s < shards; ++s) {
        fill(seed, s, one);
        double norm = norm_of(one);
        for (size_t i = 0; norm > each && i < f.params.size; ++i) one[i] *= (float)(each / norm);
        for (size_t i = 0; i < f.params.size; ++i) sum[i] = s ? sum[i] + one[i] : one[i];
    }
    keel_free(one);
    return sum;
}

static keel_step_rule rule_with(double clip_norm, float *target) {
    keel_step_rule rule = {.adam = keel_adam_defaults(),
                           .rate_factor = 0.5,
                           .clip_norm = clip_norm,
                           .target = target,
                           .tau = 0.25};
    rule.adam.weight_decay = 0.1;
    return rule;
}

/* Steps on two seeds; what the parameters come to by the functions on whole blocks. */
static void check_steps(size_t threads, size_t shards, double clip_norm) {
    set_up(threads);
    keel_params twin;
    keel_adam adam;
    keel_param table[] = {{"weight", ROWS, COLS, KEEL_INIT_ZERO, 1, true, 0},
                          {"bias", 1, COLS, KEEL_INIT_ZERO, 1, false, 20}};
    assert_int_equal(keel_params_make(&twin, table, 2, NULL), KEEL_OK);
    assert_int_equal(keel_adam_open(&adam, twin.size, NULL), KEEL_OK);
    memcpy(twin.data, f.params.data, twin.size * sizeof(float));
    float *behind = keel_calloc(twin.size, sizeof *behind);
    memcpy(behind, f.target, twin.size * sizeof *behind);
    for (uint64_t seed = 1; seed <= 2; ++seed) {
        keel_step_rule rule = rule_with(clip_norm, seed == 1 ? f.target : NULL);
        double got, norm;
        assert_int_equal(
            keel_sharded_step_take(f.step, shards, work, &seed, &rule, &f.params, &f.adam, &got, NULL),
            KEEL_OK);
        float *sum = plain_sum(seed, shards, INFINITY);
        norm = norm_of(sum);
        assert_true(fabs(got - norm) <= 1e-9 * norm);
        for (size_t i = 0; clip_norm > 0 && norm > clip_norm && i < twin.size; ++i)
            sum[i] *= (float)(clip_norm / got);
        keel_adam_step(&adam, &rule.adam, &twin, sum, rule.rate_factor);
        if (rule.target) keel_polyak(behind, twin.data, twin.size, rule.tau);
        keel_free(sum);
    }
    assert_int_equal(f.adam.steps, 2);
    assert_memory_equal(f.params.data, twin.data, twin.size * sizeof(float));
    assert_memory_equal(f.target, behind, twin.size * sizeof(float));
    keel_free(behind);
    keel_adam_close(&adam);
    keel_params_free(&twin);
    tear_down();
}

static void a_step_is_that_of_the_whole_block_for_any_number_of_threads(void **state) {
    (void)state;
    for (size_t threads = 1; threads <= 4; threads += 3) {
        check_steps(threads, SHARDS, 0);
        check_steps(threads, 1, 0);
        check_steps(threads, SHARDS, 10);
        check_steps(threads, SHARDS, 1e6);
        check_steps(threads, 3 * SHARDS, 0); /* in waves */
        check_steps(threads, 3 * SHARDS + 1, 10);
    }
}

static keel_status clip_each(void *context, size_t shard, keel_real *gradient, size_t size, keel_err *err) {
    const double limit = *(double *)context, norm = norm_of(gradient);
    if (shard >= SHARDS || size != f.params.size) return keel_fail(err, KEEL_E_USAGE, "filter", "no shard");
    for (size_t i = 0; norm > limit && i < size; ++i) gradient[i] *= (float)(limit / norm);
    return KEEL_OK;
}

static void a_filter_sees_the_gradient_of_each_shard_before_the_sum(void **state) {
    (void)state;
    uint64_t seed = 3;
    double limit = 5, norm;
    set_up(2);
    keel_sharded_step_filter(f.step, clip_each, &limit);
    assert_int_equal(keel_sharded_step_sum(f.step, SHARDS, work, &seed, &norm, NULL), KEEL_OK);
    float *sum = plain_sum(seed, SHARDS, limit);
    assert_memory_equal(keel_sharded_step_gradient(f.step, 0), sum, f.params.size * sizeof *sum);
    assert_true(norm <= SHARDS * limit);
    keel_free(sum);
    keel_sharded_step_filter(f.step, NULL, NULL);
    assert_int_equal(keel_sharded_step_sum(f.step, SHARDS, work, &seed, &norm, NULL), KEEL_OK);
    assert_true(norm > SHARDS * limit);
    tear_down();
}

static keel_status refuse(void *context, size_t shard, keel_real *gradient, size_t size, keel_err *err) {
    (void)context, (void)gradient, (void)size;
    return shard == 1 ? keel_fail(err, KEEL_E_INVALID, "filter", "not this one") : KEEL_OK;
}

static void a_failure_of_the_filter_stops_the_step(void **state) {
    (void)state;
    keel_err err = {0};
    uint64_t seed = 1;
    double norm;
    keel_step_rule rule = rule_with(0, NULL);
    set_up(2);
    keel_sharded_step_filter(f.step, refuse, NULL);
    float before = f.params.data[0];
    assert_int_equal(
        keel_sharded_step_take(f.step, SHARDS, work, &seed, &rule, &f.params, &f.adam, &norm, &err),
        KEEL_E_INVALID);
    assert_string_equal(err.message, "not this one");
    assert_true(f.params.data[0] == before && f.adam.steps == 0);
    assert_int_equal(keel_sharded_step_take(f.step, 0, work, &seed, &rule, &f.params, &f.adam, &norm, &err),
                     KEEL_E_USAGE);
    tear_down();
}

/* ---- loss scaling ---- */

typedef struct scaled {
    uint64_t seed;
    double factor;
    bool overflows;
} scaled;

static keel_status scaled_work(void *context, size_t shard, size_t thread, keel_err *err) {
    (void)thread, (void)err;
    const scaled *s = context;
    float *gradient = keel_sharded_step_gradient(f.step, shard);
    fill(s->seed, shard, gradient);
    for (size_t i = 0; i < f.params.size; ++i) gradient[i] *= (float)s->factor;
    if (s->overflows && shard == 1) gradient[3] = INFINITY;
    return KEEL_OK;
}

/* The factor is a power of two: divided by it, the gradient is the same to the bit. */
static void a_scaled_step_is_the_same_step(void **state) {
    (void)state;
    static const double clips[] = {0, 1e-3};
    for (int k = 0; k < 2; k++) {
        float *expected = NULL;
        double norms[2];
        for (int scaling = 0; scaling < 2; scaling++) {
            set_up(2);
            keel_loss_scale scale = keel_loss_scale_start();
            keel_step_rule rule = rule_with(clips[k], NULL);
            scaled s = {.seed = 1, .factor = scaling ? scale.factor : 1};
            if (scaling) rule.scale = &scale;
            assert_int_equal(keel_sharded_step_take(f.step, SHARDS, scaled_work, &s, &rule, &f.params,
                                                    &f.adam, &norms[scaling], NULL),
                             KEEL_OK);
            if (!scaling) {
                expected = keel_calloc(f.params.size, sizeof *expected);
                memcpy(expected, f.params.data, f.params.size * sizeof *expected);
            } else {
                for (size_t i = 0; i < f.params.size; i++)
                    assert_true(fabsf(f.params.data[i] - expected[i]) <= 1e-6f * fabsf(expected[i]));
                assert_true(fabs(norms[1] / norms[0] - 1) < 1e-6);
                assert_true(scale.clean == 1);
            }
            tear_down();
        }
        keel_free(expected);
    }
}

static void a_step_that_overflows_moves_nothing_and_halves_the_factor(void **state) {
    (void)state;
    set_up(2);
    keel_loss_scale scale = keel_loss_scale_start();
    keel_step_rule rule = rule_with(0, f.target);
    rule.scale = &scale;
    float *before = keel_calloc(f.params.size, sizeof *before);
    memcpy(before, f.params.data, f.params.size * sizeof *before);
    double norm;
    for (int i = 1; i <= 20; i++) {
        scaled s = {.seed = 1, .factor = scale.factor, .overflows = true};
        assert_int_equal(
            keel_sharded_step_take(f.step, SHARDS, scaled_work, &s, &rule, &f.params, &f.adam, &norm, NULL),
            KEEL_OK);
        assert_true(!isfinite(norm));
        assert_true(scale.factor == fmax(1, 65536 / pow(2, i)));
        assert_memory_equal(before, f.params.data, f.params.size * sizeof *before);
        assert_memory_equal(before, f.target, f.params.size * sizeof *before);
        assert_true(f.adam.steps == 0);
    }
    scaled s = {.seed = 1, .factor = 1}; /* what was left behind does no harm */
    assert_int_equal(
        keel_sharded_step_take(f.step, SHARDS, scaled_work, &s, &rule, &f.params, &f.adam, &norm, NULL),
        KEEL_OK);
    assert_true(isfinite(norm));
    assert_true(f.adam.steps == 1);
    for (size_t i = 0; i < f.params.size; i++) assert_true(isfinite(f.params.data[i]));
    keel_free(before);
    tear_down();
}

static void the_factor_doubles_after_two_thousand_clean_steps(void **state) {
    (void)state;
    keel_loss_scale scale = keel_loss_scale_start();
    for (int i = 1; i < 2000; i++) keel_loss_scale_step(&scale, true);
    assert_true(scale.factor == 65536);
    keel_loss_scale_step(&scale, true);
    assert_true(scale.factor == 131072 && scale.clean == 0);
    for (int i = 0; i < 1999; i++) keel_loss_scale_step(&scale, true);
    keel_loss_scale_step(&scale, false);
    assert_true(scale.factor == 65536 && scale.clean == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_that_of_the_whole_block_for_any_number_of_threads),
        cmocka_unit_test(a_filter_sees_the_gradient_of_each_shard_before_the_sum),
        cmocka_unit_test(a_failure_of_the_filter_stops_the_step),
        cmocka_unit_test(a_scaled_step_is_the_same_step),
        cmocka_unit_test(a_step_that_overflows_moves_nothing_and_halves_the_factor),
        cmocka_unit_test(the_factor_doubles_after_two_thousand_clean_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
