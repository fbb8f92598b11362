/* Which conversation a request goes on. Clients send the whole talk each time and no name: a talk is known by
 * its messages up to the last answer, as it was given. The map lies in memory and is bounded; what it forgot,
 * or what a restart lost, begins a new conversation. Safe from several threads. */
#ifndef KEEL_EXPERIMENTS_SERVE_THREADS_H
#define KEEL_EXPERIMENTS_SERVE_THREADS_H

#include "core/nouns.h"
#include "core/status.h"

enum { KEEL_THREADS_NAME = 192 }; /* bytes of a conversation's name, with its end */

typedef struct keel_threads keel_threads;

/* most: talks that are remembered, at least 8; 0: 65,536. */
keel_status keel_threads_open(keel_threads **out, size_t most, keel_err *err);
void keel_threads_close(keel_threads *threads); /* NULL is harmless */

/* The name of the conversation that a request with these turns [n] goes on, into name. given: the client's
 * name for the talk, NULL or "": none; user: who asks, or NULL, so that two people who say the same are two
 * talks. New talks are called as they are given, or by the request. Where the same turns were answered
 * before, it is another conversation, "NAME~REQUEST". */
void keel_threads_find(keel_threads *threads, const char *given, const char *user, const keel_turn *turns,
                       size_t n, const char *request, char name[KEEL_THREADS_NAME]);
/* These turns [n], the last of them the answer, are of the conversation of this name. */
void keel_threads_put(keel_threads *threads, const char *given, const char *user, const keel_turn *turns,
                      size_t n, const char *name);

#endif
