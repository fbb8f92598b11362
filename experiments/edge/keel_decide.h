/* Keel's decisions in a program of yours: a policy with its base, as `keel train` and `keel compress` write
 * them, chooses answers in conversations. One library, libkeel_decide, which brings all that it needs but the
 * C library; nothing of Keel's other headers, nor of other libraries, is asked for. C99 and C++.
 *
 *     keel_decider *decider;
 *     const char *decision = NULL;
 *     int code = keel_decide_open("runs/policy", NULL, &decider);
 *     if (!code) code = keel_decide(decider, text, strlen(text), &decision);
 *     if (code) fprintf(stderr, "%s\n", keel_decide_error(decider));
 *     if (decision) puts(decision);
 *     keel_decide_close(decider);
 *
 * Threads: a decider is used by one thread at a time; each thread may have its own, and several are
 * independent. The library starts no thread, prints nothing, handles no signal, and keeps no state besides
 * deciders. Memory is the C library's (malloc). */
#ifndef KEEL_DECIDE_H
#define KEEL_DECIDE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct keel_decider keel_decider;

/* What went wrong; keel_decide_error says it in words. */
enum {
    KEEL_DECIDE_OK = 0,
    KEEL_DECIDE_BAD_INPUT = 1, /* the conversation: no JSON, a wrong key, no candidates; later ones may do */
    KEEL_DECIDE_BAD_MODEL = 2, /* a folder: missing, damaged, of another kind, policy and base that differ */
    KEEL_DECIDE_NO_MEMORY = 3,
    KEEL_DECIDE_FAILED = 4 /* anything else: a file that could not be read */
};

/* Opens the policy in a folder and its base: `base`, or, where that is NULL, the folder beside the policy's
 * that holds the base which the policy names. Every file is checked against its recorded hash, and the policy
 * against the base. *out is the caller's, to be closed, whatever comes back, so that it can be asked for the
 * error; it is NULL only without memory. Both folders must stay as they are until it is closed. */
int keel_decide_open(const char *policy, const char *base, keel_decider **out);

/* What the policy answers. conversation: one JSON object of `length` bytes in UTF-8, in the chat format:
 * {"messages": [{"role": "user", "content": "..."}, ...]}; it ends with a message of a user or a tool, or
 * with
 * {"role": "assistant", "content": null, "candidates": ["...", ...]}. *decision: an object as a line of `keel
 * decide --json`, whose "says" is the answer and "action" its place among "actions", "fallback" and
 * "unfamiliar" tell a choice that was none; NULL where the conversation waits for no answer, and on errors.
 * It is NUL-terminated, the decider's, and valid until the next call with this decider. */
int keel_decide(keel_decider *decider, const char *conversation, size_t length, const char **decision);

/* The error of the last call with this decider, in one line: where, what, and what to do about it; "" if it
 * went well. Of a decider that is NULL: that there was no memory. Valid until the next call. */
const char *keel_decide_error(const keel_decider *decider);

/* NULL is harmless. */
void keel_decide_close(keel_decider *decider);

#ifdef __cplusplus
}
#endif

#endif
