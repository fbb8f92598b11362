#include "policies/transformer/gguf_tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "policies/tokens/gguf_pre.h"
#include "policies/transformer/gguf_pieces.h"

/* ggml's kinds of tokens. */
enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5 };

/* ---- reading ---- */

typedef struct reader {
    const keel_gguf *from;
    const keel_gguf_value *tokens, *kinds, *merges, *scores;
    const keel_gguf_pre *pre; /* NULL: pieces of SentencePiece */
    bool space_first;         /* of SentencePiece: a blank goes before a text */
    keel_arena arena;
    keel_gguf_marks *marks;
    keel_err *err;
} reader;

static int kind_of(const reader *r, size_t id) {
    return r->kinds ? (int)keel_gguf_item(r->kinds, id) : NORMAL;
}

/* "gpt2": byte-level BPE, with the pattern that pre-tokenizes. */
static keel_status read_bytes(reader *r) {
    const char *pre = "";
    KEEL_TRY(keel_gguf_text(r->from, "tokenizer.ggml.pre", true, &pre, r->err));
    KEEL_TRY(keel_gguf_list(r->from, "tokenizer.ggml.merges", KEEL_GGUF_TEXT, true, &r->merges, r->err));
    r->pre = keel_gguf_pre_find(pre);
    r->marks->adds_bos = strcmp(pre, "llama-bpe") == 0; /* where the file does not say so, as in llama.cpp */
    if (r->pre) return KEEL_OK;
    keel_fail(r->err, KEEL_E_UNSUPPORTED, r->from->path, "tokenizer.ggml.pre: expected one of %s, got \"%s\"",
              keel_gguf_pre_names(), pre);
    return keel_hint(r->err,
                     "the Hugging Face folder of the model has a tokenizer.json with the pattern itself");
}

/* "llama": pieces of SentencePiece with scores; what is no piece is bytes. */
static keel_status read_pieces(reader *r) {
    r->marks->adds_bos = r->space_first = true;
    KEEL_TRY(keel_gguf_bool(r->from, "tokenizer.ggml.add_space_prefix", &r->space_first, r->err));
    KEEL_TRY(keel_gguf_list(r->from, "tokenizer.ggml.scores", KEEL_GGUF_F32, true, &r->scores, r->err));
    if (r->kinds && r->scores->count == r->tokens->count) return KEEL_OK;
    return keel_fail(
        r->err, KEEL_E_PARSE, r->from->path,
        "tokenizer.ggml.scores and tokenizer.ggml.token_type: expected one for each of %zu tokens",
        r->tokens->count);
}

static keel_status read_lists(reader *r) {
    const char *model = "";
    KEEL_TRY(keel_gguf_text(r->from, "tokenizer.ggml.model", true, &model, r->err));
    KEEL_TRY(keel_gguf_list(r->from, "tokenizer.ggml.tokens", KEEL_GGUF_TEXT, true, &r->tokens, r->err));
    KEEL_TRY(keel_gguf_list(r->from, "tokenizer.ggml.token_type", KEEL_GGUF_I32, false, &r->kinds, r->err));
    if (r->kinds && r->kinds->count != r->tokens->count)
        return keel_fail(r->err, KEEL_E_PARSE, r->from->path, "tokenizer.ggml.token_type: %zu for %zu tokens",
                         r->kinds->count, r->tokens->count);
    if (strcmp(model, "gpt2") == 0) return read_bytes(r);
    if (strcmp(model, "llama") == 0) return read_pieces(r);
    keel_fail(r->err, KEEL_E_UNSUPPORTED, r->from->path,
              "tokenizer.ggml.model: expected \"gpt2\" or \"llama\", got \"%s\"", model);
    return keel_hint(r->err, "the Hugging Face folder of the model has a tokenizer.json that Keel may read");
}

static keel_status read_mark(const reader *r, const char *name, int32_t *out) {
    char key[64];
    double id = -1;
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", name);
    KEEL_TRY(keel_gguf_number(r->from, key, false, &id, r->err));
    if (!(id >= -1 && id < (double)r->tokens->count && floor(id) == id))
        return keel_fail(r->err, KEEL_E_PARSE, r->from->path, "%s: expected an id below %zu, got %g", key,
                         r->tokens->count, id);
    *out = (int32_t)id;
    return KEEL_OK;
}

static void put_added(const reader *r, keel_buf *to) {
    const char *comma = "";
    keel_buf_text(to, "\"added_tokens\":[");
    for (size_t id = 0; id < r->tokens->count; id++) {
        const int kind = kind_of(r, id);
        if (kind != CONTROL && kind != USER_DEFINED) continue;
        keel_buf_format(to, "%s{\"id\":%zu,\"content\":", comma, id);
        keel_json_put_string(to, r->tokens->text[id]);
        keel_buf_format(
            to,
            ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":%s}",
            kind == CONTROL ? "true" : "false");
        comma = ",";
    }
    keel_buf_text(to, "]");
}

/* Beginning-of-text before a text, or nothing. */
static void put_post_processor(const reader *r, keel_buf *to) {
    keel_buf name = {0};
    if (!r->marks->adds_bos || r->marks->bos < 0) {
        keel_buf_text(to, "null");
        return;
    }
    keel_json_put_string(&name, r->tokens->text[r->marks->bos]);
    const char *bos = name.failed ? "\"\"" : name.data;
    keel_buf_format(
        to,
        "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":%s,\"type_id\":0}},"
        "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"SpecialToken\":{\"id\":%s,\"type_id\":0}},"
        "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}],",
        bos, bos);
    keel_buf_format(to, "\"special_tokens\":{%s:{\"id\":%s,\"ids\":[%d],\"tokens\":[%s]}}}", bos, bos,
                    (int)r->marks->bos, bos);
    to->failed |= name.failed;
    keel_buf_free(&name);
}

/* Added tokens are here too: to a token that is missing here, transformers gives a new id. */
static void put_vocabulary(const reader *r, keel_buf *to) {
    const char *comma = "";
    keel_buf_text(to, "\"vocab\":{");
    for (size_t id = 0; id < r->tokens->count; id++) {
        if (kind_of(r, id) == UNUSED) continue;
        keel_buf_text(to, comma);
        keel_json_put_string(to, r->tokens->text[id]);
        keel_buf_format(to, ":%zu", id);
        comma = ",";
    }
    keel_buf_text(to, "},\"merges\":[");
}

static void put_byte_model(const reader *r, keel_buf *to) {
    keel_buf_format(
        to,
        "{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
        "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":%s,",
        r->pre->ignore_merges ? "true" : "false");
    put_vocabulary(r, to);
    for (size_t i = 0; i < r->merges->count; i++) {
        if (i) keel_buf_text(to, ",");
        keel_json_put_string(to, r->merges->text[i]);
    }
    keel_buf_text(to, "]}");
}

static keel_status put_piece_model(reader *r, keel_buf *to) {
    const size_t n = r->tokens->count;
    bool *is_piece = keel_arena_calloc(&r->arena, n + 1, sizeof *is_piece);
    float *score = keel_arena_calloc(&r->arena, n + 1, sizeof *score);
    keel_gguf_merge *merge;
    size_t count, unknown = n;
    if (!is_piece || !score) return keel_nomem(r->err, r->from->path);
    for (size_t id = 0; id < n; id++) {
        is_piece[id] = kind_of(r, id) == NORMAL;
        score[id] = (float)keel_gguf_item(r->scores, id);
        if (kind_of(r, id) == UNKNOWN) unknown = id;
    }
    KEEL_TRY(keel_gguf_find_merges(r->tokens->text, score, is_piece, n, &r->arena, &merge, &count,
                                   r->from->path, r->err));
    keel_buf_text(to, "{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
    if (unknown < n)
        keel_json_put_string(to, r->tokens->text[unknown]);
    else
        keel_buf_text(to, "null");
    keel_buf_text(to, ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":true,"
                      "\"byte_fallback\":true,\"ignore_merges\":false,");
    put_vocabulary(r, to);
    for (size_t i = 0; i < count; i++) {
        keel_buf_text(to, i ? ",[" : "[");
        keel_json_put_string(to, r->tokens->text[merge[i].left]);
        keel_buf_text(to, ",");
        keel_json_put_string(to, r->tokens->text[merge[i].right]);
        keel_buf_text(to, "]");
    }
    keel_buf_text(to, "]}");
    return KEEL_OK;
}

#define BLANKS "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\u2581\"}"

/* Blanks are U+2581 in pieces; one more, before a text, goes when it is decoded. */
static void put_piece_parts(const reader *r, keel_buf *to) {
    keel_buf_format(
        to, ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[%s" BLANKS "]},\"pre_tokenizer\":null",
        r->space_first ? "{\"type\":\"Prepend\",\"prepend\":\"\u2581\"}," : "");
    keel_buf_format(
        to,
        ",\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":"
        "{\"String\":\"\u2581\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}%s]}",
        r->space_first ? ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}" : "");
}

static keel_status put_json(reader *r, keel_buf *to) {
    keel_buf_text(to, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,");
    put_added(r, to);
    if (r->pre)
        keel_buf_format(to,
                        ",\"normalizer\":%s,\"pre_tokenizer\":%s,\"decoder\":{\"type\":\"ByteLevel\","
                        "\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true}",
                        r->pre->normalizer, r->pre->pre_tokenizer);
    else
        put_piece_parts(r, to);
    keel_buf_text(to, ",\"post_processor\":");
    put_post_processor(r, to);
    keel_buf_text(to, ",\"model\":");
    if (r->pre)
        put_byte_model(r, to);
    else
        KEEL_TRY(put_piece_model(r, to));
    keel_buf_text(to, "}\n");
    return to->failed ? keel_nomem(r->err, r->from->path) : KEEL_OK;
}

keel_status keel_gguf_read_tokenizer(const keel_gguf *gguf, keel_tokenizer **out, keel_gguf_marks *marks,
                                     keel_err *err) {
    reader r = {.from = gguf, .marks = marks, .err = err};
    keel_buf text = {0};
    KEEL_TRY(read_lists(&r));
    KEEL_TRY(read_mark(&r, "bos", &marks->bos));
    KEEL_TRY(read_mark(&r, "eos", &marks->eos));
    KEEL_TRY(read_mark(&r, "eot", &marks->eot));
    KEEL_TRY(read_mark(&r, "padding", &marks->pad));
    KEEL_TRY(keel_gguf_bool(gguf, "tokenizer.ggml.add_bos_token", &marks->adds_bos, err));
    keel_status status = put_json(&r, &text);
    if (status == KEEL_OK) status = keel_tokenizer_parse(out, text.data, text.length, gguf->path, err);
    keel_buf_free(&text);
    keel_arena_free(&r.arena);
    return status;
}

/* ---- writing ---- */

typedef struct writer {
    keel_gguf_head *to;
    const cJSON *json;
    const char **token; /* [rows] NULL: none */
    int32_t *kind;
    size_t rows;
    keel_arena arena;
    keel_err *err;
} writer;

/* Whether what ggml's name stands for is what the file says; true may be left out, as by older files, and
 * where offsets are trimmed is nobody's concern. */
static bool is_same(const cJSON *pattern, const cJSON *found) {
    const cJSON *item;
    if (!found) return cJSON_IsTrue(pattern);
    if (cJSON_IsObject(pattern)) {
        cJSON_ArrayForEach (item, pattern)
            if (strcmp(item->string, "trim_offsets") != 0 &&
                !is_same(item, keel_json_get(found, item->string)))
                return false;
        return true;
    }
    if (cJSON_IsArray(pattern)) {
        if (cJSON_GetArraySize(pattern) != cJSON_GetArraySize(found)) return false;
        const cJSON *other = found->child;
        for (item = pattern->child; item; item = item->next, other = other->next)
            if (!is_same(item, other)) return false;
        return true;
    }
    return cJSON_Compare(pattern, found, true);
}

static keel_status same_text(const char *pattern, const cJSON *found, bool *same, keel_err *err) {
    cJSON *json = NULL;
    KEEL_TRY(keel_json_parse(pattern, strlen(pattern), "pattern", &json, err));
    *same = cJSON_IsNull(json) ? !found || cJSON_IsNull(found) : is_same(json, found);
    cJSON_Delete(json);
    return KEEL_OK;
}

static keel_status put_pattern(const writer *w, const cJSON *model) {
    bool ignores = false;
    KEEL_TRY(keel_json_bool(model, "ignore_merges", false, &ignores, "tokenizer.json", w->err));
    for (const keel_gguf_pre *pre = keel_gguf_pre_first(); pre->name; pre++) {
        bool same = false, also = false;
        KEEL_TRY(same_text(pre->normalizer, keel_json_get(w->json, "normalizer"), &same, w->err));
        KEEL_TRY(same_text(pre->pre_tokenizer, keel_json_get(w->json, "pre_tokenizer"), &also, w->err));
        if (!same || !also || ignores != pre->ignore_merges) continue;
        keel_gguf_put_text(w->to, "tokenizer.ggml.model", "gpt2");
        keel_gguf_put_text(w->to, "tokenizer.ggml.pre", pre->name);
        return KEEL_OK;
    }
    keel_fail(w->err, KEEL_E_UNSUPPORTED, "tokenizer.json",
              "GGUF has no name for its normalizer and pre_tokenizer");
    return keel_hint(w->err, "a Hugging Face folder keeps them as they are");
}

static keel_status take_token(writer *w, const char *text, const cJSON *id, int32_t kind) {
    const double number = cJSON_IsNumber(id) ? id->valuedouble : -1;
    if (!(number >= 0 && number < (double)w->rows))
        return keel_fail(w->err, KEEL_E_INVALID, "tokenizer.json", "\"%s\": expected an id below %zu", text,
                         w->rows);
    w->token[(size_t)number] = text;
    w->kind[(size_t)number] = kind;
    return KEEL_OK;
}

static keel_status take_tokens(writer *w, const cJSON *model) {
    const cJSON *vocab = NULL, *added = NULL, *item;
    KEEL_TRY(keel_json_object(model, "vocab", true, &vocab, "tokenizer.json", w->err));
    KEEL_TRY(keel_json_array(w->json, "added_tokens", false, &added, "tokenizer.json", w->err));
    w->token = keel_arena_calloc(&w->arena, w->rows, sizeof *w->token);
    w->kind = keel_arena_calloc(&w->arena, w->rows, sizeof *w->kind);
    if (!w->token || !w->kind) return keel_nomem(w->err, "tokenizer.json");
    cJSON_ArrayForEach (item, vocab) KEEL_TRY(take_token(w, item->string, item, NORMAL));
    cJSON_ArrayForEach (item, added) {
        const char *text = "";
        KEEL_TRY(keel_json_string(item, "content", true, &text, "tokenizer.json", w->err));
        KEEL_TRY(take_token(w, text, keel_json_get(item, "id"),
                            cJSON_IsTrue(keel_json_get(item, "special")) ? CONTROL : USER_DEFINED));
    }
    return KEEL_OK;
}

static void put_tokens(const writer *w) {
    char filler[40];
    keel_gguf_put_list(w->to, "tokenizer.ggml.tokens", KEEL_GGUF_TEXT, w->rows);
    for (size_t i = 0; i < w->rows; i++) {
        snprintf(filler, sizeof filler, "[PAD%zu]", i);
        const char *text = w->token[i] ? w->token[i] : filler;
        keel_gguf_add_text(w->to, text, strlen(text));
    }
    keel_gguf_put_list(w->to, "tokenizer.ggml.token_type", KEEL_GGUF_I32, w->rows);
    for (size_t i = 0; i < w->rows; i++) keel_gguf_add_i32(w->to, w->token[i] ? w->kind[i] : UNUSED);
}

/* "a b", or ["a", "b"] of newer files */
static keel_status put_merges(const writer *w, const cJSON *model) {
    const cJSON *merges = NULL, *item;
    keel_buf text = {0};
    KEEL_TRY(keel_json_array(model, "merges", true, &merges, "tokenizer.json", w->err));
    keel_gguf_put_list(w->to, "tokenizer.ggml.merges", KEEL_GGUF_TEXT, (size_t)cJSON_GetArraySize(merges));
    cJSON_ArrayForEach (item, merges) {
        const cJSON *second = cJSON_IsArray(item) && item->child ? item->child->next : NULL;
        keel_buf_clear(&text);
        if (cJSON_IsString(item)) keel_buf_text(&text, item->valuestring);
        if (cJSON_IsString(second) && cJSON_IsString(item->child))
            keel_buf_format(&text, "%s %s", item->child->valuestring, second->valuestring);
        keel_gguf_add_text(w->to, text.data ? text.data : "", text.length);
    }
    const bool failed = text.failed;
    keel_buf_free(&text);
    return failed ? keel_nomem(w->err, "tokenizer.json") : KEEL_OK;
}

static void put_mark(const writer *w, const char *name, int32_t id) {
    char key[64];
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", name);
    if (id >= 0) keel_gguf_put_u32(w->to, key, (uint32_t)id);
}

static keel_status put_all(writer *w, const keel_gguf_marks *marks) {
    const cJSON *model = NULL;
    KEEL_TRY(keel_json_object(w->json, "model", true, &model, "tokenizer.json", w->err));
    KEEL_TRY(put_pattern(w, model));
    KEEL_TRY(take_tokens(w, model));
    put_tokens(w);
    KEEL_TRY(put_merges(w, model));
    put_mark(w, "bos", marks->bos);
    put_mark(w, "eos", marks->eos);
    put_mark(w, "eot", marks->eot);
    put_mark(w, "padding", marks->pad);
    keel_gguf_put_bool(w->to, "tokenizer.ggml.add_bos_token", marks->adds_bos);
    return KEEL_OK;
}

keel_status keel_gguf_put_tokenizer(keel_gguf_head *head, const keel_tokenizer *tokenizer,
                                    const keel_gguf_marks *marks, size_t rows, keel_err *err) {
    writer w = {.to = head, .rows = rows, .err = err};
    size_t length;
    const char *text = keel_tokenizer_file(tokenizer, &length);
    keel_status status = keel_json_parse_in(&w.arena, text, length, "tokenizer.json", &w.json, err);
    if (status == KEEL_OK) status = put_all(&w, marks);
    keel_arena_free(&w.arena);
    return status;
}
