/* A BERT encoder outside any log, for comparisons with peers (experiments/bench/peers/encoder.py).
 *
 *   bench_encoder tokens TOKENIZER.json <lines     ids of each line as one text, with what is put around it
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/source.h"
#include "policies/transformer/tokenizer.h"

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

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "tokens") == 0) {
        print_tokens(argv[2]);
        return 0;
    }
    fprintf(stderr, "usage: bench_encoder tokens TOKENIZER.json <lines\n");
    return 2;
}
