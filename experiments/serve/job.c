#include "experiments/serve/job.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/hash.h"
#include "core/secret.h"

/* ---- what is decided ---- */

keel_status keel_job_offer(keel_job *job, const keel_candidate *candidate, const keel_job_source *source,
                           keel_err *err) {
    keel_decision *to = &job->decision;
    size_t room = job->room;
    if (keel_candidate_among(to->candidates, to->n_candidates, candidate)) return KEEL_OK;
    if (!keel_arena_grow(&job->arena, &to->candidates, to->n_candidates, &room, sizeof *to->candidates) ||
        !keel_arena_grow(&job->arena, &job->source, to->n_candidates, &job->room, sizeof *job->source))
        return keel_nomem(err, "candidates");
    to->candidates[to->n_candidates] = *candidate;
    job->source[to->n_candidates++] = *source;
    return KEEL_OK;
}

keel_status keel_job_begin(keel_job *job, keel_err *err) {
    const keel_asked *asked = &job->asked;
    job->talk = (keel_conversation){.source = KEEL_SERVED_SOURCE,
                                    .external_id = job->name,
                                    .completed = KEEL_UNKNOWN,
                                    .n_turns = asked->n_turns,
                                    .turns = asked->turns,
                                    .n_decisions = 1,
                                    .decisions = &job->decision};
    job->decision = (keel_decision){.turn = asked->n_turns};
    for (size_t i = 0; i < asked->n_candidates; i++)
        KEEL_TRY(keel_job_offer(job, &asked->candidates[i],
                                &(keel_job_source){.from = "caller",
                                                   .prompt_tokens = -1,
                                                   .completion_tokens = -1,
                                                   .place = (int64_t)asked->place[i]},
                                err));
    return KEEL_OK;
}

/* ---- all jobs ---- */

struct keel_jobs {
    pthread_mutex_t lock;
    keel_job **all; /* [most]; [made] are there */
    size_t most, made, flying;
    keel_job *free;
    uint64_t number;
    unsigned char secret[32]; /* of this start: makes ids that nobody can guess */
};

keel_status keel_jobs_open(keel_jobs **out, size_t most, keel_err *err) {
    keel_jobs *jobs = keel_calloc(1, sizeof *jobs);
    *out = NULL;
    if (jobs) jobs->all = keel_calloc(most, sizeof *jobs->all);
    if (!jobs || !jobs->all) {
        keel_free(jobs);
        return keel_nomem(err, "serve");
    }
    jobs->most = most;
    pthread_mutex_init(&jobs->lock, NULL);
    const keel_status status = keel_secret(jobs->secret, sizeof jobs->secret, err);
    if (status == KEEL_OK)
        *out = jobs;
    else
        keel_jobs_close(jobs);
    return status;
}

static keel_job *take_or_make(keel_jobs *jobs) {
    keel_job *job = jobs->free;
    if (job) {
        jobs->free = job->next;
        return job;
    }
    job = jobs->made < jobs->most ? keel_calloc(1, sizeof *job) : NULL;
    if (job) jobs->all[jobs->made++] = job;
    return job;
}

static void name(const keel_jobs *jobs, keel_job *job) {
    unsigned char digest[32];
    char *at = job->id;
    keel_sha256 hash;
    keel_sha256_init(&hash);
    keel_sha256_add(&hash, jobs->secret, sizeof jobs->secret);
    keel_sha256_add(&hash, &job->number, sizeof job->number);
    keel_sha256_finish(&hash, digest);
    at += snprintf(at, sizeof job->id, "chatcmpl-");
    for (size_t i = 0; i < 16; i++) at += snprintf(at, 3, "%02x", digest[i]);
}

keel_job *keel_jobs_take(keel_jobs *jobs) {
    pthread_mutex_lock(&jobs->lock);
    keel_job *job = take_or_make(jobs);
    if (job) {
        job->number = ++jobs->number;
        jobs->flying++;
    }
    pthread_mutex_unlock(&jobs->lock);
    if (!job) return NULL;
    name(jobs, job);
    job->at = keel_clock_wall();
    job->begun = keel_clock();
    return job;
}

/* Memory of a round before is kept, but not that of a giant's. */
static void reset(keel_arena *arena) {
    enum { KEPT = 256 * 1024 };
    if (arena->peak > KEPT)
        keel_arena_free(arena);
    else
        keel_arena_reset(arena);
}

void keel_jobs_give(keel_jobs *jobs, keel_job *job) {
    keel_arena kept[] = {job->arena, job->gathered.upstream, job->gathered.written};
    const size_t usual = job->usual;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) reset(&kept[i]);
    pthread_mutex_lock(&jobs->lock);
    *job = (keel_job){.next = jobs->free,
                      .arena = kept[0],
                      .gathered = {.upstream = kept[1], .written = kept[2]},
                      .usual = usual};
    jobs->free = job;
    jobs->flying--;
    pthread_mutex_unlock(&jobs->lock);
}

size_t keel_jobs_flying(keel_jobs *jobs) {
    pthread_mutex_lock(&jobs->lock);
    const size_t flying = jobs->flying;
    pthread_mutex_unlock(&jobs->lock);
    return flying;
}

void keel_jobs_close(keel_jobs *jobs) {
    if (!jobs) return;
    for (size_t i = 0; i < jobs->made; i++) {
        keel_arena_free(&jobs->all[i]->arena);
        keel_arena_free(&jobs->all[i]->gathered.upstream);
        keel_arena_free(&jobs->all[i]->gathered.written);
        keel_free(jobs->all[i]);
    }
    pthread_mutex_destroy(&jobs->lock);
    keel_free(jobs->all);
    keel_free(jobs);
}
