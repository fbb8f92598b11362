/* Policies on disk: model.safetensors holds the Q-network's parameters under their own names, config.json the
 * rest. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/packed.h"
#include "core/safetensors.h"
#include "policies/artefact.h"
#include "policies/policy_internal.h"

static const char *const risks[] = {"unknown", "benign", "dangerous"}; /* by keel_risk */

/* ---- at 8 bits ---- */

static bool is_weight(size_t param) {
    return param % 2 == 0; /* a weight, then its bias (qnet.h) */
}

static size_t packed_bytes(const keel_param *param) {
    return param->rows * keel_packed_row(param->cols);
}

/* Room for the bytes of every weight. */
static keel_status make_packed(keel_policy *policy, keel_err *err) {
    const keel_params *params = &policy->net.params;
    unsigned char **made = keel_arena_calloc(&policy->arena, params->count, sizeof *made);
    if (!made) return keel_nomem(err, "policy");
    for (size_t i = 0; i < params->count; i++) {
        if (!is_weight(i)) continue;
        made[i] = keel_arena_alloc(&policy->arena, packed_bytes(&params->table[i]));
        if (!made[i]) return keel_nomem(err, "policy");
    }
    policy->packed = made;
    return KEEL_OK;
}

keel_status keel_policy_pack(keel_policy *policy, keel_err *err) {
    const keel_params *params = &policy->net.params;
    if (policy->packed) return KEEL_OK;
    KEEL_TRY(make_packed(policy, err));
    for (size_t i = 0; i < params->count; i++)
        if (is_weight(i))
            keel_packed_round(keel_params_at(params, i), params->table[i].rows, params->table[i].cols,
                              policy->packed[i]);
    return KEEL_OK;
}

double keel_policy_bytes(const keel_policy *policy) {
    const keel_params *params = &policy->net.params;
    double bytes = 0;
    for (size_t i = 0; i < params->count; i++) {
        const keel_param *param = &params->table[i];
        bytes += policy->packed && is_weight(i) ? (double)packed_bytes(param)
                                                : (double)(param->rows * param->cols * sizeof(float));
    }
    return bytes;
}

/* "critic.0.layer.0.weight.int8" */
static char *packed_name(const keel_param *param, keel_arena *arena) {
    const size_t room = strlen(param->name) + sizeof KEEL_PACKED_SUFFIX;
    char *name = keel_arena_alloc(arena, room);
    if (name) snprintf(name, room, "%s" KEEL_PACKED_SUFFIX, param->name);
    return name;
}

/* ---- saving ---- */

/* Its states, as three tensors behind the network's. */
static size_t list_familiar(const keel_familiar *familiar, keel_named_tensor out[3]) {
    const size_t total = familiar->n ? (size_t)familiar->first[familiar->n] : 0;
    if (!familiar->n) return 0;
    out[0] = keel_named_tensor_of("familiar.first", KEEL_I32, familiar->n + 1, 0, familiar->first);
    out[1] = keel_named_tensor_of("familiar.dim", KEEL_I32, total, 0, familiar->dim);
    out[2] = keel_named_tensor_of("familiar.weight", KEEL_F32, total, 0, familiar->weight);
    return 3;
}

static keel_status describe(const keel_policy *policy, size_t i, keel_arena *arena, keel_named_tensor *out,
                            keel_err *err) {
    const keel_param *param = &policy->net.params.table[i];
    const bool packed = policy->packed && policy->packed[i];
    *out = packed ? keel_named_tensor_of(packed_name(param, arena), KEEL_U8, param->rows,
                                         keel_packed_row(param->cols), policy->packed[i])
                  : keel_named_tensor_of(param->name, KEEL_F32, param->rows, param->cols,
                                         keel_params_at(&policy->net.params, i));
    return out->name ? KEEL_OK : keel_nomem(err, "policy");
}

static keel_status save_weights(const keel_policy *policy, const char *path, keel_err *err) {
    const keel_qnet *net = &policy->net;
    keel_arena arena = {0};
    size_t count = net->params.count;
    keel_named_tensor *tensors = keel_arena_calloc(&arena, count + 3, sizeof *tensors);
    keel_status status = tensors ? KEEL_OK : keel_nomem(err, path);
    for (size_t i = 0; status == KEEL_OK && i < net->params.count; i++)
        status = describe(policy, i, &arena, &tensors[i], err);
    if (status == KEEL_OK) count += list_familiar(&policy->familiar, tensors + count);
    if (status == KEEL_OK) status = keel_safetensors_write(path, tensors, count, NULL, err);
    keel_arena_free(&arena);
    return status;
}

static bool add_shape(cJSON *config, const keel_qnet_shape *shape) {
    cJSON *hidden = cJSON_AddArrayToObject(config, "hidden_sizes");
    bool complete = hidden &&
                    cJSON_AddStringToObject(config, "action_space", keel_space_name(shape->space)) &&
                    cJSON_AddNumberToObject(config, "state_dim", (double)shape->state_dim) &&
                    cJSON_AddNumberToObject(config, "candidate_dim", (double)shape->candidate_dim) &&
                    cJSON_AddNumberToObject(config, "heads", (double)shape->heads) &&
                    cJSON_AddNumberToObject(config, "critics", (double)shape->critics) &&
                    cJSON_AddBoolToObject(config, "cost_critic", shape->cost);
    for (size_t i = 0; complete && i < shape->hidden.count; i++)
        complete = cJSON_AddItemToArray(hidden, cJSON_CreateNumber((double)shape->hidden.items[i]));
    return complete;
}

static bool add_acts(cJSON *config, const keel_policy *policy) {
    cJSON *acts = cJSON_AddArrayToObject(config, "acts"),
          *outcomes = cJSON_AddObjectToObject(config, "act_outcome");
    bool complete = acts && outcomes;
    for (size_t i = 0; complete && i < policy->n_acts; i++)
        complete = cJSON_AddItemToArray(acts, cJSON_CreateString(policy->acts[i]));
    for (int risk = 0; complete && risk < 3; risk++) {
        if (!policy->act_outcome[risk]) continue;
        cJSON *list = cJSON_AddArrayToObject(outcomes, risks[risk]);
        complete = list != NULL;
        for (size_t i = 0; complete && i < policy->n_acts; i++)
            complete = cJSON_AddItemToArray(
                list, cJSON_CreateString(keel_outcome_name(policy->act_outcome[risk][i])));
    }
    return complete;
}

static bool add_conditioned(cJSON *config, const keel_policy *policy) {
    if (!policy->conditioned) return true;
    cJSON *conditioned = cJSON_AddObjectToObject(config, "conditioned");
    cJSON *components = conditioned ? cJSON_AddArrayToObject(conditioned, "components") : NULL;
    cJSON *beta = conditioned ? cJSON_AddArrayToObject(conditioned, "beta") : NULL;
    bool complete = components && beta;
    for (int k = 0; complete && k < KEEL_N_REWARDS; k++)
        complete =
            !policy->covered[k] || cJSON_AddItemToArray(components, cJSON_CreateString(keel_reward_name(k)));
    for (size_t i = 0; complete && i < KEEL_N_LATTICE; i++)
        complete = cJSON_AddItemToArray(beta, cJSON_CreateNumber(policy->lattice_beta[i]));
    return complete;
}

/* Nothing where no state is known. */
static bool add_familiar(cJSON *config, const keel_familiar *familiar) {
    cJSON *json = familiar->n ? cJSON_AddObjectToObject(config, "familiar") : NULL;
    return !familiar->n || (json && cJSON_AddNumberToObject(json, "states", (double)familiar->n) &&
                            cJSON_AddNumberToObject(json, "threshold", familiar->threshold));
}

/* What is masked as harm, and what never is. A threshold of null: there is none. */
static bool add_constraint(cJSON *config, const keel_policy *policy) {
    const double threshold = policy->harm_threshold;
    bool complete =
        keel_json_add(config, "harm_threshold",
                      threshold < INFINITY ? cJSON_CreateNumber(threshold) : cJSON_CreateNull()) &&
        cJSON_AddNumberToObject(config, "cost_weight", policy->cost_weight) &&
        cJSON_AddNumberToObject(config, "fixed_answers", (double)policy->n_fixed);
    cJSON *declines = complete ? cJSON_AddArrayToObject(config, "declines") : NULL;
    complete = declines != NULL;
    for (size_t i = 0; complete && policy->declines && i < policy->n_acts; i++)
        complete =
            !policy->declines[i] || cJSON_AddItemToArray(declines, cJSON_CreateString(policy->acts[i]));
    return complete;
}

static cJSON *config_json(const keel_policy *policy) {
    cJSON *config = cJSON_CreateObject(),
          *architectures = config ? cJSON_AddArrayToObject(config, "architectures") : NULL;
    bool complete = architectures && cJSON_AddItemToArray(architectures, cJSON_CreateString("KeelPolicy")) &&
                    cJSON_AddStringToObject(config, "model_type", "keel-policy") &&
                    cJSON_AddStringToObject(config, "base_hash", policy->base_hash) &&
                    cJSON_AddStringToObject(config, "algorithm", policy->algorithm) &&
                    cJSON_AddStringToObject(config, "split", policy->split) &&
                    add_shape(config, &policy->net.shape) &&
                    cJSON_AddNumberToObject(config, "beta", policy->beta) && add_constraint(config, policy) &&
                    (policy->support == 0 || cJSON_AddNumberToObject(config, "support", policy->support)) &&
                    cJSON_AddBoolToObject(config, "imitates", policy->imitates) &&
                    cJSON_AddNumberToObject(config, "fallback_act", policy->fallback_act);
    cJSON *weights = complete ? cJSON_AddObjectToObject(config, "reward_weights") : NULL;
    complete = complete && weights;
    for (int k = 0; complete && k < KEEL_N_REWARDS; k++)
        complete = cJSON_AddNumberToObject(weights, keel_reward_name(k), policy->weight[k]);
    if (complete && add_conditioned(config, policy) && add_familiar(config, &policy->familiar) &&
        add_acts(config, policy))
        return config;
    cJSON_Delete(config);
    return NULL;
}

static keel_status write_files(const keel_policy *policy, const char *folder, keel_err *err) {
    keel_arena arena = {0};
    char *weights = keel_path_join(&arena, folder, "model.safetensors");
    char *path = keel_path_join(&arena, folder, "config.json");
    cJSON *json = config_json(policy);
    keel_status status = weights && path && json ? KEEL_OK : keel_nomem(err, folder);
    if (status == KEEL_OK) status = save_weights(policy, weights, err);
    if (status == KEEL_OK) status = keel_json_write_file(path, json, err);
    cJSON_Delete(json);
    keel_arena_free(&arena);
    return status;
}

keel_status keel_policy_save(const keel_policy *policy, const char *dir, const cJSON *lineage,
                             const cJSON *config, const cJSON *metrics, char hash[65], keel_err *err) {
    keel_folder_write folder;
    KEEL_TRY(keel_folder_begin(&folder, dir, err));
    keel_status status = write_files(policy, folder.temporary, err);
    if (status == KEEL_OK)
        status =
            keel_artefact_commit(&folder, "policy", policy->algorithm, lineage, config, metrics, hash, err);
    if (status != KEEL_OK) keel_folder_abandon(&folder);
    return status;
}

/* ---- loading: config.json and model.safetensors are hostile until checked ---- */

static keel_status read_text(const cJSON *json, const char *key, char *out, size_t room, const char *where,
                             keel_err *err) {
    const char *text = NULL;
    KEEL_TRY(keel_json_string(json, key, true, &text, where, err));
    if (strlen(text) >= room)
        return keel_fail(err, KEEL_E_INVALID, where, "\"%s\" is longer than %zu bytes", key, room - 1);
    memcpy(out, text, strlen(text) + 1);
    return KEEL_OK;
}

static keel_status read_size(const cJSON *json, const char *key, size_t *out, const char *where,
                             keel_err *err) {
    double value = 0;
    KEEL_TRY(keel_json_number(json, key, true, &value, where, err));
    if (!(value >= 0 && value <= 1 << 20) || value != (double)(size_t)value)
        return keel_fail(err, KEEL_E_INVALID, where, "\"%s\": expected a whole number of 0 to %d, got %g",
                         key, 1 << 20, value);
    *out = (size_t)value;
    return KEEL_OK;
}

static keel_status read_shape(const cJSON *json, keel_qnet_shape *shape, const char *where, keel_err *err) {
    const char *space = NULL;
    const cJSON *hidden = NULL, *item;
    KEEL_TRY(keel_json_string(json, "action_space", true, &space, where, err));
    if (!keel_space_parse(space, &shape->space))
        return keel_fail(err, KEEL_E_INVALID, where, "\"action_space\": unknown space \"%s\"", space);
    KEEL_TRY(read_size(json, "state_dim", &shape->state_dim, where, err));
    KEEL_TRY(read_size(json, "candidate_dim", &shape->candidate_dim, where, err));
    KEEL_TRY(read_size(json, "heads", &shape->heads, where, err));
    KEEL_TRY(read_size(json, "critics", &shape->critics, where, err));
    if (cJSON_HasObjectItem(json, "cost_critic"))
        KEEL_TRY(keel_json_bool(json, "cost_critic", true, &shape->cost, where, err));
    KEEL_TRY(keel_json_array(json, "hidden_sizes", true, &hidden, where, err));
    cJSON_ArrayForEach (item, hidden) {
        double size = cJSON_IsNumber(item) ? item->valuedouble : 0;
        bool fits = size >= 1 && size <= 1 << 20 && size == floor(size);
        if (!fits || shape->hidden.count == KEEL_INT_LIST_MAX)
            return keel_fail(err, KEEL_E_INVALID, where,
                             "\"hidden_sizes\": expected at most %d whole numbers of 1 to %d",
                             (int)KEEL_INT_LIST_MAX, 1 << 20);
        shape->hidden.items[shape->hidden.count++] = (int64_t)size;
    }
    return KEEL_OK;
}

static keel_status read_acts(const cJSON *json, keel_policy *policy, const char *where, keel_err *err) {
    const cJSON *acts = NULL, *item;
    KEEL_TRY(keel_json_array(json, "acts", true, &acts, where, err));
    size_t n = (size_t)cJSON_GetArraySize(acts);
    policy->acts = keel_arena_calloc(&policy->arena, n, sizeof *policy->acts);
    if (!policy->acts) return keel_nomem(err, where);
    cJSON_ArrayForEach (item, acts) {
        if (!cJSON_IsString(item)) return keel_fail(err, KEEL_E_PARSE, where, "\"acts\": expected texts");
        policy->acts[policy->n_acts] = keel_arena_strdup(&policy->arena, item->valuestring);
        if (!policy->acts[policy->n_acts++]) return keel_nomem(err, where);
    }
    return KEEL_OK;
}

static keel_status read_act_outcomes(const cJSON *json, keel_policy *policy, const char *where,
                                     keel_err *err) {
    const cJSON *outcomes = NULL;
    KEEL_TRY(keel_json_object(json, "act_outcome", true, &outcomes, where, err));
    for (int risk = 0; risk < 3; risk++) {
        const cJSON *list = NULL, *item;
        keel_outcome *row = keel_arena_calloc(&policy->arena, policy->n_acts, sizeof *row);
        if (!row) return keel_nomem(err, where);
        policy->act_outcome[risk] = row;
        KEEL_TRY(keel_json_array(outcomes, risks[risk], false, &list, where, err));
        if (!list) continue;
        if ((size_t)cJSON_GetArraySize(list) != policy->n_acts)
            return keel_fail(err, KEEL_E_INVALID, where, "\"act_outcome.%s\": expected %zu outcomes, got %d",
                             risks[risk], policy->n_acts, cJSON_GetArraySize(list));
        cJSON_ArrayForEach (item, list) {
            if (!cJSON_IsString(item) || !keel_outcome_parse(item->valuestring, row++))
                return keel_fail(err, KEEL_E_INVALID, where, "\"act_outcome.%s\": expected outcomes",
                                 risks[risk]);
        }
    }
    return KEEL_OK;
}

static keel_status read_within(const cJSON *json, const char *key, double low, double high, double *out,
                               const char *where, keel_err *err) {
    double value = 0;
    KEEL_TRY(keel_json_number(json, key, true, &value, where, err));
    if (!(value >= low && value <= high))
        return keel_fail(err, KEEL_E_INVALID, where, "\"%s\": expected %g to %g, got %g", key, low, high,
                         value);
    *out = value;
    return KEEL_OK;
}

static keel_status read_components(const cJSON *conditioned, keel_policy *policy, const char *where,
                                   keel_err *err) {
    const cJSON *components = NULL, *item;
    KEEL_TRY(keel_json_array(conditioned, "components", true, &components, where, err));
    cJSON_ArrayForEach (item, components) {
        int k = 0;
        while (k < KEEL_N_REWARDS &&
               !(cJSON_IsString(item) && strcmp(item->valuestring, keel_reward_name(k)) == 0))
            k++;
        if (k == KEEL_N_REWARDS)
            return keel_fail(err, KEEL_E_INVALID, where,
                             "\"conditioned.components\": expected names of components");
        policy->covered[k] = true;
    }
    return KEEL_OK;
}

static keel_status read_conditioned(const cJSON *json, keel_policy *policy, const char *where,
                                    keel_err *err) {
    const cJSON *conditioned = NULL, *beta = NULL, *item;
    size_t count = 0;
    KEEL_TRY(keel_json_object(json, "conditioned", false, &conditioned, where, err));
    if (!conditioned) return KEEL_OK;
    policy->conditioned = true;
    KEEL_TRY(read_components(conditioned, policy, where, err));
    KEEL_TRY(keel_json_array(conditioned, "beta", true, &beta, where, err));
    cJSON_ArrayForEach (item, beta) {
        bool fits = cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= 1e6;
        if (!fits || count == KEEL_N_LATTICE) break;
        policy->lattice_beta[count++] = item->valuedouble;
    }
    if (count < KEEL_N_LATTICE || cJSON_GetArraySize(beta) != KEEL_N_LATTICE)
        return keel_fail(err, KEEL_E_INVALID, where, "\"conditioned.beta\": expected %d numbers of 0 to 1e6",
                         (int)KEEL_N_LATTICE);
    memcpy(policy->own_weight, policy->weight, sizeof policy->weight);
    policy->own_beta = policy->beta;
    return KEEL_OK;
}

static keel_status read_declines(const cJSON *json, keel_policy *policy, const char *where, keel_err *err) {
    const cJSON *declines = NULL, *item;
    KEEL_TRY(keel_json_array(json, "declines", false, &declines, where, err));
    policy->declines = keel_arena_calloc(&policy->arena, policy->n_acts, sizeof *policy->declines);
    if (!policy->declines) return keel_nomem(err, where);
    cJSON_ArrayForEach (item, declines) {
        size_t act = 0;
        while (act < policy->n_acts &&
               !(cJSON_IsString(item) && strcmp(item->valuestring, policy->acts[act]) == 0))
            act++;
        if (act == policy->n_acts)
            return keel_fail(err, KEEL_E_INVALID, where, "\"declines\": expected names of acts");
        policy->declines[act] = true;
    }
    return KEEL_OK;
}

/* What is masked as harm, and what never is. */
static keel_status read_constraint(const cJSON *json, keel_policy *policy, const char *where, keel_err *err) {
    const cJSON *threshold = cJSON_GetObjectItemCaseSensitive(json, "harm_threshold");
    if (cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(json, "safety_floor"))) {
        keel_fail(
            err, KEEL_E_INVALID, where,
            "\"safety_floor\": the policy was made before there was a critic of the cost of harm: what it "
            "masked by is not known any more");
        return keel_hint(err, "train it anew (keel train)");
    }
    policy->harm_threshold = INFINITY;
    if (threshold && !cJSON_IsNull(threshold))
        KEEL_TRY(read_within(json, "harm_threshold", 0, 1e6, &policy->harm_threshold, where, err));
    if (cJSON_HasObjectItem(json, "cost_weight"))
        KEEL_TRY(read_within(json, "cost_weight", 0, 1e6, &policy->cost_weight, where, err));
    if (cJSON_HasObjectItem(json, "fixed_answers"))
        KEEL_TRY(read_size(json, "fixed_answers", &policy->n_fixed, where, err));
    return read_declines(json, policy, where, err);
}

/* The places themselves come with the weights. */
static keel_status read_familiar(const cJSON *json, keel_policy *policy, const char *where, keel_err *err) {
    const cJSON *familiar = NULL;
    KEEL_TRY(keel_json_object(json, "familiar", false, &familiar, where, err));
    if (!familiar) return KEEL_OK;
    KEEL_TRY(read_size(familiar, "states", &policy->familiar.n, where, err));
    if (policy->familiar.n == 0 || policy->familiar.n > KEEL_FAMILIAR_MOST)
        return keel_fail(err, KEEL_E_INVALID, where, "\"familiar.states\": expected 1 to %d, got %zu",
                         (int)KEEL_FAMILIAR_MOST, policy->familiar.n);
    return read_within(familiar, "threshold", -1, 3, &policy->familiar.threshold, where, err);
}

static keel_status read_knobs(const cJSON *json, keel_policy *policy, const char *where, keel_err *err) {
    const cJSON *weights = NULL;
    double fallback = -1;
    KEEL_TRY(read_within(json, "beta", 0, 1e6, &policy->beta, where, err));
    if (cJSON_HasObjectItem(json, "support"))
        KEEL_TRY(read_within(json, "support", 1e-9, 1, &policy->support, where, err));
    KEEL_TRY(keel_json_bool(json, "imitates", true, &policy->imitates, where, err));
    KEEL_TRY(keel_json_number(json, "fallback_act", true, &fallback, where, err));
    if (!(fallback >= -1 && fallback < (double)policy->n_acts) || fallback != floor(fallback))
        return keel_fail(err, KEEL_E_INVALID, where, "\"fallback_act\": expected -1 or an act, got %g",
                         fallback);
    policy->fallback_act = (int32_t)fallback;
    KEEL_TRY(keel_json_object(json, "reward_weights", true, &weights, where, err));
    for (int k = 0; k < KEEL_N_REWARDS; k++)
        KEEL_TRY(read_within(weights, keel_reward_name(k), 0, 1e6, &policy->weight[k], where, err));
    return KEEL_OK;
}

static keel_status read_config(const cJSON *json, keel_policy *policy, keel_qnet_shape *shape,
                               const char *where, keel_err *err) {
    KEEL_TRY(read_text(json, "base_hash", policy->base_hash, sizeof policy->base_hash, where, err));
    KEEL_TRY(read_text(json, "algorithm", policy->algorithm, sizeof policy->algorithm, where, err));
    KEEL_TRY(read_text(json, "split", policy->split, sizeof policy->split, where, err));
    KEEL_TRY(read_shape(json, shape, where, err));
    KEEL_TRY(read_acts(json, policy, where, err));
    KEEL_TRY(read_act_outcomes(json, policy, where, err));
    shape->n_acts = policy->n_acts;
    KEEL_TRY(read_knobs(json, policy, where, err));
    KEEL_TRY(read_constraint(json, policy, where, err));
    KEEL_TRY(read_familiar(json, policy, where, err));
    KEEL_TRY(read_conditioned(json, policy, where, err));
    if (policy->conditioned && shape->state_dim < KEEL_N_REWARDS)
        return keel_fail(err, KEEL_E_INVALID, where,
                         "\"state_dim\": a conditioned policy sees %d weights, got %zu", (int)KEEL_N_REWARDS,
                         shape->state_dim);
    return KEEL_OK;
}

/* Entries of the familiar states: what the file's tensor of them says. */
static size_t count_entries(const keel_policy *policy, const keel_safetensors *file) {
    const keel_named_tensor *dim = keel_safetensors_find(file, "familiar.dim");
    return policy->familiar.n && dim && dim->n_dims == 1 ? dim->shape[0] : 0;
}

static keel_status load_familiar(keel_policy *policy, const keel_safetensors *file, keel_err *err) {
    const size_t n = policy->familiar.n, total = count_entries(policy, file);
    int32_t *first = keel_arena_alloc(&policy->arena, (n + 1) * sizeof *first);
    int32_t *dim = keel_arena_alloc(&policy->arena, (total + 1) * sizeof *dim);
    float *weight = keel_arena_alloc(&policy->arena, (total + 1) * sizeof *weight);
    if (!n) return KEEL_OK;
    if (!first || !dim || !weight) return keel_nomem(err, file->path);
    const keel_named_tensor tensors[] = {keel_named_tensor_of("familiar.first", KEEL_I32, n + 1, 0, first),
                                         keel_named_tensor_of("familiar.dim", KEEL_I32, total, 0, dim),
                                         keel_named_tensor_of("familiar.weight", KEEL_F32, total, 0, weight)};
    for (size_t i = 0; i < 3; i++) KEEL_TRY(keel_safetensors_take(file, &tensors[i], err));
    if ((size_t)first[n] != total)
        return keel_fail(err, KEEL_E_INVALID, file->path,
                         "\"familiar.first\": expected %zu at its end, got %d", total, (int)first[n]);
    return keel_familiar_open(first, dim, weight, n, policy->familiar.threshold, &policy->arena,
                              &policy->familiar, err);
}

static keel_status load_packed(keel_policy *policy, size_t i, const keel_safetensors *file, keel_err *err) {
    const keel_param *param = &policy->net.params.table[i];
    const char *name = packed_name(param, &policy->arena);
    if (!name) return keel_nomem(err, file->path);
    const keel_named_tensor to =
        keel_named_tensor_of(name, KEEL_U8, param->rows, keel_packed_row(param->cols), policy->packed[i]);
    KEEL_TRY(keel_safetensors_take(file, &to, err));
    if (keel_packed_widen(policy->packed[i], param->rows, param->cols,
                          keel_params_at(&policy->net.params, i)))
        return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, file->path, "tensor \"%s\" holds numbers that are not finite",
                     name);
}

static keel_status load_param(keel_policy *policy, size_t i, const keel_safetensors *file, keel_err *err) {
    const keel_param *param = &policy->net.params.table[i];
    if (policy->packed && policy->packed[i]) return load_packed(policy, i, file, err);
    return keel_safetensors_copy(file, param->name, (size_t[]){param->rows, param->cols}, 2,
                                 keel_params_at(&policy->net.params, i), err);
}

/* The file's size is checked against the shape before anything of that shape is allocated. */
static keel_status load_weights(keel_policy *policy, const keel_qnet_shape *shape, const char *path,
                                keel_err *err) {
    keel_safetensors file = {0};
    KEEL_TRY(keel_safetensors_read(path, &file, err));
    const size_t n = policy->familiar.n;
    size_t bytes = 0, expected = keel_qnet_elements(shape) * sizeof(float);
    if (expected != 0 && n)
        expected +=
            (n + 1) * sizeof(int32_t) + count_entries(policy, &file) * (sizeof(int32_t) + sizeof(float));
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < file.count; i++) bytes += file.tensors[i].bytes;
    const bool packed = keel_safetensors_find(&file, "critic.0.layer.0.weight" KEEL_PACKED_SUFFIX) != NULL;
    if (expected != 0 && packed && bytes < keel_qnet_elements(shape)) /* each has a byte at least */
        status = keel_fail(err, KEEL_E_INVALID, path,
                           "expected %zu weights and more for this config.json, got %zu bytes",
                           keel_qnet_elements(shape), bytes);
    if (expected != 0 && !packed && bytes != expected) /* 0: keel_qnet_open says what is wrong */
        status = keel_fail(err, KEEL_E_INVALID, path,
                           "expected %zu bytes of weights for this config.json, got %zu", expected, bytes);
    if (status == KEEL_OK) status = keel_qnet_open(&policy->net, shape, err);
    if (status == KEEL_OK && packed) status = make_packed(policy, err);
    for (size_t i = 0; status == KEEL_OK && i < policy->net.params.count; i++)
        status = load_param(policy, i, &file, err);
    if (status == KEEL_OK) status = load_familiar(policy, &file, err);
    keel_safetensors_free(&file);
    return status;
}

static keel_status load_files(keel_policy *policy, const char *dir, keel_err *err) {
    keel_qnet_shape shape = {0};
    cJSON *json = NULL;
    char *weights = keel_path_join(&policy->arena, dir, "model.safetensors");
    char *path = keel_path_join(&policy->arena, dir, "config.json");
    if (!weights || !path) return keel_nomem(err, dir);
    KEEL_TRY(keel_json_parse_file(path, &json, err));
    keel_status status = read_config(json, policy, &shape, path, err);
    if (status == KEEL_OK) status = load_weights(policy, &shape, weights, err);
    cJSON_Delete(json);
    return status;
}

keel_status keel_policy_load(keel_policy **out, const char *dir, keel_err *err) {
    cJSON *manifest = NULL;
    keel_policy *policy = keel_calloc(1, sizeof *policy);
    if (!policy) return keel_nomem(err, dir);
    keel_status status = keel_artefact_open(dir, "policy", &manifest, policy->hash, err);
    if (status == KEEL_OK) status = load_files(policy, dir, err);
    cJSON_Delete(manifest);
    if (status == KEEL_OK)
        *out = policy;
    else
        keel_policy_close(policy);
    return status;
}

void keel_policy_close(keel_policy *policy) {
    if (!policy) return;
    keel_qnet_close(&policy->net);
    keel_arena_free(&policy->arena);
    keel_free(policy);
}
