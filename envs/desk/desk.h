/* The support desk: an agenda-based dialogue simulator (Schatzmann et al. 2007; docs/design.md) over a domain
 * (envs/desk/domain.h). Private to this room; the world sees it through envs/env.h.
 *
 * A user comes with a goal: slots of an intent to be told (some with no preference), facts to be found out,
 * and a request in words: benign, borderline (alarming words, harmless wish) or dangerous (against a policy).
 * Some say at first what is harmless and the rest a turn or two later. What is to be said lies on a stack,
 * the agenda; what the desk does pushes replies onto it, and up to four are said a turn. The desk fills a
 * form, mishears now and then, confirms, acts on its database, answers from it.
 *
 * Success is judged outside the user, as tau-bench does (Yao et al. 2024): the row
 * that the desk has written at the end equals that of the goal, and the facts wanted were told as the
 * database has them for the goal. A dangerous conversation has no completion: see keel_env_success. The
 * user's understood act says nothing of risk or intent; those are in the words only. */
#ifndef KEEL_ENVS_DESK_DESK_H
#define KEEL_ENVS_DESK_DESK_H

#include "core/options.h"
#include "core/pcg.h"
#include "envs/desk/domain.h"
#include "envs/env.h"

typedef struct desk_saying {
    desk_move move;
    size_t about; /* slot or fact of the intent */
} desk_saying;

/* The user never has the same thing on the agenda twice, so it cannot run over. */
enum { DESK_AGENDA = 2 * DESK_MAX_SLOTS + DESK_MAX_FACTS + DESK_N_MOVES, DESK_A_TURN = 4 };

#define DESK_NO_VALUE UINT64_MAX /* no preference */

typedef struct desk_config {
    double dangerous, borderline; /* shares of episodes */
    double noise;                 /* misunderstanding: half per turn, half per slot */
    double patience;   /* chance to stay after the first useless act; its n-th power after the n-th */
    int64_t max_turns; /* decisions; then the conversation is cut off */
    bool text;         /* false: acts alone, every text is empty */
} desk_config;
extern const keel_option keel_desk_options[];

typedef struct desk_user {
    /* the hidden truth */
    desk_kind kind;
    const desk_request *request;
    const desk_intent *intent;
    uint64_t goal[DESK_MAX_SLOTS]; /* wanted values, DESK_NO_VALUE without preference */
    unsigned wants_facts;          /* bit per fact */
    bool blocked;                  /* the desk will turn the flexible slot down once */
    int then_turn;                 /* turn in which the rest is said; 0: never */

    desk_saying agenda[DESK_AGENDA]; /* a stack: the last is said next */
    size_t n_agenda, due;            /* of these so many are to be said this turn */
    desk_saying said[DESK_A_TURN];   /* the last turn */
    size_t n_said;
    int turns, useless; /* so far */
    bool stated;        /* the request has been made */
    bool revealed;      /* all of it */
    unsigned asked;     /* facts */
    bool done;          /* believes to be served */
} desk_user;

/* What the desk knows, has done and told. */
typedef struct desk_form {
    bool understood; /* the request */
    bool unclear;    /* the last user turn was not understood */
    bool confirmed;  /* since the form last changed */
    bool open;       /* the request was just made, or more of it said */
    unsigned known;  /* bit per slot */
    uint64_t value[DESK_MAX_SLOTS];
    bool wrote;                    /* a row of the database */
    uint64_t row;                  /* its hash */
    unsigned told;                 /* bit per fact */
    uint64_t fact[DESK_MAX_FACTS]; /* index of the value told */
} desk_form;

typedef struct keel_desk {
    keel_env env; /* first */
    desk_config config;
    const desk_domain *domain;
    uint64_t seed, episode;
    keel_arena arena; /* of the episode */
    keel_conversation conversation;
    keel_decision open;
    desk_user user;
    desk_form form;
    size_t revealed_at; /* first decision that answers a dangerous request; SIZE_MAX: none yet */

    /* random numbers: one word of each stream per step, whatever was answered, so that policies are compared
     * on common ones. The scene is the task's, shared by its trials. */
    keel_rng user_rng, noise_rng, text_rng, latency_rng;
    uint64_t scene, user_word, noise_word, text_word;
} keel_desk;

extern const keel_env_kind keel_desk_kind;

/* options: the JSON object of the environment's file without "env", or NULL; where: that file. */
keel_status keel_desk_open(keel_env **out, cJSON *options, const char *where, uint64_t seed, keel_err *err);

/* ---- what the desk knows and lacks; behaviours look at these too ---- */

bool keel_desk_form_full(const keel_desk *desk); /* the request and all required slots are known */
/* The slot it asks for: the next missing one, required ones first, or once more the last. */
size_t keel_desk_next_slot(const keel_desk *desk);
unsigned keel_desk_pending_facts(const keel_desk *desk); /* asked for and not told */
/* A dangerous request has been made in full. */
bool keel_desk_dangerous(const keel_desk *desk);
/* The best act, knowing the truth; and the one that would be best if nothing were dangerous. */
desk_act keel_desk_best_act(const keel_desk *desk);
desk_act keel_desk_obliging_act(const keel_desk *desk);

/* ---- desk_user.c ---- */

/* What an act brings about beside what the user will say. */
typedef struct desk_reaction {
    bool useless;       /* the act brought the user no further */
    bool ends;          /* the conversation ends, after the user's words if there are any */
    const char *result; /* what a tool reports in between, or NULL */
    const char *about;  /* and about what, or NULL */
} desk_reaction;

void keel_desk_user_start(keel_desk *desk); /* goal and agenda, out of the scene */
/* Takes the desk's act in: agenda, form and database change. */
desk_reaction keel_desk_user_react(keel_desk *desk, desk_act act);
void keel_desk_user_speak(keel_desk *desk);      /* pops what is said this turn; nothing, if nothing is due */
bool keel_desk_completed(const keel_desk *desk); /* judged by database and facts told */

/* ---- desk_say.c: text into the desk's arena; NULL when out of memory ---- */

const char *keel_desk_say_act(keel_desk *desk, desk_act act);
const char *keel_desk_say_user(keel_desk *desk);
const char *keel_desk_say_result(keel_desk *desk, const char *result, const char *about);

/* The which-th uniform number of a step's word, in [0, 1), and an index below count. */
double keel_desk_uniform(uint64_t word, uint64_t which);
size_t keel_desk_index(uint64_t word, uint64_t which, size_t count);
/* What the database has for the fact, as an index of its values, where slots are filled so. */
size_t keel_desk_look_up(const desk_intent *intent, size_t fact, const uint64_t value[DESK_MAX_SLOTS]);

/* Kinds of numbers of a word: each has 64 places. */
enum { DESK_DRAW_USER = 0, DESK_DRAW_NOISE = 64, DESK_DRAW_SCENE = 128, DESK_DRAW_TEXT = 192 };

#endif
