#include "policies/encoder_base/kind.h"

#include "policies/beside.h"
#include "policies/compress/config.h"
#include "policies/encoder_base/encode.h"
#include "policies/encoder_base/file.h"
#include "policies/encoder_base/tune.h"

#define KEEL_ROWS_OF struct keel_encoder_base_config
#include "policies/transformer/tuning_rows.h"

/* In the order of keel_bert_mode, of KEEL_BESIDE_*, of KEEL_CANDIDATES_*, and of keel_schedule. */
static const char *const modes[] = {"full", "freeze", "lora", "head", NULL};
static const char *const candidates[] = {"none", "apart", "cross", NULL};

const keel_option keel_encoder_base_options[] = {
    KEEL_BASE_OPTION_SPACE,
    KEEL_BASE_OPTION_ACTS,
    KEEL_BASE_OPTION_FIXED,
    CHOICE(
        mode, "freeze", modes,
        "what is tuned: full, everything; freeze, the layers from frozen_layers on; lora, low-rank corrections; head, "
        "nothing but the heads"),
    KEEL_TUNING_FROZEN_LAYERS,
    INT(rank, "8", 1, 4096, "lora: rank of the corrections"),
    REAL(alpha, "16", 1e-3, 1e6, "lora: the corrections count alpha / rank times"),
    KEEL_TUNING_RSLORA,
    KEEL_TUNING_LORA_DROPOUT,
    KEEL_TUNING_TARGETS,
    CHOICE(
        ngrams, "auto", keel_beside_choices,
        "an n-gram base beside the encoder: its features, and half of the prior; auto: yes in candidate sets, no in fixed "
        "spaces, where its features are not crossed"),
    CHOICE(
        candidates, "none", candidates,
        "candidate sets: what the encoder reads of candidates: nothing, each text apart, or each as a pair with the "
        "state"),
    BOOL(
        tune_candidates, "false",
        "the losses of candidates tune the encoder too, which takes several times as long; else their heads alone are "
        "tuned, on the vectors of the tuned encoder"),
    BOOL(
        near_negatives, "false",
        "candidates=apart: decisions whose states are near share a shard, so that the ranking loss tells a response "
        "from those to near states; else from those to any"),
    INT(state_tokens, "128", 8, 1000000,
        "tokens read of the conversation, whole turns from the last back; no more than the "
        "encoder takes"),
    INT(candidate_tokens, "64", 8, 1000000, "tokens read of a candidate, from its start"),
    INT(folds, "5", 0, 16,
        "folds that features are crossed over: as many encoders are tuned beside the last one, each without its fold; "
        "0: none, and features are too good where the base was tuned"),
    INT(batch, "8", 1, 65536, "decisions in one update"),
    INT(shard, "4", 1, 65536, "decisions in one shard of a batch; the result depends on it"),
    INT(epochs, "4", 1, 100000, "passes over the split that tune the encoder"),
    INT(head_epochs, "40", 0, 100000,
        "passes before, on the vectors of the encoder as it came, that tune the heads alone"),
    INT(checkpoint_every, "500", 1, 100000000, "updates between two checkpoints"),
    REAL(learning_rate, "1e-4", 1e-8, 1, "learning rate of AdamW after the warm-up"),
    REAL(head_factor, "20", 1e-3, 1e6, "the heads' learning rate over the encoder's"),
    CHOICE(schedule, "linear", keel_schedule_names, "how the learning rate falls to zero after the warm-up"),
    REAL(warm_up, "0.1", 0, 1, "share of the updates in which the learning rate rises from zero"),
    KEEL_TUNING_WEIGHT_DECAY,
    REAL(dropout, "0.1", 0, 0.9, "share of the encoder's hidden numbers that tuning drops"),
    REAL(label_smoothing, "0", 0, 0.9, "share of a label that is spread over all classes"),
    KEEL_TUNING_CLIP_NORM,
    KEEL_TUNING_FAKE_QUANT,
    KEEL_TUNING_FAKE_INPUTS,
    REAL(
        held_out, "0", 0, 0.5,
        "share of groups that tuning is stopped by: the parameters of the epoch with the least loss on them stay"),
    INT(patience, "2", 1, 100000, "held_out: epochs without a smaller loss after which tuning stops"),
    REAL(risk_weight, "1", 0, 1000, "weight of the loss of a conversation's risk, where known"),
    REAL(act_weight, "1", 0, 1000, "weight of the act or outcome loss (fixed spaces)"),
    REAL(outcome_weight, "1", 0, 1000, "weight of the loss of a candidate's outcome, where judged"),
    REAL(preference_weight, "1", 0, 1000, "weight of the loss of preferred pairs"),
    REAL(rank_weight, "1", 0, 1000, "weight of the ranking loss (candidate sets)"),
    REAL(
        distil_features, "0", 0, 1000,
        "with --teacher-base: weight of the loss of its vectors of states that it was not tuned on (1 - cosine, by a "
        "projection that is learned)"),
    KEEL_BASE_OPTION_DISTIL,
    KEEL_BASE_OPTION_TEMPERATURE,
    KEEL_BASE_OPTION_MEMORY,
    KEEL_BASE_OPTION_SEED,
    {0}};

static const char *const shape[] = {"ngrams", "candidates", "state_tokens", "candidate_tokens", NULL};
static const char *const checkpoints[] = {"", ".training", ".ngrams", ".states", ".candidates", NULL};

const keel_base_kind keel_encoder_base_kind = {
    .type = "encoder",
    .options = keel_encoder_base_options,
    .config_size = sizeof(struct keel_encoder_base_config),
    .shape = shape,
    .checkpoints = checkpoints,
    .starts_from = keel__encoder_base_starts_from,
    .needs_model = true,
    .distils = true,
    .tune = keel__encoder_base_tune,
    .load = keel__encoder_base_load,
    .save = keel__encoder_base_save,
    .prunes = true,
    .compress = keel__encoder_base_compress,
    .compress_model = keel__encoder_base_compress_model,
    .encode = keel__encoder_base_encode,
    .opinion = keel__encoder_base_opinion,
    .place = keel__encoder_base_place,
    .close = keel__encoder_base_close,
};
