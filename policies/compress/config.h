/* Options of compression: one table; a step that makes models smaller has its rows here. */
#ifndef KEEL_POLICIES_COMPRESS_CONFIG_H
#define KEEL_POLICIES_COMPRESS_CONFIG_H

#include "core/options.h"

/* By config.weights. */
enum {
    KEEL_COMPRESS_NONE,
    KEEL_COMPRESS_INT8,
    KEEL_COMPRESS_Q8_0,
    KEEL_COMPRESS_Q4_0,
    KEEL_COMPRESS_Q4_G32,
    KEEL_N_COMPRESS_WEIGHTS
};

typedef struct keel_compress_config {
    /* students (policies/compress/student.h); 0, false: as the teacher */
    int64_t student_layers, student_hidden, student_vocabulary;
    bool student_static;
    /* pruning (policies/compress/prune.h) */
    double ratio; /* of the parameters but embeddings and heads that go; 0: nothing is pruned */
    int prune, importance, spread;
    double critic_ratio;        /* of the Q-networks' weights that go */
    int64_t importance_tokens;  /* at most so many that importance is measured on */
    int64_t sensitivity_tokens; /* and that losses are measured on */
    /* quantising */
    int weights;     /* KEEL_COMPRESS_*: number format of matrices */
    int activations; /* keel_compress_activations: what matrices are multiplied with */
    int calibrate;   /* keel_compress_calibrations: how scales are found */
    double percentile;
    double sensitive_share;
    /* the log that is looked at: for scales, importance, sensitivity */
    int64_t conversations; /* at most so many of the split */
    int64_t tokens;        /* at most so many of each */
    int64_t memory_mb;
    int64_t seed;
    /* the policy */
    int critics; /* index into keel_compress_critics */
    double max_harm, confidence;
    double max_loss;
    /* what it is beside what it was */
    int64_t decisions; /* of the held-out split, timed and compared one by one */
} keel_compress_config;

extern const char *const keel_compress_weights[];      /* NULL-terminated, as all of these */
extern const char *const keel_compress_activations[];  /* int8, f32 */
extern const char *const keel_compress_calibrations[]; /* absmax, percentile, mse */
extern const char *const keel_compress_critics[];      /* none, int8 */
extern const char *const keel_compress_prunes[];       /* channels, groups, layers, and all of their sets */
extern const char *const keel_compress_importances[];  /* weight, activation, taylor */
extern const char *const keel_compress_spreads[];      /* even, sensitivity */
extern const keel_option keel_compress_options[];

#endif
