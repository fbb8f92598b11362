/* How often `keel ab` is wrong when somebody looks after every request, and how long it takes to be right.
 *
 *     bench_ab [EXPERIMENTS [REQUESTS]]       (10,000 of 10,000 each, half to each arm)
 *
 * Made-up requests of two arms, alternately, each one unit, refused or not with a given rate. Tables: false
 * alarms where the arms are alike, beside a test of fixed size that is looked at all the time; the time until
 * a difference of three points is shown, beside the size of a fixed test (two-sided 5 %, power 80 %); sample
 * ratios; false and true stops by a guardrail. The last line says whether all promised levels are kept. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/parallel.h"
#include "core/pcg.h"
#include "rl/judge/bounds.h"
#include "rl/judge/experiment.h"
#include "rl/judge/sequential.h"

static const double ALPHA = 0.05, TAU = 0.05, R = 0.1;

enum { MSPRT, ASYMPTOTIC, BERNSTEIN, FIXED, WAYS };
static const char *const names[WAYS] = {"mSPRT", "asymptotic", "bernstein", "fixed, peeked at"};

/* Experiments that are alike; when each way first said that there is a difference. */
typedef struct trial {
    double control, treated;
    size_t pairs;
    uint64_t salt;
    float *stopped; /* [experiments, WAYS] pairs; INFINITY: never */
} trial;

static bool bernstein_differs(const keel_bernstein_pair arm[2]) {
    double low[2], high[2];
    for (int i = 0; i < 2; i++) keel_bernstein_pair_interval(&arm[i], &low[i], &high[i]);
    return low[1] > high[0] || low[0] > high[1];
}

static void note(float *stopped, bool differs, double n) {
    if (differs && (double)*stopped > n) *stopped = (float)n;
}

static keel_status run_one(void *context, size_t experiment, size_t thread, keel_err *err) {
    const trial *of = context;
    keel_rng rng = keel_rng_stream(of->salt, KEEL_STREAM_MADE, experiment);
    float *stopped = of->stopped + WAYS * experiment;
    keel_paired pairs;
    keel_bernstein_pair arm[2];
    const double z = keel_normal_quantile(1 - ALPHA / 2);
    (void)thread, (void)err;
    keel_paired_begin(&pairs);
    for (int i = 0; i < 2; i++) keel_bernstein_pair_begin(&arm[i], ALPHA / 2);
    for (size_t w = 0; w < WAYS; w++) stopped[w] = INFINITY;
    for (size_t i = 0; i < of->pairs; i++) {
        const double control = keel_rng_uniform(&rng) < of->control,
                     treated = keel_rng_uniform(&rng) < of->treated;
        keel_paired_add(&pairs, treated, control, TAU * TAU);
        keel_bernstein_pair_add(&arm[0], control);
        keel_bernstein_pair_add(&arm[1], treated);
        const double n = pairs.n, difference = fabs(pairs.mean1 - pairs.mean0);
        note(&stopped[BERNSTEIN], bernstein_differs(arm), n);
        if (n < KEEL_PAIRED_FEW) continue;
        const double variance = keel_paired_variance(&pairs);
        note(&stopped[MSPRT], pairs.p <= ALPHA, n);
        note(&stopped[ASYMPTOTIC], difference > keel_asymptotic_half_width(sqrt(variance), n, R, ALPHA), n);
        note(&stopped[FIXED], difference > z * sqrt(variance / n), n);
    }
    return KEEL_OK;
}

static int by_size(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The share that stopped at all, and the median time (INFINITY: of more than half, never). */
static double share_of(const float *stopped, size_t experiments, size_t ways, size_t way, double *median) {
    float *all = malloc(experiments * sizeof *all);
    size_t ever = 0;
    if (!all) exit(1);
    for (size_t i = 0; i < experiments; i++) {
        all[i] = stopped[ways * i + way];
        ever += isfinite((double)all[i]) ? 1 : 0;
    }
    qsort(all, experiments, sizeof *all, by_size);
    *median = (double)all[experiments / 2];
    free(all);
    return (double)ever / (double)experiments;
}

static void must(keel_status status, const keel_err *err) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "bench_ab: %s\n", err->message);
    exit(1);
}

static bool false_alarms(keel_pool *pool, size_t experiments, size_t pairs) {
    static const double rates[] = {0.5, 0.9, 0.97};
    bool kept = true;
    keel_err err = {0};
    printf("false alarms, %zu experiments without a difference, looked at after each of %zu requests\n",
           experiments, 2 * pairs);
    printf("%-8s", "rate");
    for (int w = 0; w < WAYS; w++) printf(" %17s", names[w]);
    putchar('\n');
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        trial of = {rates[r], rates[r], pairs, 1 + r, malloc(experiments * WAYS * sizeof(float))};
        if (!of.stopped) exit(1);
        must(keel_pool_run(pool, experiments, run_one, &of, &err), &err);
        printf("%-8.2f", rates[r]);
        for (size_t w = 0; w < WAYS; w++) {
            double median;
            const double share = share_of(of.stopped, experiments, WAYS, w, &median);
            printf(" %15.2f %%", 100 * share);
            kept = kept && (w == FIXED || share <= ALPHA);
        }
        putchar('\n');
        free(of.stopped);
    }
    return kept;
}

/* Pairs that a test of fixed size needs. */
static double fixed_size(double control, double treated) {
    const double z = keel_normal_quantile(1 - ALPHA / 2) + keel_normal_quantile(0.8);
    const double variance = control * (1 - control) + treated * (1 - treated);
    return z * z * variance / ((treated - control) * (treated - control));
}

static void stopping_times(keel_pool *pool, size_t experiments, size_t pairs) {
    static const double rates[][2] = {{0.5, 0.53}, {0.9, 0.93}, {0.97, 0.94}};
    keel_err err = {0};
    printf(
        "\nrequests until a difference of three points is shown: median (share of %zu experiments within %zu)\n",
        experiments, 2 * pairs);
    printf("%-14s %16s", "rates", "fixed, power 80 %");
    for (int w = 0; w < FIXED; w++) printf(" %21s", names[w]);
    putchar('\n');
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        trial of = {rates[r][0], rates[r][1], pairs, 11 + r, malloc(experiments * WAYS * sizeof(float))};
        if (!of.stopped) exit(1);
        must(keel_pool_run(pool, experiments, run_one, &of, &err), &err);
        printf("%.2f and %.2f  %16.0f", rates[r][0], rates[r][1], 2 * fixed_size(rates[r][0], rates[r][1]));
        for (size_t w = 0; w < FIXED; w++) {
            double median;
            const double share = share_of(of.stopped, experiments, WAYS, w, &median);
            if (isfinite(median))
                printf(" %12.0f (%4.1f %%)", 2 * median, 100 * share);
            else
                printf(" %12s (%4.1f %%)", "-", 100 * share);
        }
        putchar('\n');
        free(of.stopped);
    }
}

static bool sample_ratios(size_t experiments, size_t requests) {
    static const double shares[] = {0.5, 0.51, 0.52, 0.55};
    bool kept = true;
    printf("\nsample ratio: share of %zu experiments of %zu units that are void\n", experiments, requests);
    printf("%-14s %10s\n", "share of half", "void");
    for (size_t s = 0; s < sizeof shares / sizeof *shares; s++) {
        size_t voids = 0;
        for (size_t i = 0; i < experiments; i++) {
            keel_rng rng = keel_rng_stream(21 + s, KEEL_STREAM_MADE, i);
            double counts[2] = {0}, expected[2] = {(double)requests / 2, (double)requests / 2};
            for (size_t k = 0; k < requests; k++) counts[keel_rng_uniform(&rng) < shares[s]]++;
            voids += keel_sample_ratio(counts, expected, 2) < KEEL_EXPERIMENT_VOID;
        }
        printf("%-14.2f %8.2f %%\n", shares[s], 100.0 * (double)voids / (double)experiments);
        /* one in a thousand, and three deviations */
        const double limit = KEEL_EXPERIMENT_VOID + 3 * sqrt(KEEL_EXPERIMENT_VOID / (double)experiments);
        if (s == 0) kept = (double)voids / (double)experiments <= limit;
    }
    return kept;
}

typedef struct guarded {
    double control, treated, margin;
    size_t pairs;
    uint64_t salt;
    float *stopped; /* [experiments] */
} guarded;

/* As keel_guard_broken has it, after every request. */
static keel_status guard_one(void *context, size_t experiment, size_t thread, keel_err *err) {
    const guarded *of = context;
    keel_rng rng = keel_rng_stream(of->salt, KEEL_STREAM_MADE, experiment);
    keel_bernstein low, high;
    (void)thread, (void)err;
    keel_bernstein_begin(&low, ALPHA / 2);
    keel_bernstein_begin(&high, ALPHA / 2);
    of->stopped[experiment] = INFINITY;
    for (size_t i = 1; i <= of->pairs; i++) {
        keel_bernstein_add(&low, keel_rng_uniform(&rng) < of->control);
        keel_bernstein_add(&high, 1 - (double)(keel_rng_uniform(&rng) < of->treated));
        if (i < KEEL_EXPERIMENT_FEW) continue;
        if (1 - keel_bernstein_lower(&high) - keel_bernstein_lower(&low) >= -of->margin) continue;
        of->stopped[experiment] = (float)i;
        break;
    }
    return KEEL_OK;
}

static bool guardrails(keel_pool *pool, size_t experiments, size_t pairs) {
    static const double rates[][2] = {{0.97, 0.97}, {0.97, 0.92}, {0.97, 0.85}, {0.97, 0.75}, {0.97, 0.5}};
    bool kept = true;
    keel_err err = {0};
    printf("\nguardrail \"refusal_rate >= control - 0.05\", looked at after every request\n");
    printf("%-14s %12s %22s\n", "rates", "stopped", "requests, median");
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        guarded of = {rates[r][0], rates[r][1], 0.05, pairs, 31 + r, malloc(experiments * sizeof(float))};
        double median;
        if (!of.stopped) exit(1);
        must(keel_pool_run(pool, experiments, guard_one, &of, &err), &err);
        const double share = share_of(of.stopped, experiments, 1, 0, &median);
        printf("%.2f and %.2f  %10.2f %%", rates[r][0], rates[r][1], 100 * share);
        if (isfinite(median))
            printf(" %22.0f\n", 2 * median);
        else
            printf(" %22s\n", "-");
        if (rates[r][0] - rates[r][1] <= 0.05 + 1e-9) kept = kept && share <= ALPHA;
        free(of.stopped);
    }
    return kept;
}

int main(int argc, char **argv) {
    const size_t experiments = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    const size_t requests = argc > 2 ? strtoul(argv[2], NULL, 10) : 10000;
    keel_pool *pool;
    keel_err err = {0};
    if (experiments == 0 || requests < 100) {
        fprintf(stderr, "usage: bench_ab [EXPERIMENTS [REQUESTS]], at least 1 of 100\n");
        return 2;
    }
    must(keel_pool_open(&pool, 0, &err), &err);
    bool kept = false_alarms(pool, experiments, requests / 2);
    stopping_times(pool, experiments / 10 + 1, 10 * requests / 2);
    kept = sample_ratios(experiments, requests) && kept;
    kept = guardrails(pool, experiments, requests / 2) && kept;
    printf("\nlevels %s\n", kept ? "are kept" : "are NOT kept");
    keel_pool_close(pool);
    return kept ? 0 : 1;
}
