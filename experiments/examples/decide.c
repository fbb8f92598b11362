/* From a log to a decision with the library alone: decide LOG FOLDER
 *
 * Imports a log into FOLDER/store.db, derives rewards, tunes a base, trains a policy, loads both, and lets
 * the policy choose an answer in a conversation of its own. */
#include <keel/keel.h>
#include <stdio.h>

static keel_status prepare(keel_store *store, const char *log, keel_reward_config *rewards, keel_err *err) {
    keel_import_report report;
    KEEL_TRY(keel_import(store, NULL, &log, 1, &report, err));
    KEEL_TRY(keel_store_begin(store, err));
    keel_status status = keel_derive_settle_rewards(store, rewards, err);
    if (status == KEEL_OK) status = keel_derive(store, NULL, rewards, 0, NULL, err);
    if (status == KEEL_OK) return keel_store_commit(store, err);
    keel_store_rollback(store);
    return status;
}

static keel_status learn(keel_train_job *job, keel_pool *pool, const char *base_dir, keel_base **base,
                         keel_err *err) {
    keel_learner_config config;
    KEEL_TRY(keel_sft(job->store, NULL, "builtin", NULL, base_dir, true, NULL, pool, err));
    KEEL_TRY(keel_base_load(base, base_dir, err));
    KEEL_TRY(keel_learner_preset("keel", "cql", &config, err));
    config.steps = 50;
    job->base = *base, job->config = &config, job->replace = true;
    return keel_train(job, pool, err);
}

static keel_status decide(const keel_policy *policy, const keel_base *base, keel_err *err) {
    static keel_turn turn;
    static keel_candidate answers[2];
    static keel_decision decision;
    static keel_conversation conversation;
    static keel_arena scratch;
    keel_features features;
    keel_choice choice;
    turn.role = KEEL_ROLE_USER, turn.text = "Please tell me about train times";
    answers[0].text = "Sure, here is what I know about train times.";
    answers[1].text = "I am sorry, I cannot help with that.";
    decision.turn = 1, decision.n_candidates = 2, decision.candidates = answers;
    conversation.n_turns = 1, conversation.turns = &turn;
    conversation.n_decisions = 1, conversation.decisions = &decision;
    keel_status status = keel_base_encode_decision(base, &conversation, 0, &scratch, &features, err);
    if (status == KEEL_OK) status = keel_policy_decide(policy, &features, &scratch, &choice, err);
    if (status == KEEL_OK) printf("%s\n", answers[choice.chosen].text);
    keel_arena_free(&scratch);
    return status;
}

int main(int argc, char **argv) {
    static const char *const names[] = {"store.db", "base", "policy"};
    static char paths[3][4096];
    static keel_err err;
    static keel_train_job job;
    keel_context context;
    keel_reward_config rewards;
    keel_pool *pool = NULL;
    keel_base *base = NULL;
    keel_policy *policy = NULL;
    if (argc != 3) return 2;
    for (int i = 0; i < 3; i++) snprintf(paths[i], sizeof paths[i], "%s/%s", argv[2], names[i]);
    job.out_dir = paths[2], job.rewards = &rewards;
    keel_context_init(&context);
    keel_console_attach(&context);
    keel_context_use(&context);
    keel_status status = keel_store_open(&job.store, paths[0], KEEL_STORE_CREATE, &err);
    if (status == KEEL_OK) status = prepare(job.store, argv[1], &rewards, &err);
    if (status == KEEL_OK) status = keel_pool_open(&pool, 0, &err);
    if (status == KEEL_OK) status = learn(&job, pool, paths[1], &base, &err);
    if (status == KEEL_OK) status = keel_policy_load(&policy, job.out_dir, &err);
    if (status == KEEL_OK) status = decide(policy, base, &err);
    if (status != KEEL_OK) fprintf(stderr, "decide: %s: %s\n", err.where, err.message);
    keel_policy_close(policy);
    keel_base_close(base);
    keel_pool_close(pool);
    keel_store_close(job.store);
    return status == KEEL_OK ? 0 : 1;
}
