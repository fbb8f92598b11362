/* What `keel train` compares when no learner is named: --choose, and the table of what came of it. */
#ifndef KEEL_EXPERIMENTS_CLI_CHOOSE_H
#define KEEL_EXPERIMENTS_CLI_CHOOSE_H

#include "experiments/cli.h"
#include "rl/train/choose.h"

#define KEEL_CHOOSE_STANDARD "bc,filtered-bc,cql:alpha=0.03,cql:alpha=0.1,cql:alpha=0.3,base"

/* The list of --choose, or the standard one, in the cli's arena: names with their configurations (--preset,
 * --set and --config first, then the keys of the list). With --max-harm those without a value of safety are
 * left out of the standard list, and refused in another. */
keel_status keel_cli_contenders(keel_cli *cli, keel_choose_job *out, keel_err *err);

/* out->tuning: how the base in a folder was tuned, if it was tuned from its kind on conversations that
 * `split` may hold; in the cli's arena. Else it stays NULL, and where the base has seen them a note says what
 * that means; out->flattered: they teach too much. */
keel_status keel_cli_base_tuning(keel_cli *cli, const char *dir, const keel_base *base,
                                 const keel_split *split, keel_choose_job *out, keel_err *err);

/* The metrics' "choice" for people: a line and a table. */
void keel_cli_print_choice(const cJSON *choice, FILE *out);

#endif
