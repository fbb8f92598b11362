#include "experiments/verify_decoder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/source.h"
#include "core/text.h"
#include "experiments/cli_resources.h"
#include "experiments/table.h"
#include "policies/decoder.h"

enum { SHOWN = 5 }; /* tokens that may come next */

static const char *const prompts[] = {"The capital of France is", "How do I bake bread?",
                                      "def add(a, b):\n    return"};

/* About nothing that a model knows better than another. */
static const char paragraph[] =
    "A lighthouse stands on the rock at the end of the bay. At dusk the keeper climbs the stairs, trims the lamp and "
    "winds the clockwork that turns the lens. From the deck of a ship the light is seen every ten seconds; who counts "
    "them knows which lighthouse it is, and so where the ship is. In fog the lamp is of little use, and a horn is "
    "blown instead. The keeper writes down the weather, the ships that pass and how much oil was burnt, and when the "
    "supply boat comes, about once a month, the book goes to the harbour, where somebody reads it.";

/* ---- what the model is ---- */

static double megabytes(size_t bytes) {
    return ceil((double)bytes / 1e5) / 10;
}

static cJSON *sizes_json(const keel_decoder_about *about) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "kind", about->kind);
    cJSON_AddStringToObject(json, "weights", about->weights);
    cJSON_AddNumberToObject(json, "parameters", (double)about->parameters);
    cJSON_AddNumberToObject(json, "memory_mb", megabytes(about->weight_bytes));
    cJSON_AddNumberToObject(json, "file_mb", megabytes(about->file_bytes));
    cJSON_AddNumberToObject(json, "bytes_per_token", (double)about->token_bytes);
    cJSON_AddNumberToObject(json, "layers", (double)about->layers);
    cJSON_AddNumberToObject(json, "width", (double)about->width);
    cJSON_AddNumberToObject(json, "heads", (double)about->heads);
    cJSON_AddNumberToObject(json, "kv_heads", (double)about->kv_heads);
    cJSON_AddNumberToObject(json, "head_width", (double)about->head_width);
    cJSON_AddNumberToObject(json, "inner", (double)about->inner);
    cJSON_AddNumberToObject(json, "vocabulary", (double)about->vocabulary);
    cJSON_AddNumberToObject(json, "tokens", (double)about->tokens);
    cJSON_AddNumberToObject(json, "most_tokens", (double)about->positions);
    cJSON_AddStringToObject(json, "rope", about->rope);
    cJSON_AddNumberToObject(json, "rope_theta", about->rope_theta);
    cJSON_AddBoolToObject(json, "tied", about->tied);
    cJSON_AddBoolToObject(json, "chat_template", about->has_template);
    return json;
}

keel_status keel_verify_hash(keel_cli *cli, cJSON *json, const char *dir, const char *name, keel_err *err) {
    const char *path = keel_path_join(&cli->arena, dir, name);
    char hex[65];
    if (!path) return keel_nomem(err, dir);
    if (!keel_file_exists(path)) return KEEL_OK;
    KEEL_TRY(keel_file_hash(path, hex, err));
    cJSON_AddStringToObject(json, name, hex);
    return KEEL_OK;
}

/* Of a .gguf file itself; of a folder the weights and the tokenizer. */
static keel_status add_hashes(keel_cli *cli, const char *path, keel_err *err) {
    static const char *const suffixes[] = {".safetensors", ".gguf", NULL};
    cJSON *json = cJSON_AddObjectToObject(cli->result, "sha256");
    const char **names = NULL;
    size_t n = 0;
    char hex[65];
    if (!keel_file_is_folder(path)) {
        KEEL_TRY(keel_file_hash(path, hex, err));
        cJSON_AddStringToObject(json, "file", hex);
        return KEEL_OK;
    }
    KEEL_TRY(keel_folder_list(path, suffixes, &cli->arena, &names, &n, err));
    for (size_t i = 0; i < n; i++) KEEL_TRY(keel_verify_hash(cli, json, path, names[i], err));
    return keel_verify_hash(cli, json, path, "tokenizer.json", err);
}

/* ---- what it computes ---- */

static void add_next(const keel_decoder *decoder, float *logits, cJSON *list) {
    const size_t n = keel_decoder_look(decoder).vocabulary;
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, (double)logits[i]);
    for (size_t i = 0; i < n; i++) sum += exp((double)logits[i] - most);
    for (size_t k = 0; k < SHOWN && k < n; k++) {
        size_t best = 0;
        for (size_t i = 1; i < n; i++)
            if (logits[i] > logits[best]) best = i;
        const char *token = keel_decoder_token(decoder, (int32_t)best);
        if (!token) break;
        cJSON *json = cJSON_CreateObject();
        cJSON_AddNumberToObject(json, "id", (double)best);
        cJSON_AddStringToObject(json, "token", token);
        cJSON_AddNumberToObject(json, "logit", (double)logits[best]);
        cJSON_AddNumberToObject(json, "probability", exp((double)logits[best] - most) / sum);
        keel_json_add(list, NULL, json);
        logits[best] = -INFINITY;
    }
}

static keel_status add_prompt(const keel_decoder *decoder, const char *text, keel_pool *pool,
                              keel_arena *arena, cJSON *list, keel_err *err) {
    float *logits = keel_arena_calloc(arena, keel_decoder_look(decoder).vocabulary, sizeof *logits);
    int32_t *ids;
    size_t n;
    if (!logits) return keel_nomem(err, "verify");
    KEEL_TRY(keel_decoder_read(decoder, text, true, arena, &ids, &n, err));
    if (n == 0) return keel_fail(err, KEEL_E_USAGE, "--text", "it has no token");
    KEEL_TRY(keel_decoder_next(decoder, ids, n, logits, pool, arena, err));
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "text", text);
    cJSON *tokens = cJSON_AddArrayToObject(json, "tokens"), *numbers = cJSON_AddArrayToObject(json, "ids");
    for (size_t i = 0; i < n; i++) {
        const char *token = keel_decoder_token(decoder, ids[i]);
        keel_json_add(tokens, NULL, cJSON_CreateString(token ? token : ""));
        keel_json_add(numbers, NULL, cJSON_CreateNumber(ids[i]));
    }
    add_next(decoder, logits, cJSON_AddArrayToObject(json, "next"));
    keel_json_add(list, NULL, json);
    return KEEL_OK;
}

keel_status keel_verify_texts(keel_cli *cli, const char *const *standard, size_t n_standard,
                              const char *const **texts, size_t *n, keel_err *err) {
    KEEL_TRY(keel_cli_values(cli, "--text", texts, n, err));
    if (*n == 0) *texts = standard, *n = n_standard;
    for (size_t i = 0; i < *n; i++)
        if (keel_utf8_valid_prefix((*texts)[i], strlen((*texts)[i])) != strlen((*texts)[i]))
            return keel_fail(err, KEEL_E_USAGE, "--text", "it is not UTF-8 text");
    return KEEL_OK;
}

static cJSON *perplexity_json(double log_prob, size_t count) {
    cJSON *json = cJSON_CreateObject();
    if (count) cJSON_AddNumberToObject(json, "perplexity", exp(-log_prob / (double)count));
    cJSON_AddNumberToObject(json, "tokens", (double)count);
    return json;
}

/* --lines: each line is a text of its own. */
static keel_status add_lines(keel_cli *cli, const keel_decoder *decoder, keel_pool *pool, keel_arena *arena,
                             keel_err *err) {
    const char *path = keel_cli_value(cli, "--lines");
    keel_source *from;
    char *line = NULL;
    double log_prob = 0, lines = 0;
    size_t count = 0, length, number = 0;
    if (!path) return KEEL_OK;
    KEEL_TRY(keel_source_open(&from, path, err));
    keel_status status = keel_source_line(from, &line, &length, &number, err);
    while (status == KEEL_OK && line) {
        keel_arena_reset(arena);
        if (keel_utf8_valid_prefix(line, length) != length)
            status = keel_fail(err, KEEL_E_PARSE, path, "line %zu is not UTF-8 text", number);
        if (status == KEEL_OK)
            status = keel_decoder_likelihood(decoder, line, &log_prob, &count, pool, arena, err);
        if (status == KEEL_OK) status = keel_source_line(from, &line, &length, &number, err);
        lines++;
    }
    keel_source_close(from);
    if (status != KEEL_OK) return status;
    cJSON *json = perplexity_json(log_prob, count);
    cJSON_AddNumberToObject(json, "lines", lines);
    keel_json_add(cli->result, "lines", json);
    return KEEL_OK;
}

static keel_status add_computed(keel_cli *cli, const keel_decoder *decoder, keel_pool *pool,
                                keel_arena *arena, keel_err *err) {
    const char *const *texts;
    double log_prob = 0;
    size_t n, count = 0;
    KEEL_TRY(keel_verify_texts(cli, prompts, sizeof prompts / sizeof *prompts, &texts, &n, err));
    KEEL_TRY(keel_decoder_likelihood(decoder, paragraph, &log_prob, &count, pool, arena, err));
    keel_json_add(cli->result, "standard_text", perplexity_json(log_prob, count));
    KEEL_TRY(add_lines(cli, decoder, pool, arena, err));
    cJSON *list = cJSON_AddArrayToObject(cli->result, "prompts");
    for (size_t i = 0; i < n; i++) {
        keel_arena_reset(arena);
        KEEL_TRY(add_prompt(decoder, texts[i], pool, arena, list, err));
    }
    return KEEL_OK;
}

/* What of a conversation the chat template takes, and what it refuses, in its own words. */
static keel_status add_talks(keel_cli *cli, const keel_decoder *decoder, keel_arena *arena, keel_err *err) {
    if (!keel_decoder_look(decoder).has_template) {
        cJSON_AddStringToObject(cli->result, "chat_template",
                                "none that is understood: ChatML takes its place");
        return KEEL_OK;
    }
    cJSON *json = cJSON_AddObjectToObject(cli->result, "chat_template");
    for (size_t talk = 0; keel_decoder_talks[talk]; talk++) {
        keel_err refusal = {0};
        const char *text, *missing = NULL;
        char said[sizeof refusal.message + 32] = "taken";
        const keel_status status = keel_decoder_talk(decoder, talk, arena, &text, &missing, &refusal);
        if (status == KEEL_E_NOMEM) return keel_nomem(err, "verify");
        if (status != KEEL_OK) snprintf(said, sizeof said, "refused: %s", refusal.message);
        if (status == KEEL_OK && missing) snprintf(said, sizeof said, "taken without %s", missing);
        cJSON_AddStringToObject(json, keel_decoder_talks[talk], said);
    }
    return KEEL_OK;
}

keel_status keel_verify_decoder(keel_cli *cli, const char *path, keel_err *err) {
    keel_decoder *decoder = NULL;
    keel_pool *pool = NULL;
    keel_arena arena = {0};
    int kind = -1;
    KEEL_TRY(keel_cli_choice(cli, "--weights", keel_decoder_weights, &kind, err));
    KEEL_TRY(keel_cli_open_pool(cli, &pool, err));
    keel_status status = keel_decoder_open(&decoder, path, kind < 0 ? NULL : keel_decoder_weights[kind], err);
    if (status == KEEL_OK) {
        const keel_decoder_about about = keel_decoder_look(decoder);
        keel_json_add(cli->result, "model", sizes_json(&about));
        status = add_hashes(cli, path, err);
    }
    if (status == KEEL_OK) status = add_talks(cli, decoder, &arena, err);
    if (status == KEEL_OK) status = add_computed(cli, decoder, pool, &arena, err);
    keel_decoder_close(decoder);
    keel_pool_close(pool);
    keel_arena_free(&arena);
    return status;
}

/* ---- for people ---- */

void keel_verify_print_tokens(const cJSON *row, const char *label, FILE *out) {
    const cJSON *token;
    fprintf(out, "\n%-8s", label);
    keel_print_line(out, keel_json_text(row, "text", ""), 100);
    fputs("\ntokens  ", out);
    cJSON_ArrayForEach (token, keel_json_get(row, "tokens")) {
        keel_print_line(out, token->valuestring, 0);
        fputc(' ', out);
    }
}

static void print_prompt(const cJSON *prompt, FILE *out) {
    const cJSON *item;
    keel_table table = {.columns = 4};
    keel_verify_print_tokens(prompt, "prompt", out);
    fputs("\n\n", out);
    keel_table_cell(&table, "next");
    keel_table_cell(&table, "id");
    keel_table_cell(&table, "logit");
    keel_table_cell(&table, "probability");
    cJSON_ArrayForEach (item, keel_json_get(prompt, "next")) {
        keel_table_cell(&table, "%s", keel_json_get(item, "token")->valuestring);
        keel_table_cell(&table, "%d", keel_json_get(item, "id")->valueint);
        keel_table_cell(&table, "%.4f", keel_json_get(item, "logit")->valuedouble);
        keel_table_cell(&table, "%.4f", keel_json_get(item, "probability")->valuedouble);
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
}

void keel_verify_decoder_print(const cJSON *result, FILE *out) {
    const cJSON *prompt;
    cJSON_ArrayForEach (prompt, keel_json_get(result, "prompts")) print_prompt(prompt, out);
}
