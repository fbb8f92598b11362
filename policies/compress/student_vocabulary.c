#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "policies/compress/sample.h"
#include "policies/compress/student_internal.h"

/* ---- which tokens stay ---- */

typedef struct ranked {
    int32_t id;
    size_t rank; /* what stays first has the least: marks, then characters, then tokens by their number */
    size_t seen;
} ranked;

static int by_rank(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    if (x->seen != y->seen) return x->seen > y->seen ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static int by_id(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* One ASCII letter or digit, also in the middle of a word ("##a"): words of other pieces are spelt with
 * them. */
static bool is_character(const char *text) {
    if (strncmp(text, "##", 2) == 0 && text[2]) text += 2;
    return text[0] && !text[1];
}

/* Never unmade: marks in brackets that a file or the model names. */
static bool is_mark(const keel_tokenizer *tokenizer, int32_t id, const char *text) {
    return keel_tokenizer_special(tokenizer, id) || strcmp(text, "[UNK]") == 0 || strcmp(text, "[PAD]") == 0;
}

static keel_status rank_tokens(const keel_bert *bert, const keel_sample *sample, keel_arena *arena,
                               ranked **out, size_t *n, keel_err *err) {
    const size_t vocab = bert->config.vocab;
    size_t *seen = keel_arena_calloc(arena, vocab, sizeof *seen);
    ranked *all = keel_arena_calloc(arena, vocab, sizeof *all);
    if (!seen || !all) return keel_nomem(err, "student");
    for (int32_t i = 0; i < sample->offsets[sample->n]; i++) seen[sample->id[i]]++;
    *n = 0;
    for (size_t id = 0; id < vocab; id++) {
        const char *text = keel_tokenizer_token(bert->tokenizer, (int32_t)id);
        if (!text) continue;
        const size_t rank = is_mark(bert->tokenizer, (int32_t)id, text) ? 0 : is_character(text) ? 1 : 2;
        if (rank < 2 || seen[id] > 0) all[(*n)++] = (ranked){(int32_t)id, rank, seen[id]};
    }
    qsort(all, *n, sizeof *all, by_rank);
    *out = all;
    return KEEL_OK;
}

keel_status keel__student_tokens(const keel_bert *bert, const keel_compress_job *job, keel_arena *arena,
                                 int32_t **out, size_t *n, keel_err *err) {
    const size_t wanted = (size_t)job->config->student_vocabulary;
    keel_sample sample;
    ranked *all = NULL;
    KEEL_TRY(keel_sample_bert(bert, job, arena, &sample, err));
    KEEL_TRY(rank_tokens(bert, &sample, arena, &all, n, err));
    if (*n > 0 && wanted < *n && all[wanted].rank < 2)
        return keel_fail(err, KEEL_E_INVALID, "student_vocabulary",
                         "%zu: expected more, so that marks and characters stay", wanted);
    *n = wanted < *n ? wanted : *n;
    *out = keel_arena_calloc(arena, *n + 1, sizeof **out);
    if (!*out) return keel_nomem(err, "student");
    for (size_t i = 0; i < *n; i++) (*out)[i] = all[i].id;
    qsort(*out, *n, sizeof **out, by_id);
    return KEEL_OK;
}

/* ---- tokenizer.json ---- */

typedef struct rewriting {
    const int32_t *token; /* [n] rising */
    size_t n;
} rewriting;

/* The new number of an old id, or -1. */
static int32_t place_of(const rewriting *w, double id) {
    const int32_t key = id >= 0 && id <= INT32_MAX ? (int32_t)id : -1;
    const int32_t *found = bsearch(&key, w->token, w->n, sizeof key, by_id);
    return found ? (int32_t)(found - w->token) : -1;
}

/* {"the": 1996, ...} */
static void renumber_vocabulary(const rewriting *w, cJSON *vocabulary) {
    cJSON *next;
    for (cJSON *item = vocabulary ? vocabulary->child : NULL; item; item = next) {
        const int32_t place = place_of(w, item->valuedouble);
        next = item->next;
        if (place >= 0)
            cJSON_SetNumberValue(item, place);
        else
            cJSON_Delete(cJSON_DetachItemViaPointer(vocabulary, item));
    }
}

/* Ids of added tokens, of the post-processor ("ids" lists beside texts) and of padding, wherever they stand.
 */
static void renumber(const rewriting *w, cJSON *json) {
    for (cJSON *item = json->child; item; item = item->next) {
        const char *key = item->string ? item->string : "";
        if (cJSON_IsNumber(item) && (strcmp(key, "id") == 0 || strcmp(key, "pad_id") == 0))
            cJSON_SetNumberValue(item, place_of(w, item->valuedouble));
        cJSON *inner;
        if (cJSON_IsArray(item) && strcmp(key, "ids") == 0)
            cJSON_ArrayForEach (inner, item) cJSON_SetNumberValue(inner, place_of(w, inner->valuedouble));
        if (strcmp(key, "vocab") != 0 && (cJSON_IsObject(item) || cJSON_IsArray(item))) renumber(w, item);
    }
}

/* Added tokens that do not stay are left out. */
static void drop_added(const rewriting *w, cJSON *added) {
    cJSON *next;
    for (cJSON *item = added ? added->child : NULL; item; item = next) {
        const cJSON *id = cJSON_GetObjectItemCaseSensitive(item, "id");
        next = item->next;
        if (!cJSON_IsNumber(id) || place_of(w, id->valuedouble) < 0)
            cJSON_Delete(cJSON_DetachItemViaPointer(added, item));
    }
}

/* BertProcessing has pairs ["[SEP]", 102]. */
static void renumber_pair(const rewriting *w, const cJSON *post, const char *key) {
    cJSON *pair = cJSON_GetObjectItemCaseSensitive(post, key),
          *id = pair ? cJSON_GetArrayItem(pair, 1) : NULL;
    if (cJSON_IsNumber(id)) cJSON_SetNumberValue(id, place_of(w, id->valuedouble));
}

keel_status keel__student_tokenizer(const keel_tokenizer *from, const int32_t *token, size_t n,
                                    keel_tokenizer **out, keel_err *err) {
    const rewriting w = {token, n};
    size_t length;
    keel_buf rewritten = {0};
    cJSON *json = NULL;
    const char *text = keel_tokenizer_file(from, &length);
    KEEL_TRY(keel_json_parse(text, length, "tokenizer.json", &json, err));
    const cJSON *model = keel_json_get(json, "model"), *post = keel_json_get(json, "post_processor");
    cJSON *vocabulary = cJSON_GetObjectItemCaseSensitive(model, "vocab");
    if (!cJSON_IsObject(vocabulary)) {
        cJSON_Delete(json);
        return keel_fail(err, KEEL_E_UNSUPPORTED, "student_vocabulary", "the tokenizer is no WordPiece");
    }
    renumber_vocabulary(&w, vocabulary);
    drop_added(&w, cJSON_GetObjectItemCaseSensitive(json, "added_tokens"));
    renumber(&w, json);
    for (size_t i = 0; i < 2; i++) renumber_pair(&w, post, i ? "cls" : "sep");
    keel_status status = keel_json_print(json, false, &rewritten, err);
    cJSON_Delete(json);
    if (status == KEEL_OK)
        status = keel_tokenizer_parse(out, rewritten.data, rewritten.length, "tokenizer.json", err);
    keel_buf_free(&rewritten);
    return status;
}
