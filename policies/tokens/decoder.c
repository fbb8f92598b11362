#include "policies/tokens/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "policies/tokens/byte_level.h"

typedef keel__decoder_step step;

static keel_status take(keel_buf *buf, keel__decoding *on, keel_bytes *out) {
    const char *text =
        buf->failed ? NULL : keel_arena_strndup(on->matching.arena, buf->data ? buf->data : "", buf->length);
    *out = (keel_bytes){text, buf->length};
    keel_buf_free(buf);
    return text ? KEEL_OK : keel_nomem(on->matching.err, "tokenizer");
}

/* All strings as one, `between` two. */
static keel_status join(keel__decoding *on, const char *between) {
    keel_buf all = {0};
    for (size_t i = 0; i < on->n; i++) {
        if (i > 0) keel_buf_text(&all, between);
        keel_buf_append(&all, on->string[i].data, on->string[i].length);
    }
    if (!on->string) on->string = keel_arena_calloc(on->matching.arena, 1, sizeof *on->string);
    if (!on->string) all.failed = true;
    if (all.failed) return keel_buf_free(&all), keel_nomem(on->matching.err, "tokenizer");
    on->n = 1;
    return take(&all, on, &on->string[0]);
}

/* ---- what is no UTF-8 ---- */

static keel_status make_valid(keel__decoding *on, keel_bytes *string) {
    const char *text = string->data;
    size_t length = string->length, good = keel_utf8_valid_prefix(text, length);
    keel_buf out = {0};
    if (good == length) return KEEL_OK;
    for (;;) {
        keel_buf_append(&out, text, good);
        text += good;
        length -= good;
        if (length == 0) break;
        keel_buf_text(&out, "\xEF\xBF\xBD");
        good = keel_utf8_broken(text, length, NULL);
        text += good;
        length -= good;
        good = keel_utf8_valid_prefix(text, length);
    }
    return take(&out, on, string);
}

/* ---- steps ---- */

/* The bytes of tokens in GPT-2's alphabet; a token with a code point of no other is as it is written. */
static keel_status run_byte_level(const step *by, keel__decoding *on) {
    (void)by;
    for (size_t i = 0; i < on->n; i++) {
        char *bytes = keel_arena_alloc(on->matching.arena, on->string[i].length + 1);
        if (!bytes) return keel_nomem(on->matching.err, "tokenizer");
        const ptrdiff_t n = keel__byte_level_get(on->string[i].data, on->string[i].length, bytes);
        if (n >= 0) on->string[i] = (keel_bytes){bytes, (size_t)n};
    }
    KEEL_TRY(join(on, ""));
    return on->middle ? KEEL_OK : make_valid(on, &on->string[0]);
}

/* The byte of "<0x41>"; -1: it is another token. */
static int byte_of(const keel_bytes *token) {
    const char *text = token->data;
    char *end = NULL;
    if (token->length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>' || text[3] == '+' ||
        text[3] == '-' || text[3] == ' ')
        return -1;
    const long byte = strtol(text + 3, &end, 16);
    return end == text + 5 ? (int)byte : -1;
}

/* A run of bytes is the text that they are, or a U+FFFD for each. */
static keel_status put_bytes(keel__decoding *on, keel_buf *run, size_t *n) {
    if (run->length == 0) return KEEL_OK;
    const size_t length = run->length;
    const bool good = on->middle || (!run->failed && keel_utf8_valid_prefix(run->data, length) == length);
    if (!good) {
        keel_buf_clear(run);
        for (size_t i = 0; i < length; i++) keel_buf_text(run, "\xEF\xBF\xBD");
    }
    return take(run, on, &on->string[(*n)++]);
}

static keel_status run_byte_fallback(const step *by, keel__decoding *on) {
    keel_buf run = {0};
    size_t n = 0;
    keel_status status = KEEL_OK;
    (void)by;
    for (size_t i = 0; i < on->n && status == KEEL_OK; i++) {
        const int byte = byte_of(&on->string[i]);
        const keel_bytes string = on->string[i];
        if (byte >= 0) {
            keel_buf_append(&run, &(char){(char)byte}, 1);
            continue;
        }
        status = put_bytes(on, &run, &n);
        on->string[n++] = string;
    }
    if (status == KEEL_OK) status = put_bytes(on, &run, &n);
    keel_buf_free(&run);
    on->n = n;
    return status;
}

static keel_status run_fuse(const step *by, keel__decoding *on) {
    (void)by;
    return on->middle ? KEEL_OK : join(on, "");
}

static keel_status run_replace(const step *by, keel__decoding *on) {
    for (size_t i = 0; i < on->n; i++) {
        const char *text = on->string[i].data;
        KEEL_TRY(keel__pattern_replace(by->pattern, &on->matching, by->text, &text, &on->string[i].length));
        on->string[i].data = text;
    }
    return KEEL_OK;
}

static keel_status run_strip(const step *by, keel__decoding *on) {
    const size_t n = strlen(by->text);
    for (size_t i = 0; i < on->n && !on->middle; i++) {
        const char *text = on->string[i].data;
        size_t from = 0, to = on->string[i].length;
        for (size_t k = 0; k < by->start && to - from >= n && memcmp(text + from, by->text, n) == 0; k++)
            from += n;
        for (size_t k = 0; k < by->stop && to - from >= n && memcmp(text + to - n, by->text, n) == 0; k++)
            to -= n;
        on->string[i] = (keel_bytes){text + from, to - from};
    }
    return KEEL_OK;
}

/* The mark is a blank; in the first token, before which one was put, it is nothing. */
static keel_status run_metaspace(const step *by, keel__decoding *on) {
    for (size_t i = 0; i < on->n; i++) {
        const char *text = on->string[i].data;
        const bool nothing = i == 0 && by->start && !on->middle;
        KEEL_TRY(keel__pattern_replace(by->pattern, &on->matching, nothing ? "" : " ", &text,
                                       &on->string[i].length));
        on->string[i].data = text;
    }
    return KEEL_OK;
}

/* The library's, in its order. */
static const char *const CLEANED[][2] = {
    {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
    {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};

static void put_replaced(keel_buf *text, const char *old, const char *new) {
    keel_buf out = {0};
    const char *at = text->data ? text->data : "", *found;
    for (; (found = strstr(at, old)); at = found + strlen(old)) {
        keel_buf_append(&out, at, (size_t)(found - at));
        keel_buf_text(&out, new);
    }
    keel_buf_text(&out, at);
    keel_buf_clear(text);
    keel_buf_append(text, out.data ? out.data : "", out.length);
    text->failed |= out.failed;
    keel_buf_free(&out);
}

static keel_status run_wordpiece(const step *by, keel__decoding *on) {
    const size_t n = strlen(by->text);
    for (size_t i = 0; i < on->n; i++) {
        const bool goes_on = on->string[i].length >= n && memcmp(on->string[i].data, by->text, n) == 0,
                   inside = i > 0 || on->middle;
        keel_buf text = {0};
        if (inside && !goes_on) keel_buf_text(&text, " ");
        const size_t skipped = inside && goes_on ? n : 0;
        keel_buf_append(&text, (const char *)on->string[i].data + skipped, on->string[i].length - skipped);
        for (size_t k = 0; by->clean && k < sizeof CLEANED / sizeof *CLEANED; k++)
            put_replaced(&text, CLEANED[k][0], CLEANED[k][1]);
        KEEL_TRY(take(&text, on, &on->string[i]));
    }
    return KEEL_OK;
}

/* ---- reading ---- */

static keel_status add(const keel__reader *r, keel__decoder *to, step one) {
    return keel__component_add(r, &to->step, &to->n, sizeof one, &one);
}

static keel_status read_byte_level(const keel__reader *r, const cJSON *json, void *to) {
    (void)json;
    return add(r, to, (step){.run = run_byte_level});
}

static keel_status read_byte_fallback(const keel__reader *r, const cJSON *json, void *to) {
    (void)json;
    return add(r, to, (step){.run = run_byte_fallback});
}

static keel_status read_fuse(const keel__reader *r, const cJSON *json, void *to) {
    (void)json;
    return add(r, to, (step){.run = run_fuse});
}

static keel_status read_replace(const keel__reader *r, const cJSON *json, void *to) {
    step one = {.run = run_replace};
    KEEL_TRY(keel__pattern_read(r, json, &one.pattern));
    KEEL_TRY(keel__component_text(r, json, "content", &one.text));
    return add(r, to, one);
}

static keel_status read_strip(const keel__reader *r, const cJSON *json, void *to) {
    step one = {.run = run_strip};
    double start = 0, stop = 0;
    KEEL_TRY(keel__component_text(r, json, "content", &one.text));
    KEEL_TRY(keel_json_number(json, "start", false, &start, r->name, r->err));
    KEEL_TRY(keel_json_number(json, "stop", false, &stop, r->name, r->err));
    if (!*one.text || !(start >= 0 && start < 1e6 && stop >= 0 && stop < 1e6))
        return keel_fail(r->err, KEEL_E_PARSE, r->name, "decoder: Strip: expected content, start and stop");
    one.start = (size_t)start;
    one.stop = (size_t)stop;
    return add(r, to, one);
}

static keel_status read_metaspace(const keel__reader *r, const cJSON *json, void *to) {
    step one = {.run = run_metaspace};
    const char *scheme = "always";
    KEEL_TRY(keel__component_text(r, json, "replacement", &one.text));
    KEEL_TRY(keel_json_string(json, "prepend_scheme", false, &scheme, r->name, r->err));
    KEEL_TRY(keel__pattern_open(r, one.text, true, &one.pattern));
    one.start = strcmp(scheme, "never") != 0;
    return add(r, to, one);
}

static keel_status read_wordpiece(const keel__reader *r, const cJSON *json, void *to) {
    step one = {.run = run_wordpiece, .clean = true};
    KEEL_TRY(keel__component_text(r, json, "prefix", &one.text));
    KEEL_TRY(keel_json_bool(json, "cleanup", false, &one.clean, r->name, r->err));
    return add(r, to, one);
}

static const keel__component_row rows[] = {{"ByteLevel", read_byte_level},
                                           {"ByteFallback", read_byte_fallback},
                                           {"Fuse", read_fuse},
                                           {"Replace", read_replace},
                                           {"Strip", read_strip},
                                           {"Metaspace", read_metaspace},
                                           {"WordPiece", read_wordpiece}};
static const keel__component_kind kind = {"decoder", "decoders", rows, sizeof rows / sizeof *rows};

keel_status keel__decoder_read(const keel__reader *r, const cJSON *json, keel__decoder *to) {
    return keel__component_read(r, &kind, json, to);
}

keel_status keel__decoder_run(const keel__decoder *decoder, keel__decoding *on) {
    for (size_t i = 0; i < decoder->n; i++) KEEL_TRY(decoder->step[i].run(&decoder->step[i], on));
    KEEL_TRY(join(on, decoder->n ? "" : " "));
    return on->middle ? KEEL_OK : make_valid(on, &on->string[0]);
}
