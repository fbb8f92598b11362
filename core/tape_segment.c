/* Segments: while one runs, tensors come from memory that the next one uses again. Either all that it kept is
 * put away in 16 bits and laid back to the same addresses for backward, or nothing is kept and backward runs
 * it again. */
#include "core/tape_internal.h"

#include "core/half.h"
#include "core/simd.h"

/* ---- memory ---- */

enum { ALIGNMENT = 64, LEAST_BLOCK = 1 << 18 };

static bool add_block(keel__strip *strip, size_t bytes) {
    size_t total;
    const size_t capacity = bytes < LEAST_BLOCK ? LEAST_BLOCK : bytes;
    if (!keel_size_add(capacity, ALIGNMENT, &total) ||
        !keel_grow(&strip->block, strip->count + 1, &strip->capacity, sizeof *strip->block))
        return false;
    unsigned char *memory = keel_alloc(total);
    if (!memory) return false;
    unsigned char *data = memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT) % ALIGNMENT;
    strip->block[strip->count++] =
        (struct keel__strip_block){.memory = memory, .data = data, .capacity = capacity};
    strip->bytes += total;
    return true;
}

void *keel__strip_take(keel__strip *strip, size_t bytes) {
    size_t rounded;
    if (!keel_size_add(bytes ? bytes : 1, ALIGNMENT - 1, &rounded)) return NULL;
    rounded -= rounded % ALIGNMENT;
    while (strip->at < strip->count &&
           strip->block[strip->at].capacity - strip->block[strip->at].used < rounded)
        strip->at++;
    if (strip->at == strip->count && !add_block(strip, rounded)) return NULL;
    struct keel__strip_block *block = &strip->block[strip->at];
    void *memory = block->data + block->used;
    block->used += rounded;
    return memory;
}

void keel__strip_rewind(keel__strip *strip) {
    for (size_t i = 0; i < strip->count; ++i) strip->block[i].used = 0;
    strip->at = 0;
}

void keel__strip_free(keel__strip *strip) {
    for (size_t i = 0; i < strip->count; ++i) keel_free(strip->block[i].memory);
    keel_free(strip->block);
    *strip = (keel__strip){0};
}

/* ---- putting away ---- */

struct keel_segment {
    keel_segment_work *work;
    const void *context;
    keel_keep keep;
    keel__piece *pieces; /* [n] */
    size_t n;
    size_t first, last; /* nodes of the segment */
};

KEEL_SIMD static void to_bf16(const keel_real *restrict from, size_t n, uint16_t *restrict to) {
    for (size_t i = 0; i < n; ++i) to[i] = keel_bf16_from_float((float)from[i]);
}

KEEL_SIMD static void from_bf16(const uint16_t *restrict from, size_t n, keel_real *restrict to) {
    for (size_t i = 0; i < n; ++i) to[i] = (keel_real)keel_bf16_to_float(from[i]);
}

KEEL_SIMD static void to_half(const keel_real *restrict from, size_t n, uint16_t *restrict to) {
    for (size_t i = 0; i < n; ++i) to[i] = keel_half_from_float((float)from[i]);
}

KEEL_SIMD static void from_half(const uint16_t *restrict from, size_t n, keel_real *restrict to) {
    for (size_t i = 0; i < n; ++i) to[i] = (keel_real)keel_half_to_float(from[i]);
}

static void pack(keel_keep keep, const keel_real *from, size_t n, uint16_t *to) {
    if (keep == KEEL_KEEP_HALF)
        to_half(from, n, to);
    else
        to_bf16(from, n, to);
}

static void unpack(keel_keep keep, const uint16_t *from, size_t n, keel_real *to) {
    if (keep == KEEL_KEEP_HALF)
        from_half(from, n, to);
    else
        from_bf16(from, n, to);
}

/* The result, which has a place of its own, and what is worked out again need no place. */
static bool is_left_out(const keel_tape *tape, const keel_segment *segment, const keel_real *at,
                        const keel_real *result) {
    for (size_t i = segment->first; i < segment->last; ++i)
        if (tape->nodes[i].redo && tape->nodes[i].out->data == at) return true;
    return at == result;
}

/* All other reals of the segment. */
static bool put_away(keel_tape *tape, keel_segment *segment, const keel_real *result) {
    const size_t n = tape->piece_count;
    segment->pieces = keel__tape_bytes(tape, (n + 1) * sizeof *segment->pieces);
    for (size_t i = 0; segment->pieces && i < n; ++i) {
        keel__piece *piece = &segment->pieces[segment->n];
        if (is_left_out(tape, segment, tape->pieces[i].at, result)) continue;
        *piece = tape->pieces[i];
        piece->packed = keel__tape_bytes(tape, (piece->size + 1) * sizeof *piece->packed);
        if (!piece->packed) return false;
        pack(segment->keep, piece->at, piece->size, piece->packed);
        segment->n++;
    }
    return segment->pieces != NULL;
}

/* The gradient that comes in is in 16 bits too where they are of binary16. */
static void bring_back(const keel_node *node) {
    const keel_segment *segment = node->segment;
    for (size_t i = 0; i < segment->n; ++i) {
        const keel__piece *piece = &segment->pieces[i];
        unpack(segment->keep, piece->packed, piece->size, piece->at);
    }
    for (size_t i = segment->first; i < segment->last; ++i)
        if (node->tape->nodes[i].redo) node->tape->nodes[i].redo(&node->tape->nodes[i]);
    if (segment->keep != KEEL_KEEP_HALF) return;
    uint16_t half[512];
    keel_real *grad = node->out->grad;
    for (size_t at = 0, some; at < keel__size(node->out); at += some) {
        some = keel__size(node->out) - at < 512 ? keel__size(node->out) - at : 512;
        to_half(grad + at, some, half);
        from_half(half, some, grad + at);
    }
}

static keel_tensor *run_kept(keel_tape *tape, keel_tensor *x, keel_segment *segment) {
    tape->place = KEEL__KEPT;
    tape->piece_count = 0;
    keel__strip_rewind(&tape->strip);
    segment->first = tape->count;
    keel_tensor *y = segment->work(segment->context, tape, x);
    segment->last = tape->count;
    tape->place = KEEL__OUTSIDE;
    if (!y || y == x) return y;
    const keel_real *inner = y->data;
    keel_real *data = keel__tape_reals(tape, keel__size(y));
    if (!data || !put_away(tape, segment, inner)) return NULL;
    memcpy(data, inner, keel__size(y) * sizeof *data);
    y->data = data;
    return keel__tape_push(
        tape, (keel_node){.backward = bring_back, .out = y, .segment = segment, .keeps_gradient = true});
}

/* ---- running again ---- */

static keel_tensor *run_inside(keel_tape *tape, keel_tensor *x, const keel_segment *segment) {
    tape->place = KEEL__DROPPED;
    keel__strip_rewind(&tape->strip);
    return segment->work(segment->context, tape, x);
}

static void run_again(const keel_node *node) {
    keel_tape *tape = node->tape;
    keel_tensor in = *node->x;
    const size_t first = tape->count;
    keel_tensor *y = run_inside(tape, &in, node->segment);
    tape->place = KEEL__OUTSIDE;
    if (!y || !y->grad) return;
    keel__tape_hand(node->out, y);
    keel__tape_unwind(tape, first);
    node->x->grad_ready = in.grad_ready;
}

static keel_tensor *run_dropped(keel_tape *tape, keel_tensor *x, keel_segment *segment, bool flows) {
    const bool recording = tape->recording;
    tape->recording = false;
    const keel_tensor *y = run_inside(tape, x, segment);
    tape->recording = recording;
    tape->place = KEEL__OUTSIDE;
    if (!y) return NULL;
    keel_tensor *out = keel__tape_output(tape, y->rows, y->cols, flows);
    if (!out) return NULL;
    memcpy(out->data, y->data, keel__size(y) * sizeof *out->data);
    return keel__tape_push(tape, (keel_node){.backward = run_again, .out = out, .x = x, .segment = segment});
}

keel_tensor *keel_tape_segment(keel_tape *tape, keel_tensor *x, keel_keep keep, bool trains,
                               keel_segment_work *work, const void *context) {
    if (!x) return NULL;
    if (tape->place != KEEL__OUTSIDE)
        return keel__tape_refuse(tape, "keel_tape_segment", "a segment within a segment");
    const bool flows = tape->recording && (x->grad || trains);
    if (keep == KEEL_KEEP_ALL && flows) return work(context, tape, x);
    keel_segment *segment = keel__tape_bytes(tape, sizeof *segment);
    if (!segment) return NULL;
    *segment = (keel_segment){.work = work, .context = context, .keep = keep};
    return keep == KEEL_KEEP_NOTHING || !flows ? run_dropped(tape, x, segment, flows)
                                               : run_kept(tape, x, segment);
}
