#include "core/tape.h"

#include <string.h>

#include "core/gemm.h"
#include "core/memory.h"
#include "core/tape_internal.h"

/* Stands for the gradient of an intermediate tensor until backward comes to it. */
static keel_real awaited[1];

keel_status keel_tape_open(keel_tape **out, keel_err *err) {
    keel_gemm_alone();
    keel_tape *tape = keel_calloc(1, sizeof *tape);
    if (!tape) return keel_fail(err, KEEL_E_NOMEM, "keel_tape_open", "no memory for a tape");
    tape->recording = true;
    tape->multiply = keel_gemm;
    *out = tape;
    return KEEL_OK;
}

void keel_tape_close(keel_tape *tape) {
    if (!tape) return;
    keel_arena_free(&tape->arena);
    keel__strip_free(&tape->strip);
    keel_free(tape->pieces);
    keel_free(tape->spare);
    keel_free(tape->leaves);
    keel_free(tape->nodes);
    keel_free(tape);
}

void keel_tape_reset(keel_tape *tape) {
    keel_arena_reset(&tape->arena);
    tape->count = tape->leaf_count = tape->spare_count = 0;
    tape->place = KEEL__OUTSIDE;
    tape->scratch = NULL;
    tape->scratch_size = 0;
    tape->out_of_memory = false;
    tape->operation = tape->problem = NULL;
}

void keel_tape_record(keel_tape *tape, bool recording) {
    tape->recording = recording;
}

void keel_tape_precision(keel_tape *tape, keel_precision precision) {
    tape->multiply = precision == KEEL_PRECISION_BF16 ? keel_gemm_bf16 : keel_gemm;
}

size_t keel_tape_bytes(const keel_tape *tape) {
    return tape->arena.peak + tape->strip.bytes + tape->capacity * sizeof *tape->nodes +
           tape->leaf_capacity * sizeof *tape->leaves + tape->spare_capacity * sizeof *tape->spare +
           tape->piece_capacity * sizeof *tape->pieces;
}

keel_tensor *keel__tape_refuse(keel_tape *tape, const char *operation, const char *what) {
    if (!tape->problem && !tape->out_of_memory) tape->operation = operation, tape->problem = what;
    return NULL;
}

void keel__tape_out_of_memory(keel_tape *tape) {
    if (!tape->problem) tape->out_of_memory = true;
}

static void *from_arena(keel_tape *tape, size_t bytes) {
    void *memory = keel_arena_alloc(&tape->arena, bytes);
    if (!memory) keel__tape_out_of_memory(tape);
    return memory;
}

static void *from_strip(keel_tape *tape, size_t bytes) {
    void *memory = keel__strip_take(&tape->strip, bytes);
    if (!memory) keel__tape_out_of_memory(tape);
    return memory;
}

void *keel__tape_bytes(keel_tape *tape, size_t bytes) {
    return tape->place == KEEL__DROPPED ? from_strip(tape, bytes) : from_arena(tape, bytes);
}

keel_real *keel__tape_reals(keel_tape *tape, size_t count) {
    size_t bytes;
    if (!keel_size_mul(count, sizeof(keel_real), &bytes)) {
        keel__tape_out_of_memory(tape);
        return NULL;
    }
    if (tape->place == KEEL__OUTSIDE) return from_arena(tape, bytes);
    keel_real *reals = from_strip(tape, bytes);
    if (!reals || tape->place == KEEL__DROPPED) return reals;
    if (!keel_grow(&tape->pieces, tape->piece_count + 1, &tape->piece_capacity, sizeof *tape->pieces)) {
        keel__tape_out_of_memory(tape);
        return NULL;
    }
    tape->pieces[tape->piece_count++] = (keel__piece){.at = reals, .size = count};
    return reals;
}

keel_real *keel__tape_scratch(keel_tape *tape, size_t count) {
    size_t bytes;
    if (tape->scratch && count <= tape->scratch_size) return tape->scratch;
    if (!keel_size_mul(count, sizeof(keel_real), &bytes)) {
        keel__tape_out_of_memory(tape);
        return NULL;
    }
    tape->scratch = from_arena(tape, bytes);
    tape->scratch_size = tape->scratch ? count : 0;
    return tape->scratch;
}

static keel_tensor *wrap(void *memory, const keel_real *data, size_t rows, size_t cols, keel_real *grad) {
    keel_tensor *x = memory;
    if (x)
        *x = (keel_tensor){.rows = rows,
                           .cols = cols,
                           .data = (keel_real *)data,
                           .grad = grad,
                           .grad_lent = grad && grad != awaited};
    return x;
}

keel_tensor *keel__tape_over(keel_tape *tape, keel_real *data, size_t rows, size_t cols, bool flows) {
    if (tape->problem || tape->out_of_memory) return NULL; /* nothing after a failure counts */
    return wrap(keel__tape_bytes(tape, sizeof(keel_tensor)), data, rows, cols,
                flows && tape->recording ? awaited : NULL);
}

keel_tensor *keel__tape_output(keel_tape *tape, size_t rows, size_t cols, bool flows) {
    size_t size;
    if (tape->problem || tape->out_of_memory) return NULL;
    if (!keel_size_mul(rows, cols, &size)) {
        keel__tape_out_of_memory(tape);
        return NULL;
    }
    keel_real *data = keel__tape_reals(tape, size);
    return data ? keel__tape_over(tape, data, rows, cols, flows) : NULL;
}

keel_tensor *keel_tape_input(keel_tape *tape, const keel_real *data, size_t rows, size_t cols) {
    return wrap(keel__tape_bytes(tape, sizeof(keel_tensor)), data, rows, cols, NULL);
}

keel_tensor *keel_tape_param(keel_tape *tape, const keel_params *params, size_t index, keel_real *grads) {
    const keel_param *param = &params->table[index];
    const keel_real *data = keel_params_at(params, index);
    keel_real *grad = grads && tape->recording ? grads + keel_params_offset(params, index) : NULL;
    /* One tensor per parameter and gradient, however often it is used: the first-writer mark is shared. */
    for (size_t i = 0; i < tape->leaf_count; ++i)
        if (tape->leaves[i]->data == data && tape->leaves[i]->grad == grad) return tape->leaves[i];
    bool room = keel_grow(&tape->leaves, tape->leaf_count + 1, &tape->leaf_capacity, sizeof *tape->leaves);
    keel_tensor *x = room ? wrap(from_arena(tape, sizeof *x), data, param->rows, param->cols, grad) : NULL;
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

/* ---- backward ---- */

/* Before a gradient of the tape stands how many reals it has room for. */
enum { HEADER = 64 / sizeof(keel_real) };

static size_t room_of(const keel_real *grad) {
    size_t room;
    memcpy(&room, grad - HEADER, sizeof room);
    return room;
}

/* A free gradient of at least, and not much above, so many reals, else a new one. */
static keel_real *take_gradient(keel_tape *tape, size_t size) {
    size_t best = tape->spare_count;
    for (size_t i = 0; i < tape->spare_count; ++i) {
        const size_t room = room_of(tape->spare[i]);
        if (room >= size && room / 2 <= size &&
            (best == tape->spare_count || room < room_of(tape->spare[best])))
            best = i;
    }
    if (best < tape->spare_count) {
        keel_real *found = tape->spare[best];
        tape->spare[best] = tape->spare[--tape->spare_count];
        return found;
    }
    size_t bytes;
    if (!keel_size_add(size, HEADER, &bytes) || !keel_size_mul(bytes, sizeof(keel_real), &bytes)) return NULL;
    keel_real *made = from_arena(tape, bytes);
    if (!made) return NULL;
    memcpy(made, &size, sizeof size);
    return made + HEADER;
}

static bool prepare(keel_tape *tape, keel_tensor *x) {
    if (!x || x->grad != awaited) return true;
    keel_real *grad = take_gradient(tape, keel__size(x));
    if (grad) x->grad = grad;
    return grad != NULL;
}

static bool prepare_all(keel_tape *tape, const keel_node *node) {
    bool whole = prepare(tape, node->out) && prepare(tape, node->also) && prepare(tape, node->x) &&
                 prepare(tape, node->y) && prepare(tape, node->b);
    for (size_t i = 0; i < node->n_list; ++i) whole = whole && prepare(tape, node->list[i]);
    for (size_t i = 0; i < node->n_branches; ++i)
        whole = whole && prepare(tape, node->branch[i].x) && prepare(tape, node->branch[i].b);
    if (!whole) keel__tape_out_of_memory(tape);
    return whole;
}

static void release(keel_tape *tape, keel_tensor *x) {
    if (!x || !x->grad || x->grad == awaited || x->grad_lent) return;
    if (keel_grow(&tape->spare, tape->spare_count + 1, &tape->spare_capacity, sizeof *tape->spare))
        tape->spare[tape->spare_count++] = x->grad;
    else
        keel__tape_out_of_memory(tape);
    x->grad = awaited;
}

void keel__tape_hand(keel_tensor *from, keel_tensor *to) {
    if (to->grad && !to->grad_ready && !to->grad_lent && !from->grad_lent) {
        keel_real *other = to->grad;
        to->grad = from->grad;
        from->grad = other;
        to->grad_ready = true;
        return;
    }
    const keel_real *grad = from->grad;
    KEEL_FLOW(to, keel__size(to), i, grad[i]);
}

void keel__tape_unwind(keel_tape *tape, size_t first) {
    for (size_t i = tape->count; i-- > first;) {
        const keel_node node = tape->nodes[i]; /* a segment's backward puts more nodes there */
        tape->count = i;
        if (!node.out->grad_ready && !(node.also && node.also->grad_ready)) continue;
        if (!prepare_all(tape, &node)) return;
        node.backward(&node);
        if (tape->out_of_memory || tape->problem) return;
        if (!node.keeps_gradient) release(tape, node.out), release(tape, node.also);
    }
}

keel_status keel_tape_backward(keel_tape *tape, keel_tensor *loss, keel_err *err) {
    KEEL_TRY(keel_tape_check(tape, loss, err));
    if (keel__size(loss) != 1)
        return keel_fail(err, KEEL_E_INVALID, "keel_tape_backward", "expected a scalar loss, got [%zu, %zu]",
                         loss->rows, loss->cols);
    if (!prepare(tape, loss)) keel__tape_out_of_memory(tape);
    KEEL_TRY(keel_tape_check(tape, loss, err));
    if (loss->grad) {
        loss->grad[0] = 1;
        loss->grad_ready = true;
    }
    keel__tape_unwind(tape, 0);
    for (size_t i = 0; i < tape->leaf_count; ++i) keel__grad_to_add(tape->leaves[i]);
    return keel_tape_check(tape, loss, err);
}

bool keel__offsets_fit(const int32_t *offsets, size_t n_segments, size_t rows, size_t shortest) {
    if (offsets[0] < 0) return false;
    for (size_t s = 0; s < n_segments; ++s)
        if (offsets[s + 1] < offsets[s] || (size_t)(offsets[s + 1] - offsets[s]) < shortest) return false;
    return (size_t)offsets[n_segments] <= rows;
}
