/* What `keel serve` tells about itself: counters, gauges and histograms that all stages write to and that
 * GET /metrics reads, as Prometheus' text format 0.0.4. Names are vLLM's under "keel:" where vLLM has such a
 * metric; process_* are those that Prometheus' own clients give.
 *
 * A metric is one row below. Writing takes no lock. Each has at most one label; the first KEEL_MONITOR_MOST
 * values of a label are told apart, what comes later is counted together as "other", so that nobody who
 * sends requests can make the monitor grow. */
#ifndef KEEL_EXPERIMENTS_SERVE_MONITOR_H
#define KEEL_EXPERIMENTS_SERVE_MONITOR_H

#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"
#include "experiments/http.h"

enum { KEEL_MONITOR_MOST = 32, KEEL_MONITOR_LABEL = 80 /* bytes of a label's value, the rest is cut */ };

/* TIMES: a histogram of seconds; SIZES: one of whole numbers. */
typedef enum keel_monitor_kind {
    KEEL_MONITOR_COUNTER,
    KEEL_MONITOR_GAUGE,
    KEEL_MONITOR_TIMES,
    KEEL_MONITOR_SIZES
} keel_monitor_kind;

/* ROW(ID, KIND, name, label or NULL, help) */
#define KEEL_MONITOR_ROWS(ROW)                                                                               \
    ROW(RUNNING, GAUGE, "keel:num_requests_running", NULL, "Requests that were read and are not answered")   \
    ROW(WAITING, GAUGE, "keel:num_requests_waiting", NULL, "Requests that wait to be decided on")            \
    ROW(SUCCESS, COUNTER, "keel:request_success_total", "finished_reason",                                   \
        "Answers to requests that ask for a choice, by why the answer ends")                                 \
    ROW(FAILURE, COUNTER, "keel:request_failure_total", "code", "Answers with an error, by HTTP status")     \
    ROW(GONE, COUNTER, "keel:request_gone_total", NULL, "Requests whose client hung up before the answer")   \
    ROW(E2E_TIME, TIMES, "keel:e2e_request_latency_seconds", NULL, "From a whole request to its answer")     \
    ROW(QUEUE_TIME, TIMES, "keel:request_queue_time_seconds", NULL, "A request's wait for its decision")     \
    ROW(UPSTREAM_WAIT, TIMES, "keel:request_upstream_time_seconds", NULL,                                    \
        "A request's wait for its candidates, all upstreams together")                                       \
    ROW(ENCODE_TIME, TIMES, "keel:request_encode_time_seconds", NULL, "Encoding of a batch of requests")     \
    ROW(DECIDE_TIME, TIMES, "keel:request_decide_time_seconds", NULL, "Decision on a batch of requests")     \
    ROW(PROMPT_TOKENS, COUNTER, "keel:prompt_tokens_total", NULL, "Tokens read, as upstreams count them")    \
    ROW(GENERATION_TOKENS, COUNTER, "keel:generation_tokens_total", NULL,                                    \
        "Tokens written, as upstreams count them")                                                           \
    ROW(BATCH, SIZES, "keel:batch_size", NULL, "Requests that are encoded and decided on together")          \
    ROW(CANDIDATES, SIZES, "keel:request_candidates", NULL, "Candidates of a request")                       \
    ROW(DECISIONS, COUNTER, "keel:decisions_total", "arm", "Decisions, by arm")                              \
    ROW(FALLBACKS, COUNTER, "keel:fallbacks_total", "arm", "Decisions for the fallback, by arm")             \
    ROW(FALLBACK_REASONS, COUNTER, "keel:fallback_reasons_total", "reason", "Why the fallback was taken")    \
    ROW(REFUSALS, COUNTER, "keel:refusals_total", "arm", "Answers that refuse, by arm")                      \
    ROW(UNJUDGED, COUNTER, "keel:unjudged_total", "arm",                                                     \
        "Answers of which nothing says whether they refuse, by arm")                                         \
    ROW(EXPLORED, COUNTER, "keel:explored_total", "arm", "Decisions drawn instead of the best, by arm")      \
    ROW(UNFAMILIAR, COUNTER, "keel:unfamiliar_total", "arm",                                                 \
        "Requests unlike all that the policy learned from, by arm")                                          \
    ROW(UPSTREAM_TIME, TIMES, "keel:upstream_time_seconds", "upstream", "Calls of an upstream")              \
    ROW(UPSTREAM_REQUESTS, COUNTER, "keel:upstream_requests_total", "upstream", "Calls of an upstream")      \
    ROW(UPSTREAM_ERRORS, COUNTER, "keel:upstream_errors_total", "upstream",                                  \
        "Calls that brought no candidate, by upstream")                                                      \
    ROW(UPSTREAM_TROUBLES, COUNTER, "keel:upstream_troubles_total", "trouble",                               \
        "Calls that brought no candidate, by what went wrong")                                               \
    ROW(FEEDBACK, COUNTER, "keel:feedback_total", "feedback", "Feedback of users, by what it says")          \
    ROW(COMPLETED, COUNTER, "keel:feedback_completed_total", "completed",                                    \
        "Feedback that says whether the conversation got done")                                              \
    ROW(LOG_QUEUE, GAUGE, "keel:log_queue_length", NULL, "Records that wait to be written to the store")     \
    ROW(LOG_WRITTEN, COUNTER, "keel:log_written_total", NULL, "Records written to the store")                \
    ROW(LOG_LOST, COUNTER, "keel:log_lost_total", "why", "Records that never reach the store")               \
    ROW(STORE_LAG, GAUGE, "keel:store_lag_seconds", NULL, "Age of the oldest record that waits")             \
    ROW(POLICY, GAUGE, "keel:policy_info", "policy", "1: an arm serves the policy of this hash")             \
    ROW(PUBLICATIONS, COUNTER, "keel:publications_total", "arm", "Policies that an arm began to serve")      \
    ROW(PUBLISH_ERRORS, COUNTER, "keel:publication_errors_total", "arm",                                     \
        "Policies that failed their checks and were not served")                                             \
    ROW(ARM_STOPPED, GAUGE, "keel:arm_stopped", "arm", "1: a guardrail stopped the arm")                     \
    ROW(DRIFT, GAUGE, "keel:drift_rate", "rate", "A rate over the last requests that say it")                \
    ROW(DRIFT_LOW, GAUGE, "keel:drift_gate_low", "rate", "Lower end of the interval of the gate")            \
    ROW(DRIFT_HIGH, GAUGE, "keel:drift_gate_high", "rate", "Upper end of the interval of the gate")          \
    ROW(DRIFT_OUTSIDE, GAUGE, "keel:drift_outside_gate", "rate",                                             \
        "1: the rate is outside the interval of the gate, by more than chance")                              \
    ROW(CONNECTIONS, GAUGE, "keel:http_connections", NULL, "Open connections")                               \
    ROW(BODY_BYTES, GAUGE, "keel:http_body_bytes", NULL, "Bytes of request bodies held")                     \
    ROW(ACCEPTED, COUNTER, "keel:http_connections_total", NULL, "Connections accepted")                      \
    ROW(HTTP_REQUESTS, COUNTER, "keel:http_requests_total", NULL, "Requests whose headers came")             \
    ROW(REFUSED, COUNTER, "keel:http_refused_total", NULL, "Requests that the door refused")                 \
    ROW(CUT, COUNTER, "keel:http_cut_total", NULL, "Connections cut because they were too slow")             \
    ROW(START_TIME, GAUGE, "process_start_time_seconds", NULL, "Start, in seconds since 1970")               \
    ROW(CPU_TIME, COUNTER, "process_cpu_seconds_total", NULL, "Processor time, user and system")             \
    ROW(MEMORY, GAUGE, "process_resident_memory_bytes", NULL, "Memory that the process has in use")          \
    ROW(FILES, GAUGE, "process_open_fds", NULL, "Open files and sockets")

typedef enum keel_monitor_metric {
#define KEEL_MONITOR_ID(ID, KIND, name, label, help) KEEL_MONITOR_##ID,
    KEEL_MONITOR_ROWS(KEEL_MONITOR_ID)
#undef KEEL_MONITOR_ID
        KEEL_MONITOR_METRICS
} keel_monitor_metric;

typedef struct keel_monitor_row {
    keel_monitor_kind kind;
    const char *name, *label, *help;
} keel_monitor_row;
extern const keel_monitor_row keel_monitor_rows[KEEL_MONITOR_METRICS];

typedef struct keel_monitor keel_monitor;
keel_status keel_monitor_open(keel_monitor **out, keel_err *err);
void keel_monitor_close(keel_monitor *monitor); /* NULL is harmless */

/* Any thread. label: the value of the metric's label, NULL where it has none. A monitor that is NULL counts
 * nothing; out of memory for a new label's value counts nothing either. */
void keel_monitor_add(keel_monitor *monitor, keel_monitor_metric metric, const char *label, double by);
void keel_monitor_set(keel_monitor *monitor, keel_monitor_metric metric, const char *label, double value);
void keel_monitor_observe(keel_monitor *monitor, keel_monitor_metric metric, const char *label, double value);
/* What a counter or gauge holds; 0 where nothing was counted. */
double keel_monitor_value(const keel_monitor *monitor, keel_monitor_metric metric, const char *label);

/* Takes over what the door counted, and what the system knows of the process. */
void keel_monitor_take_http(keel_monitor *monitor, const keel_http_counts *counts);
void keel_monitor_take_process(keel_monitor *monitor);
extern const char keel_monitor_type[]; /* Content-Type of what is printed */
/* Appends all metrics; those with a label that nothing was counted for have no line but HELP and TYPE. */
void keel_monitor_print(const keel_monitor *monitor, keel_buf *buf);

#endif
