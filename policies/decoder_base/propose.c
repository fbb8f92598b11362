#include "policies/decoder_base/propose.h"

#include <string.h>

#include "core/hash.h"
#include "policies/transformer/generate.h"

/* So many texts are written at once: more is hardly faster, and takes memory. */
enum { AT_ONCE = 16 };

/* Items that are worked on together. */
typedef struct proposing {
    const keel_decoder_base *model;
    const keel_proposal_item *items;
    const keel_proposal_config *config;
    keel_decoder_memory *memory; /* [n] */
    keel_generation *job;        /* texts of all items, one item behind the other */
    size_t n, jobs;
    keel_arena work;     /* what they take, and no longer */
    keel_arena *scratch; /* their texts */
} proposing;

/* The draws of a text: its conversation, its turn, its place, by names that no import changes. */
static uint64_t seed_of(const keel_proposal_item *item, size_t place, const keel_proposal_config *config) {
    const size_t turn = item->conversation->decisions[item->decision].turn;
    const uint64_t at = keel_hash64_mix(keel_conversation_name_hash(item->conversation), turn << 16 | place);
    const char *told = config->instruction ? config->instruction : "";
    return keel_hash64_mix(keel_hash64_mix(at, keel_hash64(told, strlen(told), 0)), config->seed);
}

static keel_status read_item(proposing *p, size_t i, keel_err *err) {
    const keel_proposal_item *item = &p->items[i];
    const size_t turn = item->conversation->decisions[item->decision].turn;
    const keel_tokens *end = &p->model->ending;
    keel_decoder_prompt prompt;
    KEEL_TRY(keel__decoder_prompt(p->model, item->conversation, turn, p->config->instruction, &p->work,
                                  &prompt, err));
    KEEL_TRY(
        keel__decoder_read_prompt(p->model, &prompt.tokens, &p->memory[i], p->config->pool, &p->work, err));
    for (size_t k = 0; k < item->n; k++)
        p->job[p->jobs++] = (keel_generation){.prompt = p->memory[i].read,
                                              .sampling = {.temperature = p->config->temperature,
                                                           .top_p = p->config->top_p,
                                                           .top_k = p->config->top_k,
                                                           .min_p = p->config->min_p,
                                                           .repetition_penalty = 1,
                                                           .seed = seed_of(item, k, p->config)},
                                              .max_tokens = p->config->max_tokens,
                                              .stop_id = end->id + (end->count ? end->count - 1 : 0),
                                              .n_stop_id = end->count > 0};
    return KEEL_OK;
}

static const char *trimmed(const char *text, keel_arena *arena) {
    static const char space[] = " \t\r\n";
    text += strspn(text, space);
    size_t n = strlen(text);
    while (n > 0 && strchr(space, text[n - 1])) n--;
    char *copy = keel_arena_calloc(arena, n + 1, 1);
    if (copy) memcpy(copy, text, n);
    return copy;
}

static keel_status hand_out(const proposing *p, keel_err *err) {
    const keel_generation *job = p->job;
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < p->items[i].n; k++, job++) {
            keel_proposal *to = &p->items[i].proposal[k];
            *to = (keel_proposal){trimmed(job->text, p->scratch), job->log_prob,
                                  job->ended == KEEL_ENDED_TOKEN || job->ended == KEEL_ENDED_STOP};
            if (!to->text) return keel_nomem(err, "decoder base");
        }
    return KEEL_OK;
}

static keel_status propose(proposing *p, keel_err *err) {
    size_t jobs = 0;
    for (size_t i = 0; i < p->n; i++) jobs += p->items[i].n;
    p->memory = keel_arena_calloc(&p->work, p->n + 1, sizeof *p->memory);
    p->job = keel_arena_calloc(&p->work, jobs + 1, sizeof *p->job);
    if (!p->memory || !p->job) return keel_nomem(err, "decoder base");
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < p->n && status == KEEL_OK; i++) status = read_item(p, i, err);
    if (status == KEEL_OK)
        status = keel_generate(p->model->llama, p->job, p->jobs, AT_ONCE, p->config->pool, &p->work, err);
    if (status == KEEL_OK) status = hand_out(p, err);
    for (size_t i = 0; i < p->n; i++) keel__decoder_forget(&p->memory[i]);
    keel_arena_free(&p->work);
    return status;
}

keel_status keel__decoder_base_propose(const keel_base *base, const keel_proposal_item *items, size_t n,
                                       const keel_proposal_config *config, keel_arena *scratch,
                                       keel_err *err) {
    if (base->space != KEEL_SPACE_CANDIDATES)
        return keel_fail(err, KEEL_E_UNSUPPORTED, "decoder base",
                         "one that was tuned over %s names them, and writes no candidates",
                         keel_space_name(base->space));
    for (size_t first = 0, some; first < n; first += some) {
        size_t jobs = 0;
        for (some = 0; first + some < n && (some == 0 || jobs + items[first + some].n <= AT_ONCE); some++)
            jobs += items[first + some].n;
        proposing p = {.model = (const keel_decoder_base *)base,
                       .items = items + first,
                       .config = config,
                       .n = some,
                       .scratch = scratch};
        KEEL_TRY(propose(&p, err));
    }
    return KEEL_OK;
}
