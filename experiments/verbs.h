/* The verbs of the program. Each is a row here and a file, cmd_NAME.c, which defines keel_verb_NAME. */
#ifndef KEEL_EXPERIMENTS_VERBS_H
#define KEEL_EXPERIMENTS_VERBS_H

#include "experiments/cli.h"

/* ROW(name), in the order of their use. */
#define KEEL_VERBS(ROW)                                                                                      \
    ROW(import)                                                                                              \
    ROW(consume)                                                                                             \
    ROW(stats)                                                                                               \
    ROW(label)                                                                                               \
    ROW(judge)                                                                                               \
    ROW(review)                                                                                              \
    ROW(sft)                                                                                                 \
    ROW(propose)                                                                                             \
    ROW(train)                                                                                               \
    ROW(eval)                                                                                                \
    ROW(replay)                                                                                              \
    ROW(decide)                                                                                              \
    ROW(chat)                                                                                                \
    ROW(serve)                                                                                               \
    ROW(simulate)                                                                                            \
    ROW(publish)                                                                                             \
    ROW(ab)                                                                                                  \
    ROW(run)                                                                                                 \
    ROW(search)                                                                                              \
    ROW(auto)                                                                                                \
    ROW(learn)                                                                                               \
    ROW(report)                                                                                              \
    ROW(export)                                                                                              \
    ROW(verify)                                                                                              \
    ROW(compress)                                                                                            \
    ROW(convert)                                                                                             \
    ROW(info)                                                                                                \
    ROW(help)

#define KEEL_VERB_OF(name) extern const keel_verb keel_verb_##name;
KEEL_VERBS(KEEL_VERB_OF)
#undef KEEL_VERB_OF

#endif
