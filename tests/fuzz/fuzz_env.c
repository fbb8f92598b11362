/* An environment's file: what opens plays an episode under each logging behaviour. */
#include "envs/env.h"
#include "store_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_env *env = NULL;
    const keel_conversation *conversation = NULL;
    const char *path = fuzz_put("env.json", data, size);
    if (!fuzz_ok(keel_env_open(&env, path, 1, &fuzz_err))) return 0;
    for (const keel_behaviour *with = keel_behaviours; with->name; with++) {
        FUZZ_CHECK(keel_env_episode(env, with, 1, size, &conversation, &fuzz_err) == KEEL_OK);
        fuzz_check_decisions(conversation);
    }
    keel_env_close(env);
    return 0;
}
