/* The verbs of the program, one file each (cmd_import.c and so on), in the order of their use. */
#ifndef KEEL_EXPERIMENTS_VERBS_H
#define KEEL_EXPERIMENTS_VERBS_H

#include "experiments/cli.h"

extern const keel_verb keel_verb_import;
extern const keel_verb keel_verb_consume;
extern const keel_verb keel_verb_stats;
extern const keel_verb keel_verb_label;
extern const keel_verb keel_verb_judge;
extern const keel_verb keel_verb_review;
extern const keel_verb keel_verb_sft;
extern const keel_verb keel_verb_propose;
extern const keel_verb keel_verb_train;
extern const keel_verb keel_verb_eval;
extern const keel_verb keel_verb_replay;
extern const keel_verb keel_verb_decide;
extern const keel_verb keel_verb_chat;
extern const keel_verb keel_verb_serve;
extern const keel_verb keel_verb_simulate;
extern const keel_verb keel_verb_publish;
extern const keel_verb keel_verb_ab;
extern const keel_verb keel_verb_run;
extern const keel_verb keel_verb_search;
extern const keel_verb keel_verb_auto;
extern const keel_verb keel_verb_learn;
extern const keel_verb keel_verb_report;
extern const keel_verb keel_verb_export;
extern const keel_verb keel_verb_verify;
extern const keel_verb keel_verb_compress;
extern const keel_verb keel_verb_convert;
extern const keel_verb keel_verb_info;
extern const keel_verb keel_verb_help;

#endif
