#include "policies/artefact.h"

#include <string.h>

#include "core/gemm.h"
#include "core/hash.h"
#include "core/json.h"

static const char manifest_name[] = "keel.json";

enum { MANIFEST_VERSION = 2 };

cJSON *keel_build_info(void) {
    cJSON *info = cJSON_CreateObject();
    bool complete = info && cJSON_AddStringToObject(info, "keel", KEEL_VERSION) &&
                    cJSON_AddStringToObject(info, "commit", KEEL_COMMIT) &&
                    cJSON_AddStringToObject(info, "compiler", KEEL_COMPILER) &&
                    cJSON_AddStringToObject(info, "flags", KEEL_FLAGS) &&
                    cJSON_AddStringToObject(info, "blas", keel_gemm_library());
    if (complete) return info;
    cJSON_Delete(info);
    return NULL;
}

keel_status keel_artefact_identify(cJSON *lineage, const cJSON *config, char identity[65], keel_err *err) {
    const cJSON *const parts[] = {config, lineage};
    keel_sha256 hash;
    char hex[65];
    keel_sha256_init(&hash);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        KEEL_TRY(keel_json_hash(parts[i], hex, err));
        keel_sha256_add_text(&hash, hex);
    }
    keel_sha256_hex(&hash, hex);
    if (!cJSON_AddStringToObject(lineage, "identity", hex) ||
        !keel_json_add(lineage, "build", keel_build_info()))
        return keel_nomem(err, "lineage");
    if (identity) memcpy(identity, hex, sizeof hex);
    return KEEL_OK;
}

/* ---- the seal: the hash of the unsealed manifest in the manifest ---- */

static const char seal_key[] = "sha256";

static keel_status put_seal(cJSON *manifest, const char *where, keel_err *err) {
    char hex[65];
    KEEL_TRY(keel_json_hash(manifest, hex, err));
    return cJSON_AddStringToObject(manifest, seal_key, hex) ? KEEL_OK : keel_nomem(err, where);
}

/* Takes the seal off. */
static keel_status check_seal(cJSON *manifest, const char *path, keel_err *err) {
    const char *found = NULL;
    char hex[65];
    KEEL_TRY(keel_json_string(manifest, seal_key, true, &found, path, err));
    cJSON *seal = cJSON_DetachItemFromObjectCaseSensitive(manifest, seal_key);
    keel_status status = keel_json_hash(manifest, hex, err);
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
    if (status == KEEL_OK) status = keel_folder_list_deep(folder, NULL, &arena, &names, &count, err);
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
    if (!path || !manifest || !cJSON_AddNumberToObject(manifest, "keel", MANIFEST_VERSION) ||
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
    return keel_hint(err, "give a folder that `keel sft --out` or `keel train --out` wrote");
}

static keel_status check_kind(const cJSON *manifest, const char *dir, const char *path, const char *kind,
                              keel_err *err) {
    double version = 0;
    const char *found = NULL, *type = NULL;
    KEEL_TRY(keel_json_number(manifest, "keel", true, &version, path, err));
    KEEL_TRY(keel_json_string(manifest, "kind", true, &found, path, err));
    KEEL_TRY(keel_json_string(manifest, "type", true, &type, path, err));
    if (version == 1) {
        keel_fail(err, KEEL_E_UNSUPPORTED, dir, "this %.20s (%.40s) was written by Keel 0.1", found, type);
        return keel_hint(err, "make it anew: keel %s ... --out %.100s --replace",
                         strcmp(found, "base") == 0 ? "sft" : "train", dir);
    }
    if (version != MANIFEST_VERSION)
        return keel_fail(err, KEEL_E_UNSUPPORTED, path, "expected manifest version %d, got %g",
                         MANIFEST_VERSION, version);
    if (strcmp(found, kind) == 0) return KEEL_OK;
    keel_fail(err, KEEL_E_CONFLICT, dir, "expected a %s, but this folder holds a %s (%s)", kind, found, type);
    return keel_hint(err, "`keel sft` writes bases, `keel train` writes policies");
}

/* A hostile name could lead out of the folder. */
static bool stays_inside(const char *name) {
    for (const char *part = name;; part++) {
        const size_t n = strcspn(part, "/");
        const bool dots = (n == 1 || n == 2) && strncmp(part, "..", n) == 0;
        if (n == 0 || dots) return false;
        part += n;
        if (!*part) return true;
    }
}

static keel_status check_name(const char *dir, const cJSON *file, const char *previous, keel_err *err) {
    if (cJSON_IsString(file) && stays_inside(file->string) &&
        (!previous || strcmp(previous, file->string) < 0))
        return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, dir,
                     "%s: \"files\" must map names inside the folder, ascending, to hashes", manifest_name);
}

static keel_status check_file(const char *dir, const cJSON *file, keel_err *err) {
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

/* The hash of the artefact; whole: each file is hashed too. */
static keel_status check_files(const cJSON *manifest, const char *dir, const char *path, bool whole,
                               char hash[65], keel_err *err) {
    const cJSON *files = NULL, *file;
    const char *previous = NULL;
    keel_sha256 sum;
    keel_sha256_init(&sum);
    KEEL_TRY(keel_json_object(manifest, "files", true, &files, path, err));
    cJSON_ArrayForEach (file, files) {
        KEEL_TRY(check_name(dir, file, previous, err));
        if (whole) KEEL_TRY(check_file(dir, file, err));
        keel_sha256_add_text(&sum, file->string);
        keel_sha256_add_text(&sum, file->valuestring);
        previous = file->string;
    }
    if (!previous) return keel_fail(err, KEEL_E_INVALID, path, "\"files\" lists none: nothing is checked");
    keel_sha256_hex(&sum, hash);
    return KEEL_OK;
}

static keel_status open_manifest(const char *dir, const char *kind, bool whole, cJSON **manifest,
                                 char hash[65], keel_err *err) {
    char sum[65];
    keel_arena arena = {0};
    cJSON *json = NULL;
    char *path = keel_path_join(&arena, dir, manifest_name);
    keel_status status = path ? KEEL_OK : keel_nomem(err, dir);
    if (status == KEEL_OK && !keel_file_exists(path)) status = not_an_artefact(dir, err);
    if (status == KEEL_OK) status = keel_json_parse_file(path, &json, err);
    if (status == KEEL_OK) status = check_kind(json, dir, path, kind, err);
    if (status == KEEL_OK) status = check_files(json, dir, path, whole, sum, err);
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

keel_status keel_artefact_open(const char *dir, const char *kind, cJSON **manifest, char hash[65],
                               keel_err *err) {
    return open_manifest(dir, kind, true, manifest, hash, err);
}

keel_status keel_artefact_claim(const char *dir, const char *kind, char hash[65], keel_err *err) {
    cJSON *manifest = NULL;
    const keel_status status = open_manifest(dir, kind, false, &manifest, hash, err);
    cJSON_Delete(manifest);
    return status;
}

/* ---- what may be written over ---- */

static keel_status fail_other(const char *dir, const cJSON *manifest, const cJSON *lineage,
                              const cJSON *config, keel_err *err) {
    const char *kind = "", *type = "";
    keel_buf text = {0};
    cJSON *inputs = cJSON_Duplicate(lineage, true);
    cJSON_DeleteItemFromObjectCaseSensitive(inputs, "identity");
    cJSON_DeleteItemFromObjectCaseSensitive(inputs, "build");
    keel_json_differences(keel_json_get(manifest, "config"), config, &text);
    keel_json_differences(keel_json_get(manifest, "lineage"), inputs, &text);
    keel_json_string(manifest, "kind", false, &kind, dir, NULL);
    keel_json_string(manifest, "type", false, &type, dir, NULL);
    keel_fail(err, inputs && !text.failed ? KEEL_E_CONFLICT : KEEL_E_NOMEM, dir,
              "holds a %.20s (%.40s) that another run made%s%.300s", kind, type, text.length ? ": " : "",
              text.length ? text.data : "");
    cJSON_Delete(inputs);
    keel_buf_free(&text);
    return keel_hint(err, "--replace writes over it; or choose another --out");
}

/* The manifest in dir, if there is one of that kind; else NULL. */
static keel_status read_kind(const char *dir, const char *kind, cJSON **out, keel_err *err) {
    keel_arena arena = {0};
    const char *found = NULL, *path = keel_path_join(&arena, dir, manifest_name);
    cJSON *json = NULL;
    keel_status status = path ? keel_json_parse_file(path, &json, NULL) : KEEL_E_NOMEM;
    bool same = status == KEEL_OK && keel_json_string(json, "kind", true, &found, dir, NULL) == KEEL_OK &&
                strcmp(found, kind) == 0;
    keel_arena_free(&arena);
    *out = same ? json : NULL;
    if (!same) cJSON_Delete(json);
    return status == KEEL_E_NOMEM ? keel_nomem(err, dir) : KEEL_OK;
}

bool keel_artefact_is(const char *dir, const char *kind, const char *identity) {
    cJSON *manifest = NULL;
    const char *theirs = NULL;
    char hash[65];
    if (!keel_file_is_folder(dir) || keel_artefact_open(dir, kind, &manifest, hash, NULL) != KEEL_OK)
        return false;
    keel_json_string(keel_json_get(manifest, "lineage"), "identity", false, &theirs, dir, NULL);
    bool same = theirs && strcmp(theirs, identity) == 0;
    cJSON_Delete(manifest);
    return same;
}

keel_status keel_artefact_check_out(const char *dir, const char *kind, const cJSON *lineage,
                                    const cJSON *config, bool replace, keel_err *err) {
    cJSON *manifest = NULL;
    const char *ours = NULL, *theirs = NULL;
    if (!keel_file_exists(dir) && !keel_file_is_folder(dir)) return KEEL_OK;
    KEEL_TRY(read_kind(dir, kind, &manifest, err));
    if (!manifest) {
        keel_fail(err, KEEL_E_CONFLICT, dir, "exists and is not a %s that could be replaced", kind);
        return keel_hint(err, "choose another --out, or remove it");
    }
    keel_json_string(lineage, "identity", false, &ours, dir, NULL);
    keel_json_string(keel_json_get(manifest, "lineage"), "identity", false, &theirs, dir, NULL);
    keel_status status = KEEL_OK;
    if (ours && !replace && !(theirs && strcmp(ours, theirs) == 0))
        status = fail_other(dir, manifest, lineage, config, err);
    cJSON_Delete(manifest);
    return status;
}
