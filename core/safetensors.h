/* safetensors: u64 little-endian header length N, N bytes of JSON, then the data (row-major, little-endian,
 * offsets relative to the data start, no holes, no overlap). The reader takes hostile files: everything is
 * checked before it is used. Written files have the header padded so that data starts 8-aligned, tensors
 * sorted by type (widest first, so that each is aligned) and then by name, and __metadata__ {"format": "pt"}
 * among the metadata. */
#ifndef KEEL_CORE_SAFETENSORS_H
#define KEEL_CORE_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/status.h"

typedef enum keel_dtype { KEEL_F32, KEEL_F16, KEEL_BF16, KEEL_I64, KEEL_I32, KEEL_I8, KEEL_U8 } keel_dtype;
enum { KEEL_MAX_DIMS = 4 };

typedef struct keel_named_tensor {
    const char *name;
    keel_dtype dtype;
    size_t n_dims;
    size_t shape[KEEL_MAX_DIMS];
    const void *data; /* writer: aligned source; reader: may be unaligned, copy before use */
    size_t bytes;
} keel_named_tensor;

/* Of numbers in memory: [rows, cols], or [rows] where cols is 0. */
keel_named_tensor keel_named_tensor_of(const char *name, keel_dtype dtype, size_t rows, size_t cols,
                                       const void *data);

typedef struct keel_safetensors {
    keel_buf file; /* owns everything the tensors point to, but the names */
    keel_arena names;
    size_t mapped;    /* bytes of the file that are mapped, not read; 0: none */
    const char *path; /* for errors; among the names */
    size_t count;
    keel_named_tensor *tensors; /* in file order */
    const char **metadata;      /* pairs key, value, ..., NULL-terminated; among the names */
} keel_safetensors;

keel_status keel_safetensors_read(const char *path, keel_safetensors *out, keel_err *err);
/* The same, with the file's data left on disk until they are looked at: for large models. Whoever cuts the
 * file while it is open ends the program, so copy what is needed and free it. */
keel_status keel_safetensors_map(const char *path, keel_safetensors *out, keel_err *err);
/* The same of bytes in memory, which are copied; the name is for errors. */
keel_status keel_safetensors_read_bytes(const void *bytes, size_t length, const char *name,
                                        keel_safetensors *out, keel_err *err);
/* NULL when there is none of that name. */
const keel_named_tensor *keel_safetensors_find(const keel_safetensors *file, const char *name);
/* The value of a key of the metadata; NULL when there is none. */
const char *keel_safetensors_metadata(const keel_safetensors *file, const char *key);
/* False when an F32 tensor holds a number that is not finite. */
bool keel_safetensors_finite(const keel_named_tensor *tensor);
/* KEEL_OK for a tensor of exactly this shape in F32, F16 or BF16; any difference is KEEL_E_INVALID naming
 * file and tensor. */
keel_status keel_safetensors_check(const keel_safetensors *file, const char *name, const size_t *shape,
                                   size_t n_dims, keel_err *err);
/* Copies such a tensor, of finite numbers, into out, F16 and BF16 made wider. */
keel_status keel_safetensors_copy(const keel_safetensors *file, const char *name, const size_t *shape,
                                  size_t n_dims, float *out, keel_err *err);
/* Copies the tensor of exactly this name, type and shape, of finite numbers, to where `to` points: data of a
 * writer's tensor, which are read into here. Else KEEL_E_INVALID. */
keel_status keel_safetensors_take(const keel_safetensors *file, const keel_named_tensor *to, keel_err *err);
void keel_safetensors_free(keel_safetensors *file);

/* Atomic. metadata: pairs key, value, ..., NULL-terminated, or NULL. Data of more tensors than fit in memory
 * come from `more`, which is called for each tensor whose data are NULL and adds its bytes to the file. */
typedef keel_status keel_safetensors_more(void *context, const keel_named_tensor *tensor,
                                          keel_file_writer *to, keel_err *err);
keel_status keel_safetensors_stream(const char *path, const keel_named_tensor *tensors, size_t count,
                                    const char *const *metadata, keel_safetensors_more *more, void *context,
                                    keel_err *err);
keel_status keel_safetensors_write(const char *path, const keel_named_tensor *tensors, size_t count,
                                   const char *const *metadata, keel_err *err);

#endif
