#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/pcg.h"
#include "policies/ngram_base/linear_probes.h"
#include "support/faults.h"
#include "support/interrupt.h"
#include "support/scratch.h"
#include "support/threads.h"

enum { IDS = 500, UNIQUE = 100, N_ROWS = 240, ROW_IDS = 8 };

typedef struct toy_row {
    uint32_t id[ROW_IDS];
    float dense[2];
    bool label;
    int64_t group;
} toy_row;

static keel_pool *pool;
static const char *kept_at, *identity; /* where fits keep what is done; NULL: nowhere */
static bool backwards;                 /* rows are added the last first */

/* Ids 0 .. 3 go with yes, 10 .. 13 with no, 20 .. 99 with neither; each group of four rows has an id of its
 * own. */
static void make_rows(toy_row *rows, uint64_t seed) {
    keel_rng rng;
    keel_pcg64_seed(&rng, seed, 1);
    for (size_t r = 0; r < N_ROWS; r++) {
        toy_row *row = &rows[r];
        row->label = keel_rng_below(&rng, 2);
        row->group = 1000 + (int64_t)(r / 4);
        row->id[0] = UNIQUE + (uint32_t)(r / 4);
        for (size_t i = 1; i < ROW_IDS; i++) /* a stride of ten keeps the ids of a row apart */
            row->id[i] = 20 + 10 * (uint32_t)i + (uint32_t)keel_rng_below(&rng, 10);
        row->id[1] = (row->label ? 0 : 10) + (uint32_t)keel_rng_below(&rng, 4);
        for (size_t j = 0; j < 2; j++) row->dense[j] = (float)keel_rng_below(&rng, 1000) / 100;
    }
}

static keel_linear_probes_config toy_config(void) {
    keel_linear_probes_config config = keel_linear_probes_standard;
    config.n_ids = IDS;
    config.n_heads = 3;
    config.n_dense = 2;
    config.head[1].lambda = 0.3;
    config.head[2].ranks = true;
    return config;
}

static keel_linear_probes_row as_row(const toy_row *row) {
    keel_tri label = row->label ? KEEL_YES : KEEL_NO;
    return (keel_linear_probes_row){
        .id = row->id, .n_ids = ROW_IDS, .dense = row->dense, .label = {label, KEEL_UNKNOWN, label, label}};
}

/* Rows two by two; where their labels differ, the one of yes is the better. Head 1 knows the first half only.
 */
static keel_status add_all(keel_linear_probes_builder *builder, const toy_row *rows, size_t n,
                           keel_err *err) {
    for (size_t i = 0; i + 1 < n; i += 2) {
        size_t r = backwards ? n - 2 - i : i;
        keel_linear_probes_row pair_rows[2] = {as_row(&rows[r]), as_row(&rows[r + 1])};
        uint32_t better = rows[r].label ? 0 : 1;
        keel_linear_probes_pair pair = {2, better, 1 - better};
        for (size_t k = 0; k < 2 && r < n / 2; k++) pair_rows[k].label[1] = pair_rows[k].label[0];
        KEEL_TRY(keel_linear_probes_add(builder, r, rows[r].group, pair_rows, 2, &pair,
                                        rows[r].label != rows[r + 1].label, err));
    }
    return KEEL_OK;
}

static keel_status fit_rows(const keel_linear_probes_config *config, const toy_row *rows, size_t n,
                            keel_pool *threads, keel_linear_probes **out, keel_err *err) {
    keel_linear_probes_builder *builder = NULL;
    keel_status status = keel_linear_probes_builder_open(&builder, config, err);
    if (status == KEEL_OK) status = add_all(builder, rows, n, err);
    if (status == KEEL_OK) status = keel_linear_probes_fit(builder, threads, kept_at, identity, out, err);
    keel_linear_probes_builder_close(builder);
    return status;
}

static keel_linear_probes *fitted_toy(toy_row *rows) {
    keel_linear_probes_config config = toy_config();
    keel_linear_probes *heads = NULL;
    keel_err err = {0};
    make_rows(rows, 7);
    assert_int_equal(fit_rows(&config, rows, N_ROWS, pool, &heads, &err), KEEL_OK);
    return heads;
}

static void what_tells_the_labels_apart_is_learned_across_folds(void **state) {
    (void)state;
    static toy_row rows[N_ROWS];
    keel_linear_probes *heads = fitted_toy(rows);
    size_t right[3] = {0}, pairs = 0;
    float before[3] = {0}, logits[3];
    for (size_t r = 0; r < N_ROWS; r++, memcpy(before, logits, sizeof before)) {
        keel_linear_probes_row row = as_row(&rows[r]);
        keel_linear_probes_logits(heads, &row, rows[r].group, logits);
        for (size_t h = 0; h < 2; h++) right[h] += (logits[h] > 0) == rows[r].label;
        if (r % 2 == 0 || rows[r].label == rows[r - 1].label) continue;
        pairs++;
        right[2] += (logits[2] > before[2]) == rows[r].label;
    }
    assert_in_range(right[0], 0.97 * N_ROWS, N_ROWS);
    assert_in_range(right[1], 0.95 * N_ROWS, N_ROWS);
    assert_in_range(right[2], 0.90 * (double)pairs, pairs);
    keel_linear_probes_close(heads);
}

/* An id that only one group has is worth nothing to the weights that judge this group, and something to
 * others. */
static void a_group_is_judged_by_weights_that_never_saw_it(void **state) {
    (void)state;
    static toy_row rows[N_ROWS];
    keel_linear_probes *heads = fitted_toy(rows);
    for (size_t r = 0; r < N_ROWS; r += 4) {
        float own[3], without[3], stranger[3];
        keel_linear_probes_row only = {rows[r].id, 1, rows[r].dense, {KEEL_UNKNOWN}, NULL},
                               empty = {NULL, 0, rows[r].dense, {KEEL_UNKNOWN}, NULL};
        keel_linear_probes_logits(heads, &only, rows[r].group, own);
        keel_linear_probes_logits(heads, &empty, rows[r].group, without);
        assert_memory_equal(own, without, sizeof own);
        keel_linear_probes_logits(heads, &only, -5, stranger);
        keel_linear_probes_logits(heads, &empty, -5, without);
        assert_true(fabsf(stranger[0] - without[0]) > 1e-4F);
    }
    keel_linear_probes_close(heads);
}

/* ---- against plain descent in double precision ---- */

enum { N_REF = 40, REF_COLUMNS = IDS + 3, REF_STEPS = 4000 };
typedef double ref_matrix[N_REF][REF_COLUMNS];

static double ref_idf(const toy_row *rows, uint32_t id) {
    size_t with = 0;
    for (size_t r = 0; r < N_REF; r++)
        for (size_t i = 0; i < ROW_IDS; i++) with += rows[r].id[i] == id;
    return log((1.0 + N_REF) / (1.0 + (double)with)) + 1;
}

/* Ids, and for a ranking head two dense columns of deviation 0.4 over the root of 2, or else the bias. */
static void ref_fill(ref_matrix x, const toy_row *rows, bool ranks) {
    memset(x, 0, sizeof(ref_matrix));
    for (size_t r = 0; r < N_REF; r++) {
        double square = 0;
        for (size_t i = 0; i < ROW_IDS; i++) square += pow(ref_idf(rows, rows[r].id[i]), 2);
        for (size_t i = 0; i < ROW_IDS; i++)
            x[r][rows[r].id[i]] = ref_idf(rows, rows[r].id[i]) / sqrt(square);
        x[r][IDS + 2] = !ranks;
    }
    for (size_t j = 0; j < 2 && ranks; j++) {
        double mean = 0, square = 0;
        for (size_t r = 0; r < N_REF; r++) mean += (double)rows[r].dense[j] / N_REF;
        for (size_t r = 0; r < N_REF; r++) square += pow((double)rows[r].dense[j] - mean, 2) / N_REF;
        for (size_t r = 0; r < N_REF; r++)
            x[r][IDS + j] = ((double)rows[r].dense[j] - mean) / sqrt(square) * 0.4 / sqrt(2);
    }
}

static double ref_sigmoid(double z) {
    return 1 / (1 + exp(-z));
}

/* The full set of weights by gradient descent on dense rows of lambda 1; logits of all rows. */
static void ref_logits(const toy_row *rows, bool ranks, double logits[N_REF]) {
    static ref_matrix x;
    double w[REF_COLUMNS] = {0};
    ref_fill(x, rows, ranks);
    for (size_t step = 0; step <= REF_STEPS; step++) {
        double told[N_REF], slope[REF_COLUMNS];
        for (size_t r = 0; r < N_REF; r++) {
            logits[r] = 0;
            for (size_t c = 0; c < REF_COLUMNS; c++) logits[r] += x[r][c] * w[c];
            told[r] = ref_sigmoid(logits[r]) - rows[r].label;
        }
        for (size_t r = 1; r < N_REF && ranks; r += 2) {
            double sign = (double)rows[r].label - (double)rows[r - 1].label;
            told[r] = sign * (ref_sigmoid(sign * (logits[r] - logits[r - 1])) - 1);
            told[r - 1] = -told[r];
        }
        for (size_t c = 0; c < REF_COLUMNS; c++) {
            slope[c] = w[c];
            for (size_t r = 0; r < N_REF; r++) slope[c] += told[r] * x[r][c];
        }
        for (size_t c = 0; c < REF_COLUMNS; c++) w[c] -= slope[c] / (0.5 * N_REF + 1);
    }
}

static void logits_are_those_of_plain_descent_in_double_precision(void **state) {
    (void)state;
    static toy_row rows[N_ROWS];
    keel_linear_probes_config config = toy_config();
    keel_linear_probes *heads = NULL;
    keel_err err = {0};
    make_rows(rows, 3);
    assert_int_equal(fit_rows(&config, rows, N_REF, pool, &heads, &err), KEEL_OK);
    for (size_t h = 0; h < 3; h += 2) {
        double expected[N_REF], spread = 0;
        ref_logits(rows, config.head[h].ranks, expected);
        for (size_t r = 0; r < N_REF; r++) {
            float logits[3];
            keel_linear_probes_row row = as_row(&rows[r]);
            keel_linear_probes_logits(heads, &row, -1, logits);
            assert_true(fabs((double)logits[h] - expected[r]) <
                        1e-3); /* the fit stops at a gradient of 1e-4 */
            spread = fmax(spread, fabs(expected[r]));
        }
        assert_true(spread > 0.5);
    }
    keel_linear_probes_close(heads);
}

/* ---- sameness, files, bounds ---- */

static void assert_same_heads(const keel_linear_probes *a, const keel_linear_probes *b) {
    keel_arena arena = {0};
    keel_named_tensor x[KEEL_LINEAR_PROBES_TENSORS], y[KEEL_LINEAR_PROBES_TENSORS];
    size_t n = 0, m = 0;
    assert_int_equal(keel_linear_probes_tensors(a, "h", &arena, x, &n, NULL), KEEL_OK);
    assert_int_equal(keel_linear_probes_tensors(b, "h", &arena, y, &m, NULL), KEEL_OK);
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(x[i].bytes, y[i].bytes);
        assert_memory_equal(x[i].data, y[i].data, x[i].bytes);
    }
    keel_arena_free(&arena);
}

static void the_number_of_threads_changes_no_bit(void **state) {
    (void)state;
    static toy_row rows[N_ROWS];
    keel_linear_probes *one = fitted_toy(rows), *three = NULL;
    keel_linear_probes_config config = toy_config();
    keel_pool *threads = NULL;
    assert_int_equal(keel_pool_open(&threads, 3, NULL), KEEL_OK);
    assert_int_equal(fit_rows(&config, rows, N_ROWS, threads, &three, NULL), KEEL_OK);
    assert_same_heads(one, three);
    keel_pool_close(threads);
    keel_linear_probes_close(one);
    keel_linear_probes_close(three);
}

static void the_order_in_which_rows_are_added_changes_no_bit(void **state) {
    (void)state;
    static toy_row rows[N_ROWS];
    keel_linear_probes_config config = toy_config();
    make_rows(rows, 7);
    for (size_t limit = 0; limit < 2; limit++) { /* all of them, or a sample */
        keel_linear_probes *forwards = NULL, *reversed = NULL;
        config.max_entries = (size_t)N_ROWS * (ROW_IDS + 1) / (limit ? 4 : 1);
        assert_int_equal(fit_rows(&config, rows, N_ROWS, pool, &forwards, NULL), KEEL_OK);
        backwards = true;
        assert_int_equal(fit_rows(&config, rows, N_ROWS, pool, &reversed, NULL), KEEL_OK);
        backwards = false;
        assert_same_heads(forwards, reversed);
        keel_linear_probes_close(forwards);
        keel_linear_probes_close(reversed);
    }
}

static void what_was_fitted_before_a_stop_is_not_fitted_again(void **state) {
    (void)state;
    static toy_row rows[N_ROWS];
    static const char one[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                      other[] = "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char folder[256];
    keel_linear_probes *whole = fitted_toy(rows), *made = NULL;
    keel_linear_probes_config config = toy_config();
    assert_non_null(scratch_make(folder, "heads-kept"));
    kept_at = scratch_path(folder, "kept");
    identity = one;
    keel_status status = KEEL_E_NOMEM;
    for (size_t n = 1; !keel_file_exists(kept_at); n++) { /* until a first set is done */
        faults counted;
        faults_begin(&counted, n);
        status = fit_rows(&config, rows, N_ROWS, pool, &made, NULL);
        faults_end();
    }
    assert_int_equal(status, KEEL_E_NOMEM);
    for (size_t again = 0; again < 2;
         again++) { /* the second time there is nothing left to do, and to stop */
        assert_int_equal(fit_rows(&config, rows, N_ROWS, pool, &made, NULL), KEEL_OK);
        assert_same_heads(whole, made);
        keel_linear_probes_close(made);
        interrupt_set(true);
    }
    identity = other;
    assert_int_equal(fit_rows(&config, rows, N_ROWS, pool, &made, NULL), KEEL_E_INTERRUPTED);
    interrupt_set(false);
    kept_at = identity = NULL;
    keel_linear_probes_close(whole);
    keel_folder_remove(folder, NULL);
}

static void a_head_without_both_labels_everywhere_is_absent(void **state) {
    (void)state;
    static toy_row rows[N_ROWS];
    keel_linear_probes *heads = NULL;
    keel_linear_probes_config config = toy_config();
    make_rows(rows, 7);
    for (size_t r = 1; r < N_ROWS; r++) rows[r].label = true;
    rows[0].label = false; /* one no, so the fold of its group has none to learn from */
    assert_int_equal(fit_rows(&config, rows, N_ROWS, pool, &heads, NULL), KEEL_OK);
    keel_linear_probes_row row = as_row(&rows[0]);
    float logits[3] = {5, 5, 5};
    keel_linear_probes_logits(heads, &row, -1, logits);
    for (size_t h = 0; h < 3; h++) assert_true(logits[h] == 0);
    keel_linear_probes_close(heads);
}

static void no_rows_at_all_give_absent_heads(void **state) {
    (void)state;
    keel_linear_probes *heads = NULL;
    keel_linear_probes_config config = toy_config();
    assert_int_equal(fit_rows(&config, NULL, 0, pool, &heads, NULL), KEEL_OK);
    float logits[3] = {5, 5, 5}, dense[2] = {1, 2};
    uint32_t id[] = {3, IDS + 7}; /* one of them out of range */
    keel_linear_probes_logits(heads, &(keel_linear_probes_row){id, 2, dense, {KEEL_UNKNOWN}, NULL}, 1,
                              logits);
    assert_true(logits[0] == 0 && logits[1] == 0 && logits[2] == 0);
    keel_linear_probes_close(heads);
}

static size_t kept_rows(size_t max_entries) {
    static toy_row rows[N_ROWS];
    keel_arena arena = {0};
    keel_named_tensor tensors[KEEL_LINEAR_PROBES_TENSORS];
    size_t n;
    double unseen = 0; /* the last idf is log(1 + rows) + 1 */
    keel_linear_probes *heads = NULL;
    keel_linear_probes_config config = toy_config();
    config.max_entries = max_entries;
    make_rows(rows, 7);
    assert_int_equal(fit_rows(&config, rows, N_ROWS, pool, &heads, NULL), KEEL_OK);
    assert_int_equal(keel_linear_probes_tensors(heads, "h", &arena, tensors, &n, NULL), KEEL_OK);
    for (size_t i = 0; i < n; i++)
        if (strcmp(tensors[i].name, "h.idf") == 0)
            unseen = (double)((const float *)tensors[i].data)[tensors[i].shape[0] - 1];
    keel_arena_free(&arena);
    keel_linear_probes_close(heads);
    return (size_t)lround(exp(unseen - 1) - 1);
}

static void rows_beyond_the_limit_are_dropped_by_decision(void **state) {
    (void)state;
    size_t all = N_ROWS * (ROW_IDS + 1); /* each row counts as an entry too */
    assert_int_equal(kept_rows(all), N_ROWS);
    assert_in_range(kept_rows(all / 4), N_ROWS / 6, N_ROWS / 4);
    assert_in_range(kept_rows(all - 1), N_ROWS / 2, N_ROWS - 2);
    assert_int_equal(kept_rows(all / 4) % 2, 0); /* two rows a decision */
}

static void what_cannot_be_a_row_or_pair_is_refused(void **state) {
    (void)state;
    keel_err err = {0};
    keel_linear_probes_config config = toy_config();
    keel_linear_probes_builder *builder = NULL;
    toy_row rows[2] = {{.id = {1, 2, 3, 4, 5, 6, 7, 8}}, {.id = {1, 2, 3, 4, 5, 6, 7, 8}}};
    config.folds = 1;
    assert_int_equal(keel_linear_probes_builder_open(&builder, &config, &err), KEEL_E_INVALID);
    config.folds = 5;
    assert_int_equal(keel_linear_probes_builder_open(&builder, &config, &err), KEEL_OK);
    keel_linear_probes_row both[2] = {as_row(&rows[0]), as_row(&rows[1])};
    assert_int_equal(
        keel_linear_probes_add(builder, 0, 1, both, 2, &(keel_linear_probes_pair){0, 0, 1}, 1, &err),
        KEEL_E_INVALID);
    assert_int_equal(
        keel_linear_probes_add(builder, 0, 1, both, 2, &(keel_linear_probes_pair){2, 0, 2}, 1, &err),
        KEEL_E_INVALID);
    assert_int_equal(
        keel_linear_probes_add(builder, 0, 1, both, 2, &(keel_linear_probes_pair){2, 1, 1}, 1, &err),
        KEEL_E_INVALID);
    rows[1].id[3] = IDS;
    assert_int_equal(keel_linear_probes_add(builder, 0, 1, both, 2, NULL, 0, &err), KEEL_E_INVALID);
    assert_non_null(strstr(err.message, "500"));
    keel_linear_probes_builder_close(builder);
}

typedef struct saved {
    char path[512];
    keel_arena arena;
    keel_named_tensor tensor[KEEL_LINEAR_PROBES_TENSORS];
    size_t count;
} saved;

static void save_to(saved *file, const keel_linear_probes *heads) {
    char folder[256];
    *file = (saved){0};
    assert_non_null(scratch_make(folder, "heads"));
    snprintf(file->path, sizeof file->path, "%s", scratch_path(folder, "heads.safetensors"));
    assert_int_equal(
        keel_linear_probes_tensors(heads, "probe", &file->arena, file->tensor, &file->count, NULL), KEEL_OK);
}

static keel_status load_back(saved *file, keel_linear_probes **out, keel_err *err) {
    keel_safetensors read = {0};
    assert_int_equal(keel_safetensors_write(file->path, file->tensor, file->count, NULL, NULL), KEEL_OK);
    assert_int_equal(keel_safetensors_read(file->path, &read, NULL), KEEL_OK);
    keel_status status = keel_linear_probes_load(out, &read, "probe", IDS, 3, 2, err);
    keel_safetensors_free(&read);
    return status;
}

static void heads_come_back_from_a_file_as_they_were(void **state) {
    (void)state;
    static toy_row rows[N_ROWS];
    keel_linear_probes *heads = fitted_toy(rows), *back = NULL;
    saved file;
    save_to(&file, heads);
    assert_int_equal(load_back(&file, &back, NULL), KEEL_OK);
    assert_same_heads(heads, back);
    for (size_t r = 0; r < N_ROWS; r++) {
        keel_linear_probes_row row = as_row(&rows[r]);
        float a[3], b[3];
        keel_linear_probes_logits(heads, &row, rows[r].group, a);
        keel_linear_probes_logits(back, &row, rows[r].group, b);
        assert_memory_equal(a, b, sizeof a);
    }
    keel_arena_free(&file.arena);
    keel_linear_probes_close(heads);
    keel_linear_probes_close(back);
}

static keel_named_tensor *tensor_of(saved *file, const char *name) {
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->tensor[i].name, name) == 0) return &file->tensor[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

/* Puts value over one element of the tensor; the file must be refused with an error that names it. */
static void assert_refused(saved *file, const char *name, size_t element, const void *value, size_t size) {
    keel_named_tensor *tensor = tensor_of(file, name), whole = *tensor;
    char *copy = keel_arena_alloc(&file->arena, tensor->bytes);
    keel_linear_probes *back = NULL;
    keel_err err = {0};
    memcpy(copy, tensor->data, tensor->bytes);
    memcpy(copy + element * size, value, size);
    tensor->data = copy;
    assert_int_equal(load_back(file, &back, &err), KEEL_E_INVALID);
    assert_non_null(strstr(err.message, name));
    assert_null(back);
    *tensor = whole;
}

/* The same for a tensor cut by its first dimension, and for one that is missing. */
static void assert_refused_when_cut(saved *file, const char *name) {
    keel_named_tensor *tensor = tensor_of(file, name), whole = *tensor;
    keel_linear_probes *back = NULL;
    keel_err err = {0};
    tensor->bytes -= tensor->bytes / tensor->shape[0];
    tensor->shape[0]--;
    keel_status status = load_back(file, &back, &err);
    if (strcmp(name, "probe.weight") == 0 || strcmp(name, "probe.group") == 0)
        keel_linear_probes_close(back);
    else
        assert_int_equal(status, KEEL_E_INVALID);
    *tensor = whole;
    tensor->name = "elsewhere";
    assert_int_equal(load_back(file, &back, &err), KEEL_E_INVALID);
    assert_non_null(strstr(err.message, name));
    *tensor = whole;
}

static void hostile_files_are_refused_by_name(void **state) {
    (void)state;
    static toy_row rows[N_ROWS];
    keel_linear_probes *heads = fitted_toy(rows), *back = NULL;
    saved file;
    keel_err err = {0};
    save_to(&file, heads);
    int32_t twice = *(const int32_t *)tensor_of(&file, "probe.id")->data, beyond = IDS, below = -1;
    float bad = NAN, endless = INFINITY;
    int64_t early = INT64_MIN;
    unsigned char two = 2;
    assert_refused(&file, "probe.id", 1, &twice, sizeof twice);
    assert_refused(&file, "probe.id", 2, &beyond, sizeof beyond);
    assert_refused(&file, "probe.id", 0, &below, sizeof below);
    assert_refused(&file, "probe.idf", 3, &bad, sizeof bad);
    assert_refused(&file, "probe.weight", 17, &endless, sizeof endless);
    assert_refused(&file, "probe.dense", 1, &bad, sizeof bad);
    assert_refused(&file, "probe.group", 4, &early, sizeof early);
    assert_refused(&file, "probe.fitted", 0, &two, sizeof two);
    for (size_t i = 0; i < file.count; i++) assert_refused_when_cut(&file, file.tensor[i].name);
    keel_named_tensor *idf = tensor_of(&file, "probe.idf");
    idf->dtype = KEEL_I32;
    assert_int_equal(load_back(&file, &back, &err), KEEL_E_INVALID);
    idf->dtype = KEEL_F32;
    keel_arena_free(&file.arena);
    keel_linear_probes_close(heads);
}

static void every_failing_allocation_is_reported_and_leaks_nothing(void **state) {
    (void)state;
    static toy_row rows[N_ROWS];
    keel_linear_probes_config config = toy_config();
    keel_status status = KEEL_E_NOMEM;
    config.iterations = 1;
    make_rows(rows, 7);
    for (size_t n = 1; status == KEEL_E_NOMEM; n++) {
        faults counted;
        keel_linear_probes *heads = NULL;
        faults_begin(&counted, n);
        status = fit_rows(&config, rows, 16, pool, &heads, NULL);
        keel_linear_probes_close(heads);
        faults_end();
        assert_int_equal(counted.live, 0);
        assert_true(n < 1000);
    }
    assert_int_equal(status, KEEL_OK);
}

static int open_pool(void **state) {
    (void)state;
    return keel_pool_open(&pool, 1, NULL);
}

static int close_pool(void **state) {
    (void)state;
    keel_pool_close(pool);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_tells_the_labels_apart_is_learned_across_folds),
        cmocka_unit_test(a_group_is_judged_by_weights_that_never_saw_it),
        cmocka_unit_test(logits_are_those_of_plain_descent_in_double_precision),
        cmocka_unit_test(the_number_of_threads_changes_no_bit),
        cmocka_unit_test(the_order_in_which_rows_are_added_changes_no_bit),
        cmocka_unit_test(what_was_fitted_before_a_stop_is_not_fitted_again),
        cmocka_unit_test(a_head_without_both_labels_everywhere_is_absent),
        cmocka_unit_test(no_rows_at_all_give_absent_heads),
        cmocka_unit_test(rows_beyond_the_limit_are_dropped_by_decision),
        cmocka_unit_test(what_cannot_be_a_row_or_pair_is_refused),
        cmocka_unit_test(heads_come_back_from_a_file_as_they_were),
        cmocka_unit_test(hostile_files_are_refused_by_name),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaks_nothing),
    };
    interrupt_listen();
    only_threads_for_tsan();
    return cmocka_run_group_tests_name("heads", tests, open_pool, close_pool);
}
