#include "policies/transformer/generate.h"

#include <string.h>

#include "core/interrupt.h"
#include "policies/transformer/llama_run_internal.h"
#include "policies/transformer/reply.h"

/* A job at work. */
typedef struct slot {
    keel_generation *job; /* NULL: free */
    keel_llama_sequence *sequence;
    keel_rng rng;
    keel_reply reply;
    int32_t *id;      /* of the prompt, then of the answer */
    size_t n, prompt; /* tokens of both, and of the prompt alone */
    size_t capacity;
    double log_prob;
    double drawn; /* ln p of the last token */
    float *logits;
    keel_sampling_room room;
} slot;

typedef struct generator {
    const keel_llama *llama;
    keel_generation *jobs;
    size_t n, next; /* jobs, and the first that has not begun */
    slot *slots;
    size_t n_slots;
    keel_llama_feed *feeds;
    keel_pool *pool;
    keel_arena *out;
    keel_arena scratch;
    keel_err *err;
} generator;

static keel_status check_job(const keel_llama *llama, const keel_generation *job, size_t i, keel_err *err) {
    KEEL_TRY(keel_sampling_check(&job->sampling, err));
    if (keel_llama_sequence_length(job->prompt) == 0)
        return keel_fail(err, KEEL_E_INVALID, "generate", "job %zu: its prompt is empty", i);
    if (job->prompt->llama != llama)
        return keel_fail(err, KEEL_E_USAGE, "generate", "job %zu: its prompt is of another model", i);
    for (size_t s = 0; s < job->n_stop; s++)
        if (!job->stop[s][0])
            return keel_fail(err, KEEL_E_INVALID, "generate", "job %zu: stop string %zu is empty", i, s);
    return KEEL_OK;
}

/* ---- begin and end ---- */

static size_t most_tokens(const keel_llama *llama, const keel_generation *job) {
    const size_t used = keel_llama_sequence_length(job->prompt) + llama->n_virtual,
                 left = llama->config.positions - used;
    /* the last token is said, not read */
    return job->max_tokens < left + 1 ? job->max_tokens : left + 1;
}

static keel_status begin(generator *g, slot *s, keel_generation *job) {
    const size_t prompt = keel_llama_sequence_length(job->prompt);
    KEEL_TRY(keel_llama_sequence_open(&s->sequence, g->llama, job->prompt, prompt, g->err));
    s->job = job;
    s->n = s->prompt = prompt;
    s->log_prob = 0;
    s->rng = keel_rng_stream(job->sampling.seed, KEEL_STREAM_GENERATE, 0);
    s->reply =
        (keel_reply){.stop = job->stop, .n_stop = job->n_stop, .said = job->said, .context = job->context};
    if (!keel_grow(&s->id, prompt + 1, &s->capacity, sizeof *s->id)) return keel_nomem(g->err, "generate");
    keel__sequence_ids(s->sequence, s->id);
    return KEEL_OK;
}

/* The job's outcome, and the slot is free. */
static keel_status end(generator *g, slot *s, keel_ended ended) {
    keel_generation *job = s->job;
    const size_t tokens = s->n - s->prompt;
    keel_reply_end(&s->reply, ended == KEEL_ENDED_LENGTH || ended == KEEL_ENDED_NOT);
    char *text =
        s->reply.text.failed
            ? NULL
            : keel_arena_strndup(g->out, s->reply.text.data ? s->reply.text.data : "", s->reply.text.length);
    int32_t *id = keel_arena_alloc(g->out, tokens * sizeof *id);
    keel_reply_free(&s->reply);
    keel_llama_sequence_close(s->sequence);
    s->sequence = NULL;
    s->job = NULL;
    if (!text || !id) return keel_nomem(g->err, "generate");
    if (tokens) memcpy(id, s->id + s->prompt, tokens * sizeof *id);
    job->text = text;
    job->id = id;
    job->tokens = tokens;
    job->log_prob = s->log_prob;
    job->ended = s->reply.stopped ? KEEL_ENDED_STOP : ended;
    return KEEL_OK;
}

/* ---- one token of each ---- */

static keel_status fill_slots(generator *g) {
    for (size_t i = 0; i < g->n_slots; i++)
        while (!g->slots[i].job && g->next < g->n) {
            keel_generation *job = &g->jobs[g->next++];
            KEEL_TRY(begin(g, &g->slots[i], job));
            if (most_tokens(g->llama, job) == 0) KEEL_TRY(end(g, &g->slots[i], KEEL_ENDED_LENGTH));
        }
    return KEEL_OK;
}

/* Reads the last token of each, or nothing where the prompt was read by others. */
static keel_status read_last(generator *g, size_t *working) {
    size_t n = 0;
    for (size_t i = 0; i < g->n_slots; i++) {
        slot *s = &g->slots[i];
        if (!s->job) continue;
        const size_t unread = s->n - keel_llama_sequence_length(s->sequence);
        g->feeds[n++] = (keel_llama_feed){s->sequence, s->id + s->n - unread, unread, s->logits, NULL};
    }
    *working = n;
    if (n == 0) return KEEL_OK;
    keel_arena_reset(&g->scratch);
    return keel_llama_run(g->llama, g->feeds, n, g->pool, &g->scratch, g->err);
}

static keel_status draw(void *context, size_t shard, size_t thread, keel_err *err) {
    generator *g = context;
    slot *s = &g->slots[shard];
    (void)thread;
    if (!s->job) return KEEL_OK;
    if (!keel_grow(&s->id, s->n + 1, &s->capacity, sizeof *s->id)) return keel_nomem(err, "generate");
    s->id[s->n] = keel_sampling_draw(&s->room, &s->job->sampling, s->logits, s->id, s->n,
                                     keel_rng_uniform(&s->rng), &s->drawn);
    s->n++;
    s->log_prob += s->drawn;
    return KEEL_OK;
}

static keel_status draw_all(generator *g) {
    if (g->pool) return keel_pool_run(g->pool, g->n_slots, draw, g, g->err);
    for (size_t i = 0; i < g->n_slots; i++) KEEL_TRY(draw(g, i, 0, g->err));
    return KEEL_OK;
}

static bool ends_texts(const keel_llama_config *c, const keel_generation *job, int32_t id) {
    bool found = false;
    for (size_t i = 0; i < c->n_eos; i++) found = found || c->eos[i] == id;
    for (size_t i = 0; i < job->n_stop_id; i++) found = found || job->stop_id[i] == id;
    return found;
}

/* What the last token says, and whether it is the last of all. */
static keel_status say(generator *g, slot *s) {
    const int32_t id = s->id[s->n - 1];
    const keel_tokenizer *tokenizer = g->llama->tokenizer;
    if (ends_texts(&g->llama->config, s->job, id)) return end(g, s, KEEL_ENDED_TOKEN);
    size_t length = 0;
    const char *bytes = tokenizer && !keel_tokenizer_special(tokenizer, id)
                            ? keel_tokenizer_bytes(tokenizer, id, &length)
                            : NULL;
    if (bytes) keel_reply_add(&s->reply, bytes, length);
    if (s->reply.text.failed) return keel_nomem(g->err, "generate");
    if (s->reply.stopped || s->n - s->prompt >= most_tokens(g->llama, s->job))
        return end(g, s, KEEL_ENDED_LENGTH);
    return KEEL_OK;
}

static keel_status step(generator *g, size_t *working) {
    if (keel_interrupted())
        return keel_fail(g->err, KEEL_E_INTERRUPTED, "generate", "stopped before its end");
    KEEL_TRY(fill_slots(g));
    KEEL_TRY(read_last(g, working));
    KEEL_TRY(draw_all(g));
    for (size_t i = 0; i < g->n_slots; i++)
        if (g->slots[i].job) KEEL_TRY(say(g, &g->slots[i]));
    return KEEL_OK;
}

/* ---- all of them ---- */

static keel_status open_slots(generator *g) {
    const size_t vocab = g->llama->config.vocab;
    g->slots = keel_calloc(g->n_slots, sizeof *g->slots);
    g->feeds = keel_calloc(g->n_slots, sizeof *g->feeds);
    if (!g->slots || !g->feeds) return keel_nomem(g->err, "generate");
    for (size_t i = 0; i < g->n_slots; i++) {
        g->slots[i].logits = keel_calloc(vocab, sizeof(float));
        if (!g->slots[i].logits) return keel_nomem(g->err, "generate");
        KEEL_TRY(keel_sampling_open(&g->slots[i].room, vocab, g->err));
    }
    return KEEL_OK;
}

static void close_slots(generator *g) {
    for (size_t i = 0; g->slots && i < g->n_slots; i++) {
        slot *s = &g->slots[i];
        keel_llama_sequence_close(s->sequence);
        keel_reply_free(&s->reply);
        keel_sampling_close(&s->room);
        keel_free(s->logits);
        keel_free(s->id);
    }
    keel_free(g->slots);
    keel_free(g->feeds);
    keel_arena_free(&g->scratch);
}

keel_status keel_generate(const keel_llama *llama, keel_generation *jobs, size_t n, size_t at_once,
                          keel_pool *pool, keel_arena *arena, keel_err *err) {
    generator g = {.llama = llama, .jobs = jobs, .n = n, .pool = pool, .out = arena, .err = err};
    g.n_slots = at_once && at_once < n ? at_once : n;
    for (size_t i = 0; i < n; i++) {
        KEEL_TRY(check_job(llama, &jobs[i], i, err));
        jobs[i].text = NULL, jobs[i].id = NULL, jobs[i].tokens = 0;
        jobs[i].log_prob = 0, jobs[i].ended = KEEL_ENDED_NOT;
    }
    if (n == 0) return KEEL_OK;
    keel_status status = open_slots(&g);
    for (size_t working = n; status == KEEL_OK && working > 0;) status = step(&g, &working);
    for (size_t i = 0; status == KEEL_E_INTERRUPTED && i < g.n_slots; i++)
        if (g.slots[i].job) (void)end(&g, &g.slots[i], KEEL_ENDED_NOT); /* the interrupt is what is told */
    close_slots(&g);
    return status;
}
