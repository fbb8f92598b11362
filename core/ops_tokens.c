/* Cross-entropy over a vocabulary, in tiles of rows and of the vocabulary: a tile of logits stays in the
 * cache and nothing of them is kept. Forward keeps the log-sum-exp of each row that counts; backward works
 * the logits out again. */
#include <tgmath.h>

#include "core/numeric.h"
#include "core/tape_internal.h"

enum { ROWS = 256, TOKENS = 1024 };

/* The rows that count, one after the other, and room. */
typedef struct tiles {
    keel__multiply *multiply;
    const keel_token_loss *loss;
    const keel_tensor *x;
    const int32_t *row; /* [n] of x */
    size_t n, cols, width;
    keel_real *logits;  /* [ROWS, width] */
    keel_real *weights; /* of a tile where they have to be widened */
    keel_real *some;    /* [n, cols] x of these rows; x itself where all count */
    keel_real *slope;   /* [n, cols] its gradient, likewise; backward only */
} tiles;

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* index: rows that count, count of them. */
static bool make_tiles(const keel_node *node, bool forward, tiles *out) {
    const keel_token_loss *loss = node->loss;
    const keel_tensor *x = node->x;
    const size_t n = node->count, width = least(TOKENS, loss->vocabulary);
    const bool all = n == x->rows;
    const size_t logits = least(ROWS, n) * width,
                 weights = keel__weight_tile(loss->w, loss->frozen) ? width * x->cols : 0,
                 copy = all ? 0 : n * x->cols;
    keel_real *room = keel__tape_scratch(node->tape, logits + weights + copy * (forward ? 1 : 2));
    if (!room) return false;
    *out = (tiles){.multiply = node->tape->multiply,
                   .loss = loss,
                   .x = x,
                   .row = node->index,
                   .n = n,
                   .cols = x->cols,
                   .width = width,
                   .logits = room,
                   .weights = room + logits,
                   .some = all ? x->data : room + logits + weights};
    if (!forward && x->grad) out->slope = all ? keel__grad_to_add(node->x) : room + logits + weights + copy;
    for (size_t i = 0; !all && i < n; ++i)
        memcpy(out->some + i * x->cols, x->data + (size_t)out->row[i] * x->cols, x->cols * sizeof *room);
    if (!all && out->slope && copy) memset(out->slope, 0, copy * sizeof *room);
    return true;
}

/* Logits of rows first .. first + n - 1 of those that count, and a tile of the vocabulary. */
static void fill_logits(const tiles *t, const keel_real *w, size_t first, size_t n, size_t tokens) {
    t->multiply(false, true, n, tokens, t->cols, 1, t->some + first * t->cols, t->cols, w, t->cols, 0,
                t->logits, tokens);
}

/* ---- forward ---- */

/* Of one row so far. */
typedef struct running {
    keel_real most, target; /* the largest logit, the target's */
    double sum, all;        /* of e^(logit - most); of logits */
} running;

static void take_row(running *r, keel_real *z, size_t from, size_t tokens, size_t target) {
    const keel_real most = keel_largest(z, tokens);
    if (target >= from && target < from + tokens) r->target = z[target - from];
    r->all += keel_sum(z, tokens);
    if (from == 0 || most > r->most) {
        if (from) r->sum *= exp((double)r->most - (double)most);
        r->most = most;
    }
    keel_exp_below(z, tokens, r->most);
    r->sum += keel_sum(z, tokens);
}

static void scan_vocabulary(const tiles *t, running *rows) {
    const keel_token_loss *loss = t->loss;
    for (size_t from = 0, tokens; from < loss->vocabulary; from += tokens) {
        tokens = least(t->width, loss->vocabulary - from);
        const keel_real *w = keel__weight_rows(loss->w, loss->frozen, from, tokens, t->weights);
        for (size_t first = 0, n; first < t->n; first += n) {
            n = least(ROWS, t->n - first);
            fill_logits(t, w, first, n, tokens);
            for (size_t i = 0; i < n; ++i)
                take_row(&rows[first + i], t->logits + i * tokens, from, tokens,
                         (size_t)loss->target[t->row[first + i]]);
        }
    }
}

/* saved: [n] log-sum-exp. */
static void add_up(const keel_node *node, const running *rows) {
    const keel_token_loss *loss = node->loss;
    const double smoothing = (double)loss->smoothing;
    size_t i = 0;
    if (loss->log_prob) memset(loss->log_prob, 0, node->x->rows * sizeof *loss->log_prob);
    for (size_t text = 0; text < loss->n; ++text) {
        double sum = 0;
        for (; i < node->count && node->index[i] < loss->offsets[text + 1]; ++i) {
            const running *r = &rows[i];
            const double all = (double)r->most + log(r->sum), mean = r->all / (double)loss->vocabulary;
            const int32_t row = node->index[i];
            node->saved[i] = (keel_real)all;
            sum += (double)loss->weight[row] *
                   (all - (1 - smoothing) * (double)r->target - (smoothing > 0 ? smoothing * mean : 0));
            if (loss->log_prob) loss->log_prob[row] = (keel_real)((double)r->target - all);
        }
        node->out->data[text] = (keel_real)(sum / (double)loss->divisor);
    }
}

/* ---- backward ---- */

/* z <- factor (softmax - target distribution) within a tile. */
static void slope_row(const keel_token_loss *loss, keel_real *z, size_t from, size_t tokens, size_t target,
                      keel_real all, keel_real factor) {
    const keel_real even = factor * loss->smoothing / (keel_real)loss->vocabulary;
    keel_exp_below(z, tokens, all);
    keel_multiply_by(z, factor, tokens);
    for (size_t v = 0; loss->smoothing > 0 && v < tokens; ++v) z[v] -= even;
    if (target >= from && target < from + tokens) z[target - from] -= factor * (1 - loss->smoothing);
}

static void flow_tile(const tiles *t, const keel_real *w, keel_real *dw, size_t first, size_t n,
                      size_t tokens) {
    if (dw)
        t->multiply(true, false, tokens, t->cols, n, 1, t->logits, tokens, t->some + first * t->cols, t->cols,
                    1, dw, t->cols);
    if (t->slope)
        t->multiply(false, false, n, t->cols, tokens, 1, t->logits, tokens, w, t->cols, 1,
                    t->slope + first * t->cols, t->cols);
}

/* factor [n]: what each row's loss counts. */
static void flow_vocabulary(const keel_node *node, const tiles *t, const keel_real *factor) {
    const keel_token_loss *loss = t->loss;
    keel_real *dw = loss->w ? keel__grad_to_add(loss->w) : NULL;
    for (size_t from = 0, tokens; from < loss->vocabulary; from += tokens) {
        tokens = least(t->width, loss->vocabulary - from);
        const keel_real *w = keel__weight_rows(loss->w, loss->frozen, from, tokens, t->weights);
        for (size_t first = 0, n; first < t->n; first += n) {
            n = least(ROWS, t->n - first);
            fill_logits(t, w, first, n, tokens);
            for (size_t i = 0; i < n; ++i)
                slope_row(loss, t->logits + i * tokens, from, tokens, (size_t)loss->target[t->row[first + i]],
                          node->saved[first + i], factor[first + i]);
            flow_tile(t, w, dw ? dw + from * t->cols : NULL, first, n, tokens);
        }
    }
}

static void token_loss_backward(const keel_node *node) {
    const keel_token_loss *loss = node->loss;
    keel_real *factor = node->saved + node->count;
    tiles t;
    if (!make_tiles(node, false, &t)) return;
    for (size_t text = 0, i = 0; text < loss->n; ++text)
        for (; i < node->count && node->index[i] < loss->offsets[text + 1]; ++i)
            factor[i] = node->out->grad[text] * loss->weight[node->index[i]] / loss->divisor;
    flow_vocabulary(node, &t, factor);
    if (!t.slope || t.n == t.x->rows) return;
    keel_real *dx = keel__grad_to_add(node->x);
    for (size_t i = 0; i < t.n; ++i)
        for (size_t c = 0; c < t.cols; ++c) dx[(size_t)t.row[i] * t.cols + c] += t.slope[i * t.cols + c];
}

/* ---- the operation ---- */

static const char *misfit(const keel_tensor *x, const keel_token_loss *loss) {
    const size_t rows = loss->w ? loss->w->rows : loss->frozen->rows,
                 cols = loss->w ? loss->w->cols : loss->frozen->cols;
    if (cols != x->cols || loss->vocabulary == 0 || loss->vocabulary > rows)
        return "x [R, C], w [V', C] and V do not fit";
    if (loss->offsets[0] != 0 || !keel__offsets_fit(loss->offsets, loss->n, x->rows, 0) ||
        (size_t)loss->offsets[loss->n] != x->rows)
        return "the texts are not all of x";
    for (size_t r = 0; r < x->rows; ++r)
        if (loss->weight[r] != 0 && (loss->target[r] < 0 || (size_t)loss->target[r] >= loss->vocabulary))
            return "a target is outside the vocabulary";
    return NULL;
}

keel_tensor *keel_op_token_loss(keel_tape *tape, keel_tensor *x, const keel_token_loss *loss) {
    if (!x || (!loss->w && !loss->frozen)) return NULL;
    const char *problem = misfit(x, loss);
    if (problem) return keel__tape_refuse(tape, "keel_op_token_loss", problem);
    size_t n = 0;
    int32_t *row = keel__tape_bytes(tape, x->rows * sizeof *row);
    for (size_t r = 0; row && r < x->rows; ++r)
        if (loss->weight[r] != 0) row[n++] = (int32_t)r;
    running *rows = keel__tape_bytes(tape, n * sizeof *rows);
    keel_node node = {.backward = token_loss_backward,
                      .tape = tape,
                      .out = keel__tape_output(tape, loss->n, 1, x->grad || (loss->w && loss->w->grad)),
                      .x = x,
                      .y = loss->w,
                      .index = row,
                      .count = n,
                      .saved = keel__tape_reals(tape, 2 * n + 1),
                      .loss = keel__tape_bytes(tape, sizeof *node.loss)};
    tiles t;
    if (!row || !rows || !node.out || !node.saved || !node.loss) return NULL;
    *node.loss = *loss;
    if (n) memset(rows, 0, n * sizeof *rows);
    if (!make_tiles(&node, true, &t)) return NULL;
    scan_vocabulary(&t, rows);
    add_up(&node, rows);
    return keel__tape_push(tape, node);
}
