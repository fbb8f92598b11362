/* Rules of redaction, and texts under them: whatever both say, what comes out is UTF-8, one call takes no
 * more than some time, and where a rule is a plain word, that word is gone. Input: rules, the text; a rule
 * "word" named so is added. Without rules the text is a guardrail (rl/judge/experiment.h), or an arm. */
#include <string.h>

#include "core/text.h"
#include "experiments/serve/arms.h"
#include "experiments/serve/redact.h"
#include "fuzz.h"
#include "rl/judge/experiment.h"

static void redact(const keel_redact *rules, const char *text) {
    keel_arena arena = {0};
    bool failed = false;
    const char *clean = keel_redact_text(rules, text, &arena, &failed);
    FUZZ_CHECK(clean && !failed);
    FUZZ_CHECK(keel_utf8_valid_prefix(clean, strlen(clean)) == strlen(clean));
    FUZZ_CHECK(!strstr(clean, "xyzzy"));
    keel_turn turn = {.text = text};
    keel_conversation talk = {.external_id = "x", .n_turns = 1, .turns = &turn, .meta = text};
    FUZZ_CHECK(fuzz_ok(keel_redact_conversation(rules, &talk, &arena, &fuzz_err)));
    FUZZ_CHECK(!talk.meta || !strstr(talk.meta, "xyzzy"));
    keel_arena_free(&arena);
}

static void parse_options(const char *text) {
    keel_guard guard;
    keel_arms arms;
    keel_arena arena = {0};
    if (fuzz_ok(keel_guard_parse(text, &guard, &fuzz_err)))
        FUZZ_CHECK(guard.metric >= 0 && guard.metric < KEEL_EXPERIMENT_N && guard.bound >= 0 &&
                   guard.bound <= 1);
    if (fuzz_ok(keel_arms_parse(&text, 1, NULL, &arena, &arms, &fuzz_err)))
        FUZZ_CHECK(arms.n == 1 && arms.of[0].name[0] && arms.of[0].dir[0]);
    keel_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_part parts[2] = {{NULL, 0}, {NULL, 0}};
    const size_t n = fuzz_parts(data, size, parts, 2);
    char *first = fuzz_text(parts[0].data, parts[0].size), *text = fuzz_text(parts[1].data, parts[1].size);
    keel_redact *rules = NULL;
    keel_buf all = {0};
    if (n == 2) {
        keel_buf_format(&all, "%s\nword\txyzzy\n", first);
        if (fuzz_ok(keel_redact_parse(&rules, all.data, "rules.txt", &fuzz_err))) redact(rules, text);
        keel_redact_close(rules);
        keel_buf_free(&all);
    } else {
        parse_options(first);
    }
    free(first);
    free(text);
    return 0;
}
