#include "policies/tokens/bpe_train.h"

#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/json.h"
#include "core/text.h"
#include "policies/tokens/byte_level.h"
#include "policies/tokens/gguf_pre.h"
#include "policies/tokens/normalizer.h"
#include "policies/tokens/pre_tokenizer.h"
#include "policies/tokens/vocabulary.h"

/* A distinct word: bytes while texts are read, ids of tokens while pairs are merged. */
typedef struct word {
    uint64_t hash, count;
    const char *text;
    int32_t *id; /* [n] */
    uint32_t n;
} word;

typedef struct pair_count {
    uint64_t pair; /* left id above, right id below */
    int64_t count;
    bool used;
} pair_count;

/* A pair that waits, with the words that it was met in. */
typedef struct waiting {
    uint64_t pair;
    int64_t count;
    const uint32_t *in; /* [n] */
    size_t n;
} waiting;

/* A pair that a merge made, in a word. */
typedef struct fresh {
    uint64_t pair;
    uint32_t in;
} fresh;

struct keel_bpe_train {
    keel_bpe_training how;
    const keel_gguf_pre *pre;
    keel__normalizer normalizer;
    keel__pre_tokenizer pre_tokenizer;
    keel__pattern *patterns;
    word *words;
    size_t n_words, room_words;
    uint32_t *slot; /* [slots] one more than the index of a word; 0: free */
    size_t slots;
    pair_count *pairs; /* [pair_slots], open addressing */
    size_t n_pairs, pair_slots;
    waiting *heap;
    size_t n_heap, room_heap;
    fresh *made;
    size_t n_made, room_made;
    const char **token; /* [size] in GPT-2's alphabet */
    size_t n_tokens;
    int32_t byte[256];
    uint64_t *merge; /* [n_merges] */
    size_t n_merges, room_merges;
    keel_arena arena;
};

enum { LARGEST = 1 << 20, ALPHABET = 256 };

/* ---- words ---- */

static keel_status grow_slots(keel_bpe_train *t, keel_err *err) {
    const size_t slots = t->slots ? 2 * t->slots : 1 << 16;
    uint32_t *slot = keel_calloc(slots, sizeof *slot);
    if (!slot) return keel_nomem(err, "bpe");
    for (size_t i = 0; i < t->n_words; i++) {
        size_t at = (size_t)t->words[i].hash & (slots - 1);
        while (slot[at]) at = (at + 1) & (slots - 1);
        slot[at] = (uint32_t)i + 1;
    }
    keel_free(t->slot);
    t->slot = slot;
    t->slots = slots;
    return KEEL_OK;
}

typedef struct adding {
    keel_bpe_train *train;
    keel_err *err;
} adding;

/* One more of a word. */
static keel_status count_word(void *context, const char *text, size_t length) {
    const adding *on = context;
    keel_bpe_train *t = on->train;
    const uint64_t hash = keel_hash64(text, length, 0);
    if (2 * (t->n_words + 1) > t->slots) KEEL_TRY(grow_slots(t, on->err));
    size_t at = (size_t)hash & (t->slots - 1);
    for (; t->slot[at]; at = (at + 1) & (t->slots - 1)) {
        word *there = &t->words[t->slot[at] - 1];
        if (there->hash == hash && there->n == length && memcmp(there->text, text, length) == 0)
            return there->count++, KEEL_OK;
    }
    if (length >= UINT32_MAX / 2 || t->n_words >= UINT32_MAX - 1)
        return keel_fail(on->err, KEEL_E_INVALID, "bpe", "too many words, or one that is too long");
    if (!keel_grow(&t->words, t->n_words + 1, &t->room_words, sizeof *t->words))
        return keel_nomem(on->err, "bpe");
    const char *kept = keel_arena_strndup(&t->arena, text, length);
    if (!kept) return keel_nomem(on->err, "bpe");
    t->words[t->n_words++] = (word){.hash = hash, .count = 1, .text = kept, .n = (uint32_t)length};
    t->slot[at] = (uint32_t)t->n_words;
    return KEEL_OK;
}

static keel_status read_component(const keel__reader *r, const char *json, keel_bpe_train *t,
                                  keel_status (*read)(const keel__reader *r, const cJSON *json,
                                                      keel_bpe_train *t)) {
    keel_arena arena = {0};
    const cJSON *parsed;
    keel_status status = keel_json_parse_in(&arena, json, strlen(json), r->name, &parsed, r->err);
    if (status == KEEL_OK) status = read(r, parsed, t);
    keel_arena_free(&arena);
    return status;
}

static keel_status read_normalizer(const keel__reader *r, const cJSON *json, keel_bpe_train *t) {
    return keel__normalizer_read(r, json, &t->normalizer);
}

static keel_status read_pre_tokenizer(const keel__reader *r, const cJSON *json, keel_bpe_train *t) {
    return keel__pre_tokenizer_read(r, json, &t->pre_tokenizer);
}

static keel_status check(const keel_bpe_training *how, keel_err *err) {
    if (how->size < ALPHABET + how->n_special || how->size > LARGEST)
        return keel_fail(err, KEEL_E_INVALID, "bpe", "size: expected %zu to %d, got %zu",
                         ALPHABET + how->n_special, LARGEST, how->size);
    for (size_t i = 0; i < how->n_special; i++)
        for (size_t k = 0; k <= i; k++)
            if (!*how->special[i] || (k < i && strcmp(how->special[i], how->special[k]) == 0))
                return keel_fail(err, KEEL_E_INVALID, "bpe",
                                 "special tokens: \"%s\" stands twice, or is empty", how->special[i]);
    return KEEL_OK;
}

static keel_status set_up(keel_bpe_train *t, const keel_bpe_training *how, keel_err *err) {
    const keel__reader r = {"bpe", &t->arena, NULL, &t->patterns, err};
    const char *pre = how->pre ? how->pre : "gpt-2";
    t->how = *how;
    t->pre = keel_gguf_pre_find(pre);
    if (!t->pre)
        return keel_fail(err, KEEL_E_INVALID, "bpe", "\"%s\": expected one of %s", pre,
                         keel_gguf_pre_names());
    KEEL_TRY(read_component(&r, t->pre->normalizer, t, read_normalizer));
    KEEL_TRY(read_component(&r, t->pre->pre_tokenizer, t, read_pre_tokenizer));
    const char **special = keel_arena_alloc(&t->arena, (how->n_special + 1) * sizeof *special);
    t->token = keel_arena_alloc(&t->arena, how->size * sizeof *t->token);
    if (!special || !t->token) return keel_nomem(err, "bpe");
    for (size_t i = 0; i < how->n_special; i++)
        if (!(special[i] = keel_arena_strdup(&t->arena, how->special[i]))) return keel_nomem(err, "bpe");
    t->how.special = special;
    return KEEL_OK;
}

keel_status keel_bpe_train_open(keel_bpe_train **out, const keel_bpe_training *how, keel_err *err) {
    KEEL_TRY(check(how, err));
    keel_bpe_train *t = keel_calloc(1, sizeof *t);
    if (!t) return keel_nomem(err, "bpe");
    keel_status status = set_up(t, how, err);
    if (status == KEEL_OK)
        *out = t;
    else
        keel_bpe_train_close(t);
    return status;
}

void keel_bpe_train_close(keel_bpe_train *t) {
    if (!t) return;
    keel__pattern_close(t->patterns);
    keel_free(t->words);
    keel_free(t->slot);
    keel_free(t->pairs);
    keel_free(t->heap);
    keel_free(t->made);
    keel_free(t->merge);
    keel_arena_free(&t->arena);
    keel_free(t);
}

keel_status keel_bpe_train_add(keel_bpe_train *t, const char *text, keel_err *err) {
    keel_arena scratch = {0};
    keel__matching matching = {.arena = &scratch, .err = err};
    adding on = {t, err};
    size_t length = strlen(text);
    if (keel_utf8_valid_prefix(text, length) != length)
        return keel_fail(err, KEEL_E_INVALID, "bpe", "the text is not UTF-8");
    keel_status status = keel__normalizer_run(&t->normalizer, &matching, &text, &length);
    if (status == KEEL_OK)
        status = keel__pre_tokenizer_run(&t->pre_tokenizer, &matching, (keel__piece){text, length, true},
                                         count_word, &on);
    keel_arena_free(&scratch);
    return status;
}

/* ---- pairs ---- */

static uint64_t pair_of(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static pair_count *slot_of(pair_count *pairs, size_t slots, uint64_t pair) {
    size_t at = (size_t)(pair * 0x9E3779B97F4A7C15u >> 20) & (slots - 1);
    while (pairs[at].used && pairs[at].pair != pair) at = (at + 1) & (slots - 1);
    return &pairs[at];
}

static keel_status grow_pairs(keel_bpe_train *t, keel_err *err) {
    const size_t slots = t->pair_slots ? 2 * t->pair_slots : 1 << 16;
    pair_count *pairs = keel_calloc(slots, sizeof *pairs);
    if (!pairs) return keel_nomem(err, "bpe");
    for (size_t i = 0; i < t->pair_slots; i++)
        if (t->pairs[i].used) *slot_of(pairs, slots, t->pairs[i].pair) = t->pairs[i];
    keel_free(t->pairs);
    t->pairs = pairs;
    t->pair_slots = slots;
    return KEEL_OK;
}

static keel_status count_pair(keel_bpe_train *t, uint64_t pair, int64_t by, keel_err *err) {
    if (2 * (t->n_pairs + 1) > t->pair_slots) KEEL_TRY(grow_pairs(t, err));
    pair_count *slot = slot_of(t->pairs, t->pair_slots, pair);
    t->n_pairs += !slot->used;
    *slot = (pair_count){pair, slot->count + by, true};
    return KEEL_OK;
}

static keel_status note(keel_bpe_train *t, uint64_t pair, size_t in, keel_err *err) {
    if (!keel_grow(&t->made, t->n_made + 1, &t->room_made, sizeof *t->made)) return keel_nomem(err, "bpe");
    t->made[t->n_made++] = (fresh){pair, (uint32_t)in};
    return KEEL_OK;
}

/* ---- the queue ---- */

static bool before(const waiting *a, const waiting *b) {
    return a->count != b->count ? a->count > b->count : a->pair < b->pair;
}

static keel_status push(keel_bpe_train *t, waiting one, keel_err *err) {
    if (!keel_grow(&t->heap, t->n_heap + 1, &t->room_heap, sizeof *t->heap)) return keel_nomem(err, "bpe");
    size_t at = t->n_heap++;
    for (; at > 0 && before(&one, &t->heap[(at - 1) / 2]); at = (at - 1) / 2)
        t->heap[at] = t->heap[(at - 1) / 2];
    t->heap[at] = one;
    return KEEL_OK;
}

/* Puts one in the place of the first, which goes. */
static void replace_first(keel_bpe_train *t, waiting one) {
    size_t at = 0;
    for (size_t child = 1; child < t->n_heap; child = 2 * at + 1) {
        if (child + 1 < t->n_heap && before(&t->heap[child + 1], &t->heap[child])) child++;
        if (!before(&t->heap[child], &one)) break;
        t->heap[at] = t->heap[child];
        at = child;
    }
    t->heap[at] = one;
}

static waiting pop(keel_bpe_train *t) {
    const waiting first = t->heap[0], last = t->heap[--t->n_heap];
    if (t->n_heap) replace_first(t, last);
    return first;
}

static int by_pair(const void *a, const void *b) {
    const fresh *x = a, *y = b;
    if (x->pair != y->pair) return x->pair < y->pair ? -1 : 1;
    return x->in < y->in ? -1 : x->in > y->in;
}

/* Pairs that were noted wait, each with its words. */
static keel_status queue_made(keel_bpe_train *t, keel_err *err) {
    if (t->n_made) qsort(t->made, t->n_made, sizeof *t->made, by_pair);
    for (size_t i = 0, end; i < t->n_made; i = end) {
        const uint64_t pair = t->made[i].pair;
        for (end = i; end < t->n_made && t->made[end].pair == pair;) end++;
        const int64_t count = slot_of(t->pairs, t->pair_slots, pair)->count;
        uint32_t *in = keel_arena_alloc(&t->arena, (end - i) * sizeof *in);
        size_t n = 0;
        if (!in) return keel_nomem(err, "bpe");
        for (size_t k = i; k < end; k++)
            if (k == i || t->made[k].in != t->made[k - 1].in) in[n++] = t->made[k].in;
        if (count > 0) KEEL_TRY(push(t, (waiting){pair, count, in, n}, err));
    }
    t->n_made = 0;
    return KEEL_OK;
}

/* ---- merging ---- */

static keel_status start(keel_bpe_train *t, keel_err *err) {
    char text[3];
    for (size_t i = 0; i < t->how.n_special; i++) t->token[t->n_tokens++] = t->how.special[i];
    for (int itself = 1; itself >= 0; itself--) /* in the order of their code points */
        for (int byte = 0; byte < ALPHABET; byte++) {
            const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
            if (printable != (itself == 1)) continue;
            t->byte[byte] = (int32_t)t->n_tokens;
            keel__byte_level_put((unsigned char)byte, text);
            if (!(t->token[t->n_tokens++] = keel_arena_strdup(&t->arena, text)))
                return keel_nomem(err, "bpe");
        }
    for (size_t i = 0; i < t->n_words; i++) {
        word *w = &t->words[i];
        w->id = keel_arena_alloc(&t->arena, w->n * sizeof *w->id);
        if (!w->id) return keel_nomem(err, "bpe");
        for (uint32_t k = 0; k < w->n; k++) w->id[k] = t->byte[(unsigned char)w->text[k]];
        for (uint32_t k = 0; k + 1 < w->n; k++) {
            KEEL_TRY(count_pair(t, pair_of(w->id[k], w->id[k + 1]), (int64_t)w->count, err));
            KEEL_TRY(note(t, pair_of(w->id[k], w->id[k + 1]), i, err));
        }
    }
    return queue_made(t, err);
}

/* What a merge changes beside it: the old pair has one less, the new one more. */
static keel_status change(keel_bpe_train *t, size_t in, uint64_t old, uint64_t new, keel_err *err) {
    const int64_t count = (int64_t)t->words[in].count;
    KEEL_TRY(count_pair(t, old, -count, err));
    KEEL_TRY(count_pair(t, new, count, err));
    return note(t, new, in, err);
}

static keel_status merge_in(keel_bpe_train *t, size_t in, int32_t left, int32_t right, int32_t both,
                            keel_err *err) {
    word *w = &t->words[in];
    uint32_t to = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->id[i] != left || i + 1 == w->n || w->id[i + 1] != right) {
            w->id[to++] = w->id[i];
            continue;
        }
        if (to > 0) KEEL_TRY(change(t, in, pair_of(w->id[to - 1], left), pair_of(w->id[to - 1], both), err));
        if (i + 2 < w->n)
            KEEL_TRY(change(t, in, pair_of(right, w->id[i + 2]), pair_of(both, w->id[i + 2]), err));
        w->id[to++] = both;
        i++;
    }
    w->n = to;
    return KEEL_OK;
}

/* The id of a token that may have been made of another pair already. */
static keel_status token_of(keel_bpe_train *t, uint64_t pair, keel__vocabulary *vocabulary, int32_t *out,
                            keel_err *err) {
    const char *left = t->token[pair >> 32], *right = t->token[pair & UINT32_MAX];
    *out = keel__vocabulary_find_two(vocabulary, left, right);
    if (*out >= 0) return KEEL_OK;
    const size_t n_left = strlen(left), n_right = strlen(right);
    char *both = keel_arena_alloc(&t->arena, n_left + n_right + 1);
    if (!both) return keel_nomem(err, "bpe");
    memcpy(both, left, n_left);
    memcpy(both + n_left, right, n_right + 1);
    *out = (int32_t)t->n_tokens;
    t->token[t->n_tokens++] = both;
    keel__vocabulary_add(vocabulary, both, *out);
    return KEEL_OK;
}

static keel_status merge_next(keel_bpe_train *t, waiting next, keel__vocabulary *vocabulary, keel_err *err) {
    int32_t both;
    KEEL_TRY(token_of(t, next.pair, vocabulary, &both, err));
    if (!keel_grow(&t->merge, t->n_merges + 1, &t->room_merges, sizeof *t->merge))
        return keel_nomem(err, "bpe");
    t->merge[t->n_merges++] = next.pair;
    for (size_t i = 0; i < next.n; i++)
        KEEL_TRY(merge_in(t, next.in[i], (int32_t)(next.pair >> 32), (int32_t)(next.pair & UINT32_MAX), both,
                          err));
    return queue_made(t, err);
}

static keel_status train(keel_bpe_train *t, keel_err *err) {
    keel__vocabulary vocabulary;
    KEEL_TRY(start(t, err));
    KEEL_TRY(keel__vocabulary_room(&vocabulary, t->how.size, &t->arena, err));
    for (size_t i = 0; i < t->n_tokens; i++)
        if (!keel__vocabulary_add(&vocabulary, t->token[i], (int32_t)i))
            return keel_fail(err, KEEL_E_INVALID, "bpe", "special tokens: \"%s\" is a byte's name",
                             t->token[i]);
    while (t->n_tokens < t->how.size && t->n_heap > 0) {
        const int64_t count = slot_of(t->pairs, t->pair_slots, t->heap[0].pair)->count;
        if (t->heap[0].count != count) { /* fewer by now, since its parts were merged with others */
            waiting again = t->heap[0];
            again.count = count;
            replace_first(t, again);
            continue;
        }
        if (count < 1 || (uint64_t)count < t->how.least) break;
        KEEL_TRY(merge_next(t, pop(t), &vocabulary, err));
    }
    return KEEL_OK;
}

/* ---- tokenizer.json ---- */

static void put_vocabulary(const keel_bpe_train *t, keel_buf *json) {
    keel_buf_text(json, "\"vocab\":{");
    for (size_t i = 0; i < t->n_tokens; i++) {
        if (i) keel_buf_text(json, ",");
        keel_json_put_string(json, t->token[i]);
        keel_buf_format(json, ":%zu", i);
    }
    keel_buf_text(json, "}");
}

/* Of merges that were made twice, the last one stands, as in the library. */
static keel_status put_merges(keel_bpe_train *t, keel_buf *json, keel_err *err) {
    keel_free(t->pairs);
    t->pairs = NULL;
    t->pair_slots = t->n_pairs = 0;
    for (size_t i = 0; i < t->n_merges; i++) KEEL_TRY(count_pair(t, t->merge[i], 1, err));
    keel_buf_text(json, "\"merges\":[");
    bool first = true;
    for (size_t i = 0; i < t->n_merges; i++) {
        if (slot_of(t->pairs, t->pair_slots, t->merge[i])->count-- > 1) continue;
        keel_buf_text(json, first ? "[" : ",[");
        keel_json_put_string(json, t->token[t->merge[i] >> 32]);
        keel_buf_text(json, ",");
        keel_json_put_string(json, t->token[t->merge[i] & UINT32_MAX]);
        keel_buf_text(json, "]");
        first = false;
    }
    keel_buf_text(json, "]");
    return KEEL_OK;
}

keel_status keel_bpe_train_write(keel_bpe_train *t, keel_buf *json, keel_err *err) {
    KEEL_TRY(train(t, err));
    keel_buf_text(json, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    for (size_t i = 0; i < t->how.n_special; i++) {
        keel_buf_format(json, "%s{\"id\":%zu,\"content\":", i ? "," : "", i);
        keel_json_put_string(json, t->how.special[i]);
        keel_buf_text(json, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
                            "\"special\":true}");
    }
    keel_buf_format(json, "],\"normalizer\":%s,\"pre_tokenizer\":%s,\"post_processor\":null,",
                    t->pre->normalizer, t->pre->pre_tokenizer);
    keel_buf_text(json, "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
                        "\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
                        "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,"
                        "\"byte_fallback\":false,");
    keel_buf_format(json, "\"ignore_merges\":%s,", t->pre->ignore_merges ? "true" : "false");
    put_vocabulary(t, json);
    keel_buf_text(json, ",");
    KEEL_TRY(put_merges(t, json, err));
    keel_buf_text(json, "}}");
    return json->failed ? keel_nomem(err, "bpe") : KEEL_OK;
}
