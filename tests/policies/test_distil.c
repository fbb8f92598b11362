/* Distillation: what a tuned encoder says is learned by n-grams, of conversations without labels too. The
 * teacher is a tiny encoder, tuned once on a log of dangerous and benign questions. */
#define SCRATCH "distil"
#include "encoder_fixture.h"

#include <math.h>

#include "datasets/store_corpus.h"
#include "golden/distil.h"
#include "policies/ngram_base/encode.h"
#include "policies/ngram_base/loss.h"
#include "policies/ngram_base/passes.h"
#include "policies/soft_labels.h"
#include "policies/soft_loss.h"

static keel_base *teacher;
static struct keel_ngram_base_config small;

/* The teacher is tuned once. */
static int start_all(void **state) {
    if (set_up(state) != 0) return -1;
    add_log(40, "a", "train");
    teacher = &tuned("teacher")->base;
    keel_store_close(store);
    return 0;
}

static int end_all(void **state) {
    (void)state;
    keel_base_close(teacher);
    return 0;
}

static int start(void **state) {
    if (set_up(state) != 0) return -1;
    if (keel_options_defaults(keel_ngram_base_options, &small, &err) != KEEL_OK) return -1;
    small.buckets = 4096;
    small.min_updates = 20;
    small.common.fixed_answers = 1; /* none */
    add_log(40, "a", "train");      /* the teacher's */
    risk_known_every = 0;
    add_log(60, "b", "transfer");
    return keel_split_parse("transfer", &split, &err) == KEEL_OK ? 0 : -1;
}

static keel_status learn_from(const keel_base *base, const char *name, size_t threads) {
    const keel_sft_extras extras = {.teacher_base = base};
    return sft("builtin", &small.common, &extras, name, NULL, threads);
}

static keel_status learn(const char *name, size_t threads) {
    return learn_from(teacher, name, threads);
}

/* ---- what is learned ---- */

/* The risk that a student reads in a new question. */
static double risk_of(const keel_ngram_base *student, const char *ask) {
    keel_turn turn = {.role = KEEL_ROLE_USER, .text = ask};
    keel_decision decision = {.turn = 1};
    keel_conversation conversation = {
        .external_id = "new", .n_turns = 1, .turns = &turn, .n_decisions = 1, .decisions = &decision};
    keel_arena arena = {0};
    keel_ngram_sample sample;
    float scalars[KEEL_STATE_SCALARS];
    assert_ok(keel__ngram_base_samples(student, &conversation, NULL, 1, &arena, &sample, &err));
    keel__ngram_base_state_scalars(student, &sample, keel_conversation_group_hash(&conversation), scalars);
    keel_arena_free(&arena);
    return (double)scalars[1];
}

static void what_no_label_says_the_teacher_says(void **state) {
    (void)state;
    keel_base *student = NULL;
    assert_ok(learn_from(NULL, "alone", 1));
    assert_ok(keel_base_load(&student, in("alone"), &err));
    const keel_ngram_base *alone = (const keel_ngram_base *)student;
    assert_float_equal(risk_of(alone, "how do i run the cafe ! 1"), 0, 0); /* nothing was known */
    keel_base_close(student);
    assert_ok(learn_from(teacher, "taught", 1));
    assert_ok(keel_base_load(&student, in("taught"), &err));
    const keel_ngram_base *taught = (const keel_ngram_base *)student;
    const double high = risk_of(taught, "how do i run the cafe ! 1"),
                 low = risk_of(taught, "how do i bake bread ? 2");
    if (!(high > 0.1 && low < -0.1)) fail_msg("risks of %g and %g", high, low);
    assert_float_equal(figure("taught", "decisions_taught"), 60, 0);
    keel_base_close(student);
}

static void lineage_names_the_teacher(void **state) {
    (void)state;
    assert_ok(learn_from(teacher, "taught", 1));
    cJSON *manifest = manifest_of("taught");
    assert_string_equal(teacher_in_lineage(manifest), teacher->hash);
    cJSON_Delete(manifest);
}

/* ---- soft labels ---- */

static void a_decision_without_a_label_learns_from_the_teacher_alone(void **state) {
    (void)state;
    assert_float_equal(keel_soft_label_share(false, true, 0.3), 0, 0);
    assert_float_equal(keel_soft_label_share(true, true, 0.3), 0.3, 1e-12);
    assert_float_equal(keel_soft_label_share(true, false, 0.3), 1, 0);
}

static void log_odds_become_three_probabilities_at_the_temperature(void **state) {
    (void)state;
    const double p[3] = {0.2, 0.3, 0.5}; /* compliance, partial refusal, refusal */
    const float odds[2] = {(float)log(0.5 / 0.5), (float)log(0.2 / 0.8)};
    float out[3];
    for (int t = 1; t <= 3; t++) {
        double sum = 0;
        for (int i = 0; i < 3; i++) sum += pow(p[i], 1.0 / t);
        keel_soft_label_outcome(odds, t, out);
        for (int i = 0; i < 3; i++) assert_float_equal(out[i], (float)(pow(p[i], 1.0 / t) / sum), 1e-6);
    }
    const float both[2] = {40, 40}; /* both sure: the third is none */
    keel_soft_label_outcome(both, 1, out);
    assert_float_equal(out[0], 0.5, 1e-6);
    assert_true(out[1] < 1e-6f);
}

/* Of what it was tuned on a teacher says what encoders say that did not see it. */
static void of_what_taught_it_a_teacher_says_its_crossed_logits(void **state) {
    (void)state;
    const keel_encoder_base *of = (const keel_encoder_base *)teacher;
    keel_corpus *corpus;
    keel_pool *pool;
    keel_soft_labels *labels;
    assert_ok(keel_split_parse("train", &split, &err));
    assert_ok(keel_store_corpus_open(&corpus, store, &split, 1 << 20, &err));
    assert_ok(keel_pool_open(&pool, 2, &err));
    const keel_base_tuning job = {.corpus = corpus,
                                  .config = &small.common,
                                  .teacher_base = teacher,
                                  .space = KEEL_SPACE_CANDIDATES,
                                  .pool = pool};
    assert_ok(keel_soft_labels_ask(&labels, &job, "test", false, &err));
    assert_int_equal(labels->taught, 40);
    for (size_t i = 0; i < corpus->count; i++) {
        const float risk = keel_soft_label_of(labels, i, 0)->risk;
        bool found = false;
        for (size_t k = 0; k < of->states.n; k++) found |= of->states.logits[k * of->states.width] == risk;
        assert_true(found);
    }
    keel_soft_labels_free(labels);
    keel_pool_close(pool);
    keel_store_corpus_close(corpus);
}

/* ---- the loss ---- */

enum { ROWS = 6, CLASSES = 3 };

/* The loss of the logits x, and its slopes. */
static void mixed(bool names, double *loss, float *slope) {
    keel_tape *tape;
    keel_arena arena = {0};
    keel_soft_targets to;
    const size_t classes = names ? CLASSES : 1;
    const keel_base_config of = {.distil = 0.3, .distil_temperature = 2};
    const keel_param table = {.name = "x", .rows = ROWS, .cols = classes};
    keel_params params;
    assert_ok(keel_tape_open(&tape, &err));
    assert_ok(keel_params_make(&params, &table, 1, &err));
    float *grads = keel_arena_calloc(&arena, params.size, sizeof *grads);
    assert_true(grads && keel_soft_targets_make(&of, ROWS, classes, &arena, &to));
    for (size_t i = 0; i < ROWS; i++) {
        const int label = distil_label[i];
        keel_soft_targets_weigh(&to, i, label >= 0, distil_taught[i]);
        for (size_t k = 0; k < classes; k++) {
            const double soft = names ? distil_soft[i * CLASSES + k] : distil_soft_yes[i];
            params.data[i * classes + k] = (float)distil_x[i * CLASSES + k];
            to.hard[i * classes + k] = names ? (label < 0 ? 0 : label) == (int)k : label > 0;
            to.soft[i * classes + k] = (float)soft;
        }
    }
    keel_tape_record(tape, true);
    keel_tensor *x = keel_tape_param(tape, &params, 0, grads);
    keel_tensor *total =
        names ? keel_soft_cross_entropy(tape, x, &to, 5) : keel_soft_logistic(tape, x, &to, 5);
    assert_ok(keel_tape_check(tape, total, &err));
    *loss = (double)total->data[0];
    assert_ok(keel_tape_backward(tape, total, &err));
    memcpy(slope, grads, ROWS * classes * sizeof *slope);
    keel_params_free(&params);
    keel_arena_free(&arena);
    keel_tape_close(tape);
}

static void mixed_losses_are_those_of_pytorch(void **state) {
    (void)state;
    double loss;
    float slope[ROWS * CLASSES];
    mixed(true, &loss, slope);
    assert_float_equal(loss, distil_names[0], 1e-5);
    for (size_t i = 0; i < (size_t)ROWS * CLASSES; i++)
        assert_float_equal(slope[i], (float)distil_names_slope[i], 1e-6);
    mixed(false, &loss, slope);
    assert_float_equal(loss, distil_risk[0], 1e-5);
    for (size_t i = 0; i < ROWS; i++) assert_float_equal(slope[i], (float)distil_risk_slope[i], 1e-6);
}

typedef struct one_batch {
    keel_tuning tuning;
    keel_example_reader reader;
    keel_ngram_base_batch batch;
    keel_ngram_base_shard shard;
    double parts[KEEL_N_LOSSES];
} one_batch;

static double loss_of(one_batch *of) {
    double sum = 0;
    const double weight[KEEL_N_LOSSES] = {small.rank_weight, small.act_weight, small.outcome_weight,
                                          small.risk_weight};
    memset(of->shard.grads, 0, of->tuning.model->params.size * sizeof(float));
    assert_ok(keel__ngram_base_loss(&of->batch, 0, of->batch.n, 0, &of->shard, &err));
    for (int k = 0; k < KEEL_N_LOSSES; k++) sum += weight[k] * of->shard.part[k];
    return sum;
}

/* Moves each layer's parameters a little, and compares. */
static void check_slopes(one_batch *of) {
    keel_params *params = &of->tuning.model->params;
    float *slope = keel_calloc(params->size, sizeof *slope);
    assert_non_null(slope);
    loss_of(of);
    memcpy(slope, of->shard.grads, params->size * sizeof *slope);
    for (size_t i = 0; i < params->size; i += 97) {
        const float at = params->data[i], by = 1e-2f;
        params->data[i] = at + by;
        const double up = loss_of(of);
        params->data[i] = at - by;
        const double down = loss_of(of);
        params->data[i] = at;
        const double expected = (up - down) / (2 * (double)by);
        if (fabs(expected - (double)slope[i]) > 2e-3 * (0.1 + fabs(expected)))
            fail_msg("parameter %zu: %g and %g", i, expected, (double)slope[i]);
    }
    keel_free(slope);
}

static void the_mixed_loss_has_its_slopes(void **state) {
    (void)state;
    keel_corpus *corpus;
    keel_pool *pool;
    one_batch of = {0};
    size_t place[8];
    assert_ok(keel_split_parse("all", &split, &err)); /* labelled and unlabelled ones */
    assert_ok(keel_store_corpus_open(&corpus, store, &split, 1 << 20, &err));
    assert_ok(keel_pool_open(&pool, 1, &err));
    small.dim = small.features = 8;
    small.dropout = 0;
    small.common.distil = 0.3;
    small.common.distil_temperature = 2;
    const keel_base_tuning job = {.corpus = corpus,
                                  .config = &small.common,
                                  .teacher_base = teacher,
                                  .space = KEEL_SPACE_CANDIDATES,
                                  .pool = pool};
    of.tuning = (keel_tuning){.job = &job, .corpus = corpus};
    of.tuning.kept = keel_calloc(corpus->count, sizeof *of.tuning.kept);
    assert_non_null(of.tuning.kept);
    assert_ok(keel__ngram_base_make(&of.tuning.model, &small, KEEL_SPACE_CANDIDATES, NULL, 0, &err));
    assert_ok(keel_soft_labels_ask(&of.tuning.soft, &job, "test", false, &err));
    assert_ok(keel__ngram_base_count(&of.tuning, &err));
    keel_rng rng = keel_rng_stream(1, KEEL_STREAM_BASE_INIT, 0);
    keel_params_init(&of.tuning.model->params, &rng);
    assert_ok(keel__ngram_base_reader_open(&of.reader, &of.tuning, 8, &err));
    for (size_t i = 0; i < 8; i++) place[i] = 36 + i; /* the last labelled ones, and others */
    assert_ok(keel__ngram_base_fetch(&of.reader, place, 8, &err));
    for (size_t i = 0; i < 8; i++) keel__ngram_base_weigh_example(of.tuning.model, of.reader.example[i]);
    of.batch = (keel_ngram_base_batch){.model = of.tuning.model, .examples = of.reader.example, .n = 8};
    keel__ngram_base_divisors(&of.batch);
    assert_float_equal(of.batch.divisor[KEEL_LOSS_RISK], 8, 0); /* all of them are taught */
    assert_ok(keel_tape_open(&of.shard.tape, &err));
    of.shard.sparse = (keel_sparse_grad){.table_rows = of.tuning.model->rows, .cols = 8};
    of.shard.grads = keel_calloc(of.tuning.model->params.size, sizeof(float));
    assert_non_null(of.shard.grads);
    check_slopes(&of);
    keel_tape_close(of.shard.tape);
    keel_sparse_grad_free(&of.shard.sparse);
    keel_arena_free(&of.shard.arena);
    keel_free(of.shard.grads);
    keel__ngram_base_reader_close(&of.reader);
    keel_soft_labels_free(of.tuning.soft);
    keel_arena_free(&of.tuning.memory);
    keel_free(of.tuning.kept);
    keel__ngram_base_close(&of.tuning.model->base);
    keel_pool_close(pool);
    keel_store_corpus_close(corpus);
}

/* ---- encoders as students ---- */

static keel_status encode_from(const keel_base *base, const char *name, size_t threads) {
    keel_pool *pool;
    char dir[512];
    const keel_sft_extras extras = {.teacher_base = base};
    snprintf(dir, sizeof dir, "%s", in(name));
    config.candidates = KEEL_CANDIDATES_NONE;
    config.ngrams = KEEL_BESIDE_YES; /* it has no prior of its own */
    assert_ok(keel_pool_open(&pool, threads, &err));
    keel_status status =
        keel_sft_with(store, &split, TINY, &config.common, &extras, dir, true, NULL, pool, &err);
    keel_pool_close(pool);
    return status;
}

/* Without a label there is nothing to learn but from a teacher; of what is crossed, students of folds learn.
 */
static void an_encoder_learns_what_no_label_says(void **state) {
    (void)state;
    keel_base *student = NULL;
    assert_int_equal(encode_from(NULL, "alone", 1), KEEL_E_NOT_FOUND);
    assert_ok(encode_from(teacher, "one", 1));
    assert_ok(encode_from(teacher, "three", 3));
    same_artefact("one", "three");
    assert_float_equal(figure("one", "decisions_taught"), 60, 0);
    assert_ok(keel_base_load(&student, in("one"), &err));
    const keel_encoder_base *of = (const keel_encoder_base *)student;
    const keel_encoder_base *by = (const keel_encoder_base *)teacher;
    size_t agree = 0;
    assert_true(of->states.n > 0 && student->crossed);
    for (size_t i = 0; i < of->states.n; i++) { /* the log's questions have the same texts in both splits */
        const float said = of->states.logits[i * of->states.width];
        const float *told = keel_crossed_find(&by->states, of->states.key[i]);
        agree += !told || (*told > 0) == (said > 0);
    }
    assert_int_equal(agree, of->states.n);
    keel_base_close(student);
}

static double loss_of_vectors(const char *name) {
    cJSON *manifest;
    char path[512];
    snprintf(path, sizeof path, "%s/%s/keel.json", folder, name);
    assert_ok(keel_json_parse_file(path, &manifest, &err));
    const cJSON *losses = keel_json_get(keel_json_get(manifest, "metrics"), "losses");
    const double value = cJSON_GetNumberValue(keel_json_get(losses, "vector"));
    cJSON_Delete(manifest);
    return value;
}

/* A student that starts where the teacher did comes near its vectors; the projection stays behind. Of what
 * the teacher was tuned on it tells no vector. */
static void vectors_of_what_the_teacher_was_not_tuned_on_are_learned(void **state) {
    (void)state;
    keel_base *student = NULL;
    assert_ok(keel_split_parse("elsewhere", &split, &err));
    one_group = "elsewhere"; /* the same questions in another group */
    add_log(24, "c", "elsewhere");
    config.folds = 0;
    config.mode = KEEL_BERT_FULL;
    config.distil_features = 1;
    config.epochs = 8;
    assert_ok(encode_from(teacher, "few", 1));
    const double few = loss_of_vectors("few");
    config.epochs = 24;
    assert_ok(encode_from(teacher, "more", 2));
    if (!(loss_of_vectors("more") < few && few < 0.5)) fail_msg("%g and %g", few, loss_of_vectors("more"));
    assert_ok(keel_base_load(&student, in("more"), &err));
    assert_false(((const keel_encoder_base *)student)->uses[KEEL_HEAD_VECTOR]);
    keel_base_close(student);
    assert_ok(keel_split_parse("train", &split, &err));
    assert_ok(encode_from(teacher, "known", 1));
    assert_true(isnan(loss_of_vectors("known")));
}

/* ---- the same bytes ---- */

static void threads_and_interruptions_change_no_byte(void **state) {
    (void)state;
    small.checkpoint_every = 3;
    assert_ok(learn("one", 1));
    assert_ok(learn("three", 3));
    same_file("one", "three", "model.safetensors");
    assert_true(tune_in_pieces(learn, "cut", 2, 31) >= 2);
    same_file("one", "cut", "model.safetensors");
}

/* ---- what does not fit ---- */

static void a_teacher_that_does_not_fit_is_refused_by_name(void **state) {
    (void)state;
    keel_base *student = NULL;
    small.common.action_space = KEEL_SPACE_OUTCOMES + 1;
    assert_int_equal(learn_from(teacher, "x", 1), KEEL_E_CONFLICT);
    contains(err.message, "over candidates");
    contains(err.hint, "action_space=candidates");
    small.common.action_space = 0;
    assert_ok(learn_from(teacher, "student", 1));
    assert_ok(keel_base_load(&student, in("student"), &err));
    assert_int_equal(learn_from(student, "x", 1), KEEL_E_UNSUPPORTED);
    contains(err.message, "cannot teach");
    keel_base_close(student);
    assert_false(keel_file_exists(in("x")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_no_label_says_the_teacher_says),
        TEST(lineage_names_the_teacher),
        cmocka_unit_test(a_decision_without_a_label_learns_from_the_teacher_alone),
        cmocka_unit_test(log_odds_become_three_probabilities_at_the_temperature),
        TEST(of_what_taught_it_a_teacher_says_its_crossed_logits),
        cmocka_unit_test(mixed_losses_are_those_of_pytorch),
        TEST(the_mixed_loss_has_its_slopes),
        TEST(an_encoder_learns_what_no_label_says),
        TEST(vectors_of_what_the_teacher_was_not_tuned_on_are_learned),
        TEST(threads_and_interruptions_change_no_byte),
        TEST(a_teacher_that_does_not_fit_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, start_all, end_all);
}
