/* Reverse-mode differentiation. A tape is a flat list of fused operations (core/ops.h) over an arena:
 * operations append a node as they run, keel_tape_backward walks the list in reverse. No closures, no
 * reference counts, no allocation per step once the arena has its size. The first writer of a gradient
 * overwrites, later ones add. The gradient of an intermediate tensor has memory only from its first writer to
 * the operation that made the tensor. */
#ifndef KEEL_CORE_TAPE_H
#define KEEL_CORE_TAPE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/params.h"
#include "core/status.h"
#include "core/tensor.h"

/* For one thread. After a failed operation all later ones give NULL until the next reset. What an operation
 * borrows must stay until backward; gradients of intermediate tensors are gone afterwards, those of
 * parameters are not. */
typedef struct keel_tape keel_tape;

keel_status keel_tape_open(keel_tape **out, keel_err *err);
void keel_tape_close(keel_tape *tape);
void keel_tape_reset(keel_tape *tape); /* forgets nodes and tensors, keeps memory */
/* false: forward only, no gradients kept. A reset keeps the setting. */
void keel_tape_record(keel_tape *tape, bool recording);

/* How linear layers and logits are multiplied: in float, or with operands rounded to bfloat16 and sums in
 * float (keel_gemm_bf16); parameters, gradients and everything else stay float. A reset keeps the setting. */
typedef enum keel_precision { KEEL_PRECISION_F32, KEEL_PRECISION_BF16 } keel_precision;
void keel_tape_precision(keel_tape *tape, keel_precision precision);

/* Every operation returns NULL when memory ran out, an input is NULL, or shapes or indices do not fit; so
 * check the last result once: keel_tape_check (which keel_tape_backward calls too) says what the first
 * failure was. */
keel_status keel_tape_check(const keel_tape *tape, const keel_tensor *result, keel_err *err);
/* Borrowed data, no gradient. */
keel_tensor *keel_tape_input(keel_tape *tape, const keel_real *data, size_t rows, size_t cols);
/* Parameter `index` of params; its gradient goes to grads (a block laid out as params->data), overwritten by
 * the first writer of this step and added to by later ones. grads NULL: frozen. Fill the block with zeros
 * once when making it: the padding between parameters is never written. */
keel_tensor *keel_tape_param(keel_tape *tape, const keel_params *params, size_t index, keel_real *grads);
/* d(loss)/d(everything); loss is a scalar; once per reset. A parameter used on the tape that the loss does
 * not depend on gets a zero gradient; one never put on the tape keeps whatever its grads held. */
keel_status keel_tape_backward(keel_tape *tape, keel_tensor *loss, keel_err *err);
size_t keel_tape_bytes(const keel_tape *tape); /* memory in use at the peak */

/* ---- segments: parts of a computation whose inner tensors need not stay as they are ---- */

/* What stays of a segment's inner tensors until backward. */
typedef enum keel_keep {
    KEEL_KEEP_ALL,     /* everything: as without a segment */
    KEEL_KEEP_BF16,    /* everything, rounded to 16 bits of the range of float */
    KEEL_KEEP_HALF,    /* to IEEE binary16, the gradient that comes into the segment too: scale the loss */
    KEEL_KEEP_NOTHING, /* nothing: backward runs the segment again (Chen et al. 2016), to the same bits */
} keel_keep;
/* Runs operations on x and gives their result. Called again in backward where nothing was kept, it must do
 * the same: random numbers go by the context, not by how often it was called. */
typedef keel_tensor *keel_segment_work(const void *context, keel_tape *tape, keel_tensor *x);
/* y = work(context, tape, x). trains: whether parameters within have gradients. The work uses no tensor of
 * the tape but x and parameters, writes over neither, and has no segment within. context is borrowed until
 * backward. */
keel_tensor *keel_tape_segment(keel_tape *tape, keel_tensor *x, keel_keep keep, bool trains,
                               keel_segment_work *work, const void *context);

#endif
