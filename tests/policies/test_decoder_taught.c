/* A decoder base that learns from another one (keel sft --teacher-base): a student of another shape says what
 * its teacher says; whatever interrupts it, and on any number of threads, it ends in the same bytes. */
#define SCRATCH "decoder-taught"
#include "decoder_fixture.h"

#include <math.h>

#include "policies/compress/config.h"
#include "policies/ngram_base/encode.h"

static keel_base *teacher;

static keel_status tune_with(const keel_base_config *how, const char *spec, const char *name,
                             size_t threads) {
    const keel_sft_extras extras = {.teacher_base = teacher};
    return sft(spec, how, &extras, name, NULL, threads);
}

static keel_status tune(const char *name, size_t threads) {
    return tune_with(&config.common, "decoder", name, threads);
}

static int set_up(void **state) {
    (void)state;
    assert_int_equal(open_store(), 0);
    set_tiny_decoder();
    config.vocabulary = 320;
    config.epochs = 6;
    teacher = NULL;
    add_sets(store, 24, "train");
    assert_ok(tune("teacher", 2));
    assert_ok(keel_base_open(&teacher, in("teacher"), &err));
    config.layers = 1;
    config.hidden = 16;
    config.inner = 32;
    config.common.seed = 7;
    config.common.distil = 1;
    config.vocabulary = 300; /* not asked for: tokens are the teacher's */
    return 0;
}

static int end(void **state) {
    keel_base_close(teacher);
    return tear_down(state);
}

static void same_weights(const char *a, const char *b) {
    same_file(a, b, "model.safetensors");
}

static void differ(const char *a, const char *b) {
    assert_false(equal_files(a, b, "model.safetensors"));
}

static void a_student_comes_to_say_what_its_teacher_says(void **state) {
    (void)state;
    config.epochs = 1;
    assert_ok(tune("short", 1));
    config.epochs = 8;
    assert_ok(tune("long", 1));
    if (!(figure("long", "taught") < 0.5 * figure("short", "taught")))
        fail_msg("after 1 and 8 passes: %g and %g", figure("short", "taught"), figure("long", "taught"));
    cJSON *manifest = manifest_of("long");
    assert_string_equal(teacher_in_lineage(manifest), teacher->hash);
    cJSON_Delete(manifest);
    config.common.distil = 0; /* the log alone: other weights */
    assert_ok(tune("untaught", 1));
    differ("long", "untaught");
}

static void threads_and_interruptions_change_nothing(void **state) {
    (void)state;
    config.epochs = 2;
    config.checkpoint_every = 2;
    config.common.distil = 0.5;
    assert_ok(tune("whole", 1));
    assert_ok(tune("three", 3));
    same_weights("whole", "three");
    assert_true(tune_in_pieces(tune, "cut", 3, 3) >= 2);
    same_weights("whole", "cut");
}

/* As number formats hold it, with learned scales, likewise. */
static void what_is_held_is_the_same_after_interruptions(void **state) {
    (void)state;
    config.epochs = 2;
    config.checkpoint_every = 2;
    config.fake_quant = KEEL_COMPRESS_Q4_G32;
    config.learned_scales = true;
    config.hidden = 64;
    config.inner = 64;
    assert_ok(tune("whole", 1));
    assert_ok(tune("three", 3));
    same_weights("whole", "three");
    tune_in_pieces(tune, "cut", 4, 4);
    same_weights("whole", "cut");
    config.learned_scales = false;
    assert_ok(tune("fixed", 1));
    config.fake_quant = 0;
    assert_ok(tune("floats", 1));
    differ("whole", "fixed");
    differ("fixed", "floats");
}

static void refused(keel_status code, const char *told) {
    const keel_status status = tune("refused", 1);
    if (status != code) fail_msg("expected %d, got %d: %s", (int)code, (int)status, err.message);
    contains(err.message, told);
}

static void teachers_that_do_not_fit_are_refused(void **state) {
    (void)state;
    keel_base *const decoder = teacher;
    struct keel_ngram_base_config small;
    config.epochs = 1;
    config.loss = KEEL_LOSS_DPO;
    refused(KEEL_E_USAGE, "loss=sft");
    config.loss = KEEL_LOSS_SFT;
    config.learned_scales = true;
    refused(KEEL_E_USAGE, "fake_quant");
    config.learned_scales = false;
    config.fake_inputs = 0;
    refused(KEEL_E_USAGE, "fake_quant");
    contains(err.where, "fake_inputs");
    config.fake_inputs = 1;
    teacher = NULL;
    refused(KEEL_E_USAGE, "--teacher-base");
    contains(err.where, "distil");
    config.common.distil = 0.5;
    assert_ok(tune("other", 1)); /* its tokenizer has 300 tokens */
    char path[512];
    snprintf(path, sizeof path, "%s", in("other"));
    teacher = decoder;
    assert_int_equal(tune_with(&config.common, path, "refused", 1), KEEL_E_INVALID);
    contains(err.message, "same tokenizer");
    teacher = NULL;
    assert_ok(keel_options_defaults(keel_ngram_base_options, &small, &err));
    small.min_updates = 1;
    small.buckets = 4096;
    assert_ok(tune_with(&small.common, "builtin", "ngrams", 1));
    assert_ok(keel_base_open(&teacher, in("ngrams"), &err));
    refused(KEEL_E_UNSUPPORTED, "type \"builtin\"");
    keel_base_close(teacher);
    teacher = decoder;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_student_comes_to_say_what_its_teacher_says, set_up, end),
        cmocka_unit_test_setup_teardown(threads_and_interruptions_change_nothing, set_up, end),
        cmocka_unit_test_setup_teardown(what_is_held_is_the_same_after_interruptions, set_up, end),
        cmocka_unit_test_setup_teardown(teachers_that_do_not_fit_are_refused, set_up, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
