#include "rl/judge/exchange.h"

#include <string.h>

#include "rl/judge/evaluate_internal.h"
#include "rl/judge/metric_sums.h"
#include "rl/judge/overall_sums.h"

/* Choices of one side, decision by decision, in the order of the walk. */
typedef struct choices {
    int32_t *chosen; /* -1: nothing to choose */
    size_t n, room;
} choices;

typedef struct side {
    keel_overall_sums earned;
    keel_metric_sums rates;
    choices of;
    const choices *before; /* of the other side; NULL: this is the first */
    keel_rate same;
} side;

static keel_status look(void *context, const keel_evaluate_seen *seen, keel_err *err) {
    side *s = context;
    const size_t n = seen->conversation->n_decisions;
    if (!seen->item) return KEEL_OK;
    if (!keel_grow(&s->of.chosen, s->of.n + n, &s->of.room, sizeof *s->of.chosen))
        return keel_nomem(err, "evaluation");
    for (size_t d = 0; d < n; d++) {
        const keel_choice *choice = &seen->policy[d];
        const size_t at = s->of.n++;
        s->of.chosen[at] = choice->n ? (int32_t)choice->chosen : -1;
        if (s->before && choice->n && at < s->before->n)
            keel_rate_count(&s->same, s->of.chosen[at] == s->before->chosen[at]);
    }
    keel_rate_end(&s->same);
    return KEEL_OK;
}

static keel_status evaluate(keel_store *store, const keel_evaluate_item *item,
                            const keel_evaluate_config *config, keel_pool *pool, side *s,
                            keel_evaluation *out, keel_err *err) {
    keel_evaluate_config own = *config;
    keel_evaluation_set set = {0};
    own.look = look;
    own.look_context = s;
    own.policy_sums = &s->earned;
    own.policy_rates = &s->rates;
    KEEL_TRY(keel_evaluate(store, item, 1, &own, pool, &set, err));
    *out = set.policy;
    keel_evaluation_set_free(&set);
    return KEEL_OK;
}

/* ---- differences ---- */

static keel_status compare(const side *sides, const keel_evaluate_config *config, keel_pool *pool,
                           keel_exchange *out, keel_err *err) {
    static const char *const names[] = {"after", "before"};
    const keel_metric_sums *const rates[] = {&sides[KEEL_EXCHANGE_AFTER].rates,
                                             &sides[KEEL_EXCHANGE_BEFORE].rates};
    const double confidence = config->confidence > 0 ? config->confidence : 0.95;
    keel_evaluation ignored[KEEL_N_EXCHANGE];
    KEEL_TRY(keel_metric_sums_close(rates, names, KEEL_N_EXCHANGE, config, pool, ignored, &out->minus, err));
    keel__evaluation_put_exchange(&sides[KEEL_EXCHANGE_AFTER].earned, &sides[KEEL_EXCHANGE_BEFORE].earned,
                                  &out->side[KEEL_EXCHANGE_AFTER], confidence, out->minus);
    out->same = keel_rate_interval(&sides[KEEL_EXCHANGE_AFTER].same, confidence);
    return KEEL_OK;
}

static void free_side(side *s) {
    keel_overall_sums_free(&s->earned);
    keel_metric_sums_free(&s->rates);
    keel_free(s->of.chosen);
}

keel_status keel_exchange_evaluate(keel_store *store, const keel_evaluate_item *items,
                                   const keel_evaluate_config *config, keel_pool *pool, keel_exchange *out,
                                   keel_err *err) {
    side sides[KEEL_N_EXCHANGE] = {0};
    keel_status status = KEEL_OK;
    *out = (keel_exchange){0};
    if (strcmp(items[0].split.text, items[1].split.text) != 0 ||
        items[0].base->space != items[1].base->space || items[0].base->n_acts != items[1].base->n_acts)
        return keel_fail(err, KEEL_E_USAGE, "evaluation",
                         "two policies over different actions or conversations");
    for (int i = 0; i < KEEL_N_EXCHANGE && status == KEEL_OK; i++) {
        sides[i].before = i ? &sides[KEEL_EXCHANGE_BEFORE].of : NULL;
        status = evaluate(store, &items[i], config, pool, &sides[i], &out->side[i], err);
    }
    if (status == KEEL_OK) status = compare(sides, config, pool, out, err);
    for (int i = 0; i < KEEL_N_EXCHANGE; i++) free_side(&sides[i]);
    return status;
}
