/* Speed of the built-in base on a file of texts, one a line: LABEL, tab, TEXT. Each text is a user turn, its
 * label the act of the answer; so tuning learns to name the label of a text, as supervised fastText does.
 *
 *     bench_base sft FILE DIR THREADS EPOCHS [KEY=VALUE...]   tunes on all of FILE, writes the base to DIR
 *     bench_base encode FILE DIR THREADS SECONDS              texts to features and prior, from memory
 *
 * One line: texts, MB and words of FILE, seconds, passes over FILE (epochs, or what fitted into SECONDS),
 * n-grams a text, and the share of the floor: embedding rows that must be read (tuning: read for the forward
 * pass, read and written for the step, as if no two texts of a batch shared one), over the rate at which this
 * thread reads rows of a table of that size. Alone a thread is timed by its own processor time, so that
 * others on the machine count for little, nor what OpenBLAS's idle threads spin away in the first tenth of a
 * second of any process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/pcg.h"
#include "policies/ngram_base/encode.h"
#include "policies/sft.h"

typedef struct corpus {
    size_t count, bytes;
    const char **label, **text; /* [count] */
    keel_arena arena;
} corpus;

static void need(keel_status status, const keel_err *err) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s\n", err->where, err->message);
    exit(1);
}

static void *room(corpus *texts, size_t bytes) {
    void *made = keel_arena_alloc(&texts->arena, bytes);
    if (made) return made;
    fprintf(stderr, "bench_base: no memory for the texts\n");
    exit(1);
}

static void read_corpus(corpus *texts, const char *path) {
    keel_err err = {0};
    keel_buf file = {0};
    char *next;
    size_t lines = 0;
    need(keel_file_read(path, 0, &file, &err), &err);
    for (size_t i = 0; i < file.length; i++) lines += file.data[i] == '\n';
    *texts = (corpus){0};
    texts->label = room(texts, lines * sizeof *texts->label);
    texts->text = room(texts, lines * sizeof *texts->text);
    char *copy = room(texts, file.length + 1);
    memcpy(copy, file.data, file.length + 1);
    keel_buf_free(&file);
    for (char *line = copy; (next = strchr(line, '\n')) != NULL; line = next + 1) {
        char *tab = memchr(line, '\t', (size_t)(next - line));
        if (!tab) continue;
        *tab = *next = '\0';
        texts->label[texts->count] = line;
        texts->text[texts->count++] = tab + 1;
        texts->bytes += (size_t)(next - tab - 1);
    }
}

/* The conversation of one text; what it points to is the caller's. */
typedef struct asked {
    char id[24];
    keel_turn turn;
    keel_candidate answer;
    keel_decision decision;
    keel_conversation conversation;
} asked;

static void ask(const corpus *texts, size_t i, asked *out) {
    snprintf(out->id, sizeof out->id, "%zu", i);
    out->turn = (keel_turn){.role = KEEL_ROLE_USER, .text = texts->text[i]};
    out->answer = (keel_candidate){.act = texts->label[i], .taken = true};
    out->decision = (keel_decision){.turn = 1, .n_candidates = 1, .candidates = &out->answer};
    out->conversation = (keel_conversation){.source = "bench",
                                            .external_id = out->id,
                                            .completed = KEEL_UNKNOWN,
                                            .n_turns = 1,
                                            .turns = &out->turn,
                                            .n_decisions = 1,
                                            .decisions = &out->decision};
}

static double clock_of(size_t threads) {
    return threads == 1 ? keel_clock_thread() : keel_clock();
}

/* ---- the floor ---- */

typedef struct volume { /* of one pass over the texts */
    size_t words, grams;
} volume;

/* What the encoder must read. A base tuned on these very texts knows all their n-grams. */
static volume measure(const corpus *texts, const keel_ngram_base *model) {
    volume sum = {0};
    keel_arena arena = {0};
    keel_err err = {0};
    for (size_t i = 0; i < texts->count; i++) {
        asked one;
        keel_ngram_sample sample;
        size_t words = 0;
        keel_grams grams;
        ask(texts, i, &one);
        keel_arena_reset(&arena);
        need(keel_ngram_texts(&model->rules, &texts->text[i], 1, 0, false, &arena, &grams, &words, &err),
             &err);
        need(keel__ngram_base_samples(model, &one.conversation, NULL, 1, &arena, &sample, &err), &err);
        sum.words += words;
        for (int field = 0; field < KEEL_N_STATE_FIELDS; field++) sum.grams += sample.field[field].count;
    }
    keel_arena_free(&arena);
    return sum;
}

/* Seconds that this thread takes to add up a row of the table, drawn anywhere in it. */
static double seconds_a_row(const keel_ngram_base *model) {
    enum { DRAWS = 1 << 20 };
    size_t dim = (size_t)model->config.dim;
    float *sum = keel_calloc(dim, sizeof *sum);
    uint32_t *at = keel_calloc(DRAWS, sizeof *at);
    keel_rng rng = keel_rng_stream(1, KEEL_STREAM_MADE, 0);
    if (!sum || !at) exit(1);
    for (size_t i = 0; i < DRAWS; i++) at[i] = (uint32_t)keel_rng_below(&rng, model->rows);
    double start = clock_of(1);
    for (size_t i = 0; i < DRAWS; i++) {
        const float *row = model->table + at[i] * dim;
        for (size_t d = 0; d < dim; d++) sum[d] += row[d];
    }
    double seconds = clock_of(1) - start;
    if (sum[0] > 1e30f) printf("never\n"); /* so that the sum is worked out */
    keel_free(at);
    keel_free(sum);
    return seconds / DRAWS;
}

static void report(const corpus *texts, const keel_ngram_base *model, const char *what, size_t threads,
                   double seconds, double passes, double reads) {
    volume one = measure(texts, model);
    double floor = reads * (double)one.grams * passes * seconds_a_row(model) / (double)threads;
    printf("%s texts %zu MB %.3f words %zu seconds %.4f passes %.3f grams %.1f floor %.3f\n", what,
           texts->count, (double)texts->bytes / 1e6, one.words, seconds, passes,
           (double)one.grams / (double)texts->count, floor / seconds);
}

static const keel_ngram_base *load(const char *dir, keel_base **base) {
    keel_err err = {0};
    need(keel_base_load(base, dir, &err), &err);
    return (const keel_ngram_base *)*base;
}

/* ---- tuning ---- */

static void fill_store(keel_store *store, const corpus *texts) {
    keel_err err = {0};
    keel_added added;
    need(keel_store_begin(store, &err), &err);
    for (size_t i = 0; i < texts->count; i++) {
        asked one;
        ask(texts, i, &one);
        one.conversation.split = "train";
        need(keel_store_add_conversation(store, &one.conversation, false, "bench", &added, &err), &err);
    }
    need(keel_store_commit(store, &err), &err);
}

static int run_sft(const corpus *texts, const char *dir, size_t threads, int argc, char **argv) {
    keel_err err = {0};
    struct keel_ngram_base_config config;
    keel_store *store;
    keel_pool *pool;
    keel_split split;
    keel_base *base;
    char path[1024];
    snprintf(path, sizeof path, "%s.db", dir);
    remove(path);
    need(keel_options_defaults(keel_ngram_base_options, &config, &err), &err);
    need(keel_options_assign(keel_ngram_base_options, &config, "action_space=acts", &err), &err);
    need(keel_options_assign(keel_ngram_base_options, &config, "min_updates=1", &err), &err);
    config.epochs = atoi(argv[0]);
    for (int i = 1; i < argc; i++)
        need(keel_options_assign(keel_ngram_base_options, &config, argv[i], &err), &err);
    need(keel_store_open(&store, path, KEEL_STORE_CREATE, &err), &err);
    fill_store(store, texts);
    need(keel_split_parse("all", &split, &err), &err);
    need(keel_pool_open(&pool, threads, &err), &err);
    double start = clock_of(threads);
    need(keel_sft(store, &split, "builtin", &config.common, dir, true, NULL, pool, &err), &err);
    double seconds = clock_of(threads) - start;
    keel_pool_close(pool);
    keel_store_close(store);
    remove(path);
    /* forward, and a step that reads and writes */
    report(texts, load(dir, &base), "sft", threads, seconds, (double)config.epochs, 3);
    keel_base_close(base);
    return 0;
}

/* ---- encoding ---- */

enum { TEXTS_A_SHARD = 16 };

typedef struct encoding {
    const corpus *texts;
    const keel_base *base;
    keel_arena *arenas; /* [threads] */
} encoding;

static keel_status encode_shard(void *context, size_t shard, size_t thread, keel_err *err) {
    const encoding *all = context;
    size_t first = shard * TEXTS_A_SHARD, last = first + TEXTS_A_SHARD;
    for (size_t i = first; i < last && i < all->texts->count; i++) {
        asked one;
        keel_features features;
        ask(all->texts, i, &one);
        keel_arena_reset(&all->arenas[thread]);
        KEEL_TRY(
            keel_base_encode_decision(all->base, &one.conversation, 0, &all->arenas[thread], &features, err));
    }
    return KEEL_OK;
}

static int run_encode(const corpus *texts, const char *dir, size_t threads, double least) {
    keel_err err = {0};
    keel_base *base;
    keel_pool *pool;
    keel_arena arenas[64] = {{0}};
    const keel_ngram_base *model = load(dir, &base);
    encoding all = {texts, base, arenas};
    size_t shards = (texts->count + TEXTS_A_SHARD - 1) / TEXTS_A_SHARD, passes = 0;
    need(keel_pool_open(&pool, threads, &err), &err);
    need(keel_pool_run(pool, shards, encode_shard, &all, &err), &err);
    double start = clock_of(threads), now;
    do {
        need(keel_pool_run(pool, shards, encode_shard, &all, &err), &err);
        passes++;
        now = clock_of(threads);
    } while (now - start < least);
    report(texts, model, "encode", threads, now - start, (double)passes, 1);
    for (size_t i = 0; i < threads; i++) keel_arena_free(&arenas[i]);
    keel_pool_close(pool);
    keel_base_close(base);
    return 0;
}

int main(int argc, char **argv) {
    corpus texts;
    int status = 2;
    size_t threads = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
    bool tunes = argc > 5 && strcmp(argv[1], "sft") == 0,
         encodes = argc == 6 && strcmp(argv[1], "encode") == 0;
    if ((!tunes && !encodes) || threads < 1 || threads > 64) {
        fprintf(stderr, "usage: bench_base sft FILE DIR THREADS EPOCHS [KEY=VALUE...]\n"
                        "       bench_base encode FILE DIR THREADS SECONDS\n");
        return status;
    }
    read_corpus(&texts, argv[2]);
    if (tunes)
        status = run_sft(&texts, argv[3], threads, argc - 5, argv + 5);
    else
        status = run_encode(&texts, argv[3], threads, atof(argv[5]));
    keel_arena_free(&texts.arena);
    return status;
}
