#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/parallel.h"
#include "core/pcg.h"
#include "core/team.h"

enum { SHARDS = 37 };

typedef struct sums {
    float shard[SHARDS];
    size_t visits[SHARDS];
    size_t threads;
    size_t fail_at[2]; /* these shards fail; SHARDS: none */
} sums;

static keel_status add_up(void *context, size_t shard, size_t thread, keel_err *err) {
    sums *all = context;
    assert_true(thread < all->threads);
    keel_rng rng = keel_rng_named(1, "shard", shard);
    float sum = 0;
    for (size_t i = 0; i < 1000; ++i) sum += (float)keel_rng_normal(&rng);
    all->shard[shard] = sum;
    all->visits[shard]++;
    /* The second to fail takes its time: higher shards fail before it does. */
    if (shard == all->fail_at[1]) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    if (shard == all->fail_at[0] || shard == all->fail_at[1])
        return keel_fail(err, KEEL_E_DIVERGED, "shard", "shard %zu failed", shard);
    return KEEL_OK;
}

static float total(const sums *all) {
    float sum = 0;
    for (size_t i = 0; i < SHARDS; ++i) sum += all->shard[i];
    return sum;
}

static void sums_in_shard_order_do_not_depend_on_the_threads(void **state) {
    (void)state;
    float first = 0;
    for (size_t threads = 1; threads <= 5; ++threads) {
        keel_pool *pool;
        keel_err err = {0};
        assert_int_equal(keel_pool_open(&pool, threads, &err), KEEL_OK);
        assert_int_equal(keel_pool_threads(pool), threads);
        for (size_t round = 0; round < 20; ++round) {
            sums all = {.threads = threads, .fail_at = {SHARDS, SHARDS}};
            assert_int_equal(keel_pool_run(pool, SHARDS, add_up, &all, &err), KEEL_OK);
            for (size_t i = 0; i < SHARDS; ++i) assert_int_equal(all.visits[i], 1);
            if (threads == 1) first = total(&all);
            float sum = total(&all);
            assert_memory_equal(&sum, &first, sizeof sum);
        }
        keel_pool_close(pool);
    }
}

static void the_lowest_failing_shard_gives_the_error(void **state) {
    (void)state;
    keel_pool *pool;
    assert_int_equal(keel_pool_open(&pool, 4, NULL), KEEL_OK);
    for (size_t round = 0; round < 10; ++round) {
        sums all = {.threads = 4, .fail_at = {7, 6}};
        keel_err err = {0};
        assert_int_equal(keel_pool_run(pool, SHARDS, add_up, &all, &err), KEEL_E_DIVERGED);
        assert_string_equal(err.message, "shard 6 failed");
        for (size_t i = 0; i <= 6; ++i) assert_int_equal(all.visits[i], 1);
    }
    sums after = {.threads = 4, .fail_at = {SHARDS, SHARDS}};
    assert_int_equal(keel_pool_run(pool, SHARDS, add_up, &after, NULL), KEEL_OK);
    assert_int_equal(keel_pool_run(pool, 0, add_up, &after, NULL), KEEL_OK);
    keel_pool_close(pool);
}

static void a_pool_opens_on_every_processor_and_closes_unused(void **state) {
    (void)state;
    keel_pool *pool;
    assert_int_equal(keel_pool_open(&pool, 0, NULL), KEEL_OK);
    assert_true(keel_pool_threads(pool) >= 1);
    keel_pool_close(pool);
    keel_pool_close(NULL);
}

/* Cells of one phase come from two of the phase before: one that is late, or a task done twice, shows. */
enum { CELLS = 23, PHASES = 300 };

typedef struct cells {
    uint64_t cell[PHASES + 1][CELLS];
    unsigned visits[PHASES + 1][CELLS];
    size_t members[8];
} cells;

static void go_through(void *context, keel_team *team, size_t thread) {
    cells *all = context;
    all->members[thread]++;
    for (size_t p = 1; p <= PHASES; p++) {
        for (size_t i; keel_team_take(team, CELLS, &i);) {
            all->cell[p][i] =
                6364136223846793005u * all->cell[p - 1][(i + 1) % CELLS] + all->cell[p - 1][(i + p) % CELLS];
            all->visits[p][i]++;
        }
        keel_team_wait(team);
        if (p % 7 != 0) continue;
        size_t none;
        assert_false(keel_team_take(team, 0, &none));
        keel_team_wait(team);
    }
}

static void a_team_ends_each_phase_together(void **state) {
    (void)state;
    static cells alone, all;
    for (size_t i = 0; i < CELLS; i++) alone.cell[0][i] = i;
    assert_int_equal(keel_team_run(NULL, go_through, &alone, NULL), KEEL_OK);
    for (size_t p = 1; p <= PHASES; p++)
        for (size_t i = 0; i < CELLS; i++) assert_int_equal(alone.visits[p][i], 1);
    for (size_t threads = 1; threads <= 8; threads++) {
        keel_pool *pool;
        assert_int_equal(keel_pool_open(&pool, threads, NULL), KEEL_OK);
        for (size_t round = 0; round < 5; round++) {
            memset(&all, 0, sizeof all);
            memcpy(all.cell[0], alone.cell[0], sizeof all.cell[0]);
            assert_int_equal(keel_team_run(pool, go_through, &all, NULL), KEEL_OK);
            assert_memory_equal(all.cell, alone.cell, sizeof all.cell);
            assert_memory_equal(all.visits, alone.visits, sizeof all.visits);
            for (size_t t = 0; t < threads; t++) assert_int_equal(all.members[t], 1);
        }
        keel_pool_close(pool);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_team_ends_each_phase_together),
        cmocka_unit_test(sums_in_shard_order_do_not_depend_on_the_threads),
        cmocka_unit_test(the_lowest_failing_shard_gives_the_error),
        cmocka_unit_test(a_pool_opens_on_every_processor_and_closes_unused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
