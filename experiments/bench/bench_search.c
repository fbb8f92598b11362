/* How many trials a search needs for what a grid finds: `bench_search [REPEATS [FUNCTION]]`, 20 of each
 * unless given.
 *
 * Functions of known shape, all to be as large as possible: a valley over a learning rate, Branin's,
 * Hartmann's in three and six dimensions (Dixon & Szego 1978), each without noise and with noise of a tenth
 * of the spread that the function has over the cube. The grid has all of its trials, bayes and random half as
 * many (at most 100). What is compared is the true value at the point that a search would keep: the one of
 * the highest value that it saw. Grids lie elsewhere in each repetition (moved by a random shift), so that
 * none is lucky for ever. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/pcg.h"
#include "rl/judge/intervals.h"
#include "rl/search/search.h"

enum { MOST_TRIALS = 1000 };

/* As good: no further below what the grid keeps than this share of the spread. */
static const double NEAR = 0.01;

typedef struct function {
    const char *name;
    size_t dims, points;
    double spread; /* standard deviation over the cube */
    double (*at)(const double *u);
} function;

/* Loss by the rate u (log scale): too slow on the left, a cliff on the right. */
static double valley(const double *u) {
    return -(2 * (u[0] - 0.62) * (u[0] - 0.62) + 0.6 / (1 + exp(-60 * (u[0] - 0.78))));
}

static double branin(const double *u) {
    const double pi = 3.14159265358979323846, x = 15 * u[0] - 5, y = 15 * u[1];
    const double a = y - 5.1 / (4 * pi * pi) * x * x + 5 / pi * x - 6;
    return -(a * a + 10 * (1 - 1 / (8 * pi)) * cos(x) + 10);
}

static double hartmann(const double *u, size_t dims, const double *a, const double *p) {
    static const double weight[] = {1, 1.2, 3, 3.2};
    double sum = 0;
    for (size_t i = 0; i < 4; ++i) {
        double far = 0;
        for (size_t j = 0; j < dims; ++j) far += a[i * dims + j] * pow(u[j] - p[i * dims + j], 2);
        sum += weight[i] * exp(-far);
    }
    return sum;
}

static double hartmann3(const double *u) {
    static const double a[] = {3, 10, 30, .1, 10, 35, 3, 10, 30, .1, 10, 35};
    static const double p[] = {.3689, .1170, .2673, .4699, .4387, .7470,
                               .1091, .8732, .5547, .0381, .5743, .8828};
    return hartmann(u, 3, a, p);
}

static double hartmann6(const double *u) {
    static const double a[] = {10, 3,   17,  3.5, 1.7, 8, .05, 10, 17,  .1, 8,  14,
                               3,  3.5, 1.7, 10,  17,  8, 17,  8,  .05, 10, .1, 14};
    static const double p[] = {.1312, .1696, .5569, .0124, .8283, .5886, .2329, .4135,
                               .8307, .3736, .1004, .9991, .2348, .1451, .3522, .2883,
                               .3047, .6650, .4047, .8828, .8732, .5743, .1091, .0381};
    return hartmann(u, 6, a, p);
}

static const function functions[] = {{"valley of a learning rate", 1, 16, .37, valley},
                                     {"Branin", 2, 7, 51, branin},
                                     {"Hartmann 3", 3, 5, .95, hartmann3},
                                     {"Hartmann 6", 6, 3, .38, hartmann6}};

typedef struct found {
    double kept;  /* true value of what is kept */
    size_t after; /* trials until one is as good as is asked; 0: none */
} found;

/* The point of the space, moved: grids fall elsewhere. */
static double value_at(const function *f, const double *at, const double *shift) {
    double u[KEEL_SPACE_DIMS];
    for (size_t i = 0; i < f->dims; ++i) u[i] = fmin(fmax(at[i] + shift[i], 0), 1);
    return f->at(u);
}

static void check(keel_status status, const keel_err *err) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static found run(const function *f, const keel_search *search, double noise, const double *shift,
                 double asked) {
    static keel_trial trials[MOST_TRIALS];
    found out = {0};
    keel_err err = {0};
    keel_search_turn turn;
    keel_search_belief belief;
    size_t n = 0, which;
    keel_rng rng = keel_rng_stream(search->seed, KEEL_STREAM_MADE, (uint64_t)search->method + 1);
    for (; n < MOST_TRIALS; ++n) {
        check(keel_search_next(search, trials, n, &trials[n], &turn, &err), &err);
        if (turn == KEEL_SEARCH_END) break;
        const double truth = value_at(f, trials[n].at, shift);
        trials[n].goal = truth + noise * keel_rng_normal(&rng);
        trials[n].state = KEEL_TRIAL_DONE;
        if (truth >= asked && !out.after) out.after = n + 1;
    }
    check(keel_search_keep(search, trials, n, &which, &belief, &err), &err);
    out.kept = value_at(f, trials[which].at, shift);
    return out;
}

static int method(const char *name) {
    int i = 0;
    while (strcmp(keel_search_methods[i], name) != 0) ++i;
    return i;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { MOST_REPEATS = 1000 };

typedef struct tally {
    size_t reached;
    double after[MOST_REPEATS], minus[MOST_REPEATS]; /* what is kept minus what the grid keeps, in spreads */
} tally;

static void print_row(const function *f, double noise, size_t grid_size, size_t half, const char *name,
                      tally *t, size_t repeats) {
    const keel_interval share = keel_wilson((double)t->reached, (double)repeats);
    double mean = 0, square = 0;
    for (size_t r = 0; r < repeats; ++r) mean += t->minus[r] / (double)repeats;
    for (size_t r = 0; r < repeats; ++r) square += (t->minus[r] - mean) * (t->minus[r] - mean);
    const double error = 1.96 * sqrt(square / (double)(repeats - 1) / (double)repeats);
    qsort(t->after, repeats, sizeof(double), by_size);
    printf("%-26s %5.2g  %4zu  %4zu  %-7s %5.0f / %3.0f  %+.3f [%+.3f, %+.3f]  %2zu of %zu [%.2f, %.2f]\n",
           f->name, noise / f->spread, grid_size, half, name, t->after[repeats / 2],
           t->after[repeats * 9 / 10], mean, mean - error, mean + error, t->reached, repeats, share.low,
           share.high);
    fflush(stdout);
}

static void compare(const function *f, double noise, size_t repeats) {
    static const char *const names[] = {"bayes", "random"};
    static tally tallies[2];
    keel_arena arena = {0};
    keel_space space = {0};
    size_t grid_size = 0, half = 0;
    memset(tallies, 0, sizeof tallies);
    for (size_t i = 0; i < f->dims; ++i) {
        char range[32];
        snprintf(range, sizeof range, "x%zu=real:0:1", i);
        keel_space_add(&space, range, &arena, "", NULL);
    }
    for (size_t r = 0; r < repeats; ++r) {
        double shift[KEEL_SPACE_DIMS];
        keel_rng rng = keel_rng_stream(r, KEEL_STREAM_MADE, 0);
        for (size_t i = 0; i < f->dims; ++i)
            shift[i] = (keel_rng_uniform(&rng) - 0.5) / (double)(f->points - 1);
        keel_search search = {.space = &space, .method = method("grid"), .seed = r, .points = f->points};
        grid_size = keel_search_size(&search);
        half = grid_size / 2 < 100 ? grid_size / 2 : 100;
        const double grid = run(f, &search, noise, shift, INFINITY).kept, asked = grid - NEAR * f->spread;
        for (int m = 0; m < 2; ++m) {
            search.method = method(names[m]);
            search.trials = half;
            const found one = run(f, &search, noise, shift, asked);
            tallies[m].reached += one.kept >= asked;
            tallies[m].after[r] = one.after ? (double)one.after : INFINITY;
            tallies[m].minus[r] = (one.kept - grid) / f->spread;
        }
    }
    for (int m = 0; m < 2; ++m) print_row(f, noise, grid_size, half, names[m], &tallies[m], repeats);
    keel_arena_free(&arena);
}

int main(int argc, char **argv) {
    const long given = argc > 1 ? strtol(argv[1], NULL, 10) : 20;
    const size_t repeats = given > 1 && given <= MOST_REPEATS ? (size_t)given : 20;
    puts("function                   noise  grid  half  method  trials until one is as good (median / 90 %), "
         "kept minus the grid's, in spreads, kept one as good");
    for (size_t i = 0; i < sizeof functions / sizeof *functions; ++i)
        for (int noisy = 0; noisy < 2 && (argc < 3 || strstr(functions[i].name, argv[2])); ++noisy)
            compare(&functions[i], noisy ? functions[i].spread / 10 : 0, repeats);
    return 0;
}
