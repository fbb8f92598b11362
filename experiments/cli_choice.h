/* Flags that change what a policy chooses. */
#ifndef KEEL_EXPERIMENTS_CLI_CHOICE_H
#define KEEL_EXPERIMENTS_CLI_CHOICE_H

#include "experiments/cli.h"
#include "policies/policy.h"

#define KEEL_FLAG_THRESHOLD                                                                                  \
    {                                                                                                        \
        "--harm-threshold", "C", false, false,                                                               \
            "harm threshold: mask what has a higher cost of harm (default: the policy's own)"                \
    }
/* --harm-threshold; *out untouched when it is not given. */
keel_status keel_cli_read_threshold(const keel_cli *cli, double *out, keel_err *err);
/* The same for the policy, in place of its own. KEEL_E_USAGE where it has no cost critic. */
keel_status keel_cli_open_threshold(const keel_cli *cli, keel_policy *policy, keel_err *err);

#define KEEL_FLAG_UNFAMILIAR                                                                                   \
    {                                                                                                          \
        "--unfamiliar", "mark|fallback", false, false,                                                         \
            "unfamiliar states: mark them (default), or fall back on the fixed answer or the act that refuses" \
    }
/* --unfamiliar: whether it says fallback. */
keel_status keel_cli_read_unfamiliar(const keel_cli *cli, bool *fall_back, keel_err *err);
/* The same for the policy. KEEL_E_USAGE for a policy that does not know the states it learned from. */
keel_status keel_cli_open_unfamiliar(const keel_cli *cli, keel_policy *policy, keel_err *err);

#define KEEL_WEIGHTS_HELP                                                                                    \
    "what a policy trained with conditioned=true decides by: weights of accuracy, speed, safety"
/* All values of --weights (policies/weighting.h), in the cli's arena. */
keel_status keel_cli_open_weights(keel_cli *cli, double (**out)[KEEL_N_REWARDS], size_t *count,
                                  keel_err *err);
/* The first of them, if given, for the policy. */
keel_status keel_cli_weigh(keel_cli *cli, keel_policy *policy, keel_err *err);

/* The policy of --policy with its base, of --base or beside it, as --weights, --harm-threshold and
 * --unfamiliar change it. What was opened is the caller's, also on failure. */
keel_status keel_cli_open_chooser(keel_cli *cli, keel_policy **policy, keel_base **base, keel_err *err);

#endif
