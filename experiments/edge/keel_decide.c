#include "experiments/edge/keel_decide.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/context.h"
#include "core/gemm.h"
#include "core/json.h"
#include "datasets/chat.h"
#include "experiments/cli_policy.h"
#include "experiments/decision.h"

static const char where[] = "conversation"; /* in errors, in decisions */

struct keel_decider {
    keel_context context;
    keel_policy *policy;
    keel_base *base;
    keel_arena arena, scratch;
    keel_buf text; /* of the last decision */
    char error[1400];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The place, the words and the hint in one line; the code. */
static int finish(keel_decider *decider, keel_status status, const keel_err *err) {
    const char *words = err->message[0] ? err->message : keel_status_text(status);
    decider->error[0] = '\0';
    if (status == KEEL_OK) return KEEL_DECIDE_OK;
    snprintf(decider->error, sizeof decider->error, "%s%s%s%s%s%s", err->where, err->where[0] ? ": " : "",
             words, err->hint[0] ? " (" : "", err->hint, err->hint[0] ? ")" : "");
    if (status == KEEL_E_NOMEM) return KEEL_DECIDE_NO_MEMORY;
    return status == KEEL_E_IO ? KEEL_DECIDE_FAILED : KEEL_DECIDE_BAD_MODEL;
}

int keel_decide_open(const char *policy, const char *base, keel_decider **out) {
    keel_err err = {0};
    keel_decider *decider = *out = calloc(1, sizeof *decider);
    if (!decider) return KEEL_DECIDE_NO_MEMORY;
    keel_context_init(&decider->context);
    decider->context.log_level = KEEL_LOG_QUIET;
    const keel_context *before = keel_context_use(&decider->context);
    pthread_once(&once, keel_json_use_allocator);
    keel_gemm_alone();
    const keel_status status = keel_cli_open_policy(policy, base, &decider->policy, &decider->base, &err);
    keel_context_use(before);
    return finish(decider, status, &err);
}

static keel_status decide(keel_decider *decider, const char *text, size_t length, const char **decision,
                          keel_err *err) {
    keel_conversation conversation = {0};
    keel_choice choice;
    cJSON *json = NULL;
    size_t place;
    KEEL_TRY(keel_chat_read(text, length, where, &decider->arena, &conversation, err));
    KEEL_TRY(keel_decision_find(&conversation, &decider->arena, &place, err));
    if (place == SIZE_MAX) return KEEL_OK;
    const keel_read read = {.conversation = &conversation, .where = where};
    KEEL_TRY(keel_decision_make(decider->policy, decider->base, &read, place, &decider->scratch, &choice,
                                &json, err));
    keel_status status = keel_json_print(json, false, &decider->text, err);
    cJSON_Delete(json);
    if (status == KEEL_OK) *decision = decider->text.data;
    return status;
}

int keel_decide(keel_decider *decider, const char *conversation, size_t length, const char **decision) {
    keel_err err = {0};
    *decision = NULL;
    if (!decider) return KEEL_DECIDE_NO_MEMORY;
    if (!decider->policy) return KEEL_DECIDE_BAD_MODEL; /* it was not opened; its error stays */
    const keel_context *before = keel_context_use(&decider->context);
    keel_buf_clear(&decider->text);
    keel_arena_reset(&decider->arena);
    const keel_status status = decide(decider, conversation, length, decision, &err);
    keel_context_use(before);
    const int code = finish(decider, status, &err);
    return status == KEEL_E_PARSE || status == KEEL_E_INVALID ? KEEL_DECIDE_BAD_INPUT : code;
}

const char *keel_decide_error(const keel_decider *decider) {
    return decider ? decider->error : "there is no memory for a decider";
}

void keel_decide_close(keel_decider *decider) {
    if (!decider) return;
    const keel_context *before = keel_context_use(&decider->context);
    keel_arena_free(&decider->arena);
    keel_arena_free(&decider->scratch);
    keel_buf_free(&decider->text);
    keel_policy_close(decider->policy);
    keel_base_close(decider->base);
    keel_context_use(before);
    free(decider);
}
