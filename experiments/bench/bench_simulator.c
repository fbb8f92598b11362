/* How fast the simulator is: turns a second on one core, a turn being an answer and what the user says to it.
 *
 *     bench_simulator [DOMAIN.json] [--episodes N]
 *
 * Under each behaviour: acts alone ("text": false, what act-level policies need in training) and with every
 * candidate's text. Medians and range of seven passes over the same episodes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/file.h"
#include "envs/env.h"

enum { PASSES = 7, EPISODES = 4000 };

static void need(keel_status status, const keel_err *err) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "bench_simulator: %s: %s\n", err->where, err->message);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Options are read from files: a short-lived one. */
static keel_env *open_desk(const char *domain, bool text) {
    char path[] = "/tmp/keel-bench-XXXXXX", here[2000] = "", json[4400];
    keel_env *env = NULL;
    keel_err err;
    const int file = mkstemp(path);
    if (file < 0 || !getcwd(here, sizeof here)) {
        perror(path);
        exit(1);
    }
    close(file);
    snprintf(json, sizeof json, "{\"env\": \"support-desk\", \"text\": %s%s%s%s%.2000s%s}",
             text ? "true" : "false", domain ? ", \"domain\": \"" : "",
             domain && domain[0] != '/' ? here : "", domain && domain[0] != '/' ? "/" : "",
             domain ? domain : "", domain ? "\"" : "");
    need(keel_file_write(path, json, strlen(json), &err), &err);
    need(keel_env_open(&env, path, 1, &err), &err);
    unlink(path);
    return env;
}

static double turns_per_second(keel_env *env, const keel_behaviour *behaviour, uint64_t episodes) {
    const double start = now();
    size_t turns = 0;
    for (uint64_t e = 0; e < episodes; e++) {
        const keel_conversation *log;
        keel_err err;
        need(keel_env_episode(env, behaviour, 1, e, &log, &err), &err);
        turns += log->n_decisions;
    }
    return (double)turns / (now() - start);
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *domain, const char *name, bool text, uint64_t episodes) {
    double rate[PASSES];
    keel_env *env = open_desk(domain, text);
    const keel_behaviour *behaviour = keel_behaviour_find(name);
    (void)turns_per_second(env, behaviour, episodes / 4); /* warm */
    for (int pass = 0; pass < PASSES; pass++) rate[pass] = turns_per_second(env, behaviour, episodes);
    qsort(rate, PASSES, sizeof rate[0], by_value);
    printf("%-12s %-10s %12.0f %12.0f %12.0f\n", name, text ? "texts" : "acts alone", rate[PASSES / 2],
           rate[0], rate[PASSES - 1]);
    keel_env_close(env);
}

int main(int argc, char **argv) {
    const char *domain = NULL;
    uint64_t episodes = EPISODES;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--episodes") == 0 && i + 1 < argc)
            episodes = strtoull(argv[++i], NULL, 10);
        else
            domain = argv[i];
    }
    printf("%-12s %-10s %12s %12s %12s\n", "behaviour", "", "turns/s", "lowest", "highest");
    static const char *const names[] = {"support-82", "scripted", "random"};
    for (size_t i = 0; i < 3; i++)
        for (int text = 0; text < 2; text++) measure(domain, names[i], text, episodes);
    return 0;
}
