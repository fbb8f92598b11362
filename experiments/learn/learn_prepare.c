/* Where a round lies, and the store that it learns from. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "core/file.h"
#include "core/log.h"
#include "experiments/learn/learn_internal.h"
#include "policies/artefact.h"
#include "rl/learn/derive.h"

keel_status keel__learn_place_of(const keel_learn *learn, const char *name, int64_t id, keel_arena *arena,
                                 keel__learn_place *out, keel_err *err) {
    char folder[64];
    snprintf(folder, sizeof folder, "%s-%lld", name, (long long)id);
    out->folder = keel_path_join(arena, learn->out, folder);
    if (!out->folder) return keel_nomem(err, learn->out);
    out->snapshot = keel_path_join(arena, out->folder, "snapshot.db");
    out->work = keel_path_join(arena, out->folder, "work.db");
    out->base = keel_path_join(arena, out->folder, "base");
    out->policy = keel_path_join(arena, out->folder, "policy");
    return out->snapshot && out->work && out->base && out->policy ? KEEL_OK : keel_nomem(err, learn->out);
}

keel_status keel__learn_hash(const char *dir, const char *kind, keel_arena *arena, const char **hash,
                             keel_err *err) {
    char hex[65];
    cJSON *manifest = NULL;
    KEEL_TRY(keel_artefact_open(dir, kind, &manifest, hex, err));
    cJSON_Delete(manifest);
    *hash = keel_arena_strdup(arena, hex);
    return *hash ? KEEL_OK : keel_nomem(err, dir);
}

/* ---- the copy in which is judged and encoded ---- */

static keel_status derive_all(keel_store *store, keel_err *err) {
    keel_reward_config rewards;
    KEEL_TRY(keel_store_begin(store, err));
    keel_status status = keel_derive_settle_rewards(store, &rewards, err);
    if (status == KEEL_OK) status = keel_derive(store, NULL, &rewards, 0, NULL, err);
    if (status == KEEL_OK) status = keel_store_commit(store, err);
    if (status != KEEL_OK) keel_store_rollback(store);
    return status;
}

static keel_status copy(const char *from, const char *to, keel_err *err) {
    keel_store *store = NULL;
    keel_status status = keel_store_open(&store, from, KEEL_STORE_READ, err);
    if (status == KEEL_OK) status = keel_store_snapshot(store, to, err);
    keel_store_close(store);
    return status;
}

static keel_status fill(const keel__learn_base *base, const char *path, const char *older, int64_t *carried,
                        keel_err *err) {
    keel_store *store = NULL;
    keel_status status = keel_store_open(&store, path, KEEL_STORE_WRITE, err);
    if (status == KEEL_OK) status = derive_all(store, err);
    if (status == KEEL_OK && older && base->hash && keel_file_exists(older))
        status = keel_store_carry_features(store, older, base->hash, carried, err);
    keel_store_close(store);
    return status;
}

/* A policy's base is looked for beside it, by whoever serves it. */
static keel_status link_base(const keel__learn_base *base, const char *link, keel_err *err) {
    if (!base->dir || symlink(base->dir, link) == 0 || errno == EEXIST) return KEEL_OK;
    return keel_fail(err, KEEL_E_IO, link, "cannot be made a link to the base");
}

keel_status keel__learn_prepare(const keel__learn_base *base, const keel__learn_place *place,
                                const char *snapshot, const char *older, int64_t *carried, keel_err *err) {
    char making[4200];
    *carried = 0;
    KEEL_TRY(link_base(base, place->base, err));
    if (keel_file_exists(place->work)) return KEEL_OK;
    snprintf(making, sizeof making, "%s.making", place->work);
    KEEL_TRY(copy(snapshot, making, err));
    KEEL_TRY(fill(base, making, older, carried, err));
    if (rename(making, place->work) == 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_IO, place->work, "the copy of the snapshot cannot be put there");
}

/* ---- what is judged ---- */

/* Answers are judged where nothing is judged yet, or where a judge did so before. Where people or the log
 * itself judged, what is open stays open. */
keel_status keel__learn_wants_label(const keel_learn *learn, const char *work, bool *wants, keel_err *err) {
    keel_store *store = NULL;
    keel_arena arena = {0};
    keel_split_count *counts;
    size_t n = 0;
    int64_t taken = 0, open = 0, judged = 0;
    *wants = learn->label == KEEL_LEARN_LABEL_ALWAYS;
    if (learn->label != KEEL_LEARN_LABEL_AUTO) return KEEL_OK;
    keel_status status = keel_store_open(&store, work, KEEL_STORE_READ, err);
    if (status == KEEL_OK) status = keel_store_counts(store, &arena, &counts, &n, err);
    for (size_t i = 0; i < n; i++) {
        taken += counts[i].taken;
        open += counts[i].outcome[KEEL_OUTCOME_NONE];
        judged += counts[i].judged_by[KEEL_AUTHORITY_MODEL] + counts[i].judged_by[KEEL_AUTHORITY_RULE];
    }
    keel_store_close(store);
    keel_arena_free(&arena);
    *wants = taken > 0 && (open == taken || judged > 0);
    return status;
}

/* ---- the chain ---- */

void keel__learn_say_training(const keel_learn *learn, bool label, bool tune, const char *seed,
                              keel_chain *chain) {
    if (label) KEEL_CHAIN_SAY(chain, "label", "--");
    if (tune) {
        KEEL_CHAIN_SAY(chain, "sft", "--base", learn->tune, "--split", learn->split, "--out", "${out}/base",
                       "--seed", seed);
        for (size_t i = 0; i < learn->n_tune_sets; i++) KEEL_CHAIN_SAY(chain, "--set", learn->tune_sets[i]);
        KEEL_CHAIN_SAY(chain, "--");
    }
    KEEL_CHAIN_SAY(chain, "train", "--base", "${out}/base", "--split", learn->split, "--out", "${out}/policy",
                   "--seed", seed);
    if (learn->algo) KEEL_CHAIN_SAY(chain, "--algo", learn->algo);
    if (learn->max_harm) KEEL_CHAIN_SAY(chain, "--max-harm", learn->max_harm);
    for (size_t i = 0; i < learn->n_sets; i++) KEEL_CHAIN_SAY(chain, "--set", learn->sets[i]);
}

keel_chain_place keel__learn_chain_place(const keel_learn *learn, const keel__learn_place *place,
                                         keel_arena *arena) {
    return (keel_chain_place){.name = "learn",
                              .store = place->work,
                              .out = place->folder,
                              .root = place->folder,
                              .threads = learn->threads,
                              .arena = arena};
}
