#include "experiments/learn/learn_round.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "datasets/store_policies.h"
#include "datasets/stratify.h"
#include "experiments/learn/learn_internal.h"

typedef struct doing {
    const keel_learn *learn;
    keel_arena *arena;
    keel_learned *out;
    keel__learn_place place, before; /* before.folder NULL: the first round */
    keel__learn_base base;
    const keel_publication *served; /* NULL: nothing is published */
    const char *why;                /* no policy could be trained; or NULL */
    bool gates_met, refuted;        /* the log's propensities (rl/judge/ope.h) */
    const char *missed;             /* what the first gate that is not met says; NULL: nothing */
} doing;

/* ---- the snapshot ---- */

/* A moment of a snapshot that was made before the round was cut off is that of its file. */
static keel_status describe_snapshot(doing *work, keel_err *err) {
    keel_round *round = &work->out->round;
    keel_store *store = NULL;
    char content[65];
    size_t n = 0;
    keel_status status = keel_store_open(&store, work->place.snapshot, KEEL_STORE_READ, err);
    if (status == KEEL_OK) status = keel_store_content_hash(store, NULL, content, err);
    if (status == KEEL_OK) status = keel_store_count_conversations(store, NULL, &n, err);
    if (status == KEEL_OK)
        status = keel_store_reached(store, work->arena, &round->offsets, &round->served, err);
    keel_store_close(store);
    KEEL_TRY(status);
    round->snapshot = work->place.snapshot;
    round->content = keel_arena_strdup(work->arena, content);
    round->conversations = (int64_t)n;
    return round->content ? KEEL_OK : keel_nomem(err, "a round");
}

/* *new: there is something that the last round did not have. */
static keel_status take_snapshot(doing *work, const keel_round *last, bool *new, keel_err *err) {
    char content[65];
    *new = true;
    if (keel_file_exists(work->place.snapshot)) return describe_snapshot(work, err);
    KEEL_TRY(keel_stratify(work->learn->store, err));
    KEEL_TRY(keel_store_content_hash(work->learn->store, NULL, content, err));
    *new = !last || strcmp(content, last->content) != 0;
    if (!*new) return KEEL_OK;
    KEEL_TRY(keel_folder_make(work->place.folder, err));
    KEEL_TRY(keel_store_snapshot(work->learn->store, work->place.snapshot, err));
    return describe_snapshot(work, err);
}

/* ---- training and judging ---- */

/* The k-th round has the share 6/(pi k)^2 of the error: all shares sum to the whole. */
static double confidence_of(const keel_learn *learn, int64_t round) {
    static const double sum_of_shares = 1.6449340668482264; /* of 1/k^2: pi^2 / 6 */
    return 1 - 2 * learn->error / (sum_of_shares * (double)round * (double)round);
}

static void say_judging(const doing *work, keel_chain *chain) {
    const keel_learn *learn = work->learn;
    KEEL_CHAIN_SAY(chain, "--", "eval", "--policy", "${out}/policy", "--base", "${out}/base", "--split",
                   learn->test);
    for (size_t i = 0; i < learn->n_gates; i++) KEEL_CHAIN_SAY(chain, "--gate", learn->gates[i]);
}

static keel_status run_chain(doing *work, keel_err *err) {
    char seed[32];
    keel_chain chain = {0};
    keel_err gate = {0}, failed = {0};
    const keel_learn *learn = work->learn;
    const keel_chain_place place = keel__learn_chain_place(learn, &work->place, work->arena);
    snprintf(seed, sizeof seed, "%lld", (long long)work->out->round.seed);
    keel__learn_say_training(learn, work->out->labelled, !work->base.dir, seed, &chain);
    say_judging(work, &chain);
    const keel_status status = keel_chain_run(&chain, &place, &gate, &failed);
    work->gates_met = gate.code == KEEL_OK;
    if (status == KEEL_E_GATE || status == KEEL_E_DIVERGED) {
        work->why = keel_arena_strdup(work->arena, failed.message);
        return work->why ? KEEL_OK : keel_nomem(err, "a round");
    }
    if (status != KEEL_OK && err) *err = failed;
    return status;
}

static keel_status print_json(const cJSON *json, keel_arena *arena, const char **out, keel_err *err) {
    keel_buf text = {0};
    keel_status status = keel_json_print(json, false, &text, err);
    *out = status == KEEL_OK ? keel_arena_strdup(arena, text.data) : NULL;
    keel_buf_free(&text);
    return status == KEEL_OK && !*out ? keel_nomem(err, "a round") : status;
}

static keel_status find_missed(doing *work, const cJSON *gates, keel_err *err) {
    const cJSON *gate;
    cJSON_ArrayForEach (gate, gates) {
        const char *text = cJSON_GetStringValue(keel_json_get(gate, "text"));
        if (!text || cJSON_IsTrue(keel_json_get(gate, "met"))) continue;
        work->missed = keel_arena_strdup(work->arena, text);
        return work->missed ? KEEL_OK : keel_nomem(err, "a round");
    }
    return KEEL_OK;
}

/* What the gates measured, and the comparison with what is published. */
static keel_status read_results(doing *work, keel_err *err) {
    const keel_learn *learn = work->learn;
    const keel_chain_place place = keel__learn_chain_place(learn, &work->place, work->arena);
    cJSON *evaluation = NULL;
    KEEL_TRY(keel_chain_result(&place, "eval", &evaluation, err));
    const cJSON *gates = keel_json_get(evaluation, "gates");
    keel_status status = print_json(gates, work->arena, &work->out->round.gates, err);
    if (status == KEEL_OK) status = find_missed(work, gates, err);
    const cJSON *ope = keel_json_get(keel_json_get(evaluation, "policy"), "ope");
    work->refuted = cJSON_IsTrue(keel_json_get(ope, "propensities_refuted"));
    cJSON_Delete(evaluation);
    if (status != KEEL_OK || !work->served) return status;
    return keel__learn_compare(&(keel__learn_comparison){.store = work->place.work,
                                                         .split = learn->test,
                                                         .policy = work->place.policy,
                                                         .published = work->served->dir,
                                                         .published_hash = work->served->policy,
                                                         .confidence = work->out->confidence,
                                                         .threads = learn->threads},
                               &work->out->low, &work->out->high, &work->out->own, err);
}

/* ---- the verdict ---- */

static keel_status say(doing *work, keel_err *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static keel_status say(doing *work, keel_err *err, const char *format, ...) {
    keel_buf text = {0};
    va_list args;
    va_start(args, format);
    keel_buf_vformat(&text, format, args);
    va_end(args);
    work->out->round.verdict = text.failed ? NULL : keel_arena_strdup(work->arena, text.data);
    keel_buf_free(&text);
    return work->out->round.verdict ? KEEL_OK : keel_nomem(err, "a round");
}

/* *good: it may be published. */
static keel_status judge(doing *work, bool *good, keel_err *err) {
    const keel_learned *out = work->out;
    *good = false;
    if (work->why) return say(work, err, "no policy: %s", work->why);
    if (!work->gates_met)
        return say(work, err, "a gate is not met: %s", work->missed ? work->missed : "see its evaluation");
    if (work->served && work->refuted)
        return say(
            work, err,
            "not shown to be better: the propensities of the log are not of its choices; see keel eval");
    *good = !work->served || (out->low.present && out->low.value > 0);
    if (!work->served)
        return say(work, err, "%s",
                   work->learn->n_gates ? "nothing is published yet, and all gates are met"
                                        : "nothing is published yet, and there are no gates");
    if (!out->low.present) return say(work, err, "it cannot be told from the published one");
    if (*good)
        return say(work, err, "better than the published one by at least %.4g a conversation",
                   out->low.value);
    return say(work, err, "not shown to be better than the published one: at least %+.4g", out->low.value);
}

/* ---- the row ---- */

/* "dir": where it is; "tuned": what it was tuned from in this round. */
static cJSON *base_json(const doing *work) {
    const keel_learn *learn = work->learn;
    cJSON *base = cJSON_CreateObject();
    cJSON_AddStringToObject(base, "dir", work->base.dir ? work->base.dir : work->place.base);
    if (work->base.hash) cJSON_AddStringToObject(base, "hash", work->base.hash);
    cJSON_AddNumberToObject(base, "conversations", (double)work->base.conversations);
    if (work->base.dir) return base;
    cJSON_AddStringToObject(base, "tuned", learn->tune);
    cJSON *sets = cJSON_AddArrayToObject(base, "set");
    for (size_t i = 0; i < learn->n_tune_sets; i++)
        keel_json_add(sets, NULL, cJSON_CreateString(learn->tune_sets[i]));
    return base;
}

static keel_status describe_config(const doing *work, const char **out, keel_err *err) {
    const keel_learn *learn = work->learn;
    cJSON *config = cJSON_CreateObject(), *sets = cJSON_AddArrayToObject(config, "set"),
          *gates = cJSON_AddArrayToObject(config, "gate");
    keel_json_add(config, "base", base_json(work));
    cJSON_AddStringToObject(config, "split", learn->split);
    cJSON_AddStringToObject(config, "test", learn->test);
    if (learn->algo) cJSON_AddStringToObject(config, "algo", learn->algo);
    if (learn->max_harm) cJSON_AddStringToObject(config, "max_harm", learn->max_harm);
    cJSON_AddBoolToObject(config, "label", work->out->labelled);
    cJSON_AddNumberToObject(config, "confidence", work->out->confidence);
    for (size_t i = 0; i < learn->n_sets; i++) keel_json_add(sets, NULL, cJSON_CreateString(learn->sets[i]));
    for (size_t i = 0; i < learn->n_gates; i++)
        keel_json_add(gates, NULL, cJSON_CreateString(learn->gates[i]));
    const keel_status status = print_json(config, work->arena, out, err);
    cJSON_Delete(config);
    return status;
}

static keel_status publish(doing *work, keel_err *err) {
    const keel_round *round = &work->out->round;
    const keel_registered_policy policy = {.hash = round->policy,
                                           .dir = work->place.policy,
                                           .base = work->base.hash,
                                           .gates = round->gates ? round->gates : "[]",
                                           .passed = work->gates_met,
                                           .at = keel_clock_wall()};
    KEEL_TRY(keel_store_put_policy(work->learn->store, &policy, err));
    if (!round->published) return KEEL_OK;
    char note[64];
    snprintf(note, sizeof note, "round %lld", (long long)round->id);
    const keel_publication publication = {.arm = work->learn->arm,
                                          .policy = round->policy,
                                          .at = policy.at,
                                          .why = KEEL_PUBLISHED_LEARN,
                                          .note = note};
    return keel_store_publish(work->learn->store, &publication, NULL, err);
}

/* What another has published meanwhile is what the policy was not compared with. */
static keel_status check_served(doing *work, keel_err *err) {
    keel_publication *served;
    keel_round *round = &work->out->round;
    KEEL_TRY(keel_store_published(work->learn->store, work->learn->arm, work->arena, &served, err));
    const int64_t id = served ? served->id : 0, seen = work->served ? work->served->id : 0;
    if (!round->published || id == seen) return KEEL_OK;
    round->published = false;
    return say(work, err,
               "not published: another publication came in between; the next round compares with it");
}

static keel_status record(doing *work, keel_err *err) {
    keel_store *store = work->learn->store;
    KEEL_TRY(keel_store_begin(store, err));
    keel_status status = check_served(work, err);
    if (status == KEEL_OK && work->out->round.policy) status = publish(work, err);
    if (status == KEEL_OK) status = keel_store_put_round(store, &work->out->round, err);
    if (status == KEEL_OK) status = keel_store_commit(store, err);
    if (status != KEEL_OK) keel_store_rollback(store);
    return status;
}

/* ---- a round ---- */

static keel_status begin(doing *work, const keel_round *rounds, size_t n, keel_err *err) {
    const keel_learn *learn = work->learn;
    keel_learned *out = work->out;
    const keel_round *last = n ? &rounds[n - 1] : NULL;
    out->round.id = last ? last->id + 1 : 1;
    out->round.seed = learn->seed + out->round.id;
    out->confidence = confidence_of(learn, out->round.id);
    KEEL_TRY(keel__learn_place_of(learn, "round", out->round.id, work->arena, &work->place, err));
    if (last) KEEL_TRY(keel__learn_place_of(learn, "round", last->id, work->arena, &work->before, err));
    keel_publication *served;
    KEEL_TRY(keel_store_published(learn->store, learn->arm, work->arena, &served, err));
    work->served = served && served->policy ? served : NULL;
    out->round.policy_before = work->served ? served->policy : NULL;
    return KEEL_OK;
}

/* The base of the round before, or that of the first round; one that too little stood behind is tuned anew.
 */
static keel_status choose_base(doing *work, const keel_round *last, keel_err *err) {
    const keel_learn *learn = work->learn;
    const cJSON *config = NULL, *base;
    double known = (double)work->out->round.conversations;
    work->base = (keel__learn_base){.dir = learn->base};
    if (last) {
        KEEL_TRY(keel_json_parse_in(work->arena, last->config, strlen(last->config), "rounds", &config, err));
        KEEL_TRY(keel_json_object(config, "base", true, &base, "rounds", err));
        KEEL_TRY(keel_json_string(base, "dir", true, &work->base.dir, "rounds", err));
        KEEL_TRY(keel_json_number(base, "conversations", true, &known, "rounds", err));
    }
    const double now_there = (double)work->out->round.conversations;
    if (learn->tune && (!work->base.dir || now_there >= learn->growth * known))
        work->base.dir = last || !learn->base ? NULL : learn->base;
    work->out->tuned = !work->base.dir;
    work->base.conversations = work->base.dir ? (int64_t)known : work->out->round.conversations;
    return work->base.dir ? keel__learn_hash(work->base.dir, "base", work->arena, &work->base.hash, err)
                          : KEEL_OK;
}

static keel_status learn_new(doing *work, const keel_round *last, keel_err *err) {
    keel_learned *out = work->out;
    bool good;
    out->round.at = keel_clock_wall();
    KEEL_TRY(choose_base(work, last, err));
    KEEL_TRY(keel__learn_prepare(&work->base, &work->place, work->place.snapshot, work->before.work,
                                 &out->carried, err));
    KEEL_TRY(keel__learn_wants_label(work->learn, work->place.work, &out->labelled, err));
    KEEL_TRY(run_chain(work, err));
    if (!work->base.hash && !work->why)
        KEEL_TRY(keel__learn_hash(work->place.base, "base", work->arena, &work->base.hash, err));
    if (!work->why)
        KEEL_TRY(keel__learn_hash(work->place.policy, "policy", work->arena, &out->round.policy, err));
    if (!work->why) KEEL_TRY(read_results(work, err));
    KEEL_TRY(judge(work, &good, err));
    out->round.published = good && work->learn->publishes;
    KEEL_TRY(describe_config(work, &out->round.config, err));
    return record(work, err);
}

/* The copy of the round before has given what it had; snapshots beyond the last so many go. */
static keel_status tidy(const doing *work, const keel_round *rounds, size_t n, keel_err *err) {
    if (work->before.folder) unlink(work->before.work);
    for (size_t i = 0; i < n; i++) {
        keel__learn_place old;
        if (rounds[i].id > work->out->round.id - work->learn->keep) continue;
        KEEL_TRY(keel__learn_place_of(work->learn, "round", rounds[i].id, work->arena, &old, err));
        unlink(old.snapshot);
    }
    return KEEL_OK;
}

keel_status keel_learn_round(const keel_learn *learn, keel_arena *arena, keel_learned *out, keel_err *err) {
    doing work = {.learn = learn, .arena = arena, .out = out};
    keel_round *rounds;
    size_t n;
    bool new;
    *out = (keel_learned){0};
    KEEL_TRY(keel_store_rounds(learn->store, arena, &rounds, &n, err));
    KEEL_TRY(begin(&work, rounds, n, err));
    KEEL_TRY(take_snapshot(&work, n ? &rounds[n - 1] : NULL, &new, err));
    if (!new) {
        out->round = (keel_round){0};
        return KEEL_OK;
    }
    out->added = out->round.conversations - (n ? rounds[n - 1].conversations : 0);
    KEEL_TRY(learn_new(&work, n ? &rounds[n - 1] : NULL, err));
    return tidy(&work, rounds, n, err);
}
