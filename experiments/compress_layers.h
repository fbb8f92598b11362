/* What pruning left of each layer of a model, for `keel compress`. */
#ifndef KEEL_EXPERIMENTS_COMPRESS_LAYERS_H
#define KEEL_EXPERIMENTS_COMPRESS_LAYERS_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "policies/compress_base.h"

/* result gets "layers", where something was pruned. */
keel_status keel_compress_layers_put(const keel_compress_report *report, cJSON *result, keel_err *err);
void keel_compress_layers_print(const cJSON *result, FILE *out); /* a table of them, if there are any */

#endif
