#include "policies/tokens/vocabulary.h"

#include <string.h>

#include "core/hash.h"

keel_status keel__vocabulary_room(keel__vocabulary *vocabulary, size_t size, keel_arena *arena,
                                  keel_err *err) {
    size_t slots = 16;
    while (slots < 2 * size) slots *= 2;
    *vocabulary = (keel__vocabulary){.size = size,
                                     .slots = slots,
                                     .token = keel_arena_calloc(arena, size, sizeof *vocabulary->token),
                                     .slot = keel_arena_alloc(arena, slots * sizeof *vocabulary->slot)};
    if (!vocabulary->token || !vocabulary->slot) return keel_nomem(err, "vocabulary");
    for (size_t i = 0; i < slots; i++) vocabulary->slot[i] = -1;
    return KEEL_OK;
}

static bool is(const char *token, const char *first, size_t n_first, const char *second, size_t n_second) {
    return strncmp(token, first, n_first) == 0 && strncmp(token + n_first, second, n_second) == 0 &&
           token[n_first + n_second] == '\0';
}

int32_t keel__vocabulary_find_hashed(const keel__vocabulary *vocabulary, uint64_t hash, const char *first,
                                     size_t n_first, const char *second, size_t n_second) {
    size_t mask = vocabulary->slots - 1, at = (size_t)hash & mask;
    for (; vocabulary->slot[at] >= 0; at = (at + 1) & mask) {
        int32_t id = vocabulary->slot[at];
        if (is(vocabulary->token[id], first, n_first, second, n_second)) return id;
    }
    return -1;
}

int32_t keel__vocabulary_find_bytes(const keel__vocabulary *vocabulary, const char *token, size_t length) {
    return keel__vocabulary_find_hashed(vocabulary, keel_hash64(token, length, 0), token, length, "", 0);
}

int32_t keel__vocabulary_find(const keel__vocabulary *vocabulary, const char *token) {
    return keel__vocabulary_find_bytes(vocabulary, token, strlen(token));
}

int32_t keel__vocabulary_find_two(const keel__vocabulary *vocabulary, const char *first, const char *second) {
    uint64_t running = keel_hash64_begin(0);
    for (const char *c = first; *c; c++) running = keel_hash64_add(running, (unsigned char)*c);
    for (const char *c = second; *c; c++) running = keel_hash64_add(running, (unsigned char)*c);
    return keel__vocabulary_find_hashed(vocabulary, keel_hash64_end(running), first, strlen(first), second,
                                        strlen(second));
}

bool keel__vocabulary_add(keel__vocabulary *vocabulary, const char *token, int32_t id) {
    size_t length = strlen(token), mask = vocabulary->slots - 1,
           at = (size_t)keel_hash64(token, length, 0) & mask;
    if (id < 0 || (size_t)id >= vocabulary->size || vocabulary->token[id]) return false;
    for (; vocabulary->slot[at] >= 0; at = (at + 1) & mask)
        if (strcmp(vocabulary->token[vocabulary->slot[at]], token) == 0) return false;
    vocabulary->slot[at] = id;
    vocabulary->token[id] = token;
    return true;
}

bool keel__ids_add(keel__ids *ids, int32_t id) {
    if (!keel_grow(&ids->id, ids->count + 1, &ids->room, sizeof *ids->id)) return false;
    ids->id[ids->count++] = id;
    return true;
}
