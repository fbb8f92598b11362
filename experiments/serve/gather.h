/* Having candidates written for a job: by the upstreams, all in parallel, and by a base, in a thread that
 * takes all requests that wait for it together. A job is handed on when all have written, or at its deadline
 * with what is there by then, or when nobody waits for its answer any more. */
#ifndef KEEL_EXPERIMENTS_SERVE_GATHER_H
#define KEEL_EXPERIMENTS_SERVE_GATHER_H

#include "experiments/cli_propose.h"
#include "experiments/serve/job.h"

typedef struct keel_gather_options {
    keel_upstreams *upstreams;         /* NULL: none */
    const keel_base *writer;           /* that writes for all; NULL: the base of a job's version, if it can */
    const keel_propose_ask *ask;       /* what a base is asked for; n 0 and no instructions: nothing */
    bool (*gone)(const keel_job *job); /* nobody waits for it; asked from any thread */
    void (*ready)(void *context, keel_job *job); /* from any thread; must not block */
    void *context;
} keel_gather_options;

typedef struct keel_gather keel_gather;
keel_status keel_gather_open(keel_gather **out, const keel_gather_options *options, keel_err *err);
/* Has candidates written for a job that was read. True: it is gather's until `ready`, which may be called
 * before this returns. False: there is nothing to wait for. */
bool keel_gather_begin(keel_gather *gather, keel_job *job);
/* Once it is ready: what was written joins the candidates of its decision. */
keel_status keel_gather_collect(keel_job *job, keel_err *err);
/* Whether anything may write for such a job, so that no candidate means that nothing came. */
bool keel_gather_writes(const keel_gather *gather, const keel_job *job);
/* Whether anything may write for the chats of a policy on this base. */
bool keel_gather_can_write(const keel_gather *gather, const keel_base *base);
/* The end, in this order: stop, then close the upstreams, then drain, then whoever takes jobs, then close.
 * stop: from now on `begin` is false. drain: hands on what still waits, and ends the threads. close: NULL is
 * harmless. */
void keel_gather_stop(keel_gather *gather);
void keel_gather_drain(keel_gather *gather);
void keel_gather_close(keel_gather *gather);

#endif
