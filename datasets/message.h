/* One message of a log, in whatever dialect it is written: OpenAI's (parts, tool calls, the function_call of
 * 2023, refusal, finish_reason, items of the Responses), Anthropic's (content blocks, stop_reason), Gemini's
 * and Bedrock's parts, LangChain's (type in place of role), ShareGPT's (from, value), and the names that
 * other tools give to the four roles. Of this, what begins with keel_ and one underscore is for
 * other folders.
 *
 * - Reasoning (parts of type thinking, reasoning) is no part of what was said.
 * - A call of a tool is said as name(arguments), behind what was said beside it, unless the text ends so.
 * - Results of tools inside a user's message are a turn of their own, of the tool, before what the user says.
 */
#ifndef KEEL_DATASETS_MESSAGE_H
#define KEEL_DATASETS_MESSAGE_H

#include "core/json.h"
#include "core/nouns.h"

/* What a message is called in a dialect; NULL: none of these keys stands in it. */
const char *keel__message_role_name(const cJSON *message);
/* "human", "prompter", "ASSISTANT", "gpt", "function", ...; false for a name that no dialect has. */
bool keel__message_role(const char *name, keel_role *out);
/* Whether the assistant says it. NULL: no. */
bool keel__message_is_answer(const cJSON *message);

typedef struct keel__message {
    keel_role role;
    const char *text;    /* what was said; NULL: nothing */
    const char *results; /* of tools, in a message that is not the tool's; NULL: none */
    bool refused;        /* the service marked it as a refusal */
    bool cut_off;        /* the service cut it off at a limit of length */
    bool whole;          /* text and results are all that its content holds */
} keel__message;

/* What a message, or a candidate, says: everything but its role. Texts in the arena. place ("file:line:
 * messages[3]") is put into errors. */
keel_status keel__message_content(const cJSON *message, const char *place, keel_arena *arena,
                                  keel__message *out, keel_err *err);
/* Whether a list of parts says just this text, and holds something else besides. */
bool keel__message_parts_say(const cJSON *parts, const char *text);
/* The same with the role. */
keel_status keel__message_read(const cJSON *message, const char *place, keel_arena *arena, keel__message *out,
                               keel_err *err);
/* What a list of messages says, as turns in the arena: roles and texts as an import would have them, and
 * acts. What a log may say besides (rewards, labels, candidates) is not read: the list may come from anybody.
 * Messages without any text are left out, unless they have an act. where is put into errors. */
keel_status keel_message_turns(const cJSON *messages, const char *where, keel_arena *arena, keel_turn **turns,
                               size_t *n, keel_err *err);
/* What one answer says, as an import would have it: a message, or an object with a content. *refused: the
 * service marked it as a refusal. *text NULL: nothing. */
keel_status keel_message_said(const cJSON *message, const char *where, keel_arena *arena, const char **text,
                              bool *refused, keel_err *err);
/* Why an answer ended, in the words of a service: sets refused or cut_off, or neither. */
void keel__message_ended(const char *reason, keel__message *out);
/* The keys under which services say so; NULL-terminated. */
extern const char *const keel__message_reasons[];
/* The same by these keys of a message, a choice or a reply, and by incomplete_details of OpenAI's Responses.
 */
void keel__message_ended_in(const cJSON *object, keel__message *out);

#endif
