/* Encoders as ONNX: the file is read back by protobuf-c, its graph is sound, and run by the words of the
 * standard it gives the vectors that transformers gives, with filling behind texts or without. */
#define SCRATCH "onnx"
#include "bert_fixture.h"

#include <math.h>

#include "bert_made.h"
#include "onnx_run.h"
#include "policies/encoder_onnx.h"
#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/bert_slice.h"
#include "policies/transformer/onnx.h"
#include "support/faults.h"

static Onnx__ModelProto *read_model(const char *path) {
    keel_buf bytes = {0};
    assert_ok(keel_file_read(path, 1 << 24, &bytes, &err));
    Onnx__ModelProto *model =
        onnx__model_proto__unpack(NULL, bytes.length, (const uint8_t *)(const void *)bytes.data);
    assert_non_null(model);
    keel_buf_free(&bytes);
    return model;
}

static Onnx__ModelProto *written(const keel_bert *bert) {
    char path[512];
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    assert_ok(keel_onnx_save(bert, path, &err));
    return read_model(path);
}

/* ---- vectors ---- */

/* Inputs of texts, each row filled up to the longest and `more` tokens. */
static void put_inputs(machine *m, const keel_bert_batch *batch, size_t more) {
    static const char *const names[] = {"input_ids", "attention_mask", "token_type_ids"};
    size_t longest = 0;
    for (size_t i = 0; i < batch->n; i++) {
        const size_t n = (size_t)(batch->offsets[i + 1] - batch->offsets[i]);
        if (n > longest) longest = n;
    }
    const size_t dim[2] = {batch->n, longest + more};
    for (int k = 0; k < 3; k++) {
        array made = make_array(m, names[k], 2, dim);
        for (size_t i = 0; i < batch->n; i++)
            for (int32_t t = batch->offsets[i]; t < batch->offsets[i + 1]; t++) {
                const double numbers[3] = {batch->id[t], 1, batch->type[t]};
                made.x[i * dim[1] + (size_t)(t - batch->offsets[i])] = numbers[k];
            }
        keep_array(m, made);
    }
}

/* [n_texts, hidden] of the golden texts by the graph. */
static const double *run_texts(const keel_bert *bert, size_t more) {
    Onnx__ModelProto *model = written(bert);
    machine *m = keel_arena_calloc(&arena, 1, sizeof *m);
    keel_bert_batch batch;
    size_t cut = 0;
    m->arena = &arena;
    assert_ok(keel_bert_read(bert, texts, n_texts, &arena, &batch, &cut, &err));
    put_inputs(m, &batch, more);
    const array *found = run_graph(m, model->graph);
    assert_int_equal(found->n, 2);
    assert_int_equal(found->dim[0], n_texts);
    assert_int_equal(found->dim[1], bert->config.hidden);
    onnx__model_proto__free_unpacked(model, NULL);
    return found->x;
}

static void vectors_are_those_of_transformers(void **state) {
    (void)state;
    static const char *const names[] = {"mean", "first"};
    for (int k = 0; k < 2; k++)
        for (size_t more = 0; more <= 3; more += 3) {
            keel_bert *bert = load(names[k]);
            const cJSON *expected = keel_json_get(golden, names[k]);
            const double *found = run_texts(bert, k == 0 ? 0 : more);
            for (size_t i = 0; i < n_texts * bert->config.hidden; i++) {
                const size_t text = i / bert->config.hidden, d = i % bert->config.hidden;
                const double want =
                    cJSON_GetArrayItem(cJSON_GetArrayItem(expected, (int)text), (int)d)->valuedouble;
                if (!(fabs(found[i] - want) < 1e-5))
                    fail_msg("%s, text %zu, %zu: %.8g, expected %.8g", names[k], text, d, found[i], want);
            }
            keel_bert_close(bert);
        }
}

static void unequal_layers_are_drawn(void **state) {
    (void)state;
    keel_bert *bert = made_bert();
    static const uint32_t heads[] = {0, 2, 3}, inner[] = {1, 5, 33, 64, 70};
    const keel_layer_kept kept[MADE_LAYERS] = {
        {.layer = 0, .head = heads, .n_heads = 2, .inner = inner, .n_inner = 5},
        {.layer = 1, .head = heads, .n_heads = 3, .inner = inner, .n_inner = 3}};
    assert_ok(keel_bert_slice(bert, kept, MADE_LAYERS, &err));
    const float *expected = vectors_of(bert, texts, n_texts);
    const double *found = run_texts(bert, 0);
    for (size_t i = 0; i < n_texts * MADE_HIDDEN; i++)
        if (!(fabs(found[i] - (double)expected[i]) < 1e-4))
            fail_msg("%zu: %.8g, expected %.8g", i, found[i], (double)expected[i]);
    keel_bert_close(bert);
}

/* ---- the file ---- */

static void check_value(const Onnx__ValueInfoProto *value, const char *name, int32_t type, size_t hidden) {
    assert_string_equal(value->name, name);
    assert_int_equal(value->type->value_case, ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE);
    const Onnx__TypeProto__Tensor *tensor = value->type->tensor_type;
    assert_int_equal(tensor->elem_type, type);
    assert_int_equal(tensor->shape->n_dim, 2);
    assert_string_equal(tensor->shape->dim[0]->dim_param, "texts");
    if (hidden)
        assert_int_equal(tensor->shape->dim[1]->dim_value, hidden);
    else
        assert_string_equal(tensor->shape->dim[1]->dim_param, "tokens");
}

static void the_model_says_what_it_is(void **state) {
    (void)state;
    keel_bert *bert = load("mean");
    Onnx__ModelProto *model = written(bert);
    const Onnx__GraphProto *graph = model->graph;
    assert_int_equal(model->ir_version, 8);
    assert_int_equal(model->n_opset_import, 1);
    assert_int_equal(model->opset_import[0]->version, 17);
    assert_string_equal(model->producer_name, "keel");
    assert_int_equal(graph->n_input, 3);
    check_value(graph->input[0], "input_ids", ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 0);
    check_value(graph->input[1], "attention_mask", ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 0);
    check_value(graph->input[2], "token_type_ids", ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 0);
    assert_int_equal(graph->n_output, 1);
    check_value(graph->output[0], "sentence_embedding", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
                bert->config.hidden);
    const keel_matrix word = keel_bert_matrix(bert, KEEL_BERT_WORD);
    size_t tables = 0;
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const Onnx__TensorProto *tensor = graph->initializer[i];
        if (strcmp(tensor->name, "word_embeddings") != 0) continue;
        tables++;
        assert_int_equal(tensor->raw_data.len, word.rows * word.cols * sizeof(float));
        assert_memory_equal(tensor->raw_data.data, word.data, tensor->raw_data.len);
    }
    assert_int_equal(tables, 1);
    onnx__model_proto__free_unpacked(model, NULL);
    keel_bert_close(bert);
}

static void doors(void **state) {
    (void)state;
    char from[512], to[512];
    keel_bert *bert = made_bert();
    snprintf(from, sizeof from, "%s/int8", folder);
    snprintf(to, sizeof to, "%s/int8.onnx", folder);
    assert_ok(keel_folder_make(from, &err));
    convert_all(bert, KEEL_MATRIX_I8);
    assert_int_equal(keel_onnx_save(bert, to, &err), KEEL_E_USAGE);
    assert_false(keel_file_exists(to));
    assert_ok(keel_bert_save(bert, from, &err));
    assert_ok(keel_encoder_onnx(from, to, &err)); /* widened */
    Onnx__ModelProto *model = read_model(to);
    assert_true(model->graph->n_node > 0);
    onnx__model_proto__free_unpacked(model, NULL);
    assert_int_equal(keel_encoder_onnx(from, to, &err), KEEL_E_CONFLICT);
    assert_int_not_equal(keel_encoder_onnx(folder, "/nowhere.onnx", &err), KEEL_OK);
    keel_bert_close(bert);
}

static void without_memory_nothing_is_left(void **state) {
    (void)state;
    keel_bert *bert = load("first");
    char path[512];
    snprintf(path, sizeof path, "%s/faults.onnx", folder);
    bool done = false;
    for (size_t fail_at = 1; !done; fail_at++) {
        faults counted;
        faults_begin(&counted, fail_at);
        const keel_status status = keel_onnx_save(bert, path, &err);
        faults_end();
        assert_int_equal(counted.live, 0);
        done = status == KEEL_OK;
        if (!done) assert_int_equal(status, KEEL_E_NOMEM);
        assert_true(keel_file_exists(path) == done);
    }
    keel_bert_close(bert);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_are_those_of_transformers), cmocka_unit_test(unequal_layers_are_drawn),
        cmocka_unit_test(the_model_says_what_it_is),         cmocka_unit_test(doors),
        cmocka_unit_test(without_memory_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
