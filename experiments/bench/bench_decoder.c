/* A decoder outside any log, for comparisons with peers (experiments/bench/peers/decoder.py). PATH: a folder
 * or a .gguf file; WEIGHTS: f32, bf16, q8_0, int8, q4_0 or q4_g32.
 *
 *   tokens PATH <lines                  ids of each line as one text
 *   likelihood PATH WEIGHTS <lines      of each line: the sum of ln p of its tokens but the first, and their
 * number greedy PATH WEIGHTS N <lines        N most probable ids after each line dump PATH NAME... rows of
 * weights in F32, one tensor after the other, to standard output
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/source.h"
#include "policies/transformer/llama_run.h"

static keel_err err;

static void check(keel_status status) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s\n", err.where, err.message);
    exit(1);
}

static keel_llama *open_model(const char *path, const char *weights) {
    static const char *const names[] = {"stored", "f32", "bf16", "q8_0", "int8", "q4_0", "q4_g32"};
    keel_llama *llama = NULL;
    for (int k = 0; k < KEEL_N_LLAMA_WEIGHTS; k++)
        if (strcmp(weights, names[k]) == 0) check(keel_llama_open(&llama, path, (keel_llama_weights)k, &err));
    if (!llama) exit(2);
    return llama;
}

typedef void each_line(const keel_llama *llama, const keel_tokens *tokens, size_t n, keel_arena *arena);

static void print_tokens(const keel_llama *llama, const keel_tokens *tokens, size_t n, keel_arena *arena) {
    (void)llama, (void)n, (void)arena;
    for (size_t i = 0; i < tokens->count; i++) printf("%s%d", i ? " " : "", (int)tokens->id[i]);
    putchar('\n');
}

static void print_likelihood(const keel_llama *llama, const keel_tokens *tokens, size_t n,
                             keel_arena *arena) {
    (void)n;
    double sum = 0;
    keel_llama_sequence *sequence = NULL;
    float *log_prob = keel_arena_calloc(arena, tokens->count + 1, sizeof *log_prob);
    const keel_llama_feed feed = {.id = tokens->id, .n = tokens->count, .log_prob = log_prob};
    check(log_prob ? keel_llama_sequence_open(&sequence, llama, NULL, 0, &err) : keel_nomem(&err, "bench"));
    keel_llama_feed whole = feed;
    whole.sequence = sequence;
    check(keel_llama_run(llama, &whole, 1, NULL, arena, &err));
    keel_llama_sequence_close(sequence);
    for (size_t i = 1; i < tokens->count; i++) sum += (double)log_prob[i];
    printf("%.9g %zu\n", sum, tokens->count ? tokens->count - 1 : 0);
}

/* All lines in step, as many at a time as there are. */
enum { MOST_LINES = 64 };
static struct {
    keel_llama_sequence *sequence;
    int32_t *id; /* what was read, then what came of it */
    size_t n;
    float *logits;
} greedy[MOST_LINES];
static size_t n_greedy;

static void keep_line(const keel_llama *llama, const keel_tokens *tokens, size_t n, keel_arena *arena) {
    (void)arena;
    if (n_greedy == MOST_LINES || !tokens->count) exit(2);
    check(keel_llama_sequence_open(&greedy[n_greedy].sequence, llama, NULL, 0, &err));
    greedy[n_greedy].id = calloc(tokens->count + n, sizeof(int32_t));
    greedy[n_greedy].logits = calloc(llama->config.vocab, sizeof(float));
    if (!greedy[n_greedy].id || !greedy[n_greedy].logits) exit(1);
    memcpy(greedy[n_greedy].id, tokens->id, tokens->count * sizeof(int32_t));
    greedy[n_greedy++].n = tokens->count;
}

static int32_t most_probable(const float *logits, size_t n) {
    size_t best = 0;
    for (size_t k = 1; k < n; k++)
        if (logits[k] > logits[best]) best = k;
    return (int32_t)best;
}

static void print_greedy(const keel_llama *llama, size_t n) {
    keel_llama_feed feeds[MOST_LINES];
    keel_arena arena = {0};
    for (size_t step = 0; step < n; step++) {
        for (size_t i = 0; i < n_greedy; i++)
            feeds[i] = (keel_llama_feed){.sequence = greedy[i].sequence,
                                         .id = greedy[i].id + (step ? greedy[i].n + step - 1 : 0),
                                         .n = step ? 1 : greedy[i].n,
                                         .logits = greedy[i].logits};
        keel_arena_reset(&arena);
        check(keel_llama_run(llama, feeds, n_greedy, NULL, &arena, &err));
        for (size_t i = 0; i < n_greedy; i++)
            greedy[i].id[greedy[i].n + step] = most_probable(greedy[i].logits, llama->config.vocab);
    }
    for (size_t i = 0; i < n_greedy; i++) {
        for (size_t step = 0; step < n; step++)
            printf("%s%d", step ? " " : "", (int)greedy[i].id[greedy[i].n + step]);
        putchar('\n');
        keel_llama_sequence_close(greedy[i].sequence);
        free(greedy[i].id);
        free(greedy[i].logits);
    }
    keel_arena_free(&arena);
}

static void for_lines(const keel_llama *llama, each_line *each, size_t n) {
    keel_source *in;
    keel_arena arena = {0};
    char *line;
    size_t length, number;
    check(keel_source_open_stream(&in, 0, "standard input", &err));
    for (;;) {
        keel_tokens tokens;
        check(keel_source_line(in, &line, &length, &number, &err));
        if (!line) break;
        keel_arena_reset(&arena);
        for (char *c = line; *c; c++)
            if (*c == '\x1e') *c = '\n'; /* a line break of the text */
        check(keel_tokenizer_encode(llama->tokenizer, line, true, &arena, &tokens, &err));
        each(llama, &tokens, n, &arena);
    }
    keel_source_close(in);
    keel_arena_free(&arena);
}

static void dump(const keel_llama *llama, const char *wanted) {
    for (size_t row = 0; row < llama->n_rows; row++) {
        const keel_matrix *matrix = &llama->matrix[row];
        char name[128];
        keel_llama_name(&llama->config, row, name);
        if (!matrix->data || strcmp(name, wanted) != 0) continue;
        float *numbers = malloc(matrix->cols * sizeof *numbers);
        for (size_t r = 0; numbers && r < matrix->rows; r++) {
            keel_matrix_read_row(matrix, r, numbers);
            fwrite(numbers, sizeof *numbers, matrix->cols, stdout);
        }
        free(numbers);
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 2 ? argv[1] : "";
    const bool plain = strcmp(what, "tokens") == 0 || strcmp(what, "dump") == 0;
    if (argc < (plain ? 3 : 4)) {
        fputs("usage: bench_decoder tokens|likelihood|greedy|dump PATH ...\n", stderr);
        return 2;
    }
    keel_llama *llama = open_model(argv[2], plain ? "stored" : argv[3]);
    if (strcmp(what, "tokens") == 0) for_lines(llama, print_tokens, 0);
    if (strcmp(what, "likelihood") == 0) for_lines(llama, print_likelihood, 0);
    if (strcmp(what, "greedy") == 0) {
        const size_t n = argc > 4 ? (size_t)atoi(argv[4]) : 16;
        for_lines(llama, keep_line, n);
        print_greedy(llama, n);
    }
    for (int i = 3; strcmp(what, "dump") == 0 && i < argc; i++) dump(llama, argv[i]);
    keel_llama_close(llama);
    return 0;
}
