/* Does the order of reviews save labels? By simulation on a store whose responses are all labelled, in the
 * order of rl/judge/review_order.h against a plain random one:
 *
 *     bench_review STORE JUDGE.safetensors [REPETITIONS [STEP]]
 *
 * The labels of the store are the truth; JUDGE must not have learned from them (bench_judge teach). Two
 * questions, each asked REPETITIONS (20) times with other random numbers: judge     Half of the prompts
 * (groups) are a pool, the others a test. The judge goes on from JUDGE with the first n labels of the pool; n
 * goes up by STEP (40). How many until its accuracy on the test (any refusal against compliance) is, from
 * there on, at most .01 below that with all labels of the pool? interval  How many labels of all responses
 * until the 95 % interval of the refusal rate, corrected for the error of JUDGE, is the value +- .03? And
 * does it hold the truth? A row for each: the mean over the repetitions with its 95 % interval (Student's t),
 * and the ratio of the means.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/pcg.h"
#include "rewards/judge.h"
#include "rl/judge/review_order.h"

enum { LEAST = 60 /* labels that a judge adapts to */, MOST_STEPS = 128, ORDERS = 2 };

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

/* The items [n] of one order, by place. order 0: random; 1: the order of reviews. */
static placed *sorted(const data *all, const size_t *items, size_t n, int order, keel_rng *rng) {
    keel_review_response *responses = room(n, sizeof *responses);
    keel_review_place *places = room(n, sizeof *places);
    placed *out = room(n, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        responses[i] = all->responses[items[i]];
        responses[i].number = (keel_rng_uniform(rng) * 0x1p53 + 0.5) / (0x1p53 + 1);
    }
    keel_review_order_place(responses, NULL, n, order ? KEEL_REVIEW_RANDOM_SHARE : 1, places);
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

/* The first number of labels from which on all are near the last. */
static double labels_for_judge(const data *all, const keel_judge *from, const placed *order, size_t n,
                               const size_t *test, size_t n_test, size_t step, double *curve) {
    double found[MOST_STEPS];
    size_t counts[MOST_STEPS], k = 0;
    for (size_t m = 0; m < n && k + 1 < MOST_STEPS; m += step) counts[k++] = m;
    counts[k++] = n;
    for (size_t i = 0; i < k; i++) {
        found[i] = accuracy_with(all, from, order, counts[i], test, n_test);
        curve[i] += found[i];
    }
    size_t first = k - 1;
    while (first > 0 && found[first - 1] >= found[k - 1] - near_enough) first--;
    return (double)counts[first];
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

typedef struct sums {
    double n, sum, squares;
} sums;

static void count(sums *into, double value) {
    into->n++;
    into->sum += value;
    into->squares += value * value;
}

/* Student's t, .975, for 19 degrees of freedom; nearly that of the normal for many more. */
static void print_row(const char *what, const sums of[ORDERS], const char *more) {
    double mean[ORDERS], half[ORDERS];
    for (int o = 0; o < ORDERS; o++) {
        mean[o] = of[o].sum / of[o].n;
        const double variance =
            fmax(0, of[o].squares / of[o].n - mean[o] * mean[o]) * of[o].n / fmax(1, of[o].n - 1);
        half[o] = 2.093 * sqrt(variance / of[o].n);
    }
    printf("%-9s random %5.0f +- %3.0f   active %5.0f +- %3.0f   ratio %.2f   %s\n", what, mean[0], half[0],
           mean[1], half[1], mean[1] / mean[0], more);
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

static void ask_judge(const data *all, const keel_judge *from, size_t repetitions, size_t step) {
    sums labels[ORDERS] = {{0, 0, 0}};
    double curves[ORDERS][MOST_STEPS] = {{0}};
    size_t *pool = room(all->n, sizeof *pool), *test = room(all->n, sizeof *test), n_test = 0,
           least = SIZE_MAX;
    for (size_t r = 0; r < repetitions; r++)
        for (int order = 0; order < ORDERS; order++) {
            keel_rng rng = keel_rng_stream(1, KEEL_STREAM_MADE, 2 * r + (size_t)order);
            const size_t n = split(all, r, pool, test, &n_test);
            placed *by = sorted(all, pool, n, order, &rng);
            count(&labels[order], labels_for_judge(all, from, by, n, test, n_test, step, curves[order]));
            least = n < least ? n : least;
            free(by);
        }
    print_row("judge", labels, "labels to within .01 of the accuracy with all");
    printf("  accuracy with");
    for (size_t k = 0; k * step < least && k < MOST_STEPS; k++)
        printf(" %zu: %.3f %.3f;", k * step, curves[0][k] / (double)repetitions,
               curves[1][k] / (double)repetitions);
    printf(" (random, active)\n");
    free(pool);
    free(test);
}

static void ask_interval(const data *all, size_t repetitions) {
    sums labels[ORDERS] = {{0, 0, 0}};
    size_t *items = room(all->n, sizeof *items), held[ORDERS] = {0};
    char more[96];
    for (size_t i = 0; i < all->n; i++) items[i] = i;
    for (size_t r = 0; r < repetitions; r++)
        for (int order = 0; order < ORDERS; order++) {
            keel_rng rng = keel_rng_stream(2, KEEL_STREAM_MADE, 2 * r + (size_t)order);
            placed *by = sorted(all, items, all->n, order, &rng);
            bool holds = true;
            count(&labels[order], labels_for_interval(all, by, true_rate(all), &holds));
            held[order] += holds;
            free(by);
        }
    snprintf(more, sizeof more, "labels to +- .03; the interval holds the truth %zu, %zu of %zu times",
             held[0], held[1], repetitions);
    print_row("interval", labels, more);
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
                 step = argc > 4 ? strtoul(argv[4], NULL, 10) : 40;
    need(keel_judge_load(&judge, argv[2], &err), &err);
    read_store(argv[1], &all);
    judge_all(&all, judge);
    size_t right = 0;
    for (size_t i = 0; i < all.n; i++) right += (all.verdicts[i].label > 0) == (all.examples[i].label > 0);
    printf("%s: %zu responses, refusal rate %.3f; %s agrees on %.3f\n", argv[1], all.n, true_rate(&all),
           judge->name, (double)right / (double)all.n);
    ask_interval(&all, repetitions);
    ask_judge(&all, judge, repetitions, step > 0 ? step : 40);
    keel_judge_free(judge);
    keel_free(all.examples), keel_free(all.responses), free(all.verdicts);
    keel_arena_free(&all.texts);
    return 0;
}
