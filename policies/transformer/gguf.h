/* GGUF, version 3 (and 2, which is laid out alike), the container of ggml's models:
 *
 *   "GGUF" | u32 version | i64 tensors | i64 values | values | infos | padding to the alignment | data
 *   value  key, u32 type, what it is; a list: u32 type of its items, u64 count, the items; a text: u64
 *          length, bytes
 *   info   name, u32 dimensions, i64 each, the innermost first, u32 number format, u64 offset in data
 *
 * All little-endian, unaligned. The reader takes hostile files: everything is checked before it is used. */
#ifndef KEEL_POLICIES_TRANSFORMER_GGUF_H
#define KEEL_POLICIES_TRANSFORMER_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"
#include "policies/transformer/blocks.h"

typedef enum keel_gguf_type {
    KEEL_GGUF_U8,
    KEEL_GGUF_I8,
    KEEL_GGUF_U16,
    KEEL_GGUF_I16,
    KEEL_GGUF_U32,
    KEEL_GGUF_I32,
    KEEL_GGUF_F32,
    KEEL_GGUF_BOOL,
    KEEL_GGUF_TEXT,
    KEEL_GGUF_LIST,
    KEEL_GGUF_U64,
    KEEL_GGUF_I64,
    KEEL_GGUF_F64,
    KEEL_N_GGUF_TYPES
} keel_gguf_type;

typedef struct keel_gguf_value {
    const char *key;
    keel_gguf_type type; /* of a list: of its items; never LIST */
    bool list;
    size_t count;      /* items; 1 */
    const char *data;  /* in the file */
    const char **text; /* TEXT: [count], valid UTF-8, NUL-terminated copies */
} keel_gguf_value;

/* As files are written. */
enum { KEEL_GGUF_VERSION = 3, KEEL_GGUF_ALIGNMENT = 32 };
uint32_t keel__gguf_format(keel_block_type type); /* ggml's number of it */

enum { KEEL_GGUF_MOST_DIMS = 4 };
typedef struct keel_gguf_tensor {
    const char *name;
    keel_block_type type;
    size_t n_dims, dims[KEEL_GGUF_MOST_DIMS]; /* the innermost first */
    const void *data;                         /* mapped, aligned as the file says */
    size_t bytes;
} keel_gguf_tensor;

typedef struct keel_gguf {
    const char *path; /* for errors */
    const char *file; /* mapped */
    size_t length;
    size_t n_values, n_tensors;
    keel_gguf_value *values;
    keel_gguf_tensor *tensors; /* in the order of their data */
    keel_arena arena;
} keel_gguf;

/* Maps the file. A number format that Keel does not read is KEEL_E_UNSUPPORTED with its name. Whoever cuts
 * the file while it is open ends the program. */
keel_status keel_gguf_open(keel_gguf *out, const char *path, keel_err *err);
void keel_gguf_close(keel_gguf *gguf);
void keel_gguf_forget(keel_gguf *gguf); /* all but the mapped data of tensors */
bool keel_gguf_is(const char *path);    /* whether the file begins as one */

/* NULL when there is none of that key or name. */
const keel_gguf_value *keel_gguf_find(const keel_gguf *gguf, const char *key);
const keel_gguf_tensor *keel_gguf_tensor_of(const keel_gguf *gguf, const char *name);
/* Typed look-ups. Missing: *out untouched and KEEL_OK unless required. Another type is KEEL_E_PARSE with file
 * and key. A number may have any of the types of numbers; that of an F32 is the double whose shortest digits
 * it has. */
keel_status keel_gguf_text(const keel_gguf *gguf, const char *key, bool required, const char **out,
                           keel_err *err);
keel_status keel_gguf_number(const keel_gguf *gguf, const char *key, bool required, double *out,
                             keel_err *err);
keel_status keel_gguf_bool(const keel_gguf *gguf, const char *key, bool *out, keel_err *err);
/* A list of this type; *out NULL where it is missing. */
keel_status keel_gguf_list(const keel_gguf *gguf, const char *key, keel_gguf_type type, bool required,
                           const keel_gguf_value **out, keel_err *err);
double keel_gguf_shortest(float number); /* 1e-05f is 9.99999974737875e-06, and 1e-05 is meant */
double keel_gguf_item(const keel_gguf_value *value, size_t i); /* of a value or list of numbers */

/* ---- writing ---- */

/* What stands before the data, put together in memory. Zero-initialise to start; out of memory is told at the
 * end. */
typedef struct keel_gguf_head {
    keel_buf values, infos;
    uint64_t n_values, n_tensors, offset;
} keel_gguf_head;
void keel_gguf_put_text(keel_gguf_head *head, const char *key, const char *text);
void keel_gguf_put_u32(keel_gguf_head *head, const char *key, uint32_t number);
void keel_gguf_put_f32(keel_gguf_head *head, const char *key, double number);
void keel_gguf_put_bool(keel_gguf_head *head, const char *key, bool value);
/* A list of count items: KEEL_GGUF_TEXT or KEEL_GGUF_I32, which keel_gguf_add_text and keel_gguf_add_i32 then
 * add. */
void keel_gguf_put_list(keel_gguf_head *head, const char *key, keel_gguf_type type, size_t count);
void keel_gguf_add_text(keel_gguf_head *head, const char *text, size_t length);
void keel_gguf_add_i32(keel_gguf_head *head, int32_t number);
/* A matrix [rows, cols], or a vector [cols] where rows is 0. Its data follow those of the tensor before, and
 * are followed by keel_gguf_padding zeros. */
void keel_gguf_put_tensor(keel_gguf_head *head, const char *name, keel_block_type type, size_t rows,
                          size_t cols);
size_t keel_gguf_padding(uint64_t bytes);
/* All of it, the padding before the data included. */
keel_status keel_gguf_finish(const keel_gguf_head *head, keel_buf *out, keel_err *err);
void keel_gguf_head_free(keel_gguf_head *head);

#endif
