/* Encoders: the vectors of transformers, whatever the company of a text; what is not computed is refused. */
#define SCRATCH "bert"
#include "bert_fixture.h"

#include <math.h>

/* Mean and normalised, float; first token, in half precision, in two shards, with a prefix. */
static void vectors_are_those_of_transformers(void **state) {
    (void)state;
    static const char *const names[] = {"mean", "first"};
    for (int k = 0; k < 2; k++) {
        keel_bert *bert = load(names[k]);
        const float *found = vectors_of(bert, texts, n_texts);
        const cJSON *expected = keel_json_get(golden, names[k]);
        for (size_t i = 0; i < n_texts; i++)
            for (size_t d = 0; d < bert->config.hidden; d++) {
                double want = cJSON_GetArrayItem(cJSON_GetArrayItem(expected, (int)i), (int)d)->valuedouble;
                double have = (double)found[i * bert->config.hidden + d];
                if (!(fabs(have - want) < 1e-5))
                    fail_msg("%s, text %zu, %zu: %.8g, expected %.8g", names[k], i, d, have, want);
            }
        keel_bert_close(bert);
    }
}

static void a_text_is_the_same_in_any_company(void **state) {
    (void)state;
    keel_bert *bert = load("mean");
    const size_t hidden = bert->config.hidden;
    const char *many[8 * MOST_TEXTS];
    size_t n = 0;
    for (size_t i = 0; i < 8 * n_texts; i++) many[n++] = texts[i * 5 % n_texts];
    const float *together = vectors_of(bert, many, n);
    for (size_t i = 0; i < n; i++)
        assert_memory_equal(vectors_of(bert, &many[i], 1), together + i * hidden, hidden * sizeof(float));
    keel_bert_close(bert);
}

static void what_is_cut_is_counted(void **state) {
    (void)state;
    keel_bert *bert = load("mean");
    keel_bert_batch batch;
    size_t cut = 0;
    const char *long_text =
        "bread bread bread bread bread bread bread bread bread bread bread bread bread bread "
        "bread bread bread bread bread bread bread bread bread bread bread bread bread bread "
        "bread bread";
    assert_ok(keel_bert_read(bert, &long_text, 1, &arena, &batch, &cut, &err));
    assert_int_equal(batch.offsets[1], bert->config.max_tokens);
    assert_int_equal(cut, 30 + 2 - bert->config.max_tokens);
    keel_bert_close(bert);
}

/* ---- what is wrong ---- */

static void copy_file(const char *from, const char *name, const char *old, const char *put) {
    keel_buf text = {0}, changed = {0};
    char path[512], to[512];
    snprintf(path, sizeof path, GOLDEN "bert/%s/%s", from, name);
    snprintf(to, sizeof to, "%s/%s", folder, name);
    assert_ok(keel_file_read(path, 1 << 20, &text, &err));
    const char *at = NULL;
    for (size_t i = 0; old && !at && i + strlen(old) <= text.length; i++)
        if (memcmp(text.data + i, old, strlen(old)) == 0) at = text.data + i;
    if (old && !at) fail_msg("%s: no %s", name, old);
    const size_t before = at ? (size_t)(at - text.data) : text.length;
    keel_buf_append(&changed, text.data, before);
    if (at) {
        keel_buf_text(&changed, put);
        keel_buf_append(&changed, at + strlen(old), text.length - before - strlen(old));
    }
    assert_ok(keel_file_write(to, changed.data, changed.length, &err));
    keel_buf_free(&text);
    keel_buf_free(&changed);
}

/* A folder in which one file says `put` instead of `old`. */
static void refuses(const char *name, const char *old, const char *put, keel_status status,
                    const char *says) {
    static const char *const names[] = {"config.json",
                                        "modules.json",
                                        "1_Pooling/config.json",
                                        "tokenizer.json",
                                        "sentence_bert_config.json",
                                        "model.safetensors"};
    keel_bert *bert = NULL;
    char pooling[512];
    snprintf(pooling, sizeof pooling, "%s/1_Pooling", folder);
    assert_ok(keel_folder_make(pooling, &err));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const bool here = strcmp(names[i], name) == 0;
        copy_file("mean", names[i], here ? old : NULL, here ? put : NULL);
    }
    keel_status found = keel_bert_load(&bert, folder, &err);
    if (found != status) fail_msg("%s: %s for %s: status %d: %s", name, put, old, found, err.message);
    if (status == KEEL_OK) {
        keel_bert_close(bert);
        return;
    }
    contains(err.message, says);
}

static void what_is_not_computed_is_refused_by_name(void **state) {
    (void)state;
    refuses("config.json", "\"bert\"", "\"llama\"", KEEL_E_UNSUPPORTED, "\"llama\"");
    refuses("config.json", "\"gelu\"", "\"relu\"", KEEL_E_UNSUPPORTED, "hidden_act");
    refuses("config.json", "\"num_attention_heads\": 3", "\"num_attention_heads\": 5", KEEL_E_INVALID,
            "heads");
    refuses("config.json", "\"hidden_size\": 24", "\"hidden_size\": 27", KEEL_E_INVALID, "shape");
    refuses("config.json", "\"hidden_size\": 24", "\"hidden_size\": 0", KEEL_E_INVALID, "hidden_size");
    refuses("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", KEEL_E_INVALID,
            "encoder.layer.2.");
    refuses("config.json", "\"vocab_size\": 48", "\"vocab_size\": 40", KEEL_E_INVALID, "48 tokens");
    refuses("modules.json", "models.Normalize", "models.Dense", KEEL_E_UNSUPPORTED, "Dense");
    refuses("1_Pooling/config.json", "pooling_mode_mean_tokens", "pooling_mode_max_tokens",
            KEEL_E_UNSUPPORTED, "pooling_mode_max_tokens");
    refuses("sentence_bert_config.json", "28", "99", KEEL_E_INVALID, "max_seq_length");
    refuses("model.safetensors", "encoder.layer.1.output.dense.bias", "encoder.layer.1.output.dense.bios",
            KEEL_E_INVALID, "is missing");
    refuses("config.json", "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": -1.0", KEEL_E_INVALID,
            "layer_norm_eps");
    refuses("config.json", "\"bos_token_id\": null", "\"bos_token_id\": 1", KEEL_OK, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_are_those_of_transformers),
        cmocka_unit_test(a_text_is_the_same_in_any_company),
        cmocka_unit_test(what_is_cut_is_counted),
        cmocka_unit_test(what_is_not_computed_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
