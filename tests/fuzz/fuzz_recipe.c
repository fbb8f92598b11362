/* Recipes: what loads is a list of steps with verbs and texts. */
#include "experiments/recipe.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const settings[] = {"train*.steps=5", "sft.seed=3"};
    keel_recipe recipe;
    size_t length = 0;
    keel_recipe_places places = {"data", "out", settings, size % 3 == 0 ? 2 : 0};
    const char *path = fuzz_put("recipe.json", data, size);
    if (fuzz_ok(keel_recipe_load(&recipe, path, &places, &fuzz_err)))
        for (size_t i = 0; i < recipe.n_steps; i++) {
            const keel_step *step = &recipe.steps[i];
            FUZZ_CHECK(step->name && step->title && step->verb);
            for (size_t k = 0; k < step->argc; k++) length += strlen(step->argv[k]);
        }
    keel_recipe_free(&recipe);
    return length == SIZE_MAX;
}
