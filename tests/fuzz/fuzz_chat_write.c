/* Reading, writing and reading again a conversation of the chat format: it is the same for a store, and its
 * second text is the first. Input: one JSON object. */
#include "datasets/chat.h"
#include "datasets/store.h"
#include "store_walk.h"

static void check_same(keel_conversation *one, keel_conversation *other) {
    keel_store *store = NULL;
    keel_added added = KEEL_ADDED_NEW;
    FUZZ_CHECK(fuzz_empty_store(&store, fuzz_path("store.db"), &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(keel_store_begin(store, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(!one->meta == !other->meta);
    other->meta =
        one->meta; /* the same, but for the order of entries that have no place among the messages */
    /* The name of a split is checked by the store. */
    if (fuzz_ok(keel_store_add_conversation(store, one, false, "one", NULL, &fuzz_err))) {
        FUZZ_CHECK(keel_store_add_conversation(store, other, false, "other", &added, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(added == KEEL_ADDED_NOTHING);
    }
    keel_store_rollback(store);
    keel_store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_arena arena = {0};
    keel_conversation one, other;
    keel_buf first = {0}, second = {0};
    char *text = fuzz_text(data, size);
    (void)fuzz_folder();
    if (fuzz_ok(keel_chat_read(text, size, "input", &arena, &one, &fuzz_err))) {
        FUZZ_CHECK(keel_chat_write(&one, &first, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(keel_chat_read(first.data, first.length, "first", &arena, &other, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(keel_chat_write(&other, &second, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(first.length == second.length && memcmp(first.data, second.data, first.length) == 0);
        check_same(&one, &other);
    }
    keel_buf_free(&first);
    keel_buf_free(&second);
    keel_arena_free(&arena);
    free(text);
    return 0;
}
