#include "policies/transformer/weights.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"

enum { MOST_SHARDS = 1000 };

static keel_status join(keel_weights *weights, const char *dir, const char *name, const char **out,
                        keel_err *err) {
    keel_buf path = {0};
    keel_buf_format(&path, "%s/%s", dir, name);
    *out = path.failed ? NULL : keel_arena_strdup(&weights->arena, path.data);
    keel_buf_free(&path);
    return *out ? KEEL_OK : keel_nomem(err, dir);
}

static keel_status open_shard(keel_weights *weights, const char *dir, const char *name, keel_err *err) {
    const char *path;
    KEEL_TRY(join(weights, dir, name, &path, err));
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
    const char *whole, *index_path;
    cJSON *index = NULL;
    KEEL_TRY(join(weights, dir, "model.safetensors", &whole, err));
    KEEL_TRY(join(weights, dir, "model.safetensors.index.json", &index_path, err));
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
