#include "policies/transformer/lora.h"

const char *const keel_lora_target_names[] = {"attention", "all", NULL};
