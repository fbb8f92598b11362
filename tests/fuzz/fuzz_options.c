/* core/options: a configuration as JSON and, on lines before it, as KEY=VALUE. What was taken lies within
 * bounds: it goes out as JSON and comes in again unchanged. A refused assignment changes nothing. */
#include "core/json.h"
#include "core/options_internal.h"
#include "fuzz.h"
#include "rl/learn/learner.h"

static int algorithm; /* whose table is used: that of the first byte */

static void check_round_trip(const keel_learner_config *config) {
    keel_learner_config again;
    const keel_option *table = keel_learner_options(algorithm);
    cJSON *json = keel_options_to_json(table, config);
    FUZZ_CHECK(keel_learner_preset("keel", keel_algorithms[algorithm], &again, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(json && keel_options_json(table, &again, json, "print", &fuzz_err) == KEEL_OK);
    cJSON *second = keel_options_to_json(table, &again);
    FUZZ_CHECK(cJSON_Compare(json, second, true));
    cJSON_Delete(json);
    cJSON_Delete(second);
}

static void assign(keel_learner_config *config, const uint8_t *data, size_t size) {
    keel_learner_config before = *config;
    char *text = fuzz_text(data, size);
    if (!fuzz_ok(keel_options_assign(keel_learner_options(algorithm), config, text, &fuzz_err)))
        FUZZ_CHECK(memcmp(&before, config, sizeof before) == 0);
    free(text);
}

static void read_json(keel_learner_config *config, const uint8_t *data, size_t size) {
    cJSON *json = NULL;
    keel_learner_config before = *config;
    if (!fuzz_ok(keel_json_parse((const char *)data, size, "input", &json, &fuzz_err))) return;
    if (!fuzz_ok(keel_options_json(keel_learner_options(algorithm), config, json, "input", &fuzz_err)))
        FUZZ_CHECK(memcmp(&before, config, sizeof before) == 0);
    cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_learner_config config;
    /* The corpus begins with letters and braces, which are some learner each. */
    algorithm = size > 0 ? *data % KEEL_N_LEARNERS : 0;
    FUZZ_CHECK(keel_learner_preset("keel", keel_algorithms[algorithm], &config, &fuzz_err) == KEEL_OK);
    while (size > 0 && *data != '{') {
        const uint8_t *end = memchr(data, '\n', size);
        size_t length = end ? (size_t)(end - data) : size;
        assign(&config, data, length);
        size -= end ? length + 1 : length;
        data += end ? length + 1 : length;
    }
    read_json(&config, data, size);
    check_round_trip(&config);
    return 0;
}
