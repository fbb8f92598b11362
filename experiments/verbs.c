#include "experiments/verbs.h"

const keel_verb *const keel_verbs[] = {
    &keel_verb_import,  &keel_verb_consume, &keel_verb_stats,    &keel_verb_label,
    &keel_verb_judge,   &keel_verb_review,  &keel_verb_sft,      &keel_verb_propose,
    &keel_verb_train,   &keel_verb_eval,    &keel_verb_replay,   &keel_verb_decide,
    &keel_verb_chat,    &keel_verb_serve,   &keel_verb_simulate, &keel_verb_publish,
    &keel_verb_ab,      &keel_verb_run,     &keel_verb_search,   &keel_verb_auto,
    &keel_verb_learn,   &keel_verb_report,  &keel_verb_export,   &keel_verb_verify,
    &keel_verb_convert, &keel_verb_info,    &keel_verb_help,     NULL,
};
