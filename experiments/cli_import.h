/* What verbs that bring a log into the store share: flags of the log, and the table of what came in. */
#ifndef KEEL_EXPERIMENTS_CLI_IMPORT_H
#define KEEL_EXPERIMENTS_CLI_IMPORT_H

#include "datasets/import.h"
#include "experiments/cli.h"

/* --format, --split, --source and --skip-bad. */
keel_status keel_cli_read_import(const keel_cli *cli, keel_import_options *out, keel_err *err);

/* Adds what could not be used to a list: {"where", "message"}. A function of keel_import_options.bad. */
void keel_cli_note_bad(void *list, const keel_err *bad);

/* A table of the result's numbers under `head`, without formats' counts that are 0; then a line for each of
 * the list `bad` of it, which begins with `says`. */
void keel_cli_print_import(const cJSON *result, const char *head, const char *bad, const char *says,
                           FILE *out);

#endif
