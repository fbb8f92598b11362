/* What the files of the server share. Not for others. */
#ifndef KEEL_EXPERIMENTS_SERVE_SERVE_INTERNAL_H
#define KEEL_EXPERIMENTS_SERVE_SERVE_INTERNAL_H

#include "core/context.h"
#include "experiments/serve/admin.h"
#include "experiments/serve/crew.h"
#include "experiments/serve/drift.h"
#include "experiments/serve/gather.h"
#include "experiments/serve/guard.h"
#include "experiments/serve/monitor.h"
#include "experiments/serve/serve.h"
#include "experiments/serve/serve_decide.h"
#include "experiments/serve/served_log.h"
#include "rewards/judge.h"

struct keel_serve {
    keel_serve_options options;
    keel_monitor *monitor;
    keel_drift *drift; /* of the first arm */
    char expected[65]; /* hash of the policy whose gates say what is expected; of the log's thread */
    keel_versions *versions;
    keel_redact *redact;
    keel_served_log *log; /* NULL: none */
    keel_guards *guards;  /* NULL: none */
    keel_threads *threads;
    keel_upstreams *upstreams; /* NULL: none */
    keel_base *writer;         /* NULL: none of its own */
    keel_judge *judge;         /* of keel label: of answers that nobody has judged */
    keel_jobs *jobs;
    keel_gather *gather;
    keel_crew *crew;
    keel_admin *admin;
    const keel_http_server *door;
    double started;                  /* seconds since 1970 */
    keel_context under;              /* of its threads */
    keel_served_log_state log_state; /* at the end */
    _Atomic bool stopped;
    bool named; /* what the arms were opened with is in the store; of the log's thread */
};

/* serve_work.c: jobs of a batch; a keel_crew_work. */
void keel__serve_work(void *context, keel_job **jobs, size_t n, keel_arena *scratch);

/* serve_answer.c: answers a job that was decided, logs it, and lets it go. choice's arrays are used in the
 * call. */
void keel__serve_answer(keel_serve *serve, keel_job *job, const keel_serve_choice *choice,
                        double encode_seconds, double decide_seconds);
/* Sends a response, and lets the job go. */
void keel__serve_send(keel_serve *serve, keel_job *job, keel_http_response *response);
/* The same of an error. */
void keel__serve_fail(keel_serve *serve, keel_job *job, int status, const keel_err *err);
/* Nobody waits for it. */
void keel__serve_drop(keel_serve *serve, keel_job *job);
/* The outcome of an answer: as it is known, else as the judge says, whose verdict (may be NULL) is then
 * judged.
 */
keel_outcome keel__serve_judge(const keel_serve *serve, const keel_job *job, const keel_candidate *candidate,
                               keel_judge_verdict *verdict);

/* serve_details.c: what Keel thought, as JSON text in the arena; NULL when out of memory. */
typedef struct keel__serve_said {
    size_t candidate; /* place in the decision; SIZE_MAX: an answer of the base's own */
    size_t action;    /* of the base's space */
    const char *text;
    const char *why; /* the fallback was taken, or NULL: "nothing_arrived", "unfamiliar", "harm" */
    keel_outcome outcome;
    keel_judge_verdict verdict; /* that says so; label KEEL_UNJUDGED: it was known, or is not */
    double propensity;
    bool explored;
    double total_ms, upstream_ms, encode_ms, decide_ms;
} keel__serve_said;
const char *keel__serve_details(const keel_serve *serve, keel_job *job, const keel_serve_choice *choice,
                                const keel__serve_said *said);

#endif
