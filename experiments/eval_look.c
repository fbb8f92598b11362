#include "experiments/eval_look.h"

#include <string.h>

#include "core/json.h"

keel_status keel_eval_look_open(keel_eval_look *look, size_t most_cases, keel_err *err) {
    *look = (keel_eval_look){0};
    KEEL_TRY(keel_slices_open(&look->slices, err));
    return keel_cases_open(&look->cases, most_cases, err);
}

void keel_eval_look_close(keel_eval_look *look) {
    keel_slices_close(look->slices);
    keel_cases_close(look->cases);
    *look = (keel_eval_look){0};
}

keel_status keel_eval_look_at(void *context, const keel_evaluate_seen *seen, keel_err *err) {
    keel_eval_look *look = context;
    const keel_conversation *c = seen->conversation;
    look->conversations++;
    look->simulated += strcmp(c->source, "simulator") == 0;
    for (size_t d = 0; d < c->n_decisions; d++) {
        bool answered = false;
        for (size_t k = 0; k < c->decisions[d].n_candidates; k++) {
            const keel_candidate *one = &c->decisions[d].candidates[k];
            if (!one->taken) continue;
            answered = true;
            look->labelled[one->outcome == KEEL_OUTCOME_NONE ? KEEL_AUTHORITY_NONE : one->judge]++;
        }
        look->decisions += answered;
    }
    KEEL_TRY(keel_slices_add(look->slices, seen, err));
    return keel_cases_add(look->cases, seen, err);
}

void keel_eval_look_add(keel_eval_look *look, cJSON *result, double confidence) {
    cJSON *on = cJSON_AddObjectToObject(result, "judged_on");
    cJSON_AddNumberToObject(on, "conversations", look->conversations);
    cJSON_AddNumberToObject(on, "simulated", look->simulated);
    cJSON_AddNumberToObject(on, "decisions", look->decisions);
    cJSON *answers = cJSON_AddObjectToObject(on, "answers");
    for (int who = KEEL_AUTHORITY_HUMAN; who >= KEEL_AUTHORITY_NONE; who--)
        cJSON_AddNumberToObject(answers, who ? keel_authority_name((keel_authority)who) : "nobody",
                                look->labelled[who]);
    keel_json_add(result, "slices", keel_slices_json(look->slices, confidence));
    keel_json_add(result, "cases", keel_cases_json(look->cases));
}
