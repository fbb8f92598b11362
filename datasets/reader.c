#include "datasets/reader.h"

#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "datasets/reader_internal.h"

/* ---- opening and closing ---- */

bool keel__is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

size_t keel__plain_length(const char *name) {
    size_t length = strlen(name);
    if (length >= 3 && strcmp(name + length - 3, ".gz") == 0) return length - 3;
    return length >= 4 && strcmp(name + length - 4, ".zst") == 0 ? length - 4 : length;
}

static char *copy_part(const char *from, size_t length) {
    char *copy = keel_alloc(length + 1);
    if (!copy) return NULL;
    memcpy(copy, from, length);
    copy[length] = '\0';
    return copy;
}

/* Name and folder of a path; a source without a path has its own name and no folder. */
static bool name_reader(keel_reader *reader) {
    const char *path = keel_source_path(reader->source);
    const char *slash = path ? strrchr(path, '/') : NULL, *folder = slash;
    const char *name = slash ? slash + 1 : reader->place;
    while (folder && folder > path && folder[-1] != '/') folder--;
    reader->name = copy_part(name, keel__plain_length(name));
    reader->folder = copy_part(slash ? folder : "", slash ? (size_t)(slash - folder) : 0);
    return reader->name && reader->folder;
}

void keel_reader_close(keel_reader *reader) {
    if (!reader) return;
    if (reader->opened && reader->kind->close) reader->kind->close(reader);
    keel_source_close(reader->source);
    keel_free((char *)(uintptr_t)reader->name);
    keel_free((char *)(uintptr_t)reader->folder);
    keel_free(reader->state);
    keel_free(reader);
}

keel_status keel__reader_make(keel_reader **out, const keel_reader_kind *kind, const keel_format *format,
                              keel_source *source, keel_err *err) {
    keel_reader *made = keel_calloc(1, sizeof *made);
    if (!made) {
        keel_source_close(source);
        return keel_nomem(err, "reader");
    }
    made->kind = kind;
    made->format = format;
    made->source = source;
    made->place = keel_source_name(source);
    made->state = keel_calloc(1, kind->state_size);
    if (!made->state || !name_reader(made)) {
        keel_reader_close(made);
        return keel_nomem(err, "reader");
    }
    *out = made;
    return KEEL_OK;
}

/* Chat is what is asked for by whoever does not know the other formats: what is surely of another one is read
 * as that. */
static void widen(keel_source *source, const keel_format **format) {
    const keel_format *asked = *format;
    if (asked != &keel_formats[0]) return;
    keel_formats_insist(source, format);
    if (*format != asked)
        keel_log(KEEL_LOG_INFO, "note: %s looks like %s, not %s, and is read so", keel_source_name(source),
                 (*format)->name, asked->name);
}

keel_status keel_reader_open(keel_reader **out, const keel_format *format, keel_source *source,
                             keel_err *err) {
    keel_status status = KEEL_OK;
    if (format)
        widen(source, &format);
    else
        status = keel_formats_detect(source, &format, err);
    if (status == KEEL_OK) return keel__reader_make(out, format->reader, format, source, err);
    keel_source_close(source);
    return status;
}

/* What people meet often, and how it is mended. */
static const char *cure(const char *message) {
    if (strstr(message, "NUL byte")) return "take it out: tr -d '\\000'; UTF-16 has many: iconv -f UTF-16";
    if (strstr(message, "quote inside")) return "put the field into quotes, and double those in it";
    if (strstr(message, "UTF-8")) return "convert the file to UTF-8, for example with iconv";
    if (strstr(message, "got 'N'") || strstr(message, "got 'I'"))
        return "NaN and Infinity are no JSON, though Python writes them: write null (json.dumps with allow_nan=False)";
    if (strstr(message, "a JSON value, got 'T'") || strstr(message, "a JSON value, got 'F'"))
        return "JSON has true, false and null: this is how Python prints an object; write it with json.dumps";
    if (strstr(message, "after the value, got ','"))
        return "JSON Lines have no comma between lines: take it away";
    if (strstr(message, "deep")) return "take the deep value out, for example with jq 'del(.KEY)'";
    if (strstr(message, "a JSON value, got ']'") || strstr(message, "a key in quotes, got '}'"))
        return "a comma stands before the bracket that closes: take it away";
    if (strstr(message, "got '\''"))
        return "JSON has double quotes: this is how Python prints an object; write it with json.dumps";
    if (strstr(message, "stands twice")) return "keep one of the two";
    if (strstr(message, "cannot hold NUL")) return "take \\u0000 out of the text";
    if (strstr(message, "surrogate")) return "half of a character was cut off here: replace it by \\ufffd";
    return NULL;
}

static void advise(keel_status status, keel_err *err) {
    if (status == KEEL_E_PARSE && err && !err->hint[0] && cure(err->message))
        keel_hint(err, "%s", cure(err->message));
}

bool keel__is_bad_input(keel_status status) {
    return status == KEEL_E_PARSE || status == KEEL_E_INVALID || status == KEEL_E_CONFLICT ||
           status == KEEL_E_UNSUPPORTED;
}

/* A reader that stays where it is cannot go on. */
static keel_status give_bad(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *bad) {
    if (strcmp(reader->bad_at, bad->where) == 0) return bad->code;
    memcpy(reader->bad_at, bad->where, sizeof reader->bad_at);
    keel_err *copy = keel_arena_alloc(arena, sizeof *copy);
    if (!copy) return keel_nomem(bad, reader->place);
    *copy = *bad;
    *out = (keel_read){.bad = copy, .where = copy->where};
    return KEEL_OK;
}

keel_status keel_reader_next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    *out = (keel_read){0};
    if (!reader->opened) {
        reader->opened = true;
        const keel_status opened = reader->kind->open ? reader->kind->open(reader, err) : KEEL_OK;
        advise(opened, err);
        KEEL_TRY(opened);
    }
    keel_err bad = {0};
    keel_status status = reader->kind->next(reader, arena, out, &bad);
    advise(status, &bad);
    if (reader->skip_bad && keel__is_bad_input(status)) status = give_bad(reader, arena, out, &bad);
    if (status != KEEL_OK && err) *err = bad;
    KEEL_TRY(status);
    if (out->conversation && !out->conversation->source) out->conversation->source = reader->format->name;
    return KEEL_OK;
}

/* ---- JSON objects ---- */

/* Whether the first line, which begins an object and is short, does not end it. */
static bool goes_on(const char *text, size_t length) {
    enum { SHORT_LINE = 1 << 12 };
    int depth = 0;
    bool quoted = false;
    if (length > SHORT_LINE) length = SHORT_LINE;
    for (size_t i = 0; i < length && text[i] != '\n'; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted)
            depth += (text[i] == '{') - (text[i] == '}');
    }
    return depth > 0 && memchr(text, '\n', length);
}

static keel_status begin_objects(keel__objects *objects, keel_source *source, keel_err *err) {
    const char *text;
    size_t length, at = 0;
    KEEL_TRY(keel_source_peek(source, 1 << 12, &text, &length, err));
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) at = 3;
    while (at < length && keel__is_space(text[at])) at++;
    objects->array = objects->array_of || (at < length && text[at] == '[');
    objects->whole = !objects->array && at < length && goes_on(text + at, length - at);
    objects->begun = true;
    if (!objects->array && !objects->whole) return KEEL_OK;
    KEEL_TRY(keel_source_rest(source, 0, &objects->text, err));
    if (objects->whole) return KEEL_OK;
    return keel_json_items_open(&objects->items, objects->text.data, objects->text.length,
                                keel_source_name(source), objects->array_of ? objects->array_of : "objects",
                                err);
}

static bool is_blank(const char *line, size_t length) {
    return strspn(line, " \t\r") == length;
}

static keel_status fail_object(keel_status status, const char *text, size_t length, const char *hint,
                               keel_err *err) {
    if (status != KEEL_E_PARSE || !err) return status;
    if (keel__container_hint(text, length, err)) return status;
    const char *known = cure(err->message);
    return keel_hint(err, "%s", known ? known : hint);
}

static keel_status next_line(keel_source *source, keel_arena *arena, const cJSON **object, const char **where,
                             keel_err *err) {
    char *line, place[400];
    size_t length, number;
    do {
        KEEL_TRY(keel_source_line(source, &line, &length, &number, err));
        *object = NULL;
        if (!line) return KEEL_OK;
    } while (is_blank(line, length));
    snprintf(place, sizeof place, "%s:%zu", keel_source_name(source), number);
    if (!(*where = keel_arena_strdup(arena, place))) return keel_nomem(err, place);
    keel_status status = keel_json_parse_in(arena, line, length, *where, object, err);
    if (status == KEEL_OK && !cJSON_IsObject(*object))
        status = keel_fail(err, KEEL_E_PARSE, *where, "expected a JSON object");
    return fail_object(status, line, length, "in JSON Lines every line is one whole object", err);
}

static keel_status next_whole(keel__objects *objects, keel_source *source, keel_arena *arena,
                              const cJSON **object, const char **where, keel_err *err) {
    *object = NULL;
    if (!objects->text.data) return KEEL_OK; /* it was given */
    if (!(*where = keel_arena_strdup(arena, keel_source_name(source))))
        return keel_nomem(err, keel_source_name(source));
    KEEL_TRY(keel_json_parse_in(arena, objects->text.data, objects->text.length, *where, object, err));
    keel_buf_free(&objects->text);
    return KEEL_OK;
}

static keel_status next_item(keel__objects *objects, keel_source *source, keel_arena *arena,
                             const cJSON **object, const char **where, keel_err *err) {
    char place[400];
    snprintf(place, sizeof place, "%s: [%zu]", keel_source_name(source), objects->items.count);
    if (!(*where = keel_arena_strdup(arena, place))) return keel_nomem(err, place);
    KEEL_TRY(keel_json_items_next(&objects->items, arena, object, err));
    if (!*object) keel_buf_free(&objects->text); /* so that the next file finds its memory */
    if (*object && !cJSON_IsObject(*object))
        return keel_fail(err, KEEL_E_PARSE, *where, "expected an object");
    return KEEL_OK;
}

keel_status keel__objects_next(keel__objects *objects, keel_source *source, keel_arena *arena,
                               const cJSON **object, const char **where, keel_err *err) {
    keel_status status = objects->begun ? KEEL_OK : begin_objects(objects, source, err);
    if (status == KEEL_OK && objects->whole)
        return fail_object(
            next_whole(objects, source, arena, object, where, err), "", 0,
            "in JSON Lines every line is one whole object; here the first one goes on: jq -c . FILE", err);
    if (status == KEEL_OK && !objects->array) return next_line(source, arena, object, where, err);
    if (status == KEEL_OK) status = next_item(objects, source, arena, object, where, err);
    return fail_object(status, "", 0, "", err);
}

void keel__objects_close(keel__objects *objects) {
    keel_buf_free(&objects->text);
}

void keel__objects_end(keel_reader *reader) {
    keel__objects_close(reader->state);
}

/* ---- shared by the formats ---- */

keel_status keel__print_value(keel_arena *arena, const cJSON *value, const char *where, const char **out,
                              keel_err *err) {
    keel_buf text = {0};
    const char *copy = NULL;
    if (value && value->child) {
        keel_status status = keel_json_print(value, false, &text, err);
        if (status == KEEL_OK && !(copy = keel_arena_strndup(arena, text.data, text.length)))
            status = keel_nomem(err, where);
        keel_buf_free(&text);
        if (status != KEEL_OK) return status;
    }
    *out = copy;
    return KEEL_OK;
}

size_t keel__decide_turns(keel_arena *arena, const keel_turn *turns, size_t n_turns,
                          keel_decision *decisions) {
    size_t n = 0;
    for (size_t i = 0; i < n_turns; i++) {
        if (turns[i].role != KEEL_ROLE_ASSISTANT) continue;
        keel_candidate *candidate = keel_arena_calloc(arena, 1, sizeof *candidate);
        if (!candidate) return SIZE_MAX;
        *candidate = (keel_candidate){.text = turns[i].text,
                                      .act = turns[i].act,
                                      .model = turns[i].model,
                                      .latency_ms = turns[i].latency_ms,
                                      .taken = true};
        decisions[n++] = (keel_decision){.turn = i, .n_candidates = 1, .candidates = candidate};
    }
    return n;
}
