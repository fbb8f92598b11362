#include "experiments/cli_choice.h"

#include "experiments/cli_policy.h"
#include "policies/policy_internal.h"

keel_status keel_cli_read_unfamiliar(const keel_cli *cli, bool *fall_back, keel_err *err) {
    static const char *const ways[] = {"mark", "fallback", NULL};
    int way = 0;
    KEEL_TRY(keel_cli_choice(cli, "--unfamiliar", ways, &way, err));
    *fall_back = way == 1;
    return KEEL_OK;
}

keel_status keel_cli_open_unfamiliar(const keel_cli *cli, keel_policy *policy, keel_err *err) {
    bool fall_back;
    KEEL_TRY(keel_cli_read_unfamiliar(cli, &fall_back, err));
    if (keel_cli_has(cli, "--unfamiliar")) KEEL_TRY(keel_policy_check_familiar(policy, err));
    keel_policy_when_unfamiliar(policy, fall_back);
    return KEEL_OK;
}

keel_status keel_cli_read_threshold(const keel_cli *cli, double *out, keel_err *err) {
    return keel_cli_number(cli, "--harm-threshold", 0, 1e6, out, err);
}

keel_status keel_cli_open_threshold(const keel_cli *cli, keel_policy *policy, keel_err *err) {
    double threshold = 0;
    KEEL_TRY(keel_cli_read_threshold(cli, &threshold, err));
    if (!keel_cli_has(cli, "--harm-threshold")) return KEEL_OK;
    return keel_policy_mask_above(policy, threshold, err);
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

keel_status keel_cli_open_chooser(keel_cli *cli, keel_policy **policy, keel_base **base, keel_err *err) {
    KEEL_TRY(keel_cli_open_policy(keel_cli_value(cli, "--policy"), keel_cli_value(cli, "--base"), policy,
                                  base, err));
    KEEL_TRY(keel_cli_weigh(cli, *policy, err));
    KEEL_TRY(keel_cli_open_threshold(cli, *policy, err));
    return keel_cli_open_unfamiliar(cli, *policy, err);
}
