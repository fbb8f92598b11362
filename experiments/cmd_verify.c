/* keel verify: what a model's folder holds, and whether it computes what it should.
 *
 *  A base that Keel made is loaded, which checks its files against their hashes. Of an encoder as Hugging
 * Face and sentence-transformers lay it out, and of one that Keel tuned: sizes, the hash of its weights, and
 * the vectors of a few texts, to be compared with those of a library. Of a decoder: what comes after prompts,
 * and perplexity (verify_decoder.c).
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "core/text.h"
#include "experiments/cli_resources.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "experiments/verify_decoder.h"
#include "policies/base.h"
#include "policies/decoder.h"
#include "policies/encoder.h"
#include "rl/judge/perplexity.h"

static const keel_flag flags[] = {
    {"--base", "PATH", true, false, "the folder, or a decoder's .gguf file"},
    {"--text", "TEXT", false, true,
     "an encoder's text whose vector is shown, a decoder's prompt (default: three of them)"},
    {"--lines", "FILE", false, false, "a decoder's perplexity on the lines of this file, each a text"},
    {"--weights", "NAME", false, false,
     "what a decoder computes with: f32, bf16, q8_0, int8, q4_0 or q4_g32 (default: as stored; f16 and weights that .gguf "
     "files quantise become f32)"},
    {"--store", "FILE", false, false,
     "perplexity of a decoder, or of a base made of one, on the responses of this store"},
    {"--split", "NAME", false, false, "with --store: the conversations of this split (default: all)"},
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

static const keel_flag_choices choices[] = {{"--weights", keel_decoder_weights}, {NULL, NULL}};

static const char *const standard[] = {"How do I bake bread?", "Wie backe ich Brot?", "如何烤面包？"};

/* ---- an encoder ---- */

static cJSON *sizes_json(const keel_encoder_about *about) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "kind", about->kind);
    cJSON_AddNumberToObject(json, "parameters", (double)about->parameters);
    cJSON_AddNumberToObject(json, "memory_mb", ceil((double)about->bytes / 1e5) / 10);
    cJSON_AddStringToObject(json, "weights", about->weights);
    cJSON_AddNumberToObject(json, "layers", (double)about->layers);
    cJSON_AddNumberToObject(json, "width", (double)about->width);
    cJSON_AddNumberToObject(json, "heads", (double)about->heads);
    cJSON_AddNumberToObject(json, "inner", (double)about->inner);
    cJSON_AddNumberToObject(json, "vocabulary", (double)about->vocabulary);
    cJSON_AddNumberToObject(json, "most_tokens", (double)about->most_tokens);
    cJSON_AddStringToObject(json, "vector", about->vector);
    cJSON_AddBoolToObject(json, "normalised", about->normalised);
    return json;
}

static keel_status text_json(const keel_encoder *encoder, const char *text, cJSON *list, keel_err *err) {
    const size_t width = keel_encoder_look(encoder).width;
    keel_arena arena = {0};
    const char *const *tokens = NULL;
    size_t n = 0, cut = 0;
    float *vector = keel_arena_calloc(&arena, width, sizeof *vector);
    keel_status status = vector ? keel_encoder_tokens(encoder, text, &arena, &tokens, &n, &cut, err)
                                : keel_nomem(err, "verify");
    if (status == KEEL_OK) status = keel_encoder_vectors(encoder, &text, 1, &arena, vector, err);
    if (status == KEEL_OK) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "text", text);
        if (cut) cJSON_AddNumberToObject(json, "tokens_cut", (double)cut);
        cJSON *list_of_tokens = cJSON_AddArrayToObject(json, "tokens");
        for (size_t t = 0; t < n; t++)
            keel_json_add(list_of_tokens, NULL, cJSON_CreateString(tokens[t] ? tokens[t] : ""));
        cJSON *numbers = cJSON_AddArrayToObject(json, "vector");
        for (size_t d = 0; d < width; d++)
            keel_json_add(numbers, NULL, cJSON_CreateNumber((double)vector[d]));
        keel_json_add(list, NULL, json);
    }
    keel_arena_free(&arena);
    return status;
}

/* What the texts of --text, or the standard ones, become. */
static keel_status add_texts(keel_cli *cli, const keel_encoder *encoder, keel_err *err) {
    const char *const *texts;
    size_t n;
    KEEL_TRY(keel_verify_texts(cli, standard, sizeof standard / sizeof *standard, &texts, &n, err));
    cJSON *list = cJSON_AddArrayToObject(cli->result, "texts");
    for (size_t i = 0; i < n; i++) KEEL_TRY(text_json(encoder, texts[i], list, err));
    return KEEL_OK;
}

static keel_status add_encoder(keel_cli *cli, const char *dir, keel_err *err) {
    keel_encoder *encoder;
    KEEL_TRY(keel_encoder_open(&encoder, dir, err));
    const keel_encoder_about about = keel_encoder_look(encoder);
    keel_json_add(cli->result, "model", sizes_json(&about));
    cJSON *hashes = cJSON_AddObjectToObject(cli->result, "sha256");
    keel_status status = keel_verify_hash(cli, hashes, dir, "model.safetensors", err);
    if (status == KEEL_OK) status = keel_verify_hash(cli, hashes, dir, "tokenizer.json", err);
    if (status == KEEL_OK) status = add_texts(cli, encoder, err);
    keel_encoder_close(encoder);
    return status;
}

/* ---- a base of Keel's ---- */

static void add_base(const keel_base *base, cJSON *json) {
    cJSON_AddStringToObject(json, "kind", base->kind->type);
    cJSON_AddStringToObject(json, "hash", base->hash);
    cJSON_AddStringToObject(json, "action_space", keel_space_name(base->space));
    cJSON_AddNumberToObject(json, "acts", (double)base->n_acts);
    cJSON_AddNumberToObject(json, "fixed_answers", (double)base->n_fixed);
    cJSON_AddNumberToObject(json, "state_features", (double)base->state_dim);
    cJSON_AddNumberToObject(json, "candidate_features", (double)base->candidate_dim);
}

/* *encodes: it holds an encoder that has vectors. */
static keel_status verify_base(keel_cli *cli, const char *dir, bool *encodes, keel_err *err) {
    keel_base *base;
    keel_status status = KEEL_OK;
    KEEL_TRY(keel_base_load(&base, dir, err));
    add_base(base, cli->result);
    *encodes = false;
    if (base->kind->starts_from) status = base->kind->starts_from(dir, encodes, err);
    keel_base_close(base);
    if (status == KEEL_OK && !*encodes && keel_cli_has(cli, "--text"))
        return keel_fail(err, KEEL_E_USAGE, "--text",
                         "a base without an encoder has no vector of a text alone");
    return status;
}

/* ---- responses of a store ---- */

static cJSON *perplexity_json(const keel_perplexity *found) {
    const keel_interval interval = {found->perplexity, found->low, found->high, (double)found->tokens};
    cJSON *json = cJSON_CreateObject();
    keel_json_add(json, "perplexity", keel_interval_json(&interval));
    cJSON_AddNumberToObject(json, "responses", (double)found->responses);
    cJSON_AddNumberToObject(json, "tokens", (double)found->tokens);
    return json;
}

static keel_status foretell(keel_cli *cli, const keel_base *base, keel_store *store, keel_err *err) {
    keel_perplexity found;
    keel_split split;
    keel_pool *pool = NULL;
    if (!keel_cli_has(cli, "--split"))
        keel_log(
            KEEL_LOG_INFO,
            "note: of all conversations, also of those that the decoder was tuned on, which it foretells too well; "
            "--split names others");
    KEEL_TRY(keel_cli_open_split(cli, store, "all", &split, err));
    KEEL_TRY(keel_cli_open_pool(cli, &pool, err));
    keel_status status = keel_perplexity_of(store, &split, base, pool, &found, err);
    keel_pool_close(pool);
    if (status == KEEL_OK) keel_json_add(cli->result, "log", perplexity_json(&found));
    return status;
}

/* Perplexity of what was said in --store, if given. */
static keel_status add_log(keel_cli *cli, const char *dir, keel_err *err) {
    keel_base *base;
    keel_store *store = NULL;
    if (!keel_cli_has(cli, "--store"))
        return keel_cli_has(cli, "--split")
                   ? keel_fail(err, KEEL_E_USAGE, "--split", "is one of --store: give it too")
                   : KEEL_OK;
    if (keel_cli_has(cli, "--weights")) {
        keel_fail(err, KEEL_E_USAGE, "--weights", "responses of --store are foretold with weights as stored");
        return keel_hint(err, "`keel compress` makes a base of other weights");
    }
    KEEL_TRY(keel_base_open(&base, dir, err));
    keel_status status = keel_cli_open_store(cli, KEEL_STORE_READ, &store, err);
    if (status == KEEL_OK) status = foretell(cli, base, store, err);
    keel_store_close(store);
    keel_base_close(base);
    return status;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    const char *dir = keel_cli_value(cli, "--base");
    const keel_base_kind *kind;
    bool encodes = true;
    const char *manifest = keel_path_join(&cli->arena, dir, "keel.json");
    if (!manifest) return keel_nomem(err, dir);
    const bool ours = keel_file_exists(manifest);
    cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(cli->result, "base", dir);
    const bool writes = keel_decoder_is(dir);
    if (ours) KEEL_TRY(verify_base(cli, dir, &encodes, err));
    if (writes) {
        KEEL_TRY(keel_verify_decoder(cli, dir, err));
        return add_log(cli, dir, err);
    }
    if (keel_cli_has(cli, "--lines") || keel_cli_has(cli, "--weights") || keel_cli_has(cli, "--store"))
        return keel_fail(err, KEEL_E_USAGE, dir, "--lines, --weights and --store are for decoders");
    if (!ours) KEEL_TRY(keel_base_find_made(dir, &kind, err));
    return encodes ? add_encoder(cli, dir, err) : KEEL_OK;
}

/* ---- for people ---- */

enum { SHOWN = 6 };

static void print_text(const cJSON *text, FILE *out) {
    const cJSON *item;
    int n = 0;
    keel_verify_print_tokens(text, "text", out);
    fputs("\nvector  ", out);
    cJSON_ArrayForEach (item, keel_json_get(text, "vector")) {
        if (n++ < SHOWN) fprintf(out, "%.6f ", item->valuedouble);
    }
    fprintf(out, "... (%d numbers; --json has all)\n", n);
}

static void print(const cJSON *result, FILE *out) {
    const cJSON *text;
    keel_print_leaves(out, result);
    cJSON_ArrayForEach (text, keel_json_get(result, "texts")) print_text(text, out);
    keel_verify_decoder_print(result, out);
}

const keel_verb keel_verb_verify = {
    .name = "verify",
    .brief = "show what a model folder holds, and whether it computes what it should",
    .flags = flags,
    .choices = choices,
    .more =
        "A base of Keel's is checked against the hashes of its files. Of an encoder, in a folder as Hugging Face and\n"
        "sentence-transformers lay it out or tuned by `keel sft`: sizes, hashes, and vectors of texts. They should be those of the\n"
        "library, to four digits:\n"
        "  python -c 'from sentence_transformers import SentenceTransformer as S; print(S(\"DIR\").encode(\"How do I bake bread?\")[:6])'\n"
        "Of a decoder, in such a folder or a .gguf file: what comes after prompts, and the perplexity of a standard text and of\n"
        "--lines. The logits should be those of the library:\n"
        "  python -c 'import sys, torch, transformers as t; d = sys.argv[1]; i = t.AutoTokenizer.from_pretrained(d)(sys.argv[2], return_tensors=\"pt\");\n"
        "    print(torch.topk(t.AutoModelForCausalLM.from_pretrained(d, dtype=\"float32\")(**i).logits[0, -1], 5))' DIR \"The capital of France is\"\n"
        "example: keel verify --base minilm\n"
        "example: keel verify --base smollm2 --weights q8_0 --lines texts.txt\n"
        "example: keel verify --base runs/minilm --text \"How do I bake bread?\" --json\n",
    .run = run,
    .print = print,
};
