/* Tokenizers and chat templates outside any log, for comparisons with peers
 * (experiments/bench/peers/tokens.py, templates.py). Texts and requests come as lines of JSON on standard
 * input.
 *
 *   ids TOKENIZER.json                 of each text: ids, ids with marks as plain text, the text back,
 * without marks speed TOKENIZER.json FILE SECONDS  MB and tokens a CPU second on one thread, the lines of
 * FILE one by one train SIZE PRE FILE SPECIAL...     a tokenizer.json of the lines of FILE; CPU seconds on
 * standard error template FILE                      requests {"messages", ...} to {"text", "spans"} or
 * {"error"}
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/file.h"
#include "core/json.h"
#include "core/memory.h"
#include "core/source.h"
#include "policies/tokens/bpe_train.h"
#include "policies/tokens/chat_template.h"
#include "policies/tokens/tokenizer.h"

static keel_err err;

static void check(keel_status status) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s\n", err.where, err.message);
    exit(1);
}

/* Calls `each` on every line of standard input as a JSON value. */
static void read_lines(void (*each)(const void *with, const cJSON *value, keel_arena *arena, keel_buf *out),
                       const void *with) {
    keel_source *in;
    keel_arena arena = {0};
    keel_buf out = {0};
    char *line;
    size_t length, number;
    check(keel_source_open_stream(&in, 0, "standard input", &err));
    for (;;) {
        const cJSON *value;
        check(keel_source_line(in, &line, &length, &number, &err));
        if (!line) break;
        keel_arena_reset(&arena);
        keel_buf_clear(&out);
        check(keel_json_parse_in(&arena, line, length, "standard input", &value, &err));
        each(with, value, &arena, &out);
        puts(out.data);
    }
    keel_source_close(in);
    keel_arena_free(&arena);
    keel_buf_free(&out);
}

static void put_ids(keel_buf *out, const keel_tokens *tokens) {
    keel_buf_text(out, "[");
    for (size_t i = 0; i < tokens->count; i++) keel_buf_format(out, "%s%d", i ? "," : "", (int)tokens->id[i]);
    keel_buf_text(out, "],");
}

static void print_ids(const void *with, const cJSON *value, keel_arena *arena, keel_buf *out) {
    const keel_tokenizer *tokenizer = with;
    keel_tokens marked, plain, framed;
    const char *text;
    int32_t *type;
    check(keel_tokenizer_encode(tokenizer, value->valuestring, true, arena, &marked, &err));
    check(keel_tokenizer_frame(tokenizer, &marked, NULL, arena, &framed, &type, &err));
    check(keel_tokenizer_encode(tokenizer, value->valuestring, false, arena, &plain, &err));
    keel_buf_text(out, "[");
    put_ids(out, &framed);
    put_ids(out, &plain);
    for (int specials = 1; specials >= 0; specials--) {
        check(keel_tokenizer_decode(tokenizer, framed.id, framed.count, specials, arena, &text, &err));
        keel_json_put_string(out, text);
        keel_buf_text(out, specials ? "," : "]");
    }
}

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void print_speed(const keel_tokenizer *tokenizer, const char *path, double seconds) {
    keel_buf file = {0};
    keel_arena arena = {0};
    size_t bytes = 0, tokens = 0;
    check(keel_file_read(path, 0, &file, &err));
    for (char *c = file.data; (c = strchr(c, '\n')); c++) *c = '\0';
    const double from = cpu_seconds();
    while (cpu_seconds() < from + seconds)
        for (const char *line = file.data; line < file.data + file.length; line += strlen(line) + 1) {
            keel_tokens found;
            keel_arena_reset(&arena);
            check(keel_tokenizer_encode(tokenizer, line, true, &arena, &found, &err));
            bytes += strlen(line) + 1;
            tokens += found.count;
        }
    const double taken = cpu_seconds() - from;
    printf("%.2f MB/s, %.3f M tokens/s\n", (double)bytes / taken / 1e6, (double)tokens / taken / 1e6);
    keel_buf_free(&file);
    keel_arena_free(&arena);
}

static void train(size_t size, const char *pre, const char *path, const char *const *special, size_t n) {
    const keel_bpe_training how = {size, special, n, pre, 0};
    keel_bpe_train *trained;
    keel_buf file = {0}, json = {0};
    check(keel_file_read(path, 0, &file, &err));
    const double from = cpu_seconds();
    check(keel_bpe_train_open(&trained, &how, &err));
    for (char *line = file.data, *end; line < file.data + file.length; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) end = file.data + file.length;
        *end = '\0';
        check(keel_bpe_train_add(trained, line, &err));
    }
    const double counted = cpu_seconds() - from;
    check(keel_bpe_train_write(trained, &json, &err));
    fprintf(stderr, "%.2f s of counting, %.2f s of merging\n", counted, cpu_seconds() - from - counted);
    puts(json.data);
    keel_bpe_train_close(trained);
    keel_buf_free(&file);
    keel_buf_free(&json);
}

/* ---- templates ---- */

static void print_template(const void *with, const cJSON *value, keel_arena *arena, keel_buf *out) {
    const char *bos = NULL, *eos = NULL, *text = NULL;
    keel_chat_request request = {.messages = keel_json_get(value, "messages"),
                                 .tools = keel_json_get(value, "tools"),
                                 .extra = keel_json_get(value, "extra")};
    keel_span *spans = NULL;
    size_t n = 0;
    check(keel_json_string(value, "bos_token", false, &bos, "request", &err));
    check(keel_json_string(value, "eos_token", false, &eos, "request", &err));
    check(keel_json_bool(value, "add_generation_prompt", false, &request.generation_prompt, "request", &err));
    double now = 0;
    check(keel_json_number(value, "now", false, &now, "request", &err));
    request.now = (int64_t)now;
    request.bos = bos;
    request.eos = eos;
    keel_status status = keel_chat_template_render(with, &request, arena, &text, &err);
    keel_buf_text(out, status == KEEL_OK ? "{\"text\":" : "{\"error\":");
    keel_json_put_string(out, status == KEEL_OK ? text : err.message);
    if (status == KEEL_OK && keel_json_get(value, "spans")) {
        status = keel_chat_template_spans(with, &request, arena, &text, &spans, &n, &err);
        keel_buf_text(out, status == KEEL_OK ? ",\"spans\":[" : ",\"refused\":");
        if (status != KEEL_OK) keel_json_put_string(out, err.message);
        for (size_t i = 0; i < n; i++)
            keel_buf_format(out, "%s[%zu,%zu]", i ? "," : "", spans[i].from, spans[i].to);
        if (status == KEEL_OK) keel_buf_text(out, "]");
    }
    keel_buf_text(out, "}");
}

static void render(const char *path) {
    keel_chat_template *chat;
    keel_buf source = {0};
    check(keel_file_read(path, 0, &source, &err));
    check(keel_chat_template_parse(&chat, source.data, path, &err));
    read_lines(print_template, chat);
    keel_chat_template_close(chat);
    keel_buf_free(&source);
}

int main(int argc, char **argv) {
    keel_tokenizer *tokenizer = NULL;
    const char *what = argc > 2 ? argv[1] : "";
    if (strcmp(what, "template") == 0)
        render(argv[2]);
    else if (strcmp(what, "train") == 0 && argc > 4)
        train((size_t)atol(argv[2]), argv[3], argv[4], (const char *const *)argv + 5, (size_t)argc - 5);
    else if (strcmp(what, "ids") == 0 || (strcmp(what, "speed") == 0 && argc > 4)) {
        check(keel_tokenizer_load(&tokenizer, argv[2], &err));
        if (*what == 'i')
            read_lines(print_ids, tokenizer);
        else
            print_speed(tokenizer, argv[3], atof(argv[4]));
        keel_tokenizer_close(tokenizer);
    } else {
        fputs(
            "usage: bench_tokens ids TOKENIZER | speed TOKENIZER FILE SECONDS | train SIZE PRE FILE SPECIAL... | "
            "template FILE\n",
            stderr);
        return 2;
    }
    return 0;
}
