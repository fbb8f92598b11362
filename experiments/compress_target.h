/* Settings of `keel compress` that meet a target and change the fewest decisions, found by a search
 * (experiments/search) whose trials are the command itself. */
#ifndef KEEL_EXPERIMENTS_COMPRESS_TARGET_H
#define KEEL_EXPERIMENTS_COMPRESS_TARGET_H

#include "experiments/cli.h"

/* OUT.search keeps the trials; the same command goes on where it was stopped. What the command line leaves
 * open varies: number format, ratio, the share of layers that keep 8 bits. most_loss: of refusal and
 * completion, as they are measured (experiments/compress_policy.h); without a policy, of what is changed.
 *
 * *found gets {"search": folder, "target": [text], "max_loss", "points": [{"config", "latency_ms", "bytes",
 * "changed", "changed_low", "changed_high", "loss", "front", "meets", "note"}] the quickest first, "chosen":
 * {key: value} or null}; also with KEEL_E_GATE, where no point meets the target. front: no other point is as
 * quick, as small and changes as few decisions, and is better in one of these. The caller deletes it. */
keel_status keel_compress_target(keel_cli *cli, double most_loss, cJSON **found, keel_err *err);
void keel_compress_target_print(const cJSON *found, FILE *out);

#endif
