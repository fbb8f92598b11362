/* keel verify: what a model's folder holds, and whether it computes what it should.
 *
 *  A base that Keel made is loaded, which checks its files against their hashes. Of an encoder as Hugging
 * Face and sentence-transformers lay it out, and of one that Keel tuned: sizes, the hash of its weights, and
 * the vectors of a few texts, to be compared with those of a library.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "core/text.h"
#include "experiments/cli_resources.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "policies/base.h"
#include "policies/encoder.h"

static const keel_flag flags[] = {
    {"--base", "DIR", true, false, "the folder"},
    {"--text", "TEXT", false, true, "a text whose vector is shown (default: three of them)"},
    KEEL_FLAG_END,
};

static const char *const standard[] = {"How do I bake bread?", "Wie backe ich Brot?", "如何烤面包？"};

/* ---- an encoder ---- */

static keel_status add_hash(cJSON *json, const char *dir, const char *name, keel_err *err) {
    keel_buf path = {0};
    char hex[65];
    keel_buf_format(&path, "%s/%s", dir, name);
    keel_status status = path.failed ? keel_nomem(err, dir) : KEEL_OK;
    if (status == KEEL_OK && access(path.data, F_OK) == 0) {
        status = keel_file_hash(path.data, hex, err);
        if (status == KEEL_OK) cJSON_AddStringToObject(json, name, hex);
    }
    keel_buf_free(&path);
    return status;
}

static cJSON *sizes_json(const keel_encoder_about *about) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "kind", about->kind);
    cJSON_AddNumberToObject(json, "parameters", (double)about->parameters);
    cJSON_AddNumberToObject(json, "memory_mb", ceil((double)about->parameters * sizeof(float) / 1e5) / 10);
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
    KEEL_TRY(keel_cli_values(cli, "--text", &texts, &n, err));
    if (n == 0) texts = standard, n = sizeof standard / sizeof *standard;
    for (size_t i = 0; i < n; i++)
        if (keel_utf8_valid_prefix(texts[i], strlen(texts[i])) != strlen(texts[i]))
            return keel_fail(err, KEEL_E_USAGE, "--text", "it is not UTF-8 text");
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
    keel_status status = add_hash(hashes, dir, "model.safetensors", err);
    if (status == KEEL_OK) status = add_hash(hashes, dir, "tokenizer.json", err);
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

static keel_status run(keel_cli *cli, keel_err *err) {
    const char *dir = keel_cli_value(cli, "--base");
    const keel_base_kind *kind;
    bool encodes = true;
    keel_buf path = {0};
    keel_buf_format(&path, "%s/keel.json", dir);
    if (path.failed) return keel_nomem(err, dir);
    const bool ours = access(path.data, F_OK) == 0;
    keel_buf_free(&path);
    cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(cli->result, "base", dir);
    KEEL_TRY(ours ? verify_base(cli, dir, &encodes, err) : keel_base_find_kind(dir, &kind, err));
    return encodes ? add_encoder(cli, dir, err) : KEEL_OK;
}

/* ---- for people ---- */

enum { SHOWN = 6 };

static void print_text(const cJSON *text, FILE *out) {
    const cJSON *item;
    int n = 0;
    fputs("\ntext    ", out);
    keel_print_line(out, keel_json_get(text, "text")->valuestring, 100);
    fputs("\ntokens  ", out);
    cJSON_ArrayForEach (item, keel_json_get(text, "tokens")) {
        keel_print_line(out, item->valuestring, 0);
        fputc(' ', out);
    }
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
}

const keel_verb keel_verb_verify = {
    .name = "verify",
    .brief = "what a model's folder holds, and whether it computes what it should",
    .flags = flags,
    .more =
        "A base of Keel's is checked against the hashes of its files. Of an encoder, in a folder as Hugging Face and\n"
        "sentence-transformers lay it out or tuned by `keel sft`: sizes, hashes, and vectors of texts. They should be those of the\n"
        "library, to four digits:\n"
        "  python -c 'from sentence_transformers import SentenceTransformer as S; print(S(\"DIR\").encode(\"How do I bake bread?\")[:6])'\n"
        "example: keel verify --base minilm\n"
        "example: keel verify --base runs/minilm --text \"How do I bake bread?\" --json\n",
    .run = run,
    .print = print,
};
