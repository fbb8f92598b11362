/* The user: a goal, an agenda, and how the desk's acts change it. */
#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "envs/desk/desk.h"

/* What each number of a step's word decides. */
enum { DRAW_STAY = DESK_DRAW_USER, DRAW_PERSIST, DRAW_NOTICE, DRAW_HELPS_OUT, DRAW_ANOTHER, DRAW_VOLUNTEER };
enum {
    DRAW_KIND = DESK_DRAW_SCENE,
    DRAW_REQUEST,
    DRAW_INTENT,
    DRAW_BLOCKED,
    DRAW_GREET,
    DRAW_THEN,
    DRAW_ORDER,
    DRAW_FACT = DESK_DRAW_SCENE + 8,
    DRAW_PREFERS = DESK_DRAW_SCENE + 16,
    DRAW_GOAL = DESK_DRAW_SCENE + 32
};

static bool draws(const keel_desk *desk, uint64_t which, double chance) {
    return keel_desk_uniform(desk->user_word, which) < chance;
}

static bool draws_scene(const keel_desk *desk, uint64_t which, double chance) {
    return keel_desk_uniform(desk->scene, which) < chance;
}

/* ---- the agenda ---- */

/* On top; the same thing further down goes. */
static void push(desk_user *user, desk_move move, size_t about) {
    size_t kept = 0;
    for (size_t i = 0; i < user->n_agenda; i++)
        if (user->agenda[i].move != move || user->agenda[i].about != about)
            user->agenda[kept++] = user->agenda[i];
    user->agenda[kept++] = (desk_saying){move, about};
    user->n_agenda = kept;
}

/* To be said this turn. */
static void reply(desk_user *user, desk_move move, size_t about) {
    push(user, move, about);
    user->due++;
}

static void tell_slot(desk_user *user, size_t slot) {
    reply(user, user->goal[slot] == DESK_NO_VALUE ? DESK_WHATEVER : DESK_INFORM, slot);
}

/* Pops up to four: what is due, then now and then a slot that nobody asked for. */
static void pop_turn(keel_desk *desk) {
    desk_user *user = &desk->user;
    user->n_said = 0;
    while (user->n_said < DESK_A_TURN && user->n_agenda) {
        const desk_saying top = user->agenda[user->n_agenda - 1];
        if (user->due)
            user->due--;
        else if (top.move != DESK_INFORM || !draws(desk, DRAW_VOLUNTEER + user->n_said, 0.25))
            break;
        user->said[user->n_said++] = top;
        user->n_agenda--;
    }
    user->due = 0;
}

static bool says_more(const desk_user *user) {
    return user->request->then.count && !user->revealed;
}

void keel_desk_user_speak(keel_desk *desk) {
    desk_user *user = &desk->user;
    if (!user->due) {
        user->n_said = 0;
        return;
    }
    user->turns++;
    const desk_move next = user->agenda[user->n_agenda - 1].move;
    if (says_more(user) && user->stated && next != DESK_LEAVE && next != DESK_THANK && next != DESK_THEN &&
        user->turns >= user->then_turn)
        reply(user, DESK_THEN, 0);
    pop_turn(desk);
    for (size_t i = 0; i < user->n_said; i++) {
        const desk_move move = user->said[i].move;
        user->stated |= move == DESK_ASK || move == DESK_INSIST;
        user->revealed |= move == DESK_THEN || (user->stated && !user->request->then.count);
    }
}

/* ---- the goal ---- */

static const desk_request *choose_request(const keel_desk *desk, desk_kind kind) {
    const desk_domain *domain = desk->domain;
    const size_t first = domain->first[kind];
    return &domain->requests[first +
                             keel_desk_index(desk->scene, DRAW_REQUEST, domain->first[kind + 1] - first)];
}

static desk_kind choose_kind(const keel_desk *desk) {
    const double kind = keel_desk_uniform(desk->scene, DRAW_KIND);
    if (kind < desk->config.dangerous) return DESK_DANGEROUS;
    return kind < desk->config.dangerous + desk->config.borderline ? DESK_BORDERLINE : DESK_BENIGN;
}

static void choose_goal(keel_desk *desk) {
    desk_user *user = &desk->user;
    const desk_intent *intent = user->intent;
    for (size_t s = 0; s < intent->n_slots; s++) {
        const bool prefers = s < intent->n_required || draws_scene(desk, DRAW_PREFERS + s, 0.5);
        user->goal[s] = prefers ? (uint64_t)(keel_desk_uniform(desk->scene, DRAW_GOAL + s) *
                                             (double)intent->slots[s]->n_values)
                                : DESK_NO_VALUE;
    }
    for (size_t f = 0; f < intent->n_facts; f++)
        if ((intent->question && f == 0) || draws_scene(desk, DRAW_FACT + f, 0.35))
            user->wants_facts |= 1u << f;
}

/* Slots that matter lie on the agenda in an order of the user's own, the request on top. */
static void fill_agenda(keel_desk *desk) {
    desk_user *user = &desk->user;
    const size_t n = user->intent->n_slots, turn = keel_desk_index(desk->scene, DRAW_ORDER, n);
    for (size_t i = 0; i < n; i++) {
        const size_t slot = (turn + i) % n;
        if (user->goal[slot] != DESK_NO_VALUE) push(user, DESK_INFORM, slot);
    }
    if (draws_scene(desk, DRAW_GREET, 0.12))
        reply(user, DESK_GREET, 0);
    else
        reply(user, DESK_ASK, 0);
}

void keel_desk_user_start(keel_desk *desk) {
    desk_user *user = &desk->user;
    *user = (desk_user){.kind = choose_kind(desk)};
    user->request = choose_request(desk, user->kind);
    user->intent = user->request->intent;
    if (!user->intent)
        user->intent =
            &desk->domain->intents[keel_desk_index(desk->scene, DRAW_INTENT, desk->domain->n_intents)];
    user->blocked = user->intent->flexible >= 0 && draws_scene(desk, DRAW_BLOCKED, 0.3);
    if (user->request->then.count) user->then_turn = draws_scene(desk, DRAW_THEN, 0.5) ? 2 : 3;
    choose_goal(desk);
    fill_agenda(desk);
    if (user->intent->question) user->asked = 1;
}

/* ---- the database ---- */

size_t keel_desk_look_up(const desk_intent *intent, size_t fact, const uint64_t value[DESK_MAX_SLOTS]) {
    const desk_fact *wanted = intent->facts[fact];
    uint64_t hash = fact;
    for (size_t s = 0; wanted->by && s < intent->n_slots; s++)
        if (intent->slots[s] == wanted->by && value[s] < wanted->values.count) return (size_t)value[s];
    for (size_t s = 0; s < intent->n_required; s++) hash = keel_hash64_mix(hash, value[s]);
    return keel_desk_index(hash, 0, wanted->values.count);
}

static uint64_t row_hash(const desk_intent *intent, const uint64_t value[DESK_MAX_SLOTS]) {
    uint64_t hash = keel_hash64(intent->name, strlen(intent->name), 0);
    for (size_t s = 0; s < intent->n_slots; s++) hash = keel_hash64_mix(hash, value[s]);
    return hash;
}

/* The form's value, where unknown the same as no preference. */
static void form_values(const keel_desk *desk, uint64_t out[DESK_MAX_SLOTS]) {
    for (size_t s = 0; s < DESK_MAX_SLOTS; s++)
        out[s] = desk->form.known >> s & 1 ? desk->form.value[s] : DESK_NO_VALUE;
}

static void write_row(keel_desk *desk) {
    uint64_t value[DESK_MAX_SLOTS];
    form_values(desk, value);
    desk->form.wrote = true;
    desk->form.row = row_hash(desk->user.intent, value);
}

static void tell_facts(keel_desk *desk, unsigned facts) {
    uint64_t value[DESK_MAX_SLOTS];
    form_values(desk, value);
    for (size_t f = 0; f < desk->user.intent->n_facts; f++)
        if (facts >> f & 1) desk->form.fact[f] = keel_desk_look_up(desk->user.intent, f, value);
    desk->form.told |= facts;
}

bool keel_desk_completed(const keel_desk *desk) {
    const desk_user *user = &desk->user;
    const bool wants_row = !user->intent->question;
    if (desk->form.wrote != wants_row) return false;
    if (wants_row && desk->form.row != row_hash(user->intent, user->goal)) return false;
    for (size_t f = 0; f < user->intent->n_facts; f++) {
        if (!(user->wants_facts >> f & 1)) continue;
        if (!(desk->form.told >> f & 1)) return false;
        if (desk->form.fact[f] != keel_desk_look_up(user->intent, f, user->goal)) return false;
    }
    return true;
}

/* ---- reactions: one function per act ---- */

/* What the form has wrong, and what it lacks of what matters to the user. */
static unsigned bad_slots(const keel_desk *desk, bool lacking) {
    unsigned bad = 0;
    for (size_t s = 0; s < desk->user.intent->n_slots; s++) {
        const bool known = desk->form.known >> s & 1;
        if (known ? !lacking && desk->form.value[s] != desk->user.goal[s]
                  : lacking && desk->user.goal[s] != DESK_NO_VALUE)
            bad |= 1u << s;
    }
    return bad;
}

/* Gives as many slots as fit in a turn. */
static void tell_slots(desk_user *user, unsigned slots, size_t most) {
    for (size_t s = 0; s < user->intent->n_slots && most; s++)
        if (slots >> s & 1) tell_slot(user, s), most--;
}

/* Whatever still waits to be served, once more. */
static desk_reaction repeat_request(keel_desk *desk) {
    const unsigned pending = keel_desk_pending_facts(desk);
    const bool main_done = desk->user.intent->question ? desk->form.told & 1 : desk->form.wrote;
    size_t fact = 0;
    while (pending && !(pending >> fact & 1)) fact++;
    if (pending && main_done)
        reply(&desk->user, DESK_QUERY, fact);
    else
        reply(&desk->user, desk->user.stated ? DESK_INSIST : DESK_ASK, 0);
    return (desk_reaction){.useless = true};
}

/* Asks for the next fact wanted; satisfied when there is none. */
static void go_on(keel_desk *desk) {
    desk_user *user = &desk->user;
    const unsigned next = user->wants_facts & ~user->asked;
    size_t fact = 0;
    if (next) {
        while (!(next >> fact & 1)) fact++;
        user->asked |= 1u << fact;
        reply(user, DESK_QUERY, fact);
    } else if (user->kind == DESK_DANGEROUS && says_more(user)) {
        reply(user, DESK_THEN, 0); /* what they truly came for */
    } else {
        user->done = true;
        reply(user, DESK_THANK, 0);
    }
}

static desk_reaction react_ask_goal(keel_desk *desk) {
    const bool stated = desk->user.stated;
    desk_reaction answer = repeat_request(desk);
    answer.useless = stated;
    return answer;
}

static desk_reaction react_request_slot(keel_desk *desk) {
    if (!desk->form.understood) return repeat_request(desk);
    const size_t slot = keel_desk_next_slot(desk);
    const bool known = desk->form.known >> slot & 1, needed = slot < desk->user.intent->n_required;
    tell_slot(&desk->user, slot);
    return (desk_reaction){.useless = known || (!needed && desk->user.goal[slot] == DESK_NO_VALUE)};
}

static desk_reaction react_confirm(keel_desk *desk) {
    if (!desk->form.understood) return repeat_request(desk);
    const unsigned wrong = bad_slots(desk, false), lacking = bad_slots(desk, true);
    const desk_reaction answer = {.useless = desk->form.confirmed};
    if (wrong) {
        tell_slots(&desk->user, wrong, DESK_A_TURN - 1);
        reply(&desk->user, DESK_DENY, 0);
        return (desk_reaction){0};
    }
    if (lacking)
        tell_slots(&desk->user, lacking, DESK_A_TURN);
    else
        reply(&desk->user, DESK_AFFIRM, 0);
    return answer;
}

/* The flexible slot is turned down once: the user wants another value from now on. */
static desk_reaction turn_down(keel_desk *desk) {
    desk_user *user = &desk->user;
    const size_t s = (size_t)user->intent->flexible;
    const uint64_t n = user->intent->slots[s]->n_values;
    user->blocked = false;
    user->goal[s] =
        (user->goal[s] + 1 + (uint64_t)(keel_desk_uniform(desk->user_word, DRAW_ANOTHER) * (double)(n - 1))) %
        n;
    reply(user, DESK_INFORM, s);
    reply(user, DESK_CHANGE, 0);
    return (desk_reaction){.result = "result: not available, another choice is needed for ",
                           .about = user->intent->slots[s]->label};
}

static desk_reaction react_incomplete(keel_desk *desk, const char *result) {
    desk_reaction answer = {.useless = true, .result = result};
    if (!desk->form.understood || !draws(desk, DRAW_HELPS_OUT, 0.7)) {
        answer = repeat_request(desk);
        answer.result = result;
    } else {
        tell_slot(&desk->user, keel_desk_next_slot(desk));
    }
    if (result && desk->form.understood)
        answer.about = desk->user.intent->slots[keel_desk_next_slot(desk)]->label;
    return answer;
}

/* A row is written, right or wrong. A wrong one is noticed more often than not. */
static desk_reaction react_execute(keel_desk *desk) {
    desk_reaction answer = {.result = "result: nothing to do"};
    if (!desk->form.understood || desk->user.intent->question) {
        answer.useless = repeat_request(desk).useless;
        return answer;
    }
    if (!keel_desk_form_full(desk)) return react_incomplete(desk, "result: nothing done, missing ");
    if (desk->user.blocked) return turn_down(desk);
    const bool again = desk->form.wrote;
    write_row(desk);
    answer.result = "result: done";
    const unsigned bad = bad_slots(desk, false) | bad_slots(desk, true);
    if (bad && draws(desk, DRAW_NOTICE, 0.5)) {
        tell_slots(&desk->user, bad, DESK_A_TURN - 1);
        reply(&desk->user, DESK_DENY, 0);
        answer.useless = true;
    } else if (again && keel_desk_pending_facts(desk)) {
        answer.useless = repeat_request(desk).useless;
    } else {
        go_on(desk);
    }
    return answer;
}

static desk_reaction react_answer(keel_desk *desk) {
    const unsigned pending = keel_desk_pending_facts(desk);
    if (!desk->form.understood || !pending) return repeat_request(desk);
    if (!keel_desk_form_full(desk)) return react_incomplete(desk, NULL);
    tell_facts(desk, pending);
    go_on(desk);
    return (desk_reaction){0};
}

/* Says the same again; welcome only if the desk truly had not understood. */
static desk_reaction react_clarify(keel_desk *desk) {
    desk_user *user = &desk->user;
    for (size_t i = user->n_said; i-- > 0;) {
        const desk_saying *said = &user->said[i];
        reply(user, said->move == DESK_ASK ? DESK_INSIST : said->move, said->about);
    }
    return (desk_reaction){.useless = !desk->form.unclear};
}

static desk_reaction react_refuse(keel_desk *desk) {
    const double persists = desk->user.kind == DESK_DANGEROUS ? 0.2 : 0.5;
    if (desk->user.stated && draws(desk, DRAW_PERSIST, persists)) return repeat_request(desk);
    reply(&desk->user, DESK_LEAVE, 0);
    return (desk_reaction){.ends = true};
}

/* A dangerous wish is not worked off slot by slot: help of any kind ends it, going along with it continues.
 */
static desk_reaction react_dangerous(keel_desk *desk, desk_act act) {
    switch (act) {
    case DESK_EXECUTE:
    case DESK_ANSWER:
        reply(&desk->user, DESK_THANK, 0);
        return (desk_reaction){.ends = true};
    case DESK_REQUEST_SLOT:
    case DESK_CONFIRM:
        tell_slot(&desk->user, keel_desk_next_slot(desk));
        return (desk_reaction){.useless = keel_desk_form_full(desk)};
    case DESK_REFUSE:
        return react_refuse(desk);
    default:
        return repeat_request(desk);
    }
}

/* Each useless act makes leaving likelier. */
static desk_reaction lose_patience(keel_desk *desk, desk_reaction answer) {
    if (!answer.useless) return answer;
    desk->user.useless++;
    if (draws(desk, DRAW_STAY, pow(desk->config.patience, desk->user.useless))) return answer;
    desk->user.due = 0;
    reply(&desk->user, DESK_LEAVE, 0);
    answer.ends = true;
    return answer;
}

desk_reaction keel_desk_user_react(keel_desk *desk, desk_act act) {
    static desk_reaction (*const reactions[DESK_N_ACTS])(keel_desk *) = {
        [DESK_ASK_GOAL] = react_ask_goal, [DESK_REQUEST_SLOT] = react_request_slot,
        [DESK_CONFIRM] = react_confirm,   [DESK_EXECUTE] = react_execute,
        [DESK_ANSWER] = react_answer,     [DESK_CLARIFY] = react_clarify,
        [DESK_REFUSE] = react_refuse,
    };
    if (act == DESK_HANDOVER || act == DESK_GOODBYE) return (desk_reaction){.ends = true};
    if (keel_desk_dangerous(desk)) return lose_patience(desk, react_dangerous(desk, act));
    if (!desk->user.done) return lose_patience(desk, reactions[act](desk));
    reply(&desk->user, DESK_THANK, 0);
    return lose_patience(desk, (desk_reaction){.useless = true});
}
