/* What a worker does with the jobs that it took: hears feedback, reads those that are new, lets them gather
 * candidates, and decides all that are ready, those of one version together. */
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "experiments/serve/choose.h"
#include "experiments/serve/feedback.h"
#include "experiments/serve/openai.h"
#include "experiments/serve/serve_internal.h"

/* ---- reading ---- */

static void read_headers(const keel_serve *serve, keel_job *job) {
    const keel_http_request *request = job->request;
    keel_asked *asked = &job->asked;
    const char *conversation = keel_http_header(request, "X-Keel-Conversation"),
               *details = keel_http_header(request, "X-Keel-Details"),
               *segment = serve->options.segment_header
                              ? keel_http_header(request, serve->options.segment_header)
                              : NULL;
    if (conversation) asked->conversation = conversation;
    if (segment) asked->segment = segment;
    if (details && strcmp(details, "0") != 0) asked->details = true;
}

/* The conversation it goes on, the arm that is its user's or its conversation's, and what serves there now.
 */
static void place(const keel_serve *serve, keel_job *job) {
    const keel_asked *asked = &job->asked;
    keel_threads_find(serve->threads, asked->conversation, asked->user, asked->turns, asked->n_turns, job->id,
                      job->name);
    const char *unit = asked->user ? asked->user : job->name;
    job->version =
        keel_versions_take(serve->versions, keel_arms_assign(serve->options.arms, unit, &job->stopped));
}

static keel_status read_job(const keel_serve *serve, keel_job *job, keel_err *err) {
    const keel_http_request *request = job->request;
    if (job->usual > 0) KEEL_TRY(keel_arena_reserve(&job->arena, job->usual, err));
    KEEL_TRY((job->kind == KEEL_JOB_CHOOSE ? keel_choose_read : keel_openai_read)(
        request->body, request->length, &job->arena, &job->asked, err));
    read_headers(serve, job);
    KEEL_TRY(keel_openai_check_names(&job->asked, err));
    place(serve, job);
    job->deadline = job->begun + serve->options.deadline;
    job->stage = KEEL_JOB_READ;
    return keel_job_begin(job, err);
}

/* ---- candidates ---- */

static keel_status offer_fixed(const keel_serve *serve, keel_job *job, keel_err *err) {
    const keel_job_source source = {
        .from = "fixed", .prompt_tokens = -1, .completion_tokens = -1, .place = -1};
    const keel_base *base = job->version->base;
    if (job->kind != KEEL_JOB_CHAT) return KEEL_OK;
    for (size_t i = 0; i < serve->options.n_fixed; i++)
        KEEL_TRY(keel_job_offer(job, &serve->options.fixed[i], &source, err));
    if (serve->options.n_fixed > 0 || base->n_fixed > 0 || base->space != KEEL_SPACE_CANDIDATES)
        return KEEL_OK;
    return keel_job_offer(job, &keel_cli_refusal, &source, err);
}

/* In a space of outcomes a candidate is what it is judged to be. */
static void judge(const keel_serve *serve, keel_job *job) {
    if (job->version->base->space != KEEL_SPACE_OUTCOMES) return;
    for (size_t i = 0; i < job->decision.n_candidates; i++) {
        keel_candidate *candidate = &job->decision.candidates[i];
        job->source[i].guessed = candidate->outcome == KEEL_OUTCOME_NONE;
        candidate->outcome = keel__serve_judge(serve, job, candidate, NULL);
    }
}

/* A policy over acts chooses an act: a caller whose candidates are none that it knows gets no answer made up.
 */
static keel_status check_choosable(const keel_job *job, keel_err *err) {
    const keel_base *base = job->version->base;
    bool known = job->kind != KEEL_JOB_CHOOSE || base->space == KEEL_SPACE_CANDIDATES;
    for (size_t i = 0; i < job->decision.n_candidates && !known; i++)
        known = keel_base_action_index(base, &job->decision.candidates[i]) >= 0;
    if (known) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "candidates",
                     "the policy chooses among %s, and none has one that it knows",
                     keel_space_name(base->space));
}

static keel_status complete(const keel_serve *serve, keel_job *job, keel_err *err) {
    KEEL_TRY(keel_gather_collect(job, err));
    KEEL_TRY(offer_fixed(serve, job, err));
    judge(serve, job);
    return check_choosable(job, err);
}

/* Whether the job is to be decided now. If not it is in other hands, or gone. */
static bool prepare(keel_serve *serve, keel_job *job) {
    keel_err err = {0};
    if (keel_http_gone(job->exchange)) {
        keel__serve_drop(serve, job);
        return false;
    }
    keel_status status = KEEL_OK;
    if (job->stage == KEEL_JOB_UNREAD) {
        keel_monitor_observe(serve->monitor, KEEL_MONITOR_QUEUE_TIME, NULL, keel_clock() - job->begun);
        status = read_job(serve, job, &err);
        if (status == KEEL_OK && keel_gather_begin(serve->gather, job)) return false;
    }
    if (status == KEEL_OK) status = complete(serve, job, &err);
    if (status == KEEL_OK) return true;
    keel__serve_fail(serve, job, keel_openai_status(status), &err);
    return false;
}

/* ---- feedback ---- */

/* It is about an answer that the log has, or that waits to be written. */
static void hear(keel_serve *serve, keel_job *job) {
    keel_http_response response = {.status = 200, .type = "application/json"};
    keel_err err = {0};
    keel_feedback feedback;
    const keel_status status =
        keel_feedback_read(job->request->body, job->request->length, &job->arena, &feedback, &err);
    feedback.at = job->at;
    if (status != KEEL_OK) {
        keel_http_fail(&response, keel_openai_status(status), &err);
    } else if (!serve->log) {
        keel_http_error(&response, 409, NULL, "no_store",
                        "this server keeps nothing: it was started without --store");
    } else if (!keel_served_log_knows(serve->log, feedback.request)) {
        keel_http_error(&response, 404, "id", "unknown_id", "no answer of this id is in the log");
    } else if (!keel_served_log_feedback(serve->log, &feedback)) {
        keel_http_error(&response, 503, NULL, "queue_full", "the log is full: try again");
        keel_http_response_header(&response, "Retry-After", "1");
    } else {
        keel_feedback_count(serve->monitor, &feedback);
        keel_drift_told(serve->drift, feedback.request, feedback.risk, feedback.completed);
        keel_buf_text(&response.body, "{\"accepted\":true}\n");
    }
    keel__serve_send(serve, job, &response);
}

/* ---- deciding ---- */

typedef struct batch {
    keel_serve *serve;
    keel_job **jobs; /* [n] of one version */
    size_t n;
    keel_arena *scratch;
} batch;

static keel_status decide(const batch *b, keel_serve_choice **choices, double *encode_seconds,
                          keel_err *err) {
    const keel_version *version = b->jobs[0]->version;
    const keel_serve_options *options = &b->serve->options;
    const keel_serve_deciding by = {version->policy, version->base, options->explore, options->seed};
    keel_serve_request *requests = keel_arena_alloc(b->scratch, b->n * sizeof *requests);
    *choices = keel_arena_alloc(b->scratch, b->n * sizeof **choices);
    if (!requests || !*choices) return keel_nomem(err, "serve");
    for (size_t i = 0; i < b->n; i++)
        requests[i] = (keel_serve_request){&b->jobs[i]->talk, b->jobs[i]->number};
    return keel_serve_decide(&by, requests, b->n, b->scratch, *choices, encode_seconds, err);
}

static void decide_batch(const batch *b);

/* What cannot be decided must not take the others of its batch with it. */
static void decide_singly(const batch *b) {
    for (size_t i = 0; i < b->n; i++) decide_batch(&(batch){b->serve, b->jobs + i, 1, b->scratch});
}

static void decide_batch(const batch *b) {
    keel_serve_choice *choices;
    keel_err err = {0};
    double encode_seconds = 0;
    const double begun = keel_clock();
    const keel_status status = decide(b, &choices, &encode_seconds, &err);
    const double decide_seconds = keel_clock() - begun - encode_seconds;
    if (status != KEEL_OK && b->n > 1) {
        decide_singly(b);
        return;
    }
    if (status != KEEL_OK) {
        keel_log(KEEL_LOG_INFO, "warning: a request could not be decided: %s", err.message);
        keel__serve_fail(b->serve, b->jobs[0], 500, &err);
        return;
    }
    keel_monitor_observe(b->serve->monitor, KEEL_MONITOR_BATCH, NULL, (double)b->n);
    keel_monitor_observe(b->serve->monitor, KEEL_MONITOR_ENCODE_TIME, NULL, encode_seconds);
    keel_monitor_observe(b->serve->monitor, KEEL_MONITOR_DECIDE_TIME, NULL, decide_seconds);
    for (size_t i = 0; i < b->n; i++)
        keel__serve_answer(b->serve, b->jobs[i], &choices[i], encode_seconds, decide_seconds);
}

/* Those of the first one's version to the front; how many. */
static size_t gather_version(keel_job **jobs, size_t n) {
    size_t same = 0;
    for (size_t i = 0; i < n; i++)
        if (jobs[i]->version == jobs[0]->version) {
            keel_job *one = jobs[i];
            memmove(jobs + same + 1, jobs + same, (i - same) * sizeof *jobs);
            jobs[same++] = one;
        }
    return same;
}

void keel__serve_work(void *context, keel_job **jobs, size_t n, keel_arena *scratch) {
    keel_serve *serve = context;
    size_t ready = 0;
    for (size_t i = 0; i < n; i++) {
        keel_job *job = jobs[i];
        if (job->kind == KEEL_JOB_FEEDBACK)
            hear(serve, job);
        else if (prepare(serve, job))
            jobs[ready++] = job;
    }
    for (size_t done = 0; done < ready;) {
        const size_t same = gather_version(jobs + done, ready - done);
        decide_batch(&(batch){serve, jobs + done, same, scratch});
        done += same;
    }
}
