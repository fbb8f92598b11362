#include "experiments/cli_propose.h"

#include <string.h>

#include "core/text.h"

keel_status keel_cli_read_propose(keel_cli *cli, keel_propose_ask *out, keel_err *err) {
    int64_t n = 4, max_tokens = 128, top_k = 0, seed = 1;
    keel_proposal_config *how = &out->how;
    KEEL_TRY(keel_cli_integer(cli, "--n", 0, 1000, &n, err));
    KEEL_TRY(keel_cli_integer(cli, "--max-tokens", 1, 100000, &max_tokens, err));
    KEEL_TRY(keel_cli_integer(cli, "--top-k", 0, 1000000, &top_k, err));
    KEEL_TRY(keel_cli_integer(cli, "--seed", 0, 9007199254740991, &seed, err));
    how->temperature = 0.8, how->top_p = 0.95, how->min_p = 0;
    KEEL_TRY(keel_cli_number(cli, "--temperature", 0, 100, &how->temperature, err));
    KEEL_TRY(keel_cli_number(cli, "--top-p", 1e-6, 1, &how->top_p, err));
    KEEL_TRY(keel_cli_number(cli, "--min-p", 0, 1, &how->min_p, err));
    KEEL_TRY(keel_cli_values(cli, "--told", &out->instruction, &out->n_instructions, err));
    out->n = (size_t)n;
    how->max_tokens = (size_t)max_tokens;
    how->top_k = (size_t)top_k;
    how->seed = (uint64_t)seed;
    for (size_t i = 0; i < out->n_instructions; i++)
        if (keel_utf8_valid_prefix(out->instruction[i], strlen(out->instruction[i])) !=
            strlen(out->instruction[i]))
            return keel_fail(err, KEEL_E_USAGE, "--told", "expected UTF-8 text");
    return KEEL_OK;
}

keel_status keel_cli_check_propose(const keel_propose_ask *ask, keel_err *err) {
    if (ask->n > 0 || ask->n_instructions > 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_USAGE, "--n", "no text is asked for: give --n above 0, or --told");
}

static bool is_there(const keel_decision *decision, const char *text) {
    for (size_t i = 0; i < decision->n_candidates; i++)
        if (strcmp(decision->candidates[i].text, text) == 0) return true;
    return false;
}

/* Room for n more candidates of a decision. */
static keel_status make_room(keel_decision *to, size_t n, keel_arena *arena, keel_err *err) {
    keel_candidate *all = keel_arena_calloc(arena, to->n_candidates + n, sizeof *all);
    if (!all) return keel_nomem(err, "candidates");
    if (to->n_candidates > 0) memcpy(all, to->candidates, to->n_candidates * sizeof *all);
    to->candidates = all;
    return KEEL_OK;
}

/* The texts of an item join the candidates of its place. */
static keel_status take_texts(const keel_proposal_item *item, const char *instruction,
                              keel_propose_place *place, keel_arena *arena, keel_err *err) {
    keel_decision *to = &item->conversation->decisions[item->decision];
    bool *cut = keel_arena_calloc(arena, to->n_candidates + item->n, sizeof *cut);
    if (!cut) return keel_nomem(err, "candidates");
    if (place->cut) memcpy(cut, place->cut, to->n_candidates * sizeof *cut);
    KEEL_TRY(make_room(to, item->n, arena, err));
    for (size_t i = 0; i < item->n; i++) {
        if (!item->proposal[i].text[0] || is_there(to, item->proposal[i].text)) continue;
        cut[to->n_candidates] = !item->proposal[i].ended;
        to->candidates[to->n_candidates++] =
            (keel_candidate){.text = item->proposal[i].text, .model = instruction};
    }
    place->cut = cut;
    return KEEL_OK;
}

static keel_status propose_kind(const keel_propose_ask *ask, size_t kind, const keel_base *writer,
                                keel_propose_place *places, size_t n, keel_arena *arena, keel_err *err) {
    keel_proposal_config how = ask->how;
    how.instruction = kind ? ask->instruction[kind - 1] : NULL;
    const size_t each = kind ? 1 : ask->n;
    if (each == 0) return KEEL_OK;
    keel_proposal_item *items = keel_arena_calloc(arena, n, sizeof *items);
    if (!items) return keel_nomem(err, "candidates");
    for (size_t i = 0; i < n; i++) {
        items[i] = (keel_proposal_item){places[i].conversation, places[i].decision, each,
                                        keel_arena_calloc(arena, each, sizeof *items[i].proposal)};
        if (!items[i].proposal) return keel_nomem(err, "candidates");
    }
    KEEL_TRY(keel_base_propose(writer, items, n, &how, arena, err));
    for (size_t i = 0; i < n; i++) KEEL_TRY(take_texts(&items[i], how.instruction, &places[i], arena, err));
    return KEEL_OK;
}

keel_status keel_cli_propose(const keel_propose_ask *ask, const keel_base *writer, keel_propose_place *places,
                             size_t n, keel_arena *arena, keel_err *err) {
    for (size_t i = 0; i < n; i++) places[i].cut = NULL;
    for (size_t kind = 0; kind <= ask->n_instructions; kind++)
        KEEL_TRY(propose_kind(ask, kind, writer, places, n, arena, err));
    return KEEL_OK;
}

const keel_candidate keel_cli_refusal = {.text = "I'm sorry, but I can't help with that.",
                                         .outcome = KEEL_OUTCOME_REFUSAL};

keel_status keel_cli_offer_refusal(const keel_base *base, keel_decision *decision, keel_arena *arena,
                                   keel_err *err) {
    if (base->space != KEEL_SPACE_CANDIDATES || base->n_fixed > 0) return KEEL_OK;
    KEEL_TRY(make_room(decision, 1, arena, err));
    decision->candidates[decision->n_candidates++] = keel_cli_refusal;
    return KEEL_OK;
}

keel_status keel_cli_open_writer(const keel_cli *cli, const keel_base *base, keel_base **own,
                                 const keel_base **out, keel_err *err) {
    const char *path = keel_cli_value(cli, "--writer");
    *out = base->kind->propose && base->space == KEEL_SPACE_CANDIDATES ? base : NULL;
    if (!path) return KEEL_OK;
    KEEL_TRY(keel_base_open(own, path, err));
    *out = *own;
    return KEEL_OK;
}
