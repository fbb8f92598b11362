/* Encoders of layers of unequal sizes, and what pruning cuts out of them. */
#include "bert_fixture.h"

#include <math.h>
#include <unistd.h>

#include "core/file.h"
#include "policies/compress/prune_bert.h"
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

static void prune(keel_bert *bert, const char *const *settings, keel_compress_report *report) {
    keel_compress_config config;
    keel_corpus log = the_log();
    assert_ok(keel_options_defaults(keel_compress_options, &config, &err));
    config.sensitivity_tokens = 16;
    for (; *settings; settings++)
        assert_ok(keel_options_assign(keel_compress_options, &config, *settings, &err));
    const keel_compress_job job = {.config = &config, .logged = &log, .report = report};
    assert_ok(keel_prune_bert(bert, &job, &err));
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
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
