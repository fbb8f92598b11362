#include "rl/judge/gate_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/decimal.h"
#include "core/json.h"
#include "rl/judge/evaluate_internal.h"

typedef enum comparison { AT_LEAST, AT_MOST, ABOVE, BELOW } comparison;
static const char *const signs[] = {">=", "<=", ">", "<"};

typedef enum bound { VALUE, LOW, HIGH, N_BOUNDS } bound;
static const char *const bounds[] = {"value", "low", "high"};

typedef struct gate {
    char name[160], minus[160]; /* without the bound; minus: "" unless it is a difference */
    bound bound;
    bool explicit_bound;
    comparison how;
    double number;
} gate;

static keel_status malformed(const char *expression, keel_err *err) {
    keel_fail(err, KEEL_E_USAGE, "--gate",
              "expected NAME[.low|.high|.value] OP NUMBER with OP one of >= <= > <, got \"%s\"", expression);
    return keel_hint(err, "for instance \"refusal_rate.low >= 0.97\" or "
                          "\"(policy.refusal_rate - logged.refusal_rate).low >= 0\"");
}

/* ---- reading an expression ---- */

static const char *skip_blanks(const char *at) {
    return at + strspn(at, " \t");
}

static bool find_bound(const char *name, bound *out) {
    for (int i = 0; i < N_BOUNDS; ++i)
        if (strcmp(name, bounds[i]) == 0) {
            *out = (bound)i;
            return true;
        }
    return false;
}

/* Cuts a trailing .value, .low or .high off the name. */
static bool take_bound(char *name, bound *out) {
    char *dot = strrchr(name, '.');
    if (!dot || !find_bound(dot + 1, out)) return false;
    *dot = '\0';
    return true;
}

/* A name up to a blank, a comparison or one of `ends`; *at moves behind it. */
static bool take_name(const char **at, const char *ends, char name[160]) {
    char stops[16];
    snprintf(stops, sizeof stops, " \t<>=%s", ends);
    const size_t length = strcspn(*at, stops);
    if (!length || length >= 160) return false;
    memcpy(name, *at, length);
    name[length] = '\0';
    *at = skip_blanks(*at + length);
    return true;
}

/* "NAME - NAME", in brackets or not, and the bound; false if it is malformed. */
static bool take_measure(const char **at, gate *out) {
    const bool bracket = **at == '(';
    bound ignored;
    char tail[160];
    if (bracket) *at = skip_blanks(*at + 1);
    if (!take_name(at, bracket ? ")" : "", out->name)) return false;
    if (**at == '-' && strspn(*at + 1, " \t")) {
        *at = skip_blanks(*at + 1);
        if (!take_name(at, bracket ? ")" : "", out->minus)) return false;
        if (take_bound(out->name, &ignored) || take_bound(out->minus, &ignored)) return false;
    }
    if (bracket) {
        if (!out->minus[0] || *(*at)++ != ')') return false;
        if (**at == '.' && (++*at, !take_name(at, "", tail) || !find_bound(tail, &out->bound))) return false;
        out->explicit_bound = (*at)[-1] != ')';
        *at = skip_blanks(*at);
    } else if (!out->minus[0]) {
        out->explicit_bound = take_bound(out->name, &out->bound);
    }
    return true;
}

static keel_status parse(const char *expression, gate *out, keel_err *err) {
    const char *at = skip_blanks(expression);
    *out = (gate){.bound = VALUE};
    if (!take_measure(&at, out) || (*at != '<' && *at != '>')) return malformed(expression, err);
    const bool equal = at[1] == '=', more = *at == '>';
    const char *number = at + 1 + equal;
    char *end;
    out->number = keel_decimal_read(number, &end);
    if (end == number || *skip_blanks(end) || !isfinite(out->number)) return malformed(expression, err);
    out->how = more ? (equal ? AT_LEAST : ABOVE) : (equal ? AT_MOST : BELOW);
    if (out->minus[0] && !out->explicit_bound) out->bound = more ? LOW : HIGH;
    return KEEL_OK;
}

/* ---- looking a name up ---- */

static const char *without(const char *prefix, const char *name) {
    const size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 ? name + length : NULL;
}

static const cJSON *metric_of(const cJSON *actor, const char *metric) {
    return keel_json_get(keel_json_get(actor, "metrics"), metric);
}

/* "baselines.logged.refusal_rate" and "models.NAME.refusal_rate". A model's name may hold dots, so the metric
 * is what follows the last one. Where the models are not known yet, any name may turn out to be one. */
static const cJSON *find_grouped(const cJSON *evaluation, const char *group, const char *rest) {
    char owner[160];
    const cJSON *owners = keel_json_get(evaluation, group);
    const char *last = strrchr(rest, '.');
    if (!last) return NULL;
    if (!owners && strcmp(group, "models") == 0)
        return metric_of(keel_json_get(evaluation, "policy"), last + 1);
    snprintf(owner, sizeof owner, "%.*s", (int)(last - rest), rest);
    return metric_of(keel_json_get(owners, owner), last + 1);
}

static const cJSON *find_one(const cJSON *evaluation, const char *name) {
    static const char *const groups[] = {"baselines", "models"}, *const short_of[] = {"logged", "base"};
    const cJSON *policy = keel_json_get(evaluation, "policy");
    const char *rest = without("ope.", name);
    if (rest) return keel_json_get(keel_json_get(policy, "ope"), rest);
    for (size_t i = 0; i < 2; ++i) {
        if ((rest = without(groups[i], name)) && *rest == '.')
            return find_grouped(evaluation, groups[i], rest + 1);
        if ((rest = without(short_of[i], name)) && *rest == '.')
            return metric_of(keel_json_get(keel_json_get(evaluation, "baselines"), short_of[i]), rest + 1);
    }
    rest = without("policy.", name);
    return metric_of(policy, rest ? rest : name);
}

/* "policy.METRIC" or "METRIC", minus the same metric of a baseline. */
static const cJSON *find_difference(const cJSON *evaluation, const gate *wanted, const char **metric) {
    const cJSON *differences = keel_json_get(evaluation, "differences");
    const char *left = without("policy.", wanted->name), *right = without("baselines.", wanted->minus);
    if (!left) left = wanted->name;
    if (!right) right = wanted->minus;
    const char *dot = strchr(right, '.');
    if (!dot || strcmp(left, dot + 1) != 0) return NULL;
    char key[200];
    snprintf(key, sizeof key, "policy - %.*s", (int)(dot - right), right);
    *metric = left;
    return keel_json_get(keel_json_get(differences, key), left);
}

/* Whether the figure rests on propensities that the log refutes: off-policy estimates, and what of the policy
 * (by itself or in a difference) is estimated over all decisions. */
static bool is_refuted(const cJSON *evaluation, const gate *wanted, const char *metric, const cJSON *found) {
    const cJSON *policy = keel_json_get(evaluation, "policy"), *own = metric_of(policy, metric);
    if (!cJSON_IsTrue(keel_json_get(keel_json_get(policy, "ope"), "propensities_refuted"))) return false;
    if (without("ope.", wanted->name)) return true;
    return (found == own || wanted->minus[0]) && keel_json_value(own, "estimated") > 0;
}

static keel_status unknown(const gate *wanted, const cJSON *evaluation, keel_err *err) {
    if (wanted->minus[0]) {
        keel_fail(err, KEEL_E_USAGE, "--gate", "there is no difference \"%s - %s\"", wanted->name,
                  wanted->minus);
        return keel_hint(err, "differences are of one metric: policy.METRIC - logged.METRIC or policy.METRIC "
                              "- base.METRIC");
    }
    keel_buf names = {0};
    const cJSON *item;
    cJSON_ArrayForEach (item, keel_json_get(keel_json_get(evaluation, "policy"), "metrics"))
        keel_buf_format(&names, "%s%s", names.length ? ", " : "", item->string);
    keel_fail(err, KEEL_E_USAGE, "--gate", "there is no metric \"%s\"; there are: %s", wanted->name,
              names.data ? names.data : "none");
    keel_buf_free(&names);
    return keel_hint(
        err, "those, logged.NAME, base.NAME, baselines.always-refuse.NAME, models.MODEL.NAME, or ope.NAME");
}

/* ---- thresholds ---- */

static bool is_rate(const char *metric) {
    for (int m = 0; metric && m < KEEL_N_METRICS; ++m)
        if (strcmp(metric, keel_metric_names[m]) == 0) return isfinite(keel_metric_range[m].most);
    return false;
}

/* The fewest observations of which a rate of 1 has a lower limit of `low`: Wilson's is then n / (n + z^2). */
static double fewest(double low, double confidence) {
    if (low <= 0 || low >= 1) return 0;
    const double z2 = 1 / keel_wilson_at(1, 1, confidence).low - 1;
    double n = fmax(1, floor(z2 * low / (1 - low)));
    while (n < 1e15 && keel_wilson_at(n, n, confidence).low < low) n++;
    return n;
}

static keel_status outside(const gate *wanted, const char *metric, double least, bool always, keel_err *err) {
    const double number = wanted->number, share = number / 100;
    keel_fail(err, KEEL_E_USAGE, "--gate", "%s%s%s %s %g is %s met: %s lies in %g to 1", wanted->name,
              wanted->minus[0] ? " - " : "", wanted->minus, signs[wanted->how], number,
              always ? "always" : "never", wanted->minus[0] ? "a difference of rates" : metric, least);
    if (fabs(number) > 1 && fabs(number) <= 100) return keel_hint(err, "did you mean %g?", share);
    if (wanted->bound != VALUE && !always)
        return keel_hint(err, "the %s limit of an interval never reaches %g", bounds[wanted->bound], number);
    return KEEL_E_USAGE;
}

/* Whether the threshold can be met, and missed, by what the rate can be. At the end of the range ">= 0" and
 * "<= 1" ask whether the rate is known at all. Means have no range: they are totals of conversations. */
static keel_status check_range(const gate *wanted, const char *metric, keel_err *err) {
    const double least = wanted->minus[0] ? -1 : 0, most = 1, number = wanted->number;
    const bool more = wanted->how == AT_LEAST || wanted->how == ABOVE;
    const bool strict = wanted->how == ABOVE || wanted->how == BELOW;
    const bool limit = wanted->bound == (more ? LOW : HIGH); /* does not reach the end of the range */
    if (!is_rate(metric)) return KEEL_OK;
    const double end = more ? most : least;
    const bool never = (more ? number > most : number < least) || (number == end && (strict || limit));
    const bool always = more ? number < least : number > most;
    return never || always ? outside(wanted, metric, least, always, err) : KEEL_OK;
}

static bool compare(comparison how, double measured, double number) {
    switch (how) {
    case AT_LEAST:
        return measured >= number;
    case AT_MOST:
        return measured <= number;
    case ABOVE:
        return measured > number;
    case BELOW:
        return measured < number;
    }
    return false;
}

/* ---- the check ---- */

static double number_of(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN; /* null: nothing is known */
}

static void name_measure(const gate *wanted, bool bounded, keel_gate_result *out) {
    const bool minus = wanted->minus[0] != '\0', said = wanted->explicit_bound || minus;
    snprintf(out->what, sizeof out->what, "%s%s%s%s%s%s%s", minus ? "(" : "", wanted->name,
             minus ? " - " : "", wanted->minus, minus ? ")" : "", said && bounded ? "." : "",
             said && bounded ? bounds[wanted->bound] : "");
}

/* How many observations of a rate it takes before its interval can meet the gate. */
static double needed(const gate *wanted, const keel_gate_result *found, double confidence) {
    const bool more = wanted->how == AT_LEAST || wanted->how == ABOVE;
    if (wanted->minus[0] || wanted->bound != (more ? LOW : HIGH) || !(found->interval.n > 0)) return 0;
    const double least = fewest(more ? wanted->number : 1 - wanted->number, confidence);
    return found->interval.n < least ? least : 0;
}

keel_status keel_gate_check_json(const char *expression, const cJSON *evaluation, keel_gate_result *out,
                                 keel_err *err) {
    gate wanted;
    KEEL_TRY(parse(expression, &wanted, err));
    const char *dot = strrchr(wanted.name, '.'), *metric = dot ? dot + 1 : wanted.name;
    const cJSON *found =
        wanted.minus[0] ? find_difference(evaluation, &wanted, &metric) : find_one(evaluation, wanted.name);
    if (!found) return unknown(&wanted, evaluation, err);
    KEEL_TRY(check_range(&wanted, metric, err));
    keel_gate_result made = {.comparison = signs[wanted.how], .threshold = wanted.number};
    const bool bounded = cJSON_IsObject(found);
    if (bounded) {
        const double n = number_of(found, "n");
        made.interval = (keel_interval){number_of(found, "value"), number_of(found, "low"),
                                        number_of(found, "high"), n > 0 ? n : 0};
        if (!wanted.explicit_bound && !wanted.minus[0] && number_of(found, "unknown") > 0) {
            /* The value is the middle of what may be: the gate holds for all of it. */
            wanted.explicit_bound = true;
            wanted.bound = wanted.how == AT_LEAST || wanted.how == ABOVE ? LOW : HIGH;
        }
        made.measured = number_of(found, bounds[wanted.bound]);
    } else {
        made.measured = cJSON_IsNumber(found) ? found->valuedouble : NAN;
    }
    if (is_refuted(evaluation, &wanted, metric, found)) made.measured = NAN;
    made.met = !isnan(made.measured) && compare(wanted.how, made.measured, wanted.number);
    const double confidence = number_of(evaluation, "confidence");
    if (!made.met && is_rate(metric))
        made.needed = needed(&wanted, &made, confidence > 0 ? confidence : 0.95);
    name_measure(&wanted, bounded, &made);
    *out = made;
    return KEEL_OK;
}

keel_status keel_gate_measure(const char *expression, char measure[360], bool *of_policy, keel_err *err) {
    gate wanted;
    KEEL_TRY(parse(expression, &wanted, err));
    static const char *const others[] = {"baselines.", "logged.", "base.", "models."};
    const char *name = without("policy.", wanted.name), *minus = without("baselines.", wanted.minus);
    *of_policy = true;
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i)
        if (without(others[i], wanted.name)) *of_policy = false;
    snprintf(measure, 360, "%.159s%s%.159s", name ? name : wanted.name, wanted.minus[0] ? " - " : "",
             minus ? minus : wanted.minus);
    return KEEL_OK;
}

keel_status keel_gate_check(const char *expression, const keel_evaluation_set *set, keel_gate_result *out,
                            keel_err *err) {
    cJSON *json = keel_evaluation_json(set);
    keel_status status = json ? keel_gate_check_json(expression, json, out, err) : keel_nomem(err, "gate");
    cJSON_Delete(json);
    return status;
}

/* ---- for people ---- */

/* 2028 as "2,028". */
static void put_count(double count, keel_buf *out) {
    char digits[40];
    const int length = snprintf(digits, sizeof digits, "%.0f", count);
    for (int i = 0; i < length; ++i)
        keel_buf_format(out, "%s%c", i > 0 && (length - i) % 3 == 0 ? "," : "", digits[i]);
}

void keel_gate_describe(const keel_gate_result *result, keel_buf *out) {
    const keel_interval *interval = &result->interval;
    keel_buf_format(out, "%s", result->what);
    if (!isnan(result->measured)) keel_buf_format(out, " %.3f", result->measured);
    keel_buf_format(out, " %s %g", result->comparison, result->threshold);
    if (isnan(result->measured)) keel_buf_text(out, " (nothing is known of it here)");
    if (isnan(result->measured) || !(interval->n > 0)) return;
    keel_buf_format(out, " (%.3f [%.3f, %.3f] on ", interval->value, interval->low, interval->high);
    put_count(interval->n, out);
    if (result->needed > 0) {
        keel_buf_format(out, "; %g needs ", result->threshold);
        put_count(result->comparison[0] == '>' ? result->needed : 0, out);
        keel_buf_text(out, " of ");
        put_count(result->needed, out);
    }
    keel_buf_text(out, ")");
}
