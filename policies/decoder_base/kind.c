#include "policies/decoder_base/kind.h"

#include "policies/beside.h"
#include "policies/compress/config.h"
#include "policies/decoder_base/encode.h"
#include "policies/decoder_base/file.h"
#include "policies/decoder_base/propose.h"
#include "policies/decoder_base/tune.h"

#define KEEL_ROWS_OF struct keel_decoder_base_config
#include "policies/transformer/tuning_rows.h"

/* In the order of KEEL_DECODER_*, keel_llama_weights, KEEL_BESIDE_*, keel_schedule, KEEL_LOSS_*,
 * KEEL_IMITATE_*, keel_llama_start, KEEL_TUNE_*. */
static const char *const modes[] = {"none", "full", "freeze", "lora", "prompt", NULL};
static const char *const weights[] = {"stored", "f32", "bf16", "q8_0", "int8", "q4_0", "q4_g32", NULL};
static const char *const losses[] = {"sft", "dpo", "kto", NULL};
static const char *const imitated[] = {"taken", "good", NULL};
static const char *const too_long[] = {"drop", "cut", NULL};
static const char *const starts[] = {"random", "vocabulary", "text", NULL};
static const char *const precisions[] = {"f32", "bf16", "fp16", NULL};

const keel_option keel_decoder_base_options[] = {
    KEEL_BASE_OPTION_SPACE,
    KEEL_BASE_OPTION_ACTS,
    KEEL_BASE_OPTION_FIXED,
    CHOICE(mode, "lora", modes,
           "what is tuned: none, the model stays as it came; full, everything; freeze, the layers from "
           "frozen_layers on; lora, low-rank corrections; prompt, tokens before every text"),
    CHOICE(
        weights, "stored", weights,
        "how weights that are not tuned are held: as the file has them (quantised ones and those of 16 bits other than "
        "bf16 in f32), or made f32, bf16, q8_0, int8, q4_0 or q4_g32"),
    KEEL_TUNING_FROZEN_LAYERS,
    INT(rank, "16", 1, 4096, "lora: rank of the corrections"),
    REAL(alpha, "32", 1e-3, 1e6, "lora: the corrections count alpha / rank times"),
    KEEL_TUNING_RSLORA,
    KEEL_TUNING_LORA_DROPOUT,
    KEEL_TUNING_TARGETS,
    INT(virtual_tokens, "20", 1, 4096, "prompt: how many tokens are put before every text"),
    CHOICE(prompt_start, "vocabulary", starts,
           "prompt: what they are at first: random, tokens of the vocabulary, or those of an instruction"),
    CHOICE(
        loss, "sft", losses,
        "sft: likelihood of the response; dpo, kto: of preferred over other responses (Rafailov et al. 2023; "
        "Ethayarajh et al. 2024)"),
    KEEL_BASE_OPTION_DISTIL,
    KEEL_BASE_OPTION_TEMPERATURE,
    CHOICE(
        imitate, "taken", imitated,
        "sft: which responses are learned: every logged one, or good ones: what is judged right for the risk "
        "(complied where benign, refused where dangerous), or has good feedback"),
    REAL(preference_beta, "0.1", 1e-3, 100, "dpo, kto: how closely the model stays by what it was"),
    CHOICE(
        ngrams, "auto", keel_beside_choices,
        "an n-gram base beside the decoder: its features, and half of the prior; auto: yes in candidate sets"),
    REAL(prior_factor, "1", 0, 100,
         "candidate sets: the prior is softmax of so many times a response's mean log-likelihood by token"),
    INT(state_tokens, "1024", 16, 1000000,
        "tokens read of the conversation, whole turns from the last back; no more than the decoder takes"),
    INT(candidate_tokens, "256", 8, 1000000, "tokens read of a response, from its start"),
    CHOICE(
        too_long, "drop", too_long,
        "responses of more than candidate_tokens, in tuning: drop, they teach nothing; cut, their first tokens do, "
        "without an end"),
    INT(batch, "16", 1, 65536, "responses in one update; dpo: pairs"),
    INT(shard_tokens, "512", 16, 1000000,
        "tokens in one shard of a batch, texts packed one behind the other; the result depends on it"),
    INT(epochs, "1", 1, 100000, "passes over the split"),
    INT(checkpoint_every, "200", 1, 100000000, "updates between two checkpoints"),
    REAL(
        learning_rate, "0", 0, 10,
        "learning rate of AdamW after the warm-up; 0: by mode, lora 2e-4, full and freeze 2e-5 (1e-3 for a new model), "
        "prompt 0.1; a tenth of it for dpo and kto"),
    CHOICE(schedule, "cosine", keel_schedule_names, "how the learning rate falls after the warm-up"),
    REAL(warm_up, "0.05", 0, 1, "share of the updates in which the learning rate rises from zero"),
    KEEL_TUNING_WEIGHT_DECAY,
    REAL(label_smoothing, "0", 0, 0.9, "sft: share of a token that is spread over the vocabulary"),
    KEEL_TUNING_CLIP_NORM,
    CHOICE(precision, "f32", precisions,
           "of products in tuning: f32, bf16 with f32 masters, or fp16 storage with a dynamic loss scale"),
    KEEL_TUNING_FAKE_QUANT,
    KEEL_TUNING_FAKE_INPUTS,
    KEEL_TUNING_LEARNED_SCALES,
    BOOL(recompute, "false", "activations of a layer are worked out again instead of kept: less memory"),
    INT(layers, "6", 1, 1024, "a new model: layers"),
    INT(hidden, "256", 16, 65536, "a new model: width"),
    INT(heads, "8", 1, 1024, "a new model: heads of queries"),
    INT(kv_heads, "4", 1, 1024, "a new model: heads of keys and values"),
    INT(inner, "704", 16, 1000000, "a new model: width of the feed-forward layer"),
    INT(vocabulary, "8192", 300, 1000000, "a new model: tokens of its own tokenizer"),
    KEEL_BASE_OPTION_MEMORY,
    KEEL_BASE_OPTION_SEED,
    {0}};

static const char *const shape[] = {"ngrams", "state_tokens", "candidate_tokens", NULL};
static const char *const checkpoints[] = {"", ".tokenizer", ".ngrams", ".states", ".candidates", NULL};

const keel_base_kind keel_decoder_base_kind = {
    .type = "decoder",
    .options = keel_decoder_base_options,
    .config_size = sizeof(struct keel_decoder_base_config),
    .shape = shape,
    .checkpoints = checkpoints,
    .distils = true,
    .starts_from = keel__decoder_base_starts_from,
    .open = keel__decoder_base_open,
    .tune = keel__decoder_base_tune,
    .load = keel__decoder_base_load,
    .save = keel__decoder_base_save,
    .prunes = true,
    .compress = keel__decoder_base_compress,
    .compress_model = keel__decoder_base_compress_model,
    .encode = keel__decoder_base_encode,
    .propose = keel__decoder_base_propose,
    .likelihood = keel__decoder_base_likelihood,
    .place = keel__decoder_base_place,
    .close = keel__decoder_base_close,
};
