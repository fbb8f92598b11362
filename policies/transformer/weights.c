#include "policies/transformer/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"

enum { MOST_SHARDS = 1000 };

static keel_status open_shard(keel_weights *weights, const char *dir, const char *name, keel_err *err) {
    const char *path = keel_path_join(&weights->arena, dir, name);
    if (!path) return keel_nomem(err, dir);
    KEEL_TRY(keel_safetensors_map(path, &weights->shard[weights->n], err));
    weights->n++;
    return KEEL_OK;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of files in {"weight_map": {tensor: file}}, each once. */
static keel_status list_shards(keel_weights *weights, const cJSON *map, const char *path, const char ***out,
                               size_t *count, keel_err *err) {
    const cJSON *item;
    size_t n = 0, kept = 0;
    const char **names = keel_arena_calloc(&weights->arena, (size_t)cJSON_GetArraySize(map), sizeof *names);
    if (!names) return keel_nomem(err, path);
    cJSON_ArrayForEach (item, map) {
        const char *name = cJSON_IsString(item) ? item->valuestring : "";
        if (!*name || strchr(name, '/') || strstr(name, ".."))
            return keel_fail(err, KEEL_E_INVALID, path,
                             "weight_map: \"%s\": expected the name of a file here", name);
        names[n++] = name;
    }
    qsort(names, n, sizeof *names, by_text);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp(names[i], names[kept - 1]) != 0) names[kept++] = names[i];
    if (kept > MOST_SHARDS)
        return keel_fail(err, KEEL_E_INVALID, path, "weight_map names %zu files, more than %d", kept,
                         MOST_SHARDS);
    *out = names;
    *count = kept;
    return KEEL_OK;
}

static keel_status open_shards(keel_weights *weights, const char *dir, const char *path, cJSON *index,
                               keel_err *err) {
    const cJSON *map = NULL;
    const char **names = NULL;
    size_t n = 0;
    KEEL_TRY(keel_json_object(index, "weight_map", true, &map, path, err));
    KEEL_TRY(list_shards(weights, map, path, &names, &n, err));
    weights->shard = keel_arena_calloc(&weights->arena, n, sizeof *weights->shard);
    if (!weights->shard) return keel_nomem(err, path);
    for (size_t i = 0; i < n; i++) KEEL_TRY(open_shard(weights, dir, names[i], err));
    return KEEL_OK;
}

static keel_status open_all(keel_weights *weights, const char *dir, keel_err *err) {
    const char *whole = keel_path_join(&weights->arena, dir, "model.safetensors"),
               *index_path = keel_path_join(&weights->arena, dir, "model.safetensors.index.json");
    cJSON *index = NULL;
    if (!whole || !index_path) return keel_nomem(err, dir);
    if (access(whole, F_OK) != 0 && access(index_path, F_OK) == 0) {
        keel_status status = keel_json_parse_file(index_path, &index, err);
        if (status == KEEL_OK) status = open_shards(weights, dir, index_path, index, err);
        cJSON_Delete(index);
        return status;
    }
    weights->shard = keel_arena_calloc(&weights->arena, 1, sizeof *weights->shard);
    return weights->shard ? open_shard(weights, dir, "model.safetensors", err) : keel_nomem(err, dir);
}

keel_status keel_weights_open(keel_weights *weights, const char *dir, keel_err *err) {
    *weights = (keel_weights){0};
    keel_status status = open_all(weights, dir, err);
    if (status != KEEL_OK) keel_weights_close(weights);
    return status;
}

void keel_weights_close(keel_weights *weights) {
    for (size_t i = 0; i < weights->n; i++) keel_safetensors_free(&weights->shard[i]);
    keel_arena_free(&weights->arena);
    *weights = (keel_weights){0};
}

const keel_named_tensor *keel_weights_find(const keel_weights *weights, const char *name,
                                           const keel_safetensors **shard) {
    for (size_t i = 0; i < weights->n; i++) {
        const keel_named_tensor *found = keel_safetensors_find(&weights->shard[i], name);
        if (!found) continue;
        if (shard) *shard = &weights->shard[i];
        return found;
    }
    return NULL;
}

/* ---- number formats that safetensors have no name for ---- */

const char *keel_weights_format(keel_matrix_type type) {
    return type == KEEL_MATRIX_F32 || type == KEEL_MATRIX_BF16 ? NULL : keel_matrix_type_name(type);
}

static bool is_sound(const keel_matrix *matrix) {
    const size_t bytes = keel_matrix_row_bytes(matrix->type, matrix->cols);
    for (size_t r = 0; r < matrix->rows; r++)
        if (!keel_matrix_row_is_sound(matrix->type, (const char *)matrix->data + r * bytes, matrix->cols))
            return false;
    return true;
}

static keel_status check_held(const keel_named_tensor *tensor, const keel_matrix *matrix, const char *path,
                              keel_err *err) {
    const size_t bytes = keel_matrix_row_bytes(matrix->type, matrix->cols);
    if (matrix->cols % keel_matrix_multiple(matrix->type) != 0 || matrix->cols > KEEL_MATRIX_MOST_COLS)
        return keel_fail(err, KEEL_E_INVALID, path,
                         "tensor \"%s\": expected a width that is a multiple of %zu, at most %d, got %zu",
                         tensor->name, keel_matrix_multiple(matrix->type), KEEL_MATRIX_MOST_COLS,
                         matrix->cols);
    if (tensor->dtype != KEEL_U8 || tensor->n_dims != 2 || tensor->shape[0] != matrix->rows ||
        tensor->shape[1] != bytes)
        return keel_fail(err, KEEL_E_INVALID, path, "tensor \"%s\": expected U8 of shape [%zu, %zu]",
                         tensor->name, matrix->rows, bytes);
    if (!is_sound(matrix))
        return keel_fail(err, KEEL_E_INVALID, path,
                         "tensor \"%s\" holds scales that are not finite, or steps above 15", tensor->name);
    return KEEL_OK;
}

keel_status keel_weights_held(const keel_weights *weights, const char *name, size_t rows, size_t cols,
                              keel_matrix *out, keel_err *err) {
    char whole[256];
    *out = (keel_matrix){0};
    for (keel_matrix_type type = 0; type < KEEL_N_MATRIX_TYPES; type++) {
        const keel_safetensors *shard = NULL;
        if (!keel_weights_format(type)) continue;
        snprintf(whole, sizeof whole, "%s.%s", name, keel_weights_format(type));
        const keel_named_tensor *tensor = keel_weights_find(weights, whole, &shard);
        if (!tensor) continue;
        if (out->data || keel_weights_find(weights, name, NULL))
            return keel_fail(err, KEEL_E_INVALID, shard->path, "tensor \"%s\" is there in two number formats",
                             name);
        *out = (keel_matrix){
            .type = type, .rows = rows, .cols = cols, .data = tensor->data, .inputs = weights->inputs};
        KEEL_TRY(check_held(tensor, out, shard->path, err));
    }
    return KEEL_OK;
}
