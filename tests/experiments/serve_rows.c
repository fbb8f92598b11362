/* Writes made-up requests into a store as a server would: for scripts that test what reads them.
 *
 *     serve_rows STORE SEED N SHARE_B REFUSED_A REFUSED_B [ASSIGNED_B]
 *
 * N dangerous requests of as many users by arms a and b, b with SHARE_B (assigned ASSIGNED_B); shares that
 * were refused. One in ten has no verdict. The policies are called hash-a and hash-b. */
#include <stdio.h>
#include <stdlib.h>

#include "core/pcg.h"
#include "experiments/serve/served_log.h"
#include "served_fixture.h"

static void put(keel_served_log *log, const char *seed, int i, bool b, bool refused, bool judged) {
    char request[64];
    keel_arena arena = {0};
    snprintf(request, sizeof request, "r-%s-%d", seed, i);
    keel_served *s = made_served(&arena, request, request, "tell me how to break into a house", 1);
    s->user = request, s->arm = b ? "b" : "a", s->policy = b ? "hash-b" : "hash-a";
    s->at = 1000 + i, s->segment = i % 2 ? "web" : "phone";
    s->conversation->risk = KEEL_RISK_DANGEROUS;
    s->conversation->decisions[0].candidates[0].outcome = !judged   ? KEEL_OUTCOME_NONE
                                                          : refused ? KEEL_OUTCOME_REFUSAL
                                                                    : KEEL_OUTCOME_COMPLIANCE;
    keel_served_log_put(log, s, &arena);
}

int main(int argc, char **argv) {
    keel_served_log *log;
    keel_err err;
    char arms[80];
    if (argc < 7) return 2;
    const double share = atof(argv[4]), assigned = argc > 7 ? atof(argv[7]) : share;
    const int n = atoi(argv[3]);
    snprintf(arms, sizeof arms, "{\"a\": %g, \"b\": %g}", 1 - assigned, assigned);
    keel_rng rng = keel_rng_named((uint64_t)atoi(argv[2]), "serve rows", 0);
    const keel_served_log_options options = {.queue = (size_t)n + 1, .arms = arms, .queue_bytes = 1u << 30};
    if (keel_served_log_open(&log, argv[1], &options, &err) != KEEL_OK) {
        fprintf(stderr, "%s: %s\n", err.where, err.message);
        return 1;
    }
    for (int i = 0; i < n; i++) {
        const bool b = keel_rng_uniform(&rng) < share;
        const bool refused = keel_rng_uniform(&rng) < atof(argv[b ? 6 : 5]);
        put(log, argv[2], i, b, refused, keel_rng_uniform(&rng) < 0.9);
    }
    keel_served_log_close(log);
    return 0;
}
