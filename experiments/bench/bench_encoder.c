/* A BERT encoder outside any log, for comparisons with peers (experiments/bench/peers/encoder.py,
 * adapters.py, encoder_step.py).
 *
 *   tokens TOKENIZER.json <lines            ids of each line as one text, with what is put around it
 *   vectors FOLDER BATCH [ADAPTER] <lines   vectors of lines, BATCH at a time; PEFT's adapter is merged
 *   adapt FOLDER OUT RANK TARGETS           made-up LoRA: OUT/adapter as PEFT's, OUT/merged as a folder
 *   tune FOLDER SEED <rows                  fold, label 0 or 1, text; prints label, logit without the fold
 *   speed FOLDER SECONDS TOKENS[xTEXTS]...  texts a CPU second, of so many tokens each, in one batch
 *   step FOLDER BATCH TOKENS SECONDS MODE   CPU time of a step of tuning, of its products, peak memory
 *
 * Modes: full, freeze (the lower half), lora (query and value, rank 8), head.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "core/gemm.h"
#include "core/memory.h"
#include "core/optim.h"
#include "core/pcg.h"
#include "core/source.h"
#include "policies/transformer/bert_tape.h"
#include "policies/transformer/peft.h"

static keel_err err;

static void check(keel_status status) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s\n", err.where, err.message);
    exit(1);
}

static void print_tokens(const char *path) {
    keel_tokenizer *tokenizer;
    keel_source *in;
    keel_arena arena = {0};
    char *line;
    size_t length, number;
    check(keel_tokenizer_load(&tokenizer, path, &err));
    check(keel_source_open_stream(&in, 0, "standard input", &err));
    for (;;) {
        keel_tokens text, framed;
        int32_t *type;
        check(keel_source_line(in, &line, &length, &number, &err));
        if (!line) break;
        keel_arena_reset(&arena);
        check(keel_tokenizer_encode(tokenizer, line, true, &arena, &text, &err));
        check(keel_tokenizer_frame(tokenizer, &text, NULL, &arena, &framed, &type, &err));
        for (size_t i = 0; i < framed.count; i++) printf("%s%d", i ? " " : "", (int)framed.id[i]);
        putchar('\n');
    }
    keel_source_close(in);
    keel_tokenizer_close(tokenizer);
    keel_arena_free(&arena);
}

/* ---- vectors ---- */

static void print_vectors(const char *dir, size_t most, const char *adapter) {
    keel_bert *bert;
    keel_source *in;
    keel_arena arena = {0};
    const char **texts = keel_calloc(most, sizeof *texts);
    size_t n = 1, cut = 0;
    check(keel_bert_load(&bert, dir, &err));
    if (adapter) check(keel_peft_load(bert, adapter, &err));
    check(keel_bert_merge(bert, &err));
    check(keel_source_open_stream(&in, 0, "standard input", &err));
    while (n > 0) {
        char *line;
        size_t length, number;
        keel_bert_batch batch;
        keel_arena_reset(&arena);
        for (n = 0; n < most; n++) {
            check(keel_source_line(in, &line, &length, &number, &err));
            if (!line) break;
            texts[n] = keel_arena_strdup(&arena, line);
        }
        keel_real *out = keel_arena_alloc(&arena, (n + 1) * bert->config.hidden * sizeof *out);
        check(keel_bert_read(bert, texts, n, &arena, &batch, &cut, &err));
        check(keel_bert_encode(bert, &batch, &arena, out, &err));
        for (size_t i = 0; i < n * bert->config.hidden; i++)
            printf("%.9g%c", (double)out[i], (i + 1) % bert->config.hidden ? ' ' : '\n');
    }
    fprintf(stderr, "%zu tokens were cut\n", cut);
    keel_source_close(in);
    keel_bert_close(bert);
    keel_arena_free(&arena);
    keel_free(texts);
}

/* A and B of a size that changes vectors by some tenths. */
static void adapt(const char *dir, const char *out, size_t rank, unsigned targets) {
    keel_bert *bert;
    keel_rng rng = keel_rng_stream(1, KEEL_STREAM_MADE, 0);
    const keel_lora_config lora = {.rank = rank, .alpha = 16, .rslora = rank % 2, .targets = targets};
    char adapter[4096], merged[4096];
    snprintf(adapter, sizeof adapter, "%s/adapter", out);
    snprintf(merged, sizeof merged, "%s/merged", out);
    check(keel_bert_load(&bert, dir, &err));
    check(keel_bert_extend(bert, &lora, NULL, 0, &err));
    keel_params low = keel_params_from(&bert->params, keel_bert_first_trained(bert, KEEL_BERT_LORA, 0));
    for (size_t i = 0; i < low.size; i++) low.data[i] = (float)(0.03 * keel_rng_normal(&rng));
    check(keel_peft_save(bert, adapter, &err));
    check(keel_bert_save(bert, merged, &err));
    keel_bert_close(bert);
}

/* ---- speed ---- */

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Multiplications a second of a large product, the best of some. */
static double product_rate(void) {
    enum { N = 768, TIMES = 8 };
    float *a = keel_calloc(3 * N * N, sizeof *a), *b = a + N * N, *y = b + N * N;
    double best = 0;
    for (size_t i = 0; i < 2 * N * N; i++) a[i] = (float)(i % 7) - 3;
    for (int i = 0; i < TIMES; i++) {
        const double at = seconds_now();
        keel_gemm(false, true, N, N, N, 1, a, N, b, N, 0, y, N);
        const double rate = (double)N * N * N / (seconds_now() - at);
        if (rate > best) best = rate;
    }
    keel_free(a);
    return best;
}

/* "16x32": 32 texts of 16 tokens; "16": one. Returns their number, in all of them; NULL: they are counted. */
static size_t read_lengths(char **list, size_t n, int32_t *offsets) {
    size_t texts = 0;
    for (size_t i = 0; i < n; i++) {
        char *rest;
        const size_t tokens = strtoul(list[i], &rest, 10),
                     times = *rest == 'x' ? strtoul(rest + 1, NULL, 10) : 1;
        for (size_t k = 0; k < times; k++, texts++)
            if (offsets) offsets[texts + 1] = offsets[texts] + (int32_t)tokens;
    }
    return texts;
}

/* Multiplications of all products of a batch. */
static double multiplications(const keel_bert_config *c, const keel_bert_batch *batch) {
    const double width = (double)c->hidden, inner = (double)c->inner;
    double sum = 0;
    for (size_t i = 0; i < batch->n; i++) {
        const double tokens = (double)(batch->offsets[i + 1] - batch->offsets[i]);
        sum += tokens * (4 * width * width + 2 * width * inner) + 2 * tokens * tokens * width;
    }
    return sum * (double)c->layers;
}

/* Large products, encoding, large products; the best of each. */
static void measure(const char *dir, double seconds, char **list, size_t n_list) {
    keel_bert *bert;
    keel_arena arena = {0};
    double best = 0, sgemm = product_rate();
    check(keel_bert_load(&bert, dir, &err));
    const size_t n = read_lengths(list, n_list, NULL);
    int32_t *offsets = keel_calloc(n + 1, sizeof *offsets);
    read_lengths(list, n_list, offsets);
    const size_t tokens = (size_t)offsets[n];
    int32_t *id = keel_calloc(tokens, sizeof *id);
    keel_real *out = keel_calloc(n * bert->config.hidden, sizeof *out);
    for (size_t i = 0; i < tokens; i++) id[i] = (int32_t)(1000 + i * 7919 % 20000);
    const keel_bert_batch batch = {.id = id, .offsets = offsets, .n = n};
    for (double begin = seconds_now(); seconds_now() - begin < seconds;) {
        const double at = seconds_now();
        keel_arena_reset(&arena);
        check(keel_bert_encode(bert, &batch, &arena, out, &err));
        best = fmax(best, (double)n / (seconds_now() - at));
    }
    sgemm = fmax(sgemm, product_rate());
    printf(
        "%zu texts of %zu tokens in all: %.1f texts a CPU second, %.1f if there were products alone, at the "
        "%.0f GFLOP/s of SGEMM\n",
        n, tokens, best, sgemm / multiplications(&bert->config, &batch) * (double)n, 2 * sgemm / 1e9);
    keel_bert_close(bert);
    keel_arena_free(&arena);
    keel_free(id);
    keel_free(offsets);
    keel_free(out);
}

/* ---- tuning ---- */

enum { MOST_ROWS = 100000, BATCH = 8, EPOCHS = 4 };
static const double RATE = 1e-4, HEAD_FACTOR = 20, WARM_UP = 0.1;

typedef struct labelled {
    char *text;
    float label;
    long fold;
} labelled;

/* The encoder with a logistic head on top. */
typedef struct tuning {
    keel_bert *bert;
    keel_bert_training training;
    keel_adam adam;
    keel_tape *tape;
    keel_arena arena;
} tuning;

static void open_head(tuning *t, const keel_lora_config *lora, keel_bert_mode mode, size_t frozen_layers,
                      keel_rng *rng) {
    const size_t hidden = t->bert->config.hidden;
    const keel_param head[2] = {
        {"head.weight", 1, hidden, KEEL_INIT_UNIFORM, (double)hidden, true, HEAD_FACTOR},
        {"head.bias", 1, 1, KEEL_INIT_ZERO, 0, false, HEAD_FACTOR}};
    check(keel_bert_extend(t->bert, lora, head, 2, &err));
    keel_bert_adapt_init(t->bert, rng);
    const size_t first = keel_bert_first_trained(t->bert, mode, frozen_layers);
    t->training = (keel_bert_training){
        .trained = keel_params_from(&t->bert->params, first), .first = first, .dropout = 0.1f, .rng = rng};
    t->training.grads = keel_calloc(t->training.trained.size, sizeof *t->training.grads);
    check(keel_adam_open(&t->adam, t->training.trained.size, &err));
    check(keel_tape_open(&t->tape, &err));
}

static void open_tuning(tuning *t, const char *dir, keel_rng *rng) {
    *t = (tuning){0};
    check(keel_bert_load(&t->bert, dir, &err));
    open_head(t, NULL, KEEL_BERT_FREEZE, 0, rng);
}

static void close_tuning(tuning *t) {
    keel_tape_close(t->tape);
    keel_adam_close(&t->adam);
    keel_free(t->training.grads);
    keel_bert_close(t->bert);
    keel_arena_free(&t->arena);
}

static keel_tensor *logits_of(tuning *t, const keel_bert_training *training, const keel_bert_batch *batch) {
    keel_tensor *x = keel_bert_on_tape(t->tape, t->bert, training, batch, &t->arena, &err);
    const size_t head = keel_bert_first_head(t->bert);
    return keel_op_linear(t->tape, x, keel_bert_param(t->tape, t->bert, training, head),
                          keel_bert_param(t->tape, t->bert, training, head + 1), KEEL_LINEAR);
}

static keel_tensor *logits(tuning *t, const keel_bert_training *training, const char *const *texts,
                           size_t n) {
    keel_bert_batch batch;
    size_t cut = 0;
    keel_tape_reset(t->tape);
    keel_arena_reset(&t->arena);
    check(keel_bert_read(t->bert, texts, n, &t->arena, &batch, &cut, &err));
    return logits_of(t, training, &batch);
}

/* All layers but the embeddings; AdamW, linear warm-up and decay. */
static void tune(tuning *t, const labelled *rows, const size_t *order, size_t n) {
    const size_t steps = (n + BATCH - 1) / BATCH * EPOCHS, warm = (size_t)(WARM_UP * (double)steps) + 1;
    keel_adam_config config = keel_adam_defaults();
    config.learning_rate = RATE;
    config.weight_decay = 0.01;
    size_t *mixed = keel_calloc(n, sizeof *mixed), step = 0;
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        memcpy(mixed, order, n * sizeof *mixed);
        keel_rng_shuffle(t->training.rng, mixed, n);
        for (size_t at = 0; at < n; at += BATCH, step++) {
            const char *texts[BATCH];
            float labels[BATCH];
            const size_t some = n - at < BATCH ? n - at : BATCH;
            for (size_t i = 0; i < some; i++) {
                texts[i] = rows[mixed[at + i]].text;
                labels[i] = rows[mixed[at + i]].label;
            }
            keel_tensor *z = logits(t, &t->training, texts, some);
            check(keel_tape_backward(t->tape, keel_op_logistic(t->tape, z, labels, NULL, (keel_real)some),
                                     &err));
            const double factor = step < warm ? (double)(step + 1) / (double)warm
                                              : (double)(steps - step) / (double)(steps - warm + 1);
            keel_adam_step(&t->adam, &config, &t->training.trained, t->training.grads, factor);
        }
    }
    keel_free(mixed);
}

static size_t read_rows(labelled *rows) {
    keel_source *in;
    char *line;
    size_t length, number, n = 0;
    check(keel_source_open_stream(&in, 0, "standard input", &err));
    for (;;) {
        check(keel_source_line(in, &line, &length, &number, &err));
        if (!line || n == MOST_ROWS) break;
        char *label = strchr(line, '\t'), *text = label ? strchr(label + 1, '\t') : NULL;
        if (!text) continue;
        rows[n] = (labelled){keel_calloc(strlen(text), 1), strtof(label + 1, NULL), strtol(line, NULL, 10)};
        memcpy(rows[n++].text, text + 1, strlen(text + 1));
    }
    keel_source_close(in);
    return n;
}

static void tune_by_folds(const char *dir, uint64_t seed) {
    labelled *rows = keel_calloc(MOST_ROWS, sizeof *rows);
    const size_t n = read_rows(rows);
    size_t *order = keel_calloc(n + 1, sizeof *order);
    long folds = 0;
    clock_t begin = clock();
    for (size_t i = 0; i < n; i++) folds = rows[i].fold >= folds ? rows[i].fold + 1 : folds;
    for (long fold = 0; fold < folds; fold++) {
        const keel_bert_training frozen = {0};
        tuning t;
        size_t kept = 0;
        keel_rng rng = keel_rng_stream(seed, KEEL_STREAM_MADE, (uint64_t)fold);
        for (size_t i = 0; i < n; i++)
            if (rows[i].fold != fold) order[kept++] = i;
        open_tuning(&t, dir, &rng);
        tune(&t, rows, order, kept);
        for (size_t i = 0; i < n; i++) {
            const char *text = rows[i].text;
            if (rows[i].fold == fold)
                printf("%g\t%.6f\n", (double)rows[i].label, (double)logits(&t, &frozen, &text, 1)->data[0]);
        }
        close_tuning(&t);
    }
    fprintf(stderr, "%.1f CPU seconds\n", (double)(clock() - begin) / CLOCKS_PER_SEC);
    for (size_t i = 0; i < n; i++) keel_free(rows[i].text);
    keel_free(rows);
    keel_free(order);
}

/* ---- one step ---- */

static const char *const modes[] = {"full", "freeze", "lora", "head"};

/* Multiplications of a step: forward; gradients of what each layer reads, from the lowest that needs one; of
 * trained weights. */
static double step_products(const keel_bert_config *c, size_t n, size_t tokens, keel_bert_mode mode) {
    const double h = (double)c->hidden, rows = (double)(n * tokens), layers = (double)c->layers;
    const double weights = rows * (4 * h * h + 2 * h * (double)c->inner),
                 attention = 2 * h * rows * (double)tokens;
    const double up[] = {layers, layers - (double)(c->layers / 2), layers, 0};
    const double trained = mode == KEEL_BERT_LORA ? 0 : up[mode];
    return layers * (weights + attention) + up[mode] * (weights + 2.5 * attention) + trained * weights;
}

static void one_step(tuning *t, const keel_bert_batch *batch, const float *labels) {
    const keel_adam_config config = keel_adam_defaults();
    keel_tape_reset(t->tape);
    keel_arena_reset(&t->arena);
    keel_tensor *z = logits_of(t, &t->training, batch);
    check(keel_tape_backward(t->tape, keel_op_logistic(t->tape, z, labels, NULL, (keel_real)batch->n), &err));
    keel_adam_step(&t->adam, &config, &t->training.trained, t->training.grads, 1);
}

/* The best of all. */
static double time_steps(tuning *t, size_t n, size_t tokens, double seconds) {
    int32_t *id = keel_calloc(n * tokens, sizeof *id), *offsets = keel_calloc(n + 1, sizeof *offsets);
    float *labels = keel_calloc(n, sizeof *labels);
    const keel_bert_batch batch = {.id = id, .offsets = offsets, .n = n};
    double best = 1e9;
    for (size_t i = 0; i < n * tokens; i++) id[i] = (int32_t)(1000 + i * 7919 % 20000);
    for (size_t i = 0; i <= n; i++) offsets[i] = (int32_t)(i * tokens);
    for (size_t i = 0; i < n; i++) labels[i] = (float)(i % 2);
    for (double begin = seconds_now(); seconds_now() - begin < seconds;) {
        const double at = seconds_now();
        one_step(t, &batch, labels);
        if (seconds_now() - at < best) best = seconds_now() - at;
    }
    keel_free(id);
    keel_free(offsets);
    keel_free(labels);
    return best;
}

static void measure_step(const char *dir, size_t n, size_t tokens, double seconds, const char *name) {
    keel_bert_mode mode = KEEL_BERT_FULL;
    tuning t = {0};
    keel_rng rng = keel_rng_stream(1, KEEL_STREAM_MADE, 0);
    struct rusage used;
    while (mode < KEEL_BERT_HEAD && strcmp(name, modes[mode]) != 0) mode++;
    const keel_lora_config lora = {
        .rank = mode == KEEL_BERT_LORA ? 8 : 0, .alpha = 16, .targets = KEEL_LORA_QUERY | KEEL_LORA_VALUE};
    check(keel_bert_load(&t.bert, dir, &err));
    open_head(&t, &lora, mode, t.bert->config.layers / 2, &rng);
    const double best = time_steps(&t, n, tokens, seconds);
    getrusage(RUSAGE_SELF, &used);
    const double products = step_products(&t.bert->config, n, tokens, mode) / product_rate();
    printf("%s, %zu texts of %zu tokens: %.1f ms a step, products alone %.1f ms, %ld MB\n", modes[mode], n,
           tokens, best * 1e3, products * 1e3, used.ru_maxrss / 1024);
    close_tuning(&t);
}

static size_t number(const char *text) {
    return strtoul(text, NULL, 10);
}

static bool run(int n, char **argument) {
    const char *verb = n > 0 ? argument[0] : "";
    if (n == 2 && strcmp(verb, "tokens") == 0)
        print_tokens(argument[1]);
    else if ((n == 3 || n == 4) && strcmp(verb, "vectors") == 0)
        print_vectors(argument[1], number(argument[2]), n == 4 ? argument[3] : NULL);
    else if (n == 5 && strcmp(verb, "adapt") == 0)
        adapt(argument[1], argument[2], number(argument[3]), (unsigned)number(argument[4]));
    else if (n == 3 && strcmp(verb, "tune") == 0)
        tune_by_folds(argument[1], number(argument[2]));
    else if (n >= 4 && strcmp(verb, "speed") == 0)
        measure(argument[1], strtod(argument[2], NULL), argument + 3, (size_t)n - 3);
    else if (n == 6 && strcmp(verb, "step") == 0)
        measure_step(argument[1], number(argument[2]), number(argument[3]), strtod(argument[4], NULL),
                     argument[5]);
    else
        return false;
    return true;
}

int main(int argc, char **argv) {
    if (run(argc - 1, argv + 1)) return 0;
    fprintf(
        stderr,
        "usage: bench_encoder tokens TOKENIZER.json | vectors FOLDER BATCH [ADAPTER] | adapt FOLDER OUT "
        "RANK TARGETS | tune FOLDER SEED | speed FOLDER SECONDS TOKENS[xTEXTS]... | step FOLDER BATCH TOKENS SECONDS MODE\n");
    return 2;
}
