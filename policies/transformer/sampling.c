#include "policies/transformer/sampling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/numeric.h"

keel_status keel_sampling_check(const keel_sampling *s, keel_err *err) {
    const struct {
        const char *name, *expected;
        double value;
        bool good;
    } ranges[] = {{"temperature", "0 to 100", s->temperature, s->temperature >= 0 && s->temperature <= 100},
                  {"top_p", "above 0 to 1", s->top_p, s->top_p > 0 && s->top_p <= 1},
                  {"min_p", "0 to 1", s->min_p, s->min_p >= 0 && s->min_p <= 1},
                  {"repetition_penalty", "0.01 to 100", s->repetition_penalty,
                   s->repetition_penalty >= 0.01 && s->repetition_penalty <= 100}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (!ranges[i].good)
            return keel_fail(err, KEEL_E_INVALID, "sampling", "%s: expected %s, got %g", ranges[i].name,
                             ranges[i].expected, ranges[i].value);
    return KEEL_OK;
}

keel_status keel_sampling_open(keel_sampling_room *room, size_t vocab, keel_err *err) {
    *room = (keel_sampling_room){.vocab = vocab};
    room->weight = keel_calloc(vocab, sizeof *room->weight);
    room->order = keel_calloc(vocab, sizeof *room->order);
    room->standing = keel_calloc(vocab, sizeof *room->standing);
    if (room->weight && room->order && room->standing) return KEEL_OK;
    keel_sampling_close(room);
    return keel_nomem(err, "sampling");
}

void keel_sampling_close(keel_sampling_room *room) {
    keel_free(room->weight);
    keel_free(room->order);
    keel_free(room->standing);
    *room = (keel_sampling_room){0};
}

static void penalise(keel_sampling_room *s, double penalty, const int32_t *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const size_t id = (size_t)text[i];
        if (id >= s->vocab || s->standing[id]++) continue;
        s->weight[id] =
            (float)(s->weight[id] > 0 ? (double)s->weight[id] / penalty : (double)s->weight[id] * penalty);
    }
    for (size_t i = 0; i < n; i++)
        if ((size_t)text[i] < s->vocab) s->standing[text[i]] = 0;
}

static int32_t most_probable(const float *logits, size_t vocab) {
    size_t best = 0;
    for (size_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

static int by_weight(const void *a, const void *b) {
    const keel_ranked *x = a, *y = b;
    if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* The most probable tokens in order: at least top_k of them, and at least a share top_p of all, or all. Only
 * those above a bound are sorted, which is lowered until these are enough. */
static size_t rank(keel_sampling_room *s, const keel_sampling *sampling) {
    double all = 0, sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < s->vocab; i++) all += (double)s->weight[i];
    for (float bound = 1e-3f;; bound = bound > 1e-30f ? bound * 1e-3f : 0) {
        n = 0, sum = 0;
        for (size_t i = 0; i < s->vocab; i++) {
            if (!(s->weight[i] > bound)) continue;
            s->order[n++] = (keel_ranked){s->weight[i], (int32_t)i};
            sum += (double)s->weight[i];
        }
        if (bound == 0 || (n >= sampling->top_k && (sampling->top_p >= 1 || sum > sampling->top_p * all)))
            break;
    }
    qsort(s->order, n, sizeof *s->order, by_weight);
    return n;
}

/* The last token, in the order of their probabilities, that may be drawn. */
static keel_ranked last_of(keel_sampling_room *s, const keel_sampling *sampling) {
    const bool few = sampling->top_k > 0 && sampling->top_k < s->vocab, nucleus = sampling->top_p < 1;
    if (!few && !nucleus) return (keel_ranked){0, INT32_MAX};
    const size_t ranked = rank(s, sampling), n = few && sampling->top_k < ranked ? sampling->top_k : ranked;
    double all = 0, sum = 0;
    size_t last = n - 1;
    for (size_t i = 0; few && i < n; i++) all += (double)s->order[i].weight;
    for (size_t i = 0; !few && i < s->vocab; i++) all += (double)s->weight[i];
    if (nucleus)
        for (last = 0; last + 1 < n; last++)
            if ((sum += (double)s->order[last].weight) >= sampling->top_p * all) break;
    return s->order[last];
}

static bool may_be_drawn(const keel_sampling_room *s, size_t id, keel_ranked last, double min_p) {
    const float weight = s->weight[id];
    return weight > 0 && (double)weight >= min_p &&
           (weight > last.weight || (weight == last.weight && (int32_t)id <= last.id));
}

static int32_t draw(keel_sampling_room *s, const keel_sampling *sampling, double u, double *log_prob) {
    const keel_ranked last = last_of(s, sampling);
    double all = 0, sum = 0;
    size_t drawn = 0;
    for (size_t i = 0; i < s->vocab; i++)
        if (may_be_drawn(s, i, last, sampling->min_p)) all += (double)s->weight[i];
    for (size_t i = 0; i < s->vocab; i++) {
        if (!may_be_drawn(s, i, last, sampling->min_p)) continue;
        drawn = i;
        if ((sum += (double)s->weight[i]) > u * all) break;
    }
    *log_prob = log((double)s->weight[drawn] / all);
    return (int32_t)drawn;
}

/* Weights become e^((logit - largest) / temperature): at most 1. */
static void warm(keel_sampling_room *s, double temperature) {
    const float most = keel_largest(s->weight, s->vocab);
    for (size_t i = 0; i < s->vocab; i++) s->weight[i] -= most;
    keel_multiply_by(s->weight, (float)(1 / temperature), s->vocab);
    keel_exp_below(s->weight, s->vocab, 0);
}

int32_t keel_sampling_draw(keel_sampling_room *s, const keel_sampling *sampling, const float *logits,
                           const int32_t *text, size_t n, double u, double *log_prob) {
    double drawn = 0;
    memcpy(s->weight, logits, s->vocab * sizeof *s->weight);
    if (sampling->repetition_penalty != 1) penalise(s, sampling->repetition_penalty, text, n);
    int32_t id;
    if (sampling->temperature > 0) {
        warm(s, sampling->temperature);
        id = draw(s, sampling, u, &drawn);
    } else {
        id = most_probable(s->weight, s->vocab);
    }
    if (log_prob) *log_prob = drawn;
    return id;
}
