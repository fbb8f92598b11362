#include "policies/ngram_base/kind.h"

#include "policies/ngram_base/encode.h"
#include "policies/ngram_base/evidence.h"
#include "policies/ngram_base/file.h"
#include "policies/ngram_base/tune.h"

#define KEEL_ROWS_OF struct keel_ngram_base_config
#include "core/option_rows.h"

const keel_option keel_ngram_base_options[] = {
    KEEL_BASE_OPTION_SPACE,
    KEEL_BASE_OPTION_ACTS,
    KEEL_BASE_OPTION_FIXED,
    INT(buckets, "131072", 64, 16777216, "number of buckets that n-grams are hashed into"),
    INT(dim, "64", 1, 4096, "width of an n-gram's embedding"),
    INT(features, "64", 1, 4096, "width of the encoder's state and candidate features"),
    INT(word_high, "2", 1, 8, "longest run of words that is an n-gram"),
    INT(char_low, "3", 1, 16, "shortest character n-gram, in code points, word boundaries included"),
    INT(char_high, "5", 0, 16, "longest character n-gram; below char_low: none"),
    INT(max_words, "512", 1, 1000000, "words read of one text; the rest is left out"),
    INT(context_turns, "4", 0, 1000, "earlier turns whose texts and act positions are read"),
    BOOL(
        user_acts, "false",
        "read the acts of users' turns; set it only if these acts are known live too, not from annotators alone"),
    INT(batch, "32", 1, 65536, "conversations in one update"),
    INT(shard, "8", 1, 65536, "conversations in one shard of a batch; the result depends on it"),
    INT(epochs, "2", 1, 100000, "passes over the split"),
    INT(min_updates, "200", 1, 100000000,
        "minimum number of updates; a small split is passed over more often to reach it"),
    INT(negatives, "8", 0, 4096, "other responses that a logged one is ranked against"),
    INT(checkpoint_every, "500", 1, 100000000, "updates between two checkpoints"),
    REAL(learning_rate, "0.01", 1e-8, 1, "learning rate of AdamW at the start; it falls linearly to zero"),
    REAL(weight_decay, "0.01", 0, 1, "decoupled weight decay of AdamW, of matrices only"),
    REAL(embedding_rate, "40", 1e-8, 1e6,
         "learning rate of the embeddings' gradient descent at the start; it falls linearly to zero"),
    REAL(dropout, "0.1", 0, 0.9, "share of pooled embeddings that tuning drops"),
    REAL(rank_weight, "1", 0, 1000, "weight of the ranking loss (candidate sets)"),
    REAL(act_weight, "1", 0, 1000, "weight of the act or outcome loss (fixed spaces)"),
    REAL(outcome_weight, "0.2", 0, 1000, "weight of the loss of a candidate's outcome, where judged"),
    REAL(risk_weight, "0.2", 0, 1000, "weight of the loss of the state's risk, where known"),
    INT(head_folds, "5", 2, 16, "folds of the linear probes' cross-fitting"),
    REAL(label_l2, "1", 1e-6, 1e6, "L2 penalty of the outcome and preference probes"),
    REAL(risk_l2, "0.3", 1e-6, 1e6, "L2 penalty of the risk probes"),
    KEEL_BASE_OPTION_DISTIL,
    KEEL_BASE_OPTION_TEMPERATURE,
    KEEL_BASE_OPTION_MEMORY,
    KEEL_BASE_OPTION_SEED,
    {0}};

static const char *const shape[] = {"buckets",   "dim",       "features",      "word_high", "char_low",
                                    "char_high", "max_words", "context_turns", "user_acts", NULL};

const keel_base_kind keel_ngram_base_kind = {
    .type = "builtin",
    .alias = "ngram",
    .options = keel_ngram_base_options,
    .config_size = sizeof(struct keel_ngram_base_config),
    .shape = shape,
    .checkpoints = keel__ngram_base_checkpoints,
    .distils = true,
    .tune = keel__ngram_base_tune,
    .load = keel__ngram_base_load,
    .save = keel__ngram_base_save,
    .compress = keel__ngram_base_compress,
    .encode = keel__ngram_base_encode,
    .evidence = keel__ngram_base_evidence,
    .place = keel__ngram_base_place,
    .close = keel__ngram_base_close,
};
