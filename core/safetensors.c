#include "core/safetensors.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/half.h"
#include "core/json.h"
#include "core/mapped.h"
#include "core/text.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors data are copied as they are: this needs a little-endian machine"
#endif

enum { LENGTH_BYTES = 8, MAX_HEADER = 100000000 };
static const char *const metadata_key = "__metadata__";

/* In the order in which the reference writer puts types, widest first. */
static const struct {
    keel_dtype dtype;
    size_t size;
    const char *name;
} dtypes[] = {{KEEL_I64, 8, "I64"}, {KEEL_F32, 4, "F32"}, {KEEL_I32, 4, "I32"}, {KEEL_BF16, 2, "BF16"},
              {KEEL_F16, 2, "F16"}, {KEEL_I8, 1, "I8"},   {KEEL_U8, 1, "U8"}};
enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

static const char *const known_dtypes[] = {"BOOL",        "F4",      "F6_E2M3", "F6_E3M2", "F8_E5M2",
                                           "F8_E4M3",     "F8_E8M0", "I16",     "U16",     "F8_E4M3FNUZ",
                                           "F8_E5M2FNUZ", "U32",     "C64",     "F64",     "U64"};

static size_t dtype_row(keel_dtype dtype) {
    size_t row = 0;
    while (row < N_DTYPES && dtypes[row].dtype != dtype) row++;
    return row;
}

/* Bytes of the data of a tensor; false on overflow or an unknown type. */
static bool data_bytes(const keel_named_tensor *tensor, size_t *bytes) {
    size_t row = dtype_row(tensor->dtype);
    if (row == N_DTYPES || tensor->n_dims > KEEL_MAX_DIMS) return false;
    size_t product = dtypes[row].size;
    for (size_t i = 0; i < tensor->n_dims; i++)
        if (!keel_size_mul(product, tensor->shape[i], &product)) return false;
    *bytes = product;
    return true;
}

/* ---- reading: everything is checked before it is used ---- */

/* What is being read: the file's name, the bytes after the header, and where errors go. */
typedef struct reader {
    const char *path;
    const char *data;
    size_t data_length;
    keel_err *err;
} reader;

static keel_status read_whole(const char *path, keel_buf *buf, keel_err *err) {
    struct stat info;
    size_t length = 0;
    ssize_t got = 1;
    int fd = -1;
    KEEL_TRY(keel_file_open(path, &fd, err));
    size_t size = fstat(fd, &info) == 0 ? (size_t)info.st_size : 0;
    char *data = keel_alloc(size + 1);
    while (data && length < size && got > 0) {
        got = read(fd, data + length, size - length);
        if (got > 0)
            length += (size_t)got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    int saved = errno;
    close(fd);
    if (!data) return keel_fail(err, KEEL_E_NOMEM, path, "no memory for the file's %zu bytes", size);
    *buf = (keel_buf){.data = data, .length = length, .capacity = size + 1};
    data[length] = '\0';
    if (got < 0) return errno = saved, keel_file_fail(err, path, "read");
    return KEEL_OK;
}

static keel_status read_dtype(const reader *r, const char *tensor, const char *name, keel_dtype *out) {
    for (size_t i = 0; i < N_DTYPES; i++)
        if (strcmp(dtypes[i].name, name) == 0) return *out = dtypes[i].dtype, KEEL_OK;
    for (size_t i = 0; i < sizeof known_dtypes / sizeof *known_dtypes; i++)
        if (strcmp(known_dtypes[i], name) == 0)
            return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->path,
                             "tensor \"%s\": expected F32, F16, BF16, I64, I32, I8 or U8, got %s", tensor,
                             name);
    return keel_fail(r->err, KEEL_E_PARSE, r->path, "tensor \"%s\": unknown dtype \"%s\"", tensor, name);
}

/* A JSON number that is a size: whole, not negative, exact in a double. */
static bool to_size(const cJSON *item, size_t *out) {
    if (!cJSON_IsNumber(item)) return false;
    double number = item->valuedouble;
    if (!(number >= 0 && number <= 9007199254740992.0)) return false;
    *out = (size_t)number;
    return (double)*out == number;
}

static keel_status read_shape(const reader *r, const cJSON *shape, keel_named_tensor *out) {
    out->n_dims = 0;
    for (const cJSON *item = shape->child; item; item = item->next) {
        if (out->n_dims == KEEL_MAX_DIMS)
            return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->path, "tensor \"%s\": more than %d dimensions",
                             out->name, KEEL_MAX_DIMS);
        if (!to_size(item, &out->shape[out->n_dims++]))
            return keel_fail(r->err, KEEL_E_PARSE, r->path,
                             "tensor \"%s\": shape holds something that is no size", out->name);
    }
    return KEEL_OK;
}

static keel_status read_range(const reader *r, const cJSON *range, keel_named_tensor *out) {
    size_t begin, end, bytes;
    const cJSON *first = range->child, *second = first ? first->next : NULL;
    if (!second || second->next || !to_size(first, &begin) || !to_size(second, &end))
        return keel_fail(r->err, KEEL_E_PARSE, r->path, "tensor \"%s\": data_offsets must be two sizes",
                         out->name);
    if (begin > end || end > r->data_length)
        return keel_fail(r->err, KEEL_E_PARSE, r->path,
                         "tensor \"%s\": data_offsets %zu to %zu are not within %zu bytes", out->name, begin,
                         end, r->data_length);
    if (!data_bytes(out, &bytes) || bytes != end - begin)
        return keel_fail(r->err, KEEL_E_PARSE, r->path,
                         "tensor \"%s\": its shape and dtype do not fill its %zu bytes", out->name,
                         end - begin);
    out->data = r->data + begin;
    out->bytes = bytes;
    return KEEL_OK;
}

static keel_status read_entry(const reader *r, const cJSON *entry, keel_arena *names,
                              keel_named_tensor *out) {
    const char *dtype = NULL;
    const cJSON *shape = NULL, *range = NULL;
    KEEL_TRY(keel_json_string(entry, "dtype", true, &dtype, r->path, r->err));
    KEEL_TRY(keel_json_array(entry, "shape", true, &shape, r->path, r->err));
    KEEL_TRY(keel_json_array(entry, "data_offsets", true, &range, r->path, r->err));
    out->name = keel_arena_strdup(names, entry->string);
    if (!out->name) return keel_fail(r->err, KEEL_E_NOMEM, r->path, "no memory for a tensor's name");
    KEEL_TRY(read_dtype(r, out->name, dtype, &out->dtype));
    KEEL_TRY(read_shape(r, shape, out));
    return read_range(r, range, out);
}

static keel_status read_metadata(const reader *r, const cJSON *metadata, keel_safetensors *out) {
    size_t count = 0;
    if (!cJSON_IsObject(metadata))
        return keel_fail(r->err, KEEL_E_PARSE, r->path, "%s: expected an object", metadata_key);
    for (const cJSON *item = metadata->child; item; item = item->next) count++;
    out->metadata = keel_arena_calloc(&out->names, 2 * count + 1, sizeof *out->metadata);
    if (!out->metadata) return keel_nomem(r->err, r->path);
    count = 0;
    for (const cJSON *item = metadata->child; item; item = item->next, count += 2) {
        if (!cJSON_IsString(item))
            return keel_fail(r->err, KEEL_E_PARSE, r->path, "%s: \"%s\" must be a string", metadata_key,
                             item->string);
        out->metadata[count] = keel_arena_strdup(&out->names, item->string);
        out->metadata[count + 1] = keel_arena_strdup(&out->names, item->valuestring);
        if (!out->metadata[count] || !out->metadata[count + 1]) return keel_nomem(r->err, r->path);
    }
    return KEEL_OK;
}

/* File order; empty tensors share their place with what follows them. */
static int by_place(const void *a, const void *b) {
    const keel_named_tensor *x = a, *y = b;
    const char *x_data = x->data, *y_data = y->data;
    if (x_data != y_data) return x_data < y_data ? -1 : 1;
    if ((x->bytes == 0) != (y->bytes == 0)) return x->bytes == 0 ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Sorted tensors must cover the data from first to last byte without holes or overlaps. */
static keel_status check_cover(const reader *r, const keel_named_tensor *tensors, size_t count) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t begin = (size_t)((const char *)tensors[i].data - r->data);
        if (begin != at)
            return keel_fail(r->err, KEEL_E_PARSE, r->path, "tensor \"%s\": begins at %zu, %s: expected %zu",
                             tensors[i].name, begin, begin > at ? "after a hole" : "inside the one before",
                             at);
        at += tensors[i].bytes;
    }
    if (at != r->data_length)
        return keel_fail(r->err, KEEL_E_PARSE, r->path,
                         "expected %zu bytes of data after the header, got %zu", at, r->data_length);
    return KEEL_OK;
}

static keel_status read_header(const reader *r, const cJSON *header, keel_safetensors *out) {
    size_t count = 0;
    for (const cJSON *entry = header->child; entry; entry = entry->next) count++;
    out->tensors = keel_arena_calloc(&out->names, count + 1, sizeof *out->tensors);
    if (!out->tensors) return keel_fail(r->err, KEEL_E_NOMEM, r->path, "no memory for %zu tensors", count);
    for (const cJSON *entry = header->child; entry; entry = entry->next) {
        if (strcmp(entry->string, metadata_key) == 0)
            KEEL_TRY(read_metadata(r, entry, out));
        else
            KEEL_TRY(read_entry(r, entry, &out->names, &out->tensors[out->count++]));
    }
    if (out->count > 0) qsort(out->tensors, out->count, sizeof *out->tensors, by_place);
    return check_cover(r, out->tensors, out->count);
}

/* Finds the header in the file and parses it. */
static keel_status open_header(const keel_buf *file, const char *path, size_t *length, cJSON **header,
                               keel_err *err) {
    uint64_t stated = 0;
    if (file->length < LENGTH_BYTES)
        return keel_fail(err, KEEL_E_PARSE, path, "expected at least %d bytes, got %zu: no safetensors file",
                         LENGTH_BYTES, file->length);
    memcpy(&stated, file->data, LENGTH_BYTES);
    if (stated > MAX_HEADER || stated > file->length - LENGTH_BYTES)
        return keel_fail(err, KEEL_E_PARSE, path,
                         "a header of %llu bytes does not fit: no safetensors file, or cut off",
                         (unsigned long long)stated);
    const char *text = file->data + LENGTH_BYTES;
    if (stated == 0 || *text != '{')
        return keel_fail(err, KEEL_E_PARSE, path, "expected the header to begin with '{'");
    *length = (size_t)stated;
    return keel_json_parse(text, *length, path, header, err);
}

/* What large-file storage of Git leaves in the place of a file that was not fetched. */
static bool is_pointer(const keel_buf *file) {
    static const char start[] = "version https://git-lfs";
    return file->length >= sizeof start - 1 && memcmp(file->data, start, sizeof start - 1) == 0;
}

static void hint_damage(const keel_buf *file, keel_err *err) {
    if (is_pointer(file))
        keel_hint(err, "it is a pointer of Git LFS: fetch the file itself, as with `git lfs pull`");
    else
        keel_hint(err, "it is damaged, or not all of it arrived: copy or download it again");
}

/* What was read into made->file, if it was. */
static keel_status parse_file(keel_safetensors *made, const char *path, keel_status status,
                              keel_safetensors *out, keel_err *err) {
    cJSON *header = NULL;
    size_t length = 0;
    made->path = keel_arena_strdup(&made->names, path);
    if (status == KEEL_OK && !made->path)
        status = keel_fail(err, KEEL_E_NOMEM, path, "no memory for its name");
    if (status == KEEL_OK) status = open_header(&made->file, path, &length, &header, err);
    if (status == KEEL_OK) {
        size_t start = LENGTH_BYTES + length;
        reader r = {path, made->file.data + start, made->file.length - start, err};
        status = read_header(&r, header, made);
    }
    cJSON_Delete(header);
    if (status == KEEL_E_PARSE) hint_damage(&made->file, err);
    if (status == KEEL_OK)
        *out = *made;
    else
        keel_safetensors_free(made);
    return status;
}

keel_status keel_safetensors_read(const char *path, keel_safetensors *out, keel_err *err) {
    keel_safetensors made = {0};
    const keel_status status = read_whole(path, &made.file, err);
    return parse_file(&made, path, status, out, err);
}

keel_status keel_safetensors_read_bytes(const void *bytes, size_t length, const char *name,
                                        keel_safetensors *out, keel_err *err) {
    keel_safetensors made = {0};
    keel_buf_append(&made.file, bytes, length);
    const keel_status status = made.file.failed ? keel_nomem(err, name) : KEEL_OK;
    return parse_file(&made, name, status, out, err);
}

keel_status keel_safetensors_map(const char *path, keel_safetensors *out, keel_err *err) {
    keel_safetensors made = {0};
    void *data;
    size_t size;
    KEEL_TRY(keel_mapped_open(path, &data, &size, err));
    made.file = (keel_buf){.data = data, .length = size};
    made.mapped = size;
    return parse_file(&made, path, KEEL_OK, out, err);
}

void keel_safetensors_free(keel_safetensors *file) {
    if (file->mapped)
        keel_mapped_close(file->file.data, file->mapped);
    else
        keel_buf_free(&file->file);
    keel_arena_free(&file->names);
    *file = (keel_safetensors){0};
}

const keel_named_tensor *keel_safetensors_find(const keel_safetensors *file, const char *name) {
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
    return NULL;
}

const char *keel_safetensors_metadata(const keel_safetensors *file, const char *key) {
    for (const char **pair = file->metadata; pair && *pair; pair += 2)
        if (strcmp(pair[0], key) == 0) return pair[1];
    return NULL;
}

bool keel_safetensors_finite(const keel_named_tensor *tensor) {
    const char *bytes = tensor->data;
    float number;
    for (size_t i = 0; tensor->dtype == KEEL_F32 && i < tensor->bytes; i += sizeof number) {
        memcpy(&number, bytes + i, sizeof number); /* it may be unaligned */
        if (!isfinite(number)) return false;
    }
    return true;
}

static void put_shape(char *text, size_t size, const size_t *shape, size_t n_dims) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (size_t i = 0; i < n_dims && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%zu", i ? ", " : "", shape[i]);
    if (used < size) snprintf(text + used, size - used, "]");
}

/* Into float; false where a number is not finite. */
static bool widen(const keel_named_tensor *tensor, float *out) {
    const char *bytes = tensor->data;
    const size_t n = tensor->bytes / (tensor->dtype == KEEL_F32 ? sizeof(float) : sizeof(uint16_t));
    bool finite = true;
    if (tensor->dtype == KEEL_F32 && n) memcpy(out, bytes, tensor->bytes);
    for (size_t i = 0; tensor->dtype != KEEL_F32 && i < n; i++) {
        uint16_t half;
        memcpy(&half, bytes + i * sizeof half, sizeof half);
        out[i] = tensor->dtype == KEEL_F16 ? keel_half_to_float(half) : keel_bf16_to_float(half);
    }
    for (size_t i = 0; i < n; i++) finite = finite && isfinite(out[i]);
    return finite;
}

keel_status keel_safetensors_check(const keel_safetensors *file, const char *name, const size_t *shape,
                                   size_t n_dims, keel_err *err) {
    const keel_named_tensor *tensor = keel_safetensors_find(file, name);
    if (!tensor) return keel_fail(err, KEEL_E_INVALID, file->path, "the tensor \"%s\" is missing", name);
    if (tensor->dtype != KEEL_F32 && tensor->dtype != KEEL_F16 && tensor->dtype != KEEL_BF16)
        return keel_fail(err, KEEL_E_INVALID, file->path, "tensor \"%s\": expected F32, F16 or BF16, got %s",
                         name, dtypes[dtype_row(tensor->dtype)].name);
    if (tensor->n_dims != n_dims || (n_dims && memcmp(tensor->shape, shape, n_dims * sizeof *shape) != 0)) {
        char wanted[128], got[128];
        put_shape(wanted, sizeof wanted, shape, n_dims);
        put_shape(got, sizeof got, tensor->shape, tensor->n_dims);
        return keel_fail(err, KEEL_E_INVALID, file->path, "tensor \"%s\": expected shape %s, got %s", name,
                         wanted, got);
    }
    return KEEL_OK;
}

keel_named_tensor keel_named_tensor_of(const char *name, keel_dtype dtype, size_t rows, size_t cols,
                                       const void *data) {
    return (keel_named_tensor){.name = name,
                               .dtype = dtype,
                               .n_dims = cols ? 2 : 1,
                               .shape = {rows, cols},
                               .data = data,
                               .bytes = rows * (cols ? cols : 1) * dtypes[dtype_row(dtype)].size};
}

keel_status keel_safetensors_take(const keel_safetensors *file, const keel_named_tensor *to, keel_err *err) {
    const keel_named_tensor *have = keel_safetensors_find(file, to->name);
    if (!have || have->dtype != to->dtype || have->n_dims != to->n_dims || have->bytes != to->bytes ||
        memcmp(have->shape, to->shape, to->n_dims * sizeof *to->shape) != 0)
        return keel_fail(err, KEEL_E_INVALID, file->path,
                         "tensor \"%s\" is missing or of another type or shape", to->name);
    if (!keel_safetensors_finite(have))
        return keel_fail(err, KEEL_E_INVALID, file->path, "tensor \"%s\" holds numbers that are not finite",
                         to->name);
    if (to->bytes) memcpy((void *)(uintptr_t)to->data, have->data, to->bytes);
    return KEEL_OK;
}

keel_status keel_safetensors_copy(const keel_safetensors *file, const char *name, const size_t *shape,
                                  size_t n_dims, float *out, keel_err *err) {
    KEEL_TRY(keel_safetensors_check(file, name, shape, n_dims, err));
    if (widen(keel_safetensors_find(file, name), out)) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, file->path, "tensor \"%s\" holds numbers that are not finite",
                     name);
}

/* ---- writing ---- */

static int by_type_and_name(const void *a, const void *b) {
    const keel_named_tensor *x = *(const keel_named_tensor *const *)a,
                            *y = *(const keel_named_tensor *const *)b;
    size_t x_row = dtype_row(x->dtype), y_row = dtype_row(y->dtype);
    return x_row != y_row ? (x_row < y_row ? -1 : 1) : strcmp(x->name, y->name);
}

/* Sorted tensors: names are text, unlike each other, and shapes fit their bytes. */
static keel_status check_tensors(const char *path, const keel_named_tensor *const *sorted, size_t count,
                                 keel_err *err) {
    for (size_t i = 0; i < count; i++) {
        const keel_named_tensor *tensor = sorted[i];
        size_t bytes, length = strlen(tensor->name);
        if (keel_utf8_valid_prefix(tensor->name, length) != length || strcmp(tensor->name, metadata_key) == 0)
            return keel_fail(err, KEEL_E_INVALID, path, "a tensor cannot be called \"%s\"", tensor->name);
        if (!data_bytes(tensor, &bytes) || bytes != tensor->bytes)
            return keel_fail(err, KEEL_E_INVALID, path,
                             "tensor \"%s\": its shape and dtype do not fill its %zu bytes", tensor->name,
                             tensor->bytes);
    }
    return KEEL_OK;
}

static void put_entry(keel_buf *header, const keel_named_tensor *tensor, size_t begin) {
    keel_json_put_string(header, tensor->name);
    keel_buf_format(header, ":{\"dtype\":\"%s\",\"shape\":[", dtypes[dtype_row(tensor->dtype)].name);
    for (size_t i = 0; i < tensor->n_dims; i++)
        keel_buf_format(header, "%s%zu", i ? "," : "", tensor->shape[i]);
    keel_buf_format(header, "],\"data_offsets\":[%zu,%zu]}", begin, begin + tensor->bytes);
}

/* Length and header, padded with spaces so that the data start 8-aligned. Loaders of the ecosystem want a
 * format. */
static void put_header(keel_buf *header, const keel_named_tensor *const *sorted, size_t count,
                       const char *const *metadata) {
    bool has_format = false;
    size_t begin = 0;
    keel_buf_append(header, "\0\0\0\0\0\0\0\0", LENGTH_BYTES);
    keel_buf_format(header, "{\"%s\":{", metadata_key);
    for (size_t i = 0; metadata && metadata[i]; i += 2) {
        has_format = has_format || strcmp(metadata[i], "format") == 0;
        if (i > 0) keel_buf_text(header, ",");
        keel_json_put_string(header, metadata[i]);
        keel_buf_text(header, ":");
        keel_json_put_string(header, metadata[i + 1]);
    }
    if (!has_format) keel_buf_format(header, "%s\"format\":\"pt\"", metadata && metadata[0] ? "," : "");
    keel_buf_text(header, "}");
    for (size_t i = 0; i < count; i++) {
        keel_buf_text(header, ",");
        put_entry(header, sorted[i], begin);
        begin += sorted[i]->bytes;
    }
    keel_buf_text(header, "}");
    while (!header->failed && header->length % 8 != 0) keel_buf_text(header, " ");
    uint64_t length = header->length - LENGTH_BYTES;
    if (!header->failed) memcpy(header->data, &length, sizeof length);
}

/* What was written must be what the reader takes: also finds names and metadata keys that stand twice. */
static keel_status check_header(const char *path, const keel_buf *header, keel_err *err) {
    cJSON *parsed = NULL;
    keel_status status =
        keel_json_parse(header->data + LENGTH_BYTES, header->length - LENGTH_BYTES, path, &parsed, err);
    cJSON_Delete(parsed);
    if (status == KEEL_E_PARSE && err) err->code = KEEL_E_INVALID;
    return status == KEEL_E_PARSE ? KEEL_E_INVALID : status;
}

/* Header and data into an open file. */
static keel_status write_file(keel_file_writer *to, const keel_buf *header,
                              const keel_named_tensor *const *sorted, size_t count,
                              keel_safetensors_more *more, void *context, keel_err *err) {
    KEEL_TRY(keel_file_writer_add(to, header->data, header->length, err));
    for (size_t i = 0; i < count; i++)
        KEEL_TRY(sorted[i]->data || !more ? keel_file_writer_add(to, sorted[i]->data, sorted[i]->bytes, err)
                                          : more(context, sorted[i], to, err));
    return KEEL_OK;
}

keel_status keel_safetensors_stream(const char *path, const keel_named_tensor *tensors, size_t count,
                                    const char *const *metadata, keel_safetensors_more *more, void *context,
                                    keel_err *err) {
    keel_buf header = {0};
    keel_file_writer *to = NULL;
    keel_status status = KEEL_OK;
    const keel_named_tensor **sorted = keel_calloc(count + 1, sizeof *sorted);
    if (!sorted) return keel_fail(err, KEEL_E_NOMEM, path, "no memory to write %zu tensors", count);
    for (size_t i = 0; i < count; i++) sorted[i] = &tensors[i];
    qsort(sorted, count, sizeof *sorted, by_type_and_name);
    KEEL_TRY_GOTO(check_tensors(path, sorted, count, err), done);
    put_header(&header, sorted, count, metadata);
    if (header.failed) {
        status = keel_fail(err, KEEL_E_NOMEM, path, "no memory for the header");
        goto done;
    }
    KEEL_TRY_GOTO(check_header(path, &header, err), done);
    KEEL_TRY_GOTO(keel_file_writer_open(&to, path, false, err), done);
    status = write_file(to, &header, sorted, count, more, context, err);
    if (status == KEEL_OK)
        status = keel_file_writer_commit(to, err);
    else
        keel_file_writer_abandon(to);
done:
    keel_buf_free(&header);
    keel_free(sorted);
    return status;
}

keel_status keel_safetensors_write(const char *path, const keel_named_tensor *tensors, size_t count,
                                   const char *const *metadata, keel_err *err) {
    return keel_safetensors_stream(path, tensors, count, metadata, NULL, NULL, err);
}
