#include "experiments/serve/admin.h"

#include <pthread.h>
#include <string.h>

#include "core/context.h"
#include "core/json.h"
#include "experiments/serve/openai.h"

struct keel_admin {
    keel_versions *versions;
    const char *store;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    keel_http_exchange *exchange; /* the one at work; NULL: none */
    const keel_http_request *request;
    bool closing, started;
    pthread_t thread;
    const keel_context *caller;
};

/* ---- an order ---- */

typedef struct order {
    const char *policy, *arm, *note;
} order;

static keel_status read_order(const keel_http_request *request, keel_arena *arena, order *out,
                              keel_err *err) {
    static const char *const keys[] = {"policy", "arm", "note", NULL};
    const cJSON *object;
    *out = (order){.arm = "default", .note = "over HTTP"};
    KEEL_TRY(
        keel_json_parse_in(arena, request->body ? request->body : "", request->length, "body", &object, err));
    if (!cJSON_IsObject(object)) return keel_fail(err, KEEL_E_PARSE, "body", "expected a JSON object");
    KEEL_TRY(keel_openai_check_keys(object, keys, "body", err));
    if (!keel_json_get(object, "policy"))
        return keel_fail(err, KEEL_E_INVALID, "policy", "expected a hash, or null to go back");
    KEEL_TRY(keel_json_string(object, "policy", false, &out->policy, "policy", err));
    KEEL_TRY(keel_json_string(object, "arm", false, &out->arm, "arm", err));
    return keel_json_string(object, "note", false, &out->note, "note", err);
}

static keel_status carry_out(keel_admin *admin, const order *wanted, keel_arena *arena, const char **hash,
                             keel_err *err) {
    keel_store *store = NULL;
    if (!admin->store) {
        keel_fail(err, KEEL_E_CONFLICT, "policy", "this server has no store, and so no registry of policies");
        return keel_hint(err, "start it with --store, and register policies with keel publish");
    }
    KEEL_TRY(keel_store_open(&store, admin->store, KEEL_STORE_WRITE, err));
    keel_status status = keel_versions_order(store, admin->versions, wanted->arm, wanted->policy,
                                             wanted->note, arena, hash, err);
    if (status == KEEL_OK) status = keel_versions_follow(admin->versions, store, err);
    keel_store_close(store);
    return status;
}

static void answer(keel_admin *admin, const keel_http_request *request, keel_http_response *response) {
    keel_arena arena = {0};
    keel_err err = {0};
    order wanted;
    const char *hash = NULL;
    keel_status status = read_order(request, &arena, &wanted, &err);
    if (status == KEEL_OK) status = carry_out(admin, &wanted, &arena, &hash, &err);
    if (status != KEEL_OK) {
        keel_http_fail(response, keel_openai_status(status), &err);
    } else {
        response->status = 200, response->type = "application/json";
        keel_buf_text(&response->body, "{\"policy\":");
        keel_json_put_string(&response->body, hash ? hash : "");
        keel_buf_text(&response->body, ",\"arm\":");
        keel_json_put_string(&response->body, wanted.arm);
        keel_buf_text(&response->body, "}\n");
    }
    keel_arena_free(&arena);
}

/* ---- the thread ---- */

/* Who is answered may ask again at once: then nothing is at work any more. */
static void *run(void *argument) {
    keel_admin *admin = argument;
    keel_context_use(admin->caller);
    pthread_mutex_lock(&admin->lock);
    for (;;) {
        while (!admin->exchange && !admin->closing) pthread_cond_wait(&admin->wake, &admin->lock);
        if (!admin->exchange) break;
        pthread_mutex_unlock(&admin->lock);
        keel_http_response response = {0};
        answer(admin, admin->request, &response);
        pthread_mutex_lock(&admin->lock);
        keel_http_exchange *exchange = admin->exchange;
        admin->exchange = NULL;
        keel_http_send(exchange, &response);
    }
    pthread_mutex_unlock(&admin->lock);
    return NULL;
}

keel_status keel_admin_open(keel_admin **out, keel_versions *versions, const char *store, keel_err *err) {
    keel_admin *admin = keel_calloc(1, sizeof *admin);
    *out = NULL;
    if (!admin) return keel_nomem(err, "serve");
    admin->versions = versions, admin->store = store, admin->caller = keel_context_current();
    pthread_mutex_init(&admin->lock, NULL);
    pthread_cond_init(&admin->wake, NULL);
    admin->started = pthread_create(&admin->thread, NULL, run, admin) == 0;
    if (!admin->started) {
        keel_admin_close(admin);
        return keel_fail(err, KEEL_E_NOMEM, "serve", "a thread could not be started");
    }
    *out = admin;
    return KEEL_OK;
}

void keel_admin_policy(keel_admin *admin, keel_http_exchange *exchange, const keel_http_request *request) {
    pthread_mutex_lock(&admin->lock);
    const bool busy = admin->exchange != NULL;
    if (!busy) {
        admin->exchange = exchange;
        admin->request = request;
        pthread_cond_signal(&admin->wake);
    }
    pthread_mutex_unlock(&admin->lock);
    if (busy) {
        keel_http_response response = {0};
        keel_http_error(&response, 409, NULL, "busy", "another policy is being published: try again");
        keel_http_send(exchange, &response);
    }
}

void keel_admin_close(keel_admin *admin) {
    if (!admin) return;
    pthread_mutex_lock(&admin->lock);
    admin->closing = true;
    pthread_cond_signal(&admin->wake);
    pthread_mutex_unlock(&admin->lock);
    if (admin->started) pthread_join(admin->thread, NULL);
    pthread_cond_destroy(&admin->wake);
    pthread_mutex_destroy(&admin->lock);
    keel_free(admin);
}
