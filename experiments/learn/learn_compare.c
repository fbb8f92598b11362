/* Whether a policy earns more than the one that is published: both are evaluated over all decisions of the
 * conversations held out (rl/judge/overall.h), and set beside each other conversation by conversation. */
#include <stdlib.h>

#include "experiments/cli_resources.h"
#include "experiments/eval_config.h"
#include "experiments/learn/learn_internal.h"
#include "rl/judge/overall_sums.h"
#include "rl/learn/derive.h"

static keel_status evaluate(const char *split, keel_store *store, const char *dir, keel_pool *pool,
                            keel_overall_sums *out, keel_err *err) {
    keel_policy *policy = NULL;
    keel_base *base = NULL;
    keel_eval_config measure;
    keel_reward_config rewards;
    keel_evaluation_set set = {0};
    keel_evaluate_item item = {0};
    keel_status status = keel_cli_open_policy(dir, NULL, &policy, &base, err);
    if (status == KEEL_OK) status = keel_options_defaults(keel_eval_config_options, &measure, err);
    if (status == KEEL_OK) status = keel_derive_rewards(store, &rewards, err);
    if (status == KEEL_OK) status = keel_split_parse(split, &item.split, err);
    if (status == KEEL_OK) {
        keel_evaluate_config config = keel_eval_config_resolve(&measure, &rewards);
        config.policy_sums = out;
        item.policy = policy;
        item.base = base;
        status = keel_evaluate(store, &item, 1, &config, pool, &set, err);
    }
    keel_evaluation_set_free(&set);
    keel_policy_close(policy);
    keel_base_close(base);
    return status;
}

static keel_status compare_on(const char *split, const keel__learn_comparison *about, keel_store *store,
                              keel_pool *pool, double confidence, keel_interval *out, keel_err *err) {
    keel_overall_sums new = {0}, old = {0};
    keel_status status = evaluate(split, store, about->policy, pool, &new, err);
    if (status == KEEL_OK) status = evaluate(split, store, about->published, pool, &old, err);
    if (status == KEEL_OK)
        *out = keel_overall_sums_difference(&new, &old, KEEL_OVERALL_COMPOSITE, confidence);
    keel_overall_sums_free(&new);
    keel_overall_sums_free(&old);
    return status;
}

/* Both intervals hold together at half of the error each: the difference lies in both. */
static void meet(const keel_interval *one, keel_optional *low, keel_optional *high) {
    if (!(one->n > 0)) return;
    if (!low->present || one->low > low->value) *low = (keel_optional){true, one->low};
    if (!high->present || one->high < high->value) *high = (keel_optional){true, one->high};
}

static keel_status compare(const keel__learn_comparison *about, keel_store *store, keel_pool *pool,
                           keel_optional *low, keel_optional *high, bool *own, keel_err *err) {
    static const char own_split[] = "published-own";
    const char *hash = about->published_hash;
    int64_t answered;
    keel_interval found = {0};
    KEEL_TRY(keel_store_set_apart(store, own_split, hash, about->split, err)); /* of one that was cut off */
    KEEL_TRY(keel_store_count_answered(store, about->split, hash, &answered, err));
    *own = answered >= KEEL__LEARN_ENOUGH;
    const double confidence = *own ? (1 + about->confidence) / 2 : about->confidence;
    KEEL_TRY(compare_on(about->split, about, store, pool, confidence, &found, err));
    meet(&found, low, high);
    if (!*own) return KEEL_OK;
    KEEL_TRY(keel_store_set_apart(store, about->split, hash, own_split, err));
    KEEL_TRY(compare_on(own_split, about, store, pool, confidence, &found, err));
    meet(&found, low, high);
    return KEEL_OK;
}

keel_status keel__learn_compare(const keel__learn_comparison *about, keel_optional *low, keel_optional *high,
                                bool *own, keel_err *err) {
    keel_store *store = NULL;
    keel_pool *pool = NULL;
    const size_t threads = about->threads ? (size_t)strtoul(about->threads, NULL, 10) : 0;
    *low = *high = (keel_optional){0};
    *own = false;
    keel_status status = keel_store_open(&store, about->store, KEEL_STORE_WRITE, err);
    if (status == KEEL_OK) status = keel_pool_open(&pool, threads, err);
    if (status == KEEL_OK) status = compare(about, store, pool, low, high, own, err);
    keel_pool_close(pool);
    keel_store_close(store);
    return status;
}
