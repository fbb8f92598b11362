/* Compressed models and bases: what is written is what was computed with, whatever the threads; lineage; what
 * is hostile. */
#include "llama_fixture.h"

#include <math.h>
#include <stdlib.h>

#include "core/safetensors.h"
#include "datasets/store_corpus.h"
#include "policies/compress/calibrate.h"
#include "policies/compress/quantise.h"
#include "policies/compress_base.h"
#include "policies/transformer/llama_run.h"
#include "support/interrupt.h"

static char out[3][256];

static int set_up(void **state) {
    (void)state;
    static const char *const names[] = {"one", "two", "three"};
    if (!scratch_make(llama_folder, "compress")) return -1;
    for (int i = 0; i < 3; i++)
        if (!scratch_make(out[i], names[i]) || keel_folder_remove(out[i], &err) != KEEL_OK) return -1;
    return 0;
}

static int tear_down(void **state) {
    for (int i = 0; i < 3; i++)
        if (keel_folder_remove(out[i], &err) != KEEL_OK) return -1;
    (void)state;
    return keel_folder_remove(llama_folder, &err);
}

static keel_compress_config config_of(const char *weights) {
    keel_compress_config config;
    assert_ok(keel_options_defaults(keel_compress_options, &config, &err));
    assert_ok(keel_options_set(keel_compress_options, &config, "weights", weights, "test", &err));
    return config;
}

static void compress(const char *from, const char *to, const char *weights, keel_pool *pool) {
    const keel_compress_config config = config_of(weights);
    keel_compress_report report = {0};
    const keel_compress_job job = {.config = &config, .pool = pool, .report = &report};
    assert_ok(keel_compress_base(from, to, true, &job, &err));
}

static const char *golden(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, GOLDEN "llama/%s", name);
    return path;
}

/* ---- decoders ---- */

static void logits_of(const keel_llama *llama, float *logits) {
    static const int32_t ids[] = {1, 3, 2, 5, 4};
    keel_arena scratch = {0};
    keel_llama_sequence *sequence;
    assert_ok(keel_llama_sequence_open(&sequence, llama, NULL, 0, &err));
    const keel_llama_feed feed = {.sequence = sequence, .id = ids, .n = 5, .logits = logits};
    assert_ok(keel_llama_run(llama, &feed, 1, NULL, &scratch, &err));
    keel_llama_sequence_close(sequence);
    keel_arena_free(&scratch);
}

static void same_matrices(const keel_llama *a, const keel_llama *b) {
    assert_int_equal(a->n_rows, b->n_rows);
    for (size_t row = 0; row < a->n_rows; row++) {
        const keel_matrix *x = &a->matrix[row], *y = &b->matrix[row];
        assert_int_equal(x->data != NULL, y->data != NULL);
        if (!x->data) continue;
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->inputs, y->inputs);
        assert_memory_equal(x->data, y->data, x->rows * keel_matrix_row_bytes(x->type, x->cols));
    }
}

/* In memory, written and read again: the same bytes, types and logits. */
static void a_folder_holds_what_was_computed_with(void **state) {
    (void)state;
    for (int activations = 0; activations < 2; activations++)
        for (int w = 1; keel_compress_weights[w]; w++) {
            keel_compress_config config = config_of(keel_compress_weights[w]);
            keel_compress_report report = {0};
            const keel_compress_job job = {.config = &config, .report = &report};
            keel_llama *made = llama_golden("biased", KEEL_LLAMA_AS_STORED), *read;
            float before[1024], after[1024];
            config.activations = activations;
            assert_true(made->config.vocab <= 1024);
            assert_ok(keel_compress_llama(made, &job, &err));
            assert_true(report.bytes < report.bytes_before);
            logits_of(made, before);
            assert_ok(keel_folder_remove(out[0], &err));
            assert_ok(keel_folder_make(out[0], &err));
            assert_ok(keel_llama_save(made, out[0], KEEL_LLAMA_AS_HELD, 0, &err));
            assert_ok(keel_llama_open(&read, out[0], KEEL_LLAMA_AS_STORED, &err));
            same_matrices(made, read);
            logits_of(read, after);
            assert_memory_equal(before, after, made->config.vocab * sizeof *before);
            keel_llama_close(made);
            keel_llama_close(read);
        }
}

/* Other weights are made of what the formats hold. */
static void other_weights_are_made_of_it(void **state) {
    (void)state;
    float row[256], same[256];
    compress(golden("biased"), out[0], "q4_g32", NULL);
    keel_llama *held, *wide;
    assert_ok(keel_llama_open(&held, out[0], KEEL_LLAMA_AS_STORED, &err));
    assert_ok(keel_llama_open(&wide, out[0], KEEL_LLAMA_F32, &err));
    const size_t at = keel_llama_row(0, KEEL_LLAMA_DOWN);
    assert_int_equal(held->matrix[at].type, KEEL_MATRIX_Q4_G32);
    assert_int_equal(wide->matrix[at].type, KEEL_MATRIX_F32);
    assert_true(held->matrix[at].cols <= 256);
    for (size_t r = 0; r < held->matrix[at].rows; r++) {
        keel_matrix_read_row(&held->matrix[at], r, row);
        keel_matrix_read_row(&wide->matrix[at], r, same);
        assert_memory_equal(row, same, held->matrix[at].cols * sizeof *row);
    }
    keel_llama_close(held);
    keel_llama_close(wide);
}

static void embeddings_and_heads_have_8_bits_and_odd_widths_int8(void **state) {
    (void)state;
    keel_compress_config config = config_of("q4_0");
    assert_int_equal(keel_quantise_type(&config, true, 64), KEEL_MATRIX_Q8_0);
    assert_int_equal(keel_quantise_type(&config, false, 64), KEEL_MATRIX_Q4_0);
    assert_int_equal(keel_quantise_type(&config, false, 65), KEEL_MATRIX_I8);
    config = config_of("q4_g32");
    assert_int_equal(keel_quantise_type(&config, true, 64), KEEL_MATRIX_I8);
    assert_int_equal(keel_quantise_type(&config, false, 64), KEEL_MATRIX_Q4_G32);
}

/* ---- by a log ---- */

typedef struct logged {
    keel_store *store;
    keel_split split;
    keel_corpus *corpus;
} logged;

static logged open_log(void) {
    logged log = {0};
    assert_ok(keel_store_open(&log.store, scratch_path(llama_folder, "log.db"), KEEL_STORE_CREATE, &err));
    add_sets(log.store, 12, "train");
    assert_ok(keel_split_parse("train", &log.split, &err));
    assert_ok(keel_store_corpus_open(&log.corpus, log.store, &log.split, 1 << 20, &err));
    return log;
}

static void close_log(logged *log) {
    keel_store_corpus_close(log->corpus);
    keel_store_close(log->store);
}

/* sum over rows and columns of importance (w - q)^2 */
static double error_of(const keel_matrix *whole, const keel_matrix *held, const float *importance) {
    float w[256], q[256];
    double sum = 0;
    assert_true(whole->cols <= 256);
    for (size_t r = 0; r < whole->rows; r++) {
        keel_matrix_read_row(whole, r, w);
        keel_matrix_read_row(held, r, q);
        for (size_t c = 0; c < whole->cols; c++)
            sum += (double)importance[c] * ((double)w[c] - (double)q[c]) * ((double)w[c] - (double)q[c]);
    }
    return sum;
}

static keel_llama *compressed(const char *calibrate, keel_corpus *corpus, keel_pool *pool) {
    keel_compress_config config = config_of("q4_g32");
    keel_compress_report report = {0};
    const keel_compress_job job = {.config = &config, .logged = corpus, .pool = pool, .report = &report};
    keel_llama *llama = llama_golden("biased", KEEL_LLAMA_F32);
    assert_ok(keel_options_set(keel_compress_options, &config, "calibrate", calibrate, "test", &err));
    assert_ok(keel_compress_llama(llama, &job, &err));
    return llama;
}

/* What matrices read on the log: the error counts by it, and is the least then; K is told by Q. */
static void scales_fit_what_the_log_says(void **state) {
    (void)state;
    logged log = open_log();
    keel_compress_config config = config_of("q4_g32");
    keel_compress_report report = {0};
    const keel_compress_job job = {.config = &config, .logged = log.corpus, .report = &report};
    keel_llama *whole = llama_golden("biased", KEEL_LLAMA_F32),
               *plain = compressed("absmax", log.corpus, NULL), *blind = compressed("mse", NULL, NULL),
               *seen = compressed("mse", log.corpus, NULL);
    keel_matrix_fit *fit = calloc(whole->n_rows, sizeof *fit);
    keel_arena arena = {0};
    assert_non_null(fit);
    assert_ok(keel_options_set(keel_compress_options, &config, "calibrate", "mse", "test", &err));
    assert_ok(keel_calibrate_llama(whole, &job, &arena, fit, &err));
    for (size_t l = 0; l < whole->config.layers; l++) {
        const size_t q = keel_llama_row(l, KEEL_LLAMA_Q), k = keel_llama_row(l, KEEL_LLAMA_K),
                     down = keel_llama_row(l, KEEL_LLAMA_DOWN);
        const float *importance = fit[down].importance;
        assert_true(fit[q].importance && fit[k].importance && importance);
        assert_memory_equal(fit[q].importance, fit[k].importance, whole->config.hidden * sizeof(float));
        const double by_log = error_of(&whole->matrix[down], &seen->matrix[down], importance);
        assert_true(by_log < error_of(&whole->matrix[down], &plain->matrix[down], importance));
        assert_true(by_log < error_of(&whole->matrix[down], &blind->matrix[down], importance));
    }
    assert_null(fit[KEEL_LLAMA_EMBED].importance); /* nothing is multiplied with it here */
    keel_arena_free(&arena);
    free(fit);
    keel_llama_close(whole);
    keel_llama_close(plain);
    keel_llama_close(blind);
    keel_llama_close(seen);
    close_log(&log);
}

static void threads_do_not_change_scales(void **state) {
    (void)state;
    logged log = open_log();
    keel_pool *pool;
    assert_ok(keel_pool_open(&pool, 3, &err));
    keel_llama *one = compressed("mse", log.corpus, NULL), *three = compressed("mse", log.corpus, pool);
    same_matrices(one, three);
    keel_llama_close(one);
    keel_llama_close(three);
    keel_pool_close(pool);
    close_log(&log);
}

/* ---- folders ---- */

static void same_file(const char *a, const char *b, const char *name) {
    keel_buf x = {0}, y = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/%s", a, name);
    assert_ok(keel_file_read(path, 0, &x, &err));
    snprintf(path, sizeof path, "%s/%s", b, name);
    assert_ok(keel_file_read(path, 0, &y, &err));
    assert_int_equal(x.length, y.length);
    assert_memory_equal(x.data, y.data, x.length);
    keel_buf_free(&x);
    keel_buf_free(&y);
}

static void any_number_of_threads_gives_the_same_bytes(void **state) {
    (void)state;
    static const char *const files[] = {"model.safetensors", "config.json", "compress.json",
                                        "tokenizer.json"};
    keel_pool *pool;
    assert_ok(keel_pool_open(&pool, 3, &err));
    compress(golden("biased"), out[0], "int8", NULL);
    compress(golden("biased"), out[1], "int8", pool);
    keel_pool_close(pool);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) same_file(out[0], out[1], files[i]);
}

static cJSON *lineage_of(const char *dir, const char *file) {
    cJSON *json = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    assert_ok(keel_json_parse_file(path, &json, &err));
    return json;
}

static const char *text_at(const cJSON *json, const char *key) {
    const cJSON *item = keel_json_get(json, key);
    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

/* Twice: what it was stands in what it is. */
static void lineage_says_what_it_was_made_from(void **state) {
    (void)state;
    char hash[65], middle[65];
    compress(golden("biased"), out[0], "q8_0", NULL);
    compress(out[0], out[1], "q4_0", NULL);
    assert_ok(keel_base_hash_model(golden("biased"), hash, &err));
    assert_ok(keel_base_hash_model(out[0], middle, &err));
    cJSON *json = lineage_of(out[1], "compress.json");
    const cJSON *lineage = keel_json_get(json, "lineage"), *before = keel_json_get(lineage, "before");
    assert_string_equal(text_at(lineage, "compressed_from"), middle);
    assert_string_equal(text_at(before, "compressed_from"), hash);
    assert_string_equal(text_at(keel_json_get(lineage, "compression"), "weights"), "q4_0");
    assert_string_equal(text_at(keel_json_get(before, "compression"), "weights"), "q8_0");
    cJSON_Delete(json);
}

static void what_is_there_is_not_written_over(void **state) {
    (void)state;
    const keel_compress_config config = config_of("q4_0");
    keel_compress_report report = {0};
    const keel_compress_job job = {.config = &config, .report = &report};
    compress(golden("biased"), out[0], "int8", NULL);
    assert_int_equal(keel_compress_base(golden("biased"), out[0], false, &job, &err), KEEL_E_CONFLICT);
    contains(err.hint, "--replace");
    assert_int_equal(keel_compress_base(out[0], llama_folder, true, &job, &err), KEEL_E_CONFLICT);
    contains(err.message, "no model that could be replaced");
    assert_int_equal(keel_compress_base("builtin", out[1], true, &job, &err), KEEL_E_NOT_FOUND);
    assert_false(keel_file_is_folder(out[1]));
}

/* ---- hostile ---- */

/* Where the data of a tensor begin in the file. */
static long place_of(const char *dir, const char *name) {
    keel_safetensors file = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_ok(keel_safetensors_read(path, &file, &err));
    const keel_named_tensor *tensor = keel_safetensors_find(&file, name);
    assert_non_null(tensor);
    const long at = (long)((const char *)tensor->data - file.file.data);
    keel_safetensors_free(&file);
    return at;
}

static void poke(const char *dir, long at, const void *bytes, size_t n) {
    char path[512];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    FILE *file = fopen(path, "r+b");
    assert_true(file && fseek(file, at, SEEK_SET) == 0 && fwrite(bytes, 1, n, file) == n &&
                fclose(file) == 0);
}

static void change(const char *dir, const char *name, const char *old, const char *made) {
    keel_buf text = {0}, changed = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_ok(keel_file_read(path, 0, &text, &err));
    const char *found = NULL;
    for (size_t i = 0; !found && i + strlen(old) <= text.length; i++)
        if (memcmp(text.data + i, old, strlen(old)) == 0) found = text.data + i;
    assert_non_null(found);
    keel_buf_append(&changed, text.data, (size_t)(found - text.data));
    keel_buf_text(&changed, made);
    const char *rest = found + strlen(old);
    keel_buf_append(&changed, rest, text.length - (size_t)(rest - text.data));
    FILE *file = fopen(path, "wb");
    assert_true(file && fwrite(changed.data, 1, changed.length, file) == changed.length && fclose(file) == 0);
    keel_buf_free(&text);
    keel_buf_free(&changed);
}

static void refused(const char *what) {
    keel_llama *llama = NULL;
    assert_true(keel_llama_open(&llama, out[0], KEEL_LLAMA_AS_STORED, &err) != KEEL_OK);
    if (!strstr(err.message, what) && !strstr(err.where, what))
        fail_msg("\"%s\": \"%s\" does not say \"%s\"", err.where, err.message, what);
}

static void hostile_scales_and_steps_are_refused(void **state) {
    (void)state;
    static const unsigned char infinite_float[] = {0, 0, 0x80, 0x7f}, nan_half[] = {1, 0x7e}, step[] = {16};
    static const struct {
        const char *weights;
        long at;
        const unsigned char *bytes;
        size_t n;
    } cases[] = {{"int8", 0, infinite_float, 4},
                 {"q8_0", 0, nan_half, 2},
                 {"q4_0", 18, nan_half, 2},
                 {"q4_g32", 0, infinite_float, 4},
                 {"q4_g32", 4, step, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[128];
        compress(golden("biased"), out[0], cases[i].weights, NULL);
        snprintf(name, sizeof name, "model.layers.1.mlp.down_proj.weight.%s", cases[i].weights);
        poke(out[0], place_of(out[0], name) + cases[i].at, cases[i].bytes, cases[i].n);
        refused("down_proj");
    }
}

static void hostile_folders_are_refused(void **state) {
    (void)state;
    compress(golden("biased"), out[0], "int8", NULL);
    change(out[0], "config.json", "\"quant_method\": \"keel\"", "\"quant_method\": \"gptq\"");
    refused("gptq");
    compress(golden("biased"), out[0], "int8", NULL);
    change(out[0], "config.json", "\"activations\": \"int8\"", "\"activations\": \"int4\"");
    refused("int4");
    compress(golden("biased"), out[0], "int8", NULL);
    change(out[0], "model.safetensors", "up_proj.weight.int8", "up_proj.weight.int9");
    refused("up_proj");
    compress(golden("biased"), out[0], "int8", NULL);
    change(out[0], "model.safetensors", "up_proj.weight.int8", "up_proj.weight.q4_0"); /* of another size */
    refused("up_proj");
}

/* A matrix as floats beside the same in 8 bits: neither is taken silently. */
static void a_matrix_in_two_formats_is_refused(void **state) {
    (void)state;
    static const char norm[] = "model.norm.weight", matrix[] = "model.layers.0.mlp.up_proj.weight";
    keel_buf text = {0};
    uint64_t header;
    char path[512];
    compress(golden("biased"), out[0], "int8", NULL);
    snprintf(path, sizeof path, "%s/model.safetensors", out[0]);
    assert_ok(keel_file_read(path, 0, &text, &err));
    memcpy(&header, text.data, sizeof header);
    header += strlen(matrix) - strlen(norm);
    poke(out[0], 0, &header, sizeof header);
    change(out[0], "model.safetensors", norm, matrix);
    refused("two number formats");
    keel_buf_free(&text);
}

/* What no scale holds is no reason to write a folder that nothing opens. */
static void numbers_that_no_format_holds_are_refused(void **state) {
    (void)state;
    static const float cases[] = {NAN, INFINITY, 1e30f};
    static const char *const weights[] = {"int8", "q8_0", "q4_0", "q4_g32"};
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 4; k++) {
            if (i == 2 && (k == 0 || k == 3)) continue; /* scales in floats hold it */
            const keel_compress_config config = config_of(weights[k]);
            keel_compress_report report = {0};
            const keel_compress_job job = {.config = &config, .report = &report};
            compress(golden("biased"), out[0], "none", NULL);
            poke(out[0], place_of(out[0], "model.layers.1.mlp.down_proj.weight"), &cases[i], sizeof *cases);
            assert_int_equal(keel_compress_base(out[0], out[1], true, &job, &err), KEEL_E_INVALID);
            contains(err.message, "not finite");
            assert_false(keel_file_is_folder(out[1]));
        }
}

static void it_stops_where_it_is_told_to(void **state) {
    (void)state;
    const keel_compress_config config = config_of("int8");
    keel_compress_report report = {0};
    const keel_compress_job job = {.config = &config, .report = &report};
    interrupt_listen();
    interrupt_set(true);
    const keel_status status = keel_compress_base(golden("biased"), out[1], true, &job, &err);
    interrupt_set(false);
    assert_int_equal(status, KEEL_E_INTERRUPTED);
    assert_false(keel_file_is_folder(out[1]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_folder_holds_what_was_computed_with, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_weights_are_made_of_it, set_up, tear_down),
        cmocka_unit_test(embeddings_and_heads_have_8_bits_and_odd_widths_int8),
        cmocka_unit_test_setup_teardown(scales_fit_what_the_log_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_do_not_change_scales, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_number_of_threads_gives_the_same_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lineage_says_what_it_was_made_from, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_there_is_not_written_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hostile_scales_and_steps_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hostile_folders_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_matrix_in_two_formats_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_that_no_format_holds_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_stops_where_it_is_told_to, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
