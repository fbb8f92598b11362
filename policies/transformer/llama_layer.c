/* The layers of a decoder over some rows, by a team: each phase is cut into tasks, none of which sums over
 * what another has. */
#include <math.h>
#include <string.h>

#include "core/numeric.h"
#include "core/panels_internal.h"
#include "policies/transformer/llama_run_internal.h"

/* Panels and outputs of a task of a product: what stays in the caches meanwhile. */
enum { TASK_PANELS = 12, TASK_OUTPUTS = 48, TASK_INNER = 96 };

static size_t ceil_of(size_t n, size_t by) {
    return (n + by - 1) / by;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Rows of some panels. */
static size_t rows_in(const keel__pass *p, size_t panel, size_t panels) {
    return least(panels * KEEL_PANEL, p->rows - panel * KEEL_PANEL);
}

static const keel_matrix *matrix_of(const keel__pass *p, size_t layer, size_t row) {
    return &p->llama->matrix[keel_llama_row(layer, row)];
}

static const float *vector_of(const keel__pass *p, size_t layer, size_t row) {
    return matrix_of(p, layer, row)->data;
}

/* Inputs of a layer's o and down, which may be narrower than the widest. */
static keel__packed narrow(keel__packed packed, size_t cols) {
    packed.cols = cols;
    return packed;
}

static keel__packed heads_of(const keel__pass *p, size_t layer) {
    const keel_llama_config *c = &p->llama->config;
    return narrow(p->heads, keel_llama_heads(c, layer) * c->head_dim);
}

static keel__packed inner_of(const keel__pass *p, size_t layer) {
    return narrow(p->inner, keel_llama_inner(&p->llama->config, layer));
}

/* What a task works out of a product: outputs from .. to - 1 over panels panel .. panel + panels - 1. */
typedef struct tile {
    size_t panel, panels, from, to;
} tile;

static void pack(const keel__pass *p, const keel__packed *to, const float *x, const tile *t) {
    for (unsigned form = 0; form < KEEL_N_PANEL_FORMS; form++)
        if (p->forms >> form & 1)
            keel_panel_pack(form, x, t->panels, to->cols, t->from, t->to,
                            (char *)to->of[form] + t->panel * keel_panel_packed(form, to->cols));
}

/* All columns of one panel, x. */
static void pack_panel(const keel__pass *p, const keel__packed *to, const float *x, size_t panel) {
    pack(p, to, x, &(tile){panel, 1, 0, to->cols});
}

/* ---- linear layers, with low-rank corrections that are not merged ---- */

static const keel_matrix *lora_of(const keel__pass *p, size_t layer, unsigned target) {
    if (!p->lora || !(p->llama->lora.targets >> target & 1)) return NULL;
    const keel_matrix *a = &p->llama->matrix[keel_llama_lora_row(p->llama, layer, 1u << target)];
    return a->data ? a : NULL;
}

static unsigned target_of(size_t row) {
    unsigned target = 0;
    while (keel__llama_targets[target].row != row) target++;
    return target;
}

/* y += s B (A x). */
static void correct(const keel__pass *p, size_t layer, size_t row, const tile *t, float *spare, float *y) {
    const unsigned target = target_of(row);
    const keel_matrix *a = lora_of(p, layer, target);
    if (!a) return;
    const keel_lora_config *lora = &p->llama->lora;
    const keel_matrix part = keel__matrix_part(a + 1, t->from, t->to);
    const size_t all = a[1].rows, some = (t->to - t->from) * KEEL_PANEL;
    const float factor = (float)keel_lora_factor(lora);
    keel_panel_matrix(p->low[target] + t->panel * lora->rank * KEEL_PANEL, rows_in(p, t->panel, t->panels),
                      &part, NULL, 0, t->to - t->from, spare);
    for (size_t i = 0; i < t->panels; i++)
        for (size_t j = 0; j < some; j++)
            y[(i * all + t->from) * KEEL_PANEL + j] += factor * spare[i * some + j];
}

/* A x of the targets that read `x`; a task is a target and a panel. */
static void lora_down(keel__pass *p, size_t layer, const keel__packed *x, const size_t *rows, size_t task) {
    const unsigned target = target_of(rows[task / p->panels]);
    const keel_matrix *a = lora_of(p, layer, target);
    const size_t panel = task % p->panels;
    if (!a) return;
    keel_panel_matrix(
        (char *)x->of[KEEL_PANEL_FLOATS] + panel * keel_panel_packed(KEEL_PANEL_FLOATS, x->cols),
        rows_in(p, panel, 1), a, NULL, 0, a->rows, p->low[target] + panel * a->rows * KEEL_PANEL);
}

/* The product by a layer's matrix, bias and correction included; y of all panels. */
static void linear(keel__pass *p, size_t layer, size_t row, size_t bias, const keel__packed *x, const tile *t,
                   float *spare, float *y) {
    const keel_matrix *w = matrix_of(p, layer, row);
    const keel_panel_form form = keel_panel_form_of(w);
    const char *input = x->of[form];
    y += t->panel * w->rows * KEEL_PANEL;
    keel_panel_matrix(input + t->panel * keel_panel_packed(form, x->cols), rows_in(p, t->panel, t->panels), w,
                      vector_of(p, layer, bias), t->from, t->to, y);
    if (p->lora) correct(p, layer, row, t, spare, y);
}

/* ---- phases ---- */

static void embed(keel__pass *p, size_t layer, size_t panel, size_t thread) {
    const size_t hidden = p->llama->config.hidden;
    float *row = p->scratch[thread], *x = p->x + panel * hidden * KEEL_PANEL;
    (void)layer;
    memset(x, 0, hidden * KEEL_PANEL * sizeof *x);
    for (size_t r = panel * KEEL_PANEL; r < least((panel + 1) * KEEL_PANEL, p->rows); r++) {
        const int32_t id = p->row[r].id;
        const size_t from = id < 0 ? keel_llama_virtual_row(p->llama) : (size_t)KEEL_LLAMA_EMBED;
        keel_matrix_read_row(&p->llama->matrix[from], (size_t)(id < 0 ? -1 - id : id), row);
        for (size_t c = 0; c < hidden; c++) x[c * KEEL_PANEL + r % KEEL_PANEL] = row[c];
    }
    for (size_t r = panel * KEEL_PANEL; r < least((panel + 1) * KEEL_PANEL, p->rows); r++)
        keel_llama_turn(&p->llama->config, p->row[r].position, p->turn + r * p->llama->config.head_dim);
}

/* x += y, and the norm of it ready for what follows. */
static void norm(keel__pass *p, bool first, const float *gain, size_t panel, size_t thread, float **out) {
    const keel_llama_config *c = &p->llama->config;
    const size_t at = panel * c->hidden * KEEL_PANEL;
    *out = p->normed ? p->normed + at : p->scratch[thread];
    keel_panel_rms_norm(p->x + at, first ? NULL : p->y + at, gain, c->epsilon, 1, c->hidden, *out);
}

static void norm_1(keel__pass *p, size_t layer, size_t panel, size_t thread) {
    float *out;
    norm(p, layer == 0, vector_of(p, layer, KEEL_LLAMA_NORM_1), panel, thread, &out);
    pack_panel(p, &p->hidden, out, panel);
}

static void norm_2(keel__pass *p, size_t layer, size_t panel, size_t thread) {
    float *out;
    norm(p, false, vector_of(p, layer, KEEL_LLAMA_NORM_2), panel, thread, &out);
    pack_panel(p, &p->hidden, out, panel);
}

static void norm_last(keel__pass *p, size_t layer, size_t panel, size_t thread) {
    const keel_llama_config *c = &p->llama->config;
    float *out;
    norm(p, layer == 0, p->llama->matrix[keel_llama_norm(c)].data, panel, thread, &out);
    for (size_t r = panel * KEEL_PANEL; r < least((panel + 1) * KEEL_PANEL, p->rows); r++) {
        float *to = keel__hidden(c, p->texts[p->row[r].feed].pieces, p->row[r].position);
        for (size_t i = 0; i < c->hidden; i++) to[i] = out[i * KEEL_PANEL + r % KEEL_PANEL];
    }
}

/* A head of a row out of a panel, turned by its position. */
static void turn_head(const float *panel, size_t lane, size_t dim, const float *turn, float factor,
                      float *to) {
    const size_t half = dim / 2;
    const float *low = panel + lane, *high = low + half * KEEL_PANEL;
    for (size_t i = 0; i < half; i++) {
        const float a = low[i * KEEL_PANEL], b = high[i * KEEL_PANEL], cosine = turn[i],
                    sine = turn[half + i];
        to[i] = (a * cosine - b * sine) * factor;
        to[half + i] = (b * cosine + a * sine) * factor;
    }
}

static float *keys_at(const keel__pass *p, size_t r, size_t layer, size_t head, bool values, size_t *at) {
    const keel__piece *piece = keel__piece_of(p->texts[p->row[r].feed].pieces, p->row[r].position);
    *at = p->row[r].position - piece->first;
    return (values ? keel__values : keel__keys)(&p->llama->config, piece->block, layer, head);
}

static void put_key(keel__pass *p, size_t r, size_t layer, size_t head, const float *panel, float *turned) {
    const size_t dim = p->llama->config.head_dim;
    size_t at;
    float *to = keys_at(p, r, layer, head, false, &at);
    turn_head(panel, r % KEEL_PANEL, dim, p->turn + r * dim, 1, turned);
    for (size_t i = 0; i < dim; i++) to[keel_panel_at(at, i, dim)] = turned[i];
}

static void put_value(keel__pass *p, size_t r, size_t layer, size_t head, const float *panel) {
    const size_t dim = p->llama->config.head_dim;
    size_t at;
    float *to = keys_at(p, r, layer, head, true, &at);
    to += at * keel__value_width(&p->llama->config);
    for (size_t i = 0; i < dim; i++) to[i] = panel[i * KEEL_PANEL + r % KEEL_PANEL];
}

/* A head of q, k or v over some panels: product, turn, and into its place. */
static void qkv(keel__pass *p, size_t layer, size_t task, size_t thread) {
    const keel_llama_config *c = &p->llama->config;
    const size_t dim = c->head_dim, heads = keel_llama_heads(c, layer),
                 kv_heads = keel_llama_kv_heads(c, layer), group = heads / kv_heads,
                 all = heads + 2 * kv_heads, which = task % all, first = task / all * TASK_PANELS,
                 panels = least(TASK_PANELS, p->panels - first);
    const size_t kind = which < heads              ? 0
                        : which < heads + kv_heads ? 1
                                                   : 2,
                 head = which - (kind > 0 ? heads : 0) - (kind > 1 ? kv_heads : 0),
                 width = (kind ? kv_heads : heads) * dim;
    float *y = kind == 0 ? p->q : kind == 1 ? p->k : p->v, *spare = p->scratch[thread];
    linear(p, layer, KEEL_LLAMA_Q + kind, KEEL_LLAMA_Q_BIAS + kind, &p->hidden,
           &(tile){first, panels, head * dim, (head + 1) * dim}, spare, y);
    const float factor = (float)(1 / sqrt((double)dim));
    for (size_t r = first * KEEL_PANEL; r < least((first + panels) * KEEL_PANEL, p->rows); r++) {
        const float *panel = y + (r / KEEL_PANEL * width + head * dim) * KEEL_PANEL;
        if (kind == 0)
            turn_head(panel, r % KEEL_PANEL, dim, p->turn + r * dim, factor,
                      p->queries + ((head / group * p->rows + r) * group + head % group) * dim);
        else if (kind == 1)
            put_key(p, r, layer, head, panel, spare);
        else
            put_value(p, r, layer, head, panel);
    }
}

/* Attention of the rows of one text in one panel, for the query heads of one head of keys and values: first
 * .. first + n - 1, the last of them at position end - 1. */
typedef struct attention {
    const keel__text *text;
    size_t layer, head, first, n, end, stride;
    float *scores, *seen; /* [n * group][stride], [n * group][value_width] */
} attention;

static void score(const keel__pass *p, const attention *a) {
    const keel_llama_config *c = &p->llama->config;
    const size_t dim = c->head_dim, group = c->heads / c->kv_heads;
    for (size_t i = 0; i < a->text->n_pieces && a->text->pieces[i].first < a->end; i++) {
        const keel__piece *piece = &a->text->pieces[i];
        const keel__product product = {.x = keel__keys(c, piece->block, a->layer, a->head),
                                       .w = p->queries + (a->head * p->rows + a->first) * group * dim,
                                       .y = a->scores + piece->first,
                                       .in = dim,
                                       .out = a->n * group,
                                       .x_panel = dim * KEEL_PANEL,
                                       .x_step = KEEL_PANEL,
                                       .w_row = dim,
                                       .w_step = 1,
                                       .y_panel = KEEL_PANEL,
                                       .y_step = a->stride};
        keel__panel_multiply(&product, keel_panels(least(piece->count, a->end - piece->first)));
    }
}

static void mix(const keel__pass *p, const attention *a) {
    const keel_llama_config *c = &p->llama->config;
    const size_t width = keel__value_width(c), group = c->heads / c->kv_heads;
    for (size_t i = 0; i < a->text->n_pieces && a->text->pieces[i].first < a->end; i++) {
        const keel__piece *piece = &a->text->pieces[i];
        const keel__product product = {.x = keel__values(c, piece->block, a->layer, a->head),
                                       .w = a->scores + piece->first,
                                       .y = a->seen,
                                       .in = least(piece->count, a->end - piece->first),
                                       .out = a->n * group,
                                       .x_panel = KEEL_PANEL,
                                       .x_step = width,
                                       .w_row = a->stride,
                                       .w_step = 1,
                                       .y_panel = KEEL_PANEL,
                                       .y_step = width,
                                       .more = i > 0};
        keel__panel_multiply(&product, width / KEEL_PANEL);
    }
}

/* e^(score - largest) of the positions that the row may see, 0 for those behind it; their sum. */
static double soften(float *scores, size_t seen, size_t end) {
    keel_exp_below(scores, seen, keel_largest(scores, seen));
    memset(scores + seen, 0, (end - seen) * sizeof *scores);
    return keel_sum(scores, seen);
}

static void attend_text(keel__pass *p, const attention *a) {
    const keel_llama_config *c = &p->llama->config;
    const size_t dim = c->head_dim, group = c->heads / c->kv_heads, width = keel__value_width(c),
                 cols = keel_llama_heads(c, a->layer) * dim;
    score(p, a);
    for (size_t i = 0; i < a->n * group; i++) {
        float *row = a->scores + i * a->stride;
        const size_t seen = p->row[a->first + i / group].position + 1;
        row[a->stride - 1] = (float)(1 / soften(row, seen, a->end));
    }
    mix(p, a);
    for (size_t i = 0; i < a->n * group; i++) {
        const size_t r = a->first + i / group, head = a->head * group + i % group;
        const float factor = a->scores[(i + 1) * a->stride - 1];
        float *to = p->seen + keel_panel_at(r, head * dim, cols);
        for (size_t d = 0; d < dim; d++) to[d * KEEL_PANEL] = a->seen[i * width + d] * factor;
    }
}

/* Floats of a row of scores: sixteen are written at a time, and the last keeps a factor. */
static size_t score_stride(const keel__pass *p) {
    return (keel_panels(p->most_positions) + 2) * KEEL_PANEL;
}

static void attend(keel__pass *p, size_t layer, size_t task, size_t thread) {
    const keel_llama_config *c = &p->llama->config;
    const size_t kv_heads = keel_llama_kv_heads(c, layer), head = task % kv_heads, panel = task / kv_heads,
                 end = least((panel + 1) * KEEL_PANEL, p->rows), group = c->heads / c->kv_heads;
    attention a = {.layer = layer, .head = head, .stride = score_stride(p), .scores = p->scratch[thread]};
    a.seen = a.scores + KEEL_PANEL * group * a.stride;
    for (size_t r = panel * KEEL_PANEL; r < end; r += a.n) {
        for (a.n = 1; r + a.n < end && p->row[r + a.n].feed == p->row[r].feed;) a.n++;
        a.first = r;
        a.end = p->row[r + a.n - 1].position + 1;
        a.text = &p->texts[p->row[r].feed];
        attend_text(p, &a);
    }
}

static void pack_seen(keel__pass *p, size_t layer, size_t panel, size_t thread) {
    const keel__packed heads = heads_of(p, layer);
    (void)thread;
    pack_panel(p, &heads, p->seen + panel * heads.cols * KEEL_PANEL, panel);
}

static void to_hidden(keel__pass *p, size_t layer, size_t row, size_t bias, const keel__packed *x,
                      size_t task, size_t thread) {
    const size_t hidden = p->llama->config.hidden, chunks = ceil_of(hidden, TASK_OUTPUTS),
                 from = task % chunks * TASK_OUTPUTS, first = task / chunks * TASK_PANELS;
    const tile t = {first, least(TASK_PANELS, p->panels - first), from, least(from + TASK_OUTPUTS, hidden)};
    linear(p, layer, row, bias, x, &t, p->scratch[thread], p->y);
}

static void attention_out(keel__pass *p, size_t layer, size_t task, size_t thread) {
    const keel__packed heads = heads_of(p, layer);
    to_hidden(p, layer, KEEL_LLAMA_O, KEEL_LLAMA_O_BIAS, &heads, task, thread);
}

static void down(keel__pass *p, size_t layer, size_t task, size_t thread) {
    const keel__packed inner = inner_of(p, layer);
    to_hidden(p, layer, KEEL_LLAMA_DOWN, KEEL_LLAMA_DOWN_BIAS, &inner, task, thread);
}

static void gate_up(keel__pass *p, size_t layer, size_t task, size_t thread) {
    const keel__packed packed = inner_of(p, layer);
    const size_t inner = packed.cols, chunks = ceil_of(inner, TASK_INNER), from = task % chunks * TASK_INNER,
                 first = task / chunks * TASK_PANELS;
    const tile t = {first, least(TASK_PANELS, p->panels - first), from, least(from + TASK_INNER, inner)};
    float *spare = p->scratch[thread];
    linear(p, layer, KEEL_LLAMA_GATE, KEEL_LLAMA_GATE_BIAS, &p->hidden, &t, spare, p->gate);
    linear(p, layer, KEEL_LLAMA_UP, KEEL_LLAMA_UP_BIAS, &p->hidden, &t, spare, p->up);
    for (size_t i = first; i < first + t.panels; i++) {
        const size_t at = (i * inner + from) * KEEL_PANEL;
        keel_silu_times(p->gate + at, p->up + at, (t.to - from) * KEEL_PANEL, p->gate + at);
    }
    if (!(p->forms >> KEEL_PANEL_ROWS & 1)) pack(p, &packed, p->gate + first * inner * KEEL_PANEL, &t);
}

/* Where scales are of whole rows, these must be there first. */
static void pack_inner(keel__pass *p, size_t layer, size_t panel, size_t thread) {
    const keel__packed inner = inner_of(p, layer);
    (void)thread;
    pack_panel(p, &inner, p->gate + panel * inner.cols * KEEL_PANEL, panel);
}

/* ---- all of it ---- */

typedef void phase(keel__pass *p, size_t layer, size_t task, size_t thread);

static void go(keel__pass *p, keel_team *team, size_t thread, phase *of, size_t layer, size_t tasks) {
    for (size_t task; keel_team_take(team, tasks, &task);) of(p, layer, task, thread);
    keel_team_wait(team);
}

/* A phase of one task: nobody goes on meanwhile. */
static void tell(const keel__pass *p, keel_team *team, size_t layer, size_t row, const float *x,
                 size_t cols) {
    const keel_observer *observer = p->llama->observer;
    if (!observer) return;
    for (size_t task; keel_team_take(team, 1, &task);)
        observer->see(observer->context, keel_llama_row(layer, row), x, p->rows, cols);
    keel_team_wait(team);
}

static void go_down(keel__pass *p, keel_team *team, size_t layer, const keel__packed *x, const size_t *rows,
                    size_t n) {
    if (!p->lora) return;
    for (size_t task; keel_team_take(team, n * p->panels, &task);) lora_down(p, layer, x, rows, task);
    keel_team_wait(team);
}

size_t keel__pass_scratch(const keel__pass *p) {
    const keel_llama_config *c = &p->llama->config;
    const size_t group = c->heads / c->kv_heads,
                 outputs = c->head_dim > TASK_INNER ? c->head_dim : TASK_INNER,
                 scores = KEEL_PANEL * group * (score_stride(p) + keel__value_width(c)),
                 spare = TASK_PANELS * outputs * KEEL_PANEL, panel = c->hidden * KEEL_PANEL;
    return scores > panel ? scores > spare ? scores : spare : panel > spare ? panel : spare;
}

void keel__pass_run(keel__pass *p, keel_team *team, size_t thread) {
    static const size_t reads_1[] = {KEEL_LLAMA_Q, KEEL_LLAMA_K, KEEL_LLAMA_V}, reads_seen[] = {KEEL_LLAMA_O},
                        reads_2[] = {KEEL_LLAMA_GATE, KEEL_LLAMA_UP}, reads_inner[] = {KEEL_LLAMA_DOWN};
    const keel_llama_config *c = &p->llama->config;
    const size_t blocks = ceil_of(p->panels, TASK_PANELS),
                 to_hidden_tasks = blocks * ceil_of(c->hidden, TASK_OUTPUTS);
    go(p, team, thread, embed, 0, p->panels);
    for (size_t l = 0; l < c->layers; l++) {
        const keel__packed heads = heads_of(p, l), inner = inner_of(p, l);
        const size_t kv_heads = keel_llama_kv_heads(c, l);
        go(p, team, thread, norm_1, l, p->panels);
        tell(p, team, l, KEEL_LLAMA_Q, p->normed, p->hidden.cols);
        go_down(p, team, l, &p->hidden, reads_1, 3);
        go(p, team, thread, qkv, l, blocks * (keel_llama_heads(c, l) + 2 * kv_heads));
        go(p, team, thread, attend, l, p->panels * kv_heads);
        go(p, team, thread, pack_seen, l, p->panels);
        tell(p, team, l, KEEL_LLAMA_O, p->seen, heads.cols);
        go_down(p, team, l, &heads, reads_seen, 1);
        go(p, team, thread, attention_out, l, to_hidden_tasks);
        go(p, team, thread, norm_2, l, p->panels);
        tell(p, team, l, KEEL_LLAMA_GATE, p->normed, p->hidden.cols);
        go_down(p, team, l, &p->hidden, reads_2, 2);
        go(p, team, thread, gate_up, l, blocks * ceil_of(inner.cols, TASK_INNER));
        tell(p, team, l, KEEL_LLAMA_DOWN, p->gate, inner.cols);
        if (p->forms >> KEEL_PANEL_ROWS & 1) go(p, team, thread, pack_inner, l, p->panels);
        go_down(p, team, l, &inner, reads_inner, 1);
        go(p, team, thread, down, l, to_hidden_tasks);
    }
    go(p, team, thread, norm_last, c->layers, p->panels);
}
