/* From hidden vectors to logits and log-probabilities, a part of the vocabulary at a time. */
#include <math.h>
#include <string.h>

#include "core/numeric.h"
#include "policies/transformer/llama_run_internal.h"

/* Tokens of a part, which are cut the same whoever works on them; panels of rows at once. */
enum { PART = 512, PANELS = 12 };

keel_matrix keel__matrix_part(const keel_matrix *matrix, size_t from, size_t to) {
    keel_matrix part = *matrix;
    part.rows = to - from;
    part.data = (const char *)matrix->data + from * keel_matrix_row_bytes(matrix->type, matrix->cols);
    return part;
}

typedef struct head {
    const keel_llama *llama;
    const keel_matrix *matrix;
    size_t vocab, parts;
    const keel__wanted *wanted; /* of these panels */
    size_t n, panels;
    void *packed;
    float *most;     /* [part][panel][16]: of each row, the part's largest logit */
    double *sum;     /* [part][panel][16]: of e^(logit - most) */
    float *target;   /* [panel][16]: logit of the row's target */
    float **scratch; /* [thread][PANELS][PART][16] */
} head;

static void pack_panel(head *h, size_t panel, size_t thread) {
    const size_t cols = h->matrix->cols;
    float *x = h->scratch[thread];
    memset(x, 0, cols * KEEL_PANEL * sizeof *x);
    for (size_t r = panel * KEEL_PANEL; r < h->n && r < (panel + 1) * KEEL_PANEL; r++)
        for (size_t c = 0; c < cols; c++) x[c * KEEL_PANEL + r % KEEL_PANEL] = h->wanted[r].hidden[c];
    keel_panel_pack(keel_panel_form_of(h->matrix), x, 1, cols, 0, cols,
                    (char *)h->packed + panel * keel_panel_packed(keel_panel_form_of(h->matrix), cols));
}

/* What the part's logits of a panel are wanted for. */
static void take_panel(head *h, size_t part, size_t panel, size_t first, size_t some, const float *logits) {
    const size_t at = (part * h->panels + panel) * KEEL_PANEL;
    bool summed = false;
    for (size_t lane = 0, r = panel * KEEL_PANEL; lane < KEEL_PANEL && r < h->n; lane++, r++) {
        const keel__wanted *w = &h->wanted[r];
        summed = summed || w->log_prob;
        for (size_t o = 0; w->logits && o < some; o++) w->logits[first + o] = logits[o * KEEL_PANEL + lane];
        if (w->log_prob && (size_t)w->target >= first && (size_t)w->target < first + some)
            h->target[r] = logits[((size_t)w->target - first) * KEEL_PANEL + lane];
    }
    if (summed) keel_sum_columns(logits, some, h->most + at, h->sum + at);
}

static void multiply_part(head *h, size_t part, size_t thread) {
    const size_t first = part * PART, some = h->vocab - first < PART ? h->vocab - first : PART;
    const keel_matrix rows = keel__matrix_part(h->matrix, first, first + some);
    float *y = h->scratch[thread];
    keel_panel_matrix(h->packed, h->n, &rows, NULL, 0, some, y);
    for (size_t i = 0; i < h->panels; i++) take_panel(h, part, i, first, some, y + i * some * KEEL_PANEL);
}

/* Parts are added up in their order. */
static void finish_row(head *h, size_t r) {
    const keel__wanted *w = &h->wanted[r];
    for (size_t o = h->vocab; w->logits && o < h->llama->config.vocab; o++) w->logits[o] = -INFINITY;
    if (!w->log_prob) return;
    double most = -INFINITY, sum = 0;
    for (size_t part = 0; part < h->parts; part++)
        most = fmax(most, (double)h->most[part * h->panels * KEEL_PANEL + r]);
    for (size_t part = 0; part < h->parts; part++) {
        const size_t at = part * h->panels * KEEL_PANEL + r;
        sum += h->sum[at] * exp((double)h->most[at] - most);
    }
    const bool real = (size_t)w->target < h->vocab;
    *w->log_prob = real ? (float)((double)h->target[r] - most - log(sum)) : -INFINITY;
}

/* A panel whose other lanes are 0, by the row of the matrix. */
static void tell(const head *h, size_t panel) {
    const keel_observer *observer = h->llama->observer;
    const size_t rows = h->n - panel * KEEL_PANEL;
    observer->see(observer->context, (size_t)(h->matrix - h->llama->matrix), h->scratch[0],
                  rows < KEEL_PANEL ? rows : KEEL_PANEL, h->matrix->cols);
}

static void work(void *context, keel_team *team, size_t thread) {
    head *h = context;
    size_t task;
    while (keel_team_take(team, h->panels, &task)) pack_panel(h, task, thread);
    keel_team_wait(team);
    while (keel_team_take(team, h->parts, &task)) multiply_part(h, task, thread);
    keel_team_wait(team);
    while (keel_team_take(team, h->n, &task)) finish_row(h, task);
    keel_team_wait(team);
}

static keel_status make_room(head *h, size_t n, keel_pool *pool, keel_arena *scratch, keel_err *err) {
    const size_t threads = pool ? keel_pool_threads(pool) : 1,
                 panels = keel_panels(n) < PANELS ? keel_panels(n) : PANELS, lanes = panels * KEEL_PANEL,
                 cols = h->matrix->cols, room = (panels * PART > cols ? panels * PART : cols) * KEEL_PANEL;
    h->packed = keel_arena_alloc(scratch, panels * keel_panel_packed(keel_panel_form_of(h->matrix), cols));
    h->most = keel_arena_alloc(scratch, h->parts * lanes * sizeof *h->most);
    h->sum = keel_arena_alloc(scratch, h->parts * lanes * sizeof *h->sum);
    h->target = keel_arena_alloc(scratch, lanes * sizeof *h->target);
    h->scratch = keel_arena_alloc(scratch, threads * sizeof *h->scratch);
    bool there = h->packed && h->most && h->sum && h->target && h->scratch;
    for (size_t t = 0; there && t < threads; t++)
        there = (h->scratch[t] = keel_arena_alloc(scratch, room * sizeof(float))) != NULL;
    return there ? KEEL_OK : keel_nomem(err, "decoder");
}

/* A product may still be too large for a float, though what goes into it is not. */
static keel_status check_finite(const head *h, const keel__wanted *wanted, size_t n, keel_err *err) {
    for (size_t i = 0; i < n; i++) {
        const keel__wanted *w = &wanted[i];
        const bool known = (size_t)w->target < h->vocab;
        if ((!w->logits || keel_all_finite(w->logits, h->vocab)) &&
            (!w->log_prob || !known || isfinite(*w->log_prob)))
            continue;
        return keel_fail(err, KEEL_E_INVALID, "decoder",
                         "logits are not finite: the weights are not finite, or too large");
    }
    return KEEL_OK;
}

keel_status keel__head_run(const keel_llama *llama, const keel__wanted *wanted, size_t n, keel_pool *pool,
                           keel_arena *scratch, keel_err *err) {
    const keel_llama_config *c = &llama->config;
    const size_t known = llama->tokenizer ? keel_tokenizer_size(llama->tokenizer) : c->vocab;
    head h = {.llama = llama,
              .matrix = &llama->matrix[c->tied ? (size_t)KEEL_LLAMA_EMBED : keel_llama_head(c)],
              .vocab = known < c->vocab ? known : c->vocab};
    if (n == 0) return KEEL_OK;
    h.parts = (h.vocab + PART - 1) / PART;
    KEEL_TRY(make_room(&h, n, pool, scratch, err));
    for (size_t first = 0; first < n; first += h.n) {
        h.n = n - first < PANELS * KEEL_PANEL ? n - first : PANELS * KEEL_PANEL;
        h.panels = keel_panels(h.n);
        h.wanted = wanted + first;
        for (size_t panel = 0; llama->observer && panel < h.panels; panel++)
            pack_panel(&h, panel, 0), tell(&h, panel);
        KEEL_TRY(keel_team_run(pool, work, &h, err));
    }
    return check_finite(&h, wanted, n, err);
}
