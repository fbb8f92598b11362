/* The replay environment: a logged conversation turn by turn. Its decisions are the log's; whatever is
 * answered, the log goes on as it did: users cannot be asked again. */
#ifndef KEEL_ENVS_REPLAY_H
#define KEEL_ENVS_REPLAY_H

#include "envs/env.h"

/* conversation is borrowed; it must outlive the environment or the next keel_replay_load. */
keel_status keel_replay_open(keel_env **out, keel_err *err);
void keel_replay_load(keel_env *env, const keel_conversation *conversation); /* then keel_env_reset */

#endif
