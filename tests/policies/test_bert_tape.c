/* Tuning an encoder: what the tape computes is what inference does, and losses fall as in PyTorch. */
#include "bert_fixture.h"

#include <math.h>

#include "core/schedule.h"
#include "core/sharded_step.h"
#include "policies/transformer/bert_tape.h"

static cJSON *curves;

static int set_up(void **state) {
    (void)state;
    assert_ok(keel_json_parse_file(GOLDEN "curves.json", &curves, &err));
    open_golden();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cJSON_Delete(curves);
    close_golden();
    return 0;
}

static keel_bert *load_with(const char *name, keel_bert_batch *batch) {
    keel_bert *bert = load(name);
    size_t cut = 0;
    bert->config.normalise = false;
    assert_ok(keel_bert_read(bert, texts, n_texts, &arena, batch, &cut, &err));
    return bert;
}

static void the_tape_computes_what_inference_does(void **state) {
    (void)state;
    static const char *const names[] = {"mean", "first"};
    for (int k = 0; k < 2; k++) {
        keel_bert_batch batch;
        keel_bert *bert = load_with(names[k], &batch);
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

/* Four elements a draw: the embeddings, what attention and the feed-forward layer add, and what LoRA reads.
 */
static void dropout_is_where_devlin_and_hu_have_it(void **state) {
    (void)state;
    const keel_lora_config lora = {2, 4, 0.3, false, KEEL_LORA_QUERY | KEEL_LORA_DOWN};
    keel_bert_batch batch;
    keel_bert *bert = load_with("mean", &batch);
    keel_rng rng = keel_rng_named(1, "dropout", 0), same = rng;
    const keel_bert_training dropping = {.dropout = 0.1f, .rng = &rng}, whole = {.dropout = 0.1f};
    keel_tape *tape;
    assert_ok(keel_bert_extend(bert, &lora, NULL, 0, &err));
    assert_ok(keel_tape_open(&tape, &err));
    const size_t tokens = (size_t)batch.offsets[n_texts], hidden = bert->config.hidden,
                 inner = bert->config.inner, layers = bert->config.layers;
    const keel_tensor *dropped = keel_bert_on_tape(tape, bert, &dropping, &batch, &arena, &err),
                      *kept = keel_bert_on_tape(tape, bert, &whole, &batch, &arena, &err);
    assert_ok(keel_tape_check(tape, dropped, &err));
    assert_memory_not_equal(dropped->data, kept->data, n_texts * hidden * sizeof(float));
    const size_t elements = tokens * hidden * (1 + 2 * layers) + tokens * (hidden + inner) * layers;
    assert_int_equal(tokens * hidden % 4 + tokens * inner % 4, 0);
    for (size_t i = 0; i < elements / 4; i++) keel_rng_u64(&same);
    assert_true(keel_rng_u64(&rng) == keel_rng_u64(&same));
    keel_tape_close(tape);
    keel_bert_close(bert);
}

/* ---- tuning ---- */

/* One of make_curves.py's. */
typedef struct curve {
    const char *name;
    keel_bert_mode mode;
    size_t frozen_layers;
    keel_lora_config lora;
    size_t classes; /* 0: a logistic head */
    double clip;    /* norm; 0: none */
    keel_schedule schedule;
    size_t warm_up;
    double head_rate;
} curve;

enum { MOST_CLASSES = 3, SHARDS = 2, QUERY_VALUE = KEEL_LORA_QUERY | KEEL_LORA_VALUE };
static const curve curves_to_follow[] = {
    {.name = "full", .mode = KEEL_BERT_FULL},
    {.name = "freeze", .mode = KEEL_BERT_FREEZE, .frozen_layers = 1},
    {.name = "lora", .mode = KEEL_BERT_LORA, .lora = {4, 8, 0, false, QUERY_VALUE}},
    {.name = "rslora", .mode = KEEL_BERT_LORA, .lora = {3, 6, 0, true, KEEL_LORA_ALL}},
    {.name = "head", .mode = KEEL_BERT_HEAD},
    {.name = "linear",
     .mode = KEEL_BERT_FREEZE,
     .classes = 3,
     .clip = 0.5,
     .schedule = KEEL_SCHEDULE_LINEAR,
     .warm_up = 10,
     .head_rate = 5},
    {.name = "cosine",
     .mode = KEEL_BERT_LORA,
     .lora = {4, 8, 0, false, QUERY_VALUE},
     .clip = 1,
     .schedule = KEEL_SCHEDULE_COSINE,
     .warm_up = 10,
     .head_rate = 5},
};

/* A batch of all texts, in one shard or more. */
typedef struct tuned {
    const curve *like;
    keel_bert *bert;
    keel_bert_training training; /* without its gradients */
    keel_tape *tape;
    keel_adam adam;
    keel_pool *pool;
    keel_sharded_step *step;
    size_t shards;
    float target[MOST_TEXTS * MOST_CLASSES];
    double loss;
} tuned;

static double label(const char *key, size_t text) {
    return cJSON_GetArrayItem(keel_json_get(curves, key), (int)text)->valuedouble;
}

/* Classes are smoothed by a tenth: what is not certain is spread over all. */
static void set_targets(tuned *t) {
    const size_t classes = t->like->classes;
    for (size_t i = 0; i < n_texts; i++) {
        if (!classes) t->target[i] = (float)label("labels", i);
        for (size_t k = 0; k < classes; k++)
            t->target[i * classes + k] =
                (float)((label("classes", i) == (double)k ? 0.9 : 0) + 0.1 / (double)classes);
    }
}

/* As start() there. */
static void set_start(keel_bert *bert, size_t row) {
    const keel_param *param = &bert->params.table[row];
    for (size_t i = 0; i < param->rows * param->cols; i++)
        keel_params_at(&bert->params, row)[i] = (float)(0.1 * sin((double)(i + 1)));
}

static void open_tuned(tuned *t, const curve *like, size_t shards) {
    keel_bert_batch unused;
    *t = (tuned){.like = like, .bert = load_with("mean", &unused), .shards = shards};
    const size_t hidden = t->bert->config.hidden, out = like->classes ? like->classes : 1;
    const keel_param head[2] = {{"weight", out, hidden, KEEL_INIT_ZERO, 0, true, like->head_rate},
                                {"bias", 1, out, KEEL_INIT_ZERO, 0, false, like->head_rate}};
    assert_ok(keel_bert_extend(t->bert, &like->lora, head, 2, &err));
    for (size_t row = keel_bert_first_trained(t->bert, KEEL_BERT_LORA, 0); row < t->bert->params.count; row++)
        if (strstr(t->bert->params.table[row].name, "lora_A")) set_start(t->bert, row);
    set_start(t->bert, keel_bert_first_head(t->bert));
    set_targets(t);
    t->training.first = keel_bert_first_trained(t->bert, like->mode, like->frozen_layers);
    t->training.trained = keel_params_from(&t->bert->params, t->training.first);
    assert_ok(keel_adam_open(&t->adam, t->training.trained.size, &err));
    assert_ok(keel_tape_open(&t->tape, &err));
    assert_ok(keel_pool_open(&t->pool, 1, &err));
    assert_ok(keel_sharded_step_open(&t->step, &t->training.trained, shards, t->pool, &err));
}

static void close_tuned(tuned *t) {
    keel_sharded_step_close(t->step);
    keel_pool_close(t->pool);
    keel_tape_close(t->tape);
    keel_adam_close(&t->adam);
    keel_bert_close(t->bert);
}

static keel_status run_shard(void *context, size_t shard, size_t thread, keel_err *error) {
    tuned *t = context;
    (void)thread;
    const size_t n = n_texts / t->shards, from = shard * n, head = keel_bert_first_head(t->bert);
    keel_bert_training training = t->training;
    keel_bert_batch batch;
    size_t cut = 0;
    training.grads = keel_sharded_step_gradient(t->step, shard);
    KEEL_TRY(keel_bert_read(t->bert, texts + from, n, &arena, &batch, &cut, error));
    keel_tape_reset(t->tape);
    keel_tensor *x = keel_bert_on_tape(t->tape, t->bert, &training, &batch, &arena, error);
    keel_tensor *z = keel_op_linear(t->tape, x, keel_bert_param(t->tape, t->bert, &training, head),
                                    keel_bert_param(t->tape, t->bert, &training, head + 1), KEEL_LINEAR);
    keel_tensor *loss =
        t->like->classes
            ? keel_op_cross_entropy(t->tape, z, t->target + from * t->like->classes, NULL, (keel_real)n_texts)
            : keel_op_logistic(t->tape, z, t->target + from, NULL, (keel_real)n_texts);
    KEEL_TRY(keel_tape_backward(t->tape, loss, error));
    t->loss += (double)loss->data[0];
    return KEEL_OK;
}

/* One step on all texts; the loss before it. */
static double take_step(tuned *t, size_t at, size_t steps) {
    double norm;
    keel_step_rule rule = {.adam = keel_adam_defaults(),
                           .rate_factor =
                               keel_schedule_factor(t->like->schedule, at, t->like->warm_up, steps),
                           .clip_norm = t->like->clip};
    rule.adam.learning_rate = 1e-3;
    rule.adam.weight_decay = 0.01;
    t->loss = 0;
    assert_ok(keel_sharded_step_take(t->step, t->shards, run_shard, t, &rule, &t->training.trained, &t->adam,
                                     &norm, &err));
    return t->loss;
}

static void follow(const curve *like, size_t shards) {
    tuned t;
    const cJSON *expected = keel_json_get(curves, like->name);
    const size_t steps = (size_t)cJSON_GetArraySize(expected);
    assert_int_equal(steps, 100);
    open_tuned(&t, like, shards);
    for (size_t i = 0; i < steps; i++) {
        const double want = cJSON_GetArrayItem(expected, (int)i)->valuedouble, have = take_step(&t, i, steps);
        if (!(fabs(have - want) <= 1e-3 * want))
            fail_msg("%s in %zu, step %zu: %.8g, PyTorch %.8g", like->name, shards, i, have, want);
    }
    close_tuned(&t);
}

static void losses_fall_as_in_pytorch(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof curves_to_follow / sizeof *curves_to_follow; k++)
        follow(&curves_to_follow[k], 1);
}

static void micro_batches_are_the_big_batch(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof curves_to_follow / sizeof *curves_to_follow; k++)
        follow(&curves_to_follow[k], SHARDS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tape_computes_what_inference_does),
        cmocka_unit_test(dropout_is_where_devlin_and_hu_have_it),
        cmocka_unit_test(losses_fall_as_in_pytorch),
        cmocka_unit_test(micro_batches_are_the_big_batch),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
