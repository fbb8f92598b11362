#include "policies/decoder.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "policies/transformer/llama_run.h"
#include "policies/transformer/llama_text.h"
#include "policies/transformer/peft.h"

struct keel_decoder {
    keel_llama *llama;
};

const char *const keel_decoder_weights[] = {"f32", "bf16", "q8_0", "int8", "q4_0", "q4_g32", NULL};
const char *const keel_decoder_saved_weights[] = {"f32", "f16", "bf16", "q8_0", "q4_0", NULL};

/* What each name of --weights is, to open with and to save as. */
static const struct {
    const char *name;
    keel_llama_weights open;
    keel_block_type save;
} kinds[] = {{"f32", KEEL_LLAMA_F32, KEEL_BLOCK_F32},    {"f16", KEEL_LLAMA_AS_STORED, KEEL_BLOCK_F16},
             {"bf16", KEEL_LLAMA_BF16, KEEL_BLOCK_BF16}, {"q8_0", KEEL_LLAMA_Q8_0, KEEL_BLOCK_Q8_0},
             {"int8", KEEL_LLAMA_I8, KEEL_N_BLOCKS}, /* no file of others says it */
             {"q4_0", KEEL_LLAMA_Q4_0, KEEL_BLOCK_Q4_0}, {"q4_g32", KEEL_LLAMA_Q4_G32, KEEL_N_BLOCKS}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static keel_status find_kind(const char *name, size_t *out, keel_err *err) {
    for (size_t k = 0; k < N_KINDS; k++)
        if (strcmp(name, kinds[k].name) == 0) return *out = k, KEEL_OK;
    return keel_fail(err, KEEL_E_USAGE, "weights",
                     "expected f32, f16, bf16, q8_0, int8, q4_0 or q4_g32, got \"%s\"", name);
}

/* ---- opening ---- */

bool keel_decoder_is(const char *path) {
    return keel_llama_is(path);
}

keel_status keel_decoder_open(keel_decoder **out, const char *path, const char *weights, keel_err *err) {
    keel_llama_weights as = KEEL_LLAMA_AS_STORED;
    size_t kind = 0;
    if (weights) {
        KEEL_TRY(find_kind(weights, &kind, err));
        as = kinds[kind].open;
    }
    keel_decoder *made = keel_calloc(1, sizeof *made);
    keel_status status = made ? keel_peft_open_llama(&made->llama, path, as, err) : keel_nomem(err, path);
    if (status == KEEL_OK)
        *out = made;
    else
        keel_free(made);
    return status;
}

void keel_decoder_close(keel_decoder *decoder) {
    if (!decoder) return;
    keel_llama_close(decoder->llama);
    keel_free(decoder);
}

keel_decoder_about keel_decoder_look(const keel_decoder *decoder) {
    static const char *const types[KEEL_N_MATRIX_TYPES] = {
        [KEEL_MATRIX_F32] = "F32", [KEEL_MATRIX_BF16] = "BF16", [KEEL_MATRIX_Q8_0] = "Q8_0",
        [KEEL_MATRIX_I8] = "INT8", [KEEL_MATRIX_Q4_0] = "Q4_0", [KEEL_MATRIX_Q4_G32] = "Q4_G32"};
    static const char *const ropes[] = {
        [KEEL_ROPE_PLAIN] = "default", [KEEL_ROPE_LINEAR] = "linear", [KEEL_ROPE_LLAMA3] = "llama3"};
    const keel_llama *llama = decoder->llama;
    const keel_llama_config *c = &llama->config;
    keel_decoder_about about = {.kind = c->qkv_bias && !c->out_bias ? "qwen2" : "llama",
                                .weights = types[llama->matrix[keel_llama_row(0, KEEL_LLAMA_Q)].type],
                                .rope = ropes[c->rope],
                                .layers = c->layers,
                                .width = c->hidden,
                                .heads = c->heads,
                                .kv_heads = c->kv_heads,
                                .head_width = c->head_dim,
                                .inner = c->inner,
                                .vocabulary = c->vocab,
                                .tokens = keel_tokenizer_size(llama->tokenizer),
                                .positions = c->positions,
                                .file_bytes = llama->file_bytes,
                                .token_bytes = keel_llama_token_bytes(llama),
                                .rope_theta = c->rope_theta,
                                .tied = c->tied,
                                .has_template = llama->chat != NULL};
    for (size_t row = 0; row < llama->n_rows; row++) {
        const keel_matrix *matrix = &llama->matrix[row];
        if (!matrix->data) continue;
        about.parameters += matrix->rows * matrix->cols;
        about.weight_bytes += matrix->rows * keel_matrix_row_bytes(matrix->type, matrix->cols);
    }
    return about;
}

/* ---- on disk ---- */

static bool ends_in(const char *text, const char *end) {
    const size_t length = strlen(text), tail = strlen(end);
    return length > tail && strcmp(text + length - tail, end) == 0;
}

static keel_status save_folder(const keel_llama *llama, const char *to, keel_block_type type, keel_err *err) {
    keel_folder_write folder;
    KEEL_TRY(keel_folder_begin(&folder, to, err));
    keel_status status = keel_llama_save(llama, folder.temporary, type, 0, err);
    if (status == KEEL_OK) return keel_folder_commit(&folder, err);
    keel_folder_abandon(&folder);
    return status;
}

/* The number format of fewest bits among its matrices. */
static keel_matrix_type narrowest(const keel_llama *llama) {
    keel_matrix_type found = KEEL_MATRIX_F32;
    for (size_t row = 0; row < llama->n_rows; row++)
        if (llama->matrix[row].data && llama->matrix[row].type > found) found = llama->matrix[row].type;
    return found;
}

static keel_status find_save(const char *to, bool file, const char *weights, size_t *kind, keel_err *err) {
    *kind = N_KINDS;
    if (weights) KEEL_TRY(find_kind(weights, kind, err));
    if (*kind < N_KINDS && kinds[*kind].save == KEEL_N_BLOCKS)
        return keel_fail(err, KEEL_E_USAGE, "weights", "expected f32, f16, bf16, q8_0 or q4_0, got \"%s\"",
                         weights);
    if (!file && *kind < N_KINDS && kinds[*kind].save >= KEEL_BLOCK_Q8_0) {
        keel_fail(err, KEEL_E_USAGE, "weights", "a Hugging Face folder has f32, f16 or bf16");
        return keel_hint(err, "a name that ends in .gguf is a file, which has q8_0 and q4_0 too");
    }
    if (keel_file_exists(to) || keel_file_is_folder(to))
        return keel_fail(err, KEEL_E_CONFLICT, to, "it is there already");
    return KEEL_OK;
}

/* In 4 bits, what is held in 8 is told from the rest, so it is not rounded while it is read. */
static keel_llama_weights open_as(size_t kind) {
    return kind == N_KINDS || kinds[kind].save == KEEL_BLOCK_Q4_0 ? KEEL_LLAMA_AS_STORED : kinds[kind].open;
}

keel_status keel_decoder_convert(const char *from, const char *to, const char *weights, const char **saved,
                                 keel_err *err) {
    const bool file = ends_in(to, ".gguf");
    keel_llama *llama = NULL;
    size_t kind;
    KEEL_TRY(find_save(to, file, weights, &kind, err));
    KEEL_TRY(keel_peft_open_llama(&llama, from, open_as(kind), err));
    keel_status status = keel_llama_settle(llama, err); /* an adapter becomes the weights' own */
    if (status == KEEL_OK) {
        const keel_matrix_type held = narrowest(llama);
        const bool compressed = held > KEEL_MATRIX_BF16;
        *saved = kind < N_KINDS ? kinds[kind].name : keel_matrix_type_name(held);
        keel_block_type save = kind < N_KINDS ? kinds[kind].save : KEEL_LLAMA_AS_HELD;
        if (kind == N_KINDS && !compressed) keel_block_of_matrix(held, &save);
        status = file ? keel_llama_save_gguf(llama, to, save, err) : save_folder(llama, to, save, err);
    }
    keel_llama_close(llama);
    return status;
}

/* ---- texts ---- */

keel_status keel_decoder_read(const keel_decoder *decoder, const char *text, bool marks, keel_arena *arena,
                              int32_t **ids, size_t *n, keel_err *err) {
    keel_tokens tokens;
    KEEL_TRY(keel_llama_read_text(decoder->llama, text, marks, arena, &tokens, err));
    *ids = tokens.id;
    *n = tokens.count;
    return KEEL_OK;
}

const char *keel_decoder_token(const keel_decoder *decoder, int32_t id) {
    return keel_tokenizer_token(decoder->llama->tokenizer, id);
}

/* ---- chat templates ---- */

const char *const keel_decoder_talks[] = {"user", "system", "answer", "tools", NULL};

#define ASK "{\"role\": \"user\", \"content\": \"How warm is it?\"}"
#define CALL                                                                                                         \
    "{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"id\": \"call00001\", \"type\": \"function\", " \
    "\"function\": {\"name\": \"thermometer\", \"arguments\": {\"city\": \"Oslo\"}}}]}"
#define RESULT                                                                                               \
    "{\"role\": \"tool\", \"tool_call_id\": \"call00001\", \"name\": \"thermometer\", \"content\": \"-7\"}"
#define TOOLS                                                                                                     \
    "[{\"type\": \"function\", \"function\": {\"name\": \"thermometer\", \"description\": \"Degrees outside.\", " \
    "\"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}}}}}]"

enum { PARTS = 3 };

static const struct {
    const char *messages, *tools;
    bool answered; /* by the assistant at last */
    struct {
        const char *name, *word;
    } part[PARTS]; /* what has to be in the text, by a word of it */
} talks[] = {
    {"[" ASK "]", NULL, false, {{"the question", "How warm"}}},
    {"[{\"role\": \"system\", \"content\": \"Be brief.\"}, " ASK "]",
     NULL,
     false,
     {{"the system's words", "Be brief."}}},
    {"[" ASK ", {\"role\": \"assistant\", \"content\": \"Frost.\"}]", NULL, true, {{"the answer", "Frost."}}},
    {"[" ASK ", " CALL ", " RESULT "]",
     TOOLS,
     false,
     {{"functions", "Degrees outside."}, {"the call", "Oslo"}, {"its result", "-7"}}}};

/* Names of the parts that the text lacks, or NULL. */
static keel_status find_missing(size_t talk, const char *text, keel_arena *arena, const char **out,
                                keel_err *err) {
    char list[96] = "";
    for (size_t i = 0; i < PARTS && talks[talk].part[i].name; i++)
        if (!strstr(text, talks[talk].part[i].word))
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", list[0] ? ", " : "",
                     talks[talk].part[i].name);
    *out = list[0] ? keel_arena_strdup(arena, list) : NULL;
    return list[0] && !*out ? keel_nomem(err, "decoder") : KEEL_OK;
}

static keel_status render(const keel_llama *llama, size_t talk, const cJSON *messages, const cJSON *tools,
                          keel_arena *arena, const char **out, keel_err *err) {
    keel_chat_request request = keel_llama_request(llama, messages, !talks[talk].answered);
    keel_span *spans;
    size_t n;
    request.tools = tools;
    return talks[talk].answered ? keel_chat_template_spans(llama->chat, &request, arena, out, &spans, &n, err)
                                : keel_chat_template_render(llama->chat, &request, arena, out, err);
}

keel_status keel_decoder_talk(const keel_decoder *decoder, size_t talk, keel_arena *arena, const char **out,
                              const char **missing, keel_err *err) {
    const char *messages_text = talks[talk].messages, *tools_text = talks[talk].tools;
    cJSON *messages = NULL, *tools = NULL;
    if (!decoder->llama->chat)
        return keel_fail(err, KEEL_E_NOT_FOUND, "decoder", "it has no chat template that Keel understands");
    keel_status status = keel_json_parse(messages_text, strlen(messages_text), "talk", &messages, err);
    if (status == KEEL_OK && tools_text)
        status = keel_json_parse(tools_text, strlen(tools_text), "talk", &tools, err);
    if (status == KEEL_OK) status = render(decoder->llama, talk, messages, tools, arena, out, err);
    cJSON_Delete(messages);
    cJSON_Delete(tools);
    if (status == KEEL_OK) status = find_missing(talk, *out, arena, missing, err);
    return status;
}

/* Feeds ids to an empty text. */
static keel_status run(const keel_decoder *decoder, const int32_t *ids, size_t n, float *logits,
                       float *log_prob, keel_pool *pool, keel_arena *scratch, keel_err *err) {
    keel_llama_sequence *sequence;
    KEEL_TRY(keel_llama_sequence_open(&sequence, decoder->llama, NULL, 0, err));
    const keel_llama_feed feed = {
        .sequence = sequence, .id = ids, .n = n, .logits = logits, .log_prob = log_prob};
    keel_status status = keel_llama_run(decoder->llama, &feed, 1, pool, scratch, err);
    keel_llama_sequence_close(sequence);
    return status;
}

keel_status keel_decoder_next(const keel_decoder *decoder, const int32_t *ids, size_t n, float *logits,
                              keel_pool *pool, keel_arena *scratch, keel_err *err) {
    return run(decoder, ids, n, logits, NULL, pool, scratch, err);
}

keel_status keel_decoder_likelihood(const keel_decoder *decoder, const char *text, double *log_prob,
                                    size_t *count, keel_pool *pool, keel_arena *scratch, keel_err *err) {
    const size_t positions = decoder->llama->config.positions,
                 window = positions < KEEL_DECODER_WINDOW ? positions : KEEL_DECODER_WINDOW;
    int32_t *ids;
    size_t n;
    KEEL_TRY(keel_decoder_read(decoder, text, true, scratch, &ids, &n, err));
    float *found = keel_arena_alloc(scratch, (n + 1) * sizeof *found);
    if (!found) return keel_nomem(err, "decoder");
    for (size_t at = 0; at < n; at += window) {
        const size_t here = n - at < window ? n - at : window;
        KEEL_TRY(run(decoder, ids + at, here, NULL, found, pool, scratch, err));
        for (size_t i = 1; i < here; i++) *log_prob += (double)found[i];
        *count += here - 1;
    }
    return KEEL_OK;
}
