/* Spaces, Gaussian processes and the methods that say which trial comes next. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN_FILE "search.json"
#include "golden.h"

#include "core/pcg.h"
#include "rl/search/acquire.h"
#include "rl/search/gp.h"
#include "rl/search/search.h"

#define assert_within(got, want, tolerance)                                                                  \
    do {                                                                                                     \
        if (!(fabs((got) - (want)) <= (tolerance)*fmax(1, fabs(want))))                                      \
            fail_msg("%s: expected %.15g, got %.15g", #got, (double)(want), (double)(got));                  \
    } while (0)

/* ---- golden ---- */

static double number(const cJSON *of, const char *key) {
    return cJSON_GetNumberValue(keel_json_get(of, key));
}

static void a_process_is_that_of_scikit_learn(void **state) {
    (void)state;
    const cJSON *row;
    cJSON_ArrayForEach (row, keel_json_get(golden, "processes")) {
        static double x[400], value[100], at[100], mean[10], sd[10], want[20], gradient[20];
        keel_gp gp;
        keel_gp_scales scales = {.signal = number(row, "signal"), .noise = number(row, "noise")};
        const size_t dims = golden_numbers(keel_json_get(row, "length"), scales.length);
        const size_t n = golden_numbers(keel_json_get(row, "value"), value);
        assert_int_equal(golden_numbers(keel_json_get(row, "x"), x), n * dims);
        assert_int_equal(keel_gp_open(&gp, x, value, n, dims, NULL, NULL), KEEL_OK);
        assert_within(keel_gp_likelihood(&gp, &scales, gradient), number(row, "likelihood"), 1e-8);
        const size_t n_gradient = golden_numbers(keel_json_get(row, "gradient"), want);
        assert_int_equal(n_gradient, dims + 2);
        for (size_t i = 0; i < n_gradient; ++i) assert_within(gradient[i], want[i], 1e-7);
        const size_t n_at = golden_numbers(keel_json_get(row, "at"), at) / dims;
        golden_numbers(keel_json_get(row, "mean"), mean);
        golden_numbers(keel_json_get(row, "sd"), sd);
        for (size_t i = 0; i < n_at; ++i) {
            double m, s;
            keel_gp_predict(&gp, at + i * dims, &m, &s);
            assert_within(m, mean[i], 1e-8);
            assert_within(s, sd[i], 1e-7);
        }
        keel_gp_close(&gp);
    }
}

static void an_improvement_is_what_integration_says(void **state) {
    (void)state;
    const cJSON *row;
    cJSON_ArrayForEach (row, keel_json_get(golden, "improvements")) {
        const double mean = number(row, "mean"), sd = number(row, "sd"), best = number(row, "best");
        assert_within(keel_log_improvement(mean, sd, best), number(row, "log_improvement"), 1e-9);
        assert_within(keel_log_feasible(mean, sd, best), number(row, "log_feasible"), 1e-9);
    }
    assert_true(isinf(keel_log_improvement(1, 0, 2)) && isinf(keel_log_feasible(1, 0, 2)));
    assert_within(keel_log_improvement(3, 0, 2), 0.0, 0);
}

/* ---- processes ---- */

static void a_fit_is_no_worse_than_other_scales_and_sees_noise(void **state) {
    (void)state;
    enum { N = 60 };
    double x[N], value[N];
    keel_gp gp;
    keel_rng rng = keel_rng_named(4, "test", 0);
    for (size_t i = 0; i < N; ++i) {
        x[i] = (double)i / (N - 1);
        value[i] = sin(6 * x[i]) + 0.3 * keel_rng_normal(&rng);
    }
    assert_int_equal(keel_gp_open(&gp, x, value, N, 1, NULL, NULL), KEEL_OK);
    assert_int_equal(keel_gp_fit(&gp, NULL), KEEL_OK);
    const keel_gp_scales fitted = gp.scales;
    assert_true(fitted.noise * gp.scale > 0.2 && fitted.noise * gp.scale < 0.4);
    const double fit = keel_gp_likelihood(&gp, &fitted, NULL);
    for (double factor = 0.25; factor <= 4; factor *= 16) {
        keel_gp_scales other = fitted;
        other.length[0] *= factor;
        assert_true(keel_gp_likelihood(&gp, &other, NULL) < fit);
        other = fitted;
        other.noise *= factor;
        assert_true(keel_gp_likelihood(&gp, &other, NULL) < fit);
    }
    keel_gp_close(&gp);
}

static void values_without_order_are_apart_or_not(void **state) {
    (void)state;
    const double x[] = {0, 0.5, 1}, value[] = {1, 2, 3}, near[] = {0.6, 0.9};
    const bool nominal[] = {true};
    const keel_gp_scales scales = {.length = {0.3}, .signal = 1, .noise = 0.1};
    keel_gp gp;
    double mean[2], sd[2];
    assert_int_equal(keel_gp_open(&gp, x, value, 3, 1, nominal, NULL), KEEL_OK);
    assert_true(isfinite(keel_gp_likelihood(&gp, &scales, NULL)));
    for (int i = 0; i < 2; ++i) keel_gp_predict(&gp, &near[i], &mean[i], &sd[i]);
    assert_within(mean[0], mean[1], 1e-12); /* how near a value lies says nothing */
    assert_within(sd[0], sd[1], 1e-12);
    keel_gp_close(&gp);
}

static void what_is_no_process_is_refused(void **state) {
    (void)state;
    const double x[] = {0, 1}, value[] = {1, NAN};
    keel_gp gp;
    keel_err err;
    assert_int_equal(keel_gp_open(&gp, x, value, 2, 1, NULL, &err), KEEL_E_INVALID);
    keel_gp_close(&gp);
    assert_int_equal(keel_gp_open(&gp, x, value, 0, 1, NULL, &err), KEEL_E_INVALID);
    keel_gp_close(&gp);
    assert_int_equal(keel_gp_open(&gp, x, value, 1, KEEL_GP_DIMS + 1, NULL, &err), KEEL_E_INVALID);
    keel_gp_close(&gp);
}

/* ---- spaces ---- */

static keel_space space_of(keel_arena *arena, const char *const *ranges) {
    keel_space space = {0};
    keel_err err = {0};
    for (; *ranges; ++ranges)
        if (keel_space_add(&space, *ranges, arena, "--over", &err) != KEEL_OK) fail_msg("%s", err.message);
    return space;
}

static void ranges_are_read(void **state) {
    (void)state;
    keel_arena arena = {0};
    keel_space s =
        space_of(&arena, (const char *const[]){"rate=log:1e-6:1e-3", "rank=4,8,16", "alpha=0:1",
                                               "share=real:0:1", "algo=cql,bc,iql", "a=-1.5:2", NULL});
    assert_int_equal(s.n, 6);
    assert_true(s.dims[0].kind == KEEL_DIMENSION_REAL && s.dims[0].log && s.dims[0].low == 1e-6);
    assert_true(s.dims[1].kind == KEEL_DIMENSION_CHOICE && !s.nominal[1] && s.dims[1].n == 3);
    assert_true(s.dims[2].kind == KEEL_DIMENSION_INTEGER && s.dims[3].kind == KEEL_DIMENSION_REAL);
    assert_true(s.nominal[4] && s.dims[5].low == -1.5 && s.dims[5].high == 2);
    assert_true(isinf(keel_space_size(&s)));
    s = space_of(&arena, (const char *const[]){"k=1:4", "c=a,b", NULL});
    assert_true(keel_space_size(&s) == 8);
    keel_arena_free(&arena);
}

static void ranges_that_say_nothing_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",        "x",       "=1:2",   "x=",    "x=2:1",   "x=1:1",   "x=log:0:1", "x=log:-1:1", "x=1:two",
        "x=nan:1", "x=1:inf", "x=a,,b", "x=a,a", "x=1:2:3", "x=log:1", "x=1:1e300", NULL};
    keel_arena arena = {0};
    for (size_t i = 0; wrong[i]; ++i) {
        keel_space space = {0};
        keel_err err = {0};
        if (keel_space_add(&space, wrong[i], &arena, "--over", &err) != KEEL_E_INVALID || space.n)
            fail_msg("\"%s\" was taken", wrong[i]);
        assert_true(err.message[0] && strcmp(err.where, "--over") == 0);
    }
    keel_space twice = space_of(&arena, (const char *const[]){"x=1:2", NULL});
    assert_int_equal(keel_space_add(&twice, "x=3:4", &arena, "--over", NULL), KEEL_E_INVALID);
    keel_arena_free(&arena);
}

static void a_text_comes_back_to_where_it_lies(void **state) {
    (void)state;
    keel_arena arena = {0};
    keel_space s = space_of(&arena, (const char *const[]){"r=log:1e-6:1e-3", "i=3:9", "l=log:1:1000",
                                                          "c=a,b,c,d", "m=-2.5:3", "n=7", NULL});
    for (size_t d = 0; d < s.n; ++d)
        for (double u = 0; u <= 1; u += 1.0 / 64) {
            double first, second;
            const char *text = keel_dimension_value(&s.dims[d], u, &arena);
            assert_int_equal(keel_dimension_place(&s.dims[d], text, &first, NULL), KEEL_OK);
            assert_true(first >= 0 && first <= 1);
            if (s.dims[d].kind == KEEL_DIMENSION_REAL) assert_within(first, u, 1e-3);
            const char *again = keel_dimension_value(&s.dims[d], first, &arena);
            assert_string_equal(text, again);
            assert_int_equal(keel_dimension_place(&s.dims[d], again, &second, NULL), KEEL_OK);
            assert_true(first == second);
        }
    assert_string_equal(keel_dimension_value(&s.dims[0], 0.5, &arena), "3.162e-05");
    assert_string_equal(keel_dimension_value(&s.dims[1], 1, &arena), "9");
    double u;
    assert_int_equal(keel_dimension_place(&s.dims[1], "10", &u, NULL), KEEL_E_INVALID);
    assert_int_equal(keel_dimension_place(&s.dims[3], "e", &u, NULL), KEEL_E_INVALID);
    keel_arena_free(&arena);
}

/* ---- methods ---- */

enum { MOST = 300 };

typedef double goal_of(const keel_space *space, const double *at, double budget);

/* Runs a search to its end, with each trial done before the next. */
static size_t run(const keel_search *search, goal_of *goal, keel_trial *trials) {
    keel_search_turn turn;
    keel_err err = {0};
    assert_int_equal(keel_search_check(search, &err), KEEL_OK);
    for (size_t n = 0; n < MOST; ++n) {
        if (keel_search_next(search, trials, n, &trials[n], &turn, &err) != KEEL_OK)
            fail_msg("%s", err.message);
        if (turn == KEEL_SEARCH_END) return n;
        assert_int_equal(turn, KEEL_SEARCH_TRIAL);
        trials[n].goal = goal(search->space, trials[n].at, trials[n].budget);
        trials[n].state = KEEL_TRIAL_DONE;
    }
    fail_msg("no end");
    return 0;
}

static int method(const char *name) {
    int i = 0;
    while (strcmp(keel_search_methods[i], name) != 0) ++i;
    return i;
}

/* Highest, 0, at .7 in every dimension. */
static double hill(const keel_space *space, const double *at, double budget) {
    double sum = 0;
    (void)budget;
    for (size_t i = 0; i < space->n; ++i) sum -= (at[i] - 0.7) * (at[i] - 0.7);
    return sum;
}

static void a_grid_takes_every_combination_once(void **state) {
    (void)state;
    static keel_trial trials[MOST];
    keel_arena arena = {0};
    keel_space s = space_of(&arena, (const char *const[]){"a=x,y", "b=0:1", "c=log:1:8", "d=real:0:1", NULL});
    keel_search search = {.space = &s, .method = method("grid"), .points = 5};
    /* 2, 2, {1, 2, 3, 5, 8} and 5 of reals */
    assert_int_equal(run(&search, hill, trials), 2 * 2 * 5 * 5);
    assert_int_equal(keel_search_size(&search), 100);
    for (size_t i = 0; i < 100; ++i)
        for (size_t j = 0; j < i; ++j)
            assert_memory_not_equal(trials[i].at, trials[j].at, 4 * sizeof(double));
    search.trials = 7;
    assert_int_equal(run(&search, hill, trials), 7);
    keel_arena_free(&arena);
}

static void the_same_seed_gives_the_same_trials(void **state) {
    (void)state;
    static keel_trial one[MOST], two[MOST], other[MOST];
    keel_arena arena = {0};
    keel_space s = space_of(&arena, (const char *const[]){"a=x,y,z", "b=real:0:1", "c=log:1e-5:1", NULL});
    static const char *const names[] = {"random", "bayes", NULL};
    for (size_t m = 0; names[m]; ++m) {
        keel_search search = {.space = &s, .method = method(names[m]), .seed = 5, .trials = 15};
        assert_int_equal(run(&search, hill, one), 15);
        assert_int_equal(run(&search, hill, two), 15);
        for (size_t i = 0; i < 15; ++i) assert_memory_equal(one[i].at, two[i].at, sizeof one[i].at);
        search.seed = 6;
        run(&search, hill, other);
        assert_memory_not_equal(one[0].at, other[0].at, sizeof one[0].at);
        for (size_t i = 0; i < 15; ++i)
            for (size_t j = 0; j < i; ++j) assert_memory_not_equal(one[i].at, one[j].at, 3 * sizeof(double));
    }
    keel_arena_free(&arena);
}

static void a_small_space_is_tried_whole_and_no_further(void **state) {
    (void)state;
    static keel_trial trials[MOST];
    keel_arena arena = {0};
    keel_space s = space_of(&arena, (const char *const[]){"a=x,y,z", "b=1:4", NULL});
    static const char *const names[] = {"random", "bayes", NULL};
    for (size_t m = 0; names[m]; ++m) {
        keel_search search = {.space = &s, .method = method(names[m]), .seed = 1, .trials = 50};
        assert_int_equal(run(&search, hill, trials), 12);
        for (size_t i = 0; i < 12; ++i)
            for (size_t j = 0; j < i; ++j)
                assert_memory_not_equal(trials[i].at, trials[j].at, 2 * sizeof(double));
    }
    keel_arena_free(&arena);
}

static void bayes_climbs_where_random_does_not(void **state) {
    (void)state;
    static keel_trial trials[MOST];
    keel_arena arena = {0};
    keel_space s = space_of(&arena, (const char *const[]){"a=real:0:1", "b=real:0:1", NULL});
    double mean[2] = {0, 0};
    for (uint64_t seed = 0; seed < 5; ++seed)
        for (int m = 0; m < 2; ++m) {
            keel_search search = {
                .space = &s, .method = method(m ? "bayes" : "random"), .seed = seed, .trials = 20};
            const size_t n = run(&search, hill, trials);
            mean[m] -= trials[keel_search_best(&search, trials, n)].goal / 5;
        }
    assert_true(mean[1] < 1e-4 && mean[1] < mean[0] / 20);
    keel_arena_free(&arena);
}

/* What is required: a + b <= 1; the hill's top, (.7, .7), lies beyond. */
static void bayes_keeps_to_what_is_required(void **state) {
    (void)state;
    static keel_trial trials[MOST];
    keel_arena arena = {0};
    keel_space s = space_of(&arena, (const char *const[]){"a=real:0:1", "b=real:0:1", NULL});
    keel_search search = {.space = &s, .method = method("bayes"), .seed = 3, .trials = 30, .n_requires = 1};
    keel_search_turn turn;
    for (size_t n = 0; n < 30; ++n) {
        assert_int_equal(keel_search_next(&search, trials, n, &trials[n], &turn, NULL), KEEL_OK);
        trials[n].goal = hill(&s, trials[n].at, 0);
        trials[n].slack[0] = 1 - trials[n].at[0] - trials[n].at[1];
        trials[n].state = KEEL_TRIAL_DONE;
    }
    const size_t best = keel_search_best(&search, trials, 30);
    assert_true(best < 30 && keel_trial_feasible(&search, &trials[best]));
    assert_true(trials[best].goal > -0.085); /* -.08 at (.5, .5) */
    keel_arena_free(&arena);
}

static void running_and_failed_trials_are_not_tried_again(void **state) {
    (void)state;
    keel_trial trials[12] = {0};
    keel_arena arena = {0};
    keel_space s = space_of(&arena, (const char *const[]){"a=real:0:1", NULL});
    keel_search search = {.space = &s, .method = method("bayes"), .seed = 3, .trials = 12};
    keel_search_turn turn;
    for (size_t n = 0; n < 12; ++n) {
        assert_int_equal(keel_search_next(&search, trials, n, &trials[n], &turn, NULL), KEEL_OK);
        assert_int_equal(turn, KEEL_SEARCH_TRIAL);
        trials[n].goal = hill(&s, trials[n].at, 0);
        trials[n].state = trials[n].at[0] > 0.6 ? KEEL_TRIAL_FAILED
                          : n % 2               ? KEEL_TRIAL_RUNNING
                                                : KEEL_TRIAL_DONE;
        for (size_t j = 0; j < n; ++j) assert_true(fabs(trials[n].at[0] - trials[j].at[0]) > 1e-9);
    }
    const size_t best = keel_search_best(&search, trials, 12);
    assert_true(best < 12 && trials[best].state == KEEL_TRIAL_DONE);
    keel_arena_free(&arena);
}

static double hill_seen_late(const keel_space *space, const double *at, double budget) {
    return hill(space, at, budget) + budget / 1000;
}

static void halving_gives_the_best_more(void **state) {
    (void)state;
    static keel_trial trials[MOST];
    keel_arena arena = {0};
    keel_space s = space_of(&arena, (const char *const[]){"a=real:0:1", NULL});
    keel_search search = {.space = &s, .method = method("halving"), .seed = 1, .trials = 9, .eta = 3};
    assert_int_equal(keel_search_check(&search, NULL), KEEL_E_INVALID); /* no budget */
    search.budget =
        (keel_dimension){.name = "steps", .kind = KEEL_DIMENSION_INTEGER, .low = 100, .high = 900};
    assert_int_equal(run(&search, hill_seen_late, trials), 9 + 3 + 1);
    assert_int_equal(keel_search_size(&search), 13);
    size_t better = 0;
    for (size_t i = 0; i < 9; ++i) assert_true(trials[i].budget == 100);
    for (size_t i = 9; i < 12; ++i) assert_true(trials[i].budget == 300);
    assert_true(trials[12].budget == 900 && trials[12].at[0] == trials[9].at[0]);
    for (size_t i = 0; i < 9; ++i) better += trials[i].goal - 0.1 > trials[11].goal - 0.3 + 1e-12;
    assert_int_equal(better, 2); /* the third best was the last to go on */
    assert_int_equal(keel_search_best(&search, trials, 13), 12);
    keel_arena_free(&arena);
}

static void halving_waits_for_a_round_to_end(void **state) {
    (void)state;
    keel_trial trials[8] = {0};
    keel_arena arena = {0};
    keel_space s = space_of(&arena, (const char *const[]){"a=real:0:1", NULL});
    keel_search search = {.space = &s, .method = method("halving"), .seed = 1, .trials = 4, .eta = 2};
    search.budget = (keel_dimension){.name = "steps", .kind = KEEL_DIMENSION_REAL, .low = 1, .high = 2};
    keel_search_turn turn;
    for (size_t n = 0; n < 4; ++n) {
        assert_int_equal(keel_search_next(&search, trials, n, &trials[n], &turn, NULL), KEEL_OK);
        assert_int_equal(turn, KEEL_SEARCH_TRIAL);
    }
    for (size_t n = 0; n < 4; ++n) {
        assert_int_equal(keel_search_next(&search, trials, 4, &trials[4], &turn, NULL), KEEL_OK);
        assert_int_equal(turn, KEEL_SEARCH_WAIT);
        trials[n].state = n ? KEEL_TRIAL_FAILED : KEEL_TRIAL_DONE;
    }
    assert_int_equal(keel_search_next(&search, trials, 4, &trials[4], &turn, NULL), KEEL_OK);
    assert_int_equal(turn, KEEL_SEARCH_TRIAL);
    assert_true(trials[4].at[0] == trials[0].at[0]); /* the one that ended well */
    assert_int_equal(keel_search_next(&search, trials, 5, &trials[5], &turn, NULL), KEEL_OK);
    assert_int_equal(turn, KEEL_SEARCH_WAIT + (trials[4].state != KEEL_TRIAL_RUNNING));
    keel_arena_free(&arena);
}

/* The highest of many noisy values flatters; what the process believes of it lies nearer to the truth. */
static void a_belief_flatters_less_than_the_best_value(void **state) {
    (void)state;
    enum { N = 40 };
    keel_trial trials[N] = {0};
    keel_arena arena = {0};
    keel_space s = space_of(&arena, (const char *const[]){"a=real:0:1", NULL});
    keel_search search = {.space = &s, .method = method("random"), .seed = 1, .trials = N};
    keel_search_turn turn;
    double raw = 0, believed = 0;
    for (uint64_t seed = 0; seed < 10; ++seed) {
        keel_rng rng = keel_rng_named(seed, "test", 0);
        keel_search_belief belief;
        for (size_t n = 0; n < N; ++n) {
            assert_int_equal(keel_search_next(&search, trials, n, &trials[n], &turn, NULL), KEEL_OK);
            trials[n].goal = hill(&s, trials[n].at, 0) + 0.2 * keel_rng_normal(&rng);
            trials[n].state = KEEL_TRIAL_DONE;
        }
        size_t best;
        assert_int_equal(keel_search_keep(&search, trials, N, &best, &belief, NULL), KEEL_OK);
        assert_int_equal(best, keel_search_best(&search, trials, N));
        assert_true(belief.known && belief.noise > 0.1);
        raw += fabs(trials[best].goal - hill(&s, trials[best].at, 0)) / 10;
        believed += fabs(belief.mean - hill(&s, trials[best].at, 0)) / 10;
    }
    assert_true(believed < raw / 2);
    keel_arena_free(&arena);
}

/* One lucky value far from where the others are good: bayes keeps what its process expects most of. */
static void bayes_keeps_what_it_expects_most_of(void **state) {
    (void)state;
    enum { N = 25 };
    keel_trial trials[N] = {0};
    keel_arena arena = {0};
    keel_space s = space_of(&arena, (const char *const[]){"a=real:0:1", NULL});
    keel_search search = {.space = &s, .method = method("bayes"), .trials = N};
    keel_search_belief belief;
    size_t which;
    for (size_t i = 0; i < N; ++i) {
        trials[i].at[0] = (double)i / (N - 1);
        trials[i].goal = hill(&s, trials[i].at, 0) + (i % 2 ? 0.05 : -0.05);
        trials[i].state = KEEL_TRIAL_DONE;
    }
    trials[2].goal = 0.1;
    assert_int_equal(keel_search_best(&search, trials, N), 2);
    assert_int_equal(keel_search_keep(&search, trials, N, &which, &belief, NULL), KEEL_OK);
    assert_true(fabs(trials[which].at[0] - 0.7) < 0.15 && belief.known && belief.mean < 0.05);
    search.method = method("random");
    assert_int_equal(keel_search_keep(&search, trials, N, &which, &belief, NULL), KEEL_OK);
    assert_int_equal(which, 2);
    keel_arena_free(&arena);
}

/* How deep a cliff is says nothing of where to go on. */
static void a_deeper_cliff_changes_nothing(void **state) {
    (void)state;
    keel_trial trials[8] = {0}, next[2];
    keel_arena arena = {0};
    keel_space s = space_of(&arena, (const char *const[]){"a=real:0:1", NULL});
    keel_search search = {.space = &s, .method = method("bayes"), .trials = 20};
    keel_search_turn turn;
    for (int deep = 0; deep < 2; ++deep) {
        for (size_t i = 0; i < 8; ++i) {
            trials[i].at[0] = (double)i / 7;
            trials[i].goal = i == 7 ? (deep ? -100 : -1) : hill(&s, trials[i].at, 0);
            trials[i].state = KEEL_TRIAL_DONE;
        }
        assert_int_equal(keel_search_next(&search, trials, 8, &next[deep], &turn, NULL), KEEL_OK);
    }
    assert_true(next[0].at[0] == next[1].at[0]);
    keel_arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_is_that_of_scikit_learn),
        cmocka_unit_test(an_improvement_is_what_integration_says),
        cmocka_unit_test(a_fit_is_no_worse_than_other_scales_and_sees_noise),
        cmocka_unit_test(values_without_order_are_apart_or_not),
        cmocka_unit_test(what_is_no_process_is_refused),
        cmocka_unit_test(ranges_are_read),
        cmocka_unit_test(ranges_that_say_nothing_are_refused),
        cmocka_unit_test(a_text_comes_back_to_where_it_lies),
        cmocka_unit_test(a_grid_takes_every_combination_once),
        cmocka_unit_test(the_same_seed_gives_the_same_trials),
        cmocka_unit_test(a_small_space_is_tried_whole_and_no_further),
        cmocka_unit_test(bayes_climbs_where_random_does_not),
        cmocka_unit_test(bayes_keeps_to_what_is_required),
        cmocka_unit_test(running_and_failed_trials_are_not_tried_again),
        cmocka_unit_test(halving_gives_the_best_more),
        cmocka_unit_test(halving_waits_for_a_round_to_end),
        cmocka_unit_test(a_belief_flatters_less_than_the_best_value),
        cmocka_unit_test(bayes_keeps_what_it_expects_most_of),
        cmocka_unit_test(a_deeper_cliff_changes_nothing),
    };
    return cmocka_run_group_tests_name("search", tests, golden_load, golden_drop);
}
