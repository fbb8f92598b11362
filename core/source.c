#include "core/source.h"

#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_customMem: its memory is the context's */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/interrupt.h"
#include "core/zlib_memory.h"

enum { CHUNK = 1 << 16, MAX_LINE = 1 << 26, MAX_PEEK = 1 << 20, DEFAULT_MAX_BYTES = 1 << 30 };

/* inflate itself rather than gzread, which takes what follows a broken gzip member for padding and ignores
 * it. */
struct keel_source {
    char *name;
    bool has_path;
    int fd;              /* -1: in memory */
    const char *bytes;   /* [length] in memory */
    size_t length, read; /* read: raw bytes taken so far */
    bool gzip, ended;    /* ended: no more raw bytes */
    bool inside;         /* within a gzip member or a zstd frame */
    ZSTD_DStream *zstd;  /* NULL: not compressed with zstd */
    z_stream inflater;   /* next_in, avail_in: raw bytes not yet used, of plain sources too */
    char *data;          /* decompressed bytes [start, end) to be given out, with room for a NUL after end */
    size_t start, end, capacity;
    size_t line; /* number of the line given out last */
    unsigned char input[CHUNK];
};

/* ---- raw bytes ---- */

/* Up to `room` bytes from the place `at`; *got is 0 at the end. */
static keel_status read_at(const keel_source *from, size_t at, void *out, size_t room, size_t *got,
                           keel_err *err) {
    ssize_t count;
    if (from->fd < 0) {
        *got = at >= from->length ? 0 : from->length - at < room ? from->length - at : room;
        if (*got) memcpy(out, from->bytes + at, *got);
        return KEEL_OK;
    }
    while ((count = pread(from->fd, out, room, (off_t)at)) < 0 && errno == EINTR) continue;
    if (count < 0) return keel_file_fail(err, from->name, "read");
    *got = (size_t)count;
    return KEEL_OK;
}

/* Adds raw bytes until there are `least` of them or the source ends. */
static keel_status fill_input(keel_source *from, size_t least, keel_err *err) {
    z_stream *z = &from->inflater;
    if (z->avail_in > 0) memmove(from->input, z->next_in, z->avail_in);
    z->next_in = from->input;
    while (z->avail_in < least && !from->ended) {
        size_t got = 0;
        KEEL_TRY(read_at(from, from->read, from->input + z->avail_in, CHUNK - z->avail_in, &got, err));
        from->ended = got == 0;
        from->read += got;
        z->avail_in += (unsigned)got;
    }
    return KEEL_OK;
}

keel_status keel_source_hash(const keel_source *source, char hex[65], keel_err *err) {
    unsigned char block[CHUNK];
    size_t got = 0, at = 0;
    keel_sha256 hash;
    keel_sha256_init(&hash);
    do {
        KEEL_TRY(read_at(source, at, block, sizeof block, &got, err));
        keel_sha256_add(&hash, block, got);
        at += got;
    } while (got > 0);
    keel_sha256_hex(&hash, hex);
    return KEEL_OK;
}

/* ---- opening ---- */

static void *zstd_alloc(void *unused, size_t size) {
    (void)unused;
    return keel_alloc(size);
}

void keel_source_close(keel_source *source) {
    if (!source) return;
    if (source->gzip) inflateEnd(&source->inflater);
    ZSTD_freeDStream(source->zstd);
    if (source->fd >= 0) close(source->fd);
    keel_free(source->data);
    keel_free(source->name);
    keel_free(source);
}

static keel_status make_source(keel_source **out, const char *name, keel_err *err) {
    keel_source *made = keel_calloc(1, sizeof *made);
    if (made) made->name = keel_strdup(name);
    if (!made || !made->name) {
        keel_free(made);
        return keel_nomem(err, name);
    }
    made->fd = -1;
    *out = made;
    return KEEL_OK;
}

/* A frame of data, or one to be skipped, with which parallel compressors begin. */
static bool is_zstd(const unsigned char *begin, size_t length) {
    return length >= 4 && (memcmp(begin, "\x28\xB5\x2F\xFD", 4) == 0 ||
                           (begin[0] >> 4 == 5 && memcmp(begin + 1, "\x2A\x4D\x18", 3) == 0));
}

/* Looks at the first bytes; closes the source if that fails. */
static keel_status begin(keel_source *from, keel_source **out, keel_err *err) {
    keel_status status;
    KEEL_TRY_GOTO(fill_input(from, 4, err), fail);
    if (from->inflater.avail_in >= 2 && from->input[0] == 0x1f && from->input[1] == 0x8b) {
        keel_zlib_memory(&from->inflater);
        from->gzip = inflateInit2(&from->inflater, 15 + 16) == Z_OK;
        if (!from->gzip) {
            status = keel_nomem(err, from->name);
            goto fail;
        }
        from->inside = true;
    } else if (is_zstd(from->input, from->inflater.avail_in)) {
        from->zstd = ZSTD_createDStream_advanced((ZSTD_customMem){zstd_alloc, keel_zlib_free, NULL});
        if (!from->zstd) {
            status = keel_nomem(err, from->name);
            goto fail;
        }
        from->inside = true;
    }
    *out = from;
    return KEEL_OK;
fail:
    keel_source_close(from);
    return status;
}

keel_status keel_source_open(keel_source **out, const char *path, keel_err *err) {
    keel_source *from = NULL;
    KEEL_TRY(make_source(&from, path, err));
    from->has_path = true;
    keel_status status = keel_file_open(path, &from->fd, err);
    if (status == KEEL_OK) return begin(from, out, err);
    keel_source_close(from);
    return status;
}

keel_status keel_source_open_memory(keel_source **out, const char *name, const void *bytes, size_t length,
                                    keel_err *err) {
    keel_source *from = NULL;
    KEEL_TRY(make_source(&from, name, err));
    from->bytes = bytes;
    from->length = length;
    return begin(from, out, err);
}

/* Copies the stream into from->fd, a temporary file that has no name. */
static keel_status copy_stream(keel_source *from, int stream, keel_err *err) {
    KEEL_TRY(keel_file_unnamed(&from->fd, err));
    for (;;) {
        ssize_t got = read(stream, from->input, CHUNK);
        if (got == 0) return KEEL_OK;
        if (keel_interrupted())
            return keel_fail(err, KEEL_E_INTERRUPTED, from->name, "nothing of it was kept");
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return keel_file_fail(err, from->name, "read");
        for (ssize_t put, done = 0; done<got; done += put> 0 ? put : 0) {
            put = write(from->fd, from->input + done, (size_t)(got - done));
            if (put < 0 && errno != EINTR)
                return keel_file_fail(err, from->name, "copy it to a temporary file");
        }
    }
}

keel_status keel_source_open_stream(keel_source **out, int descriptor, const char *name, keel_err *err) {
    keel_source *from = NULL;
    struct stat info;
    KEEL_TRY(make_source(&from, name, err));
    const off_t at = lseek(descriptor, 0, SEEK_CUR);
    const bool regular = fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode) && at == 0;
    if (regular) from->fd = dup(descriptor);
    keel_status status = regular ? KEEL_OK : copy_stream(from, descriptor, err);
    if (status == KEEL_OK && from->fd < 0) status = keel_file_fail(err, from->name, "read");
    if (status == KEEL_OK) return begin(from, out, err);
    keel_source_close(from);
    return status;
}

const char *keel_source_name(const keel_source *source) {
    return source->name;
}

const char *keel_source_path(const keel_source *source) {
    return source->has_path ? source->name : NULL;
}

/* ---- decompressed bytes ---- */

/* Between gzip members: another may follow, after zero bytes of padding. */
static void next_member(keel_source *from) {
    z_stream *z = &from->inflater;
    while (z->avail_in > 0 && *z->next_in == 0) z->next_in++, z->avail_in--;
    if (z->avail_in > 0) from->inside = inflateReset(z) == Z_OK;
}

static keel_status decompress_zstd(keel_source *from, keel_err *err) {
    z_stream *z = &from->inflater;
    ZSTD_inBuffer in = {z->next_in, z->avail_in, 0};
    ZSTD_outBuffer out = {z->next_out, z->avail_out, 0};
    const size_t code = ZSTD_decompressStream(from->zstd, &out, &in);
    if (ZSTD_isError(code) && ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
        return keel_nomem(err, from->name);
    if (ZSTD_isError(code))
        return keel_fail(err, KEEL_E_PARSE, from->name, "corrupt zstd data: %s", ZSTD_getErrorName(code));
    z->next_in += in.pos, z->avail_in -= (unsigned)in.pos;
    z->next_out += out.pos, z->avail_out -= (unsigned)out.pos;
    from->inside = code != 0;
    return KEEL_OK;
}

static keel_status decompress(keel_source *from, keel_err *err) {
    z_stream *z = &from->inflater;
    if (from->zstd) return decompress_zstd(from, err);
    int code = inflate(z, Z_NO_FLUSH);
    if (code == Z_MEM_ERROR) return keel_nomem(err, from->name);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
        return keel_fail(err, KEEL_E_PARSE, from->name, "corrupt gzip data: %s",
                         z->msg ? z->msg : "unknown fault");
    if (code == Z_STREAM_END) from->inside = false;
    return KEEL_OK;
}

/* Up to `room` (at least 1) more bytes; *got is 0 at the end only. */
static keel_status read_bytes(keel_source *from, char *out, size_t room, size_t *got, keel_err *err) {
    z_stream *z = &from->inflater;
    z->next_out = (unsigned char *)out;
    z->avail_out = room > CHUNK ? CHUNK : (unsigned)room;
    unsigned wanted = z->avail_out;
    while (z->avail_out == wanted) {
        if (z->avail_in == 0) KEEL_TRY(fill_input(from, 1, err));
        const bool last = z->avail_in == 0; /* zstd may still have bytes to give out */
        if (last && !(from->zstd && from->inside)) break;
        if (!from->gzip && !from->zstd) {
            unsigned take = z->avail_in < wanted ? z->avail_in : wanted;
            memcpy(out, z->next_in, take);
            z->next_in += take, z->avail_in -= take, z->avail_out -= take;
        } else if (from->gzip && !from->inside) {
            next_member(from);
        } else {
            KEEL_TRY(decompress(from, err));
            if (last) break;
        }
    }
    if (from->inside && z->avail_out == wanted)
        return keel_fail(err, KEEL_E_PARSE, from->name, "the %s data end too early: the file is cut off",
                         from->zstd ? "zstd" : "gzip");
    *got = wanted - z->avail_out;
    return KEEL_OK;
}

/* Reads more behind what is there, which moves to the front first. *got is 0 at the end of the source. */
static keel_status read_more(keel_source *from, size_t *got, keel_err *err) {
    size_t kept = from->end - from->start;
    if (from->start > 0) memmove(from->data, from->data + from->start, kept);
    from->start = 0;
    from->end = kept;
    if (from->capacity < kept + CHUNK + 1) {
        size_t capacity = 2 * (kept + CHUNK);
        char *data = keel_realloc(from->data, capacity);
        if (!data) return keel_nomem(err, from->name);
        from->data = data;
        from->capacity = capacity;
    }
    KEEL_TRY(read_bytes(from, from->data + kept, CHUNK, got, err));
    from->end += *got;
    return KEEL_OK;
}

keel_status keel_source_peek(keel_source *source, size_t least, const char **data, size_t *length,
                             keel_err *err) {
    size_t got = 1;
    if (least > MAX_PEEK) least = MAX_PEEK;
    while (source->end - source->start < least && got > 0) KEEL_TRY(read_more(source, &got, err));
    *data = source->end > source->start ? source->data + source->start : "";
    *length = source->end - source->start;
    return KEEL_OK;
}

/* ---- lines ---- */

/* The end of the line that begins at start: its '\n', or NULL if the source ends before one. */
static keel_status find_newline(keel_source *from, char **newline, keel_err *err) {
    size_t searched = 0, got = 0;
    for (;;) {
        const size_t there = from->end - from->start;
        *newline =
            there > searched ? memchr(from->data + from->start + searched, '\n', there - searched) : NULL;
        if (*newline) return KEEL_OK;
        if (there >= MAX_LINE)
            return keel_fail(err, KEEL_E_INVALID, NULL, "the line is longer than %d MiB", MAX_LINE >> 20);
        searched = there;
        KEEL_TRY(read_more(from, &got, err));
        if (got == 0) return KEEL_OK;
    }
}

keel_status keel_source_line(keel_source *source, char **line, size_t *length, size_t *number,
                             keel_err *err) {
    char *newline = NULL;
    keel_status status = find_newline(source, &newline, err);
    if (status != KEEL_OK) {
        if (err) snprintf(err->where, sizeof err->where, "%s:%zu", source->name, source->line + 1);
        return status;
    }
    *line = NULL;
    *length = 0;
    if (!newline && source->end == source->start) return KEEL_OK;
    char *text = source->data + source->start, *stop = newline ? newline : source->data + source->end;
    source->start = (size_t)(stop - source->data) + (newline ? 1 : 0);
    if (newline && stop > text && stop[-1] == '\r') stop--;
    *stop = '\0';
    *line = text;
    *length = (size_t)(stop - text);
    source->line++;
    if (number) *number = source->line;
    return KEEL_OK;
}

/* ---- the whole ---- */

keel_status keel_source_rest(keel_source *source, size_t max_bytes, keel_buf *buf, keel_err *err) {
    char chunk[CHUNK];
    size_t got = source->end - source->start, limit = max_bytes ? max_bytes : (size_t)DEFAULT_MAX_BYTES;
    const char *more = got ? source->data + source->start : NULL;
    keel_buf_clear(buf);
    keel_buf_append(buf, "", 0);
    do {
        if (got > limit - buf->length)
            return keel_fail(err, KEEL_E_INVALID, source->name, "expected at most %zu bytes, got more",
                             limit);
        keel_buf_append(buf, more, got);
        if (buf->failed) return keel_nomem(err, source->name);
        more = chunk;
        KEEL_TRY(read_bytes(source, chunk, sizeof chunk, &got, err));
    } while (got > 0);
    source->start = source->end = 0;
    return KEEL_OK;
}
