/* One run of the experiment: a log, what every method learns from it, what each promises and keeps. Runs are
 * files of their own, written whole or not at all, so that an experiment can be killed and goes on. */
#ifndef KEEL_EXPERIMENTS_VALUE_RUN_H
#define KEEL_EXPERIMENTS_VALUE_RUN_H

#include "experiments/value/errors.h"
#include "experiments/value/learn.h"

typedef struct value_config {
    int world;
    int64_t seeds, first_seed;
    keel_int_list n, eps; /* conversations; percent */
    int64_t headline_n, headline_eps;
    double precision; /* value_world */
    value_settings settings;
    int64_t threads; /* not part of the result */
} value_config;
extern const keel_option value_options[];
/* The world's own defaults, then what assignments ("key=value") say. KEEL_E_INVALID for a headline that is
 * not in the grid. */
keel_status value_config_read(int count, char **assignments, value_config *out, keel_err *err);
const value_world_kind *value_config_world(const value_config *config);

/* BC, double DQN and the sweep. */
enum { VALUE_BC, VALUE_QL, VALUE_FIRST_CQL, VALUE_N_METHODS = 6 };
typedef struct value_method {
    const char *name, *algorithm;
    double alpha;
} value_method;
extern const value_method value_methods[VALUE_N_METHODS];

typedef struct value_result {
    double value, se, episodes; /* truth */
    double own;                 /* the critic's promise; 0 for BC, which has none */
    double fitted;              /* FQE on the log */
    double held_out;            /* FQE on another log; CQL alone */
} value_result;

typedef struct value_run {
    double n, eps, seed, steps;           /* conversations, share, seed, decisions in the log */
    double best, best_se, random, logged; /* values */
    value_result of[VALUE_N_METHODS];
} value_run;

/* Cells are numbered n-major, then eps, then seed. */
size_t value_run_count(const value_config *config);
void value_run_name(const value_config *config, size_t number, value_run *out); /* n, eps, seed alone */

/* pool: of one thread, for the learners. */
keel_status value_run_make(const value_config *config, size_t number, keel_pool *pool, value_run *out,
                           keel_err *err);
keel_status value_run_write(const char *path, const value_run *run, keel_err *err);
keel_status value_run_read(const char *path, value_run *out, keel_err *err);

#endif
