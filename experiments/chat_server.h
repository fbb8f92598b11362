/* The other end of `keel chat --server`: what is said goes to a `keel serve`, or to any server that answers
 * the OpenAI chat API; what comes back is shown as that of a policy in a folder is. */
#ifndef KEEL_EXPERIMENTS_CHAT_SERVER_H
#define KEEL_EXPERIMENTS_CHAT_SERVER_H

#include <cjson/cJSON.h>

#include "core/nouns.h"
#include "experiments/http_client.h"

typedef struct keel_chat_server keel_chat_server;
/* url: "http://127.0.0.1:8080"; token_env: the environment variable that holds the token, NULL: none. Nothing
 * is asked yet. KEEL_E_USAGE, KEEL_E_UNSUPPORTED. */
keel_status keel_chat_server_open(keel_chat_server **out, const char *url, const char *token_env,
                                  keel_err *err);
void keel_chat_server_close(keel_chat_server *server); /* NULL is harmless */

/* What follows is another conversation. */
keel_status keel_chat_server_begin(keel_chat_server *server, keel_err *err);
/* The answer to all that was said. *details: what the server chose among, as `keel chat --json` prints
 * it, or an object with "says" alone where it does not tell; the caller deletes it. KEEL_E_IO: no answer,
 * with the server's words. */
keel_status keel_chat_server_answer(keel_chat_server *server, const keel_conversation *said, cJSON **details,
                                    keel_err *err);
/* About the last answer: {key: value} beside its id; value is taken over. KEEL_E_NOT_FOUND: nothing was
 * answered yet. */
keel_status keel_chat_server_feedback(keel_chat_server *server, const char *key, cJSON *value, keel_err *err);

#endif
