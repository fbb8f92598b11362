#include "policies/tokens/pre_tokenizer.h"

#include <string.h>

#include "policies/tokens/character.h"

/* GPT-2's (Radford et al. 2019), as the library has it. */
static const char GPT2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

typedef keel__pre_tokenizer_step step;

/* ---- reading ---- */

static keel_status add(const keel__reader *r, keel__pre_tokenizer *to, step one) {
    if (to->bytes) return keel__component_refuse(r, "pre_tokenizer", "ByteLevel", "nothing to follow it");
    return keel__component_add(r, &to->step, &to->n, sizeof one, &one);
}

static keel_status add_kind(const keel__reader *r, keel__pre_tokenizer *to, bool (*is)(int32_t),
                            keel__split_behavior behavior) {
    keel__pattern *pattern = keel_arena_calloc(r->arena, 1, sizeof *pattern);
    if (!pattern) return keel_nomem(r->err, r->name);
    pattern->is = is;
    return add(r, to, (step){.kind = KEEL__SPLIT, .pattern = pattern, .behavior = behavior});
}

static keel_status read_byte_level(const keel__reader *r, const cJSON *json, void *into) {
    keel__pre_tokenizer *to = into;
    bool prefix = true, regex = true;
    step split = {.kind = KEEL__SPLIT, .behavior = KEEL__SPLIT_ISOLATED};
    KEEL_TRY(keel_json_bool(json, "add_prefix_space", false, &prefix, r->name, r->err));
    KEEL_TRY(keel_json_bool(json, "use_regex", false, &regex, r->name, r->err));
    if (prefix) KEEL_TRY(add(r, to, (step){.kind = KEEL__PREFIX, .text = " "}));
    if (regex) {
        KEEL_TRY(keel__pattern_open(r, GPT2, false, &split.pattern));
        KEEL_TRY(add(r, to, split));
    }
    to->bytes = true;
    return KEEL_OK;
}

static keel_status read_split(const keel__reader *r, const cJSON *json, void *to) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                        "Contiguous"};
    const char *behavior = NULL;
    step split = {.kind = KEEL__SPLIT};
    KEEL_TRY(keel_json_string(json, "behavior", true, &behavior, r->name, r->err));
    KEEL_TRY(keel_json_bool(json, "invert", false, &split.invert, r->name, r->err));
    KEEL_TRY(keel__pattern_read(r, json, &split.pattern));
    for (int i = 0; i < 5; i++)
        if (strcmp(behavior, names[i]) == 0) {
            split.behavior = (keel__split_behavior)i;
            return add(r, to, split);
        }
    return keel__component_refuse(r, "pre_tokenizer: Split: behavior", behavior,
                                  "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

static keel_status read_digits(const keel__reader *r, const cJSON *json, void *to) {
    bool each = false;
    KEEL_TRY(keel_json_bool(json, "individual_digits", false, &each, r->name, r->err));
    return add_kind(r, to, keel__character_is_numeric, each ? KEEL__SPLIT_ISOLATED : KEEL__SPLIT_CONTIGUOUS);
}

static keel_status read_bert(const keel__reader *r, const cJSON *json, void *to) {
    (void)json;
    KEEL_TRY(add_kind(r, to, keel__character_is_space, KEEL__SPLIT_REMOVED));
    return add_kind(r, to, keel__character_is_punctuation, KEEL__SPLIT_ISOLATED);
}

static keel_status read_metaspace(const keel__reader *r, const cJSON *json, void *to) {
    const char *mark = NULL, *scheme = "always";
    bool split = true, prefix = true;
    const keel__pattern *space, *marks;
    KEEL_TRY(keel__component_text(r, json, "replacement", &mark));
    KEEL_TRY(keel_json_bool(json, "add_prefix_space", false, &prefix, r->name, r->err));
    KEEL_TRY(keel_json_bool(json, "split", false, &split, r->name, r->err));
    if (!prefix) scheme = "never";
    KEEL_TRY(keel_json_string(json, "prepend_scheme", false, &scheme, r->name, r->err));
    if (strcmp(scheme, "always") != 0 && strcmp(scheme, "first") != 0 && strcmp(scheme, "never") != 0)
        return keel__component_refuse(r, "pre_tokenizer: Metaspace: prepend_scheme", scheme,
                                      "always, first or never");
    KEEL_TRY(keel__pattern_open(r, " ", true, &space));
    KEEL_TRY(keel__pattern_open(r, mark, true, &marks));
    KEEL_TRY(add(r, to, (step){.kind = KEEL__REPLACE, .pattern = space, .text = mark}));
    if (strcmp(scheme, "never") != 0)
        KEEL_TRY(add(r, to,
                     (step){.kind = KEEL__PREFIX, .text = mark, .first_only = strcmp(scheme, "first") == 0}));
    return split
               ? add(r, to, (step){.kind = KEEL__SPLIT, .pattern = marks, .behavior = KEEL__SPLIT_WITH_NEXT})
               : KEEL_OK;
}

static const keel__component_row rows[] = {{"ByteLevel", read_byte_level},
                                           {"Split", read_split},
                                           {"Digits", read_digits},
                                           {"Metaspace", read_metaspace},
                                           {"BertPreTokenizer", read_bert}};
static const keel__component_kind kind = {"pre_tokenizer", "pretokenizers", rows, sizeof rows / sizeof *rows};

keel_status keel__pre_tokenizer_read(const keel__reader *r, const cJSON *json, keel__pre_tokenizer *to) {
    return keel__component_read(r, &kind, json, to);
}

/* ---- running ---- */

typedef struct run {
    const keel__pre_tokenizer *pre;
    keel__matching *matching;
    keel__take_piece *take;
    void *context;
} run;

static keel_status run_from(const run *on, size_t at, keel__piece piece);

/* A part of a piece that may still grow, since others join it. */
typedef struct part {
    size_t start, end;
    bool there, match;
} part;

static keel_status hand_on(const run *on, size_t at, const keel__piece *of, const part *one) {
    if (!one->there || one->end == one->start) return KEEL_OK;
    return run_from(
        on, at + 1,
        (keel__piece){of->text + one->start, one->end - one->start, of->first && one->start == 0});
}

static bool joins(keel__split_behavior behavior, bool match, bool previous) {
    switch (behavior) {
    case KEEL__SPLIT_WITH_PREVIOUS:
        return match && !previous;
    case KEEL__SPLIT_WITH_NEXT:
        return !match && previous;
    case KEEL__SPLIT_CONTIGUOUS:
        return match == previous;
    default:
        return false;
    }
}

/* One more match, or what lies between two. */
static keel_status add_part(const run *on, size_t at, const keel__piece *of, size_t start, size_t end,
                            bool match, part *last) {
    const step *by = &on->pre->step[at];
    match = match != by->invert;
    if (by->behavior == KEEL__SPLIT_REMOVED && match) return KEEL_OK;
    if (last->there && joins(by->behavior, match, last->match)) {
        last->end = end;
        last->match = match;
        return KEEL_OK;
    }
    KEEL_TRY(hand_on(on, at, of, last));
    *last = (part){start, end, true, match};
    return KEEL_OK;
}

static keel_status split(const run *on, size_t at, const keel__piece *of) {
    const step *by = &on->pre->step[at];
    part last = {0};
    size_t start = 0, end = 0, done = 0, from = 0;
    while (from < of->length) {
        KEEL_TRY(keel__pattern_find(by->pattern, on->matching, of->text, of->length, from, &start, &end));
        if (start == of->length) break;
        if (end == start) { /* of nothing: goes on behind the next code point, with nothing between */
            size_t used;
            keel__character_at(of->text, of->length, start, &used);
            from = start + used;
            if (start == done) continue;
        } else
            from = end;
        if (start > done) KEEL_TRY(add_part(on, at, of, done, start, false, &last));
        KEEL_TRY(add_part(on, at, of, start, end, true, &last));
        done = end;
    }
    if (done < of->length) KEEL_TRY(add_part(on, at, of, done, of->length, false, &last));
    return hand_on(on, at, of, &last);
}

static keel_status put_before(const run *on, const step *by, keel__piece *piece) {
    const size_t n = strlen(by->text);
    if ((by->first_only && !piece->first) || (piece->length >= n && memcmp(piece->text, by->text, n) == 0))
        return KEEL_OK;
    char *made = keel_arena_alloc(on->matching->arena, n + piece->length + 1);
    if (!made) return keel_nomem(on->matching->err, "tokenizer");
    memcpy(made, by->text, n);
    memcpy(made + n, piece->text, piece->length);
    made[n + piece->length] = '\0';
    *piece = (keel__piece){made, n + piece->length, piece->first};
    return KEEL_OK;
}

static keel_status run_from(const run *on, size_t at, keel__piece piece) {
    for (; at < on->pre->n; at++) {
        const step *by = &on->pre->step[at];
        if (by->kind == KEEL__SPLIT) return split(on, at, &piece);
        if (by->kind == KEEL__PREFIX)
            KEEL_TRY(put_before(on, by, &piece));
        else
            KEEL_TRY(keel__pattern_replace(by->pattern, on->matching, by->text, &piece.text, &piece.length));
    }
    return on->take(on->context, piece.text, piece.length);
}

keel_status keel__pre_tokenizer_run(const keel__pre_tokenizer *pre, keel__matching *matching,
                                    keel__piece piece, keel__take_piece *take, void *context) {
    const run on = {pre, matching, take, context};
    return piece.length ? run_from(&on, 0, piece) : KEEL_OK;
}
