/* Judges at rest: the tensors of their kind, and what all kinds have: "calibration" [2] (slope, threshold),
 * and of each response that it learned from "held_out.response" [n], "held_out.p" [n, K] and "held_out.label"
 * [n]. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "core/memory.h"
#include "core/safetensors.h"
#include "rewards/judge_internal.h"

/* "<the kind's name>+fit-<hash of the calibration>" */
void keel__judge_name(keel_judge *judge) {
    const size_t length = strlen(judge->name);
    const float numbers[] = {(float)judge->calibration.slope, (float)judge->calibration.least};
    if (!judge->calibrated) return;
    snprintf(judge->name + length, sizeof judge->name - length, "+fit-%08x",
             (unsigned)keel_hash64(numbers, sizeof numbers, 0));
}

/* ---- writing ---- */

typedef struct columns {
    int64_t *response;
    float *p;
    int8_t *label;
} columns;

static bool fill_columns(const keel_judge *judge, keel_arena *arena, columns *out) {
    const size_t n = judge->n_held_out, k = judge->kind->n_classes;
    out->response = keel_arena_alloc(arena, (n + 1) * sizeof *out->response);
    out->p = keel_arena_alloc(arena, (n + 1) * k * sizeof *out->p);
    out->label = keel_arena_alloc(arena, n + 1);
    if (!out->response || !out->p || !out->label) return false;
    for (size_t i = 0; i < n; i++) {
        out->response[i] = (int64_t)judge->held_out[i].response;
        memcpy(out->p + i * k, judge->held_out[i].p, k * sizeof *out->p);
        out->label[i] = (int8_t)judge->held_out[i].label;
    }
    return true;
}

keel_status keel_judge_write(const keel_judge *judge, const char *path, const keel_named_tensor *tensors,
                             size_t count, keel_err *err) {
    const size_t k = judge->kind->n_classes, n = judge->n_held_out;
    const char *const metadata[] = {"judge", judge->kind->name, "name", judge->name, NULL};
    keel_named_tensor all[KEEL_JUDGE_MOST_TENSORS + 4];
    const float calibration[] = {(float)judge->calibration.slope, (float)judge->calibration.least};
    keel_arena arena = {0};
    columns held_out;
    if (count > KEEL_JUDGE_MOST_TENSORS)
        return keel_fail(err, KEEL_E_INVALID, path, "a judge of %zu tensors", count);
    if (!fill_columns(judge, &arena, &held_out)) return keel_nomem(err, path);
    memcpy(all, tensors, count * sizeof *tensors);
    if (judge->calibrated)
        all[count++] = (keel_named_tensor){"calibration", KEEL_F32, 1, {2}, calibration, sizeof calibration};
    if (n) {
        all[count++] = (keel_named_tensor){"held_out.response",          KEEL_I64, 1, {n}, held_out.response,
                                           n * sizeof *held_out.response};
        all[count++] =
            (keel_named_tensor){"held_out.p", KEEL_F32, 2, {n, k}, held_out.p, n * k * sizeof *held_out.p};
        all[count++] = (keel_named_tensor){"held_out.label", KEEL_I8, 1, {n}, held_out.label, n};
    }
    const keel_status status = keel_safetensors_write(path, all, count, metadata, err);
    keel_arena_free(&arena);
    return status;
}

keel_status keel_judge_save(const keel_judge *judge, const char *path, keel_err *err) {
    return judge->kind->save(judge, path, err);
}

/* ---- reading ---- */

static keel_status read_calibration(keel_judge *judge, const keel_safetensors *file, keel_err *err) {
    float numbers[2];
    if (!keel_safetensors_find(file, "calibration")) return KEEL_OK;
    KEEL_TRY(keel_safetensors_copy(file, "calibration", (const size_t[]){2}, 1, numbers, err));
    if (!(numbers[0] > 0 && numbers[0] < 1e3f && numbers[1] >= 0 && numbers[1] <= 1))
        return keel_fail(err, KEEL_E_INVALID, file->path,
                         "calibration: expected a slope above 0 and a threshold up to 1, got %g and %g",
                         (double)numbers[0], (double)numbers[1]);
    judge->calibrated = true;
    judge->calibration = (keel_judge_calibration){.slope = (double)numbers[0], .least = (double)numbers[1]};
    return KEEL_OK;
}

static bool is_column(const keel_named_tensor *tensor, keel_dtype dtype, size_t n) {
    return tensor && tensor->dtype == dtype && tensor->n_dims == 1 && tensor->shape[0] == n;
}

static bool sound_held_out(const keel_judge_held_out *all, size_t i, size_t k) {
    float sum = 0;
    for (size_t c = 0; c < k; c++) {
        if (!(all[i].p[c] >= 0)) return false;
        sum += all[i].p[c];
    }
    const bool ascends = i == 0 || all[i - 1].response < all[i].response;
    return ascends && fabsf(sum - 1) < 1e-3f && all[i].label >= KEEL_UNJUDGED && all[i].label < (int)k;
}

/* p [n, k] is there. */
static keel_status fill_held_out(keel_judge *judge, const keel_safetensors *file, const float *p, size_t n,
                                 keel_err *err) {
    const size_t k = judge->kind->n_classes;
    const keel_named_tensor *response = keel_safetensors_find(file, "held_out.response"),
                            *label = keel_safetensors_find(file, "held_out.label");
    judge->held_out = keel_calloc(n, sizeof *judge->held_out);
    if (!judge->held_out) return keel_nomem(err, file->path);
    for (size_t i = 0; i < n; i++) {
        keel_judge_held_out *one = &judge->held_out[i];
        int8_t said;
        memcpy(&one->response, (const char *)response->data + i * sizeof one->response, sizeof one->response);
        memcpy(&said, (const char *)label->data + i, 1);
        memcpy(one->p, p + i * k, k * sizeof *p);
        one->label = said;
        if (!sound_held_out(judge->held_out, i, k))
            return keel_fail(err, KEEL_E_INVALID, file->path,
                             "held_out: row %zu is no verdict, or its response is not above that before it",
                             i);
    }
    judge->n_held_out = n;
    return KEEL_OK;
}

static keel_status read_held_out(keel_judge *judge, const keel_safetensors *file, keel_err *err) {
    const keel_named_tensor *response = keel_safetensors_find(file, "held_out.response");
    if (!response) return KEEL_OK;
    const size_t k = judge->kind->n_classes, n = response->n_dims == 1 ? response->shape[0] : 0;
    if (!n || !is_column(response, KEEL_I64, n) ||
        !is_column(keel_safetensors_find(file, "held_out.label"), KEEL_I8, n))
        return keel_fail(err, KEEL_E_INVALID, file->path,
                         "held_out: expected as many responses (I64) as labels (I8)");
    float *p = keel_calloc(n * k, sizeof *p);
    keel_status status = p ? KEEL_OK : keel_nomem(err, file->path);
    if (status == KEEL_OK)
        status = keel_safetensors_copy(file, "held_out.p", (const size_t[]){n, k}, 2, p, err);
    if (status == KEEL_OK) status = fill_held_out(judge, file, p, n, err);
    keel_free(p);
    return status;
}

keel_status keel__judge_read_common(keel_judge *judge, const keel_safetensors *file, keel_err *err) {
    KEEL_TRY(read_calibration(judge, file, err));
    KEEL_TRY(read_held_out(judge, file, err));
    keel__judge_name(judge);
    return KEEL_OK;
}

static keel_status load_kind(keel_judge **out, const keel_safetensors *file, keel_err *err) {
    const char *name = keel_safetensors_metadata(file, "judge");
    keel_judge *judge;
    if (!name) return keel_fail(err, KEEL_E_INVALID, file->path, "no saved judge: its header names no kind");
    const keel_judge_kind *kind = keel_judge_find(name);
    if (!kind) {
        keel_fail(err, KEEL_E_UNSUPPORTED, file->path, "\"%s\" is no kind of judge that this build has",
                  name);
        return keel_hint(err, "fit it anew: keel judge fit (version 0.1 wrote another format)");
    }
    KEEL_TRY(kind->load(&judge, file, err));
    judge->kind = kind;
    const keel_status status = keel__judge_read_common(judge, file, err);
    if (status == KEEL_OK)
        *out = judge;
    else
        keel_judge_free(judge);
    return status;
}

keel_status keel_judge_load(keel_judge **out, const char *path, keel_err *err) {
    keel_safetensors file;
    KEEL_TRY(keel_safetensors_read(path, &file, err));
    const keel_status status = load_kind(out, &file, err);
    keel_safetensors_free(&file);
    return status;
}
