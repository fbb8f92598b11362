#include "policies/transformer/gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/decimal.h"
#include "core/file.h"
#include "core/mapped.h"
#include "core/text.h"

enum { MOST_VALUES = 1 << 16, MOST_TENSORS = 1 << 14, MOST_NAME = 127, LEAST_VERSION = 2 };
static const char magic[4] = {'G', 'G', 'U', 'F'};

static const size_t sizes[KEEL_N_GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 8 /* its length */, 0, 8, 8, 8};

/* ggml's numbers of formats; those that Keel does not read have no type of Keel's. */
static const struct {
    uint32_t number;
    int type; /* keel_block_type, -1: not read */
    const char *name;
} formats[] = {
    {0, KEEL_BLOCK_F32, "F32"},
    {1, KEEL_BLOCK_F16, "F16"},
    {2, KEEL_BLOCK_Q4_0, "Q4_0"},
    {3, KEEL_BLOCK_Q4_1, "Q4_1"},
    {6, -1, "Q5_0"},
    {7, -1, "Q5_1"},
    {8, KEEL_BLOCK_Q8_0, "Q8_0"},
    {9, -1, "Q8_1"},
    {10, -1, "Q2_K"},
    {11, -1, "Q3_K"},
    {12, -1, "Q4_K"},
    {13, -1, "Q5_K"},
    {14, -1, "Q6_K"},
    {15, -1, "Q8_K"},
    {16, -1, "IQ2_XXS"},
    {17, -1, "IQ2_XS"},
    {18, -1, "IQ3_XXS"},
    {19, -1, "IQ1_S"},
    {20, -1, "IQ4_NL"},
    {21, -1, "IQ3_S"},
    {22, -1, "IQ2_S"},
    {23, -1, "IQ4_XS"},
    {24, -1, "I8"},
    {25, -1, "I16"},
    {26, -1, "I32"},
    {27, -1, "I64"},
    {28, -1, "F64"},
    {29, -1, "IQ1_M"},
    {30, KEEL_BLOCK_BF16, "BF16"},
    {34, -1, "TQ1_0"},
    {35, -1, "TQ2_0"},
    {39, -1, "MXFP4"},
};

uint32_t keel__gguf_format(keel_block_type type) {
    size_t i = 0;
    while (formats[i].type != (int)type) i++;
    return formats[i].number;
}
enum { N_FORMATS = sizeof formats / sizeof *formats };

/* ---- reading: everything is checked before it is used ---- */

/* Where reading stands. */
typedef struct reader {
    keel_gguf *to;
    size_t at;
    size_t alignment;
    keel_err *err;
} reader;

static keel_status fail(const reader *r, const char *what) {
    return keel_fail(r->err, KEEL_E_PARSE, r->to->path, "byte %zu: %s", r->at, what);
}

static keel_status take(reader *r, size_t n, const char **out) {
    if (n > r->to->length - r->at) return fail(r, "the file ends within what it holds");
    *out = r->to->file + r->at;
    r->at += n;
    return KEEL_OK;
}

static keel_status take_copy(reader *r, void *out, size_t n) {
    const char *from = NULL;
    KEEL_TRY(take(r, n, &from));
    memcpy(out, from, n);
    return KEEL_OK;
}

/* A count of things, each of at least `least` bytes, so that no more are promised than the file can hold. */
static keel_status take_count(reader *r, size_t least, uint64_t most, size_t *out) {
    uint64_t count = 0;
    KEEL_TRY(take_copy(r, &count, sizeof count));
    if (count > most || count > (r->to->length - r->at) / least)
        return fail(r, "a count is more than the file holds");
    *out = (size_t)count;
    return KEEL_OK;
}

/* A text as it stands in the file. */
static keel_status take_bytes(reader *r, const char **out, size_t *length) {
    KEEL_TRY(take_count(r, 1, UINT64_MAX, length));
    KEEL_TRY(take(r, *length, out));
    return keel_utf8_valid_prefix(*out, *length) == *length ? KEEL_OK : fail(r, "a text is no UTF-8");
}

static keel_status take_text(reader *r, const char **out) {
    const char *from = NULL;
    size_t length = 0;
    KEEL_TRY(take_bytes(r, &from, &length));
    *out = keel_arena_strndup(&r->to->arena, from, length);
    return *out ? KEEL_OK : keel_nomem(r->err, r->to->path);
}

/* Texts, copied into one piece of memory: a vocabulary has many and short ones. */
static keel_status take_texts(reader *r, keel_gguf_value *value) {
    const size_t start = r->at;
    const char *from = NULL;
    size_t length = 0, total = 0;
    for (size_t i = 0; i < value->count; i++) {
        KEEL_TRY(take_bytes(r, &from, &length));
        total += length + 1; /* the file has 8 bytes more for each */
    }
    char *copy = keel_arena_alloc(&r->to->arena, total);
    value->text = keel_arena_calloc(&r->to->arena, value->count + 1, sizeof *value->text);
    if (!copy || !value->text) return keel_nomem(r->err, r->to->path);
    r->at = start;
    for (size_t i = 0; i < value->count; i++, copy += length + 1) {
        KEEL_TRY(take_bytes(r, &from, &length));
        memcpy(copy, from, length);
        copy[length] = '\0';
        value->text[i] = copy;
    }
    return KEEL_OK;
}

static keel_status take_items(reader *r, keel_gguf_value *value) {
    size_t bytes;
    value->data = r->to->file + r->at;
    if (value->type == KEEL_GGUF_TEXT) return take_texts(r, value);
    if (!keel_size_mul(value->count, sizes[value->type], &bytes)) return fail(r, "a list is too long");
    return take(r, bytes, &value->data);
}

static keel_status take_type(reader *r, keel_gguf_type *out) {
    uint32_t type = 0;
    KEEL_TRY(take_copy(r, &type, sizeof type));
    if (type >= KEEL_N_GGUF_TYPES) return fail(r, "a value has an unknown type");
    *out = (keel_gguf_type)type;
    return KEEL_OK;
}

static keel_status take_value(reader *r, keel_gguf_value *value) {
    KEEL_TRY(take_text(r, &value->key));
    KEEL_TRY(take_type(r, &value->type));
    value->list = value->type == KEEL_GGUF_LIST;
    value->count = 1;
    if (value->list) {
        KEEL_TRY(take_type(r, &value->type));
        if (value->type == KEEL_GGUF_LIST) return fail(r, "a list of lists is not read");
        KEEL_TRY(take_count(r, sizes[value->type], UINT64_MAX, &value->count));
    }
    return take_items(r, value);
}

static keel_status read_format(const reader *r, uint32_t number, keel_gguf_tensor *out) {
    size_t k = 0;
    while (k < N_FORMATS && formats[k].number != number) k++;
    if (k < N_FORMATS && formats[k].type >= 0) {
        out->type = (keel_block_type)formats[k].type;
        return KEEL_OK;
    }
    if (k < N_FORMATS)
        keel_fail(r->err, KEEL_E_UNSUPPORTED, r->to->path,
                  "tensor \"%s\": expected F32, F16, BF16, Q8_0, Q4_0 or Q4_1, got %s", out->name,
                  formats[k].name);
    else
        keel_fail(r->err, KEEL_E_UNSUPPORTED, r->to->path, "tensor \"%s\": unknown number format %u",
                  out->name, (unsigned)number);
    return keel_hint(r->err, "llama-quantize makes Q8_0 or F16 of it");
}

static keel_status take_info(reader *r, keel_gguf_tensor *tensor, uint64_t *offset) {
    uint32_t n_dims = 0, format = 0;
    size_t rows = 1;
    KEEL_TRY(take_text(r, &tensor->name));
    if (strlen(tensor->name) > MOST_NAME) return fail(r, "a tensor's name is too long");
    KEEL_TRY(take_copy(r, &n_dims, sizeof n_dims));
    if (n_dims < 1 || n_dims > KEEL_GGUF_MOST_DIMS)
        return fail(r, "a tensor has no dimension, or more than 4");
    tensor->n_dims = n_dims;
    for (size_t i = 0; i < n_dims; i++) {
        uint64_t dim = 0;
        KEEL_TRY(take_copy(r, &dim, sizeof dim));
        if (dim < 1 || dim > INT64_MAX) return fail(r, "a tensor's dimension is below 1");
        tensor->dims[i] = (size_t)dim;
        if (i > 0 && !keel_size_mul(rows, tensor->dims[i], &rows)) return fail(r, "a tensor is too large");
    }
    KEEL_TRY(take_copy(r, &format, sizeof format));
    KEEL_TRY(take_copy(r, offset, sizeof *offset));
    KEEL_TRY(read_format(r, format, tensor));
    if (tensor->dims[0] % keel_block_cols(tensor->type) != 0)
        return keel_fail(r->err, KEEL_E_PARSE, r->to->path,
                         "tensor \"%s\": rows of %zu are no whole blocks of %s", tensor->name,
                         tensor->dims[0], keel_block_name(tensor->type));
    if (tensor->dims[0] > SIZE_MAX / 8 ||
        !keel_size_mul(rows, keel_block_row_bytes(tensor->type, tensor->dims[0]), &tensor->bytes))
        return fail(r, "a tensor is too large");
    return KEEL_OK;
}

static int by_key(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names that stand twice. */
static keel_status check_names(const reader *r, const char **names, size_t n) {
    if (n) qsort(names, n, sizeof *names, by_key);
    for (size_t i = 1; i < n; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return keel_fail(r->err, KEEL_E_PARSE, r->to->path, "\"%s\" stands twice", names[i]);
    return KEEL_OK;
}

static keel_status read_values(reader *r) {
    keel_gguf *to = r->to;
    double alignment = KEEL_GGUF_ALIGNMENT;
    const char **names = keel_arena_calloc(&to->arena, to->n_values + 1, sizeof *names);
    to->values = keel_arena_calloc(&to->arena, to->n_values + 1, sizeof *to->values);
    if (!names || !to->values) return keel_nomem(r->err, to->path);
    for (size_t i = 0; i < to->n_values; i++) {
        KEEL_TRY(take_value(r, &to->values[i]));
        names[i] = to->values[i].key;
    }
    KEEL_TRY(check_names(r, names, to->n_values));
    KEEL_TRY(keel_gguf_number(to, "general.alignment", false, &alignment, r->err));
    r->alignment = alignment >= 1 && alignment <= 1 << 20 ? (size_t)alignment : 0;
    if ((double)r->alignment != alignment || (r->alignment & (r->alignment - 1)) != 0)
        return keel_fail(r->err, KEEL_E_PARSE, to->path, "general.alignment: expected a power of two, got %g",
                         alignment);
    return KEEL_OK;
}

static keel_status read_infos(reader *r) {
    keel_gguf *to = r->to;
    const char **names = keel_arena_calloc(&to->arena, to->n_tensors + 1, sizeof *names);
    uint64_t *offset = keel_arena_calloc(&to->arena, to->n_tensors + 1, sizeof *offset), next = 0;
    to->tensors = keel_arena_calloc(&to->arena, to->n_tensors + 1, sizeof *to->tensors);
    if (!names || !offset || !to->tensors) return keel_nomem(r->err, to->path);
    for (size_t i = 0; i < to->n_tensors; i++) {
        KEEL_TRY(take_info(r, &to->tensors[i], &offset[i]));
        names[i] = to->tensors[i].name;
    }
    KEEL_TRY(check_names(r, names, to->n_tensors));
    const size_t start = (r->at + r->alignment - 1) / r->alignment * r->alignment,
                 room = start < to->length ? to->length - start : 0;
    for (size_t i = 0; i < to->n_tensors; i++) {
        keel_gguf_tensor *tensor = &to->tensors[i];
        if (offset[i] != next || next > room || tensor->bytes > room - next)
            return keel_fail(r->err, KEEL_E_PARSE, to->path,
                             "tensor \"%s\": %zu bytes at %llu: expected them at %llu of %zu bytes of data",
                             tensor->name, tensor->bytes, (unsigned long long)offset[i],
                             (unsigned long long)next, room);
        tensor->data = to->file + start + offset[i];
        next += (tensor->bytes + r->alignment - 1) / r->alignment * r->alignment;
    }
    return KEEL_OK;
}

static keel_status read_file(reader *r) {
    const char *first = NULL;
    uint32_t version = 0;
    KEEL_TRY(take(r, sizeof magic, &first));
    if (memcmp(first, magic, sizeof magic) != 0)
        return keel_fail(r->err, KEEL_E_PARSE, r->to->path, "it begins with no \"GGUF\"");
    KEEL_TRY(take_copy(r, &version, sizeof version));
    if (version < LEAST_VERSION || version > KEEL_GGUF_VERSION)
        return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->to->path, "GGUF version: expected %d or %d, got %u",
                         LEAST_VERSION, KEEL_GGUF_VERSION, (unsigned)version);
    KEEL_TRY(take_count(r, 1, MOST_TENSORS, &r->to->n_tensors));
    KEEL_TRY(take_count(r, 1, MOST_VALUES, &r->to->n_values));
    KEEL_TRY(read_values(r));
    return read_infos(r);
}

bool keel_gguf_is(const char *path) {
    char first[sizeof magic] = {0};
    int fd = -1;
    if (keel_file_open(path, &fd, NULL) != KEEL_OK) return false;
    const bool is =
        read(fd, first, sizeof first) == (ssize_t)sizeof first && memcmp(first, magic, sizeof magic) == 0;
    close(fd);
    return is;
}

keel_status keel_gguf_open(keel_gguf *out, const char *path, keel_err *err) {
    keel_gguf made = {0};
    reader r = {.to = &made, .alignment = KEEL_GGUF_ALIGNMENT, .err = err};
    made.path = keel_arena_strdup(&made.arena, path);
    void *file = NULL;
    keel_status status = made.path ? keel_mapped_open(path, &file, &made.length, err) : keel_nomem(err, path);
    made.file = file;
    if (status == KEEL_OK) status = read_file(&r);
    if (status == KEEL_OK)
        *out = made;
    else
        keel_gguf_close(&made);
    return status;
}

void keel_gguf_forget(keel_gguf *gguf) {
    keel_arena_free(&gguf->arena);
    *gguf = (keel_gguf){.file = gguf->file, .length = gguf->length};
}

void keel_gguf_close(keel_gguf *gguf) {
    keel_gguf_forget(gguf);
    keel_mapped_close((void *)(uintptr_t)gguf->file, gguf->length);
    *gguf = (keel_gguf){0};
}

/* ---- looking up ---- */

const keel_gguf_value *keel_gguf_find(const keel_gguf *gguf, const char *key) {
    for (size_t i = 0; i < gguf->n_values; i++)
        if (strcmp(gguf->values[i].key, key) == 0) return &gguf->values[i];
    return NULL;
}

const keel_gguf_tensor *keel_gguf_tensor_of(const keel_gguf *gguf, const char *name) {
    for (size_t i = 0; i < gguf->n_tensors; i++)
        if (strcmp(gguf->tensors[i].name, name) == 0) return &gguf->tensors[i];
    return NULL;
}

static keel_status missing(const keel_gguf *gguf, const char *key, bool required, keel_err *err) {
    return required ? keel_fail(err, KEEL_E_PARSE, gguf->path, "%s: missing", key) : KEEL_OK;
}

static keel_status wrong_type(const keel_gguf *gguf, const char *key, const char *expected, keel_err *err) {
    return keel_fail(err, KEEL_E_PARSE, gguf->path, "%s: expected %s", key, expected);
}

keel_status keel_gguf_text(const keel_gguf *gguf, const char *key, bool required, const char **out,
                           keel_err *err) {
    const keel_gguf_value *value = keel_gguf_find(gguf, key);
    if (!value) return missing(gguf, key, required, err);
    if (value->list || value->type != KEEL_GGUF_TEXT) return wrong_type(gguf, key, "a text", err);
    *out = value->text[0];
    return KEEL_OK;
}

double keel_gguf_shortest(float number) {
    char text[32];
    if (!isfinite(number)) return (double)number;
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)number);
        for (char *c = text; *c; c++)
            if (*c == ',') *c = '.';
        if ((float)keel_decimal_read(text, NULL) == number) break;
    }
    return keel_decimal_read(text, NULL);
}

double keel_gguf_item(const keel_gguf_value *value, size_t i) {
    const char *at = value->data + i * sizes[value->type];
#define NUMBER(name, type)                                                                                   \
    case name: {                                                                                             \
        type number;                                                                                         \
        memcpy(&number, at, sizeof number);                                                                  \
        return (double)number;                                                                               \
    }
    switch (value->type) {
        NUMBER(KEEL_GGUF_U8, uint8_t)
        NUMBER(KEEL_GGUF_BOOL, uint8_t)
        NUMBER(KEEL_GGUF_I8, int8_t)
        NUMBER(KEEL_GGUF_U16, uint16_t)
        NUMBER(KEEL_GGUF_I16, int16_t)
        NUMBER(KEEL_GGUF_U32, uint32_t)
        NUMBER(KEEL_GGUF_I32, int32_t)
        NUMBER(KEEL_GGUF_U64, uint64_t)
        NUMBER(KEEL_GGUF_I64, int64_t)
        NUMBER(KEEL_GGUF_F64, double)
    case KEEL_GGUF_F32: {
        float number;
        memcpy(&number, at, sizeof number);
        return keel_gguf_shortest(number);
    }
    default:
        return NAN;
    }
#undef NUMBER
}

keel_status keel_gguf_number(const keel_gguf *gguf, const char *key, bool required, double *out,
                             keel_err *err) {
    const keel_gguf_value *value = keel_gguf_find(gguf, key);
    if (!value) return missing(gguf, key, required, err);
    if (value->list || value->type == KEEL_GGUF_TEXT || value->type == KEEL_GGUF_BOOL)
        return wrong_type(gguf, key, "a number", err);
    *out = keel_gguf_item(value, 0);
    return KEEL_OK;
}

keel_status keel_gguf_bool(const keel_gguf *gguf, const char *key, bool *out, keel_err *err) {
    const keel_gguf_value *value = keel_gguf_find(gguf, key);
    if (!value) return KEEL_OK;
    if (value->list || value->type != KEEL_GGUF_BOOL) return wrong_type(gguf, key, "true or false", err);
    *out = *value->data != 0;
    return KEEL_OK;
}

keel_status keel_gguf_list(const keel_gguf *gguf, const char *key, keel_gguf_type type, bool required,
                           const keel_gguf_value **out, keel_err *err) {
    const keel_gguf_value *value = keel_gguf_find(gguf, key);
    *out = NULL;
    if (!value) return missing(gguf, key, required, err);
    if (!value->list || value->type != type)
        return wrong_type(gguf, key, type == KEEL_GGUF_TEXT ? "a list of texts" : "a list of numbers", err);
    *out = value;
    return KEEL_OK;
}
