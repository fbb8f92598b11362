/* Decoders in .gguf files: weights dequantised as the package gguf does, bit for bit; what is written is read
 * again with the same bits, by way of folders too; what is not read is refused by name; damage is told. */
#include "core/hash.h"
#include "core/json.h"
#include "llama_fixture.h"
#include "llama_twin.h"
#include "policies/transformer/gguf.h"
#include "support/faults.h"

enum { N_FILES = 6 };
static const struct {
    const char *name, *folder; /* what it was made of */
    keel_block_type type;
} files[N_FILES] = {{"tied-f32", "tied", KEEL_BLOCK_F32},       {"llama3-f16", "llama3", KEEL_BLOCK_F16},
                    {"biased-bf16", "biased", KEEL_BLOCK_BF16}, {"biased-q8_0", "biased", KEEL_BLOCK_Q8_0},
                    {"biased-q4_0", "biased", KEEL_BLOCK_Q4_0}, {"biased-q4_1", "biased", KEEL_BLOCK_Q4_1}};

static int set_up(void **state) {
    (void)state;
    return llama_set_up("gguf");
}

static const char *path_of(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, GOLDEN "gguf/%s.gguf", name);
    return path;
}

static keel_llama *open_file(const char *path, keel_llama_weights weights) {
    keel_llama *llama = NULL;
    assert_ok(keel_llama_open(&llama, path, weights, &err));
    return llama;
}

static const char *in(const char *name) {
    return scratch_path(llama_folder, name);
}

/* ---- reading ---- */

static void hash_row(const keel_matrix *matrix, char hex[65]) {
    float *numbers = malloc(matrix->rows * matrix->cols * sizeof *numbers);
    for (size_t r = 0; r < matrix->rows; r++) keel_matrix_read_row(matrix, r, numbers + r * matrix->cols);
    keel_sha256 hash;
    keel_sha256_init(&hash);
    keel_sha256_add(&hash, numbers, matrix->rows * matrix->cols * sizeof *numbers);
    keel_sha256_hex(&hash, hex);
    free(numbers);
}

static void weights_are_dequantised_bit_for_bit(void **state) {
    (void)state;
    for (size_t f = 0; f < N_FILES; f++) {
        keel_llama *llama = open_file(path_of(files[f].name), KEEL_LLAMA_AS_STORED);
        const cJSON *hashes = keel_json_get(llama_numbers, files[f].name);
        int found = 0;
        for (size_t row = 0; row < llama->n_rows; row++) {
            char name[128], hex[65];
            keel_llama_name(&llama->config, row, name);
            const cJSON *expected = keel_json_get(hashes, name);
            assert_true((expected != NULL) == (llama->matrix[row].data != NULL));
            if (!expected) continue;
            hash_row(&llama->matrix[row], hex);
            if (strcmp(hex, expected->valuestring) != 0) fail_msg("%s: %s differs", files[f].name, name);
            found++;
        }
        assert_int_equal(found, cJSON_GetArraySize(hashes));
        keel_llama_close(llama);
    }
}

/* Of Q8_0 the blocks themselves. */
static void q8_0_stays_as_it_is(void **state) {
    (void)state;
    keel_llama *llama = open_file(path_of("biased-q8_0"), KEEL_LLAMA_Q8_0),
               *wide = open_file(path_of("biased-q8_0"), KEEL_LLAMA_F32),
               *made = llama_golden("biased", KEEL_LLAMA_Q8_0);
    for (size_t row = 0; row < llama->n_rows; row++) {
        const keel_matrix *a = &llama->matrix[row], *b = &made->matrix[row];
        char one[65], other[65];
        if (!a->data) continue;
        hash_row(a, one);
        hash_row(&wide->matrix[row], other);
        assert_string_equal(one, other);
        assert_int_equal(a->type, b->type);
        assert_memory_equal(a->data, b->data, a->rows * keel_matrix_row_bytes(a->type, a->cols));
    }
    keel_llama_close(llama);
    keel_llama_close(wide);
    keel_llama_close(made);
}

static void same_config(const keel_llama *a, const keel_llama *b) {
    const keel_llama_config *x = &a->config, *y = &b->config;
    assert_int_equal(x->vocab, y->vocab);
    assert_int_equal(x->hidden, y->hidden);
    assert_int_equal(x->layers, y->layers);
    assert_int_equal(x->heads, y->heads);
    assert_int_equal(x->kv_heads, y->kv_heads);
    assert_int_equal(x->head_dim, y->head_dim);
    assert_int_equal(x->inner, y->inner);
    assert_int_equal(x->positions, y->positions);
    assert_true(x->epsilon == y->epsilon && x->rope_theta == y->rope_theta && x->rope == y->rope);
    assert_true(x->rope_factor == y->rope_factor && x->rope_low == y->rope_low &&
                x->rope_high == y->rope_high);
    assert_int_equal(x->rope_original, y->rope_original);
    assert_true(x->tied == y->tied && x->qkv_bias == y->qkv_bias && x->out_bias == y->out_bias);
    assert_true(x->mlp_bias == y->mlp_bias && x->adds_bos == y->adds_bos);
    assert_int_equal(x->eos[0], y->eos[0]);
}

static void the_configuration_is_that_of_the_folder(void **state) {
    (void)state;
    for (size_t f = 0; f < N_FILES; f++) {
        keel_llama *llama = open_file(path_of(files[f].name), KEEL_LLAMA_AS_STORED),
                   *folder = llama_golden(files[f].folder, KEEL_LLAMA_AS_STORED);
        same_config(llama, folder);
        assert_string_equal(llama->chat_source, "{{ messages }}");
        assert_int_equal(llama->config.bos, 1);
        keel_llama_close(llama);
        keel_llama_close(folder);
    }
}

static void tokens_are_those_of_the_folder(void **state) {
    (void)state;
    static const char *const texts[] = {"how do i bake bread ?", "the quick brown fox.\n  jumps",
                                        "<|im_end|>dog:", ""};
    keel_llama *llama = open_file(path_of("tied-f32"), KEEL_LLAMA_AS_STORED),
               *folder = llama_golden("tied", KEEL_LLAMA_AS_STORED);
    keel_arena arena = {0};
    for (size_t i = 0; i < 8; i++) {
        keel_tokens found, expected;
        assert_ok(keel_tokenizer_encode(llama->tokenizer, texts[i / 2], i % 2, &arena, &found, &err));
        assert_ok(keel_tokenizer_encode(folder->tokenizer, texts[i / 2], i % 2, &arena, &expected, &err));
        assert_int_equal(found.count, expected.count);
        if (found.count) assert_memory_equal(found.id, expected.id, found.count * sizeof *found.id);
    }
    keel_arena_free(&arena);
    keel_llama_close(llama);
    keel_llama_close(folder);
}

/* transformers numbers an added token that the vocabulary of tokenizer.json does not hold anew. */
static void added_tokens_keep_their_ids_elsewhere(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FILES; i++) {
        keel_llama *llama = open_file(path_of(files[i].name), KEEL_LLAMA_AS_STORED);
        size_t length, added = 0;
        const char *text = keel_tokenizer_file(llama->tokenizer, &length);
        cJSON *json = cJSON_ParseWithLength(text, length), *token;
        assert_non_null(json);
        const cJSON *vocabulary = keel_json_get(keel_json_get(json, "model"), "vocab");
        cJSON_ArrayForEach (token, keel_json_get(json, "added_tokens")) {
            const cJSON *id = keel_json_get(vocabulary, keel_json_get(token, "content")->valuestring);
            assert_non_null(id);
            assert_int_equal(id->valueint, keel_json_get(token, "id")->valueint);
            added++;
        }
        assert_true(added > 0);
        cJSON_Delete(json);
        keel_llama_close(llama);
    }
}

/* A vocabulary of SentencePiece's kind: pieces with scores, bytes, a blank before the text; llama.cpp's
 * tokens. */
static void pieces_are_those_of_llama_cpp(void **state) {
    (void)state;
    keel_llama *llama = open_file(path_of("pieces"), KEEL_LLAMA_AS_STORED);
    cJSON *expected = NULL;
    const cJSON *text, *id;
    keel_arena arena = {0};
    assert_ok(keel_json_parse_file(GOLDEN "pieces.json", &expected, &err));
    assert_true(llama->config.adds_bos && llama->config.bos == 1);
    cJSON_ArrayForEach (text, expected) {
        keel_tokens found, framed;
        int32_t *type;
        size_t i = 0;
        const char *bytes = keel_json_get(text, "text")->valuestring, *back;
        assert_ok(keel_tokenizer_encode(llama->tokenizer, bytes, false, &arena, &found, &err));
        assert_ok(keel_tokenizer_frame(llama->tokenizer, &found, NULL, &arena, &framed, &type, &err));
        assert_int_equal(framed.count, cJSON_GetArraySize(keel_json_get(text, "ids")));
        cJSON_ArrayForEach (id, keel_json_get(text, "ids")) assert_int_equal(framed.id[i++], id->valueint);
        assert_ok(keel_tokenizer_decode(llama->tokenizer, found.id, found.count, false, &arena, &back, &err));
        assert_string_equal(back, bytes);
    }
    cJSON_Delete(expected);
    keel_arena_free(&arena);
    keel_llama_close(llama);
}

/* A folder without config.json that holds one file is that file. */
static void a_folder_may_hold_a_file_alone(void **state) {
    (void)state;
    keel_buf text = {0};
    keel_llama *llama = NULL;
    assert_ok(keel_file_read(path_of("biased-q4_0"), 1 << 20, &text, &err));
    assert_ok(keel_folder_remove(llama_folder, &err));
    assert_ok(keel_folder_make(llama_folder, &err));
    assert_false(keel_llama_is(llama_folder));
    llama_write_bytes("one.gguf", text.data, text.length);
    assert_true(keel_llama_is(llama_folder) && keel_llama_is(in("one.gguf")) &&
                keel_llama_is(GOLDEN "llama/plain"));
    assert_false(keel_llama_is(GOLDEN "bert/mean") || keel_llama_is(in("none")));
    assert_ok(keel_llama_open(&llama, llama_folder, KEEL_LLAMA_AS_STORED, &err));
    assert_int_equal(llama->config.hidden, 32);
    keel_llama_close(llama);
    llama_write_bytes("other.gguf", text.data, text.length);
    assert_int_equal(keel_llama_open(&llama, llama_folder, KEEL_LLAMA_AS_STORED, &err), KEEL_E_INVALID);
    contains(err.message, "name one");
    keel_buf_free(&text);
}

/* ---- writing ---- */

static void same_weights(const keel_llama *a, const keel_llama *b) {
    assert_int_equal(a->n_rows, b->n_rows);
    for (size_t row = 0; row < a->n_rows; row++) {
        char one[65], other[65], name[128];
        assert_true((a->matrix[row].data == NULL) == (b->matrix[row].data == NULL));
        if (!a->matrix[row].data) continue;
        hash_row(&a->matrix[row], one);
        hash_row(&b->matrix[row], other);
        keel_llama_name(&a->config, row, name);
        if (strcmp(one, other) != 0) fail_msg("%s differs", name);
    }
}

static void same_tokenizer(const keel_llama *a, const keel_llama *b) {
    assert_int_equal(keel_tokenizer_size(a->tokenizer), keel_tokenizer_size(b->tokenizer));
    for (size_t i = 0; i < keel_tokenizer_size(a->tokenizer); i++) {
        const char *one = keel_tokenizer_token(a->tokenizer, (int32_t)i),
                   *other = keel_tokenizer_token(b->tokenizer, (int32_t)i);
        assert_true((one == NULL) == (other == NULL));
        if (one) assert_string_equal(one, other);
    }
    assert_true((a->chat_source == NULL) == (b->chat_source == NULL));
    if (a->chat_source) assert_string_equal(a->chat_source, b->chat_source);
}

/* From a folder to a file to a folder, and from a file to a file: in a format that holds the weights nothing
 * moves. */
static void what_is_written_is_read_again(void **state) {
    (void)state;
    static const struct {
        const char *name;
        keel_block_type file, folder;
    } ways[] = {{"tied", KEEL_BLOCK_F32, KEEL_BLOCK_F32},
                {"biased", KEEL_BLOCK_F32, KEEL_BLOCK_BF16},
                {"biased", KEEL_BLOCK_BF16, KEEL_BLOCK_F32},
                {"llama3", KEEL_BLOCK_F16, KEEL_BLOCK_F16},
                {"plain", KEEL_BLOCK_F32, KEEL_BLOCK_F32}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        keel_llama *first = llama_golden(ways[i].name, KEEL_LLAMA_AS_STORED);
        assert_ok(keel_llama_save_gguf(first, in("a.gguf"), ways[i].file, &err));
        keel_llama *second = open_file(in("a.gguf"), KEEL_LLAMA_AS_STORED);
        same_weights(first, second);
        same_config(first, second);
        same_tokenizer(first, second);
        assert_ok(keel_folder_remove(in("folder"), &err));
        assert_ok(keel_folder_make(in("folder"), &err));
        assert_ok(keel_llama_save(second, in("folder"), ways[i].folder, i == 1 ? 9000 : 0, &err));
        assert_int_equal(keel_file_exists(in("folder/model.safetensors")), i != 1);
        keel_llama *third = open_file(in("folder"), KEEL_LLAMA_AS_STORED);
        same_weights(first, third);
        same_config(second, third);
        same_tokenizer(first, third);
        assert_true(first->defaults.temperature == 1 || i == 0 || i == 3);
        keel_llama_close(first);
        keel_llama_close(second);
        keel_llama_close(third);
    }
}

static void quantised_files_are_written_as_they_were_read(void **state) {
    (void)state;
    keel_llama *first = open_file(path_of("biased-q8_0"), KEEL_LLAMA_Q8_0);
    assert_ok(keel_llama_save_gguf(first, in("q.gguf"), KEEL_BLOCK_Q8_0, &err));
    keel_llama *second = open_file(in("q.gguf"), KEEL_LLAMA_Q8_0), *llama = NULL;
    same_weights(first, second);
    keel_llama_close(second);
    assert_int_equal(keel_llama_save_gguf(first, in("q.gguf"), KEEL_BLOCK_Q4_1, &err), KEEL_E_USAGE);
    assert_int_equal(keel_llama_save(first, llama_folder, KEEL_BLOCK_Q8_0, 0, &err), KEEL_E_USAGE);
    keel_llama_close(first);
    llama = llama_golden("tied", KEEL_LLAMA_AS_STORED);
    assert_int_equal(keel_llama_save_gguf(llama, in("t.gguf"), KEEL_BLOCK_Q8_0, &err), KEEL_E_UNSUPPORTED);
    assert_false(keel_file_exists(in("t.gguf")));
    keel_llama_close(llama);
}

/* Matrices of layers have the bytes of ggml's own quantisation; embedding and head have 8 bits. */
static void four_bits_are_written_as_ggml_makes_them(void **state) {
    (void)state;
    keel_llama *first = llama_golden("biased", KEEL_LLAMA_AS_STORED);
    assert_ok(keel_llama_save_gguf(first, in("q4.gguf"), KEEL_BLOCK_Q4_0, &err));
    keel_llama *second = open_file(in("q4.gguf"), KEEL_LLAMA_Q4_0),
               *golden = open_file(path_of("biased-q4_0"), KEEL_LLAMA_Q4_0);
    const keel_llama_config *c = &first->config;
    size_t fours = 0;
    for (size_t row = KEEL_LLAMA_FIRST_LAYER; row < keel_llama_norm(c); row++) {
        const keel_matrix *a = &second->matrix[row], *b = &golden->matrix[row];
        if (!a->data || a->type != KEEL_MATRIX_Q4_0) continue;
        assert_memory_equal(a->data, b->data, a->rows * keel_matrix_row_bytes(a->type, a->cols));
        fours++;
    }
    assert_int_equal(fours, 7 * c->layers);
    assert_int_equal(second->matrix[KEEL_LLAMA_EMBED].type, KEEL_MATRIX_Q8_0);
    assert_ok(keel_llama_save_gguf(second, in("again.gguf"), KEEL_LLAMA_AS_HELD, &err));
    keel_llama *third = open_file(in("again.gguf"), KEEL_LLAMA_Q4_0);
    same_weights(second, third);
    keel_llama_close(first);
    keel_llama_close(second);
    keel_llama_close(third);
    keel_llama_close(golden);
}

/* What GGUF has no name for is refused by name, and rounded where that is asked for. */
static void formats_of_keel_alone_are_refused(void **state) {
    (void)state;
    static const struct {
        keel_llama_weights weights;
        const char *name, *hint;
    } ways[] = {{KEEL_LLAMA_I8, "int8", "q8_0"}, {KEEL_LLAMA_Q4_G32, "q4_g32", "q4_0"}};
    for (size_t i = 0; i < 2; i++) {
        keel_llama *llama = llama_golden("biased", ways[i].weights);
        assert_int_equal(keel_llama_save_gguf(llama, in("r.gguf"), KEEL_LLAMA_AS_HELD, &err),
                         KEEL_E_UNSUPPORTED);
        contains(err.message, ways[i].name);
        contains(err.hint, ways[i].hint);
        assert_false(keel_file_exists(in("r.gguf")));
        keel_matrix *kept = &llama->matrix[keel_llama_row(1, KEEL_LLAMA_O)];
        const keel_matrix before = *kept;
        char eight[32 * 40];
        float row[32];
        for (size_t r = 0; r < kept->rows; r++) {
            keel_matrix_read_row(&before, r, row);
            keel_matrix_write_row(KEEL_MATRIX_I8, row, kept->cols,
                                  eight + r * keel_matrix_row_bytes(KEEL_MATRIX_I8, kept->cols));
        }
        kept->type = KEEL_MATRIX_I8;
        kept->data = eight;
        assert_ok(keel_llama_save_gguf(llama, in("r.gguf"), KEEL_BLOCK_Q4_0, &err));
        keel_gguf read;
        assert_ok(keel_gguf_open(&read, in("r.gguf"), &err));
        assert_int_equal(keel_gguf_tensor_of(&read, "blk.1.ffn_up.weight")->type, KEEL_BLOCK_Q4_0);
        assert_int_equal(keel_gguf_tensor_of(&read, "blk.1.attn_output.weight")->type,
                         i ? KEEL_BLOCK_Q8_0 : KEEL_BLOCK_Q4_0);
        keel_gguf_close(&read);
        assert_int_equal(remove(in("r.gguf")), 0);
        *kept = before;
        keel_llama_close(llama);
    }
}

static void a_weight_that_no_file_can_hold_is_told(void **state) {
    (void)state;
    keel_llama *llama = llama_golden("tied", KEEL_LLAMA_F32);
    const keel_llama_config config = llama->config;
    float large[24] = {[23] = 1e5f};
    keel_matrix *norm = &llama->matrix[keel_llama_norm(&config)];
    norm->data = large;
    assert_int_equal(keel_llama_save(llama, llama_folder, KEEL_BLOCK_F16, 0, &err), KEEL_E_INVALID);
    contains(err.where, "model.norm.weight");
    assert_ok(keel_llama_save_gguf(llama, in("n.gguf"), KEEL_BLOCK_F16, &err)); /* vectors are F32 there */
    keel_llama_close(llama);
    llama = llama_golden("biased", KEEL_LLAMA_F32);
    float wide[32 * 32] = {[77] = -8.4e6f}; /* a scale of Q8_0 holds 127 x 65504 */
    llama->matrix[keel_llama_row(1, KEEL_LLAMA_O)].data = wide;
    assert_int_equal(keel_llama_save_gguf(llama, in("w.gguf"), KEEL_BLOCK_Q8_0, &err), KEEL_E_INVALID);
    contains(err.message, "Q8_0");
    wide[77] = 5.3e5f; /* one of Q4_0 holds 8 x 65504 */
    assert_int_equal(keel_llama_save_gguf(llama, in("w.gguf"), KEEL_BLOCK_Q4_0, &err), KEEL_E_INVALID);
    contains(err.message, "Q4_0");
    wide[77] = 8.3e6f;
    assert_ok(keel_llama_save_gguf(llama, in("w.gguf"), KEEL_BLOCK_Q8_0, &err));
    wide[77] = NAN; /* in a file that was mapped nobody has looked yet */
    assert_int_equal(keel_llama_save_gguf(llama, in("nan.gguf"), KEEL_BLOCK_F32, &err), KEEL_E_INVALID);
    contains(err.where, "model.layers.1.self_attn.o_proj.weight");
    contains(err.message, "not finite");
    assert_false(keel_file_exists(in("nan.gguf")));
    assert_int_equal(keel_llama_save(llama, llama_folder, KEEL_BLOCK_F32, 0, &err), KEEL_E_INVALID);
    keel_llama_close(llama);
}

/* ---- a new one ---- */

static void a_new_one_is_random_of_the_right_size(void **state) {
    (void)state;
    keel_llama *like = llama_golden("biased", KEEL_LLAMA_AS_STORED), *made = NULL, *again = NULL;
    for (int i = 0; i < 2; i++) {
        keel_tokenizer *tokenizer = NULL;
        size_t length;
        const char *text = keel_tokenizer_file(like->tokenizer, &length);
        assert_ok(keel_tokenizer_parse(&tokenizer, text, length, "test", &err));
        assert_ok(keel_llama_make(i ? &again : &made, &like->config, tokenizer, "{{ messages }}", 7, &err));
    }
    same_weights(made, again);
    for (size_t row = 0; row < made->n_rows; row++) {
        const keel_matrix *m = &made->matrix[row];
        const size_t kind = row ? (row - 1) % KEEL_LLAMA_LAYER : 0;
        const bool residual =
            row && row < keel_llama_norm(&made->config) && (kind == KEEL_LLAMA_O || kind == KEEL_LLAMA_DOWN);
        double sum = 0, squares = 0, n = (double)(m->rows * m->cols);
        if (!m->data) continue;
        for (size_t i = 0; i < m->rows * m->cols; i++) {
            const double x = (double)((const float *)m->data)[i];
            sum += x;
            squares += x * x;
        }
        if (keel_llama_is_matrix(&made->config, row))
            assert_true(fabs(sqrt(squares / n) / (residual ? .01 : .02) - 1) < .1 && fabs(sum / n) < .003);
        else
            assert_true(sum == (squares > 0 ? n : 0)); /* norms 1, biases 0 */
    }
    keel_llama_close(like);
    keel_llama_close(made);
    keel_llama_close(again);
}

/* ---- what is wrong ---- */

/* The file with one text in place of another of the same length. */
static keel_status open_changed(const char *name, const char *old, const void *made, size_t length,
                                size_t after) {
    keel_buf text = {0};
    keel_llama *llama = NULL;
    size_t at = 0;
    assert_ok(keel_file_read(path_of(name), 1 << 20, &text, &err));
    while (at + strlen(old) <= text.length && memcmp(text.data + at, old, strlen(old)) != 0) at++;
    if (at + strlen(old) > text.length) fail_msg("%s: no %s", name, old);
    memcpy(text.data + at + after, made, length);
    llama_write_bytes("changed.gguf", text.data, text.length);
    keel_buf_free(&text);
    keel_status status = keel_llama_open(&llama, in("changed.gguf"), KEEL_LLAMA_AS_STORED, &err);
    keel_llama_close(llama);
    return status;
}

/* Bytes of a value come after its key and u32 type. */
static void what_is_not_read_is_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *file, *old, *made, *told;
        size_t length, after;
        keel_status status;
    } wrong[] = {
        {"biased-q4_0", "general.architecture", "qwen3", "qwen3", 5, 20 + 4 + 8, KEEL_E_UNSUPPORTED},
        {"biased-q4_0", "tokenizer.ggml.pre", "gpt-9", "gpt-9", 5, 18 + 4 + 8, KEEL_E_UNSUPPORTED},
        {"biased-q4_0", "tokenizer.ggml.model", "bert", "bert", 4, 20 + 4 + 8, KEEL_E_UNSUPPORTED},
        {"biased-q4_0", "blk.0.attn_v.weight", "\x0c", "Q4_K", 1, 19 + 4 + 16, KEEL_E_UNSUPPORTED},
        {"biased-q4_0", "blk.0.attn_v.weight", "\x63", "99", 1, 19 + 4 + 16, KEEL_E_UNSUPPORTED},
        {"biased-q4_0", "blk.0.attn_v.weight", "blk.0.attn_w.weight", "attn_v", 19, 0, KEEL_E_INVALID},
        {"biased-q4_0", "blk.1.attn_v.bias", "blk.0.attn_v.bias", "twice", 17, 0, KEEL_E_PARSE},
        {"biased-q4_0", "GGUF", "GGUX", "GGUF", 4, 0, KEEL_E_INVALID}, /* so it is taken for a folder */
        {"biased-q4_0", "GGUF", "\x04", "version", 1, 4, KEEL_E_UNSUPPORTED},
        {"biased-q4_0", "GGUF", "\xff\xff\xff\xff\xff\xff\xff\x7f", "count", 8, 8, KEEL_E_PARSE},
        {"biased-q4_0", "GGUF", "\xff\xff\xff\xff\xff\xff\xff\x7f", "count", 8, 16, KEEL_E_PARSE},
        {"biased-q4_0", "qwen2.attention.head_count", "\x03", "whole heads", 1, 26 + 4, KEEL_E_UNSUPPORTED},
        {"biased-q4_0", "qwen2.attention.head_count", "\x00", "head_count", 1, 26 + 4, KEEL_E_INVALID},
        {"tied-f32", "llama.attention.head_count_kv", "\x04", "rows", 1, 29 + 4, KEEL_E_INVALID},
        {"biased-q4_0", "qwen2.feed_forward_length", "\x40", "rows", 1, 25 + 4, KEEL_E_INVALID},
        {"biased-q4_0", "qwen2.block_count", "\x01", "tensors", 1, 17 + 4, KEEL_E_UNSUPPORTED},
        {"biased-q4_0", "qwen2.block_count", "\x03", "blk.2", 1, 17 + 4, KEEL_E_INVALID},
        {"tied-f32", "llama.rope.scaling.type", "linexr", "rope.scaling.type", 6, 23 + 4 + 8,
         KEEL_E_UNSUPPORTED},
        {"biased-q4_0", "tokenizer.ggml.bos_token_id", "\x3c", "bos_token_id", 1, 27 + 4, KEEL_E_PARSE},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const keel_status status =
            open_changed(wrong[i].file, wrong[i].old, wrong[i].made, wrong[i].length, wrong[i].after);
        const bool named = strstr(err.message, wrong[i].told) != NULL;
        if (i == 7 ? status == KEEL_OK : status != wrong[i].status || !named)
            fail_msg("%zu, %s: status %d: %s", i, wrong[i].told, status, status ? err.message : "loaded");
    }
}

/* No cut is taken for a whole file; no byte of the head that is changed brings the reader down. */
static void damage_is_told(void **state) {
    (void)state;
    keel_buf text = {0};
    keel_gguf gguf = {0};
    assert_ok(keel_file_read(path_of("biased-q4_0"), 1 << 20, &text, &err));
    assert_ok(keel_gguf_open(&gguf, path_of("biased-q4_0"), &err));
    const size_t head = (size_t)((const char *)gguf.tensors[0].data - gguf.file);
    const keel_gguf_tensor *last = &gguf.tensors[gguf.n_tensors - 1];
    const size_t end = (size_t)((const char *)last->data - gguf.file) + last->bytes;
    keel_gguf_close(&gguf);
    for (size_t cut = 0; cut < end; cut += cut < head ? 1 : 97) {
        llama_write_bytes("cut.gguf", text.data, cut);
        if (keel_gguf_open(&gguf, in("cut.gguf"), &err) == KEEL_OK)
            fail_msg("%zu of %zu bytes are read", cut, end);
    }
    llama_write_bytes("cut.gguf", text.data, text.length);
    FILE *file = fopen(in("cut.gguf"), "r+b");
    assert_non_null(file);
    for (size_t at = 0; at < head; at++) {
        const char changed = (char)(text.data[at] ^ (at % 3 == 0 ? 0x80 : at % 3 == 1 ? 0x01 : 0xff));
        assert_true(fseek(file, (long)at, SEEK_SET) == 0 && fputc(changed, file) != EOF && fflush(file) == 0);
        keel_llama *llama = NULL;
        if (keel_llama_open(&llama, in("cut.gguf"), KEEL_LLAMA_AS_STORED, &err) != KEEL_OK)
            assert_true(err.where[0] && err.message[0]);
        keel_llama_close(llama);
        assert_true(fseek(file, (long)at, SEEK_SET) == 0 && fputc(text.data[at], file) != EOF &&
                    fflush(file) == 0);
    }
    fclose(file);
    keel_buf_free(&text);
}

static void without_memory_nothing_is_leaked(void **state) {
    (void)state;
    faults state_of = {0};
    for (size_t at = 1;; at++) {
        keel_llama *llama = NULL;
        faults_begin(&state_of, at);
        keel_status status = keel_llama_open(&llama, path_of("biased-q4_1"), KEEL_LLAMA_AS_STORED, &err);
        if (status == KEEL_OK) status = keel_llama_save_gguf(llama, in("m.gguf"), KEEL_BLOCK_F16, &err);
        keel_llama_close(llama);
        faults_end();
        assert_int_equal(state_of.live, 0);
        if (status == KEEL_OK) break;
        assert_int_equal(status, KEEL_E_NOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_dequantised_bit_for_bit),
        cmocka_unit_test(q8_0_stays_as_it_is),
        cmocka_unit_test(the_configuration_is_that_of_the_folder),
        cmocka_unit_test(tokens_are_those_of_the_folder),
        cmocka_unit_test(added_tokens_keep_their_ids_elsewhere),
        cmocka_unit_test(pieces_are_those_of_llama_cpp),
        cmocka_unit_test(a_folder_may_hold_a_file_alone),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(quantised_files_are_written_as_they_were_read),
        cmocka_unit_test(four_bits_are_written_as_ggml_makes_them),
        cmocka_unit_test(formats_of_keel_alone_are_refused),
        cmocka_unit_test(a_weight_that_no_file_can_hold_is_told),
        cmocka_unit_test(a_new_one_is_random_of_the_right_size),
        cmocka_unit_test(what_is_not_read_is_refused_by_name),
        cmocka_unit_test(damage_is_told),
        cmocka_unit_test(without_memory_nothing_is_leaked),
    };
    return cmocka_run_group_tests(tests, set_up, llama_tear_down);
}
