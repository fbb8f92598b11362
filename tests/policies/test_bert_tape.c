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

/* A logistic head on the mean vector, tuned on all texts. */
typedef struct tuned {
    keel_bert *bert;
    keel_bert_batch batch;
    keel_bert_training training;
    keel_tape *tape;
    keel_adam adam;
    float labels[MOST_TEXTS];
} tuned;

static void open_tuned(tuned *t, keel_bert_mode mode, size_t frozen_layers, const keel_lora_config *lora) {
    *t = (tuned){0};
    t->bert = load("mean", &t->batch);
    const size_t hidden = t->bert->config.hidden;
    const keel_param head[2] = {{"weight", 1, hidden, KEEL_INIT_ZERO, 0, true, 0},
                                {"bias", 1, 1, KEEL_INIT_ZERO, 0, false, 0}};
    assert_ok(keel_bert_extend(t->bert, lora, head, 2, &err));
    keel_real *weight = keel_params_at(&t->bert->params, keel_bert_first_head(t->bert));
    for (size_t i = 0; i < hidden; i++) weight[i] = 0.1f * sinf((float)(i + 1));
    t->training.first = keel_bert_first_trained(t->bert, mode, frozen_layers);
    t->training.trained = keel_params_from(&t->bert->params, t->training.first);
    t->training.grads = keel_calloc(t->training.trained.size, sizeof(keel_real));
    for (size_t i = 0; i < n_texts; i++)
        t->labels[i] = (float)cJSON_GetArrayItem(keel_json_get(curves, "labels"), (int)i)->valuedouble;
    assert_ok(keel_adam_open(&t->adam, t->training.trained.size, &err));
    assert_ok(keel_tape_open(&t->tape, &err));
}

static void close_tuned(tuned *t) {
    keel_tape_close(t->tape);
    keel_adam_close(&t->adam);
    keel_free(t->training.grads);
    keel_bert_close(t->bert);
}

/* One step on all texts; the loss before it. */
static double step(tuned *t) {
    keel_adam_config config = keel_adam_defaults();
    config.learning_rate = 1e-3;
    config.weight_decay = 0.01;
    const size_t head = keel_bert_first_head(t->bert);
    keel_tape_reset(t->tape);
    keel_tensor *x = keel_bert_on_tape(t->tape, t->bert, &t->training, &t->batch, &arena, &err);
    keel_tensor *z = keel_op_linear(t->tape, x, keel_bert_param(t->tape, t->bert, &t->training, head),
                                    keel_bert_param(t->tape, t->bert, &t->training, head + 1), KEEL_LINEAR);
    keel_tensor *loss = keel_op_logistic(t->tape, z, t->labels, NULL, (keel_real)n_texts);
    assert_ok(keel_tape_backward(t->tape, loss, &err));
    const double before = (double)loss->data[0];
    keel_adam_step(&t->adam, &config, &t->training.trained, t->training.grads, 1);
    return before;
}

static void follow(const char *name, keel_bert_mode mode, size_t frozen_layers) {
    tuned t;
    const cJSON *expected = keel_json_get(curves, name);
    open_tuned(&t, mode, frozen_layers, NULL);
    for (int i = 0; i < cJSON_GetArraySize(expected); i++) {
        const double want = cJSON_GetArrayItem(expected, i)->valuedouble, have = step(&t);
        if (!(fabs(have - want) <= 1e-3 * want + 1e-6))
            fail_msg("%s, step %d: %.8g, PyTorch %.8g", name, i, have, want);
    }
    close_tuned(&t);
}

static void losses_fall_as_in_pytorch(void **state) {
    (void)state;
    follow("full", KEEL_BERT_FULL, 0);
    follow("frozen", KEEL_BERT_FREEZE, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tape_computes_what_inference_does),
        cmocka_unit_test(losses_fall_as_in_pytorch),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
