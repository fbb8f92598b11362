/* What a search reads from its flags: ranges and requirements, a line each. Values of a range that is taken
 * lie in it and come back to where they lie; a requirement that is taken has a finite bound. */
#include <math.h>

#include "experiments/search/search_metric.h"
#include "fuzz.h"
#include "rl/search/search.h"

static void check_range(const keel_dimension *d, keel_arena *arena) {
    for (double u = 0; u <= 1; u += 0.125) {
        double at, again;
        const char *text = keel_dimension_value(d, u, arena);
        FUZZ_CHECK(text && keel_dimension_place(d, text, &at, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(at >= 0 && at <= 1);
        const char *same = keel_dimension_value(d, at, arena);
        FUZZ_CHECK(same && keel_dimension_place(d, same, &again, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(fabs(again - at) < 1e-9);
        FUZZ_CHECK(keel_dimension_round(d, u) >= 0 && keel_dimension_round(d, u) <= 1);
    }
}

static void check_space(const keel_space *space) {
    keel_search search = {.space = space, .points = 4, .trials = 3, .seed = 1};
    for (; keel_search_methods[search.method]; ++search.method) {
        keel_trial next;
        keel_search_turn turn;
        if (fuzz_ok(keel_search_check(&search, &fuzz_err)))
            FUZZ_CHECK(keel_search_next(&search, NULL, 0, &next, &turn, &fuzz_err) == KEEL_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static keel_step steps[] = {{.name = "train"}, {.name = "eval"}};
    const keel_recipe recipe = {.steps = steps, .n_steps = 2};
    keel_space space = {0};
    keel_arena arena = {0};
    char *text = fuzz_text(data, size);
    for (char *line = text, *next; line; line = next) {
        keel_search_require require;
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        if (fuzz_ok(keel_space_add(&space, line, &arena, "--over", &fuzz_err)))
            check_range(&space.dims[space.n - 1], &arena);
        if (fuzz_ok(keel_search_metric_require(&recipe, line, &arena, &require, &fuzz_err)))
            FUZZ_CHECK(isfinite(require.bound) && require.metric.path[0]);
    }
    if (space.n) check_space(&space);
    keel_arena_free(&arena);
    free(text);
    return 0;
}
