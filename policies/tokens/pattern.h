/* Internal header of the tokenizers: what a component looks for in a text: a regular expression (run by
 * PCRE2, written for Oniguruma, which the library `tokenizers` runs), a literal, or a kind of code point. */
#ifndef KEEL_POLICIES_TOKENS_PATTERN_H
#define KEEL_POLICIES_TOKENS_PATTERN_H

#include <stdbool.h>

#include "policies/tokens/component.h"

typedef struct keel__pattern {
    struct pcre2_real_code_8 *code; /* NULL: is() */
    struct pcre2_real_match_context_8 *limits;
    bool (*is)(int32_t c);      /* each code point of this kind is a match of its own */
    struct keel__pattern *next; /* of the same tokenizer */
} keel__pattern;

/* \s and \w become what Oniguruma means by them. What the two engines read differently is refused: classes in
 * classes, "&&" in a class, a "+" behind "{n,m}". literal: the text as it is. */
keel_status keel__pattern_open(const keel__reader *r, const char *regex, bool literal,
                               const keel__pattern **out);
/* {"String": "..."} or {"Regex": "..."} under "pattern". */
keel_status keel__pattern_read(const keel__reader *r, const cJSON *json, const keel__pattern **out);
void keel__pattern_close(keel__pattern *all);

/* Memory for matching, of one call, in the arena. */
typedef struct keel__matching {
    keel_arena *arena;
    struct pcre2_real_match_data_8 *data;
    keel_err *err;
} keel__matching;

/* The first match at `from` or behind it: text[*start .. *end), *start == length if there is none. text:
 * valid UTF-8. KEEL_E_INVALID where the pattern takes too many steps. */
keel_status keel__pattern_find(const keel__pattern *pattern, keel__matching *matching, const char *text,
                               size_t length, size_t from, size_t *start, size_t *end);

/* The text with each match replaced. */
keel_status keel__pattern_replace(const keel__pattern *pattern, keel__matching *matching, const char *content,
                                  const char **text, size_t *length);

#endif
