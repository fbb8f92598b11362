/* The monitor: its exposition is what Prometheus' text format 0.0.4 allows, counts are exact under threads,
 * labels are bounded and escaped, and documents name only metrics that exist. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "core/file.h"
#include "experiments/serve/monitor.h"
#include "support/faults.h"

/* ---- a strict reader of the format ---- */

typedef struct sample {
    char name[128], labels[512], le[256];
    double value;
} sample;

typedef struct reading {
    const char *at;
    char family[128], type[32], last[640]; /* last: name and labels but le of the series before */
    double bucket, upper;                  /* of the histogram that is being read; upper -INFINITY: none */
    size_t families, samples;
} reading;

static void take_name(reading *r, char out[128]) {
    size_t n = 0;
    while ((*r->at >= 'a' && *r->at <= 'z') || (*r->at >= 'A' && *r->at <= 'Z') || *r->at == '_' ||
           *r->at == ':' || (n && *r->at >= '0' && *r->at <= '9')) {
        assert_true(n < 127);
        out[n++] = *r->at++;
    }
    assert_true(n > 0);
    out[n] = '\0';
}

static void take_text(reading *r, const char *text) {
    assert_memory_equal(r->at, text, strlen(text));
    r->at += strlen(text);
}

static void take_label_value(reading *r, char *out, size_t size) {
    size_t n = 0;
    take_text(r, "\"");
    while (*r->at != '"') {
        assert_true(*r->at && *r->at != '\n' && n + 1 < size);
        if (*r->at == '\\') {
            r->at++;
            assert_true(*r->at == '\\' || *r->at == '"' || *r->at == 'n');
        }
        out[n++] = *r->at++;
    }
    out[n] = '\0';
    r->at++;
}

static void take_labels(reading *r, sample *s) {
    if (*r->at != '{') return;
    do {
        char name[128], value[256];
        r->at++;
        take_name(r, name);
        assert_null(strchr(name, ':'));
        take_text(r, "=");
        take_label_value(r, value, sizeof value);
        if (strcmp(name, "le") == 0)
            snprintf(s->le, sizeof s->le, "%s", value);
        else
            snprintf(s->labels + strlen(s->labels), sizeof s->labels - strlen(s->labels), "%s=%s;", name,
                     value);
    } while (*r->at == ',');
    take_text(r, "}");
}

static sample take_sample(reading *r) {
    sample s = {0};
    char *end;
    take_name(r, s.name);
    take_labels(r, &s);
    take_text(r, " ");
    s.value = strtod(r->at, &end);
    assert_ptr_not_equal(end, r->at);
    r->at = end;
    take_text(r, "\n");
    return s;
}

static void end_histogram(const reading *r) {
    if (strcmp(r->type, "histogram") == 0) assert_true(r->upper == -INFINITY);
}

/* Buckets rise, end with +Inf, and are followed by the sum and the count, which is the last bucket's. */
static void check_histogram(reading *r, const sample *s) {
    const char *suffix = s->name + strlen(r->family);
    assert_memory_equal(s->name, r->family, strlen(r->family));
    if (strcmp(suffix, "_bucket") == 0) {
        const double upper = strtod(s->le, NULL);
        if (r->upper == -INFINITY) r->bucket = 0;
        assert_true(s->le[0] && upper > r->upper && s->value >= r->bucket);
        r->upper = upper;
        r->bucket = s->value;
    } else if (strcmp(suffix, "_sum") == 0) {
        assert_true(r->upper == INFINITY);
    } else {
        assert_string_equal(suffix, "_count");
        assert_true(r->upper == INFINITY && s->value == r->bucket);
        r->upper = -INFINITY;
    }
}

static void take_comment(reading *r) {
    char name[128];
    size_t n = 0;
    end_histogram(r);
    take_text(r, "# HELP ");
    take_name(r, r->family);
    take_text(r, " ");
    while (*r->at != '\n') {
        assert_true(*r->at && *r->at != '\\');
        r->at++;
    }
    take_text(r, "\n# TYPE ");
    take_name(r, name);
    assert_string_equal(name, r->family);
    take_text(r, " ");
    while (*r->at != '\n' && n < sizeof r->type - 1) r->type[n++] = *r->at++;
    r->type[n] = '\0';
    assert_true(strcmp(r->type, "counter") == 0 || strcmp(r->type, "gauge") == 0 ||
                strcmp(r->type, "histogram") == 0);
    take_text(r, "\n");
    r->families++;
    r->upper = -INFINITY;
    r->last[0] = '\0';
}

/* Reads all; the value of a sample that is asked for by name and labels ("arm=a;"), NAN: it is not there. */
static double check(const char *text, const char *name, const char *labels, reading *r) {
    double found = NAN;
    *r = (reading){.at = text, .upper = -INFINITY};
    while (*r->at) {
        if (*r->at == '#') {
            take_comment(r);
            continue;
        }
        const sample s = take_sample(r);
        char series[640];
        snprintf(series, sizeof series, "%s{%s", s.name, s.labels);
        if (strcmp(r->type, "histogram") == 0) {
            check_histogram(r, &s);
        } else {
            assert_string_equal(s.name, r->family);
            assert_string_not_equal(series, r->last);
        }
        snprintf(r->last, sizeof r->last, "%s", series);
        r->samples++;
        if (strcmp(s.name, name) == 0 && strcmp(s.labels, labels) == 0) found = s.value;
    }
    end_histogram(r);
    return found;
}

static double value_of(const keel_monitor *monitor, const char *name, const char *labels) {
    keel_buf text = {0};
    reading r;
    keel_monitor_print(monitor, &text);
    assert_false(text.failed);
    const double value = check(text.data, name, labels, &r);
    assert_int_equal(r.families, KEEL_MONITOR_METRICS);
    keel_buf_free(&text);
    return value;
}

/* ---- tests ---- */

static keel_monitor *open_monitor(void) {
    keel_monitor *monitor;
    keel_err err;
    assert_int_equal(keel_monitor_open(&monitor, &err), KEEL_OK);
    return monitor;
}

static void rows_have_names_of_their_own(void **state) {
    (void)state;
    for (size_t m = 0; m < KEEL_MONITOR_METRICS; m++) {
        const keel_monitor_row *row = &keel_monitor_rows[m];
        const bool total = strlen(row->name) > 6 && strcmp(row->name + strlen(row->name) - 6, "_total") == 0;
        assert_true(total == (row->kind == KEEL_MONITOR_COUNTER));
        assert_true(strncmp(row->name, "keel:", 5) == 0 || strncmp(row->name, "process_", 8) == 0);
        for (size_t k = 0; k < m; k++) assert_string_not_equal(row->name, keel_monitor_rows[k].name);
    }
}

static void what_is_written_is_printed(void **state) {
    keel_monitor *monitor = open_monitor();
    (void)state;
    assert_true(value_of(monitor, "keel:num_requests_running", "") == 0);
    assert_true(isnan(value_of(monitor, "keel:decisions_total", "arm=a;")));
    keel_monitor_add(monitor, KEEL_MONITOR_DECISIONS, "a", 2);
    keel_monitor_add(monitor, KEEL_MONITOR_DECISIONS, "b", 1);
    keel_monitor_add(monitor, KEEL_MONITOR_DECISIONS, "a", 3);
    keel_monitor_set(monitor, KEEL_MONITOR_LOG_QUEUE, NULL, 7.5);
    keel_monitor_set(monitor, KEEL_MONITOR_DRIFT, "refusal", NAN);
    assert_true(value_of(monitor, "keel:decisions_total", "arm=a;") == 5);
    assert_true(value_of(monitor, "keel:decisions_total", "arm=b;") == 1);
    assert_true(value_of(monitor, "keel:log_queue_length", "") == 7.5);
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_DECISIONS, "a") == 5);
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_DECISIONS, "c") == 0);
    keel_monitor_add(NULL, KEEL_MONITOR_DECISIONS, "a", 1); /* a stage without a monitor */
    keel_monitor_close(monitor);
    keel_monitor_close(NULL);
}

static void a_histogram_counts_by_upper_ends(void **state) {
    keel_monitor *monitor = open_monitor();
    keel_buf text = {0};
    reading r;
    (void)state;
    const double seconds[] = {0, 0.0001, 0.00011, 0.01, 60, 61, INFINITY, NAN};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++)
        keel_monitor_observe(monitor, KEEL_MONITOR_UPSTREAM_TIME, "a", seconds[i]);
    keel_monitor_print(monitor, &text);
    check(text.data, "", "", &r);
    static const char *const lines[] = {
        "{upstream=\"a\",le=\"0.0001\"} 2\n", "{upstream=\"a\",le=\"0.00025\"} 3\n",
        "{upstream=\"a\",le=\"0.005\"} 3\n",  "{upstream=\"a\",le=\"0.01\"} 4\n",
        "{upstream=\"a\",le=\"60\"} 5\n",     "{upstream=\"a\",le=\"+Inf\"} 7\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) assert_non_null(strstr(text.data, lines[i]));
    assert_non_null(strstr(text.data, "keel:upstream_time_seconds_sum{upstream=\"a\"} +Inf\n"));
    assert_non_null(strstr(text.data, "keel:upstream_time_seconds_count{upstream=\"a\"} 7\n"));
    keel_buf_free(&text);
    keel_monitor_close(monitor);
}

static void labels_are_bounded_and_escaped(void **state) {
    keel_monitor *monitor = open_monitor();
    keel_buf text = {0};
    reading r;
    char label[256];
    (void)state;
    keel_monitor_add(monitor, KEEL_MONITOR_DECISIONS, "a\"b\\c\nd", 1);
    keel_monitor_add(monitor, KEEL_MONITOR_DECISIONS, "\xff\xfe", 1);
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_DECISIONS, "other") == 1);
    memset(label, 'x', sizeof label - 1), label[sizeof label - 1] = '\0';
    keel_monitor_add(monitor, KEEL_MONITOR_DECISIONS, label, 1);
    for (int i = 0; i < 1000; i++) {
        snprintf(label, sizeof label, "arm %d", i);
        keel_monitor_add(monitor, KEEL_MONITOR_DECISIONS, label, 1);
    }
    keel_monitor_print(monitor, &text);
    check(text.data, "", "", &r);
    assert_non_null(strstr(text.data, "keel:decisions_total{arm=\"a\\\"b\\\\c\\nd\"} 1\n"));
    size_t lines = 0;
    double sum = 0;
    for (const char *at = text.data; (at = strstr(at, "keel:decisions_total{")); at++, lines++)
        sum += strtod(strchr(at, '}') + 1, NULL);
    assert_true(lines <= KEEL_MONITOR_MOST + 1 && lines >= KEEL_MONITOR_MOST);
    assert_true(sum == 1003);
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_DECISIONS, "other") > 900);
    keel_buf_free(&text);
    keel_monitor_close(monitor);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *write_much(void *context) {
    static const char *const arms[] = {"a", "b", "c"};
    for (int i = 0; i < ROUNDS; i++) {
        keel_monitor_add(context, KEEL_MONITOR_DECISIONS, arms[i % 3], 1);
        keel_monitor_observe(context, KEEL_MONITOR_E2E_TIME, NULL, 0.25 * (i % 2));
    }
    return NULL;
}

static void nothing_is_lost_between_threads(void **state) {
    keel_monitor *monitor = open_monitor();
    pthread_t threads[THREADS];
    (void)state;
    for (size_t t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, write_much, monitor), 0);
    for (int i = 0; i < 20; i++) value_of(monitor, "", ""); /* valid while it is written to */
    for (size_t t = 0; t < THREADS; t++) pthread_join(threads[t], NULL);
    double sum = 0;
    for (const char *arm = "abc"; *arm; arm++)
        sum += keel_monitor_value(monitor, KEEL_MONITOR_DECISIONS, (char[]){*arm, '\0'});
    assert_true(sum == THREADS * ROUNDS);
    assert_true(value_of(monitor, "keel:e2e_request_latency_seconds_count", "") == THREADS * ROUNDS);
    assert_true(value_of(monitor, "keel:e2e_request_latency_seconds_sum", "") == THREADS * ROUNDS * 0.125);
    keel_monitor_close(monitor);
}

static void the_door_and_the_process_are_taken_over(void **state) {
    keel_monitor *monitor = open_monitor();
    (void)state;
    keel_monitor_take_http(monitor, &(keel_http_counts){.connections = 3, .requests = 9, .cut = 2});
    keel_monitor_take_process(monitor);
    assert_true(value_of(monitor, "keel:http_connections", "") == 3);
    assert_true(value_of(monitor, "keel:http_requests_total", "") == 9);
    assert_true(value_of(monitor, "keel:http_cut_total", "") == 2);
    assert_true(value_of(monitor, "process_resident_memory_bytes", "") > 1e6);
    assert_true(value_of(monitor, "process_open_fds", "") >= 3);
    assert_true(value_of(monitor, "process_start_time_seconds", "") > 1.5e9);
    keel_monitor_close(monitor);
}

/* Each allocation fails in turn: nothing is opened and nothing is left. A new label's value without memory is
 * not counted, and is once there is some. */
static void without_memory_nothing_is_half_open(void **state) {
    faults memory;
    keel_monitor *monitor = NULL;
    keel_err err;
    size_t at = 1;
    (void)state;
    for (;; at++) {
        faults_begin(&memory, at);
        const keel_status status = keel_monitor_open(&monitor, &err);
        if (status == KEEL_OK) break;
        assert_int_equal(status, KEEL_E_NOMEM);
        assert_null(monitor);
        assert_int_equal(memory.live, 0);
        faults_end();
    }
    assert_true(at > 10);
    keel_monitor_add(monitor, KEEL_MONITOR_DECISIONS, "a", 1); /* the allocations after it fail, too */
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_DECISIONS, "a") == 0);
    memory.fail_at = 0;
    keel_monitor_add(monitor, KEEL_MONITOR_DECISIONS, "a", 1);
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_DECISIONS, "a") == 1);
    keel_monitor_close(monitor);
    assert_int_equal(memory.live, 0);
    faults_end();
}

/* ---- documents ---- */

static bool is_of_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == ':';
}

/* The metric that a name in a document means; a histogram's has suffixes. */
static const keel_monitor_row *metric_of(const char *name, size_t length) {
    static const char *const suffixes[] = {"", "_bucket", "_sum", "_count"};
    for (size_t m = 0; m < KEEL_MONITOR_METRICS; m++) {
        const keel_monitor_row *row = &keel_monitor_rows[m];
        const bool histogram = row->kind == KEEL_MONITOR_TIMES || row->kind == KEEL_MONITOR_SIZES;
        const size_t n = strlen(row->name);
        for (size_t i = 0; i < (histogram ? 4 : 1); i++)
            if (length == n + strlen(suffixes[i]) && memcmp(name, row->name, n) == 0 &&
                memcmp(name + n, suffixes[i], length - n) == 0)
                return row;
    }
    return NULL;
}

/* Checks every name of a metric in a document, and marks those that occur. */
static void check_document(const char *path, bool named[KEEL_MONITOR_METRICS]) {
    static const char *const starts[] = {"keel:", "process_"};
    char whole[512];
    keel_buf text = {0};
    keel_err err;
    snprintf(whole, sizeof whole, "%s/%s", KEEL_SOURCE_DIR, path);
    assert_int_equal(keel_file_read(whole, 1 << 20, &text, &err), KEEL_OK);
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        for (const char *at = text.data; (at = strstr(at, starts[i])); at++) {
            size_t length = 0;
            if (at > text.data && is_of_name(at[-1])) continue;
            while (is_of_name(at[length])) length++;
            if (length == strlen(starts[i])) continue; /* "keel:" in a sentence */
            const keel_monitor_row *row = metric_of(at, length);
            if (!row) fail_msg("%s names %.*s, which is no metric", path, (int)length, at);
            named[row - keel_monitor_rows] = true;
        }
    keel_buf_free(&text);
}

static void documents_name_all_metrics_and_no_others(void **state) {
    bool dashboard[KEEL_MONITOR_METRICS] = {false}, page[KEEL_MONITOR_METRICS] = {false};
    (void)state;
    check_document("experiments/serve/grafana.json", dashboard);
    check_document("docs/serving.md", page);
    for (size_t m = 0; m < KEEL_MONITOR_METRICS; m++) {
        if (!dashboard[m]) fail_msg("the dashboard does not show %s", keel_monitor_rows[m].name);
        if (!page[m]) fail_msg("docs/serving.md does not name %s", keel_monitor_rows[m].name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_have_names_of_their_own),
        cmocka_unit_test(what_is_written_is_printed),
        cmocka_unit_test(a_histogram_counts_by_upper_ends),
        cmocka_unit_test(labels_are_bounded_and_escaped),
        cmocka_unit_test(nothing_is_lost_between_threads),
        cmocka_unit_test(the_door_and_the_process_are_taken_over),
        cmocka_unit_test(without_memory_nothing_is_half_open),
        cmocka_unit_test(documents_name_all_metrics_and_no_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
