/* For a program that owns its process: signal handlers, stderr, and where cJSON takes its memory. A program
 * that embeds Keel among other things fills in a context of its own instead (core/context.h) and calls
 * nothing of this. */
#ifndef KEEL_CORE_PROCESS_H
#define KEEL_CORE_PROCESS_H

#include "core/context.h"

/* Binds a context to the calling thread and returns it, to be changed before other threads start: log lines
 * and progress go to stderr; the first SIGINT, SIGTERM or SIGHUP (unless ignored) interrupts and the next one
 * kills; a file that is cut short while it is mapped (core/mapped.h) ends the process with an error that
 * names it, and status 1. cJSON takes its memory from Keel's allocator. */
keel_context *keel_process_own(void);

/* Ends the process by the signal that interrupted it, so that a shell that runs it in a loop stops too;
 * returns if there was none. Call it last: what is buffered for stdout and stderr is written, nothing else
 * is. */
void keel_process_end_by_signal(void);

/* Takes an interrupt by SIGINT back: calls go on, and the next signal is the first again. false: there was
 * none, or another signal, which stays. For programs in which it ends what is done, not all. */
bool keel_process_go_on(void);

/* What that context hands out from now on is counted, over all threads; an allocation that would exceed the
 * limit fails as if memory had run out. Not counted: the program itself, stacks, and what libraries other
 * than cJSON (and SQLite, see keel_store_use_allocator) take, such as OpenBLAS's 32 MB a thread. */
void keel_process_limit_memory(size_t bytes);

#endif
