/* What a step of tuning a decoder will need of memory, before anything of it is taken. */
#ifndef KEEL_POLICIES_TRANSFORMER_LLAMA_PLAN_H
#define KEEL_POLICIES_TRANSFORMER_LLAMA_PLAN_H

#include "core/tape.h"
#include "policies/transformer/llama_adapt.h"

/* Of the largest shard of a step. */
typedef struct keel_llama_plan {
    keel_llama_tuning tuning;
    keel_keep keep;
    size_t texts, tokens, longest;    /* without virtual tokens */
    size_t counted;                   /* tokens whose weight is not 0 */
    size_t shards;                    /* tapes at once: threads */
    bool fake, fake_inputs;           /* as number formats hold it (llama_fake.h) */
    const keel_llama_config *teacher; /* whose predictions are learned too; NULL: none */
    size_t gradients; /* of shards that are kept apart (keel_sharded_step_open); 0: as many as shards */
} keel_llama_plan;

typedef struct keel_llama_memory {
    size_t weights; /* of what is trained, and of what formats hold of it; the rest stays as it was opened */
    size_t gradients;   /* of parameters */
    size_t moments;     /* of Adam */
    size_t activations; /* of one tape: what stays until backward, and what is worked with */
    size_t logits;      /* of one tape: what the loss is worked out in */
    size_t tape;        /* activations + logits: of one tape */
    size_t total;       /* all of these, for all shards at once */
} keel_llama_memory;

keel_llama_memory keel_llama_memory_of(const keel_llama_config *config, const keel_llama_plan *plan);

#endif
