/* Internal header of the decoder base: decisions and responses as tokens. */
#ifndef KEEL_POLICIES_DECODER_BASE_READING_H
#define KEEL_POLICIES_DECODER_BASE_READING_H

#include "policies/decoder_base/model.h"

/* A dialogue up to a decision, as the chat template writes it with the assistant about to speak. */
typedef struct keel_decoder_prompt {
    keel_tokens tokens;
    size_t turns_cut; /* earlier turns that the window does not take */
    bool cut;         /* or the last turn's own beginning */
} keel_decoder_prompt;

/* turns [0, turn) of the conversation; of more than state_tokens earlier turns are left out, whole.
 * instruction: what the assistant is told besides, or NULL. Special tokens that somebody wrote out are taken
 * apart, so that nobody speaks for another. In the arena. */
keel_status keel__decoder_prompt(const keel_decoder_base *model, const keel_conversation *conversation,
                                 size_t turn, const char *instruction, keel_arena *arena,
                                 keel_decoder_prompt *out, keel_err *err);

/* A response's tokens with the end of the turn; of more than candidate_tokens the first ones alone, without
 * an end. *cut counts what is left out. */
keel_status keel__decoder_response(const keel_decoder_base *model, const char *text, keel_arena *arena,
                                   keel_tokens *out, size_t *cut, keel_err *err);

/* What is scored of an action: the response of a candidate or fixed answer; in fixed spaces the name of the
 * act or outcome and a line break, so that no name is the beginning of another. */
keel_status keel__decoder_action(const keel_decoder_base *model, const keel_decision *decision, size_t action,
                                 keel_arena *arena, keel_tokens *out, size_t *cut, keel_err *err);
/* What is learned of a candidate: its response; in fixed spaces behind what is scored of its act or outcome.
 * count 0: it says nothing in the terms of the base. */
keel_status keel__decoder_lesson(const keel_decoder_base *model, const keel_candidate *candidate,
                                 keel_arena *arena, keel_tokens *out, size_t *cut, keel_err *err);

#endif
