/* Tuning a decoder: losses fall as in PyTorch, whatever a step is cut into and whatever is kept until
 * backward.
 */
#include "llama_curves.h"

#include <math.h>

#include "core/schedule.h"
#include "core/sharded_step.h"

enum { STEPS = 100, ALL = KEEL_LORA_DECODER, QUERY_VALUE = KEEL_LORA_QUERY | KEEL_LORA_VALUE };

static float ones[MOST_TOKENS];

static int start(void **state) {
    for (size_t t = 0; t < MOST_TOKENS; t++) ones[t] = 1;
    return set_up(state);
}

/* Texts first .. first + n - 1. */
static keel_llama_batch batch_of(size_t first, size_t n) {
    int32_t *own = keel_arena_calloc(&arena, n + 1, sizeof *own);
    for (size_t i = 0; i <= n; i++) own[i] = offsets[first + i] - offsets[first];
    return (keel_llama_batch){ids + offsets[first], own, n, weights + offsets[first]};
}

/* ---- before tuning ---- */

static void tokens_cost_what_they_do_in_transformers(void **state) {
    (void)state;
    static const char *const names[] = {"tied", "untied"};
    for (int k = 0; k < 2; k++) {
        keel_llama *llama = load(names[k]);
        float found[MOST_TOKENS];
        const keel_llama_training frozen = {0};
        const keel_llama_loss loss = {.divisor = 1, .log_prob = found};
        keel_llama_batch batch = batch_of(0, N_TEXTS);
        keel_tape *tape;
        batch.weight = ones;
        assert_ok(keel_tape_open(&tape, &err));
        keel_tensor *sums = keel_llama_on_tape(tape, llama, &frozen, &batch, &loss, &arena, &err);
        assert_ok(keel_tape_check(tape, sums, &err));
        for (size_t i = 0; i < N_TEXTS; i++) {
            const cJSON *text =
                cJSON_GetArrayItem(keel_json_get(keel_json_get(curves, "before"), names[k]), (int)i);
            double sum = 0;
            for (size_t t = 0; t < (size_t)(offsets[i + 1] - offsets[i]); t++) {
                const double want = at(text, t), have = (double)found[(size_t)offsets[i] + t];
                if (!(fabs(have - want) < 2e-5))
                    fail_msg("%s, text %zu, token %zu: %.8g, expected %.8g", names[k], i, t, have, want);
                sum += want;
            }
            assert_true(fabs((double)sums->data[i] + sum) < 1e-4);
        }
        keel_tape_close(tape);
        keel_llama_close(llama);
    }
}

/* ---- tuning ---- */

/* One of make_decoder_curves.py's. */
typedef struct curve {
    const char *name, *folder;
    keel_llama_tuning tuning;
    double rate, smoothing, clip;
    keel_schedule schedule;
    size_t warm_up;
} curve;

static const curve curves_to_follow[] = {
    {"full", "tied", {.mode = KEEL_LLAMA_FULL}, 1e-3, 0, 0, KEEL_SCHEDULE_CONSTANT, 0},
    {"full_untied", "untied", {.mode = KEEL_LLAMA_FULL}, 3e-3, 0.1, 0.5, KEEL_SCHEDULE_COSINE, 10},
    {"freeze",
     "untied",
     {.mode = KEEL_LLAMA_FREEZE, .frozen_layers = 1},
     1e-3,
     0,
     0,
     KEEL_SCHEDULE_LINEAR,
     10},
    {"freeze_tied",
     "tied",
     {.mode = KEEL_LLAMA_FREEZE, .frozen_layers = 1},
     1e-3,
     0,
     1,
     KEEL_SCHEDULE_CONSTANT,
     0},
    {"lora",
     "tied",
     {.mode = KEEL_LLAMA_LORA, .lora = {4, 8, 0, false, QUERY_VALUE}},
     5e-3,
     0,
     0,
     KEEL_SCHEDULE_CONSTANT,
     0},
    {"rslora",
     "untied",
     {.mode = KEEL_LLAMA_LORA, .lora = {3, 6, 0, true, ALL}},
     5e-3,
     0,
     1,
     KEEL_SCHEDULE_COSINE,
     10},
    {"prompt", "tied", {.mode = KEEL_LLAMA_PROMPT, .n_virtual = 4}, 3e-3, 0, 0, KEEL_SCHEDULE_CONSTANT, 0},
    {"prompt_untied",
     "untied",
     {.mode = KEEL_LLAMA_PROMPT, .n_virtual = 3},
     0.3,
     0,
     0,
     KEEL_SCHEDULE_LINEAR,
     10},
};
enum { N_CURVES = sizeof curves_to_follow / sizeof *curves_to_follow };

typedef struct tuned {
    const curve *like;
    keel_llama *llama;
    keel_keep keep;
    keel_tape *tape;
    keel_adam adam;
    keel_pool *pool;
    keel_sharded_step *step;
    size_t shards;
    double loss, divisor;
    keel_loss_scale scale; /* factor 0: none */
} tuned;

/* As start() there: LoRA's A and virtual tokens. */
static void set_start(keel_llama *llama) {
    for (size_t i = 0; i < llama->params.count; i++) {
        const keel_param *param = &llama->params.table[i];
        if (!strstr(param->name, "lora_A") && !strstr(param->name, "prompt_embeddings")) continue;
        for (size_t j = 0; j < param->rows * param->cols; j++)
            keel_params_at(&llama->params, i)[j] = (float)(0.1 * sin((double)(j + 1)));
    }
}

/* The weight of all tokens that are predicted from something. */
static double total_weight(bool first_too) {
    double total = 0;
    for (size_t i = 0; i < N_TEXTS; i++)
        for (int32_t t = offsets[i] + !first_too; t < offsets[i + 1]; t++) total += (double)weights[t];
    return total;
}

static void open_tuned(tuned *t, const curve *like, size_t shards, keel_keep keep) {
    *t = (tuned){.like = like,
                 .llama = load(like->folder),
                 .shards = shards,
                 .keep = keep,
                 .divisor = total_weight(like->tuning.n_virtual)};
    assert_ok(keel_llama_train(t->llama, &like->tuning, &err));
    assert_int_equal(t->llama->params.size, keel_llama_trained_size(&t->llama->config, &like->tuning));
    set_start(t->llama);
    assert_ok(keel_adam_open(&t->adam, t->llama->params.size, &err));
    assert_ok(keel_tape_open(&t->tape, &err));
    assert_ok(keel_pool_open(&t->pool, 1, &err));
    assert_ok(keel_sharded_step_open(&t->step, &t->llama->params, shards, t->pool, &err));
}

static void close_tuned(tuned *t) {
    keel_sharded_step_close(t->step);
    keel_pool_close(t->pool);
    keel_tape_close(t->tape);
    keel_adam_close(&t->adam);
    keel_llama_close(t->llama);
}

static keel_status run_shard(void *context, size_t shard, size_t thread, keel_err *error) {
    tuned *t = context;
    (void)thread;
    const size_t n = N_TEXTS / t->shards;
    const keel_llama_training training = {.grads = keel_sharded_step_gradient(t->step, shard),
                                          .keep = t->keep};
    const keel_llama_batch batch = batch_of(shard * n, n);
    const keel_llama_loss loss = {.divisor = (float)t->divisor, .smoothing = (float)t->like->smoothing};
    keel_tape_reset(t->tape);
    const double factor = t->scale.factor > 0 ? t->scale.factor : 1;
    keel_tensor *sums = keel_llama_on_tape(t->tape, t->llama, &training, &batch, &loss, &arena, error),
                *sum = keel_op_sum(t->tape, sums, (float)factor);
    KEEL_TRY(keel_tape_backward(t->tape, sum, error));
    t->loss += (double)sum->data[0] / factor;
    return KEEL_OK;
}

/* One step on all texts; the loss before it. */
static double take_step(tuned *t, size_t step) {
    double norm;
    keel_step_rule rule = {.adam = keel_adam_defaults(),
                           .rate_factor =
                               keel_schedule_factor(t->like->schedule, step, t->like->warm_up, STEPS),
                           .clip_norm = t->like->clip,
                           .scale = t->scale.factor > 0 ? &t->scale : NULL};
    rule.adam.learning_rate = t->like->rate;
    rule.adam.weight_decay = 0.01;
    t->loss = 0;
    assert_ok(keel_sharded_step_take(t->step, t->shards, run_shard, t, &rule, &t->llama->params, &t->adam,
                                     &norm, &err));
    keel_arena_reset(&arena);
    return t->loss;
}

static void follow(const curve *like, size_t shards, keel_keep keep) {
    tuned t;
    const cJSON *expected = keel_json_get(keel_json_get(curves, like->name), "losses");
    assert_int_equal(cJSON_GetArraySize(expected), STEPS);
    open_tuned(&t, like, shards, keep);
    for (size_t i = 0; i < STEPS; i++) {
        const double want = at(expected, i), have = take_step(&t, i);
        if (!(fabs(have - want) <= 1e-3 * want))
            fail_msg("%s in %zu, step %zu: %.8g, PyTorch %.8g", like->name, shards, i, have, want);
    }
    close_tuned(&t);
}

static void losses_fall_as_in_pytorch(void **state) {
    (void)state;
    for (size_t k = 0; k < N_CURVES; k++) follow(&curves_to_follow[k], 1, KEEL_KEEP_ALL);
}

static void micro_batches_are_the_big_batch(void **state) {
    (void)state;
    for (size_t k = 0; k < N_CURVES; k++) follow(&curves_to_follow[k], k % 2 ? 3 : 2, KEEL_KEEP_ALL);
}

static void layers_that_are_run_again_learn_the_same(void **state) {
    (void)state;
    for (size_t k = 0; k < N_CURVES; k++) {
        tuned kept, again;
        open_tuned(&kept, &curves_to_follow[k], 1, KEEL_KEEP_ALL);
        open_tuned(&again, &curves_to_follow[k], 1, KEEL_KEEP_NOTHING);
        for (size_t i = 0; i < 12; i++) assert_true(take_step(&kept, i) == take_step(&again, i));
        assert_memory_equal(kept.llama->params.data, again.llama->params.data,
                            kept.llama->params.size * sizeof(float));
        close_tuned(&kept);
        close_tuned(&again);
    }
}

/* Products in bfloat16 and activations in 16 bits learn what floats do, but for their rounding. */
static void rounded_products_learn_nearly_the_same(void **state) {
    (void)state;
    static const keel_keep keeps[] = {KEEL_KEEP_ALL, KEEL_KEEP_BF16, KEEL_KEEP_HALF, KEEL_KEEP_NOTHING};
    for (size_t k = 0; k < N_CURVES; k++)
        for (int how = 0; how < 4; how++) {
            tuned t;
            const cJSON *expected = keel_json_get(keel_json_get(curves, curves_to_follow[k].name), "losses");
            open_tuned(&t, &curves_to_follow[k], 1, keeps[how]);
            if (keeps[how] == KEEL_KEEP_HALF) t.scale = keel_loss_scale_start();
            keel_tape_precision(t.tape, how == 2 ? KEEL_PRECISION_F32 : KEEL_PRECISION_BF16);
            double farthest = 0;
            for (size_t i = 0; i < STEPS; i++)
                farthest = fmax(farthest, fabs(take_step(&t, i) / at(expected, i) - 1));
            if (!(farthest > 1e-7 && farthest < 0.05))
                fail_msg("%s, %d: %g", curves_to_follow[k].name, how, farthest);
            assert_true(how != 2 || t.scale.clean == STEPS); /* nothing overflowed */
            close_tuned(&t);
        }
}

/* ---- packing ---- */

static double loss_of(const keel_llama *llama, const keel_llama_batch *batch,
                      const keel_llama_training *training, float *per_text) {
    const keel_llama_loss loss = {.divisor = 1};
    keel_tape *tape;
    assert_ok(keel_tape_open(&tape, &err));
    keel_tensor *sums = keel_llama_on_tape(tape, llama, training, batch, &loss, &arena, &err),
                *sum = keel_op_sum(tape, sums, 1);
    assert_ok(keel_tape_check(tape, sum, &err));
    if (training->grads) assert_ok(keel_tape_backward(tape, sum, &err));
    for (size_t i = 0; per_text && i < batch->n; i++) per_text[i] = sums->data[i];
    const double value = (double)sum->data[0];
    keel_tape_close(tape);
    return value;
}

/* The loss of packed texts is that of texts alone, and so is the gradient. */
static void packed_texts_cost_what_they_do_alone(void **state) {
    (void)state;
    for (size_t k = 0; k < N_CURVES; k++) {
        keel_llama *llama = load(curves_to_follow[k].folder);
        assert_ok(keel_llama_train(llama, &curves_to_follow[k].tuning, &err));
        set_start(llama);
        const size_t size = llama->params.size;
        float *together = keel_calloc(size, sizeof *together), *alone = keel_calloc(size, sizeof *alone),
              *sum = keel_calloc(size, sizeof *sum), per_text[N_TEXTS];
        const keel_llama_batch all = batch_of(0, N_TEXTS);
        loss_of(llama, &all, &(keel_llama_training){.grads = together}, per_text);
        for (size_t i = 0; i < N_TEXTS; i++) {
            const keel_llama_batch one = batch_of(i, 1);
            const double own = loss_of(llama, &one, &(keel_llama_training){.grads = alone}, NULL);
            assert_true(fabs(own - (double)per_text[i]) <= 1e-5 * fabs(own));
            for (size_t j = 0; j < size; j++) sum[j] += alone[j];
        }
        for (size_t j = 0; j < size; j++)
            assert_true(fabsf(sum[j] - together[j]) <= 1e-4f * fmaxf(1, fabsf(sum[j])));
        keel_free(together), keel_free(alone), keel_free(sum);
        keel_llama_close(llama);
    }
}

/* ---- what counts ---- */

/* Nothing is left out for what it is: the token that ends a turn, and one that pads elsewhere, count as their
 * weights say; where nothing counts, nothing is learnt and no number is infinite. */
static void weights_alone_say_what_counts(void **state) {
    (void)state;
    keel_llama *llama = load("tied");
    static const int32_t text[] = {5, 9, 1, 7, 0}, whole[] = {0, 5};
    static const float each[5][5] = {{1}, {0, 1}, {0, 0, 1}, {0, 0, 0, 1}, {0, 0, 0, 0, 1}}, none[5] = {0};
    const keel_llama_training frozen = {0};
    double sum = 0;
    for (int k = 0; k < 5; k++) {
        const keel_llama_batch batch = {text, whole, 1, each[k]};
        const double cost = loss_of(llama, &batch, &frozen, NULL);
        assert_true(k ? cost > 0 : cost == 0); /* nothing predicts the first */
        sum += cost;
    }
    const keel_llama_batch all = {text, whole, 1, ones}, nothing = {text, whole, 1, none};
    assert_true(fabs(loss_of(llama, &all, &frozen, NULL) - sum) < 1e-4);
    assert_ok(keel_llama_train(llama, &(keel_llama_tuning){.mode = KEEL_LLAMA_FULL}, &err));
    float *grads = keel_calloc(llama->params.size, sizeof *grads);
    assert_true(loss_of(llama, &nothing, &(keel_llama_training){.grads = grads}, NULL) == 0);
    for (size_t i = 0; i < llama->params.size; i++) assert_true(grads[i] == 0);
    keel_free(grads);
    keel_llama_close(llama);
}

/* The model says the token that ends a turn where it has learnt to. */
static void the_end_of_a_turn_is_learnt(void **state) {
    (void)state;
    tuned t;
    float before[MOST_TOKENS], after[MOST_TOKENS];
    const keel_llama_training frozen = {0};
    open_tuned(&t, &curves_to_follow[0], 1, KEEL_KEEP_ALL);
    for (int k = 0; k < 2; k++) {
        const keel_llama_loss loss = {.divisor = 1, .log_prob = k ? after : before};
        keel_llama_batch batch = batch_of(0, N_TEXTS);
        batch.weight = ones;
        keel_tape_reset(t.tape);
        assert_non_null(keel_llama_on_tape(t.tape, t.llama, &frozen, &batch, &loss, &arena, &err));
        for (size_t i = 0; k == 0 && i < STEPS; i++) take_step(&t, i);
    }
    for (size_t i = 0; i < N_TEXTS; i++)
        assert_true(after[offsets[i + 1] - 1] > logf(0.5f) && before[offsets[i + 1] - 1] < logf(0.1f));
    close_tuned(&t);
}

/* Rows of the embedding beyond the tokenizer's size are no tokens: no number of theirs matters. */
static void rows_beyond_the_vocabulary_are_no_tokens(void **state) {
    (void)state;
    keel_llama *llama = load("untied");
    const keel_llama_batch batch = batch_of(0, N_TEXTS);
    const size_t size = keel_tokenizer_size(llama->tokenizer), hidden = llama->config.hidden;
    assert_true(size < llama->config.vocab);
    assert_ok(keel_llama_train(llama, &(keel_llama_tuning){.mode = KEEL_LLAMA_FULL}, &err));
    float *grads = keel_calloc(llama->params.size, sizeof *grads),
          *head = keel_params_at(&llama->params, keel_llama_head(&llama->config));
    const double loss = loss_of(llama, &batch, &(keel_llama_training){.grads = grads}, NULL);
    const float *dhead = grads + keel_params_offset(&llama->params, keel_llama_head(&llama->config));
    for (size_t i = size * hidden; i < llama->config.vocab * hidden; i++) {
        assert_true(dhead[i] == 0);
        head[i] = 1e6f;
    }
    assert_true(loss_of(llama, &batch, &(keel_llama_training){0}, NULL) == loss);
    keel_free(grads);
    keel_llama_close(llama);
}

/* ---- dropout ---- */

static void dropout_goes_by_its_seed(void **state) {
    (void)state;
    static const curve *const like = &curves_to_follow[5];
    keel_llama *llama = load(like->folder);
    keel_llama_tuning tuning = like->tuning;
    tuning.lora.dropout = 0.3;
    assert_ok(keel_llama_train(llama, &tuning, &err));
    set_start(llama);
    for (size_t i = 0; i < llama->params.size; i++) llama->params.data[i] += 0.05f;
    const keel_llama_batch batch = batch_of(0, N_TEXTS);
    float *grads = keel_calloc(llama->params.size, sizeof *grads),
          *same = keel_calloc(llama->params.size, sizeof *same);
    keel_llama_training one = {.grads = grads, .drops = true, .seed = 1}, two = one, whole = {.grads = grads};
    two.grads = same, two.keep = KEEL_KEEP_NOTHING;
    const double first = loss_of(llama, &batch, &one, NULL);
    assert_true(loss_of(llama, &batch, &two, NULL) == first);
    assert_memory_equal(grads, same, llama->params.size * sizeof *grads);
    one.seed = 2;
    assert_true(loss_of(llama, &batch, &one, NULL) != first);
    assert_true(loss_of(llama, &batch, &whole, NULL) != first);
    one.dropout = 0.1;
    const double more = loss_of(llama, &batch, &one, NULL);
    two = one, two.keep = KEEL_KEEP_NOTHING;
    assert_true(loss_of(llama, &batch, &two, NULL) == more);
    keel_free(grads), keel_free(same);
    keel_llama_close(llama);
}

/* ---- misuse ---- */

static void batches_out_of_range_are_refused(void **state) {
    (void)state;
    keel_llama *llama = load("tied");
    static const int32_t text[70] = {5, 9, -1, 268}, one[] = {0, 2}, empty[] = {0, 2, 2}, late[] = {1, 2},
                         negative[] = {0, 3}, beyond[] = {0, 1}, lengthy[] = {0, 70};
    const keel_llama_batch batches[] = {{text, empty, 2, ones},    {text, late, 1, ones},
                                        {text, negative, 1, ones}, {text + 3, beyond, 1, ones},
                                        {text, lengthy, 1, ones},  {text, one, 0, ones}};
    static const char *const told[] = {"text 1 is empty", "from 0",       "token 2",
                                       "got 268",         "64 positions", "got 0"};
    const keel_llama_loss loss = {.divisor = 1};
    keel_tape *tape;
    assert_ok(keel_tape_open(&tape, &err));
    for (int k = 0; k < 6; k++) {
        err = (keel_err){0};
        assert_null(
            keel_llama_on_tape(tape, llama, &(keel_llama_training){0}, &batches[k], &loss, &arena, &err));
        assert_int_equal(err.code, KEEL_E_INVALID);
        contains(err.message, told[k]);
    }
    keel_tape_close(tape);
    keel_llama_close(llama);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_cost_what_they_do_in_transformers),
        cmocka_unit_test(losses_fall_as_in_pytorch),
        cmocka_unit_test(micro_batches_are_the_big_batch),
        cmocka_unit_test(layers_that_are_run_again_learn_the_same),
        cmocka_unit_test(rounded_products_learn_nearly_the_same),
        cmocka_unit_test(packed_texts_cost_what_they_do_alone),
        cmocka_unit_test(weights_alone_say_what_counts),
        cmocka_unit_test(the_end_of_a_turn_is_learnt),
        cmocka_unit_test(rows_beyond_the_vocabulary_are_no_tokens),
        cmocka_unit_test(dropout_goes_by_its_seed),
        cmocka_unit_test(batches_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, start, tear_down);
}
