/* Logged text as tokens: what is read of a conversation, how much of it, and how it is divided. */
#include <stdlib.h>

#include "bert_fixture.h"
#include "policies/compress/sample.h"
#include "policies/transformer/llama.h"
#include "policies/transformer/llama_text.h"

static int set_up(void **state) {
    (void)state;
    open_golden();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    close_golden();
    return 0;
}

/* ---- a log of one conversation, whose last answer no turn follows ---- */

static keel_turn turns[3] = {{.role = KEEL_ROLE_USER, .text = "how do i bake bread ?"},
                             {.role = KEEL_ROLE_ASSISTANT, .text = "i bake the bread"},
                             {.role = KEEL_ROLE_USER, .text = "bread ? bread !"}};
static keel_candidate candidates[2] = {{.text = "do run"}, {.text = "do bake", .taken = true}};
static keel_decision decision = {.turn = 3, .n_candidates = 2, .candidates = candidates};
static keel_conversation conversation = {
    .n_turns = 3, .turns = turns, .n_decisions = 1, .decisions = &decision};

static keel_status read_log(keel_corpus *corpus, const size_t *place, size_t n, keel_arena *some,
                            keel_conversation **out, keel_err *e) {
    (void)corpus, (void)some, (void)e, (void)place;
    for (size_t i = 0; i < n; i++) out[i] = &conversation;
    return KEEL_OK;
}

static size_t place;
static keel_corpus the_log = {.name = "log", .count = 1, .by_name = &place, .read = read_log};
static keel_compress_config config;
static const keel_compress_job job = {.config = &config, .logged = &the_log};

static void read_at_most(int64_t tokens) {
    assert_ok(keel_options_defaults(keel_compress_options, &config, &err));
    config.tokens = tokens;
}

/* ---- encoders ---- */

/* Text `at` of the sample is this one, as the encoder reads it alone; tokens. */
static size_t is_text(const keel_bert *bert, const keel_sample *sample, size_t at, const char *text) {
    keel_bert_batch batch;
    size_t cut;
    const size_t n = (size_t)(sample->offsets[at + 1] - sample->offsets[at]);
    assert_ok(keel_bert_read(bert, &text, 1, &arena, &batch, &cut, &err));
    assert_int_equal(n, batch.offsets[1]);
    assert_memory_equal(sample->id + sample->offsets[at], batch.id, n * sizeof *batch.id);
    assert_memory_equal(sample->type + sample->offsets[at], batch.type, n * sizeof *batch.type);
    return n;
}

static void an_encoder_reads_turns_and_the_answer_that_was_given(void **state) {
    (void)state;
    keel_bert *bert = load("mean");
    keel_sample sample;
    read_at_most(512);
    assert_ok(keel_sample_bert(bert, &job, &arena, &sample, &err));
    assert_int_equal(sample.n, 4);
    for (size_t i = 0; i < 3; i++) is_text(bert, &sample, i, turns[i].text);
    is_text(bert, &sample, 3, "do bake");
    keel_bert_close(bert);
}

/* Whole turns from the start, as long as they fit; the first in any case. */
static void of_a_conversation_so_many_tokens_are_read(void **state) {
    (void)state;
    keel_bert *bert = load("mean");
    keel_sample sample;
    read_at_most(512);
    assert_ok(keel_sample_bert(bert, &job, &arena, &sample, &err));
    const int32_t two = sample.offsets[2];
    const struct {
        int64_t most;
        size_t texts;
    } cases[] = {{two, 2}, {two - 1, 1}, {1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        read_at_most(cases[i].most);
        assert_ok(keel_sample_bert(bert, &job, &arena, &sample, &err));
        assert_int_equal(sample.n, cases[i].texts);
    }
    keel_bert_close(bert);
}

/* ---- decoders ---- */

static keel_llama *decoder(void) {
    keel_llama *llama = NULL;
    assert_ok(keel_llama_open(&llama, GOLDEN "llama/tied", KEEL_LLAMA_AS_STORED, &err));
    return llama;
}

/* A template that no conversation may use is no reason to stop. */
static void without_a_template_turns_are_lines(void **state) {
    (void)state;
    static const char *const all = "how do i bake bread ?\ni bake the bread\nbread ? bread !\ndo bake\n";
    keel_llama *llama = decoder();
    keel_chat_template *chat = llama->chat, *refusing = NULL;
    keel_tokens tokens;
    keel_sample sample;
    read_at_most(512);
    assert_ok(keel_chat_template_parse(&refusing, "{{ raise_exception('no') }}", "test", &err));
    assert_ok(keel_llama_read_text(llama, all, false, &arena, &tokens, &err));
    for (int i = 0; i < 2; i++) {
        llama->chat = i ? refusing : NULL;
        assert_ok(keel_sample_llama(llama, &job, &arena, &sample, &err));
        assert_int_equal(sample.n, 1);
        assert_int_equal(sample.offsets[1], tokens.count);
        assert_memory_equal(sample.id, tokens.id, tokens.count * sizeof *tokens.id);
    }
    llama->chat = chat;
    keel_chat_template_close(refusing);
    keel_llama_close(llama);
}

static void a_decoder_reads_no_further_than_its_positions(void **state) {
    (void)state;
    keel_llama *llama = decoder();
    keel_chat_template *chat = llama->chat;
    keel_sample sample;
    llama->chat = NULL;
    read_at_most(512);
    llama->config.positions = 9;
    assert_ok(keel_sample_llama(llama, &job, &arena, &sample, &err));
    assert_int_equal(sample.offsets[1], 9);
    read_at_most(7);
    assert_ok(keel_sample_llama(llama, &job, &arena, &sample, &err));
    assert_int_equal(sample.offsets[1], 7);
    llama->chat = chat;
    keel_llama_close(llama);
}

/* ---- its parts ---- */

static void parts_are_whole_texts(void **state) {
    (void)state;
    int32_t offsets[] = {0, 3, 5, 9, 10};
    const keel_sample all = {.offsets = offsets, .n = 4};
    assert_int_equal(keel_sample_first(&all, 5).n, 2);
    assert_int_equal(keel_sample_first(&all, 4).n, 1);
    assert_int_equal(keel_sample_first(&all, 1).n, 1); /* one at least */
    assert_int_equal(keel_sample_first(&all, 100).n, 4);
    const keel_sample first = keel_sample_first(&all, 8), rest = keel_sample_rest(&all, &first);
    assert_int_equal(rest.n, 2);
    assert_ptr_equal(rest.offsets, offsets + 2);
    assert_int_equal(keel_sample_first(&rest, 4).n, 1); /* tokens count from its own start */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_encoder_reads_turns_and_the_answer_that_was_given),
        cmocka_unit_test(of_a_conversation_so_many_tokens_are_read),
        cmocka_unit_test(without_a_template_turns_are_lines),
        cmocka_unit_test(a_decoder_reads_no_further_than_its_positions),
        cmocka_unit_test(parts_are_whole_texts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
