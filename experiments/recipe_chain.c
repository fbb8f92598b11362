#include "experiments/recipe_chain.h"

#include <string.h>

#include "experiments/recipe_words.h"

void keel_chain_add(keel_chain *chain, const char *const *words) {
    for (; *words && chain->n < KEEL_CHAIN_WORDS; ++words) chain->list[chain->n++] = *words;
    chain->over |= *words != NULL;
}

static keel_status as_recipe(const keel_chain *chain, const keel_chain_place *place, keel_recipe *out,
                             keel_err *err) {
    const char *const add[] = {"--store", place->store};
    const keel_recipe_places places = {
        .data = "", .out = place->out, .settings = place->settings, .n_settings = place->n_settings};
    cJSON *json = NULL;
    *out = (keel_recipe){0};
    if (chain->over) return keel_fail(err, KEEL_E_USAGE, place->name, "too many flags");
    KEEL_TRY(keel_recipe_words_read(chain->list, chain->n, add, 2, &json, err));
    const keel_status status = keel_recipe_read(out, json, place->name, &places, err);
    cJSON_Delete(json);
    return status;
}

keel_recipe_run keel_chain_in(const keel_chain_place *place, const keel_recipe *recipe) {
    return (keel_recipe_run){.recipe = recipe,
                             .to = recipe->n_steps,
                             .out = place->out,
                             .root = place->root,
                             .threads = place->threads,
                             .arena = place->arena};
}

keel_status keel_chain_run(const keel_chain *chain, const keel_chain_place *place, keel_err *gate,
                           keel_err *err) {
    keel_recipe recipe;
    keel_status status = as_recipe(chain, place, &recipe, err);
    keel_recipe_run run = keel_chain_in(place, &recipe);
    if (status == KEEL_OK) status = keel_recipe_run_begin(&run, err);
    if (status == KEEL_OK) status = keel_recipe_run_steps(&run, err);
    if (gate) *gate = run.gate;
    keel_recipe_free(&recipe);
    return status;
}

keel_status keel_chain_result(const keel_chain_place *place, const char *step, cJSON **out, keel_err *err) {
    const keel_recipe none = {0};
    keel_recipe_run run = keel_chain_in(place, &none);
    return keel_recipe_run_result(&run, step, out, err);
}
