/* Learners on logs of the pole on a cart, to be held against those of others on the same logs
 * (peers/cartpole.py).
 *
 *     bench_cartpole log KIND SEED FILE
 *         20,000 transitions as CSV: the state, action, reward, terminal, timeout
 *     bench_cartpole train FILE ALGO SEED STEPS
 *         learns from such a file; prints the mean return of 100 fresh episodes
 *
 * KIND: random; medium (three of four actions at random, else balancing); mixed (half of the episodes each of
 * random and of one action in four at random). ALGO: cql, dqn, bc. Settings are those of the peer's default
 * network and loss, with learning rate, batch, target interval and alpha as named below, the same for both.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "experiments/bench/plain_batch.h"
#include "experiments/processes/cartpole.h"

enum { TRANSITIONS = 20000, BATCH = 64, TARGET_INTERVAL = 500, JUDGED = 100, DIM = KEEL_CARTPOLE_STATE };
static const double LEARNING_RATE = 1e-3, ALPHA = 1, GAMMA = 0.99;

static void need(keel_status status, const keel_err *err) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s\n", err->where, err->message);
    exit(1);
}

/* ---- logs ---- */

static double randomness(const char *kind, uint64_t episode) {
    if (strcmp(kind, "random") == 0) return 1;
    if (strcmp(kind, "medium") == 0) return 0.75;
    if (strcmp(kind, "mixed") == 0) return episode % 2 ? 0.25 : 1;
    fprintf(stderr, "kind: expected random, medium or mixed, got %s\n", kind);
    exit(2);
}

static int write_log(const char *kind, uint64_t seed, const char *path) {
    FILE *file = fopen(path, "w");
    if (!file) return perror(path), 1;
    int written = 0;
    for (uint64_t episode = 0; written < TRANSITIONS; ++episode) {
        keel_rng rng = keel_rng_stream(seed, KEEL_STREAM_EPISODE, episode);
        double random = randomness(kind, episode);
        keel_cartpole pole;
        keel_cartpole_reset(&pole, &rng);
        while (!pole.fell && !pole.cut_off && written < TRANSITIONS) {
            int action =
                keel_rng_uniform(&rng) < random ? (int)keel_rng_below(&rng, 2) : keel_cartpole_balance(&pole);
            for (int i = 0; i < DIM; ++i) fprintf(file, "%.9g,", pole.state[i]);
            keel_cartpole_step(&pole, action);
            bool timeout = pole.cut_off || (!pole.fell && ++written == TRANSITIONS);
            if (pole.fell || pole.cut_off) ++written;
            fprintf(file, "%d,1,%d,%d\n", action, pole.fell, timeout);
        }
    }
    return fclose(file) ? 1 : 0;
}

typedef struct step {
    float state[DIM];
    int action;
    bool terminal, timeout;
} step;

static size_t read_log(const char *path, step *steps) {
    FILE *file = fopen(path, "r");
    size_t n = 0;
    int terminal, timeout;
    if (!file) exit((perror(path), 1));
    for (; n < TRANSITIONS; ++n) {
        step *s = &steps[n];
        if (fscanf(file, "%f,%f,%f,%f,%d,1,%d,%d", &s->state[0], &s->state[1], &s->state[2], &s->state[3],
                   &s->action, &terminal, &timeout) != DIM + 3)
            break;
        s->terminal = terminal != 0;
        s->timeout = timeout != 0;
    }
    fclose(file);
    return n;
}

/* ---- learning ---- */

/* A step cut off by the limit has no next state in the log and is left out of the temporal difference. */
static keel_batch draw(plain_batch *batch, const step *steps, size_t n, keel_rng *rng) {
    for (size_t b = 0; b < BATCH; ++b) {
        const step *s = &steps[keel_rng_below(rng, n)];
        plain_batch_put(batch, b, s->state, s->action, 1, s->terminal || s->timeout ? NULL : s[1].state,
                        s->timeout && !s->terminal);
    }
    return plain_batch_view(batch);
}

static double mean_return(const keel_qnet *net, uint64_t seed) {
    keel_arena scratch = {0};
    keel_err err;
    double sum = 0;
    for (uint64_t e = 0; e < JUDGED; ++e) {
        keel_rng rng = keel_rng_stream(seed, KEEL_STREAM_JUDGED, e);
        keel_cartpole pole;
        keel_cartpole_reset(&pole, &rng);
        while (!pole.fell && !pole.cut_off) {
            float x[DIM], q[KEEL_CARTPOLE_ACTIONS];
            for (int i = 0; i < DIM; ++i) x[i] = (float)pole.state[i];
            keel_arena_reset(&scratch);
            need(keel_qnet_infer(net, x, 1, q, NULL, &scratch, &err), &err);
            keel_cartpole_step(&pole, q[1] > q[0]);
        }
        sum += pole.steps;
    }
    keel_arena_free(&scratch);
    return sum / JUDGED;
}

static int train(const char *path, const char *algorithm, int64_t seed, int64_t steps) {
    static step log[TRANSITIONS];
    keel_arena arena = {0};
    plain_batch room_for_batch;
    size_t n = read_log(path, log);
    keel_learner_config config;
    keel_learner learner;
    keel_loss_parts parts;
    keel_pool *pool;
    keel_err err;
    need(keel_learner_preset("d3rlpy", algorithm, &config, &err), &err);
    config.seed = seed;
    config.batch = BATCH;
    config.learning_rate = LEARNING_RATE;
    config.target_interval = TARGET_INTERVAL;
    config.gamma = GAMMA;
    if (strcmp(algorithm, "cql") == 0) need(keel_learner_set_number(&config, "alpha", ALPHA, &err), &err);
    const keel_qnet_shape shape = {.space = KEEL_SPACE_ACTS,
                                   .state_dim = DIM,
                                   .n_acts = KEEL_CARTPOLE_ACTIONS,
                                   .heads = 1,
                                   .critics = 1,
                                   .hidden = config.hidden};
    const double coverage[KEEL_N_REWARDS] = {1, 0,
                                             0}; /* one reward: it stands in the first component, weight 1 */
    config.weight[0] = 1;
    config.weight[1] = config.weight[2] = 0;
    if (!plain_batch_open(&room_for_batch, BATCH, DIM, &arena)) exit(1);
    need(keel_pool_open(&pool, 1, &err), &err);
    need(keel_learner_open(&learner, &config, &shape, coverage, pool, &err), &err);
    for (int64_t i = 0; i < steps; ++i) {
        keel_rng rng = keel_rng_stream((uint64_t)seed, KEEL_STREAM_SAMPLER, (uint64_t)i);
        keel_batch batch = draw(&room_for_batch, log, n, &rng);
        need(keel_learner_step(&learner, &batch, &parts, &err), &err);
    }
    printf("%.2f\n", mean_return(&learner.net, (uint64_t)seed));
    keel_learner_close(&learner);
    keel_pool_close(pool);
    keel_arena_free(&arena);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 5 && strcmp(argv[1], "log") == 0)
        return write_log(argv[2], strtoull(argv[3], NULL, 10), argv[4]);
    if (argc == 6 && strcmp(argv[1], "train") == 0)
        return train(argv[2], argv[3], strtoll(argv[4], NULL, 10), strtoll(argv[5], NULL, 10));
    fputs("usage: bench_cartpole log KIND SEED FILE | train FILE ALGO SEED STEPS\n", stderr);
    return 2;
}
