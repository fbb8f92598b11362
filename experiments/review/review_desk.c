#include "experiments/review/review_desk.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"
#include "core/json.h"
#include "experiments/html.h"
#include "experiments/review/review_desk_internal.h"

static int64_t system_time(void) {
    return (int64_t)time(NULL);
}

keel_status keel_review_desk_open(keel_review_desk **out, keel_store *store,
                                  const keel_review_desk_options *options, keel_err *err) {
    keel_review_desk *desk = keel_calloc(1, sizeof *desk);
    *out = NULL;
    if (!desk) return keel_nomem(err, "review");
    desk->store = store;
    desk->options = *options;
    if (!desk->options.clock) desk->options.clock = keel_clock;
    if (!desk->options.today) desk->options.today = system_time;
    keel_status status = keel_store_review_sync(store, err);
    if (status == KEEL_OK) status = keel_store_review_population(store, &desk->population, err);
    if (status == KEEL_OK)
        *out = desk;
    else
        keel_review_desk_close(desk);
    return status;
}

void keel_review_desk_close(keel_review_desk *desk) {
    if (!desk) return;
    keel_arena_free(&desk->arena);
    keel_free(desk);
}

keel_review_desk_tally keel_review_desk_counted(const keel_review_desk *desk) {
    return desk->tally;
}

/* ---- requests ---- */

static keel_status read_reviewer(keel_review_desk *desk, const keel_http_request *request, const char **out,
                                 keel_err *err) {
    KEEL_TRY(keel_http_query(request, "reviewer", &desk->arena, out, err));
    if (*out && keel_review_name_ok(*out)) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "reviewer", "a name has 1 to %d bytes and no control characters",
                     KEEL_REVIEW_NAME);
}

/* The response that the person has already, else the next one. */
static keel_status choose(keel_review_desk *desk, const char *reviewer, keel_review_next *next,
                          keel_err *err) {
    int64_t leased[KEEL_REVIEW_MOST_LEASED];
    const size_t n = keel__review_desk_leased(desk, reviewer, leased);
    const int64_t held = keel__review_desk_held(desk, reviewer);
    if (held) return keel_store_review_find(desk->store, held, next, err);
    return keel_store_review_next(desk->store, reviewer, leased, n, next, err);
}

static keel_status get_next(keel_review_desk *desk, const keel_http_request *request, cJSON *to,
                            keel_err *err) {
    const char *reviewer;
    keel_review_next next;
    KEEL_TRY(read_reviewer(desk, request, &reviewer, err));
    KEEL_TRY(choose(desk, reviewer, &next, err));
    if (next.candidate) {
        KEEL_TRY(keel__review_desk_item(desk, &next, to, err));
        keel__review_desk_lease(desk, next.candidate, reviewer);
    } else {
        cJSON_AddNullToObject(to, "item");
    }
    return keel__review_desk_progress(desk, reviewer, to, err);
}

static keel_status get_progress(keel_review_desk *desk, const keel_http_request *request, cJSON *to,
                                keel_err *err) {
    const char *reviewer;
    KEEL_TRY(read_reviewer(desk, request, &reviewer, err));
    if (desk->options.name) cJSON_AddStringToObject(to, "name", desk->options.name);
    return keel__review_desk_progress(desk, reviewer, to, err);
}

static keel_status post_label(keel_review_desk *desk, const cJSON *body, cJSON *to, keel_err *err) {
    keel_review review;
    KEEL_TRY(keel__review_desk_read_label(body, &review, err));
    review.at = desk->options.today();
    KEEL_TRY(keel_store_review_put(desk->store, &review, err));
    keel__review_desk_release(desk, review.candidate);
    *(review.outcome == KEEL_OUTCOME_NONE ? &desk->tally.skipped : &desk->tally.labels) += 1;
    cJSON_AddNumberToObject(to, "done", (double)review.candidate);
    return keel__review_desk_progress(desk, review.reviewer, to, err);
}

static void add_said(cJSON *item, const keel_review *review) {
    cJSON *said = cJSON_AddObjectToObject(item, "said");
    cJSON_AddStringToObject(said, "outcome", keel__review_desk_said(review));
    cJSON_AddStringToObject(said, "risk", keel_risk_name(review->risk));
    cJSON_AddStringToObject(said, "completed",
                            review->completed == KEEL_YES  ? "yes"
                            : review->completed == KEEL_NO ? "no"
                                                           : "unknown");
    cJSON_AddStringToObject(said, "note", review->note);
}

/* Gives the response back to the person, with what they had said. */
static keel_status post_undo(keel_review_desk *desk, const cJSON *body, cJSON *to, keel_err *err) {
    const char *reviewer;
    keel_review review;
    keel_review_next next;
    KEEL_TRY(keel_json_string(body, "reviewer", true, &reviewer, "undo", err));
    if (!keel_review_name_ok(reviewer)) return keel_fail(err, KEEL_E_INVALID, "reviewer", "is no name");
    KEEL_TRY(keel_store_review_undo(desk->store, reviewer, &desk->arena, &review, err));
    if (!review.candidate) {
        cJSON_AddNullToObject(to, "item");
        return keel__review_desk_progress(desk, reviewer, to, err);
    }
    desk->tally.undone++;
    KEEL_TRY(keel_store_review_find(desk->store, review.candidate, &next, err));
    KEEL_TRY(keel__review_desk_item(desk, &next, to, err));
    add_said(cJSON_GetObjectItemCaseSensitive(to, "item"), &review);
    keel__review_desk_lease(desk, review.candidate, reviewer);
    return keel__review_desk_progress(desk, reviewer, to, err);
}

/* ---- routes ---- */

typedef keel_status get_route(keel_review_desk *desk, const keel_http_request *request, cJSON *to,
                              keel_err *err);
typedef keel_status post_route(keel_review_desk *desk, const cJSON *body, cJSON *to, keel_err *err);
static const struct {
    const char *path;
    get_route *get;
    post_route *post;
} routes[] = {
    {"/api/next", get_next, NULL},
    {"/api/progress", get_progress, NULL},
    {"/api/label", NULL, post_label},
    {"/api/undo", NULL, post_undo},
};
static const struct {
    const char *path, *type;
    const unsigned char *bytes;
} files[] = {
    {"/", "text/html; charset=utf-8", keel_embedded_review_html},
    {"/review.css", "text/css; charset=utf-8", keel_embedded_review_css},
    {"/review.js", "text/javascript; charset=utf-8", keel_embedded_review_js},
};

static keel_status run_post(keel_review_desk *desk, post_route *post, const keel_http_request *request,
                            cJSON *to, keel_err *err) {
    cJSON *body;
    KEEL_TRY(keel_json_parse(request->body ? request->body : "", request->length, "the request", &body, err));
    const keel_status status = post(desk, body, to, err);
    cJSON_Delete(body);
    return status;
}

static int status_of(keel_status status) {
    switch (status) {
    case KEEL_E_PARSE:
    case KEEL_E_INVALID:
        return 400;
    case KEEL_E_NOT_FOUND:
        return 404;
    default:
        return 503; /* the store: try again */
    }
}

static void fail(keel_http_response *response, const keel_err *err) {
    char text[sizeof err->where + sizeof err->message + 4];
    snprintf(text, sizeof text, "%s: %s", err->where, err->message);
    keel_http_refuse(response, status_of(err->code), text);
}

/* A result that lacks a part for want of memory is not sent. */
static void run_route(keel_review_desk *desk, size_t route, const keel_http_request *request,
                      keel_http_response *response) {
    keel_err err = {0};
    const size_t lost = keel_json_lost();
    cJSON *json = cJSON_CreateObject();
    keel_status status = json ? KEEL_OK : keel_nomem(&err, "review");
    if (status == KEEL_OK)
        status = routes[route].get ? routes[route].get(desk, request, json, &err)
                                   : run_post(desk, routes[route].post, request, json, &err);
    if (status == KEEL_OK && keel_json_lost() != lost) status = keel_nomem(&err, "review");
    if (status == KEEL_OK) status = keel_json_print(json, false, &response->body, &err);
    cJSON_Delete(json);
    response->status = 200;
    response->type = "application/json";
    err.code = status;
    if (status != KEEL_OK) fail(response, &err);
}

void keel_review_desk_answer(void *context, const keel_http_request *request, keel_http_response *response) {
    keel_review_desk *desk = context;
    const bool post = strcmp(request->method, "POST") == 0;
    keel_arena_reset(&desk->arena);
    for (size_t f = 0; !post && f < sizeof files / sizeof *files; f++)
        if (keel_http_is(request, files[f].path)) {
            response->status = 200;
            response->type = files[f].type;
            response->file = files[f].bytes;
            response->file_length = strlen((const char *)files[f].bytes);
            return;
        }
    for (size_t r = 0; r < sizeof routes / sizeof *routes; r++)
        if (keel_http_is(request, routes[r].path)) {
            if (post == !routes[r].post)
                keel_http_refuse(response, 405, post ? "this is read by GET" : "this is written by POST");
            else
                run_route(desk, r, request, response);
            return;
        }
    keel_http_refuse(response, 404, "there is no such page");
}
