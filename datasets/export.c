#include "datasets/export.h"

#include "datasets/chat.h"

enum { FLUSH_BYTES = 1 << 18 };

static keel_status export_all(keel_cursor *cursor, keel_arena *arena, keel_buf *lines, keel_file_writer *to,
                              int64_t *count, keel_err *err) {
    for (;; ++*count) {
        keel_conversation *conversation;
        keel_arena_reset(arena);
        KEEL_TRY(keel_cursor_next(cursor, arena, &conversation, err));
        if (!conversation || lines->length > FLUSH_BYTES) {
            KEEL_TRY(keel_file_writer_add(to, lines->data, lines->length, err));
            keel_buf_clear(lines);
        }
        if (!conversation) return KEEL_OK;
        KEEL_TRY(keel_chat_write(conversation, lines, err));
        keel_buf_text(lines, "\n");
        if (lines->failed) return keel_nomem(err, conversation->external_id);
    }
}

keel_status keel_export_chat(keel_store *store, const keel_split *split, keel_file_writer *to, int64_t *count,
                             keel_err *err) {
    keel_cursor *cursor;
    keel_arena arena = {0};
    keel_buf lines = {0};
    bool held = false;
    *count = 0;
    KEEL_TRY(keel_cursor_open(&cursor, store, split, KEEL_ORDER_STORED, err));
    keel_status status = keel_store_hold(store, &held, err);
    if (status == KEEL_OK) status = export_all(cursor, &arena, &lines, to, count, err);
    keel_cursor_close(cursor);
    keel_store_release(store, held);
    keel_buf_free(&lines);
    keel_arena_free(&arena);
    return status;
}
