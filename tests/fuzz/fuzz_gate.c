/* Gate expressions over an evaluation: met or not, never both ways, and a metric that is null meets none. */
#include <math.h>

#include "core/json.h"
#include "fuzz.h"
#include "rl/judge/gate.h"

static const char evaluation_text[] =
    "{\"policy\":{\"metrics\":{\"refusal_rate\":{\"value\":0.9,\"low\":0.8,\"high\":1,\"n\":9},"
    "\"kl\":{\"value\":null,\"low\":null,\"high\":null,\"n\":0},\"coverage\":0.5},"
    "\"ope\":{\"wis\":{\"value\":0.1,\"low\":0,\"high\":0.2}}},"
    "\"baselines\":{\"logged\":{\"metrics\":{\"refusal_rate\":{\"value\":0.7,\"low\":0.6,\"high\":0.8}}}},"
    "\"models\":{\"a.b\":{\"metrics\":{\"kl\":{\"value\":1,\"low\":1,\"high\":1}}}}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static cJSON *evaluation;
    bool met = false;
    double measured = -1;
    if (!evaluation && keel_json_parse(evaluation_text, sizeof evaluation_text - 1, "evaluation", &evaluation,
                                       &fuzz_err) != KEEL_OK)
        abort();
    char *text = fuzz_text(data, size);
    if (fuzz_ok(keel_gate_check(text, evaluation, &met, &measured, &fuzz_err)))
        FUZZ_CHECK(!isnan(measured) || !met);
    free(text);
    return 0;
}
