/* Decoders from Hugging Face folders: logits of a plain forward in numpy, whatever the shape, the number
 * format and the generation of keys; what is not computed is refused by name; damage is told. */
#include "fixture.h"

#include "core/file.h"
#include "core/json.h"
#include "llama_fixture.h"
#include "llama_twin.h"
#include "policies/transformer/llama_run.h"
#include "support/faults.h"

static int set_up(void **state) {
    (void)state;
    return llama_set_up("llama");
}

/* ---- logits ---- */

/* The largest difference of logits and log-probabilities from the golden ones. */
static double distance(const keel_llama *llama, const cJSON *texts) {
    const size_t vocab = llama->config.vocab;
    double most = 0;
    const cJSON *text;
    cJSON_ArrayForEach (text, texts) {
        const cJSON *logits = keel_json_get(text, "logits"), *log_prob = keel_json_get(text, "log_prob");
        const size_t n = (size_t)cJSON_GetArraySize(keel_json_get(text, "ids"));
        double *found = calloc(n * vocab, sizeof *found);
        int32_t id[64];
        for (size_t i = 0; i < n; i++)
            id[i] = cJSON_GetArrayItem(keel_json_get(text, "ids"), (int)i)->valueint;
        llama_twin_run(llama, id, n, found);
        for (size_t v = 0; v < vocab; v++)
            most = fmax(most,
                        fabs(found[(n - 1) * vocab + v] - cJSON_GetArrayItem(logits, (int)v)->valuedouble));
        for (size_t i = 1; i < n; i++)
            most = fmax(most, fabs(twin_log_prob(found + (i - 1) * vocab, vocab, id[i]) -
                                   cJSON_GetArrayItem(log_prob, (int)i)->valuedouble));
        free(found);
    }
    return most;
}

static void logits_are_those_of_the_formulas(void **state) {
    (void)state;
    static const struct {
        keel_llama_weights weights;
        double most;
    } kinds[] = {{KEEL_LLAMA_AS_STORED, 1e-7}, {KEEL_LLAMA_F32, 1e-7}, {KEEL_LLAMA_BF16, .3}};
    for (size_t m = 0; m < N_LLAMA; m++)
        for (size_t k = 0; k < 3; k++) {
            keel_llama *llama = llama_golden(llama_names[m], kinds[k].weights);
            const double most = distance(llama, keel_json_get(llama_numbers, llama_names[m]));
            if (!(most < kinds[k].most)) fail_msg("%s, weights %zu: %g apart", llama_names[m], k, most);
            keel_llama_close(llama);
        }
}

/* The same of the pass that is in use (llama_run.h), which knows the tokens that the tokenizer has alone. */
static void logits_of_the_quick_pass_are_those_too(void **state) {
    (void)state;
    const cJSON *text;
    for (size_t m = 0; m < N_LLAMA; m++) {
        keel_llama *llama = llama_golden(llama_names[m], KEEL_LLAMA_F32);
        const size_t known = keel_tokenizer_size(llama->tokenizer);
        cJSON_ArrayForEach (text, keel_json_get(llama_numbers, llama_names[m])) {
            const cJSON *ids = keel_json_get(text, "ids"), *logits = keel_json_get(text, "logits");
            keel_llama_sequence *sequence = NULL;
            keel_arena arena = {0};
            int32_t id[64];
            float found[64];
            keel_llama_feed feed = {.id = id, .n = (size_t)cJSON_GetArraySize(ids), .logits = found};
            assert_true(llama->config.vocab <= 64 && known > 50);
            for (size_t i = 0; i < feed.n; i++) id[i] = cJSON_GetArrayItem(ids, (int)i)->valueint;
            assert_ok(keel_llama_sequence_open(&sequence, llama, NULL, 0, &err));
            feed.sequence = sequence;
            assert_ok(keel_llama_run(llama, &feed, 1, NULL, &arena, &err));
            for (size_t v = 0; v < known; v++) {
                const double want = cJSON_GetArrayItem(logits, (int)v)->valuedouble;
                if (!(fabs((double)found[v] - want) < 1e-4))
                    fail_msg("%s, %zu tokens, id %zu: %g, expected %g", llama_names[m], feed.n, v,
                             (double)found[v], want);
            }
            for (size_t v = known; v < llama->config.vocab; v++) assert_true(found[v] == -INFINITY);
            keel_llama_sequence_close(sequence);
            keel_arena_free(&arena);
        }
        keel_llama_close(llama);
    }
}

/* F32 and BF16 are where the file is mapped, all else is made F32; what is asked for is what is there. */
static void weights_have_the_type_that_is_asked_for(void **state) {
    (void)state;
    static const keel_matrix_type stored[N_LLAMA] = {KEEL_MATRIX_F32, KEEL_MATRIX_BF16, KEEL_MATRIX_F32,
                                                     KEEL_MATRIX_F32};
    for (size_t m = 0; m < N_LLAMA; m++) {
        keel_llama *llama = llama_golden(llama_names[m], KEEL_LLAMA_AS_STORED);
        const size_t q = keel_llama_row(0, KEEL_LLAMA_Q);
        assert_int_equal(llama->matrix[q].type, stored[m]);
        assert_int_equal(llama->matrix[keel_llama_norm(&llama->config)].type, KEEL_MATRIX_F32);
        assert_int_equal(llama->n_rows, keel_llama_head(&llama->config) + 1);
        assert_true(llama->config.tied == (llama->matrix[llama->n_rows - 1].data == NULL));
        keel_llama_close(llama);
    }
    keel_llama *llama = llama_golden("biased", KEEL_LLAMA_Q8_0),
               *wide = llama_golden("biased", KEEL_LLAMA_F32);
    for (size_t row = 0; row < llama->n_rows; row++) {
        const keel_matrix *matrix = &llama->matrix[row];
        if (!matrix->data) continue;
        const bool is_matrix = keel_llama_is_matrix(&llama->config, row);
        float found[64], expected[64];
        assert_int_equal(matrix->type, is_matrix ? KEEL_MATRIX_Q8_0 : KEEL_MATRIX_F32);
        keel_matrix_read_row(matrix, matrix->rows - 1, found);
        keel_matrix_read_row(&wide->matrix[row], matrix->rows - 1, expected);
        for (size_t i = 0; i < matrix->cols; i++) assert_true(fabsf(found[i] - expected[i]) < .01f);
    }
    keel_llama_close(llama);
    keel_llama_close(wide);
    assert_int_equal(keel_llama_open(&llama, GOLDEN "llama/tied", KEEL_LLAMA_Q8_0, &err), KEEL_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "multiple of 32"));
}

/* ---- what the files of text say ---- */

static void generation_config_goes_before_config(void **state) {
    (void)state;
    keel_llama *llama = llama_golden("tied", KEEL_LLAMA_AS_STORED);
    assert_int_equal(llama->config.bos, 1);
    assert_int_equal(llama->config.n_eos, 2);
    assert_int_equal(llama->config.eos[0], 2);
    assert_int_equal(llama->config.eos[1], 0);
    assert_true(fabs(llama->defaults.temperature - .6) < 1e-12 && fabs(llama->defaults.top_p - .95) < 1e-12);
    assert_non_null(strstr(llama->chat_source, "<|im_start|>"));
    assert_false(llama->config.adds_bos);
    keel_llama_close(llama);
    llama = llama_golden("biased", KEEL_LLAMA_AS_STORED);
    assert_int_equal(llama->config.bos, 1); /* tokenizer_config.json over config.json */
    assert_int_equal(llama->config.n_eos, 1);
    keel_llama_close(llama);
}

/* The same model in the keys of the other generation, or with values that change nothing. */
static void both_generations_of_keys_are_the_same_model(void **state) {
    (void)state;
    static const char *const same[][4] = {
        {"tied", "config.json", "\"rope_parameters\": {", "\"rope_theta\": 10000.0, \"rope_scaling\": {"},
        {"tied", "config.json", "\"rope_type\": \"linear\"", "\"type\": \"linear\""},
        {"tied", "config.json", "\"dtype\": \"float32\"", "\"torch_dtype\": \"float32\""},
        {"tied", "config.json", "\"eos_token_id\": 2", "\"eos_token_id\": [2, 1]"},
        {"tied", "config.json", "\"pad_token_id\": null", "\"pad_token_id\": -1"},
        {"tied", "config.json", "\"head_dim\": 6,", ""},
        {"llama3", "config.json", "\"rope_type\": \"llama3\"", "\"type\": \"llama3\""},
        {"biased", "config.json", "\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"default\"}"},
        {"biased", "config.json", "\"use_sliding_window\": false",
         "\"use_sliding_window\": true"}, /* wider than the text */
        {"biased", "config.json",
         "\"sliding_window\": 4096,\n \"tie_word_embeddings\": false,\n \"transformers_version\": \"4.51.0\",\n \"use_cache\": true,\n \"use_sliding_window\": false",
         "\"sliding_window\": 4, \"tie_word_embeddings\": false, \"use_sliding_window\": true"}, /* from layer
                                                                                                    2 on: none
                                                                                                  */
        {"biased", "config.json", "\"pad_token_id\": null", "\"layer_types\": [\"full_attention\"]"},
        {"biased", "tokenizer_config.json", "\"bos_token\": \"<|im_start|>\"",
         "\"bos_token\": {\"content\": \"<|im_start|>\"}"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        llama_lay_out(same[i][0]);
        llama_change(same[i][0], same[i][1], same[i][2], same[i][3]);
        keel_llama *llama = NULL;
        if (keel_llama_open(&llama, llama_folder, KEEL_LLAMA_AS_STORED, &err) != KEEL_OK)
            fail_msg("%s: %s: %s", same[i][3], err.where, err.message);
        const double most = distance(llama, keel_json_get(llama_numbers, same[i][0]));
        if (!(most < 1e-7)) fail_msg("%s: %g apart", same[i][3], most);
        keel_llama_close(llama);
    }
}

static void templates_come_from_lists_and_files(void **state) {
    (void)state;
    keel_llama *llama = NULL;
    llama_lay_out("tied");
    llama_write("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"t\"},"
                                         " {\"name\": \"default\", \"template\": \"of the list\"}]}");
    assert_ok(keel_llama_open(&llama, llama_folder, KEEL_LLAMA_AS_STORED, &err));
    assert_string_equal(llama->chat_source, "of the list");
    keel_llama_close(llama);
    llama_write("chat_template.jinja", "of the file");
    assert_ok(keel_llama_open(&llama, llama_folder, KEEL_LLAMA_AS_STORED, &err));
    assert_string_equal(llama->chat_source, "of the file");
    assert_non_null(llama->chat);
    keel_llama_close(llama);
    /* Not UTF-8: nothing that could be written again. */
    llama_write("chat_template.jinja", "of \xB5 the file");
    assert_ok(keel_llama_open(&llama, llama_folder, KEEL_LLAMA_AS_STORED, &err));
    assert_true(!llama->chat_source && !llama->chat);
    keel_llama_close(llama);
}

/* ---- what is wrong ---- */

static void what_is_not_computed_is_refused_by_name(void **state) {
    (void)state;
    static const char *const wrong[][5] = {
        {"tied", "\"model_type\": \"llama\"", "\"model_type\": \"mixtral\"", "model_type"},
        {"tied", "\"hidden_act\": \"silu\"", "\"hidden_act\": \"gelu\"", "hidden_act"},
        {"tied", "\"rope_type\": \"linear\"", "\"rope_type\": \"yarn\"", "rope_type"},
        {"tied", "\"rope_type\": \"linear\"", "\"rope_type\": \"dynamic\"", "rope_type"},
        {"tied", "\"pretraining_tp\": 1", "\"quantization_config\": {\"bits\": 4}", "quantization_config"},
        {"tied", "\"pretraining_tp\": 1", "\"num_local_experts\": 8", "experts"},
        {"tied", "\"pretraining_tp\": 1", "\"partial_rotary_factor\": 0.5", "partial_rotary_factor"},
        {"plain", "\"sliding_window\": null", "\"sliding_window\": 16", "sliding_window"},
        {"plain", "\"sliding_window\": null,", "", NULL}, /* 4096, wider than 48 positions */
        {"biased",
         "\"max_window_layers\": 2,\n \"model_type\": \"qwen2\",\n \"num_attention_heads\": 4,\n \"num_hidden_layers\": 2,\n \"num_key_value_heads\": 1,\n \"pad_token_id\": null,\n \"rms_norm_eps\": 1e-06,\n \"sliding_window\": 4096,\n \"tie_word_embeddings\": false,\n \"transformers_version\": \"4.51.0\",\n \"use_cache\": true,\n \"use_sliding_window\": false",
         "\"max_window_layers\": 1, \"model_type\": \"qwen2\", \"num_attention_heads\": 4, \"num_hidden_layers\": 2, \"num_key_value_heads\": 1, \"sliding_window\": 4, \"tie_word_embeddings\": false, \"use_sliding_window\": true",
         "sliding_window"},
        {"biased", "\"use_sliding_window\": false", "\"layer_types\": [\"sliding_attention\"]",
         "layer_types"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        keel_llama *llama = NULL;
        llama_lay_out(wrong[i][0]);
        llama_change(wrong[i][0], "config.json", wrong[i][1], wrong[i][2]);
        keel_status status = keel_llama_open(&llama, llama_folder, KEEL_LLAMA_AS_STORED, &err);
        if (!wrong[i][3]) {
            assert_ok(status);
            keel_llama_close(llama);
        } else if (status != KEEL_E_UNSUPPORTED || !strstr(err.message, wrong[i][3]))
            fail_msg("%s: %d %s", wrong[i][2], status, status ? err.message : "loaded");
    }
}

static void damage_is_told(void **state) {
    (void)state;
    static const char *const wrong[][4] = {
        {"config.json", "\"vocab_size\": 60", "\"vocab_size\": 61"},
        {"config.json", "\"vocab_size\": 60", "\"vocab_size\": 20"},
        {"config.json", "\"vocab_size\": 60", "\"vocab_size\": 1e300"},
        {"config.json", "\"hidden_size\": 24", "\"hidden_size\": 0"},
        {"config.json", "\"hidden_size\": 24", "\"hidden_size\": 65536"},
        {"config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"},
        {"config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": -1"},
        {"config.json", "\"num_attention_heads\": 4", "\"num_attention_heads\": 5"},
        {"config.json", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"},
        {"config.json", "\"head_dim\": 6", "\"head_dim\": 5"},
        {"config.json", "\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 0"},
        {"config.json", "\"rope_theta\": 10000.0", "\"rope_theta\": 0"},
        {"config.json", "\"factor\": 2.0", "\"factor\": -2.0"},
        {"config.json", "\"factor\": 2.0,", ""},
        {"config.json", "\"bos_token_id\": 1", "\"bos_token_id\": 60"},
        {"config.json", "\"eos_token_id\": 2", "\"eos_token_id\": \"</s>\""},
        {"config.json", "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false"},
        {"generation_config.json", "\"eos_token_id\": [2, 0]", "\"eos_token_id\": [0,1,2,3,4,5,6,7,8]"},
        {"generation_config.json", "\"temperature\": 0.6", "\"temperature\": -1"},
        {"tokenizer_config.json", "\"chat_template\": \"", "\"chat_template\": 3, \"x\": \""},
        {"model.safetensors", "model.norm.weight", "model.norm.weighs"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        keel_llama *llama = NULL;
        llama_lay_out("tied");
        llama_change("tied", wrong[i][0], wrong[i][1], wrong[i][2]);
        if (keel_llama_open(&llama, llama_folder, KEEL_LLAMA_AS_STORED, &err) == KEEL_OK)
            fail_msg("%s: %s loaded", wrong[i][0], wrong[i][2]);
        assert_true(err.where[0] && err.message[0]);
    }
}

static void a_number_that_is_not_finite_is_found_where_weights_are_copied(void **state) {
    (void)state;
    keel_llama *llama = NULL;
    llama_lay_out("llama3");
    llama_poke("model.safetensors", -2, "\x00\x7c", 2); /* infinity in F16 */
    assert_int_equal(keel_llama_open(&llama, llama_folder, KEEL_LLAMA_AS_STORED, &err), KEEL_E_INVALID);
    assert_non_null(strstr(err.message, "finite"));
}

static void without_memory_nothing_is_leaked(void **state) {
    (void)state;
    faults state_of = {0};
    for (size_t at = 1;; at++) {
        keel_llama *llama = NULL;
        faults_begin(&state_of, at);
        keel_status status = keel_llama_open(&llama, GOLDEN "llama/llama3", KEEL_LLAMA_AS_STORED, &err);
        keel_llama_close(llama);
        faults_end();
        assert_int_equal(state_of.live, 0);
        if (status == KEEL_OK) break;
        assert_int_equal(status, KEEL_E_NOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_the_formulas),
        cmocka_unit_test(logits_of_the_quick_pass_are_those_too),
        cmocka_unit_test(weights_have_the_type_that_is_asked_for),
        cmocka_unit_test(generation_config_goes_before_config),
        cmocka_unit_test(both_generations_of_keys_are_the_same_model),
        cmocka_unit_test(templates_come_from_lists_and_files),
        cmocka_unit_test(what_is_not_computed_is_refused_by_name),
        cmocka_unit_test(damage_is_told),
        cmocka_unit_test(a_number_that_is_not_finite_is_found_where_weights_are_copied),
        cmocka_unit_test(without_memory_nothing_is_leaked),
    };
    return cmocka_run_group_tests(tests, set_up, llama_tear_down);
}
