/* Plots drawn by gnuplot as SVG. Colours are Okabe and Ito's, told apart by people with colour-vision
 * deficiency; marks and dashes differ as well. Titles and names come from recipes and logs: they reach
 * gnuplot only as plain characters in single quotes, and gnuplot is started without a shell. */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "experiments/html.h"
#include "experiments/report/report.h"

extern char **environ;

/* The colours that scripts name. In the page each becomes a variable of its style sheet (report.css), which
 * has other values on a dark ground: --mark-0 ..., --axis, --grid. */
static const char *const palette[KEEL_PLOT_COLOURS] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                       "#E69F00", "#56B4E9", "#000000"};
#define AXIS "#666666"
#define GRID "#dddddd"
/* gnuplot's point types, and the characters that look like them. */
static const int marks[KEEL_PLOT_COLOURS] = {7, 5, 9, 11, 13, 6, 4};
static const int characters[KEEL_PLOT_COLOURS] = {0x25CF, 0x25A0, 0x25B2, 0x25BC, 0x25C6, 0x25CB, 0x25A1};

/* Each plot is drawn twice: as wide as a page, and as narrow as a phone. The style sheet shows one of them.
 */
typedef enum shape { WIDE, NARROW, N_SHAPES, EITHER = N_SHAPES } shape;
static const char *const shape_names[] = {"wide", "narrow", "either"};

/* ---- running gnuplot ---- */

bool keel_gnuplot(const char *script) {
    char program[] = "gnuplot", quiet[] = "-d", path[4096];
    snprintf(path, sizeof path, "%s", script);
    char *argv[] = {program, quiet, path, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int state = 0;
    if (posix_spawn_file_actions_init(&actions) != 0) return false;
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    bool started = posix_spawnp(&child, program, &actions, NULL, argv, environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    return started && waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 0;
}

void keel_plotter_open(keel_plotter *plotter) {
    *plotter = (keel_plotter){0};
    const char *parent = getenv("TMPDIR");
    bool usable = parent && *parent && !strchr(parent, '\''); /* scripts quote it */
    int length =
        snprintf(plotter->folder, sizeof plotter->folder, "%s/keel-plot-XXXXXX", usable ? parent : "/tmp");
    if (length < 0 || (size_t)length >= sizeof plotter->folder) plotter->folder[0] = '\0';
    if (!mkdtemp(plotter->folder)) {
        plotter->folder[0] = '\0';
        return;
    }
    char script[sizeof plotter->folder + 16];
    snprintf(script, sizeof script, "%s/try.gp", plotter->folder);
    plotter->available = keel_file_write(script, "exit\n", 5, NULL) == KEEL_OK && keel_gnuplot(script);
}

void keel_plotter_close(keel_plotter *plotter) {
    if (plotter->folder[0]) keel_folder_remove(plotter->folder, NULL);
    *plotter = (keel_plotter){0};
}

/* "rgb(  0, 114, 178)" at text: the number of the colour in the palette, or that of axis or grid. */
static int colour_at(const char *text, size_t *length) {
    unsigned r, g, b, red, green, blue;
    int used = 0;
    if (sscanf(text, "rgb(%u,%u,%u)%n", &r, &g, &b, &used) != 3 || !used) return -1;
    *length = (size_t)used;
    for (int i = 0; i < KEEL_PLOT_COLOURS + 2; i++) {
        const char *name = i < KEEL_PLOT_COLOURS ? palette[i] : i == KEEL_PLOT_COLOURS ? AXIS : GRID;
        if (sscanf(name, "#%2x%2x%2x", &red, &green, &blue) == 3 && r == red && g == green && b == blue)
            return i;
    }
    return -1;
}

static void put_colour(int colour, keel_buf *html) {
    if (colour < KEEL_PLOT_COLOURS)
        keel_buf_format(html, "var(--mark-%d)", colour);
    else
        keel_buf_text(html, colour == KEEL_PLOT_COLOURS ? "var(--axis)" : "var(--grid)");
}

/* Appends the drawing, from its first child on: ids are made unique within the page, colours become those of
 * its style sheet. */
static void put_drawing(const keel_plotter *plotter, const char *svg, keel_buf *html) {
    static const char *const openers[] = {"id=\"", "id='", "href='#", "href=\"#", "url(#"};
    while (*svg) {
        size_t length = 0, i = 0;
        const int colour = *svg == 'r' ? colour_at(svg, &length) : -1;
        if (colour >= 0) {
            put_colour(colour, html);
            svg += length;
            continue;
        }
        while (i < sizeof openers / sizeof openers[0] && strncmp(svg, openers[i], strlen(openers[i])) != 0)
            i++;
        length = i < sizeof openers / sizeof openers[0] ? strlen(openers[i]) : 1;
        keel_buf_append(html, svg, length);
        if (length > 1) keel_buf_format(html, "p%d-", plotter->count);
        svg += length;
    }
}

/* gnuplot's root has no name, and a title that browsers show when a pointer rests on the plot. */
static void put_svg(const keel_plotter *plotter, shape as, const char *svg, keel_buf *html) {
    const char *box = strstr(svg, "viewBox=\""), *body = strstr(svg, "</desc>");
    const int length = box ? (int)strcspn(box + 9, "\"") : 0;
    if (!box || !body) return;
    keel_buf_format(html, "<svg class=%s role=img aria-hidden=true viewBox=\"%.*s\">", shape_names[as],
                    length, box + 9);
    put_drawing(plotter, body + strlen("</desc>"), html);
}

static keel_status draw(keel_plotter *plotter, shape as, keel_buf *script, keel_buf *html, bool *drawn,
                        keel_err *err) {
    char script_path[sizeof plotter->folder + 16], svg_path[sizeof plotter->folder + 16];
    keel_buf svg = {0};
    if (script->failed) return keel_fail(err, KEEL_E_NOMEM, NULL, "for a plot");
    snprintf(script_path, sizeof script_path, "%s/plot.gp", plotter->folder);
    snprintf(svg_path, sizeof svg_path, "%s/plot.svg", plotter->folder);
    KEEL_TRY(keel_file_write(script_path, script->data, script->length, err));
    keel_status status = KEEL_OK;
    *drawn = keel_gnuplot(script_path) && keel_file_exists(svg_path);
    if (*drawn) status = keel_file_read(svg_path, 0, &svg, err);
    const char *start = status == KEEL_OK && svg.data ? strstr(svg.data, "<svg") : NULL;
    if (start) {
        plotter->count++;
        put_svg(plotter, as, start, html);
        if (html->failed) status = keel_fail(err, KEEL_E_NOMEM, NULL, "for a plot");
    }
    *drawn = start != NULL;
    keel_buf_free(&svg);
    unlink(svg_path);
    return status;
}

/* ---- scripts ---- */

/* In single quotes nothing but the quote itself is special; what could still confuse is shown as '?', and
 * what hides is shown (experiments/html.h). */
static void put_quoted(keel_buf *script, const char *text) {
    enum { MOST = 60 };
    keel_buf shown = {0};
    keel_html_visible(&shown, text, MOST);
    keel_buf_text(script, "'");
    for (size_t i = 0; i < shown.length; i++) {
        const unsigned char c = (unsigned char)shown.data[i];
        const bool plain = c >= 0x80 || (c >= ' ' && !strchr("'\"`\\$@{}#", c));
        keel_buf_append(script, plain ? shown.data + i : "?", 1);
    }
    keel_buf_text(script, "'");
    if (shown.failed) script->failed = true;
    keel_buf_free(&shown);
}

static void put_head(const keel_plotter *plotter, keel_buf *script, int width, int height) {
    keel_buf_format(script,
                    "set encoding utf8\n"
                    "set terminal svg noenhanced size %d,%d dynamic font 'Helvetica,Arial,sans-serif,13'\n"
                    "set output '%s/plot.svg'\n"
                    "set border 3 lc rgb '" AXIS "'\nset tics nomirror out textcolor rgb '" AXIS "'\n"
                    "set key textcolor rgb '" AXIS "'\nset xlabel textcolor rgb '" AXIS "'\n"
                    "set ylabel textcolor rgb '" AXIS "'\nset grid lc rgb '" GRID "' lt 1 lw 0.7\n",
                    width, height, plotter->folder);
}

static bool has_estimate(const cJSON *rows, const char *metric) {
    const cJSON *row;
    cJSON_ArrayForEach (row, rows) {
        if (keel_json_value(keel_json_get(keel_json_get(row, "metrics"), metric), "n") > 0) return true;
    }
    return false;
}

/* Whether all estimates lie between 0 and 1: then plots share that axis and can be compared. */
static bool are_rates(const cJSON *rows, const char *const *metrics) {
    const cJSON *row;
    cJSON_ArrayForEach (row, rows) {
        for (size_t i = 0; metrics[i]; i++) {
            double low = keel_json_value(keel_json_get(keel_json_get(row, "metrics"), metrics[i]), "low");
            double high = keel_json_value(keel_json_get(keel_json_get(row, "metrics"), metrics[i]), "high");
            if (low < 0 || high > 1) return false;
        }
    }
    return true;
}

/* A data block of the rows that have this metric: value, low, high, height. */
static void put_interval_data(keel_buf *script, const cJSON *rows, const char *metric, size_t block,
                              double shift) {
    const cJSON *row;
    double y = (double)cJSON_GetArraySize(rows);
    keel_buf_format(script, "$d%zu << EOD\n", block);
    cJSON_ArrayForEach (row, rows) {
        const cJSON *interval = keel_json_get(keel_json_get(row, "metrics"), metric);
        if (keel_json_value(interval, "n") > 0 && isfinite(keel_json_value(interval, "value")))
            keel_buf_format(script, "%.9g %.9g %.9g %.9g\n", keel_json_value(interval, "value"),
                            keel_json_value(interval, "low"), keel_json_value(interval, "high"), y + shift);
        y -= 1;
    }
    keel_buf_text(script, "EOD\n");
}

/* Beside their lines, or on a narrow plot above them. */
static void put_row_names(keel_buf *script, shape as, const cJSON *rows) {
    const cJSON *row;
    int y = cJSON_GetArraySize(rows);
    keel_buf_format(script, "set yrange [0.4:%d.6]\n", y);
    if (as == WIDE) keel_buf_text(script, "set ytics (");
    if (as == NARROW) keel_buf_text(script, "unset ytics\nset border 1\n");
    cJSON_ArrayForEach (row, rows) {
        if (as == NARROW) keel_buf_text(script, "set label ");
        put_quoted(script, keel_json_get(row, "name")->valuestring);
        if (as == NARROW)
            keel_buf_format(script, " at graph 0, first %d.36 left textcolor rgb '" AXIS "'\n", y--);
        else
            keel_buf_format(script, " %d%s", y--, row->next ? ", " : "");
    }
    if (as == WIDE) keel_buf_text(script, ")\n");
}

static void put_intervals(keel_buf *script, shape as, const cJSON *rows, const char *const *metrics,
                          const char *const *labels, const size_t *shown, size_t count) {
    const double reach = as == WIDE ? 0.24 : 0.18, middle = as == WIDE ? 0 : -0.1;
    put_row_names(script, as, rows);
    if (are_rates(rows, metrics)) keel_buf_text(script, "set xrange [0:1]\nset xtics 0.25\n");
    keel_buf_text(script, as == WIDE ? "set key top center horizontal outside samplen 1\n"
                                     : "set key top center horizontal outside samplen 0.5 width -2\n");
    keel_buf_text(script, "set format x '%g'\n");
    for (size_t j = 0; j < count; j++)
        put_interval_data(script, rows, metrics[shown[j]], j,
                          middle + (count > 1 ? reach - 2 * reach * (double)j / (double)(count - 1) : 0.0));
    for (size_t j = 0; j < count; j++) {
        keel_buf_format(script, "%s$d%zu using 1:4:2:3 with xerrorbars lc rgb '%s' pt %d ps 1 lw 1.6 title ",
                        j ? ", " : "plot ", j, palette[j], marks[j]);
        put_quoted(script, labels[shown[j]]);
    }
    keel_buf_text(script, "\n");
}

keel_status keel_plot_intervals(keel_plotter *plotter, const cJSON *rows, const char *const *metrics,
                                const char *const *labels, keel_buf *html, bool *drawn, keel_err *err) {
    size_t count = 0, shown[KEEL_PLOT_COLOURS] = {0};
    const int n = cJSON_GetArraySize(rows);
    *drawn = false;
    for (size_t i = 0; metrics[i] && count < KEEL_PLOT_COLOURS; i++)
        if (has_estimate(rows, metrics[i])) shown[count++] = i;
    if (!plotter->available || count == 0) return KEEL_OK;
    keel_status status = KEEL_OK;
    for (int as = WIDE; as < N_SHAPES && status == KEEL_OK; as++) {
        keel_buf script = {0};
        put_head(plotter, &script, as == WIDE ? 760 : 340, 90 + (as == WIDE ? 34 : 64) * (n < 40 ? n : 40));
        put_intervals(&script, (shape)as, rows, metrics, labels, shown, count);
        status = draw(plotter, (shape)as, &script, html, drawn, err);
        keel_buf_free(&script);
    }
    return status;
}

/* ---- fronts ---- */

static void put_front_data(keel_buf *script, const cJSON *front, bool on, int block) {
    const cJSON *point;
    keel_buf_format(script, "$d%d << EOD\n", block);
    cJSON_ArrayForEach (point, keel_json_get(front, "points")) {
        const cJSON *metrics = keel_json_get(point, "metrics");
        const double x = keel_json_value(keel_json_get(metrics, "completion_rate"), "value"),
                     y = keel_json_value(keel_json_get(metrics, "safety"), "value");
        if (isfinite(x) && isfinite(y) && cJSON_IsTrue(keel_json_get(point, "on_front")) == on)
            keel_buf_format(script, "%.9g %.9g\n", x, y);
    }
    keel_buf_text(script, "EOD\n");
}

static bool has_point(const cJSON *front) {
    const cJSON *point;
    cJSON_ArrayForEach (point, keel_json_get(front, "points")) {
        const cJSON *metrics = keel_json_get(point, "metrics");
        if (isfinite(keel_json_value(keel_json_get(metrics, "completion_rate"), "value")) &&
            isfinite(keel_json_value(keel_json_get(metrics, "safety"), "value")))
            return true;
    }
    return false;
}

keel_status keel_plot_front(keel_plotter *plotter, const cJSON *front, keel_buf *html, bool *drawn,
                            keel_err *err) {
    keel_status status = KEEL_OK;
    *drawn = false;
    if (!plotter->available || !has_point(front)) return KEEL_OK;
    for (int as = WIDE; as < N_SHAPES && status == KEEL_OK; as++) {
        keel_buf script = {0};
        put_head(plotter, &script, as == WIDE ? 760 : 340, as == WIDE ? 360 : 280);
        put_front_data(&script, front, true, 0);
        put_front_data(&script, front, false, 1);
        keel_buf_format(
            &script,
            "set offsets graph 0.08, graph 0.08, graph 0.12, graph 0.12\nset format '%%.3g'\nset xlabel 'completion "
            "rate'\nset ylabel 'safety'\nset key top center horizontal outside\n"
            "plot $d0 using 1:2 smooth unique with linespoints lc rgb '%s' pt 7 ps 1 lw 1.6 title 'on the front', "
            "$d1 using 1:2 with points lc rgb '%s' pt 4 ps 1 title 'others'\n",
            palette[0], palette[1]);
        status = draw(plotter, (shape)as, &script, html, drawn, err);
        keel_buf_free(&script);
    }
    return status;
}

/* ---- curves ---- */

static void put_curve_data(keel_buf *script, const cJSON *points, size_t block) {
    const cJSON *point;
    keel_buf_format(script, "$d%zu << EOD\n", block);
    cJSON_ArrayForEach (point, points) {
        double value = point->child->next->valuedouble;
        if (isfinite(value)) keel_buf_format(script, "%.9g %.9g\n", point->child->valuedouble, value);
    }
    keel_buf_text(script, "EOD\n");
}

/* A part of the loss that is switched off. */
static bool is_flat_zero(const cJSON *line) {
    const cJSON *point;
    cJSON_ArrayForEach (point, keel_json_get(line, "points")) {
        if (point->child->next->valuedouble != 0) return false;
    }
    return true;
}

void keel_plot_key(size_t place, keel_buf *html) {
    keel_buf_format(html, "<span class=key-%zu aria-hidden=true>&#%d;</span>", place, characters[place]);
}

/* The last step of the curve's lines. */
static double last_step(const cJSON *curve) {
    const cJSON *line;
    double last = 0;
    cJSON_ArrayForEach (line, keel_json_get(curve, "lines")) {
        const cJSON *points = keel_json_get(line, "points");
        if (points && points->child) last = fmax(last, points->child->prev->child->valuedouble);
    }
    return last;
}

/* Ticks at multiples of 1, 2 or 5 times a power of ten, at most five of them, each with its label: gnuplot's
 * own run together on a small plot. */
static void put_ticks(keel_buf *script, const char *axis, double low, double high, bool whole) {
    const double wish = fmax((high - low) / 4, whole ? 1 : 1e-9), power = pow(10, floor(log10(wish))),
                 times = wish / power;
    const double step = power * (times <= 1.001 ? 1 : times <= 2.001 ? 2 : times <= 5.001 ? 5 : 10);
    const char *before = "";
    keel_buf_format(script, "set %s (", axis);
    for (double at = ceil(low / step - 1e-6) * step; at <= high + step * 1e-6; at += step, before = ", ") {
        char label[32];
        snprintf(label, sizeof label, whole ? "%.0f" : "%.3g", fabs(at) < step * 1e-6 ? 0 : at);
        keel_buf_format(script, "%s'%s' %.9g", before, label, at);
    }
    keel_buf_text(script, ")\n");
}

/* What the curve's lines span. */
static void range_of(const cJSON *curve, double *low, double *high) {
    const cJSON *line, *point;
    *low = INFINITY, *high = -INFINITY;
    cJSON_ArrayForEach (line, keel_json_get(curve, "lines")) {
        if (is_flat_zero(line)) continue;
        cJSON_ArrayForEach (point, keel_json_get(line, "points")) {
            const double value = point->child->next->valuedouble;
            if (!isfinite(value)) continue;
            *low = fmin(*low, value);
            *high = fmax(*high, value);
        }
    }
}

static void put_axes(keel_buf *script, const cJSON *curve) {
    double low, high;
    range_of(curve, &low, &high);
    put_ticks(script, "xtics", 0, last_step(curve), true);
    if (!(low <= high)) return;
    const double room = high > low ? (high - low) * 0.06 : fmax(fabs(high) * 0.1, 1e-6);
    put_ticks(script, "ytics", low - room, high + room, false);
    keel_buf_format(script, "set yrange [%.9g:%.9g]\n", low - room, high + room);
}

keel_status keel_plot_curve(keel_plotter *plotter, const cJSON *curve, keel_buf *html, bool *drawn,
                            keel_err *err) {
    const cJSON *line;
    size_t count = 0, shown[KEEL_PLOT_COLOURS];
    *drawn = false;
    if (!plotter->available) return KEEL_OK;
    keel_buf script = {0};
    put_head(plotter, &script, 340, 200);
    cJSON_ArrayForEach (line, keel_json_get(curve, "lines")) {
        size_t place = (size_t)keel_json_value(line, "place");
        if (count == KEEL_PLOT_COLOURS || place >= KEEL_PLOT_COLOURS || is_flat_zero(line)) continue;
        put_curve_data(&script, keel_json_get(line, "points"), count);
        shown[count++] = place;
    }
    keel_buf_text(&script, "unset key\nset xlabel 'step' offset 0,0.5\n");
    put_axes(&script, curve);
    for (size_t j = 0; j < count; j++)
        keel_buf_format(&script,
                        "%s$d%zu using 1:2 with linespoints lc rgb '%s' dt %zu pt %d ps 0.5 pi 12 lw 1.6",
                        j ? ", " : "plot ", j, palette[shown[j]], shown[j] % 5 + 1, marks[shown[j]]);
    keel_buf_text(&script, "\n");
    keel_status status = count ? draw(plotter, EITHER, &script, html, drawn, err) : KEEL_OK;
    keel_buf_free(&script);
    return status;
}
