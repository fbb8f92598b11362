/* A saved judge. A learned one is larger than inputs can be: an input "WEIGHTS" and a header stands
 * for a file with that header and as many zero bytes after it as the weights take, but for what follows
 * "\n----\n" in the input. */
#include <math.h>

#include "fuzz.h"
#include "rewards/judge.h"
#include "rewards/refusal.h"

enum { WEIGHTS = (KEEL_REFUSAL_BUCKETS + 1) * KEEL_N_OUTCOMES }; /* of a learned refusal judge */

static const char *put_large(const uint8_t *data, size_t size) {
    static uint8_t bytes[8 + 4096 + 4 + WEIGHTS * 4];
    fuzz_part parts[2] = {{NULL, 0}, {NULL, 0}};
    fuzz_parts(data, size, parts, 2);
    size_t header = parts[0].size < 4096 ? parts[0].size : 4096, room = 4 + WEIGHTS * 4;
    uint64_t length = header;
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, &length, 8);
    if (header) memcpy(bytes + 8, parts[0].data, header);
    if (parts[1].size) memcpy(bytes + 8 + header, parts[1].data, parts[1].size < room ? parts[1].size : room);
    return fuzz_put("judge", bytes, 8 + header + room);
}

static void check_judge(const keel_judge *judge, const char *response) {
    keel_judge_verdict verdict;
    float sum = 0;
    const int classes = (int)judge->kind->n_classes;
    FUZZ_CHECK(judge->kind == keel_judge_find(judge->kind->name));
    FUZZ_CHECK(strncmp(judge->name, judge->kind->name, strlen(judge->kind->name)) == 0);
    FUZZ_CHECK(keel_judge_predict(judge, &(keel_judge_input){.response = response}, &verdict, &fuzz_err) ==
               KEEL_OK);
    FUZZ_CHECK(verdict.label >= KEEL_UNJUDGED && verdict.label < classes);
    for (int k = 0; k < classes; k++) sum += verdict.p[k];
    FUZZ_CHECK(fabsf(sum - 1) < 1e-3f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_judge *judge = NULL;
    bool large = size > 7 && memcmp(data, "WEIGHTS", 7) == 0;
    const char *path = large ? put_large(data + 7, size - 7) : fuzz_put("judge", data, size);
    if (!fuzz_ok(keel_judge_load(&judge, path, &fuzz_err))) return 0;
    check_judge(judge, "I'm sorry, I can't help with that.");
    check_judge(judge, "");
    keel_judge_free(judge);
    return 0;
}
