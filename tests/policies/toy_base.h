/* A base of a kind that Keel does not have: pi_base is how often each act was taken, whatever was said. */
#ifndef KEEL_TESTS_POLICIES_TOY_BASE_H
#define KEEL_TESTS_POLICIES_TOY_BASE_H

#include "policies/base.h"

typedef struct toy_base_config {
    keel_base_config common;
    int64_t width;    /* of the state features, all of them the number of turns */
    double smoothing; /* added to each count */
} toy_base_config;

extern const keel_base_kind toy_base_kind;

#endif
