/* HH-RLHF (Bai et al. 2022, arXiv 2204.05862): pairs of transcripts, of which people chose one. Nearly all
 * pairs share everything but the last response. The others are read by where they differ first. At an
 * assistant's turn: one conversation up to there, both responses are taken candidates, and what followed goes
 * into meta. At a human's turn: two conversations of one group, each with feedback on its last response. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "datasets/build.h"

enum { ID_DIGITS = 16, EARLY_DIFFERENCE = 0, PROMPTS_DIFFER = 1 /* counts, as in formats.c */ };

typedef struct transcript {
    keel_turn *turns;
    size_t count, capacity;
} transcript;

/* ---- transcripts ---- */

typedef struct marker {
    const char *text;
    keel_role role;
} marker;

static const marker markers[] = {{"\n\nHuman:", KEEL_ROLE_USER}, {"\n\nAssistant:", KEEL_ROLE_ASSISTANT}};

static const marker *marker_at(const char *text) {
    for (size_t i = 0; i < sizeof markers / sizeof *markers; i++)
        if (strncmp(text, markers[i].text, strlen(markers[i].text)) == 0) return &markers[i];
    return NULL;
}

static const char *next_marker(const char *text) {
    const char *at = text;
    while ((at = strstr(at, "\n\n")) && !marker_at(at)) at++;
    return at ? at : text + strlen(text);
}

static char *trimmed_copy(keel_arena *arena, const char *begin, const char *end) {
    while (begin < end && isspace((unsigned char)*begin)) begin++;
    while (end > begin && isspace((unsigned char)end[-1])) end--;
    return keel_arena_strndup(arena, begin, (size_t)(end - begin));
}

static keel_status parse_transcript(keel_arena *arena, const char *text, const char *key, const char *where,
                                    transcript *out, keel_err *err) {
    const marker *mark = marker_at(text);
    if (!mark)
        return keel_fail(err, KEEL_E_PARSE, where,
                         "%s: expected a blank line and \"Human:\" at the beginning", key);
    do {
        const char *begin = text + strlen(mark->text), *end = next_marker(begin);
        char *said = trimmed_copy(arena, begin, end);
        if (!said || !keel_arena_grow(arena, &out->turns, out->count, &out->capacity, sizeof *out->turns))
            return keel_nomem(err, where);
        out->turns[out->count++] = (keel_turn){.role = mark->role, .text = said};
        text = end;
    } while ((mark = marker_at(text)));
    if (out->turns[out->count - 1].role != KEEL_ROLE_ASSISTANT)
        return keel_fail(err, KEEL_E_PARSE, where, "%s: expected an assistant's response at the end", key);
    return KEEL_OK;
}

static size_t common_turns(const transcript *a, const transcript *b) {
    size_t k = 0;
    while (k < a->count && k < b->count && a->turns[k].role == b->turns[k].role &&
           strcmp(a->turns[k].text, b->turns[k].text) == 0)
        k++;
    return k;
}

/* ---- names ---- */

static char *hash_name(keel_arena *arena, const char *a, const char *b, const char *suffix) {
    keel_sha256 hash;
    char hex[65], name[96];
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, a);
    keel_sha256_add_text(&hash, b);
    keel_sha256_hex(&hash, hex);
    snprintf(name, sizeof name, "%.*s%s", ID_DIGITS, hex, suffix);
    return keel_arena_strdup(arena, name);
}

/* Variants of one prompt stay together: the group is the first thing the human said. */
static char *group_name(keel_arena *arena, const transcript *from) {
    for (size_t i = 0; i < from->count; i++)
        if (from->turns[i].role == KEEL_ROLE_USER) return hash_name(arena, from->turns[i].text, NULL, "");
    return hash_name(arena, NULL, NULL, "");
}

/* ---- conversations ---- */

static keel_status begin(keel_arena *arena, const transcript *from, size_t n_turns, char *id,
                         const char *where, keel_conversation *out, keel_err *err) {
    *out = (keel_conversation){.completed = KEEL_UNKNOWN, .n_turns = n_turns, .turns = from->turns};
    out->external_id = id;
    out->group = group_name(arena, from);
    out->decisions = keel_arena_calloc(arena, from->count + 1, sizeof *out->decisions);
    if (!id || !out->group || !out->decisions) return keel_nomem(err, where);
    out->n_decisions = keel__decide_turns(arena, from->turns, n_turns, out->decisions);
    return out->n_decisions == SIZE_MAX ? keel_nomem(err, where) : KEEL_OK;
}

/* One transcript as it is; feedback 0 leaves the last response unjudged. */
static keel_status make_single(keel_arena *arena, const transcript *from, double feedback, char *id,
                               const char *where, keel_conversation *out, keel_err *err) {
    KEEL_TRY(begin(arena, from, from->count, id, where, out, err));
    if (feedback != 0)
        out->decisions[out->n_decisions - 1].candidates[0].feedback = (keel_optional){true, feedback};
    return KEEL_OK;
}

static void add_rest(keel__value *build, cJSON *meta, const char *key, const transcript *from, size_t first) {
    cJSON *list = keel__value_array(build);
    for (size_t i = first; i < from->count; i++)
        keel__value_put(build, list, NULL,
                        keel__build_message(build, keel_role_name(from->turns[i].role), from->turns[i].text));
    keel__value_put(build, meta, key, list);
}

static keel_status keep_rest(keel_arena *arena, const transcript *chosen, const transcript *rejected,
                             size_t first, const char *where, const char **meta, keel_err *err) {
    keel__value build = {.arena = arena};
    cJSON *rest = keel__value_object(&build);
    add_rest(&build, rest, "chosen_rest", chosen, first);
    add_rest(&build, rest, "rejected_rest", rejected, first);
    return build.failed ? keel_nomem(err, where) : keel__print_value(arena, rest, where, meta, err);
}

/* Both responses at turn `at` are candidates of one decision, which has no turn of its own after it. */
static keel_status make_pair(keel_arena *arena, const transcript *chosen, const transcript *rejected,
                             size_t at, char *id, const char *where, keel_conversation *out, keel_err *err) {
    keel_candidate *both = keel_arena_alloc(arena, 2 * sizeof *both);
    if (!both) return keel_nomem(err, where);
    both[0] = (keel_candidate){.text = chosen->turns[at].text, .taken = true, .feedback = {true, 1}};
    both[1] = (keel_candidate){.text = rejected->turns[at].text, .taken = true, .feedback = {true, -1}};
    KEEL_TRY(begin(arena, chosen, at, id, where, out, err));
    out->decisions[out->n_decisions++] = (keel_decision){.turn = at, .n_candidates = 2, .candidates = both};
    if (chosen->count > at + 1 || rejected->count > at + 1) {
        KEEL_TRY(keep_rest(arena, chosen, rejected, at + 1, where, &out->meta, err));
        out->truncated = true; /* it went on, in two ways */
    }
    return KEEL_OK;
}

/* ---- the reader ---- */

/* Where a pair is two conversations, the second is read out of the same object by the next call. */
typedef struct state {
    keel__objects objects;
    bool second;
    char *texts[2]; /* of that pair, and its place; owned */
    char *where;
} state;

static keel_status keep_pair(state *s, const char *const texts[2], const char *where, keel_err *err) {
    for (int i = 0; i < 2; i++) {
        keel_free(s->texts[i]);
        s->texts[i] = keel_strdup(texts[i]);
    }
    keel_free(s->where);
    s->where = keel_strdup(where);
    s->second = s->texts[0] && s->texts[1] && s->where;
    return s->second ? KEEL_OK : keel_nomem(err, where);
}

static keel_status read_pair(keel_reader *reader, keel_arena *arena, const char *const texts[2],
                             const char *where, keel_conversation *out, keel_err *err) {
    transcript chosen = {0}, rejected = {0};
    KEEL_TRY(parse_transcript(arena, texts[0], "chosen", where, &chosen, err));
    KEEL_TRY(parse_transcript(arena, texts[1], "rejected", where, &rejected, err));
    size_t at = common_turns(&chosen, &rejected);
    char *id = hash_name(arena, texts[0], texts[1], "");
    if (at == chosen.count && at == rejected.count)
        return make_single(arena, &chosen, 0, id, where, out, err);
    bool inside = at < chosen.count && at < rejected.count;
    bool early = !inside || at + 1 < chosen.count || at + 1 < rejected.count;
    reader->counts[EARLY_DIFFERENCE] += early;
    if (inside && chosen.turns[at].role == KEEL_ROLE_ASSISTANT &&
        rejected.turns[at].role == KEEL_ROLE_ASSISTANT)
        return make_pair(arena, &chosen, &rejected, at, id, where, out, err);
    reader->counts[PROMPTS_DIFFER]++;
    KEEL_TRY(keep_pair(reader->state, texts, where, err));
    return make_single(arena, &chosen, 1, hash_name(arena, texts[0], texts[1], "-chosen"), where, out, err);
}

static keel_status read_second(state *s, keel_arena *arena, keel_read *out, keel_err *err) {
    transcript rejected = {0};
    out->where = keel_arena_strdup(arena, s->where);
    if (!out->where) return keel_nomem(err, s->where);
    s->second = false;
    KEEL_TRY(parse_transcript(arena, s->texts[1], "rejected", out->where, &rejected, err));
    return make_single(arena, &rejected, -1, hash_name(arena, s->texts[0], s->texts[1], "-rejected"),
                       out->where, out->conversation, err);
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    const cJSON *object = NULL;
    const char *texts[2] = {NULL, NULL};
    if (!s->second)
        KEEL_TRY(keel__objects_next(&s->objects, reader->source, arena, &object, &out->where, err));
    if (!s->second && !object) return KEEL_OK;
    out->conversation = keel_arena_alloc(arena, sizeof *out->conversation);
    if (!out->conversation) return keel_nomem(err, keel_source_name(reader->source));
    if (s->second) return read_second(s, arena, out, err);
    KEEL_TRY(keel_json_string(object, "chosen", true, &texts[0], out->where, err));
    KEEL_TRY(keel_json_string(object, "rejected", true, &texts[1], out->where, err));
    return read_pair(reader, arena, texts, out->where, out->conversation, err);
}

static void close_state(keel_reader *reader) {
    state *s = reader->state;
    keel__objects_close(&s->objects);
    for (int i = 0; i < 2; i++) keel_free(s->texts[i]);
    keel_free(s->where);
}

static bool looks_like(const keel_sniff *sniff) {
    return sniff->shape != KEEL_SHAPE_TABLE && keel_formats_has(sniff, "chosen") &&
           keel_formats_has(sniff, "rejected") &&
           (keel_formats_contains(sniff, "\"chosen\":\"\\n\\nHuman:") ||
            keel_formats_contains(sniff, "\"chosen\": \"\\n\\nHuman:"));
}

const keel_reader_kind keel__hh_rlhf_reader = {
    .looks_like = looks_like, .state_size = sizeof(state), .next = next, .close = close_state};
