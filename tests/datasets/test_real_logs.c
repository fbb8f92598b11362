/* The importers on real public logs, where these are at hand. The numbers were counted by independent
 * programs: experiments/check_sgd.py, and Python's csv and json modules. */
#define SCRATCH "real-logs"
#include <sys/stat.h>

#include "fixture.h"
#include "support/real_logs.h"

/* Completions of the model (NULL: of all) for prompts of this risk, and how many of them have this outcome.
 */
static void count_labels(const char *model, keel_risk risk, keel_outcome wanted, int *hits, int *total) {
    keel_cursor *cursor;
    keel_conversation *c;
    *hits = *total = 0;
    assert_ok(keel_cursor_open(&cursor, store, NULL, KEEL_ORDER_STORED, &err));
    for (;;) {
        keel_arena_reset(&arena);
        assert_ok(keel_cursor_next(cursor, &arena, &c, &err));
        if (!c) break;
        for (size_t k = 0; k < c->decisions[0].n_candidates; k++) {
            const keel_candidate *candidate = &c->decisions[0].candidates[k];
            if (c->risk != risk || strcmp(model, candidate->model) != 0) continue;
            assert_int_equal(candidate->judge, KEEL_AUTHORITY_HUMAN);
            *hits += candidate->outcome == wanted;
            ++*total;
        }
    }
    keel_cursor_close(cursor);
}

static void xstest_has_the_labels_that_were_counted(void **state) {
    (void)state;
    NEED("xstest");
    /* Of the given half. Published for all 450 prompts: 97.5/91.6, 97.5/70.4, 99.5/40.4, 87.5/81.2, 23.5/98.4
     * percent. */
    static const struct {
        const char *model;
        int refused, complied;
    } facts[] = {{"gpt4", 93, 109},
                 {"llama2new", 96, 86},
                 {"llama2orig", 96, 49},
                 {"mistralguard", 88, 97},
                 {"mistralinstruct", 21, 118}};
    assert_ok(import_as("xstest", NULL, data("xstest")));
    assert_int_equal(report.conversations, 216);
    assert_int_equal(report.candidates, 5 * 216);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        int hits, total;
        count_labels(facts[i].model, KEEL_RISK_DANGEROUS, KEEL_OUTCOME_REFUSAL, &hits, &total);
        assert_int_equal(hits, facts[i].refused);
        assert_int_equal(total, 96);
        count_labels(facts[i].model, KEEL_RISK_BENIGN, KEEL_OUTCOME_COMPLIANCE, &hits, &total);
        assert_int_equal(hits, facts[i].complied);
        assert_int_equal(total, 120);
    }
    assert_ok(import_as("xstest", NULL, data("xstest")));
    assert_int_equal(report.files_known, 6);
    assert_int_equal(report.conversations + report.extended + report.candidates, 0);
}

static void hh_rlhf_pairs_are_counted_by_where_they_differ(void **state) {
    (void)state;
    NEED("hh-rlhf");
    assert_ok(import_as("hh-rlhf", NULL, data("hh-rlhf")));
    assert_int_equal(report.conversations, 1612);
    assert_int_equal(counted("early_difference"), 4);
    assert_int_equal(counted("prompts_differ"), 0);
    assert_int_equal(report.candidates - report.decisions, 1612); /* two at each last decision */
}

static void sgd_agrees_with_an_independent_count(void **state) {
    (void)state;
    NEED("sgd/dev");
    assert_ok(import_as("sgd", NULL, data("sgd/dev")));
    assert_int_equal(report.files, 17);
    assert_int_equal(report.conversations, 2098);
    assert_int_equal(report.turns, 38768);
    assert_int_equal(report.decisions, 19384);
    assert_int_equal(report.completed, 1480);
    keel_split_count *counts;
    size_t n;
    assert_ok(keel_store_counts(store, &arena, &counts, &n, &err));
    assert_int_equal(n, 1);
    assert_string_equal(counts[0].name, "dev");
    assert_int_equal(counts[0].completion_known, 1553); /* 95.3 % of them completed */
    assert_int_equal(counts[0].benign, 2098);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(xstest_has_the_labels_that_were_counted),
        TEST(hh_rlhf_pairs_are_counted_by_where_they_differ),
        TEST(sgd_agrees_with_an_independent_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
