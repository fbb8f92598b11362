/* Running `keel eval` inside of another verb. */
#ifndef KEEL_EXPERIMENTS_CLI_EVAL_H
#define KEEL_EXPERIMENTS_CLI_EVAL_H

#include "experiments/cli.h"

/* Runs eval with what was given to the verb, without the flags `but`, and with the words `also` after it
 * (both NULL-terminated). *result is the caller's, also where a gate is not met (KEEL_E_GATE); else NULL. */
keel_status keel_cli_eval(keel_cli *cli, const char *const *but, const char *const *also, cJSON **result,
                          keel_err *err);

#endif
