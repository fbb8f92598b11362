#include "experiments/serve/upstream.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "core/clock.h"
#include "core/json.h"
#include "experiments/serve/upstream_reply.h"

static const char where[] = "upstream";
static const double LINGER = 0.1; /* seconds that a stream may stay open after its last word */

typedef struct upstream {
    keel_upstream_spec spec;
    char *key;
    atomic_bool singly; /* it answers one choice whatever is asked for */
} upstream;

struct keel_upstreams {
    keel_http_client *client;
    upstream *list;
    size_t n;
    keel_monitor *monitor;
    keel_arena arena; /* of the specs */
};

/* A call to one upstream. */
typedef struct calling {
    struct calling *next;
    struct asking *asking;
    size_t at;    /* of upstreams */
    size_t n;     /* choices asked for */
    size_t first; /* how many the calls before it ask this upstream for: no seed twice */
    bool again;   /* for a choice that the call before left out */
    keel_buf body;
    keel_upstream_stream *stream;
    double began, done_at; /* done_at: [DONE] came; 0: not yet */
    double seconds;        /* that it took */
    keel_http_trouble trouble;
    keel_buf words; /* about the trouble */
    keel_upstream_completion completion;
} calling;

/* A request to all of them. Made in the thread that asks, which holds it until all calls began; what a call
 * came to is written by the client's thread, or by the one that asks where it could not begin. */
typedef struct asking {
    keel_upstreams *all;
    keel_upstream_ask ask;
    keel_buf common;          /* of every body, ended by a comma */
    double temperature, seed; /* of the body; NAN: none */
    atomic_size_t open;       /* calls, and the hold */
    calling *calls, **tail;   /* oldest first */
} asking;

/* ---- bodies ---- */

/* What goes on of a client's body. No more: some servers read addresses and keys out of one. */
static const char *const passed[] = {
    "messages",   "tools",           "tool_choice",           "parallel_tool_calls",
    "stop",       "max_tokens",      "max_completion_tokens", "top_p",
    "top_k",      "min_p",           "presence_penalty",      "frequency_penalty",
    "logit_bias", "response_format", "reasoning_effort",      NULL,
};

static keel_status put_common(asking *a, keel_err *err) {
    keel_arena json = {0};
    const cJSON *body = NULL;
    keel_status status = keel_json_parse_in(&json, a->ask.body, strlen(a->ask.body), "body", &body, err);
    if (status == KEEL_OK && !cJSON_IsObject(body))
        status = keel_fail(err, KEEL_E_PARSE, "body", "expected a JSON object");
    keel_buf_text(&a->common, "{");
    for (const char *const *key = passed; status == KEEL_OK && *key; key++) {
        const cJSON *value = keel_json_get(body, *key);
        if (!value || cJSON_IsNull(value)) continue;
        keel_buf_format(&a->common, "\"%s\":", *key);
        status = keel_json_print(value, false, &a->common, err);
        keel_buf_text(&a->common, ",");
    }
    a->temperature = status == KEEL_OK ? keel_json_value(body, "temperature") : (double)NAN;
    a->seed = status == KEEL_OK ? keel_json_value(body, "seed") : (double)NAN;
    keel_arena_free(&json);
    return status == KEEL_OK && a->common.failed ? keel_nomem(err, where) : status;
}

static bool put_body(calling *c) {
    const keel_upstream_spec *spec = &c->asking->all->list[c->at].spec;
    const double temperature = isnan(spec->temperature) ? c->asking->temperature : spec->temperature;
    keel_buf_append(&c->body, c->asking->common.data, c->asking->common.length);
    if (spec->model) {
        keel_buf_text(&c->body, "\"model\":");
        keel_json_put_string(&c->body, spec->model);
        keel_buf_text(&c->body, ",");
    }
    if (!isnan(temperature)) {
        keel_buf_text(&c->body, "\"temperature\":");
        keel_json_put_number(&c->body, temperature);
        keel_buf_text(&c->body, ",");
    }
    if (!isnan(c->asking->seed)) {
        keel_buf_text(&c->body, "\"seed\":");
        keel_json_put_number(&c->body, c->asking->seed + (double)c->first);
        keel_buf_text(&c->body, ",");
    }
    if (c->n > 1) keel_buf_format(&c->body, "\"n\":%zu,", c->n);
    keel_buf_text(&c->body, spec->stream ? "\"stream\":true,\"stream_options\":{\"include_usage\":true}}"
                                         : "\"stream\":false}");
    return !c->body.failed;
}

/* ---- the end of an ask ---- */

static void free_asking(asking *a) {
    for (calling *c = a->calls, *next; c; c = next) {
        next = c->next;
        keel_buf_free(&c->body);
        keel_buf_free(&c->words);
        keel_upstream_stream_close(c->stream);
        keel_free(c);
    }
    keel_buf_free(&a->common);
    keel_free(a);
}

static void put_replies(const calling *c, keel_upstream_reply *out) {
    const keel_upstream_spec *spec = &c->asking->all->list[c->at].spec;
    const keel_upstream_completion *from = &c->completion;
    for (size_t i = 0; i < from->n; i++)
        out[i] = (keel_upstream_reply){.upstream = spec->name,
                                       .model = from->model   ? from->model
                                                : spec->model ? spec->model
                                                              : spec->name,
                                       .text = from->choices[i].text,
                                       .message = from->choices[i].message,
                                       .finish = from->choices[i].finish,
                                       .prompt_tokens = i == 0 ? from->prompt_tokens : -1,
                                       .completion_tokens = i == 0 ? from->completion_tokens : -1,
                                       .latency_ms = c->seconds * 1000};
}

/* In the order of upstreams, and of an upstream in that of its calls. */
static size_t put_all(const asking *a, keel_upstream_reply **out, keel_buf *troubles) {
    size_t n = 0, room = 0;
    for (const calling *c = a->calls; c; c = c->next) room += c->completion.n;
    *out = room > 0 ? keel_arena_calloc(a->ask.arena, room, sizeof **out) : NULL;
    for (size_t at = 0; at < a->all->n; at++)
        for (const calling *c = a->calls; c; c = c->next) {
            if (c->at != at) continue;
            if (*out) put_replies(c, *out + n);
            n += *out ? c->completion.n : 0;
            if (c->words.length > 0)
                keel_buf_format(troubles, "%s%s: %s: %s", troubles->length > 0 ? "; " : "",
                                a->all->list[at].spec.name, keel_http_trouble_name(c->trouble),
                                c->words.data);
        }
    return n;
}

/* One call less; the last one tells. */
static void close_one(asking *a) {
    keel_upstream_reply *replies;
    keel_buf troubles = {0};
    if (atomic_fetch_sub(&a->open, 1) > 1) return;
    const size_t n = put_all(a, &replies, &troubles);
    const char *told =
        troubles.length > 0 && !troubles.failed ? keel_arena_strdup(a->ask.arena, troubles.data) : "";
    keel_buf_free(&troubles);
    a->ask.done(a->ask.context, replies, n, told ? told : "");
    free_asking(a);
}

/* ---- what a call came to ---- */

/* What an error says of itself, unless it may hold a part of the key. */
static const char *complaint_of(const calling *c, const keel_http_got *got) {
    const char *key = c->asking->all->list[c->at].key;
    if (got->status < 400 || got->status == 401 || got->status == 403) return "";
    const char *says = keel_upstream_complaint(got->body->data, got->body->length, c->asking->ask.arena);
    return *key && strstr(says, key) ? "" : says;
}

/* Of a stream that was cut off, what had come to its end counts; of one that became nonsense nothing does. */
static keel_http_trouble read_stream(calling *c, const keel_http_got *got, keel_err *err) {
    const bool whole = keel_upstream_stream_whole(c->stream);
    if (got->trouble == KEEL_HTTP_NONSENSE) return KEEL_HTTP_NONSENSE;
    const keel_status status = keel_upstream_stream_end(c->stream, c->asking->ask.arena, &c->completion, err);
    if (status != KEEL_OK) c->completion.n = 0;
    if (status == KEEL_OK && c->done_at > 0) return KEEL_HTTP_NONE; /* whatever came after it */
    if (got->trouble != KEEL_HTTP_NONE) return got->trouble;
    if (whole) return status == KEEL_OK ? KEEL_HTTP_NONE : KEEL_HTTP_NONSENSE;
    keel_fail(err, KEEL_E_PARSE, where, "the stream ends before its last word");
    return KEEL_HTTP_CUT;
}

static keel_http_trouble read_body(calling *c, const keel_http_got *got, keel_err *err) {
    if (got->trouble != KEEL_HTTP_NONE) return got->trouble;
    if (keel_upstream_read(got->body->data, got->body->length, c->asking->ask.arena, &c->completion, err) ==
        KEEL_OK)
        return KEEL_HTTP_NONE;
    c->completion.n = 0;
    return KEEL_HTTP_NONSENSE;
}

/* Some servers answer one choice however many are asked for, others refuse to be asked for more. */
static bool knows_no_n(const calling *c, int status) {
    if (c->n <= 1) return false;
    if (c->trouble == KEEL_HTTP_NONE) return c->completion.n < c->n;
    return c->trouble == KEEL_HTTP_REFUSED && (status == 400 || status == 422);
}

/* ---- calls ---- */

static void call_done(void *context, const keel_http_got *got);

static bool call_gone(void *context) {
    const calling *c = context;
    const keel_upstream_ask *ask = &c->asking->ask;
    return (ask->gone && ask->gone(ask->context)) || (c->done_at > 0 && keel_clock() - c->done_at > LINGER);
}

static bool call_took(void *context, const char *bytes, size_t length) {
    calling *c = context;
    keel_err err = {0};
    if (keel_upstream_stream_take(c->stream, bytes, length, &err) != KEEL_OK) {
        keel_buf_text(&c->words, err.message);
        return false;
    }
    if (c->done_at <= 0 && keel_upstream_stream_done(c->stream)) c->done_at = keel_clock();
    return true;
}

/* A call that is ready to begin; NULL: out of memory. */
static calling *add_call(asking *a, size_t at, size_t n, size_t first, bool again) {
    calling *c = keel_calloc(1, sizeof *c);
    if (!c) return NULL;
    *c = (calling){.asking = a, .at = at, .n = n, .first = first, .again = again};
    *a->tail = c;
    a->tail = &c->next;
    const bool ok = !a->all->list[at].spec.stream || keel_upstream_stream_open(&c->stream, NULL) == KEEL_OK;
    if (!ok || !put_body(c)) return NULL;
    atomic_fetch_add(&a->open, 1);
    return c;
}

static void begin_call(calling *c) {
    const upstream *u = &c->asking->all->list[c->at];
    keel_err err;
    c->began = keel_clock();
    const keel_http_fetch fetch = {.url = u->spec.url,
                                   .body = c->body.data,
                                   .length = c->body.length,
                                   .token = u->key,
                                   .deadline = fmin(c->asking->ask.deadline, c->began + u->spec.timeout),
                                   .most = KEEL_UPSTREAM_MOST_BYTES,
                                   .gone = call_gone,
                                   .took = c->stream ? call_took : NULL,
                                   .done = call_done,
                                   .context = c};
    if (keel_http_client_start(c->asking->all->client, &fetch, &err) == KEEL_OK) return;
    c->trouble = KEEL_HTTP_FAILED;
    keel_buf_text(&c->words, err.message);
    close_one(c->asking);
}

/* The choices that a call left out, one by one. Without memory they stay out. */
static void ask_again(const calling *c) {
    for (size_t i = c->completion.n; i < c->n; i++) {
        calling *more = add_call(c->asking, c->at, 1, c->first + i, true);
        if (!more) return;
        begin_call(more);
    }
}

static void count(keel_monitor *monitor, const char *name, const calling *c) {
    keel_monitor_add(monitor, KEEL_MONITOR_UPSTREAM_REQUESTS, name, 1);
    keel_monitor_observe(monitor, KEEL_MONITOR_UPSTREAM_TIME, name, c->seconds);
    if (c->trouble != KEEL_HTTP_NONE)
        keel_monitor_add(monitor, KEEL_MONITOR_UPSTREAM_TROUBLES, keel_http_trouble_name(c->trouble), 1);
    if (c->completion.n == 0) keel_monitor_add(monitor, KEEL_MONITOR_UPSTREAM_ERRORS, name, 1);
}

static void call_done(void *context, const keel_http_got *got) {
    calling *c = context;
    asking *a = c->asking;
    upstream *u = &a->all->list[c->at];
    keel_err err = {0};
    c->trouble = got->streamed ? read_stream(c, got, &err) : read_body(c, got, &err);
    c->seconds = c->done_at > 0 ? c->done_at - c->began : got->seconds;
    count(a->all->monitor, u->spec.name, c);
    if (c->trouble == KEEL_HTTP_NONE && (c->again || c->completion.n < c->n)) u->singly = true;
    if (knows_no_n(c, got->status)) {
        ask_again(c);
    } else if (c->trouble != KEEL_HTTP_NONE && c->words.length == 0) {
        const char *complaint = complaint_of(c, got);
        keel_buf_format(&c->words, "%s%s%s", *got->words ? got->words : err.message, *complaint ? ": " : "",
                        complaint);
    }
    close_one(a);
}

keel_status keel_upstreams_ask(keel_upstreams *upstreams, const keel_upstream_ask *ask, keel_err *err) {
    asking *a = keel_calloc(1, sizeof *a);
    keel_status status;
    if (!a) return keel_nomem(err, where);
    a->all = upstreams;
    a->ask = *ask;
    a->tail = &a->calls;
    a->open = 1;
    KEEL_TRY_GOTO(put_common(a, err), failed);
    size_t n = 0;
    for (size_t at = 0; at < upstreams->n; at++) {
        const upstream *u = &upstreams->list[at];
        const size_t wanted = ask->n_per_upstream ? ask->n_per_upstream : u->spec.n,
                     calls = u->singly ? wanted : 1;
        for (size_t i = 0; i < calls; i++, n++) {
            if (add_call(a, at, wanted / calls, i, false)) continue;
            status = keel_nomem(err, where);
            goto failed;
        }
    }
    calling *c = a->calls;
    for (; n > 0; n--) { /* what stands behind them is the client's */
        calling *next = n > 1 ? c->next : NULL;
        begin_call(c);
        c = next;
    }
    close_one(a);
    return KEEL_OK;
failed:
    free_asking(a);
    return status;
}

/* ---- the door ---- */

static keel_status open_one(keel_upstreams *all, size_t i, const keel_upstream_spec *spec, keel_err *err) {
    upstream *u = &all->list[i];
    const char *key = "";
    for (size_t j = 0; j < i; j++)
        if (strcmp(all->list[j].spec.name, spec->name) == 0)
            return keel_fail(err, KEEL_E_USAGE, "--upstream",
                             "two are named %s: give each a name=", spec->name);
    if (spec->key_env) KEEL_TRY(keel_http_client_key(spec->key_env, "--upstream", &key, err));
    u->spec = *spec;
    u->spec.name = keel_arena_strdup(&all->arena, spec->name);
    u->spec.url = keel_arena_strdup(&all->arena, spec->url);
    u->spec.model = keel_arena_strdup(&all->arena, spec->model);
    u->spec.key_env = NULL;
    u->key = keel_arena_strdup(&all->arena, key);
    return u->spec.name && u->spec.url && !u->spec.model == !spec->model && u->key ? KEEL_OK
                                                                                   : keel_nomem(err, where);
}

keel_status keel_upstreams_open(keel_upstreams **out, const keel_upstream_spec *specs, size_t n,
                                keel_monitor *monitor, keel_err *err) {
    keel_status status = KEEL_OK;
    keel_upstreams *all = *out = keel_calloc(1, sizeof *all);
    if (!all) return keel_nomem(err, where);
    *all = (keel_upstreams){.n = n, .monitor = monitor};
    all->list = keel_arena_calloc(&all->arena, n ? n : 1, sizeof *all->list);
    if (!all->list) status = keel_nomem(err, where);
    if (n > KEEL_UPSTREAM_MOST)
        status = keel_fail(err, KEEL_E_USAGE, "--upstream", "at most %d can be asked", KEEL_UPSTREAM_MOST);
    for (size_t i = 0; status == KEEL_OK && i < n; i++) status = open_one(all, i, &specs[i], err);
    if (status == KEEL_OK) status = keel_http_client_open(&all->client, err);
    if (status == KEEL_OK) return KEEL_OK;
    keel_upstreams_close(all);
    *out = NULL;
    return status;
}

void keel_upstreams_close(keel_upstreams *upstreams) {
    if (!upstreams) return;
    keel_http_client_close(upstreams->client);
    keel_arena_free(&upstreams->arena);
    keel_free(upstreams);
}
