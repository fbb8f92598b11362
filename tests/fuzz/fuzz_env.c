/* An environment's file and, after a line of four dashes, a domain ("domain": "domain.json"): what opens
 * plays an episode under each logging behaviour. */
#include "envs/env.h"
#include "store_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_env *env = NULL;
    const keel_conversation *conversation = NULL;
    fuzz_part parts[2];
    if (fuzz_parts(data, size, parts, 2) == 2) (void)fuzz_put("domain.json", parts[1].data, parts[1].size);
    const char *path = fuzz_put("env.json", parts[0].data, parts[0].size);
    if (!fuzz_ok(keel_env_open(&env, path, 1, &fuzz_err))) return 0;
    for (const keel_behaviour *with = keel_behaviours; with->name; with++) {
        FUZZ_CHECK(keel_env_episode(env, with, 1, size, &conversation, &fuzz_err) == KEEL_OK);
        fuzz_check_decisions(conversation);
    }
    keel_env_close(env);
    return 0;
}
