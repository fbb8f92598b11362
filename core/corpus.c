#include "core/corpus.h"

/* True when the decision was a choice: one response taken out of several. */
static bool count_decision(keel_corpus_counts *counts, const keel_decision *decision) {
    bool taken = false, act = false, text = false, judged = false;
    for (size_t i = 0; i < decision->n_candidates; i++) {
        const keel_candidate *candidate = &decision->candidates[i];
        taken = taken || candidate->taken;
        text = text || (candidate->taken && candidate->text && candidate->text[0]);
        act = act || (candidate->taken && candidate->act);
        judged = judged || (candidate->taken && candidate->outcome != KEEL_OUTCOME_NONE);
    }
    counts->decisions++;
    counts->candidates += decision->n_candidates;
    counts->taken += taken;
    counts->with_act += act;
    counts->with_text += text;
    counts->judged += judged;
    return taken && decision->n_candidates >= 2;
}

void keel_corpus_count(keel_corpus_counts *counts, const keel_conversation *conversation) {
    bool choice = false;
    for (size_t i = 0; i < conversation->n_decisions; i++)
        choice = count_decision(counts, &conversation->decisions[i]) || choice;
    counts->conversations++;
    counts->with_risk += conversation->risk != KEEL_RISK_UNKNOWN;
    counts->choices += choice;
}
