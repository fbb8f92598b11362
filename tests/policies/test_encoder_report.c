/* What tuning an encoder says of it: what was cut and what was not known, and losses of what was taught. */
#define SCRATCH "encoder-report"
#include "encoder_fixture.h"

#include <math.h>

#include "core/context.h"

/* ---- what is logged ---- */

static char said[1 << 14];

static void listen(void *user, keel_log_level level, const char *line) {
    (void)user, (void)level;
    const size_t have = strlen(said);
    snprintf(said + have, sizeof said - have, "%s\n", line);
}

static bool heard(const char *text) {
    return strstr(said, text) != NULL;
}

static int set_up_listening(void **state) {
    static keel_context context;
    if (set_up(state)) return -1;
    keel_context_init(&context);
    context.log = listen;
    keel_context_use(&context);
    said[0] = '\0';
    return 0;
}

/* ---- texts ---- */

static void what_is_cut_is_counted(void **state) {
    (void)state;
    add_log(8, "a", "train");
    config.state_tokens = 12;
    assert_ok(tune_from(TINY, "base", 1));
    assert_float_equal(figure("base", "decisions_cut"), 8, 0);
    assert_true(figure("base", "tokens_cut") >= 8);
    assert_true(heard("the conversation of 8 of 8 decisions is cut: state_tokens goes up to"));
    assert_false(heard("candidates of"));
}

/* "re" and digits but 1 are words that the tiny encoder does not know. */
static void tokens_that_are_not_known_are_counted_and_warned_of(void **state) {
    (void)state;
    add_log(1, "a", "train"); /* "how are the bread s", "the bread , the re .", "how do i bake bread ? 0 0" */
    config.folds = 0;
    config.candidates = KEEL_CANDIDATES_NONE;
    config.ngrams = KEEL_BESIDE_NO;
    config.common.action_space = 1 + KEEL_SPACE_ACTS;
    assert_ok(tune_from(TINY, "base", 1));
    assert_float_equal(figure("base", "unknown_tokens"), 3.0 / 20, 1e-9);
    assert_true(heard("15 % of the tokens are [UNK]"));
}

/* ---- losses ---- */

/* NAN: the manifest has no such loss. */
static double reported_loss(const char *head) {
    cJSON *manifest;
    char path[512];
    snprintf(path, sizeof path, "%s/base/keel.json", folder);
    assert_ok(keel_json_parse_file(path, &manifest, &err));
    const cJSON *losses = keel_json_get(keel_json_get(manifest, "metrics"), "losses");
    const double loss = cJSON_GetNumberValue(keel_json_get(losses, head));
    cJSON_Delete(manifest);
    return loss;
}

/* A head that has learned nothing has a loss of ln 2, however few decisions have a label for it. */
static void batches_without_a_label_do_not_make_a_loss_smaller(void **state) {
    (void)state;
    risk_known_every = 20;
    add_log(40, "a", "train");
    config.mode = KEEL_BERT_HEAD;
    config.folds = 0;
    config.batch = 1;
    config.learning_rate = 1e-8;
    assert_ok(tune_from(TINY, "base", 1));
    assert_float_equal(reported_loss("risk"), log(2), 1e-2);
}

static void a_head_that_nothing_taught_has_no_loss(void **state) {
    (void)state;
    risk_known_every = 0;
    add_log(20, "a", "train");
    assert_ok(tune_from(TINY, "base", 1));
    assert_true(isnan(reported_loss("risk")));
    assert_true(reported_loss("rank") > 0);
}

/* Lines of the metrics name the heads that the update taught, and no other. */
static void metrics_have_no_loss_of_a_head_without_labels(void **state) {
    (void)state;
    char dir[512], path[512];
    keel_pool *pool;
    keel_buf text = {0};
    risk_known_every = 0;
    add_log(12, "a", "train");
    snprintf(dir, sizeof dir, "%s", in("base"));
    snprintf(path, sizeof path, "%s", in("losses.jsonl"));
    assert_ok(keel_pool_open(&pool, 1, &err));
    assert_ok(keel_sft(store, &split, TINY, &config.common, dir, true, path, pool, &err));
    keel_pool_close(pool);
    assert_ok(keel_file_read(path, 1 << 20, &text, &err));
    assert_non_null(strstr(text.data, "\"rank\""));
    assert_null(strstr(text.data, "\"risk\""));
    assert_null(strstr(text.data, "\"act\""));
    keel_buf_free(&text);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_listening, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_cut_is_counted),
        TEST(tokens_that_are_not_known_are_counted_and_warned_of),
        TEST(batches_without_a_label_do_not_make_a_loss_smaller),
        TEST(a_head_that_nothing_taught_has_no_loss),
        TEST(metrics_have_no_loss_of_a_head_without_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
