/* Folders of encoders as the libraries and their versions write them: what is the same model has the same
 * vectors, bit for bit; what is not there, cut off or asked for beyond measure is told. */
#include "fixture.h"

#include "core/file.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "policies/transformer/bert.h"
#include "support/faults.h"

#define GOLDEN KEEL_SOURCE_DIR "/tests/policies/golden/bert/"

enum { WIDTH = 24 };
static const char *const files[] = {"config.json",           "sentence_bert_config.json",
                                    "1_Pooling/config.json", "modules.json",
                                    "tokenizer.json",        "model.safetensors",
                                    "tokenizer_config.json", "config_sentence_transformers.json"};
enum { N_FILES = sizeof files / sizeof *files };

static char folder[256];
static float expected[2 * WIDTH];

/* Not keel_file_write, which waits for the disk. */
static void write_file(const char *name, const void *bytes, size_t length) {
    FILE *file = fopen(scratch_path(folder, name), "wb");
    assert_true(file && fwrite(bytes, 1, length, file) == length && fclose(file) == 0);
}

static void put(const char *name, const char *text) {
    write_file(name, text, strlen(text));
}

static void read_golden(const char *name, keel_buf *out) {
    char path[512];
    snprintf(path, sizeof path, GOLDEN "mean/%s", name);
    assert_ok(keel_file_read(path, 1 << 20, out, &err));
}

/* The folder of test_bert's vectors: mean, length 1, at most 28 tokens. */
static void lay_out(void) {
    assert_ok(keel_folder_remove(folder, &err));
    assert_ok(keel_folder_make(scratch_path(folder, "1_Pooling"), &err));
    for (size_t i = 0; i < N_FILES - 2; i++) {
        keel_buf text = {0};
        read_golden(files[i], &text);
        write_file(files[i], text.data, text.length);
        keel_buf_free(&text);
    }
}

/* One text in place of another in a file of the folder. */
static void change(const char *name, const char *old, const char *made) {
    keel_buf text = {0}, changed = {0};
    read_golden(name, &text);
    const char *at = strstr(text.data, old);
    if (!at) fail_msg("%s: no %s", name, old);
    keel_buf_append(&changed, text.data, (size_t)(at - text.data));
    keel_buf_text(&changed, made);
    keel_buf_text(&changed, at + strlen(old));
    write_file(name, changed.data, changed.length);
    keel_buf_free(&text);
    keel_buf_free(&changed);
}

static keel_status vectors(float *out, size_t *max_tokens) {
    static const char *const texts[] = {"How do I bake bread?", "unaffable"};
    keel_bert *bert = NULL;
    keel_arena arena = {0};
    keel_bert_batch batch;
    size_t cut = 0;
    keel_status status = keel_bert_load(&bert, folder, &err);
    if (status == KEEL_OK) status = keel_bert_read(bert, texts, 2, &arena, &batch, &cut, &err);
    if (status == KEEL_OK) status = keel_bert_encode(bert, &batch, &arena, out, &err);
    if (status == KEEL_OK && max_tokens) *max_tokens = bert->config.max_tokens;
    keel_arena_free(&arena);
    keel_bert_close(bert);
    return status;
}

static void same(const char *what) {
    float found[2 * WIDTH];
    if (vectors(found, NULL) != KEEL_OK) fail_msg("%s: %s: %s", what, err.where, err.message);
    if (memcmp(found, expected, sizeof found) != 0) fail_msg("%s: other vectors", what);
}

static void differs(const char *what) {
    float found[2 * WIDTH];
    if (vectors(found, NULL) != KEEL_OK) fail_msg("%s: %s: %s", what, err.where, err.message);
    if (memcmp(found, expected, sizeof found) == 0) fail_msg("%s: the same vectors", what);
}

static void refused(keel_status status, const char *file, const char *says) {
    float found[2 * WIDTH];
    const keel_status was = vectors(found, NULL);
    if (was != status) fail_msg("%s, %s: status %d: %s", file, says, was, was ? err.message : "");
    contains(err.where, file);
    contains(err.message, says);
}

static int set_up(void **state) {
    (void)state;
    if (!scratch_make(folder, "bert-folder")) return -1;
    lay_out();
    return vectors(expected, NULL) == KEEL_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return keel_folder_remove(folder, &err);
}

/* ---- weights ---- */

/* Data that begin at no multiple of four: any other writer may leave them so. */
static void data_may_be_unaligned(void **state) {
    (void)state;
    for (uint64_t pad = 1; pad < 8; pad++) {
        keel_buf whole = {0}, moved = {0};
        uint64_t length;
        lay_out();
        read_golden("model.safetensors", &whole);
        memcpy(&length, whole.data, 8);
        const uint64_t longer = length + pad;
        keel_buf_append(&moved, &longer, 8);
        keel_buf_append(&moved, whole.data + 8, length);
        keel_buf_append(&moved, "       ", pad);
        keel_buf_append(&moved, whole.data + 8 + length, whole.length - 8 - length);
        write_file("model.safetensors", moved.data, moved.length);
        same("unaligned");
        keel_buf_free(&whole);
        keel_buf_free(&moved);
    }
}

/* "x.LayerNorm.weight" -> "bert.x.LayerNorm.gamma" */
static const char *renamed(keel_arena *arena, const char *name, bool prefix, bool old) {
    static const char *const norms[][2] = {{"LayerNorm.weight", "LayerNorm.gamma"},
                                           {"LayerNorm.bias", "LayerNorm.beta"}};
    char *out = keel_arena_alloc(arena, 200);
    snprintf(out, 200, "%s%s", prefix ? "bert." : "", name);
    for (int i = 0; old && i < 2; i++) {
        char *at = strstr(out, norms[i][0]);
        if (at) snprintf(at, 64, "%s", norms[i][1]);
    }
    return out;
}

enum { MOST_TENSORS = 64 };

/* Writes the weights under other names, with what models with a head have besides: a pooler, a classifier,
 * positions. */
static void write_renamed(const char *name, bool prefix, bool old, bool more) {
    static const float head[3 * WIDTH];
    static const int64_t places[32];
    keel_safetensors from;
    keel_arena arena = {0};
    keel_named_tensor to[MOST_TENSORS];
    size_t n = 0;
    assert_ok(keel_safetensors_read(GOLDEN "mean/model.safetensors", &from, &err));
    for (; n < from.count; n++) {
        to[n] = from.tensors[n];
        to[n].name = renamed(&arena, from.tensors[n].name, prefix, old);
    }
    if (more) {
        to[n++] = (keel_named_tensor){"classifier.weight", KEEL_F32, 2, {3, WIDTH}, head, sizeof head};
        to[n++] = (keel_named_tensor){"classifier.bias", KEEL_F32, 1, {3}, head, 3 * sizeof *head};
        to[n++] = (keel_named_tensor){
            renamed(&arena, "pooler.dense.bias", prefix, false), KEEL_F32, 1, {WIDTH}, head, sizeof head / 3};
        to[n++] = (keel_named_tensor){renamed(&arena, "embeddings.position_ids", prefix, false),
                                      KEEL_I64,
                                      2,
                                      {1, 32},
                                      places,
                                      sizeof places};
    }
    assert_ok(keel_safetensors_write(scratch_path(folder, name), to, n, NULL, &err));
    keel_safetensors_free(&from);
    keel_arena_free(&arena);
}

static void names_of_all_versions_are_known(void **state) {
    (void)state;
    for (int k = 1; k < 8; k++) {
        lay_out();
        write_renamed("model.safetensors", k & 1, k & 2, k & 4);
        same(k & 1 ? "with a prefix" : "with old names or a head");
    }
}

static void shards_are_files_of_the_folder(void **state) {
    (void)state;
    static const char *const bad[] = {"../model.safetensors", "/etc/passwd", "..", "a/b", ""};
    char index[512];
    lay_out();
    assert_int_equal(
        rename(scratch_path(folder, "model.safetensors"), scratch_path(folder, "one.safetensors")), 0);
    put("model.safetensors.index.json",
        "{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"one.safetensors\"}}");
    same("one shard, named twice");
    put("model.safetensors.index.json",
        "{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"two.safetensors\"}}");
    refused(KEEL_E_IO, "two.safetensors", "cannot open");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(index, sizeof index, "{\"weight_map\": {\"a\": \"%s\"}}", bad[i]);
        put("model.safetensors.index.json", index);
        refused(KEEL_E_INVALID, "index.json", "expected the name of a file here");
    }
    put("model.safetensors.index.json", "{\"weight_map\": {\"a\": 5}}");
    refused(KEEL_E_INVALID, "index.json", "expected the name of a file here");
    put("model.safetensors.index.json", "{\"weight_map\": {}}");
    refused(KEEL_E_INVALID, folder, "is missing");
    put("model.safetensors.index.json", "{}");
    refused(KEEL_E_PARSE, "index.json", "weight_map");
    assert_int_equal(remove(scratch_path(folder, "model.safetensors.index.json")), 0);
    refused(KEEL_E_IO, "model.safetensors", "cannot open");
}

/* ---- configurations ---- */

static void configurations_of_all_versions_are_known(void **state) {
    (void)state;
    static const char *const same_model[] = {
        "\"dtype\": \"float32\", \"model_type\"", "\"torch_dtype\": \"float16\", \"model_type\"",
        "\"position_embedding_type\": \"absolute\", \"model_type\"",
        "\"num_labels\": 3, \"id2label\": {\"0\": \"A\"}, \"architectures\": [\"BertForSequenceClassification\"], \"model_type\""};
    for (size_t i = 0; i < sizeof same_model / sizeof *same_model; i++) {
        lay_out();
        change("config.json", "\"model_type\"", same_model[i]);
        same(same_model[i]);
    }
    lay_out();
    change("config.json", "\"is_decoder\": false", "\"is_decoder\": true");
    refused(KEEL_E_UNSUPPORTED, "config.json", "is_decoder");
    change("config.json", "\"model_type\"", "\"position_embedding_type\": \"relative_key\", \"model_type\"");
    refused(KEEL_E_UNSUPPORTED, "config.json", "relative_key");
}

/* Far more than any file holds: it is told before memory is taken. */
static void a_size_beyond_the_file_is_told(void **state) {
    (void)state;
    lay_out();
    change("config.json", "\"vocab_size\": 48", "\"vocab_size\": 16777216");
    refused(KEEL_E_INVALID, "model.safetensors", "expected shape [16777216, 24], got [48, 24]");
    change("config.json", "\"hidden_size\": 24", "\"hidden_size\": 49152");
    refused(KEEL_E_INVALID, "model.safetensors", "expected shape [48, 49152], got [48, 24]");
    change("config.json", "\"intermediate_size\": 40", "\"intermediate_size\": 262144");
    refused(KEEL_E_INVALID, "model.safetensors", "expected shape [262144, 24], got [40, 24]");
    change("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1024");
    refused(KEEL_E_INVALID, folder, "\"encoder.layer.2.attention.self.query.weight\" is missing");
}

static void pooling_of_all_versions_is_known(void **state) {
    (void)state;
    static const char *const mean[] = {
        "{}",
        "{\"pooling_mode\": \"mean\", \"include_prompt\": true}",
        "{\"pooling_mode\": [\"mean\"], \"embedding_dimension\": 24}",
        "{\"pooling_mode_mean_tokens\": true, \"include_prompt\": false}",
        "{\"pooling_mode_cls_token\": false, \"pooling_mode_max_tokens\": false}",
        "{\"pooling_mode\": \"mean\", \"pooling_mode_cls_token\": true}"};
    static const char *const first[] = {
        "{\"pooling_mode\": \"cls\"}", "{\"pooling_mode\": [\"cls\"]}",
        "{\"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": false}"};
    static const char *const other[] = {
        "{\"pooling_mode\": \"max\"}", "{\"pooling_mode\": [\"cls\", \"mean\"]}", "{\"pooling_mode\": [3]}",
        "{\"pooling_mode_lasttoken\": true}",
        "{\"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": true}"};
    lay_out();
    for (size_t i = 0; i < sizeof mean / sizeof *mean; i++) {
        put("1_Pooling/config.json", mean[i]);
        same(mean[i]);
    }
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        put("1_Pooling/config.json", first[i]);
        differs(first[i]);
    }
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        put("1_Pooling/config.json", other[i]);
        refused(KEEL_E_UNSUPPORTED, "1_Pooling/config.json", "alone");
    }
    put("1_Pooling/config.json", "{\"pooling_mode\": []}");
    refused(KEEL_E_INVALID, "1_Pooling/config.json", "pooling_mode");
    put("1_Pooling/config.json", "{\"pooling_mode\": true}");
    refused(KEEL_E_INVALID, "1_Pooling/config.json", "pooling_mode");
    assert_int_equal(remove(scratch_path(folder, "1_Pooling/config.json")), 0);
    same("no pooling: the mean");
}

static void modules_of_all_versions_are_known(void **state) {
    (void)state;
    lay_out();
    put("modules.json", "[{\"type\": \"sentence_transformers.base.modules.transformer.Transformer\"},"
                        " {\"type\": \"sentence_transformers.sentence_transformer.modules.pooling.Pooling\"},"
                        " {\"type\": \"sentence_transformers.base.modules.normalize.Normalize\"}]");
    same("modules of version 6");
    put("modules.json", "[{\"type\": \"sentence_transformers.models.Transformer\"},"
                        " {\"type\": \"sentence_transformers.models.Pooling\"}]");
    differs("not normalised");
    put("modules.json", "{\"type\": \"sentence_transformers.models.Transformer\"}");
    refused(KEEL_E_PARSE, "modules.json", "list");
    assert_int_equal(remove(scratch_path(folder, "modules.json")), 0);
    same("no modules: length 1");
}

/* A prompt that the library would put before each text makes other vectors. */
static void prompts_are_not_left_out_in_silence(void **state) {
    (void)state;
    lay_out();
    put("config_sentence_transformers.json",
        "{\"prompts\": {\"query\": \"\"}, \"default_prompt_name\": null}");
    same("no prompt");
    put("config_sentence_transformers.json",
        "{\"prompts\": {\"query\": \"q: \"}, \"default_prompt_name\": \"query\"}");
    refused(KEEL_E_UNSUPPORTED, "config_sentence_transformers.json", "default_prompt_name");
}

static void the_length_is_the_models(void **state) {
    (void)state;
    static const struct {
        const char *sentence, *tokenizer;
        size_t expected;
    } cases[] = {{"{\"max_seq_length\": 9}", "{\"model_max_length\": 11}", 9},
                 {"{\"max_seq_length\": 9}", NULL, 9},
                 {"{\"max_seq_length\": null}", "{\"model_max_length\": 11}", 11},
                 {"{}", "{\"model_max_length\": 11}", 11},
                 {NULL, "{\"model_max_length\": 1000000000000000019884624838656}", 32},
                 {NULL, "{\"model_max_length\": null}", 32},
                 {NULL, "{}", 32},
                 {NULL, NULL, 32}};
    float found[2 * WIDTH];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t most = 0;
        lay_out();
        remove(scratch_path(folder, "sentence_bert_config.json"));
        change(
            "tokenizer.json", "\"truncation\":null,\"padding\":null",
            "\"truncation\":{\"max_length\":4,\"strategy\":\"LongestFirst\",\"stride\":0,\"direction\":\"Right\"},"
            "\"padding\":{\"strategy\":{\"Fixed\":4},\"direction\":\"Right\",\"pad_id\":0}");
        if (cases[i].sentence) put("sentence_bert_config.json", cases[i].sentence);
        if (cases[i].tokenizer) put("tokenizer_config.json", cases[i].tokenizer);
        if (vectors(found, &most) != KEEL_OK || most != cases[i].expected)
            fail_msg("case %zu: %zu tokens, expected %zu (%s)", i, most, cases[i].expected, err.message);
        assert_memory_equal(found, expected, sizeof found); /* neither cut at 4 nor padded to it */
    }
    put("tokenizer_config.json", "{\"model_max_length\": 0}");
    refused(KEEL_E_INVALID, "tokenizer_config.json", "model_max_length");
    put("tokenizer_config.json", "{\"model_max_length\": 2}");
    refused(KEEL_E_INVALID, "tokenizer.json", "leave no room");
}

static void letters_are_made_small_by_the_tokenizer_alone(void **state) {
    (void)state;
    lay_out();
    put("sentence_bert_config.json", "{\"max_seq_length\": 28, \"do_lower_case\": true}");
    same("both make them small");
    change("tokenizer.json", "\"lowercase\":true", "\"lowercase\":false");
    refused(KEEL_E_UNSUPPORTED, "tokenizer.json", "do_lower_case");
}

/* ---- damage ---- */

/* Cut anywhere, a file is told by name, or says the same (white space at its end). */
static void a_file_that_is_cut_is_told(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FILES - 2; i++) {
        keel_buf text = {0};
        lay_out();
        read_golden(files[i], &text);
        const size_t step = text.length > 4000 ? 509 : 7;
        for (size_t length = 0; length < text.length; length += step) {
            float found[2 * WIDTH];
            write_file(files[i], text.data, length);
            if (vectors(found, NULL) == KEEL_OK) fail_msg("%s of %zu bytes is taken", files[i], length);
            contains(err.where, files[i]);
            assert_true(err.code == KEEL_E_PARSE && err.message[0]);
        }
        keel_buf_free(&text);
    }
}

static void any_allocation_may_fail(void **state) {
    (void)state;
    keel_status status = KEEL_E_NOMEM;
    lay_out();
    put("tokenizer_config.json", "{\"model_max_length\": 28}");
    put("config_sentence_transformers.json", "{\"default_prompt_name\": null}");
    size_t n = 0;
    while (status != KEEL_OK) {
        float found[2 * WIDTH];
        faults counted;
        faults_begin(&counted, ++n);
        status = vectors(found, NULL);
        faults_end();
        assert_int_equal(counted.live, 0);
        if (status != KEEL_OK) {
            assert_int_equal(status, KEEL_E_NOMEM);
            assert_int_equal(err.code, KEEL_E_NOMEM);
            assert_true(err.where[0] && err.message[0]);
        } else {
            assert_memory_equal(found, expected, sizeof found);
        }
    }
    assert_true(n > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_may_be_unaligned),
        cmocka_unit_test(names_of_all_versions_are_known),
        cmocka_unit_test(shards_are_files_of_the_folder),
        cmocka_unit_test(configurations_of_all_versions_are_known),
        cmocka_unit_test(a_size_beyond_the_file_is_told),
        cmocka_unit_test(pooling_of_all_versions_is_known),
        cmocka_unit_test(modules_of_all_versions_are_known),
        cmocka_unit_test(prompts_are_not_left_out_in_silence),
        cmocka_unit_test(the_length_is_the_models),
        cmocka_unit_test(letters_are_made_small_by_the_tokenizer_alone),
        cmocka_unit_test(a_file_that_is_cut_is_told),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
