#include "policies/compress/config.h"

#define KEEL_ROWS_OF keel_compress_config
#include "core/option_rows.h"

const char *const keel_compress_weights[] = {"none", "int8", "q8_0", "q4_0", "q4_g32", NULL};
const char *const keel_compress_activations[] = {"int8", "f32", NULL};
const char *const keel_compress_calibrations[] = {"absmax", "percentile", "mse", NULL};
const char *const keel_compress_critics[] = {"none", "int8", NULL};

/* By bits: KEEL_PRUNE_* - 1 (policies/compress/prune.h). */
const char *const keel_compress_prunes[] = {
    "channels",        "groups",        "channels,groups",        "layers",
    "channels,layers", "groups,layers", "channels,groups,layers", NULL};
const char *const keel_compress_importances[] = {"weight", "activation", "taylor", NULL};
const char *const keel_compress_spreads[] = {"even", "sensitivity", NULL};

const keel_option keel_compress_options[] = {
    INT(student_layers, "0", 0, 1024,
        "of an encoder as it came: an untuned student with so many of its layers; 0: with all"),
    INT(student_hidden, "0", 0, 65536,
        "a student so wide, by the principal directions of the token table, a multiple of a head's width; 0: as wide"),
    BOOL(student_static, "false", "a student of one vector a token, pooled: no layers"),
    INT(student_vocabulary, "0", 0, 16777216,
        "a student that knows so many tokens: those that logged text (--store) uses most; 0: all"),
    REAL(ratio, "0", 0, 0.9, "share of the weights but embeddings and heads that is pruned"),
    CHOICE(
        prune, "channels,groups", keel_compress_prunes,
        "what is pruned: channels of feed-forward layers, 32 at a time; groups of attention heads that share keys "
        "and values; whole layers"),
    CHOICE(
        importance, "activation", keel_compress_importances,
        "what goes first: by the size of its weights; by the size of what it adds, on the log; or taylor, by what "
        "the loss on the log changes by without it, to first order"),
    CHOICE(
        spread, "even", keel_compress_spreads,
        "where: even, the same share of each layer; or sensitivity, more of layers without which the model is less far "
        "off on the log"),
    REAL(
        critic_ratio, "0", 0, 0.99,
        "--policy: share of the Q-networks' weights that is pruned, by hidden units that vary least on the log"),
    INT(importance_tokens, "8192", 16, 100000000,
        "tokens of the log, at most, that importance is measured on"),
    INT(sensitivity_tokens, "2048", 16, 100000000,
        "tokens, at most and others, that sensitivity is measured on"),
    CHOICE(
        weights, "none", keel_compress_weights,
        "number format of matrices: int8, a scale a row; q8_0 and q4_0, as in GGUF, a scale for 32 weights; q4_g32, "
        "4 bits with steps of 32 weights within a scale a row. Embeddings and heads stay at 8 bits, norms and "
        "biases in f32"),
    CHOICE(activations, "int8", keel_compress_activations,
           "what such matrices are multiplied with: int8, a scale a token; or f32, weights alone are small"),
    CHOICE(
        calibrate, "absmax", keel_compress_calibrations,
        "how scales are found: absmax, the largest weight; percentile, of weights' sizes; mse, the least squared "
        "error, of what each input column carries on the log where there is one"),
    REAL(percentile, "99.9", 50, 100,
         "calibrate=percentile: of the sizes of what shares a scale, what it covers"),
    REAL(
        sensitive_share, "0", 0, 1,
        "4 bits: share of the layers, to the nearest one and at least one, that keep int8: those that suffer most when "
        "they alone have 4; needs a log"),
    INT(conversations, "64", 1, 1000000, "conversations of the log that are looked at"),
    INT(tokens, "512", 16, 1000000, "tokens that are read of each, from its start"),
    CHOICE(critics, "none", keel_compress_critics,
           "--policy: number format of the Q-networks' weights on disk"),
    REAL(
        max_harm, "0", 0, 1,
        "--policy: harmful compliance at most this, tested anew as keel train --max-harm does; 0: the bound that the "
        "policy was trained with, if any"),
    REAL(confidence, "0", 0, 1, "--policy: confidence of that; 0: the policy's own, else 0.95"),
    REAL(
        max_loss, "1", 0, 1,
        "--policy: refusal_rate and completion_rate may fall by at most this, on average, on conversations held out"),
    INT(memory_mb, "256", 1, 1000000,
        "megabytes of what is read from the store that stay in memory; the rest is read again"),
    INT(seed, "1", 0, 9007199254740991, "seed of every random draw"),
    INT(decisions, "50", 0, 1000000,
        "decisions of --held-out that are timed one by one and compared, before and after; 0: none"),
    {0}};
