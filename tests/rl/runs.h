/* What tests share that compare runs of training: what the runs made, and runs that are interrupted or
 * killed. */
#ifndef KEEL_TESTS_RL_RUNS_H
#define KEEL_TESTS_RL_RUNS_H

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "core/parallel.h"
#include "policies/encode_store.h"
#include "rl/fixture.h"
#include "support/interrupt.h"

static inline void run_encode(keel_store *store, const keel_base *base) {
    keel_pool *pool = NULL;
    MUST(keel_pool_open(&pool, 1, err));
    MUST(keel_encode_store(store, NULL, base, pool, NULL, err));
    keel_pool_close(pool);
}

/* Files a + name and b + name of the folder. */
static inline void assert_same_file(const char *folder, const char *a, const char *b, const char *name) {
    char path[2][600], hex[2][65];
    snprintf(path[0], sizeof path[0], "%s/%s%s", folder, a, name);
    snprintf(path[1], sizeof path[1], "%s/%s%s", folder, b, name);
    for (size_t i = 0; i < 2; ++i) MUST(keel_file_hash(path[i], hex[i], err));
    assert_string_equal(hex[0], hex[1]);
}

/* What the artefact says of itself; the caller deletes. */
static inline cJSON *run_manifest(const char *folder, const char *out) {
    char path[64];
    cJSON *manifest = NULL;
    snprintf(path, sizeof path, "%s/keel.json", out);
    MUST(keel_json_parse_file(scratch_path(folder, path), &manifest, err));
    return manifest;
}

/* Waits until a run's metrics hold so many lines. */
static inline void run_await_lines(const char *path, size_t lines) {
    for (int i = 0; i < 50000; ++i) {
        keel_buf text = {0};
        size_t there = 0;
        if (keel_file_exists(path) && keel_file_read(path, 0, &text, NULL) == KEEL_OK)
            for (size_t c = 0; c < text.length; ++c) there += text.data[c] == '\n';
        keel_buf_free(&text);
        if (there >= lines) break;
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
}

/* Interrupts as soon as a run's metrics hold so many lines, wherever the run is by then. */
typedef struct run_watch {
    char path[600];
    size_t lines;
    pthread_t thread;
} run_watch;

static inline void *run_watch_lines(void *context) {
    const run_watch *watch = context;
    run_await_lines(watch->path, watch->lines);
    interrupt_set(true);
    return NULL;
}

static inline void run_watch_begin(run_watch *watch, const char *folder, const char *metrics, size_t lines) {
    watch->lines = lines;
    snprintf(watch->path, sizeof watch->path, "%s/%s", folder, metrics);
    assert_int_equal(pthread_create(&watch->thread, NULL, run_watch_lines, watch), 0);
}

/* After the run. */
static inline void run_watch_end(run_watch *watch) {
    pthread_join(watch->thread, NULL);
    interrupt_set(false);
}

/* In a child process: the store once more, as a handle does not cross a fork. */
static inline keel_store *run_store(const char *folder) {
    keel_store *store = NULL;
    if (keel_store_open(&store, scratch_path(folder, "logs.keel"), KEEL_STORE_READ, NULL) != KEEL_OK)
        _exit(1);
    return store;
}

/* Whether it was still running. */
static inline bool run_kill(pid_t child) {
    int how;
    kill(child, SIGKILL);
    waitpid(child, &how, 0);
    return WIFSIGNALED(how);
}

#endif
