/* Tuning an encoder ends in the same bytes, for any number of threads and wherever it was stopped. */
#define SCRATCH "encoder-resume"
#include "encoder_fixture.h"
#include "support/threads.h"

static void any_number_of_threads_gives_the_same_bytes(void **state) {
    (void)state;
    add_log(20, "a", "train");
    config.ngrams = KEEL_BESIDE_YES;
    config.held_out = 0.2;
    assert_ok(tune_from(TINY, "one", 1));
    assert_ok(tune_from(TINY, "three", 3));
    same_artefact("one", "three");
}

static keel_status tune(const char *name, size_t threads) {
    return tune_from(TINY, name, threads);
}

/* Interrupted at one question after the other, a run ends in the bytes of an undisturbed one. */
static void interrupt_again_and_again(void) {
    assert_ok(tune("whole", 1));
    assert_true(tune_in_pieces(tune, "cut", 20, 17) >= 2);
    same_artefact("whole", "cut");
}

static void a_run_interrupted_again_and_again_ends_in_the_same_bytes(void **state) {
    (void)state;
    add_log(20, "a", "train");
    config.mode = KEEL_BERT_LORA;
    config.lora_dropout = 0.2;
    config.held_out = 0.2;
    config.checkpoint_every = 3;
    interrupt_again_and_again();
}

/* Which states are near the encoder as it came says, also to a run that goes on from a tuned one. */
static void near_negatives_are_the_same_after_an_interruption(void **state) {
    (void)state;
    add_log(20, "a", "train");
    config.near_negatives = true;
    config.tune_candidates = true;
    config.learning_rate = 1e-2;
    config.head_epochs = 1;
    config.epochs = 12; /* most of it is the encoder's */
    config.batch = 4;
    config.shard = 2;
    interrupt_again_and_again();
}

enum { IN_THE_SECOND = 75 }; /* of three trainings: the question at which one stops */

static const char *checkpoint(const char *suffix) {
    static char path[512];
    snprintf(path, sizeof path, "%s/.cut.checkpoint%s", folder, suffix);
    return path;
}

static keel_status tune_until(long question) {
    interrupt_set(false);
    interrupt_at(question);
    keel_status status = tune_from(TINY, "cut", 1);
    interrupt_at(0);
    interrupt_set(false);
    return status;
}

/* Wherever it is stopped: between two updates, or in the passes that encode and judge. */
static void an_interrupted_run_loses_no_update(void **state) {
    (void)state;
    add_log(20, "a", "train");
    config.folds = 0;
    config.head_epochs = 2;
    config.checkpoint_every = 1000000;
    long started = 0, stops = 0;
    for (long at = 1;; at++) {
        remove(checkpoint(".training"));
        if (tune_until(at) == KEEL_OK) break;
        const bool kept = keel_file_exists(checkpoint(".training"));
        if (kept && !started) started = at;
        if (started && !kept) fail_msg("stopped at question %ld, it kept nothing", at);
        stops++;
    }
    assert_true(started > 0 && stops - started > 10);
}

/* Of two files one may be missing, or of another run: what is there is used or left, and the end is the same.
 */
static void a_lost_checkpoint_costs_time_alone(void **state) {
    (void)state;
    static const char *const suffix[] = {"", ".training"};
    keel_buf file = {0};
    add_log(20, "a", "train");
    config.mode = KEEL_BERT_LORA;
    config.held_out = 0.2;
    config.checkpoint_every = 3;
    assert_ok(tune_from(TINY, "whole", 1));
    for (int lost = 0; lost < 2; lost++)
        for (int foreign = 0; foreign < 2; foreign++) {
            config.common.seed = 1;
            assert_int_equal(tune_until(IN_THE_SECOND), KEEL_E_INTERRUPTED); /* in the second training */
            assert_true(keel_file_exists(checkpoint("")) && keel_file_exists(checkpoint(".training")));
            assert_ok(keel_file_read(checkpoint(suffix[!lost]), 0, &file, &err));
            if (foreign) { /* the other file is one of another seed */
                remove(checkpoint(""));
                remove(checkpoint(".training"));
                config.common.seed = 2;
                assert_int_equal(tune_until(IN_THE_SECOND), KEEL_E_INTERRUPTED);
                config.common.seed = 1;
            } else {
                remove(checkpoint(suffix[lost]));
            }
            assert_ok(keel_file_write(checkpoint(suffix[!lost]), file.data, file.length, &err));
            keel_buf_free(&file);
            assert_ok(tune_from(TINY, "cut", 1));
            same_artefact("whole", "cut");
        }
}

static void a_damaged_checkpoint_is_named(void **state) {
    (void)state;
    add_log(20, "a", "train");
    assert_int_equal(tune_until(IN_THE_SECOND), KEEL_E_INTERRUPTED);
    keel_buf file = {0};
    assert_ok(keel_file_read(checkpoint(".training"), 0, &file, &err));
    file.data[file.length - 3] ^= 1;
    assert_ok(keel_file_write(checkpoint(".training"), file.data, file.length, &err));
    keel_buf_free(&file);
    assert_int_equal(tune_from(TINY, "cut", 1), KEEL_E_INVALID);
    contains(err.hint, "delete the checkpoint");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(any_number_of_threads_gives_the_same_bytes),
        TEST(a_run_interrupted_again_and_again_ends_in_the_same_bytes),
        TEST(near_negatives_are_the_same_after_an_interruption),
        TEST(an_interrupted_run_loses_no_update),
        TEST(a_lost_checkpoint_costs_time_alone),
        TEST(a_damaged_checkpoint_is_named),
    };
    only_threads_for_tsan();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
