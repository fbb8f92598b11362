#include "core/tensor.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "core/tape.h"

/* ---- parameters ---- */

enum { PADDING = 16, ALIGNMENT = 64 };

/* One allocation holds [table | offsets | names | aligned data]; this is its size and where the parts begin.
 */
typedef struct params_layout {
    size_t offsets, names, data, bytes;
    size_t elements;
} params_layout;

static bool add_padded(size_t *sum, size_t more, size_t unit) {
    size_t total;
    if (!keel_size_add(*sum, more, &total) || !keel_size_add(total, unit - 1, &total)) return false;
    *sum = total - total % unit;
    return true;
}

static bool plan_params(const keel_param *table, size_t count, params_layout *plan) {
    size_t names = 0, size;
    *plan = (params_layout){0};
    for (size_t i = 0; i < count; ++i) {
        names += strlen(table[i].name) + 1;
        if (!keel_size_mul(table[i].rows, table[i].cols, &size)) return false;
        if (!add_padded(&plan->elements, size, PADDING)) return false;
    }
    if (!keel_size_mul(plan->elements, sizeof(keel_real), &size)) return false;
    plan->offsets = count * sizeof *table;
    plan->names = plan->offsets + count * sizeof(size_t);
    plan->data = plan->names + names;
    plan->bytes = plan->data;
    return add_padded(&plan->bytes, size, 1) && add_padded(&plan->bytes, ALIGNMENT, 1);
}

keel_status keel_params_make(keel_params *params, const keel_param *table, size_t count, keel_err *err) {
    params_layout plan;
    unsigned char *block = plan_params(table, count, &plan) ? keel_calloc(1, plan.bytes) : NULL;
    if (!block)
        return keel_fail(err, KEEL_E_NOMEM, "keel_params_make", "no memory for %zu parameters", count);
    keel_params made = {.count = count, .size = plan.elements};
    made.table = (keel_param *)(void *)block;
    made.offset = (size_t *)(void *)(block + plan.offsets);
    unsigned char *data = block + plan.data;
    made.data = (keel_real *)(void *)(data + (ALIGNMENT - (uintptr_t)data % ALIGNMENT) % ALIGNMENT);
    char *name = (char *)block + plan.names;
    size_t at = 0;
    for (size_t i = 0; i < count; ++i) {
        made.table[i] = table[i];
        made.table[i].name = strcpy(name, table[i].name);
        name += strlen(name) + 1;
        made.offset[i] = at;
        add_padded(&at, table[i].rows * table[i].cols, PADDING);
    }
    *params = made;
    return KEEL_OK;
}

static double draw_initial(const keel_param *param, keel_rng *rng) {
    switch (param->init) {
    case KEEL_INIT_ZERO:
        return 0;
    case KEEL_INIT_ONE:
        return 1;
    case KEEL_INIT_UNIFORM:
        return (2 * keel_rng_uniform(rng) - 1) / sqrt(param->scale);
    case KEEL_INIT_NORMAL:
        return param->scale * keel_rng_normal(rng);
    }
    return 0;
}

void keel_params_init(keel_params *params, keel_rng *rng) {
    for (size_t i = 0; i < params->count; ++i) {
        const keel_param *param = &params->table[i];
        keel_real *data = keel_params_at(params, i);
        for (size_t j = 0; j < param->rows * param->cols; ++j) data[j] = (keel_real)draw_initial(param, rng);
    }
}

void keel_params_free(keel_params *params) {
    keel_free(params->table);
    *params = (keel_params){0};
}

keel_real *keel_params_at(const keel_params *params, size_t index) {
    return params->data + params->offset[index];
}

/* ---- the tape ---- */

struct keel_tape {
    keel_arena arena; /* tensors, activations, gradients, what operations save */
    keel_node *nodes; /* [capacity]; kept over resets */
    size_t count, capacity;
    keel_tensor **leaves; /* parameters on the tape, [leaf_capacity] */
    size_t leaf_count, leaf_capacity;
    bool recording;
    bool out_of_memory;
    const char *operation, *problem; /* the first refused call, or NULL */
};

keel_status keel_tape_open(keel_tape **out, keel_err *err) {
    /* Results must not depend on how many threads BLAS would like to use, pool or no pool. */
    if (openblas_get_num_threads() != 1) openblas_set_num_threads(1);
    keel_tape *tape = keel_calloc(1, sizeof *tape);
    if (!tape) return keel_fail(err, KEEL_E_NOMEM, "keel_tape_open", "no memory for a tape");
    tape->recording = true;
    *out = tape;
    return KEEL_OK;
}

void keel_tape_close(keel_tape *tape) {
    if (!tape) return;
    keel_arena_free(&tape->arena);
    keel_free(tape->leaves);
    keel_free(tape->nodes);
    keel_free(tape);
}

void keel_tape_reset(keel_tape *tape) {
    keel_arena_reset(&tape->arena);
    tape->count = tape->leaf_count = 0;
    tape->out_of_memory = false;
    tape->operation = tape->problem = NULL;
}

void keel_tape_record(keel_tape *tape, bool recording) {
    tape->recording = recording;
}

size_t keel_tape_bytes(const keel_tape *tape) {
    return tape->arena.peak + tape->capacity * sizeof *tape->nodes +
           tape->leaf_capacity * sizeof *tape->leaves;
}

keel_tensor *keel__tape_refuse(keel_tape *tape, const char *operation, const char *what) {
    if (!tape->problem && !tape->out_of_memory) tape->operation = operation, tape->problem = what;
    return NULL;
}

void keel__tape_out_of_memory(keel_tape *tape) {
    if (!tape->problem) tape->out_of_memory = true;
}

void *keel__tape_bytes(keel_tape *tape, size_t bytes) {
    void *memory = keel_arena_alloc(&tape->arena, bytes);
    if (!memory) keel__tape_out_of_memory(tape);
    return memory;
}

keel_real *keel__tape_reals(keel_tape *tape, size_t count) {
    size_t bytes;
    if (keel_size_mul(count, sizeof(keel_real), &bytes)) return keel__tape_bytes(tape, bytes);
    keel__tape_out_of_memory(tape);
    return NULL;
}

/* A tensor around data that is already there. */
static keel_tensor *wrap(keel_tape *tape, const keel_real *data, size_t rows, size_t cols, keel_real *grad) {
    keel_tensor *x = keel__tape_bytes(tape, sizeof *x);
    if (x) *x = (keel_tensor){rows, cols, (keel_real *)data, grad, false};
    return x;
}

keel_tensor *keel__tape_output(keel_tape *tape, size_t rows, size_t cols, bool flows) {
    size_t size;
    if (tape->problem || tape->out_of_memory) return NULL; /* nothing after a failure counts */
    if (!keel_size_mul(rows, cols, &size)) {
        keel__tape_out_of_memory(tape);
        return NULL;
    }
    flows = flows && tape->recording;
    keel_real *data = keel__tape_reals(tape, size);
    keel_real *grad = flows && data ? keel__tape_reals(tape, size) : NULL;
    return data && (grad || !flows) ? wrap(tape, data, rows, cols, grad) : NULL;
}

keel_tensor *keel_tape_new(keel_tape *tape, size_t rows, size_t cols) {
    return keel__tape_output(tape, rows, cols, true);
}

keel_tensor *keel_tape_input(keel_tape *tape, const keel_real *data, size_t rows, size_t cols) {
    return wrap(tape, data, rows, cols, NULL);
}

keel_tensor *keel_tape_param(keel_tape *tape, const keel_params *params, size_t index, keel_real *grads) {
    const keel_param *param = &params->table[index];
    const keel_real *data = keel_params_at(params, index);
    keel_real *grad = grads && tape->recording ? grads + params->offset[index] : NULL;
    /* One tensor per parameter and gradient, however often it is used: the first-writer mark is shared. */
    for (size_t i = 0; i < tape->leaf_count; ++i)
        if (tape->leaves[i]->data == data && tape->leaves[i]->grad == grad) return tape->leaves[i];
    bool room = keel_grow(&tape->leaves, tape->leaf_count + 1, &tape->leaf_capacity, sizeof *tape->leaves);
    keel_tensor *x = room ? wrap(tape, data, param->rows, param->cols, grad) : NULL;
    if (x)
        tape->leaves[tape->leaf_count++] = x;
    else
        keel__tape_out_of_memory(tape);
    return x;
}

keel_tensor *keel__tape_push(keel_tape *tape, keel_node node) {
    bool flows = node.out->grad != NULL;
    if (!flows) return node.out;
    if (!keel_grow(&tape->nodes, tape->count + 1, &tape->capacity, sizeof *tape->nodes)) {
        keel__tape_out_of_memory(tape);
        return NULL;
    }
    node.tape = tape;
    tape->nodes[tape->count++] = node;
    return node.out;
}

keel_status keel_tape_check(const keel_tape *tape, const keel_tensor *result, keel_err *err) {
    if (tape->problem) return keel_fail(err, KEEL_E_INVALID, tape->operation, "%s", tape->problem);
    if (tape->out_of_memory || !result)
        return keel_fail(err, KEEL_E_NOMEM, "tape", "no memory left after %zu bytes", keel_tape_bytes(tape));
    return KEEL_OK;
}

keel_status keel_tape_backward(keel_tape *tape, keel_tensor *loss, keel_err *err) {
    KEEL_TRY(keel_tape_check(tape, loss, err));
    if (keel__size(loss) != 1)
        return keel_fail(err, KEEL_E_INVALID, "keel_tape_backward", "expected a scalar loss, got [%zu, %zu]",
                         loss->rows, loss->cols);
    if (loss->grad) {
        loss->grad[0] = 1;
        loss->grad_ready = true;
    }
    for (size_t i = tape->count; i-- > 0;)
        if (tape->nodes[i].out->grad_ready) tape->nodes[i].backward(&tape->nodes[i]);
    for (size_t i = 0; i < tape->leaf_count; ++i) keel__grad_to_add(tape->leaves[i]);
    return keel_tape_check(tape, loss, err);
}
