#include "core/checkpoint.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "core/file.h"
#include "core/log.h"

enum { IDENTITY = 64 };
static const char identity_name[] = "identity", checksum_name[] = "checksum";

char *keel_checkpoint_path(keel_arena *arena, const char *out_dir) {
    return keel_path_beside(arena, out_dir, "checkpoint");
}

/* Names and bytes of all tensors but the sum itself; a sum over tensors, so that their order does not matter.
 */
static int64_t checksum(const keel_named_tensor *tensors, size_t count) {
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const keel_named_tensor *tensor = &tensors[i];
        if (strcmp(tensor->name, checksum_name) == 0) continue;
        uLong crc = crc32_z(0, (const Bytef *)tensor->name, strlen(tensor->name) + 1);
        if (tensor->bytes) crc = crc32_z(crc, tensor->data, tensor->bytes);
        sum += (int64_t)(uint32_t)crc;
    }
    return sum;
}

keel_status keel_checkpoint_save(const char *path, const char *identity, const keel_named_tensor *tensors,
                                 size_t count, keel_err *err) {
    int64_t sum = 0;
    keel_named_tensor *all = keel_calloc(count + 2, sizeof *all);
    if (!all) return keel_fail(err, KEEL_E_NOMEM, path, "no memory for a checkpoint");
    if (count) memcpy(all, tensors, count * sizeof *all);
    all[count] = (keel_named_tensor){identity_name, KEEL_U8, 1, {IDENTITY}, identity, IDENTITY};
    all[count + 1] = (keel_named_tensor){checksum_name, KEEL_I64, 1, {1}, &sum, sizeof sum};
    sum = checksum(all, count + 2);
    keel_status status = keel_safetensors_write(path, all, count + 2, NULL, err);
    keel_free(all);
    return status;
}

static keel_status check_sum(const keel_safetensors *file, const char *path, keel_err *err) {
    int64_t sum = 0;
    const keel_named_tensor *kept = keel_safetensors_find(file, checksum_name);
    const keel_named_tensor *identity = keel_safetensors_find(file, identity_name);
    bool whole = kept && kept->dtype == KEEL_I64 && kept->bytes == sizeof sum && identity &&
                 identity->dtype == KEEL_U8 && identity->bytes == IDENTITY;
    if (whole) memcpy(&sum, kept->data, sizeof sum);
    if (whole && sum == checksum(file->tensors, file->count)) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, path, "the checkpoint is damaged: its checksum is %s",
                     whole ? "another" : "missing");
}

static keel_status check_tensor(const keel_safetensors *file, const keel_named_tensor *want, const char *path,
                                keel_err *err) {
    const keel_named_tensor *have = keel_safetensors_find(file, want->name);
    if (!have || have->dtype != want->dtype || have->bytes != want->bytes)
        return keel_fail(err, KEEL_E_INVALID, path, "tensor \"%s\": expected %zu bytes, got %zu", want->name,
                         want->bytes, have ? have->bytes : 0);
    if (!keel_safetensors_finite(have))
        return keel_fail(err, KEEL_E_INVALID, path, "tensor \"%s\" holds numbers that are not finite",
                         want->name);
    return KEEL_OK;
}

static keel_status take(const keel_safetensors *file, const char *path, const char *identity,
                        const keel_named_tensor *tensors, size_t count, bool *found, keel_err *err) {
    KEEL_TRY(check_sum(file, path, err));
    bool ours = memcmp(keel_safetensors_find(file, identity_name)->data, identity, IDENTITY) == 0;
    for (size_t i = 0; ours && i < count; i++) KEEL_TRY(check_tensor(file, &tensors[i], path, err));
    for (size_t i = 0; ours && i < count; i++)
        if (tensors[i].bytes)
            memcpy((void *)(uintptr_t)tensors[i].data, keel_safetensors_find(file, tensors[i].name)->data,
                   tensors[i].bytes);
    *found = ours;
    if (!ours)
        keel_log(KEEL_LOG_INFO, "%s is of another configuration or other logs: training starts anew", path);
    return KEEL_OK;
}

keel_status keel_checkpoint_load(const char *path, const char *identity, const keel_named_tensor *tensors,
                                 size_t count, bool *found, keel_err *err) {
    keel_safetensors file = {0};
    if (!keel_file_exists(path)) {
        *found = false;
        return KEEL_OK;
    }
    keel_status status = keel_safetensors_read(path, &file, err);
    if (status == KEEL_OK) status = take(&file, path, identity, tensors, count, found, err);
    keel_safetensors_free(&file);
    if (status == KEEL_OK || status == KEEL_E_NOMEM) return status;
    keel_hint(err, "delete the checkpoint to start anew");
    return status;
}
