#include "core/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"

/* Another process may have removed the file between our open and our lock: then the lock is of nothing. */
static bool is_still_there(int file, const char *path) {
    struct stat mine, there;
    return fstat(file, &mine) == 0 && lstat(path, &there) == 0 && mine.st_ino == there.st_ino &&
           mine.st_dev == there.st_dev;
}

static keel_status fail_taken(int file, const char *path, keel_err *err) {
    struct flock held = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char who[32] = "";
    if (fcntl(file, F_GETLK, &held) == 0 && held.l_type != F_UNLCK)
        snprintf(who, sizeof who, " (%ld)", (long)held.l_pid);
    keel_fail(err, KEEL_E_CONFLICT, path, "another process%s is at work here", who);
    return keel_hint(err, "wait for it to end, or choose another --out");
}

keel_status keel_lock_take(keel_lock *lock, const char *path, keel_err *err) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    keel_lock made = {.held = true};
    char parent[sizeof made.path];
    int length = snprintf(made.path, sizeof made.path, "%s.lock", path);
    if (length < 0 || (size_t)length >= sizeof made.path)
        return keel_fail(err, KEEL_E_INVALID, path, "the path is too long");
    keel_path_parent(made.path, parent, sizeof parent);
    KEEL_TRY(keel_folder_make(parent, err));
    for (;;) {
        made.file = open(made.path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
        bool locked = made.file >= 0 && fcntl(made.file, F_SETLK, &whole) == 0;
        if (locked && is_still_there(made.file, made.path)) break;
        keel_status status = KEEL_OK;
        if (!locked && made.file >= 0 && (errno == EACCES || errno == EAGAIN))
            status = fail_taken(made.file, path, err);
        else if (!locked)
            status = keel_file_fail(err, made.path, "lock");
        if (made.file >= 0) close(made.file);
        if (status != KEEL_OK) return status;
    }
    *lock = made;
    return KEEL_OK;
}

/* Removed while it is still locked: nobody else can be holding what goes. */
void keel_lock_release(keel_lock *lock) {
    if (!lock->held) return;
    unlink(lock->path);
    close(lock->file);
    lock->held = false;
}
