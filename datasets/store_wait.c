/* Waiting for another process that writes to the store, and stopping when asked to. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "datasets/store_internal.h"

enum { WAIT_MS = 5000, TELL_MS = 500, PAUSE_MS = 20, STEPS_A_POLL = 1 << 20 };

static void tell(const keel_store *store) {
    char who[32] = "";
    const long holder = keel__store_holder(store);
    if (holder) snprintf(who, sizeof who, " (%ld)", holder);
    keel_log(KEEL_LOG_INFO, "note: %s: waiting for another process%s to write", store->path, who);
}

/* Called by SQLite each time it finds the store locked: nonzero tries again. */
static int wait_a_little(void *user, int tries) {
    if (tries == TELL_MS / PAUSE_MS) tell(user);
    if (keel_interrupted() || tries >= WAIT_MS / PAUSE_MS) return 0;
    keel_clock_sleep(PAUSE_MS / 1e3);
    return 1;
}

/* Called by SQLite inside long queries: nonzero stops. Writers are let through: they poll between statements,
 * and some of them keep what they have done so far. */
static int stop_reading(void *user) {
    const keel_store *store = user;
    return keel_interrupted() && sqlite3_get_autocommit(store->db);
}

void keel__store_wait_install(keel_store *store) {
    sqlite3_busy_handler(store->db, wait_a_little, store);
    sqlite3_progress_handler(store->db, STEPS_A_POLL, stop_reading, store);
}

static unsigned long long inode_of(const char *path, const char *suffix) {
    char name[4200];
    struct stat about;
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return stat(name, &about) == 0 ? (unsigned long long)about.st_ino : 0;
}

/* Linux lists who holds which lock. Asking the file itself is not possible: to close it again would give up
 * the locks that SQLite holds on it for this process. */
long keel__store_holder(const keel_store *store) {
    const unsigned long long log = inode_of(store->path, "-shm"), file = inode_of(store->path, "");
    FILE *locks = fopen("/proc/locks", "re");
    char line[256];
    long holder = 0;
    while (!holder && locks && fgets(line, sizeof line, locks)) {
        long pid;
        unsigned long long inode, first;
        /* 1: POSIX  ADVISORY  WRITE 4711 08:01:131072 120 120 */
        if (sscanf(line, "%*d: POSIX %*s WRITE %ld %*x:%*x:%llu %llu", &pid, &inode, &first) != 3) continue;
        if (((inode == log && log) || (inode == file && file)) && pid > 0 && pid != (long)getpid())
            holder = pid;
    }
    if (locks) fclose(locks);
    return holder;
}
