/* keel convert: reads a decoder from a Hugging Face folder or a .gguf file, and writes it as the other, or
 * with other weights. */
#include "core/json.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "policies/decoder.h"

static const keel_flag flags[] = {
    {"--base", "PATH", true, false, "the decoder: a Hugging Face folder or a .gguf file"},
    {"--out", "PATH", true, false,
     "where to write: a name that ends in .gguf is such a file, any other a folder"},
    {"--weights", "NAME", false, false,
     "f32, f16, bf16; in a .gguf file q8_0 too (default: bf16 where it is stored so, else f32)"},
    KEEL_FLAG_END,
};
static const keel_flag_choices choices[] = {{"--weights", keel_decoder_saved_weights}, {NULL, NULL}};

static keel_status run(keel_cli *cli, keel_err *err) {
    const char *from = keel_cli_value(cli, "--base"), *to = keel_cli_value(cli, "--out"), *saved = "";
    int kind = -1;
    KEEL_TRY(keel_cli_choice(cli, "--weights", keel_decoder_saved_weights, &kind, err));
    KEEL_TRY(keel_decoder_convert(from, to, kind < 0 ? NULL : keel_decoder_saved_weights[kind], &saved, err));
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
    .brief = "a decoder from a Hugging Face folder to a .gguf file, back, or with other weights",
    .flags = flags,
    .choices = choices,
    .more =
        "transformers loads the folder, llama.cpp runs the file. Tokenizer and chat template go with it. What GGUF has no name\n"
        "for (a split pattern) is an error.\n"
        "example: keel convert --base smollm2 --out smollm2-q8.gguf --weights q8_0\n"
        "example: keel convert --base model.gguf --out model\n",
    .run = run,
    .print = print,
};
