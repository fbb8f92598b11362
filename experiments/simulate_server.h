/* Simulated users of an application whose answers a server chooses (`keel serve`): at each decision the
 * candidates go to /v1/choose, what comes back is given to the user, and in the end the application says what
 * it knows: how its answers are judged, whether the task was done, whether the request was dangerous
 * (/v1/feedback). */
#ifndef KEEL_EXPERIMENTS_SIMULATE_SERVER_H
#define KEEL_EXPERIMENTS_SIMULATE_SERVER_H

#include "envs/env.h"
#include "experiments/http_client.h"

typedef struct keel_simulate_server {
    keel_http_client *client;
    const char *url, *token; /* token NULL: none */
    char *choose, *feedback; /* addresses */
    double patience;         /* seconds for one answer */
    bool silent;             /* says nothing in the end */
} keel_simulate_server;

/* KEEL_E_USAGE for what is no address; KEEL_E_UNSUPPORTED without libcurl. url and token are borrowed. */
keel_status keel_simulate_server_open(keel_simulate_server *out, const char *url, const char *token,
                                      keel_err *err);
void keel_simulate_server_close(keel_simulate_server *server);

/* Plays one episode; name is that of the conversation at the server. The conversation is valid until the next
 * reset. KEEL_E_IO where the server does not answer, KEEL_E_PARSE where its answer is no choice. */
keel_status keel_simulate_server_episode(const keel_simulate_server *server, keel_env *env, const char *name,
                                         uint64_t episode, keel_arena *scratch, const keel_conversation **out,
                                         keel_err *err);

#endif
