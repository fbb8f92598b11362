/* The importers on real public logs, where these are at hand. The numbers were counted by independent
 * programs: experiments/check_sgd.py, and Python's csv and json modules. */
#define SCRATCH "real-logs"
#include <sys/stat.h>

#include "fixture.h"
#include "support/real_logs.h"

/* Answers of the model to prompts of this risk (-1: of any), and what that authority judged them to be. */
typedef struct tally {
    int answers, complied, refusals, partial;
    double seconds; /* in all */
} tally;

static tally count_answers(const char *model, int risk, keel_authority judge) {
    keel_cursor *cursor = all_of_them();
    const keel_conversation *c;
    tally found = {0};
    while ((c = next_of(cursor))) {
        for (size_t k = 0; k < c->decisions[0].n_candidates; k++) {
            const keel_candidate *candidate = &c->decisions[0].candidates[k];
            if (strcmp(candidate->model, model) != 0 || (risk >= 0 && (int)c->risk != risk)) continue;
            if (candidate->outcome != KEEL_OUTCOME_NONE) assert_int_equal(candidate->judge, judge);
            found.answers++;
            found.complied += candidate->outcome == KEEL_OUTCOME_COMPLIANCE;
            found.refusals += candidate->outcome == KEEL_OUTCOME_REFUSAL;
            found.partial += candidate->outcome == KEEL_OUTCOME_PARTIAL;
            found.seconds += candidate->latency_ms.value / 1000;
        }
    }
    return found;
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
        const tally unsafe = count_answers(facts[i].model, KEEL_RISK_DANGEROUS, KEEL_AUTHORITY_HUMAN),
                    safe = count_answers(facts[i].model, KEEL_RISK_BENIGN, KEEL_AUTHORITY_HUMAN);
        assert_int_equal(unsafe.refusals, facts[i].refused);
        assert_int_equal(unsafe.answers, 96);
        assert_int_equal(safe.complied, facts[i].complied);
        assert_int_equal(safe.answers, 120);
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

/* Five trials of each prompt whose text is there; the labels are a council's. */
static void refusalbench_has_the_labels_that_were_counted(void **state) {
    (void)state;
    NEED("refusalbench");
    static const struct {
        const char *model;
        int refusals, partial;
        double seconds;
    } facts[] = {
        {"us.amazon.nova-pro-v1:0", 0, 0, 1652.0},
        {"anthropic/claude-opus-4.5", 108, 22, 3399.3},
        {"anthropic/claude-opus-4.6", 107, 34, 3951.5},
        {"anthropic/claude-opus-4.7", 171, 14, 1272.4},
        {"anthropic/claude-opus-4.8", 150, 20, 1837.4},
        {"anthropic/claude-sonnet-4.6", 105, 19, 3431.0},
        {"us.deepseek.r1-v1:0", 0, 77, 3513.7},
        {"google/gemini-3.1-flash-lite-20260507", 0, 3, 1372.8},
        {"google/gemini-3.1-pro-preview-20260219", 8, 159, 5314.4},
        {"openai/gpt-5.5-20260423", 110, 51, 12203.6},
        {"x-ai/grok-4.20-20260309", 35, 6, 3660.9},
        {"moonshotai/kimi-k2.6-20260420", 189, 1, 17017.4},
        {"us.meta.llama3-3-70b-instruct-v1:0", 0, 3, 1985.6},
    };
    assert_ok(import_as(NULL, NULL, data("refusalbench")));
    assert_int_equal(report.candidates, 13 * 205);
    assert_int_equal(counted("without_prompt"), 13 * 140);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const tally found = count_answers(facts[i].model, -1, KEEL_AUTHORITY_MODEL);
        assert_int_equal(found.answers, 205);
        assert_int_equal(found.refusals, facts[i].refusals);
        assert_int_equal(found.partial, facts[i].partial);
        assert_float_equal(found.seconds, facts[i].seconds, 0.1);
    }
}

static void k_overrefusal_has_the_labels_that_were_counted(void **state) {
    (void)state;
    NEED("k-overrefusal");
    static const struct {
        const char *model;
        int risk, answers, refusals, deflections;
    } facts[] = {
        {"EXAONE-4.0-32B", KEEL_RISK_BENIGN, 149, 12, 1},
        {"EXAONE-4.0-32B", KEEL_RISK_DANGEROUS, 124, 72, 16},
        {"gemini-3.5-flash", KEEL_RISK_BENIGN, 149, 0, 1},
        {"gemini-3.5-flash", KEEL_RISK_DANGEROUS, 124, 75, 6},
        {"gpt-5.5", KEEL_RISK_BENIGN, 148, 8, 2},
        {"gpt-5.5", KEEL_RISK_DANGEROUS, 124, 98, 6},
        {"solar-pro-preview-instruct", KEEL_RISK_BENIGN, 149, 21, 17},
        {"solar-pro-preview-instruct", KEEL_RISK_DANGEROUS, 124, 71, 20},
    };
    assert_ok(import_as(NULL, NULL, data("k-overrefusal")));
    assert_int_equal(report.candidates, 4 * 273 - 1); /* one answer is null */
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const tally found = count_answers(facts[i].model, facts[i].risk, KEEL_AUTHORITY_MODEL);
        assert_int_equal(found.answers, facts[i].answers);
        assert_int_equal(found.refusals, facts[i].refusals);
        assert_int_equal(found.partial, facts[i].deflections);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(xstest_has_the_labels_that_were_counted),
        TEST(hh_rlhf_pairs_are_counted_by_where_they_differ),
        TEST(sgd_agrees_with_an_independent_count),
        TEST(refusalbench_has_the_labels_that_were_counted),
        TEST(k_overrefusal_has_the_labels_that_were_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
