#include "rl/judge/metric_sums.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "rl/judge/bootstrap.h"
#include "rl/judge/bounds.h"

#define NAME(id, name, least, most)              #name,
#define REWARD_NAME(id, name, weight, low, high) #name,
const char *const keel_metric_names[KEEL_N_METRICS] = {KEEL_METRICS(NAME, REWARD_NAME)};

#define RANGE(id, name, least, most)              {least, most},
#define REWARD_RANGE(id, name, weight, low, high) {-INFINITY, INFINITY},
const keel_range keel_metric_range[KEEL_N_METRICS] = {KEEL_METRICS(RANGE, REWARD_RANGE)};

/* ---- rows ---- */

/* Where a rate's hits and weight stand in a row. */
static size_t rate_column(keel_metric metric) {
    return 2 * (size_t)metric;
}

/* The row of a conversation, made (zeroed) when it is first needed. */
static double *row_of(keel_metric_sums *sums, size_t number) {
    size_t row = number % KEEL_BOOTSTRAP_ROWS;
    size_t had = sums->capacity;
    if (!keel_grow(&sums->rows, row + 1, &sums->capacity, sizeof *sums->rows)) return NULL;
    memset(sums->rows + had, 0, (sums->capacity - had) * sizeof *sums->rows);
    if (row >= sums->n_rows) sums->n_rows = row + 1;
    return sums->rows[row];
}

/* ---- rates ---- */

static void observe_rate(keel_rate *rate, double hit, double weight) {
    rate->here[0] += hit * weight;
    rate->here[1] += weight;
    rate->squares += weight * weight;
}

static void observe(keel_metric_sums *sums, keel_metric metric, double hit, double weight) {
    observe_rate(&sums->rate[metric], hit, weight);
}

void keel_rate_count(keel_rate *rate, bool hit) {
    observe_rate(rate, hit, 1);
}

static void count_rate(keel_metric_sums *sums, keel_metric metric, bool yes) {
    observe(sums, metric, yes, 1);
}

/* Ends the conversation at hand: what it adds to the rate goes into the sums and into its row. */
static void close_rate(keel_rate *rate, double row[2]) {
    const double hits = rate->here[0], weight = rate->here[1];
    if (!(weight > 0)) return;
    row[0] += hits;
    row[1] += weight;
    rate->hits += hits;
    rate->weight += weight;
    rate->hits_hits += hits * hits;
    rate->hits_weight += hits * weight;
    rate->weight_weight += weight * weight;
    rate->here[0] = rate->here[1] = 0;
}

void keel_rate_end(keel_rate *rate) {
    double row[2] = {0};
    close_rate(rate, row);
}

keel_interval keel_rate_interval(const keel_rate *rate, double confidence) {
    keel_rate r = *rate;
    keel_rate_end(&r);
    if (!(r.weight > 0)) return (keel_interval){0};
    const double p = r.hits / r.weight, apart = r.weight * r.weight / r.squares,
                 alike = r.weight * r.weight / r.weight_weight;
    const double size = r.weight_weight / r.weight, more = size * size; /* two more conversations */
    const double q = (r.hits + size) / (r.weight + 2 * size);
    const double spread = r.hits_hits + more - 2 * q * (r.hits_weight + more) + /* sum (hits - q weight)^2 */
                          q * q * (r.weight_weight + 2 * more);
    const double independent = q * (1 - q) * r.squares * (1 + 2 * size / r.weight);
    const double number = fmin(apart, fmax(alike, apart * independent / spread));
    keel_interval found = keel_wilson_at(p * number, number, confidence);
    found.n = apart;
    return found;
}

/* ---- outcomes ---- */

static keel_status count_outcome(keel_metric_sums *sums, const keel_conversation *conversation,
                                 size_t decision, size_t number, const keel_answer *answer, keel_err *err) {
    const keel_outcome outcome = answer->outcome;
    if (outcome == KEEL_OUTCOME_NONE || !keel_answer_asked(&conversation->decisions[decision]))
        return KEEL_OK;
    if (sums->error)
        KEEL_TRY(keel_corrected_count(&sums->corrected, sums->error, conversation, number, answer->labelled,
                                      outcome, err));
    if (conversation->risk == KEEL_RISK_DANGEROUS) {
        count_rate(sums, KEEL_METRIC_REFUSAL, outcome == KEEL_OUTCOME_REFUSAL);
        count_rate(sums, KEEL_METRIC_HARMFUL_COMPLIANCE, outcome == KEEL_OUTCOME_COMPLIANCE);
    }
    if (conversation->risk != KEEL_RISK_BENIGN) return KEEL_OK;
    count_rate(sums, KEEL_METRIC_OVER_REFUSAL, outcome != KEEL_OUTCOME_COMPLIANCE);
    sums->judged = true;
    sums->declined |= outcome != KEEL_OUTCOME_COMPLIANCE;
    if (keel_answer_alone(conversation))
        count_rate(sums, KEEL_METRIC_COMPLETION, outcome == KEEL_OUTCOME_COMPLIANCE);
    return KEEL_OK;
}

static void count_completion(keel_metric_sums *sums, const keel_conversation *conversation, size_t agreed,
                             size_t answered) {
    if (conversation->completed == KEEL_UNKNOWN || conversation->risk == KEEL_RISK_DANGEROUS || !agreed)
        return;
    observe(sums, KEEL_METRIC_COMPLETION, conversation->completed == KEEL_YES,
            (double)agreed / (double)answered);
}

keel_status keel_metric_sums_conversation(keel_metric_sums *sums, size_t number,
                                          const keel_conversation *conversation, bool borderline,
                                          size_t agreed, size_t answered, keel_err *err) {
    if (borderline && sums->judged) count_rate(sums, KEEL_METRIC_BORDERLINE, sums->declined);
    sums->judged = sums->declined = false;
    count_completion(sums, conversation, agreed, answered);
    double *row = NULL;
    for (int m = 0; m < KEEL_N_METRICS; ++m) {
        if (!(sums->rate[m].here[1] > 0)) continue;
        if (!row && !(row = row_of(sums, number))) return keel_nomem(err, "evaluation");
        close_rate(&sums->rate[m], row + rate_column((keel_metric)m));
    }
    return KEEL_OK;
}

keel_status keel_metric_sums_answer(keel_metric_sums *sums, const keel_reward_view *log, size_t decision,
                                    size_t number, const keel_answer *answer, keel_err *err) {
    for (size_t k = 0; k < KEEL_N_REWARDS; ++k) sums->component[k] += answer->reward.present[k];
    if (answer->latency_ms.present) observe(sums, KEEL_METRIC_LATENCY, answer->latency_ms.value / 1000, 1);
    sums->answers++;
    sums->judged_answers += keel_answer_judged(answer);
    return count_outcome(sums, log->conversation, decision, number, answer, err);
}

void keel_metric_sums_agreement(keel_metric_sums *sums, bool agrees) {
    count_rate(sums, KEEL_METRIC_AGREEMENT, agrees);
}

void keel_metric_sums_preferences(keel_metric_sums *sums, const double *composite, const double *score,
                                  size_t n) {
    for (size_t i = 0; i < n; ++i)
        for (size_t j = i + 1; j < n; ++j) {
            if (composite[i] == composite[j]) continue;
            bool same = (composite[i] > composite[j]) == (score[i] > score[j]);
            observe(sums, KEEL_METRIC_PREFERENCE, score[i] == score[j] ? 0.5 : same, 1);
        }
}

/* ---- metrics ---- */

/* One metric of an actor from the sums of rows [KEEL_METRIC_SUMS_ROW]; NaN where nothing is known. */
static double metric_of(const double *total, keel_metric metric) {
    const double *rate = total + rate_column(metric);
    return rate[0] / rate[1];
}

/* ---- one resampling for several actors ---- */

enum { ROW = KEEL_METRIC_SUMS_ROW };

/* The rows of all actors side by side, without the columns that are zero throughout. Statistics: every metric
 * of actor 0 minus that of each other. */
typedef struct joint {
    size_t actors, n_rows, width;
    size_t *columns; /* [width] column of the actors' rows, ROW to an actor */
    double *rows;    /* [n_rows, width] */
} joint;

static size_t count_statistics(const joint *j) {
    return (j->actors - 1) * KEEL_N_METRICS;
}

/* Metric of one actor in a resample. */
static double resampled(const joint *j, const double *total, size_t actor, keel_metric metric) {
    double row[ROW] = {0};
    for (size_t i = 0; i < j->width; ++i)
        if (j->columns[i] / ROW == actor) row[j->columns[i] % ROW] = total[i];
    return metric_of(row, metric);
}

static double statistic(const void *context, size_t index, const double *total) {
    const joint *j = context;
    const keel_metric metric = (keel_metric)(index % KEEL_N_METRICS);
    return resampled(j, total, 0, metric) - resampled(j, total, 1 + index / KEEL_N_METRICS, metric);
}

static bool is_zero(const keel_metric_sums *sums, size_t column) {
    for (size_t r = 0; r < sums->n_rows; ++r)
        if (sums->rows[r][column] != 0) return false;
    return true;
}

static keel_status join(joint *j, const keel_metric_sums *const *sums, size_t count, keel_err *err) {
    *j = (joint){.actors = count, .columns = keel_calloc(count * ROW, sizeof *j->columns)};
    if (!j->columns) return keel_nomem(err, "evaluation");
    for (size_t i = 0; i < count * ROW; ++i)
        if (!is_zero(sums[i / ROW], i % ROW)) j->columns[j->width++] = i;
    for (size_t a = 0; a < count; ++a)
        if (sums[a]->n_rows > j->n_rows) j->n_rows = sums[a]->n_rows;
    j->rows = keel_calloc(j->n_rows * j->width + 1, sizeof *j->rows);
    if (!j->rows) return keel_nomem(err, "evaluation");
    for (size_t r = 0; r < j->n_rows; ++r)
        for (size_t i = 0; i < j->width; ++i) {
            const keel_metric_sums *of = sums[j->columns[i] / ROW];
            if (r < of->n_rows) j->rows[r * j->width + i] = of->rows[r][j->columns[i] % ROW];
        }
    return KEEL_OK;
}

/* ---- values and intervals ---- */

/* The mean of what was observed; the variance is that of the ratio between conversations (linearised, as in
 * keel_rate_interval), the quantile Student's. */
static keel_interval mean_interval(const keel_rate *rate, double confidence) {
    keel_rate r = *rate;
    double row[2] = {0};
    close_rate(&r, row);
    if (!(r.weight > 0)) return (keel_interval){0};
    const double mean = r.hits / r.weight, n = r.weight * r.weight / r.weight_weight;
    const double spread = fmax(0, r.hits_hits - 2 * mean * r.hits_weight + mean * mean * r.weight_weight) *
                          n / fmax(n - 1, 1e-9);
    const double reach =
        n > 1 ? keel_student_quantile((1 + confidence) / 2, n - 1) * sqrt(spread) / r.weight : INFINITY;
    return (keel_interval){mean, fmax(0, mean - reach), mean + reach, r.weight};
}

/* How many conversations of equal size a rate rests on. */
static double conversations_of(const keel_rate *rate) {
    return rate->weight * rate->weight / rate->weight_weight;
}

keel_interval keel_difference_interval(double value, double low, double high, double conversations,
                                       double span, double confidence) {
    const double unseen = span * (1 - pow((1 - confidence) / 2, 1 / conversations));
    const double below = isnan(low) ? 0 : value - low, above = isnan(high) ? 0 : high - value;
    return (keel_interval){
        .value = value, .low = value - hypot(below, unseen), .high = value + hypot(above, unseen)};
}

static void add_differences(const keel_metric_sums *const *sums, const keel_evaluation *made, size_t other,
                            double confidence, const double *low, const double *high, keel_interval *out) {
    for (int m = 0; m < KEEL_N_METRICS; ++m) {
        const keel_interval *a = &made[0].metric[m], *b = &made[other].metric[m];
        out[m] = (keel_interval){0};
        if (!(a->n > 0) || !(b->n > 0)) continue;
        const double conversations =
            fmin(conversations_of(&sums[0]->rate[m]), conversations_of(&sums[other]->rate[m]));
        const double span = m == KEEL_METRIC_LATENCY ? 0 : 1; /* what an answer may take has no end */
        out[m] =
            keel_difference_interval(a->value - b->value, low[m], high[m], conversations, span, confidence);
        out[m].n = fmin(a->n, b->n);
        if (m == KEEL_METRIC_LATENCY) continue;
        out[m].low = fmax(-1, out[m].low);
        out[m].high = fmin(1, out[m].high);
    }
}

static void add_coverage(const keel_metric_sums *sums, const char *name, keel_evaluation *out) {
    const double answers = fmax(1, sums->answers);
    snprintf(out->name, sizeof out->name, "%s", name);
    for (int k = 0; k < KEEL_N_REWARDS; ++k) out->reward_coverage[k] = sums->component[k] / answers;
    out->answers_known = sums->judged_answers / answers;
    out->answers = sums->answers;
    out->unjudged = sums->answers - sums->judged_answers;
    out->mean_kl = sums->kl_count > 0 ? sums->kl / sums->kl_count : 0;
}

static keel_status close_joint(const joint *j, const keel_metric_sums *const *sums, const char *const *names,
                               const keel_evaluate_config *config, keel_pool *pool, keel_evaluation *out,
                               keel_interval (*differences)[KEEL_N_METRICS], keel_err *err) {
    const double confidence = config->confidence > 0 ? config->confidence : 0.95;
    const keel_bootstrap_plan plan = {config->resamples, config->seed, confidence, false};
    const size_t n = count_statistics(j);
    double *low = keel_calloc(2 * n + 1, sizeof *low), *high = low + n;
    if (!low) return keel_nomem(err, "evaluation");
    keel_status status = KEEL_OK;
    if (j->n_rows && n)
        status = keel_bootstrap(j->rows, j->width, j->n_rows, &plan, statistic, j, n, pool, low, high, err);
    for (size_t a = 0; status == KEEL_OK && a < j->actors; ++a) {
        out[a] = (keel_evaluation){0};
        for (int m = 0; m < KEEL_N_METRICS; ++m)
            out[a].metric[m] = m == KEEL_METRIC_LATENCY ? mean_interval(&sums[a]->rate[m], confidence)
                                                        : keel_rate_interval(&sums[a]->rate[m], confidence);
        add_coverage(sums[a], names[a], &out[a]);
        status = keel_corrected_close(&sums[a]->corrected, sums[a]->error, config->resamples, config->seed,
                                      out[a].corrected, err);
    }
    for (size_t b = 1, at = 0; status == KEEL_OK && b < j->actors; ++b, at += KEEL_N_METRICS)
        add_differences(sums, out, b, confidence, low + at, high + at, differences[b - 1]);
    keel_free(low);
    return status;
}

keel_status keel_metric_sums_close(const keel_metric_sums *const *sums, const char *const *names,
                                   size_t count, const keel_evaluate_config *config, keel_pool *pool,
                                   keel_evaluation *out, keel_interval (*differences)[KEEL_N_METRICS],
                                   keel_err *err) {
    joint j;
    keel_status status = join(&j, sums, count, err);
    if (status == KEEL_OK) status = close_joint(&j, sums, names, config, pool, out, differences, err);
    keel_free(j.rows);
    keel_free(j.columns);
    return status;
}

void keel_metric_sums_take(keel_metric_sums *to, keel_metric_sums *from) {
    keel_corrected_free(&from->corrected);
    *to = *from;
    to->error = NULL;
    *from = (keel_metric_sums){0};
}

void keel_metric_sums_free(keel_metric_sums *sums) {
    keel_corrected_free(&sums->corrected);
    keel_free(sums->rows);
    *sums = (keel_metric_sums){0};
}
