#include "policies/tokens/bpe.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "policies/tokens/byte_level.h"
#include "policies/tokens/character.h"

/* ---- merges ---- */

static uint64_t pair_of(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The slot of a pair, or the free one where it would be. */
static keel__bpe_merge *slot_of(const keel__bpe *model, uint64_t pair) {
    const size_t mask = model->slots - 1;
    size_t at = (size_t)(pair * 0x9E3779B97F4A7C15u >> 20) & mask;
    while (model->merge[at].id >= 0 && model->merge[at].pair != pair) at = (at + 1) & mask;
    return &model->merge[at];
}

static keel_status refuse_merge(const keel__reader *r, size_t rank, const char *why) {
    return keel_fail(r->err, KEEL_E_PARSE, r->name, "model.merges[%zu]: %s", rank, why);
}

/* "a b", or ["a", "b"]; *cut: room for the first. */
static keel_status read_pair(const keel__reader *r, const cJSON *item, size_t rank, keel_buf *cut,
                             const char *part[2]) {
    const cJSON *first = cJSON_GetArrayItem(item, 0), *second = cJSON_GetArrayItem(item, 1);
    if (cJSON_IsString(item)) {
        const char *space = strchr(item->valuestring, ' ');
        if (!space || strchr(space + 1, ' '))
            return refuse_merge(r, rank, "expected two tokens with a blank between");
        keel_buf_clear(cut);
        keel_buf_append(cut, item->valuestring, (size_t)(space - item->valuestring));
        if (cut->failed) return keel_nomem(r->err, r->name);
        part[0] = cut->data ? cut->data : "";
        part[1] = space + 1;
        return KEEL_OK;
    }
    if (!cJSON_IsString(first) || !cJSON_IsString(second) || cJSON_GetArraySize(item) != 2)
        return refuse_merge(r, rank, "expected two tokens");
    part[0] = first->valuestring;
    part[1] = second->valuestring;
    return KEEL_OK;
}

static keel_status read_merge(const keel__reader *r, const cJSON *item, size_t rank, keel_buf *cut,
                              keel__bpe *to) {
    const char *part[2] = {"", ""};
    KEEL_TRY(read_pair(r, item, rank, cut, part));
    const int32_t left = keel__vocabulary_find(to->vocabulary, part[0]),
                  right = keel__vocabulary_find(to->vocabulary, part[1]),
                  both = keel__vocabulary_find_two(to->vocabulary, part[0], part[1]);
    if (left < 0 || right < 0 || both < 0)
        return refuse_merge(r, rank, "a token or what they become is not in the vocabulary");
    keel__bpe_merge *slot = slot_of(to, pair_of(left, right));
    *slot = (keel__bpe_merge){pair_of(left, right), (uint32_t)rank, both};
    return KEEL_OK;
}

static keel_status read_merges(const keel__reader *r, const cJSON *list, keel__bpe *to) {
    const cJSON *item;
    keel_buf cut = {0};
    size_t rank = 0;
    keel_status status = KEEL_OK;
    for (to->slots = 16; to->slots < 2 * (size_t)cJSON_GetArraySize(list);) to->slots *= 2;
    to->merge = keel_arena_alloc(r->arena, to->slots * sizeof *to->merge);
    if (!to->merge) return keel_nomem(r->err, r->name);
    for (size_t i = 0; i < to->slots; i++) to->merge[i].id = -1;
    cJSON_ArrayForEach (item, list) {
        status = read_merge(r, item, rank++, &cut, to);
        if (status != KEEL_OK) break;
    }
    keel_buf_free(&cut);
    return status;
}

/* ---- the rest of the model ---- */

static void find_alphabet(keel__bpe *to) {
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        keel__byte_level_put((unsigned char)byte, text);
        to->symbol[byte] = keel__vocabulary_find(to->vocabulary, text);
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
        to->fallback[byte] = keel__vocabulary_find(to->vocabulary, text);
    }
}

static keel_status refuse_marks(const keel__reader *r, const cJSON *model) {
    static const char *const keys[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    double dropout = 0;
    for (int i = 0; i < 2; i++) {
        const char *mark = "";
        KEEL_TRY(keel_json_string(model, keys[i], false, &mark, r->name, r->err));
        if (*mark) return keel__component_refuse(r, "model", keys[i], "none");
    }
    KEEL_TRY(keel_json_number(model, "dropout", false, &dropout, r->name, r->err));
    return dropout == 0 ? KEEL_OK : keel__component_refuse(r, "model", "dropout", "none");
}

/* A word and its tokens, 64 bytes with the state. */
enum { WORDS = 1 << 15, LONGEST_WORD = 34, MOST_WORD_TOKENS = 6, TRIES = 2 };
typedef struct keel__bpe_word {
    _Atomic unsigned char state; /* 0: free; 1: being written; 2: there */
    unsigned char length, count;
    char text[LONGEST_WORD];
    int32_t id[MOST_WORD_TOKENS];
} keel__bpe_word;

keel_status keel__bpe_read(const keel__reader *r, const cJSON *model, bool bytes, keel__bpe *to) {
    const cJSON *merges = NULL;
    const char *unknown = NULL;
    *to = (keel__bpe){.vocabulary = r->vocabulary, .bytes = bytes, .unknown = -1};
    KEEL_TRY(refuse_marks(r, model));
    KEEL_TRY(keel_json_bool(model, "ignore_merges", false, &to->ignore_merges, r->name, r->err));
    KEEL_TRY(keel_json_bool(model, "byte_fallback", false, &to->byte_fallback, r->name, r->err));
    KEEL_TRY(keel_json_bool(model, "fuse_unk", false, &to->fuse_unknown, r->name, r->err));
    KEEL_TRY(keel_json_string(model, "unk_token", false, &unknown, r->name, r->err));
    if (unknown) to->unknown = keel__vocabulary_find(r->vocabulary, unknown);
    if (unknown && to->unknown < 0)
        return keel_fail(r->err, KEEL_E_PARSE, r->name, "model.unk_token \"%s\" is not in the vocabulary",
                         unknown);
    KEEL_TRY(keel_json_array(model, "merges", true, &merges, r->name, r->err));
    KEEL_TRY(read_merges(r, merges, to));
    to->words = keel_arena_calloc(r->arena, WORDS, sizeof *to->words);
    if (!to->words) return keel_nomem(r->err, r->name);
    find_alphabet(to);
    return KEEL_OK;
}

/* ---- encoding ---- */

typedef struct symbol {
    int32_t id;             /* -1: merged into one before */
    int32_t previous, next; /* -1: none */
} symbol;

typedef struct candidate {
    uint32_t rank;
    int32_t at, id; /* the left one, and what the two become */
} candidate;

typedef struct word {
    symbol *symbol;
    size_t n;
    candidate *heap;
    size_t n_heap;
} word;

static bool before(const candidate *a, const candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void push(word *w, candidate one) {
    size_t at = w->n_heap++;
    for (; at > 0 && before(&one, &w->heap[(at - 1) / 2]); at = (at - 1) / 2)
        w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = one;
}

static candidate pop(word *w) {
    const candidate top = w->heap[0], last = w->heap[--w->n_heap];
    size_t at = 0;
    for (size_t child = 1; child < w->n_heap; child = 2 * at + 1) {
        if (child + 1 < w->n_heap && before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!before(&w->heap[child], &last)) break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return top;
}

/* Two neighbours that can merge wait for their turn. */
static void consider(const keel__bpe *model, word *w, int32_t left) {
    const int32_t right = left < 0 ? -1 : w->symbol[left].next;
    if (right < 0) return;
    const keel__bpe_merge *merge = slot_of(model, pair_of(w->symbol[left].id, w->symbol[right].id));
    if (merge->id >= 0) push(w, (candidate){merge->rank, left, merge->id});
}

/* Each merge pushes at most two, and there are fewer merges than symbols: the heap never holds more than 3 n.
 */
static void merge_all(const keel__bpe *model, word *w) {
    for (size_t i = 0; i + 1 < w->n; i++) consider(model, w, (int32_t)i);
    while (w->n_heap > 0) {
        const candidate top = pop(w);
        symbol *left = &w->symbol[top.at];
        if (left->id < 0 || left->next < 0) continue;
        symbol *right = &w->symbol[left->next];
        if (slot_of(model, pair_of(left->id, right->id))->id != top.id) continue; /* they are others by now */
        left->id = top.id;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0) w->symbol[left->next].previous = top.at;
        consider(model, w, left->previous);
        consider(model, w, top.at);
    }
}

static void put_symbol(word *w, int32_t id) {
    w->symbol[w->n++].id = id;
}

/* A symbol, or an unknown one, which waits for others that may join it. */
static void put_known(const keel__bpe *model, word *w, int32_t id, bool *pending) {
    if (*pending && (id >= 0 || !model->fuse_unknown)) put_symbol(w, model->unknown);
    *pending = id < 0 && model->unknown >= 0;
    if (id >= 0) put_symbol(w, id);
}

/* Code points as symbols: each a token, or the tokens of its bytes, or unknown. */
static void split_characters(const keel__bpe *model, const char *piece, size_t length, word *w) {
    bool pending = false;
    for (size_t at = 0, used; at < length; at += used) {
        keel__character_at(piece, length, at, &used);
        const int32_t id = keel__vocabulary_find_bytes(model->vocabulary, piece + at, used);
        bool fallback = id < 0 && model->byte_fallback;
        for (size_t i = 0; i < used; i++)
            fallback = fallback && model->fallback[(unsigned char)piece[at + i]] >= 0;
        for (size_t i = 0; fallback && i < used; i++)
            put_symbol(w, model->fallback[(unsigned char)piece[at + i]]);
        if (!fallback) put_known(model, w, id, &pending);
    }
    if (pending) put_symbol(w, model->unknown);
}

static void split_bytes(const keel__bpe *model, const char *piece, size_t length, word *w) {
    bool pending = false;
    for (size_t i = 0; i < length; i++) put_known(model, w, model->symbol[(unsigned char)piece[i]], &pending);
    if (pending) put_symbol(w, model->unknown);
}

/* The token that the whole piece is; -1: none. */
static int32_t whole(const keel__bpe *model, const char *piece, size_t length) {
    char text[512], *end = text;
    if (!model->bytes) return keel__vocabulary_find_bytes(model->vocabulary, piece, length);
    if (2 * length + 1 > sizeof text) return -1;
    for (size_t i = 0; i < length; i++) end += keel__byte_level_put((unsigned char)piece[i], end);
    return keel__vocabulary_find_bytes(model->vocabulary, text, (size_t)(end - text));
}

enum { FEW = 64 };

static keel_status encode(const keel__bpe *model, const char *piece, size_t length, keel_arena *scratch,
                          keel__ids *out, keel_err *err) {
    symbol few_symbols[FEW];
    candidate few_candidates[3 * FEW];
    word w = {.symbol = few_symbols, .heap = few_candidates};
    const int32_t id = model->ignore_merges ? whole(model, piece, length) : -1;
    if (id >= 0) return keel__ids_add(out, id) ? KEEL_OK : keel_nomem(err, "tokenizer");
    if (length >= INT32_MAX / 8)
        return keel_fail(err, KEEL_E_INVALID, "tokenizer", "a piece of %zu bytes is too long", length);
    if (length > FEW) {
        w.symbol = keel_arena_alloc(scratch, length * sizeof *w.symbol);
        w.heap = keel_arena_alloc(scratch, 3 * length * sizeof *w.heap);
        if (!w.symbol || !w.heap) return keel_nomem(err, "tokenizer");
    }
    (model->bytes ? split_bytes : split_characters)(model, piece, length, &w);
    for (size_t i = 0; i < w.n; i++) {
        w.symbol[i].previous = (int32_t)i - 1;
        w.symbol[i].next = i + 1 < w.n ? (int32_t)i + 1 : -1;
    }
    merge_all(model, &w);
    for (int32_t i = w.n ? 0 : -1; i >= 0; i = w.symbol[i].next)
        if (!keel__ids_add(out, w.symbol[i].id)) return keel_nomem(err, "tokenizer");
    return KEEL_OK;
}

/* ---- words met before ---- */

static const keel__bpe_word *find_word(const keel__bpe *model, uint64_t hash, const char *piece,
                                       size_t length) {
    for (uint64_t i = 0; i < TRIES; i++) {
        const keel__bpe_word *one = &model->words[(hash + i) % WORDS];
        const unsigned char state = atomic_load_explicit(&one->state, memory_order_acquire);
        if (state == 0) return NULL;
        if (state == 2 && one->length == length && memcmp(one->text, piece, length) == 0) return one;
    }
    return NULL;
}

static void keep_word(const keel__bpe *model, uint64_t hash, const char *piece, size_t length,
                      const int32_t *id, size_t count) {
    for (uint64_t i = 0; i < TRIES && count <= MOST_WORD_TOKENS; i++) {
        keel__bpe_word *one = &model->words[(hash + i) % WORDS];
        unsigned char free_one = 0;
        if (!atomic_compare_exchange_strong(&one->state, &free_one, 1)) continue;
        one->length = (unsigned char)length;
        one->count = (unsigned char)count;
        memcpy(one->text, piece, length);
        if (count) memcpy(one->id, id, count * sizeof *id);
        atomic_store_explicit(&one->state, 2, memory_order_release);
        return;
    }
}

keel_status keel__bpe_encode(const keel__bpe *model, const char *piece, size_t length, keel_arena *scratch,
                             keel__ids *out, keel_err *err) {
    if (length > LONGEST_WORD) return encode(model, piece, length, scratch, out, err);
    const uint64_t hash = keel_hash64(piece, length, 0);
    const keel__bpe_word *met = find_word(model, hash, piece, length);
    for (int i = 0; met && i < met->count; i++)
        if (!keel__ids_add(out, met->id[i])) return keel_nomem(err, "tokenizer");
    if (met) return KEEL_OK;
    const size_t from = out->count;
    KEEL_TRY(encode(model, piece, length, scratch, out, err));
    keep_word(model, hash, piece, length, out->id ? out->id + from : NULL, out->count - from);
    return KEEL_OK;
}
