#include "datasets/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "datasets/build.h"
#include "datasets/message.h"

/* ---- calls ---- */

static uint64_t hash_text(const char *text, uint64_t seed) {
    return text ? keel_hash64(text, strlen(text), seed) : seed;
}

/* Of what was said and by whom. */
static keel_status hash_message(const cJSON *message, const char *where, keel_arena *arena, uint64_t *out,
                                keel_err *err) {
    keel__message said;
    KEEL_TRY(keel__message_read(message, where, arena, &said, err));
    *out = hash_text(said.results, hash_text(said.text, (uint64_t)said.role));
    return KEEL_OK;
}

keel_status keel__sessions_add(keel__sessions *sessions, const keel__call *call, keel_err *err) {
    if (!keel_arena_grow(&sessions->arena, &sessions->calls, sessions->count, &sessions->capacity,
                         sizeof *sessions->calls))
        return keel_nomem(err, call->where);
    keel__call *made = &sessions->calls[sessions->count];
    *made = *call;
    made->number = sessions->count;
    made->n = (size_t)cJSON_GetArraySize(call->history);
    made->hashes = keel_arena_calloc(&sessions->arena, made->n + 1, sizeof *made->hashes);
    if (!made->hashes) return keel_nomem(err, call->where);
    size_t k = 0;
    for (const cJSON *message = call->history->child; message; message = message->next, k++) {
        uint64_t hash;
        KEEL_TRY(hash_message(message, call->where, &sessions->arena, &hash, err));
        made->hashes[k + 1] = keel_hash64_mix(made->hashes[k], hash);
    }
    sessions->count++;
    return KEEL_OK;
}

keel_status keel__sessions_alias(keel__sessions *sessions, const char *other, const char *session,
                                 keel_err *err) {
    if (!keel_arena_grow(&sessions->arena, &sessions->aliases, sessions->n_aliases,
                         &sessions->aliases_capacity, sizeof *sessions->aliases))
        return keel_nomem(err, "sessions");
    sessions->aliases[sessions->n_aliases++] = (keel__alias){other, session};
    return KEEL_OK;
}

keel_status keel__sessions_name(keel__sessions *sessions, const char *name, const keel__call *call,
                                keel_err *err) {
    if (!name) return KEEL_OK;
    if (!keel_arena_grow(&sessions->arena, &sessions->named, sessions->n_named, &sessions->named_capacity,
                         sizeof *sessions->named))
        return keel_nomem(err, call->where);
    sessions->named[sessions->n_named++] = (keel__named){name, call->time, call->answers->child};
    return KEEL_OK;
}

static int compare_named(const void *a, const void *b) {
    const keel__named *x = a, *y = b;
    const int names = strcmp(x->name, y->name);
    return names ? names : (x->time > y->time) - (x->time < y->time);
}

cJSON *keel__sessions_named(keel__sessions *sessions, const char *name) {
    size_t low = 0, high = sessions->n_named;
    if (!name || !high) return NULL;
    if (sessions->n_sorted != high) qsort(sessions->named, high, sizeof *sessions->named, compare_named);
    sessions->n_sorted = high;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(sessions->named[middle].name, name) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low && strcmp(sessions->named[low - 1].name, name) == 0 ? sessions->named[low - 1].answer : NULL;
}

const cJSON *keel__sessions_unpack(keel__sessions *sessions, const cJSON *value) {
    const cJSON *parsed = NULL;
    if (!cJSON_IsString(value)) return value;
    const char *text = value->valuestring + strspn(value->valuestring, " \t\r\n");
    if (*text != '[' && *text != '{') return value;
    return keel_json_parse_in(&sessions->arena, text, strlen(text), "", &parsed, NULL) == KEEL_OK ? parsed
                                                                                                  : value;
}

/* ---- order ---- */

static int compare_numbers(double a, double b) {
    return (a > b) - (a < b);
}

/* Calls of a session together, the longest history first, of those the latest, of those as they came. */
static int compare_calls(const void *a, const void *b) {
    const keel__call *x = a, *y = b;
    const int names = strcmp(x->session, y->session);
    if (names) return names;
    if (x->n != y->n) return x->n > y->n ? -1 : 1;
    const int times = compare_numbers(x->time, y->time);
    return times ? -times : (x->number > y->number) - (x->number < y->number);
}

typedef struct keyed {
    uint64_t key;
    double time;
    size_t call;
} keyed;

static int compare_keys(const void *a, const void *b) {
    const keyed *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    const int times = compare_numbers(x->time, y->time);
    return times ? times : x->call < y->call ? -1 : x->call > y->call;
}

static int compare_aliases(const void *a, const void *b) {
    return strcmp(((const keel__alias *)a)->other, ((const keel__alias *)b)->other);
}

static void use_aliases(keel__sessions *sessions) {
    const size_t n = sessions->n_aliases;
    if (n) qsort(sessions->aliases, n, sizeof *sessions->aliases, compare_aliases);
    for (size_t i = 0; i < sessions->count; i++) {
        keel__call *call = &sessions->calls[i];
        const keel__alias key = {.other = call->session}, *found = NULL;
        if (n) found = bsearch(&key, sessions->aliases, n, sizeof key, compare_aliases);
        if (found) call->session = found->session;
        call->key = keel_hash64_mix(hash_text(call->session, 1), call->hashes[call->n]);
    }
}

static keel_status put_in_order(keel__sessions *sessions, keel_err *err) {
    const size_t n = sessions->count;
    sessions->by_key = keel_arena_alloc(&sessions->arena, (n + 1) * sizeof *sessions->by_key);
    keyed *keys = keel_arena_alloc(&sessions->arena, (n + 1) * sizeof *keys);
    if (!sessions->by_key || !keys) return keel_nomem(err, "sessions");
    use_aliases(sessions);
    if (n) qsort(sessions->calls, n, sizeof *sessions->calls, compare_calls);
    for (size_t i = 0; i < n; i++) keys[i] = (keyed){sessions->calls[i].key, sessions->calls[i].time, i};
    if (n) qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 0; i < n; i++) sessions->by_key[i] = keys[i].call;
    return KEEL_OK;
}

/* The first in by_key whose key is not below. */
static size_t first_of_key(const keel__sessions *sessions, uint64_t key) {
    size_t low = 0, high = sessions->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (sessions->calls[sessions->by_key[middle]].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- conversations ---- */

/* What another record says of the same answer; of two verdicts, the later one, unless what is there is firm.
 */
static void join_answer(keel__value *build, cJSON *into, const cJSON *from, bool firm) {
    for (const cJSON *item = from->child; item; item = item->next) {
        cJSON *there = cJSON_GetObjectItemCaseSensitive(into, item->string);
        if (strcmp(item->string, "role") == 0) continue;
        if (!there)
            keel__value_put_same(build, into, item->string, item);
        else if (!firm && strcmp(item->string, "feedback") == 0)
            there->valuedouble = item->valuedouble;
    }
}

static bool is_same(const cJSON *a, const cJSON *b, const char *key) {
    const cJSON *x = keel_json_get(a, key), *y = keel_json_get(b, key);
    return (!x && !y) || cJSON_Compare(x, y, true);
}

/* The same answer of the same model, given again, is one candidate. */
static keel_status put_candidate(keel__value *build, cJSON *into, const cJSON *from, const char *where,
                                 keel_err *err) {
    static const char *const not_of_candidates[] = {"role", "finish_reason", NULL};
    size_t n = 0;
    cJSON *list = cJSON_GetObjectItemCaseSensitive(into, "candidates");
    if (!list) keel__value_put(build, into, "candidates", list = keel__value_array(build));
    for (cJSON *there = list ? list->child : NULL; there; there = there->next, n++) {
        if (!is_same(there, from, "content") || !is_same(there, from, "tool_calls") ||
            !is_same(there, from, "model"))
            continue;
        join_answer(build, there, from, false);
        return KEEL_OK;
    }
    if (n == KEEL__SESSION_WIDEST)
        return keel_fail(err, KEEL_E_INVALID, where, "more than %d answers to the same history",
                         KEEL__SESSION_WIDEST);
    keel__value_put(build, list, NULL, keel__value_copy(build, from, not_of_candidates));
    return KEEL_OK;
}

/* Adds the answers of a call to the message of the assistant that the history has in their place. */
static keel_status absorb(keel__value *build, cJSON *message, bool firm, const keel__call *call,
                          keel_err *err) {
    uint64_t said, other;
    KEEL_TRY(hash_message(message, call->where, build->arena, &said, err));
    for (const cJSON *answer = call->answers->child; answer; answer = answer->next) {
        KEEL_TRY(hash_message(answer, call->where, build->arena, &other, err));
        if (other == said)
            join_answer(build, message, answer, firm);
        else
            KEEL_TRY(put_candidate(build, message, answer, call->where, err));
    }
    return KEEL_OK;
}

/* The messages of the head with its answer, and all that other calls say of its answers. */
static keel_status join_calls(keel__sessions *sessions, keel__call *head, keel__value *build, cJSON *messages,
                              keel_err *err) {
    const uint64_t session = hash_text(head->session, 1);
    const cJSON *item = head->history->child;
    head->used = true;
    for (size_t k = 0; k <= head->n && !build->failed; k++) {
        cJSON *message = keel__value_copy(build, k < head->n ? item : head->answers->child, NULL);
        keel__value_put(build, messages, NULL, message);
        if (k < head->n) item = item->next;
        if (build->failed || k == 0 || !keel__message_is_answer(message)) continue;
        const cJSON *more = k == head->n ? head->answers->child->next : NULL;
        for (; more; more = more->next) KEEL_TRY(put_candidate(build, message, more, head->where, err));
        const bool firm =
            keel_json_get(message, "feedback") != NULL; /* the head is the latest of its length */
        const uint64_t key = keel_hash64_mix(session, head->hashes[k]);
        for (size_t i = first_of_key(sessions, key); i < sessions->count; i++) {
            keel__call *call = &sessions->calls[sessions->by_key[i]];
            if (call->key != key) break;
            if (call->used || call->n != k || strcmp(call->session, head->session) != 0) continue;
            call->used = true;
            KEEL_TRY(absorb(build, message, firm, call, err));
        }
    }
    return KEEL_OK;
}

static keel_status read_head(keel__sessions *sessions, keel__call *head, keel_arena *arena, keel_read *out,
                             keel_err *err) {
    keel__value build = {.arena = arena};
    cJSON *made = keel__value_object(&build), *messages = keel__value_array(&build);
    if (!sessions->last_session || strcmp(sessions->last_session, head->session) != 0) sessions->heads = 0;
    sessions->last_session = head->session;
    sessions->heads++;
    const char *name = head->session;
    if (sessions->heads > 1) name = keel__value_format(&build, "%s#%zu", name, sessions->heads);
    keel__value_put_text(&build, made, "id", name);
    keel__value_put_text(&build, made, "group", head->group ? head->group : head->session);
    keel__value_put(&build, made, "messages", messages);
    keel__value_put_same(&build, made, "meta", head->meta);
    if (build.failed) return keel_nomem(err, head->where);
    KEEL_TRY(join_calls(sessions, head, &build, messages, err));
    out->where = head->where;
    return keel__build_read(&build, made, NULL, out, err);
}

/* ---- the reader ---- */

keel_status keel__sessions_next(keel_reader *reader, keel__sessions_read *read, keel__sessions_finish *finish,
                                keel_arena *arena, keel_read *out, keel_err *err) {
    keel__sessions *sessions = reader->state;
    const cJSON *object = NULL;
    const char *where = NULL;
    while (!sessions->read) {
        KEEL_TRY(
            keel__objects_next(&sessions->objects, reader->source, &sessions->arena, &object, &where, err));
        if (object) {
            KEEL_TRY(read(reader, object, where, err));
            continue;
        }
        if (finish) KEEL_TRY(finish(reader, err));
        KEEL_TRY(put_in_order(sessions, err));
        sessions->read = true;
    }
    while (sessions->next < sessions->count && sessions->calls[sessions->next].used) sessions->next++;
    if (sessions->next == sessions->count) return KEEL_OK;
    return read_head(sessions, &sessions->calls[sessions->next++], arena, out, err);
}

void keel__sessions_close(keel_reader *reader) {
    keel__sessions *sessions = reader->state;
    keel__objects_close(&sessions->objects);
    keel_arena_free(&sessions->arena);
}
