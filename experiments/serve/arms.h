/* The arms of an experiment: who gets which policy. A unit, a user or a conversation, always gets the same
 * arm, by a hash of its name and the experiment's salt (sticky); a stopped arm gives its units to the first.
 */
#ifndef KEEL_EXPERIMENTS_SERVE_ARMS_H
#define KEEL_EXPERIMENTS_SERVE_ARMS_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

enum { KEEL_ARMS_MOST = 16 };

typedef struct keel_arm {
    const char *name, *dir;
    double share;        /* of all units, as given */
    atomic_bool stopped; /* of the first arm: never */
} keel_arm;

typedef struct keel_arms {
    keel_arm of[KEEL_ARMS_MOST];
    size_t n;         /* at least 1; the first is the control */
    const char *salt; /* another salt is another draw */
} keel_arms;

/* Texts [n] "NAME=DIR:SHARE", shares above 0 whose sum is 1, names of letters, digits, - _ and . that differ.
 * KEEL_E_USAGE. Texts in the arena. */
keel_status keel_arms_parse(const char *const *texts, size_t n, const char *salt, keel_arena *arena,
                            keel_arms *out, keel_err *err);
/* One arm "default" that serves a folder. */
void keel_arms_single(const char *dir, keel_arms *out);
/* {"NAME": SHARE, ...} as the store keeps it. */
void keel_arms_json(const keel_arms *arms, keel_buf *out);
/* The arm of a unit: what it was drawn for, and what it gets. stopped: bit i, the i-th arm is stopped now.
 * From any thread. */
size_t keel_arms_drawn(const keel_arms *arms, const char *unit);
size_t keel_arms_assign(const keel_arms *arms, const char *unit, uint32_t *stopped);
/* KEEL_ARMS_MOST: there is none of that name. */
size_t keel_arms_find(const keel_arms *arms, const char *name);

#endif
