/* HH-RLHF (Bai et al. 2022, arXiv 2204.05862): pairs of transcripts, of which people chose one. Nearly all
 * pairs share everything but the last response; the rest is handled by where they part: at an assistant turn
 * one conversation up to there, both responses taken; what followed is kept in meta at a human turn two
 * conversations of one group, each with its own last response judged and counted in the report. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "datasets/import_internal.h"
#include "datasets/store_internal.h"

enum { ID_DIGITS = 16 };

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

static keel_status parse_transcript(keel__import *import, const char *text, const char *key,
                                    const char *where, transcript *out, keel_err *err) {
    const marker *mark = marker_at(text);
    if (!mark)
        return keel_fail(err, KEEL_E_PARSE, where,
                         "%s: expected a blank line and \"Human:\" at the beginning", key);
    do {
        const char *begin = text + strlen(mark->text), *end = next_marker(begin);
        char *said = trimmed_copy(import->arena, begin, end);
        if (!said ||
            !keel_arena_grow(import->arena, &out->turns, out->count, &out->capacity, sizeof *out->turns))
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

static char *hash_name(keel__import *import, const char *a, const char *b, const char *suffix) {
    keel_sha256 hash;
    char hex[65], name[96];
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, a);
    keel_sha256_add_text(&hash, b);
    keel_sha256_hex(&hash, hex);
    snprintf(name, sizeof name, "%.*s%s", ID_DIGITS, hex, suffix);
    return keel_arena_strdup(import->arena, name);
}

/* Variants of one prompt stay together: the group is the first thing the human said. */
static char *group_name(keel__import *import, const transcript *from) {
    for (size_t i = 0; i < from->count; i++)
        if (from->turns[i].role == KEEL_ROLE_USER) return hash_name(import, from->turns[i].text, NULL, "");
    return hash_name(import, NULL, NULL, "");
}

/* ---- conversations ---- */

static keel_status begin(keel__import *import, const transcript *from, size_t n_turns, char *id,
                         const char *where, keel_conversation *out, keel_err *err) {
    *out = (keel_conversation){
        .source = "hh-rlhf", .completed = KEEL_UNKNOWN, .n_turns = n_turns, .turns = from->turns};
    out->external_id = id;
    out->group = group_name(import, from);
    out->decisions = keel_arena_calloc(import->arena, from->count + 1, sizeof *out->decisions);
    if (!id || !out->group || !out->decisions) return keel_nomem(err, where);
    out->n_decisions = keel__import_decide_turns(import, from->turns, n_turns, out->decisions);
    return out->n_decisions == SIZE_MAX ? keel_nomem(err, where) : KEEL_OK;
}

/* One transcript as it stands; feedback 0 leaves the last response unjudged. */
static keel_status add_single(keel__import *import, const transcript *from, double feedback, char *id,
                              const char *where, keel_err *err) {
    keel_conversation conversation;
    KEEL_TRY(begin(import, from, from->count, id, where, &conversation, err));
    if (feedback != 0)
        conversation.decisions[conversation.n_decisions - 1].candidates[0].feedback =
            (keel_optional){true, feedback};
    return keel__import_add(import, &conversation, false, where, err);
}

static bool add_rest(cJSON *meta, const char *key, const transcript *from, size_t first) {
    cJSON *list = cJSON_AddArrayToObject(meta, key);
    bool good = list != NULL;
    for (size_t i = first; good && i < from->count; i++) {
        cJSON *turn = cJSON_CreateObject();
        good = turn && cJSON_AddItemToArray(list, turn) &&
               cJSON_AddStringToObject(turn, "role", keel_role_name(from->turns[i].role)) &&
               cJSON_AddStringToObject(turn, "content", from->turns[i].text);
    }
    return good;
}

static keel_status keep_rest(keel__import *import, const transcript *chosen, const transcript *rejected,
                             size_t first, const char *where, const char **meta, keel_err *err) {
    cJSON *rest = cJSON_CreateObject();
    bool good = rest && add_rest(rest, "chosen_rest", chosen, first) &&
                add_rest(rest, "rejected_rest", rejected, first);
    keel_status status = good ? keel__import_print(import, rest, meta, err) : keel_nomem(err, where);
    cJSON_Delete(rest);
    return status;
}

/* Both responses at turn `at` are candidates of one decision, which has no turn of its own after it. */
static keel_status add_pair(keel__import *import, const transcript *chosen, const transcript *rejected,
                            size_t at, char *id, const char *where, keel_err *err) {
    keel_conversation conversation;
    keel_candidate *both = keel_arena_alloc(import->arena, 2 * sizeof *both);
    if (!both) return keel_nomem(err, where);
    both[0] = (keel_candidate){.text = chosen->turns[at].text, .taken = true, .feedback = {true, 1}};
    both[1] = (keel_candidate){.text = rejected->turns[at].text, .taken = true, .feedback = {true, -1}};
    KEEL_TRY(begin(import, chosen, at, id, where, &conversation, err));
    conversation.decisions[conversation.n_decisions++] =
        (keel_decision){.turn = at, .n_candidates = 2, .candidates = both};
    if (chosen->count > at + 1 || rejected->count > at + 1) {
        KEEL_TRY(keep_rest(import, chosen, rejected, at + 1, where, &conversation.meta, err));
        conversation.truncated = true; /* it went on, in two ways */
    }
    return keel__import_add(import, &conversation, false, where, err);
}

static keel_status import_pair(keel__import *import, const char *texts[2], const char *where, keel_err *err) {
    transcript chosen = {0}, rejected = {0};
    KEEL_TRY(parse_transcript(import, texts[0], "chosen", where, &chosen, err));
    KEEL_TRY(parse_transcript(import, texts[1], "rejected", where, &rejected, err));
    size_t at = common_turns(&chosen, &rejected);
    char *id = hash_name(import, texts[0], texts[1], "");
    if (at == chosen.count && at == rejected.count) return add_single(import, &chosen, 0, id, where, err);
    bool inside = at < chosen.count && at < rejected.count;
    bool early = !inside || at + 1 < chosen.count || at + 1 < rejected.count;
    import->report->early_difference += early;
    if (inside && chosen.turns[at].role == KEEL_ROLE_ASSISTANT &&
        rejected.turns[at].role == KEEL_ROLE_ASSISTANT)
        return add_pair(import, &chosen, &rejected, at, id, where, err);
    import->report->prompts_differ++;
    KEEL_TRY(add_single(import, &chosen, 1, hash_name(import, texts[0], texts[1], "-chosen"), where, err));
    return add_single(import, &rejected, -1, hash_name(import, texts[0], texts[1], "-rejected"), where, err);
}

static keel_status import_object(keel__import *import, const cJSON *object, const char *where,
                                 keel_err *err) {
    const char *texts[2] = {NULL, NULL};
    KEEL_TRY(keel_json_string(object, "chosen", true, &texts[0], where, err));
    KEEL_TRY(keel_json_string(object, "rejected", true, &texts[1], where, err));
    return import_pair(import, texts, where, err);
}

keel_status keel__import_hh(keel__import *import, keel_err *err) {
    return keel__import_lines(import, import_object, err);
}
