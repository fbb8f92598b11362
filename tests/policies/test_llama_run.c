/* Decoders at work: what they compute, against a plain pass in double precision; and that nothing but the
 * tokens before one decides on its bits. */
#include "core/context.h"
#include "core/interrupt.h"
#include "core/parallel.h"
#include "llama_made.h"
#include "llama_twin.h"
#include "policies/transformer/input_stats.h"
#include "policies/transformer/llama_run.h"
#include "support/faults.h"
#include "support/interrupt.h"

enum { N = 150, MOST_VOCAB = 700 };

static int32_t text[N];
static keel_arena arena;

static int set_up(void **state) {
    (void)state;
    interrupt_listen();
    keel_rng rng = keel_rng_named(1, "text", 0);
    for (size_t i = 0; i < N; i++) text[i] = (int32_t)keel_rng_below(&rng, 60);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    keel_arena_free(&arena);
    return 0;
}

static keel_llama_sequence *opened(const keel_llama *llama, const keel_llama_sequence *parent,
                                   size_t shared) {
    keel_llama_sequence *sequence = NULL;
    assert_ok(keel_llama_sequence_open(&sequence, llama, parent, shared, &err));
    return sequence;
}

/* Tokens from .. to - 1 of the text. */
static void read_on(const keel_llama *llama, keel_llama_sequence *sequence, size_t from, size_t to,
                    keel_pool *pool, float *log_prob, float *logits) {
    const keel_llama_feed feed = {sequence, text + from, to - from, logits,
                                  log_prob ? log_prob + from : NULL};
    assert_ok(keel_llama_run(llama, &feed, 1, pool, &arena, &err));
    keel_arena_reset(&arena);
}

typedef struct reading {
    float log_prob[N], logits[MOST_VOCAB];
} reading;

static void read_whole(const keel_llama *llama, reading *out) {
    keel_llama_sequence *sequence = opened(llama, NULL, 0);
    read_on(llama, sequence, 0, N, NULL, out->log_prob, out->logits);
    assert_int_equal(keel_llama_sequence_length(sequence), N);
    keel_llama_sequence_close(sequence);
}

/* ---- what is computed ---- */

static void is_the_twin(const keel_llama *llama, const keel_llama *twin, size_t before, double by) {
    const size_t vocab = llama->config.vocab, all = twin->config.vocab;
    static int32_t id[N + 8];
    double *logits = malloc((N + before) * all * sizeof *logits);
    reading got;
    assert_non_null(logits);
    for (size_t i = 0; i < before; i++) id[i] = (int32_t)(vocab + i); /* virtual tokens */
    memcpy(id + before, text, sizeof text);
    llama_twin_run(twin, id, N + before, logits);
    read_whole(llama, &got);
    for (size_t i = before ? 0 : 1; i < N; i++) {
        const double expected = twin_log_prob(logits + (before + i - 1) * all, vocab, text[i]);
        if (!(fabs((double)got.log_prob[i] - expected) <= by))
            fail_msg("token %zu: %.7g, expected %.7g", i, (double)got.log_prob[i], expected);
    }
    for (size_t v = 0; v < vocab; v++) {
        const double expected = logits[(before + N - 1) * all + v];
        if (!(fabs((double)got.logits[v] - expected) <= by))
            fail_msg("logit %zu: %.7g, expected %.7g", v, (double)got.logits[v], expected);
    }
    if (!before) assert_true(got.log_prob[0] == 0);
    free(logits);
}

static void logits_are_those_of_the_plain_pass(void **state) {
    (void)state;
    keel_llama_config shapes[5] = {made_config, made_config, made_config, made_config, made_config};
    shapes[1].kv_heads = 4, shapes[1].head_dim = 10, shapes[1].tied = false, shapes[1].vocab = 61;
    shapes[2].kv_heads = 1, shapes[2].qkv_bias = shapes[2].out_bias = shapes[2].mlp_bias = true;
    shapes[2].inner = 50, shapes[2].hidden = 36, shapes[2].head_dim = 32, shapes[2].vocab = 60;
    shapes[3].rope = KEEL_ROPE_LLAMA3, shapes[3].rope_factor = 8, shapes[3].rope_low = 1;
    shapes[3].rope_high = 4, shapes[3].rope_original = 32, shapes[3].rope_theta = 500, shapes[3].layers = 1;
    shapes[4].rope = KEEL_ROPE_LINEAR, shapes[4].rope_factor = 2, shapes[4].heads = 7, shapes[4].kv_heads = 1;
    for (size_t i = 0; i < 5; i++) {
        made_llama m;
        made_open(&m, &shapes[i], KEEL_MATRIX_F32, NULL, 0);
        is_the_twin(&m.llama, &m.llama, 0, 1e-4);
        made_close(&m);
    }
}

/* Root mean square of the logits' differences from the twin's, over that of the logits. */
static double off_by(keel_matrix_type type) {
    made_llama m;
    reading got;
    double square = 0, error = 0;
    made_open(&m, &made_config, type, NULL, 0);
    double *logits = malloc(N * made_config.vocab * sizeof *logits),
           *last = logits + (N - 1) * made_config.vocab;
    assert_non_null(logits);
    llama_twin_run(&m.llama, text, N, logits);
    read_whole(&m.llama, &got);
    for (size_t v = 0; v < made_config.vocab; v++) {
        square += last[v] * last[v];
        error += (last[v] - (double)got.logits[v]) * (last[v] - (double)got.logits[v]);
    }
    free(logits);
    made_close(&m);
    return sqrt(error / square);
}

/* Inputs are rounded too: to 8 bits with one scale for 32 of them, or to bfloat16 where the processor
 * multiplies these. */
static void other_formats_are_near_it(void **state) {
    (void)state;
    const double bf16 = off_by(KEEL_MATRIX_BF16), q8_0 = off_by(KEEL_MATRIX_Q8_0);
    if (!(bf16 < 0.015 && q8_0 < 0.035)) fail_msg("BF16 is off by %g, Q8_0 by %g", bf16, q8_0);
    for (int type = KEEL_MATRIX_I8; type < KEEL_N_MATRIX_TYPES; type++) {
        const double off = off_by(type);
        if (!(off < 0.05)) fail_msg("%s is off by %g", keel_matrix_type_name(type), off);
    }
}

/* ---- what an observer is told ---- */

/* The text in feeds of `step` tokens, by a pool of some threads. */
static void observe(keel_llama *llama, size_t step, size_t threads, keel_input_stats *stats) {
    float log_prob[N], logits[MOST_VOCAB];
    keel_pool *pool = NULL;
    assert_ok(keel_pool_open(&pool, threads, &err));
    assert_ok(keel_input_stats_make(stats, llama->n_rows, &err));
    const keel_observer observer = keel_input_stats_observer(stats);
    keel_llama_sequence *sequence = opened(llama, NULL, 0);
    llama->observer = &observer;
    for (size_t at = 0; at < N; at += step)
        read_on(llama, sequence, at, at + step < N ? at + step : N, pool, log_prob,
                at + step < N ? NULL : logits);
    llama->observer = NULL;
    assert_ok(keel_input_stats_check(stats, &err));
    keel_llama_sequence_close(sequence);
    keel_pool_close(pool);
}

static void is_near(const keel_input_columns *got, const double *square, const keel_input_columns *again) {
    float mean[128];
    assert_int_equal(got->rows, N);
    assert_true(got->cols <= 128);
    keel_input_mean_squares(got, mean);
    for (size_t c = 0; c < got->cols; c++) {
        const double expected = square[c] / N, largest = (double)got->largest[c];
        if (!(fabs((double)mean[c] - expected) <= 1e-4 * expected + 1e-9))
            fail_msg("column %zu: %g, expected %g", c, (double)mean[c], expected);
        assert_true(largest * largest >= expected * (1 - 1e-4) &&
                    largest * largest <= square[c] * (1 + 1e-4));
    }
    assert_memory_equal(got->square, again->square, got->cols * sizeof *got->square);
    assert_memory_equal(got->largest, again->largest, got->cols * sizeof *got->largest);
}

static void an_observer_is_told_what_matrices_read(void **state) {
    (void)state;
    made_llama m;
    keel_input_stats stats, again;
    double *square[KEEL_LLAMA_FIRST_LAYER + 2 * KEEL_LLAMA_LAYER + 2] = {0}, sums[128] = {0};
    made_open(&m, &made_config, KEEL_MATRIX_F32, NULL, 0);
    double *logits = malloc(N * made_config.vocab * sizeof *logits);
    observe(&m.llama, N, 1, &stats);
    observe(&m.llama, 37, 3, &again);
    for (size_t row = 0; row < m.llama.n_rows; row++) {
        const size_t kind = (row - KEEL_LLAMA_FIRST_LAYER) % KEEL_LLAMA_LAYER;
        const bool layer = row >= KEEL_LLAMA_FIRST_LAYER && row < keel_llama_norm(&made_config);
        if (!m.llama.matrix[row].data || !keel_llama_is_matrix(&made_config, row) ||
            (layer && keel_llama_reads(kind) != kind)) {
            assert_int_equal(stats.matrix[row].rows, 0);
            continue;
        }
        memset(sums, 0, sizeof sums);
        square[row] = sums;
        llama_twin_see(&m.llama, text, N, square, logits);
        square[row] = NULL;
        is_near(&stats.matrix[row], sums, &again.matrix[row]);
    }
    free(logits);
    keel_input_stats_free(&stats);
    keel_input_stats_free(&again);
    made_close(&m);
}

/* W + s B A in place of W. */
static void merge(made_llama *m, const made_llama *from) {
    const keel_lora_config *lora = &from->llama.lora;
    static const size_t rows[] = {KEEL_LLAMA_Q,  KEEL_LLAMA_K,    KEEL_LLAMA_V,   KEEL_LLAMA_O,
                                  KEEL_LLAMA_UP, KEEL_LLAMA_DOWN, KEEL_LLAMA_GATE};
    for (size_t l = 0; l < from->llama.config.layers; l++)
        for (unsigned t = 0; t < 7; t++) {
            if (!(lora->targets >> t & 1)) continue;
            const keel_matrix *a = &from->llama.matrix[keel_llama_lora_row(&from->llama, l, 1u << t)],
                              *b = a + 1, *w = &m->llama.matrix[keel_llama_row(l, rows[t])];
            float *to = (float *)(uintptr_t)w->data;
            const float *down = a->data, *up = b->data;
            for (size_t o = 0; o < w->rows; o++)
                for (size_t i = 0; i < w->cols; i++)
                    for (size_t k = 0; k < lora->rank; k++)
                        to[o * w->cols + i] += (float)(lora->alpha / (double)lora->rank) *
                                               up[o * lora->rank + k] * down[k * w->cols + i];
        }
}

static void corrections_that_are_not_merged_count(void **state) {
    (void)state;
    for (unsigned targets = KEEL_LORA_QUERY | KEEL_LORA_DOWN;; targets = KEEL_LORA_ALL | KEEL_LORA_GATE) {
        const keel_lora_config lora = {.rank = 3, .alpha = 2, .targets = targets};
        made_llama m, merged;
        made_open(&m, &made_config, KEEL_MATRIX_F32, &lora, 0);
        made_open(&merged, &made_config, KEEL_MATRIX_F32, NULL, 0);
        merge(&merged, &m);
        is_the_twin(&m.llama, &merged.llama, 0, 1e-4);
        made_close(&m);
        made_close(&merged);
        if (targets & KEEL_LORA_GATE) break;
    }
}

/* Virtual tokens: as if the embedding had rows for them and each text began with these. */
static void virtual_tokens_stand_before_a_text(void **state) {
    (void)state;
    enum { BEFORE = 5 };
    made_llama m, longer;
    keel_llama_config config = made_config;
    const size_t bytes = config.hidden * sizeof(float);
    made_open(&m, &config, KEEL_MATRIX_F32, NULL, BEFORE);
    made_open(&longer, &config, KEEL_MATRIX_F32, NULL, 0);
    char *table = keel_arena_alloc(&longer.arena, (config.vocab + BEFORE) * bytes);
    assert_non_null(table);
    memcpy(table, m.llama.matrix[KEEL_LLAMA_EMBED].data, config.vocab * bytes);
    memcpy(table + config.vocab * bytes, m.llama.matrix[keel_llama_virtual_row(&m.llama)].data,
           BEFORE * bytes);
    longer.llama.matrix[KEEL_LLAMA_EMBED] =
        (keel_matrix){KEEL_MATRIX_F32, config.vocab + BEFORE, config.hidden, table, KEEL_INPUTS_INT8};
    longer.llama.config.vocab += BEFORE;
    is_the_twin(&m.llama, &longer.llama, BEFORE, 1e-4);
    /* read with the first token of whoever is first; a text may stand on them alone */
    reading whole;
    float logits[MOST_VOCAB];
    read_whole(&m.llama, &whole);
    keel_llama_sequence *root = opened(&m.llama, NULL, 0), *early = opened(&m.llama, root, 0);
    float log_prob[N];
    read_on(&m.llama, early, 0, 0, NULL, NULL, NULL); /* nothing */
    read_on(&m.llama, early, 0, N, NULL, log_prob, logits);
    assert_memory_equal(log_prob, whole.log_prob, sizeof log_prob);
    read_on(&m.llama, root, 0, 0, NULL, NULL, logits); /* them alone */
    keel_llama_sequence *late = opened(&m.llama, root, 0);
    read_on(&m.llama, late, 0, N, NULL, log_prob, logits);
    assert_memory_equal(log_prob, whole.log_prob, sizeof log_prob);
    assert_int_equal(keel_llama_sequence_length(late), N);
    keel_llama_sequence_close(late);
    keel_llama_sequence_close(early);
    keel_llama_sequence_close(root);
    made_close(&m);
    made_close(&longer);
}

static const char *const wordpiece =
    "{\"added_tokens\":[{\"id\":0,\"content\":\"[UNK]\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
    "\"normalized\":false,\"special\":true}],\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
    "\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},\"pre_tokenizer\":{\"type\":"
    "\"BertPreTokenizer\"},\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"a\",1],\"cls\":[\"b\",2]},"
    "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},\"model\":{\"type\":\"WordPiece\","
    "\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,\"vocab\":{"
    "\"[UNK]\":0,\"a\":1,\"b\":2,\"c\":59}}}";

/* 60 tokens of 700 rows: the others are never meant. */
static void rows_beyond_the_tokenizer_are_no_tokens(void **state) {
    (void)state;
    made_llama m;
    made_open(&m, &made_config, KEEL_MATRIX_F32, NULL, 0);
    reading all, some;
    read_whole(&m.llama, &all);
    assert_ok(keel_tokenizer_parse(&m.llama.tokenizer, wordpiece, strlen(wordpiece), "test", &err));
    assert_int_equal(keel_tokenizer_size(m.llama.tokenizer), 60);
    read_whole(&m.llama, &some);
    double sum = 0;
    for (size_t v = 0; v < 60; v++) {
        assert_true(some.logits[v] == all.logits[v]);
        sum += exp((double)some.logits[v]);
    }
    for (size_t v = 60; v < MOST_VOCAB; v++) assert_true(some.logits[v] == -INFINITY);
    keel_llama_sequence *s = opened(&m.llama, NULL, 0);
    float one;
    const int32_t beyond = 60, last = 59;
    read_on(&m.llama, s, 0, N, NULL, NULL, NULL);
    assert_ok(keel_llama_run(&m.llama, &(keel_llama_feed){s, &last, 1, NULL, &one}, 1, NULL, &arena, &err));
    assert_true(fabs((double)one - ((double)all.logits[59] - log(sum))) < 1e-5);
    assert_ok(keel_llama_run(&m.llama, &(keel_llama_feed){s, &beyond, 1, NULL, &one}, 1, NULL, &arena, &err));
    assert_true(one == -INFINITY);
    keel_llama_sequence_close(s);
    made_close(&m);
}

/* ---- what decides on the bits ---- */

static void cut_anywhere(const keel_llama *llama, const reading *whole, keel_pool *pool) {
    keel_rng rng = keel_rng_named(1, "cuts", 0);
    for (size_t round = 0; round < 6; round++) {
        static float log_prob[N], logits[MOST_VOCAB];
        keel_llama_sequence *s = opened(llama, NULL, 0);
        const size_t most = round == 0 ? 1 : 1 + keel_rng_below(&rng, 90);
        for (size_t from = 0, to; from < N; from = to) {
            to = from + 1 + keel_rng_below(&rng, most);
            if (to > N) to = N;
            read_on(llama, s, from, to, pool, log_prob, to == N ? logits : NULL);
        }
        assert_memory_equal(log_prob, whole->log_prob, sizeof log_prob);
        assert_memory_equal(logits, whole->logits, llama->config.vocab * sizeof *logits);
        memset(logits, 0, sizeof logits);
        read_on(llama, s, N, N, pool, NULL, logits); /* of what was read before */
        assert_memory_equal(logits, whole->logits, llama->config.vocab * sizeof *logits);
        keel_llama_sequence_cut(s, 40);
        read_on(llama, s, 40, N, pool, log_prob, logits);
        assert_memory_equal(logits, whole->logits, llama->config.vocab * sizeof *logits);
        keel_llama_sequence_close(s);
    }
}

/* A text on a text on a text, the second of which reads on. */
static void fork_anywhere(const keel_llama *llama, const reading *whole, keel_pool *pool) {
    static const size_t forks[][2] = {{1, 2}, {63, 100}, {64, 64}, {65, 129}, {90, 149}};
    for (size_t i = 0; i < sizeof forks / sizeof *forks; i++) {
        static float log_prob[N], logits[MOST_VOCAB];
        const size_t a = forks[i][0], b = forks[i][1];
        keel_llama_sequence *root = opened(llama, NULL, 0);
        read_on(llama, root, 0, a, pool, log_prob, NULL);
        keel_llama_sequence *middle = opened(llama, root, a);
        read_on(llama, root, 0, 20, pool, NULL, NULL); /* something else */
        read_on(llama, middle, a, b, pool, log_prob, NULL);
        keel_llama_sequence *end = opened(llama, middle, b), *again = opened(llama, middle, b);
        read_on(llama, end, b, N, pool, log_prob, logits);
        assert_memory_equal(log_prob, whole->log_prob, sizeof log_prob);
        assert_memory_equal(logits, whole->logits, llama->config.vocab * sizeof *logits);
        read_on(llama, again, b, N, pool, log_prob, logits);
        assert_memory_equal(log_prob, whole->log_prob, sizeof log_prob);
        keel_llama_sequence_close(again);
        keel_llama_sequence_close(end);
        keel_llama_sequence_close(middle);
        keel_llama_sequence_close(root);
    }
}

/* Twelve texts at a time, of other lengths, some on a common beginning; parts of several in one panel. */
static void read_beside_others(const keel_llama *llama, const reading *whole, keel_pool *pool) {
    enum { TEXTS = 12 };
    static float log_prob[TEXTS][N], logits[TEXTS][MOST_VOCAB];
    keel_llama_sequence *root = opened(llama, NULL, 0), *s[TEXTS];
    keel_llama_feed feeds[TEXTS];
    read_on(llama, root, 0, 50, pool, log_prob[0], NULL);
    for (size_t i = 0; i < TEXTS; i++) {
        const size_t from = i % 3 ? 0 : 50, n = i % 2 ? N : from + 1 + 7 * i;
        s[i] = opened(llama, from ? root : NULL, from);
        memcpy(log_prob[i], log_prob[0], 50 * sizeof(float));
        feeds[i] = (keel_llama_feed){s[i], text + from, n - from, logits[i], log_prob[i] + from};
    }
    assert_ok(keel_llama_run(llama, feeds, TEXTS, pool, &arena, &err));
    keel_arena_reset(&arena);
    for (size_t i = 0; i < TEXTS; i++) { /* the rest of those that stopped earlier, one token at a time */
        const size_t at = keel_llama_sequence_length(s[i]);
        feeds[i] = (keel_llama_feed){s[i], text + at, N - at, logits[i], log_prob[i] + at};
    }
    assert_ok(keel_llama_run(llama, feeds, TEXTS, pool, &arena, &err));
    keel_arena_reset(&arena);
    for (size_t i = 0; i < TEXTS; i++) {
        assert_memory_equal(log_prob[i], whole->log_prob, sizeof whole->log_prob);
        assert_memory_equal(logits[i], whole->logits, llama->config.vocab * sizeof(float));
        keel_llama_sequence_close(s[i]);
    }
    keel_llama_sequence_close(root);
}

static void bits_depend_on_what_stands_before_alone(void **state) {
    (void)state;
    const keel_lora_config lora = {.rank = 2, .alpha = 1, .targets = KEEL_LORA_ALL};
    for (int type = 0; type < KEEL_N_MATRIX_TYPES; type++) {
        made_llama m;
        reading whole;
        made_open(&m, &made_config, type, type == KEEL_MATRIX_Q8_0 ? &lora : NULL, type == KEEL_MATRIX_BF16);
        read_whole(&m.llama, &whole);
        for (size_t threads = 0; threads <= 3; threads += 3) {
            keel_pool *pool = NULL;
            if (threads) assert_ok(keel_pool_open(&pool, threads, &err));
            cut_anywhere(&m.llama, &whole, pool);
            fork_anywhere(&m.llama, &whole, pool);
            read_beside_others(&m.llama, &whole, pool);
            keel_pool_close(pool);
        }
        made_close(&m);
    }
}

/* More rows than one pass takes, and with little memory left still fewer. */
static size_t little(void *user) {
    (void)user;
    return 1 << 20;
}

static void passes_are_cut_as_memory_asks(void **state) {
    (void)state;
    enum { LONG = 700 };
    keel_llama_config config = made_config;
    static int32_t id[LONG];
    static float one[LONG], cut[LONG];
    made_llama m;
    config.positions = LONG;
    made_open(&m, &config, KEEL_MATRIX_F32, NULL, 0);
    for (size_t i = 0; i < LONG; i++) id[i] = text[i * 7 % N];
    keel_llama_sequence *a = opened(&m.llama, NULL, 0), *b = opened(&m.llama, NULL, 0);
    assert_ok(keel_llama_run(&m.llama, &(keel_llama_feed){a, id, LONG, NULL, one}, 1, NULL, &arena, &err));
    keel_context narrow = *keel_context_current();
    narrow.allocator.left = little;
    const keel_context *before = keel_context_use(&narrow);
    keel_arena small = {0};
    assert_ok(keel_llama_run(&m.llama, &(keel_llama_feed){b, id, LONG, NULL, cut}, 1, NULL, &small, &err));
    assert_true(small.peak < arena.peak);
    keel_arena_free(&small);
    keel_context_use(before);
    assert_memory_equal(one, cut, sizeof one);
    keel_llama_sequence_close(a);
    keel_llama_sequence_close(b);
    keel_arena_reset(&arena);
    made_close(&m);
}

/* ---- what is refused ---- */

static void fails(const keel_llama *llama, const keel_llama_feed *feeds, size_t n, keel_status with,
                  const char *what) {
    size_t before[4];
    for (size_t i = 0; i < n; i++) before[i] = keel_llama_sequence_length(feeds[i].sequence);
    assert_int_equal(keel_llama_run(llama, feeds, n, NULL, &arena, &err), with);
    contains(err.message, what);
    for (size_t i = 0; i < n; i++) assert_int_equal(keel_llama_sequence_length(feeds[i].sequence), before[i]);
    keel_arena_reset(&arena);
}

static void what_cannot_be_read_is_refused(void **state) {
    (void)state;
    made_llama m, other;
    float logits[MOST_VOCAB];
    static int32_t many[257];
    const int32_t low = -1, high = MOST_VOCAB;
    made_open(&m, &made_config, KEEL_MATRIX_F32, NULL, 0);
    made_open(&other, &made_config, KEEL_MATRIX_F32, NULL, 0);
    keel_llama_sequence *s = opened(&m.llama, NULL, 0), *stranger = opened(&other.llama, NULL, 0), *child;
    const keel_llama_feed twice[] = {{s, text, 3, NULL, NULL}, {s, text, 3, NULL, NULL}};
    fails(&m.llama, twice, 2, KEEL_E_USAGE, "feed 1: its text is in another feed too");
    fails(&m.llama, &(keel_llama_feed){stranger, text, 1, NULL, NULL}, 1, KEEL_E_USAGE, "of another model");
    fails(&m.llama, &(keel_llama_feed){s, text, 0, logits, NULL}, 1, KEEL_E_INVALID,
          "logits of an empty text");
    fails(&m.llama, &(keel_llama_feed){s, &low, 1, NULL, NULL}, 1, KEEL_E_INVALID, "id -1 is out of range");
    fails(&m.llama, &(keel_llama_feed){s, &high, 1, NULL, NULL}, 1, KEEL_E_INVALID, "id 700 is out of range");
    fails(&m.llama, &(keel_llama_feed){s, many, 257, NULL, NULL}, 1, KEEL_E_INVALID, "256 positions");
    fails(&m.llama, &(keel_llama_feed){s, many, SIZE_MAX, NULL, NULL}, 1, KEEL_E_INVALID, "256 positions");
    read_on(&m.llama, s, 0, 100, NULL, NULL, NULL);
    fails(&m.llama, &(keel_llama_feed){s, many, 157, NULL, NULL}, 1, KEEL_E_INVALID, "a text of 257 tokens");
    assert_ok(keel_llama_run(&m.llama, &(keel_llama_feed){s, many, 156, NULL, NULL}, 1, NULL, &arena, &err));
    assert_int_equal(keel_llama_sequence_open(&child, &m.llama, s, 257, &err), KEEL_E_INVALID);
    assert_int_equal(keel_llama_sequence_open(&child, &m.llama, stranger, 0, &err), KEEL_E_INVALID);
    assert_ok(keel_llama_run(&m.llama, NULL, 0, NULL, &arena, &err));
    ((float *)(uintptr_t)m.llama.matrix[keel_llama_norm(&made_config)].data)[5] = NAN;
    keel_llama_sequence_close(s);
    s = opened(&m.llama, NULL, 0);
    fails(&m.llama, &(keel_llama_feed){s, text, 3, logits, NULL}, 1, KEEL_E_INVALID, "not finite");
    keel_llama_sequence_close(s);
    keel_llama_sequence_close(stranger);
    made_close(&m);
    made_close(&other);
}

static void an_interrupted_pass_leaves_texts_as_they_were(void **state) {
    (void)state;
    made_llama m;
    reading whole, got;
    made_open(&m, &made_config, KEEL_MATRIX_F32, NULL, 0);
    read_whole(&m.llama, &whole);
    keel_llama_sequence *s = opened(&m.llama, NULL, 0);
    read_on(&m.llama, s, 0, 10, NULL, got.log_prob, NULL);
    interrupt_set(true);
    fails(&m.llama, &(keel_llama_feed){s, text + 10, N - 10, NULL, NULL}, 1, KEEL_E_INTERRUPTED,
          "stopped after 0");
    interrupt_set(false);
    read_on(&m.llama, s, 10, N, NULL, got.log_prob, got.logits);
    assert_memory_equal(&got, &whole, sizeof got);
    keel_llama_sequence_close(s);
    made_close(&m);
}

static void failed_allocations_lose_nothing(void **state) {
    (void)state;
    made_llama m;
    made_open(&m, &made_config, KEEL_MATRIX_Q8_0, NULL, 2);
    static reading got;
    size_t fail_at = 0;
    for (keel_status status = KEEL_E_NOMEM; status != KEEL_OK; fail_at++) {
        faults memory;
        keel_arena scratch = {0};
        keel_llama_sequence *root = NULL, *s = NULL;
        faults_begin(&memory, fail_at + 1);
        status = keel_llama_sequence_open(&root, &m.llama, NULL, 0, &err);
        const keel_llama_feed first = {root, text, 70, NULL, got.log_prob};
        if (status == KEEL_OK) status = keel_llama_run(&m.llama, &first, 1, NULL, &scratch, &err);
        if (status == KEEL_OK) status = keel_llama_sequence_open(&s, &m.llama, root, 70, &err);
        const keel_llama_feed second = {s, text + 70, N - 70, got.logits, got.log_prob + 70};
        if (status == KEEL_OK) status = keel_llama_run(&m.llama, &second, 1, NULL, &scratch, &err);
        if (status != KEEL_OK) assert_int_equal(status, KEEL_E_NOMEM);
        keel_llama_sequence_close(s);
        keel_llama_sequence_close(root);
        keel_arena_free(&scratch);
        faults_end();
        assert_int_equal(memory.live, 0);
    }
    assert_true(fail_at > 10);
    reading whole;
    read_whole(&m.llama, &whole);
    assert_memory_equal(&got, &whole, sizeof got);
    made_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_the_plain_pass),
        cmocka_unit_test(other_formats_are_near_it),
        cmocka_unit_test(an_observer_is_told_what_matrices_read),
        cmocka_unit_test(corrections_that_are_not_merged_count),
        cmocka_unit_test(virtual_tokens_stand_before_a_text),
        cmocka_unit_test(rows_beyond_the_tokenizer_are_no_tokens),
        cmocka_unit_test(bits_depend_on_what_stands_before_alone),
        cmocka_unit_test(passes_are_cut_as_memory_asks),
        cmocka_unit_test(what_cannot_be_read_is_refused),
        cmocka_unit_test(an_interrupted_pass_leaves_texts_as_they_were),
        cmocka_unit_test(failed_allocations_lose_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
