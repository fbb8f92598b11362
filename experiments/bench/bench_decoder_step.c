/* A step of training a decoder outside any log, for comparisons with peers
 * (experiments/bench/peers/decoder_step.py).
 *
 *   bench_decoder_step SHAPE TEXTS TOKENS SECONDS [MODE [PRECISION [KEEP]]]
 *
 * SHAPE: layers,hidden,heads,kv_heads,inner,vocabulary. MODE: full, freeze (the lower half), lora (query and
 * value, rank 8), prompt (20 virtual tokens). PRECISION: f32, bf16 (products). KEEP, of activations: all,
 * bf16, half, none (layers run again). Prints CPU ms of the best step on one thread, of its products alone in
 * float, tokens a CPU second, MB of the tape at its peak, of the process above the model, and what the plan
 * says of both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/clock.h"
#include "core/gemm.h"
#include "core/memory.h"
#include "core/optim.h"
#include "policies/transformer/llama_plan.h"
#include "policies/transformer/llama_tape.h"

static keel_err err;

static void check(keel_status status) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s\n", err.where, err.message);
    exit(1);
}

static size_t most_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

typedef struct work {
    keel_llama *llama;
    keel_llama_tuning tuning;
    keel_llama_plan plan;
    keel_tape *tape;
    keel_adam adam;
    keel_arena arena;
    float *grads, *weight;
    int32_t *id, *offsets;
    size_t texts, tokens;
} work;

static keel_llama_config parse_shape(const char *shape) {
    keel_llama_config c = {
        .epsilon = 1e-5, .rope_theta = 10000, .tied = true, .bos = -1, .pad = -1, .positions = 1 << 20};
    if (sscanf(shape, "%zu,%zu,%zu,%zu,%zu,%zu", &c.layers, &c.hidden, &c.heads, &c.kv_heads, &c.inner,
               &c.vocab) != 6) {
        fprintf(stderr, "%s: expected layers,hidden,heads,kv_heads,inner,vocabulary\n", shape);
        exit(2);
    }
    c.head_dim = c.hidden / c.heads;
    return c;
}

static keel_llama_tuning parse_mode(const char *mode, size_t layers) {
    keel_llama_tuning t = {.mode = KEEL_LLAMA_FULL};
    if (strcmp(mode, "freeze") == 0)
        t = (keel_llama_tuning){.mode = KEEL_LLAMA_FREEZE, .frozen_layers = layers / 2};
    if (strcmp(mode, "lora") == 0)
        t = (keel_llama_tuning){.mode = KEEL_LLAMA_LORA,
                                .lora = {8, 16, 0, false, KEEL_LORA_QUERY | KEEL_LORA_VALUE}};
    if (strcmp(mode, "prompt") == 0) t = (keel_llama_tuning){.mode = KEEL_LLAMA_PROMPT, .n_virtual = 20};
    return t;
}

static keel_keep parse_keep(const char *keep) {
    static const char *const names[] = {"all", "bf16", "half", "none"};
    for (int k = 0; k < 4; k++)
        if (strcmp(keep, names[k]) == 0) return (keel_keep)k;
    return KEEL_KEEP_ALL;
}

static void prepare(work *w, int count, char **argument) {
    const keel_llama_config config = parse_shape(argument[1]);
    const bool bf16 = count > 6 && strcmp(argument[6], "bf16") == 0;
    keel_rng rng = keel_rng_stream(1, KEEL_STREAM_MADE, 0);
    w->texts = strtoul(argument[2], NULL, 10), w->tokens = strtoul(argument[3], NULL, 10);
    w->tuning = parse_mode(count > 5 ? argument[5] : "full", config.layers);
    w->plan = (keel_llama_plan){.tuning = w->tuning,
                                .keep = parse_keep(count > 7 ? argument[7] : "all"),
                                .texts = w->texts,
                                .tokens = w->texts * w->tokens,
                                .longest = w->tokens,
                                .counted = w->texts * (w->tokens - 1),
                                .shards = 1};
    check(keel_llama_make(&w->llama, &config, NULL, NULL, 1, &err));
    check(keel_llama_train(w->llama, &w->tuning, &err));
    keel_llama_lora_start(w->llama, &rng);
    check(keel_tape_open(&w->tape, &err));
    keel_tape_precision(w->tape, bf16 ? KEEL_PRECISION_BF16 : KEEL_PRECISION_F32);
    const size_t total = w->texts * w->tokens;
    w->id = keel_calloc(total, sizeof *w->id), w->weight = keel_calloc(total, sizeof *w->weight);
    w->offsets = keel_calloc(w->texts + 1, sizeof *w->offsets);
    if (!w->id || !w->weight || !w->offsets) exit(1);
    for (size_t i = 0; i < total; i++) w->id[i] = (int32_t)(i * 7919 % config.vocab), w->weight[i] = 1;
    for (size_t i = 0; i <= w->texts; i++) w->offsets[i] = (int32_t)(i * w->tokens);
}

static double step(work *w) {
    const double begin = keel_clock_thread();
    const keel_adam_config adam = keel_adam_defaults();
    const keel_llama_training training = {.grads = w->grads, .keep = w->plan.keep};
    const keel_llama_batch batch = {w->id, w->offsets, w->texts, w->weight};
    const keel_llama_loss loss = {.divisor = (float)(w->texts * (w->tokens - 1))};
    keel_arena_reset(&w->arena);
    keel_tape_reset(w->tape);
    keel_tensor *sums = keel_llama_on_tape(w->tape, w->llama, &training, &batch, &loss, &w->arena, &err);
    check(keel_tape_backward(w->tape, keel_op_sum(w->tape, sums, 1), &err));
    keel_adam_step(&w->adam, &adam, &w->llama->params, w->grads, 1);
    return keel_clock_thread() - begin;
}

/* CPU seconds of one product of a layer and, with gradients, of the two that they need. */
static double product_seconds(size_t rows, size_t out, size_t in, bool trained) {
    float *x = keel_calloc(rows * in, sizeof *x), *weights = keel_calloc(out * in, sizeof *weights),
          *y = keel_calloc(rows * out, sizeof *y);
    if (!x || !weights || !y) exit(1);
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        const double begin = keel_clock_thread();
        keel_gemm(false, true, rows, out, in, 1, x, in, weights, in, 0, y, out);
        keel_gemm(false, false, rows, in, out, 1, y, out, weights, in, 0, x, in);
        if (trained) keel_gemm(true, false, out, in, rows, 1, y, out, x, in, 0, weights, in);
        if (keel_clock_thread() - begin < best) best = keel_clock_thread() - begin;
    }
    keel_free(x), keel_free(weights), keel_free(y);
    return best;
}

static double floor_seconds(const work *w) {
    const keel_llama_config *c = &w->llama->config;
    const size_t rows = w->texts * w->tokens, kv = c->kv_heads * c->head_dim;
    const bool full = w->tuning.mode == KEEL_LLAMA_FULL;
    const double layer = 2 * product_seconds(rows, c->hidden, c->hidden, full) +
                         2 * product_seconds(rows, kv, c->hidden, full) +
                         2 * product_seconds(rows, c->inner, c->hidden, full) +
                         product_seconds(rows, c->hidden, c->inner, full);
    return (double)c->layers * layer + product_seconds(rows, c->vocab, c->hidden, full);
}

int main(int count, char **argument) {
    work w = {0};
    if (count < 5) {
        fputs("bench_decoder_step SHAPE TEXTS TOKENS SECONDS [MODE [PRECISION [KEEP]]]\n", stderr);
        return 2;
    }
    prepare(&w, count, argument);
    const size_t model = most_bytes();
    const double seconds = strtod(argument[4], NULL), begin = keel_clock_thread();
    w.grads = keel_calloc(w.llama->params.size, sizeof *w.grads);
    if (!w.grads) return 1;
    check(keel_adam_open(&w.adam, w.llama->params.size, &err));
    double best = 1e9;
    for (int i = 0; i < 3 || keel_clock_thread() - begin < seconds; i++) {
        const double one = step(&w);
        if (one < best) best = one;
    }
    const keel_llama_memory planned = keel_llama_memory_of(&w.llama->config, &w.plan);
    const double mb = 1 / 1048576.0;
    const size_t most = most_bytes();
    printf(
        "%.1f ms a step, %.1f ms of products, %.0f tokens/s, tape %.1f MB, %.1f MB above the model, planned %.1f MB, "
        "%.1f MB\n",
        best * 1e3, floor_seconds(&w) * 1e3, (double)(w.texts * w.tokens) / best,
        (double)keel_tape_bytes(w.tape) * mb, (double)(most - model) * mb, (double)planned.tape * mb,
        (double)(planned.gradients + planned.moments + planned.tape) * mb);
    keel_adam_close(&w.adam);
    keel_tape_close(w.tape);
    keel_llama_close(w.llama);
    keel_arena_free(&w.arena);
    keel_free(w.grads), keel_free(w.id), keel_free(w.weight), keel_free(w.offsets);
    return 0;
}
