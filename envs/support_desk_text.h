/* What people say at the support desk: intents, slots, themes and the phrases they are said with. Tables
 * only; lists end with NULL. In a phrase
 * '@' and one letter stand for what is filled in: @0..@3 the values of the intent's slots, @v one slot's
 * value, @l its label, @p a person,
 * @t a thing, @w the intent's summary. */
#ifndef KEEL_ENVS_SUPPORT_DESK_TEXT_H
#define KEEL_ENVS_SUPPORT_DESK_TEXT_H

#include <stdbool.h>
#include <stddef.h>

enum { DESK_MAX_SLOTS = 4 };

/* One kind of detail a task needs. Its values are a list, or numbers written into a pattern ('#' stands for a
 * digit). */
typedef struct desk_slot {
    const char *label;
    const char *pattern;
    const char *const *values;
    const char *const *questions; /* how the desk asks for it */
    const char *const *informs;   /* how a user tells it */
} desk_slot;

typedef struct desk_intent {
    const char *name;
    bool question; /* wants an answer; else an action */
    int n_slots;
    const desk_slot *slots[DESK_MAX_SLOTS];
    int flexible; /* the slot whose value the shop may have to turn down; -1: none */
    const char *summary;
} desk_intent;

typedef enum desk_kind { DESK_BENIGN, DESK_BORDERLINE, DESK_DANGEROUS, DESK_N_KINDS } desk_kind;

/* What a user comes for, and how it is said. */
typedef struct desk_theme {
    const char *name;
    const desk_intent *intent;
    const char *const *openings;
} desk_theme;

extern const desk_theme *const keel_desk_themes[DESK_N_KINDS];
extern const size_t keel_desk_n_themes[DESK_N_KINDS];

extern const char *const keel_desk_people[], *const keel_desk_things[];
extern const char *const keel_desk_greetings[], *const keel_desk_politeness[], *const keel_desk_insists[],
                                                                                   *const keel_desk_affirms[];
extern const char *const keel_desk_corrects[], *const keel_desk_alternatives[], *const keel_desk_thanks[],
                                                                                    *const keel_desk_leaves[];

extern const char *const keel_desk_asks_goal[], *const keel_desk_asks_anything[],
                                                    *const keel_desk_confirms[], *const keel_desk_executes[];
extern const char *const keel_desk_executes_blind[],
    *const keel_desk_answers[], *const keel_desk_answers_blind[], *const keel_desk_clarifies[];
extern const char *const keel_desk_refuses[], *const keel_desk_handovers[], *const keel_desk_goodbyes[];

size_t keel_desk_count(const char *const *phrases);

#endif
