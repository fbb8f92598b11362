/* Whether a policy earns more than the one that is published: each is evaluated on the conversations held
 * out, minus what the log earned there, paired (rl/judge/evaluate.h). */
#include <stdlib.h>

#include "experiments/cli_resources.h"
#include "experiments/eval_config.h"
#include "experiments/learn/learn_internal.h"
#include "rl/learn/derive.h"

static keel_status evaluate(const keel__learn_comparison *about, keel_store *store, const char *dir,
                            keel_pool *pool, keel_interval *out, keel_err *err) {
    keel_policy *policy = NULL;
    keel_base *base = NULL;
    keel_eval_config measure;
    keel_reward_config rewards;
    keel_evaluation_set set = {0};
    keel_evaluate_item item = {0};
    keel_status status = keel_cli_open_policy(dir, NULL, &policy, &base, err);
    if (status == KEEL_OK) status = keel_options_defaults(keel_eval_config_options, &measure, err);
    if (status == KEEL_OK) status = keel_derive_rewards(store, &rewards, err);
    if (status == KEEL_OK) status = keel_split_parse(about->split, &item.split, err);
    if (status == KEEL_OK) {
        const keel_evaluate_config config = keel_eval_config_resolve(&measure, &rewards);
        item.policy = policy;
        item.base = base;
        status = keel_evaluate_at(store, &item, 1, &config, &about->confidence, 1, pool, &set, err);
    }
    if (status == KEEL_OK) *out = set.minus[KEEL_MINUS_LOGGED][KEEL_METRIC_COMPOSITE];
    keel_evaluation_set_free(&set);
    keel_policy_close(policy);
    keel_base_close(base);
    return status;
}

/* The two intervals hold together where each has half of the error: their difference is bounded by what lies
 * between them, whatever the two have in common. */
keel_status keel__learn_compare(const keel__learn_comparison *about, keel_optional *low, keel_optional *high,
                                keel_err *err) {
    keel_store *store = NULL;
    keel_pool *pool = NULL;
    keel_interval new, old;
    const size_t threads = about->threads ? (size_t)strtoul(about->threads, NULL, 10) : 0;
    keel_status status = keel_store_open(&store, about->store, KEEL_STORE_WRITE, err);
    if (status == KEEL_OK) status = keel_pool_open(&pool, threads, err);
    if (status == KEEL_OK) status = evaluate(about, store, about->policy, pool, &new, err);
    if (status == KEEL_OK) status = evaluate(about, store, about->published, pool, &old, err);
    if (status == KEEL_OK && new.n > 0 && old.n > 0) {
        *low = (keel_optional){true, new.low - old.high};
        *high = (keel_optional){true, new.high - old.low};
    }
    keel_pool_close(pool);
    keel_store_close(store);
    return status;
}
