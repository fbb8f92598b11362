#include "experiments/cli_choice.h"

#include "policies/policy_internal.h"

keel_status keel_cli_open_unfamiliar(const keel_cli *cli, keel_policy *policy, keel_err *err) {
    static const char *const ways[] = {"mark", "fallback", NULL};
    int way = 0;
    KEEL_TRY(keel_cli_choice(cli, "--unfamiliar", ways, &way, err));
    if (keel_cli_has(cli, "--unfamiliar") && !policy->familiar.n) {
        keel_fail(err, KEEL_E_USAGE, "--unfamiliar",
                  "this policy does not know the states that it learned from");
        return keel_hint(err, "train it anew");
    }
    keel_policy_when_unfamiliar(policy, way == 1);
    return KEEL_OK;
}

keel_status keel_cli_open_threshold(const keel_cli *cli, keel_policy *policy, keel_err *err) {
    static const keel_option row[] = {
        {"harm_threshold", KEEL_OPT_REAL, 0, "0", 0, 1e6, NULL, "the threshold"}, {0}};
    const char *text = keel_cli_value(cli, "--harm-threshold");
    double given;
    if (!text) return KEEL_OK;
    KEEL_TRY(
        keel_cli_blame(keel_options_set(row, &given, "harm_threshold", text, "--harm-threshold", err), err));
    if (!policy->net.shape.cost)
        return keel_fail(
            err, KEEL_E_USAGE, "--harm-threshold",
            "this policy (%s) has no critic of the cost of harm: its algorithm has none, or its log "
            "held no harm",
            policy->algorithm);
    policy->harm_threshold = given;
    return KEEL_OK;
}

keel_status keel_cli_open_weights(keel_cli *cli, double (**out)[KEEL_N_REWARDS], size_t *count,
                                  keel_err *err) {
    const char *const *texts;
    size_t n;
    KEEL_TRY(keel_cli_values(cli, "--weights", &texts, &n, err));
    double(*weights)[KEEL_N_REWARDS] = keel_arena_calloc(&cli->arena, n + 1, sizeof *weights);
    if (!weights) return keel_fail(err, KEEL_E_NOMEM, "--weights", "for %zu weightings", n);
    for (size_t i = 0; i < n; i++)
        KEEL_TRY(keel_cli_numbers("--weights", texts[i], weights[i], KEEL_N_REWARDS, err));
    *out = weights;
    *count = n;
    return KEEL_OK;
}

keel_status keel_cli_weigh(keel_cli *cli, keel_policy *policy, keel_err *err) {
    double(*weights)[KEEL_N_REWARDS];
    size_t count;
    KEEL_TRY(keel_cli_open_weights(cli, &weights, &count, err));
    return count ? keel_cli_blame(keel_policy_weigh(policy, weights[0], err), err) : KEEL_OK;
}
