#include "policies/transformer/llama_plan.h"

#include "core/ops.h"
#include "policies/transformer/llama_internal.h"

/* What is counted follows the operations of llama_tape.c; numbers of elements are by row of the computation,
 * unless they say otherwise. */
typedef struct count {
    const keel_llama_config *c;
    const keel_llama_plan *plan;
    size_t rows;               /* tokens and virtual tokens */
    size_t scratch, scratches; /* elements: the largest that was asked for, and all that grew on the way */
} count;

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static void ask_scratch(count *n, size_t elements) {
    if (elements <= n->scratch) return;
    n->scratch = elements;
    n->scratches += elements;
}

/* Of LoRA: what A makes of its input and, where it drops, the input that is left and its mask. */
static size_t lora_elements(const count *n, size_t layer) {
    const keel_lora_config *lora = &n->plan->tuning.lora;
    size_t elements = 0, out, in;
    if (n->plan->tuning.mode != KEEL_LLAMA_LORA) return 0;
    for (size_t t = 0; t < KEEL__N_LLAMA_TARGETS; t++) {
        if (!(lora->targets >> t & 1)) continue;
        keel_llama_shape(n->c, keel_llama_row(layer, keel__llama_targets[t].row), &out, &in);
        elements += lora->rank + (lora->dropout > 0 ? in + in / 2 : 0);
    }
    return elements;
}

/* Of what matrices are multiplied with, rounded: of queries and the gate, of what attention gives, of the
 * gated unit. */
static size_t input_elements(const count *n, size_t layer) {
    if (!n->plan->fake_inputs) return 0;
    return 2 * n->c->hidden + keel_llama_heads(n->c, layer) * n->c->head_dim + keel_llama_inner(n->c, layer);
}

/* Two norms with their factors, queries and what they see, keys and values, what is added twice, the gated
 * unit. */
static size_t layer_elements(const count *n, size_t layer) {
    const size_t kv_heads = keel_llama_kv_heads(n->c, layer), heads = keel_llama_heads(n->c, layer);
    return 4 * n->c->hidden + 2 + 2 * (heads + kv_heads) * n->c->head_dim +
           3 * keel_llama_inner(n->c, layer) + lora_elements(n, layer) + input_elements(n, layer);
}

/* Of a layer that a gradient flows through, what stays until backward. */
static size_t kept_bytes(const count *n, size_t layer) {
    const size_t boundary = n->c->hidden, all = layer_elements(n, layer);
    switch (n->plan->keep) {
    case KEEL_KEEP_ALL:
        return all * sizeof(keel_real);
    case KEEL_KEEP_NOTHING:
        return boundary * sizeof(keel_real);
    default: /* in 16 bits but for norms, gated units and what is rounded, which are worked out again */
        return boundary * sizeof(keel_real) + (all - boundary - 2 * n->c->hidden -
                                               keel_llama_inner(n->c, layer) - input_elements(n, layer)) *
                                                  sizeof(uint16_t);
    }
}

/* Gradients that are there at once: of the stream and what is added to it, and of the gated unit or, where
 * that is more, of attention: anew where a layer below is wider than all above it. */
static size_t gradient_elements(const count *n) {
    size_t elements = 4 * n->c->hidden, widest = 0;
    for (size_t l = n->c->layers; l-- > 0;) {
        const size_t kv = keel_llama_kv_heads(n->c, l) * n->c->head_dim,
                     q = keel_llama_heads(n->c, l) * n->c->head_dim, gate = 3 * keel_llama_inner(n->c, l),
                     attention = 2 * q + 2 * kv, layer = (gate > attention ? gate : attention) + 2 * kv;
        if (layer <= widest) continue;
        elements += layer;
        widest = layer;
    }
    return elements;
}

/* Layers that a gradient flows through. */
static size_t flowing_layers(const count *n) {
    const keel_llama_tuning *tuning = &n->plan->tuning;
    return tuning->mode == KEEL_LLAMA_FREEZE ? n->c->layers - tuning->frozen_layers : n->c->layers;
}

/* Of frozen layers their outputs; where layers are run again or lie below, one of them as it is. */
static size_t layers_bytes(const count *n) {
    const size_t frozen = n->c->layers - flowing_layers(n), element = sizeof(keel_real);
    size_t bytes = frozen * n->c->hidden * element, widest = 0;
    for (size_t l = 0; l < n->c->layers; l++) {
        const size_t layer = layer_elements(n, l);
        if (l >= frozen) bytes += kept_bytes(n, l);
        if (layer > widest) widest = layer;
    }
    const bool again = n->plan->keep != KEEL_KEEP_ALL;
    return n->rows * (bytes + (frozen || again ? widest * element : 0));
}

/* The embedding, the last norm, what rows are told, and gradients. */
static size_t rest_bytes(const count *n) {
    const keel_llama_tuning *tuning = &n->plan->tuning;
    const size_t hidden = n->c->hidden,
                 virtual_rows = tuning->mode == KEEL_LLAMA_PROMPT ? tuning->n_virtual : 0;
    size_t elements = n->rows * (hidden + hidden + 1) + n->rows * gradient_elements(n);
    if (n->plan->fake_inputs) elements += n->rows * hidden;
    if (virtual_rows)
        elements += 2 * (n->plan->tokens + virtual_rows) * hidden; /* stacked, from tokens' own */
    return elements * sizeof(keel_real) + n->rows * 4 * sizeof(int32_t) +
           (n->plan->longest + virtual_rows) * n->c->head_dim * sizeof(keel_real);
}

/* Of a teacher, through which no gradient flows: what goes from layer to layer, the embedding and the states,
 * and its largest layer: where a student's layer needs room of other sizes, it takes its own. */
static size_t teacher_bytes(const count *n) {
    const keel_llama_config *c = n->plan->teacher;
    if (!c) return 0;
    const size_t layer = 4 * c->hidden + 2 + 2 * (c->heads + c->kv_heads) * c->head_dim + 3 * c->inner;
    return (n->plan->tokens * ((c->layers + 2) * c->hidden + layer) + n->plan->longest * c->head_dim) *
               sizeof(keel_real) +
           n->plan->tokens * 4 * sizeof(int32_t);
}

/* As keel_op_token_loss has them, and the scratch that operations share. */
static size_t logits_bytes(count *n) {
    enum { ROWS = 256, TOKENS = 1024, TILE = 64, RUNNING = 32 };
    const size_t counted = n->plan->counted,
                 longest = n->plan->longest + (n->rows - n->plan->tokens) / n->plan->texts,
                 width = least(TOKENS, n->c->vocab), logits = least(ROWS, counted) * width,
                 copies = counted < n->rows ? counted * n->c->hidden : 0;
    size_t taught = 0, row = RUNNING + 2 * sizeof(keel_real) + sizeof(int32_t);
    if (n->plan->teacher) {
        taught = logits + 2 * width + (copies ? counted * n->plan->teacher->hidden : 0);
        row += RUNNING + 2 * sizeof(keel_real);
    }
    ask_scratch(n, 2 * least(TILE, longest) * longest);
    ask_scratch(n, logits + taught + copies);
    ask_scratch(n, logits + taught + 2 * copies);
    return n->scratches * sizeof(keel_real) + counted * row;
}

keel_llama_memory keel_llama_memory_of(const keel_llama_config *config, const keel_llama_plan *plan) {
    const size_t added = plan->tuning.mode == KEEL_LLAMA_PROMPT ? plan->texts * plan->tuning.n_virtual : 0,
                 trained = keel_llama_trained_size(config, &plan->tuning) * sizeof(keel_real);
    count n = {.c = config, .plan = plan, .rows = plan->tokens + added};
    keel_llama_memory memory = {.weights = plan->fake ? 2 * trained : trained,
                                .gradients = trained * (plan->gradients ? plan->gradients : plan->shards),
                                .moments = 2 * trained,
                                .activations = layers_bytes(&n) + rest_bytes(&n) + teacher_bytes(&n),
                                .logits = logits_bytes(&n)};
    memory.tape = memory.activations + memory.logits;
    memory.total = memory.weights + memory.gradients + memory.moments + plan->shards * memory.tape;
    return memory;
}
