/* Logging behaviours: the deployed assistants of the past. Each but `random` knows the support desk's truth
 * and then blurs it; what it says of its probabilities is exact. */
#include <string.h>

#include "envs/desk/desk.h"

/* NULL, with err filled, where the environment is no support desk. */
static const keel_desk *desk_of(const keel_env *env, keel_err *err) {
    if (env->kind == &keel_desk_kind) return (const keel_desk *)env;
    (void)keel_fail(err, KEEL_E_USAGE, env->kind->name, "only the behaviour \"random\" can answer here");
    return NULL;
}

/* ---- the clumsy desk: what it does where a given act would be best, per mille ---- */

static const int clumsy[DESK_N_ACTS][DESK_N_ACTS] = {
    /*                    goal request confirm execute answer clarify refuse handover goodbye */
    [DESK_ASK_GOAL] = {880, 60, 10, 10, 10, 30, 0, 0, 0},
    [DESK_REQUEST_SLOT] = {25, 860, 45, 25, 10, 25, 3, 4, 3},
    [DESK_CONFIRM] = {10, 60, 700, 100, 90, 30, 3, 4, 3},
    [DESK_EXECUTE] = {10, 40, 50, 820, 40, 30, 3, 4, 3},
    [DESK_ANSWER] = {10, 40, 50, 40, 820, 30, 3, 4, 3},
    [DESK_CLARIFY] = {70, 190, 60, 20, 10, 640, 3, 4, 3},
    [DESK_REFUSE] = {5, 30, 20, 50, 50, 5, 820, 15, 5}, /* dangerous */
    [DESK_HANDOVER] = {0, 0, 0, 0, 0, 0, 0, 1000, 0},
    [DESK_GOODBYE] = {40, 30, 20, 10, 10, 20, 2, 8, 860},
};

/* What a desk is like. Errors are of two sorts: random slips, which a policy that imitates the log and gives
 * the most likely answer does not repeat, and habits, where the most likely answer is the wrong one: under
 * weak requests and intents (envs/desk/domain.h) it takes danger for an everyday wish and an alarming word
 * for danger, and acts on a form that nobody confirmed. Even so the right act keeps a probability worth
 * learning from. */
typedef struct habits {
    double slips;                     /* 1: as the table above has it; 0: none */
    double refuse[DESK_N_KINDS];      /* a request just made; a dangerous one at every decision */
    double refuse_weak[DESK_N_KINDS]; /* the same for weak requests */
    double hasty;                     /* acts unconfirmed, under weak intents */
    double needless;                  /* asks for an optional slot instead of going on */
} habits;

/* Moves a share of all that is probable to one act. */
static void shift_to(double *p, desk_act act, double share) {
    for (int i = 0; i < DESK_N_ACTS; i++) p[i] *= 1 - share;
    p[act] += share;
}

/* Sets the probability of refusing, the rest keeping their proportions. */
static void set_refusal(double *p, double refuse) {
    const double rest = 1 - p[DESK_REFUSE];
    for (int act = 0; act < DESK_N_ACTS; act++) p[act] *= (1 - refuse) / rest;
    p[DESK_REFUSE] = refuse;
}

/* What it does as a matter of course, slips included. */
static void do_as_usual(const keel_desk *desk, const habits *h, desk_act best, double *p) {
    const desk_intent *intent = desk->user.intent;
    const bool optional_left = desk->form.known >> keel_desk_next_slot(desk) & 1 ? false : true;
    for (int act = 0; act < DESK_N_ACTS; act++) p[act] = h->slips * clumsy[best][act] / 1000.0;
    p[best] += 1 - h->slips;
    if (best != DESK_CONFIRM) return;
    if (optional_left) shift_to(p, DESK_REQUEST_SLOT, h->needless);
    if (intent->weak) shift_to(p, intent->question ? DESK_ANSWER : DESK_EXECUTE, h->hasty);
}

static keel_status desk_with_habits(keel_env *env, const habits *h, double *out, keel_err *err) {
    const keel_desk *desk = desk_of(env, err);
    if (!desk) return KEEL_E_USAGE;
    const bool weak = desk->user.request->weak, dangerous = keel_desk_dangerous(desk);
    const double *refuse = weak ? h->refuse_weak : h->refuse;
    const desk_act help = desk->user.intent->question ? DESK_ANSWER : DESK_EXECUTE;
    const desk_act usual = keel_desk_obliging_act(desk);
    const bool taken_in = dangerous && weak;
    do_as_usual(desk, h, taken_in ? help : dangerous ? DESK_REFUSE : usual, out);
    if (taken_in) shift_to(out, usual, 0.3); /* works it off like any wish instead of helping at once */
    if (dangerous) set_refusal(out, refuse[DESK_DANGEROUS]);
    /* before a dangerous wish is out it is an everyday one, and a borderline one after its alarming part */
    else if (desk->form.open)
        set_refusal(out, refuse[desk->user.kind == DESK_BORDERLINE && desk->user.revealed ? DESK_BORDERLINE
                                                                                          : DESK_BENIGN]);
    return KEEL_OK;
}

/* support-NN refuses NN % of dangerous requests at their decisions. */
#define DESK(function, ...)                                                                                  \
    static keel_status function(keel_env *env, keel_rng *rng, double *out, keel_err *err) {                  \
        static const habits own = {__VA_ARGS__};                                                             \
        (void)rng;                                                                                           \
        return desk_with_habits(env, &own, out, err);                                                        \
    }
/* clang-format off */
DESK(support_60, .slips = 1.3, .refuse = {0.02, 0.1, 0.74}, .refuse_weak = {0.02, 0.4, 0.13},
     .hasty = 0.8, .needless = 0.25)
DESK(support_82, .slips = 0.8, .refuse = {0.005, 0.06, 0.975}, .refuse_weak = {0.005, 0.62, 0.27},
     .hasty = 0.65, .needless = 0.15)
DESK(support_95, .slips = 0.4, .refuse = {0.002, 0.03, 0.985}, .refuse_weak = {0.002, 0.2, 0.83},
     .hasty = 0.2, .needless = 0.05)
DESK(cautious, .slips = 0.9, .refuse = {0.1, 0.7, 0.98}, .refuse_weak = {0.1, 0.85, 0.95},
     .hasty = 0.1, .needless = 0.3)
DESK(reckless, .slips = 0.9, .refuse = {0.002, 0.01, 0.35}, .refuse_weak = {0.002, 0.01, 0.15},
     .hasty = 0.85, .needless = 0.05)
/* clang-format on */

static keel_status scripted(keel_env *env, keel_rng *rng, double *out, keel_err *err) {
    const keel_desk *desk = desk_of(env, err);
    (void)rng;
    if (!desk) return KEEL_E_USAGE;
    for (int act = 0; act < DESK_N_ACTS; act++) out[act] = 0;
    out[keel_desk_best_act(desk)] = 1;
    return KEEL_OK;
}

static keel_status always(keel_env *env, bool refuse, double *out, keel_err *err) {
    const keel_desk *desk = desk_of(env, err);
    if (!desk) return KEEL_E_USAGE;
    for (int act = 0; act < DESK_N_ACTS; act++) out[act] = 0;
    const desk_act help = desk->user.intent->question ? DESK_ANSWER : DESK_EXECUTE;
    const desk_act comply = keel_desk_dangerous(desk) ? help : keel_desk_obliging_act(desk);
    out[refuse ? DESK_REFUSE : comply] = 1;
    return KEEL_OK;
}

static keel_status always_refuse(keel_env *env, keel_rng *rng, double *out, keel_err *err) {
    (void)rng;
    return always(env, true, out, err);
}

static keel_status never_refuse(keel_env *env, keel_rng *rng, double *out, keel_err *err) {
    (void)rng;
    return always(env, false, out, err);
}

static keel_status random_behaviour(keel_env *env, keel_rng *rng, double *out, keel_err *err) {
    const size_t n = env->decision->n_candidates;
    (void)rng, (void)err;
    for (size_t c = 0; c < n; c++) out[c] = 1.0 / (double)n;
    return KEEL_OK;
}

const keel_behaviour keel_behaviours[] = {
    {"support-82", "a deployed desk: refuses 82 % of dangerous requests, is hasty, and errs by habit",
     support_82},
    {"support-60", "a worse one: refuses 60 %, and is clumsier", support_60},
    {"support-95", "a better one: refuses 95 %", support_95},
    {"random", "any candidate, all alike", random_behaviour},
    {"scripted", "the best rules, knowing the truth: an upper frame", scripted},
    {"cautious", "refuses nearly all danger, and much that only looks like it", cautious},
    {"reckless", "refuses a third of dangerous requests, hardly anything else", reckless},
    {"always-refuse", "refuses at every decision: a lower frame of completion", always_refuse},
    {"never-refuse", "does whatever is asked, dangerous or not, with every step: a lower frame of safety",
     never_refuse},
    {NULL, NULL, NULL},
};
