#include "policies/base.h"

#include <string.h>

#include "core/json.h"
#include "policies/artefact.h"
#include "policies/ngram_base/model.h"
#include "policies/sweep.h"

static const keel_base_kind *const kinds[] = {&keel__ngram_base_kind, NULL};

keel_status keel_base_load(keel_base **out, const char *dir, keel_err *err) {
    cJSON *manifest = NULL;
    char hash[65];
    const char *type = NULL;
    keel_base *base = NULL;
    KEEL_TRY(keel_artefact_open(dir, "base", &manifest, hash, err));
    keel_status status = keel_json_string(manifest, "type", true, &type, dir, err);
    size_t i = 0;
    while (status == KEEL_OK && kinds[i] && strcmp(kinds[i]->type, type) != 0) i++;
    if (status == KEEL_OK && !kinds[i])
        status =
            keel_fail(err, KEEL_E_UNSUPPORTED, dir, "a base of type \"%s\" is not known to this build", type);
    if (status == KEEL_OK) status = kinds[i]->load(&base, dir, manifest, err);
    cJSON_Delete(manifest);
    if (status != KEEL_OK) return status;
    memcpy(base->hash, hash, sizeof hash);
    *out = base;
    return KEEL_OK;
}

void keel_base_close(keel_base *base) {
    if (base) base->kind->close(base);
}

keel_status keel_base_encode(const keel_base *base, const keel_conversation *conversation, size_t decision,
                             keel_arena *scratch, keel_features *out, keel_err *err) {
    const keel_decision *at = &conversation->decisions[decision];
    if (decision >= conversation->n_decisions || at->turn > conversation->n_turns)
        return keel_fail(err, KEEL_E_USAGE, "base", "decision %zu is not one of the conversation's",
                         decision);
    if (base->space == KEEL_SPACE_CANDIDATES && at->n_candidates == 0)
        return keel_fail(err, KEEL_E_INVALID, "base", "decision %zu of conversation %lld has no candidates",
                         decision, (long long)conversation->id);
    return base->kind->encode(base, conversation, decision, scratch, out, err);
}

keel_status keel_base_stored(const keel_base *base, keel_store *store, const keel_decision *decision,
                             keel_arena *arena, keel_features *out, bool *found, keel_err *err) {
    bool sets = base->space == KEEL_SPACE_CANDIDATES;
    size_t n_actions = sets ? decision->n_candidates : base->n_acts;
    keel_features read = {0};
    bool there;
    KEEL_TRY(keel_store_get_features(store, base->hash, decision->id, arena, &read, &there, err));
    if (there && (read.state_dim != base->state_dim || read.n_actions != n_actions ||
                  (sets && (read.n_candidates != n_actions || read.candidate_dim != base->candidate_dim))))
        return keel_fail(
            err, KEEL_E_STORE, keel_store_path(store),
            "features of decision %lld are %zu + %zu x %zu + %zu floats, expected %zu + %zu x %zu "
            "+ %zu: the store is damaged",
            (long long)decision->id, read.state_dim, read.n_candidates, read.candidate_dim, read.n_actions,
            base->state_dim, sets ? n_actions : 0, base->candidate_dim, n_actions);
    *out = read;
    *found = there;
    return KEEL_OK;
}

int32_t keel_base_act_index(const keel_base *base, const char *act) {
    for (size_t i = 0; act && i < base->n_acts; i++)
        if (strcmp(base->acts[i], act) == 0) return (int32_t)i;
    return -1;
}

/* ---- encoding a split into the store ---- */

enum { DECISIONS_A_TRANSACTION = 4096 };

typedef struct encoding {
    keel_store *store;
    const keel_base *base;
    keel_features *features[KEEL_SWEEP_SLOTS]; /* [n_decisions] of the slot's conversation */
    size_t pending, done;
    keel_arena scratch;
} encoding;

static bool can_encode(const keel_base *base, const keel_decision *decision) {
    return base->space != KEEL_SPACE_CANDIDATES || decision->n_candidates > 0;
}

static keel_status encode_slot(void *context, size_t slot, const keel_conversation *conversation,
                               keel_arena *arena, keel_err *err) {
    encoding *to = context;
    keel_features *features = keel_arena_calloc(arena, conversation->n_decisions, sizeof *features);
    if (!features) return keel_fail(err, KEEL_E_NOMEM, "base", "no memory to encode");
    for (size_t i = 0; i < conversation->n_decisions; i++)
        if (can_encode(to->base, &conversation->decisions[i]))
            KEEL_TRY(keel_base_encode(to->base, conversation, i, arena, &features[i], err));
    to->features[slot] = features;
    return KEEL_OK;
}

static keel_status keep_slot(void *context, size_t slot, const keel_conversation *conversation, bool *stop,
                             keel_err *err) {
    encoding *to = context;
    (void)stop;
    for (size_t i = 0; i < conversation->n_decisions; i++) {
        const keel_decision *decision = &conversation->decisions[i];
        keel_features there;
        bool found = false;
        keel_arena_reset(&to->scratch);
        KEEL_TRY(keel_store_get_features(to->store, to->base->hash, decision->id, &to->scratch, &there,
                                         &found, err));
        if (found || !can_encode(to->base, decision)) continue;
        if (to->pending == 0) KEEL_TRY(keel_store_begin(to->store, err));
        to->pending++;
        KEEL_TRY(
            keel_store_put_features(to->store, to->base->hash, decision->id, &to->features[slot][i], err));
    }
    if (to->pending < DECISIONS_A_TRANSACTION) return KEEL_OK;
    to->done += to->pending;
    to->pending = 0;
    return keel_store_commit(to->store, err);
}

static keel_status encode_split(encoding *to, const keel_split *split, keel_pool *pool, keel_err *err) {
    keel_sweep sweep = {.store = to->store,
                        .pool = pool,
                        .what = "encode",
                        .split = split,
                        .work = encode_slot,
                        .merge = keep_slot,
                        .context = to};
    KEEL_TRY(keel_store_count_conversations(to->store, split, &sweep.count, err));
    keel_status status = keel_sweep_run(&sweep, err);
    if (to->pending == 0) return status;
    if (status != KEEL_OK && status != KEEL_E_INTERRUPTED) {
        keel_store_rollback(to->store);
        return status;
    }
    KEEL_TRY(keel_store_commit(to->store,
                               status == KEEL_OK ? err : NULL)); /* an interrupted pass keeps what it did */
    to->done += to->pending;
    return status;
}

keel_status keel_encode_store(keel_store *store, const keel_split *split, const keel_base *base,
                              keel_pool *pool, size_t *encoded, keel_err *err) {
    size_t missing = 0;
    encoding to = {.store = store, .base = base};
    KEEL_TRY(keel_store_check_split(store, split, err));
    KEEL_TRY(keel_store_missing_features(store, base->hash, split, &missing, err));
    keel_status status = missing > 0 ? encode_split(&to, split, pool, err) : KEEL_OK;
    keel_arena_free(&to.scratch);
    if (status == KEEL_OK && encoded) *encoded = to.done;
    return status;
}
