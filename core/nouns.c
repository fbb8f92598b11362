#include "core/nouns.h"

#include <string.h>

#include "core/hash.h"

static const char *const risk_names[] = {"unknown", "benign", "dangerous"};
static const char *const role_names[] = {"system", "user", "assistant", "tool"};
static const char *const outcome_names[] = {"none", "compliance", "partial_refusal", "refusal"};
static const char *const authority_names[] = {"none", "model", "rule", "human"};
static const char *const space_names[] = {"candidates", "acts", "outcomes"};

static const char *const reward_names[] = {KEEL_REWARD_NAMES};
#define REWARD_NEXT(id, name, weight, low, high) ", " #name
const char *const keel_reward_list = &KEEL_REWARDS(REWARD_NEXT)[2];
#define REWARD_RANGE(id, name, weight, low, high) {low, high},
static const double reward_range[][2] = {KEEL_REWARDS(REWARD_RANGE)};

enum { NOT_FOUND = -1 };
#define COUNT(names)       ((int)(sizeof(names) / sizeof *(names)))
#define NAME(names, value) ((int)(value) >= 0 && (int)(value) < COUNT(names) ? (names)[(int)(value)] : "?")

static int find(const char *const *names, int count, const char *name) {
    for (int i = 0; name && i < count; i++)
        if (strcmp(names[i], name) == 0) return i;
    return NOT_FOUND;
}

const char *keel_risk_name(keel_risk risk) {
    return NAME(risk_names, risk);
}
const char *keel_role_name(keel_role role) {
    return NAME(role_names, role);
}
const char *keel_outcome_name(keel_outcome outcome) {
    return NAME(outcome_names, outcome);
}
const char *keel_authority_name(keel_authority authority) {
    return NAME(authority_names, authority);
}
const char *keel_space_name(keel_action_space space) {
    return NAME(space_names, space);
}
const char *keel_reward_name(int component) {
    return NAME(reward_names, component);
}

int keel_reward_find(const char *name) {
    const int found = find(reward_names, COUNT(reward_names), name);
    return found == NOT_FOUND ? KEEL_N_REWARDS : found;
}

const double *keel_reward_range(int component) {
    return reward_range[component];
}

bool keel_reward_within(int component, float value) {
    return (double)value >= reward_range[component][0] && (double)value <= reward_range[component][1];
}

bool keel_risk_parse(const char *name, keel_risk *out) {
    int i = find(risk_names, COUNT(risk_names), name);
    if (i != NOT_FOUND) *out = (keel_risk)i;
    return i != NOT_FOUND;
}

bool keel_outcome_parse(const char *name, keel_outcome *out) {
    int i = find(outcome_names, COUNT(outcome_names), name);
    if (i != NOT_FOUND) *out = (keel_outcome)i;
    return i != NOT_FOUND;
}

bool keel_authority_parse(const char *name, keel_authority *out) {
    int i = find(authority_names, COUNT(authority_names), name);
    if (i > KEEL_AUTHORITY_NONE) *out = (keel_authority)i;
    return i > KEEL_AUTHORITY_NONE;
}

bool keel_space_parse(const char *name, keel_action_space *out) {
    int i = find(space_names, COUNT(space_names), name);
    if (i != NOT_FOUND) *out = (keel_action_space)i;
    return i != NOT_FOUND;
}

const char *keel_conversation_group(const keel_conversation *conversation) {
    if (conversation->group) return conversation->group;
    return conversation->external_id ? conversation->external_id : "";
}

bool keel_group_of_all_sources(const char *group) {
    return strncmp(group, KEEL_GROUP_ASKED, sizeof KEEL_GROUP_ASKED - 1) == 0;
}

static const char *or_empty(const char *text) {
    return text ? text : "";
}

int64_t keel_conversation_group_hash(const keel_conversation *conversation) {
    const char *group = keel_conversation_group(conversation);
    const char *source = keel_group_of_all_sources(group) ? "" : or_empty(conversation->source);
    return (int64_t)(keel_hash64_texts(source, group, 0) & INT64_MAX);
}

uint64_t keel_conversation_name_hash(const keel_conversation *conversation) {
    return keel_hash64_texts(or_empty(conversation->source), or_empty(conversation->external_id), 0);
}

static bool same_text(const char *a, const char *b) {
    return strcmp(or_empty(a), or_empty(b)) == 0;
}

bool keel_candidate_among(const keel_candidate *candidates, size_t n, const keel_candidate *one) {
    for (size_t i = 0; i < n; i++)
        if (same_text(candidates[i].text, one->text) && same_text(candidates[i].act, one->act)) return true;
    return false;
}
