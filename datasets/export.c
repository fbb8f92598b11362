#include "datasets/export.h"

#include "datasets/chat.h"

enum { FLUSH_BYTES = 1 << 18 };

typedef struct exporting {
    keel_export_write *write;
    void *user;
    keel_buf *lines;
    keel_file_writer *to;
    int64_t *count;
} exporting;

static keel_status export_all(keel_cursor *cursor, keel_arena *arena, const exporting *e, keel_err *err) {
    for (;;) {
        keel_conversation *conversation;
        keel_arena_reset(arena);
        KEEL_TRY(keel_cursor_next(cursor, arena, &conversation, err));
        if (!conversation || e->lines->length > FLUSH_BYTES) {
            KEEL_TRY(keel_file_writer_add(e->to, e->lines->data, e->lines->length, err));
            keel_buf_clear(e->lines);
        }
        if (!conversation) return KEEL_OK;
        KEEL_TRY(e->write(e->user, conversation, e->lines, e->count, err));
        if (e->lines->failed) return keel_nomem(err, conversation->external_id);
    }
}

keel_status keel_export(keel_store *store, const keel_split *split, keel_export_write *write, void *user,
                        keel_file_writer *to, int64_t *count, keel_err *err) {
    keel_cursor *cursor;
    keel_arena arena = {0};
    keel_buf lines = {0};
    const exporting e = {write, user, &lines, to, count};
    bool held = false;
    *count = 0;
    KEEL_TRY(keel_cursor_open(&cursor, store, split, KEEL_ORDER_STORED, err));
    keel_status status = keel_store_hold(store, &held, err);
    if (status == KEEL_OK) status = export_all(cursor, &arena, &e, err);
    keel_cursor_close(cursor);
    keel_store_release(store, held);
    keel_buf_free(&lines);
    keel_arena_free(&arena);
    return status;
}

static keel_status write_chat(void *user, const keel_conversation *conversation, keel_buf *lines,
                              int64_t *count, keel_err *err) {
    (void)user;
    KEEL_TRY(keel_chat_write(conversation, lines, err));
    keel_buf_text(lines, "\n");
    ++*count;
    return KEEL_OK;
}

keel_status keel_export_chat(keel_store *store, const keel_split *split, keel_file_writer *to, int64_t *count,
                             keel_err *err) {
    return keel_export(store, split, write_chat, NULL, to, count, err);
}
