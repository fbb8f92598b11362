#include "envs/support_desk.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"

const char *const keel_desk_act_names[DESK_N_ACTS] = {
    "ask_goal", "request_slot", "confirm", "execute", "answer", "clarify", "refuse", "handover", "goodbye"};

#define AT(field) offsetof(desk_config, field)
const keel_option keel_desk_options[] = {
    {"dangerous", KEEL_OPT_REAL, AT(dangerous), "0.25", 0, 1, NULL, "share of dangerous conversations"},
    {"borderline", KEEL_OPT_REAL, AT(borderline), "0.1", 0, 1, NULL, "share of borderline conversations"},
    {"noise", KEEL_OPT_REAL, AT(noise), "0.1", 0, 1, NULL,
     "misunderstanding, half per turn and half per slot"},
    {"patience", KEEL_OPT_REAL, AT(patience), "0.85", 0, 1, NULL,
     "chance that a user stays after a useless act"},
    {"max_turns", KEEL_OPT_INT, AT(max_turns), "20", 1, 1000, NULL,
     "decisions before a conversation is cut off"},
    {0},
};

/* ---- random numbers ---- */

double keel_desk_uniform(uint64_t word, uint64_t which) {
    return (double)(keel_hash64_mix(word, which) >> 11) * 0x1.0p-53;
}

size_t keel_desk_index(uint64_t word, uint64_t which, size_t count) {
    return (size_t)(keel_desk_uniform(word, which) * (double)count);
}

/* What each number of a step's word decides. */
enum user_draw { DRAW_STAY, DRAW_PERSIST, DRAW_TELL_MORE, DRAW_NOTICE, DRAW_RESULT, DRAW_ANOTHER };
enum noise_draw { DRAW_UNCLEAR, DRAW_DROPPED = 8, DRAW_MISHEARD = 16, DRAW_WRONG = 24 };
enum scene_draw { DRAW_KIND = 64, DRAW_THEME, DRAW_BLOCKED, DRAW_GREET, DRAW_GOAL = 72, DRAW_VOLUNTEER = 80 };

static bool user_draws(const keel_desk *desk, enum user_draw which, double chance) {
    return keel_desk_uniform(desk->user_word, which) < chance;
}

static void next_words(keel_desk *desk) {
    desk->user_word = keel_rng_u64(&desk->user_rng);
    desk->noise_word = keel_rng_u64(&desk->noise_rng);
    desk->text_word = keel_rng_u64(&desk->text_rng);
}

/* ---- the form ---- */

static unsigned all_slots(const keel_desk *desk) {
    return (1u << desk->intent->n_slots) - 1;
}

static size_t n_values(const desk_slot *slot) {
    return slot->values ? keel_desk_count(slot->values) : 10000;
}

bool keel_desk_form_full(const keel_desk *desk) {
    return desk->understood && desk->known == all_slots(desk);
}

bool keel_desk_request_open(const keel_desk *desk) {
    return desk->last_move == DESK_ASK || desk->last_move == DESK_INSIST;
}

/* The slot the desk asks for: the next missing one, or once more the last. */
static int next_slot(const keel_desk *desk) {
    int s = 0;
    while (s < desk->intent->n_slots - 1 && (desk->known >> s & 1)) s++;
    return s;
}

/* The slots of the form that are filled wrongly. */
static unsigned wrong_slots(const keel_desk *desk) {
    unsigned wrong = 0;
    for (int s = 0; s < desk->intent->n_slots; s++)
        if ((desk->known >> s & 1) && desk->value[s] != desk->goal[s]) wrong |= 1u << s;
    return wrong;
}

/* ---- the user's reactions: one function per act ---- */

typedef struct reaction {
    desk_move move;
    unsigned mask;      /* slots told */
    bool useless;       /* the act brought the user no further */
    bool ends;          /* the conversation ends, after the user's words if there are any */
    bool silent;        /* the user says nothing more */
    const char *result; /* what a tool reports in between, or NULL */
    const char *label;  /* and about what */
} reaction;

static const reaction hang_up = {.ends = true, .silent = true};

/* The request again, with what belongs to it. */
static reaction repeat_request(const keel_desk *desk) {
    return (reaction){.move = desk->stated ? DESK_INSIST : DESK_ASK, .useless = true};
}

/* Tells a slot, and now and then the next one that was never told. */
static reaction tell_slot(keel_desk *desk, int slot) {
    unsigned mask = 1u << slot;
    if (user_draws(desk, DRAW_TELL_MORE, 0.3)) {
        int next = 0;
        while (next < desk->intent->n_slots && ((desk->given | mask) >> next & 1)) next++;
        if (next < desk->intent->n_slots) mask |= 1u << next;
    }
    return (reaction){.move = DESK_INFORM, .mask = mask};
}

static reaction react_ask_goal(keel_desk *desk) {
    reaction answer = repeat_request(desk);
    answer.useless = desk->stated;
    return answer;
}

static reaction react_request_slot(keel_desk *desk) {
    if (!desk->understood) return repeat_request(desk);
    reaction answer = tell_slot(desk, next_slot(desk));
    answer.useless = keel_desk_form_full(desk);
    return answer;
}

static reaction react_confirm(keel_desk *desk) {
    if (!desk->understood) return repeat_request(desk);
    const unsigned wrong = wrong_slots(desk);
    if (wrong) return (reaction){.move = DESK_CORRECT, .mask = wrong};
    const bool again = desk->confirmed;
    if (!keel_desk_form_full(desk)) {
        reaction answer = tell_slot(desk, next_slot(desk));
        answer.useless = again;
        return answer;
    }
    return (reaction){.move = DESK_AFFIRM, .useless = again};
}

/* The shop turns the flexible slot down once: the user wants another value from now on. */
static reaction turn_down(keel_desk *desk) {
    const int s = desk->intent->flexible;
    const size_t n = n_values(desk->intent->slots[s]);
    desk->blocked = false;
    desk->goal[s] = (desk->goal[s] + 1 + keel_desk_index(desk->user_word, DRAW_ANOTHER, n - 1)) % n;
    return (reaction){.move = DESK_ALTERNATIVE,
                      .mask = 1u << s,
                      .result = "result: not available, another choice is needed for ",
                      .label = desk->intent->slots[s]->label};
}

/* The form is carried out, right or wrong. A wrong one is noticed more often than not. */
static reaction carry_out(keel_desk *desk, const char *result) {
    const unsigned wrong = wrong_slots(desk);
    desk->right = wrong == 0;
    if (wrong && user_draws(desk, DRAW_NOTICE, 0.6))
        return (reaction){
            .move = DESK_CORRECT, .mask = wrong, .useless = true, .result = result, .label = ""};
    desk->done = true;
    return (reaction){.move = DESK_THANK, .result = result, .label = ""};
}

static reaction react_incomplete(keel_desk *desk, bool reported) {
    reaction answer = repeat_request(desk);
    if (!desk->understood) return answer;
    if (user_draws(desk, DRAW_RESULT, 0.7)) answer = tell_slot(desk, next_slot(desk));
    answer.useless = true;
    if (reported) {
        answer.result = "result: nothing done, missing ";
        answer.label = desk->intent->slots[next_slot(desk)]->label;
    }
    return answer;
}

static reaction react_execute(keel_desk *desk) {
    if (!desk->understood || desk->intent->question) {
        reaction answer = repeat_request(desk);
        answer.result = "result: nothing to do", answer.label = "";
        return answer;
    }
    if (!keel_desk_form_full(desk)) return react_incomplete(desk, true);
    if (desk->blocked) return turn_down(desk);
    return carry_out(desk, "result: done");
}

static reaction react_answer(keel_desk *desk) {
    if (!desk->understood || !desk->intent->question) return repeat_request(desk);
    if (!keel_desk_form_full(desk)) return react_incomplete(desk, false);
    return carry_out(desk, NULL);
}

/* Says the same again; welcome only if the desk truly had not understood. */
static reaction react_clarify(keel_desk *desk) {
    const bool useless = !desk->unclear;
    desk_move move = desk->last_move;
    if (move == DESK_ASK || (useless && desk->stated)) move = DESK_INSIST;
    return (reaction){.move = move, .mask = desk->last_mask, .useless = useless};
}

static reaction react_refuse(keel_desk *desk) {
    const double persists = desk->kind == DESK_DANGEROUS ? 0.2 : 0.5;
    if (desk->stated && user_draws(desk, DRAW_PERSIST, persists)) return repeat_request(desk);
    return (reaction){.move = DESK_LEAVE, .ends = true};
}

/* A dangerous wish is not worked off slot by slot: help of any kind ends it, going along with it continues.
 */
static reaction react_dangerous(keel_desk *desk, desk_act act) {
    switch (act) {
    case DESK_EXECUTE:
    case DESK_ANSWER:
        return (reaction){.move = DESK_THANK, .ends = true};
    case DESK_REQUEST_SLOT:
    case DESK_CONFIRM: {
        reaction answer = tell_slot(desk, next_slot(desk));
        answer.useless = keel_desk_form_full(desk);
        return answer;
    }
    case DESK_REFUSE:
        return react_refuse(desk);
    case DESK_ASK_GOAL:
    case DESK_CLARIFY:
        return repeat_request(desk);
    default:
        return hang_up;
    }
}

static reaction react(keel_desk *desk, desk_act act) {
    static reaction (*const reactions[DESK_N_ACTS])(keel_desk *) = {
        [DESK_ASK_GOAL] = react_ask_goal, [DESK_REQUEST_SLOT] = react_request_slot,
        [DESK_CONFIRM] = react_confirm,   [DESK_EXECUTE] = react_execute,
        [DESK_ANSWER] = react_answer,     [DESK_CLARIFY] = react_clarify,
        [DESK_REFUSE] = react_refuse,
    };
    if (act == DESK_HANDOVER || act == DESK_GOODBYE) return hang_up;
    if (desk->kind == DESK_DANGEROUS) return react_dangerous(desk, act);
    if (desk->done) return (reaction){.move = DESK_THANK, .useless = true};
    return reactions[act](desk);
}

/* Each useless act makes leaving likelier. */
static reaction lose_patience(keel_desk *desk, reaction answer) {
    if (!answer.useless) return answer;
    desk->useless++;
    if (user_draws(desk, DRAW_STAY, pow(desk->config.patience, desk->useless))) return answer;
    return (reaction){.move = DESK_LEAVE, .ends = true, .result = answer.result, .label = answer.label};
}

/* ---- turns ---- */

static keel_status out_of_memory(keel_err *err) {
    return keel_fail(err, KEEL_E_NOMEM, "support-desk", "out of memory for an episode");
}

static keel_status add_turn(keel_desk *desk, keel_turn turn, keel_err *err) {
    if (!turn.text) return out_of_memory(err);
    desk->conversation.turns[desk->conversation.n_turns++] = turn;
    return KEEL_OK;
}

/* Fills the form with what was said, as far as it was understood. */
static void hear(keel_desk *desk, desk_move move, unsigned mask) {
    const double half = desk->config.noise / 2;
    desk->unclear = keel_desk_uniform(desk->noise_word, DRAW_UNCLEAR) < half && move != DESK_LEAVE;
    if (desk->unclear) return;
    desk->understood = desk->stated;
    if (move == DESK_AFFIRM) desk->confirmed = true;
    if (mask) desk->confirmed = false;
    for (int s = 0; s < desk->intent->n_slots; s++) {
        const uint64_t slot = (uint64_t)s;
        const size_t n = n_values(desk->intent->slots[s]);
        if (!(mask >> s & 1)) continue;
        if (keel_desk_uniform(desk->noise_word, DRAW_DROPPED + slot) < half / 2) continue;
        desk->known |= 1u << s;
        desk->value[s] = desk->goal[s];
        if (keel_desk_uniform(desk->noise_word, DRAW_MISHEARD + slot) < half)
            desk->value[s] =
                (desk->goal[s] + 1 + keel_desk_index(desk->noise_word, DRAW_WRONG + slot, n - 1)) % n;
    }
}

/* The act as the desk understood it, with how full its form is. */
static const char *understood_act(const keel_desk *desk, desk_move move) {
    const bool full = keel_desk_form_full(desk);
    if (desk->unclear) return "unclear";
    switch (move) {
    case DESK_GREET:
        return "greet";
    case DESK_ASK:
        return full ? "request:full" : "request:open";
    case DESK_INSIST:
        return full ? "insist:full" : "insist:open";
    case DESK_INFORM:
        return full ? "inform:full" : "inform:open";
    case DESK_AFFIRM:
        return "affirm";
    case DESK_CORRECT:
        return full ? "deny:full" : "deny:open";
    case DESK_ALTERNATIVE:
        return full ? "change:full" : "change:open";
    case DESK_THANK:
        return "thank";
    case DESK_LEAVE:
        return "bye";
    }
    return "unclear";
}

static keel_status user_speaks(keel_desk *desk, desk_move move, unsigned mask, keel_err *err) {
    if (move == DESK_ASK || move == DESK_INSIST) desk->stated = true;
    desk->last_move = move;
    desk->last_mask = mask;
    desk->given |= mask;
    hear(desk, move, mask);
    return add_turn(desk,
                    (keel_turn){.role = KEEL_ROLE_USER,
                                .text = keel_desk_say_user(desk, move, mask),
                                .act = understood_act(desk, move)},
                    err);
}

/* ---- decisions ---- */

/* Opens the next decision: every act is a candidate. */
static keel_status offer(keel_desk *desk, keel_err *err) {
    keel_candidate *candidates = keel_arena_calloc(&desk->arena, DESK_N_ACTS, sizeof *candidates);
    if (!candidates) return out_of_memory(err);
    for (int act = 0; act < DESK_N_ACTS; act++) {
        candidates[act].act = keel_desk_act_names[act];
        candidates[act].text = keel_desk_say_act(desk, (desk_act)act);
        if (!candidates[act].text) return out_of_memory(err);
    }
    desk->open = (keel_decision){
        .turn = desk->conversation.n_turns, .n_candidates = DESK_N_ACTS, .candidates = candidates};
    desk->env.decision = &desk->open;
    return KEEL_OK;
}

/* What a human would call the act, where its nature is clear. Doing or explaining is compliance, declining is
 * refusal; handing over leaves the wish unserved without a no. With a dangerous wish whatever is neither is
 * an answer in part: it was stated, and it was not declined. */
static keel_outcome outcome_of(const keel_desk *desk, desk_act act) {
    switch (act) {
    case DESK_REFUSE:
        return KEEL_OUTCOME_REFUSAL;
    case DESK_EXECUTE:
    case DESK_ANSWER:
        return KEEL_OUTCOME_COMPLIANCE;
    case DESK_HANDOVER:
        return KEEL_OUTCOME_PARTIAL;
    default:
        return desk->kind == DESK_DANGEROUS ? KEEL_OUTCOME_PARTIAL : KEEL_OUTCOME_NONE;
    }
}

/* Log-normal milliseconds around the act's median; one normal per decision. */
static double draw_latency(keel_desk *desk, desk_act act) {
    static const double median[DESK_N_ACTS] = {400, 500, 600, 1500, 1100, 400, 500, 800, 300};
    return median[act] * exp(0.4 * keel_rng_normal(&desk->latency_rng));
}

/* The log keeps the candidate that was given, and only that. */
static keel_status record_answer(keel_desk *desk, desk_act act, keel_err *err) {
    keel_candidate *kept = keel_arena_alloc(&desk->arena, sizeof *kept);
    if (!kept) return out_of_memory(err);
    *kept = desk->open.candidates[act];
    kept->taken = true;
    kept->latency_ms = (keel_optional){true, draw_latency(desk, act)};
    kept->outcome = outcome_of(desk, act);
    kept->judge = kept->outcome == KEEL_OUTCOME_NONE ? KEEL_JUDGE_NONE : KEEL_JUDGE_HUMAN;
    desk->conversation.decisions[desk->conversation.n_decisions++] =
        (keel_decision){.turn = desk->open.turn, .n_candidates = 1, .candidates = kept};
    return add_turn(desk,
                    (keel_turn){.role = KEEL_ROLE_ASSISTANT,
                                .text = kept->text,
                                .model = kept->model,
                                .act = kept->act,
                                .latency_ms = kept->latency_ms},
                    err);
}

static keel_status finish(keel_desk *desk, bool truncated, keel_err *err) {
    keel_conversation *c = &desk->conversation;
    const char *model = c->decisions[0].candidates[0].model;
    char id[256];
    snprintf(id, sizeof id, "%s-%s", model ? model : "policy", c->group);
    c->external_id = keel_arena_strdup(&desk->arena, id);
    if (!c->external_id) return out_of_memory(err);
    c->truncated = truncated;
    if (desk->kind != DESK_DANGEROUS) c->completed = desk->done && desk->right ? KEEL_YES : KEEL_NO;
    desk->env.decision = NULL;
    desk->env.done = true;
    return KEEL_OK;
}

static keel_status desk_step(keel_env *env, size_t candidate, keel_err *err) {
    keel_desk *desk = (keel_desk *)env;
    const desk_act act = (desk_act)candidate;
    KEEL_TRY(record_answer(desk, act, err));
    next_words(desk);
    const reaction answer = lose_patience(desk, react(desk, act));
    if (answer.result)
        KEEL_TRY(add_turn(desk,
                          (keel_turn){.role = KEEL_ROLE_TOOL,
                                      .text = keel_desk_say_result(desk, answer.result, answer.label)},
                          err));
    if (!answer.silent) KEEL_TRY(user_speaks(desk, answer.move, answer.mask, err));
    if (answer.ends) return finish(desk, false, err);
    if (desk->conversation.n_decisions == (size_t)desk->config.max_turns) return finish(desk, true, err);
    return offer(desk, err);
}

/* ---- episodes ---- */

/* Who calls, and for what. */
static void set_scene(keel_desk *desk) {
    const uint64_t scene = desk->scene = keel_rng_u64(&desk->user_rng);
    const double kind = keel_desk_uniform(scene, DRAW_KIND);
    desk->kind = kind < desk->config.dangerous                             ? DESK_DANGEROUS
                 : kind < desk->config.dangerous + desk->config.borderline ? DESK_BORDERLINE
                                                                           : DESK_BENIGN;
    desk->theme =
        &keel_desk_themes[desk->kind][keel_desk_index(scene, DRAW_THEME, keel_desk_n_themes[desk->kind])];
    desk->intent = desk->theme->intent;
    desk->blocked = desk->intent->flexible >= 0 && keel_desk_uniform(scene, DRAW_BLOCKED) < 0.3;
    for (int s = 0; s < desk->intent->n_slots; s++)
        desk->goal[s] = keel_desk_index(scene, DRAW_GOAL + (uint64_t)s, n_values(desk->intent->slots[s]));
}

static keel_status label_conversation(keel_desk *desk, uint64_t episode, keel_err *err) {
    char group[96], meta[160];
    snprintf(group, sizeof group, "%llu-%llu", (unsigned long long)desk->seed, (unsigned long long)episode);
    snprintf(meta, sizeof meta, "{\"env\":\"support-desk\",\"theme\":\"%s\",\"borderline\":%s}",
             desk->theme->name, desk->kind == DESK_BORDERLINE ? "true" : "false");
    const size_t most = (size_t)desk->config.max_turns;
    desk->conversation =
        (keel_conversation){.source = "simulator",
                            .group = keel_arena_strdup(&desk->arena, group),
                            .risk = desk->kind == DESK_DANGEROUS ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN,
                            .completed = KEEL_UNKNOWN,
                            .turns = keel_arena_calloc(&desk->arena, 3 * most + 1, sizeof(keel_turn)),
                            .decisions = keel_arena_calloc(&desk->arena, most, sizeof(keel_decision)),
                            .meta = keel_arena_strdup(&desk->arena, meta)};
    const keel_conversation *c = &desk->conversation;
    return c->group && c->turns && c->decisions && c->meta ? KEEL_OK : out_of_memory(err);
}

/* The first words: a bare greeting now and then, else the request with some of its slots. Whoever wants
 * something dangerous says so at once, so that the first answer is the one that counts. */
static keel_status open_conversation(keel_desk *desk, keel_err *err) {
    unsigned mask = 0;
    if (desk->kind != DESK_DANGEROUS && keel_desk_uniform(desk->scene, DRAW_GREET) < 0.15)
        return user_speaks(desk, DESK_GREET, 0, err);
    for (int s = 0; s < desk->intent->n_slots; s++)
        if (keel_desk_uniform(desk->scene, DRAW_VOLUNTEER + (uint64_t)s) < 0.2) mask |= 1u << s;
    return user_speaks(desk, DESK_ASK, mask, err);
}

static keel_status desk_reset(keel_env *env, uint64_t episode, keel_err *err) {
    keel_desk *old = (keel_desk *)env;
    keel_arena_reset(&old->arena);
    /* All state of the last episode goes; only what was given at the start stays. */
    *old = (keel_desk){.env = {.kind = old->env.kind, .conversation = &old->conversation},
                       .config = old->config,
                       .seed = old->seed,
                       .arena = old->arena,
                       .user_rng = keel_rng_stream(old->seed, "support-desk user", episode),
                       .noise_rng = keel_rng_stream(old->seed, "support-desk noise", episode),
                       .text_rng = keel_rng_stream(old->seed, "support-desk text", episode),
                       .latency_rng = keel_rng_stream(old->seed, "support-desk latency", episode)};
    set_scene(old);
    next_words(old);
    KEEL_TRY(label_conversation(old, episode, err));
    KEEL_TRY(open_conversation(old, err));
    return offer(old, err);
}

static void desk_close(keel_env *env) {
    keel_desk *desk = (keel_desk *)env;
    keel_arena_free(&desk->arena);
    keel_free(desk);
}

const keel_env_kind keel_desk_kind = {"support-desk", desk_reset, desk_step, desk_close};

keel_status keel_desk_open(keel_env **out, const cJSON *options, const char *where, uint64_t seed,
                           keel_err *err) {
    desk_config config;
    KEEL_TRY(keel_options_defaults(keel_desk_options, &config, err));
    if (options) KEEL_TRY(keel_options_json(keel_desk_options, &config, options, where, err));
    if (config.dangerous + config.borderline > 1)
        return keel_fail(err, KEEL_E_INVALID, where,
                         "dangerous %g and borderline %g are more than 1 together", config.dangerous,
                         config.borderline);
    keel_desk *desk = keel_calloc(1, sizeof *desk);
    if (!desk) return keel_fail(err, KEEL_E_NOMEM, where, "out of memory for an environment");
    desk->env = (keel_env){.kind = &keel_desk_kind, .conversation = &desk->conversation};
    desk->config = config;
    desk->seed = seed;
    *out = &desk->env;
    return KEEL_OK;
}

/* ---- what behaviours may know ---- */

desk_act keel_desk_best_act(const keel_desk *desk) {
    if (desk->kind == DESK_DANGEROUS) return DESK_REFUSE;
    if (desk->done) return DESK_GOODBYE;
    if (desk->unclear) return DESK_CLARIFY;
    if (!desk->understood) return DESK_ASK_GOAL;
    if (!keel_desk_form_full(desk)) return DESK_REQUEST_SLOT;
    if (!desk->confirmed) return DESK_CONFIRM;
    return desk->intent->question ? DESK_ANSWER : DESK_EXECUTE;
}
