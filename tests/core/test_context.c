/* The context belongs to a thread, and to the threads that work for it; without one nothing global is used.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/interrupt.h"
#include "core/json.h"
#include "core/parallel.h"
#include "support/faults.h"

static void without_a_context_it_is_silent_and_goes_on(void **state) {
    (void)state;
    keel_context context;
    keel_context_init(&context);
    assert_null(keel_context_use(NULL));
    assert_memory_equal(keel_context_current(), &context, sizeof context);
    assert_null(context.log);
    assert_null(context.progress);
    assert_false(keel_interrupted());
    assert_int_equal(context.seed, 1);
    keel_log(KEEL_LOG_INFO, "to nobody");
}

typedef struct listener {
    char said[64], shown[64];
    size_t asked;
} listener;

static void listen(void *user, keel_log_level level, const char *line) {
    listener *l = user;
    snprintf(l->said, sizeof l->said, "%d %s", (int)level, line);
}

static void watch(void *user, keel_progress *progress, keel_progress_event event, uint64_t done,
                  const char *note) {
    listener *l = user;
    snprintf(l->shown, sizeof l->shown, "%s %d %u/%u %s", progress->what, (int)event, (unsigned)done,
             (unsigned)progress->total, note ? note : "-");
}

static bool ask(void *user) {
    return ++((listener *)user)->asked > 1;
}

static void sinks_get_what_the_level_lets_through(void **state) {
    (void)state;
    listener heard = {0};
    keel_context context;
    keel_progress progress;
    keel_context_init(&context);
    context.log = listen, context.progress = watch, context.interrupted = ask, context.user = &heard;
    assert_null(keel_context_use(&context));
    keel_log(KEEL_LOG_INFO, "%d lines", 3);
    keel_log(KEEL_LOG_DEBUG, "more");
    assert_string_equal(heard.said, "1 3 lines");
    keel_progress_start(&progress, "work", 5);
    assert_string_equal(heard.shown, "work 0 0/5 -");
    keel_progress_step(&progress, 2, "note");
    assert_string_equal(heard.shown, "work 1 2/5 note");
    keel_progress_end(&progress, 5);
    assert_string_equal(heard.shown, "work 2 5/5 -");
    assert_false(keel_interrupted());
    assert_true(keel_interrupted());
    heard = (listener){0};
    context.log_level = KEEL_LOG_QUIET;
    keel_log(KEEL_LOG_INFO, "nothing");
    keel_progress_start(&progress, "nothing", 5);
    assert_string_equal(heard.said, "");
    assert_string_equal(heard.shown, "");
    assert_ptr_equal(keel_context_use(NULL), &context);
}

enum { THREADS = 4 };
static pthread_barrier_t all_of_them; /* so that each thread has a shard */

static keel_status allocate(void *items, size_t shard, size_t thread, keel_err *err) {
    (void)thread;
    pthread_barrier_wait(&all_of_them);
    ((void **)items)[shard] = keel_alloc(10);
    return ((void **)items)[shard] ? KEEL_OK : keel_nomem(err, "shard");
}

static void *allocate_elsewhere(void *user) {
    (void)user;
    keel_free(keel_alloc(10));
    return (void *)keel_context_current();
}

static void threads_of_a_pool_work_under_the_context_of_who_runs_it(void **state) {
    (void)state;
    faults count;
    keel_pool *pool;
    pthread_t other;
    void *items[THREADS], *seen;
    pthread_barrier_init(&all_of_them, NULL, THREADS);
    assert_int_equal(keel_pool_open(&pool, THREADS, NULL), KEEL_OK);
    faults_begin(&count, 0);
    assert_int_equal(keel_pool_run(pool, THREADS, allocate, items, NULL), KEEL_OK);
    assert_int_equal(count.live, THREADS);
    assert_int_equal(pthread_create(&other, NULL, allocate_elsewhere, NULL), 0);
    assert_int_equal(pthread_join(other, &seen), 0);
    assert_ptr_not_equal(seen, keel_context_current());
    assert_int_equal(count.calls, THREADS);
    for (size_t i = 0; i < THREADS; i++) keel_free(items[i]);
    assert_int_equal(count.live, 0);
    faults_end();
    assert_int_equal(keel_pool_run(pool, THREADS, allocate, items, NULL), KEEL_OK);
    assert_int_equal(count.calls, THREADS);
    for (size_t i = 0; i < THREADS; i++) keel_free(items[i]);
    keel_pool_close(pool);
    pthread_barrier_destroy(&all_of_them);
}

static void a_pool_of_no_size_takes_that_of_the_context(void **state) {
    (void)state;
    keel_context context;
    keel_pool *pool;
    keel_context_init(&context);
    context.threads = 3;
    keel_context_use(&context);
    assert_int_equal(keel_pool_open(&pool, 0, NULL), KEEL_OK);
    assert_int_equal(keel_pool_threads(pool), 3);
    keel_pool_close(pool);
    keel_context_use(NULL);
}

static size_t hosts_blocks;

static void *host_malloc(size_t bytes) {
    hosts_blocks++;
    return malloc(bytes);
}

static void host_free(void *block) {
    if (block) hosts_blocks--;
    free(block);
}

/* A value that is to be deleted by cJSON_Delete is of the memory that the host gave to cJSON. */
static void hooks_that_a_host_gave_to_cjson_stay(void **state) {
    (void)state;
    static const char text[] = "{\"a\": [1, \"two\"]}";
    keel_context context;
    cJSON *value;
    faults count = {0};
    keel_context_init(&context);
    context.allocator = (keel_allocator){faults_resize, faults_release, &count, NULL};
    cJSON_InitHooks(&(cJSON_Hooks){host_malloc, host_free});
    keel_context_use(&context);
    assert_int_equal(keel_json_parse(text, sizeof text - 1, "t", &value, NULL), KEEL_OK);
    assert_true(keel_json_add(value, "b", cJSON_CreateNumber(1)));
    assert_true(hosts_blocks > 4);
    cJSON_Delete(value);
    assert_int_equal(hosts_blocks, 0);
    assert_int_equal(count.live, 0);
    keel_context_use(NULL);
    cJSON_InitHooks(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_context_it_is_silent_and_goes_on),
        cmocka_unit_test(sinks_get_what_the_level_lets_through),
        cmocka_unit_test(threads_of_a_pool_work_under_the_context_of_who_runs_it),
        cmocka_unit_test(a_pool_of_no_size_takes_that_of_the_context),
        cmocka_unit_test(hooks_that_a_host_gave_to_cjson_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
