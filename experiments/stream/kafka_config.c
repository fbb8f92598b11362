/* Files of properties for keel_kafka_open. */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "experiments/stream/kafka.h"

enum { MOST_BYTES = 1 << 20 };

/* What decides which messages are read, and how often. */
static const char *const ours[] = {"bootstrap.servers",
                                   "metadata.broker.list",
                                   "group.id",
                                   "group.instance.id",
                                   "enable.auto.commit",
                                   "enable.auto.offset.store",
                                   "auto.offset.reset",
                                   "enable.partition.eof",
                                   "plugin.library.paths",
                                   NULL};

static char *trimmed(char *from, char *end) {
    while (from < end && strchr(" \t\r", *from)) from++;
    while (end > from && strchr(" \t\r", end[-1])) end--;
    *end = '\0';
    return from;
}

static keel_status check_key(const char *key, const char *where, keel_err *err) {
    for (size_t i = 0; ours[i]; i++)
        if (strcmp(key, ours[i]) == 0)
            return keel_fail(err, KEEL_E_USAGE, where, "%s: Keel sets this itself", key);
    return KEEL_OK;
}

static keel_status read_line(char *line, char *end, const char *where, keel_kafka_property *out,
                             keel_err *err) {
    char *text = trimmed(line, end);
    *out = (keel_kafka_property){0};
    if (!*text || *text == '#') return KEEL_OK;
    char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return keel_fail(err, KEEL_E_PARSE, where, "expected KEY=VALUE, a blank line or a # comment");
    out->value = trimmed(equals + 1, strchr(equals + 1, '\0'));
    out->key = trimmed(text, equals);
    return check_key(out->key, where, err);
}

static keel_status read_lines(char *text, const char *path, keel_arena *arena, keel_kafka_property **out,
                              size_t *count, keel_err *err) {
    size_t capacity = 0, line = 0;
    for (char *at = text, *next; at; at = next) {
        char where[4200], *end = strchr(at, '\n');
        keel_kafka_property property;
        next = end ? end + 1 : NULL;
        if (!end) end = strchr(at, '\0');
        snprintf(where, sizeof where, "%s:%zu", path, ++line);
        KEEL_TRY(read_line(at, end, where, &property, err));
        if (!property.key) continue;
        property.line = line;
        if (!keel_arena_grow(arena, out, *count, &capacity, sizeof **out)) return keel_nomem(err, path);
        (*out)[(*count)++] = property;
    }
    return KEEL_OK;
}

keel_status keel_kafka_properties_read(const char *path, keel_arena *arena, keel_kafka_property **out,
                                       size_t *count, keel_err *err) {
    keel_buf file = {0};
    char *text = NULL;
    *out = NULL;
    *count = 0;
    keel_status status = keel_file_read(path, MOST_BYTES, &file, err);
    if (status == KEEL_OK && file.length && strlen(file.data) != file.length)
        status = keel_fail(err, KEEL_E_PARSE, path, "holds a NUL byte: it is no text");
    if (status == KEEL_OK && file.length && !(text = keel_arena_strndup(arena, file.data, file.length)))
        status = keel_nomem(err, path);
    keel_buf_free(&file);
    return status == KEEL_OK && text ? read_lines(text, path, arena, out, count, err) : status;
}
