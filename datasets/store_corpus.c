#include "datasets/store_corpus.h"

#include <stdlib.h>

typedef struct named {
    uint64_t name;
    size_t place;
} named;

typedef struct store_corpus {
    keel_corpus corpus; /* first: what callers see */
    keel_store *store;
    const keel_split *split;
    size_t memory;
    int64_t *ids;             /* [count] row ids, ascending */
    keel_conversation **kept; /* [n_kept] the first of them, in `texts` */
    size_t n_kept;
    keel_arena texts;
    keel_buf id_list, name_list, kept_list; /* int64_t, named, keel_conversation *: while opening */
} store_corpus;

static bool look(void *context, keel_conversation *conversation) {
    store_corpus *made = context;
    const named one = {keel_conversation_name_hash(conversation), made->corpus.count};
    keel_buf_append(&made->id_list, &conversation->id, sizeof conversation->id);
    keel_buf_append(&made->name_list, &one, sizeof one);
    keel_corpus_count(&made->corpus.counts, conversation);
    if (made->corpus.count++ != made->n_kept || made->texts.used >= made->memory) return false;
    keel_buf_append(&made->kept_list, &conversation, sizeof conversation);
    made->n_kept++;
    return true;
}

static int by_name(const void *a, const void *b) {
    const named *x = a, *y = b;
    if (x->name != y->name) return x->name < y->name ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

/* Turns the lists of the first pass into arrays. */
static keel_status take_lists(store_corpus *made, keel_err *err) {
    named *names = (named *)(void *)made->name_list.data;
    size_t n = made->corpus.count, *order = keel_calloc(n, sizeof *order);
    made->corpus.by_name = order;
    if (made->id_list.failed || made->name_list.failed || made->kept_list.failed || !order)
        return keel_fail(err, KEEL_E_NOMEM, made->split->text, "no memory to list %zu conversations", n);
    if (n > 0) qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) order[i] = names[i].place;
    made->ids = (int64_t *)(void *)made->id_list.data;
    made->kept = (keel_conversation **)(void *)made->kept_list.data;
    made->corpus.in_memory = made->texts.used;
    keel_buf_free(&made->name_list);
    return KEEL_OK;
}

static keel_status read_places(keel_corpus *corpus, const size_t *place, size_t n, keel_arena *arena,
                               keel_conversation **out, keel_err *err) {
    store_corpus *made = (store_corpus *)corpus;
    bool held = false;
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < n && status == KEEL_OK; i++) {
        keel_arena_reset(&arena[i]);
        if (place[i] < made->n_kept) {
            out[i] = made->kept[place[i]];
            continue;
        }
        if (!held) KEEL_TRY(keel_store_hold(made->store, &held, err));
        status = keel_store_conversation(made->store, made->ids[place[i]], &arena[i], &out[i], err);
    }
    keel_store_release(made->store, held);
    return status;
}

static keel_status list_acts(keel_corpus *corpus, keel_arena *arena, const char ***acts, size_t *n,
                             keel_err *err) {
    store_corpus *made = (store_corpus *)corpus;
    return keel_store_acts(made->store, made->split, arena, acts, n, err);
}

static void forget(keel_corpus *corpus) {
    store_corpus *made = (store_corpus *)corpus;
    made->n_kept = corpus->in_memory = 0;
    keel_buf_free(&made->kept_list);
    keel_arena_free(&made->texts);
}

keel_status keel_store_corpus_open(keel_corpus **out, keel_store *store, const keel_split *split,
                                   size_t memory, keel_err *err) {
    store_corpus *made = keel_calloc(1, sizeof *made);
    if (!made) return keel_nomem(err, split->text);
    *made = (store_corpus){.store = store, .split = split, .memory = memory};
    made->corpus =
        (keel_corpus){.name = split->text, .read = read_places, .acts = list_acts, .forget = forget};
    keel_status status = keel_store_walk(store, split, &made->texts, look, made, made->corpus.content, err);
    if (status == KEEL_OK) status = take_lists(made, err);
    if (status == KEEL_OK)
        *out = &made->corpus;
    else
        keel_store_corpus_close(&made->corpus);
    return status;
}

void keel_store_corpus_close(keel_corpus *corpus) {
    store_corpus *made = (store_corpus *)corpus;
    if (!made) return;
    forget(corpus);
    keel_free((size_t *)(uintptr_t)corpus->by_name);
    keel_buf_free(&made->name_list);
    keel_buf_free(&made->id_list);
    keel_free(made);
}
