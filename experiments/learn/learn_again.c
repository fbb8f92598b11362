/* A round made once more from its snapshot. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "experiments/learn/learn_internal.h"

static keel_status find(const keel_learn *learn, int64_t id, keel_arena *arena, keel_round **out,
                        keel_err *err) {
    size_t n, i = 0;
    KEEL_TRY(keel_store_rounds(learn->store, arena, out, &n, err));
    while (i < n && (*out)[i].id != id) i++;
    *out += i;
    if (i == n)
        return keel_fail(err, KEEL_E_NOT_FOUND, "--again", "the store has no round %lld", (long long)id);
    if (!(*out)->policy)
        return keel_fail(err, KEEL_E_NOT_FOUND, "--again", "round %lld made no policy", (long long)id);
    if (keel_file_exists((*out)->snapshot)) return KEEL_OK;
    keel_fail(err, KEEL_E_NOT_FOUND, (*out)->snapshot, "the snapshot of round %lld is not there any more",
              (long long)id);
    return keel_hint(err, "--keep says how many snapshots stay");
}

static keel_status check_snapshot(const keel_round *round, keel_err *err) {
    keel_store *store = NULL;
    char content[65];
    keel_status status = keel_store_open(&store, round->snapshot, KEEL_STORE_READ, err);
    if (status == KEEL_OK) status = keel_store_content_hash(store, NULL, content, err);
    keel_store_close(store);
    if (status == KEEL_OK && strcmp(content, round->content) != 0)
        return keel_fail(err, KEEL_E_CONFLICT, round->snapshot,
                         "its content is not what round %lld learned from", (long long)round->id);
    return status;
}

/* ---- as the round was asked ---- */

static keel_status texts(const cJSON *list, keel_arena *arena, const char *const **out, size_t *n,
                         keel_err *err) {
    const int count = cJSON_GetArraySize(list);
    const char **items = keel_arena_calloc(arena, (size_t)count + 1, sizeof *items);
    if (!items) return keel_nomem(err, "--again");
    *n = 0;
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next)
        if (cJSON_IsString(item)) items[(*n)++] = item->valuestring;
    *out = items;
    return KEEL_OK;
}

/* A base that was tuned in the round is tuned again; another must be what it was. */
static keel_status read_base(const cJSON *config, keel_arena *arena, keel_learn *out, keel__learn_base *base,
                             keel_err *err) {
    const cJSON *json = NULL;
    const char *now = NULL;
    *base = (keel__learn_base){0};
    KEEL_TRY(keel_json_object(config, "base", true, &json, "--again", err));
    KEEL_TRY(keel_json_string(json, "tuned", false, &out->tune, "--again", err));
    KEEL_TRY(texts(keel_json_get(json, "set"), arena, &out->tune_sets, &out->n_tune_sets, err));
    KEEL_TRY(keel_json_string(json, "hash", true, &base->hash, "--again", err));
    if (out->tune) return KEEL_OK;
    KEEL_TRY(keel_json_string(json, "dir", true, &base->dir, "--again", err));
    KEEL_TRY(keel__learn_hash(base->dir, "base", arena, &now, err));
    if (strcmp(now, base->hash) == 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_CONFLICT, base->dir, "the round was made with base %.12s, this is %.12s",
                     base->hash, now);
}

static keel_status read_config(const keel_learn *now, const cJSON *config, keel_arena *arena, keel_learn *out,
                               bool *label, keel_err *err) {
    *out = *now;
    out->algo = out->max_harm = out->tune = NULL;
    KEEL_TRY(keel_json_string(config, "split", true, &out->split, "--again", err));
    KEEL_TRY(keel_json_string(config, "algo", false, &out->algo, "--again", err));
    KEEL_TRY(keel_json_string(config, "max_harm", false, &out->max_harm, "--again", err));
    KEEL_TRY(keel_json_bool(config, "label", true, label, "--again", err));
    return texts(keel_json_get(config, "set"), arena, &out->sets, &out->n_sets, err);
}

/* ---- the comparison ---- */

static keel_status compare_file(const char *a, const char *b, const char *name, keel_arena *arena, bool *same,
                                keel_err *err) {
    char one[65], other[65];
    const char *first = keel_path_join(arena, a, name), *second = keel_path_join(arena, b, name);
    if (!first || !second) return keel_nomem(err, name);
    *same = false;
    if (!keel_file_exists(second)) return KEEL_OK;
    KEEL_TRY(keel_file_hash(first, one, err));
    KEEL_TRY(keel_file_hash(second, other, err));
    *same = strcmp(one, other) == 0;
    return KEEL_OK;
}

/* *differs: the first file that does; NULL: none. */
static keel_status compare(const char *a, const char *b, keel_arena *arena, const char **differs,
                           keel_err *err) {
    const char **names, **others;
    size_t n, n_others;
    *differs = NULL;
    KEEL_TRY(keel_folder_list_deep(a, NULL, arena, &names, &n, err));
    KEEL_TRY(keel_folder_list_deep(b, NULL, arena, &others, &n_others, err));
    for (size_t i = 0; i < n && !*differs; i++) {
        bool same = false;
        KEEL_TRY(compare_file(a, b, names[i], arena, &same, err));
        if (!same) *differs = names[i];
    }
    if (!*differs && n != n_others) *differs = "the list of files";
    return KEEL_OK;
}

/* ---- again ---- */

static keel_status make(const keel_learn *as, const keel__learn_base *base, bool label,
                        const keel_round *round, keel_arena *arena, keel__learn_place *place, keel_err *err) {
    char seed[32];
    keel_chain chain = {0};
    int64_t carried;
    snprintf(seed, sizeof seed, "%lld", (long long)round->seed);
    KEEL_TRY(keel__learn_place_of(as, "again", round->id, arena, place, err));
    KEEL_TRY(keel_folder_remove(place->folder, err));
    KEEL_TRY(keel_folder_make(place->folder, err));
    KEEL_TRY(keel__learn_prepare(base, place, round->snapshot, NULL, &carried, err));
    keel__learn_say_training(as, label, as->tune != NULL, seed, &chain);
    const keel_chain_place there = keel__learn_chain_place(as, place, arena);
    const keel_status status = keel_chain_run(&chain, &there, NULL, err);
    unlink(place->work);
    return status;
}

keel_status keel_learn_again(const keel_learn *learn, int64_t id, keel_arena *arena, bool *same,
                             const char **differs, keel_err *err) {
    keel_round *round;
    keel_learn as;
    keel__learn_place first, second;
    keel__learn_base base;
    const cJSON *config = NULL;
    bool label = false;
    KEEL_TRY(find(learn, id, arena, &round, err));
    KEEL_TRY(check_snapshot(round, err));
    KEEL_TRY(keel__learn_place_of(learn, "round", id, arena, &first, err));
    KEEL_TRY(keel_json_parse_in(arena, round->config, strlen(round->config), "--again", &config, err));
    keel_status status = read_config(learn, config, arena, &as, &label, err);
    if (status == KEEL_OK) status = read_base(config, arena, &as, &base, err);
    if (status == KEEL_OK) status = make(&as, &base, label, round, arena, &second, err);
    if (status == KEEL_OK) status = compare(first.policy, second.policy, arena, differs, err);
    *same = status == KEEL_OK && !*differs;
    return status;
}
