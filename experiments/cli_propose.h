/* How verbs have candidates written: the flags that say how, and what they ask for. */
#ifndef KEEL_EXPERIMENTS_CLI_PROPOSE_H
#define KEEL_EXPERIMENTS_CLI_PROPOSE_H

#include "experiments/cli.h"
#include "policies/base.h"

#define KEEL_FLAGS_PROPOSE                                                                                    \
    {"--n", "N", false, false, "texts at each decision, by sampling (default: 4)"},                           \
        {"--told", "TEXT", false, true,                                                                       \
         "one more text, written under this instruction, for example \"Refuse politely.\" or \"Ask back.\""}, \
        {"--max-tokens", "N", false, false, "most tokens of a text (default: 128)"},                          \
        {"--temperature", "T", false, false,                                                                  \
         "0: the most likely text; 1: as the base would say it (default: 0.8)"},                              \
        {"--top-p", "P", false, false,                                                                        \
         "sample from the likeliest tokens whose probabilities sum to P (default: 0.95)"},                    \
        {"--top-k", "K", false, false, "sample from the K likeliest tokens; 0: all (default: 0)"}, {          \
        "--min-p", "P", false, false,                                                                         \
            "sample from tokens at least P times as probable as the likeliest one (default: 0)"               \
    }

/* What is asked of a writer: n plain texts, and one for each instruction. */
typedef struct keel_propose_ask {
    size_t n, n_instructions;
    const char *const *instruction; /* argv's */
    keel_proposal_config how;       /* without instruction and pool */
} keel_propose_ask;

/* The flags above, and --seed. */
keel_status keel_cli_read_propose(keel_cli *cli, keel_propose_ask *out, keel_err *err);
/* KEEL_E_USAGE where no text is asked for. */
keel_status keel_cli_check_propose(const keel_propose_ask *ask, keel_err *err);
/* A decision at which texts are written. */
typedef struct keel_propose_place {
    const keel_conversation *conversation;
    size_t decision;
    const bool *cut; /* out: [n_candidates] whether a candidate was written and ends at max_tokens */
} keel_propose_place;
/* Adds the writer's texts to the candidates of each decision, in the arena: each once, none that is empty.
 * All are written together. */
keel_status keel_cli_propose(const keel_propose_ask *ask, const keel_base *writer, keel_propose_place *places,
                             size_t n, keel_arena *arena, keel_err *err);
extern const keel_candidate keel_cli_refusal; /* in words that fit any request */
/* Adds it to a decision over candidates whose base offers no fixed answer: of what is written nothing
 * may be safe. */
keel_status keel_cli_offer_refusal(const keel_base *base, keel_decision *decision, keel_arena *arena,
                                   keel_err *err);
/* What writes candidates: --writer, which is then the caller's in *own, or the policy's base if it can. *out
 * NULL: nothing. */
keel_status keel_cli_open_writer(const keel_cli *cli, const keel_base *base, keel_base **own,
                                 const keel_base **out, keel_err *err);
#define KEEL_FLAG_WRITER                                                                                     \
    {                                                                                                        \
        "--writer", "PATH", false, false,                                                                    \
            "what writes candidates: a base that can, or a decoder (default: the policy's base, if it can)"  \
    }

#endif
