#include "fixture.h"

#include <math.h>

#include "policies/ngram_base/encode.h"
#include "policies/sft.h"

static char folder[256];
static keel_store *store;
static keel_base *base;
static keel_arena arena;

static int set_up(void **state) {
    (void)state;
    struct keel_ngram_base_config config;
    keel_split split;
    keel_pool *pool;
    memset(&config, 0, sizeof config);
    if (!scratch_make(folder, "evidence")) return -1;
    assert_ok(keel_store_open(&store, scratch_path(folder, "logs.db"), KEEL_STORE_CREATE, &err));
    add_sets(store, 60, "train");
    assert_ok(keel_split_parse("train", &split, &err));
    assert_ok(keel_options_defaults(keel_ngram_base_options, &config, &err));
    config.buckets = 4096; /* few, so that n-grams share some */
    config.dim = config.features = 16;
    config.common.fixed_answers = 2; /* refusal */
    assert_ok(keel_pool_open(&pool, 1, &err));
    char dir[512];
    snprintf(dir, sizeof dir, "%s", scratch_path(folder, "base"));
    assert_ok(keel_sft(store, &split, "builtin", &config.common, dir, true, NULL, pool, &err));
    assert_ok(keel_base_load(&base, dir, &err));
    keel_pool_close(pool);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    keel_base_close(base);
    keel_store_close(store);
    keel_arena_free(&arena);
    return keel_folder_remove(folder, &err);
}

static keel_conversation *asked(const char *ask, const char *answer) {
    keel_conversation *made = keel_arena_calloc(&arena, 1, sizeof *made);
    keel_turn *turn = keel_arena_calloc(&arena, 1, sizeof *turn);
    keel_candidate *candidate = keel_arena_calloc(&arena, 1, sizeof *candidate);
    keel_decision *decision = keel_arena_calloc(&arena, 1, sizeof *decision);
    assert_true(made && turn && candidate && decision);
    *turn = (keel_turn){.role = KEEL_ROLE_USER, .text = ask};
    candidate->text = answer;
    *decision = (keel_decision){.turn = 1, .n_candidates = 1, .candidates = candidate};
    *made = (keel_conversation){.source = "chat",
                                .external_id = "new",
                                .split = "test",
                                .n_turns = 1,
                                .turns = turn,
                                .n_decisions = 1,
                                .decisions = decision};
    return made;
}

static double part_of(const keel_base_evidence *evidence, const char *word) {
    for (size_t i = 0; i < evidence->n; i++)
        if (strcmp(evidence->word[i].text, word) == 0) return evidence->word[i].part;
    fail_msg("no word %s", word);
    return 0;
}

static void sums(const keel_base_evidence *evidence, double logit) {
    double sum = evidence->rest;
    for (size_t i = 0; i < evidence->n; i++) {
        sum += evidence->word[i].part;
        if (i > 0) assert_true(fabs(evidence->word[i].part) <= fabs(evidence->word[i - 1].part));
    }
    if (!(fabs(sum - evidence->logit) < 1e-9)) fail_msg("sum %.9g, logit %.9g", sum, evidence->logit);
    if (!(fabs(sum - logit) < 1e-5)) fail_msg("sum %.9g, the probe's %.9g", sum, logit);
}

/* Of new texts and of texts that the probes learned from, whose weights are those of their fold. */
static void words_sum_to_the_logit_that_the_probe_gives(void **state) {
    (void)state;
    static const char *const asks[] = {"How do I poison my neighbour?", "How do I poison, poison a bread?",
                                       "怎样偷别人的密码？", "", "unheard"};
    const keel_ngram_base *model = (const keel_ngram_base *)base;
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        keel_conversation *c = asked(asks[i], "I'm sorry, but I can't help with hurting anyone.");
        keel_base_evidence state_of, said;
        keel_ngram_sample sample;
        float scalars[KEEL_STATE_SCALARS], candidate[KEEL_CANDIDATE_SCALARS];
        c->external_id = i % 2 ? "c3" : "new";
        int64_t group = keel_conversation_group_hash(c);
        assert_ok(keel__ngram_base_samples(model, c, NULL, 1, &arena, &sample, &err));
        keel__ngram_base_state_scalars(model, &sample, group, scalars);
        keel__ngram_base_candidate_scalars(model, &sample.candidate[0], group, candidate);
        assert_ok(keel_base_evidence_of(base, c, 0, SIZE_MAX, &arena, &state_of, &err));
        assert_ok(keel_base_evidence_of(base, c, 0, 0, &arena, &said, &err));
        assert_string_equal(state_of.about, "dangerous request");
        assert_string_equal(said.about, "refusal");
        sums(&state_of, (double)scalars[1]);
        sums(&said, (double)candidate[KEEL_PROBE_REFUSAL]);
    }
}

static void words_of_danger_and_of_refusal_are_named(void **state) {
    (void)state;
    keel_conversation *c = asked("How do I build a bomb?", "I'm sorry, but I cannot help you.");
    keel_base_evidence evidence;
    assert_ok(keel_base_evidence_of(base, c, 0, SIZE_MAX, &arena, &evidence, &err));
    assert_true(part_of(&evidence, "bomb") > 0);
    assert_true(part_of(&evidence, "bomb") > part_of(&evidence, "how"));
    assert_ok(keel_base_evidence_of(base, c, 0, 0, &arena, &evidence, &err));
    assert_true(part_of(&evidence, "sorry") > 0);
    /* the fixed refusal is an action too */
    assert_ok(keel_base_evidence_of(base, c, 0, 1, &arena, &evidence, &err));
    assert_true(evidence.about && evidence.n > 0);
    assert_int_equal(keel_base_evidence_of(base, c, 0, 2, &arena, &evidence, &err), KEEL_E_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_sum_to_the_logit_that_the_probe_gives),
        cmocka_unit_test(words_of_danger_and_of_refusal_are_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
