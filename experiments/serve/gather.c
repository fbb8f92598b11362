#include "experiments/serve/gather.h"

#include <pthread.h>
#include <string.h>

#include "core/clock.h"
#include "core/context.h"
#include "core/json.h"
#include "core/log.h"
#include "datasets/message.h"

enum {
    UPSTREAM = 1, /* bits of job->gathered.awaited */
    WRITER = 2,
    TICK_MS = 20,     /* between looks at deadlines and at who is gone */
    MOST_WRITTEN = 16 /* requests of a batch of the writer */
};

/* A job that waits for the writer. */
typedef struct keel_wish {
    struct keel_wish *next;
    keel_job *job;               /* under the lock; NULL: it has gone on */
    const keel_version *version; /* held */
    const keel_base *base;
    size_t max_tokens;
} wish;

struct keel_gather {
    keel_gather_options options;
    pthread_mutex_t lock;
    pthread_cond_t wake_watch, wake_writer, begun;
    keel_job *parked; /* list of those that wait */
    wish *first, *last;
    size_t beginning;       /* calls of `begin` that go on */
    bool stopping, closing; /* nothing is begun; the threads end */
    pthread_t watch, writer;
    int threads;
    const keel_context *caller;
};

/* ---- parked jobs, under the lock ---- */

static void park(keel_gather *gather, keel_job *job) {
    job->previous = NULL;
    job->next = gather->parked;
    if (job->next) job->next->previous = job;
    if (!gather->parked) pthread_cond_signal(&gather->wake_watch); /* else it looks every now and then */
    gather->parked = job;
}

static void unpark(keel_gather *gather, keel_job *job) {
    if (job->previous)
        job->previous->next = job->next;
    else
        gather->parked = job->next;
    if (job->next) job->next->previous = job->previous;
    job->next = job->previous = NULL;
    job->gathered.ended = keel_clock();
}

/* One of those that write is done with it; true: all are, and it is to be handed on after the lock. */
static bool settle(keel_gather *gather, keel_job *job, unsigned who) {
    job->gathered.awaited &= ~who;
    if (who == WRITER && job->gathered.wish) {
        job->gathered.wish->job = NULL;
        job->gathered.wish = NULL;
    }
    if (job->gathered.awaited) return false;
    unpark(gather, job);
    return true;
}

static void hand_on(keel_gather *gather, keel_job *job) {
    gather->options.ready(gather->options.context, job);
}

/* ---- upstreams ---- */

typedef struct asking {
    keel_gather *gather;
    keel_job *job;
} asking;

static bool upstream_gone(void *context) {
    const asking *ask = context;
    return ask->gather->options.gone(ask->job);
}

static void upstream_done(void *context, keel_upstream_reply *replies, size_t n, const char *troubles) {
    const asking *ask = context;
    keel_gather *gather = ask->gather;
    keel_job *job = ask->job;
    for (size_t i = 0; i < n; i++) { /* the names are the upstreams', which may be closed before the answer */
        replies[i].upstream = keel_arena_strdup(&job->gathered.upstream, replies[i].upstream);
        if (!replies[i].upstream) n = i;
    }
    pthread_mutex_lock(&gather->lock);
    job->gathered.replies = replies;
    job->gathered.n_replies = n;
    job->gathered.troubles = troubles;
    const bool all = settle(gather, job, UPSTREAM);
    pthread_mutex_unlock(&gather->lock);
    if (all) hand_on(gather, job);
}

/* False: they could not be asked. */
static bool ask_upstreams(keel_gather *gather, keel_job *job) {
    keel_err err = {0};
    asking *ask = keel_arena_alloc(&job->arena, sizeof *ask);
    if (!ask) return false;
    *ask = (asking){gather, job};
    const keel_upstream_ask request = {.body = job->request->body,
                                       .deadline = job->deadline,
                                       .gone = upstream_gone,
                                       .done = upstream_done,
                                       .context = ask,
                                       .arena = &job->gathered.upstream};
    if (keel_upstreams_ask(gather->options.upstreams, &request, &err) == KEEL_OK) return true;
    job->gathered.troubles = keel_arena_strdup(&job->arena, err.message);
    return false;
}

/* ---- the writer ---- */

static const keel_base *writer_beside(const keel_gather *gather, const keel_base *base) {
    const keel_propose_ask *ask = gather->options.ask;
    if (ask->n == 0 && ask->n_instructions == 0) return NULL;
    if (gather->options.writer) return gather->options.writer;
    return base->kind->propose && base->space == KEEL_SPACE_CANDIDATES ? base : NULL;
}

static const keel_base *writer_of(const keel_gather *gather, const keel_job *job) {
    return job->kind == KEEL_JOB_CHAT ? writer_beside(gather, job->version->base) : NULL;
}

bool keel_gather_can_write(const keel_gather *gather, const keel_base *base) {
    return gather->options.upstreams || writer_beside(gather, base);
}

static wish *make_wish(const keel_gather *gather, keel_job *job) {
    wish *made = keel_calloc(1, sizeof *made);
    const size_t most = gather->options.ask->how.max_tokens, asked = job->asked.max_tokens;
    if (!made) return NULL;
    *made = (wish){.job = job,
                   .version = keel_version_hold(job->version),
                   .base = writer_of(gather, job),
                   .max_tokens = asked && asked < most ? asked : most};
    return made;
}

static void free_wish(wish *made) {
    if (made) keel_version_release(made->version);
    keel_free(made);
}

/* The first wish and those that go with it: of one base and length. */
static size_t take_wishes(keel_gather *gather, wish **batch) {
    size_t n = 0;
    wish **at = &gather->first, *last = NULL;
    while (*at) {
        wish *one = *at;
        const bool with = n == 0 || (n < MOST_WRITTEN && one->base == batch[0]->base &&
                                     one->max_tokens == batch[0]->max_tokens);
        if (with) {
            *at = one->next;
            batch[n++] = one;
        } else {
            last = one;
            at = &one->next;
        }
    }
    gather->last = last;
    return n;
}

/* The talk is read while others may finish the job: the writer has its own. */
static keel_conversation *copy_talk(const keel_conversation *from, keel_arena *arena) {
    keel_conversation *to = keel_arena_alloc(arena, sizeof *to);
    keel_turn *turns = keel_arena_calloc(arena, from->n_turns + 1, sizeof *turns);
    keel_decision *decision = keel_arena_calloc(arena, 1, sizeof *decision);
    if (!to || !turns || !decision) return NULL;
    for (size_t i = 0; i < from->n_turns; i++) {
        turns[i] = (keel_turn){.role = from->turns[i].role,
                               .text = keel_arena_strdup(arena, from->turns[i].text),
                               .act = keel_arena_strdup(arena, from->turns[i].act)};
        if (!turns[i].text || (from->turns[i].act && !turns[i].act)) return NULL;
    }
    decision->turn = from->n_turns;
    *to = (keel_conversation){.source = from->source,
                              .external_id = keel_arena_strdup(arena, from->external_id),
                              .completed = KEEL_UNKNOWN,
                              .n_turns = from->n_turns,
                              .turns = turns,
                              .n_decisions = 1,
                              .decisions = decision};
    return to->external_id ? to : NULL;
}

/* What a base wrote joins the decision of the writer's own copy of the talk. */
static void write_batch(keel_gather *gather, wish **batch, keel_propose_place *places, size_t n,
                        keel_arena *arena) {
    keel_propose_ask ask = *gather->options.ask;
    keel_err err = {0};
    ask.how.max_tokens = batch[0]->max_tokens;
    if (n > 0 && keel_cli_propose(&ask, batch[0]->base, places, n, arena, &err) != KEEL_OK)
        keel_log(KEEL_LOG_INFO, "warning: the writer wrote nothing: %s", err.message);
}

static void copy_texts(keel_job_gathered *into, const keel_propose_place *from) {
    const keel_decision *decision = &from->conversation->decisions[from->decision];
    into->texts = keel_arena_calloc(&into->written, decision->n_candidates + 1, sizeof *into->texts);
    for (size_t i = 0; i < decision->n_candidates && into->texts; i++) {
        const char *text = keel_arena_strdup(&into->written, decision->candidates[i].text);
        if (!text) return;
        into->texts[into->n_texts++] =
            (keel_job_text){text, decision->candidates[i].model, from->cut && from->cut[i]};
    }
}

/* The texts into the job, which may have gone on without them. from NULL: there are none. */
static void deliver(keel_gather *gather, const wish *one, const keel_propose_place *from) {
    bool all = false;
    pthread_mutex_lock(&gather->lock);
    keel_job *job = one->job;
    if (job) {
        if (from) copy_texts(&job->gathered, from);
        all = settle(gather, job, WRITER);
    }
    pthread_mutex_unlock(&gather->lock);
    if (all) hand_on(gather, job);
}

/* Places [n] of those that still wait; the others' wishes are dropped. */
static size_t copy_batch(keel_gather *gather, wish **batch, size_t n, keel_propose_place *places,
                         keel_arena *arena) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        wish *one = batch[i];
        keel_conversation *talk = NULL;
        pthread_mutex_lock(&gather->lock);
        const bool wanted = one->job && !gather->options.gone(one->job);
        if (wanted) talk = copy_talk(&one->job->talk, arena);
        pthread_mutex_unlock(&gather->lock);
        if (talk) {
            places[kept] = (keel_propose_place){.conversation = talk};
            batch[kept++] = one;
        } else {
            deliver(gather, one, NULL);
            free_wish(one);
        }
    }
    return kept;
}

static void *write_all(void *argument) {
    keel_gather *gather = argument;
    keel_arena arena = {0};
    wish *batch[MOST_WRITTEN];
    keel_propose_place places[MOST_WRITTEN];
    keel_context_use(gather->caller);
    pthread_mutex_lock(&gather->lock);
    for (;;) {
        while (!gather->first && !gather->closing) pthread_cond_wait(&gather->wake_writer, &gather->lock);
        size_t n = take_wishes(gather, batch);
        if (n == 0) break;
        pthread_mutex_unlock(&gather->lock);
        keel_arena_reset(&arena);
        n = copy_batch(gather, batch, n, places, &arena);
        write_batch(gather, batch, places, n, &arena);
        for (size_t i = 0; i < n; i++) {
            deliver(gather, batch[i], &places[i]);
            free_wish(batch[i]);
        }
        pthread_mutex_lock(&gather->lock);
    }
    pthread_mutex_unlock(&gather->lock);
    keel_arena_free(&arena);
    return NULL;
}

/* ---- deadlines ---- */

/* A job that waits for the writer alone, longer than it may; upstreams end by themselves. */
static keel_job *find_overdue(keel_gather *gather) {
    const double now = keel_clock();
    for (keel_job *job = gather->parked; job; job = job->next) {
        if (job->gathered.awaited != WRITER) continue;
        if (gather->closing || now >= job->deadline || gather->options.gone(job)) return job;
    }
    return NULL;
}

static void wait_a_tick(keel_gather *gather) {
    keel_clock_wait(&gather->wake_watch, &gather->lock, keel_clock() + TICK_MS / 1e3);
}

static void *watch(void *argument) {
    keel_gather *gather = argument;
    keel_context_use(gather->caller);
    pthread_mutex_lock(&gather->lock);
    while (!gather->closing || gather->parked) {
        keel_job *job = find_overdue(gather);
        if (job) {
            job->gathered.late = true;
            settle(gather, job, WRITER);
            pthread_mutex_unlock(&gather->lock);
            hand_on(gather, job);
            pthread_mutex_lock(&gather->lock);
        } else if (gather->parked) {
            wait_a_tick(gather);
        } else if (!gather->closing) {
            pthread_cond_wait(&gather->wake_watch, &gather->lock);
        }
    }
    pthread_mutex_unlock(&gather->lock);
    return NULL;
}

/* ---- the door ---- */

keel_status keel_gather_open(keel_gather **out, const keel_gather_options *options, keel_err *err) {
    keel_gather *gather = keel_calloc(1, sizeof *gather);
    *out = NULL;
    if (!gather) return keel_nomem(err, "serve");
    gather->options = *options;
    gather->caller = keel_context_current();
    pthread_mutex_init(&gather->lock, NULL);
    keel_clock_condition(&gather->wake_watch);
    pthread_cond_init(&gather->wake_writer, NULL);
    pthread_cond_init(&gather->begun, NULL);
    if (pthread_create(&gather->watch, NULL, watch, gather) == 0) gather->threads = 1;
    if (gather->threads == 1 && pthread_create(&gather->writer, NULL, write_all, gather) == 0)
        gather->threads = 2;
    if (gather->threads < 2) {
        keel_gather_close(gather);
        return keel_fail(err, KEEL_E_NOMEM, "serve",
                         "the threads that gather candidates could not be started");
    }
    *out = gather;
    return KEEL_OK;
}

bool keel_gather_writes(const keel_gather *gather, const keel_job *job) {
    return job->kind == KEEL_JOB_CHAT && (gather->options.upstreams || writer_of(gather, job));
}

/* Parks the job, with its wish. False: nobody writes for it. */
static bool await(keel_gather *gather, keel_job *job, wish *made, bool upstreams) {
    job->gathered.awaited = (made ? WRITER : 0u) | (upstreams ? UPSTREAM : 0u);
    if (!job->gathered.awaited) return false;
    park(gather, job);
    job->gathered.wish = made;
    if (made) {
        *(gather->last ? &gather->last->next : &gather->first) = made;
        gather->last = made;
        pthread_cond_signal(&gather->wake_writer);
    }
    return true;
}

static bool enter(keel_gather *gather) {
    pthread_mutex_lock(&gather->lock);
    const bool open = !gather->stopping;
    gather->beginning += open;
    pthread_mutex_unlock(&gather->lock);
    return open;
}

static void leave(keel_gather *gather) {
    pthread_mutex_lock(&gather->lock);
    if (--gather->beginning == 0) pthread_cond_broadcast(&gather->begun);
    pthread_mutex_unlock(&gather->lock);
}

bool keel_gather_begin(keel_gather *gather, keel_job *job) {
    if (!keel_gather_writes(gather, job) || !enter(gather)) return false;
    wish *made = writer_of(gather, job) ? make_wish(gather, job) : NULL;
    const bool upstreams = gather->options.upstreams != NULL;
    job->gathered.begun = keel_clock();
    pthread_mutex_lock(&gather->lock);
    const bool waits = await(gather, job, made, upstreams);
    pthread_mutex_unlock(&gather->lock);
    if (upstreams && !ask_upstreams(gather, job))
        upstream_done(&(asking){gather, job}, NULL, 0, job->gathered.troubles);
    leave(gather);
    return waits;
}

static keel_status collect_reply(keel_job *job, const keel_upstream_reply *reply, keel_err *err) {
    const char *text = reply->text;
    bool refused = false;
    if (reply->message) {
        const cJSON *message;
        KEEL_TRY(keel_json_parse_in(&job->arena, reply->message, strlen(reply->message), reply->upstream,
                                    &message, err));
        KEEL_TRY(keel_message_said(message, reply->upstream, &job->arena, &text, &refused, err));
        if (!text) text = "";
    }
    const keel_candidate candidate = {.text = keel_arena_strdup(&job->arena, text),
                                      .model = keel_arena_strdup(&job->arena, reply->model),
                                      .outcome = refused ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_NONE,
                                      .latency_ms = {true, reply->latency_ms}};
    const keel_job_source source = {.from = reply->upstream,
                                    .message = reply->message,
                                    .content = reply->text,
                                    .finish = reply->finish,
                                    .prompt_tokens = reply->prompt_tokens,
                                    .completion_tokens = reply->completion_tokens,
                                    .place = -1};
    if (!candidate.text || !candidate.model) return keel_nomem(err, "candidates");
    return keel_job_offer(job, &candidate, &source, err);
}

keel_status keel_gather_collect(keel_job *job, keel_err *err) {
    const keel_job_gathered *from = &job->gathered;
    for (size_t i = 0; i < from->n_replies; i++) KEEL_TRY(collect_reply(job, &from->replies[i], err));
    for (size_t i = 0; i < from->n_texts; i++) {
        const keel_candidate candidate = {.text = keel_arena_strdup(&job->arena, from->texts[i].text),
                                          .model = from->texts[i].model,
                                          .latency_ms = {true, 1e3 * (from->ended - from->begun)}};
        const keel_job_source source = {.from = "writer",
                                        .finish = from->texts[i].cut ? "length" : NULL,
                                        .prompt_tokens = -1,
                                        .completion_tokens = -1,
                                        .place = -1};
        if (!candidate.text) return keel_nomem(err, "candidates");
        KEEL_TRY(keel_job_offer(job, &candidate, &source, err));
    }
    return KEEL_OK;
}

void keel_gather_stop(keel_gather *gather) {
    if (!gather) return;
    pthread_mutex_lock(&gather->lock);
    gather->stopping = true;
    while (gather->beginning > 0) pthread_cond_wait(&gather->begun, &gather->lock);
    pthread_mutex_unlock(&gather->lock);
}

void keel_gather_drain(keel_gather *gather) {
    if (!gather) return;
    pthread_mutex_lock(&gather->lock);
    gather->closing = true;
    pthread_cond_broadcast(&gather->wake_watch);
    pthread_cond_broadcast(&gather->wake_writer);
    pthread_mutex_unlock(&gather->lock);
    if (gather->threads > 0) pthread_join(gather->watch, NULL);
    if (gather->threads > 1) pthread_join(gather->writer, NULL);
    gather->threads = 0;
}

void keel_gather_close(keel_gather *gather) {
    if (!gather) return;
    keel_gather_stop(gather);
    keel_gather_drain(gather);
    pthread_cond_destroy(&gather->wake_watch);
    pthread_cond_destroy(&gather->wake_writer);
    pthread_cond_destroy(&gather->begun);
    pthread_mutex_destroy(&gather->lock);
    keel_free(gather);
}
