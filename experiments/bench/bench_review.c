/* Does the order of reviews save labels? By simulation on a store whose responses are all labelled:
 *
 *     bench_review STORE JUDGE.safetensors [REPETITIONS [STEP]]
 *
 * The labels of the store are the truth; JUDGE must not have learned from them (bench_judge teach). A random
 * order, the order of rl/judge/review_order.h, and that aimed at the refusal rate (`keel review --rate`)
 * answer two questions, each REPETITIONS (20) times with other random numbers: interval  After how many
 * labels is the 95 % interval of the refusal rate, corrected for the error of JUDGE, the value +- .03? And
 * does it hold the truth then? judge     Half of the prompts (groups) are a pool, the others a test. The
 * judge goes on from JUDGE with the first n labels of the pool; n goes up by STEP (20). After how many is its
 * accuracy on the test (any refusal against compliance), in the mean over the repetitions, from there on
 * within .01 of that with the whole pool? Intervals: 95 %, bootstrap over the repetitions.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/pcg.h"
#include "rewards/judge.h"
#include "rl/judge/review_order.h"

enum {
    LEAST = 60, /* labels that a judge adapts to */
    MOST_STEPS = 128,
    MOST_REPETITIONS = 256,
    RESAMPLES = 2000,
    ORDERS = 3
};
static const char *const names[ORDERS] = {"random", "review", "review --rate refusal_rate"};

static const double wished = 0.03, near_enough = 0.01;

typedef struct data {
    keel_judge_example *examples; /* [n] */
    keel_review_response *responses;
    keel_judge_verdict *verdicts; /* of the judge that knows none of them */
    size_t n, capacity, more;
    keel_arena texts;
} data;

static void need(keel_status status, const keel_err *err) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s\n", err->where, err->message);
    exit(1);
}

static void *room(size_t count, size_t size) {
    void *out = calloc(count + 1, size);
    if (!out) exit(1);
    return out;
}

/* ---- reading ---- */

static void add(data *all, const keel_conversation *conversation, const keel_candidate *candidate) {
    const char *group = keel_conversation_group(conversation);
    if (!candidate->taken || !candidate->text || !candidate->text[0] || !candidate->outcome) return;
    if (!keel_grow(&all->examples, all->n + 1, &all->capacity, sizeof *all->examples) ||
        !keel_grow(&all->responses, all->n + 1, &all->more, sizeof *all->responses))
        exit(1);
    all->examples[all->n] =
        (keel_judge_example){.input.response = keel_arena_strdup(&all->texts, candidate->text),
                             .label = (int)candidate->outcome - KEEL_OUTCOME_COMPLIANCE,
                             .group = keel_hash64(group, strlen(group), 0)};
    all->responses[all->n++] = (keel_review_response){.risk = conversation->risk};
}

static void read_store(const char *path, data *all) {
    keel_err err;
    keel_store *store;
    keel_cursor *cursor;
    keel_arena arena = {0};
    keel_conversation *conversation;
    need(keel_store_open(&store, path, KEEL_STORE_READ, &err), &err);
    need(keel_cursor_open(&cursor, store, NULL, KEEL_ORDER_NAMED, &err), &err);
    for (;;) {
        keel_arena_reset(&arena);
        need(keel_cursor_next(cursor, &arena, &conversation, &err), &err);
        if (!conversation) break;
        for (size_t d = 0; d < conversation->n_decisions; d++)
            for (size_t c = 0; c < conversation->decisions[d].n_candidates; c++)
                add(all, conversation, &conversation->decisions[d].candidates[c]);
    }
    keel_cursor_close(cursor);
    keel_arena_free(&arena);
    keel_store_close(store);
}

static void judge_all(data *all, const keel_judge *judge) {
    keel_err err;
    all->verdicts = room(all->n, sizeof *all->verdicts);
    for (size_t i = 0; i < all->n; i++) {
        keel_judge_verdict *verdict = &all->verdicts[i];
        need(keel_judge_predict(judge, &all->examples[i].input, verdict, &err), &err);
        const bool judged = verdict->label != KEEL_UNJUDGED;
        all->responses[i].judged =
            judged ? (keel_outcome)(KEEL_OUTCOME_COMPLIANCE + verdict->label) : KEEL_OUTCOME_NONE;
        all->responses[i].confidence = judged ? (double)verdict->p[verdict->label] : 0;
    }
}

/* ---- orders ---- */

typedef struct placed {
    keel_review_place at;
    size_t item;
} placed;

static int by_place(const void *a, const void *b) {
    const placed *x = a, *y = b;
    return (x->at.place > y->at.place) - (x->at.place < y->at.place);
}

/* The items [n] of one order, by place. */
static placed *sorted(const data *all, const size_t *items, size_t n, int order, keel_rng *rng) {
    keel_review_response *responses = room(n, sizeof *responses);
    keel_review_place *places = room(n, sizeof *places);
    placed *out = room(n, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        responses[i] = all->responses[items[i]];
        responses[i].number = (keel_rng_uniform(rng) * 0x1p53 + 0.5) / (0x1p53 + 1);
    }
    const keel_review_aim aim = {order ? KEEL_REVIEW_RANDOM_SHARE : 1,
                                 order == 2 ? KEEL_RISK_DANGEROUS : KEEL_RISK_UNKNOWN};
    keel_review_order_place(responses, NULL, n, &aim, places);
    for (size_t i = 0; i < n; i++) out[i] = (placed){places[i], items[i]};
    qsort(out, n, sizeof *out, by_place);
    free(responses);
    free(places);
    return out;
}

/* ---- the judge ---- */

static double accuracy(const data *all, const size_t *test, size_t n, const keel_judge *judge) {
    keel_err err;
    size_t right = 0;
    for (size_t i = 0; i < n; i++) {
        keel_judge_verdict verdict = all->verdicts[test[i]];
        if (judge) need(judge->kind->predict(judge, &all->examples[test[i]].input, &verdict, &err), &err);
        right += verdict.label != KEEL_UNJUDGED && (verdict.label > 0) == (all->examples[test[i]].label > 0);
    }
    return (double)right / (double)n;
}

/* Of the judge that goes on with the first n labels. */
static double accuracy_with(const data *all, const keel_judge *from, const placed *order, size_t n,
                            const size_t *test, size_t n_test) {
    keel_err err;
    keel_judge *judge = NULL;
    if (n < LEAST) return accuracy(all, test, n_test, NULL);
    keel_judge_example *examples = room(n, sizeof *examples);
    for (size_t i = 0; i < n; i++) examples[i] = all->examples[order[i].item];
    need(from->kind->adapt(&judge, from, examples, n, &err), &err);
    judge->kind = from->kind;
    const double found = accuracy(all, test, n_test, judge);
    keel_judge_free(judge);
    free(examples);
    return found;
}

/* What is missing to the accuracy with the whole pool [n], after 0, step, 2 step ... labels. Returns their
 * number. */
static size_t missing(const data *all, const keel_judge *from, const placed *order, size_t n,
                      const size_t *test, size_t n_test, size_t step, double out[MOST_STEPS]) {
    const double whole = accuracy_with(all, from, order, n, test, n_test);
    size_t k = 0;
    for (size_t m = 0; m < n && k < MOST_STEPS; m += step)
        out[k++] = whole - accuracy_with(all, from, order, m, test, n_test);
    return k;
}

/* ---- the interval ---- */

static double labels_for_interval(const data *all, const placed *order, double truth, bool *holds) {
    keel_review_population population = {0};
    keel_review_seen *seen = room(all->n, sizeof *seen);
    for (size_t i = 0; i < all->n; i++) {
        const size_t item = order[i].item;
        population.drawn[all->responses[item].risk][all->responses[item].judged]++;
        seen[i] =
            (keel_review_seen){.risk = all->responses[item].risk,
                               .logged = all->responses[item].risk,
                               .human = (keel_outcome)(KEEL_OUTCOME_COMPLIANCE + all->examples[item].label),
                               .judged = all->responses[item].judged,
                               .size = order[i].at.size,
                               .place = order[i].at.place};
    }
    size_t n = 1;
    for (; n < all->n; n++) {
        const keel_review_rate found =
            keel_review_order_rate(&population, seen, n, order[n].at.place, KEEL_CORRECTED_REFUSAL, wished);
        if (!(found.rate.n > 0) || found.needed > 0) continue;
        *holds = found.rate.low <= truth && truth <= found.rate.high;
        break;
    }
    free(seen);
    return (double)n;
}

static double true_rate(const data *all) {
    double n = 0, refused = 0;
    for (size_t i = 0; i < all->n; i++)
        if (all->responses[i].risk == KEEL_RISK_DANGEROUS)
            n++,
                refused += all->examples[i].label == (int)KEEL_OUTCOME_REFUSAL - (int)KEEL_OUTCOME_COMPLIANCE;
    return refused / n;
}

/* ---- repetitions ---- */

static double mean_of(const double *values, const size_t *which, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += values[which ? which[i] : i];
    return sum / (double)n;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A statistic of the repetitions which [n], in the order `o`. */
typedef double statistic(const void *of, int o, const size_t *which, size_t n);

static void print_row(const char *what, statistic *value, const void *of, size_t n,
                      const char *const more[ORDERS], int orders) {
    static double draws[ORDERS][RESAMPLES], ratios[ORDERS][RESAMPLES];
    size_t which[MOST_REPETITIONS], whole[MOST_REPETITIONS];
    for (size_t i = 0; i < n; i++) whole[i] = i;
    for (size_t d = 0; d < RESAMPLES; d++) {
        keel_rng rng = keel_rng_stream(3, KEEL_STREAM_MADE, d);
        for (size_t i = 0; i < n; i++) which[i] = keel_rng_below(&rng, n);
        for (int o = 0; o < orders; o++) {
            draws[o][d] = value(of, o, which, n);
            ratios[o][d] = draws[o][d] / fmax(1, draws[0][d]);
        }
    }
    const double first = value(of, 0, whole, n);
    for (int o = 0; o < orders; o++) {
        qsort(draws[o], RESAMPLES, sizeof(double), by_value);
        qsort(ratios[o], RESAMPLES, sizeof(double), by_value);
        const double found = value(of, o, whole, n);
        printf("%-9s %-27s %4.0f [%.0f, %.0f]", what, names[o], found, draws[o][RESAMPLES / 40],
               draws[o][RESAMPLES - 1 - RESAMPLES / 40]);
        if (o)
            printf("   ratio %.2f [%.2f, %.2f]", found / fmax(1, first), ratios[o][RESAMPLES / 40],
                   ratios[o][RESAMPLES - 1 - RESAMPLES / 40]);
        printf("   %s\n", more ? more[o] : "");
    }
}

static size_t split(const data *all, uint64_t seed, size_t *pool, size_t *test, size_t *n_test) {
    size_t n = 0;
    *n_test = 0;
    for (size_t i = 0; i < all->n; i++)
        if (keel_hash64_mix(all->examples[i].group, seed) & 1)
            pool[n++] = i;
        else
            test[(*n_test)++] = i;
    return n;
}

typedef struct curves {
    double missing[ORDERS][MOST_STEPS][MOST_REPETITIONS];
    size_t steps, step;
} curves;

/* From which number of labels on the mean is near enough. */
static double labels_for_judge(const void *of, int o, const size_t *which, size_t n) {
    const curves *c = of;
    size_t first = c->steps;
    while (first > 0 && mean_of(c->missing[o][first - 1], which, n) <= near_enough) first--;
    return (double)(first * c->step);
}

static void ask_judge(const data *all, const keel_judge *from, size_t repetitions, size_t step) {
    static curves c;
    size_t *pool = room(all->n, sizeof *pool), *test = room(all->n, sizeof *test), n_test = 0;
    c.steps = MOST_STEPS, c.step = step;
    for (size_t r = 0; r < repetitions; r++)
        for (int order = 0; order < 2; order++) {
            keel_rng rng = keel_rng_stream(1, KEEL_STREAM_MADE, 2 * r + (size_t)order);
            const size_t n = split(all, r, pool, test, &n_test);
            double found[MOST_STEPS];
            placed *by = sorted(all, pool, n, order, &rng);
            const size_t k = missing(all, from, by, n, test, n_test, step, found);
            c.steps = k < c.steps ? k : c.steps;
            for (size_t s = 0; s < k; s++) c.missing[order][s][r] = found[s];
            free(by);
        }
    print_row("judge", labels_for_judge, &c, repetitions, NULL, 2);
    printf("  missing to the accuracy with all (random, review):");
    for (size_t s = 0; s < c.steps; s++)
        printf(" %zu: %.4f %.4f;", s * step, mean_of(c.missing[0][s], NULL, repetitions),
               mean_of(c.missing[1][s], NULL, repetitions));
    printf("\n");
    free(pool);
    free(test);
}

typedef struct counts {
    double labels[ORDERS][MOST_REPETITIONS];
} counts;

static double labels_of(const void *of, int o, const size_t *which, size_t n) {
    return mean_of(((const counts *)of)->labels[o], which, n);
}

static void ask_interval(const data *all, size_t repetitions) {
    static counts c;
    static char held[ORDERS][64];
    const char *more[ORDERS];
    size_t *items = room(all->n, sizeof *items);
    for (size_t i = 0; i < all->n; i++) items[i] = i;
    for (int order = 0; order < ORDERS; order++) {
        size_t times = 0;
        for (size_t r = 0; r < repetitions; r++) {
            keel_rng rng = keel_rng_stream(2, KEEL_STREAM_MADE, ORDERS * r + (size_t)order);
            placed *by = sorted(all, items, all->n, order, &rng);
            bool holds = true;
            c.labels[order][r] = labels_for_interval(all, by, true_rate(all), &holds);
            times += holds;
            free(by);
        }
        snprintf(held[order], sizeof held[order], "holds the truth %zu of %zu times", times, repetitions);
        more[order] = held[order];
    }
    print_row("interval", labels_of, &c, repetitions, more, ORDERS);
    free(items);
}

int main(int argc, char **argv) {
    data all = {0};
    keel_err err;
    keel_judge *judge;
    if (argc < 3 || argc > 5) {
        fprintf(stderr, "usage: bench_review STORE JUDGE.safetensors [REPETITIONS [STEP]]\n");
        return 2;
    }
    const size_t repetitions = argc > 3 ? strtoul(argv[3], NULL, 10) : 20,
                 step = argc > 4 ? strtoul(argv[4], NULL, 10) : 20;
    if (repetitions < 1 || repetitions > MOST_REPETITIONS || step < 1) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0); /* the second question takes long */
    need(keel_judge_load(&judge, argv[2], &err), &err);
    read_store(argv[1], &all);
    if (isnan(true_rate(&all))) {
        fprintf(stderr, "%s: no labelled response to a dangerous request, so no refusal rate\n", argv[1]);
        return 1;
    }
    judge_all(&all, judge);
    size_t right = 0;
    for (size_t i = 0; i < all.n; i++) right += (all.verdicts[i].label > 0) == (all.examples[i].label > 0);
    printf("%s: %zu responses, refusal rate %.3f; %s agrees on %.3f\n", argv[1], all.n, true_rate(&all),
           judge->name, (double)right / (double)all.n);
    ask_interval(&all, repetitions);
    ask_judge(&all, judge, repetitions, step);
    keel_judge_free(judge);
    keel_free(all.examples), keel_free(all.responses), free(all.verdicts);
    keel_arena_free(&all.texts);
    return 0;
}
