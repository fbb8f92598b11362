#include "policies/tokens/tokenizer.h"

#include <math.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/text.h"
#include "policies/tokens/added.h"
#include "policies/tokens/bpe.h"
#include "policies/tokens/decoder.h"
#include "policies/tokens/normalizer.h"
#include "policies/tokens/post_processor.h"
#include "policies/tokens/pre_tokenizer.h"
#include "policies/tokens/wordpiece.h"

enum { MOST_TOKENS = 1 << 20 };

struct keel_tokenizer {
    keel__vocabulary vocabulary;
    keel__added added;
    keel__normalizer normalizer;
    keel__pre_tokenizer pre_tokenizer;
    const struct model *model;
    keel__wordpiece wordpiece;
    keel__bpe bpe;
    keel__frame frame[2]; /* of one text, of a pair */
    keel__decoder decoder;
    keel__pattern *patterns;
    bool *special;     /* [vocabulary.size] */
    keel_bytes *bytes; /* [vocabulary.size] what each token stands for */
    keel_buf file;
    keel_arena arena; /* owns the rest */
};

/* ---- models ---- */

/* A kind of model: what reads it, and the tokens of one piece. */
typedef struct model {
    const char *type;
    keel_status (*read)(const keel__reader *r, const cJSON *json, keel_tokenizer *to);
    keel_status (*encode)(const keel_tokenizer *tokenizer, const char *piece, size_t length,
                          keel_arena *scratch, keel__ids *out, keel_err *err);
} model;

static keel_status read_wordpiece(const keel__reader *r, const cJSON *json, keel_tokenizer *to) {
    return keel__wordpiece_read(r, json, &to->wordpiece);
}

static keel_status encode_wordpiece(const keel_tokenizer *tokenizer, const char *piece, size_t length,
                                    keel_arena *scratch, keel__ids *out, keel_err *err) {
    return keel__wordpiece_encode(&tokenizer->wordpiece, piece, length, scratch, out, err);
}

static keel_status read_bpe(const keel__reader *r, const cJSON *json, keel_tokenizer *to) {
    return keel__bpe_read(r, json, to->pre_tokenizer.bytes, &to->bpe);
}

static keel_status encode_bpe(const keel_tokenizer *tokenizer, const char *piece, size_t length,
                              keel_arena *scratch, keel__ids *out, keel_err *err) {
    return keel__bpe_encode(&tokenizer->bpe, piece, length, scratch, out, err);
}

static const model models[] = {{"BPE", read_bpe, encode_bpe},
                               {"WordPiece", read_wordpiece, encode_wordpiece}};

static keel_status read_model(const keel__reader *r, const cJSON *json, keel_tokenizer *to) {
    const char *type = NULL;
    if (keel_json_get(json, "type"))
        KEEL_TRY(keel_json_string(json, "type", true, &type, r->name, r->err));
    else
        type = keel_json_get(json, "merges") ? "BPE" : "WordPiece"; /* of older files */
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (strcmp(type, models[i].type) == 0) {
            to->model = &models[i];
            return models[i].read(r, json, to);
        }
    return keel__component_refuse(r, "model", type, "BPE or WordPiece");
}

/* ---- reading ---- */

static keel_status read_id(const keel__reader *r, const cJSON *item, const char *token, int32_t *out) {
    const double id = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(id >= 0 && id < MOST_TOKENS && floor(id) == id))
        return keel_fail(r->err, KEEL_E_PARSE, r->name,
                         "id of token \"%s\": expected a whole number below %d", token, MOST_TOKENS);
    *out = (int32_t)id;
    return KEEL_OK;
}

/* One more than the largest id of vocabulary and added tokens. */
static keel_status measure(const keel__reader *r, const cJSON *vocab, const cJSON *added, size_t *size) {
    const cJSON *item;
    int32_t id = 0;
    *size = 0;
    cJSON_ArrayForEach (item, vocab) {
        KEEL_TRY(read_id(r, item, item->string, &id));
        if ((size_t)id >= *size) *size = (size_t)id + 1;
    }
    cJSON_ArrayForEach (item, added) {
        KEEL_TRY(read_id(r, keel_json_get(item, "id"), "added", &id));
        if ((size_t)id >= *size) *size = (size_t)id + 1;
    }
    return *size ? KEEL_OK : keel_fail(r->err, KEEL_E_PARSE, r->name, "model.vocab is empty");
}

static keel_status read_vocabulary(const keel__reader *r, const cJSON *vocab, const cJSON *added) {
    const cJSON *item;
    size_t size;
    int32_t id = 0;
    KEEL_TRY(measure(r, vocab, added, &size));
    KEEL_TRY(keel__vocabulary_room(r->vocabulary, size, r->arena, r->err));
    cJSON_ArrayForEach (item, vocab) {
        KEEL_TRY(read_id(r, item, item->string, &id));
        const char *token = keel_arena_strdup(r->arena, item->string);
        if (!token) return keel_nomem(r->err, r->name);
        if (!keel__vocabulary_add(r->vocabulary, token, id))
            return keel_fail(r->err, KEEL_E_PARSE, r->name, "token \"%s\": its id %d is taken", token,
                             (int)id);
    }
    return KEEL_OK;
}

/* What each token stands for, and which are special. */
static keel_status read_meaning(const keel__reader *r, keel_tokenizer *to) {
    const size_t size = to->vocabulary.size;
    keel_arena scratch = {0};
    keel_status status = KEEL_OK;
    to->special = keel_arena_calloc(r->arena, size, sizeof *to->special);
    to->bytes = keel_arena_calloc(r->arena, size, sizeof *to->bytes);
    if (!to->special || !to->bytes) return keel_nomem(r->err, r->name);
    for (size_t i = 0; i < to->added.n; i++)
        if (to->added.token[i].special) to->special[to->added.token[i].id] = true;
    for (size_t i = 0; i < size && status == KEEL_OK; i++) {
        const char *token = to->vocabulary.token[i];
        if (!token) continue;
        keel_bytes string = {token, strlen(token)};
        keel__decoding one = {&string, 1, true, {.arena = &scratch, .err = r->err}};
        status = keel__decoder_run(&to->decoder, &one);
        if (status != KEEL_OK) break;
        const bool same = string.length == strlen(token) && memcmp(string.data, token, string.length) == 0;
        const char *kept = same ? token : keel_arena_strndup(r->arena, string.data, string.length);
        to->bytes[i] = (keel_bytes){kept, string.length};
        if (!kept) status = keel_nomem(r->err, r->name);
        keel_arena_reset(&scratch);
    }
    keel_arena_free(&scratch);
    return status;
}

static keel_status read_all(const keel__reader *r, const cJSON *json, keel_tokenizer *to) {
    const cJSON *of_model = NULL, *vocab = NULL, *added = NULL;
    KEEL_TRY(keel_json_object(json, "model", true, &of_model, r->name, r->err));
    KEEL_TRY(keel_json_object(of_model, "vocab", true, &vocab, r->name, r->err));
    KEEL_TRY(keel_json_array(json, "added_tokens", false, &added, r->name, r->err));
    KEEL_TRY(read_vocabulary(r, vocab, added));
    KEEL_TRY(keel__normalizer_read(r, keel_json_get(json, "normalizer"), &to->normalizer));
    KEEL_TRY(keel__added_read(r, added, &to->normalizer, &to->added));
    KEEL_TRY(keel__pre_tokenizer_read(r, keel_json_get(json, "pre_tokenizer"), &to->pre_tokenizer));
    KEEL_TRY(read_model(r, of_model, to));
    KEEL_TRY(keel__post_processor_read(r, keel_json_get(json, "post_processor"), to->frame));
    KEEL_TRY(keel__decoder_read(r, keel_json_get(json, "decoder"), &to->decoder));
    return read_meaning(r, to);
}

/* The text that *made holds. */
static keel_status parse_file(keel_tokenizer **out, keel_tokenizer *made, const char *name, keel_err *err) {
    const keel__reader r = {name, &made->arena, &made->vocabulary, &made->patterns, err};
    keel_arena parsed = {0};
    const cJSON *json = NULL;
    keel_status status =
        made->file.failed ? keel_nomem(err, name)
                          : keel_json_parse_in(&parsed, made->file.data, made->file.length, name, &json, err);
    if (status == KEEL_OK) status = read_all(&r, json, made);
    keel_arena_free(&parsed);
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
    keel__pattern_close(tokenizer->patterns);
    keel_buf_free(&tokenizer->file);
    keel_arena_free(&tokenizer->arena);
    keel_free(tokenizer);
}

/* ---- what it holds ---- */

const char *keel_tokenizer_file(const keel_tokenizer *tokenizer, size_t *length) {
    *length = tokenizer->file.length;
    return tokenizer->file.data;
}

size_t keel_tokenizer_size(const keel_tokenizer *tokenizer) {
    return tokenizer->vocabulary.size;
}

bool keel_tokenizer_lowercases(const keel_tokenizer *tokenizer) {
    return keel__normalizer_lowercases(&tokenizer->normalizer);
}

static bool is_there(const keel_tokenizer *tokenizer, int32_t id) {
    return id >= 0 && (size_t)id < tokenizer->vocabulary.size && tokenizer->vocabulary.token[id];
}

const char *keel_tokenizer_token(const keel_tokenizer *tokenizer, int32_t id) {
    return is_there(tokenizer, id) ? tokenizer->vocabulary.token[id] : NULL;
}

int32_t keel_tokenizer_find(const keel_tokenizer *tokenizer, const char *token) {
    return keel__vocabulary_find(&tokenizer->vocabulary, token);
}

bool keel_tokenizer_special(const keel_tokenizer *tokenizer, int32_t id) {
    return is_there(tokenizer, id) && tokenizer->special[id];
}

bool keel_tokenizer_same(const keel_tokenizer *a, const keel_tokenizer *b) {
    const size_t size = keel_tokenizer_size(a);
    if (size != keel_tokenizer_size(b)) return false;
    for (int32_t id = 0; (size_t)id < size; id++) {
        const char *one = keel_tokenizer_token(a, id), *other = keel_tokenizer_token(b, id);
        if (!one != !other || (one && strcmp(one, other) != 0)) return false;
        if (keel_tokenizer_special(a, id) != keel_tokenizer_special(b, id)) return false;
    }
    return true;
}

const char *keel_tokenizer_bytes(const keel_tokenizer *tokenizer, int32_t id, size_t *length) {
    *length = is_there(tokenizer, id) ? tokenizer->bytes[id].length : 0;
    return is_there(tokenizer, id) ? tokenizer->bytes[id].data : NULL;
}

/* ---- encoding ---- */

typedef struct encoding {
    const keel_tokenizer *tokenizer;
    bool specials;
    keel__matching matching; /* its arena is scratch */
    keel__ids ids;
} encoding;

static keel_status encode_piece(void *context, const char *piece, size_t length) {
    encoding *on = context;
    return on->tokenizer->model->encode(on->tokenizer, piece, length, on->matching.arena, &on->ids,
                                        on->matching.err);
}

static keel_status encode_normalised(encoding *on, keel__piece text);

/* What lies before the next added token, then that token, to the end. normalized: of which kind they are. */
static keel_status encode_between(encoding *on, keel__piece text, bool normalized) {
    const keel_tokenizer *tokenizer = on->tokenizer;
    size_t done = 0, from = 0;
    while (done < text.length) {
        keel__added_match found = {text.length, text.length, NULL};
        if (on->specials)
            found = keel__added_next(&tokenizer->added, normalized, text.text, text.length, done, &from);
        keel__piece plain = {text.text + done, found.start - done, text.first && done == 0};
        if (plain.length && !normalized) KEEL_TRY(encode_normalised(on, plain));
        if (plain.length && normalized)
            KEEL_TRY(
                keel__pre_tokenizer_run(&tokenizer->pre_tokenizer, &on->matching, plain, encode_piece, on));
        if (!found.token) break;
        if (!keel__ids_add(&on->ids, found.token->id)) return keel_nomem(on->matching.err, "tokenizer");
        done = found.end;
    }
    return KEEL_OK;
}

static keel_status encode_normalised(encoding *on, keel__piece text) {
    KEEL_TRY(keel__normalizer_run(&on->tokenizer->normalizer, &on->matching, &text.text, &text.length));
    return encode_between(on, text, true);
}

keel_status keel_tokenizer_encode(const keel_tokenizer *tokenizer, const char *text, bool specials,
                                  keel_arena *arena, keel_tokens *out, keel_err *err) {
    const size_t length = strlen(text);
    keel_arena scratch = {0};
    encoding on = {.tokenizer = tokenizer, .specials = specials, .matching = {.arena = &scratch, .err = err}};
    keel_status status = keel_utf8_valid_prefix(text, length) == length
                             ? encode_between(&on, (keel__piece){text, length, true}, false)
                             : keel_fail(err, KEEL_E_INVALID, "tokenizer", "the text is not UTF-8");
    if (status == KEEL_OK) {
        *out = (keel_tokens){on.ids.count, keel_arena_alloc(arena, (on.ids.count + 1) * sizeof *out->id)};
        if (!out->id) status = keel_nomem(err, "tokenizer");
    }
    if (status == KEEL_OK && on.ids.count) memcpy(out->id, on.ids.id, on.ids.count * sizeof *on.ids.id);
    keel_free(on.ids.id);
    keel_arena_free(&scratch);
    return status;
}

size_t keel_tokenizer_frame_size(const keel_tokenizer *tokenizer, bool pair) {
    return tokenizer->frame[pair].tokens;
}

keel_status keel_tokenizer_frame(const keel_tokenizer *tokenizer, const keel_tokens *a, const keel_tokens *b,
                                 keel_arena *arena, keel_tokens *out, int32_t **type, keel_err *err) {
    const keel__frame *by = &tokenizer->frame[b != NULL];
    const keel_tokens none = {0}, *text[2] = {a, b ? b : &none};
    const size_t room = a->count + text[1]->count + by->tokens;
    *out = (keel_tokens){0, keel_arena_alloc(arena, (room + 1) * sizeof *out->id)};
    *type = keel_arena_alloc(arena, (room + 1) * sizeof **type);
    if (!out->id || !*type) return keel_nomem(err, "tokenizer");
    for (size_t i = 0; i < by->n; i++) {
        const keel__frame_piece *one = &by->piece[i];
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

/* ---- decoding ---- */

keel_status keel_tokenizer_decode(const keel_tokenizer *tokenizer, const int32_t *id, size_t n, bool specials,
                                  keel_arena *arena, const char **out, keel_err *err) {
    keel_arena scratch = {0};
    keel__decoding on = {.matching = {.arena = &scratch, .err = err},
                         .string = keel_arena_alloc(&scratch, (n + 1) * sizeof *on.string)};
    keel_status status = on.string ? KEEL_OK : keel_nomem(err, "tokenizer");
    for (size_t i = 0; i < n && status == KEEL_OK; i++) {
        const char *token = keel_tokenizer_token(tokenizer, id[i]);
        if (token && (specials || !keel_tokenizer_special(tokenizer, id[i])))
            on.string[on.n++] = (keel_bytes){token, strlen(token)};
    }
    if (status == KEEL_OK) status = keel__decoder_run(&tokenizer->decoder, &on);
    if (status == KEEL_OK) {
        *out = keel_arena_strndup(arena, on.string[0].data, on.string[0].length);
        if (!*out) status = keel_nomem(err, "tokenizer");
    }
    keel_arena_free(&scratch);
    return status;
}
