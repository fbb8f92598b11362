#include "policies/compress/sample.h"

#include <stdio.h>
#include <string.h>

#include "policies/transformer/llama_run.h"
#include "policies/transformer/llama_text.h"

typedef struct drawing {
    const keel_compress_job *job;
    const keel_llama *llama; /* or */
    const keel_bert *bert;
    keel_arena *arena;
    keel_buf id, type, offsets; /* of int32_t */
    keel_err *err;
} drawing;

static keel_status add_text(drawing *d, const int32_t *id, const int32_t *type, size_t n) {
    if (n == 0) return KEEL_OK;
    keel_buf_append(&d->id, id, n * sizeof *id);
    if (type) keel_buf_append(&d->type, type, n * sizeof *type);
    const int32_t end = (int32_t)(d->id.length / sizeof *id);
    keel_buf_append(&d->offsets, &end, sizeof end);
    return d->id.failed || d->type.failed || d->offsets.failed ? keel_nomem(d->err, "sample") : KEEL_OK;
}

/* ---- decoders ---- */

/* What was said at a decision that no turn follows. */
static const char *last_word(const keel_conversation *c) {
    const keel_decision *last = c->n_decisions ? &c->decisions[c->n_decisions - 1] : NULL;
    for (size_t i = 0; last && last->turn == c->n_turns && i < last->n_candidates; i++)
        if (last->candidates[i].taken && last->candidates[i].text) return last->candidates[i].text;
    return NULL;
}

static keel_status render(const drawing *d, const keel_conversation *c, const char **out) {
    const char *said = last_word(c);
    cJSON *messages = cJSON_CreateArray();
    bool good = messages != NULL;
    for (size_t t = 0; good && t < c->n_turns; t++)
        good = keel_llama_add_message(messages, keel_role_name(c->turns[t].role), c->turns[t].text);
    if (good && said) good = keel_llama_add_message(messages, keel_role_name(KEEL_ROLE_ASSISTANT), said);
    const keel_chat_request request = keel_llama_request(d->llama, messages, false);
    const keel_status status =
        good ? keel_chat_template_render(d->llama->chat, &request, d->arena, out, d->err)
             : keel_nomem(d->err, "sample");
    cJSON_Delete(messages);
    return status;
}

static keel_status join(const drawing *d, const keel_conversation *c, const char **out) {
    const char *said = last_word(c);
    keel_buf text = {0};
    for (size_t t = 0; t < c->n_turns; t++) keel_buf_format(&text, "%s\n", c->turns[t].text);
    if (said) keel_buf_format(&text, "%s\n", said);
    *out = text.failed ? NULL : keel_arena_strdup(d->arena, text.data ? text.data : "");
    keel_buf_free(&text);
    return *out ? KEEL_OK : keel_nomem(d->err, "sample");
}

/* A template that refuses a conversation is no reason to stop: it is read as lines. */
static keel_status draw_llama(drawing *d, const keel_conversation *c) {
    const keel_llama_config *config = &d->llama->config;
    const size_t most = (size_t)d->job->config->tokens;
    const char *text = NULL;
    keel_tokens tokens;
    const keel_status status = d->llama->chat ? render(d, c, &text) : KEEL_E_UNSUPPORTED;
    if (status == KEEL_E_NOMEM) return status;
    if (status != KEEL_OK) KEEL_TRY(join(d, c, &text));
    if (!text[0]) return KEEL_OK;
    KEEL_TRY(keel_llama_read_text(d->llama, text, status == KEEL_OK, d->arena, &tokens, d->err));
    const size_t n = tokens.count < most ? tokens.count : most;
    return add_text(d, tokens.id, NULL, n < config->positions ? n : config->positions);
}

/* ---- encoders ---- */

static keel_status draw_bert(drawing *d, const keel_conversation *c) {
    const size_t most = (size_t)d->job->config->tokens, before = d->id.length / sizeof(int32_t);
    const char *said = last_word(c);
    for (size_t t = 0; t < c->n_turns + (said != NULL); t++) {
        const char *text = t < c->n_turns ? c->turns[t].text : said;
        keel_bert_batch batch;
        size_t cut;
        if (!text[0]) continue;
        KEEL_TRY(keel_bert_read(d->bert, &text, 1, d->arena, &batch, &cut, d->err));
        const size_t n = (size_t)batch.offsets[1], so_far = d->id.length / sizeof(int32_t) - before;
        if (so_far && so_far + n > most) return KEEL_OK;
        KEEL_TRY(add_text(d, batch.id, batch.type, n));
    }
    return KEEL_OK;
}

/* ---- both ---- */

static keel_status draw_all(drawing *d) {
    keel_corpus *corpus = d->job->logged;
    const size_t wanted = (size_t)d->job->config->conversations,
                 n = corpus->count < wanted ? corpus->count : wanted;
    keel_arena arena = {0}, work = {0}, *kept = d->arena;
    keel_status status = KEEL_OK;
    d->arena = &work;
    for (size_t i = 0; status == KEEL_OK && i < n; i++) {
        keel_conversation *read = NULL;
        keel_arena_reset(&arena);
        keel_arena_reset(&work);
        status = keel_compress_go_on(d->err);
        if (status == KEEL_OK) status = corpus->read(corpus, corpus->by_name + i, 1, &arena, &read, d->err);
        if (status == KEEL_OK) status = d->llama ? draw_llama(d, read) : draw_bert(d, read);
    }
    d->arena = kept;
    keel_arena_free(&arena);
    keel_arena_free(&work);
    return status;
}

static int32_t *keep(const drawing *d, const keel_buf *buf) {
    int32_t *copy = keel_arena_alloc(d->arena, buf->length);
    return copy ? memcpy(copy, buf->data, buf->length) : NULL;
}

static keel_status draw(drawing *d, keel_sample *out) {
    const int32_t zero = 0;
    if (!d->job->logged) {
        keel_fail(d->err, KEEL_E_USAGE, "compress", "it has to look at conversations, and there are none");
        return keel_hint(d->err, "name a store by --store, and a split of it by --split");
    }
    keel_buf_append(&d->offsets, &zero, sizeof zero);
    KEEL_TRY(draw_all(d));
    if (d->id.length == 0)
        return keel_fail(d->err, KEEL_E_INVALID, d->job->logged->name, "its conversations have no text");
    *out = (keel_sample){.id = keep(d, &d->id),
                         .type = d->bert ? keep(d, &d->type) : NULL,
                         .offsets = keep(d, &d->offsets),
                         .n = d->offsets.length / sizeof zero - 1};
    return out->id && out->offsets && (!d->bert || out->type) ? KEEL_OK : keel_nomem(d->err, "sample");
}

static keel_status finish(drawing *d, keel_sample *out) {
    const keel_status status = draw(d, out);
    keel_buf_free(&d->id);
    keel_buf_free(&d->type);
    keel_buf_free(&d->offsets);
    return status;
}

keel_status keel_sample_llama(const keel_llama *llama, const keel_compress_job *job, keel_arena *arena,
                              keel_sample *out, keel_err *err) {
    return finish(&(drawing){.job = job, .llama = llama, .arena = arena, .err = err}, out);
}

keel_status keel_sample_bert(const keel_bert *bert, const keel_compress_job *job, keel_arena *arena,
                             keel_sample *out, keel_err *err) {
    return finish(&(drawing){.job = job, .bert = bert, .arena = arena, .err = err}, out);
}

/* ---- use ---- */

keel_sample keel_sample_first(const keel_sample *sample, size_t tokens) {
    keel_sample first = *sample;
    for (first.n = 1; first.n < sample->n; first.n++)
        if ((size_t)(sample->offsets[first.n + 1] - sample->offsets[0]) > tokens) break;
    return first;
}

keel_sample keel_sample_rest(const keel_sample *sample, const keel_sample *first) {
    keel_sample rest = *sample;
    rest.offsets += first->n;
    rest.n -= first->n;
    return rest;
}

keel_status keel_sample_divide(const keel_sample *all, const keel_compress_job *job, keel_sample *losses,
                               keel_sample *importance, keel_err *err) {
    *losses = keel_sample_first(all, (size_t)job->config->sensitivity_tokens);
    const keel_sample rest = keel_sample_rest(all, losses);
    if (rest.n == 0) {
        keel_fail(err, KEEL_E_INVALID, job->logged->name,
                  "%zu texts are too few to measure importance on some and losses on others", all->n);
        return keel_hint(err, "import more, or set sensitivity_tokens lower");
    }
    *importance = keel_sample_first(&rest, (size_t)job->config->importance_tokens);
    return KEEL_OK;
}

keel_bert_batch keel_sample_batch(const keel_sample *sample, size_t at, size_t n, int32_t *offsets) {
    const int32_t from = sample->offsets[at];
    for (size_t i = 0; i <= n; i++) offsets[i] = sample->offsets[at + i] - from;
    return (keel_bert_batch){sample->id + from, sample->type + from, offsets, n};
}

keel_status keel_sample_encode(const keel_bert *bert, const keel_sample *sample, float *out, keel_err *err) {
    enum { AT_ONCE = 16 };
    const size_t hidden = bert->config.hidden;
    keel_arena scratch = {0};
    int32_t offsets[AT_ONCE + 1];
    keel_status status = KEEL_OK;
    for (size_t at = 0, n; status == KEEL_OK && at < sample->n; at += n) {
        keel_arena_reset(&scratch);
        n = sample->n - at < AT_ONCE ? sample->n - at : AT_ONCE;
        const keel_bert_batch batch = keel_sample_batch(sample, at, n, offsets);
        float *to = out ? out + at * hidden : keel_arena_alloc(&scratch, n * hidden * sizeof *to);
        status = to ? keel_compress_go_on(err) : keel_nomem(err, "sample");
        if (status == KEEL_OK) status = keel_bert_encode(bert, &batch, &scratch, to, err);
    }
    keel_arena_free(&scratch);
    return status;
}

/* Texts are read some at a time, so that keys and values of few are kept. */
keel_status keel_sample_run(const keel_llama *llama, const keel_sample *sample, keel_pool *pool,
                            float *log_prob, keel_err *err) {
    enum { AT_ONCE = 8 };
    keel_arena scratch = {0};
    keel_status status = KEEL_OK;
    for (size_t at = 0, n; status == KEEL_OK && at < sample->n; at += n) {
        keel_llama_feed feed[AT_ONCE] = {0};
        keel_arena_reset(&scratch);
        status = keel_compress_go_on(err);
        n = sample->n - at < AT_ONCE ? sample->n - at : AT_ONCE;
        for (size_t i = 0; status == KEEL_OK && i < n; i++) {
            const int32_t from = sample->offsets[at + i], to = sample->offsets[at + i + 1];
            feed[i].id = sample->id + from;
            feed[i].n = (size_t)(to - from);
            feed[i].log_prob = log_prob ? log_prob + (from - sample->offsets[0]) : NULL;
            status = keel_llama_sequence_open(&feed[i].sequence, llama, NULL, 0, err);
        }
        if (status == KEEL_OK) status = keel_llama_run(llama, feed, n, pool, &scratch, err);
        for (size_t i = 0; i < n; i++) keel_llama_sequence_close(feed[i].sequence);
    }
    keel_arena_free(&scratch);
    return status;
}

double keel_sample_distance(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double off = (double)a[i] - (double)b[i];
        sum += off * off;
    }
    return sum;
}
