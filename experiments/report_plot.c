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
#include "experiments/report.h"

extern char **environ;

static const char *const palette[KEEL_PLOT_COLOURS] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                       "#E69F00", "#56B4E9", "#000000"};
/* gnuplot's point types, and the characters that look like them. */
static const int marks[KEEL_PLOT_COLOURS] = {7, 5, 9, 11, 13, 6, 4};
static const int characters[KEEL_PLOT_COLOURS] = {0x25CF, 0x25A0, 0x25B2, 0x25BC, 0x25C6, 0x25CB, 0x25A1};

static double number_of(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

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

/* Appends the drawing, from "<svg" on, with its ids made unique within the page. */
static void put_svg(keel_plotter *plotter, const char *svg, keel_buf *html) {
    static const char *const openers[] = {"id=\"", "id='", "href='#", "href=\"#", "url(#"};
    while (*svg) {
        const char *found = NULL;
        size_t which = 0;
        for (size_t i = 0; i < sizeof openers / sizeof openers[0]; i++) {
            const char *at = strstr(svg, openers[i]);
            if (at && (!found || at < found)) {
                found = at;
                which = i;
            }
        }
        if (!found) break;
        keel_buf_append(html, svg, (size_t)(found - svg) + strlen(openers[which]));
        keel_buf_format(html, "p%d-", plotter->count);
        svg = found + strlen(openers[which]);
    }
    keel_buf_text(html, svg);
}

static keel_status draw(keel_plotter *plotter, keel_buf *script, keel_buf *html, bool *drawn, keel_err *err) {
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
        put_svg(plotter, start, html);
        if (html->failed) status = keel_fail(err, KEEL_E_NOMEM, NULL, "for a plot");
    }
    *drawn = start != NULL;
    keel_buf_free(&svg);
    unlink(svg_path);
    return status;
}

/* ---- scripts ---- */

/* In single quotes nothing but the quote itself is special; what could still confuse is shown as '?'. */
static void put_quoted(keel_buf *script, const char *text) {
    size_t length = strlen(text), shown = length > 60 ? 60 : length;
    while (shown < length && shown > 0 && ((unsigned char)text[shown] & 0xC0) == 0x80) shown--;
    keel_buf_text(script, "'");
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)text[i];
        bool plain = c >= 0x80 || (c >= ' ' && c != 0x7F && !strchr("'\"`\\$@{}#", c));
        char one = plain ? (char)c : '?';
        keel_buf_append(script, &one, 1);
    }
    keel_buf_text(script, "'");
}

static void put_head(const keel_plotter *plotter, keel_buf *script, int width, int height) {
    keel_buf_format(
        script,
        "set encoding utf8\n"
        "set terminal svg noenhanced size %d,%d dynamic font 'Helvetica,Arial,sans-serif,%d' background "
        "'#ffffff'\n"
        "set output '%s/plot.svg'\n"
        "set border 3 lc rgb '#666666'\nset tics nomirror out\nset grid lc rgb '#dddddd' lt 1 lw 0.7\n",
        width, height, width > 500 ? 13 : 11, plotter->folder);
}

static bool has_estimate(const cJSON *rows, const char *metric) {
    const cJSON *row;
    cJSON_ArrayForEach (row, rows) {
        if (number_of(keel_json_get(keel_json_get(row, "metrics"), metric), "n") > 0) return true;
    }
    return false;
}

/* Whether all estimates lie between 0 and 1: then plots share that axis and can be compared. */
static bool are_rates(const cJSON *rows, const char *const *metrics) {
    const cJSON *row;
    cJSON_ArrayForEach (row, rows) {
        for (size_t i = 0; metrics[i]; i++) {
            double low = number_of(keel_json_get(keel_json_get(row, "metrics"), metrics[i]), "low");
            double high = number_of(keel_json_get(keel_json_get(row, "metrics"), metrics[i]), "high");
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
        if (number_of(interval, "n") > 0 && isfinite(number_of(interval, "value")))
            keel_buf_format(script, "%.9g %.9g %.9g %.9g\n", number_of(interval, "value"),
                            number_of(interval, "low"), number_of(interval, "high"), y + shift);
        y -= 1;
    }
    keel_buf_text(script, "EOD\n");
}

static void put_row_names(keel_buf *script, const cJSON *rows) {
    const cJSON *row;
    int y = cJSON_GetArraySize(rows);
    keel_buf_format(script, "set yrange [0.4:%d.6]\nset ytics (", y);
    cJSON_ArrayForEach (row, rows) {
        put_quoted(script, keel_json_get(row, "name")->valuestring);
        keel_buf_format(script, " %d%s", y--, row->next ? ", " : "");
    }
    keel_buf_text(script, ")\n");
}

keel_status keel_plot_intervals(keel_plotter *plotter, const cJSON *rows, const char *const *metrics,
                                const char *const *labels, keel_buf *html, bool *drawn, keel_err *err) {
    size_t count = 0, shown[KEEL_PLOT_COLOURS] = {0};
    *drawn = false;
    for (size_t i = 0; metrics[i] && count < KEEL_PLOT_COLOURS; i++)
        if (has_estimate(rows, metrics[i])) shown[count++] = i;
    if (!plotter->available || count == 0) return KEEL_OK;
    keel_buf script = {0};
    put_head(plotter, &script, 760, 90 + 34 * cJSON_GetArraySize(rows));
    put_row_names(&script, rows);
    if (are_rates(rows, metrics)) keel_buf_text(&script, "set xrange [0:1]\n");
    keel_buf_text(&script, "set key top center horizontal outside samplen 1\nset format x '%g'\n");
    for (size_t j = 0; j < count; j++)
        put_interval_data(&script, rows, metrics[shown[j]], j,
                          count > 1 ? 0.24 - 0.48 * (double)j / (double)(count - 1) : 0.0);
    for (size_t j = 0; j < count; j++) {
        keel_buf_format(&script, "%s$d%zu using 1:4:2:3 with xerrorbars lc rgb '%s' pt %d ps 1 lw 1.6 title ",
                        j ? ", " : "plot ", j, palette[j], marks[j]);
        put_quoted(&script, labels[shown[j]]);
    }
    keel_buf_text(&script, "\n");
    keel_status status = draw(plotter, &script, html, drawn, err);
    keel_buf_free(&script);
    return status;
}

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
    keel_buf_format(html, "<b style=\"color:%s\">&#%d;</b>", palette[place], characters[place]);
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
        size_t place = (size_t)number_of(line, "place");
        if (count == KEEL_PLOT_COLOURS || place >= KEEL_PLOT_COLOURS || is_flat_zero(line)) continue;
        put_curve_data(&script, keel_json_get(line, "points"), count);
        shown[count++] = place;
    }
    keel_buf_text(&script, "unset key\nset xlabel 'step'\nset format x '%g'\nset xtics autofreq\n");
    for (size_t j = 0; j < count; j++)
        keel_buf_format(&script,
                        "%s$d%zu using 1:2 with linespoints lc rgb '%s' dt %zu pt %d ps 0.5 pi -12 lw 1.6",
                        j ? ", " : "plot ", j, palette[shown[j]], shown[j] % 5 + 1, marks[shown[j]]);
    keel_buf_text(&script, "\n");
    keel_status status = count ? draw(plotter, &script, html, drawn, err) : KEEL_OK;
    keel_buf_free(&script);
    return status;
}
