/* GGUF: what stands before the data. */
#include <string.h>

#include "policies/transformer/gguf.h"

static void put_u32(keel_buf *to, uint32_t number) {
    keel_buf_append(to, &number, sizeof number);
}

static void put_u64(keel_buf *to, uint64_t number) {
    keel_buf_append(to, &number, sizeof number);
}

static void put_bytes(keel_buf *to, const char *text, size_t length) {
    put_u64(to, length);
    keel_buf_append(to, text, length);
}

static void put_key(keel_gguf_head *head, const char *key, keel_gguf_type type) {
    head->n_values++;
    put_bytes(&head->values, key, strlen(key));
    put_u32(&head->values, type);
}

void keel_gguf_put_text(keel_gguf_head *head, const char *key, const char *text) {
    put_key(head, key, KEEL_GGUF_TEXT);
    put_bytes(&head->values, text, strlen(text));
}

void keel_gguf_put_u32(keel_gguf_head *head, const char *key, uint32_t number) {
    put_key(head, key, KEEL_GGUF_U32);
    put_u32(&head->values, number);
}

void keel_gguf_put_f32(keel_gguf_head *head, const char *key, double number) {
    const float value = (float)number;
    put_key(head, key, KEEL_GGUF_F32);
    keel_buf_append(&head->values, &value, sizeof value);
}

void keel_gguf_put_bool(keel_gguf_head *head, const char *key, bool value) {
    const char byte = value;
    put_key(head, key, KEEL_GGUF_BOOL);
    keel_buf_append(&head->values, &byte, 1);
}

void keel_gguf_put_list(keel_gguf_head *head, const char *key, keel_gguf_type type, size_t count) {
    put_key(head, key, KEEL_GGUF_LIST);
    put_u32(&head->values, type);
    put_u64(&head->values, count);
}

void keel_gguf_add_text(keel_gguf_head *head, const char *text, size_t length) {
    put_bytes(&head->values, text, length);
}

void keel_gguf_add_i32(keel_gguf_head *head, int32_t number) {
    keel_buf_append(&head->values, &number, sizeof number);
}

size_t keel_gguf_padding(uint64_t bytes) {
    return (KEEL_GGUF_ALIGNMENT - bytes % KEEL_GGUF_ALIGNMENT) % KEEL_GGUF_ALIGNMENT;
}

void keel_gguf_put_tensor(keel_gguf_head *head, const char *name, keel_block_type type, size_t rows,
                          size_t cols) {
    const uint64_t bytes = (uint64_t)(rows ? rows : 1) * keel_block_row_bytes(type, cols);
    keel_buf *to = &head->infos;
    head->n_tensors++;
    put_bytes(to, name, strlen(name));
    put_u32(to, rows ? 2 : 1);
    put_u64(to, cols);
    if (rows) put_u64(to, rows);
    put_u32(to, keel__gguf_format(type));
    put_u64(to, head->offset);
    head->offset += bytes + keel_gguf_padding(bytes);
}

keel_status keel_gguf_finish(const keel_gguf_head *head, keel_buf *out, keel_err *err) {
    static const char zeros[KEEL_GGUF_ALIGNMENT];
    keel_buf_append(out, "GGUF", 4);
    put_u32(out, KEEL_GGUF_VERSION);
    put_u64(out, head->n_tensors);
    put_u64(out, head->n_values);
    keel_buf_append(out, head->values.data, head->values.length);
    keel_buf_append(out, head->infos.data, head->infos.length);
    keel_buf_append(out, zeros, keel_gguf_padding(out->length));
    return out->failed || head->values.failed || head->infos.failed ? keel_nomem(err, "gguf") : KEEL_OK;
}

void keel_gguf_head_free(keel_gguf_head *head) {
    keel_buf_free(&head->values);
    keel_buf_free(&head->infos);
    *head = (keel_gguf_head){0};
}
