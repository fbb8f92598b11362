/* The result of `keel eval` for people. */
#ifndef KEEL_EXPERIMENTS_EVAL_PRINT_H
#define KEEL_EXPERIMENTS_EVAL_PRINT_H

#include <cjson/cJSON.h>
#include <stdio.h>

void keel_eval_print(const cJSON *result, FILE *out);

#endif
