#include "core/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "core/memory.h"

struct keel_metrics {
    FILE *file; /* NULL: a sink */
    char *path;
    keel_buf line;
};

/* Cuts off what a killed process left of its last line, so that every line stays one JSON object. */
static bool drop_torn_line(FILE *file) {
    if (fseek(file, 0, SEEK_END) != 0) return false;
    long length = ftell(file), keep = length;
    for (; keep > 0; keep--)
        if (fseek(file, keep - 1, SEEK_SET) != 0 || fgetc(file) == '\n') break;
    if (ferror(file) || fseek(file, 0, SEEK_END) != 0) return false;
    return keep == length || ftruncate(fileno(file), keep) == 0;
}

keel_status keel_metrics_trim(const char *path, uint64_t step, keel_err *err) {
    keel_buf text = {0}, kept = {0};
    keel_status status = keel_file_read(path, 0, &text, err);
    char *line = text.data, *stop = line ? line + text.length : NULL, *end;
    for (; status == KEEL_OK && line < stop && (end = memchr(line, '\n', (size_t)(stop - line)));
         line = end + 1) {
        *end = '\0'; /* so that the search stays within the line */
        const char *number = strstr(line, "\"step\":");
        if (!number || strtoull(number + 7, NULL, 10) > step) continue;
        *end = '\n';
        keel_buf_append(&kept, line, (size_t)(end - line) + 1);
    }
    if (kept.failed) status = keel_fail(err, KEEL_E_NOMEM, path, "no memory for the metrics");
    if (status == KEEL_OK) status = keel_file_write(path, kept.data ? kept.data : "", kept.length, err);
    keel_buf_free(&text);
    keel_buf_free(&kept);
    return status;
}

keel_status keel_metrics_open(keel_metrics **out, const char *path, bool append, keel_err *err) {
    keel_metrics *metrics = keel_calloc(1, sizeof *metrics);
    if (!metrics) return keel_fail(err, KEEL_E_NOMEM, path, "no memory for metrics");
    keel_status status = KEEL_OK;
    if (path && !(metrics->path = keel_strdup(path))) {
        status = keel_fail(err, KEEL_E_NOMEM, path, "no memory for metrics");
        goto fail;
    }
    if (path && !(metrics->file = fopen(path, append ? "a+" : "w"))) {
        status = keel_file_fail(err, path, "open the metrics");
        goto fail;
    }
    if (path && append && !drop_torn_line(metrics->file)) {
        status = keel_file_fail(err, path, "continue the metrics");
        goto fail;
    }
    *out = metrics;
    return KEEL_OK;
fail:
    keel_metrics_close(metrics, NULL);
    return status;
}

keel_status keel_metrics_write(keel_metrics *metrics, uint64_t step, const char *const *names,
                               const double *values, size_t count, keel_err *err) {
    keel_buf *line = &metrics->line;
    if (!metrics->file) return KEEL_OK;
    keel_buf_clear(line);
    keel_buf_format(line, "{\"step\": %llu", (unsigned long long)step);
    for (size_t i = 0; i < count; i++) {
        keel_buf_text(line, ", ");
        keel_json_put_string(line, names[i]);
        keel_buf_text(line, ": ");
        keel_json_put_number(line, values[i]);
    }
    keel_buf_text(line, "}\n");
    if (line->failed) return keel_fail(err, KEEL_E_NOMEM, metrics->path, "no memory for a line of metrics");
    /* Flushed line by line: a full disk is noticed here, and curves can be followed while they grow. */
    if (fwrite(line->data, 1, line->length, metrics->file) != line->length || fflush(metrics->file) != 0)
        return keel_file_fail(err, metrics->path, "write the metrics");
    return KEEL_OK;
}

keel_status keel_metrics_close(keel_metrics *metrics, keel_err *err) {
    if (!metrics) return KEEL_OK;
    keel_status status = KEEL_OK;
    if (metrics->file && fclose(metrics->file) != 0)
        status = keel_file_fail(err, metrics->path, "write the metrics");
    keel_buf_free(&metrics->line);
    keel_free(metrics->path);
    keel_free(metrics);
    return status;
}
