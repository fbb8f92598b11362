/* What the HTTP thread does: tells routes apart, takes jobs in, and answers at once what needs no work. */
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "experiments/serve/openai.h"
#include "experiments/serve/serve_internal.h"
#include "policies/artefact.h"
#include "policies/policy_internal.h"

/* ---- work for others ---- */

static void take_in(keel_serve *serve, keel_http_exchange *exchange, const keel_http_request *request,
                    keel_job_kind kind) {
    keel_job *job = keel_jobs_take(serve->jobs);
    if (!job) {
        keel_http_response response = {0};
        keel_http_error(&response, 503, NULL, "queue_full", "too many requests at once: try again");
        keel_http_response_header(&response, "Retry-After", "1");
        keel_monitor_add(serve->monitor, KEEL_MONITOR_FAILURE, "503", 1);
        keel_http_send(exchange, &response);
        return;
    }
    job->kind = kind;
    job->exchange = exchange;
    job->request = request;
    keel_crew_put(serve->crew, job);
}

static void take_chat(keel_serve *serve, keel_http_exchange *exchange, const keel_http_request *request) {
    take_in(serve, exchange, request, KEEL_JOB_CHAT);
}

static void take_choose(keel_serve *serve, keel_http_exchange *exchange, const keel_http_request *request) {
    take_in(serve, exchange, request, KEEL_JOB_CHOOSE);
}

static void take_feedback(keel_serve *serve, keel_http_exchange *exchange, const keel_http_request *request) {
    take_in(serve, exchange, request, KEEL_JOB_FEEDBACK);
}

/* Where no token guards it, nobody but who sits at the machine may publish: nobody at all where a proxy sits
 * there too, since not every proxy says for whom it asks. */
static void take_policy(keel_serve *serve, keel_http_exchange *exchange, const keel_http_request *request) {
    const bool direct = request->loopback && !serve->options.behind_proxy &&
                        !keel_http_header(request, "X-Forwarded-For") &&
                        !keel_http_header(request, "Forwarded");
    if (request->authorized || direct) {
        keel_admin_policy(serve->admin, exchange, request);
        return;
    }
    keel_http_response response = {0};
    keel_http_error(&response, 403, NULL, NULL,
                    "policies are published from this machine, or with the token of --token-env");
    keel_http_send(exchange, &response);
}

/* ---- answers at once ---- */

static void give_health(keel_serve *serve, const keel_http_request *request, keel_http_response *response) {
    (void)serve, (void)request;
    keel_buf_text(&response->body, "{\"status\":\"ok\"}\n");
}

static void give_metrics(keel_serve *serve, const keel_http_request *request, keel_http_response *response) {
    (void)request;
    if (serve->door) {
        const keel_http_counts counts = keel_http_counted(serve->door);
        keel_monitor_take_http(serve->monitor, &counts);
    }
    keel_monitor_set(serve->monitor, KEEL_MONITOR_RUNNING, NULL, (double)keel_jobs_flying(serve->jobs));
    keel_monitor_set(serve->monitor, KEEL_MONITOR_WAITING, NULL, (double)keel_crew_waiting(serve->crew));
    keel_served_log_measure(serve->log, serve->monitor);
    keel_monitor_take_process(serve->monitor);
    keel_drift_show(serve->drift, serve->monitor);
    response->type = keel_monitor_type;
    keel_monitor_print(serve->monitor, &response->body);
}

static void put_member(keel_buf *out, const char *key, const char *text, const char *end) {
    keel_buf_format(out, "\"%s\":", key);
    keel_json_put_string(out, text);
    keel_buf_text(out, end);
}

static void put_arm(keel_serve *serve, size_t index, keel_buf *out) {
    const keel_arm *arm = &serve->options.arms->of[index];
    const keel_version *version = keel_versions_take(serve->versions, index);
    keel_buf_text(out, index ? ",{" : "{");
    put_member(out, "name", arm->name, ",\"share\":");
    keel_json_put_number(out, arm->share);
    keel_buf_format(out, ",\"stopped\":%s,", atomic_load(&arm->stopped) ? "true" : "false");
    put_member(out, "policy", version->hash, ",");
    put_member(out, "base", version->base_hash, ",");
    put_member(out, "algorithm", version->policy->algorithm, "}");
    keel_version_release(version);
}

static void give_version(keel_serve *serve, const keel_http_request *request, keel_http_response *response) {
    keel_buf *out = &response->body;
    (void)request;
    cJSON *build = keel_build_info();
    const char *keel = cJSON_GetStringValue(keel_json_get(build, "keel")),
               *commit = cJSON_GetStringValue(keel_json_get(build, "commit"));
    keel_buf_text(out, "{");
    put_member(out, "version", keel ? keel : "", ",");
    put_member(out, "commit", commit ? commit : "", ",\"started\":");
    keel_json_put_number(out, serve->started);
    keel_buf_text(out, ",\"arms\":[");
    for (size_t i = 0; i < serve->options.arms->n; i++) put_arm(serve, i, out);
    keel_buf_text(out, "]}\n");
    cJSON_Delete(build);
}

/* "keel", and the models that write. */
static size_t list_models(const keel_serve *serve, const char **names, size_t room) {
    size_t n = 0;
    names[n++] = "keel";
    for (size_t u = 0; u < serve->options.n_upstreams && n < room; u++) {
        const char *model = serve->options.upstreams[u].model;
        bool there = !model;
        for (size_t i = 0; i < n; i++) there = there || strcmp(names[i], model) == 0;
        if (!there) names[n++] = model;
    }
    return n;
}

static void give_models(keel_serve *serve, const keel_http_request *request, keel_http_response *response) {
    static const char path[] = "/v1/models";
    const char *names[KEEL_UPSTREAM_MOST + 1], *rest = request->target + sizeof path - 1;
    const size_t n = list_models(serve, names, KEEL_UPSTREAM_MOST + 1), length = strcspn(rest, "?");
    const int64_t started = (int64_t)serve->started;
    if (length <= 1) {
        keel_openai_write_models(names, n, false, started, &response->body);
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (strlen(names[i]) == length - 1 && strncmp(rest + 1, names[i], length - 1) == 0) {
            keel_openai_write_models(&names[i], 1, true, started, &response->body);
            return;
        }
    keel_http_error(response, 404, "model", "model_not_found", "there is no such model here");
}

/* ---- routes ---- */

typedef void taker(keel_serve *serve, keel_http_exchange *exchange, const keel_http_request *request);
typedef void giver(keel_serve *serve, const keel_http_request *request, keel_http_response *response);

typedef struct route {
    const char *method, *path;
    taker *take; /* keeps the exchange, or sends it */
    giver *give; /* answers at once */
} route;

static const route routes[] = {
    {"POST", "/v1/chat/completions", take_chat, NULL},
    {"POST", "/v1/choose", take_choose, NULL},
    {"POST", "/v1/feedback", take_feedback, NULL},
    {"GET", "/v1/models", NULL, give_models},
    {"GET", "/health", NULL, give_health},
    {"GET", "/metrics", NULL, give_metrics},
    {"GET", "/version", NULL, give_version},
    {"POST", "/admin/policy", take_policy, NULL},
};

/* /v1/models/NAME is below its route. */
static bool is_at(const keel_http_request *request, const route *r) {
    return keel_http_is(request, r->path) ||
           (r->give == give_models && strncmp(request->target, "/v1/models/", 11) == 0);
}

/* method: the one that the address answers to; NULL: there is no such address. */
static void refuse(keel_http_exchange *exchange, const char *method) {
    keel_http_response response = {0};
    keel_buf words = {0};
    if (method) {
        keel_buf_format(&words, "this address answers to %s alone", method);
        keel_http_response_header(&response, "Allow", method);
    } else {
        keel_buf_text(&words, "there is no such address; there are");
        for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
            keel_buf_format(&words, "%s %s %s", i ? "," : "", routes[i].method, routes[i].path);
    }
    keel_http_error(&response, method ? 405 : 404, NULL, NULL,
                    words.failed ? "there is no such address" : words.data);
    keel_buf_free(&words);
    keel_http_send(exchange, &response);
}

void keel_serve_handle(void *context, keel_http_exchange *exchange, const keel_http_request *request) {
    keel_serve *serve = context;
    const char *method = NULL;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const route *r = &routes[i];
        if (!is_at(request, r)) continue;
        method = r->method;
        if (strcmp(r->method, request->method) != 0) continue;
        if (r->take) {
            r->take(serve, exchange, request);
            return;
        }
        keel_http_response response = {.status = 200, .type = "application/json"};
        r->give(serve, request, &response);
        keel_http_send(exchange, &response);
        return;
    }
    refuse(exchange, method);
}
