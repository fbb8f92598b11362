#include "policies/artefact.h"

#include <cblas.h>
#include <string.h>

#include "core/hash.h"
#include "core/json.h"

static const char manifest_name[] = "keel.json";

cJSON *keel_build_info(void) {
    cJSON *info = cJSON_CreateObject();
    bool complete = info && cJSON_AddStringToObject(info, "keel", KEEL_VERSION) &&
                    cJSON_AddStringToObject(info, "compiler", __VERSION__) &&
                    cJSON_AddStringToObject(info, "flags", KEEL_FLAGS) &&
                    cJSON_AddStringToObject(info, "blas", openblas_get_config());
    if (complete) return info;
    cJSON_Delete(info);
    return NULL;
}

/* ---- the seal: a hash of the manifest in the manifest ---- */

static const char seal_key[] = "sha256";

/* Of the manifest as it prints without white space and without a seal. */
static keel_status seal_of(const cJSON *unsealed, char hex[65], keel_err *err) {
    keel_buf text = {0};
    keel_sha256 hash;
    keel_status status = keel_json_print(unsealed, false, &text, err);
    if (status == KEEL_OK) {
        keel_sha256_init(&hash);
        keel_sha256_add(&hash, text.data, text.length);
        keel_sha256_hex(&hash, hex);
    }
    keel_buf_free(&text);
    return status;
}

static keel_status put_seal(cJSON *manifest, const char *where, keel_err *err) {
    char hex[65];
    KEEL_TRY(seal_of(manifest, hex, err));
    return cJSON_AddStringToObject(manifest, seal_key, hex) ? KEEL_OK : keel_nomem(err, where);
}

/* Takes the seal off. */
static keel_status check_seal(cJSON *manifest, const char *path, keel_err *err) {
    const char *found = NULL;
    char hex[65];
    KEEL_TRY(keel_json_string(manifest, seal_key, true, &found, path, err));
    cJSON *seal = cJSON_DetachItemFromObjectCaseSensitive(manifest, seal_key);
    keel_status status = seal_of(manifest, hex, err);
    if (status == KEEL_OK && strcmp(hex, found) != 0) {
        status =
            keel_fail(err, KEEL_E_INVALID, path, "damaged: its own SHA-256 is %.64s, got %s", found, hex);
        keel_hint(err, "copy the artefact again, or make it anew");
    }
    cJSON_Delete(seal);
    return status;
}

/* ---- writing ---- */

static bool add_borrowed(cJSON *manifest, const char *key, const cJSON *value) {
    if (!value) return cJSON_AddObjectToObject(manifest, key) != NULL;
    /* cJSON_AddItemReferenceToObject would lose the reference if the key could not be copied. */
    cJSON *reference = cJSON_CreateObjectReference(value->child);
    if (reference && cJSON_AddItemToObject(manifest, key, reference)) return true;
    cJSON_Delete(reference);
    return false;
}

/* Adds {name: sha256} of each file of the folder to the manifest and hashes names and hashes together. */
static keel_status add_files(cJSON *manifest, const char *folder, char hash[65], keel_err *err) {
    keel_arena arena = {0};
    const char **names;
    size_t count;
    keel_sha256 sum;
    keel_sha256_init(&sum);
    cJSON *files = cJSON_AddObjectToObject(manifest, "files");
    keel_status status = files ? KEEL_OK : keel_nomem(err, folder);
    if (status == KEEL_OK) status = keel_folder_list(folder, NULL, &arena, &names, &count, err);
    for (size_t i = 0; status == KEEL_OK && i < count; i++) {
        if (strcmp(names[i], manifest_name) == 0) continue;
        char hex[65], *path = keel_path_join(&arena, folder, names[i]);
        status = path ? keel_file_hash(path, hex, err) : keel_nomem(err, folder);
        if (status != KEEL_OK) break;
        if (!cJSON_AddStringToObject(files, names[i], hex)) status = keel_nomem(err, folder);
        keel_sha256_add_text(&sum, names[i]);
        keel_sha256_add_text(&sum, hex);
    }
    if (status == KEEL_OK) keel_sha256_hex(&sum, hash);
    keel_arena_free(&arena);
    return status;
}

keel_status keel_artefact_commit(keel_folder_write *folder, const char *kind, const char *type,
                                 const cJSON *lineage, const cJSON *config, const cJSON *metrics,
                                 char hash[65], keel_err *err) {
    char sum[65];
    keel_arena arena = {0};
    char *path = keel_path_join(&arena, folder->temporary, manifest_name);
    cJSON *manifest = cJSON_CreateObject();
    keel_status status = KEEL_OK;
    if (!path || !manifest || !cJSON_AddNumberToObject(manifest, "keel", 1) ||
        !cJSON_AddStringToObject(manifest, "kind", kind) ||
        !cJSON_AddStringToObject(manifest, "type", type) || !add_borrowed(manifest, "lineage", lineage) ||
        !add_borrowed(manifest, "config", config) || !add_borrowed(manifest, "metrics", metrics))
        status = keel_nomem(err, folder->path);
    if (status == KEEL_OK) status = add_files(manifest, folder->temporary, sum, err);
    if (status == KEEL_OK) status = put_seal(manifest, path, err);
    if (status == KEEL_OK) status = keel_json_write_file(path, manifest, err);
    if (status == KEEL_OK) status = keel_folder_commit(folder, err);
    if (status == KEEL_OK && hash) memcpy(hash, sum, sizeof sum);
    cJSON_Delete(manifest);
    keel_arena_free(&arena);
    return status;
}

/* ---- reading ---- */

static keel_status not_an_artefact(const char *dir, keel_err *err) {
    if (keel_file_is_folder(dir))
        keel_fail(err, KEEL_E_NOT_FOUND, dir, "this is not an artefact: it has no %s", manifest_name);
    else
        keel_fail(err, KEEL_E_NOT_FOUND, dir, "there is no such folder");
    keel_hint(err, "give a folder that `keel sft --out` or `keel train --out` wrote");
    return KEEL_E_NOT_FOUND;
}

static keel_status check_kind(const cJSON *manifest, const char *dir, const char *path, const char *kind,
                              keel_err *err) {
    double version = 0;
    const char *found = NULL, *type = NULL;
    KEEL_TRY(keel_json_number(manifest, "keel", true, &version, path, err));
    KEEL_TRY(keel_json_string(manifest, "kind", true, &found, path, err));
    KEEL_TRY(keel_json_string(manifest, "type", true, &type, path, err));
    if (version != 1)
        return keel_fail(err, KEEL_E_UNSUPPORTED, path, "expected manifest version 1, got %g", version);
    if (strcmp(found, kind) == 0) return KEEL_OK;
    keel_fail(err, KEEL_E_CONFLICT, dir, "expected a %s, but this folder holds a %s (%s)", kind, found, type);
    keel_hint(err, "`keel sft` writes bases, `keel train` writes policies");
    return KEEL_E_CONFLICT;
}

/* A hostile name could lead out of the folder. */
static bool is_plain_name(const char *name) {
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static keel_status check_file(const char *dir, const cJSON *file, const char *previous, keel_err *err) {
    if (!cJSON_IsString(file) || !is_plain_name(file->string) ||
        (previous && strcmp(previous, file->string) >= 0))
        return keel_fail(err, KEEL_E_INVALID, dir, "%s: \"files\" must map plain names, ascending, to hashes",
                         manifest_name);
    keel_arena arena = {0};
    char hex[65], *path = keel_path_join(&arena, dir, file->string);
    keel_status status = path ? keel_file_hash(path, hex, err) : keel_nomem(err, dir);
    if (status == KEEL_OK && strcmp(hex, file->valuestring) != 0) {
        status = keel_fail(err, KEEL_E_INVALID, path, "damaged: expected SHA-256 %.64s, got %s",
                           file->valuestring, hex);
        keel_hint(err, "copy the artefact again, or make it anew");
    }
    keel_arena_free(&arena);
    return status;
}

static keel_status check_files(const cJSON *manifest, const char *dir, const char *path, char hash[65],
                               keel_err *err) {
    const cJSON *files = NULL, *file;
    const char *previous = NULL;
    keel_sha256 sum;
    keel_sha256_init(&sum);
    KEEL_TRY(keel_json_object(manifest, "files", true, &files, path, err));
    cJSON_ArrayForEach (file, files) {
        KEEL_TRY(check_file(dir, file, previous, err));
        keel_sha256_add_text(&sum, file->string);
        keel_sha256_add_text(&sum, file->valuestring);
        previous = file->string;
    }
    if (!previous) return keel_fail(err, KEEL_E_INVALID, path, "\"files\" lists none: nothing is checked");
    keel_sha256_hex(&sum, hash);
    return KEEL_OK;
}

keel_status keel_artefact_open(const char *dir, const char *kind, cJSON **manifest, char hash[65],
                               keel_err *err) {
    char sum[65];
    keel_arena arena = {0};
    cJSON *json = NULL;
    char *path = keel_path_join(&arena, dir, manifest_name);
    keel_status status = path ? KEEL_OK : keel_nomem(err, dir);
    if (status == KEEL_OK && !keel_file_exists(path)) status = not_an_artefact(dir, err);
    if (status == KEEL_OK) status = keel_json_parse_file(path, &json, err);
    if (status == KEEL_OK) status = check_kind(json, dir, path, kind, err);
    if (status == KEEL_OK) status = check_files(json, dir, path, sum, err);
    if (status == KEEL_OK) status = check_seal(json, path, err);
    keel_arena_free(&arena);
    if (status != KEEL_OK) {
        cJSON_Delete(json);
        return status;
    }
    *manifest = json;
    if (hash) memcpy(hash, sum, sizeof sum);
    return KEEL_OK;
}
