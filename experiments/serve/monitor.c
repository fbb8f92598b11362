#include "experiments/serve/monitor.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/json.h"
#include "core/text.h"

const char keel_monitor_type[] = "text/plain; version=0.0.4; charset=utf-8";

const keel_monitor_row keel_monitor_rows[KEEL_MONITOR_METRICS] = {
#define ROW(ID, KIND, name, label, help) {KEEL_MONITOR_##KIND, name, label, help},
    KEEL_MONITOR_ROWS(ROW)
#undef ROW
};

/* Upper ends of buckets; +Inf follows. */
static const double times[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                               0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30,    60};
static const double sizes[] = {1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 64, 128};
enum { MOST_BUCKETS = sizeof times / sizeof *times + 1 };

typedef struct bounds {
    const double *upper;
    size_t count;
} bounds;

static bounds bounds_of(keel_monitor_metric metric) {
    switch (keel_monitor_rows[metric].kind) {
    case KEEL_MONITOR_TIMES:
        return (bounds){times, sizeof times / sizeof *times};
    case KEEL_MONITOR_SIZES:
        return (bounds){sizes, sizeof sizes / sizeof *sizes};
    default:
        return (bounds){NULL, 0};
    }
}

/* One value of a label. */
typedef struct series {
    char label[KEEL_MONITOR_LABEL];
    _Atomic double value; /* of a histogram: the sum */
    _Atomic uint64_t buckets[MOST_BUCKETS];
} series;

/* Only ever grows; `count` is written after what it counts. The last place is for "other". */
typedef struct family {
    _Atomic size_t count;
    series *_Atomic series[KEEL_MONITOR_MOST + 1];
} family;

struct keel_monitor {
    family families[KEEL_MONITOR_METRICS];
    pthread_mutex_t grow;
};

/* ---- series ---- */

static series *look_up(const family *f, const char *label) {
    const size_t count = atomic_load_explicit(&f->count, memory_order_acquire);
    for (size_t i = 0; i < count; i++) {
        series *s = f->series[i];
        if (strcmp(s->label, label) == 0) return s;
    }
    return NULL;
}

/* As it stands in the family: cut, and "other" for what is no text. */
static void name_label(const char *label, char out[KEEL_MONITOR_LABEL]) {
    const size_t length = strnlen(label, KEEL_MONITOR_LABEL - 1);
    const size_t valid = keel_utf8_valid_prefix(label, length);
    const bool is_text = valid == length || label[length]; /* a cut character */
    snprintf(out, KEEL_MONITOR_LABEL, "%.*s", (int)valid, label);
    if (!is_text) snprintf(out, KEEL_MONITOR_LABEL, "other");
}

static series *grow(keel_monitor *monitor, family *f, const char *label) {
    pthread_mutex_lock(&monitor->grow);
    series *s = look_up(f, label);
    const size_t count = f->count;
    if (!s && count >= KEEL_MONITOR_MOST) s = look_up(f, label = "other");
    if (!s) {
        s = keel_calloc(1, sizeof *s);
        if (s) {
            snprintf(s->label, sizeof s->label, "%s", label);
            f->series[count] = s;
            atomic_store_explicit(&f->count, count + 1, memory_order_release);
        }
    }
    pthread_mutex_unlock(&monitor->grow);
    return s;
}

static series *find(keel_monitor *monitor, keel_monitor_metric metric, const char *label) {
    family *f = &monitor->families[metric];
    char name[KEEL_MONITOR_LABEL];
    label = label && keel_monitor_rows[metric].label ? label : "";
    series *s = look_up(f, label);
    if (s) return s;
    name_label(label, name);
    s = look_up(f, name);
    return s ? s : grow(monitor, f, name);
}

static void add_to(_Atomic double *sum, double by) {
    double old = atomic_load_explicit(sum, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(sum, &old, old + by, memory_order_relaxed,
                                                  memory_order_relaxed))
        continue;
}

/* ---- opened and written ---- */

keel_status keel_monitor_open(keel_monitor **out, keel_err *err) {
    keel_monitor *monitor = *out = keel_calloc(1, sizeof *monitor);
    if (!monitor) return keel_nomem(err, "monitor");
    pthread_mutex_init(&monitor->grow, NULL);
    for (size_t m = 0; m < KEEL_MONITOR_METRICS; m++)
        if (!keel_monitor_rows[m].label && !find(monitor, (keel_monitor_metric)m, NULL)) {
            keel_monitor_close(monitor);
            *out = NULL;
            return keel_nomem(err, "monitor");
        }
    keel_monitor_set(monitor, KEEL_MONITOR_START_TIME, NULL, (double)time(NULL));
    return KEEL_OK;
}

void keel_monitor_close(keel_monitor *monitor) {
    if (!monitor) return;
    for (size_t m = 0; m < KEEL_MONITOR_METRICS; m++)
        for (size_t i = 0; i < monitor->families[m].count; i++) keel_free(monitor->families[m].series[i]);
    pthread_mutex_destroy(&monitor->grow);
    keel_free(monitor);
}

void keel_monitor_add(keel_monitor *monitor, keel_monitor_metric metric, const char *label, double by) {
    series *s = monitor ? find(monitor, metric, label) : NULL;
    if (s) add_to(&s->value, by);
}

void keel_monitor_set(keel_monitor *monitor, keel_monitor_metric metric, const char *label, double value) {
    series *s = monitor ? find(monitor, metric, label) : NULL;
    if (s) atomic_store_explicit(&s->value, value, memory_order_relaxed);
}

void keel_monitor_observe(keel_monitor *monitor, keel_monitor_metric metric, const char *label,
                          double value) {
    const bounds b = bounds_of(metric);
    series *s = monitor && !isnan(value) ? find(monitor, metric, label) : NULL;
    size_t at = 0;
    if (!s) return;
    while (at < b.count && value > b.upper[at]) at++;
    atomic_fetch_add_explicit(&s->buckets[at], 1, memory_order_relaxed);
    add_to(&s->value, value);
}

double keel_monitor_value(const keel_monitor *monitor, keel_monitor_metric metric, const char *label) {
    char name[KEEL_MONITOR_LABEL];
    name_label(label ? label : "", name);
    const series *s = monitor ? look_up(&monitor->families[metric], name) : NULL;
    return s ? s->value : 0;
}

/* ---- taken over ---- */

void keel_monitor_take_http(keel_monitor *monitor, const keel_http_counts *counts) {
    const struct {
        keel_monitor_metric metric;
        uint64_t value;
    } rows[] = {
        {KEEL_MONITOR_CONNECTIONS, counts->connections}, {KEEL_MONITOR_BODY_BYTES, counts->body_bytes},
        {KEEL_MONITOR_ACCEPTED, counts->accepted},       {KEEL_MONITOR_HTTP_REQUESTS, counts->requests},
        {KEEL_MONITOR_REFUSED, counts->refused},         {KEEL_MONITOR_CUT, counts->cut}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        keel_monitor_set(monitor, rows[i].metric, NULL, (double)rows[i].value);
}

static double resident_bytes(void) {
    unsigned long long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    const int fields = fscanf(file, "%llu %llu", &pages, &resident);
    fclose(file);
    return fields == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : 0;
}

static double open_files(void) {
    DIR *dir = opendir("/proc/self/fd");
    double count = -3; /* ".", ".." and the directory itself */
    if (!dir) return 0;
    while (readdir(dir)) count++;
    closedir(dir);
    return count;
}

static double seconds_of(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void keel_monitor_take_process(keel_monitor *monitor) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        keel_monitor_set(monitor, KEEL_MONITOR_CPU_TIME, NULL,
                         seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    keel_monitor_set(monitor, KEEL_MONITOR_MEMORY, NULL, resident_bytes());
    keel_monitor_set(monitor, KEEL_MONITOR_FILES, NULL, open_files());
}

/* ---- printed ---- */

static void put_number(keel_buf *buf, double value) {
    if (isnan(value))
        keel_buf_text(buf, "NaN");
    else if (isinf(value))
        keel_buf_text(buf, value > 0 ? "+Inf" : "-Inf");
    else
        keel_json_put_number(buf, value);
}

static void put_label(keel_buf *buf, const char *name, const char *value) {
    keel_buf_format(buf, "%s=\"", name);
    for (const char *c = value; *c; c++)
        if (*c == '\n')
            keel_buf_text(buf, "\\n");
        else
            keel_buf_format(buf, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    keel_buf_text(buf, "\"");
}

static void put_line(keel_buf *buf, const keel_monitor_row *row, const char *suffix, const series *s,
                     const char *le, double value) {
    keel_buf_format(buf, "%s%s", row->name, suffix);
    if (row->label || le) keel_buf_text(buf, "{");
    if (row->label) put_label(buf, row->label, s->label);
    if (row->label && le) keel_buf_text(buf, ",");
    if (le) put_label(buf, "le", le);
    keel_buf_text(buf, row->label || le ? "} " : " ");
    put_number(buf, value);
    keel_buf_text(buf, "\n");
}

/* The count is that of the buckets as they are read, so that both agree. */
static void put_histogram(keel_buf *buf, const keel_monitor_row *row, bounds b, const series *s) {
    uint64_t count = 0;
    for (size_t i = 0; i <= b.count; i++) {
        char le[32] = "+Inf";
        if (i < b.count) snprintf(le, sizeof le, "%g", b.upper[i]);
        count += s->buckets[i];
        put_line(buf, row, "_bucket", s, le, (double)count);
    }
    put_line(buf, row, "_sum", s, NULL, s->value);
    put_line(buf, row, "_count", s, NULL, (double)count);
}

void keel_monitor_print(const keel_monitor *monitor, keel_buf *buf) {
    static const char *const types[] = {[KEEL_MONITOR_COUNTER] = "counter",
                                        [KEEL_MONITOR_GAUGE] = "gauge",
                                        [KEEL_MONITOR_TIMES] = "histogram",
                                        [KEEL_MONITOR_SIZES] = "histogram"};
    for (size_t m = 0; m < KEEL_MONITOR_METRICS; m++) {
        const keel_monitor_row *row = &keel_monitor_rows[m];
        const family *f = &monitor->families[m];
        const bounds b = bounds_of((keel_monitor_metric)m);
        const size_t count = atomic_load_explicit(&f->count, memory_order_acquire);
        keel_buf_format(buf, "# HELP %s %s.\n# TYPE %s %s\n", row->name, row->help, row->name,
                        types[row->kind]);
        for (size_t i = 0; i < count; i++)
            if (b.count)
                put_histogram(buf, row, b, f->series[i]);
            else
                put_line(buf, row, "", f->series[i], NULL, f->series[i]->value);
    }
}
