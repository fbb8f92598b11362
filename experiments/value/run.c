#include "experiments/value/run.h"

#include "core/json.h"

const value_method value_methods[VALUE_N_METHODS] = {
    {"BC", "bc", 1},           {"alpha 0", "dqn", 0}, {"alpha 0.1", "cql", 0.1},
    {"alpha 0.3", "cql", 0.3}, {"alpha 1", "cql", 1}, {"alpha 3", "cql", 3},
};

size_t value_run_count(const value_config *config) {
    return config->n.count * config->eps.count * (size_t)config->seeds;
}

void value_run_name(const value_config *config, size_t number, value_run *out) {
    const size_t seeds = (size_t)config->seeds, cell = number / seeds;
    const size_t size = cell / config->eps.count, behaviour = cell % config->eps.count;
    *out = (value_run){.n = (double)config->n.items[size],
                       .eps = (double)config->eps.items[behaviour] / 100,
                       .seed = (double)config->first_seed + (double)(number % seeds)};
}

/* ---- making one ---- */

typedef struct bench {
    const value_settings *settings;
    value_world world;
    value_log log, held_out;
    uint64_t seed;
    keel_pool *pool;
} bench;

static keel_status judge(bench *b, const keel_learner *learner, size_t method, value_result *out,
                         keel_err *err) {
    value_truth truth;
    KEEL_TRY(b->world.kind->truth(&b->world, &learner->net, &truth, err));
    *out = (value_result){.value = truth.value, .se = truth.se, .episodes = (double)truth.episodes};
    KEEL_TRY(value_fitted(&b->world, &b->log, b->settings, learner, b->seed, b->pool, &out->fitted, err));
    if (method == VALUE_BC) return KEEL_OK;
    KEEL_TRY(value_own(&b->world, &b->log, b->settings, learner, &out->own, err));
    if (method < VALUE_FIRST_CQL) return KEEL_OK;
    return value_fitted(&b->world, &b->held_out, b->settings, learner, b->seed, b->pool, &out->held_out, err);
}

static keel_status run_method(bench *b, size_t method, value_result *out, keel_err *err) {
    const value_method *of = &value_methods[method];
    keel_learner learner;
    KEEL_TRY(value_learn(&b->world, &b->log, b->settings, of->algorithm, of->alpha, b->seed, b->pool,
                         &learner, err));
    const keel_status status = judge(b, &learner, method, out, err);
    keel_learner_close(&learner);
    return status;
}

static keel_status run_all(bench *b, const value_run *named, value_run *out, keel_err *err) {
    value_run made = *named;
    const size_t n = (size_t)made.n;
    KEEL_TRY(b->world.kind->log(&b->world, n, made.eps, 0, &b->log, err));
    KEEL_TRY(b->world.kind->log(&b->world, n, made.eps, 1, &b->held_out, err));
    made.steps = (double)b->log.n;
    made.best = b->world.best;
    made.best_se = b->world.best_se;
    made.random = b->world.random;
    made.logged = b->log.mean_return;
    for (size_t m = 0; m < VALUE_N_METHODS; ++m) KEEL_TRY(run_method(b, m, &made.of[m], err));
    *out = made;
    return KEEL_OK;
}

keel_status value_run_make(const value_config *config, size_t number, keel_pool *pool, value_run *out,
                           keel_err *err) {
    value_run named;
    value_run_name(config, number, &named);
    bench b = {.settings = &config->settings, .seed = (uint64_t)named.seed, .pool = pool};
    keel_status status =
        value_world_open(&b.world, value_config_world(config), b.seed, config->precision, err);
    if (status == KEEL_OK) status = run_all(&b, &named, out, err);
    value_log_free(&b.log);
    value_log_free(&b.held_out);
    value_world_close(&b.world);
    return status;
}

/* ---- keeping it ---- */

/* One row per number of a run, and of each of its results: writing and reading go by the same list. */
typedef struct field {
    const char *key;
    size_t offset;
} field;
#define RUN(key)                                                                                             \
    { #key, offsetof(value_run, key) }
#define RESULT(key)                                                                                          \
    { #key, offsetof(value_result, key) }
static const field of_run[] = {RUN(n),    RUN(eps),     RUN(seed),   RUN(steps),
                               RUN(best), RUN(best_se), RUN(random), RUN(logged)};
static const field of_result[] = {RESULT(value), RESULT(se),     RESULT(episodes),
                                  RESULT(own),   RESULT(fitted), RESULT(held_out)};
enum { RUN_FIELDS = sizeof of_run / sizeof *of_run, RESULT_FIELDS = sizeof of_result / sizeof *of_result };

static bool put_fields(cJSON *object, const field *fields, size_t count, const void *from) {
    bool put = object != NULL;
    for (size_t i = 0; i < count && put; ++i)
        put = keel_json_add(
            object, fields[i].key,
            cJSON_CreateNumber(*(const double *)(const void *)((const char *)from + fields[i].offset)));
    return put;
}

keel_status value_run_write(const char *path, const value_run *run, keel_err *err) {
    cJSON *whole = cJSON_CreateObject();
    bool put = put_fields(whole, of_run, RUN_FIELDS, run);
    for (size_t m = 0; m < VALUE_N_METHODS && put; ++m) {
        cJSON *one = cJSON_CreateObject();
        put = put_fields(one, of_result, RESULT_FIELDS, &run->of[m]);
        put = keel_json_add(whole, value_methods[m].name, one) && put;
    }
    const keel_status status =
        put ? keel_json_write_file(path, whole, err) : keel_fail(err, KEEL_E_NOMEM, path, "no memory for it");
    cJSON_Delete(whole);
    return status;
}

static keel_status get_fields(const cJSON *object, const field *fields, size_t count, void *to,
                              const char *path, keel_err *err) {
    for (size_t i = 0; i < count; ++i)
        KEEL_TRY(keel_json_number(object, fields[i].key, true,
                                  (double *)(void *)((char *)to + fields[i].offset), path, err));
    return KEEL_OK;
}

keel_status value_run_read(const char *path, value_run *out, keel_err *err) {
    cJSON *whole = NULL;
    value_run made = {0};
    keel_status status;
    KEEL_TRY(keel_json_parse_file(path, &whole, err));
    KEEL_TRY_GOTO(get_fields(whole, of_run, RUN_FIELDS, &made, path, err), done);
    for (size_t m = 0; m < VALUE_N_METHODS; ++m) {
        const cJSON *one = NULL;
        KEEL_TRY_GOTO(keel_json_object(whole, value_methods[m].name, true, &one, path, err), done);
        KEEL_TRY_GOTO(get_fields(one, of_result, RESULT_FIELDS, &made.of[m], path, err), done);
    }
    *out = made;
done:
    cJSON_Delete(whole);
    return status;
}
