#include "experiments/simulate_server.h"

#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/interrupt.h"
#include "core/json.h"

enum { MOST_ANSWER = 1 << 20, TRIES = 3 };

/* ---- the server ---- */

static char *address(const char *url, const char *path) {
    const size_t length = keel_http_client_root(url);
    const size_t room = length + strlen(path) + 1;
    char *out = keel_alloc(room);
    if (out) snprintf(out, room, "%.*s%s", (int)length, url, path);
    return out;
}

keel_status keel_simulate_server_open(keel_simulate_server *out, const char *url, const char *token,
                                      keel_err *err) {
    *out = (keel_simulate_server){.url = url, .token = token, .patience = 30};
    KEEL_TRY(keel_http_client_url(url, "--server", err));
    KEEL_TRY(keel_http_client_open(&out->client, err));
    out->choose = address(url, "/v1/choose");
    out->feedback = address(url, "/v1/feedback");
    return out->choose && out->feedback ? KEEL_OK : keel_nomem(err, "--server");
}

void keel_simulate_server_close(keel_simulate_server *server) {
    keel_http_client_close(server->client);
    keel_free(server->choose);
    keel_free(server->feedback);
    *server = (keel_simulate_server){0};
}

/* What a server that is asked too much or is drained says. */
static bool passes(const keel_http_got *got) {
    return got->status == 429 || got->status == 503 || got->trouble == KEEL_HTTP_DEAD ||
           got->trouble == KEEL_HTTP_CUT;
}

/* got->body is the answer of status 200. */
static keel_status post(const keel_simulate_server *server, const char *url, const keel_buf *body,
                        keel_arena *arena, keel_http_got *got, keel_err *err) {
    for (int i = 0; i < TRIES; i++) {
        const keel_http_fetch fetch = {.url = url,
                                       .body = body->data,
                                       .length = body->length,
                                       .token = server->token,
                                       .deadline = keel_clock() + server->patience,
                                       .most = MOST_ANSWER};
        if (keel_interrupted()) return keel_fail(err, KEEL_E_INTERRUPTED, url, "while simulating");
        KEEL_TRY(keel_http_client_ask(server->client, &fetch, arena, got, err));
        if (got->trouble == KEEL_HTTP_NONE && got->status == 200) return KEEL_OK;
        if (!passes(got)) break;
    }
    return keel_fail(err, KEEL_E_IO, url, "%s%s%.300s", keel_http_trouble_name(got->trouble),
                     got->words && *got->words ? ": " : "",
                     got->words && *got->words        ? got->words
                     : got->body && got->body->length ? got->body->data
                                                      : "");
}

/* ---- a choice ---- */

static void put_key(keel_buf *body, const char *before, const char *key, const char *value) {
    keel_buf_format(body, "%s\"%s\": ", before, key);
    keel_json_put_string(body, value);
}

static void put_messages(const keel_conversation *talk, size_t turns, keel_buf *body) {
    keel_buf_text(body, "\"messages\": [");
    for (size_t i = 0; i < turns; i++) {
        put_key(body, i ? ", {" : "{", "role", keel_role_name(talk->turns[i].role));
        put_key(body, ", ", "content", talk->turns[i].text ? talk->turns[i].text : "");
        if (talk->turns[i].role == KEEL_ROLE_ASSISTANT && talk->turns[i].act)
            put_key(body, ", ", "act", talk->turns[i].act);
        keel_buf_text(body, "}");
    }
    keel_buf_text(body, "]");
}

static void put_candidates(const keel_decision *decision, keel_buf *body) {
    keel_buf_text(body, ", \"candidates\": [");
    for (size_t i = 0; i < decision->n_candidates; i++) {
        const keel_candidate *candidate = &decision->candidates[i];
        put_key(body, i ? ", {" : "{", "text", candidate->text ? candidate->text : "");
        if (candidate->act) put_key(body, ", ", "act", candidate->act);
        if (candidate->latency_ms.present) {
            keel_buf_text(body, ", \"latency_ms\": ");
            keel_json_put_number(body, candidate->latency_ms.value);
        }
        keel_buf_text(body, ", \"outcome\": \"none\"}"); /* it says so in the end */
    }
    keel_buf_text(body, "]");
}

/* {"id", "index"} of the answer, the id in the arena. */
static keel_status read_choice(const keel_simulate_server *server, const keel_http_got *got, size_t n,
                               keel_arena *arena, const char **id, size_t *index, keel_err *err) {
    const cJSON *answer = NULL;
    double place = -1;
    KEEL_TRY(keel_json_parse_in(arena, got->body->data ? got->body->data : "", got->body->length,
                                server->choose, &answer, err));
    KEEL_TRY(keel_json_string(answer, "id", true, id, server->choose, err));
    KEEL_TRY(keel_json_number(answer, "index", true, &place, server->choose, err));
    if (place < 0 || place >= (double)n || place != (double)(size_t)place)
        return keel_fail(err, KEEL_E_PARSE, server->choose, "index %g of %zu candidates", place, n);
    *index = (size_t)place;
    return KEEL_OK;
}

static keel_status choose(const keel_simulate_server *server, const keel_env *env, const char *name,
                          keel_arena *arena, const char **id, size_t *index, keel_err *err) {
    keel_buf body = {0};
    keel_http_got got;
    keel_buf_text(&body, "{");
    put_messages(env->conversation, env->decision->turn, &body);
    put_candidates(env->decision, &body);
    put_key(&body, ", ", "conversation", name);
    put_key(&body, ", ", "user", name);
    keel_buf_text(&body, "}");
    keel_status status =
        body.failed ? keel_nomem(err, "--server") : post(server, server->choose, &body, arena, &got, err);
    keel_buf_free(&body);
    if (status == KEEL_OK)
        status = read_choice(server, &got, env->decision->n_candidates, arena, id, index, err);
    return status;
}

/* ---- what the application knows in the end ---- */

static keel_outcome outcome_of(const keel_decision *decision) {
    for (size_t i = 0; i < decision->n_candidates; i++)
        if (decision->candidates[i].taken) return decision->candidates[i].outcome;
    return KEEL_OUTCOME_NONE;
}

static keel_status tell(const keel_simulate_server *server, const char *id, keel_outcome outcome,
                        const keel_conversation *whole, keel_arena *arena, keel_err *err) {
    keel_buf body = {0};
    keel_http_got got;
    put_key(&body, "{", "id", id);
    if (outcome != KEEL_OUTCOME_NONE) put_key(&body, ", ", "outcome", keel_outcome_name(outcome));
    if (whole && whole->risk != KEEL_RISK_UNKNOWN) put_key(&body, ", ", "risk", keel_risk_name(whole->risk));
    if (whole && whole->completed != KEEL_UNKNOWN)
        keel_buf_format(&body, ", \"completed\": %s", whole->completed == KEEL_YES ? "true" : "false");
    keel_buf_text(&body, "}");
    const keel_status status =
        body.failed ? keel_nomem(err, "--server") : post(server, server->feedback, &body, arena, &got, err);
    keel_buf_free(&body);
    return status;
}

/* ids [n_decisions]: of the requests. What is said of the whole goes with the last. */
static keel_status tell_all(const keel_simulate_server *server, const keel_conversation *talk,
                            const char *const *ids, keel_arena *arena, keel_err *err) {
    for (size_t d = 0; d < talk->n_decisions; d++) {
        const keel_outcome outcome = outcome_of(&talk->decisions[d]);
        const bool last = d + 1 == talk->n_decisions;
        if (last || outcome != KEEL_OUTCOME_NONE)
            KEEL_TRY(tell(server, ids[d], outcome, last ? talk : NULL, arena, err));
    }
    return KEEL_OK;
}

/* ---- an episode ---- */

keel_status keel_simulate_server_episode(const keel_simulate_server *server, keel_env *env, const char *name,
                                         uint64_t episode, keel_arena *scratch, const keel_conversation **out,
                                         keel_err *err) {
    const char **ids = NULL;
    size_t n = 0, capacity = 0;
    KEEL_TRY(keel_env_reset(env, episode, err));
    while (!env->done) {
        size_t index = 0;
        if (!keel_arena_grow(scratch, &ids, n, &capacity, sizeof *ids)) return keel_nomem(err, "--server");
        KEEL_TRY(choose(server, env, name, scratch, &ids[n++], &index, err));
        env->decision->candidates[index].model = "server";
        KEEL_TRY(keel_env_step(env, index, err));
    }
    *out = env->conversation;
    return server->silent ? KEEL_OK : tell_all(server, env->conversation, ids, scratch, err);
}
