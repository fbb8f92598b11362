#include "rl/learn/derive.h"

#include <string.h>

#include "core/interrupt.h"
#include "core/json.h"
#include "core/options_internal.h"
#include "core/progress.h"

/* ---- the reward configuration of a store ---- */

static const char rewards_key[] = "rewards";

static keel_status parse_rewards(const keel_store *store, const char *text, keel_reward_config *out,
                                 keel_err *err) {
    const char *where = keel_store_path(store);
    cJSON *json = NULL;
    keel_status status = keel_json_parse(text, strlen(text), where, &json, err);
    if (status == KEEL_OK) status = keel_options_json(keel_reward_options, out, json, where, err);
    cJSON_Delete(json);
    return status == KEEL_OK ? status : keel_hint(err, "`keel label` sets the reward keys of the store anew");
}

/* *found false: by default, which nothing has recorded yet. */
static keel_status get_rewards(keel_store *store, keel_reward_config *out, bool *found, keel_err *err) {
    keel_reward_config rewards;
    keel_arena arena = {0};
    const char *text = NULL;
    KEEL_TRY(keel_options_defaults(keel_reward_options, &rewards, err));
    keel_status status = keel_store_get_setting(store, rewards_key, &arena, &text, err);
    if (status == KEEL_OK && text) status = parse_rewards(store, text, &rewards, err);
    *found = text != NULL;
    keel_arena_free(&arena);
    if (status == KEEL_OK) *out = rewards;
    return status;
}

keel_status keel_derive_rewards(keel_store *store, keel_reward_config *out, keel_err *err) {
    bool found;
    return get_rewards(store, out, &found, err);
}

keel_status keel_derive_put_rewards(keel_store *store, const keel_reward_config *rewards, keel_err *err) {
    keel_buf text = {0};
    cJSON *json = keel_options_to_json(keel_reward_options, rewards);
    keel_status status = keel_json_print(json, false, &text, err);
    if (status == KEEL_OK) status = keel_store_put_setting(store, rewards_key, text.data, err);
    keel_buf_free(&text);
    cJSON_Delete(json);
    return status;
}

keel_status keel_derive_settle_rewards(keel_store *store, keel_reward_config *out, keel_err *err) {
    bool found = false;
    KEEL_TRY(get_rewards(store, out, &found, err));
    return found ? KEEL_OK : keel_derive_put_rewards(store, out, err);
}

/* ---- transitions ---- */

static keel_status make(const keel_reward_config *config, const keel_conversation *conversation,
                        keel_arena *arena, keel_transition **out, size_t *count, keel_err *err) {
    const size_t taken = keel_reward_count_taken(conversation);
    *out = keel_arena_calloc(arena, taken + 1, sizeof **out);
    if (!*out) return keel_fail(err, KEEL_E_NOMEM, NULL, "for %zu transitions", taken);
    *count = keel_reward_transitions(config, conversation, *out);
    return KEEL_OK;
}

keel_status keel_derive_conversation(keel_store *store, int64_t id, const keel_reward_config *config,
                                     keel_arena *arena, int64_t *transitions, keel_err *err) {
    keel_conversation *conversation;
    keel_transition *out;
    size_t count = 0;
    KEEL_TRY(keel_store_conversation(store, id, arena, &conversation, err));
    KEEL_TRY(make(config, conversation, arena, &out, &count, err));
    *transitions += (int64_t)count;
    return keel_store_put_transitions(store, id, out, count, err);
}

keel_status keel_derive_added(keel_store *store, const keel_conversation *conversation,
                              const keel_reward_config *config, keel_arena *arena, int64_t *transitions,
                              keel_err *err) {
    keel_transition *out;
    size_t count = 0;
    KEEL_TRY(make(config, conversation, arena, &out, &count, err));
    *transitions += (int64_t)count;
    return keel_store_add_transitions(store, out, count, err);
}

static keel_status derive_ids(keel_store *store, const int64_t *ids, size_t count,
                              const keel_reward_config *config, int64_t *transitions, keel_err *err) {
    keel_arena arena = {0};
    keel_progress progress;
    keel_status status = KEEL_OK;
    keel_store_gather(store);
    keel_progress_start(&progress, "transitions", count);
    for (size_t i = 0; i < count && status == KEEL_OK; i++) {
        keel_arena_reset(&arena);
        status = keel_interrupted()
                     ? keel_fail(err, KEEL_E_INTERRUPTED, NULL, "while deriving transitions")
                     : keel_derive_conversation(store, ids[i], config, &arena, transitions, err);
        keel_progress_step(&progress, i + 1, NULL);
    }
    keel_progress_end(&progress, count);
    keel_arena_free(&arena);
    return status;
}

keel_status keel_derive(keel_store *store, const keel_split *split, const keel_reward_config *config,
                        int64_t after, int64_t *transitions, keel_err *err) {
    int64_t *ids = NULL, derived = 0;
    size_t count = 0, first = 0;
    KEEL_TRY(keel_store_conversation_ids(store, split, KEEL_ORDER_STORED, &ids, &count, err));
    while (first < count && ids[first] <= after) first++;
    keel_status status =
        first < count ? derive_ids(store, ids + first, count - first, config, &derived, err) : KEEL_OK;
    keel_free(ids);
    if (status == KEEL_OK && transitions) *transitions = derived;
    return status;
}

keel_status keel_derive_state(keel_store *store, int64_t *missing, int64_t *last_id, keel_err *err) {
    keel_arena arena = {0};
    keel_split_count *counts;
    size_t n = 0, n_ids = 0;
    int64_t *ids = NULL, without = 0;
    keel_status status;
    KEEL_TRY_GOTO(keel_store_counts(store, &arena, &counts, &n, err), done);
    for (size_t i = 0; i < n; i++) without += counts[i].taken - counts[i].transitions;
    KEEL_TRY_GOTO(keel_store_conversation_ids(store, NULL, KEEL_ORDER_STORED, &ids, &n_ids, err), done);
    *missing = without;
    *last_id = n_ids ? ids[n_ids - 1] : 0;
done:
    keel_free(ids);
    keel_arena_free(&arena);
    return status;
}
