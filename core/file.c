#define _XOPEN_SOURCE 700 /* realpath */
#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/source.h"
#include "core/zlib_memory.h"

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

keel_status keel_file_fail(keel_err *err, const char *path, const char *doing) {
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
    if (opened < 0) return keel_file_fail(err, path, "open");
    if (fstat(opened, &info) == 0 && S_ISREG(info.st_mode)) {
        *fd = opened;
        return KEEL_OK;
    }
    close(opened);
    return keel_fail(err, KEEL_E_IO, path, "cannot read: %s",
                     S_ISDIR(info.st_mode) ? "it is a folder" : "it is no regular file");
}

keel_status keel_file_hash(const char *path, char hex[65], keel_err *err) {
    keel_source *from;
    KEEL_TRY(keel_source_open(&from, path, err));
    keel_status status = keel_source_hash(from, hex, err);
    keel_source_close(from);
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
    keel_path_parent(path, folder, sizeof folder);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    bool done = fsync(fd) == 0 || errno == EINVAL;
    int saved = errno;
    close(fd);
    errno = saved;
    return done;
}

/* Bytes go into a temporary file beside the final one, or, without a path, straight to standard output. */
struct keel_file_writer {
    int fd;
    bool gzip, to_stdout;
    z_stream deflater;
    char path[4096], temporary[4112];
    unsigned char packed[1 << 16];
};

static keel_status open_target(keel_file_writer *to, const char *path, keel_err *err) {
    to->to_stdout = !path;
    to->fd = STDOUT_FILENO;
    snprintf(to->path, sizeof to->path, "%s", path ? path : "standard output");
    if (!path) return KEEL_OK;
    KEEL_TRY(beside(to->temporary, sizeof to->temporary, path, "partial", err));
    if (strlen(path) >= sizeof to->path) return keel_fail(err, KEEL_E_INVALID, path, "the path is too long");
    if (!may_replace(path, S_IFREG))
        return keel_fail(err, KEEL_E_CONFLICT, path, "expected a file or nothing, found something else");
    to->fd = open(to->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    return to->fd < 0 ? keel_file_fail(err, path, "create") : KEEL_OK;
}

keel_status keel_file_writer_open(keel_file_writer **out, const char *path, bool gzip, keel_err *err) {
    keel_file_writer *to = keel_calloc(1, sizeof *to);
    if (!to) return keel_nomem(err, path);
    keel_status status = open_target(to, path, err);
    if (status != KEEL_OK) {
        keel_free(to);
        return status;
    }
    keel_zlib_memory(&to->deflater);
    to->gzip = gzip && deflateInit2(&to->deflater, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
                                    Z_DEFAULT_STRATEGY) == Z_OK;
    if (gzip && !to->gzip) {
        keel_file_writer_abandon(to);
        return keel_nomem(err, path);
    }
    *out = to;
    return KEEL_OK;
}

/* flush: Z_NO_FLUSH, or Z_FINISH at the end. */
static keel_status add_packed(keel_file_writer *to, const void *bytes, size_t length, int flush,
                              keel_err *err) {
    z_stream *z = &to->deflater;
    const unsigned char *from = length ? bytes : (const unsigned char *)"";
    do {
        const size_t take = length < 1 << 20 ? length : 1 << 20;
        z->next_in = (unsigned char *)(uintptr_t)from;
        z->avail_in = (unsigned)take;
        from += take;
        length -= take;
        do {
            z->next_out = to->packed;
            z->avail_out = sizeof to->packed;
            deflate(z, flush);
            if (!write_all(to->fd, (const char *)to->packed, sizeof to->packed - z->avail_out))
                return keel_file_fail(err, to->path, "write");
        } while (z->avail_out == 0);
    } while (length > 0);
    return KEEL_OK;
}

keel_status keel_file_writer_add(keel_file_writer *writer, const void *bytes, size_t length, keel_err *err) {
    if (writer->gzip) return length ? add_packed(writer, bytes, length, Z_NO_FLUSH, err) : KEEL_OK;
    return write_all(writer->fd, bytes, length) ? KEEL_OK : keel_file_fail(err, writer->path, "write");
}

void keel_file_writer_abandon(keel_file_writer *writer) {
    if (!writer) return;
    if (writer->gzip) deflateEnd(&writer->deflater);
    if (!writer->to_stdout) {
        close(writer->fd);
        unlink(writer->temporary);
    }
    keel_free(writer);
}

keel_status keel_file_writer_commit(keel_file_writer *writer, keel_err *err) {
    keel_status status = writer->gzip ? add_packed(writer, NULL, 0, Z_FINISH, err) : KEEL_OK;
    if (status != KEEL_OK || writer->to_stdout) {
        keel_file_writer_abandon(writer);
        return status;
    }
    bool good = fsync(writer->fd) == 0;
    int saved = errno;
    if (close(writer->fd) != 0 && good) good = false, saved = errno;
    if (!good) errno = saved;
    if (!good || rename(writer->temporary, writer->path) != 0) {
        status = keel_file_fail(err, writer->path, "write");
        unlink(writer->temporary);
    } else if (!sync_parent(writer->path)) {
        status = keel_file_fail(err, writer->path, "sync the folder of");
    }
    if (writer->gzip) deflateEnd(&writer->deflater);
    keel_free(writer);
    return status;
}

keel_status keel_file_write(const char *path, const void *bytes, size_t length, keel_err *err) {
    keel_file_writer *to = NULL;
    KEEL_TRY(keel_file_writer_open(&to, path, false, err));
    const keel_status status = keel_file_writer_add(to, bytes, length, err);
    if (status == KEEL_OK) return keel_file_writer_commit(to, err);
    keel_file_writer_abandon(to);
    return status;
}

/* ---- temporary files ---- */

const char *keel_file_temporary(void) {
    const char *folder = getenv("TMPDIR");
    return folder && *folder ? folder : "/var/tmp";
}

keel_status keel_file_unnamed(int *fd, keel_err *err) {
    char path[4096];
    const char *folder = keel_file_temporary();
    const int length = snprintf(path, sizeof path, "%s/keel-XXXXXX", folder);
    errno = ENAMETOOLONG;
    *fd = length > 0 && (size_t)length < sizeof path ? mkstemp(path) : -1;
    if (*fd >= 0) return unlink(path), KEEL_OK;
    keel_file_fail(err, folder, "make a temporary file");
    return keel_hint(err, "TMPDIR names the folder of temporary files");
}

/* ---- reading ---- */

keel_status keel_file_read(const char *path, size_t max_bytes, keel_buf *buf, keel_err *err) {
    keel_source *from;
    keel_buf_clear(buf);
    KEEL_TRY(keel_source_open(&from, path, err));
    keel_status status = keel_source_rest(from, max_bytes, buf, err);
    keel_source_close(from);
    return status;
}

/* ---- folders ---- */

static keel_status folder_make_one(const char *path, keel_err *err) {
    if (mkdir(path, 0777) == 0) return KEEL_OK;
    if (errno != EEXIST) return keel_file_fail(err, path, "make the folder");
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

typedef struct listing {
    const char *path; /* the folder that was asked for */
    const char *const *suffixes;
    keel_arena *arena;
    keel_buf pointers; /* to the names found so far */
} listing;

static keel_status list_below(listing *to, const char *below, size_t depth, keel_err *err);

/* below: the folder that it is in, from to->path on; "" for that one itself. */
static keel_status list_entry(listing *to, int folder, const char *below, const char *name, size_t depth,
                              keel_err *err) {
    struct stat info;
    const bool dots = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    if (dots || fstatat(folder, name, &info, 0) != 0) return KEEL_OK;
    const bool inner = S_ISDIR(info.st_mode) && depth > 0;
    if (inner && fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode))
        return KEEL_OK;
    if (!inner && (!S_ISREG(info.st_mode) || !has_suffix(name, to->suffixes))) return KEEL_OK;
    const char *full = *below ? keel_path_join(to->arena, below, name) : keel_arena_strdup(to->arena, name);
    if (full && inner) return list_below(to, full, depth - 1, err);
    if (full) keel_buf_append(&to->pointers, &full, sizeof full);
    if (full && !to->pointers.failed) return KEEL_OK;
    return keel_fail(err, KEEL_E_NOMEM, to->path, "no memory for the names in the folder");
}

static keel_status list_below(listing *to, const char *below, size_t depth, keel_err *err) {
    const char *path = *below ? keel_path_join(to->arena, to->path, below) : to->path;
    if (!path) return keel_fail(err, KEEL_E_NOMEM, to->path, "no memory for the names in the folder");
    DIR *folder = opendir(path);
    if (!folder) return keel_file_fail(err, path, "open the folder");
    keel_status status = KEEL_OK;
    while (status == KEEL_OK) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (!entry && errno) status = keel_file_fail(err, path, "list the folder");
        if (!entry) break;
        status = list_entry(to, dirfd(folder), below, entry->d_name, depth, err);
    }
    closedir(folder);
    return status;
}

static keel_status list_folder(const char *path, const char *const *suffixes, size_t depth, keel_arena *arena,
                               const char ***names, size_t *count, keel_err *err) {
    listing to = {.path = path, .suffixes = suffixes, .arena = arena};
    keel_status status = list_below(&to, "", depth, err);
    keel_buf pointers = to.pointers;
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

keel_status keel_folder_list(const char *path, const char *const *suffixes, keel_arena *arena,
                             const char ***names, size_t *count, keel_err *err) {
    return list_folder(path, suffixes, 0, arena, names, count, err);
}

keel_status keel_folder_list_deep(const char *path, const char *const *suffixes, keel_arena *arena,
                                  const char ***names, size_t *count, keel_err *err) {
    return list_folder(path, suffixes, 4, arena, names, count, err);
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
        return errno == ENOENT ? KEEL_OK : keel_file_fail(err, path, "remove the folder");
    if (!S_ISDIR(info.st_mode))
        return keel_fail(err, KEEL_E_CONFLICT, path, "expected a folder, found something else");
    return visit_tree(AT_FDCWD, clean, remove_visit) ? KEEL_OK
                                                     : keel_file_fail(err, path, "remove the folder");
}

keel_status keel_folder_begin(keel_folder_write *folder, const char *path, keel_err *err) {
    keel_folder_write made = {{0}, {0}};
    char aside[sizeof made.temporary], parent[sizeof made.path];
    KEEL_TRY(copy_path(made.path, sizeof made.path, path, err));
    KEEL_TRY(beside(made.temporary, sizeof made.temporary, made.path, "partial", err));
    KEEL_TRY(beside(aside, sizeof aside, made.path, "old", err));
    if (!may_replace(made.path, S_IFDIR))
        return keel_fail(err, KEEL_E_CONFLICT, path, "expected a folder or nothing, found something else");
    keel_path_parent(made.path, parent, sizeof parent);
    KEEL_TRY(keel_folder_make(parent, err));
    /* Killed in the middle of a commit: the older folder comes back. */
    if (!keel_file_exists(made.path) && keel_file_is_folder(aside) && rename(aside, made.path) != 0)
        return keel_file_fail(err, path, "restore the older folder of");
    KEEL_TRY(keel_folder_remove(aside, err));
    KEEL_TRY(keel_folder_remove(made.temporary, err));
    if (mkdir(made.temporary, 0777) != 0) return keel_file_fail(err, made.temporary, "make the folder");
    *folder = made;
    return KEEL_OK;
}

keel_status keel_folder_commit(keel_folder_write *folder, keel_err *err) {
    char aside[sizeof folder->temporary];
    KEEL_TRY(beside(aside, sizeof aside, folder->path, "old", err));
    if (!visit_tree(AT_FDCWD, folder->temporary, sync_visit))
        return keel_file_fail(err, folder->temporary, "sync");
    bool replaces = keel_file_exists(folder->path);
    if (replaces && rename(folder->path, aside) != 0) return keel_file_fail(err, folder->path, "move aside");
    if (rename(folder->temporary, folder->path) != 0) {
        keel_status status = keel_file_fail(err, folder->path, "put into place");
        if (replaces) (void)!rename(aside, folder->path);
        return status;
    }
    if (!sync_parent(folder->path)) return keel_file_fail(err, folder->path, "sync the folder of");
    folder->temporary[0] = '\0';
    return replaces ? keel_folder_remove(aside, err) : KEEL_OK;
}

void keel_folder_abandon(keel_folder_write *folder) {
    if (folder->temporary[0]) (void)keel_folder_remove(folder->temporary, NULL);
    folder->temporary[0] = '\0';
}

keel_status keel_path_absolute(const char *path, keel_arena *arena, const char **out, keel_err *err) {
    char *whole = realpath(path, NULL);
    *out = whole ? keel_arena_strdup(arena, whole) : NULL;
    free(whole); /* the C library's own */
    return *out ? KEEL_OK : keel_fail(err, KEEL_E_IO, path, "its place cannot be found");
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

char *keel_path_beside(keel_arena *arena, const char *path, const char *suffix) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') start--;
    const size_t bytes = end + strlen(suffix) + sizeof "..";
    char *made = keel_arena_alloc(arena, bytes);
    if (made)
        snprintf(made, bytes, "%.*s.%.*s.%s", (int)start, path, (int)(end - start), path + start, suffix);
    return made;
}

void keel_path_parent(const char *path, char *out, size_t size) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    while (length > 0 && path[length - 1] != '/') length--;
    if (length == 0)
        snprintf(out, size, ".");
    else
        snprintf(out, size, "%.*s", (int)length, path);
}
