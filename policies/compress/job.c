#include "policies/compress/job.h"

#include "core/interrupt.h"

void keel_compress_tell(keel_compress_report *report, const char *name, double value) {
    if (report->n_figures < KEEL_BASE_MAX_FIGURES)
        report->figure[report->n_figures++] = (keel_base_figure){name, value};
}

void keel_compress_report_free(keel_compress_report *report) {
    keel_free(report->layer);
    *report = (keel_compress_report){0};
}

keel_status keel_compress_go_on(keel_err *err) {
    return keel_interrupted() ? keel_fail(err, KEEL_E_INTERRUPTED, "compress", "stopped; nothing is written")
                              : KEEL_OK;
}

keel_status keel_compress_share(const keel_compress_job *job, size_t shards, keel_shard_work *work,
                                void *context, keel_err *err) {
    if (job->pool) return keel_pool_run(job->pool, shards, work, context, err);
    for (size_t s = 0; s < shards; s++) KEEL_TRY(work(context, s, 0, err));
    return KEEL_OK;
}
