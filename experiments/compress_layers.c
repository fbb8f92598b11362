#include "experiments/compress_layers.h"

#include <math.h>

#include "core/json.h"
#include "experiments/table.h"

/* A number, or null where nothing was measured. */
static bool put_harm(cJSON *to, const char *name, double harm) {
    return keel_json_add(to, name, isnan(harm) ? cJSON_CreateNull() : cJSON_CreateNumber(harm));
}

keel_status keel_compress_layers_put(const keel_compress_report *report, cJSON *result, keel_err *err) {
    cJSON *list = report->n_layers ? cJSON_AddArrayToObject(result, "layers") : NULL;
    if (report->n_layers && !list) return keel_nomem(err, "compress");
    for (size_t l = 0; l < report->n_layers; l++) {
        const keel_compress_layer *layer = &report->layer[l];
        cJSON *row = cJSON_CreateObject();
        const bool good =
            keel_json_add(list, NULL, row) && cJSON_AddNumberToObject(row, "layer", (double)l) &&
            cJSON_AddNumberToObject(row, "channels_before", (double)layer->channels_before) &&
            cJSON_AddNumberToObject(row, "channels", (double)layer->channels) &&
            cJSON_AddNumberToObject(row, "heads_before", (double)layer->heads_before) &&
            cJSON_AddNumberToObject(row, "heads", (double)layer->heads) &&
            put_harm(row, "harm", layer->harm[0]) && put_harm(row, "harm_channels", layer->harm[1]) &&
            put_harm(row, "harm_heads", layer->harm[2]);
        if (!good) return keel_nomem(err, "compress");
    }
    return KEEL_OK;
}

void keel_compress_layers_print(const cJSON *result, FILE *out) {
    static const char *const head[] = {"layer", "channels",    "kept",         "heads",
                                       "kept",  "off without", "its channels", "its heads"};
    static const char *const sizes[] = {"layer", "channels_before", "channels", "heads_before", "heads"};
    const cJSON *layers = keel_json_get(result, "layers"), *layer;
    keel_table table = {.columns = sizeof head / sizeof *head};
    if (!layers) return;
    for (size_t i = 0; i < table.columns; i++) keel_table_cell(&table, "%s", head[i]);
    cJSON_ArrayForEach (layer, layers) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            keel_table_cell(&table, "%d", keel_json_get(layer, sizes[i])->valueint);
        keel_table_number(&table, keel_json_get(layer, "harm"), "%.4f");
        keel_table_number(&table, keel_json_get(layer, "harm_channels"), "%.4f");
        keel_table_number(&table, keel_json_get(layer, "harm_heads"), "%.4f");
    }
    fputc('\n', out);
    keel_table_print(&table, out);
    keel_table_free(&table);
}
