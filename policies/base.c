#include "policies/base.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/numeric.h"
#include "policies/artefact.h"

const char *const keel_base_spaces[] = {"auto", "candidates", "acts", "outcomes", NULL};
const char *const keel_base_fixed[] = {"auto", "none", "refusal", NULL};

/* ---- kinds ---- */

static const keel_base_kind *kind_of_type(const char *type) {
    size_t i = 0;
    while (keel_base_kinds[i] && strcmp(keel_base_kinds[i]->type, type) != 0) i++;
    return keel_base_kinds[i];
}

/* The name of a kind that starts from a model may be that of a folder, which it then is. */
static const keel_base_kind *kind_of_name(const char *name) {
    for (size_t i = 0; keel_base_kinds[i]; i++)
        if (keel_base_kinds[i]->alias && strcmp(keel_base_kinds[i]->alias, name) == 0)
            return keel_base_kinds[i];
    const keel_base_kind *kind = kind_of_type(name);
    return kind && kind->starts_from && keel_file_is_folder(name) ? NULL : kind;
}

bool keel_base_is_kind(const char *spec) {
    return kind_of_name(spec) != NULL;
}

static keel_status no_such_base(const char *spec, keel_err *err) {
    keel_buf names = {0};
    for (size_t i = 0; keel_base_kinds[i]; i++)
        if (!keel_base_kinds[i]->needs_model)
            keel_buf_format(&names, "%s\"%s\"", names.length ? ", " : "", keel_base_kinds[i]->type);
    keel_fail(err, KEEL_E_NOT_FOUND, spec, "there is no such base");
    keel_hint(err, "--base is %s, a model (docs/bases.md), or the folder of a base to go on from",
              names.failed ? "a kind" : names.data);
    keel_buf_free(&names);
    return KEEL_E_NOT_FOUND;
}

static bool is_artefact(const char *dir) {
    char path[4200];
    snprintf(path, sizeof path, "%s/keel.json", dir);
    return keel_file_exists(path);
}

/* *out NULL: none starts from it. */
static keel_status kind_of_model(const char *dir, const keel_base_kind **out, keel_err *err) {
    bool found = false;
    *out = NULL;
    for (size_t i = 0; keel_base_kinds[i] && !found; i++) {
        if (!keel_base_kinds[i]->starts_from) continue;
        KEEL_TRY(keel_base_kinds[i]->starts_from(dir, &found, err));
        if (found) *out = keel_base_kinds[i];
    }
    return KEEL_OK;
}

/* A file that holds a whole model. */
static bool is_model_file(const char *spec) {
    const size_t n = strlen(spec);
    return n > 5 && strcmp(spec + n - 5, ".gguf") == 0 && !keel_file_is_folder(spec) &&
           keel_file_exists(spec);
}

bool keel_base_is_model(const char *spec) {
    return !kind_of_name(spec) && (is_model_file(spec) || (keel_file_is_folder(spec) && !is_artefact(spec)));
}

/* The kind of the base in a folder, whose files have been checked against keel.json. */
static keel_status open_folder(const char *dir, const keel_base_kind **out, char hash[65], keel_err *err) {
    cJSON *manifest = NULL;
    const char *type = NULL;
    KEEL_TRY(keel_artefact_open(dir, "base", &manifest, hash, err));
    keel_status status = keel_json_string(manifest, "type", true, &type, dir, err);
    if (status == KEEL_OK && !(*out = kind_of_type(type)))
        status =
            keel_fail(err, KEEL_E_UNSUPPORTED, dir, "a base of type \"%s\" is not known to this build", type);
    cJSON_Delete(manifest);
    return status;
}

static keel_status no_such_file(const char *spec, keel_err *err) {
    keel_fail(err, KEEL_E_NOT_FOUND, spec, "there is no such folder or file");
    return keel_hint(err, "give what `keel sft --out` wrote, or a model (docs/bases.md)");
}

keel_status keel_base_find_kind(const char *spec, const keel_base_kind **out, keel_err *err) {
    *out = kind_of_name(spec);
    if (*out) return KEEL_OK;
    if (!keel_file_is_folder(spec) && !is_model_file(spec)) return no_such_base(spec, err);
    return keel_base_find_made(spec, out, err);
}

keel_status keel_base_find_made(const char *spec, const keel_base_kind **out, keel_err *err) {
    char hash[65];
    if (!keel_file_is_folder(spec) && !is_model_file(spec)) return no_such_file(spec, err);
    if (is_model_file(spec) || !is_artefact(spec)) {
        KEEL_TRY(kind_of_model(spec, out, err));
        if (*out) return KEEL_OK;
        keel_fail(err, KEEL_E_NOT_FOUND, spec,
                  "holds neither a base (keel.json) nor an encoder or decoder (config.json, .gguf)");
        return keel_hint(
            err, "give what `keel sft --out` wrote, or a model: experiments/fetch-base.sh minilm or smollm2");
    }
    return open_folder(spec, out, hash, err);
}

/* A model that a base starts from is none itself. */
static keel_status check_tuned(const char *dir, keel_err *err) {
    const keel_base_kind *kind = NULL;
    if (!keel_base_is_model(dir) || kind_of_model(dir, &kind, NULL) != KEEL_OK || !kind) return KEEL_OK;
    keel_fail(err, KEEL_E_NOT_FOUND, dir, "is a model as it came, not a base that was tuned on a log");
    return keel_hint(err, "run `keel sft --base %.80s --out runs/base` first, and give runs/base", dir);
}

keel_status keel_base_load(keel_base **out, const char *dir, keel_err *err) {
    const keel_base_kind *kind = NULL;
    char hash[65];
    keel_base *base = NULL;
    KEEL_TRY(check_tuned(dir, err));
    KEEL_TRY(open_folder(dir, &kind, hash, err));
    KEEL_TRY(kind->load(&base, dir, err));
    memcpy(base->hash, hash, sizeof hash);
    *out = base;
    return KEEL_OK;
}

keel_status keel_base_hash_model(const char *dir, char hash[65], keel_err *err) {
    if (!keel_file_is_folder(dir)) return keel_file_hash(dir, hash, err);
    static const char *const suffixes[] = {".json", ".safetensors", ".gguf", ".jinja", NULL};
    keel_arena arena = {0};
    keel_sha256 sum;
    const char **names;
    size_t count = 0;
    keel_sha256_init(&sum);
    keel_status status = keel_folder_list_deep(dir, suffixes, &arena, &names, &count, err);
    for (size_t i = 0; status == KEEL_OK && i < count; i++) {
        char hex[65];
        const char *path = keel_path_join(&arena, dir, names[i]);
        status = path ? keel_file_hash(path, hex, err) : keel_nomem(err, dir);
        keel_sha256_add_text(&sum, names[i]);
        if (status == KEEL_OK) keel_sha256_add_text(&sum, hex);
    }
    keel_sha256_hex(&sum, hash);
    keel_arena_free(&arena);
    return status;
}

static keel_status open_model(keel_base **out, const keel_base_kind *kind, const char *path, keel_err *err) {
    char hash[65];
    if (!kind->open) {
        keel_fail(err, KEEL_E_UNSUPPORTED, path, "the model as it came is no base: it has to be tuned first");
        return keel_hint(err, "run `keel sft --base %s --store FILE --out DIR`", path);
    }
    KEEL_TRY(keel_base_hash_model(path, hash, err));
    KEEL_TRY(kind->open(out, path, err));
    memcpy((*out)->hash, hash, sizeof hash);
    return KEEL_OK;
}

keel_status keel_base_open(keel_base **out, const char *path, keel_err *err) {
    const keel_base_kind *kind;
    if (is_artefact(path)) return keel_base_load(out, path, err);
    if (keel_base_is_model(path)) {
        KEEL_TRY(keel_base_find_made(path, &kind, err));
        return open_model(out, kind, path, err);
    }
    return no_such_file(path, err);
}

void keel_base_close(keel_base *base) {
    if (!base) return;
    keel_base *beside = base->beside;
    base->kind->close(base);
    keel_base_close(beside);
}

/* ---- use ---- */

size_t keel_base_n_actions(const keel_base *base, const keel_decision *decision) {
    return base->space == KEEL_SPACE_CANDIDATES ? decision->n_candidates + base->n_fixed : base->n_acts;
}

bool keel_base_can_encode(const keel_base *base, const keel_decision *decision) {
    return keel_base_n_actions(base, decision) > 0;
}

static keel_status check_decision(const keel_conversation *conversation, size_t decision, keel_err *err) {
    if (decision < conversation->n_decisions &&
        conversation->decisions[decision].turn <= conversation->n_turns)
        return KEEL_OK;
    return keel_fail(err, KEEL_E_USAGE, "base", "decision %zu is not one of the conversation's", decision);
}

static keel_status check_item(const keel_base *base, const keel_base_item *item, keel_err *err) {
    for (size_t i = 0; i < item->n; i++) {
        size_t decision = item->decision ? item->decision[i] : i;
        KEEL_TRY(check_decision(item->conversation, decision, err));
        if (!keel_base_can_encode(base, &item->conversation->decisions[decision]))
            return keel_fail(err, KEEL_E_INVALID, "base",
                             "decision %zu of conversation %lld has no candidates", decision,
                             (long long)item->conversation->id);
    }
    return KEEL_OK;
}

/* A fixed answer that the decision has as a candidate is one action, not two: that candidate. */
static keel_status offer_once(const keel_base *base, const keel_decision *decision, keel_features *features,
                              keel_arena *scratch, keel_err *err) {
    float *prior = NULL;
    for (size_t i = 0; i < base->n_fixed; i++) {
        if (!keel_candidate_among(decision->candidates, decision->n_candidates, &base->fixed[i])) continue;
        if (!prior) prior = keel_arena_alloc(scratch, features->n_actions * sizeof *prior);
        if (!prior) return keel_nomem(err, "base");
        if (features->log_prior != prior)
            memcpy(prior, features->log_prior, features->n_actions * sizeof *prior);
        features->log_prior = prior;
        prior[decision->n_candidates + i] = -INFINITY;
    }
    if (prior) keel_log_softmax(prior, features->n_actions, prior);
    return KEEL_OK;
}

keel_status keel_base_encode(const keel_base *base, const keel_base_item *items, size_t n,
                             keel_arena *scratch, keel_err *err) {
    for (size_t i = 0; i < n; i++) KEEL_TRY(check_item(base, &items[i], err));
    KEEL_TRY(base->kind->encode(base, items, n, scratch, err));
    for (size_t i = 0; i < n && base->space == KEEL_SPACE_CANDIDATES; i++)
        for (size_t k = 0; k < items[i].n; k++) {
            const size_t decision = items[i].decision ? items[i].decision[k] : k;
            KEEL_TRY(offer_once(base, &items[i].conversation->decisions[decision], &items[i].features[k],
                                scratch, err));
        }
    return KEEL_OK;
}

keel_status keel_base_encode_decision(const keel_base *base, const keel_conversation *conversation,
                                      size_t decision, keel_arena *scratch, keel_features *out,
                                      keel_err *err) {
    const keel_base_item item = {conversation, &decision, 1, out};
    return keel_base_encode(base, &item, 1, scratch, err);
}

static keel_status place_features(const keel_features *features, keel_arena *scratch, keel_sparse_vector *out,
                                  keel_err *err) {
    int32_t *all = keel_arena_alloc(scratch, features->state_dim * sizeof *all);
    if (!all) return keel_nomem(err, "base");
    for (size_t i = 0; i < features->state_dim; i++) all[i] = (int32_t)i;
    *out = (keel_sparse_vector){features->state_dim, all, features->state};
    return KEEL_OK;
}

/* Dimensions and weights by the kind's own way, or by state features. */
static keel_status read_place(const keel_base *base, const keel_conversation *conversation, size_t decision,
                              const keel_features *features, bool seen, keel_arena *scratch,
                              keel_sparse_vector *out, keel_err *err) {
    keel_features encoded;
    if (base->beside && base->beside->kind->place) base = base->beside;
    if (base->kind->place) return base->kind->place(base, conversation, decision, seen, scratch, out, err);
    if (features) return place_features(features, scratch, out, err);
    KEEL_TRY(keel_base_encode_decision(base, conversation, decision, scratch, &encoded, err));
    return place_features(&encoded, scratch, out, err);
}

typedef struct dimension {
    uint64_t hash;
    int32_t dim;
    float weight;
} dimension;

static int by_hash(const void *a, const void *b) {
    const dimension *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

static int by_dim(const void *a, const void *b) {
    const dimension *x = a, *y = b;
    return (x->dim > y->dim) - (x->dim < y->dim);
}

/* Those that stay, in order, at length 1. */
static void put_place(dimension *all, size_t n, keel_place *out) {
    double square = 0;
    if (n > KEEL_PLACE_MOST) qsort(all, n, sizeof *all, by_hash);
    out->n = n < KEEL_PLACE_MOST ? n : KEEL_PLACE_MOST;
    qsort(all, out->n, sizeof *all, by_dim);
    for (size_t i = 0; i < out->n; i++) square += (double)all[i].weight * (double)all[i].weight;
    if (!(square > 0)) out->n = 0;
    for (size_t i = 0; i < out->n; i++) {
        out->dim[i] = all[i].dim;
        out->weight[i] = (float)((double)all[i].weight / sqrt(square));
    }
}

keel_status keel_base_place(const keel_base *base, const keel_conversation *conversation, size_t decision,
                            const keel_features *features, bool seen, keel_arena *scratch, keel_place *out,
                            keel_err *err) {
    keel_sparse_vector at;
    KEEL_TRY(check_decision(conversation, decision, err));
    KEEL_TRY(read_place(base, conversation, decision, features, seen, scratch, &at, err));
    dimension *all = keel_arena_alloc(scratch, at.n * sizeof *all);
    if (!all) return keel_nomem(err, "base");
    for (size_t i = 0; i < at.n; i++) {
        all[i] = (dimension){keel_hash64_mix((uint64_t)at.dim[i], 0), at.dim[i], at.weight[i]};
        if (at.dim[i] < 0 || !isfinite(at.weight[i]))
            return keel_fail(err, KEEL_E_INVALID, base->kind->type, "a state's place is not finite");
    }
    put_place(all, at.n, out);
    return KEEL_OK;
}

static keel_status fail_unsupported(const keel_base *base, const char *what, keel_err *err) {
    return keel_fail(err, KEEL_E_UNSUPPORTED, base->kind->type, "a base of this type %s", what);
}

keel_status keel_base_compress(keel_base *base, const keel_compress_job *job, keel_err *err) {
    if (!base->kind->compress) return fail_unsupported(base, "cannot be made smaller", err);
    KEEL_TRY(base->kind->compress(base, job, err));
    return base->beside && base->beside->kind->compress ? keel_base_compress(base->beside, job, err)
                                                        : KEEL_OK;
}

keel_status keel_base_propose(const keel_base *base, const keel_proposal_item *items, size_t n,
                              const keel_proposal_config *config, keel_arena *scratch, keel_err *err) {
    if (!base->kind->propose)
        return fail_unsupported(base, "chooses among candidates and writes none itself", err);
    for (size_t i = 0; i < n; i++) KEEL_TRY(check_decision(items[i].conversation, items[i].decision, err));
    return base->kind->propose(base, items, n, config, scratch, err);
}

/* In candidate sets: the prior over the given candidates as if they were the decision's own, without the
 * fixed answers. In fixed spaces: that of each candidate's act or outcome. */
static keel_status log_prob_by_encode(const keel_base *base, const keel_conversation *conversation,
                                      size_t decision, const keel_candidate *candidates, size_t n,
                                      keel_arena *scratch, double *out, keel_err *err) {
    const bool sets = base->space == KEEL_SPACE_CANDIDATES;
    keel_features features;
    keel_candidate *given = keel_arena_alloc(scratch, (n + 1) * sizeof *given);
    float *log_prior = keel_arena_alloc(scratch, (n + 1) * sizeof *log_prior);
    if (!given || !log_prior) return keel_nomem(err, "base");
    if (n == 0) return KEEL_OK;
    memcpy(given, candidates, n * sizeof *given);
    keel_decision asked = {
        .turn = conversation->decisions[decision].turn, .n_candidates = n, .candidates = given};
    keel_conversation view = *conversation;
    view.decisions = &asked;
    view.n_decisions = 1;
    KEEL_TRY(keel_base_encode_decision(base, &view, 0, scratch, &features, err));
    for (size_t i = 0; i < n; i++)
        log_prior[i] = features.log_prior[sets ? i : (size_t)keel_base_action_index(base, &candidates[i])];
    if (sets && base->n_fixed > 0) keel_log_softmax(log_prior, n, log_prior);
    for (size_t i = 0; i < n; i++) out[i] = (double)log_prior[i];
    return KEEL_OK;
}

keel_status keel_base_log_prob(const keel_base *base, const keel_conversation *conversation, size_t decision,
                               const keel_candidate *candidates, size_t n, keel_arena *scratch, double *out,
                               keel_err *err) {
    KEEL_TRY(check_decision(conversation, decision, err));
    for (size_t i = 0; i < n && base->space != KEEL_SPACE_CANDIDATES; i++)
        if (keel_base_action_index(base, &candidates[i]) < 0)
            return keel_fail(err, KEEL_E_INVALID, "base", "candidate %zu: %s is not one that the base knows",
                             i, base->space == KEEL_SPACE_ACTS ? "its act" : "its outcome");
    return (base->kind->log_prob ? base->kind->log_prob : log_prob_by_encode)(
        base, conversation, decision, candidates, n, scratch, out, err);
}

keel_status keel_base_likelihood(const keel_base *base, const keel_conversation *conversation,
                                 keel_base_said *out, keel_err *err) {
    *out = (keel_base_said){0};
    if (!base->kind->likelihood) return fail_unsupported(base, "is no model of texts", err);
    return base->kind->likelihood(base, conversation, out, err);
}

keel_status keel_base_evidence_of(const keel_base *base, const keel_conversation *conversation,
                                  size_t decision, size_t action, keel_arena *arena, keel_base_evidence *out,
                                  keel_err *err) {
    *out = (keel_base_evidence){0};
    KEEL_TRY(check_decision(conversation, decision, err));
    const size_t n = keel_base_n_actions(base, &conversation->decisions[decision]);
    if (action != SIZE_MAX && action >= n)
        return keel_fail(err, KEEL_E_INVALID, "base", "action %zu: the decision has %zu", action, n);
    if (base->beside) base = base->beside;
    if (!base->kind->evidence) return KEEL_OK;
    return base->kind->evidence(base, conversation, decision, action, arena, out, err);
}

int32_t keel_base_act_index(const keel_base *base, const char *act) {
    for (size_t i = 0; act && i < base->n_acts; i++)
        if (strcmp(base->acts[i], act) == 0) return (int32_t)i;
    return -1;
}

int32_t keel_base_action_index(const keel_base *base, const keel_candidate *candidate) {
    if (base->space == KEEL_SPACE_OUTCOMES) return (int32_t)candidate->outcome - 1; /* -1: not judged */
    return base->space == KEEL_SPACE_ACTS ? keel_base_act_index(base, candidate->act) : -1;
}
