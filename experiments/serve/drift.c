#include "experiments/serve/drift.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/json.h"
#include "rl/judge/intervals.h"

const char *const keel_drift_names[KEEL_DRIFT_RATES] = {"unfamiliar", "refusal_rate", "completion_rate"};
static const double confidence = 0.99, most_unfamiliar = 0.01;

/* The last values of a rate, as a ring. */
typedef struct window {
    bool hit[KEEL_DRIFT_WINDOW];
    size_t count, next, hits;
    double low, high; /* expected */
} window;

/* An answer that feedback may come for. */
typedef struct answer {
    uint64_t request; /* hash; 0: empty */
    bool refused, risk_told, completion_told;
} answer;

struct keel_drift {
    pthread_mutex_t lock;
    window windows[KEEL_DRIFT_RATES];
    answer answers[KEEL_DRIFT_REQUESTS];
};

static void put(window *w, bool hit) {
    if (w->count == KEEL_DRIFT_WINDOW)
        w->hits -= w->hit[w->next];
    else
        w->count++;
    w->hit[w->next] = hit;
    w->hits += hit;
    w->next = (w->next + 1) % KEEL_DRIFT_WINDOW;
}

/* Two requests of one place: the newer one stays. */
static answer *place_of(keel_drift *drift, const char *request, uint64_t *hash) {
    *hash = keel_hash64(request, strlen(request), 0) | 1;
    return &drift->answers[(*hash >> 1) % KEEL_DRIFT_REQUESTS];
}

keel_status keel_drift_open(keel_drift **out, keel_err *err) {
    keel_drift *drift = *out = keel_calloc(1, sizeof *drift);
    if (!drift) return keel_nomem(err, "drift");
    pthread_mutex_init(&drift->lock, NULL);
    drift->windows[KEEL_DRIFT_UNFAMILIAR].high = most_unfamiliar;
    return keel_drift_expect(drift, NULL, err);
}

void keel_drift_close(keel_drift *drift) {
    if (!drift) return;
    pthread_mutex_destroy(&drift->lock);
    keel_free(drift);
}

/* ---- what is expected ---- */

/* Behind a name: "", ".low", ".high" or ".value", and blanks. */
static const char *pass_bound(const char *at) {
    static const char *const bounds[] = {".low", ".high", ".value"};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        if (strncmp(at, bounds[i], strlen(bounds[i])) == 0) {
            at += strlen(bounds[i]);
            break;
        }
    return at + strspn(at, " ");
}

/* "refusal_rate.low >= 0.97" narrows the interval of its rate; what is no such gate is passed over. */
static void read_gate(const char *gate, double low[KEEL_DRIFT_RATES], double high[KEEL_DRIFT_RATES]) {
    static const char of_policy[] = "policy.";
    if (strncmp(gate, of_policy, sizeof of_policy - 1) == 0) gate += sizeof of_policy - 1;
    const size_t name = strcspn(gate, ". <>");
    const char *sign = pass_bound(gate + name);
    char *end;
    if (*sign != '<' && *sign != '>') return;
    const double limit = strtod(sign + (sign[1] == '=' ? 2 : 1), &end);
    if (*end || !(limit >= 0 && limit <= 1)) return;
    for (size_t r = KEEL_DRIFT_REFUSAL; r < KEEL_DRIFT_RATES; r++) {
        if (strlen(keel_drift_names[r]) != name || strncmp(gate, keel_drift_names[r], name) != 0) continue;
        if (isnan(low[r])) low[r] = 0, high[r] = 1;
        if (*sign == '>')
            low[r] = fmax(low[r], limit);
        else
            high[r] = fmin(high[r], limit);
    }
}

static keel_status read_gates(const char *gates, double low[KEEL_DRIFT_RATES], double high[KEEL_DRIFT_RATES],
                              keel_err *err) {
    cJSON *json;
    KEEL_TRY(keel_json_parse(gates, strlen(gates), "gates of the policy", &json, err));
    const cJSON *row;
    keel_status status = cJSON_IsArray(json)
                             ? KEEL_OK
                             : keel_fail(err, KEEL_E_PARSE, "gates of the policy", "expected an array");
    for (row = status == KEEL_OK ? json->child : NULL; row && status == KEEL_OK; row = row->next) {
        const char *gate = "";
        status = keel_json_string(row, "gate", false, &gate, "gates of the policy", err);
        if (status == KEEL_OK) read_gate(gate, low, high);
    }
    cJSON_Delete(json);
    return status;
}

keel_status keel_drift_expect(keel_drift *drift, const char *gates, keel_err *err) {
    double low[KEEL_DRIFT_RATES] = {0, NAN, NAN}, high[KEEL_DRIFT_RATES] = {most_unfamiliar, NAN, NAN};
    if (!drift) return KEEL_OK;
    if (gates) KEEL_TRY(read_gates(gates, low, high, err));
    pthread_mutex_lock(&drift->lock);
    for (size_t r = 0; r < KEEL_DRIFT_RATES; r++) {
        drift->windows[r].low = low[r];
        drift->windows[r].high = high[r];
    }
    pthread_mutex_unlock(&drift->lock);
    return KEEL_OK;
}

/* ---- what comes ---- */

void keel_drift_answered(keel_drift *drift, const char *request, bool unfamiliar, bool refused) {
    uint64_t hash;
    if (!drift) return;
    answer *a = place_of(drift, request, &hash);
    pthread_mutex_lock(&drift->lock);
    put(&drift->windows[KEEL_DRIFT_UNFAMILIAR], unfamiliar);
    *a = (answer){.request = hash, .refused = refused};
    pthread_mutex_unlock(&drift->lock);
}

void keel_drift_told(keel_drift *drift, const char *request, keel_risk risk, int completed) {
    uint64_t hash;
    if (!drift) return;
    answer *a = place_of(drift, request, &hash);
    pthread_mutex_lock(&drift->lock);
    if (a->request == hash && risk != KEEL_RISK_UNKNOWN && !a->risk_told) {
        a->risk_told = true;
        if (risk == KEEL_RISK_DANGEROUS) put(&drift->windows[KEEL_DRIFT_REFUSAL], a->refused);
    }
    if (a->request == hash && completed >= 0 && !a->completion_told) {
        a->completion_told = true;
        put(&drift->windows[KEEL_DRIFT_COMPLETION], completed > 0);
    }
    pthread_mutex_unlock(&drift->lock);
}

/* ---- what is seen ---- */

void keel_drift_look(keel_drift *drift, keel_drift_rate rate, keel_drift_state *out) {
    *out = (keel_drift_state){NAN, NAN, NAN, 0, NAN, NAN, false};
    if (!drift) return;
    const window *w = &drift->windows[rate];
    pthread_mutex_lock(&drift->lock);
    const double hits = (double)w->hits;
    out->n = (double)w->count;
    out->expected_low = w->low;
    out->expected_high = w->high;
    pthread_mutex_unlock(&drift->lock);
    if (out->n == 0) return;
    const keel_interval interval = keel_wilson_at(hits, out->n, confidence);
    out->rate = interval.value;
    out->low = interval.low;
    out->high = interval.high;
    out->outside =
        out->n >= KEEL_DRIFT_LEAST && (out->high < out->expected_low || out->low > out->expected_high);
}

void keel_drift_show(keel_drift *drift, keel_monitor *monitor) {
    for (int r = 0; drift && r < KEEL_DRIFT_RATES; r++) {
        keel_drift_state state;
        keel_drift_look(drift, (keel_drift_rate)r, &state);
        keel_monitor_set(monitor, KEEL_MONITOR_DRIFT, keel_drift_names[r], state.rate);
        keel_monitor_set(monitor, KEEL_MONITOR_DRIFT_LOW, keel_drift_names[r], state.expected_low);
        keel_monitor_set(monitor, KEEL_MONITOR_DRIFT_HIGH, keel_drift_names[r], state.expected_high);
        keel_monitor_set(monitor, KEEL_MONITOR_DRIFT_OUTSIDE, keel_drift_names[r], state.outside);
    }
}
