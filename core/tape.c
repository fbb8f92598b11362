#include "core/tape.h"

#include <string.h>

#include "core/gemm.h"
#include "core/memory.h"
#include "core/tape_internal.h"

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
    keel_gemm_alone();
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
    keel_real *grad = grads && tape->recording ? grads + keel_params_offset(params, index) : NULL;
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

bool keel__offsets_fit(const int32_t *offsets, size_t n_segments, size_t rows, size_t shortest) {
    if (offsets[0] < 0) return false;
    for (size_t s = 0; s < n_segments; ++s)
        if (offsets[s + 1] < offsets[s] || (size_t)(offsets[s + 1] - offsets[s]) < shortest) return false;
    return (size_t)offsets[n_segments] <= rows;
}
