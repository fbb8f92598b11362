/* What the log and the rules say of a conversation, and how it enters the sums. */
#include <math.h>

#include "rl/judge/answer.h"
#include "rl/judge/overall_internal.h"

static keel_overall_stratum stratum_of(const keel_conversation *conversation) {
    if (keel_answer_alone(conversation)) return KEEL_OVERALL_ALONE;
    return conversation->risk == KEEL_RISK_DANGEROUS ? KEEL_OVERALL_DANGEROUS : KEEL_OVERALL_OTHER;
}

static void put_range(double low, double high, overall_facts *facts, int k) {
    facts->low[k] = facts->end[k][0] = low;
    facts->high[k] = facts->end[k][1] = high;
}

/* The least and the most that rules give an answer of this risk. */
static void read_accuracy(const keel_reward_view *log, bool verdicts, overall_facts *facts) {
    const keel_conversation *conversation = log->conversation;
    const keel_reward_config *c = log->config;
    const bool dangerous = conversation->risk == KEEL_RISK_DANGEROUS;
    const double *range = keel_reward_range(KEEL_ACCURACY);
    const double a = dangerous ? c->dangerous_refusal : c->benign_compliance,
                 b = dangerous ? c->dangerous_partial : c->benign_partial,
                 d = dangerous ? c->dangerous_compliance : c->benign_refusal;
    if (verdicts || conversation->risk == KEEL_RISK_UNKNOWN)
        put_range(range[0], range[1], facts, KEEL_ACCURACY);
    else if (conversation->completed != KEEL_UNKNOWN && !dangerous)
        put_range(0, 1, facts, KEEL_ACCURACY);
    else
        put_range(fmin(a, fmin(b, d)), fmax(a, fmax(b, d)), facts, KEEL_ACCURACY);
}

static void read_safety(const keel_reward_view *log, bool verdicts, overall_facts *facts) {
    const keel_conversation *conversation = log->conversation;
    const double *range = keel_reward_range(KEEL_SAFETY), most = verdicts ? range[1] : 0;
    const double least = fmin(log->config->harm_compliance, log->config->harm_partial);
    if (verdicts || conversation->risk == KEEL_RISK_UNKNOWN)
        put_range(range[0], most, facts, KEEL_SAFETY);
    else if (conversation->risk == KEEL_RISK_DANGEROUS)
        put_range(fmin(least, 0), most, facts, KEEL_SAFETY);
    else
        put_range(0, 0, facts, KEEL_SAFETY);
    facts->low[KEEL_SAFETY] *= (double)(log->answered > 1 ? log->answered : 1);
}

overall_facts keel__overall_read_facts(const double weight[KEEL_N_REWARDS], const keel_reward_view *log) {
    const keel_conversation *conversation = log->conversation;
    overall_facts facts = {.answered = log->answered, .stratum = stratum_of(conversation)};
    bool verdicts = false, safeties = false, speeds = false;
    for (size_t d = 0; d < conversation->n_decisions; ++d)
        for (size_t c = 0; c < conversation->decisions[d].n_candidates; ++c) {
            const keel_candidate *one = &conversation->decisions[d].candidates[c];
            verdicts |= one->feedback.present || one->logged_reward.present[KEEL_ACCURACY];
            safeties |= one->logged_reward.present[KEEL_SAFETY];
            speeds |= one->logged_reward.present[KEEL_SPEED];
            if (!one->taken) continue;
            facts.cases += one->outcome != KEEL_OUTCOME_NONE;
            const keel_reward reward = keel_answer_reward(log, d, c);
            for (int k = 0; k < KEEL_N_REWARDS; ++k) facts.logged[k] |= reward.present[k];
        }
    /* Once a danger is seen every answer is judged, and there may be as many as decisions. */
    if (facts.stratum == KEEL_OVERALL_DANGEROUS) facts.cases = log->answered;
    read_accuracy(log, verdicts, &facts);
    read_safety(log, safeties, &facts);
    const double *range = keel_reward_range(KEEL_SPEED), answers = (double)log->answered;
    put_range(speeds              ? range[0]
              : log->answered > 1 ? fmax(range[0], -answers * log->config->turn_cost)
                                  : 0,
              range[1], &facts, KEEL_SPEED);
    const bool risk = conversation->risk != KEEL_RISK_UNKNOWN;
    double all = 0, here = 0;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) {
        facts.applies[k] = facts.logged[k] || (risk && k != KEEL_SPEED);
        all += weight[k];
        here += facts.applies[k] ? weight[k] : 0;
    }
    for (int k = 0; k < KEEL_N_REWARDS; ++k)
        facts.share[k] = facts.applies[k] && here > 0 ? weight[k] * all / here : 0;
    return facts;
}

/* ---- into the sums ---- */

double keel__overall_doubly_robust(double v, bool agrees, double odds, double reward, double q) {
    return v + (agrees ? odds * (reward - q) : 0);
}

overall_part keel__overall_sure(const overall_facts *facts, double value) {
    return (overall_part){value, value, value, value, KEEL_OVERALL_KNOWN, facts->stratum, 1};
}

overall_part keel__overall_open_part(const overall_facts *facts, int k) {
    return (overall_part){.low = facts->low[k],
                          .high = facts->high[k],
                          .least = facts->low[k],
                          .most = facts->high[k],
                          .source = KEEL_OVERALL_UNKNOWN,
                          .stratum = facts->stratum};
}

/* What a value can be: if nothing is known, if nothing estimated is, by one answer. */
typedef struct reach {
    double floor, ceiling, worst, best, end[2];
} reach;

static reach reach_of(const overall_facts *facts, const overall_part *part, int k) {
    const bool estimated = part->stratum != KEEL_OVERALL_ALONE;
    /* How fast answers are is seen; the ends of its range would say nothing. */
    const bool ends = k != KEEL_SPEED;
    return (reach){.floor = facts->low[k],
                   .ceiling = facts->high[k],
                   .worst = estimated ? facts->low[k] : part->low,
                   .best = estimated ? facts->high[k] : part->high,
                   .end = {ends ? facts->end[k][0] : part->low, ends ? facts->end[k][1] : part->high}};
}

static void add_reach(reach *sum, double share, const reach *one) {
    sum->floor += share * one->floor;
    sum->ceiling += share * one->ceiling;
    sum->worst += share * one->worst;
    sum->best += share * one->best;
    for (int i = 0; i < 2; ++i) sum->end[i] += share * one->end[i];
}

/* The sum's source and stratum are those of what is known least. */
static void add_part(overall_part *sum, double share, const overall_part *one) {
    sum->low += share * one->low;
    sum->high += share * one->high;
    sum->least += share * one->least;
    sum->most += share * one->most;
    if (!(share > 0)) return;
    if (one->source > sum->source) sum->source = one->source;
    if (one->stratum > sum->stratum) sum->stratum = one->stratum, sum->weight = one->weight;
    if (one->stratum == sum->stratum && one->weight < sum->weight) sum->weight = one->weight;
}

static keel_status put(keel_overall_sums *sums, size_t number, keel_overall_measure m,
                       const overall_facts *facts, const overall_part *one, const reach *range, double part,
                       keel_err *err) {
    const keel_overall_value value = {.low = part * one->low,
                                      .high = part * one->high,
                                      .least = part * one->least,
                                      .most = part * one->most,
                                      .count = part,
                                      .floor = part * range->floor,
                                      .ceiling = part * range->ceiling,
                                      .worst = part * range->worst,
                                      .best = part * range->best,
                                      .end = {range->end[0], range->end[1]},
                                      .part = part,
                                      .largest = 1,
                                      .longest = (double)facts->answered,
                                      .weight = part * one->weight,
                                      .source = one->source,
                                      .stratum = one->stratum};
    return keel_overall_sums_add(sums, number, m, &value, err);
}

keel_status keel__overall_put(keel_overall_sums *sums, size_t number, const overall_facts *facts,
                              const overall_part *parts, double composite, double known, double part,
                              keel_err *err) {
    overall_part sum = {.weight = 1, .stratum = KEEL_OVERALL_ALONE};
    reach range = {0};
    double shares = 0;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) {
        if (!facts->applies[k]) continue;
        const reach own = reach_of(facts, &parts[k], k);
        KEEL_TRY(put(sums, number, KEEL_OVERALL_ACCURACY + (keel_overall_measure)k, facts, &parts[k], &own,
                     part, err));
        add_part(&sum, facts->share[k], &parts[k]);
        add_reach(&range, facts->share[k], &own);
        shares += facts->share[k];
    }
    if (!(shares > 0)) return KEEL_OK;
    if (sum.source != KEEL_OVERALL_UNKNOWN && !isnan(composite)) sum.low = sum.high = composite;
    if (sum.source == KEEL_OVERALL_KNOWN && !isnan(known)) sum.least = sum.most = known;
    return put(sums, number, KEEL_OVERALL_COMPOSITE, facts, &sum, &range, part, err);
}

/* Hits of so many cases, known. */
keel_status keel__overall_put_cases(keel_overall_sums *sums, size_t number, keel_overall_measure m,
                                    const overall_facts *facts, double hits, double cases, keel_err *err) {
    const keel_overall_value value = {.low = hits,
                                      .high = hits,
                                      .count = cases,
                                      .end = {0, 1},
                                      .part = 1,
                                      .largest = cases,
                                      .longest = (double)facts->answered,
                                      .weight = 1,
                                      .source = KEEL_OVERALL_KNOWN,
                                      .stratum = facts->stratum};
    return keel_overall_sums_add(sums, number, m, &value, err);
}
