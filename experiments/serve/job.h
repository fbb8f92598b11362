/* One request on its way through the server: who waits for it, what it asks, what was gathered for it. A job
 * is in one hand at a time: the HTTP thread makes it, a worker reads it, gather holds it while candidates are
 * written (gather.h), a worker decides and answers it. */
#ifndef KEEL_EXPERIMENTS_SERVE_JOB_H
#define KEEL_EXPERIMENTS_SERVE_JOB_H

#include "core/memory.h"
#include "datasets/store_served.h"
#include "experiments/http.h"
#include "experiments/serve/asked.h"
#include "experiments/serve/threads.h"
#include "experiments/serve/upstream.h"
#include "experiments/serve/versions.h"
#include "policies/base.h"

typedef enum keel_job_kind { KEEL_JOB_CHAT, KEEL_JOB_CHOOSE, KEEL_JOB_FEEDBACK } keel_job_kind;
typedef enum keel_job_stage { KEEL_JOB_UNREAD, KEEL_JOB_READ } keel_job_stage;

/* Where a candidate comes from: what the decision does not hold. */
typedef struct keel_job_source {
    const char *from;    /* the name of an upstream, "writer", "fixed", "caller" */
    const char *message; /* the assistant's message as JSON, where it calls tools; else NULL */
    const char *content; /* what it says beside those calls */
    const char *finish;  /* why it ends; NULL: "stop" */
    int64_t prompt_tokens, completion_tokens; /* -1: not known */
    int64_t place;                            /* in the caller's list; -1: not of it */
    bool guessed; /* the candidate's outcome is what the server's judge makes of it */
} keel_job_source;

/* What a base wrote. */
typedef struct keel_job_text {
    const char *text, *model;
    bool cut; /* at the most tokens */
} keel_job_text;

/* What is being gathered; under the lock of gather. */
typedef struct keel_job_gathered {
    unsigned awaited;       /* bits of who still writes */
    struct keel_wish *wish; /* what the writer is asked, while it is awaited */
    double begun, ended;
    keel_arena upstream; /* of the replies */
    const keel_upstream_reply *replies;
    size_t n_replies;
    const char *troubles;
    keel_arena written; /* of the texts */
    keel_job_text *texts;
    size_t n_texts;
    bool late; /* the deadline came before all had written */
} keel_job_gathered;

typedef struct keel_job {
    struct keel_job *next, *previous; /* in the list of whoever holds it */
    keel_job_kind kind;
    keel_job_stage stage;
    uint64_t number;              /* of the request, from 1: what is drawn at random for it */
    char id[48];                  /* "chatcmpl-..." */
    char name[KEEL_THREADS_NAME]; /* of the conversation */
    keel_http_exchange *exchange;
    const keel_http_request *request; /* until the exchange is sent */
    double begun;                     /* core/clock.h, as deadline */
    double deadline;                  /* of candidates */
    double at;                        /* seconds since 1970 */
    keel_arena arena;                 /* of all that follows, and of what the log gets */
    keel_asked asked;
    const keel_version *version; /* it is decided by; held */
    uint32_t stopped;            /* arms that were stopped when the arm was drawn, by keel_arms_assign */
    keel_conversation talk;
    keel_decision decision;  /* the one of the talk, still open */
    keel_job_source *source; /* [decision.n_candidates] */
    size_t room;             /* of candidates and sources */
    keel_job_gathered gathered;
    size_t usual; /* bytes that its arena took before */
} keel_job;

/* Makes the talk and its open decision of what was asked; the caller's candidates are its own. */
keel_status keel_job_begin(keel_job *job, keel_err *err);
/* Adds a candidate, unless its response is there already. The texts stay where they are. */
keel_status keel_job_offer(keel_job *job, const keel_candidate *candidate, const keel_job_source *source,
                           keel_err *err);

/* All jobs there are: so many requests at once, and no more. */
typedef struct keel_jobs keel_jobs;
keel_status keel_jobs_open(keel_jobs **out, size_t most, keel_err *err);
/* A job with a number and an id of its own, which nobody can guess; NULL: all are in use, or out of memory.
 */
keel_job *keel_jobs_take(keel_jobs *jobs);
void keel_jobs_give(keel_jobs *jobs, keel_job *job); /* its exchange is sent */
size_t keel_jobs_flying(keel_jobs *jobs);            /* that are in use */
void keel_jobs_close(keel_jobs *jobs);               /* NULL is harmless */

#endif
