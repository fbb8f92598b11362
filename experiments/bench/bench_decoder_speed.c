/* How fast a decoder reads and writes. PATH: a folder or a .gguf file; WEIGHTS: stored, f32, bf16,
 * q8_0, int8, q4_0 or q4_g32.
 * Commands come by lines on standard input; each answers with seconds by the clock and of the processor:
 *
 *   prefill N        a text of N tokens, logits after the last
 *   decode B N       N tokens more for each of B texts of 128, with logits
 *   candidates       five of 32 tokens after one prompt of 512, scored on the prompt that was read once; and
 *                    each with its prompt, as five whole texts
 *   decision         five of 40 tokens after one state of 512 that is read once: what a policy does
 *   floor            bytes of weights that a token reads, and the seconds that reading them takes by itself
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/memory.h"
#include "core/parallel.h"
#include "policies/transformer/llama_run.h"

enum { MOST_TEXTS = 64, PROMPT = 512, CANDIDATE = 32, CANDIDATES = 5, BEFORE = 128 };

static keel_err err;
static keel_llama *llama;
static keel_pool *pool;
static keel_arena arena;
static int32_t id[8192];
static float *logits[MOST_TEXTS];
static double wall, processor;

static void check(keel_status status) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s %s\n", err.where, err.message, err.hint);
    exit(1);
}

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void start(void) {
    wall = seconds(CLOCK_MONOTONIC);
    processor = seconds(CLOCK_PROCESS_CPUTIME_ID);
}

static void stop(const char *what) {
    printf("%s %.6f %.6f ", what, seconds(CLOCK_MONOTONIC) - wall,
           seconds(CLOCK_PROCESS_CPUTIME_ID) - processor);
}

static keel_llama_sequence *opened(const keel_llama_sequence *parent, size_t shared) {
    keel_llama_sequence *sequence = NULL;
    check(keel_llama_sequence_open(&sequence, llama, parent, shared, &err));
    return sequence;
}

static void run(const keel_llama_feed *feeds, size_t n) {
    check(keel_llama_run(llama, feeds, n, pool, &arena, &err));
    keel_arena_reset(&arena);
}

static void prefill(size_t n) {
    keel_llama_sequence *s = opened(NULL, 0);
    start();
    run(&(keel_llama_feed){s, id, n, logits[0], NULL}, 1);
    stop("prefill");
    keel_llama_sequence_close(s);
}

static void decode(size_t texts, size_t n) {
    keel_llama_sequence *s[MOST_TEXTS];
    keel_llama_feed feeds[MOST_TEXTS] = {0};
    for (size_t i = 0; i < texts; i++) {
        s[i] = opened(NULL, 0);
        feeds[i] = (keel_llama_feed){s[i], id + i, BEFORE, NULL, NULL};
    }
    run(feeds, texts);
    start();
    for (size_t t = 0; t < n; t++) {
        for (size_t i = 0; i < texts; i++)
            feeds[i] = (keel_llama_feed){s[i], id + 7 * i + BEFORE + t, 1, logits[i], NULL};
        run(feeds, texts);
    }
    stop("decode");
    for (size_t i = 0; i < texts; i++) keel_llama_sequence_close(s[i]);
}

static void score(const keel_llama_sequence *prompt, float out[CANDIDATES][PROMPT + CANDIDATE]) {
    static int32_t text[CANDIDATES][PROMPT + CANDIDATE];
    keel_llama_sequence *s[CANDIDATES];
    keel_llama_feed feeds[CANDIDATES];
    for (size_t i = 0; i < CANDIDATES; i++) {
        const size_t n = prompt ? CANDIDATE : PROMPT + CANDIDATE;
        memcpy(text[i], id, PROMPT * sizeof *id);
        memcpy(text[i] + PROMPT, id + 600 + 40 * i, CANDIDATE * sizeof *id);
        s[i] = opened(prompt, prompt ? PROMPT : 0);
        feeds[i] = (keel_llama_feed){s[i], text[i] + PROMPT + CANDIDATE - n, n, NULL,
                                     out[i] + PROMPT + CANDIDATE - n};
    }
    if (prompt) {
        run(feeds, CANDIDATES);
    } else { /* the prompt's own tokens are not scored */
        for (size_t i = 0; i < CANDIDATES; i++) {
            run(&(keel_llama_feed){s[i], text[i], PROMPT, NULL, NULL}, 1);
            run(&(keel_llama_feed){s[i], text[i] + PROMPT, CANDIDATE, NULL, out[i] + PROMPT}, 1);
        }
    }
    for (size_t i = 0; i < CANDIDATES; i++) keel_llama_sequence_close(s[i]);
}

static void candidates(void) {
    static float shared[CANDIDATES][PROMPT + CANDIDATE], whole[CANDIDATES][PROMPT + CANDIDATE];
    start();
    keel_llama_sequence *prompt = opened(NULL, 0);
    run(&(keel_llama_feed){prompt, id, PROMPT, NULL, NULL}, 1);
    score(prompt, shared);
    stop("shared");
    keel_llama_sequence_close(prompt);
    start();
    score(NULL, whole);
    stop("whole");
    for (size_t i = 0; i < CANDIDATES; i++)
        if (memcmp(shared[i] + PROMPT, whole[i] + PROMPT, CANDIDATE * sizeof(float)) != 0) exit(3);
}

/* The state read, and the likelihood of each candidate after it. */
static void decision(void) {
    enum { TOKENS = 40 };
    static float log_prob[CANDIDATES][TOKENS];
    keel_llama_sequence *s[CANDIDATES];
    keel_llama_feed feeds[CANDIDATES];
    start();
    keel_llama_sequence *state = opened(NULL, 0);
    run(&(keel_llama_feed){state, id, PROMPT, NULL, NULL}, 1);
    for (size_t i = 0; i < CANDIDATES; i++) {
        s[i] = opened(state, PROMPT);
        feeds[i] = (keel_llama_feed){s[i], id + 600 + TOKENS * i, TOKENS, NULL, log_prob[i]};
    }
    run(feeds, CANDIDATES);
    stop("decision");
    for (size_t i = 0; i < CANDIDATES; i++) keel_llama_sequence_close(s[i]);
    keel_llama_sequence_close(state);
}

/* All matrices once, as sums of their bytes by each thread: what no decoding of one text can be faster than.
 */
typedef struct span {
    const uint64_t *at;
    size_t n, threads;
    uint64_t sum[64];
} span;

static keel_status add_up(void *context, size_t shard, size_t thread, keel_err *unused) {
    span *s = context;
    uint64_t sum[8] = {0};
    (void)thread, (void)unused;
    for (size_t i = s->n * shard / s->threads; i + 8 <= s->n * (shard + 1) / s->threads; i += 8)
        for (size_t j = 0; j < 8; j++) sum[j] += s->at[i + j];
    s->sum[shard] = sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
    return KEEL_OK;
}

static void bandwidth(void) {
    const keel_llama_config *c = &llama->config;
    size_t bytes = 0;
    for (size_t row = c->tied ? 0 : 1; row < llama->n_rows; row++) {
        const keel_matrix *m = &llama->matrix[row];
        if (m->data) bytes += m->rows * keel_matrix_row_bytes(m->type, m->cols);
    }
    void *copy = keel_calloc(1, bytes);
    if (!copy) check(keel_nomem(&err, "bench"));
    memset(copy, 1, bytes);
    span s = {.at = copy, .n = bytes / sizeof(uint64_t), .threads = pool ? keel_pool_threads(pool) : 1};
    start();
    check(pool ? keel_pool_run(pool, s.threads, add_up, &s, &err) : add_up(&s, 0, 0, &err));
    printf("bytes %zu ", bytes);
    stop("read");
    keel_free(copy);
}

static void obey(const char *line) {
    size_t a = 0, b = 0;
    if (sscanf(line, "prefill %zu", &a) == 1 && a <= 4096)
        prefill(a);
    else if (sscanf(line, "decode %zu %zu", &a, &b) == 2 && a <= MOST_TEXTS && b <= 4096)
        decode(a, b);
    else if (strncmp(line, "candidates", 10) == 0)
        candidates();
    else if (strncmp(line, "decision", 8) == 0)
        decision();
    else if (strncmp(line, "floor", 5) == 0)
        bandwidth();
    else
        exit(2);
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv) {
    static const char *const names[] = {"stored", "f32", "bf16", "q8_0", "int8", "q4_0", "q4_g32"};
    char line[256];
    if (argc != 4) {
        fprintf(stderr,
                "usage: bench_decoder_speed PATH stored|f32|bf16|q8_0|int8|q4_0|q4_g32 THREADS <commands\n");
        return 2;
    }
    for (int k = 0; k < KEEL_N_LLAMA_WEIGHTS; k++)
        if (strcmp(argv[2], names[k]) == 0)
            check(keel_llama_open(&llama, argv[1], (keel_llama_weights)k, &err));
    if (!llama) return 2;
    const size_t threads = (size_t)strtoul(argv[3], NULL, 10);
    if (threads != 1) check(keel_pool_open(&pool, threads, &err));
    for (size_t i = 0; i < sizeof id / sizeof *id; i++)
        id[i] = (int32_t)((i * 7919 + 13) % (llama->config.vocab - 200));
    for (size_t i = 0; i < MOST_TEXTS; i++) {
        logits[i] = keel_calloc(llama->config.vocab, sizeof(float));
        if (!logits[i]) check(keel_nomem(&err, "bench"));
    }
    while (fgets(line, sizeof line, stdin)) obey(line);
    for (size_t i = 0; i < MOST_TEXTS; i++) keel_free(logits[i]);
    keel_arena_free(&arena);
    keel_pool_close(pool);
    keel_llama_close(llama);
    return 0;
}
