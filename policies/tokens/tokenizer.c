#include "policies/tokens/tokenizer.h"

#include <math.h>
#include <string.h>
#include <utf8proc.h>

#include "core/file.h"
#include "core/json.h"
#include "core/text.h"
#include "policies/tokens/wordpiece.h"

/* A token that is looked for in the text itself. */
typedef struct added {
    const char *content;
    size_t length;
    int32_t id;
    bool special, single_word, left, right; /* left, right: takes white space on that side with it */
} added;

/* What the post-processor puts together: a token, or one of the texts. */
typedef struct piece {
    int32_t token; /* -1: a text */
    int text;      /* 0: the first, 1: the second */
    int32_t type;  /* segment */
} piece;

enum { MOST_PIECES = 16, MOST_TOKENS = 1 << 20 };

typedef struct frame {
    piece piece[MOST_PIECES];
    size_t n, tokens;
} frame;

struct keel_tokenizer {
    keel__vocabulary vocabulary;
    keel__wordpiece model;
    added *added; /* [n_added] */
    size_t n_added;
    frame frame[2]; /* of one text, of a pair */
    cJSON *json;    /* owns the strings */
    keel_buf file;
    keel_arena arena;
};

/* ---- reading ---- */

typedef struct reader {
    keel_tokenizer *to;
    const char *path;
    keel_err *err;
} reader;

static keel_status refuse(const reader *r, const char *component, const char *type, const char *expected) {
    keel_fail(r->err, KEEL_E_UNSUPPORTED, r->path, "%s: \"%s\": expected %s", component, type, expected);
    return keel_hint(r->err, "Keel reads tokenizers of BERT encoders");
}

/* The type of a component that must be of this one. */
static keel_status check_type(const reader *r, const char *component, const char *expected,
                              const cJSON **out) {
    const char *type = NULL;
    KEEL_TRY(keel_json_object(r->to->json, component, true, out, r->path, r->err));
    KEEL_TRY(keel_json_string(*out, "type", true, &type, r->path, r->err));
    return strcmp(type, expected) == 0 ? KEEL_OK : refuse(r, component, type, expected);
}

static keel_status read_id(const reader *r, const cJSON *item, const char *token, int32_t *out) {
    double id = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(id >= 0 && id < MOST_TOKENS && floor(id) == id))
        return keel_fail(r->err, KEEL_E_PARSE, r->path,
                         "id of token \"%s\": expected a whole number below %d", token, MOST_TOKENS);
    *out = (int32_t)id;
    return KEEL_OK;
}

/* One more than the largest id of vocabulary and added tokens. */
static keel_status measure(const reader *r, const cJSON *vocab, const cJSON *added_tokens, size_t *size) {
    const cJSON *item;
    int32_t id = 0;
    *size = 0;
    cJSON_ArrayForEach (item, vocab) {
        KEEL_TRY(read_id(r, item, item->string, &id));
        if ((size_t)id >= *size) *size = (size_t)id + 1;
    }
    cJSON_ArrayForEach (item, added_tokens) {
        KEEL_TRY(read_id(r, keel_json_get(item, "id"), "added", &id));
        if ((size_t)id >= *size) *size = (size_t)id + 1;
    }
    return KEEL_OK;
}

static keel_status read_vocabulary(const reader *r, const cJSON *vocab, const cJSON *added_tokens) {
    keel__vocabulary *vocabulary = &r->to->vocabulary;
    const cJSON *item;
    size_t size;
    int32_t id = 0;
    KEEL_TRY(measure(r, vocab, added_tokens, &size));
    if (size == 0) return keel_fail(r->err, KEEL_E_PARSE, r->path, "model.vocab is empty");
    KEEL_TRY(keel__vocabulary_room(vocabulary, size, &r->to->arena, r->err));
    cJSON_ArrayForEach (item, vocab) {
        KEEL_TRY(read_id(r, item, item->string, &id));
        if (!keel__vocabulary_add(vocabulary, item->string, id))
            return keel_fail(r->err, KEEL_E_PARSE, r->path, "token \"%s\": its id %d is taken", item->string,
                             (int)id);
    }
    return KEEL_OK;
}

static keel_status read_added(const reader *r, const cJSON *item, added *out) {
    keel__vocabulary *vocabulary = &r->to->vocabulary;
    bool normalized = false;
    if (!cJSON_IsObject(item))
        return keel_fail(r->err, KEEL_E_PARSE, r->path, "added_tokens: expected a list of objects");
    KEEL_TRY(keel_json_string(item, "content", true, &out->content, r->path, r->err));
    KEEL_TRY(read_id(r, keel_json_get(item, "id"), out->content, &out->id));
    KEEL_TRY(keel_json_bool(item, "special", false, &out->special, r->path, r->err));
    KEEL_TRY(keel_json_bool(item, "single_word", false, &out->single_word, r->path, r->err));
    KEEL_TRY(keel_json_bool(item, "lstrip", false, &out->left, r->path, r->err));
    KEEL_TRY(keel_json_bool(item, "rstrip", false, &out->right, r->path, r->err));
    KEEL_TRY(keel_json_bool(item, "normalized", false, &normalized, r->path, r->err));
    out->length = strlen(out->content);
    if (normalized) return refuse(r, "added_tokens: normalized", out->content, "tokens of the text as it is");
    if (out->length == 0) return keel_fail(r->err, KEEL_E_PARSE, r->path, "added_tokens: an empty token");
    int32_t there = keel__vocabulary_find(vocabulary, out->content);
    if (there == out->id || (there < 0 && keel__vocabulary_add(vocabulary, out->content, out->id)))
        return KEEL_OK;
    return keel_fail(r->err, KEEL_E_PARSE, r->path, "added token \"%s\": its id %d is taken", out->content,
                     (int)out->id);
}

static keel_status read_added_tokens(const reader *r, const cJSON *list) {
    keel_tokenizer *to = r->to;
    const cJSON *item;
    to->added = keel_arena_calloc(&to->arena, (size_t)cJSON_GetArraySize(list), sizeof *to->added);
    if (!to->added) return keel_nomem(r->err, r->path);
    cJSON_ArrayForEach (item, list) KEEL_TRY(read_added(r, item, &to->added[to->n_added++]));
    return KEEL_OK;
}

static keel_status read_model(const reader *r, const cJSON *model) {
    keel__wordpiece *to = &r->to->model;
    const char *unknown = "[UNK]";
    double most = 100;
    to->prefix = "##";
    KEEL_TRY(keel_json_string(model, "continuing_subword_prefix", false, &to->prefix, r->path, r->err));
    KEEL_TRY(keel_json_string(model, "unk_token", false, &unknown, r->path, r->err));
    KEEL_TRY(keel_json_number(model, "max_input_chars_per_word", false, &most, r->path, r->err));
    if (!(most >= 1 && most <= 10000))
        return keel_fail(r->err, KEEL_E_PARSE, r->path,
                         "model.max_input_chars_per_word: expected 1 to 10000, got %g", most);
    to->max_word = (size_t)most;
    to->unknown = keel__vocabulary_find(&r->to->vocabulary, unknown);
    if (to->unknown < 0)
        return keel_fail(r->err, KEEL_E_PARSE, r->path, "model.unk_token \"%s\" is not in the vocabulary",
                         unknown);
    return KEEL_OK;
}

static keel_status read_normalizer(const reader *r) {
    const cJSON *normalizer = NULL;
    keel__wordpiece *to = &r->to->model;
    to->clean = to->chinese = to->lowercase = true;
    KEEL_TRY(check_type(r, "normalizer", "BertNormalizer", &normalizer));
    KEEL_TRY(keel_json_bool(normalizer, "clean_text", false, &to->clean, r->path, r->err));
    KEEL_TRY(keel_json_bool(normalizer, "handle_chinese_chars", false, &to->chinese, r->path, r->err));
    KEEL_TRY(keel_json_bool(normalizer, "lowercase", false, &to->lowercase, r->path, r->err));
    to->strip_accents = to->lowercase;
    return keel_json_bool(normalizer, "strip_accents", false, &to->strip_accents, r->path, r->err);
}

/* ---- the post-processor ---- */

static keel_status add_piece(const reader *r, frame *to, piece one) {
    if (to->n == MOST_PIECES)
        return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->path, "post_processor: more than %d pieces",
                         MOST_PIECES);
    to->tokens += one.token >= 0;
    to->piece[to->n++] = one;
    return KEEL_OK;
}

static keel_status read_piece(const reader *r, const cJSON *item, frame *to) {
    const cJSON *special = keel_json_get(item, "SpecialToken"), *sequence = keel_json_get(item, "Sequence");
    const char *id = NULL;
    double type = 0;
    KEEL_TRY(keel_json_string(special ? special : sequence, "id", true, &id, r->path, r->err));
    KEEL_TRY(keel_json_number(special ? special : sequence, "type_id", false, &type, r->path, r->err));
    if (!(type == 0 || type == 1))
        return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->path, "post_processor: type_id: expected 0 or 1");
    if (!special) return add_piece(r, to, (piece){-1, strcmp(id, "B") == 0, (int32_t)type});
    int32_t token = keel__vocabulary_find(&r->to->vocabulary, id);
    if (token < 0)
        return keel_fail(r->err, KEEL_E_PARSE, r->path, "post_processor: \"%s\" is not in the vocabulary",
                         id);
    return add_piece(r, to, (piece){token, 0, (int32_t)type});
}

static keel_status read_template(const reader *r, const cJSON *processor) {
    static const char *const keys[] = {"single", "pair"};
    for (int i = 0; i < 2; i++) {
        const cJSON *list = NULL, *item;
        KEEL_TRY(keel_json_array(processor, keys[i], true, &list, r->path, r->err));
        cJSON_ArrayForEach (item, list) KEEL_TRY(read_piece(r, item, &r->to->frame[i]));
    }
    return KEEL_OK;
}

/* ["[SEP]", 102] */
static keel_status read_mark(const reader *r, const cJSON *processor, const char *key, int32_t *out) {
    const cJSON *pair = NULL;
    KEEL_TRY(keel_json_array(processor, key, true, &pair, r->path, r->err));
    const cJSON *token = cJSON_GetArrayItem(pair, 0);
    *out = cJSON_IsString(token) ? keel__vocabulary_find(&r->to->vocabulary, token->valuestring) : -1;
    if (*out < 0)
        return keel_fail(r->err, KEEL_E_PARSE, r->path, "post_processor.%s: not a token of the vocabulary",
                         key);
    return KEEL_OK;
}

static keel_status read_bert(const reader *r, const cJSON *processor) {
    int32_t first, last;
    KEEL_TRY(read_mark(r, processor, "cls", &first));
    KEEL_TRY(read_mark(r, processor, "sep", &last));
    const piece pieces[] = {{first, 0, 0}, {-1, 0, 0}, {last, 0, 0}, {-1, 1, 1}, {last, 0, 1}};
    for (size_t i = 0; i < 5; i++) {
        if (i < 3) KEEL_TRY(add_piece(r, &r->to->frame[0], pieces[i]));
        KEEL_TRY(add_piece(r, &r->to->frame[1], pieces[i]));
    }
    return KEEL_OK;
}

static keel_status read_post_processor(const reader *r) {
    const cJSON *processor = NULL;
    const char *type = NULL;
    KEEL_TRY(keel_json_object(r->to->json, "post_processor", true, &processor, r->path, r->err));
    KEEL_TRY(keel_json_string(processor, "type", true, &type, r->path, r->err));
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(r, processor);
    if (strcmp(type, "BertProcessing") == 0) return read_bert(r, processor);
    return refuse(r, "post_processor", type, "TemplateProcessing or BertProcessing");
}

static keel_status read_all(const reader *r) {
    const cJSON *model = NULL, *vocab = NULL, *added_tokens = NULL, *pre = NULL;
    KEEL_TRY(check_type(r, "model", "WordPiece", &model));
    KEEL_TRY(keel_json_object(model, "vocab", true, &vocab, r->path, r->err));
    KEEL_TRY(keel_json_array(r->to->json, "added_tokens", false, &added_tokens, r->path, r->err));
    KEEL_TRY(read_vocabulary(r, vocab, added_tokens));
    KEEL_TRY(read_added_tokens(r, added_tokens));
    KEEL_TRY(read_model(r, model));
    KEEL_TRY(read_normalizer(r));
    KEEL_TRY(check_type(r, "pre_tokenizer", "BertPreTokenizer", &pre));
    return read_post_processor(r);
}

/* The text that *made holds. */
static keel_status parse_file(keel_tokenizer **out, keel_tokenizer *made, const char *name, keel_err *err) {
    const reader r = {made, name, err};
    keel_status status = made->file.failed
                             ? keel_nomem(err, name)
                             : keel_json_parse(made->file.data, made->file.length, name, &made->json, err);
    if (status == KEEL_OK) status = read_all(&r);
    if (status == KEEL_OK)
        *out = made;
    else
        keel_tokenizer_close(made);
    return status;
}

keel_status keel_tokenizer_load(keel_tokenizer **out, const char *path, keel_err *err) {
    keel_tokenizer *made = keel_calloc(1, sizeof *made);
    if (!made) return keel_nomem(err, path);
    keel_status status = keel_file_read(path, 0, &made->file, err);
    if (status == KEEL_OK) return parse_file(out, made, path, err);
    keel_tokenizer_close(made);
    return status;
}

keel_status keel_tokenizer_parse(keel_tokenizer **out, const char *json, size_t length, const char *name,
                                 keel_err *err) {
    keel_tokenizer *made = keel_calloc(1, sizeof *made);
    if (!made) return keel_nomem(err, name);
    keel_buf_append(&made->file, json, length);
    return parse_file(out, made, name, err);
}

void keel_tokenizer_close(keel_tokenizer *tokenizer) {
    if (!tokenizer) return;
    cJSON_Delete(tokenizer->json);
    keel_buf_free(&tokenizer->file);
    keel_arena_free(&tokenizer->arena);
    keel_free(tokenizer);
}

const char *keel_tokenizer_file(const keel_tokenizer *tokenizer, size_t *length) {
    *length = tokenizer->file.length;
    return tokenizer->file.data;
}

size_t keel_tokenizer_size(const keel_tokenizer *tokenizer) {
    return tokenizer->vocabulary.size;
}

bool keel_tokenizer_lowercases(const keel_tokenizer *tokenizer) {
    return tokenizer->model.lowercase;
}

const char *keel_tokenizer_token(const keel_tokenizer *tokenizer, int32_t id) {
    return id >= 0 && (size_t)id < tokenizer->vocabulary.size ? tokenizer->vocabulary.token[id] : NULL;
}

int32_t keel_tokenizer_find(const keel_tokenizer *tokenizer, const char *token) {
    return keel__vocabulary_find(&tokenizer->vocabulary, token);
}

bool keel_tokenizer_special(const keel_tokenizer *tokenizer, int32_t id) {
    for (size_t i = 0; i < tokenizer->n_added; i++)
        if (tokenizer->added[i].id == id) return tokenizer->added[i].special;
    return false;
}

const char *keel_tokenizer_bytes(const keel_tokenizer *tokenizer, int32_t id, size_t *length) {
    const char *token = keel_tokenizer_token(tokenizer, id);
    *length = token ? strlen(token) : 0;
    return token;
}

keel_status keel_tokenizer_decode(const keel_tokenizer *tokenizer, const int32_t *id, size_t n, bool specials,
                                  keel_arena *arena, const char **out, keel_err *err) {
    keel_buf text = {0};
    for (size_t i = 0; i < n; i++) {
        const char *token = keel_tokenizer_token(tokenizer, id[i]);
        if (!token || (!specials && keel_tokenizer_special(tokenizer, id[i]))) continue;
        if (text.length) keel_buf_text(&text, " ");
        keel_buf_text(&text, token);
    }
    *out = keel_arena_strdup(arena, text.data ? text.data : "");
    const bool failed = text.failed || !*out;
    keel_buf_free(&text);
    return failed ? keel_nomem(err, "tokenizer") : KEEL_OK;
}

/* ---- encoding ---- */

/* The longest added token that begins here. */
static const added *added_at(const keel_tokenizer *tokenizer, const char *text) {
    const added *best = NULL;
    for (size_t i = 0; i < tokenizer->n_added; i++) {
        const added *one = &tokenizer->added[i];
        if (strncmp(text, one->content, one->length) == 0 && (!best || one->length > best->length))
            best = one;
    }
    return best;
}

static bool is_word(const char *text, const char *end, bool before) {
    utf8proc_int32_t c;
    if (before) {
        do text--;
        while (((unsigned char)*text & 0xC0) == 0x80);
    }
    if (utf8proc_iterate((const utf8proc_uint8_t *)text, end - text, &c) <= 0) return false;
    utf8proc_category_t category = utf8proc_category(c);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO) ||
           category == UTF8PROC_CATEGORY_PC;
}

static const char *skip_space(const char *text) {
    return text + strspn(text, " \t\r\n");
}

/* Where the next added token begins, and which; the end of the text if there is none. */
static const char *next_added(const keel_tokenizer *tokenizer, const char *text, const char *from,
                              bool specials, const added **found) {
    const char *end = from + strlen(from);
    *found = NULL;
    for (const char *at = from; specials && at < end; at++) {
        const added *one = added_at(tokenizer, at);
        if (!one) continue;
        if (one->single_word && ((at > text && is_word(at, end, true)) ||
                                 (at + one->length < end && is_word(at + one->length, end, false))))
            continue;
        *found = one;
        return at;
    }
    return end;
}

static keel_status encode_into(const keel_tokenizer *tokenizer, const char *text, bool specials,
                               keel_arena *arena, keel__ids *ids, keel_err *err) {
    const added *found = NULL;
    const char *from = text;
    do {
        const char *at = next_added(tokenizer, text, from, specials, &found), *stop = at;
        while (found && found->left && stop > from && strchr(" \t\r\n", stop[-1])) stop--;
        KEEL_TRY(keel__wordpiece_encode(&tokenizer->model, &tokenizer->vocabulary, from,
                                        (size_t)(stop - from), arena, ids, err));
        if (!found) break;
        if (!keel__ids_add(ids, found->id)) return keel_nomem(err, "tokenizer");
        from = at + found->length;
        if (found->right) from = skip_space(from);
    } while (*from);
    return KEEL_OK;
}

keel_status keel_tokenizer_encode(const keel_tokenizer *tokenizer, const char *text, bool specials,
                                  keel_arena *arena, keel_tokens *out, keel_err *err) {
    keel__ids ids = {0};
    keel_arena scratch = {0};
    keel_status status = encode_into(tokenizer, text, specials, &scratch, &ids, err);
    if (status == KEEL_OK) {
        *out = (keel_tokens){ids.count, keel_arena_alloc(arena, (ids.count + 1) * sizeof *out->id)};
        if (!out->id) status = keel_nomem(err, "tokenizer");
    }
    if (status == KEEL_OK && ids.count) memcpy(out->id, ids.id, ids.count * sizeof *ids.id);
    keel_free(ids.id);
    keel_arena_free(&scratch);
    return status;
}

size_t keel_tokenizer_frame_size(const keel_tokenizer *tokenizer, bool pair) {
    return tokenizer->frame[pair].tokens;
}

keel_status keel_tokenizer_frame(const keel_tokenizer *tokenizer, const keel_tokens *a, const keel_tokens *b,
                                 keel_arena *arena, keel_tokens *out, int32_t **type, keel_err *err) {
    const frame *by = &tokenizer->frame[b != NULL];
    const keel_tokens none = {0}, *text[2] = {a, b ? b : &none};
    const size_t room = a->count + text[1]->count + by->tokens;
    *out = (keel_tokens){0, keel_arena_alloc(arena, (room + 1) * sizeof *out->id)};
    *type = keel_arena_alloc(arena, (room + 1) * sizeof **type);
    if (!out->id || !*type) return keel_nomem(err, "tokenizer");
    for (size_t i = 0; i < by->n; i++) {
        const piece *one = &by->piece[i];
        const keel_tokens *from = one->token < 0 ? text[one->text] : NULL;
        const size_t n = from ? from->count : 1;
        if (out->count + n > room)
            return keel_fail(err, KEEL_E_INVALID, "tokenizer", "the post-processor repeats a text");
        if (from && n) memcpy(out->id + out->count, from->id, n * sizeof *out->id);
        if (!from) out->id[out->count] = one->token;
        for (size_t k = 0; k < n; k++) (*type)[out->count + k] = one->type;
        out->count += n;
    }
    return KEEL_OK;
}
