/* Between the files of the refusal judge. */
#ifndef KEEL_REWARDS_REFUSAL_INTERNAL_H
#define KEEL_REWARDS_REFUSAL_INTERNAL_H

#include <stddef.h>

/* The judge that was taught on public labelled logs (README.md of rewards/judges): a safetensors file. */
extern const unsigned char keel__refusal_builtin[];
extern const size_t keel__refusal_builtin_length;

#endif
