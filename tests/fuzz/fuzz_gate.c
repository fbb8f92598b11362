/* Gate expressions over an evaluation: met or not, never both ways, and a metric that is null meets none. */
#include <math.h>

#include "core/json.h"
#include "fuzz.h"
#include "rl/judge/gate_internal.h"

static const char evaluation_text[] =
    "{\"policy\":{\"metrics\":{\"refusal_rate\":{\"value\":0.9,\"low\":0.8,\"high\":1,\"n\":9},"
    "\"kl\":{\"value\":null,\"low\":null,\"high\":null,\"n\":0},\"coverage\":0.5},"
    "\"ope\":{\"wis\":{\"value\":0.1,\"low\":0,\"high\":0.2}}},"
    "\"baselines\":{\"logged\":{\"metrics\":{\"refusal_rate\":{\"value\":0.7,\"low\":0.6,\"high\":0.8}}}},"
    "\"differences\":{\"policy - logged\":{\"refusal_rate\":{\"value\":0.2,\"low\":0.1,\"high\":0.3,\"n\":9}}},"
    "\"models\":{\"a.b\":{\"metrics\":{\"kl\":{\"value\":1,\"low\":1,\"high\":1}}}}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static cJSON *evaluation;
    keel_gate_result result;
    keel_buf line = {0};
    if (!evaluation && keel_json_parse(evaluation_text, sizeof evaluation_text - 1, "evaluation", &evaluation,
                                       &fuzz_err) != KEEL_OK)
        abort();
    char *text = fuzz_text(data, size);
    if (fuzz_ok(keel_gate_check_json(text, evaluation, &result, &fuzz_err))) {
        FUZZ_CHECK(!isnan(result.measured) || !result.met);
        FUZZ_CHECK(!result.met || result.needed == 0);
        keel_gate_describe(&result, &line);
        FUZZ_CHECK(line.length > 0);
    }
    keel_buf_free(&line);
    free(text);
    return 0;
}
