/* Decoders whose layers are of unequal sizes: what they compute, against the plain twin, which goes by the
 * shapes of the matrices; on the tape; on disk; and sizes from outside that cannot be. */
#include "core/ops.h"
#include "llama_fixture.h"
#include "llama_made.h"
#include "llama_twin.h"
#include "policies/transformer/llama_run.h"
#include "policies/transformer/llama_tape.h"

enum { N = 70, LAYERS = 3 };

static const uint32_t kv_heads[LAYERS] = {1, 2, 1}, inner[LAYERS] = {64, 32, 96};
static int32_t text[N];

static int set_up(void **state) {
    (void)state;
    keel_rng rng = keel_rng_named(1, "text", 0);
    for (size_t i = 0; i < N; i++) text[i] = (int32_t)keel_rng_below(&rng, 50);
    return llama_set_up_in("llama-sizes", "llama");
}

static keel_llama_config unequal(void) {
    keel_llama_config config = made_config;
    config.layers = LAYERS;
    config.vocab = 60;
    config.layer_kv_heads = kv_heads;
    config.layer_inner = inner;
    return config;
}

/* One with the tokenizer of a golden folder. */
static keel_llama *make(bool biased) {
    keel_llama *like = llama_golden("tied", KEEL_LLAMA_AS_STORED), *made = NULL;
    keel_llama_config config = unequal();
    keel_tokenizer *tokenizer = NULL;
    size_t length;
    config.qkv_bias = biased;
    const char *json = keel_tokenizer_file(like->tokenizer, &length);
    assert_ok(keel_tokenizer_parse(&tokenizer, json, length, "test", &err));
    assert_ok(keel_llama_make(&made, &config, tokenizer, NULL, 3, &err));
    assert_true(made->config.layer_inner != inner); /* a copy */
    keel_llama_close(like);
    return made;
}

static void read_text(const keel_llama *llama, size_t threads, float *log_prob, float *logits) {
    keel_arena scratch = {0};
    keel_llama_sequence *sequence = NULL;
    keel_pool *pool = NULL;
    assert_ok(keel_pool_open(&pool, threads, &err));
    assert_ok(keel_llama_sequence_open(&sequence, llama, NULL, 0, &err));
    for (size_t at = 0; at < N; at += 35) {
        const keel_llama_feed feed = {sequence, text + at, 35, logits, log_prob + at};
        assert_ok(keel_llama_run(llama, &feed, 1, pool, &scratch, &err));
    }
    keel_llama_sequence_close(sequence);
    keel_pool_close(pool);
    keel_arena_free(&scratch);
}

/* The mean difference of log-probabilities from the twin's. */
static double distance(const keel_llama *llama, const float *log_prob) {
    const size_t all = llama->config.vocab,
                 vocab = llama->tokenizer ? keel_tokenizer_size(llama->tokenizer) : all;
    double *logits = malloc(N * all * sizeof *logits), sum = 0;
    assert_non_null(logits);
    llama_twin_run(llama, text, N, logits);
    for (size_t i = 1; i < N; i++)
        sum += fabs((double)log_prob[i] - twin_log_prob(logits + (i - 1) * all, vocab, text[i]));
    free(logits);
    return sum / (N - 1);
}

static void logits_are_those_of_the_plain_pass(void **state) {
    (void)state;
    static const struct {
        keel_matrix_type type;
        double by;
    } ways[] = {{KEEL_MATRIX_F32, 1e-4}, {KEEL_MATRIX_BF16, .4}, {KEEL_MATRIX_Q8_0, .6}};
    const keel_llama_config config = unequal();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        made_llama m;
        float log_prob[N], again[N], logits[60], others[60];
        made_open(&m, &config, ways[i].type, NULL, 0);
        read_text(&m.llama, 1, log_prob, logits);
        read_text(&m.llama, 3, again, others);
        const double off = distance(&m.llama, log_prob);
        if (!(off <= ways[i].by)) fail_msg("%zu: off by %g", i, off);
        assert_memory_equal(log_prob, again, sizeof log_prob);
        assert_memory_equal(logits, others, sizeof logits);
        made_close(&m);
    }
}

/* The heads of four keys and values are 4: of all layers, not of the largest three times. */
static void texts_take_no_room_for_what_is_not_there(void **state) {
    (void)state;
    const keel_llama_config config = unequal();
    const keel_llama llama = {.config = config};
    assert_int_equal(keel_llama_token_bytes(&llama), (4 * 2 * 16 + 64) * sizeof(float) + sizeof(int32_t));
    assert_int_equal(keel_llama_kv_heads_before(&config, 2), 3);
    assert_int_equal(keel_llama_heads(&config, 1), 4);
    assert_int_equal(keel_llama_heads(&config, 2), 2);
}

static void the_tape_computes_the_same(void **state) {
    (void)state;
    const keel_llama_tuning full = {.mode = KEEL_LLAMA_FULL};
    keel_llama *llama = make(true);
    keel_arena arena = {0};
    keel_tape *tape;
    float weight[N], log_prob[N];
    const int32_t offsets[] = {0, N};
    for (size_t i = 0; i < N; i++) weight[i] = 1;
    assert_ok(keel_llama_train(llama, &full, &err));
    float *grads = keel_calloc(llama->params.size, sizeof *grads);
    assert_ok(keel_tape_open(&tape, &err));
    const keel_llama_batch batch = {text, offsets, 1, weight};
    const keel_llama_training training = {.grads = grads, .keep = KEEL_KEEP_NOTHING};
    const keel_llama_loss loss = {.divisor = 1, .log_prob = log_prob};
    keel_tensor *sum = keel_llama_on_tape(tape, llama, &training, &batch, &loss, &arena, &err);
    assert_ok(keel_tape_backward(tape, sum, &err));
    assert_true(distance(llama, log_prob) < 1e-4);
    size_t zero = 0;
    for (size_t i = 0; i < llama->params.size; i++) zero += grads[i] == 0;
    assert_true(zero < llama->params.size / 100); /* every layer has a gradient */
    keel_tape_close(tape);
    keel_free(grads);
    keel_arena_free(&arena);
    keel_llama_close(llama);
}

static void same(const keel_llama *a, const keel_llama *b) {
    float one[N], other[N], logits[60];
    assert_int_equal(a->config.heads, b->config.heads);
    assert_int_equal(a->config.kv_heads, b->config.kv_heads);
    assert_int_equal(a->config.inner, b->config.inner);
    assert_memory_equal(a->config.layer_kv_heads, b->config.layer_kv_heads, sizeof kv_heads);
    assert_memory_equal(a->config.layer_inner, b->config.layer_inner, sizeof inner);
    read_text(a, 1, one, logits);
    read_text(b, 1, other, logits);
    assert_memory_equal(one, other, sizeof one);
}

/* With Qwen's biases a file is `deci` all the same, whose heads lie in pairs. */
static void what_is_written_is_read_again(void **state) {
    (void)state;
    for (int biased = 0; biased < 2; biased++) {
        keel_llama *first = make(biased), *second = NULL, *third = NULL;
        char file[512];
        snprintf(file, sizeof file, "%s", scratch_path(llama_folder, "a.gguf"));
        assert_ok(keel_llama_save_gguf(first, file, KEEL_BLOCK_F32, &err));
        assert_ok(keel_llama_open(&second, file, KEEL_LLAMA_AS_STORED, &err));
        same(first, second);
        assert_ok(keel_folder_remove(llama_folder, &err));
        assert_ok(keel_folder_make(llama_folder, &err));
        assert_ok(keel_llama_save(second, llama_folder, KEEL_BLOCK_F32, 0, &err));
        assert_ok(keel_llama_open(&third, llama_folder, KEEL_LLAMA_AS_STORED, &err));
        same(first, third);
        keel_llama_close(first);
        keel_llama_close(second);
        keel_llama_close(third);
    }
}

/* One list of config.json in place of another. */
static keel_status open_with(const char *old, const char *made) {
    keel_buf config = {0}, changed = {0};
    keel_llama *llama = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path(llama_folder, "config.json"));
    assert_ok(keel_file_read(path, 1 << 20, &config, &err));
    char *at = strstr(config.data, old);
    assert_non_null(at);
    keel_buf_append(&changed, config.data, (size_t)(at - config.data));
    keel_buf_text(&changed, made);
    keel_buf_text(&changed, at + strlen(old));
    llama_write_bytes("config.json", changed.data, changed.length);
    const keel_status status = keel_llama_open(&llama, llama_folder, KEEL_LLAMA_AS_STORED, &err);
    keel_llama_close(llama);
    llama_write_bytes("config.json", config.data, config.length);
    keel_buf_free(&config);
    keel_buf_free(&changed);
    return status;
}

static void sizes_that_cannot_be_are_refused(void **state) {
    (void)state;
    static const char *const wrong[][3] = {
        {"[1, 2, 1]", "[1, 2]", "kv_heads: expected 3 numbers, got 2"},
        {"[1, 2, 1]", "[1, 2, 1, 1]", "kv_heads: expected 3 numbers, got 4"},
        {"[1, 2, 1]", "[0, 2, 1]", "kv_heads: expected 1 to 2, got 0"},
        {"[1, 2, 1]", "[1, 3, 1]", "kv_heads: expected 1 to 2, got 3"},
        {"[1, 2, 1]", "[1, \"2\", 1]", "kv_heads: expected 1 to 2, got 0"},
        {"[1, 2, 1]", "[1, 1, 1]", "kv_heads: expected the largest to be 2, got 1"},
        {"[64, 32, 96]", "[64, 32.5, 96]", "inner: expected 1 to 96, got 32.5"},
        {"[64, 32, 96]", "[64, 32, 64]", "inner: expected the largest to be 96, got 64"},
        {"[64, 32, 96]", "[64, 64, 96]", "expected shape [64, 64]"},
        {"[64, 32, 96]", "3", "inner"},
        {"\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "multiple of 3"},
    };
    keel_llama *llama = make(false);
    assert_ok(keel_folder_remove(llama_folder, &err));
    assert_ok(keel_folder_make(llama_folder, &err));
    assert_ok(keel_llama_save(llama, llama_folder, KEEL_BLOCK_F32, 0, &err));
    assert_ok(open_with("[1, 2, 1]", "[1, 2, 1]"));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (open_with(wrong[i][0], wrong[i][1]) == KEEL_OK) fail_msg("%s was opened", wrong[i][1]);
        if (!strstr(err.message, wrong[i][2])) fail_msg("%s: %s", wrong[i][1], err.message);
    }
    const uint32_t none[LAYERS] = {1, 0, 1};
    assert_int_equal(keel_llama_set_sizes(llama, none, NULL, &err), KEEL_E_INVALID);
    keel_llama_close(llama);
}

/* Bytes of a list: type of items (u32), count (u64), items. */
static void lists_of_a_file_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *key, *made, *told;
        size_t at; /* behind the key */
    } wrong[] = {
        {"deci.block_count", "\x02", "a number for each of 2 layers", 4},
        {"deci.attention.head_count_kv", "\x02", "2 heads over 2", 4 + 4 + 8},
        {"deci.attention.head_count_kv", "\x00", "expected 1 to 1024, got 0", 4 + 4 + 8},
        {"deci.feed_forward_length", "\xff", "rows", 4 + 4 + 8},
    };
    keel_llama *llama = make(false);
    keel_buf file = {0};
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path(llama_folder, "b.gguf"));
    assert_ok(keel_llama_save_gguf(llama, path, KEEL_BLOCK_F32, &err));
    keel_llama_close(llama);
    assert_ok(keel_file_read(path, 1 << 20, &file, &err));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t at = 0;
        const size_t length = strlen(wrong[i].key);
        while (memcmp(file.data + at, wrong[i].key, length) != 0) at++;
        at += length + wrong[i].at;
        const char old = file.data[at];
        file.data[at] = wrong[i].made[0];
        llama_write_bytes("b.gguf", file.data, file.length);
        file.data[at] = old;
        llama = NULL;
        if (keel_llama_open(&llama, path, KEEL_LLAMA_AS_STORED, &err) == KEEL_OK)
            fail_msg("%zu was opened", i);
        if (!strstr(err.message, wrong[i].told)) fail_msg("%zu: %s", i, err.message);
    }
    keel_buf_free(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_the_plain_pass),
        cmocka_unit_test(texts_take_no_room_for_what_is_not_there),
        cmocka_unit_test(the_tape_computes_the_same),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(lists_of_a_file_are_checked),
    };
    return cmocka_run_group_tests(tests, set_up, llama_tear_down);
}
