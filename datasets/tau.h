/* What the results of tau-bench (Yao et al. 2024, arXiv 2406.12045) and of tau2-bench (Barres et al. 2025,
 * arXiv 2506.07982) share: agents serve simulated customers with tools, and the reward is computed from the
 * final database. Not for other folders.
 *
 * A task in which the agent may call no tool that writes is a "must not act" task. In domains where that
 * means that the policy forbids what the customer asks for, its risk is dangerous, and the last answer is
 * labelled: compliance if the agent wrote something, refusal if not. Elsewhere nothing is said about
 * refusals. */
#ifndef KEEL_DATASETS_TAU_H
#define KEEL_DATASETS_TAU_H

#include "datasets/reader_internal.h"
#include "datasets/value.h"

/* What both count, in the order of their rows in formats.c; the last two are of tau2 alone. */
enum {
    KEEL__TAU_CRASHED,
    KEEL__TAU_MUST_NOT_ACT,
    KEEL__TAU_FORBIDDEN_WRITES,
    KEEL__TAU_ACTIONS_DIFFER,
    KEEL__TAU_IN_FILES
};

typedef struct keel__tau_trial {
    const char *domain;    /* "airline", ...; NULL: unknown */
    const char *model;     /* the agent's */
    const cJSON *messages; /* a list */
    const cJSON *actions;  /* of the task, as the benchmark wants them: a list; NULL: unknown */
    keel_optional reward;  /* 1: completed */
    bool truncated;
    cJSON *meta; /* gets tool_calls, user_tool_calls, must_not_act, forbidden_writes */
} keel__tau_trial;

/* The whole conversation but id and group, in the builder's arena. at ("file: simulations[3]") is put into
 * errors; the last key is the name of the list of messages. */
keel_status keel__tau_read(const keel__tau_trial *trial, const char *at, const char *key, keel__value *build,
                           keel_conversation *out, keel_err *err);
/* Fills the conversation of a row; meta is an empty object. */
typedef keel_status keel__tau_fill(keel_reader *reader, const cJSON *row, const char *where,
                                   keel__value *build, cJSON *meta, keel_conversation *out, keel_err *err);
/* Gives the conversation of a row, whose place is out->where, and counts it. */
keel_status keel__tau_give(keel_reader *reader, keel__tau_fill *fill, const cJSON *row, keel_arena *arena,
                           keel_read *out, keel_err *err);
/* The domain whose tools are named in the text; NULL: none. */
const char *keel__tau_domain(const char *text, size_t length);
/* The agent by the name of its file: without folder and ending; the folder where the file is called results.
 * In the arena; NULL when out of memory. */
const char *keel__tau_agent(const keel_reader *reader, keel_arena *arena);
/* The name of the folder that is so many levels above the end of the path (1: the folder of the file), "tau2"
 * where the path does not say it. In the arena; NULL when out of memory. */
const char *keel__tau_folder(const char *path, int levels, keel_arena *arena);
/* Whether the source is one simulation of tau2-bench, in a file of its own. */
bool keel__tau_is_simulation(const keel_sniff *sniff);

#endif
