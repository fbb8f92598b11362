#include "policies/transformer/input_stats.h"

#include <math.h>

#include "core/memory.h"
#include "core/panels.h"

keel_status keel_input_stats_make(keel_input_stats *out, size_t n, keel_err *err) {
    *out = (keel_input_stats){.n = n, .matrix = keel_calloc(n, sizeof *out->matrix)};
    return out->matrix ? KEEL_OK : keel_nomem(err, "input statistics");
}

void keel_input_stats_free(keel_input_stats *stats) {
    for (size_t i = 0; i < stats->n; i++) {
        keel_free(stats->matrix[i].square);
        keel_free(stats->matrix[i].largest);
    }
    keel_free(stats->matrix);
    *stats = (keel_input_stats){0};
}

static bool make_columns(keel_input_columns *to, size_t cols) {
    to->cols = cols;
    if (!to->square) to->square = keel_calloc(cols, sizeof *to->square);
    if (!to->largest) to->largest = keel_calloc(cols, sizeof *to->largest);
    return to->square && to->largest;
}

static void see(void *context, size_t row, const float *x, size_t rows, size_t cols) {
    keel_input_stats *stats = context;
    keel_input_columns *to = &stats->matrix[row];
    if (!make_columns(to, cols)) {
        stats->failed = true;
        return;
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) {
            const float value = x[keel_panel_at(r, c, cols)];
            to->square[c] += (double)value * (double)value;
            to->largest[c] = fmaxf(to->largest[c], fabsf(value));
        }
    to->rows += rows;
}

keel_observer keel_input_stats_observer(keel_input_stats *stats) {
    return (keel_observer){.see = see, .context = stats};
}

keel_status keel_input_stats_check(const keel_input_stats *stats, keel_err *err) {
    return stats->failed ? keel_nomem(err, "input statistics") : KEEL_OK;
}

void keel_input_mean_squares(const keel_input_columns *columns, float *out) {
    for (size_t c = 0; c < columns->cols; c++) out[c] = (float)(columns->square[c] / (double)columns->rows);
}
