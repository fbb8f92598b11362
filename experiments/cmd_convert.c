/* keel convert: reads a decoder from a Hugging Face folder or a .gguf file, and writes it as the other, or
 * with other weights; an encoder's folder becomes a .onnx file. */
#include <string.h>

#include "core/json.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "policies/decoder.h"
#include "policies/encoder_onnx.h"

static const keel_flag flags[] = {
    {"--base", "PATH", true, false,
     "a decoder: a Hugging Face folder or a .gguf file; an encoder's folder, for a .onnx file"},
    {"--out", "PATH", true, false,
     "where to write: a name that ends in .gguf or .onnx is such a file, any other a folder"},
    {"--weights", "NAME", false, false,
     "f32, f16, bf16; in a .gguf file q8_0, q4_0 too; in a .onnx file f32 alone (default: as `keel compress` made it; else bf16 where it is stored so, else f32)"},
    KEEL_FLAG_END,
};
static const keel_flag_choices choices[] = {{"--weights", keel_decoder_saved_weights}, {NULL, NULL}};

/* The graph of an encoder, *saved what its weights are. */
static keel_status convert_encoder(const char *from, const char *to, const char *weights, const char **saved,
                                   keel_err *err) {
    *saved = "f32";
    if (keel_decoder_is(from)) {
        keel_fail(err, KEEL_E_UNSUPPORTED, from, "a decoder is not written as ONNX");
        return keel_hint(err, "encoders are; of a decoder a name that ends in .gguf is a file for llama.cpp");
    }
    if (weights && strcmp(weights, *saved) != 0)
        return keel_fail(err, KEEL_E_USAGE, "--weights", "a .onnx file has f32, got %s", weights);
    return keel_encoder_onnx(from, to, err);
}

static bool ends_in(const char *text, const char *end) {
    const size_t length = strlen(text), n = strlen(end);
    return length > n && strcmp(text + length - n, end) == 0;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    const char *from = keel_cli_value(cli, "--base"), *to = keel_cli_value(cli, "--out"), *saved = "";
    int kind = -1;
    KEEL_TRY(keel_cli_choice(cli, "--weights", keel_decoder_saved_weights, &kind, err));
    const char *weights = kind < 0 ? NULL : keel_decoder_saved_weights[kind];
    KEEL_TRY(ends_in(to, ".onnx") ? convert_encoder(from, to, weights, &saved, err)
                                  : keel_decoder_convert(from, to, weights, &saved, err));
    cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(cli->result, "base", from);
    cJSON_AddStringToObject(cli->result, "out", to);
    cJSON_AddStringToObject(cli->result, "weights", saved);
    return KEEL_OK;
}

static void print(const cJSON *result, FILE *out) {
    keel_print_leaves(out, result);
}

const keel_verb keel_verb_convert = {
    .name = "convert",
    .brief = "convert a decoder between a folder and a .gguf file, or an encoder to .onnx",
    .flags = flags,
    .choices = choices,
    .more =
        "transformers loads the folder, llama.cpp runs the file. Tokenizer and chat template go with it. What GGUF has no name\n"
        "for (a split pattern, weights in int8 or q4_g32) is an error; --weights q8_0 or q4_0 rounds such weights to what it has.\n"
        "A .onnx file goes from input_ids, attention_mask and token_type_ids to the vectors of texts (sentence_embedding); the\n"
        "tokenizer stays in the folder.\n"
        "example: keel convert --base smollm2 --out smollm2-q8.gguf --weights q8_0\n"
        "example: keel convert --base model.gguf --out model\n"
        "example: keel convert --base minilm --out minilm.onnx\n",
    .run = run,
    .print = print,
};
