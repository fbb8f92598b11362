#include <stddef.h>

#include "policies/ngram_base/options.h"

static const char *const spaces[] = {"auto", "candidates", "acts", "outcomes", NULL};

#define AT(field) offsetof(struct keel_ngram_base_config, field)
#define INT(field, standard, low, high, help)                                                                \
    { #field, KEEL_OPT_INT, AT(field), standard, low, high, NULL, help }
#define REAL(field, standard, low, high, help)                                                               \
    { #field, KEEL_OPT_REAL, AT(field), standard, low, high, NULL, help }

const keel_option keel_ngram_base_options[] = {
    {"action_space", KEEL_OPT_CHOICE, AT(action_space), "auto", 0, 0, spaces,
     "what pi_base is over; auto: candidates if half of the conversations offer a choice, else acts if half "
     "of the responses carry one, else outcomes"},
    INT(max_acts, "256", 1, 65536, "most distinct dialogue acts a fixed space may have"),
    INT(buckets, "131072", 64, 16777216, "n-grams are hashed into this many buckets"),
    INT(dim, "64", 1, 4096, "width of an n-gram's embedding"),
    INT(features, "64", 1, 4096, "width of the encoder's state and candidate features"),
    INT(word_high, "2", 1, 8, "longest run of words that is an n-gram"),
    INT(char_low, "3", 1, 16, "shortest character n-gram, in code points, word boundaries included"),
    INT(char_high, "5", 0, 16, "longest character n-gram; below char_low: none"),
    INT(max_words, "512", 1, 1000000, "words of one text beyond these are not read"),
    INT(context_turns, "4", 0, 1000, "earlier turns whose texts and act positions are read"),
    INT(batch, "32", 1, 65536, "conversations an update"),
    INT(shard, "8", 1, 65536, "conversations one thread works on; part of the result, so recorded"),
    INT(epochs, "2", 1, 100000, "passes over the split"),
    INT(min_updates, "200", 1, 100000000,
        "small splits are passed over more often, until so many updates are done"),
    INT(negatives, "8", 0, 4096, "other responses a logged one is ranked against"),
    INT(checkpoint_every, "500", 1, 100000000, "updates between two checkpoints"),
    REAL(learning_rate, "0.01", 1e-8, 1, "AdamW's rate at the start; it falls linearly to zero"),
    REAL(weight_decay, "0.01", 0, 1, "AdamW's decoupled decay of matrices"),
    REAL(embedding_rate, "40", 1e-8, 1e6, "gradient descent's rate of the embeddings, falling likewise"),
    REAL(dropout, "0.1", 0, 0.9, "share of pooled embeddings dropped in tuning"),
    REAL(rank_weight, "1", 0, 1000, "weight of the ranking loss (candidate sets)"),
    REAL(act_weight, "1", 0, 1000, "weight of the act or outcome loss (fixed spaces)"),
    REAL(outcome_weight, "0.2", 0, 1000, "weight of naming a candidate's outcome, where judged"),
    REAL(risk_weight, "0.2", 0, 1000, "weight of naming the state's risk, where known"),
    INT(head_folds, "5", 2, 16, "fits the linear heads are crossed over"),
    REAL(label_l2, "1", 1e-6, 1e6, "L2 penalty of the outcome and preference heads"),
    REAL(risk_l2, "0.3", 1e-6, 1e6, "L2 penalty of the risk heads"),
    INT(memory_mb, "256", 1, 1000000,
        "n-grams are kept in memory up to this size, then read again from the store"),
    INT(seed, "1", 0, 9007199254740991, "of all that is drawn"),
    {0}};
