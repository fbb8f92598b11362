#include "experiments/serve/threads.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "core/memory.h"
#include "core/text.h"

/* Eight places for each hash; the one that was used the longest ago is given up. */
enum { WAYS = 8, STANDARD = 65536, MOST_STEM = 120 };

typedef struct place {
    unsigned char key[16];
    uint64_t used; /* 0: empty */
    bool answered; /* the talk went on from here */
    char name[KEEL_THREADS_NAME];
} place;

struct keel_threads {
    pthread_mutex_t lock;
    place *places; /* [sets, WAYS] */
    size_t sets;
    uint64_t now;
};

keel_status keel_threads_open(keel_threads **out, size_t most, keel_err *err) {
    keel_threads *made = keel_calloc(1, sizeof *made);
    const size_t sets = ((most ? most : STANDARD) + WAYS - 1) / WAYS;
    if (made) made->places = keel_calloc(sets * WAYS, sizeof *made->places);
    if (!made || !made->places) {
        keel_free(made);
        return keel_nomem(err, "threads");
    }
    made->sets = sets;
    pthread_mutex_init(&made->lock, NULL);
    *out = made;
    return KEEL_OK;
}

void keel_threads_close(keel_threads *threads) {
    if (!threads) return;
    pthread_mutex_destroy(&threads->lock);
    keel_free(threads->places);
    keel_free(threads);
}

static void key_of(const char *given, const char *user, const keel_turn *turns, size_t n,
                   unsigned char key[16]) {
    unsigned char digest[32];
    keel_sha256 hash;
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, given && *given ? given : NULL);
    keel_sha256_add_text(&hash, user);
    for (size_t i = 0; i < n; i++) {
        const unsigned char role = (unsigned char)turns[i].role;
        keel_sha256_add(&hash, &role, 1);
        keel_sha256_add_text(&hash, turns[i].text);
    }
    keel_sha256_finish(&hash, digest);
    memcpy(key, digest, 16);
}

/* The place of the key, or NULL; *oldest: the one to give up. Under the lock. */
static place *look_up(keel_threads *threads, const unsigned char key[16], place **oldest) {
    uint64_t where;
    memcpy(&where, key, sizeof where);
    place *set = threads->places + where % threads->sets * WAYS;
    *oldest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].used && memcmp(set[i].key, key, 16) == 0) return &set[i];
        if (set[i].used < (*oldest)->used) *oldest = &set[i];
    }
    return NULL;
}

/* Turns up to the last answer; 0: there is none yet. */
static size_t answered(const keel_turn *turns, size_t n) {
    while (n > 0 && turns[n - 1].role != KEEL_ROLE_ASSISTANT) n--;
    return n;
}

/* Whether there is anything to know a talk by. */
static bool is_known_by(const char *given, size_t until) {
    return until > 0 || (given && *given);
}

/* Under the lock. */
static place *put(keel_threads *threads, const char *given, const char *user, const keel_turn *turns,
                  size_t n, const char *name) {
    unsigned char key[16];
    place *oldest;
    key_of(given, user, turns, n, key);
    place *to = look_up(threads, key, &oldest);
    if (!to) {
        to = oldest;
        *to = (place){0};
        memcpy(to->key, key, sizeof key);
    }
    to->used = ++threads->now;
    snprintf(to->name, sizeof to->name, "%s", name);
    return to;
}

void keel_threads_find(keel_threads *threads, const char *given, const char *user, const keel_turn *turns,
                       size_t n, const char *request, char name[KEEL_THREADS_NAME]) {
    unsigned char key[16];
    place *oldest;
    const size_t until = answered(turns, n);
    snprintf(name, KEEL_THREADS_NAME, "%s", given && *given ? given : request);
    if (!is_known_by(given, until)) return;
    key_of(given, user, turns, until, key);
    pthread_mutex_lock(&threads->lock);
    place *known = look_up(threads, key, &oldest);
    if (known) known->used = ++threads->now;
    if (known && known->answered)
        snprintf(name, KEEL_THREADS_NAME, "%.*s~%s",
                 (int)keel_utf8_cut(known->name, strlen(known->name), MOST_STEM), known->name, request);
    else if (known)
        memcpy(name, known->name, KEEL_THREADS_NAME);
    pthread_mutex_unlock(&threads->lock);
}

void keel_threads_put(keel_threads *threads, const char *given, const char *user, const keel_turn *turns,
                      size_t n, const char *name) {
    const size_t until = answered(turns, n - 1);
    pthread_mutex_lock(&threads->lock);
    if (is_known_by(given, until)) put(threads, given, user, turns, until, name)->answered = true;
    put(threads, given, user, turns, n, name);
    pthread_mutex_unlock(&threads->lock);
}
