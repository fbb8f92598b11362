/* Each trial drawn on its own, evenly over the space (Bergstra & Bengio 2012). */
#include "rl/search/search_internal.h"

static keel_status next(const keel_search *search, const keel_trial *trials, size_t n, keel_trial *out,
                        keel_search_turn *turn, keel_err *err) {
    (void)err;
    if (n >= keel__search_asked(search)) return KEEL_OK;
    keel__search_draw(search, trials, n, n, out);
    *turn = KEEL_SEARCH_TRIAL;
    return KEEL_OK;
}

const keel_search_method keel__search_random = {
    .help = "drawn evenly, each trial by itself",
    .next = next,
    .size = keel__search_asked,
};
