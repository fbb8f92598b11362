/* The files of an adapter, whatever model it is for. */
#include "policies/transformer/peft_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"

typedef keel__peft_files reader;

/* ---- configuration ---- */

static keel_status unsupported(const reader *r, const char *key, const char *expected) {
    keel_fail(r->err, KEEL_E_UNSUPPORTED, r->config, "%s: expected %s", key, expected);
    return keel_hint(r->err, "Keel reads LoRA adapters of %s, every layer and module alike", r->host->kind);
}

static bool is_one_of(const char *const *names, const char *name) {
    while (*names && strcmp(*names, name) != 0) names++;
    return *names != NULL;
}

/* As PEFT matches names: whole, or what comes after a dot. */
static bool names_module(const char *item, const char *module) {
    const size_t length = strlen(item), whole = strlen(module);
    if (length > whole || strcmp(module + (whole - length), item) != 0) return false;
    return length == whole || module[whole - length - 1] == '.';
}

/* A key that changes what is computed must say that it does not. */
static bool is_neutral(const cJSON *item) {
    return cJSON_IsNull(item) || cJSON_IsFalse(item) ||
           ((cJSON_IsArray(item) || cJSON_IsObject(item)) && !item->child);
}

/* How A and B began does not matter, unless the weights under them were changed as well (PiSSA and others).
 */
static bool is_plain_init(const cJSON *item) {
    return cJSON_IsBool(item) || (cJSON_IsString(item) && strcmp(item->valuestring, "gaussian") == 0);
}

/* Weights that are one in the model would become two: merged, one of them would be lost. */
static keel_status check_tied(const reader *r, const char *key, const char *module) {
    if (!r->host->tied || (!names_module(module, "model.embed_tokens") && !names_module(module, "lm_head")))
        return KEEL_OK;
    keel_fail(r->err, KEEL_E_UNSUPPORTED, r->config,
              "%s: \"%.100s\": the model's head is tied to its embedding, so one cannot change alone", key,
              module);
    return keel_hint(r->err, "leave embed_tokens and lm_head out, or untie the model first");
}

keel_status keel__peft_check_keys(const reader *r, const char *const *read, const char *const *idle) {
    const cJSON *item, *module;
    cJSON_ArrayForEach (item, r->json) {
        if (!item->string || is_one_of(read, item->string) || is_one_of(idle, item->string)) continue;
        if (strcmp(item->string, "init_lora_weights") == 0 && is_plain_init(item)) continue;
        if (strcmp(item->string, "modules_to_save") == 0)
            cJSON_ArrayForEach (module, item)
                if (cJSON_IsString(module)) KEEL_TRY(check_tied(r, item->string, module->valuestring));
        if (!is_neutral(item)) return unsupported(r, item->string, "null, false or nothing in it");
    }
    return KEEL_OK;
}

static keel_status check_keys(const reader *r) {
    static const char *const read[] = {"peft_type",  "r",    "lora_alpha",     "lora_dropout",
                                       "use_rslora", "bias", "target_modules", NULL};
    static const char *const idle[] = {
        "auto_mapping", "base_model_name_or_path", "exclude_modules", "inference_mode", "megatron_core",
        "peft_version", "qalora_group_size",       "revision",        "task_type",      NULL};
    return keel__peft_check_keys(r, read, idle);
}

static keel_status check_text(const reader *r, const char *key, const char *expected) {
    const char *found = expected;
    char quoted[64];
    KEEL_TRY(keel_json_string(r->json, key, false, &found, r->config, r->err));
    snprintf(quoted, sizeof quoted, "\"%s\", got \"%.30s\"", expected, found);
    return strcmp(found, expected) == 0 ? KEEL_OK : unsupported(r, key, quoted);
}

static keel_status read_config(const reader *r, keel_lora_config *out) {
    double rank = 0;
    *out = (keel_lora_config){.alpha = 8};
    KEEL_TRY(check_text(r, "peft_type", "LORA"));
    KEEL_TRY(check_text(r, "bias", "none"));
    KEEL_TRY(check_keys(r));
    KEEL_TRY(keel_json_number(r->json, "r", true, &rank, r->config, r->err));
    KEEL_TRY(keel_json_number(r->json, "lora_alpha", false, &out->alpha, r->config, r->err));
    KEEL_TRY(keel_json_number(r->json, "lora_dropout", false, &out->dropout, r->config, r->err));
    KEEL_TRY(keel_json_bool(r->json, "use_rslora", false, &out->rslora, r->config, r->err));
    if (!(rank >= 1 && rank <= (double)r->host->width && floor(rank) == rank))
        return keel_fail(r->err, KEEL_E_INVALID, r->config, "r: expected 1 to %zu, the width, got %g",
                         r->host->width, rank);
    out->rank = (size_t)rank;
    return KEEL_OK;
}

/* ---- which modules ---- */

/* "encoder.layer.0.attention.self.query" */
static void module_name(const reader *r, size_t layer, size_t target, char out[96]) {
    snprintf(out, 96, "%s.%zu.%s", r->host->path, layer, r->host->module[target]);
}

/* A or B (matrix 0 or 1) of a module; in a model with a head its name has one part more. */
static const keel_named_tensor *find_tensor(const reader *r, size_t layer, size_t target, int matrix,
                                            char name[192]) {
    const keel_named_tensor *found = NULL;
    char module[96];
    module_name(r, layer, target, module);
    for (size_t i = 0; r->host->prefix[i] && !found; i++) {
        snprintf(name, 192, "%s%s.lora_%c.weight", r->host->prefix[i], module, matrix ? 'B' : 'A');
        found = keel_safetensors_find(&r->tensors, name);
    }
    return found;
}

static bool any_names(const cJSON *list, const char *module) {
    const cJSON *item;
    cJSON_ArrayForEach (item, list)
        if (cJSON_IsString(item) && names_module(item->valuestring, module)) return true;
    return false;
}

static bool names_any(const reader *r, const cJSON *item) {
    char module[96];
    for (size_t layer = 0; layer < r->host->layers; layer++)
        for (size_t t = 0; t < r->host->n_modules; t++) {
            module_name(r, layer, t, module);
            if (names_module(item->valuestring, module)) return true;
        }
    return false;
}

static keel_status hint_modules(const reader *r) {
    char list[256] = "";
    for (size_t t = 0, n = 0; t < r->host->n_modules && n < sizeof list; t++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", t ? ", " : "", r->host->module[t]);
    return keel_hint(r->err, "%s", list);
}

/* target_modules may be a list of names or a pattern; what a pattern stands for, the tensors say. */
static keel_status check_list(const reader *r, const cJSON *list) {
    const cJSON *item;
    cJSON_ArrayForEach (item, list) {
        if (!cJSON_IsString(item)) return unsupported(r, "target_modules", "names");
        if (names_any(r, item)) continue;
        KEEL_TRY(check_tied(r, "target_modules", item->valuestring));
        keel_fail(r->err, KEEL_E_UNSUPPORTED, r->config,
                  "target_modules: \"%.100s\" is no module that takes one", item->valuestring);
        return hint_modules(r);
    }
    return KEEL_OK;
}

/* The bits of modules whose tensors are there, in all layers or none; marks these tensors as known. */
static keel_status find_targets(const reader *r, const cJSON *list, unsigned *targets, bool *known) {
    char name[192], module[96];
    for (size_t t = 0; t < r->host->n_modules; t++)
        for (size_t layer = 0; layer < r->host->layers; layer++) {
            const keel_named_tensor *a = find_tensor(r, layer, t, 0, name),
                                    *b = find_tensor(r, layer, t, 1, name);
            module_name(r, layer, t, module);
            if (!a != !b)
                return keel_fail(r->err, KEEL_E_INVALID, r->weights, "%s: lora_%c is missing", module,
                                 a ? 'B' : 'A');
            if (layer == 0) *targets |= a ? 1u << t : 0;
            if (!a != !(*targets >> t & 1))
                return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->weights,
                                 "%s: some layers have this module and others not", module);
            if (cJSON_IsArray(list) && !a != !any_names(list, module))
                return keel_fail(r->err, KEEL_E_INVALID, r->weights, "%s: %s", module,
                                 a ? "target_modules does not name it" : "its tensors are missing");
            if (a) known[a - r->tensors.tensors] = known[b - r->tensors.tensors] = true;
        }
    return KEEL_OK;
}

static keel_status read_targets(reader *r, keel_lora_config *out) {
    const cJSON *list = keel_json_get(r->json, "target_modules");
    const size_t count = r->tensors.count, most = 2 * r->host->n_modules * r->host->layers;
    bool *known = keel_arena_calloc(&r->arena, count + 1, sizeof *known);
    if (!known) return keel_nomem(r->err, r->weights);
    if (!cJSON_IsArray(list) && !cJSON_IsString(list))
        return keel_fail(r->err, KEEL_E_PARSE, r->config, "\"target_modules\": expected a list or a pattern");
    if (cJSON_IsArray(list)) KEEL_TRY(check_list(r, list));
    if (count == 0 || count > most)
        return keel_fail(r->err, KEEL_E_INVALID, r->weights, "expected 2 to %zu tensors, got %zu", most,
                         count);
    KEEL_TRY(find_targets(r, list, &out->targets, known));
    for (size_t i = 0; i < count; i++)
        if (!known[i])
            return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->weights, "\"%.200s\" is no LoRA of this model",
                             r->tensors.tensors[i].name);
    return KEEL_OK;
}

/* ---- reading ---- */

keel_status keel__peft_open(reader *r, const char *dir) {
    keel_buf text = {0};
    r->config = keel_path_join(&r->arena, dir, "adapter_config.json");
    r->weights = keel_path_join(&r->arena, dir, "adapter_model.safetensors");
    if (!r->config || !r->weights) return keel_nomem(r->err, dir);
    keel_status status = keel_file_read(r->config, 0, &text, r->err);
    if (status == KEEL_OK)
        status = keel_json_parse_in(&r->arena, text.data, text.length, r->config, &r->json, r->err);
    keel_buf_free(&text);
    KEEL_TRY(status);
    if (!cJSON_IsObject(r->json)) return keel_fail(r->err, KEEL_E_PARSE, r->config, "expected an object");
    if (!keel_json_get(r->json, "peft_type"))
        return keel_fail(r->err, KEEL_E_PARSE, r->config, "\"peft_type\" is missing");
    return KEEL_OK;
}

void keel__peft_close(reader *r) {
    keel_safetensors_free(&r->tensors);
    keel_arena_free(&r->arena);
}

keel_status keel__peft_read_lora(reader *r, keel_lora_config *out) {
    KEEL_TRY(read_config(r, out));
    KEEL_TRY(keel_safetensors_read(r->weights, &r->tensors, r->err));
    return read_targets(r, out);
}

keel_status keel__peft_agree(const reader *r, const keel_lora_config *has, const keel_lora_config *lora) {
    if (has->rank == lora->rank && has->targets == lora->targets &&
        keel_lora_factor(has) == keel_lora_factor(lora))
        return KEEL_OK;
    return keel_fail(r->err, KEEL_E_INVALID, r->config,
                     "rank %zu, factor %g, targets %u; the model has %zu, %g, %u", lora->rank,
                     keel_lora_factor(lora), lora->targets, has->rank, keel_lora_factor(has), has->targets);
}

keel_status keel__peft_copy_lora(const reader *r, const keel_lora_config *lora, const keel_params *params,
                                 size_t row) {
    char name[192];
    for (size_t layer = 0; layer < r->host->layers; layer++)
        for (size_t t = 0; t < r->host->n_modules; t++)
            for (int matrix = 0; matrix < 2 && (lora->targets >> t & 1); matrix++, row++) {
                const keel_param *param = &params->table[row];
                const size_t shape[2] = {param->rows, param->cols};
                find_tensor(r, layer, t, matrix, name);
                KEEL_TRY(
                    keel_safetensors_copy(&r->tensors, name, shape, 2, keel_params_at(params, row), r->err));
            }
    return KEEL_OK;
}

/* ---- writing ---- */

/* "output.dense" alone would name attention.output.dense too, if that has none: then each layer's is written
 * out. */
static bool is_tail(const keel__peft_host *host, const keel_lora_config *lora, size_t target) {
    for (size_t t = 0; t < host->n_modules; t++)
        if (t != target && !(lora->targets >> t & 1) && names_module(host->module[target], host->module[t]))
            return true;
    return false;
}

static void put_targets(const keel__peft_host *host, const keel_lora_config *lora, keel_buf *to) {
    const char *between = "";
    for (size_t t = 0; t < host->n_modules; t++) {
        const bool apart = is_tail(host, lora, t);
        if (!(lora->targets >> t & 1)) continue;
        for (size_t layer = 0; layer < (apart ? host->layers : 1); layer++, between = ", ") {
            keel_buf_format(to, "%s\"", between);
            if (apart) keel_buf_format(to, "%zu.", layer);
            keel_buf_format(to, "%s\"", host->module[t]);
        }
    }
}

static keel_status write_config(const keel__peft_host *host, const keel_lora_config *lora, const char *path,
                                keel_err *err) {
    keel_buf text = {0};
    keel_buf_format(
        &text,
        "{\n  \"peft_type\": \"LORA\",\n  \"task_type\": %s,\n  \"base_model_name_or_path\": null,\n"
        "  \"inference_mode\": true,\n  \"bias\": \"none\",\n  \"use_rslora\": %s,\n  \"use_dora\": "
        "false,\n  \"fan_in_fan_out\": false,\n  \"modules_to_save\": null,\n  \"rank_pattern\": {},\n"
        "  \"alpha_pattern\": {},\n  \"r\": %zu,\n  \"lora_alpha\": ",
        host->task, lora->rslora ? "true" : "false", lora->rank);
    keel_json_put_number(&text, lora->alpha);
    keel_buf_text(&text, ",\n  \"lora_dropout\": ");
    keel_json_put_number(&text, lora->dropout);
    keel_buf_text(&text, ",\n  \"target_modules\": [");
    put_targets(host, lora, &text);
    keel_buf_text(&text, "]\n}\n");
    keel_status status =
        text.failed ? keel_nomem(err, path) : keel_file_write(path, text.data, text.length, err);
    keel_buf_free(&text);
    return status;
}

static size_t count_rows(const keel__peft_host *host, const keel_lora_config *lora) {
    size_t n = 0;
    for (size_t t = 0; t < host->n_modules; t++) n += lora->targets >> t & 1;
    return 2 * n * host->layers;
}

static keel_status write_weights(const keel_params *params, size_t first, size_t n, const char *path,
                                 keel_arena *arena, keel_err *err) {
    enum { ROOM = 192 };
    keel_named_tensor *tensors = keel_arena_calloc(arena, n, sizeof *tensors);
    char(*names)[ROOM] = keel_arena_calloc(arena, n, sizeof *names);
    if (!tensors || !names) return keel_nomem(err, path);
    for (size_t i = 0; i < n; i++) {
        const keel_param *param = &params->table[first + i];
        snprintf(names[i], ROOM, "base_model.model.%s", param->name);
        tensors[i] = keel_named_tensor_of(names[i], KEEL_F32, param->rows, param->cols,
                                          keel_params_at(params, first + i));
    }
    return keel_safetensors_write(path, tensors, n, NULL, err);
}

keel_status keel__peft_save_lora(const keel__peft_host *host, const keel_lora_config *lora,
                                 const keel_params *params, size_t first, const char *dir, keel_err *err) {
    keel_arena arena = {0};
    char *config = keel_path_join(&arena, dir, "adapter_config.json"),
         *weights = keel_path_join(&arena, dir, "adapter_model.safetensors");
    keel_status status = config && weights ? keel_folder_make(dir, err) : keel_nomem(err, dir);
    if (status == KEEL_OK)
        status = write_weights(params, first, count_rows(host, lora), weights, &arena, err);
    if (status == KEEL_OK) status = write_config(host, lora, config, err);
    keel_arena_free(&arena);
    return status;
}
