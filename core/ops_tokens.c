/* Cross-entropy over a vocabulary, in tiles of rows and of the vocabulary: a tile of logits stays in the
 * cache and nothing of them is kept. Forward keeps the log-sum-exp of each row that counts; backward works
 * the logits out again. */
#include <tgmath.h>

#include "core/numeric.h"
#include "core/tape_internal.h"

enum { ROWS = 256, TOKENS = 1024 };

/* What logits are worked out of: the model's states and weights, or the teacher's. */
typedef struct side {
    const keel_tensor *w;
    const keel_matrix *frozen; /* where w is NULL */
    size_t cols;
    const keel_real *some; /* [n, cols] states of rows that count: all where all do */
    keel_real *logits;     /* [ROWS, width] */
    keel_real *weights;    /* of a tile where they have to be widened */
} side;

/* The rows that count, one after the other, and room. */
typedef struct tiles {
    keel__multiply *multiply;
    const keel_token_loss *loss;
    const int32_t *row; /* [n] of x */
    size_t n, width;
    side own, teacher; /* teacher.cols 0: none */
    keel_real *soft;   /* [2, width] with a teacher */
    keel_real *slope;  /* [n, own.cols] gradient of these rows' states, or of all; backward only */
} tiles;

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* What one side takes of the scratch. */
static size_t room_of(const side *s, size_t n, size_t width, bool all) {
    return least(ROWS, n) * width + (keel__weight_tile(s->w, s->frozen) ? width * s->cols : 0) +
           (all ? 0 : n * s->cols);
}

/* Gives a side its room, and the states x of the rows that count. Where the room ends. */
static keel_real *settle(const tiles *t, side *s, const keel_real *x, bool all, keel_real *room) {
    keel_real *copy;
    s->logits = room;
    s->weights = room + least(ROWS, t->n) * t->width;
    copy = s->weights + (keel__weight_tile(s->w, s->frozen) ? t->width * s->cols : 0);
    s->some = all ? x : copy;
    for (size_t i = 0; !all && i < t->n; ++i)
        memcpy(copy + i * s->cols, x + (size_t)t->row[i] * s->cols, s->cols * sizeof *copy);
    return all ? copy : copy + t->n * s->cols;
}

/* index: rows that count, count of them. */
static bool make_tiles(const keel_node *node, bool forward, tiles *out) {
    const keel_token_loss *loss = node->loss;
    const keel_token_teacher *teacher = loss->teacher;
    const keel_tensor *x = node->x;
    const size_t n = node->count, width = least(TOKENS, loss->vocabulary);
    const bool all = n == x->rows;
    const size_t slope = !forward && !all ? n * x->cols : 0;
    *out =
        (tiles){.multiply = node->tape->multiply, .loss = loss, .row = node->index, .n = n, .width = width};
    out->own = (side){.w = loss->w, .frozen = loss->frozen, .cols = x->cols};
    if (teacher) out->teacher = (side){.frozen = teacher->w, .cols = teacher->w->cols};
    size_t total = room_of(&out->own, n, width, all) + slope;
    if (teacher) total += room_of(&out->teacher, n, width, all) + 2 * width;
    keel_real *room = keel__tape_scratch(node->tape, total);
    if (!room) return false;
    room = settle(out, &out->own, x->data, all, room);
    if (!forward && x->grad) out->slope = all ? keel__grad_to_add(node->x) : room;
    if (out->slope && slope) memset(out->slope, 0, slope * sizeof *room);
    if (!teacher) return true;
    out->soft = settle(out, &out->teacher, teacher->x, all, room + slope);
    return true;
}

/* Logits of rows first .. first + n - 1 of those that count, and a tile of the vocabulary. */
static void fill_logits(const tiles *t, const side *s, const keel_real *w, size_t first, size_t n,
                        size_t tokens) {
    t->multiply(false, true, n, tokens, s->cols, 1, s->some + first * s->cols, s->cols, w, s->cols, 0,
                s->logits, tokens);
}

/* The weights of a tile of the vocabulary; NULL: there is no such side. */
static const keel_real *tile_of(const side *s, size_t from, size_t tokens) {
    return s->cols ? keel__weight_rows(s->w, s->frozen, from, tokens, s->weights) : NULL;
}

/* ---- forward ---- */

/* Of one row so far. */
typedef struct running {
    keel_real most, target; /* the largest logit, the target's */
    double sum, all;        /* of e^(logit - most); of logits */
} running;

/* Of one row with a teacher so far, logits divided by the temperature. */
typedef struct lesson {
    keel_real most, teacher_most; /* the largest logit, the teacher's */
    double sum, teacher_sum;      /* of e^(logit - most) */
    double apart; /* sum of e^(teacher's logit - its most) times what it is above the student's */
} lesson;

/* Takes the largest of z into account: what sums of e^(z - most) so far are to be multiplied by. */
static double raise(keel_real *most, const keel_real *z, size_t n, bool first) {
    const keel_real here = keel_largest(z, n), before = *most;
    if (!first && !(here > before)) return 1;
    *most = here;
    return first ? 0 : exp((double)before - (double)here);
}

static void take_row(running *r, keel_real *z, size_t from, size_t tokens, size_t target) {
    if (target >= from && target < from + tokens) r->target = z[target - from];
    r->all += keel_sum(z, tokens);
    r->sum *= raise(&r->most, z, tokens, from == 0);
    keel_exp_below(z, tokens, r->most);
    r->sum += keel_sum(z, tokens);
}

/* z stays as it is; u, the teacher's logits, does not. */
static void take_taught(const tiles *t, lesson *r, const keel_real *z, keel_real *u, size_t from,
                        size_t tokens) {
    const keel_real cool = 1 / t->loss->teacher->temperature;
    keel_real *soft = t->soft, *above = soft + t->width;
    for (size_t v = 0; v < tokens; ++v) {
        u[v] *= cool;
        soft[v] = z[v] * cool;
        above[v] = u[v] - soft[v];
    }
    r->sum *= raise(&r->most, soft, tokens, from == 0);
    keel_exp_below(soft, tokens, r->most);
    r->sum += keel_sum(soft, tokens);
    const double lower = raise(&r->teacher_most, u, tokens, from == 0);
    keel_exp_below(u, tokens, r->teacher_most);
    r->teacher_sum = r->teacher_sum * lower + keel_sum(u, tokens);
    r->apart = r->apart * lower + keel_dot(u, above, tokens);
}

/* taught [n] or NULL: there is no teacher. */
static void scan_vocabulary(const tiles *t, running *rows, lesson *taught) {
    const keel_token_loss *loss = t->loss;
    for (size_t from = 0, tokens; from < loss->vocabulary; from += tokens) {
        tokens = least(t->width, loss->vocabulary - from);
        const keel_real *w = tile_of(&t->own, from, tokens), *v = tile_of(&t->teacher, from, tokens);
        for (size_t first = 0, n; first < t->n; first += n) {
            n = least(ROWS, t->n - first);
            fill_logits(t, &t->own, w, first, n, tokens);
            if (taught) fill_logits(t, &t->teacher, v, first, n, tokens);
            for (size_t i = 0; i < n; ++i) {
                keel_real *z = t->own.logits + i * tokens;
                if (taught)
                    take_taught(t, &taught[first + i], z, t->teacher.logits + i * tokens, from, tokens);
                take_row(&rows[first + i], z, from, tokens, (size_t)loss->target[t->row[first + i]]);
            }
        }
    }
}

/* saved [4, n]: log-sum-exp; room for backward; log-sum-exp of logits by the temperature, of the teacher's.
 * KL(teacher || student) of row i. */
static double keep_taught(const keel_node *node, const lesson *r, size_t i) {
    const double all = (double)r->most + log(r->sum), other = (double)r->teacher_most + log(r->teacher_sum);
    node->saved[2 * node->count + i] = (keel_real)all;
    node->saved[3 * node->count + i] = (keel_real)other;
    return r->apart / r->teacher_sum - other + all;
}

/* What the i-th row that counts costs. */
static double cost_of(const keel_node *node, const running *r, const lesson *taught, size_t i) {
    const keel_token_loss *loss = node->loss;
    const keel_token_teacher *teacher = loss->teacher;
    const double smoothing = (double)loss->smoothing, all = (double)r->most + log(r->sum),
                 mean = r->all / (double)loss->vocabulary,
                 cost = all - (1 - smoothing) * (double)r->target - (smoothing > 0 ? smoothing * mean : 0);
    const int32_t row = node->index[i];
    node->saved[i] = (keel_real)all;
    if (loss->log_prob) loss->log_prob[row] = (keel_real)((double)r->target - all);
    if (!teacher) return (double)loss->weight[row] * cost;
    const double share = (double)teacher->share, t = (double)teacher->temperature;
    return (double)loss->weight[row] *
           ((1 - share) * cost + share * t * t * keep_taught(node, &taught[i], i));
}

static void add_up(const keel_node *node, const running *rows, const lesson *taught) {
    const keel_token_loss *loss = node->loss;
    size_t i = 0;
    if (loss->log_prob) memset(loss->log_prob, 0, node->x->rows * sizeof *loss->log_prob);
    for (size_t text = 0; text < loss->n; ++text) {
        double sum = 0;
        for (; i < node->count && node->index[i] < loss->offsets[text + 1]; ++i)
            sum += cost_of(node, &rows[i], taught, i);
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

/* z += share T (student - teacher) of distributions by the temperature, times factor; `soft` is the row of
 * logits by it, u the teacher's logits. */
static void slope_taught(const keel_node *node, const tiles *t, keel_real *z, keel_real *u, size_t i,
                         size_t tokens, keel_real factor) {
    const keel_token_teacher *teacher = t->loss->teacher;
    const keel_real cool = 1 / teacher->temperature, more = factor * teacher->share * teacher->temperature;
    keel_multiply_by(u, cool, tokens);
    keel_exp_below(t->soft, tokens, node->saved[2 * node->count + i]);
    keel_exp_below(u, tokens, node->saved[3 * node->count + i]);
    for (size_t v = 0; v < tokens; ++v) z[v] += more * (t->soft[v] - u[v]);
}

/* The gradient by the logits of row i of those that count, of which the tile holds z. */
static void slope_of(const keel_node *node, const tiles *t, keel_real *z, keel_real *u, size_t i, size_t from,
                     size_t tokens, keel_real factor) {
    const keel_token_teacher *teacher = t->loss->teacher;
    const keel_real own = teacher ? factor * (1 - teacher->share) : factor;
    for (size_t v = 0; teacher && v < tokens; ++v) t->soft[v] = z[v] * (1 / teacher->temperature);
    slope_row(t->loss, z, from, tokens, (size_t)t->loss->target[t->row[i]], node->saved[i], own);
    if (teacher) slope_taught(node, t, z, u, i, tokens, factor);
}

static void flow_tile(const tiles *t, const keel_real *w, keel_real *dw, size_t first, size_t n,
                      size_t tokens) {
    const size_t cols = t->own.cols;
    if (dw)
        t->multiply(true, false, tokens, cols, n, 1, t->own.logits, tokens, t->own.some + first * cols, cols,
                    1, dw, cols);
    if (t->slope)
        t->multiply(false, false, n, cols, tokens, 1, t->own.logits, tokens, w, cols, 1,
                    t->slope + first * cols, cols);
}

/* factor [n]: what each row's loss counts. */
static void flow_vocabulary(const keel_node *node, const tiles *t, const keel_real *factor) {
    const keel_token_loss *loss = node->loss;
    keel_real *dw = loss->w ? keel__grad_to_add(loss->w) : NULL;
    for (size_t from = 0, tokens; from < loss->vocabulary; from += tokens) {
        tokens = least(t->width, loss->vocabulary - from);
        const keel_real *w = tile_of(&t->own, from, tokens), *v = tile_of(&t->teacher, from, tokens);
        for (size_t first = 0, n; first < t->n; first += n) {
            n = least(ROWS, t->n - first);
            fill_logits(t, &t->own, w, first, n, tokens);
            if (v) fill_logits(t, &t->teacher, v, first, n, tokens);
            for (size_t i = 0; i < n; ++i)
                slope_of(node, t, t->own.logits + i * tokens, v ? t->teacher.logits + i * tokens : NULL,
                         first + i, from, tokens, factor[first + i]);
            flow_tile(t, w, dw ? dw + from * t->own.cols : NULL, first, n, tokens);
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
    if (!t.slope || t.n == node->x->rows) return;
    keel_real *dx = keel__grad_to_add(node->x);
    for (size_t i = 0; i < t.n; ++i)
        for (size_t c = 0; c < t.own.cols; ++c)
            dx[(size_t)t.row[i] * t.own.cols + c] += t.slope[i * t.own.cols + c];
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
    if (loss->teacher && (loss->teacher->w->rows < loss->vocabulary || !(loss->teacher->temperature > 0)))
        return "the teacher has fewer tokens, or no temperature";
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
    lesson *taught = loss->teacher ? keel__tape_bytes(tape, n * sizeof *taught) : NULL;
    keel_node node = {.backward = token_loss_backward,
                      .tape = tape,
                      .out = keel__tape_output(tape, loss->n, 1, x->grad || (loss->w && loss->w->grad)),
                      .x = x,
                      .y = loss->w,
                      .index = row,
                      .count = n,
                      .saved = keel__tape_reals(tape, (loss->teacher ? 4 : 2) * n + 1),
                      .loss = keel__tape_bytes(tape, sizeof *node.loss)};
    tiles t;
    if (!row || !rows || !node.out || !node.saved || !node.loss || (loss->teacher && !taught)) return NULL;
    *node.loss = *loss;
    if (n) memset(rows, 0, n * sizeof *rows);
    if (n && taught) memset(taught, 0, n * sizeof *taught);
    if (!make_tiles(&node, true, &t)) return NULL;
    scan_vocabulary(&t, rows, taught);
    add_up(&node, rows, taught);
    return keel__tape_push(tape, node);
}
