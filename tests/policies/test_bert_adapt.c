/* Encoders made tunable and stored: rows, merging, folders, PEFT's adapters; what is frozen costs nothing. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "bert_fixture.h"

#include <cblas.h>
#include <dlfcn.h>
#include <math.h>

#include "core/file.h"
#include "core/safetensors.h"
#include "policies/transformer/bert_tape.h"
#include "policies/transformer/peft.h"
#include "support/faults.h"

static cJSON *adapted;
static char folder[256];

static int set_up(void **state) {
    (void)state;
    if (!scratch_make(folder, "adapt")) return -1;
    assert_ok(keel_json_parse_file(GOLDEN "adapters.json", &adapted, &err));
    open_golden();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cJSON_Delete(adapted);
    close_golden();
    return keel_folder_remove(folder, &err);
}

static keel_bert *load_from(const char *dir) {
    keel_bert *bert;
    assert_ok(keel_bert_load(&bert, dir, &err));
    return bert;
}

static float *vectors(const keel_bert *bert) {
    return vectors_of(bert, texts, n_texts);
}

/* With a head; A and B of both far from zero. */
static keel_bert *with_lora(const char *name, const keel_lora_config *lora) {
    keel_bert *bert = load(name);
    keel_rng rng = keel_rng_named(1, "lora", 0);
    const keel_param head = {"head", 2, bert->config.hidden, KEEL_INIT_NORMAL, 0.1, true, 0};
    assert_ok(keel_bert_extend(bert, lora, &head, 1, &err));
    keel_bert_adapt_init(bert, &rng);
    for (size_t row = keel_bert_first_trained(bert, KEEL_BERT_LORA, 0); row < keel_bert_first_head(bert);
         row++)
        for (size_t i = 0; i < bert->params.table[row].rows * bert->params.table[row].cols; i++)
            keel_params_at(&bert->params, row)[i] += (float)(0.2 * keel_rng_normal(&rng));
    return bert;
}

static const keel_lora_config ALL = {3, 6, 0.1, true, KEEL_LORA_ALL},
                              SOME = {2, 4, 0, false, KEEL_LORA_KEY | KEEL_LORA_DOWN};

/* ---- rows ---- */

static void what_a_mode_trains_is_the_end_of_one_block(void **state) {
    (void)state;
    keel_bert *bert = load("mean"), *plain = load("mean");
    const keel_param heads[] = {{"risk", 1, 24, KEEL_INIT_NORMAL, 1, true, 20},
                                {"act", 3, 24, KEEL_INIT_ZERO, 0, true, 0}};
    keel_rng rng = keel_rng_named(1, "heads", 0);
    assert_ok(keel_bert_extend(bert, &SOME, heads, 2, &err));
    keel_bert_adapt_init(bert, &rng);
    const keel_params *params = &bert->params;
    const size_t encoder = KEEL_BERT_FIRST_LAYER + 2 * KEEL_BERT_LAYER;
    assert_int_equal(params->count, encoder + 2 * 2 * 2 + 2);
    assert_memory_equal(params->data, plain->params.data, plain->params.size * sizeof(float));
    assert_string_equal(params->table[encoder].name, "encoder.layer.0.attention.self.key.lora_A.weight");
    assert_string_equal(params->table[encoder + 7].name, "encoder.layer.1.output.dense.lora_B.weight");
    assert_int_equal(params->table[encoder + 6].cols, 40);
    assert_int_equal(params->table[encoder + 7].rows, 24);
    assert_true(keel_params_at(params, encoder)[5] != 0);
    assert_true(keel_params_at(params, encoder + 1)[5] == 0);
    assert_int_equal(keel_bert_first_trained(bert, KEEL_BERT_FULL, 0), 0);
    assert_int_equal(keel_bert_first_trained(bert, KEEL_BERT_FREEZE, 0), KEEL_BERT_FIRST_LAYER);
    assert_int_equal(keel_bert_first_trained(bert, KEEL_BERT_FREEZE, 2), encoder);
    assert_int_equal(keel_bert_first_trained(bert, KEEL_BERT_LORA, 0), encoder);
    assert_int_equal(keel_bert_first_trained(bert, KEEL_BERT_HEAD, 0), encoder + 8);
    assert_int_equal(keel_bert_first_head(bert), encoder + 8);
    assert_true(params->table[encoder + 8].rate == 20);
    assert_int_equal(keel_bert_extend(bert, &SOME, heads, 2, &err), KEEL_E_USAGE);
    keel_bert_close(plain);
    keel_bert_close(bert);
}

static void corrections_out_of_range_are_refused(void **state) {
    (void)state;
    static const struct {
        keel_lora_config lora;
        const char *says;
    } wrong[] = {
        {{25, 1, 0, false, 1}, "rank"},      {{1, 1, 0, false, 0}, "targets"},
        {{1, 1, 0, false, 64}, "targets"},   {{1, 0, 0, false, 1}, "alpha"},
        {{1, NAN, 0, false, 1}, "alpha"},    {{1, 1, 1, false, 1}, "dropout"},
        {{1, 1, -0.1, false, 1}, "dropout"},
    };
    keel_bert *bert = load("mean");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(keel_bert_extend(bert, &wrong[i].lora, NULL, 0, &err), KEEL_E_INVALID);
        contains(err.message, wrong[i].says);
    }
    keel_bert_close(bert);
}

/* ---- merging ---- */

static void merged_weights_do_what_the_branches_did(void **state) {
    (void)state;
    static const char *const names[] = {"mean", "first"};
    for (int k = 0; k < 4; k++) {
        keel_bert *bert = with_lora(names[k % 2], k < 2 ? &ALL : &SOME);
        const keel_bert_training frozen = {0};
        keel_bert_batch batch;
        size_t cut = 0;
        keel_tape *tape;
        bert->config.normalise = false;
        const size_t size = n_texts * bert->config.hidden, block = bert->params.size * sizeof(float);
        float *before = keel_arena_alloc(&arena, block),
              *none = keel_arena_calloc(&arena, size, sizeof *none);
        memcpy(before, bert->params.data, block);
        assert_ok(keel_bert_read(bert, texts, n_texts, &arena, &batch, &cut, &err));
        assert_ok(keel_tape_open(&tape, &err));
        keel_tensor *branched = keel_bert_on_tape(tape, bert, &frozen, &batch, &arena, &err);
        assert_ok(keel_tape_check(tape, branched, &err));
        assert_int_equal(keel_bert_encode(bert, &batch, &arena, none, &err), KEEL_E_USAGE);
        assert_ok(keel_bert_merge(bert, &err));
        assert_int_equal(keel_bert_merge(bert, &err), KEEL_E_USAGE);
        assert_null(keel_bert_on_tape(tape, bert, &frozen, &batch, &arena, &err));
        contains(err.message, "merged");
        const float *merged = vectors(bert);
        for (size_t i = 0; i < size; i++)
            if (!(fabsf(merged[i] - branched->data[i]) < 1e-5f))
                fail_msg("%d, %zu: %.8g, with branches %.8g", k, i, (double)merged[i],
                         (double)branched->data[i]);
        assert_memory_not_equal(before, bert->params.data, block);
        keel_bert_unmerge(bert);
        assert_memory_equal(before, bert->params.data, block);
        keel_tape_close(tape);
        keel_bert_close(bert);
    }
}

static void what_would_not_be_finite_is_not_merged(void **state) {
    (void)state;
    keel_bert *bert = with_lora("mean", &SOME);
    const size_t row = keel_bert_first_trained(bert, KEEL_BERT_LORA, 0),
                 block = bert->params.size * sizeof(float);
    keel_params_at(&bert->params, row)[0] = keel_params_at(&bert->params, row + 1)[0] = 1e30f;
    float *before = keel_arena_alloc(&arena, block);
    memcpy(before, bert->params.data, block);
    assert_int_equal(keel_bert_merge(bert, &err), KEEL_E_INVALID);
    contains(err.message, "finite");
    assert_memory_equal(before, bert->params.data, block);
    assert_null(bert->unmerged);
    keel_bert_close(bert);
}

/* ---- what is frozen costs nothing ---- */

static double multiplications;

/* In the place of BLAS's, which it calls. */
void cblas_sgemm(OPENBLAS_CONST enum CBLAS_ORDER order, OPENBLAS_CONST enum CBLAS_TRANSPOSE ta,
                 OPENBLAS_CONST enum CBLAS_TRANSPOSE tb, OPENBLAS_CONST blasint m, OPENBLAS_CONST blasint n,
                 OPENBLAS_CONST blasint k, OPENBLAS_CONST float alpha, OPENBLAS_CONST float *a,
                 OPENBLAS_CONST blasint lda, OPENBLAS_CONST float *b, OPENBLAS_CONST blasint ldb,
                 OPENBLAS_CONST float beta, float *c, OPENBLAS_CONST blasint ldc) {
    union {
        void *object;
        __typeof__(cblas_sgemm) *function;
    } real = {dlsym(RTLD_NEXT, "cblas_sgemm")};
    multiplications += (double)m * (double)n * (double)k;
    real.function(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

/* Multiplications of backward. */
static double backward_work(const keel_lora_config *lora, keel_bert_mode mode, size_t frozen_layers) {
    keel_bert *bert = with_lora("mean", lora);
    keel_bert_batch batch;
    size_t cut = 0;
    keel_tape *tape;
    keel_bert_training training = {.first = keel_bert_first_trained(bert, mode, frozen_layers)};
    training.trained = keel_params_from(&bert->params, training.first);
    training.grads = keel_arena_calloc(&arena, training.trained.size, sizeof *training.grads);
    assert_ok(keel_bert_read(bert, texts, n_texts, &arena, &batch, &cut, &err));
    assert_ok(keel_tape_open(&tape, &err));
    keel_tensor *x = keel_bert_on_tape(tape, bert, &training, &batch, &arena, &err);
    keel_tensor *z = keel_op_linear(
        tape, x, keel_bert_param(tape, bert, &training, keel_bert_first_head(bert)), NULL, KEEL_LINEAR);
    keel_tensor *loss = keel_op_sum(tape, keel_op_mul(tape, z, z), 1);
    assert_ok(keel_tape_check(tape, loss, &err));
    multiplications = 0;
    assert_ok(keel_tape_backward(tape, loss, &err));
    keel_tape_close(tape);
    keel_bert_close(bert);
    return multiplications;
}

static void what_is_frozen_costs_no_product(void **state) {
    (void)state;
    keel_bert *bert = load("mean");
    keel_bert_batch batch;
    size_t cut = 0, squares = 0;
    assert_ok(keel_bert_read(bert, texts, n_texts, &arena, &batch, &cut, &err));
    const double h = (double)bert->config.hidden, inner = (double)bert->config.inner;
    for (size_t i = 0; i < n_texts; i++) {
        const size_t n = (size_t)(batch.offsets[i + 1] - batch.offsets[i]);
        squares += n * n;
    }
    const double rows = (double)batch.offsets[n_texts], products = rows * (4 * h * h + 2 * h * inner),
                 attention = 5 * h * (double)squares, head = 2 * (double)n_texts * h,
                 first = 3 * rows * h * h; /* gradient of a layer's input through query, key and value */
    const double layer = 2 * products + attention, heads = 2 * head;
    assert_true(backward_work(NULL, KEEL_BERT_FULL, 0) == 2 * layer + heads);
    assert_true(backward_work(NULL, KEEL_BERT_FREEZE, 0) == 2 * layer - first + heads);
    assert_true(backward_work(NULL, KEEL_BERT_FREEZE, 1) == layer - first + heads);
    assert_true(backward_work(NULL, KEEL_BERT_FREEZE, 2) == head);
    assert_true(backward_work(NULL, KEEL_BERT_HEAD, 0) == head);
    /* LoRA: no gradient of a frozen weight; of each branch two products with B and, but for those at the
     * bottom, two with A */
    const keel_lora_config low = {2, 4, 0, false, KEEL_LORA_QUERY | KEEL_LORA_VALUE};
    const double branch = 2 * rows * h * 2;
    assert_true(backward_work(&low, KEEL_BERT_LORA, 0) ==
                2 * (products + attention) - first + 2 * 2 * 2 * branch - 2 * branch / 2 + heads);
    assert_true(backward_work(&low, KEEL_BERT_HEAD, 0) == head);
    keel_bert_close(bert);
}

/* ---- folders ---- */

static void expect_same_encoder(const keel_bert *one, const keel_bert *other) {
    size_t length, other_length;
    const char *file = keel_tokenizer_file(one->tokenizer, &length),
               *other_file = keel_tokenizer_file(other->tokenizer, &other_length);
    const keel_bert_config *a = &one->config, *b = &other->config;
    assert_true(a->vocab == b->vocab && a->hidden == b->hidden && a->layers == b->layers);
    assert_true(a->heads == b->heads && a->inner == b->inner && a->positions == b->positions);
    assert_true(a->types == b->types && a->epsilon == b->epsilon && a->max_tokens == b->max_tokens);
    assert_true(a->first_token == b->first_token && a->normalise == b->normalise);
    assert_int_equal(length, other_length);
    assert_memory_equal(file, other_file, length);
    const size_t rows = keel_bert_first_trained(one, KEEL_BERT_LORA, 0);
    assert_int_equal(rows, keel_bert_first_trained(other, KEEL_BERT_LORA, 0));
    for (size_t i = 0; i < rows; i++)
        assert_memory_equal(keel_params_at(&one->params, i), keel_params_at(&other->params, i),
                            one->params.table[i].rows * one->params.table[i].cols * sizeof(float));
}

static void what_is_saved_is_loaded_bit_for_bit(void **state) {
    (void)state;
    static const char *const names[] = {"mean", "first"};
    char dir[512];
    snprintf(dir, sizeof dir, "%s/saved", folder);
    for (int k = 0; k < 2; k++) {
        keel_bert *bert = load(names[k]);
        assert_ok(keel_bert_save(bert, dir, &err));
        keel_bert *again = load_from(dir);
        expect_same_encoder(bert, again);
        keel_bert_close(again);
        keel_bert_close(bert);
    }
}

static void corrections_are_merged_in_what_is_saved(void **state) {
    (void)state;
    char dir[512];
    snprintf(dir, sizeof dir, "%s/merged", folder);
    keel_bert *bert = with_lora("mean", &ALL);
    const size_t block = bert->params.size * sizeof(float);
    float *before = keel_arena_alloc(&arena, block);
    memcpy(before, bert->params.data, block);
    assert_ok(keel_bert_save(bert, dir, &err));
    assert_memory_equal(before, bert->params.data, block);
    keel_bert *apart = load_from(dir);
    assert_ok(keel_bert_merge(bert, &err));
    expect_same_encoder(bert, apart);
    assert_ok(keel_bert_save(bert, dir, &err));
    keel_bert *merged = load_from(dir);
    expect_same_encoder(bert, merged);
    assert_int_equal(merged->params.count, keel_bert_first_trained(bert, KEEL_BERT_LORA, 0));
    keel_bert_close(merged);
    keel_bert_close(apart);
    keel_bert_close(bert);
}

/* ---- adapters ---- */

static void vectors_are_those_of_peft(void **state) {
    (void)state;
    static const char *const names[] = {"plain", "all", "pattern"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char dir[512];
        keel_bert *bert = load("mean");
        const cJSON *expected = keel_json_get(adapted, names[k]);
        snprintf(dir, sizeof dir, GOLDEN "adapters/%s", names[k]);
        assert_ok(keel_peft_load(bert, dir, &err));
        assert_ok(keel_bert_merge(bert, &err));
        const float *found = vectors(bert);
        for (size_t i = 0; i < n_texts; i++)
            for (size_t d = 0; d < bert->config.hidden; d++) {
                double want = cJSON_GetArrayItem(cJSON_GetArrayItem(expected, (int)i), (int)d)->valuedouble;
                double have = (double)found[i * bert->config.hidden + d];
                if (!(fabs(have - want) < 1e-5))
                    fail_msg("%s, text %zu, %zu: %.8g, PEFT %.8g", names[k], i, d, have, want);
            }
        keel_bert_close(bert);
    }
}

/* PEFT's own files come back, tensor for tensor; so does what the configuration says. */
static void adapters_are_written_as_peft_does(void **state) {
    (void)state;
    static const char *const names[] = {"plain", "all", "pattern"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char dir[512], path[600], out[512];
        keel_bert *bert = load("mean");
        keel_lora_config lora;
        keel_safetensors theirs, ours;
        snprintf(dir, sizeof dir, GOLDEN "adapters/%s", names[k]);
        snprintf(out, sizeof out, "%s/%s", folder, names[k]);
        assert_ok(keel_peft_load(bert, dir, &err));
        assert_ok(keel_peft_save(bert, out, &err));
        assert_ok(keel_peft_config(bert, out, &lora, &err));
        assert_int_equal(lora.rank, bert->lora.rank);
        assert_int_equal(lora.targets, bert->lora.targets);
        assert_true(lora.alpha == bert->lora.alpha && lora.dropout == bert->lora.dropout &&
                    lora.rslora == bert->lora.rslora);
        snprintf(path, sizeof path, "%s/adapter_model.safetensors", dir);
        assert_ok(keel_safetensors_read(path, &theirs, &err));
        snprintf(path, sizeof path, "%s/adapter_model.safetensors", out);
        assert_ok(keel_safetensors_read(path, &ours, &err));
        assert_int_equal(ours.count, theirs.count);
        for (size_t i = 0; i < theirs.count; i++) {
            const keel_named_tensor *one = keel_safetensors_find(&ours, theirs.tensors[i].name);
            assert_non_null(one);
            assert_memory_equal(one->shape, theirs.tensors[i].shape, sizeof one->shape);
            assert_memory_equal(one->data, theirs.tensors[i].data, one->bytes);
        }
        assert_string_equal(keel_safetensors_metadata(&ours, "format"), "pt");
        keel_safetensors_free(&ours);
        keel_safetensors_free(&theirs);
        keel_bert_close(bert);
    }
}

static void an_adapter_goes_beside_heads_or_not_at_all(void **state) {
    (void)state;
    keel_bert *bert = load("mean"), *other = with_lora("mean", &SOME), *plain = load("mean");
    keel_lora_config lora;
    const keel_param head = {"head", 2, 24, KEEL_INIT_ONE, 1, true, 0};
    const char *dir = GOLDEN "adapters/all";
    assert_ok(keel_peft_config(bert, dir, &lora, &err));
    assert_ok(keel_bert_extend(bert, &lora, &head, 1, &err));
    assert_ok(keel_peft_load(bert, dir, &err));
    assert_int_equal(bert->n_heads, 1);
    assert_true(keel_params_at(&bert->params, keel_bert_first_trained(bert, KEEL_BERT_LORA, 0) + 1)[0] != 0);
    assert_ok(keel_bert_merge(bert, &err));
    assert_int_equal(keel_peft_load(bert, dir, &err), KEEL_E_USAGE);
    assert_int_equal(keel_peft_load(other, dir, &err), KEEL_E_INVALID);
    contains(err.message, "rank 3");
    assert_int_equal(keel_peft_save(plain, folder, &err), KEEL_E_USAGE);
    keel_bert_close(plain);
    keel_bert_close(other);
    keel_bert_close(bert);
}

/* ---- adapters that are wrong ---- */

/* An adapter of which one file says `put` instead of `old`, both of one length in the weights. */
static void copy_changed(const char *from, const char *name, const char *old, const char *put) {
    keel_buf text = {0}, changed = {0};
    char path[512], to[512];
    snprintf(path, sizeof path, GOLDEN "adapters/%s/%s", from, name);
    snprintf(to, sizeof to, "%s/wrong/%s", folder, name);
    assert_ok(keel_file_read(path, 1 << 20, &text, &err));
    size_t at = 0;
    while (old && at + strlen(old) <= text.length && memcmp(text.data + at, old, strlen(old)) != 0) at++;
    if (old && at + strlen(old) > text.length) fail_msg("%s: no %s", name, old);
    keel_buf_append(&changed, text.data, old ? at : text.length);
    if (old) {
        keel_buf_text(&changed, put);
        keel_buf_append(&changed, text.data + at + strlen(old), text.length - at - strlen(old));
    }
    assert_ok(keel_file_write(to, changed.data, changed.length, &err));
    keel_buf_free(&text);
    keel_buf_free(&changed);
}

static void refuses(const char *from, const char *name, const char *old, const char *put, keel_status status,
                    const char *says) {
    char dir[512];
    keel_bert *bert = load("mean");
    const bool config = strcmp(name, "adapter_config.json") == 0;
    snprintf(dir, sizeof dir, "%s/wrong", folder);
    assert_ok(keel_folder_make(dir, &err));
    copy_changed(from, "adapter_config.json", config ? old : NULL, put);
    copy_changed(from, "adapter_model.safetensors", config ? NULL : old, put);
    keel_status found = keel_peft_load(bert, dir, &err);
    if (found != status) fail_msg("%s for %s: status %d: %s", put, old, found, err.message);
    if (status != KEEL_OK) contains(err.message, says);
    keel_bert_close(bert);
}

static void adapters_that_are_not_computed_are_refused_by_name(void **state) {
    (void)state;
    const char *config = "adapter_config.json", *weights = "adapter_model.safetensors";
    const keel_status no = KEEL_E_UNSUPPORTED, wrong = KEEL_E_INVALID, broken = KEEL_E_PARSE;
    refuses("plain", config, "\"LORA\"", "\"IA3\"", no, "\"IA3\"");
    refuses("plain", config, "\"peft_type\"", "\"peft\"", broken, "peft_type");
    refuses("plain", config, "\"bias\": \"none\"", "\"bias\": \"lora_only\"", no, "lora_only");
    refuses("plain", config, "\"use_dora\": false", "\"use_dora\": true", no, "use_dora");
    refuses("plain", config, "\"rank_pattern\": {}", "\"rank_pattern\": {\"query\": 8}", no, "rank_pattern");
    refuses("plain", config, "\"alpha_pattern\": {}", "\"alpha_pattern\": {\"query\": 8}", no,
            "alpha_pattern");
    refuses("plain", config, "\"modules_to_save\": null", "\"modules_to_save\": [\"classifier\"]", no,
            "modules_to_save");
    refuses("plain", config, "\"fan_in_fan_out\": false", "\"fan_in_fan_out\": true", no, "fan_in_fan_out");
    refuses("plain", config, "\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"", no,
            "init_lora_weights");
    refuses("plain", config, "\"revision\"", "\"new_kind_of_rank\": 7, \"revision\"", no, "new_kind_of_rank");
    refuses("plain", config, "\"query\"", "\"pooler.dense\"", no, "pooler.dense");
    refuses("plain", config, "\"query\"", "7", no, "target_modules");
    refuses("plain", config, "\"query\"", "\"uery\"", no, "\"uery\"");
    refuses("plain", config, "\"query\"", "\"query\", \"key\"", wrong, "encoder.layer.0.attention.self.key");
    refuses("all", config, "\"key\"", "\"query\"", wrong, "does not name it");
    refuses("plain", config, "\"target_modules\"", "\"target\"", no, "target");
    refuses("plain", config, "\"r\": 4", "\"r\": 5", wrong, "shape");
    refuses("plain", config, "\"r\": 4", "\"r\": 0", wrong, "r: expected 1");
    refuses("plain", config, "\"r\": 4", "\"r\": 1e300", wrong, "r: expected 1");
    refuses("plain", config, "\"lora_alpha\": 8", "\"lora_alpha\": -8", wrong, "alpha");
    refuses("plain", config, "\"lora_dropout\": 0.1", "\"lora_dropout\": 1.5", wrong, "dropout");
    refuses("plain", config, "\"lora_dropout\": 0.1", "\"lora_dropout\": \"x\"", broken, "lora_dropout");
    refuses("plain", weights, "layer.1.attention.self.query.lora_A", "layer.1.attention.self.query.lora_C",
            wrong, "layer.1.attention.self.query: lora_A is missing");
    refuses("plain", weights, "layer.1.attention.self.query", "layer.7.attention.self.query", wrong, "query");
    refuses("plain", weights, "[4,24]", "[24,4]", wrong, "shape");
    refuses("pattern", weights, "layer.1.output.dense.lora_A", "layer.2.output.dense.lora_A", wrong,
            "layer.1.output.dense: lora_A is missing");
    refuses("plain", config, "\"revision\"", "\"inference\": null, \"revision\"", KEEL_OK, "");
    refuses("plain", config, "\"init_lora_weights\": true", "\"init_lora_weights\": \"gaussian\"", KEEL_OK,
            "");
}

/* One tensor more than the modules of the configuration have. */
static void a_tensor_of_no_module_is_refused_by_name(void **state) {
    (void)state;
    static const float zero[24];
    char dir[512], path[600];
    keel_safetensors file;
    keel_bert *bert = load("mean");
    snprintf(dir, sizeof dir, "%s/wrong", folder);
    assert_ok(keel_folder_make(dir, &err));
    copy_changed("plain", "adapter_config.json", NULL, NULL);
    assert_ok(keel_safetensors_read(GOLDEN "adapters/plain/adapter_model.safetensors", &file, &err));
    keel_named_tensor *more = keel_arena_calloc(&arena, file.count + 1, sizeof *more);
    memcpy(more, file.tensors, file.count * sizeof *more);
    more[file.count] = (keel_named_tensor){.name = "base_model.model.pooler.dense.lora_A.weight",
                                           .dtype = KEEL_F32,
                                           .n_dims = 2,
                                           .shape = {1, 24},
                                           .data = zero,
                                           .bytes = sizeof zero};
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", dir);
    assert_ok(keel_safetensors_write(path, more, file.count + 1, NULL, &err));
    assert_int_equal(keel_peft_load(bert, dir, &err), KEEL_E_UNSUPPORTED);
    contains(err.message, "pooler.dense.lora_A");
    keel_safetensors_free(&file);
    keel_bert_close(bert);
}

/* ---- without memory ---- */

/* What writes files comes last, because that takes its time. */
static keel_status everything(const char *dir) {
    keel_bert *bert = NULL;
    const keel_param head = {"head", 2, 24, KEEL_INIT_ONE, 1, true, 0};
    KEEL_TRY(keel_bert_load(&bert, GOLDEN "bert/mean", &err));
    keel_status status = keel_bert_extend(bert, &SOME, &head, 1, &err);
    keel_bert_close(bert);
    if (status == KEEL_OK) status = keel_bert_load(&bert, GOLDEN "bert/mean", &err);
    if (status != KEEL_OK) return status;
    status = keel_peft_load(bert, GOLDEN "adapters/all", &err);
    if (status == KEEL_OK) status = keel_bert_merge(bert, &err);
    keel_bert_unmerge(bert);
    if (status == KEEL_OK) status = keel_peft_save(bert, dir, &err);
    if (status == KEEL_OK) status = keel_bert_save(bert, dir, &err);
    keel_bert_close(bert);
    return status;
}

static void every_failed_allocation_is_out_of_memory_and_leaks_nothing(void **state) {
    (void)state;
    char dir[512];
    size_t n = 1;
    snprintf(dir, sizeof dir, "%s/faults", folder);
    for (keel_status status = KEEL_E_NOMEM; status != KEEL_OK; n++) {
        faults counted;
        faults_begin(&counted, n);
        status = everything(dir);
        faults_end();
        if (status != KEEL_OK && status != KEEL_E_NOMEM) fail_msg("allocation %zu: %s", n, err.message);
        assert_int_equal(counted.live, 0);
    }
    assert_true(n > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_mode_trains_is_the_end_of_one_block),
        cmocka_unit_test(corrections_out_of_range_are_refused),
        cmocka_unit_test(merged_weights_do_what_the_branches_did),
        cmocka_unit_test(what_would_not_be_finite_is_not_merged),
        cmocka_unit_test(what_is_frozen_costs_no_product),
        cmocka_unit_test(what_is_saved_is_loaded_bit_for_bit),
        cmocka_unit_test(corrections_are_merged_in_what_is_saved),
        cmocka_unit_test(vectors_are_those_of_peft),
        cmocka_unit_test(adapters_are_written_as_peft_does),
        cmocka_unit_test(an_adapter_goes_beside_heads_or_not_at_all),
        cmocka_unit_test(adapters_that_are_not_computed_are_refused_by_name),
        cmocka_unit_test(a_tensor_of_no_module_is_refused_by_name),
        cmocka_unit_test(every_failed_allocation_is_out_of_memory_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
