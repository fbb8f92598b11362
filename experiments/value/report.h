/* What all runs amount to: tables on a stream, CSV files and a figure in the experiment's folder. */
#ifndef KEEL_EXPERIMENTS_VALUE_REPORT_H
#define KEEL_EXPERIMENTS_VALUE_REPORT_H

#include <stdio.h>

#include "experiments/value/run.h"

/* The sweep's alphas, then the one chosen for each log: whose promise is nearest to what FQE on another log
 * says of its policy. No true value is looked at. */
enum { VALUE_N_ALPHAS = VALUE_N_METHODS - VALUE_FIRST_CQL, VALUE_CHOSEN = VALUE_N_ALPHAS, VALUE_N_CHOICES };

/* One cell's errors: of each choice of alpha for each estimand, and of what each critic promises. */
typedef struct value_cell {
    double n, eps;
    double share[VALUE_N_METHODS], logged; /* mean values: 0 acting at random, 1 the best policy */
    value_error own[VALUE_N_METHODS];      /* of the critic; BC: of FQE */
    value_error own_logged;                /* of the log's mean return about BC */
    keel_value_comparison of[VALUE_N_CHOICES][KEEL_N_ESTIMANDS];
} value_cell;

/* runs [value_run_count]; cells [n.count * eps.count]. */
keel_status value_cells_make(const value_config *config, const value_run *runs, value_cell *cells,
                             keel_err *err);
void value_cells_print(const value_config *config, const value_cell *cells, FILE *out);
/* runs.csv and estimands.csv. */
keel_status value_cells_write(const value_config *config, const value_run *runs, const value_cell *cells,
                              const char *folder, keel_err *err);
/* value_error.gp, and value_error.svg where gnuplot is there (*drawn): above, each critic's error by alpha;
 * below, CQL's error over the base's for each estimand, with its interval. A column for each eps. */
keel_status value_cells_draw(const value_config *config, const value_cell *cells, const char *folder,
                             bool *drawn, keel_err *err);

#endif
