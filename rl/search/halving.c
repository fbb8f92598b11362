/* Successive halving (Karnin et al. 2013; Jamieson & Talwalkar 2016, section 3): all begin with the least
 * budget, and the best one in eta of each round goes into the next with eta times as much, up to the whole.
 * A round begins when the one before it has ended. */
#include <math.h>

#include "rl/search/search_internal.h"

static size_t rounds(const keel_search *search) {
    const keel_dimension *budget = &search->budget;
    return 1 + (size_t)floor(log(budget->high / budget->low) / log(search->eta) + 1e-9);
}

/* The last round has the whole budget, each before it 1 / eta of the next. */
static double budget_of(const keel_search *search, size_t round) {
    const double share = pow(search->eta, (double)(rounds(search) - 1 - round));
    const double budget = search->budget.high / share;
    return search->budget.kind == KEEL_DIMENSION_INTEGER ? floor(budget + 0.5) : budget;
}

/* How many go on, of so many of which so many ended well. */
static size_t kept_of(const keel_search *search, size_t begun, size_t ended_well) {
    const double share = floor((double)begun / search->eta + 1e-9);
    const size_t kept = share < 1 ? 1 : (size_t)share;
    return kept < ended_well ? kept : ended_well;
}

static size_t size(const keel_search *search) {
    size_t sum = 0, round = keel__search_asked(search);
    for (size_t r = 0; r < rounds(search); ++r) {
        sum += round;
        round = kept_of(search, round, round);
    }
    return sum;
}

/* The place-th best of a round; the earlier of equals first. */
static const keel_trial *ranked(const keel_search *search, const keel_trial *round, size_t n, size_t place) {
    for (size_t i = 0; i < n; ++i) {
        size_t better = 0;
        for (size_t j = 0; j < n; ++j)
            better += keel_trial_better(search, &round[j], &round[i]) ||
                      (j < i && !keel_trial_better(search, &round[i], &round[j]));
        if (better == place) return &round[i];
    }
    return round;
}

static size_t count_of(const keel_trial *trials, size_t n, keel_trial_state state) {
    size_t count = 0;
    for (size_t i = 0; i < n; ++i) count += trials[i].state == state;
    return count;
}

static keel_status next(const keel_search *search, const keel_trial *trials, size_t n, keel_trial *out,
                        keel_search_turn *turn, keel_err *err) {
    (void)err;
    size_t first = 0, begun = keel__search_asked(search), before = 0; /* of the round that n is in */
    for (size_t round = 0; round < rounds(search) && begun > 0; ++round) {
        if (n < first + begun) {
            const keel_trial *better =
                round ? ranked(search, trials + before, first - before, n - first) : NULL;
            for (size_t i = 0; better && i < search->space->n; ++i) out->at[i] = better->at[i];
            if (!better) keel__search_draw(search, trials, n, n, out);
            out->budget = budget_of(search, round);
            *turn = KEEL_SEARCH_TRIAL;
            return KEEL_OK;
        }
        if (count_of(trials + first, begun, KEEL_TRIAL_RUNNING)) {
            *turn = KEEL_SEARCH_WAIT;
            return KEEL_OK;
        }
        const size_t well = count_of(trials + first, begun, KEEL_TRIAL_DONE);
        before = first;
        first += begun;
        begun = kept_of(search, begun, well);
    }
    return KEEL_OK;
}

const keel_search_method keel__search_halving = {
    .help = "successive halving: many with little of --budget, the best one in --eta of each round with more",
    .next = next,
    .size = size,
};
