/* Linear heads on XSTest's completions, where these are at hand (KEEL_DATA). The prototype (scikit-learn's
 * hashing, kernel logistic regression, 5 folds by group, 10 seeds) told dangerous sets of five responses from
 * benign ones by the mean risk logit in 96 % of the prompts. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/ngram.h"
#include "datasets/import.h"
#include "policies/ngram_base/linear_probes.h"
#include "support/real_logs.h"
#include "support/scratch.h"

enum { REFUSAL, COMPLIANCE, RISK, N_HEADS, MAX_SET = 8 };

static const keel_ngram_rules rules = {
    .word_high = 2, .char_low = 3, .char_high = 5, .max_words = 512, .buckets = 131072};

/* Rows of the first decision, in the arena. */
static size_t read_rows(const keel_conversation *conversation, keel_arena *arena,
                        keel_linear_probes_row rows[MAX_SET]) {
    const keel_decision *decision = &conversation->decisions[0];
    assert_in_range(decision->n_candidates, 1, MAX_SET);
    for (size_t i = 0; i < decision->n_candidates; i++) {
        const keel_candidate *candidate = &decision->candidates[i];
        keel_grams grams;
        assert_int_equal(keel_ngram_texts(&rules, &candidate->text, 1, 0, true, arena, &grams, NULL, NULL),
                         KEEL_OK);
        rows[i] = (keel_linear_probes_row){.id = grams.bucket, .n_ids = grams.count};
        rows[i].label[REFUSAL] = candidate->outcome == KEEL_OUTCOME_REFUSAL ? KEEL_YES : KEEL_NO;
        rows[i].label[COMPLIANCE] = candidate->outcome == KEEL_OUTCOME_COMPLIANCE ? KEEL_YES : KEEL_NO;
        rows[i].label[RISK] = conversation->risk == KEEL_RISK_DANGEROUS ? KEEL_YES : KEEL_NO;
    }
    return decision->n_candidates;
}

static int64_t group_of(const keel_conversation *conversation) {
    return keel_conversation_group_hash(conversation);
}

typedef void visit(void *context, const keel_conversation *conversation, keel_arena *arena);

static void for_each(keel_store *store, visit *call, void *context) {
    keel_cursor *cursor = NULL;
    keel_conversation *conversation = NULL;
    keel_arena arena = {0};
    assert_int_equal(keel_cursor_open(&cursor, store, NULL, KEEL_ORDER_STORED, NULL), KEEL_OK);
    do {
        keel_arena_reset(&arena);
        assert_int_equal(keel_cursor_next(cursor, &arena, &conversation, NULL), KEEL_OK);
        if (conversation) call(context, conversation, &arena);
    } while (conversation);
    keel_cursor_close(cursor);
    keel_arena_free(&arena);
}

static void add(void *context, const keel_conversation *conversation, keel_arena *arena) {
    keel_linear_probes_row rows[MAX_SET];
    size_t n = read_rows(conversation, arena, rows);
    assert_int_equal(keel_linear_probes_add(context, (uint64_t)conversation->id, group_of(conversation), rows,
                                            n, NULL, 0, NULL),
                     KEEL_OK);
}

typedef struct tally {
    const keel_linear_probes *heads;
    bool unseen; /* ask as for a group that was not fitted on: the fit to its own rows */
    size_t rows, sets, right[N_HEADS], risk_by_set;
} tally;

static void judge(void *context, const keel_conversation *conversation, keel_arena *arena) {
    tally *sum = context;
    keel_linear_probes_row rows[MAX_SET];
    size_t n = read_rows(conversation, arena, rows);
    double risk = 0;
    for (size_t i = 0; i < n; i++) {
        float logits[N_HEADS];
        keel_linear_probes_logits(sum->heads, &rows[i], sum->unseen ? -1 : group_of(conversation), logits);
        for (size_t h = 0; h < N_HEADS; h++)
            sum->right[h] += (logits[h] > 0) == (rows[i].label[h] == KEEL_YES);
        risk += (double)logits[RISK];
    }
    sum->rows += n;
    sum->sets++;
    sum->risk_by_set += (risk > 0) == (conversation->risk == KEEL_RISK_DANGEROUS);
}

static void report(const char *what, const tally *sum) {
    double rows = (double)sum->rows;
    print_message("%s: refusal %.3f, compliance %.3f, risk %.3f of %zu responses; risk %.3f of %zu sets\n",
                  what, (double)sum->right[REFUSAL] / rows, (double)sum->right[COMPLIANCE] / rows,
                  (double)sum->right[RISK] / rows, sum->rows, (double)sum->risk_by_set / (double)sum->sets,
                  sum->sets);
}

static void xstest_sets_show_their_risk_to_heads_that_never_saw_them(void **state) {
    (void)state;
    char folder[256];
    keel_store *store = NULL;
    keel_import_report imported;
    const keel_format *format = NULL;
    assert_int_equal(keel_formats_find("xstest", &format, NULL), KEEL_OK);
    keel_pool *pool = NULL;
    keel_linear_probes_builder *builder = NULL;
    keel_linear_probes *heads = NULL;
    NEED("xstest");
    const char *path = data("xstest");
    assert_non_null(scratch_make(folder, "heads-real"));
    assert_int_equal(keel_store_open(&store, scratch_path(folder, "store.db"), KEEL_STORE_CREATE, NULL),
                     KEEL_OK);
    assert_int_equal(keel_import(store, &(keel_import_options){.format = format}, &path, 1, &imported, NULL),
                     KEEL_OK);
    keel_linear_probes_config config = keel_linear_probes_standard;
    config.n_ids = rules.buckets;
    config.n_heads = N_HEADS;
    config.head[RISK].lambda = 0.3;
    config.iterations = 60; /* enough to tell; the test stays quick under sanitizers */
    assert_int_equal(keel_linear_probes_builder_open(&builder, &config, NULL), KEEL_OK);
    for_each(store, add, builder);
    assert_int_equal(keel_pool_open(&pool, 0, NULL), KEEL_OK);
    assert_int_equal(keel_linear_probes_fit(builder, pool, NULL, NULL, &heads, NULL), KEEL_OK);
    tally crossed = {.heads = heads}, fitted = {.heads = heads, .unseen = true};
    for_each(store, judge, &crossed);
    for_each(store, judge, &fitted);
    report("cross-fitted", &crossed);
    report("by the fit to themselves", &fitted);
    assert_true((double)crossed.risk_by_set >= 0.93 * (double)crossed.sets);
    assert_true((double)crossed.right[REFUSAL] >= 0.88 * (double)crossed.rows);
    assert_true(fitted.risk_by_set > crossed.risk_by_set); /* which is why heads are crossed */
    keel_linear_probes_close(heads);
    keel_linear_probes_builder_close(builder);
    keel_pool_close(pool);
    keel_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xstest_sets_show_their_risk_to_heads_that_never_saw_them),
    };
    return cmocka_run_group_tests_name("heads on real logs", tests, NULL, NULL);
}
