/* Decoders made tunable: rows, starts, merging over weights of any format, PEFT's adapters; what is frozen
 * costs nothing. */
#include "fixture.h"

#include <math.h>

#include "core/file.h"
#include "core/json.h"
#include "llama_made.h"
#include "policies/transformer/llama_run.h"
#include "policies/transformer/llama_tape.h"
#include "policies/transformer/peft.h"
#include "support/faults.h"

#define GOLDEN KEEL_SOURCE_DIR "/tests/policies/golden/decoder/"

enum { TOKENS = 19, TEXT = 3 };

static cJSON *curves;
static keel_arena arena;
static char folder[256];
static int32_t ids[TOKENS];

static int set_up(void **state) {
    (void)state;
    if (!scratch_make(folder, "llama-adapt")) return -1;
    assert_ok(keel_json_parse_file(GOLDEN "curves.json", &curves, &err));
    const cJSON *text = cJSON_GetArrayItem(keel_json_get(curves, "texts"), TEXT);
    assert_int_equal(cJSON_GetArraySize(text), TOKENS);
    for (int t = 0; t < TOKENS; t++) ids[t] = cJSON_GetArrayItem(text, t)->valueint;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cJSON_Delete(curves);
    keel_arena_free(&arena);
    return keel_folder_remove(folder, &err);
}

static const char *golden(const char *name) {
    static char dir[512];
    snprintf(dir, sizeof dir, GOLDEN "%s", name);
    return dir;
}

static const char *within(const char *name) {
    static char dir[512];
    snprintf(dir, sizeof dir, "%s/%s", folder, name);
    return dir;
}

static keel_llama *load(const char *dir, keel_llama_weights as) {
    keel_llama *llama;
    assert_ok(keel_llama_open(&llama, dir, as, &err));
    return llama;
}

static const keel_llama_tuning LORA = {.mode = KEEL_LLAMA_LORA, .lora = {3, 6, 0, true, KEEL_LORA_DECODER}},
                               SOME = {.mode = KEEL_LLAMA_LORA,
                                       .lora = {2, 4, 0, false, KEEL_LORA_KEY | KEEL_LORA_DOWN}},
                               PROMPT = {.mode = KEEL_LLAMA_PROMPT, .n_virtual = 5},
                               FULL = {.mode = KEEL_LLAMA_FULL};

/* Prepared, and far from where it starts. */
static void tune(keel_llama *llama, const keel_llama_tuning *tuning) {
    keel_rng rng = keel_rng_named(1, "tune", 0);
    assert_ok(keel_llama_train(llama, tuning, &err));
    for (size_t i = 0; i < llama->params.size; i++)
        llama->params.data[i] += (float)(0.2 * keel_rng_normal(&rng));
}

/* ln p of each token after the first, by the tape. */
static void costs(const keel_llama *llama, bool plain, float out[TOKENS]) {
    static const int32_t offsets[] = {0, TOKENS};
    static float ones[TOKENS];
    const keel_llama_training training = {.plain = plain};
    const keel_llama_batch batch = {ids, offsets, 1, ones};
    const keel_llama_loss loss = {.divisor = 1, .log_prob = out};
    keel_tape *tape;
    for (int t = 0; t < TOKENS; t++) ones[t] = 1;
    assert_ok(keel_tape_open(&tape, &err));
    keel_tensor *sums = keel_llama_on_tape(tape, llama, &training, &batch, &loss, &arena, &err);
    assert_ok(keel_tape_check(tape, sums, &err));
    keel_tape_close(tape);
}

static void expect_near(const float *found, const float *wanted, double distance) {
    for (int t = 0; t < TOKENS; t++)
        if (!(fabs((double)found[t] - (double)wanted[t]) <= distance))
            fail_msg("token %d: %.8g, expected %.8g", t, (double)found[t], (double)wanted[t]);
}

/* ---- rows ---- */

static void what_a_mode_trains_is_the_end_of_one_list(void **state) {
    (void)state;
    keel_llama *llama = load(golden("tied"), KEEL_LLAMA_AS_STORED);
    assert_ok(keel_llama_train(llama, &SOME, &err));
    assert_int_equal(llama->params.count, 2 * 2 * 2);
    assert_int_equal(llama->first_trained, llama->n_rows);
    assert_string_equal(llama->params.table[0].name, "model.layers.0.self_attn.k_proj.lora_A.weight");
    assert_string_equal(llama->params.table[7].name, "model.layers.1.mlp.down_proj.lora_B.weight");
    assert_int_equal(llama->params.table[6].cols, 24);
    assert_int_equal(llama->params.table[7].rows, 16);
    assert_ptr_equal(llama->matrix[keel_llama_lora_row(llama, 1, KEEL_LORA_DOWN)].data,
                     keel_params_at(&llama->params, 6));
    assert_int_equal(keel_llama_train(llama, &SOME, &err), KEEL_E_USAGE);
    keel_llama_close(llama);
    llama = load(golden("tied"), KEEL_LLAMA_AS_STORED);
    assert_ok(
        keel_llama_train(llama, &(keel_llama_tuning){.mode = KEEL_LLAMA_FREEZE, .frozen_layers = 1}, &err));
    assert_string_equal(llama->params.table[0].name, "model.layers.1.input_layernorm.weight");
    assert_int_equal(keel_llama_tuning_of(llama).mode, KEEL_LLAMA_FREEZE);
    assert_int_equal(keel_llama_tuning_of(llama).frozen_layers, 1);
    assert_false(llama->params.table[0].decay);
    assert_true(llama->params.table[KEEL_LLAMA_Q].decay);
    assert_int_equal(llama->params.table[KEEL_LLAMA_Q_BIAS].rows, 0); /* this model has none */
    assert_int_equal(llama->params.count, llama->n_rows - keel_llama_row(1, 0));
    keel_llama_close(llama);
}

static void numbers_out_of_range_are_refused(void **state) {
    (void)state;
    static const struct {
        keel_llama_tuning tuning;
        const char *says;
    } wrong[] = {
        {{.mode = KEEL_LLAMA_FREEZE, .frozen_layers = 3}, "frozen layers"},
        {{.mode = KEEL_LLAMA_PROMPT}, "virtual tokens"},
        {{.mode = KEEL_LLAMA_PROMPT, .n_virtual = 5000}, "virtual tokens"},
        {{.mode = KEEL_LLAMA_LORA, .lora = {0, 1, 0, false, 1}}, "rank"},
        {{.mode = KEEL_LLAMA_LORA, .lora = {17, 1, 0, false, 1}}, "rank"},
        {{.mode = KEEL_LLAMA_LORA, .lora = {1, 1, 0, false, 0}}, "targets"},
        {{.mode = KEEL_LLAMA_LORA, .lora = {1, 1, 0, false, 128}}, "targets"},
        {{.mode = KEEL_LLAMA_LORA, .lora = {1, NAN, 0, false, 1}}, "alpha"},
        {{.mode = KEEL_LLAMA_LORA, .lora = {1, 1, 1, false, 1}}, "dropout"},
    };
    keel_llama *llama = load(golden("tied"), KEEL_LLAMA_AS_STORED);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(keel_llama_train(llama, &wrong[i].tuning, &err), KEEL_E_INVALID);
        contains(err.message, wrong[i].says);
    }
    assert_int_equal(keel_llama_prompt_text(llama, "a", &err), KEEL_E_USAGE);
    keel_llama_close(llama);
}

/* ---- starts ---- */

static void corrections_start_as_nothing(void **state) {
    (void)state;
    keel_llama *llama = load(golden("untied"), KEEL_LLAMA_AS_STORED);
    keel_rng rng = keel_rng_named(1, "start", 0);
    float before[TOKENS], after[TOKENS];
    costs(llama, false, before);
    assert_ok(keel_llama_train(llama, &LORA, &err));
    keel_llama_lora_start(llama, &rng);
    costs(llama, false, after);
    assert_memory_equal(before, after, sizeof before);
    double most = 0;
    for (size_t i = 0; i < 3 * 16; i++) most = fmax(most, fabs((double)llama->params.data[i]));
    assert_true(most > 0.2 && most <= 0.25); /* 1 / sqrt(16) */
    keel_llama_close(llama);
}

static void virtual_tokens_start_as_they_are_told(void **state) {
    (void)state;
    keel_llama *llama = load(golden("tied"), KEEL_LLAMA_BF16);
    keel_rng rng = keel_rng_named(1, "start", 0);
    const size_t hidden = llama->config.hidden, size = keel_tokenizer_size(llama->tokenizer);
    float row[16];
    keel_tokens tokens;
    assert_ok(keel_llama_train(llama, &PROMPT, &err));
    assert_ok(keel_llama_prompt_text(llama, "the in", &err));
    assert_ok(keel_tokenizer_encode(llama->tokenizer, "the in", false, &arena, &tokens, &err));
    assert_true(tokens.count > 1 && tokens.count < 5);
    for (size_t i = 0; i < 5; i++) {
        keel_matrix_read_row(&llama->matrix[KEEL_LLAMA_EMBED], (size_t)tokens.id[i % tokens.count], row);
        assert_memory_equal(row, llama->params.data + i * hidden, sizeof row);
    }
    assert_int_equal(keel_llama_prompt_text(llama, "", &err), KEEL_E_INVALID);
    assert_ok(keel_llama_prompt_vocabulary(llama, &rng, &err));
    for (size_t i = 0; i < 5; i++) {
        bool known = false;
        for (size_t id = 2; id < size; id++) { /* the first two are special */
            keel_matrix_read_row(&llama->matrix[KEEL_LLAMA_EMBED], id, row);
            known = known || memcmp(row, llama->params.data + i * hidden, sizeof row) == 0;
        }
        assert_true(known);
    }
    assert_ok(keel_llama_prompt_random(llama, &rng, &err));
    double squares = 0;
    for (size_t i = 0; i < 5 * hidden; i++) squares += pow((double)llama->params.data[i], 2) / (5.0 * 16);
    assert_true(sqrt(squares) > 0.2 && sqrt(squares) < 0.4); /* the embedding's is 0.3 */
    keel_llama_close(llama);
}

/* ln p of each token after the first, by the engine. */
static void run_costs(const keel_llama *llama, float out[TOKENS]) {
    keel_llama_sequence *sequence;
    assert_ok(keel_llama_sequence_open(&sequence, llama, NULL, 0, &err));
    const keel_llama_feed feed = {.sequence = sequence, .id = ids, .n = TOKENS, .log_prob = out};
    assert_ok(keel_llama_run(llama, &feed, 1, NULL, &arena, &err));
    keel_llama_sequence_close(sequence);
    out[0] = 0;
}

/* ---- merging ---- */

/* A decoder whose widths Q8_0 allows, in a folder. */
static const char *make_wide(void) {
    keel_llama_config config = made_config;
    config.vocab = 272;
    config.positions = 64;
    config.n_eos = 1; /* 0 */
    keel_tokenizer *tokenizer;
    keel_llama *llama;
    char path[600];
    snprintf(path, sizeof path, GOLDEN "tied/tokenizer.json");
    assert_ok(keel_tokenizer_load(&tokenizer, path, &err));
    assert_ok(keel_llama_make(&llama, &config, tokenizer, NULL, 1, &err));
    assert_ok(keel_folder_make(within("wide"), &err));
    assert_ok(keel_llama_save(llama, within("wide"), KEEL_BLOCK_F32, 0, &err));
    keel_llama_close(llama);
    return within("wide");
}

/* Over weights of any format: what the branches do, the merged weights do; unmerged, all is as it was. */
static void merged_weights_do_what_the_branches_did(void **state) {
    (void)state;
    static const keel_llama_weights formats[] = {KEEL_LLAMA_F32, KEEL_LLAMA_BF16, KEEL_LLAMA_Q8_0};
    const char *wide = make_wide();
    for (int k = 0; k < 6; k++) {
        keel_llama *llama = load(wide, formats[k / 2]);
        float branches[TOKENS], merged[TOKENS], again[TOKENS], before[TOKENS];
        costs(llama, false, before);
        tune(llama, k % 2 ? &LORA : &SOME);
        const size_t bytes = keel_llama_virtual_row(llama) * sizeof(keel_matrix);
        keel_matrix *kept = keel_alloc(bytes);
        memcpy(kept, llama->matrix, bytes);
        costs(llama, false, branches);
        assert_ok(keel_llama_merge(llama, &err));
        assert_int_equal(keel_llama_merge(llama, &err), KEEL_E_USAGE);
        costs(llama, true, merged);
        expect_near(merged, branches, 2e-4);
        keel_llama_unmerge(llama);
        assert_memory_equal(kept, llama->matrix, bytes);
        costs(llama, false, again);
        assert_memory_equal(again, branches, sizeof again);
        costs(llama, true, again); /* the model that tuning began with */
        assert_memory_equal(again, before, sizeof again);
        assert_ok(keel_llama_settle(llama, &err));
        costs(llama, false, again);
        assert_memory_equal(again, merged, sizeof again);
        tune(llama, &FULL); /* it can be tuned anew, twice */
        costs(llama, false, merged);
        assert_ok(keel_llama_settle(llama, &err));
        tune(llama, &SOME);
        costs(llama, true, again);
        assert_memory_equal(again, merged, sizeof again);
        keel_free(kept);
        keel_llama_close(llama);
    }
}

static void what_cannot_be_merged_is_told(void **state) {
    (void)state;
    keel_llama *llama = load(golden("tied"), KEEL_LLAMA_AS_STORED);
    float before[TOKENS], after[TOKENS];
    tune(llama, &SOME);
    costs(llama, true, before);
    const size_t last = llama->params.count - 1; /* B of the last target: what came before it merges */
    for (size_t i = 0; i < llama->params.table[last].rows * llama->params.table[last].cols; i++)
        keel_params_at(&llama->params, last)[i] = 1e30f;
    for (size_t i = 0; i < llama->params.table[last - 1].rows * llama->params.table[last - 1].cols; i++)
        keel_params_at(&llama->params, last - 1)[i] = 1e30f;
    assert_int_equal(keel_llama_merge(llama, &err), KEEL_E_INVALID);
    contains(err.message, "finite");
    costs(llama, true, after);
    assert_memory_equal(before, after, sizeof before);
    keel_llama_close(llama);
    llama = load(golden("tied"), KEEL_LLAMA_AS_STORED);
    tune(llama, &PROMPT);
    assert_int_equal(keel_llama_settle(llama, &err), KEEL_E_UNSUPPORTED);
    keel_llama_close(llama);
}

/* Merged, nothing is tuned. */
static void a_merged_decoder_is_not_tuned(void **state) {
    (void)state;
    static const int32_t offsets[] = {0, TOKENS};
    static const float none[TOKENS];
    const keel_llama_batch batch = {ids, offsets, 1, none};
    const keel_llama_loss loss = {.divisor = 1};
    keel_llama *llama = load(golden("tied"), KEEL_LLAMA_AS_STORED);
    keel_tape *tape;
    tune(llama, &SOME);
    assert_ok(keel_llama_merge(llama, &err));
    assert_ok(keel_tape_open(&tape, &err));
    assert_null(keel_llama_on_tape(tape, llama, &(keel_llama_training){0}, &batch, &loss, &arena, &err));
    assert_int_equal(err.code, KEEL_E_USAGE);
    keel_tape_close(tape);
    keel_llama_close(llama);
}

/* ---- the engine ---- */

static void inference_has_what_was_tuned(void **state) {
    (void)state;
    static const keel_llama_tuning *const tunings[] = {&LORA, &PROMPT, &FULL};
    for (int k = 0; k < 3; k++) {
        keel_llama *llama = load(golden("untied"), KEEL_LLAMA_AS_STORED);
        float tape[TOKENS], run[TOKENS];
        tune(llama, tunings[k]);
        costs(llama, false, tape);
        run_costs(llama, run);
        tape[0] = 0; /* behind virtual tokens it has one */
        expect_near(run, tape, 1e-4);
        assert_ok(keel_llama_merge(llama, &err));
        run_costs(llama, run);
        expect_near(run, tape, 2e-4);
        keel_llama_close(llama);
    }
}

/* ---- PEFT ---- */

static const struct {
    const char *adapter, *base, *curve;
    bool first; /* the first token is predicted too */
} adapters[] = {{"lora", "tied", "lora", false},
                {"rslora", "untied", "rslora", false},
                {"prompt", "tied", "prompt", true}};

static void expect_after(const keel_llama *llama, int k) {
    const cJSON *after = keel_json_get(keel_json_get(curves, adapters[k].curve), "after");
    const int skipped = adapters[k].first ? 0 : 1;
    float found[TOKENS];
    costs(llama, false, found);
    assert_int_equal(cJSON_GetArraySize(after), TOKENS - skipped);
    for (int t = skipped; t < TOKENS; t++) {
        const double want = cJSON_GetArrayItem(after, t - skipped)->valuedouble;
        if (!(fabs((double)found[t] - want) < 5e-5))
            fail_msg("%s, token %d: %.8g, PEFT %.8g", adapters[k].adapter, t, (double)found[t], want);
    }
}

static void adapters_do_what_they_do_in_peft(void **state) {
    (void)state;
    for (int k = 0; k < 3; k++) {
        keel_llama *llama = load(golden(adapters[k].base), KEEL_LLAMA_AS_STORED);
        assert_ok(keel_peft_load_llama(llama, golden(adapters[k].adapter), &err));
        expect_after(llama, k);
        assert_ok(keel_peft_load_llama(llama, golden(adapters[k].adapter), &err)); /* into its own rows */
        assert_ok(keel_peft_save_llama(llama, within("saved"), &err));
        keel_llama *again = load(golden(adapters[k].base), KEEL_LLAMA_AS_STORED);
        assert_ok(keel_peft_load_llama(again, within("saved"), &err));
        assert_int_equal(again->params.size, llama->params.size);
        assert_memory_equal(again->params.data, llama->params.data, llama->params.size * sizeof(float));
        keel_llama_close(again);
        if (k < 2) assert_ok(keel_llama_settle(llama, &err));
        expect_after(llama, k);
        keel_llama_close(llama);
    }
}

static void an_adapter_for_another_is_refused(void **state) {
    (void)state;
    keel_llama *llama = load(golden("tied"), KEEL_LLAMA_AS_STORED);
    keel_llama_tuning tuning;
    assert_int_equal(keel_peft_save_llama(llama, within("none"), &err), KEEL_E_USAGE);
    assert_ok(keel_peft_tuning(llama, golden("prompt"), &tuning, &err));
    assert_true(tuning.mode == KEEL_LLAMA_PROMPT && tuning.n_virtual == 4);
    assert_ok(keel_peft_load_llama(llama, golden("lora"), &err));
    assert_int_equal(keel_peft_load_llama(llama, golden("rslora"), &err), KEEL_E_INVALID);
    assert_int_equal(keel_peft_load_llama(llama, golden("prompt"), &err), KEEL_E_INVALID);
    contains(err.message, "virtual");
    assert_int_equal(keel_llama_tuning_of(llama).mode, KEEL_LLAMA_LORA);
    assert_ok(keel_llama_merge(llama, &err));
    assert_int_equal(keel_peft_load_llama(llama, golden("lora"), &err), KEEL_E_USAGE);
    keel_llama_close(llama);
}

/* An adapter with one text put for another in its configuration. */
static void refuses(const char *from, const char *base, const char *old, const char *put, keel_status status,
                    const char *says) {
    keel_buf text = {0}, weights = {0}, changed = {0};
    keel_llama *llama = load(golden(base), KEEL_LLAMA_AS_STORED);
    char path[600];
    snprintf(path, sizeof path, GOLDEN "%s/adapter_config.json", from);
    assert_ok(keel_file_read(path, 0, &text, &err));
    snprintf(path, sizeof path, GOLDEN "%s/adapter_model.safetensors", from);
    assert_ok(keel_file_read(path, 0, &weights, &err));
    const char *at = strstr(text.data, old);
    assert_non_null(at);
    keel_buf_append(&changed, text.data, (size_t)(at - text.data));
    keel_buf_text(&changed, put);
    keel_buf_text(&changed, at + strlen(old));
    assert_ok(keel_folder_make(within("changed"), &err));
    assert_ok(keel_file_write(within("changed/adapter_config.json"), changed.data, changed.length, &err));
    assert_ok(
        keel_file_write(within("changed/adapter_model.safetensors"), weights.data, weights.length, &err));
    assert_int_equal(keel_peft_load_llama(llama, within("changed"), &err), status);
    contains(err.message, says);
    keel_llama_close(llama);
    keel_buf_free(&text), keel_buf_free(&weights), keel_buf_free(&changed);
}

static void what_keel_does_not_compute_is_told_by_name(void **state) {
    (void)state;
    refuses("lora", "tied", "\"v_proj\"", "\"v_proj\", \"lm_head\"", KEEL_E_UNSUPPORTED, "tied");
    refuses("lora", "tied", "\"v_proj\"", "\"v_proj\", \"embed_tokens\"", KEEL_E_UNSUPPORTED, "tied");
    refuses("lora", "tied", "\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]",
            KEEL_E_UNSUPPORTED, "tied");
    refuses("rslora", "untied", "\"v_proj\"", "\"v_proj\", \"lm_head\"", KEEL_E_UNSUPPORTED,
            "no module that takes one");
    refuses("lora", "tied", "\"v_proj\"", "\"k_proj\"", KEEL_E_INVALID, "k_proj");
    refuses("lora", "tied", "\"use_dora\": false", "\"use_dora\": true", KEEL_E_UNSUPPORTED, "use_dora");
    refuses("lora", "tied", "\"LORA\"", "\"IA3\"", KEEL_E_UNSUPPORTED, "IA3");
    refuses("lora", "untied", "\"r\": 4", "\"r\": 4", KEEL_E_INVALID, "q_proj");
    refuses("prompt", "tied", "\"num_virtual_tokens\": 4", "\"num_virtual_tokens\": 0", KEEL_E_INVALID,
            "expected 1");
    refuses("prompt", "tied", "\"num_virtual_tokens\": 4", "\"num_virtual_tokens\": 5", KEEL_E_INVALID,
            "prompt_emb");
    refuses("prompt", "tied", "\"token_dim\": 16", "\"token_dim\": 32", KEEL_E_INVALID, "width");
    refuses("prompt", "tied", "\"num_transformer_submodules\": 1", "\"num_transformer_submodules\": 2",
            KEEL_E_INVALID, "module");
}

/* ---- faults ---- */

static keel_status go_round(keel_err *error) {
    keel_llama *llama;
    KEEL_TRY(keel_llama_open(&llama, golden("tied"), KEEL_LLAMA_AS_STORED, error));
    keel_status status = keel_peft_load_llama(llama, golden("lora"), error);
    if (status == KEEL_OK) status = keel_peft_save_llama(llama, within("fault"), error);
    if (status == KEEL_OK) status = keel_llama_settle(llama, error);
    if (status == KEEL_OK) status = keel_peft_load_llama(llama, golden("prompt"), error);
    if (status == KEEL_OK) status = keel_peft_save_llama(llama, within("fault"), error);
    keel_llama_close(llama);
    return status;
}

static void every_failed_allocation_is_out_of_memory(void **state) {
    (void)state;
    faults count;
    keel_status status;
    size_t n = 1, steps = 0;
    do {
        keel_err error = {0};
        faults_begin(&count, n);
        status = go_round(&error);
        assert_int_equal(count.live, 0);
        if (status != KEEL_OK && status != KEEL_E_NOMEM)
            fail_msg("allocation %zu: %s: %s", n, error.where, error.message);
        steps++;
        n += n < 40 ? 1 : 3; /* those of the tokenizer are many */
    } while (status != KEEL_OK);
    faults_end();
    assert_true(steps > 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_mode_trains_is_the_end_of_one_list),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(corrections_start_as_nothing),
        cmocka_unit_test(virtual_tokens_start_as_they_are_told),
        cmocka_unit_test(merged_weights_do_what_the_branches_did),
        cmocka_unit_test(what_cannot_be_merged_is_told),
        cmocka_unit_test(a_merged_decoder_is_not_tuned),
        cmocka_unit_test(inference_has_what_was_tuned),
        cmocka_unit_test(adapters_do_what_they_do_in_peft),
        cmocka_unit_test(an_adapter_for_another_is_refused),
        cmocka_unit_test(what_keel_does_not_compute_is_told_by_name),
        cmocka_unit_test(every_failed_allocation_is_out_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
