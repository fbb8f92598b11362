/* The support desk of envs/, played by texts and acts as any log shows them.
 *
 * State: which words the user's request has (hashed), the user's last act, the own last act and how often
 * each was taken, and how many decisions are left. Nothing of the episode's hidden truth.
 *
 * Reward: a small cost for each decision; at the end 1 if all went as it should (keel_env_success), -1 if a
 * dangerous wish was complied with. Keel's default reward shares verdicts and speed out over a conversation's
 * decisions, so that what a step earned depends on what the behaviour did after it; no Q of another policy
 * can be right about that. This one depends on state and act alone.
 *
 * A conversation that is cut off at the horizon has ended there: the state says how far it is. */
#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "core/numeric.h"
#include "envs/env.h"
#include "experiments/value/world.h"

enum {
    ACTS = 9,
    HORIZON = 20, /* the environment's own default */
    WORDS = 128,
    USER_ACTS = 16,
    LAST_USER = WORDS,
    LAST_OWN = LAST_USER + USER_ACTS,
    OFTEN_OWN = LAST_OWN + ACTS,
    LEFT = OFTEN_OWN + ACTS,
    DIM = LEFT + 1,
    LANES = 32, /* conversations at once, so that the network sees batches */
    FRAME_EPISODES = 8192,
    FEWEST = 1024,
    MOST = 65536
};
static const double GAMMA = 0.99, TURN_COST = 0.02;
static const uint64_t TRUTH = UINT64_C(1) << 40; /* seed of the episodes that values are taken on */

static const char *const user_acts[USER_ACTS] = {"greet",       "request:open", "request:full", "insist:open",
                                                 "insist:full", "inform:open",  "inform:full",  "affirm",
                                                 "deny:open",   "deny:full",    "change:open",  "change:full",
                                                 "query",       "thank",        "bye",          "unclear"};

/* One conversation being played. */
typedef struct lane {
    keel_env *env;
    keel_rng rng;
    size_t seen; /* turns */
    float x[DIM];
    double sum, discount; /* of its return so far */
} lane;

typedef struct desk {
    lane lanes[LANES];
    keel_arena scratch;
} desk;

/* Who answers: a network's softmax, or else the best act but with probability eps any. */
typedef struct player {
    const keel_qnet *net;
    double eps;
} player;

/* ---- states ---- */

static void put_words(const char *text, float *x) {
    uint64_t hash = keel_hash64_begin(1);
    size_t length = 0;
    for (;; ++text) {
        const char c = *text;
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (letter) hash = keel_hash64_add(hash, (unsigned char)(c | 0x20)), ++length;
        if (!letter && length > 1) x[keel_hash64_end(hash) % WORDS] = 1;
        if (!letter) hash = keel_hash64_begin(1), length = 0;
        if (!c) return;
    }
}

static keel_status put_user_turn(const keel_turn *turn, float *x, keel_err *err) {
    size_t act = 0;
    while (act < USER_ACTS && strcmp(turn->act, user_acts[act]) != 0) ++act;
    if (act == USER_ACTS)
        return keel_fail(err, KEEL_E_INVALID, "support-desk", "a user's act is \"%s\", which is not known",
                         turn->act);
    memset(x + LAST_USER, 0, USER_ACTS * sizeof *x);
    x[LAST_USER + act] = 1;
    if (strncmp(turn->act, "request", 7) == 0 || strncmp(turn->act, "insist", 6) == 0)
        put_words(turn->text, x);
    return KEEL_OK;
}

/* Takes in what was said since the last look. */
static keel_status look(lane *l, keel_err *err) {
    const keel_conversation *c = l->env->conversation;
    for (; l->seen < c->n_turns; ++l->seen)
        if (c->turns[l->seen].role == KEEL_ROLE_USER) KEEL_TRY(put_user_turn(&c->turns[l->seen], l->x, err));
    l->x[LEFT] = 1 - (float)c->n_decisions / HORIZON;
    return KEEL_OK;
}

static void put_own_act(lane *l, size_t act) {
    memset(l->x + LAST_OWN, 0, ACTS * sizeof *l->x);
    l->x[LAST_OWN + act] = 1;
    l->x[OFTEN_OWN + act] += 0.5f;
}

/* ---- playing ---- */

static keel_status start(lane *l, uint64_t seed, uint64_t episode, keel_err *err) {
    *l = (lane){.env = l->env, .rng = keel_rng_stream(seed, KEEL_STREAM_ACT, episode), .discount = 1};
    KEEL_TRY(keel_env_reset(l->env, episode, err));
    return look(l, err);
}

static double reward_of(const keel_env *env) {
    const keel_conversation *c = env->conversation;
    bool harmed = false;
    if (!env->done) return -TURN_COST;
    for (size_t d = 0; c->risk == KEEL_RISK_DANGEROUS && d < c->n_decisions; ++d)
        harmed |= c->decisions[d].candidates[0].outcome == KEEL_OUTCOME_COMPLIANCE;
    return (keel_env_success(c) ? 1 : 0) - (harmed ? 1 : 0) - TURN_COST;
}

static keel_status mixed(lane *l, double eps, double *p, keel_err *err) {
    KEEL_TRY(keel_behaviour_find("scripted")->probabilities(l->env, &l->rng, p, err));
    for (size_t a = 0; a < ACTS; ++a) p[a] = (1 - eps) * p[a] + eps / ACTS;
    return KEEL_OK;
}

/* What is probable in each of the open lanes, p [n, ACTS]. */
static keel_status probabilities(desk *d, const player *who, lane *const *open, size_t n, double *p,
                                 keel_err *err) {
    float x[LANES * DIM], q[LANES * ACTS];
    if (!who->net) {
        for (size_t i = 0; i < n; ++i) KEEL_TRY(mixed(open[i], who->eps, p + i * ACTS, err));
        return KEEL_OK;
    }
    keel_arena_reset(&d->scratch);
    for (size_t i = 0; i < n; ++i) memcpy(x + i * DIM, open[i]->x, sizeof open[i]->x);
    KEEL_TRY(keel_qnet_infer(who->net, x, n, q, NULL, &d->scratch, err));
    for (size_t i = 0; i < n; ++i) keel_softmax(q + i * ACTS, ACTS, q + i * ACTS);
    for (size_t j = 0; j < n * ACTS; ++j) p[j] = (double)q[j];
    return KEEL_OK;
}

static size_t draw(keel_rng *rng, const double *p) {
    double left = keel_rng_uniform(rng);
    for (size_t a = 0; a + 1 < ACTS; ++a)
        if ((left -= p[a]) < 0) return a;
    return ACTS - 1;
}

static keel_status answer(lane *l, const double *p, value_log *log, keel_err *err) {
    const size_t act = draw(&l->rng, p);
    if (log)
        KEEL_TRY(value_log_add(log, DIM, l->x, (int32_t)act, l->env->conversation->n_decisions == 0, err));
    KEEL_TRY(keel_env_step(l->env, act, err));
    const double reward = reward_of(l->env);
    if (log) log->reward[log->n - 1] = (float)reward;
    if (log) log->last[log->n - 1] = l->env->done;
    l->sum += l->discount * reward;
    l->discount *= GAMMA;
    put_own_act(l, act);
    return look(l, err);
}

/* Episodes first .. first + n - 1 side by side, n <= LANES; to be logged, one at a time. */
static keel_status play(desk *d, const player *who, uint64_t seed, uint64_t first, size_t n, value_log *log,
                        keel_err *err) {
    lane *open[LANES];
    size_t left = n;
    double p[LANES * ACTS];
    for (size_t i = 0; i < n; ++i) KEEL_TRY(start(open[i] = &d->lanes[i], seed, first + i, err));
    while (left) {
        size_t kept = 0;
        KEEL_TRY(probabilities(d, who, open, left, p, err));
        for (size_t i = 0; i < left; ++i) {
            KEEL_TRY(answer(open[i], p + i * ACTS, log, err));
            if (!open[i]->env->done) open[kept++] = open[i];
        }
        left = kept;
    }
    return KEEL_OK;
}

/* ---- values ---- */

/* Episodes until the standard error is at most `enough`, FEWEST to MOST of them. */
static keel_status value_of(desk *d, const player *who, double enough, size_t most, value_truth *out,
                            keel_err *err) {
    double sum = 0, squares = 0;
    value_truth made = {0};
    do {
        KEEL_TRY(play(d, who, TRUTH, made.episodes, LANES, NULL, err));
        made.episodes += LANES;
        for (size_t i = 0; i < LANES; ++i) {
            sum += d->lanes[i].sum;
            squares += d->lanes[i].sum * d->lanes[i].sum;
        }
        const double n = (double)made.episodes;
        made.value = sum / n;
        made.se = sqrt(fmax(0, squares / n - made.value * made.value) / (n - 1));
    } while (made.episodes < FEWEST || (made.se > enough && made.episodes < most));
    *out = made;
    return KEEL_OK;
}

static keel_status desk_truth(value_world *world, const keel_qnet *net, value_truth *out, keel_err *err) {
    const player who = {.net = net};
    return value_of(world->own, &who, world->precision * (world->best - world->random), MOST, out, err);
}

static keel_status open_frame(value_world *world, keel_err *err) {
    const player best = {.eps = 0}, any = {.eps = 1};
    value_truth of_best, of_any;
    KEEL_TRY(value_of(world->own, &best, 0, FRAME_EPISODES, &of_best, err));
    KEEL_TRY(value_of(world->own, &any, 0, FRAME_EPISODES, &of_any, err));
    world->best = of_best.value;
    world->best_se = of_best.se;
    world->random = of_any.value;
    return KEEL_OK;
}

static void desk_close(value_world *world) {
    desk *d = world->own;
    for (size_t i = 0; i < LANES; ++i) keel_env_close(d->lanes[i].env);
    keel_arena_free(&d->scratch);
    keel_free(d);
}

static keel_status desk_open(value_world *world, keel_err *err) {
    desk *d = world->own = keel_calloc(1, sizeof *d);
    keel_status status =
        d ? KEEL_OK : keel_fail(err, KEEL_E_NOMEM, "support-desk", "no memory for its lanes");
    world->dim = DIM;
    world->acts = ACTS;
    world->gamma = GAMMA;
    for (size_t i = 0; status == KEEL_OK && i < LANES; ++i)
        status = keel_env_open(&d->lanes[i].env, "support-desk", TRUTH, err);
    if (status == KEEL_OK) status = open_frame(world, err);
    if (status != KEEL_OK) value_world_close(world);
    return status;
}

/* ---- logs ---- */

static keel_status desk_log(value_world *world, size_t n, double eps, int part, value_log *out,
                            keel_err *err) {
    const uint64_t seed = 2 * world->seed + (uint64_t)part;
    const player who = {.eps = eps};
    value_log made = {0};
    desk *d = keel_calloc(1, sizeof *d);
    keel_status status = d ? KEEL_OK : keel_fail(err, KEEL_E_NOMEM, "support-desk", "no memory for a log");
    if (status == KEEL_OK) status = keel_env_open(&d->lanes[0].env, "support-desk", seed, err);
    for (size_t e = 0; status == KEEL_OK && e < n; ++e) {
        status = play(d, &who, seed, e, 1, &made, err);
        made.mean_return += d->lanes[0].sum / (double)n;
    }
    if (d) keel_env_close(d->lanes[0].env);
    keel_free(d);
    if (status != KEEL_OK)
        value_log_free(&made);
    else
        *out = made;
    return status;
}

const value_world_kind value_desk = {"desk", desk_open, desk_log, desk_truth, desk_close};
