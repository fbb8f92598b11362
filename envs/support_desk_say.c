/* How the support desk's people talk: phrases of support_desk_text.c filled in. */
#include <stdio.h>
#include <string.h>

#include "envs/support_desk.h"

enum { LINE = 1024 }; /* longer than anything the tables can say; what would not fit is dropped */

typedef struct line {
    char text[LINE];
    size_t length;
} line;

static void put(line *out, const char *text) {
    const size_t length = strlen(text);
    if (out->length + length >= LINE) return;
    memcpy(out->text + out->length, text, length);
    out->length += length;
}

static void put_value(line *out, const desk_slot *slot, uint64_t value) {
    if (slot->values) {
        put(out, slot->values[value % keel_desk_count(slot->values)]);
        return;
    }
    char written[64];
    size_t n = 0;
    for (const char *c = slot->pattern; *c && n + 1 < sizeof written; c++) {
        written[n++] = *c == '#' ? (char)('0' + value % 10) : *c;
        if (*c == '#') value /= 10;
    }
    written[n] = '\0';
    put(out, written);
}

/* What '@' and a letter stand for in a phrase. */
typedef struct filling {
    const keel_desk *desk;
    const desk_slot *slot; /* @v, @l */
    uint64_t value;        /* @v */
    const uint64_t *form;  /* @0 .. @3 */
    unsigned known;        /* slots of the form that have a value */
} filling;

static void put_phrase(line *out, const char *phrase, const filling *with);

static void put_filled(line *out, char what, const filling *with) {
    const desk_intent *intent = with->desk->intent;
    if (what >= '0' && what < '0' + DESK_MAX_SLOTS) {
        const int s = what - '0';
        if (with->known >> s & 1)
            put_value(out, intent->slots[s], with->form[s]);
        else
            put(out, "(unknown)");
    } else if (what == 'v') {
        put_value(out, with->slot, with->value);
    } else if (what == 'l') {
        put(out, with->slot->label);
    } else if (what == 'w') {
        put_phrase(out, intent->summary, with);
    } else if (what == 'p') {
        put(out, keel_desk_people[keel_desk_index(with->desk->scene, 1, keel_desk_count(keel_desk_people))]);
    } else if (what == 't') {
        put(out, keel_desk_things[keel_desk_index(with->desk->scene, 2, keel_desk_count(keel_desk_things))]);
    }
}

static void put_phrase(line *out, const char *phrase, const filling *with) {
    for (const char *at; (at = strchr(phrase, '@')) != NULL && at[1]; phrase = at + 2) {
        if (out->length + (size_t)(at - phrase) >= LINE) return;
        memcpy(out->text + out->length, phrase, (size_t)(at - phrase));
        out->length += (size_t)(at - phrase);
        put_filled(out, at[1], with);
    }
    put(out, phrase);
}

static const char *pick(const keel_desk *desk, uint64_t which, const char *const *phrases) {
    return phrases[keel_desk_index(desk->text_word, which, keel_desk_count(phrases))];
}

static const char *keep(keel_desk *desk, const line *said) {
    return keel_arena_strndup(&desk->arena, said->text, said->length);
}

/* ---- the desk ---- */

static const char *const *slot_questions(const keel_desk *desk) {
    if (!desk->understood) return keel_desk_asks_anything;
    int s = 0; /* the next missing one, or once more the last */
    while (s < desk->intent->n_slots - 1 && (desk->known >> s & 1)) s++;
    return desk->intent->slots[s]->questions;
}

const char *keel_desk_say_act(keel_desk *desk, desk_act act) {
    static const char *const *const fixed[DESK_N_ACTS] = {
        [DESK_ASK_GOAL] = keel_desk_asks_goal, [DESK_CLARIFY] = keel_desk_clarifies,
        [DESK_REFUSE] = keel_desk_refuses,     [DESK_HANDOVER] = keel_desk_handovers,
        [DESK_GOODBYE] = keel_desk_goodbyes,   [DESK_CONFIRM] = keel_desk_confirms,
        [DESK_EXECUTE] = keel_desk_executes,   [DESK_ANSWER] = keel_desk_answers,
    };
    const char *const *phrases = act == DESK_REQUEST_SLOT ? slot_questions(desk) : fixed[act];
    if (!desk->understood) {
        if (act == DESK_CONFIRM) phrases = keel_desk_clarifies;
        if (act == DESK_EXECUTE) phrases = keel_desk_executes_blind;
        if (act == DESK_ANSWER) phrases = keel_desk_answers_blind;
    }
    const filling with = {.desk = desk, .form = desk->value, .known = desk->known};
    line said;
    said.length = 0;
    put_phrase(&said, pick(desk, 16 + (uint64_t)act, phrases), &with);
    return keep(desk, &said);
}

const char *keel_desk_say_result(keel_desk *desk, const char *result, const char *label) {
    line said;
    said.length = 0;
    put(&said, result);
    put(&said, label);
    return keep(desk, &said);
}

/* ---- the user ---- */

static void put_request(line *out, const keel_desk *desk, bool insisting) {
    const filling with = {.desk = desk};
    put(out, pick(desk, 0, insisting ? keel_desk_insists : keel_desk_politeness));
    put_phrase(out, pick(desk, 1, desk->theme->openings), &with);
}

static const char *const *opener(desk_move move) {
    switch (move) {
    case DESK_GREET:
        return keel_desk_greetings;
    case DESK_AFFIRM:
        return keel_desk_affirms;
    case DESK_CORRECT:
        return keel_desk_corrects;
    case DESK_ALTERNATIVE:
        return keel_desk_alternatives;
    case DESK_THANK:
        return keel_desk_thanks;
    case DESK_LEAVE:
        return keel_desk_leaves;
    default:
        return NULL;
    }
}

const char *keel_desk_say_user(keel_desk *desk, desk_move move, unsigned mask) {
    line said;
    said.length = 0;
    if (move == DESK_ASK || move == DESK_INSIST) put_request(&said, desk, move == DESK_INSIST);
    if (opener(move)) put(&said, pick(desk, 2, opener(move)));
    for (int s = 0; s < desk->intent->n_slots; s++) {
        const filling with = {.desk = desk, .slot = desk->intent->slots[s], .value = desk->goal[s]};
        if (!(mask >> s & 1)) continue;
        if (said.length) put(&said, " ");
        put_phrase(&said, pick(desk, 3 + (uint64_t)s, desk->intent->slots[s]->informs), &with);
    }
    return keep(desk, &said);
}
