/* `keel serve`: requests in, the policy's choice among candidates out (README.md of this folder). Behind the
 * door (experiments/http.h), which it does not open itself. */
#ifndef KEEL_EXPERIMENTS_SERVE_SERVE_H
#define KEEL_EXPERIMENTS_SERVE_SERVE_H

#include "experiments/cli_propose.h"
#include "experiments/http.h"
#include "experiments/serve/arms.h"
#include "experiments/serve/upstream.h"

typedef struct keel_serve_options {
    keel_arms *arms;          /* and the first policy of each; borrowed, as is all below */
    const char *base;         /* folder of the base; NULL: beside the policy */
    double harm_threshold;    /* NAN: each policy's own */
    bool fallback_unfamiliar; /* unfamiliar states get the fallback */
    const keel_upstream_spec *upstreams;
    size_t n_upstreams;
    const char *writer;   /* path of a base that writes candidates; NULL: the policy's own, if it can */
    keel_propose_ask ask; /* what it is asked for; its pool too */
    const keel_candidate *fixed; /* [n_fixed] offered in every chat */
    size_t n_fixed;
    double deadline;   /* seconds: what has been written by then is chosen among */
    double explore;    /* share of decisions that are drawn from pi */
    bool shadow;       /* answer as the first upstream, or the caller's first candidate, does */
    bool behind_proxy; /* whoever asks may be a proxy */
    uint64_t seed;
    const char *store, *redact; /* paths; NULL: no log; nothing is redacted */
    const char *const *guards;  /* [n_guards] what no arm may break (serve/guard.h); with a store */
    size_t n_guards;
    const char *segment_header; /* whose value is the segment; NULL: none */
    size_t queue;               /* most requests at once; more are told to come back */
    size_t threads;             /* that decide; 0: one per processor */
    size_t most_batch;          /* requests that are encoded together */
} keel_serve_options;

enum { KEEL_SERVE_QUEUE = 1024, KEEL_SERVE_BATCH = 32 };

typedef struct keel_serve keel_serve;
keel_status keel_serve_open(keel_serve **out, const keel_serve_options *options, keel_err *err);
/* A keel_http_handler; context is the keel_serve. */
void keel_serve_handle(void *context, keel_http_exchange *exchange, const keel_http_request *request);
/* The door in front of it, for metrics. */
void keel_serve_behind(keel_serve *serve, const keel_http_server *door);
/* Whether chats have candidates: an upstream or a base writes for each arm that chooses among them. */
bool keel_serve_has_writer(keel_serve *serve);
/* After keel_http_run: answers what is still there, ends all threads, writes the log. */
void keel_serve_stop(keel_serve *serve);

/* What it did. */
typedef struct keel_serve_tally {
    double answered, failed, gone, fallbacks, logged, lost;
} keel_serve_tally;
keel_serve_tally keel_serve_counted(const keel_serve *serve);
void keel_serve_close(keel_serve *serve); /* stops it first, if need be; NULL is harmless */

#endif
