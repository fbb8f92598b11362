/* The chat format, which Keel reads and writes: one JSON object a conversation, {"id", "messages": [{"role",
 * "content", ...}], ...}, in the shape that chat services log. All keys but `messages`, `role` and `content`
 * are optional.
 *
 * Conversation: id (text or whole number; without one, a hash of the object), messages, risk ("benign",
 * "dangerous"), completed, truncated (true or false), split, group, meta (an object).
 * Message: role ("system", "developer", "user", "assistant", "tool"), content (a text, null, or a list of
 * parts), latency_ms, model, act. Of an assistant's message also propensity, feedback ("up", "down", or a
 * number in [-1, 1]), reward (a number, the accuracy, or {"accuracy", "speed", "safety"}), outcome
 * ("compliance", "partial_refusal", "refusal") with judge ("human", which is the default, "rule" or "model"),
 * and candidates, what else could have been said: texts, or objects with the same keys and taken (true where
 * it was said too). The last message may be an assistant's that has candidates and no content: a decision
 * that was never taken. Keys that are not listed here are kept in meta, and those of messages and candidates
 * in meta.messages.
 *
 * Export adds the key `keel` to a conversation that needs it: {"source": the format that it was imported
 * from, if not this one, "decisions": [turns]}, the latter where the decisions are not what the messages
 * imply: then only those messages are decisions, and all of their candidates are in `candidates`. */
#ifndef KEEL_DATASETS_CHAT_H
#define KEEL_DATASETS_CHAT_H

#include "core/api.h"
#include "core/memory.h"
#include "core/nouns.h"
#include "core/status.h"

KEEL_BEGIN_DECLS

/* Reads the JSON object that fills text[0..length). Everything in *out lies in the arena. where ("file:line")
 * is put into errors. */
keel_status keel_chat_read(const char *text, size_t length, const char *where, keel_arena *arena,
                           keel_conversation *out, keel_err *err);
/* Appends the conversation to out as one line of JSON without its line end. keel_chat_read gives it back, but
 * for row ids and the order of candidates. KEEL_E_INVALID if its meta is not a JSON object. */
keel_status keel_chat_write(const keel_conversation *conversation, keel_buf *out, keel_err *err);

KEEL_END_DECLS

#endif
