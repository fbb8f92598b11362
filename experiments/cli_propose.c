#include "experiments/cli_propose.h"

#include <string.h>

#include "core/text.h"

static keel_status real(const keel_cli *cli, const char *flag, double standard, double low, double high,
                        double *out, keel_err *err) {
    const char *text = keel_cli_value(cli, flag);
    *out = standard;
    if (!text) return KEEL_OK;
    KEEL_TRY(keel_cli_numbers(flag, text, out, 1, err));
    if (*out >= low && *out <= high) return KEEL_OK;
    return keel_fail(err, KEEL_E_USAGE, flag, "expected %g to %g, got %g", low, high, *out);
}

keel_status keel_cli_read_propose(keel_cli *cli, keel_propose_ask *out, keel_err *err) {
    int64_t n = 4, max_tokens = 128, top_k = 0, seed = 1;
    keel_proposal_config *how = &out->how;
    KEEL_TRY(keel_cli_integer(cli, "--n", 0, 1000, &n, err));
    KEEL_TRY(keel_cli_integer(cli, "--max-tokens", 1, 100000, &max_tokens, err));
    KEEL_TRY(keel_cli_integer(cli, "--top-k", 0, 1000000, &top_k, err));
    KEEL_TRY(keel_cli_integer(cli, "--seed", 0, 9007199254740991, &seed, err));
    KEEL_TRY(real(cli, "--temperature", 0.8, 0, 100, &how->temperature, err));
    KEEL_TRY(real(cli, "--top-p", 0.95, 1e-6, 1, &how->top_p, err));
    KEEL_TRY(real(cli, "--min-p", 0, 0, 1, &how->min_p, err));
    KEEL_TRY(keel_cli_values(cli, "--told", &out->instruction, &out->n_instructions, err));
    out->n = (size_t)n;
    how->max_tokens = (size_t)max_tokens;
    how->top_k = (size_t)top_k;
    how->seed = (uint64_t)seed;
    for (size_t i = 0; i < out->n_instructions; i++)
        if (keel_utf8_valid_prefix(out->instruction[i], strlen(out->instruction[i])) !=
            strlen(out->instruction[i]))
            return keel_fail(err, KEEL_E_USAGE, "--told", "expected UTF-8 text");
    if (n > 0 || out->n_instructions > 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_USAGE, "--n", "no text is asked for: give --n above 0, or --told");
}

static bool is_there(const keel_decision *decision, const char *text) {
    for (size_t i = 0; i < decision->n_candidates; i++)
        if (strcmp(decision->candidates[i].text, text) == 0) return true;
    return false;
}

static keel_status propose_kind(const keel_propose_ask *ask, size_t kind, const keel_base *writer,
                                const keel_conversation *conversation, size_t decision, keel_arena *arena,
                                keel_err *err) {
    keel_decision *to = &conversation->decisions[decision];
    keel_proposal_item item = {conversation, decision, kind ? 1 : ask->n, NULL};
    keel_proposal_config how = ask->how;
    how.instruction = kind ? ask->instruction[kind - 1] : NULL;
    if (item.n == 0) return KEEL_OK;
    item.proposal = keel_arena_calloc(arena, item.n, sizeof *item.proposal);
    keel_candidate *all = keel_arena_calloc(arena, to->n_candidates + item.n, sizeof *all);
    if (!item.proposal || !all) return keel_nomem(err, "candidates");
    KEEL_TRY(keel_base_propose(writer, &item, 1, &how, arena, err));
    if (to->n_candidates > 0) memcpy(all, to->candidates, to->n_candidates * sizeof *all);
    to->candidates = all;
    for (size_t i = 0; i < item.n; i++)
        if (item.proposal[i].text[0] && !is_there(to, item.proposal[i].text))
            all[to->n_candidates++] =
                (keel_candidate){.text = item.proposal[i].text, .model = how.instruction};
    return KEEL_OK;
}

keel_status keel_cli_propose(const keel_propose_ask *ask, const keel_base *writer,
                             const keel_conversation *conversation, size_t decision, keel_arena *arena,
                             keel_err *err) {
    for (size_t kind = 0; kind <= ask->n_instructions; kind++)
        KEEL_TRY(propose_kind(ask, kind, writer, conversation, decision, arena, err));
    return KEEL_OK;
}
