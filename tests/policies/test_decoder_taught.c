/* A decoder base that learns from another one (keel sft --teacher-base): a student of another shape says what
 * its teacher says; whatever interrupts it, and on any number of threads, it ends in the same bytes. */
#include "fixture.h"

#include <math.h>

#include "core/file.h"
#include "core/json.h"
#include "policies/compress/config.h"
#include "policies/decoder_base/model.h"
#include "policies/ngram_base/encode.h"
#include "policies/sft.h"
#include "support/interrupt.h"

static char folder[256];
static keel_store *store;
static keel_split split;
static struct keel_decoder_base_config config;
static keel_base *teacher;

static const char *in(const char *name) {
    return scratch_path(folder, name);
}

static keel_status tune_with(const keel_base_config *how, const char *spec, const char *name,
                             size_t threads) {
    const keel_sft_extras extras = {.teacher_base = teacher};
    keel_pool *pool;
    char dir[512];
    snprintf(dir, sizeof dir, "%s", in(name));
    assert_ok(keel_pool_open(&pool, threads, &err));
    keel_status status = keel_sft_with(store, &split, spec, how, &extras, dir, true, NULL, pool, &err);
    keel_pool_close(pool);
    return status;
}

static keel_status tune(const char *name, size_t threads) {
    return tune_with(&config.common, "decoder", name, threads);
}

static int set_up(void **state) {
    (void)state;
    interrupt_listen();
    if (!scratch_make(folder, "decoder-taught")) return -1;
    assert_ok(keel_store_open(&store, in("logs.db"), KEEL_STORE_CREATE, &err));
    assert_ok(keel_split_parse("train", &split, &err));
    assert_ok(keel_options_defaults(keel_decoder_base_options, &config, &err));
    config.mode = KEEL_DECODER_FULL;
    config.ngrams = KEEL_BESIDE_NO;
    config.layers = 2;
    config.hidden = 32;
    config.heads = 4;
    config.kv_heads = 2;
    config.inner = 64;
    config.vocabulary = 320;
    config.state_tokens = 128;
    config.batch = 8;
    config.shard_tokens = 96;
    config.epochs = 6;
    config.learning_rate = 0.01;
    config.common.fixed_answers = 1; /* none */
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

static int tear_down(void **state) {
    (void)state;
    interrupt_set(false);
    keel_base_close(teacher);
    keel_store_close(store);
    return keel_folder_remove(folder, &err);
}

/* A number or text of the manifest, by a path of two keys. */
static cJSON *manifest_of(const char *name) {
    cJSON *manifest;
    char path[512];
    snprintf(path, sizeof path, "%s/keel.json", in(name));
    assert_ok(keel_json_parse_file(path, &manifest, &err));
    return manifest;
}

static double taught_loss(const char *name) {
    cJSON *manifest = manifest_of(name);
    const double loss = cJSON_GetNumberValue(
        keel_json_get(keel_json_get(keel_json_get(manifest, "metrics"), "losses"), "taught"));
    cJSON_Delete(manifest);
    return loss;
}

static void same_weights(const char *a, const char *b) {
    char one[512], other[512], first[65], second[65];
    snprintf(one, sizeof one, "%s/%s/model.safetensors", folder, a);
    snprintf(other, sizeof other, "%s/%s/model.safetensors", folder, b);
    assert_ok(keel_file_hash(one, first, &err));
    assert_ok(keel_file_hash(other, second, &err));
    assert_string_equal(first, second);
}

static void differ(const char *a, const char *b) {
    char one[512], other[512], first[65], second[65];
    snprintf(one, sizeof one, "%s/%s/model.safetensors", folder, a);
    snprintf(other, sizeof other, "%s/%s/model.safetensors", folder, b);
    assert_ok(keel_file_hash(one, first, &err));
    assert_ok(keel_file_hash(other, second, &err));
    assert_string_not_equal(first, second);
}

static void a_student_comes_to_say_what_its_teacher_says(void **state) {
    (void)state;
    config.epochs = 1;
    assert_ok(tune("short", 1));
    config.epochs = 8;
    assert_ok(tune("long", 1));
    if (!(taught_loss("long") < 0.5 * taught_loss("short")))
        fail_msg("after 1 and 8 passes: %g and %g", taught_loss("short"), taught_loss("long"));
    cJSON *manifest = manifest_of("long");
    assert_string_equal(
        cJSON_GetStringValue(keel_json_get(keel_json_get(manifest, "lineage"), "teacher_base")),
        teacher->hash);
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
    size_t cuts = 0;
    for (long at = 3;; at += 3) {
        interrupt_set(false);
        interrupt_at(at);
        keel_status status = tune("cut", 1);
        interrupt_at(0);
        interrupt_set(false);
        if (status == KEEL_OK) break;
        if (status != KEEL_E_INTERRUPTED) fail_msg("%s: %s", err.where, err.message);
        cuts++;
    }
    assert_true(cuts >= 2);
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
    for (long at = 4;; at += 4) {
        interrupt_set(false);
        interrupt_at(at);
        keel_status status = tune("cut", 1);
        interrupt_at(0);
        interrupt_set(false);
        if (status == KEEL_OK) break;
        if (status != KEEL_E_INTERRUPTED) fail_msg("%s: %s", err.where, err.message);
    }
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
        cmocka_unit_test_setup_teardown(a_student_comes_to_say_what_its_teacher_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_and_interruptions_change_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_held_is_the_same_after_interruptions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(teachers_that_do_not_fit_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
