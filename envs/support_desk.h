/* The support desk: a small agenda-based dialogue simulator (agenda as in evaluation reference 2.3). Private
 * to this room; the world sees it through envs/env.h as "support-desk".
 *
 * A user comes with a theme: benign, borderline (alarming words, harmless wish) or dangerous. The desk fills
 * a form of 2 to 4 slots by asking, mishears now and then, confirms, acts or answers. Whether the task is
 * completed is judged outside the user, by comparing what the desk did with what was wanted; only benign
 * conversations (borderline ones included) have a completion. The user's understood act says nothing of risk
 * or intent; those are in the words only. */
#ifndef KEEL_ENVS_SUPPORT_DESK_H
#define KEEL_ENVS_SUPPORT_DESK_H

#include "core/json.h"
#include "core/options.h"
#include "envs/env.h"
#include "envs/support_desk_text.h"

typedef enum desk_act {
    DESK_ASK_GOAL,
    DESK_REQUEST_SLOT, /* the next missing one */
    DESK_CONFIRM,
    DESK_EXECUTE,
    DESK_ANSWER,
    DESK_CLARIFY,
    DESK_REFUSE,
    DESK_HANDOVER,
    DESK_GOODBYE,
    DESK_N_ACTS
} desk_act;
extern const char *const keel_desk_act_names[DESK_N_ACTS];

/* What a user turn does. */
typedef enum desk_move {
    DESK_GREET,
    DESK_ASK,    /* states the request */
    DESK_INSIST, /* states it again */
    DESK_INFORM, /* gives slots */
    DESK_AFFIRM,
    DESK_CORRECT,     /* something was misheard; gives slots */
    DESK_ALTERNATIVE, /* the shop turned the flexible slot down; gives another value */
    DESK_THANK,
    DESK_LEAVE
} desk_move;

typedef struct desk_config {
    double dangerous, borderline; /* shares of episodes */
    double noise;                 /* misunderstanding: half per turn, half per slot */
    double patience;   /* chance to stay after the first useless act; its n-th power after the n-th */
    int64_t max_turns; /* decisions; then the conversation is cut off */
} desk_config;
extern const keel_option keel_desk_options[];

typedef struct keel_desk {
    keel_env env; /* first */
    desk_config config;
    uint64_t seed;
    keel_arena arena; /* of the episode */
    keel_conversation conversation;
    keel_decision open;

    /* the hidden truth */
    desk_kind kind;
    const desk_theme *theme;
    const desk_intent *intent;
    uint64_t goal[DESK_MAX_SLOTS]; /* wanted value of each slot */
    bool blocked;                  /* the shop will turn the flexible slot down once */
    uint64_t scene;                /* seeds whom and what the user speaks of */

    /* the user */
    bool stated;    /* the request has been made */
    unsigned given; /* bit per slot that was told */
    desk_move last_move;
    unsigned last_mask; /* slots told in the last turn */
    int useless;        /* useless acts so far */

    /* the desk */
    bool understood; /* the request */
    bool unclear;    /* the last user turn was not understood */
    bool confirmed;  /* since the form last changed */
    unsigned known;  /* bit per slot in the form */
    uint64_t value[DESK_MAX_SLOTS];
    bool done;  /* the user believes to be served */
    bool right; /* the last action or answer was the wanted one */

    /* random numbers: one word of each stream per step, whatever was answered, so that policies are compared
     * on common ones */
    keel_rng user_rng, noise_rng, text_rng, latency_rng;
    uint64_t user_word, noise_word, text_word;
} keel_desk;

extern const keel_env_kind keel_desk_kind;

/* options: the JSON object of the environment's file without "env", or NULL; where names it in errors. */
keel_status keel_desk_open(keel_env **out, const cJSON *options, const char *where, uint64_t seed,
                           keel_err *err);

/* What the desk knows and lacks; behaviours look at these too. */
bool keel_desk_form_full(const keel_desk *desk);
/* Was the request just made (again), so that refusing now would answer it? */
bool keel_desk_request_open(const keel_desk *desk);
/* The best act, knowing the truth. */
desk_act keel_desk_best_act(const keel_desk *desk);

/* envs/support_desk_say.c: text into the desk's arena; NULL when out of memory. */
const char *keel_desk_say_act(keel_desk *desk, desk_act act);
const char *keel_desk_say_user(keel_desk *desk, desk_move move, unsigned mask);
const char *keel_desk_say_result(keel_desk *desk, const char *result, const char *label);

/* The which-th uniform number of a step's word, in [0, 1), and an index below count. */
double keel_desk_uniform(uint64_t word, uint64_t which);
size_t keel_desk_index(uint64_t word, uint64_t which, size_t count);

#endif
