/* What was served as the observations of an experiment: arms, cells of segments and windows, units. */
#ifndef KEEL_EXPERIMENTS_SERVE_AB_ROWS_H
#define KEEL_EXPERIMENTS_SERVE_AB_ROWS_H

#include "datasets/store_served.h"
#include "rl/judge/experiment.h"

enum { KEEL_AB_MOST_CELLS = 4096, KEEL_AB_MOST_SEGMENTS = 64 };

typedef struct keel_ab_config {
    const char *control; /* the arm that others are compared with; NULL: the first of the last start */
    const char *segment; /* this one alone; NULL: all */
    bool apart;          /* a cell for each segment, the first KEEL_AB_MOST_SEGMENTS; else all together */
    double window;       /* seconds of a cell, from 1970 on; 0: all time together */
    double since;        /* seconds since 1970; NAN: since an arm last began to serve another policy */
    bool by_talk;        /* units are conversations; else users, and conversations where nobody is named */
} keel_ab_config;

typedef struct keel_ab_cell {
    const char *segment; /* "": none; "other": those that are not told apart */
    double from;         /* of its window; -INFINITY */
} keel_ab_cell;

typedef struct keel_ab_rows {
    size_t n_arms, n_cells, n;
    const char *arms[KEEL_EXPERIMENT_ARMS];     /* the control first */
    const char *policies[KEEL_EXPERIMENT_ARMS]; /* that each served last; "": none yet */
    keel_ab_cell *cells;
    keel_observation *observations; /* [n] */
    double since;
    /* Requests that do not count: before `since`; in shadow mode; of arms that the last start does not have.
     * unknown: of those that count, without a risk, so that no rate of refusal counts them. */
    size_t earlier, shadow, other, unknown;
} keel_ab_rows;

/* Everything lies in the arena. KEEL_E_NOT_FOUND: nothing was served, or no such arm. */
keel_status keel_ab_rows_load(keel_store *store, const keel_ab_config *config, keel_arena *arena,
                              keel_ab_rows *out, keel_err *err);

#endif
