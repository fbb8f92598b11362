#include "policies/transformer/peft.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "policies/transformer/bert_internal.h"

/* ---- configuration ---- */

typedef struct reader {
    const keel_bert *bert;
    keel_arena arena;
    const char *config, *weights; /* paths */
    const cJSON *json;
    keel_safetensors tensors;
    keel_err *err;
} reader;

static keel_status unsupported(const reader *r, const char *key, const char *expected) {
    keel_fail(r->err, KEEL_E_UNSUPPORTED, r->config, "%s: expected %s", key, expected);
    return keel_hint(r->err, "Keel reads LoRA adapters of BERT encoders, every layer and module alike");
}

static bool is_one_of(const char *const *names, const char *name) {
    while (*names && strcmp(*names, name) != 0) names++;
    return *names != NULL;
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

static keel_status check_keys(const reader *r) {
    static const char *const read[] = {"peft_type",  "r",    "lora_alpha",     "lora_dropout",
                                       "use_rslora", "bias", "target_modules", NULL};
    static const char *const idle[] = {
        "auto_mapping", "base_model_name_or_path", "exclude_modules", "inference_mode", "megatron_core",
        "peft_version", "qalora_group_size",       "revision",        "task_type",      NULL};
    const cJSON *item;
    cJSON_ArrayForEach (item, r->json) {
        if (!item->string || is_one_of(read, item->string) || is_one_of(idle, item->string)) continue;
        if (strcmp(item->string, "init_lora_weights") == 0 && is_plain_init(item)) continue;
        if (!is_neutral(item)) return unsupported(r, item->string, "null, false or nothing in it");
    }
    return KEEL_OK;
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
    if (!cJSON_IsObject(r->json)) return keel_fail(r->err, KEEL_E_PARSE, r->config, "expected an object");
    if (!keel_json_get(r->json, "peft_type"))
        return keel_fail(r->err, KEEL_E_PARSE, r->config, "\"peft_type\" is missing");
    KEEL_TRY(check_text(r, "peft_type", "LORA"));
    KEEL_TRY(check_text(r, "bias", "none"));
    KEEL_TRY(check_keys(r));
    KEEL_TRY(keel_json_number(r->json, "r", true, &rank, r->config, r->err));
    KEEL_TRY(keel_json_number(r->json, "lora_alpha", false, &out->alpha, r->config, r->err));
    KEEL_TRY(keel_json_number(r->json, "lora_dropout", false, &out->dropout, r->config, r->err));
    KEEL_TRY(keel_json_bool(r->json, "use_rslora", false, &out->rslora, r->config, r->err));
    if (!(rank >= 1 && rank <= (double)r->bert->config.hidden && floor(rank) == rank))
        return keel_fail(r->err, KEEL_E_INVALID, r->config, "r: expected 1 to %zu, the width, got %g",
                         r->bert->config.hidden, rank);
    out->rank = (size_t)rank;
    return KEEL_OK;
}

/* ---- which modules ---- */

/* "encoder.layer.0.attention.self.query" */
static void module_name(size_t layer, size_t target, char out[96]) {
    snprintf(out, 96, "encoder.layer.%zu.%s", layer, keel__lora_targets[target].module);
}

/* A or B (matrix 0 or 1) of a module; in a model with a head its name has one part more. */
static const keel_named_tensor *find_tensor(const reader *r, size_t layer, size_t target, int matrix,
                                            char name[192]) {
    static const char *const prefix[] = {"base_model.model.", "base_model.model.bert."};
    const keel_named_tensor *found = NULL;
    char module[96];
    module_name(layer, target, module);
    for (int i = 1; i >= 0 && !found; i--) {
        snprintf(name, 192, "%s%s.lora_%c.weight", prefix[i], module, matrix ? 'B' : 'A');
        found = keel_safetensors_find(&r->tensors, name);
    }
    return found;
}

/* As PEFT matches names: whole, or what comes after a dot. */
static bool names_module(const char *item, const char *module) {
    const size_t length = strlen(item), whole = strlen(module);
    if (length > whole || strcmp(module + (whole - length), item) != 0) return false;
    return length == whole || module[whole - length - 1] == '.';
}

static bool any_names(const cJSON *list, const char *module) {
    const cJSON *item;
    cJSON_ArrayForEach (item, list)
        if (cJSON_IsString(item) && names_module(item->valuestring, module)) return true;
    return false;
}

static bool names_any(const reader *r, const cJSON *item) {
    char module[96];
    for (size_t layer = 0; layer < r->bert->config.layers; layer++)
        for (size_t t = 0; t < KEEL__N_LORA_TARGETS; t++) {
            module_name(layer, t, module);
            if (names_module(item->valuestring, module)) return true;
        }
    return false;
}

/* target_modules may be a list of names or a pattern; what a pattern stands for, the tensors say. */
static keel_status check_list(const reader *r, const cJSON *list) {
    const cJSON *item;
    cJSON_ArrayForEach (item, list) {
        if (!cJSON_IsString(item)) return unsupported(r, "target_modules", "names");
        if (names_any(r, item)) continue;
        keel_fail(r->err, KEEL_E_UNSUPPORTED, r->config,
                  "target_modules: \"%.100s\" is no module that takes one", item->valuestring);
        return keel_hint(r->err,
                         "query, key, value, attention.output.dense, intermediate.dense, output.dense");
    }
    return KEEL_OK;
}

/* The bits of modules whose tensors are there, in all layers or none; marks these tensors as known. */
static keel_status find_targets(const reader *r, const cJSON *list, unsigned *targets, bool *known) {
    char name[192], module[96];
    for (size_t t = 0; t < KEEL__N_LORA_TARGETS; t++)
        for (size_t layer = 0; layer < r->bert->config.layers; layer++) {
            const keel_named_tensor *a = find_tensor(r, layer, t, 0, name),
                                    *b = find_tensor(r, layer, t, 1, name);
            module_name(layer, t, module);
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
    const size_t count = r->tensors.count, most = 2 * KEEL__N_LORA_TARGETS * r->bert->config.layers;
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
            return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->weights, "\"%.200s\" is no LoRA of this encoder",
                             r->tensors.tensors[i].name);
    return KEEL_OK;
}

/* ---- reading ---- */

static keel_status open_files(reader *r, const char *dir, keel_lora_config *out) {
    keel_buf text = {0};
    r->config = keel_path_join(&r->arena, dir, "adapter_config.json");
    r->weights = keel_path_join(&r->arena, dir, "adapter_model.safetensors");
    if (!r->config || !r->weights) return keel_nomem(r->err, dir);
    keel_status status = keel_file_read(r->config, 0, &text, r->err);
    if (status == KEEL_OK)
        status = keel_json_parse_in(&r->arena, text.data, text.length, r->config, &r->json, r->err);
    if (status == KEEL_OK) status = read_config(r, out);
    if (status == KEEL_OK) status = keel_safetensors_read(r->weights, &r->tensors, r->err);
    if (status == KEEL_OK) status = read_targets(r, out);
    keel_buf_free(&text);
    return status;
}

static void close_files(reader *r) {
    keel_safetensors_free(&r->tensors);
    keel_arena_free(&r->arena);
}

keel_status keel_peft_config(const keel_bert *bert, const char *dir, keel_lora_config *out, keel_err *err) {
    reader r = {.bert = bert, .err = err};
    keel_status status = open_files(&r, dir, out);
    close_files(&r);
    return status;
}

static keel_status check_agrees(const reader *r, const keel_lora_config *lora) {
    const keel_lora_config *has = &r->bert->lora;
    if (has->rank == lora->rank && has->targets == lora->targets &&
        keel__lora_factor(has) == keel__lora_factor(lora))
        return KEEL_OK;
    return keel_fail(r->err, KEEL_E_INVALID, r->config,
                     "rank %zu, factor %g, targets %u; the encoder has %zu, %g, %u", lora->rank,
                     keel__lora_factor(lora), lora->targets, has->rank, keel__lora_factor(has), has->targets);
}

static keel_status copy_rows(const reader *r) {
    const keel_bert *bert = r->bert;
    char name[192];
    for (size_t layer = 0; layer < bert->config.layers; layer++)
        for (size_t t = 0; t < KEEL__N_LORA_TARGETS; t++)
            for (int matrix = 0; matrix < 2 && (bert->lora.targets >> t & 1); matrix++) {
                const size_t row = keel__lora_row(bert, layer, t) + (size_t)matrix;
                const keel_param *param = &bert->params.table[row];
                const size_t shape[2] = {param->rows, param->cols};
                find_tensor(r, layer, t, matrix, name);
                KEEL_TRY(keel_safetensors_copy(&r->tensors, name, shape, 2,
                                               keel_params_at(&bert->params, row), r->err));
            }
    return KEEL_OK;
}

keel_status keel_peft_load(keel_bert *bert, const char *dir, keel_err *err) {
    reader r = {.bert = bert, .err = err};
    keel_lora_config lora;
    if (bert->unmerged) return keel_fail(err, KEEL_E_USAGE, dir, "the encoder is merged with an adapter");
    keel_status status = open_files(&r, dir, &lora);
    if (status == KEEL_OK)
        status = bert->lora.rank ? check_agrees(&r, &lora) : keel_bert_extend(bert, &lora, NULL, 0, err);
    if (status == KEEL_OK) status = copy_rows(&r);
    close_files(&r);
    return status;
}

/* ---- writing ---- */

/* "output.dense" alone would name attention.output.dense too; then each layer's is written out. */
static void put_targets(const keel_bert *bert, keel_buf *to) {
    const char *between = "";
    for (size_t t = 0; t < KEEL__N_LORA_TARGETS; t++) {
        const bool apart = t == KEEL__N_LORA_TARGETS - 1 && !(bert->lora.targets & KEEL_LORA_OUT);
        const char *module = keel__lora_targets[t].module;
        if (!(bert->lora.targets >> t & 1)) continue;
        for (size_t layer = 0; layer < (apart ? bert->config.layers : 1); layer++, between = ", ") {
            keel_buf_format(to, "%s\"", between);
            if (apart) keel_buf_format(to, "%zu.", layer);
            keel_buf_format(to, "%s\"", module);
        }
    }
}

static keel_status write_config(const keel_bert *bert, const char *path, keel_err *err) {
    const keel_lora_config *lora = &bert->lora;
    keel_buf text = {0};
    keel_buf_format(
        &text,
        "{\n  \"peft_type\": \"LORA\",\n  \"task_type\": null,\n  \"base_model_name_or_path\": null,\n"
        "  \"inference_mode\": true,\n  \"bias\": \"none\",\n  \"use_rslora\": %s,\n  \"use_dora\": "
        "false,\n  \"fan_in_fan_out\": false,\n  \"modules_to_save\": null,\n  \"rank_pattern\": {},\n"
        "  \"alpha_pattern\": {},\n  \"r\": %zu,\n  \"lora_alpha\": ",
        lora->rslora ? "true" : "false", lora->rank);
    keel_json_put_number(&text, lora->alpha);
    keel_buf_text(&text, ",\n  \"lora_dropout\": ");
    keel_json_put_number(&text, lora->dropout);
    keel_buf_text(&text, ",\n  \"target_modules\": [");
    put_targets(bert, &text);
    keel_buf_text(&text, "]\n}\n");
    keel_status status =
        text.failed ? keel_nomem(err, path) : keel_file_write(path, text.data, text.length, err);
    keel_buf_free(&text);
    return status;
}

static keel_status write_weights(const keel_bert *bert, const char *path, keel_arena *arena, keel_err *err) {
    enum { ROOM = 192 };
    const size_t first = keel_bert_first_trained(bert, KEEL_BERT_LORA, 0),
                 n = keel_bert_first_head(bert) - first;
    keel_named_tensor *tensors = keel_arena_calloc(arena, n, sizeof *tensors);
    char(*names)[ROOM] = keel_arena_calloc(arena, n, sizeof *names);
    if (!tensors || !names) return keel_nomem(err, path);
    for (size_t i = 0; i < n; i++) {
        const keel_param *param = &bert->params.table[first + i];
        snprintf(names[i], ROOM, "base_model.model.%s", param->name);
        tensors[i] = (keel_named_tensor){.name = names[i],
                                         .dtype = KEEL_F32,
                                         .n_dims = 2,
                                         .shape = {param->rows, param->cols},
                                         .data = keel_params_at(&bert->params, first + i),
                                         .bytes = param->rows * param->cols * sizeof(keel_real)};
    }
    return keel_safetensors_write(path, tensors, n, NULL, err);
}

keel_status keel_peft_save(const keel_bert *bert, const char *dir, keel_err *err) {
    keel_arena arena = {0};
    if (!bert->lora.rank) return keel_fail(err, KEEL_E_USAGE, dir, "the encoder has no LoRA to write");
    char *config = keel_path_join(&arena, dir, "adapter_config.json"),
         *weights = keel_path_join(&arena, dir, "adapter_model.safetensors");
    keel_status status = config && weights ? keel_folder_make(dir, err) : keel_nomem(err, dir);
    if (status == KEEL_OK) status = write_weights(bert, weights, &arena, err);
    if (status == KEEL_OK) status = write_config(bert, config, err);
    keel_arena_free(&arena);
    return status;
}

/* ---- a folder with an adapter in it ---- */

static keel_status take_adapter(keel_bert *bert, const char *dir, keel_err *err) {
    keel_arena arena = {0};
    const char *path = keel_path_join(&arena, dir, "adapter_config.json");
    keel_status status = path ? KEEL_OK : keel_nomem(err, dir);
    if (status == KEEL_OK && keel_file_exists(path)) {
        status = keel_peft_load(bert, dir, err);
        if (status == KEEL_OK) status = keel_bert_settle(bert, err);
    }
    keel_arena_free(&arena);
    return status;
}

keel_status keel_peft_open(keel_bert **out, const char *dir, keel_err *err) {
    keel_bert *bert;
    KEEL_TRY(keel_bert_load(&bert, dir, err));
    keel_status status = take_adapter(bert, dir, err);
    if (status == KEEL_OK)
        *out = bert;
    else
        keel_bert_close(bert);
    return status;
}
