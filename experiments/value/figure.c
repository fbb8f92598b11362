/* The figure. Colours are Okabe and Ito's; marks differ as well. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "core/file.h"
#include "experiments/report/report.h"
#include "experiments/value/report.h"

static const char *const colours[KEEL_INT_LIST_MAX] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                       "#E69F00", "#56B4E9", "#000000", "#999999"};
static const int marks[KEEL_INT_LIST_MAX] = {7, 5, 9, 11, 13, 6, 4, 8};

/* Zero has no place on a logarithmic axis. */
static double shown(double x) {
    return fmax(x, 1e-3);
}

static void put_head(const value_config *config, const char *svg, keel_buf *script) {
    keel_buf_format(script,
                    "set encoding utf8\nset terminal svg noenhanced size %zu,640 dynamic font "
                    "'Helvetica,Arial,sans-serif,13' background '#ffffff'\nset output '",
                    80 + 330 * config->eps.count);
    for (const char *c = svg; *c; ++c) keel_buf_format(script, *c == '\'' ? "''" : "%c", *c);
    keel_buf_format(script,
                    "'\nset multiplot layout 2,%zu\nset border 3 lc rgb '#666666'\nset tics nomirror out\n"
                    "set grid ytics lc rgb '#dddddd' lt 1 lw 0.7\nset logscale y\nset format y '%%g'\n",
                    config->eps.count);
}

/* One curve for each n: BC's error by FQE at 0, then the sweep's. */
static void put_sweep(const value_config *config, const value_cell *cells, size_t e, keel_buf *script) {
    const size_t columns = config->eps.count;
    for (size_t i = 0; i < config->n.count; ++i) {
        keel_buf_format(script, "$s%zu << EOD\n", i);
        for (size_t m = 0; m < VALUE_N_METHODS; ++m)
            keel_buf_format(script, "%zu %.6g\n%s", m, shown(cells[i * columns + e].own[m].rmse),
                            m == VALUE_BC ? "\n" : "");
        keel_buf_text(script, "EOD\n");
    }
    keel_buf_format(
        script, "set title 'eps %.2g: error of what is promised'\nset xrange [-0.5:%d.5]\nset xtics ('BC' 0",
        cells[e].eps, VALUE_N_METHODS - 1);
    for (size_t m = VALUE_QL; m < VALUE_N_METHODS; ++m)
        keel_buf_format(script, ", '%g' %zu", value_methods[m].alpha * (m != VALUE_QL), m);
    keel_buf_format(
        script,
        ")\nunset arrow\nset yrange [0.005:100]\nset ylabel '%s'\nset key bmargin center horizontal\nplot ",
        e ? "" : "RMSE, shares of the range");
    for (size_t i = 0; i < config->n.count; ++i)
        keel_buf_format(script,
                        "%s$s%zu using 1:2 with linespoints lc rgb '%s' pt %d ps 0.7 lw 1.6 title 'n %.0f'",
                        i ? ", " : "", i, colours[i], marks[i], (double)config->n.items[i]);
    keel_buf_text(script, "\n");
}

/* Error of the method over the base's, at alpha as chosen. */
static void put_ratios(const value_config *config, const value_cell *cells, size_t e, keel_buf *script) {
    const size_t columns = config->eps.count, rows = config->n.count;
    for (size_t i = 0; i < rows; ++i) {
        keel_buf_format(script, "$r%zu << EOD\n", i);
        for (size_t j = 0; j < KEEL_N_ESTIMANDS; ++j) {
            const keel_value_comparison *of = &cells[i * columns + e].of[VALUE_CHOSEN][j];
            if (!isfinite(of->reduction) || !isfinite(of->low) || !isfinite(of->high)) continue;
            keel_buf_format(script, "%.4g %.6g %.6g %.6g\n",
                            (double)j + 0.16 * ((double)i - (double)(rows - 1) / 2), shown(1 - of->reduction),
                            shown(1 - of->high), shown(1 - of->low));
        }
        keel_buf_text(script, "EOD\n");
    }
    keel_buf_format(script,
                    "set title 'eps %.2g: CQL over base'\nset xrange [-0.5:%d.5]\nset xlabel ''\nset xtics (",
                    cells[e].eps, KEEL_N_ESTIMANDS - 1);
    for (size_t j = 0; j < KEEL_N_ESTIMANDS; ++j)
        keel_buf_format(script, "%s\"%s\" %zu", j ? ", " : "", keel_estimand_names[j], j);
    keel_buf_format(
        script,
        ")\nset arrow 1 from graph 0, first 1 to graph 1, first 1 nohead lc rgb '#444444'\n"
        "set arrow 2 from graph 0, first 0.37 to graph 1, first 0.37 nohead dt 2 lc rgb '#444444'\n"
        "set yrange [0.002:50]\nset ylabel '%s'\nunset key\nplot ",
        e ? "" : "RMSE over the base (dashes: 0.37)");
    for (size_t i = 0; i < rows; ++i)
        keel_buf_format(script, "%s$r%zu using 1:2:3:4 with yerrorbars lc rgb '%s' pt %d ps 0.7 lw 1.6",
                        i ? ", " : "", i, colours[i], marks[i]);
    keel_buf_text(script, "\n");
}

keel_status value_cells_draw(const value_config *config, const value_cell *cells, const char *folder,
                             bool *drawn, keel_err *err) {
    keel_arena arena = {0};
    keel_buf script = {0};
    keel_status status = keel_fail(err, KEEL_E_NOMEM, folder, "no memory for a figure");
    const char *gp = keel_path_join(&arena, folder, "value_error.gp");
    const char *svg = keel_path_join(&arena, folder, "value_error.svg");
    if (!gp || !svg) goto done;
    put_head(config, svg, &script);
    for (size_t e = 0; e < config->eps.count; ++e) put_sweep(config, cells, e, &script);
    for (size_t e = 0; e < config->eps.count; ++e) put_ratios(config, cells, e, &script);
    keel_buf_text(&script, "unset multiplot\n");
    if (script.failed) goto done;
    KEEL_TRY_GOTO(keel_file_write(gp, script.data, script.length, err), done);
    *drawn = keel_gnuplot(gp);
    if (!*drawn) unlink(svg);
done:
    keel_buf_free(&script);
    keel_arena_free(&arena);
    return status;
}
