/* Values in an artefact's own files that cannot be: each is refused, with the file and the key. The artefact
 * is sealed anew around the wrong value, so that the seal is not what notices. */
#include "fixture.h"

#include "policies/artefact.h"
#include "policies/ngram_base/kind.h"
#include "policies/policy_internal.h"
#include "policies/sft.h"

static char folder[256];

static int set_up(void **state) {
    (void)state;
    return scratch_make(folder, "wrong-values") ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return keel_folder_remove(folder, &err);
}

/* With the first `old` replaced; bytes, not text. */
static void copy_file(const char *from, const char *to, const char *old, const char *new) {
    keel_buf text = {0}, out = {0};
    size_t at = 0, gone = strlen(old);
    assert_ok(keel_file_read(from, 0, &text, &err));
    while (at + gone <= text.length && memcmp(text.data + at, old, gone) != 0) at++;
    if (at + gone > text.length) fail_msg("%s does not contain %s", from, old);
    keel_buf_append(&out, text.data, at);
    keel_buf_text(&out, new);
    keel_buf_append(&out, text.data + at + gone, text.length - at - gone);
    assert_ok(keel_file_write(to, out.data, out.length, &err));
    keel_buf_free(&text);
    keel_buf_free(&out);
}

typedef struct wrong {
    const char *file, *old, *new; /* in this file, what is replaced by what */
    keel_status code;
    const char *message;
} wrong;

/* scratch/bad becomes scratch/good with one text changed. */
static void spoil(const char *kind, const char *type, const char *const *files, const wrong *change) {
    keel_folder_write write;
    char from[512], to[4400];
    assert_ok(keel_folder_begin(&write, scratch_path(folder, "bad"), &err));
    for (size_t i = 0; files[i]; i++) {
        bool here = strcmp(files[i], change->file) == 0;
        snprintf(from, sizeof from, "%s/good/%s", folder, files[i]);
        snprintf(to, sizeof to, "%s/%s", write.temporary, files[i]);
        copy_file(from, to, here ? change->old : "", here ? change->new : "");
    }
    assert_ok(keel_artefact_commit(&write, kind, type, NULL, NULL, NULL, NULL, &err));
}

static void expect(keel_status got, const wrong *change) {
    if (got != change->code) fail_msg("%s: got %d: %s: %s", change->new, got, err.where, err.message);
    contains(err.where, change->file);
    contains(err.message, change->message);
}

/* ---- policies ---- */

static void save_policy(bool conditioned) {
    static const char *acts[] = {"answer", "refuse"};
    keel_policy policy = {.algorithm = "cql", .split = "train", .weight = {1, 0, 0}, .beta = 1, .n_acts = 2};
    keel_qnet_shape shape = {.space = KEEL_SPACE_ACTS, .state_dim = 1, .n_acts = 2, .heads = 3, .critics = 1};
    keel_outcome row[2] = {KEEL_OUTCOME_COMPLIANCE, KEEL_OUTCOME_REFUSAL};
    policy.acts = acts;
    shape.hidden = (keel_int_list){1, {4}};
    for (int i = 0; i < 3; i++) policy.act_outcome[i] = row;
    policy.conditioned = policy.covered[0] = conditioned;
    for (size_t i = 0; i < KEEL_N_LATTICE; i++) policy.lattice_beta[i] = 2;
    if (conditioned) shape.state_dim += KEEL_N_REWARDS;
    memset(policy.base_hash, 'a', 64);
    assert_ok(keel_qnet_open(&policy.net, &shape, &err));
    keel_qnet_init(&policy.net, 1);
    assert_ok(keel_policy_save(&policy, scratch_path(folder, "good"), NULL, NULL, NULL, NULL, &err));
    keel_qnet_close(&policy.net);
}

static const char config_file[] = "config.json";

static void expect_refused(const wrong *list, size_t count) {
    static const char *const files[] = {"config.json", "model.safetensors", NULL};
    for (size_t i = 0; i < count; i++) {
        keel_policy *loaded = NULL;
        spoil("policy", "cql", files, &list[i]);
        expect(keel_policy_load(&loaded, scratch_path(folder, "bad"), &err), &list[i]);
        assert_null(loaded);
    }
}

static void a_policy_with_a_wrong_value_is_refused_by_its_key(void **state) {
    (void)state;
    static const wrong list[] = {
        {config_file, "\"action_space\": \"acts\"", "\"action_space\": \"words\"", KEEL_E_INVALID, "words"},
        {config_file, "\"state_dim\": 1", "\"state_dim\": 1.5", KEEL_E_INVALID, "state_dim"},
        {config_file, "\"state_dim\": 1", "\"state_dim\": \"1\"", KEEL_E_PARSE, "state_dim"},
        {config_file, "\"heads\": 3", "\"heads\": -3", KEEL_E_INVALID, "heads"},
        {config_file, "\"critics\": 1", "\"critics\": 1e9", KEEL_E_INVALID, "critics"},
        {config_file, "    4\n", "0", KEEL_E_INVALID, "hidden_sizes"},
        {config_file, "    4\n", "4.5", KEEL_E_INVALID, "hidden_sizes"},
        {config_file, "    4\n", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", KEEL_E_INVALID, "hidden_sizes"},
        {config_file, "\"answer\"", "7", KEEL_E_PARSE, "acts"},
        {config_file, "\"fallback_act\": 0", "\"fallback_act\": 2", KEEL_E_INVALID, "fallback_act"},
        {config_file, "\"fallback_act\": 0", "\"fallback_act\": 0.5", KEEL_E_INVALID, "fallback_act"},
        {config_file, "\"imitates\": false", "\"imitates\": 0", KEEL_E_PARSE, "imitates"},
        {config_file, "\"compliance\"", "\"applause\"", KEEL_E_INVALID, "act_outcome"},
        {config_file, "\"compliance\",\n", "", KEEL_E_INVALID, "expected 2 outcomes, got 1"},
    };
    save_policy(false);
    expect_refused(list, sizeof list / sizeof *list);
}

static void a_conditioned_policy_with_a_wrong_value_is_refused_by_its_key(void **state) {
    (void)state;
    static const wrong list[] = {
        {config_file, "\"conditioned\": {", "\"conditioned\": 3, \"other\": {", KEEL_E_PARSE, "conditioned"},
        {config_file, "\"accuracy\"\n", "\"wisdom\"\n", KEEL_E_INVALID, "conditioned.components"},
        {config_file, "      2,\n", "", KEEL_E_INVALID, "conditioned.beta"},
        {config_file, "      2,\n", "2, 2,\n", KEEL_E_INVALID, "conditioned.beta"},
        {config_file, "      2,\n", "-2,\n", KEEL_E_INVALID, "conditioned.beta"},
        {config_file, "\"state_dim\": 4", "\"state_dim\": 2", KEEL_E_INVALID, "state_dim"},
    };
    save_policy(true);
    expect_refused(list, sizeof list / sizeof *list);
}

/* ---- the built-in base ---- */

static void tune_base(void) {
    keel_store *store = NULL;
    keel_split split;
    keel_pool *pool = NULL;
    struct keel_ngram_base_config config;
    assert_ok(keel_options_defaults(keel_ngram_base_options, &config, &err));
    config.buckets = 512, config.dim = 8, config.features = 8, config.epochs = 1, config.min_updates = 4;
    assert_ok(keel_store_open(&store, scratch_path(folder, "s.db"), KEEL_STORE_CREATE, &err));
    add_acts(store, 60, "train", true);
    assert_ok(keel_split_parse("train", &split, &err));
    assert_ok(keel_pool_open(&pool, 1, &err));
    assert_ok(keel_sft(store, &split, "builtin", &config.common, scratch_path(folder, "good"), true, NULL,
                       pool, &err));
    keel_pool_close(pool);
    keel_store_close(store);
}

static void a_base_with_a_wrong_value_is_refused_by_its_key(void **state) {
    (void)state;
    static const char *const files[] = {"config.json", "tokenizer.json", "model.safetensors", NULL};
    static const char config[] = "config.json", tokens[] = "tokenizer.json", weights[] = "model.safetensors";
    static const wrong list[] = {
        {config, "\"keel-ngram\"", "\"gpt2\"", KEEL_E_UNSUPPORTED, "gpt2"},
        {config, "\"action_space\": \"acts\"", "\"action_space\": \"words\"", KEEL_E_INVALID, "words"},
        {config, "\"action_space\": \"acts\"", "\"action_space\": \"candidates\"", KEEL_E_INVALID,
         "do not fit"},
        {config, "\"greet\"", "null", KEEL_E_PARSE, "acts"},
        {config, "\"dim\": 8", "\"dim\": 8.5", KEEL_E_INVALID, "dim"},
        {config, "\"dim\": 8", "\"dim\": 0", KEEL_E_INVALID, "dim"},
        {config, "\"context_turns\": ", "\"context_turns\": -", KEEL_E_INVALID, "context_turns"},
        {config, "\"user_acts\": false", "\"user_acts\": \"no\"", KEEL_E_PARSE, "user_acts"},
        {config, "\"split\": \"train\"", "\"split\": 1", KEEL_E_PARSE, "split"},
        {tokens, "\"buckets\": 512", "\"buckets\": 1", KEEL_E_INVALID, "buckets"},
        {tokens, "\"pre_tokenizer\"", "\"tokenizer\"", KEEL_E_PARSE, "pre_tokenizer"},
        {weights, "\"act.bias\"", "\"act.boas\"", KEEL_E_INVALID, "act.bias"},
        {weights, "\"bucket\"", "\"basket\"", KEEL_E_INVALID, "bucket"},
    };
    keel_base *loaded = NULL;
    tune_base();
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        spoil("base", "builtin", files, &list[i]);
        expect(keel_base_load(&loaded, scratch_path(folder, "bad"), &err), &list[i]);
        assert_null(loaded);
    }
    const wrong same = {.file = ""}, unknown = {"bad", "", "", KEEL_E_UNSUPPORTED, "\"oracle\""};
    spoil("base", "oracle", files, &same);
    expect(keel_base_load(&loaded, scratch_path(folder, "bad"), &err), &unknown);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_policy_with_a_wrong_value_is_refused_by_its_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_conditioned_policy_with_a_wrong_value_is_refused_by_its_key, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_base_with_a_wrong_value_is_refused_by_its_key, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
