/* Tuning an encoder: what the tape computes is what inference does, and losses fall as in PyTorch. */
#include "fixture.h"

#include <math.h>

#include "core/json.h"
#include "core/optim.h"
#include "policies/transformer/bert_tape.h"

#define GOLDEN KEEL_SOURCE_DIR "/tests/policies/golden/"

enum { MOST_TEXTS = 16 };

static cJSON *vectors, *curves;
static const char *texts[MOST_TEXTS];
static size_t n_texts;
static keel_arena arena;

static int set_up(void **state) {
    (void)state;
    const cJSON *text;
    assert_ok(keel_json_parse_file(GOLDEN "vectors.json", &vectors, &err));
    assert_ok(keel_json_parse_file(GOLDEN "curves.json", &curves, &err));
    cJSON_ArrayForEach (text, keel_json_get(vectors, "texts")) texts[n_texts++] = text->valuestring;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cJSON_Delete(vectors);
    cJSON_Delete(curves);
    keel_arena_free(&arena);
    return 0;
}

static keel_bert *load(const char *name, keel_bert_batch *batch) {
    keel_bert *bert;
    size_t cut = 0;
    char dir[512];
    snprintf(dir, sizeof dir, GOLDEN "bert/%s", name);
    assert_ok(keel_bert_load(&bert, dir, &err));
    bert->config.normalise = false;
    assert_ok(keel_bert_read(bert, texts, n_texts, &arena, batch, &cut, &err));
    return bert;
}

static void the_tape_computes_what_inference_does(void **state) {
    (void)state;
    static const char *const names[] = {"mean", "first"};
    for (int k = 0; k < 2; k++) {
        keel_bert_batch batch;
        keel_bert *bert = load(names[k], &batch);
        const size_t size = n_texts * bert->config.hidden;
        float *expected = keel_arena_calloc(&arena, size, sizeof *expected);
        const keel_bert_training frozen = {0};
        keel_tape *tape;
        assert_ok(keel_bert_encode(bert, &batch, &arena, expected, &err));
        assert_ok(keel_tape_open(&tape, &err));
        keel_tensor *found = keel_bert_on_tape(tape, bert, &frozen, &batch, &arena, &err);
        assert_ok(keel_tape_check(tape, found, &err));
        for (size_t i = 0; i < size; i++)
            if (!(fabsf(found->data[i] - expected[i]) < 1e-5f))
                fail_msg("%s, %zu: %.8g, expected %.8g", names[k], i, (double)found->data[i],
                         (double)expected[i]);
        keel_tape_close(tape);
        keel_bert_close(bert);
    }
}

/* ---- tuning ---- */

typedef struct head {
    keel_params params; /* weight [1, hidden], bias [1, 1] */
    keel_real *grads;
    keel_adam adam;
} head;

static void open_head(head *h, size_t hidden) {
    const keel_param table[2] = {{"weight", 1, hidden, KEEL_INIT_ZERO, 0, true},
                                 {"bias", 1, 1, KEEL_INIT_ZERO, 0, false}};
    assert_ok(keel_params_make(&h->params, table, 2, &err));
    assert_ok(keel_adam_open(&h->adam, h->params.size, &err));
    h->grads = keel_arena_calloc(&arena, h->params.size, sizeof *h->grads);
    for (size_t i = 0; i < hidden; i++) keel_params_at(&h->params, 0)[i] = 0.1f * sinf((float)(i + 1));
}

/* One step on all texts; the loss before it. */
static double step(keel_tape *tape, keel_bert *bert, const keel_bert_training *training,
                   const keel_bert_batch *batch, head *h, const float *labels, keel_adam *adam,
                   const keel_adam_config *config) {
    keel_tape_reset(tape);
    keel_tensor *x = keel_bert_on_tape(tape, bert, training, batch, &arena, &err);
    keel_tensor *z = keel_op_linear(tape, x, keel_tape_param(tape, &h->params, 0, h->grads),
                                    keel_tape_param(tape, &h->params, 1, h->grads), KEEL_LINEAR);
    keel_tensor *loss = keel_op_logistic(tape, z, labels, NULL, (keel_real)n_texts);
    assert_ok(keel_tape_backward(tape, loss, &err));
    const double before = (double)loss->data[0];
    keel_adam_step(adam, config, &bert->params, training->grads, 1);
    keel_adam_step(&h->adam, config, &h->params, h->grads, 1);
    return before;
}

/* What is frozen has no gradient, but the step would still decay it: it is put back. */
static void follow(const char *name, keel_bert_training training) {
    keel_bert_batch batch;
    keel_bert *bert = load("mean", &batch);
    const cJSON *expected = keel_json_get(curves, name);
    keel_adam_config config = keel_adam_defaults();
    keel_adam adam;
    keel_tape *tape;
    head h;
    float labels[MOST_TEXTS];
    config.learning_rate = 1e-3;
    config.weight_decay = 0.01;
    for (size_t i = 0; i < n_texts; i++)
        labels[i] = (float)cJSON_GetArrayItem(keel_json_get(curves, "labels"), (int)i)->valuedouble;
    training.grads = keel_arena_calloc(&arena, bert->params.size, sizeof *training.grads);
    const size_t kept =
        training.embeddings
            ? 0
            : bert->params.offset[KEEL_BERT_FIRST_LAYER + training.first_layer * KEEL_BERT_LAYER];
    keel_real *still = keel_arena_calloc(&arena, kept + 1, sizeof *still);
    if (kept) memcpy(still, bert->params.data, kept * sizeof *still);
    assert_ok(keel_adam_open(&adam, bert->params.size, &err));
    assert_ok(keel_tape_open(&tape, &err));
    open_head(&h, bert->config.hidden);
    for (int i = 0; i < cJSON_GetArraySize(expected); i++) {
        const double want = cJSON_GetArrayItem(expected, i)->valuedouble,
                     have = step(tape, bert, &training, &batch, &h, labels, &adam, &config);
        if (!(fabs(have - want) <= 1e-3 * want + 1e-6))
            fail_msg("%s, step %d: %.8g, PyTorch %.8g", name, i, have, want);
        if (kept) memcpy(bert->params.data, still, kept * sizeof *still);
        for (size_t k = 0; k < kept; k++) assert_true(training.grads[k] == 0);
    }
    keel_tape_close(tape);
    keel_adam_close(&adam);
    keel_adam_close(&h.adam);
    keel_params_free(&h.params);
    keel_bert_close(bert);
}

static void losses_fall_as_in_pytorch(void **state) {
    (void)state;
    follow("full", (keel_bert_training){.embeddings = true});
    follow("frozen", (keel_bert_training){.first_layer = 1});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tape_computes_what_inference_does),
        cmocka_unit_test(losses_fall_as_in_pytorch),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
