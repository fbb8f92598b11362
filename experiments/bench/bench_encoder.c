/* A BERT encoder outside any log, for comparisons with peers (experiments/bench/peers/encoder.py).
 *
 *   bench_encoder tokens TOKENIZER.json <lines       ids of each line as one text, with what is put around it
 *   bench_encoder vectors FOLDER BATCH <lines        the vector of each line, so many texts at a time
 *   bench_encoder speed FOLDER BATCH TOKENS SECONDS  texts a CPU second, of so many tokens each
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/source.h"
#include "policies/transformer/bert.h"

static keel_err err;

static void check(keel_status status) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s\n", err.where, err.message);
    exit(1);
}

static void print_tokens(const char *path) {
    keel_tokenizer *tokenizer;
    keel_source *in;
    keel_arena arena = {0};
    char *line;
    size_t length, number;
    check(keel_tokenizer_load(&tokenizer, path, &err));
    check(keel_source_open_stream(&in, 0, "standard input", &err));
    for (;;) {
        keel_tokens text, framed;
        int32_t *type;
        check(keel_source_line(in, &line, &length, &number, &err));
        if (!line) break;
        keel_arena_reset(&arena);
        check(keel_tokenizer_encode(tokenizer, line, true, &arena, &text, &err));
        check(keel_tokenizer_frame(tokenizer, &text, NULL, &arena, &framed, &type, &err));
        for (size_t i = 0; i < framed.count; i++) printf("%s%d", i ? " " : "", (int)framed.id[i]);
        putchar('\n');
    }
    keel_source_close(in);
    keel_tokenizer_close(tokenizer);
    keel_arena_free(&arena);
}

/* ---- vectors ---- */

static void print_vectors(const char *dir, size_t most) {
    keel_bert *bert;
    keel_source *in;
    keel_arena arena = {0};
    const char **texts = keel_calloc(most, sizeof *texts);
    size_t n = 1, cut = 0;
    check(keel_bert_load(&bert, dir, &err));
    check(keel_source_open_stream(&in, 0, "standard input", &err));
    while (n > 0) {
        char *line;
        size_t length, number;
        keel_bert_batch batch;
        keel_arena_reset(&arena);
        for (n = 0; n < most; n++) {
            check(keel_source_line(in, &line, &length, &number, &err));
            if (!line) break;
            texts[n] = keel_arena_strdup(&arena, line);
        }
        keel_real *out = keel_arena_alloc(&arena, (n + 1) * bert->config.hidden * sizeof *out);
        check(keel_bert_read(bert, texts, n, &arena, &batch, &cut, &err));
        check(keel_bert_encode(bert, &batch, &arena, out, &err));
        for (size_t i = 0; i < n * bert->config.hidden; i++)
            printf("%.9g%c", (double)out[i], (i + 1) % bert->config.hidden ? ' ' : '\n');
    }
    fprintf(stderr, "%zu tokens were cut\n", cut);
    keel_source_close(in);
    keel_bert_close(bert);
    keel_arena_free(&arena);
    keel_free(texts);
}

static void measure(const char *dir, size_t n, size_t tokens, double seconds) {
    keel_bert *bert;
    keel_arena arena = {0};
    check(keel_bert_load(&bert, dir, &err));
    int32_t *id = keel_calloc(n * tokens, sizeof *id), *offsets = keel_calloc(n + 1, sizeof *offsets);
    keel_real *out = keel_calloc(n * bert->config.hidden, sizeof *out);
    for (size_t i = 0; i < n * tokens; i++) id[i] = (int32_t)(1000 + i * 7919 % 20000);
    for (size_t i = 0; i <= n; i++) offsets[i] = (int32_t)(i * tokens);
    const keel_bert_batch batch = {.id = id, .offsets = offsets, .n = n};
    double best = 0;
    for (clock_t begin = clock(); (double)(clock() - begin) / CLOCKS_PER_SEC < seconds;) {
        clock_t at = clock();
        keel_arena_reset(&arena);
        check(keel_bert_encode(bert, &batch, &arena, out, &err));
        double rate = (double)n * CLOCKS_PER_SEC / (double)(clock() - at);
        if (rate > best) best = rate;
    }
    printf("%zu texts of %zu tokens: %.1f texts a CPU second\n", n, tokens, best);
    keel_bert_close(bert);
    keel_arena_free(&arena);
    keel_free(id);
    keel_free(offsets);
    keel_free(out);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "tokens") == 0) {
        print_tokens(argv[2]);
        return 0;
    }
    if (argc == 4 && strcmp(argv[1], "vectors") == 0) {
        print_vectors(argv[2], strtoul(argv[3], NULL, 10));
        return 0;
    }
    if (argc == 6 && strcmp(argv[1], "speed") == 0) {
        measure(argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10), strtod(argv[5], NULL));
        return 0;
    }
    fprintf(
        stderr,
        "usage: bench_encoder tokens TOKENIZER.json | vectors FOLDER BATCH | speed FOLDER BATCH TOKENS SECONDS\n");
    return 2;
}
