#include "policies/tokens/gguf_pre.h"

#include <stddef.h>
#include <string.h>

/* JSON of a splitter, of a chain of them, and of what ends each. */
#define SPLIT(regex)                                                                                         \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"Isolated\",\"invert\":false}"
#define CHAIN(parts) "{\"type\":\"Sequence\",\"pretokenizers\":[" parts "]}"
#define BYTES(regex)                                                                                         \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":" regex "}"
#define DIGITS "{\"type\":\"Digits\",\"individual_digits\":true}"
#define NFC    "{\"type\":\"NFC\"}"

/* The tokenizer.json files of the models say so; `digits` at a time. */
#define LLAMA3(digits)                                                                                       \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}" digits                   \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define DEEPSEEK3                                                                                                                 \
    "[!\\\"#$%&'()*+,\\\\-./:;<=>?@\\\\[\\\\\\\\\\\\]^_`{|}~][A-Za-z]+|[^\\\\r\\\\n\\\\p{L}\\\\p{P}\\\\p{S}]?[\\\\p{L}\\\\p{M}]+" \
    "| ?[\\\\p{P}\\\\p{S}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

#define GPT2  "'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)"
#define MARKS "[\\\\p{P}\\\\$\\\\+<=>\\\\^~\\\\|]+"

static const char OF_GPT2[] = BYTES("true");
static const char OF_STARCODER[] = CHAIN(DIGITS "," BYTES("true"));
static const char OF_QWEN2[] = CHAIN(SPLIT(LLAMA3("")) "," BYTES("false"));
static const char OF_LLAMA3[] = CHAIN(SPLIT(LLAMA3("{1,3}")) "," BYTES("false"));
static const char OF_DEEPSEEK3[] = CHAIN(
    SPLIT("\\\\p{N}{1,3}") "," SPLIT("[一-龥぀-ゟ゠-ヿ]+") "," SPLIT(DEEPSEEK3) "," BYTES("false"));
/* What llama.cpp does with files that give no name. */
static const char OF_NONE[] = CHAIN(
    SPLIT(MARKS) "," SPLIT(GPT2) "," SPLIT("\\\\p{N}+") "," SPLIT("[0-9][0-9][0-9]") "," BYTES("false"));

static const keel_gguf_pre rows[] = {
    {"gpt-2", "null", OF_GPT2, false},
    {"phi-2", "null", OF_GPT2, false},
    {"olmo", "null", OF_GPT2, false},
    {"smollm", "null", OF_STARCODER, false},
    {"starcoder", "null", OF_STARCODER, false},
    {"refact", "null", OF_STARCODER, false},
    {"command-r", "null", OF_STARCODER, false},
    {"qwen2", NFC, OF_QWEN2, false},
    {"deepseek-r1-qwen", NFC, OF_QWEN2, false},
    {"llama-bpe", "null", OF_LLAMA3, true},
    {"deepseek-v3", "null", OF_DEEPSEEK3, false},
    {"default", "null", OF_NONE, false},
    {0},
};

const keel_gguf_pre *keel_gguf_pre_find(const char *name) {
    for (const keel_gguf_pre *row = rows; row->name; row++)
        if (strcmp(name, row->name) == 0) return row;
    return NULL;
}

const keel_gguf_pre *keel_gguf_pre_first(void) {
    return rows;
}

const char *keel_gguf_pre_names(void) {
    return "gpt-2, phi-2, olmo, smollm, starcoder, refact, command-r, qwen2, deepseek-r1-qwen, llama-bpe, "
           "deepseek-v3, default";
}
