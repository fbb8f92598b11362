/* The log of what is served: a bounded queue, and one thread that writes it into the store, many entries a
 * transaction. It never makes serving wait. What cannot be kept, since the queue or the disk is full, is
 * counted, in the store too as soon as that can be written (table served_lost).
 *
 * Each entry is counted before it is queued, in a file beside the store, "STORE-serve", that outlives the
 * process: after a kill the next start finds how many entries were accepted and never written, and records
 * them as lost. One server writes to a store at a time.
 *
 * Texts are redacted before they are queued; names of users are kept as hashes (salted with a setting of the
 * store). */
#ifndef KEEL_EXPERIMENTS_SERVE_SERVED_LOG_H
#define KEEL_EXPERIMENTS_SERVE_SERVED_LOG_H

#include "core/memory.h"
#include "datasets/store_served.h"
#include "experiments/serve/monitor.h"
#include "experiments/serve/redact.h"

typedef struct keel_served_log keel_served_log;

typedef struct keel_served_log_options {
    size_t queue;              /* most entries that wait; 0: 8,192 */
    size_t queue_bytes;        /* most bytes of them; 0: 64 MiB */
    const char *arms;          /* JSON object: names of arms and their shares; NULL: {"default": 1} */
    const keel_redact *redact; /* borrowed; NULL: nothing is redacted */
    /* Called in the log's thread about once a second, with the store and no transaction open: for who
     * follows publications. NULL: nobody. */
    void (*look)(void *context, keel_store *store);
    void *context;
} keel_served_log_options;

/* Makes the store if it is missing. KEEL_E_CONFLICT: another server writes to it. */
keel_status keel_served_log_open(keel_served_log **out, const char *store,
                                 const keel_served_log_options *options, keel_err *err);
/* Writes what is queued, gives up after a few seconds if the store cannot be written, and closes. NULL is
 * harmless. */
void keel_served_log_close(keel_served_log *log);

/* Queues a request. served and all that it points to lie in the arena, which is moved: *arena is empty
 * afterwards, whatever comes back. served->user is the user as the client calls it: here it becomes a hash;
 * served->start is set here; NULL: there was no memory for it. false: the queue is full, or there was no
 * memory; it is counted. From any thread; does not wait for the disk. */
bool keel_served_log_put(keel_served_log *log, keel_served *served, keel_arena *arena);
/* Whether a request of this id waits here or is in the store; true too where the store cannot be read, so
 * that nobody knows. From any thread; reads the disk. */
bool keel_served_log_knows(keel_served_log *log, const char *request);
/* The same for feedback, which is copied. One about a request that is still queued is written after it. */
bool keel_served_log_feedback(keel_served_log *log, const keel_feedback *feedback);

/* Which start of a server on this store it is: another number each time. */
int64_t keel_served_log_start(const keel_served_log *log);

typedef struct keel_served_log_state {
    int64_t accepted, requests, feedback; /* taken in; written */
    int64_t lost;                         /* accepted and given up, in this start */
    int64_t lost_before;                  /* found at this start, of one that was killed */
    int64_t dropped;                      /* of the lost, since the queue was full */
    size_t queued;                        /* entries that wait */
    double lag;                           /* seconds that the oldest of them has waited */
    bool failing;                         /* the last transaction failed */
} keel_served_log_state;
void keel_served_log_state_of(keel_served_log *log, keel_served_log_state *out);
/* The same for GET /metrics; log NULL: nothing. */
void keel_served_log_measure(keel_served_log *log, keel_monitor *monitor);

#endif
