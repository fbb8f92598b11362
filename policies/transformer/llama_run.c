#include "policies/transformer/llama_run.h"

#include <string.h>

#include "core/interrupt.h"
#include "core/numeric.h"
#include "policies/transformer/llama_run_internal.h"

/* ---- what is asked for ---- */

static keel_status check_feed(const keel_llama *llama, const keel_llama_feed *feed, size_t i, keel_err *err) {
    const keel_llama_config *c = &llama->config;
    keel_llama_sequence *s = feed->sequence;
    const size_t before = s->length + s->unread;
    if (s->llama != llama || s->fed)
        return keel_fail(err, KEEL_E_USAGE, "decoder", "feed %zu: its text %s", i,
                         s->fed ? "is in another feed too" : "is of another model");
    s->fed = true;
    if (feed->n > c->positions || before > c->positions - feed->n)
        return keel_fail(err, KEEL_E_INVALID, "decoder",
                         "feed %zu: a text of %zu tokens: the model has %zu positions", i, before + feed->n,
                         c->positions);
    if (feed->n == 0 && feed->logits && keel_llama_sequence_length(s) + llama->n_virtual == 0)
        return keel_fail(err, KEEL_E_INVALID, "decoder", "feed %zu: logits of an empty text", i);
    for (size_t t = 0; t < feed->n; t++)
        if (feed->id[t] < 0 || (size_t)feed->id[t] >= c->vocab)
            return keel_fail(err, KEEL_E_INVALID, "decoder", "feed %zu, token %zu: id %d is out of range", i,
                             t, (int)feed->id[t]);
    return KEEL_OK;
}

static keel_status check_feeds(const keel_llama *llama, const keel_llama_feed *feeds, size_t n,
                               keel_err *err) {
    keel_status status = KEEL_OK;
    size_t checked = 0;
    for (size_t i = 0; i < n; i++) feeds[i].sequence->fed = false;
    for (; status == KEEL_OK && checked < n; checked++)
        status = check_feed(llama, &feeds[checked], checked, err);
    for (size_t i = 0; i < n; i++) feeds[i].sequence->fed = false;
    return status;
}

/* A text with nothing to read, whose virtual tokens are unread, has them read where its logits are wanted. */
static size_t rows_of(const keel_llama_feed *feed) {
    return feed->n || feed->logits ? feed->sequence->unread + feed->n : 0;
}

/* Room for what each text will hold, its pieces, and all rows in order. */
static keel_status lay_out(const keel_llama_feed *feeds, size_t n, keel_arena *scratch, keel__text *texts,
                           keel__row **rows, size_t *n_rows, keel_err *err) {
    size_t count = 0, at = 0;
    for (size_t i = 0; i < n; i++) {
        const keel_llama_sequence *s = feeds[i].sequence;
        KEEL_TRY(keel__sequence_reserve(feeds[i].sequence, s->length + rows_of(&feeds[i]), err));
        texts[i].pieces =
            keel__sequence_pieces(s, s->length + rows_of(&feeds[i]), scratch, &texts[i].n_pieces);
        if (!texts[i].pieces) return keel_nomem(err, "decoder");
        count += rows_of(&feeds[i]);
    }
    keel__row *row = keel_arena_alloc(scratch, (count ? count : 1) * sizeof *row);
    if (!row) return keel_nomem(err, "decoder");
    for (size_t i = 0; i < n; i++) {
        const keel_llama_sequence *s = feeds[i].sequence;
        for (size_t t = 0; t < rows_of(&feeds[i]); t++)
            row[at++] =
                (keel__row){i, s->length + t, t < s->unread ? -1 - (int32_t)t : feeds[i].id[t - s->unread]};
    }
    *rows = row;
    *n_rows = count;
    return KEEL_OK;
}

/* ---- passes ---- */

/* Floats of a pass over one panel, apart from packed inputs. */
static size_t panel_floats(const keel__pass *p) {
    const keel_llama_config *c = &p->llama->config;
    const size_t heads = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    size_t floats =
        (p->llama->observer ? 3 : 2) * c->hidden + 3 * heads + 2 * kv + 2 * c->inner + c->head_dim;
    for (unsigned t = 0; p->lora && t < KEEL__N_LLAMA_TARGETS; t++)
        if (p->llama->lora.targets >> t & 1) floats += p->llama->lora.rank;
    return floats * KEEL_PANEL;
}

/* Lanes beyond the last row hold numbers from the start, though nothing comes of them. */
static float *take(keel_arena *scratch, const keel__pass *p, size_t cols, bool *there) {
    const size_t panel = cols * KEEL_PANEL;
    float *x = keel_arena_alloc(scratch, p->panels * panel * sizeof *x);
    if (x) memset(x + (p->panels - 1) * panel, 0, panel * sizeof *x);
    *there = *there && x;
    return x;
}

static void take_packed(keel_arena *scratch, const keel__pass *p, size_t cols, keel__packed *to,
                        bool *there) {
    *to = (keel__packed){.cols = cols};
    for (unsigned form = 0; form < KEEL_N_PANEL_FORMS; form++) {
        if (!(p->forms >> form & 1)) continue;
        to->of[form] = keel_arena_alloc(scratch, p->panels * keel_panel_packed(form, cols));
        *there = *there && to->of[form];
    }
}

static bool make_room(keel__pass *p, size_t threads, keel_arena *scratch) {
    const keel_llama_config *c = &p->llama->config;
    const size_t heads = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    bool there = true;
    p->x = take(scratch, p, c->hidden, &there);
    p->y = take(scratch, p, c->hidden, &there);
    p->q = take(scratch, p, heads, &there);
    p->k = take(scratch, p, kv, &there);
    p->v = take(scratch, p, kv, &there);
    p->queries = take(scratch, p, heads, &there);
    p->seen = take(scratch, p, heads, &there);
    p->gate = take(scratch, p, c->inner, &there);
    p->up = take(scratch, p, c->inner, &there);
    p->turn = take(scratch, p, c->head_dim, &there);
    if (p->llama->observer) p->normed = take(scratch, p, c->hidden, &there);
    for (unsigned t = 0; p->lora && t < KEEL__N_LLAMA_TARGETS; t++)
        if (p->llama->lora.targets >> t & 1) p->low[t] = take(scratch, p, p->llama->lora.rank, &there);
    take_packed(scratch, p, c->hidden, &p->hidden, &there);
    take_packed(scratch, p, heads, &p->heads, &there);
    take_packed(scratch, p, c->inner, &p->inner, &there);
    p->scratch = keel_arena_alloc(scratch, threads * sizeof *p->scratch);
    there = there && p->scratch;
    for (size_t t = 0; there && t < threads; t++)
        there = (p->scratch[t] = keel_arena_alloc(scratch, keel__pass_scratch(p) * sizeof(float))) != NULL;
    return there;
}

/* Rows of a pass: enough that weights, which each reads anew, matter little, and no more than a quarter of
 * the memory that is left holds. */
static size_t rows_at_once(const keel__pass *p, size_t rows) {
    enum { MOST = 512 };
    const size_t bytes = 2 * panel_floats(p) * sizeof(float), left = keel_memory_left() / 4;
    size_t most = MOST;
    while (most > KEEL_PANEL && most / KEEL_PANEL * bytes > left) most /= 2;
    return rows < most ? rows : most;
}

static void set_forms(keel__pass *p) {
    const keel_llama *llama = p->llama;
    const keel_lora_config *lora = &llama->lora;
    for (size_t l = 0; l < llama->config.layers; l++) {
        for (size_t row = 0; row < KEEL_LLAMA_LAYER; row++)
            if (keel_llama_is_matrix(&llama->config, keel_llama_row(l, row)))
                p->forms |= 1u << keel_panel_form_of(&llama->matrix[keel_llama_row(l, row)]);
        for (unsigned t = 0; lora->rank && t < KEEL__N_LLAMA_TARGETS; t++)
            if (lora->targets >> t & 1 && llama->matrix[keel_llama_lora_row(llama, l, 1u << t)].data)
                p->lora = true;
    }
    if (p->lora) p->forms |= 1u << KEEL_PANEL_FLOATS;
}

static void work(void *context, keel_team *team, size_t thread) {
    keel__pass_run(context, team, thread);
}

static keel_status read_rows(const keel_llama *llama, const keel__text *texts, const keel__row *row, size_t n,
                             keel_pool *pool, keel_arena *scratch, keel_err *err) {
    keel__pass p = {.llama = llama, .texts = texts};
    if (n == 0) return KEEL_OK;
    set_forms(&p);
    p.rows = rows_at_once(&p, n);
    p.panels = keel_panels(p.rows);
    for (size_t r = 0; r < n; r++)
        if (row[r].position >= p.most_positions) p.most_positions = row[r].position + 1;
    if (!make_room(&p, pool ? keel_pool_threads(pool) : 1, scratch)) return keel_nomem(err, "decoder");
    for (size_t first = 0, most = p.rows; first < n; first += p.rows) {
        if (keel_interrupted())
            return keel_fail(err, KEEL_E_INTERRUPTED, "decoder", "stopped after %zu of %zu tokens", first, n);
        p.row = row + first;
        p.rows = n - first < most ? n - first : most;
        p.panels = keel_panels(p.rows);
        KEEL_TRY(keel_team_run(pool, work, &p, err));
    }
    return KEEL_OK;
}

/* ---- what is wanted of them ---- */

static keel_status want(keel__wanted *to, size_t *n, const keel_llama *llama, const keel__text *text,
                        size_t position, size_t feed, keel_err *err) {
    to->hidden = keel__hidden(&llama->config, text->pieces, position);
    (*n)++;
    if (keel_all_finite(to->hidden, llama->config.hidden)) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "decoder",
                     "feed %zu: what it comes to is not finite: the weights are not finite, or too large",
                     feed);
}

static keel_status answer(const keel_llama *llama, const keel_llama_feed *feeds, size_t n,
                          const keel__text *texts, keel_pool *pool, keel_arena *scratch, keel_err *err) {
    size_t most = 0, count = 0;
    for (size_t i = 0; i < n; i++) most += (feeds[i].logits ? 1 : 0) + (feeds[i].log_prob ? feeds[i].n : 0);
    keel__wanted *wanted = keel_arena_calloc(scratch, most ? most : 1, sizeof *wanted);
    if (!wanted) return keel_nomem(err, "decoder");
    for (size_t i = 0; i < n; i++) {
        const keel_llama_feed *f = &feeds[i];
        const size_t first = f->sequence->length + f->sequence->unread, end = first + f->n;
        for (size_t t = 0; f->log_prob && t < f->n; t++) {
            f->log_prob[t] = 0;
            if (first + t == 0) continue; /* nothing before it */
            wanted[count].target = f->id[t];
            wanted[count].log_prob = &f->log_prob[t];
            KEEL_TRY(want(&wanted[count], &count, llama, &texts[i], first + t - 1, i, err));
        }
        if (!f->logits) continue;
        wanted[count].logits = f->logits;
        KEEL_TRY(want(&wanted[count], &count, llama, &texts[i], end - 1, i, err));
    }
    return keel__head_run(llama, wanted, count, pool, scratch, err);
}

static void keep_id(const keel_llama *llama, const keel__text *text, const keel__row *row) {
    const keel__piece *piece = keel__piece_of(text->pieces, row->position);
    keel__block_ids(&llama->config, piece->block)[row->position - piece->first] = row->id;
}

keel_status keel_llama_run(const keel_llama *llama, const keel_llama_feed *feeds, size_t n, keel_pool *pool,
                           keel_arena *scratch, keel_err *err) {
    keel__row *row = NULL;
    size_t rows = 0;
    KEEL_TRY(check_feeds(llama, feeds, n, err));
    keel__text *texts = keel_arena_alloc(scratch, (n ? n : 1) * sizeof *texts);
    if (!texts) return keel_nomem(err, "decoder");
    KEEL_TRY(lay_out(feeds, n, scratch, texts, &row, &rows, err));
    KEEL_TRY(read_rows(llama, texts, row, rows, pool, scratch, err));
    KEEL_TRY(answer(llama, feeds, n, texts, pool, scratch, err));
    for (size_t r = 0; r < rows; r++) keep_id(llama, &texts[row[r].feed], &row[r]);
    for (size_t i = 0; i < n; i++) {
        keel_llama_sequence *s = feeds[i].sequence;
        s->length += rows_of(&feeds[i]);
        if (rows_of(&feeds[i])) s->unread = 0;
    }
    return KEEL_OK;
}
