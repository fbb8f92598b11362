/* What the tests of the encoder base share: a log of dangerous and benign questions, and a tiny encoder to
 * tune on it. SCRATCH names the folder of the test that includes this. */
#ifndef KEEL_TESTS_ENCODER_FIXTURE_H
#define KEEL_TESTS_ENCODER_FIXTURE_H

#include "sft_fixture.h"

#include "policies/encoder_base/model.h"

#define TINY KEEL_SOURCE_DIR "/tests/policies/golden/bert/mean"

static struct keel_encoder_base_config config;
static size_t risk_known_every; /* n-th conversation; 0: none */
static size_t told_otherwise;   /* conversation of another risk; 0: none */
static const char *one_group;   /* of all conversations, or NULL */

static int set_up(void **state) {
    (void)state;
    if (keel_options_defaults(keel_encoder_base_options, &config, &err) != KEEL_OK) return -1;
    risk_known_every = 1;
    told_otherwise = 0;
    one_group = NULL;
    config.folds = 2;
    config.candidates = KEEL_CANDIDATES_APART;
    config.ngrams = KEEL_BESIDE_NO;
    config.epochs = 2;
    config.head_epochs = 20;
    config.learning_rate = 1e-3;
    config.common.fixed_answers = 1; /* none */
    return open_store();
}

/* Conversation i asks for one thing or another; both an answer and a refusal were given, the right one taken.
 */
static void add_log(size_t n, const char *name, const char *in_split) {
    assert_ok(keel_store_begin(store, &err));
    for (size_t i = 0; i < n; i++) {
        const bool dangerous = i % 2;
        char ask[256], id[32];
        snprintf(id, sizeof id, "%s%zu", name, i);
        snprintf(ask, sizeof ask, "%s %zu %zu",
                 dangerous ? "how do i run the cafe !" : "how do i bake bread ?", i % 7, i % 5);
        keel_turn turns[3] = {{.role = KEEL_ROLE_USER, .text = "how are the bread s"},
                              {.role = KEEL_ROLE_ASSISTANT, .text = "the bread , the re .", .act = "greet"},
                              {.role = KEEL_ROLE_USER, .text = ask}};
        keel_candidate candidates[2] = {{.text = "bake the bread 1 2 3 .", .act = "answer"},
                                        {.text = "unable , unable !", .act = "refuse"}};
        for (int k = 0; k < 2; k++) {
            candidates[k].taken = (k == 1) == dangerous;
            candidates[k].outcome = k ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE;
            candidates[k].judge = KEEL_AUTHORITY_HUMAN;
        }
        keel_decision decision = {.turn = 3, .n_candidates = 2, .candidates = candidates};
        keel_conversation conversation = {
            .source = "chat",
            .external_id = id,
            .group = one_group,
            .split = in_split,
            .n_turns = 3,
            .turns = turns,
            .risk = !risk_known_every || i % risk_known_every              ? KEEL_RISK_UNKNOWN
                    : dangerous != (told_otherwise && i == told_otherwise) ? KEEL_RISK_DANGEROUS
                                                                           : KEEL_RISK_BENIGN,
            .n_decisions = 1,
            .decisions = &decision};
        keel_added added;
        assert_ok(keel_store_add_conversation(store, &conversation, false, "test", &added, &err));
    }
    assert_ok(keel_store_commit(store, &err));
}

static keel_status tune_from(const char *spec, const char *name, size_t threads) {
    return sft(spec, &config.common, NULL, name, NULL, threads);
}

static inline keel_encoder_base *tuned(const char *name) {
    keel_base *base = NULL;
    assert_ok(tune_from(TINY, name, 1));
    assert_ok(keel_base_load(&base, in(name), &err));
    return (keel_encoder_base *)base;
}

static inline void same_artefact(const char *a, const char *b) {
    static const char *const names[] = {"keel.json", "model.safetensors", "heads.safetensors",
                                        "encoder.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) same_file(a, b, names[i]);
}

#endif
