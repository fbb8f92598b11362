#include "core/process.h"

#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/console.h"
#include "core/json.h"
#include "core/mapped.h"

static keel_context own;

/* ---- memory within a limit ---- */

/* Signed: a block that was taken before there was a limit may be given back within it. */
static atomic_llong used;
static size_t limit = SIZE_MAX;

static size_t memory_left(void *user) {
    (void)user;
    long long now = atomic_load(&used);
    size_t taken = now > 0 ? (size_t)now : 0;
    return taken < limit ? limit - taken : 0;
}

/* While a block moves, old and new are both there: so much must be left. */
static void *resize_within(void *user, void *old, size_t bytes) {
    long long had = old ? (long long)malloc_usable_size(old) : 0;
    void *block = bytes <= memory_left(user) ? realloc(old, bytes) : NULL;
    if (block) atomic_fetch_add(&used, (long long)malloc_usable_size(block) - had);
    return block;
}

static void release_within(void *user, void *old) {
    (void)user;
    if (old) atomic_fetch_sub(&used, (long long)malloc_usable_size(old));
    free(old);
}

void keel_process_limit_memory(size_t bytes) {
    limit = bytes;
    own.allocator = (keel_allocator){resize_within, release_within, NULL, memory_left};
}

/* ---- signals ---- */

static atomic_int interrupted; /* by this signal; 0: not yet */

enum { N_ASKING = 3 };
static const int asking[N_ASKING] = {SIGINT, SIGTERM, SIGHUP};

/* The first signal asks; any of them after it kills as usual. */
static void on_signal(int number) {
    struct sigaction usual = {.sa_handler = SIG_DFL};
    atomic_store(&interrupted, number);
    for (int i = 0; i < N_ASKING; i++) sigaction(asking[i], &usual, NULL);
}

/* SIGINT, SIGTERM and SIGHUP set the flag. A SIGHUP that is ignored stays ignored: that is what nohup is for.
 */
static void install_handlers(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < N_ASKING; i++)
        if (asking[i] != SIGHUP || (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN))
            sigaction(asking[i], &action, NULL);
}

static void say(const char *text) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0) return; /* nobody is left to tell */
}

/* Nothing can go on that needs the bytes. Any other SIGBUS is a defect, and ends the process as usual. */
static void on_bus(int number, siginfo_t *about, void *context) {
    const char *path = keel_mapped_path(about->si_addr);
    struct sigaction usual = {.sa_handler = SIG_DFL};
    (void)context;
    if (!path) {
        sigaction(number, &usual, NULL);
        return;
    }
    say("keel: ");
    say(path);
    say(": cannot be read any more: it was cut short, or its disk failed, while it was in use\n"
        "hint: write a new file beside it and rename it, which leaves the old one to who uses it\n");
    _exit(1);
}

static void install_bus_handler(void) {
    struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

static bool signalled(void *user) {
    (void)user;
    return atomic_load(&interrupted) != 0;
}

bool keel_process_go_on(void) {
    int number = SIGINT;
    if (!atomic_compare_exchange_strong(&interrupted, &number, 0)) return false;
    install_handlers();
    return true;
}

/* The handler set its own signal back to what kills. */
void keel_process_end_by_signal(void) {
    const int number = atomic_load(&interrupted);
    fflush(NULL);
    if (number) raise(number);
}

/* ---- the process ---- */

keel_context *keel_process_own(void) {
    keel_context_init(&own);
    keel_console_attach(&own);
    own.interrupted = signalled;
    install_handlers();
    install_bus_handler();
    keel_json_use_allocator();
    keel_context_use(&own);
    return &own;
}
