#include "policies/transformer/model_folder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/json.h"

keel_status keel_model_folder_name(keel_model_folder *f, const char *file) {
    const int n = snprintf(f->path, sizeof f->path, "%s/%s", f->dir, file);
    if (n > 0 && (size_t)n < sizeof f->path) return KEEL_OK;
    return keel_fail(f->err, KEEL_E_INVALID, f->dir, "the path is too long");
}

keel_status keel_model_folder_json(keel_model_folder *f, const char *file, bool required, cJSON **out) {
    *out = NULL;
    KEEL_TRY(keel_model_folder_name(f, file));
    if (!required && access(f->path, F_OK) != 0) return KEEL_OK;
    return keel_json_parse_file(f->path, out, f->err);
}

keel_status keel_model_folder_read(keel_model_folder *f, const char *file, bool required,
                                   keel_model_folder_look *look, void *context) {
    cJSON *json;
    KEEL_TRY(keel_model_folder_json(f, file, required, &json));
    const keel_status status = json ? look(context, json) : KEEL_OK;
    cJSON_Delete(json);
    return status;
}

keel_status keel_model_folder_size(const keel_model_folder *f, const cJSON *json, const char *key,
                                   size_t most, size_t *out) {
    double number = (double)*out;
    KEEL_TRY(keel_json_number(json, key, *out == 0, &number, f->path, f->err));
    if (!(number >= 1 && number <= (double)most && floor(number) == number))
        return keel_fail(f->err, KEEL_E_INVALID, f->path, "%s: expected 1 to %zu, got %g", key, most, number);
    *out = (size_t)number;
    return KEEL_OK;
}

keel_status keel_model_folder_sizes(const keel_model_folder *f, const cJSON *json, const char *key, size_t n,
                                    size_t most, keel_arena *arena, uint32_t **out) {
    const cJSON *list = NULL, *item;
    size_t i = 0, largest = 0;
    *out = NULL;
    KEEL_TRY(keel_json_array(json, key, false, &list, f->path, f->err));
    if (!list) return KEEL_OK;
    if ((size_t)cJSON_GetArraySize(list) != n)
        return keel_fail(f->err, KEEL_E_INVALID, f->path, "%s: expected %zu numbers, got %d", key, n,
                         cJSON_GetArraySize(list));
    *out = keel_arena_calloc(arena, n, sizeof **out);
    if (!*out) return keel_nomem(f->err, f->path);
    cJSON_ArrayForEach (item, list) {
        const double number = cJSON_IsNumber(item) ? item->valuedouble : 0;
        if (!(number >= 1 && number <= (double)most && floor(number) == number))
            return keel_fail(f->err, KEEL_E_INVALID, f->path, "%s: expected 1 to %zu, got %g", key, most,
                             number);
        if ((size_t)number > largest) largest = (size_t)number;
        (*out)[i++] = (uint32_t)number;
    }
    return largest == most ? KEEL_OK
                           : keel_fail(f->err, KEEL_E_INVALID, f->path,
                                       "%s: expected the largest to be %zu, got %zu", key, most, largest);
}

void keel_model_folder_put_sizes(const char *key, const uint32_t *size, size_t n, keel_buf *to) {
    keel_buf_format(to, ", \"%s\": [", key);
    for (size_t l = 0; l < n; l++) keel_buf_format(to, "%s%u", l ? ", " : "", (unsigned)size[l]);
    keel_buf_text(to, "]");
}

keel_status keel_model_folder_tokenizer(keel_model_folder *f, size_t vocab, keel_tokenizer **out) {
    KEEL_TRY(keel_model_folder_name(f, "tokenizer.json"));
    KEEL_TRY(keel_tokenizer_load(out, f->path, f->err));
    if (keel_tokenizer_size(*out) <= vocab) return KEEL_OK;
    return keel_fail(f->err, KEEL_E_INVALID, f->path, "it has %zu tokens, and the model %zu",
                     keel_tokenizer_size(*out), vocab);
}

keel_status keel_model_folder_quantised(const keel_model_folder *folder, const cJSON *json,
                                        keel_model_quantised *out) {
    const cJSON *found = keel_json_get(json, "quantization_config");
    const char *method = "", *with = "";
    *out = (keel_model_quantised){0};
    if (!found || cJSON_IsNull(found)) return KEEL_OK;
    KEEL_TRY(keel_json_object(json, "quantization_config", true, &found, folder->path, folder->err));
    KEEL_TRY(keel_json_string(found, "quant_method", false, &method, folder->path, folder->err));
    if (strcmp(method, "keel") != 0)
        return keel_fail(
            folder->err, KEEL_E_UNSUPPORTED, folder->path,
            "quantization_config: expected weights in F32, F16 or BF16, or as `keel compress` writes "
            "them, got quant_method \"%s\"",
            method);
    KEEL_TRY(keel_json_string(found, "activations", true, &with, folder->path, folder->err));
    *out = (keel_model_quantised){true, strcmp(with, "f32") == 0};
    if (out->wide || strcmp(with, "int8") == 0) return KEEL_OK;
    return keel_fail(folder->err, KEEL_E_UNSUPPORTED, folder->path,
                     "activations: expected \"int8\" or \"f32\", got \"%s\"", with);
}

const char *keel_model_folder_quantised_text(bool wide) {
    return wide ? "\"quantization_config\": {\"quant_method\": \"keel\", \"activations\": \"f32\"}"
                : "\"quantization_config\": {\"quant_method\": \"keel\", \"activations\": \"int8\"}";
}
