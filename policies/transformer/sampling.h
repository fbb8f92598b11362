/* The next token out of logits. In this order: the repetition penalty (Keskar et al. 2019: logits of tokens
 * that stand in the text are divided by it where above 0, else multiplied), the temperature, top-k, top-p
 * (Holtzman et al. 2020: of what top-k left, the fewest most probable tokens whose probabilities sum to at
 * least p), min-p (Nguyen et al. 2024: those at least p times as probable as the most probable). Tokens that
 * are equally probable count in the order of their ids. */
#ifndef KEEL_POLICIES_TRANSFORMER_SAMPLING_H
#define KEEL_POLICIES_TRANSFORMER_SAMPLING_H

#include "core/memory.h"
#include "core/pcg.h"

typedef struct keel_sampling {
    double temperature;        /* 0: the most probable token, of equals the one of the lowest id */
    double top_p;              /* above 0 to 1; 1: all */
    double min_p;              /* 0 to 1; 0: all */
    double repetition_penalty; /* above 0; 1: none */
    size_t top_k;              /* 0: all */
    uint64_t seed;
} keel_sampling;

/* The model's own distribution. */
static inline keel_sampling keel_sampling_plain(uint64_t seed) {
    return (keel_sampling){.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = seed};
}

/* KEEL_E_INVALID names what is out of range. */
keel_status keel_sampling_check(const keel_sampling *sampling, keel_err *err);

typedef struct keel_ranked {
    float weight;
    int32_t id;
} keel_ranked;

/* Room to draw tokens in. */
typedef struct keel_sampling_room {
    size_t vocab;
    float *weight;      /* [vocab] */
    keel_ranked *order; /* [vocab] */
    uint8_t *standing;  /* [vocab] zeros between draws */
} keel_sampling_room;

keel_status keel_sampling_open(keel_sampling_room *room, size_t vocab, keel_err *err);
void keel_sampling_close(keel_sampling_room *room);

/* A token. logits [vocab], -INFINITY for what is no token, at least one of them finite; text [n]: ids that
 * stand in the text; u: uniform in [0, 1). *log_prob (may be NULL) gets ln of the probability with
 * which it is drawn, after all of these; 0 at temperature 0. */
int32_t keel_sampling_draw(keel_sampling_room *room, const keel_sampling *sampling, const float *logits,
                           const int32_t *text, size_t n, double u, double *log_prob);

#endif
