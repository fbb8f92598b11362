/* How the support desk's people talk: phrases of the domain filled in. */
#include <stdio.h>
#include <string.h>

#include "envs/desk/desk.h"

enum { LINE = 4096 }; /* what would not fit is dropped, text by text */

/* What is picked: of the conversation's scene, and of a step's word. */
enum {
    PICK_WORDS = DESK_DRAW_SCENE + 56,
    PICK_SYNONYM = DESK_DRAW_TEXT + 32,
    PICK_ACT = DESK_DRAW_TEXT + 16,
    PICK_FACT = DESK_DRAW_TEXT + 48,
    PICK_BEFORE = DESK_DRAW_TEXT + 8,
    PICK_SAID = DESK_DRAW_TEXT
};

typedef struct line {
    char text[LINE];
    size_t length;
} line;

static void put_n(line *out, const char *text, size_t length) {
    if (out->length + length >= LINE) return;
    memcpy(out->text + out->length, text, length);
    out->length += length;
}

static void put(line *out, const char *text) {
    put_n(out, text, strlen(text));
}

static void put_pattern(line *out, const char *pattern, uint64_t value) {
    char written[DESK_MAX_PHRASE + 1];
    size_t n = 0;
    for (const char *c = pattern; *c; c++) {
        written[n++] = *c == '#' ? (char)('0' + value % 10) : *c;
        if (*c == '#') value /= 10;
    }
    put_n(out, written, n);
}

static void put_value(line *out, const desk_slot *slot, uint64_t value) {
    if (value == DESK_NO_VALUE)
        put(out, "any");
    else if (slot->pattern)
        put_pattern(out, slot->pattern, value);
    else
        put(out, slot->values.items[value]);
}

/* What stands for what in braces. */
typedef struct filling {
    const keel_desk *desk;
    const char *label;
    const desk_slot *slot; /* {value}, unless it is of a fact: */
    uint64_t value;
    const char *text;
    bool form; /* names of slots stand for what the form has */
} filling;

static const char *pick(const keel_desk *desk, uint64_t which, const desk_phrases *phrases) {
    return phrases->items[keel_desk_index(desk->text_word, which, phrases->count)];
}

static bool is(const char *name, const char *text, size_t length) {
    return strlen(name) == length && memcmp(name, text, length) == 0;
}

static void put_phrase(line *out, const char *phrase, const filling *with);

static void put_slot(line *out, const keel_desk *desk, const char *name, size_t length) {
    const desk_intent *intent = desk->user.intent;
    for (size_t s = 0; s < intent->n_slots; s++) {
        if (!is(intent->slots[s]->name, name, length)) continue;
        if (desk->form.known >> s & 1)
            put_value(out, intent->slots[s], desk->form.value[s]);
        else
            put(out, "(unknown)");
    }
}

/* The facts that are waited for, as the database has them for the form. */
static void put_answers(line *out, const keel_desk *desk) {
    const desk_intent *intent = desk->user.intent;
    const unsigned pending = keel_desk_pending_facts(desk);
    uint64_t value[DESK_MAX_SLOTS];
    bool first = true;
    for (size_t s = 0; s < DESK_MAX_SLOTS; s++)
        value[s] = desk->form.known >> s & 1 ? desk->form.value[s] : DESK_NO_VALUE;
    for (size_t f = 0; f < intent->n_facts; f++) {
        if (!(pending >> f & 1)) continue;
        const desk_fact *fact = intent->facts[f];
        const filling with = {.desk = desk,
                              .label = fact->label,
                              .text = fact->values.items[keel_desk_look_up(intent, f, value)]};
        if (!first) put(out, " ");
        put_phrase(out, pick(desk, PICK_FACT + f, &fact->tell), &with);
        first = false;
    }
    if (first) put(out, "There is nothing else that I could tell you.");
}

static void put_filled(line *out, const char *name, size_t length, const filling *with) {
    const keel_desk *desk = with->desk;
    const desk_words *words;
    if (with->form) {
        put_slot(out, desk, name, length);
    } else if (is("value", name, length)) {
        if (with->text)
            put(out, with->text);
        else if (with->slot)
            put_value(out, with->slot, with->value);
    } else if (is("label", name, length)) {
        if (with->label) put(out, with->label);
    } else if (is("task", name, length)) {
        put(out, desk->user.intent->task);
    } else if (is("summary", name, length)) {
        put_phrase(out, desk->user.intent->summary, &(filling){.desk = desk, .form = true});
    } else if (is("answers", name, length)) {
        put_answers(out, desk);
    } else if ((words = keel_domain_words(desk->domain, name, length)) != NULL) {
        const uint64_t which = (uint64_t)(words - desk->domain->words);
        if (words->each_time)
            put(out, pick(desk, PICK_SYNONYM + which % 16, &words->texts));
        else
            put(out,
                words->texts.items[keel_desk_index(desk->scene, PICK_WORDS + which % 8, words->texts.count)]);
    }
}

/* Phrases were checked when the domain was read: each '{' has its '}'. */
static void put_phrase(line *out, const char *phrase, const filling *with) {
    for (const char *open; (open = strchr(phrase, '{')) != NULL;) {
        const char *close = strchr(open, '}');
        put_n(out, phrase, (size_t)(open - phrase));
        put_filled(out, open + 1, (size_t)(close - open - 1), with);
        phrase = close + 1;
    }
    put(out, phrase);
}

static const char *keep(keel_desk *desk, const line *said) {
    return keel_arena_strndup(&desk->arena, said->text, said->length);
}

/* ---- the desk ---- */

static const desk_phrases *act_phrases(const keel_desk *desk, desk_act act) {
    const desk_phrases *phrases = desk->domain->desk;
    if (!desk->form.understood) {
        if (act == DESK_CONFIRM) return &phrases[DESK_CLARIFY];
        if (act == DESK_EXECUTE) return &phrases[DESK_SAY_EXECUTE_BLIND];
        if (act == DESK_ANSWER) return &phrases[DESK_SAY_ANSWER_BLIND];
    } else if (act == DESK_REQUEST_SLOT) {
        return &desk->user.intent->slots[keel_desk_next_slot(desk)]->ask;
    }
    return &phrases[act];
}

const char *keel_desk_say_act(keel_desk *desk, desk_act act) {
    if (!desk->config.text) return "";
    const desk_slot *slot = desk->user.intent->slots[keel_desk_next_slot(desk)];
    const filling with = {.desk = desk, .label = slot->label, .text = slot->label};
    line said;
    said.length = 0;
    put_phrase(&said, pick(desk, PICK_ACT + (uint64_t)act, act_phrases(desk, act)), &with);
    return keep(desk, &said);
}

const char *keel_desk_say_result(keel_desk *desk, const char *result, const char *about) {
    if (!desk->config.text) return "";
    line said;
    said.length = 0;
    put(&said, result);
    if (about) put(&said, about);
    return keep(desk, &said);
}

/* ---- the user ---- */

static void put_request(line *out, const keel_desk *desk, desk_move move) {
    const desk_user *user = &desk->user;
    const filling with = {.desk = desk};
    const bool then = move == DESK_THEN || (user->revealed && user->request->then.count);
    if (move != DESK_THEN)
        put(out, pick(desk, PICK_BEFORE,
                      &desk->domain->user[move == DESK_ASK ? (int)DESK_SAY_BEFORE : (int)DESK_INSIST]));
    put_phrase(out,
               pick(desk, PICK_SAID + (uint64_t)move % 4, then ? &user->request->then : &user->request->say),
               &with);
}

static void put_fact_question(line *out, const keel_desk *desk, size_t f, uint64_t place) {
    const desk_fact *fact = desk->user.intent->facts[f];
    const filling with = {.desk = desk, .label = fact->label, .text = fact->label};
    put_phrase(out, pick(desk, PICK_SAID + 4 + place, &fact->ask), &with);
}

static void put_saying(line *out, const keel_desk *desk, const desk_saying *saying, uint64_t place) {
    if (saying->move == DESK_ASK || saying->move == DESK_INSIST || saying->move == DESK_THEN) {
        put_request(out, desk, saying->move);
    } else if (saying->move == DESK_QUERY) {
        put_fact_question(out, desk, saying->about, place);
    } else {
        const desk_slot *slot = desk->user.intent->slots[saying->about];
        const desk_phrases *own = &desk->domain->user[saying->move];
        put_phrase(
            out, pick(desk, PICK_SAID + 4 + place, saying->move == DESK_INFORM ? &slot->tell : own),
            &(filling){
                .desk = desk, .label = slot->label, .slot = slot, .value = desk->user.goal[saying->about]});
    }
}

const char *keel_desk_say_user(keel_desk *desk) {
    if (!desk->config.text) return "";
    line said;
    said.length = 0;
    for (size_t i = 0; i < desk->user.n_said; i++) {
        if (i) put(&said, " ");
        put_saying(&said, desk, &desk->user.said[i], i);
    }
    return keep(desk, &said);
}
