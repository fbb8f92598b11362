#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "core/hash.h"

/* "<folder>/.<name>.<suffix>": where something waits before it takes its name, or after it lost it. */
static keel_status beside(char *out, size_t size, const char *path, const char *suffix, keel_err *err) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return keel_fail(err, KEEL_E_INVALID, path, "expected a path that ends in a name, got \"%s\"", path);
    int length = snprintf(out, size, "%.*s.%s.%s", (int)(name - path), path, name, suffix);
    if (length < 0 || (size_t)length >= size)
        return keel_fail(err, KEEL_E_INVALID, path, "the path is too long");
    return KEEL_OK;
}

static keel_status fail_errno(keel_err *err, const char *path, const char *doing) {
    return keel_fail(err, errno == ENOMEM ? KEEL_E_NOMEM : KEEL_E_IO, path, "cannot %s: %s", doing,
                     strerror(errno));
}

/* ---- questions ---- */

bool keel_file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

bool keel_file_is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Whether the name is free or stands for what is wanted itself, not through a link: renaming over anything
 * else would take it away (a link, or as root /dev/null). */
static bool may_replace(const char *path, mode_t wanted) {
    struct stat info;
    return lstat(path, &info) != 0 || (info.st_mode & S_IFMT) == wanted;
}

/* O_NONBLOCK: a pipe must not keep the very question waiting. It means nothing to a regular file. */
keel_status keel_file_open(const char *path, int *fd, keel_err *err) {
    struct stat info;
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0) return fail_errno(err, path, "open");
    if (fstat(opened, &info) == 0 && S_ISREG(info.st_mode)) {
        *fd = opened;
        return KEEL_OK;
    }
    close(opened);
    return keel_fail(err, KEEL_E_IO, path, "cannot read: %s",
                     S_ISDIR(info.st_mode) ? "it is a folder" : "it is no regular file");
}

keel_status keel_file_hash(const char *path, char hex[65], keel_err *err) {
    unsigned char block[1 << 16];
    int fd = -1;
    KEEL_TRY(keel_file_open(path, &fd, err));
    keel_sha256 hash;
    keel_sha256_init(&hash);
    ssize_t got;
    while ((got = read(fd, block, sizeof block)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) break;
        keel_sha256_add(&hash, block, (size_t)got);
    }
    keel_status status = got < 0 ? fail_errno(err, path, "read") : KEEL_OK;
    close(fd);
    if (status == KEEL_OK) keel_sha256_hex(&hash, hex);
    return status;
}

/* ---- atomic writes ---- */

static bool write_all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t put = write(fd, bytes, length);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return false;
        bytes += put;
        length -= (size_t)put;
    }
    return true;
}

/* Makes the names in the folder of path durable. Some file systems cannot (EINVAL): then there is nothing to
 * wait for. */
static bool sync_parent(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    if (slash && (size_t)(slash - path) >= sizeof folder) return errno = ENAMETOOLONG, false;
    snprintf(folder, sizeof folder, "%.*s",
             slash == path ? 1
             : slash       ? (int)(slash - path)
                           : 1,
             slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    bool done = fsync(fd) == 0 || errno == EINVAL;
    int saved = errno;
    close(fd);
    errno = saved;
    return done;
}

keel_status keel_file_write(const char *path, const void *bytes, size_t length, keel_err *err) {
    return keel_file_write_parts(path, &(keel_bytes){bytes, length}, 1, err);
}

keel_status keel_file_write_parts(const char *path, const keel_bytes *parts, size_t count, keel_err *err) {
    char temporary[4096];
    KEEL_TRY(beside(temporary, sizeof temporary, path, "partial", err));
    if (!may_replace(path, S_IFREG))
        return keel_fail(err, KEEL_E_CONFLICT, path, "expected a file or nothing, found something else");
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) return fail_errno(err, path, "create");
    bool good = true;
    for (size_t i = 0; good && i < count; i++) good = write_all(fd, parts[i].data, parts[i].length);
    good = good && fsync(fd) == 0;
    int saved = errno;
    if (close(fd) != 0 && good) good = false, saved = errno;
    if (good && rename(temporary, path) == 0) {
        return sync_parent(path) ? KEEL_OK : fail_errno(err, path, "sync the folder of");
    }
    if (!good) errno = saved;
    keel_status status = fail_errno(err, path, "write");
    unlink(temporary);
    return status;
}

/* ---- reading, gzip seen through ---- */

enum { CHUNK = 1 << 16, MAX_LINE = 1 << 26, DEFAULT_MAX_BYTES = 1 << 30 };

/* The bytes of a file after gunzip, if it is gzipped. inflate itself rather than gzread, which takes what
 * follows a broken member for padding and drops it in silence. */
typedef struct source {
    int fd;
    char *path;
    bool gzip, ended;  /* ended: no more input in the file */
    bool inside;       /* within a gzip member */
    z_stream inflater; /* next_in, avail_in: the unread input, plain files included */
    unsigned char input[CHUNK];
} source;

static void *zlib_alloc(void *unused, unsigned items, unsigned size) {
    (void)unused;
    return keel_calloc(items, size);
}

static void zlib_free(void *unused, void *memory) {
    (void)unused;
    keel_free(memory);
}

/* Adds input until there is some, or `least` bytes of it, or the file ends. */
static keel_status source_fill(source *from, size_t least, keel_err *err) {
    z_stream *z = &from->inflater;
    if (z->avail_in > 0) memmove(from->input, z->next_in, z->avail_in);
    z->next_in = from->input;
    while (z->avail_in < least && !from->ended) {
        ssize_t got = read(from->fd, from->input + z->avail_in, CHUNK - z->avail_in);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_errno(err, from->path, "read");
        from->ended = got == 0;
        z->avail_in += (unsigned)got;
    }
    return KEEL_OK;
}

static void source_close(source *from) {
    if (!from) return;
    if (from->gzip) inflateEnd(&from->inflater);
    if (from->fd >= 0) close(from->fd);
    keel_free(from->path);
    keel_free(from);
}

static keel_status source_open(source **out, const char *path, keel_err *err) {
    keel_status status = KEEL_OK;
    source *from = keel_calloc(1, sizeof *from);
    if (!from) return keel_fail(err, KEEL_E_NOMEM, path, "no memory to read the file");
    from->fd = -1;
    from->path = keel_strdup(path);
    if (!from->path) {
        status = keel_fail(err, KEEL_E_NOMEM, path, "no memory to read the file");
        goto fail;
    }
    KEEL_TRY_GOTO(keel_file_open(path, &from->fd, err), fail);
    KEEL_TRY_GOTO(source_fill(from, 2, err), fail);
    if (from->inflater.avail_in >= 2 && from->input[0] == 0x1f && from->input[1] == 0x8b) {
        from->inflater.zalloc = zlib_alloc;
        from->inflater.zfree = zlib_free;
        from->gzip = inflateInit2(&from->inflater, 15 + 16) == Z_OK;
        if (!from->gzip) {
            status = keel_fail(err, KEEL_E_NOMEM, path, "no memory to gunzip the file");
            goto fail;
        }
        from->inside = true;
    }
    *out = from;
    return KEEL_OK;
fail:
    source_close(from);
    return status;
}

/* Between gzip members: another may follow, after zero bytes of padding. */
static void source_next_member(source *from) {
    z_stream *z = &from->inflater;
    while (z->avail_in > 0 && *z->next_in == 0) z->next_in++, z->avail_in--;
    if (z->avail_in > 0) from->inside = inflateReset(z) == Z_OK;
}

/* Up to `room` (at least 1) more bytes; *got is 0 at the end only. */
static keel_status source_read(source *from, char *out, size_t room, size_t *got, keel_err *err) {
    z_stream *z = &from->inflater;
    z->next_out = (unsigned char *)out;
    z->avail_out = room > CHUNK ? CHUNK : (unsigned)room;
    unsigned wanted = z->avail_out;
    while (z->avail_out == wanted) {
        if (z->avail_in == 0) KEEL_TRY(source_fill(from, 1, err));
        if (z->avail_in == 0) break;
        if (!from->gzip) {
            unsigned take = z->avail_in < wanted ? z->avail_in : wanted;
            memcpy(out, z->next_in, take);
            z->next_in += take, z->avail_in -= take, z->avail_out -= take;
        } else if (!from->inside) {
            source_next_member(from);
        } else {
            int code = inflate(z, Z_NO_FLUSH);
            if (code == Z_MEM_ERROR)
                return keel_fail(err, KEEL_E_NOMEM, from->path, "no memory to gunzip the file");
            if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
                return keel_fail(err, KEEL_E_PARSE, from->path, "corrupt gzip data: %s",
                                 z->msg ? z->msg : "unknown fault");
            if (code == Z_STREAM_END) from->inside = false;
        }
    }
    if (from->inside && z->avail_out == wanted)
        return keel_fail(err, KEEL_E_PARSE, from->path, "the gzip data end too early: the file is cut off");
    *got = wanted - z->avail_out;
    return KEEL_OK;
}

keel_status keel_file_read(const char *path, size_t max_bytes, keel_buf *buf, keel_err *err) {
    char chunk[CHUNK];
    source *from;
    size_t got = 0, limit = max_bytes ? max_bytes : (size_t)DEFAULT_MAX_BYTES;
    keel_buf_clear(buf);
    KEEL_TRY(source_open(&from, path, err));
    keel_status status;
    while ((status = source_read(from, chunk, sizeof chunk, &got, err)) == KEEL_OK && got > 0) {
        if (got > limit - buf->length) {
            status = keel_fail(err, KEEL_E_INVALID, path, "expected at most %zu bytes, got more", limit);
            break;
        }
        keel_buf_append(buf, chunk, got);
        if (buf->failed) break;
    }
    if (status == KEEL_OK && buf->length == 0) keel_buf_append(buf, "", 0);
    if (buf->failed)
        status =
            keel_fail(err, KEEL_E_NOMEM, path, "no memory for the file's %zu bytes and more", buf->length);
    source_close(from);
    return status;
}

struct keel_line_reader {
    source *from;
    char *data; /* lines [start, end) still to be given out; one byte of room after end for a NUL */
    size_t start, end, capacity;
    size_t number; /* of the line given out last */
};

keel_status keel_line_reader_open(keel_line_reader **out, const char *path, keel_err *err) {
    keel_line_reader *reader = keel_calloc(1, sizeof *reader);
    if (!reader) return keel_fail(err, KEEL_E_NOMEM, path, "no memory for a line reader");
    keel_status status = source_open(&reader->from, path, err);
    if (status == KEEL_OK)
        *out = reader;
    else
        keel_free(reader);
    return status;
}

void keel_line_reader_close(keel_line_reader *reader) {
    if (!reader) return;
    source_close(reader->from);
    keel_free(reader->data);
    keel_free(reader);
}

/* Reads more behind the unfinished line, moving it to the front first. *got is 0 at the end of the file. */
static keel_status reader_fill(keel_line_reader *reader, size_t *got, keel_err *err) {
    size_t kept = reader->end - reader->start;
    if (kept >= MAX_LINE)
        return keel_fail(err, KEEL_E_INVALID, NULL, "the line is longer than %d MiB", MAX_LINE >> 20);
    if (reader->start > 0) memmove(reader->data, reader->data + reader->start, kept);
    reader->start = 0;
    reader->end = kept;
    if (reader->capacity < kept + CHUNK + 1) {
        size_t capacity = 2 * (kept + CHUNK);
        char *data = keel_realloc(reader->data, capacity);
        if (!data) return keel_fail(err, KEEL_E_NOMEM, NULL, "no memory for a line of %zu bytes", kept);
        reader->data = data;
        reader->capacity = capacity;
    }
    KEEL_TRY(source_read(reader->from, reader->data + kept, CHUNK, got, err));
    reader->end += *got;
    return KEEL_OK;
}

/* Puts "path:line" into an error. */
static keel_status fail_at_line(const keel_line_reader *reader, keel_status status, keel_err *err) {
    if (err) snprintf(err->where, sizeof err->where, "%s:%zu", reader->from->path, reader->number + 1);
    return status;
}

keel_status keel_line_reader_next(keel_line_reader *reader, char **line, size_t *length, size_t *number,
                                  keel_err *err) {
    size_t searched = 0, got = 0;
    char *newline;
    while (!(newline = reader->end > reader->start + searched
                           ? memchr(reader->data + reader->start + searched, '\n',
                                    reader->end - reader->start - searched)
                           : NULL)) {
        searched = reader->end - reader->start;
        keel_status status = reader_fill(reader, &got, err);
        if (status != KEEL_OK) return fail_at_line(reader, status, err);
        if (got == 0) break;
    }
    if (!newline && reader->end == reader->start) {
        *line = NULL;
        *length = 0;
        return KEEL_OK;
    }
    char *text = reader->data + reader->start, *stop = newline ? newline : reader->data + reader->end;
    reader->start = (size_t)(stop - reader->data) + (newline ? 1 : 0);
    if (newline && stop > text && stop[-1] == '\r') stop--;
    *stop = '\0';
    *line = text;
    *length = (size_t)(stop - text);
    reader->number++;
    if (number) *number = reader->number;
    return KEEL_OK;
}

/* ---- folders ---- */

static keel_status folder_make_one(const char *path, keel_err *err) {
    if (mkdir(path, 0777) == 0) return KEEL_OK;
    if (errno != EEXIST) return fail_errno(err, path, "make the folder");
    if (!keel_file_is_folder(path))
        return keel_fail(err, KEEL_E_CONFLICT, path, "expected a folder, found something else");
    return KEEL_OK;
}

keel_status keel_folder_make(const char *path, keel_err *err) {
    char prefix[4096];
    size_t length = strlen(path);
    if (length == 0) return keel_fail(err, KEEL_E_INVALID, path, "expected the path of a folder, got \"\"");
    if (length >= sizeof prefix) return keel_fail(err, KEEL_E_INVALID, path, "the path is too long");
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        memcpy(prefix, path, i);
        prefix[i] = '\0';
        KEEL_TRY(folder_make_one(prefix, err));
    }
    return KEEL_OK;
}

static bool has_suffix(const char *name, const char *const *suffixes) {
    if (!suffixes) return true;
    size_t length = strlen(name);
    for (; *suffixes; suffixes++) {
        size_t tail = strlen(*suffixes);
        if (tail <= length && strcmp(name + length - tail, *suffixes) == 0) return true;
    }
    return false;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Collects the names into a growing buffer of pointers; *count of them. */
static keel_status collect_names(DIR *folder, const char *path, const char *const *suffixes,
                                 keel_arena *arena, keel_buf *pointers, keel_err *err) {
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (!entry) return errno ? fail_errno(err, path, "list the folder") : KEEL_OK;
        struct stat info;
        if (!has_suffix(entry->d_name, suffixes) || fstatat(dirfd(folder), entry->d_name, &info, 0) != 0 ||
            !S_ISREG(info.st_mode))
            continue;
        const char *name = keel_arena_strdup(arena, entry->d_name);
        if (name) keel_buf_append(pointers, &name, sizeof name);
        if (!name || pointers->failed)
            return keel_fail(err, KEEL_E_NOMEM, path, "no memory for the names in the folder");
    }
}

keel_status keel_folder_list(const char *path, const char *const *suffixes, keel_arena *arena,
                             const char ***names, size_t *count, keel_err *err) {
    keel_buf pointers = {0};
    DIR *folder = opendir(path);
    if (!folder) return fail_errno(err, path, "open the folder");
    keel_status status = collect_names(folder, path, suffixes, arena, &pointers, err);
    closedir(folder);
    const char **list = NULL;
    if (status == KEEL_OK) {
        list = keel_arena_alloc(arena, pointers.length);
        if (!list) status = keel_fail(err, KEEL_E_NOMEM, path, "no memory for the names in the folder");
    }
    if (status == KEEL_OK) {
        *count = pointers.length / sizeof *list;
        if (*count > 0) memcpy(list, pointers.data, pointers.length);
        if (*count > 0) qsort(list, *count, sizeof *list, compare_names);
        *names = list;
    }
    keel_buf_free(&pointers);
    return status;
}

/* Does one thing to a name inside the folder `parent`: both return false with errno set. */
typedef bool visit_fn(int parent, const char *name, bool is_folder);

static bool remove_visit(int parent, const char *name, bool is_folder) {
    return unlinkat(parent, name, is_folder ? AT_REMOVEDIR : 0) == 0;
}

static bool sync_visit(int parent, const char *name, bool is_folder) {
    int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    bool done = fsync(fd) == 0 || (is_folder && errno == EINVAL);
    int saved = errno;
    close(fd);
    errno = saved;
    return done;
}

/* Visits everything below `name`, then `name` itself. Never goes through a symbolic link. */
static bool visit_tree(int parent, const char *name, visit_fn *visit) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        if (fd >= 0) close(fd);
        return false;
    }
    bool good = true;
    struct dirent *entry;
    while (good && (errno = 0, entry = readdir(folder))) {
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        good =
            fstatat(fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            (S_ISDIR(info.st_mode) ? visit_tree(fd, entry->d_name, visit) : visit(fd, entry->d_name, false));
    }
    good = good && errno == 0;
    int saved = errno;
    closedir(folder);
    errno = saved;
    return good && visit(parent, name, true);
}

/* The path without trailing slashes. */
static keel_status copy_path(char *out, size_t size, const char *path, keel_err *err) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    if (length == 0 || length >= size)
        return keel_fail(err, KEEL_E_INVALID, path,
                         length ? "the path is too long" : "expected a path, got \"\"");
    memcpy(out, path, length);
    out[length] = '\0';
    return KEEL_OK;
}

keel_status keel_folder_remove(const char *path, keel_err *err) {
    char clean[4112];
    struct stat info;
    KEEL_TRY(copy_path(clean, sizeof clean, path, err));
    if (lstat(clean, &info) != 0)
        return errno == ENOENT ? KEEL_OK : fail_errno(err, path, "remove the folder");
    if (!S_ISDIR(info.st_mode))
        return keel_fail(err, KEEL_E_CONFLICT, path, "expected a folder, found something else");
    return visit_tree(AT_FDCWD, clean, remove_visit) ? KEEL_OK : fail_errno(err, path, "remove the folder");
}

keel_status keel_folder_begin(keel_folder_write *folder, const char *path, keel_err *err) {
    keel_folder_write made = {{0}, {0}};
    char aside[sizeof made.temporary], parent[sizeof made.path];
    KEEL_TRY(copy_path(made.path, sizeof made.path, path, err));
    KEEL_TRY(beside(made.temporary, sizeof made.temporary, made.path, "partial", err));
    KEEL_TRY(beside(aside, sizeof aside, made.path, "old", err));
    if (!may_replace(made.path, S_IFDIR))
        return keel_fail(err, KEEL_E_CONFLICT, path, "expected a folder or nothing, found something else");
    memcpy(parent, made.path, sizeof parent);
    char *slash = strrchr(parent, '/');
    if (slash) slash[slash == parent ? 1 : 0] = '\0';
    if (slash) KEEL_TRY(keel_folder_make(parent, err));
    /* Killed in the middle of a commit: the older folder comes back. */
    if (!keel_file_exists(made.path) && keel_file_is_folder(aside) && rename(aside, made.path) != 0)
        return fail_errno(err, path, "restore the older folder of");
    KEEL_TRY(keel_folder_remove(aside, err));
    KEEL_TRY(keel_folder_remove(made.temporary, err));
    if (mkdir(made.temporary, 0777) != 0) return fail_errno(err, made.temporary, "make the folder");
    *folder = made;
    return KEEL_OK;
}

keel_status keel_folder_commit(keel_folder_write *folder, keel_err *err) {
    char aside[sizeof folder->temporary];
    KEEL_TRY(beside(aside, sizeof aside, folder->path, "old", err));
    if (!visit_tree(AT_FDCWD, folder->temporary, sync_visit))
        return fail_errno(err, folder->temporary, "sync");
    bool replaces = keel_file_exists(folder->path);
    if (replaces && rename(folder->path, aside) != 0) return fail_errno(err, folder->path, "move aside");
    if (rename(folder->temporary, folder->path) != 0) {
        keel_status status = fail_errno(err, folder->path, "put into place");
        if (replaces) (void)!rename(aside, folder->path);
        return status;
    }
    if (!sync_parent(folder->path)) return fail_errno(err, folder->path, "sync the folder of");
    folder->temporary[0] = '\0';
    return replaces ? keel_folder_remove(aside, err) : KEEL_OK;
}

void keel_folder_abandon(keel_folder_write *folder) {
    if (folder->temporary[0]) (void)keel_folder_remove(folder->temporary, NULL);
    folder->temporary[0] = '\0';
}

char *keel_path_join(keel_arena *arena, const char *folder, const char *name) {
    size_t head = strlen(folder);
    while (head > 0 && folder[head - 1] == '/') head--;
    bool slash = *folder != '\0';
    while (slash && *name == '/') name++;
    size_t tail = strlen(name);
    char *path = keel_arena_alloc(arena, head + slash + tail + 1);
    if (!path) return NULL;
    memcpy(path, folder, head);
    if (slash) path[head] = '/';
    memcpy(path + head + slash, name, tail + 1);
    return path;
}
