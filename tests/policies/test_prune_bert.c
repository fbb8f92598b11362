/* Encoders of layers of unequal sizes, and what pruning cuts out of them. */
#include "bert_fixture.h"
#include "bert_made.h"

#include <math.h>
#include <unistd.h>

#include "core/file.h"
#include "policies/compress/prune_bert.h"
#include "policies/compress/quantise.h"
#include "policies/compress/sample.h"
#include "policies/compress/sensitive.h"
#include "policies/transformer/bert_internal.h"
#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/bert_slice.h"
#include "policies/transformer/bert_tape.h"

/* The golden encoder `mean`: 2 layers, 3 heads of 8, 40 channels. */
enum { HIDDEN = 24, HEADS = 3, DIM = 8, INNER = 40, LAYERS = 2 };

static char folder[256];

static int set_up(void **state) {
    (void)state;
    open_golden();
    return scratch_make(folder, "prune_bert") ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    close_golden();
    return keel_folder_remove(folder, &err);
}

static keel_real *weights(const keel_bert *bert, size_t layer, size_t row) {
    return keel_params_at(&bert->params, keel__bert_row(layer, row));
}

/* Zeros in what reads the unit: `wide` columns of a matrix of `cols`. */
static void silence(keel_bert *bert, size_t layer, size_t row, size_t unit, size_t wide, size_t cols) {
    for (size_t r = 0; r < HIDDEN; r++)
        for (size_t i = 0; i < wide; i++) weights(bert, layer, row)[r * cols + unit * wide + i] = 0;
}

static void silence_channel(keel_bert *bert, size_t layer, size_t channel) {
    silence(bert, layer, KEEL_BERT_DOWN, channel, 1, INNER);
}

static void silence_head(keel_bert *bert, size_t layer, size_t head) {
    silence(bert, layer, KEEL_BERT_OUT, head, DIM, HEADS * DIM);
}

static void same_vectors(const keel_bert *a, const keel_bert *b, double by) {
    const float *one = vectors_of(a, texts, n_texts), *other = vectors_of(b, texts, n_texts);
    for (size_t i = 0; i < n_texts * HIDDEN; i++)
        if (!(fabs((double)one[i] - (double)other[i]) <= by))
            fail_msg("number %zu: %g, expected %g", i, (double)one[i], (double)other[i]);
}

/* Of layer 0 heads 0 and 2 and all but 8 channels; layer 1 whole. */
static keel_bert *sliced(void) {
    static uint32_t channels[2][INNER];
    static const uint32_t heads[2][3] = {{0, 2}, {0, 1, 2}};
    keel_bert *bert = load("mean");
    for (uint32_t c = 0; c < 32; c++) channels[0][c] = c < 16 ? c : c + 8;
    for (uint32_t c = 0; c < INNER; c++) channels[1][c] = c;
    const keel_layer_kept kept[] = {{0, 2, 32, heads[0], channels[0]}, {1, 3, INNER, heads[1], channels[1]}};
    assert_ok(keel_bert_slice(bert, kept, 2, &err));
    return bert;
}

static void what_is_cut_is_as_if_it_were_zero(void **state) {
    (void)state;
    keel_bert *small = sliced(), *large = load("mean");
    silence_head(large, 0, 1);
    for (size_t c = 16; c < 24; c++) silence_channel(large, 0, c);
    assert_int_equal(small->config.heads, 3);
    assert_int_equal(keel_bert_heads(&small->config, 0), 2);
    assert_int_equal(keel_bert_inner(&small->config, 0), 32);
    assert_int_equal(keel_bert_inner(&small->config, 1), INNER);
    same_vectors(small, large, 1e-6);
    keel_bert_close(small);
    keel_bert_close(large);
}

static void a_whole_layer_goes_and_heads_behind_stay(void **state) {
    (void)state;
    static const uint32_t heads[] = {0, 1, 2};
    uint32_t channels[INNER];
    const keel_param head = {.name = "head", .rows = 2, .cols = HIDDEN, .init = KEEL_INIT_ONE};
    keel_bert *small = load("mean"), *large = load("mean");
    keel_rng rng = keel_rng_named(1, "test", 0);
    for (uint32_t c = 0; c < INNER; c++) channels[c] = c;
    assert_ok(keel_bert_extend(small, NULL, &head, 1, &err));
    keel_bert_adapt_init(small, &rng);
    const keel_layer_kept kept = {1, HEADS, INNER, heads, channels};
    assert_ok(keel_bert_slice(small, &kept, 1, &err));
    assert_int_equal(small->config.layers, 1);
    assert_int_equal(keel_bert_first_head(small), keel_bert_rows(small));
    const keel_real *last = keel_params_at(&small->params, keel_bert_first_head(small));
    for (size_t i = 0; i < 2 * HIDDEN; i++) assert_true(last[i] == 1);
    assert_memory_equal(weights(small, 0, KEEL_BERT_QKV), weights(large, 1, KEEL_BERT_QKV),
                        3 * HIDDEN * HIDDEN * sizeof(keel_real));
    keel_bert_close(small);
    keel_bert_close(large);
}

static void corrections_are_settled_first(void **state) {
    (void)state;
    const keel_lora_config lora = {.rank = 2, .alpha = 2, .targets = KEEL_LORA_QUERY};
    keel_bert *bert = load("mean");
    const keel_layer_kept kept = {0};
    assert_ok(keel_bert_extend(bert, &lora, NULL, 0, &err));
    assert_int_equal(keel_bert_slice(bert, &kept, 0, &err), KEEL_E_USAGE);
    keel_bert_close(bert);
}

static void the_tape_computes_the_same(void **state) {
    (void)state;
    keel_bert *bert = sliced();
    keel_bert_batch batch;
    keel_tape *tape;
    size_t cut;
    bert->config.normalise = false; /* the tape leaves that to heads */
    const float *expected = vectors_of(bert, texts, n_texts);
    const keel_bert_training training = {0};
    assert_ok(keel_bert_read(bert, texts, n_texts, &arena, &batch, &cut, &err));
    assert_ok(keel_tape_open(&tape, &err));
    const keel_tensor *vectors = keel_bert_on_tape(tape, bert, &training, &batch, &arena, &err);
    assert_non_null(vectors);
    for (size_t i = 0; i < n_texts * HIDDEN; i++)
        assert_true(fabs((double)vectors->data[i] - (double)expected[i]) < 1e-5);
    keel_tape_close(tape);
    keel_bert_close(bert);
}

/* ---- on disk ---- */

static void what_is_written_is_read_again(void **state) {
    (void)state;
    keel_bert *first = sliced(), *second = NULL;
    assert_ok(keel_bert_save(first, folder, &err));
    assert_ok(keel_bert_load(&second, folder, &err));
    assert_int_equal(keel_bert_heads(&second->config, 0), 2);
    assert_int_equal(keel_bert_head_dim(&second->config), DIM);
    assert_int_equal(keel_bert_inner(&second->config, 0), 32);
    same_vectors(second, first, 0);
    keel_bert_close(first);
    keel_bert_close(second);
}

static void sizes_that_cannot_be_are_refused(void **state) {
    (void)state;
    static const char *const wrong[][3] = {
        {"[32, 40]", "[32]", "inner: expected 2 numbers, got 1"},
        {"[32, 40]", "[0, 40]", "inner: expected 1 to 40, got 0"},
        {"[32, 40]", "[32, 32]", "inner: expected the largest to be 40, got 32"},
        {"[32, 40]", "[40, 32]", "expected shape"},
        {"[2, 3]", "[1, 3]", "expected shape"},
        {"[2, 3]", "[2, 4]", "heads: expected 1 to 3, got 4"},
        {"\"head_dim\": 8", "\"head_dim\": 12", "expected shape"},
        {"\"head_dim\": 8", "\"head_dim\": -1", "head_dim"},
    };
    keel_bert *bert = sliced();
    keel_buf config = {0};
    char path[512];
    assert_ok(keel_bert_save(bert, folder, &err));
    keel_bert_close(bert);
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_ok(keel_file_read(path, 1 << 20, &config, &err));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        keel_buf changed = {0};
        const char *at = strstr(config.data, wrong[i][0]);
        assert_non_null(at);
        keel_buf_append(&changed, config.data, (size_t)(at - config.data));
        keel_buf_text(&changed, wrong[i][1]);
        keel_buf_text(&changed, at + strlen(wrong[i][0]));
        assert_ok(keel_file_write(path, changed.data, changed.length, &err));
        keel_buf_free(&changed);
        bert = NULL;
        if (keel_bert_load(&bert, folder, &err) == KEEL_OK) fail_msg("%s was read", wrong[i][1]);
        if (!strstr(err.message, wrong[i][2])) fail_msg("%s: %s", wrong[i][1], err.message);
    }
    keel_buf_free(&config);
}

/* ---- pruning ---- */

static keel_turn turns[MOST_TEXTS];
static keel_conversation conversations[MOST_TEXTS];
static size_t places[MOST_TEXTS];

static keel_status read_log(keel_corpus *corpus, const size_t *place, size_t n, keel_arena *some,
                            keel_conversation **out, keel_err *e) {
    (void)corpus, (void)some, (void)e;
    for (size_t i = 0; i < n; i++) out[i] = &conversations[place[i]];
    return KEEL_OK;
}

static keel_corpus the_log(void) {
    for (size_t i = 0; i < n_texts; i++) {
        turns[i] = (keel_turn){.role = KEEL_ROLE_USER, .text = texts[i]};
        conversations[i] = (keel_conversation){.n_turns = 1, .turns = &turns[i]};
        places[i] = i;
    }
    return (keel_corpus){.name = "log", .count = n_texts, .by_name = places, .read = read_log};
}

typedef struct work {
    keel_compress_config config;
    keel_corpus log;
    keel_compress_job job;
} work;

static const keel_compress_job *job_of(work *w, const char *const *settings, keel_compress_report *report) {
    w->log = the_log();
    assert_ok(keel_options_defaults(keel_compress_options, &w->config, &err));
    w->config.sensitivity_tokens = 16;
    for (; *settings; settings++)
        assert_ok(keel_options_assign(keel_compress_options, &w->config, *settings, &err));
    w->job = (keel_compress_job){.config = &w->config, .logged = &w->log, .report = report};
    return &w->job;
}

static void prune(keel_bert *bert, const char *const *settings, keel_compress_report *report) {
    work w;
    assert_ok(keel_prune_bert(bert, job_of(&w, settings, report), &err));
}

/* The channel says nothing, though it would be heard. */
static void hush_channel(keel_bert *bert, size_t layer, size_t channel) {
    for (size_t i = 0; i < HIDDEN; i++) {
        weights(bert, layer, KEEL_BERT_UP)[channel * HIDDEN + i] = 0;
        weights(bert, layer, KEEL_BERT_DOWN)[i * INNER + channel] *= 100;
    }
    weights(bert, layer, KEEL_BERT_UP_BIAS)[channel] = 0;
}

/* Of both layers 32 channels and a head add nothing: these go, and vectors stay. */
static void what_adds_nothing_goes_first(void **state) {
    (void)state;
    static const char *const ways[][4] = {
        {"ratio=0.6", "importance=activation", NULL},
        {"ratio=0.6", "importance=taylor", NULL},
        {"ratio=0.5", "importance=activation", "spread=sensitivity", NULL},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        keel_bert *bert[2];
        keel_compress_report report = {0};
        for (int k = 0; k < 2; k++) {
            bert[k] = load("mean");
            for (size_t l = 0; l < LAYERS; l++) {
                silence_head(bert[k], l, 1 + l);
                for (size_t c = 0; c < 32; c++)
                    (c % 2 ? silence_channel : hush_channel)(bert[k], l, (c * 3 + l) % INNER);
            }
        }
        prune(bert[1], ways[i], &report);
        same_vectors(bert[1], bert[0], 1e-6);
        assert_int_equal(keel_bert_inner(&bert[1]->config, 0), 8);
        assert_int_equal(keel_bert_heads(&bert[1]->config, 1), 2);
        assert_int_equal(report.n_layers, LAYERS);
        assert_int_equal(report.layer[0].heads, 2);
        keel_compress_report_free(&report);
        keel_bert_close(bert[0]);
        keel_bert_close(bert[1]);
    }
}

static void layers_go_where_vectors_do_not_move(void **state) {
    (void)state;
    static const char *const way[] = {"ratio=0.5", "prune=layers", NULL};
    keel_bert *bert = load("mean"), *whole = load("mean");
    keel_compress_report report = {0};
    /* of layer 1 a thousandth is left, and the norms behind do not undo it */
    for (size_t i = 0; i < HIDDEN * HIDDEN; i++) weights(bert, 1, KEEL_BERT_OUT)[i] *= 1e-3f;
    for (size_t i = 0; i < HIDDEN * INNER; i++) weights(bert, 1, KEEL_BERT_DOWN)[i] *= 1e-3f;
    memset(weights(bert, 1, KEEL_BERT_OUT_BIAS), 0, HIDDEN * sizeof(keel_real));
    memset(weights(bert, 1, KEEL_BERT_DOWN_BIAS), 0, HIDDEN * sizeof(keel_real));
    prune(bert, way, &report);
    assert_int_equal(bert->config.layers, 1);
    assert_int_equal(report.layer[1].channels, 0);
    assert_true(report.layer[1].harm[0] < report.layer[0].harm[0]);
    assert_memory_equal(weights(bert, 0, KEEL_BERT_QKV), weights(whole, 0, KEEL_BERT_QKV),
                        3 * HIDDEN * HIDDEN * sizeof(keel_real));
    keel_compress_report_free(&report);
    keel_bert_close(bert);
    keel_bert_close(whole);
}

/* The places of the n least of so many numbers are true. */
static void least(const double *x, size_t of, size_t n, bool *out) {
    for (size_t i = 0; i < of; i++) {
        size_t less = 0;
        for (size_t k = 0; k < of; k++) less += x[k] < x[i];
        out[i] = less < n;
    }
}

static double square(const float *x, size_t n, size_t apart) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i * apart] * (double)x[i * apart];
    return sum;
}

/* By squares of weights: what makes a unit, and what reads it. */
static void weigh(const keel_bert *bert, size_t layer, double heads[HEADS], double channels[INNER]) {
    for (size_t h = 0; h < HEADS; h++) {
        heads[h] = 0;
        for (size_t part = 0; part < 3; part++)
            heads[h] += square(weights(bert, layer, KEEL_BERT_QKV) + (part * HEADS + h) * DIM * HIDDEN,
                               DIM * HIDDEN, 1);
        for (size_t i = 0; i < DIM; i++)
            heads[h] += square(weights(bert, layer, KEEL_BERT_OUT) + h * DIM + i, HIDDEN, HIDDEN);
    }
    for (size_t c = 0; c < INNER; c++)
        channels[c] = square(weights(bert, layer, KEEL_BERT_UP) + c * HIDDEN, HIDDEN, 1) +
                      square(weights(bert, layer, KEEL_BERT_DOWN) + c, HIDDEN, INNER);
}

/* Drawn weights; of the first head q is small, of the second k and v are. */
static keel_bert *drawn(void) {
    keel_bert *bert = load("mean");
    bert_draw(bert);
    for (size_t l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < 3 * HIDDEN * HIDDEN; i++) {
            const size_t part = i / (HIDDEN * HIDDEN), head = i / (DIM * HIDDEN) % HEADS;
            weights(bert, l, KEEL_BERT_QKV)[i] *= head < 2 && (part == 0) == (head == 0) ? .3f : 2;
        }
    return bert;
}

static void weights_of_all_that_makes_and_reads_a_unit_count(void **state) {
    (void)state;
    static const char *const way[] = {"ratio=0.5", "importance=weight", NULL};
    keel_bert *small = drawn(), *large = drawn();
    keel_compress_report report = {0};
    const double layer = 4 * HIDDEN * HIDDEN + 2 * HIDDEN * INNER + 9 * HIDDEN + INNER;
    prune(small, way, &report);
    assert_int_equal(small->config.inner, INNER - 32);
    assert_int_equal(small->config.heads, HEADS - 1);
    assert_string_equal(report.figure[0].name, "pruned");
    assert_true(fabs(report.figure[0].value - (32 * (2 * HIDDEN + 1) + DIM * (4 * HIDDEN + 3)) / layer) <
                1e-9);
    for (size_t l = 0; l < LAYERS; l++) {
        double heads[HEADS], channels[INNER];
        bool gone[INNER];
        weigh(large, l, heads, channels);
        least(heads, HEADS, 1, gone);
        assert_true(gone[1]); /* q alone would have the first go */
        for (size_t h = 0, at = 0; h < HEADS; h++)
            if (!gone[h])
                assert_memory_equal(weights(small, l, KEEL_BERT_QKV) + at++ * DIM * HIDDEN,
                                    weights(large, l, KEEL_BERT_QKV) + h * DIM * HIDDEN,
                                    DIM * HIDDEN * sizeof(float));
        least(channels, INNER, 32, gone);
        for (size_t c = 0, at = 0; c < INNER; c++)
            if (!gone[c])
                assert_true(weights(small, l, KEEL_BERT_UP_BIAS)[at++] ==
                            weights(large, l, KEEL_BERT_UP_BIAS)[c]);
    }
    keel_compress_report_free(&report);
    keel_bert_close(small);
    keel_bert_close(large);
}

/* The mean squared distance between two encoders' vectors of the texts that losses are measured on. */
static double apart(const keel_bert *a, const keel_bert *b, const keel_compress_job *job) {
    keel_sample all, losses, rest;
    assert_ok(keel_sample_bert(a, job, &arena, &all, &err));
    assert_ok(keel_sample_divide(&all, job, &losses, &rest, &err));
    assert_true(losses.n > 1);
    const size_t n = losses.n * HIDDEN;
    float *one = keel_arena_alloc(&arena, n * sizeof *one),
          *other = keel_arena_alloc(&arena, n * sizeof *one);
    double sum = 0;
    assert_ok(keel_sample_encode(a, &losses, one, &err));
    assert_ok(keel_sample_encode(b, &losses, other, &err));
    for (size_t i = 0; i < n; i++) sum += pow((double)one[i] - (double)other[i], 2);
    return sum / (double)losses.n;
}

static void near(double value, double expected) {
    if (!(expected > 0 && fabs(value - expected) <= 1e-4 * expected))
        fail_msg("%g, expected %g", value, expected);
}

/* Without the layer, biases and all; without its least channels; without its least head. */
static void harm_is_how_far_vectors_move(void **state) {
    (void)state;
    static const char *const layers[] = {"ratio=0.5", "prune=layers", "sensitivity_tokens=30", NULL},
                             *const units[] = {"ratio=0.5", "importance=weight", "spread=sensitivity",
                                               "sensitivity_tokens=30", NULL};
    keel_compress_report report[2] = {0};
    keel_bert *large = drawn(), *small[] = {drawn(), drawn()};
    work w;
    assert_ok(keel_prune_bert(small[0], job_of(&w, layers, &report[0]), &err));
    assert_ok(keel_prune_bert(small[1], job_of(&w, units, &report[1]), &err));
    for (size_t l = 0; l < LAYERS; l++) {
        double heads[HEADS], channels[INNER];
        bool gone[INNER];
        keel_bert *silent = drawn();
        for (size_t h = 0; h < HEADS; h++) silence_head(silent, l, h);
        for (size_t c = 0; c < INNER; c++) silence_channel(silent, l, c);
        memset(weights(silent, l, KEEL_BERT_OUT_BIAS), 0, HIDDEN * sizeof(keel_real));
        memset(weights(silent, l, KEEL_BERT_DOWN_BIAS), 0, HIDDEN * sizeof(keel_real));
        near(report[0].layer[l].harm[0], apart(large, silent, &w.job));
        keel_bert_close(silent);
        weigh(large, l, heads, channels);
        silent = drawn();
        least(channels, INNER, 32, gone);
        for (size_t c = 0; c < INNER; c++)
            if (gone[c]) silence_channel(silent, l, c);
        near(report[1].layer[l].harm[1], apart(large, silent, &w.job));
        keel_bert_close(silent);
        silent = drawn();
        silence_head(silent, l, 1);
        near(report[1].layer[l].harm[2], apart(large, silent, &w.job));
        keel_bert_close(silent);
    }
    for (int i = 0; i < 2; i++) keel_compress_report_free(&report[i]);
    for (int i = 0; i < 2; i++) keel_bert_close(small[i]);
    keel_bert_close(large);
}

/* Of each text's vector in a drawn direction, the slope by a factor on the channel: here by differences. */
static void taylor_is_the_slope_of_the_vector(void **state) {
    (void)state;
    static const char *const way[] = {"ratio=0.3", "prune=channels", "importance=taylor", NULL};
    const double step = 0.02;
    keel_compress_report report = {0};
    keel_bert *small = drawn(), *large = drawn();
    work w;
    assert_ok(keel_prune_bert(small, job_of(&w, way, &report), &err));
    assert_true(large->config.normalise);
    keel_sample all, losses, sample;
    assert_ok(keel_sample_bert(large, &w.job, &arena, &all, &err));
    assert_ok(keel_sample_divide(&all, &w.job, &losses, &sample, &err));
    double slopes[INNER] = {0}, most = 0, kept = INFINITY;
    float *down = weights(large, 1, KEEL_BERT_DOWN), column[HIDDEN];
    float *direction = keel_arena_alloc(&arena, sample.n * HIDDEN * sizeof *direction),
          *vectors = keel_arena_alloc(&arena, sample.n * HIDDEN * sizeof *vectors);
    keel_rng rng = keel_rng_named(1, "prune", 0);
    for (size_t i = 0; i < sample.n * HIDDEN; i++) direction[i] = (float)keel_rng_normal(&rng);
    for (size_t c = 0; c < INNER; c++) {
        double *slope = keel_arena_calloc(&arena, sample.n, sizeof *slope);
        for (size_t r = 0; r < HIDDEN; r++) column[r] = down[r * INNER + c];
        for (int up = -1; up <= 1; up += 2) {
            for (size_t r = 0; r < HIDDEN; r++) down[r * INNER + c] = column[r] * (float)(1 + up * step);
            assert_ok(keel_sample_encode(large, &sample, vectors, &err));
            for (size_t i = 0; i < sample.n * HIDDEN; i++)
                slope[i / HIDDEN] += up * (double)direction[i] * (double)vectors[i] / (2 * step);
        }
        for (size_t r = 0; r < HIDDEN; r++) down[r * INNER + c] = column[r];
        for (size_t i = 0; i < sample.n; i++) slopes[c] += slope[i] * slope[i];
    }
    assert_int_equal(keel_bert_inner(&small->config, 1), INNER - 32);
    for (size_t c = 0, at = 0; c < INNER; c++) {
        const bool stays = at < INNER - 32 && weights(small, 1, KEEL_BERT_UP_BIAS)[at] ==
                                                  weights(large, 1, KEEL_BERT_UP_BIAS)[c];
        if (stays) at++, kept = fmin(kept, slopes[c]);
        if (!stays) most = fmax(most, slopes[c]);
    }
    assert_true(most < 1.01 * kept);
    keel_compress_report_free(&report);
    keel_bert_close(small);
    keel_bert_close(large);
}

/* ---- bits instead of units ---- */

/* Of three layers two add nothing, so that rounding them does no harm: the other one keeps 8 bits. */
static void the_layer_that_suffers_keeps_its_bits(void **state) {
    (void)state;
    static const char *const fours[] = {"weights=q4_0", "sensitive_share=0.3", NULL};
    for (size_t loud = 0; loud < 3; loud++) {
        work w;
        keel_compress_report report = {0};
        keel_bert *bert = bert_of(3, 32, 4, 64), *other = bert_of(3, 32, 4, 64);
        for (size_t l = 0; l < 3; l++) {
            if (l == loud) continue;
            memset(weights(bert, l, KEEL_BERT_OUT), 0, 32 * 32 * sizeof(keel_real));
            memset(weights(bert, l, KEEL_BERT_DOWN), 0, 32 * 64 * sizeof(keel_real));
        }
        memcpy(other->params.data, bert->params.data, bert->params.size * sizeof(keel_real));
        bool keep[3];
        keel_matrix_fit *fit = keel_arena_calloc(&arena, keel_bert_rows(bert), sizeof *fit);
        assert_ok(keel_sensitive_bert(other, fit, job_of(&w, fours, &report), keep, &err));
        assert_memory_equal(other->params.data, bert->params.data, bert->params.size * sizeof(keel_real));
        assert_ok(keel_quantise_bert(bert, &w.job, &err));
        for (size_t l = 0; l < 3; l++) {
            assert_int_equal(keep[l], l == loud);
            assert_int_equal(bert->compressed[keel__bert_row(l, KEEL_BERT_UP)].type,
                             l == loud ? KEEL_MATRIX_Q8_0 : KEEL_MATRIX_Q4_0);
        }
        assert_int_equal(bert->compressed[KEEL_BERT_WORD].type, KEEL_MATRIX_Q8_0);
        keel_compress_report_free(&report);
        keel_bert_close(bert);
        keel_bert_close(other);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_cut_is_as_if_it_were_zero),
        cmocka_unit_test(a_whole_layer_goes_and_heads_behind_stay),
        cmocka_unit_test(corrections_are_settled_first),
        cmocka_unit_test(the_tape_computes_the_same),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(what_adds_nothing_goes_first),
        cmocka_unit_test(layers_go_where_vectors_do_not_move),
        cmocka_unit_test(weights_of_all_that_makes_and_reads_a_unit_count),
        cmocka_unit_test(harm_is_how_far_vectors_move),
        cmocka_unit_test(taylor_is_the_slope_of_the_vector),
        cmocka_unit_test(the_layer_that_suffers_keeps_its_bits),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
