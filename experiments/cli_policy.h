/* Policies with their bases, as flags and folders name them. Needs no store. */
#ifndef KEEL_EXPERIMENTS_CLI_POLICY_H
#define KEEL_EXPERIMENTS_CLI_POLICY_H

#include "policies/policy.h"

/* Loads a policy and its base: from base_dir if given, else from a folder beside the policy's whose hash is
 * the one the policy names. Both are checked against each other. *base is the caller's even if an error
 * follows later. */
keel_status keel_cli_open_policy(const char *policy_dir, const char *base_dir, keel_policy **policy,
                                 keel_base **base, keel_err *err);
/* A folder beside the policy's that holds the base of this hash. KEEL_E_NOT_FOUND. */
keel_status keel_cli_find_base(const char *policy_dir, const char *hash, char *out, size_t size,
                               keel_err *err);

#endif
