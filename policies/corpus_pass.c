#include "policies/corpus_pass.h"

#include "core/interrupt.h"
#include "core/progress.h"

typedef struct passing {
    const keel_corpus_pass *pass;
    keel_corpus_some some;
} passing;

static keel_status look(void *context, size_t i, size_t thread, keel_err *err) {
    const passing *p = context;
    (void)thread;
    return p->pass->look(p->pass->context, &p->some, i, err);
}

static keel_status read_some(passing *p, keel_corpus *corpus, keel_pool *pool, keel_err *err) {
    for (size_t i = 0; i < p->some.n; i++) keel_arena_reset(&p->some.arena[i]);
    KEEL_TRY(corpus->read(corpus, p->some.place, p->some.n, p->some.arena, p->some.read, err));
    if (p->pass->look) KEEL_TRY(keel_pool_run(pool, p->some.n, look, p, err));
    return p->pass->take ? p->pass->take(p->pass->context, &p->some, err) : KEEL_OK;
}

keel_status keel_corpus_pass_run(const keel_corpus_pass *pass, keel_corpus *corpus, keel_pool *pool,
                                 keel_err *err) {
    keel_conversation *read[KEEL_PASS_ONCE];
    keel_arena arena[KEEL_PASS_ONCE] = {{0}};
    passing p = {.pass = pass, .some = {.read = read, .arena = arena}};
    keel_progress progress;
    keel_status status = KEEL_OK;
    keel_progress_start(&progress, pass->what, corpus->count);
    for (size_t at = 0; at < corpus->count && status == KEEL_OK; at += p.some.n) {
        p.some.place = corpus->by_name + at;
        p.some.n = corpus->count - at < KEEL_PASS_ONCE ? corpus->count - at : KEEL_PASS_ONCE;
        status = keel_interrupted()
                     ? keel_fail(err, KEEL_E_INTERRUPTED, pass->who, "stopped after %zu conversations", at)
                     : read_some(&p, corpus, pool, err);
        keel_progress_step(&progress, at + p.some.n, NULL);
    }
    keel_progress_end(&progress, corpus->count);
    for (size_t i = 0; i < KEEL_PASS_ONCE; i++) keel_arena_free(&arena[i]);
    return status;
}
