/* A search, laid out: the steps of a trial, what varies in them, what is looked at. */
#ifndef KEEL_EXPERIMENTS_SEARCH_PLAN_H
#define KEEL_EXPERIMENTS_SEARCH_PLAN_H

#include "experiments/search/search_metric.h"
#include "rl/search/search.h"

typedef struct keel_search_list {
    const char *const *items;
    size_t n;
} keel_search_list;

/* What is asked for, as flags say it; texts are borrowed until the plan is closed. */
typedef struct keel_search_asked {
    const char *store;   /* or NULL: OUT/trials.db */
    const char *out;     /* the folder of the search */
    const char *data;    /* of recipes; "" when there is none */
    const char *content; /* hash of the store's content; or NULL: not looked at */
    const char *threads; /* for steps; or NULL */
    keel_search_list
        words; /* a recipe's path, or verbs with their arguments and "--" between; none: the standard steps */
    keel_search_list settings; /* as of `keel run --set`, for all trials */
    keel_search_list
        over; /* NAME=RANGE (rl/search/space.h); NAME is STEP.KEY, or a KEY that one step takes */
    keel_search_list require;
    keel_search_list held_out;       /* settings under which the kept trial is judged in the end */
    const char *budget;              /* NAME=LOW:HIGH, of halving; or NULL */
    const char *maximise, *minimise; /* one of them, or none with the standard steps */
    int method;
    size_t trials, points;
    uint64_t seed;
    double eta,
        seconds; /* seconds: no trial begins that would end later, by the longest so far; 0: no limit */
} keel_search_asked;

typedef struct keel_search_plan {
    keel_search_asked asked;
    keel_space space;
    keel_search search;
    const char *key[KEEL_SPACE_DIMS]; /* of each dimension: "STEP.KEY" */
    const char *budget_key;
    keel_search_metric goal;
    bool minimise;
    keel_search_require require[KEEL_SEARCH_REQUIRES];
    size_t first;     /* the first step that varies; those before it are done once, in OUT/common */
    cJSON *recipe;    /* its JSON */
    const char *path; /* what errors call it */
    cJSON *json;      /* all that a trial's result depends on */
    char hash[65];    /* of that: the identity of the search */
    keel_arena arena;
} keel_search_plan;

/* Reads and checks all of it: ranges, the names of what varies, every step's command line with the first
 * value of each range, metrics. KEEL_E_USAGE names the flag. Free in any case. */
keel_status keel_search_plan_open(keel_search_plan *plan, const keel_search_asked *asked, keel_err *err);
void keel_search_plan_close(keel_search_plan *plan);

/* The steps with these values of the dimensions (texts [space.n]), this budget (or none), `extra` settings
 * (or NULL) and
 * ${out}. Keys of the configuration that a step does not take beside the other values are left out: mode of a
 * base that has none. The caller frees *out with keel_recipe_free, in any case. */
keel_status keel_search_plan_steps(const keel_search_plan *plan, const char *const *values,
                                   keel_optional budget, const keel_search_list *extra, const char *out_dir,
                                   keel_recipe *out, keel_err *err);
/* Which of the dimensions count beside these values: those that are not left out. */
keel_status keel_search_plan_taken(const keel_search_plan *plan, const char *const *values,
                                   bool taken[KEEL_SPACE_DIMS], keel_err *err);
/* The first of the recipe's steps that one of these settings is for; n_steps: none. */
size_t keel_search_plan_first(const keel_recipe *recipe, const keel_search_list *settings);

#endif
