/* Structured pruning: what is cut out of decoders, what goes first, and where. */
#include <math.h>

#include "core/panels.h"
#include "llama_fixture.h"
#include "llama_twin.h"
#include "policies/compress/prune.h"
#include "policies/compress/prune_llama.h"
#include "policies/compress/sample.h"
#include "policies/compress/sensitive.h"
#include "policies/transformer/input_stats.h"
#include "policies/transformer/llama_slice.h"

enum { LAYERS = 3, HIDDEN = 32, INNER = 96, DIM = 8, CONVERSATIONS = 12 };

static const keel_llama_config shape = {.vocab = 60,
                                        .hidden = HIDDEN,
                                        .layers = LAYERS,
                                        .heads = 8,
                                        .kv_heads = 4,
                                        .head_dim = DIM,
                                        .inner = INNER,
                                        .positions = 128,
                                        .epsilon = 1e-5,
                                        .rope_theta = 10000,
                                        .tied = true,
                                        .bos = -1,
                                        .pad = -1};

static int set_up(void **state) {
    (void)state;
    return llama_set_up_in("prune", "llama");
}

/* ---- a model and a log ---- */

static float *weights(const keel_llama *llama, size_t layer, size_t row) {
    return (float *)(uintptr_t)llama->matrix[keel_llama_row(layer, row)].data;
}

/* The tokenizer of a golden folder; weights are larger than a new one's, so that they matter. */
static keel_llama *make(bool biases) {
    keel_llama *like = llama_golden("tied", KEEL_LLAMA_AS_STORED), *made = NULL;
    keel_llama_config config = shape;
    keel_tokenizer *tokenizer = NULL;
    size_t length;
    config.qkv_bias = config.out_bias = config.mlp_bias = biases;
    const char *json = keel_tokenizer_file(like->tokenizer, &length);
    assert_ok(keel_tokenizer_parse(&tokenizer, json, length, "test", &err));
    assert_ok(keel_llama_make(&made, &config, tokenizer, NULL, 3, &err));
    for (size_t row = 0; row < made->n_rows; row++) {
        const keel_matrix *m = &made->matrix[row];
        float *data = (float *)(uintptr_t)m->data;
        for (size_t i = 0; data && i < m->rows * m->cols; i++)
            data[i] = m->rows > 1 ? data[i] * 9 : data[i] + (float)(i % 7) / 20;
    }
    keel_llama_close(like);
    return made;
}

static keel_turn turns[2 * CONVERSATIONS];
static keel_conversation conversations[CONVERSATIONS];
static size_t places[CONVERSATIONS];

static keel_status read_log(keel_corpus *corpus, const size_t *place, size_t n, keel_arena *arena,
                            keel_conversation **out, keel_err *e) {
    (void)corpus, (void)arena, (void)e;
    for (size_t i = 0; i < n; i++) out[i] = &conversations[place[i]];
    return KEEL_OK;
}

static keel_corpus *the_log(void) {
    static const char *const said[] = {"how do i bake bread ?", "the quick brown fox jumps",
                                       "bread dog fox how", "over the lazy dog i bake",
                                       "quick quick bread ? do i"};
    static keel_corpus corpus = {.name = "log", .count = CONVERSATIONS, .by_name = places, .read = read_log};
    for (size_t i = 0; i < CONVERSATIONS; i++) {
        turns[2 * i] = (keel_turn){.role = KEEL_ROLE_USER, .text = said[i % 5]};
        turns[2 * i + 1] = (keel_turn){.role = KEEL_ROLE_ASSISTANT, .text = said[(i * 3 + 1) % 4]};
        conversations[i] = (keel_conversation){.n_turns = 2, .turns = &turns[2 * i]};
        places[i] = i;
    }
    return &corpus;
}

typedef struct work {
    keel_compress_config config;
    keel_compress_report report;
    keel_compress_job job;
} work;

static const keel_compress_job *job(work *w, const char *const *settings) {
    *w = (work){0};
    assert_ok(keel_options_defaults(keel_compress_options, &w->config, &err));
    w->config.sensitivity_tokens = 40;
    for (; settings && *settings; settings++)
        assert_ok(keel_options_assign(keel_compress_options, &w->config, *settings, &err));
    w->job = (keel_compress_job){.config = &w->config, .logged = the_log(), .report = &w->report};
    return &w->job;
}

static void logits_of(const keel_llama *llama, double *out) {
    static const int32_t text[] = {5, 17, 33, 4, 41, 22, 9, 50, 12, 30};
    llama_twin_run(llama, text, sizeof text / sizeof *text, out);
}

static void same_logits(const keel_llama *a, const keel_llama *b, double by) {
    static double one[600], other[600];
    logits_of(a, one);
    logits_of(b, other);
    for (size_t i = 0; i < 600; i++)
        if (!(fabs(one[i] - other[i]) <= by)) fail_msg("logit %zu: %g, expected %g", i, one[i], other[i]);
}

/* Zeros in what reads the unit: it adds nothing. */
static void silence(keel_llama *llama, size_t layer, keel_prune_kind kind, size_t unit) {
    const size_t row = kind == KEEL_PRUNE_CHANNEL ? KEEL_LLAMA_DOWN : KEEL_LLAMA_O,
                 wide = kind == KEEL_PRUNE_CHANNEL ? 1 : 2 * DIM;
    const keel_matrix *m = &llama->matrix[keel_llama_row(layer, row)];
    for (size_t r = 0; r < m->rows; r++)
        for (size_t i = 0; i < wide; i++) weights(llama, layer, row)[r * m->cols + unit * wide + i] = 0;
}

static void silence_layer(keel_llama *llama, size_t layer) {
    for (size_t h = 0; h < 4; h++) silence(llama, layer, KEEL_PRUNE_HEAD, h);
    for (size_t c = 0; c < INNER; c++) silence(llama, layer, KEEL_PRUNE_CHANNEL, c);
    if (!llama->config.mlp_bias) return;
    memset(weights(llama, layer, KEEL_LLAMA_O_BIAS), 0, HIDDEN * sizeof(float));
    memset(weights(llama, layer, KEEL_LLAMA_DOWN_BIAS), 0, HIDDEN * sizeof(float));
}

/* ---- cutting ---- */

static void what_is_cut_is_as_if_it_were_zero(void **state) {
    (void)state;
    for (int biases = 0; biases < 2; biases++) {
        keel_llama *large = make(biases), *small = make(biases);
        static const uint32_t heads[] = {0, 2, 3}, all_heads[] = {0, 1, 2, 3};
        uint32_t channels[2][64], n = 0;
        for (uint32_t c = 0; c < INNER; c++)
            if (c % 3 != 1) channels[0][n++] = c;
        for (uint32_t c = 0; c < 32; c++) channels[1][c] = 3 * c;
        const keel_layer_kept kept[] = {{0, 3, 64, heads, channels[0]}, {2, 4, 32, all_heads, channels[1]}};
        for (size_t c = 0; c < INNER; c++) {
            if (c % 3 == 1) silence(large, 0, KEEL_PRUNE_CHANNEL, c);
            if (c % 3 != 0) silence(large, 2, KEEL_PRUNE_CHANNEL, c);
        }
        silence(large, 0, KEEL_PRUNE_HEAD, 1);
        silence_layer(large, 1);
        assert_ok(keel_llama_slice(small, kept, 2, &err));
        assert_int_equal(small->config.layers, 2);
        assert_int_equal(small->n_rows, keel_llama_head(&small->config) + 1);
        assert_int_equal(keel_llama_heads(&small->config, 0), 6);
        assert_int_equal(keel_llama_inner(&small->config, 1), 32);
        for (size_t row = 0; row < small->n_rows; row++) {
            size_t rows, cols;
            keel_llama_shape(&small->config, row, &rows, &cols);
            if (!small->matrix[row].data) continue;
            assert_int_equal(small->matrix[row].rows, rows);
            assert_int_equal(small->matrix[row].cols, cols);
        }
        same_logits(small, large, 1e-9);
        keel_llama_close(large);
        keel_llama_close(small);
    }
}

static void a_decoder_that_is_tuned_is_not_cut(void **state) {
    (void)state;
    keel_llama *llama = make(false);
    const keel_layer_kept kept = {0};
    llama->n_virtual = 3;
    assert_int_equal(keel_llama_slice(llama, &kept, 0, &err), KEEL_E_USAGE);
    llama->n_virtual = 0;
    keel_llama_close(llama);
}

/* ---- what goes first ---- */

/* Units that add nothing go first, whatever says how important they are. */
static void what_adds_nothing_goes_first(void **state) {
    (void)state;
    static const char *const ways[][5] = {
        {"ratio=0.4", "prune=channels,groups", "importance=activation", NULL},
        {"ratio=0.4", "prune=channels,groups", "importance=taylor", NULL},
        {"ratio=0.4", "prune=channels,groups", "importance=activation", "spread=sensitivity", NULL},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        work w;
        keel_llama *large = make(false), *small = make(false);
        for (int k = 0; k < 2; k++) {
            keel_llama *llama = k ? small : large;
            for (size_t l = 0; l < LAYERS; l++) {
                silence(llama, l, KEEL_PRUNE_HEAD, l);
                silence(llama, l, KEEL_PRUNE_HEAD, l + 1);
                for (size_t c = 0; c < 64; c++) silence(llama, l, KEEL_PRUNE_CHANNEL, (c * 5 + l) % INNER);
            }
        }
        assert_ok(keel_prune_llama(small, job(&w, ways[i]), &err));
        assert_true(keel_llama_inner(&small->config, 0) < INNER ||
                    keel_llama_kv_heads(&small->config, 0) < 4);
        same_logits(small, large, 1e-9);
        keel_compress_report_free(&w.report);
        keel_llama_close(large);
        keel_llama_close(small);
    }
}

/* Places of the n smallest of INNER numbers. */
static void least_of(const double *x, size_t n, bool *gone) {
    memset(gone, 0, INNER * sizeof *gone);
    for (; n > 0; n--) {
        size_t best = INNER;
        for (size_t i = 0; i < INNER; i++)
            if (!gone[i] && (best == INNER || x[i] < x[best])) best = i;
        gone[best] = true;
    }
}

/* The channels of the layer that are kept are those that are not gone, by their columns of down. */
static void kept_are(const keel_llama *small, const keel_llama *large, size_t layer, const bool *gone) {
    const size_t cols = keel_llama_inner(&small->config, layer);
    for (size_t c = 0, at = 0; c < INNER; c++) {
        if (gone[c]) continue;
        if (at == cols ||
            weights(small, layer, KEEL_LLAMA_DOWN)[at] != weights(large, layer, KEEL_LLAMA_DOWN)[c])
            fail_msg("layer %zu: channel %zu went", layer, c);
        at++;
    }
}

/* What importance is measured on, as prune_llama draws it. */
static keel_sample drawn(const keel_llama *llama, work *w, keel_arena *arena) {
    keel_sample all;
    assert_ok(keel_sample_llama(llama, &w->job, arena, &all, &err));
    const keel_sample held = keel_sample_first(&all, (size_t)w->config.sensitivity_tokens);
    return keel_sample_rest(&all, &held);
}

/* E[a_j^2] ||W_j||^2, the squares by the plain twin. */
static void activations_are_weighed_by_what_they_add(void **state) {
    (void)state;
    static const char *const way[] = {"ratio=0.4", "prune=channels", "importance=activation", NULL};
    work w;
    keel_arena arena = {0};
    keel_llama *large = make(true), *small = make(true);
    assert_ok(keel_prune_llama(small, job(&w, way), &err));
    assert_int_equal(small->config.inner, 32);
    const keel_sample sample = drawn(large, &w, &arena);
    double *logits = malloc(128 * 60 * sizeof *logits), sums[INNER] = {0},
           **square = calloc(large->n_rows, sizeof *square);
    for (size_t l = 0; l < LAYERS; l++) {
        bool gone[INNER];
        memset(sums, 0, sizeof sums);
        square[keel_llama_row(l, KEEL_LLAMA_DOWN)] = sums;
        for (size_t i = 0; i < sample.n; i++)
            llama_twin_see(large, sample.id + sample.offsets[i],
                           (size_t)(sample.offsets[i + 1] - sample.offsets[i]), square, logits);
        square[keel_llama_row(l, KEEL_LLAMA_DOWN)] = NULL;
        for (size_t c = 0; c < INNER; c++) {
            double norm = 0;
            for (size_t r = 0; r < HIDDEN; r++)
                norm += pow((double)weights(large, l, KEEL_LLAMA_DOWN)[r * INNER + c], 2);
            sums[c] *= norm;
        }
        least_of(sums, 64, gone);
        kept_are(small, large, l, gone);
    }
    free(logits);
    free(square);
    keel_compress_report_free(&w.report);
    keel_arena_free(&arena);
    keel_llama_close(large);
    keel_llama_close(small);
}

static double loss_of(const keel_llama *llama, const int32_t *id, size_t n) {
    static double logits[128 * 60];
    double sum = 0;
    llama_twin_run(llama, id, n, logits);
    const size_t vocab = keel_tokenizer_size(llama->tokenizer);
    for (size_t t = 1; t < n; t++) sum -= twin_log_prob(logits + (t - 1) * 60, vocab, id[t]);
    return sum;
}

/* The loss of each text, by its derivative to a factor on the channel: here by differences in double
 * precision. */
static void taylor_is_the_slope_of_the_loss(void **state) {
    (void)state;
    enum { LAYER = 1 };
    static const char *const way[] = {"ratio=0.4", "prune=channels", "importance=taylor", "conversations=6",
                                      NULL};
    const double step = 1e-2;
    work w;
    keel_arena arena = {0};
    keel_llama *large = make(false), *small = make(false);
    assert_ok(keel_prune_llama(small, job(&w, way), &err));
    const keel_sample sample = drawn(large, &w, &arena);
    double slopes[INNER] = {0};
    bool gone[INNER];
    float *down = weights(large, LAYER, KEEL_LLAMA_DOWN), column[HIDDEN];
    for (size_t c = 0; c < INNER; c++) {
        for (size_t r = 0; r < HIDDEN; r++) column[r] = down[r * INNER + c];
        for (size_t i = 0; i < sample.n; i++) {
            const int32_t *id = sample.id + sample.offsets[i];
            const size_t n = (size_t)(sample.offsets[i + 1] - sample.offsets[i]);
            double slope = 0;
            for (int up = -1; up <= 1; up += 2) {
                for (size_t r = 0; r < HIDDEN; r++) down[r * INNER + c] = column[r] * (float)(1 + up * step);
                slope += up * loss_of(large, id, n) / (2 * step);
            }
            slopes[c] += slope * slope;
        }
        for (size_t r = 0; r < HIDDEN; r++) down[r * INNER + c] = column[r];
    }
    least_of(slopes, 64, gone);
    kept_are(small, large, LAYER, gone);
    assert_true(large->params.data == NULL && small->params.data == NULL &&
                small->first_trained == small->n_rows);
    keel_compress_report_free(&w.report);
    keel_arena_free(&arena);
    keel_llama_close(large);
    keel_llama_close(small);
}

/* The sum of squares of rows first .. first + n - 1, and of columns. */
static double rows_squared(const keel_matrix *m, size_t first, size_t n) {
    double sum = 0;
    for (size_t i = first * m->cols; i < (first + n) * m->cols; i++)
        sum += pow((double)((const float *)m->data)[i], 2);
    return sum;
}

static double columns_squared(const keel_matrix *m, size_t first, size_t n) {
    double sum = 0;
    for (size_t r = 0; r < m->rows; r++)
        for (size_t c = first; c < first + n; c++)
            sum += pow((double)((const float *)m->data)[r * m->cols + c], 2);
    return sum;
}

/* By what makes a unit and what reads it; of the first group of heads q is small, of the second k. */
static keel_llama *uneven(void) {
    keel_llama *llama = make(true);
    for (size_t l = 0; l < LAYERS; l++) {
        for (size_t i = 0; i < 4 * DIM * HIDDEN; i++)
            weights(llama, l, KEEL_LLAMA_K)[i] *= i / (DIM * HIDDEN) == 1 ? .1f : 3;
        for (size_t i = 0; i < 2 * DIM * HIDDEN; i++) weights(llama, l, KEEL_LLAMA_Q)[i] *= .5f;
    }
    return llama;
}

static void weights_of_all_that_makes_and_reads_a_unit_count(void **state) {
    (void)state;
    static const char *const way[] = {"ratio=0.4", "importance=weight", NULL};
    work w;
    keel_llama *large = uneven(), *small = uneven();
    assert_ok(keel_prune_llama(small, job(&w, way), &err));
    assert_int_equal(small->config.kv_heads, 3);
    for (size_t l = 0; l < LAYERS; l++) {
        const keel_matrix *m = &large->matrix[keel_llama_row(l, 0)];
        double channels[INNER];
        bool gone[INNER];
        for (size_t c = 0; c < INNER; c++)
            channels[c] = rows_squared(&m[KEEL_LLAMA_GATE], c, 1) + rows_squared(&m[KEEL_LLAMA_UP], c, 1) +
                          columns_squared(&m[KEEL_LLAMA_DOWN], c, 1);
        least_of(channels, INNER - small->config.inner, gone);
        kept_are(small, large, l, gone);
        for (size_t h = 0, at = 0; h < 4; h++) {
            if (h == 1) continue;
            assert_memory_equal(weights(small, l, KEEL_LLAMA_K) + at++ * DIM * HIDDEN,
                                weights(large, l, KEEL_LLAMA_K) + h * DIM * HIDDEN,
                                DIM * HIDDEN * sizeof(float));
        }
    }
    keel_compress_report_free(&w.report);
    keel_llama_close(large);
    keel_llama_close(small);
}

/* ---- where ---- */

/* Half the mean square of what ln p differs by, on the texts that losses are measured on. */
static double off(const keel_llama *a, const keel_llama *b, const keel_compress_job *from) {
    keel_arena arena = {0};
    keel_sample all, losses, rest;
    assert_ok(keel_sample_llama(a, from, &arena, &all, &err));
    assert_ok(keel_sample_divide(&all, from, &losses, &rest, &err));
    const size_t n = (size_t)losses.offsets[losses.n];
    float *one = keel_arena_calloc(&arena, n, sizeof *one),
          *other = keel_arena_calloc(&arena, n, sizeof *other);
    double sum = 0;
    assert_ok(keel_sample_run(a, &losses, NULL, one, &err));
    assert_ok(keel_sample_run(b, &losses, NULL, other, &err));
    for (size_t i = 0; i < n; i++) sum += pow((double)one[i] - (double)other[i], 2);
    keel_arena_free(&arena);
    return sum / (2 * (double)n);
}

/* Without the layer, biases and all; without its least group of heads. */
static void harm_is_how_far_probabilities_move(void **state) {
    (void)state;
    static const char *const layers[] = {"ratio=0.33", "prune=layers", NULL}, *const heads[] = {
                                                                                  "ratio=0.1", "prune=groups",
                                                                                  "importance=weight",
                                                                                  "spread=sensitivity", NULL};
    work w[2];
    keel_llama *large = uneven(), *small[] = {uneven(), uneven()};
    assert_ok(keel_prune_llama(small[0], job(&w[0], layers), &err));
    assert_ok(keel_prune_llama(small[1], job(&w[1], heads), &err));
    for (size_t l = 0; l < LAYERS; l++)
        for (int i = 0; i < 2; i++) {
            keel_llama *silent = uneven();
            if (i == 0) silence_layer(silent, l);
            if (i == 1) silence(silent, l, KEEL_PRUNE_HEAD, 1);
            const double expected = off(large, silent, &w[i].job), got = w[i].report.layer[l].harm[2 * i];
            if (!(expected > 0 && fabs(got - expected) <= 1e-3 * expected))
                fail_msg("layer %zu: %g, expected %g", l, got, expected);
            keel_llama_close(silent);
        }
    for (int i = 0; i < 2; i++) keel_compress_report_free(&w[i].report);
    for (int i = 0; i < 2; i++) keel_llama_close(small[i]);
    keel_llama_close(large);
}

static void the_cheapest_steps_go(void **state) {
    (void)state;
    static const double first[] = {1, 4, 9}, second[] = {2, 3, 10}, third[] = {2, 8};
    keel_prune_part part[] = {{3, first, 10, 0}, {3, second, 5, 0}, {2, third, 20, 0}};
    keel_prune_cheapest(part, 3, 42); /* 1 10, 2 15, 2 35 (the first of equals was second), 3 40 */
    assert_int_equal(part[0].gone, 1);
    assert_int_equal(part[1].gone, 2);
    assert_int_equal(part[2].gone, 1);
    for (size_t i = 0; i < 3; i++) part[i].gone = 0;
    keel_prune_cheapest(part, 3, 1e9); /* all there is */
    assert_int_equal(part[0].gone + part[1].gone + part[2].gone, 8);
}

static void even_layers_stay_alike(void **state) {
    (void)state;
    static const char *const way[] = {"ratio=0.4", "importance=weight", NULL};
    work w;
    keel_llama *llama = make(false);
    job(&w, way);
    w.job.logged = NULL; /* nothing is looked at */
    const double all = LAYERS * (3 * HIDDEN * INNER + 6 * 4 * DIM * HIDDEN + 2 * HIDDEN) + HIDDEN;
    assert_ok(keel_prune_llama(llama, &w.job, &err));
    assert_true(llama->config.layer_inner == NULL && llama->config.layer_kv_heads == NULL);
    assert_int_equal(llama->config.kv_heads, 3); /* floor(.4 * 4) of 4 go */
    assert_int_equal(llama->config.heads, 6);
    assert_int_equal(llama->config.inner, 32); /* then 2 of 3 times 32: .353 of all, 1 were .167 */
    assert_int_equal(w.report.n_layers, LAYERS);
    assert_int_equal(w.report.layer[2].channels, 32);
    assert_string_equal(w.report.figure[0].name, "pruned");
    assert_true(fabs(w.report.figure[0].value - LAYERS * (6 * DIM * HIDDEN + 64 * 3 * HIDDEN) / all) < 1e-9);
    assert_true(isnan(w.report.layer[0].harm[0]) && isnan(w.report.layer[0].harm[1]));
    keel_compress_report_free(&w.report);
    keel_llama_close(llama);
}

/* A layer that adds nothing goes whole, and one whose channels add nothing loses them. */
static void layers_go_where_the_loss_does_not_rise(void **state) {
    (void)state;
    static const char *const ways[][4] = {{"ratio=0.33", "prune=layers", NULL},
                                          {"ratio=0.13", "prune=channels", "spread=sensitivity", NULL}};
    for (size_t i = 0; i < 2; i++) {
        work w;
        keel_llama *large = make(true), *small = make(true);
        silence_layer(large, 1);
        silence_layer(small, 1);
        assert_ok(keel_prune_llama(small, job(&w, ways[i]), &err));
        same_logits(small, large, 1e-9);
        assert_int_equal(small->config.layers, i ? LAYERS : LAYERS - 1);
        if (i == 1) assert_int_equal(keel_llama_inner(&small->config, 1), 32);
        assert_int_equal(w.report.layer[1].channels, i ? 32 : 0);
        assert_true(fabs(w.report.layer[1].harm[i]) < 1e-6 && fabs(w.report.layer[0].harm[i]) > 1e-6);
        keel_compress_report_free(&w.report);
        keel_llama_close(large);
        keel_llama_close(small);
    }
}

/* Of three layers .34 would be one; beside channels half of it may be layers, which is none. */
static void beside_channels_half_is_layers_at_most(void **state) {
    (void)state;
    static const char *const settings[] = {"ratio=0.34", "prune=channels,layers", NULL};
    work w;
    keel_llama *small = make(true);
    silence_layer(small, 1);
    assert_ok(keel_prune_llama(small, job(&w, settings), &err));
    assert_int_equal(small->config.layers, LAYERS);
    assert_true(keel_llama_inner(&small->config, 0) < INNER);
    keel_compress_report_free(&w.report);
    keel_llama_close(small);
}

static void what_cannot_go_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *settings[4], *told;
        keel_status status;
        bool logged;
    } wrong[] = {
        {{"ratio=0.5", "prune=groups", "importance=weight"},
         "prune=groups takes away at most",
         KEEL_E_INVALID,
         false},
        {{"ratio=0.001", "importance=weight"}, "less than what can go at once", KEEL_E_INVALID, false},
        {{"ratio=0.4"}, "look at conversations", KEEL_E_USAGE, false},
        {{"ratio=0.4", "importance=weight", "spread=sensitivity"},
         "look at conversations",
         KEEL_E_USAGE,
         false},
        {{"ratio=0.4", "sensitivity_tokens=100000"}, "too few", KEEL_E_INVALID, true},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        work w;
        keel_llama *llama = make(false);
        job(&w, wrong[i].settings);
        if (!wrong[i].logged) w.job.logged = NULL;
        assert_int_equal(keel_prune_llama(llama, &w.job, &err), wrong[i].status);
        contains(err.message, wrong[i].told);
        keel_compress_report_free(&w.report);
        keel_llama_close(llama);
    }
}

/* ---- bits instead of units ---- */

/* Of three layers two add nothing, so that rounding them does no harm: the other one keeps 8 bits. */
static void the_layer_that_suffers_keeps_its_bits(void **state) {
    (void)state;
    static const char *const fours[] = {"weights=q4_g32", "sensitive_share=0.3", NULL},
                             *const half[] = {"weights=q4_g32", "sensitive_share=0.5", NULL},
                             *const tenth[] = {"weights=q4_g32", "sensitive_share=0.1", NULL},
                             *const eights[] = {"weights=int8", "sensitive_share=0.3", NULL};
    for (size_t loud = 0; loud < LAYERS; loud++) {
        work w;
        bool keep[LAYERS];
        keel_llama *llama = make(false), *as_it_was = make(false);
        keel_matrix_fit *fit = calloc(llama->n_rows, sizeof *fit);
        assert_non_null(fit);
        for (size_t l = 0; l < LAYERS; l++) {
            if (l == loud) continue;
            silence_layer(llama, l);
            silence_layer(as_it_was, l);
        }
        assert_ok(keel_sensitive_llama(llama, fit, job(&w, fours), keep, &err));
        for (size_t l = 0; l < LAYERS; l++) assert_int_equal(keep[l], l == loud);
        assert_string_equal(w.report.figure[0].name, "layers_at_8_bits");
        assert_true(w.report.figure[0].value == 1);
        same_logits(llama, as_it_was, 0);
        assert_ok(keel_sensitive_llama(llama, fit, job(&w, half), keep, &err)); /* of three layers: two */
        assert_true(keep[loud] && keep[0] + keep[1] + keep[2] == 2);
        assert_ok(keel_sensitive_llama(llama, fit, job(&w, tenth), keep, &err)); /* one at least */
        assert_true(keep[loud] && keep[0] + keep[1] + keep[2] == 1);
        assert_ok(keel_sensitive_llama(llama, fit, job(&w, eights), keep, &err));
        for (size_t l = 0; l < LAYERS; l++) assert_false(keep[l]);
        free(fit);
        keel_llama_close(llama);
        keel_llama_close(as_it_was);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_cut_is_as_if_it_were_zero),
        cmocka_unit_test(a_decoder_that_is_tuned_is_not_cut),
        cmocka_unit_test(what_adds_nothing_goes_first),
        cmocka_unit_test(activations_are_weighed_by_what_they_add),
        cmocka_unit_test(taylor_is_the_slope_of_the_loss),
        cmocka_unit_test(weights_of_all_that_makes_and_reads_a_unit_count),
        cmocka_unit_test(harm_is_how_far_probabilities_move),
        cmocka_unit_test(the_cheapest_steps_go),
        cmocka_unit_test(even_layers_stay_alike),
        cmocka_unit_test(layers_go_where_the_loss_does_not_rise),
        cmocka_unit_test(beside_channels_half_is_layers_at_most),
        cmocka_unit_test(what_cannot_go_is_refused),
        cmocka_unit_test(the_layer_that_suffers_keeps_its_bits),
    };
    return cmocka_run_group_tests(tests, set_up, llama_tear_down);
}
