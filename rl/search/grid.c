/* Every combination of the values of the dimensions; the last dimension changes first. */
#include "rl/search/search_internal.h"

static size_t cells(const keel_search *search) {
    size_t size = 1;
    for (size_t i = 0; i < search->space->n && size <= KEEL_SEARCH_TRIALS; ++i)
        size *= keel_dimension_grid_size(&search->space->dims[i], search->points);
    return size;
}

static size_t size(const keel_search *search) {
    const size_t all = cells(search);
    return search->trials && search->trials < all ? search->trials : all;
}

static keel_status next(const keel_search *search, const keel_trial *trials, size_t n, keel_trial *out,
                        keel_search_turn *turn, keel_err *err) {
    (void)trials, (void)err;
    if (n >= size(search)) return KEEL_OK;
    size_t left = n;
    for (size_t i = search->space->n; i-- > 0;) {
        const keel_dimension *d = &search->space->dims[i];
        const size_t values = keel_dimension_grid_size(d, search->points);
        out->at[i] = keel_dimension_grid(d, left % values, search->points);
        left /= values;
    }
    *turn = KEEL_SEARCH_TRIAL;
    return KEEL_OK;
}

const keel_search_method keel__search_grid = {
    .help = "every combination of the values; of each range of numbers those of --points",
    .next = next,
    .size = size,
};
