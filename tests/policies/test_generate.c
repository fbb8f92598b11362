/* Answers of a decoder: which token is drawn, what the text is while tokens come, where it ends, and that a
 * job's answer is its own. */
#include <math.h>

#include "core/json.h"
#include "core/text.h"
#include "llama_fixture.h"
#include "policies/transformer/generate.h"
#include "policies/transformer/reply.h"
#include "support/faults.h"
#include "support/interrupt.h"

static keel_arena arena;

static int set_up(void **state) {
    (void)state;
    interrupt_listen();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    keel_arena_free(&arena);
    return 0;
}

/* ---- which token ---- */

static void draws_are_those_of_the_definition(void **state) {
    (void)state;
    cJSON *golden = NULL;
    size_t at = 0;
    assert_ok(keel_json_parse_file(GOLDEN "sampling.json", &golden, &err));
    const cJSON *one;
    cJSON_ArrayForEach (one, golden) {
        const cJSON *logits = keel_json_get(one, "logits"), *text = keel_json_get(one, "text"), *item;
        const size_t vocab = (size_t)cJSON_GetArraySize(logits);
        float x[64];
        int32_t standing[8];
        size_t i = 0, n = 0;
        cJSON_ArrayForEach (item, logits) x[i++] = cJSON_IsNull(item) ? -INFINITY : (float)item->valuedouble;
        cJSON_ArrayForEach (item, text) standing[n++] = (int32_t)item->valuedouble;
        const keel_sampling sampling = {.temperature = keel_json_get(one, "temperature")->valuedouble,
                                        .top_k = (size_t)keel_json_get(one, "top_k")->valuedouble,
                                        .top_p = keel_json_get(one, "top_p")->valuedouble,
                                        .min_p = keel_json_get(one, "min_p")->valuedouble,
                                        .repetition_penalty = keel_json_get(one, "penalty")->valuedouble};
        keel_sampling_room sampler;
        double log_prob;
        assert_ok(keel_sampling_check(&sampling, &err));
        assert_ok(keel_sampling_open(&sampler, vocab, &err));
        for (size_t twice = 0; twice < 2; twice++) { /* nothing is left of the first */
            const int32_t id = keel_sampling_draw(&sampler, &sampling, x, standing, n,
                                                  keel_json_get(one, "u")->valuedouble, &log_prob);
            if (id != (int32_t)keel_json_get(one, "id")->valuedouble)
                fail_msg("case %zu: drew %d, expected %g", at, (int)id,
                         keel_json_get(one, "id")->valuedouble);
            assert_true(fabs(log_prob - keel_json_get(one, "log_prob")->valuedouble) < 1e-5);
        }
        keel_sampling_close(&sampler);
        at++;
    }
    assert_true(at == 400);
    cJSON_Delete(golden);
}

/* Many tokens: only those above a bound are sorted, wherever top-k and top-p cut. */
static void a_large_vocabulary_is_cut_alike(void **state) {
    (void)state;
    enum { VOCAB = 5000 };
    static float x[VOCAB];
    keel_sampling_room sampler;
    assert_ok(keel_sampling_open(&sampler, VOCAB, &err));
    for (size_t i = 0; i < VOCAB; i++) x[i] = (float)(i % 2 ? -(double)i / 40 : -30.0); /* flat, then none */
    for (size_t k = 1; k < VOCAB; k += 331) {
        keel_sampling s = keel_sampling_plain(1);
        s.top_k = k;
        const size_t odd = k < VOCAB / 2 ? k : VOCAB / 2; /* first the odd ones down to -30 */
        const int32_t last = keel_sampling_draw(&sampler, &s, x, NULL, 0, 1 - 1e-12, NULL);
        if (odd <= 600) assert_int_equal(last, 2 * (int)odd - 1);
    }
    keel_sampling s = keel_sampling_plain(1);
    s.top_p = 0.5; /* e^(-1/20) a step: half of the sum is behind 14 of them */
    assert_int_equal(keel_sampling_draw(&sampler, &s, x, NULL, 0, 1 - 1e-12, NULL), 27);
    s.top_p = 0.999999;
    const int32_t far = keel_sampling_draw(&sampler, &s, x, NULL, 0, 1 - 1e-12, NULL);
    assert_int_equal(far, 2 * 277 - 1); /* 1 - e^(-n/20) >= p at n = 276.3 */
    keel_sampling_close(&sampler);
}

static void frequencies_are_the_probabilities(void **state) {
    (void)state;
    enum { VOCAB = 6, DRAWS = 20000 };
    const float x[VOCAB] = {0, 1, -1, 2, 0.5f, -3};
    size_t count[VOCAB] = {0};
    keel_rng rng = keel_rng_named(1, "draws", 0);
    const keel_sampling s = keel_sampling_plain(1);
    keel_sampling_room sampler;
    assert_ok(keel_sampling_open(&sampler, VOCAB, &err));
    for (size_t i = 0; i < DRAWS; i++)
        count[keel_sampling_draw(&sampler, &s, x, NULL, 0, keel_rng_uniform(&rng), NULL)]++;
    double sum = 0;
    for (size_t i = 0; i < VOCAB; i++) sum += exp((double)x[i]);
    for (size_t i = 0; i < VOCAB; i++) {
        const double p = exp((double)x[i]) / sum;
        assert_true(fabs((double)count[i] / DRAWS - p) < 4 * sqrt(p * (1 - p) / DRAWS));
    }
    keel_sampling_close(&sampler);
}

static void sampling_out_of_range_is_refused(void **state) {
    (void)state;
    const keel_sampling plain = keel_sampling_plain(1);
    keel_sampling bad[] = {plain, plain, plain, plain, plain, plain, plain, plain};
    bad[0].temperature = -0.1, bad[1].temperature = NAN, bad[2].top_p = 0, bad[3].top_p = 1.1;
    bad[4].min_p = -1, bad[5].min_p = 1.5, bad[6].repetition_penalty = 0,
    bad[7].repetition_penalty = INFINITY;
    static const char *const names[] = {
        "temperature",        "temperature",       "top_p", "top_p", "min_p", "min_p",
        "repetition_penalty", "repetition_penalty"};
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(keel_sampling_check(&bad[i], &err), KEEL_E_INVALID);
        contains(err.message, names[i]);
    }
    assert_ok(keel_sampling_check(&plain, &err));
}

/* ---- the text while tokens come ---- */

static void hear(void *context, const char *bytes, size_t n) {
    assert_true(n > 0 && keel_utf8_valid_prefix(bytes, n) == n);
    keel_buf_append(context, bytes, n);
}

/* Bytes in pieces of every length: the same text and the same end. */
static void says(const char *bytes, size_t n, const char *const *stop, size_t n_stop, const char *expected,
                 bool stopped) {
    for (size_t piece = 1; piece <= n + 1; piece++) {
        keel_buf heard = {0};
        keel_reply reply = {.stop = stop, .n_stop = n_stop, .said = hear, .context = &heard};
        for (size_t at = 0; at < n; at += piece)
            keel_reply_add(&reply, bytes + at, n - at < piece ? n - at : piece);
        keel_reply_end(&reply, false);
        assert_false(reply.text.failed);
        assert_string_equal(reply.text.data ? reply.text.data : "", expected);
        assert_string_equal(heard.data ? heard.data : "", expected);
        assert_int_equal(reply.stopped, stopped);
        keel_reply_free(&reply);
        keel_buf_free(&heard);
    }
}

#define SAYS(bytes, expected) says(bytes, sizeof bytes - 1, NULL, 0, expected, false)

static void whole_code_points_are_said(void **state) {
    (void)state;
    SAYS("", "");
    SAYS("plain", "plain");
    SAYS("caf\xC3\xA9 \xE6\xB0\xB4 \xF0\x9F\x8D\x9E!", "caf\xC3\xA9 \xE6\xB0\xB4 \xF0\x9F\x8D\x9E!");
    SAYS("a\xFFz", "a\xEF\xBF\xBDz");
    SAYS("a\0z", "a\xEF\xBF\xBDz");
    SAYS("\xE6\xB0z", "\xEF\xBF\xBDz");                           /* one for the beginning of one */
    SAYS("\xF0\x9F\x8D", "\xEF\xBF\xBD");                         /* the end is missing */
    SAYS("\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* a surrogate */
    SAYS("\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD");                 /* overlong */
}

static void stop_strings_end_the_text_before_them(void **state) {
    (void)state;
    static const char *const stop[] = {"User:", "\n\n", "\xE2\x80\xA6", "UU:"};
#define STOPS(bytes, expected, stopped) says(bytes, sizeof bytes - 1, stop, 4, expected, stopped)
    STOPS("Well. User: more", "Well. ", true);
    STOPS("Well. User more", "Well. User more", false);
    STOPS("UUser: no", "U", true);
    STOPS("UserUser: no", "User", true);
    STOPS("Use", "Use", false); /* held back, then said */
    STOPS("one\n\ntwo", "one", true);
    STOPS("one\ntwo\n", "one\ntwo\n", false);
    STOPS("wait\xE2\x80\xA6 no", "wait", true);
    STOPS("wait\xE2\x80", "wait\xEF\xBF\xBD", false);
    STOPS("User:", "", true);
    STOPS("UUU:", "U", true);
#undef STOPS
}

/* Nothing is said that a stop string may begin with. */
static void an_end_that_may_stop_is_held_back(void **state) {
    (void)state;
    static const char *const stop[] = {"abc"};
    keel_buf heard = {0};
    keel_reply reply = {.stop = stop, .n_stop = 1, .said = hear, .context = &heard};
    keel_reply_add(&reply, "xab", 3);
    assert_string_equal(heard.data, "x");
    keel_reply_add(&reply, "ab", 2);
    assert_string_equal(heard.data, "xab");
    keel_reply_add(&reply, "\xC3", 1);
    assert_string_equal(heard.data, "xab"); /* it is not known what comes */
    keel_reply_add(&reply, "\xA9", 1);
    assert_string_equal(heard.data, "xabab\xC3\xA9");
    keel_reply_add(&reply, "abcd", 4);
    assert_true(reply.stopped);
    keel_reply_add(&reply, "more", 4);
    keel_reply_end(&reply, false);
    assert_string_equal(reply.text.data, "xabab\xC3\xA9");
    assert_string_equal(heard.data, "xabab\xC3\xA9");
    keel_reply_free(&reply);
    keel_buf_free(&heard);
}

/* Half a code point where a text ends by itself is none; where it was cut, the rest was to come. */
static void a_cut_text_ends_with_a_whole_code_point(void **state) {
    (void)state;
    for (int cut = 0; cut < 2; cut++) {
        keel_reply reply = {0};
        keel_reply_add(&reply, "ab\xE2\x82", 4);
        keel_reply_end(&reply, cut);
        assert_string_equal(reply.text.data, cut ? "ab" : "ab\xEF\xBF\xBD");
        keel_reply_free(&reply);
    }
}

/* ---- jobs ---- */

enum { JOBS = 9, MOST = 20 };

static keel_llama *model;
static keel_llama_sequence *prompts[2];
static const int32_t asked[] = {3, 11, 7, 20, 5, 9, 30, 8};

static void open_model(void) {
    model = llama_golden("tied", KEEL_LLAMA_AS_STORED);
    for (size_t i = 0; i < 2; i++) {
        assert_ok(keel_llama_sequence_open(&prompts[i], model, NULL, 0, &err));
        const keel_llama_feed feed = {prompts[i], asked, i ? 8 : 5, NULL, NULL};
        assert_ok(keel_llama_run(model, &feed, 1, NULL, &arena, &err));
    }
    keel_arena_reset(&arena);
}

static void close_model(void) {
    keel_llama_sequence_close(prompts[0]);
    keel_llama_sequence_close(prompts[1]);
    keel_llama_close(model);
}

/* Job i: prompts, temperatures, seeds and lengths of all kinds. */
static keel_generation job_of(size_t i) {
    keel_generation job = {
        .prompt = prompts[i % 2], .sampling = keel_sampling_plain(i), .max_tokens = MOST - i};
    job.sampling.temperature = i % 3 ? 0.8 : 0;
    job.sampling.repetition_penalty = i == 4 ? 1.3 : 1;
    job.sampling.top_k = i == 5 ? 4 : 0;
    return job;
}

static void is_the_same_answer(const keel_generation *a, const keel_generation *b) {
    assert_string_equal(a->text, b->text);
    assert_int_equal(a->tokens, b->tokens);
    assert_memory_equal(a->id, b->id, a->tokens * sizeof *a->id);
    assert_true(a->log_prob == b->log_prob);
    assert_int_equal(a->ended, b->ended);
}

/* Token by token, each from the whole text read anew. */
static void an_answer_is_its_tokens_one_by_one(void **state) {
    (void)state;
    open_model();
    for (size_t i = 0; i < JOBS; i++) {
        keel_generation job = job_of(i);
        assert_ok(keel_generate(model, &job, 1, 0, NULL, &arena, &err));
        int32_t all[8 + MOST];
        size_t n = i % 2 ? 8 : 5;
        const size_t before = n;
        float logits[64];
        double log_prob = 0;
        keel_rng rng = keel_rng_stream(i, KEEL_STREAM_GENERATE, 0);
        keel_sampling_room sampler;
        assert_ok(keel_sampling_open(&sampler, model->config.vocab, &err));
        memcpy(all, asked, n * sizeof *all);
        for (bool ended = false; !ended; n++) {
            keel_llama_sequence *s = NULL;
            double drawn;
            assert_ok(keel_llama_sequence_open(&s, model, NULL, 0, &err));
            assert_ok(
                keel_llama_run(model, &(keel_llama_feed){s, all, n, logits, NULL}, 1, NULL, &arena, &err));
            all[n] =
                keel_sampling_draw(&sampler, &job.sampling, logits, all, n, keel_rng_uniform(&rng), &drawn);
            log_prob += drawn;
            ended = n + 1 - before == job.max_tokens;
            for (size_t e = 0; e < model->config.n_eos; e++) ended = ended || all[n] == model->config.eos[e];
            keel_llama_sequence_close(s);
        }
        keel_sampling_close(&sampler);
        assert_int_equal(job.tokens, n - before);
        assert_memory_equal(job.id, all + before, job.tokens * sizeof *all);
        assert_true(job.log_prob == log_prob);
        const char *text = NULL;
        assert_ok(keel_tokenizer_decode(model->tokenizer, job.id, job.tokens, false, &arena, &text, &err));
        assert_string_equal(job.text, text);
    }
    keel_arena_reset(&arena);
    close_model();
}

static void an_answer_does_not_depend_on_the_others(void **state) {
    (void)state;
    open_model();
    keel_generation alone[JOBS], beside[JOBS];
    keel_buf heard[JOBS];
    for (size_t i = 0; i < JOBS; i++) {
        alone[i] = job_of(i);
        assert_ok(keel_generate(model, &alone[i], 1, 0, NULL, &arena, &err));
    }
    assert_string_not_equal(alone[1].text, alone[5].text); /* seeds differ */
    for (size_t threads = 0; threads <= 2; threads += 2)
        for (size_t at_once = 0; at_once <= JOBS; at_once += 3) {
            keel_pool *pool = NULL;
            if (threads) assert_ok(keel_pool_open(&pool, threads, &err));
            for (size_t i = 0; i < JOBS; i++) {
                heard[i] = (keel_buf){0};
                beside[i] = job_of(i);
                beside[i].said = hear;
                beside[i].context = &heard[i];
            }
            assert_ok(keel_generate(model, beside, JOBS, at_once, pool, &arena, &err));
            for (size_t i = 0; i < JOBS; i++) {
                is_the_same_answer(&alone[i], &beside[i]);
                assert_string_equal(heard[i].data ? heard[i].data : "", beside[i].text);
                keel_buf_free(&heard[i]);
            }
            keel_pool_close(pool);
        }
    keel_arena_reset(&arena);
    close_model();
}

static void answers_end_where_they_should(void **state) {
    (void)state;
    open_model();
    model->config.n_eos = 0;
    keel_generation whole = job_of(1), job = job_of(1);
    assert_ok(keel_generate(model, &whole, 1, 0, NULL, &arena, &err));
    assert_int_equal(whole.ended, KEEL_ENDED_LENGTH);
    assert_int_equal(whole.tokens, whole.max_tokens);
    assert_true(strlen(whole.text) > 6);
    /* a stop string out of the middle of it */
    char stop[4] = {0};
    memcpy(stop, whole.text + 3, 3);
    const char *const stops[] = {"zzzz", stop};
    job.stop = stops, job.n_stop = 2;
    assert_ok(keel_generate(model, &job, 1, 0, NULL, &arena, &err));
    assert_int_equal(job.ended, KEEL_ENDED_STOP);
    assert_true(strstr(whole.text, job.text) == whole.text);
    assert_int_equal(strlen(job.text), strstr(whole.text, stop) - whole.text);
    assert_true(job.tokens < whole.tokens);
    /* one of its tokens */
    job = job_of(1);
    job.stop_id = &whole.id[4], job.n_stop_id = 1;
    size_t first = 0;
    while (whole.id[first] != whole.id[4]) first++;
    assert_ok(keel_generate(model, &job, 1, 0, NULL, &arena, &err));
    assert_int_equal(job.ended, KEEL_ENDED_TOKEN);
    assert_int_equal(job.tokens, first + 1);
    assert_true(strlen(job.text) < strlen(whole.text));
    /* no tokens asked for; and no position left: what is said last is not read */
    job = job_of(1);
    job.max_tokens = 0;
    assert_ok(keel_generate(model, &job, 1, 0, NULL, &arena, &err));
    assert_string_equal(job.text, "");
    assert_int_equal(job.ended, KEEL_ENDED_LENGTH);
    job = job_of(1);
    job.max_tokens = SIZE_MAX;
    assert_ok(keel_generate(model, &job, 1, 0, NULL, &arena, &err));
    assert_int_equal(job.tokens, model->config.positions - 8 + 1);
    assert_int_equal(job.ended, KEEL_ENDED_LENGTH);
    keel_arena_reset(&arena);
    close_model();
}

static void jobs_that_cannot_be_done_are_refused(void **state) {
    (void)state;
    open_model();
    keel_llama_sequence *empty = NULL;
    static const char *const nothing[] = {"a", ""};
    assert_ok(keel_llama_sequence_open(&empty, model, NULL, 0, &err));
    keel_generation jobs[] = {job_of(0), job_of(1)};
    jobs[1].prompt = empty;
    assert_int_equal(keel_generate(model, jobs, 2, 0, NULL, &arena, &err), KEEL_E_INVALID);
    contains(err.message, "job 1: its prompt is empty");
    jobs[1] = job_of(1), jobs[1].stop = nothing, jobs[1].n_stop = 2;
    assert_int_equal(keel_generate(model, jobs, 2, 0, NULL, &arena, &err), KEEL_E_INVALID);
    contains(err.message, "stop string 1 is empty");
    jobs[1] = job_of(1), jobs[1].sampling.top_p = 0;
    assert_int_equal(keel_generate(model, jobs, 2, 0, NULL, &arena, &err), KEEL_E_INVALID);
    assert_ok(keel_generate(model, jobs, 0, 0, NULL, &arena, &err));
    keel_llama_sequence_close(empty);
    close_model();
}

static void an_interrupt_leaves_what_was_said(void **state) {
    (void)state;
    open_model();
    keel_generation whole = job_of(1), job = job_of(1);
    assert_ok(keel_generate(model, &whole, 1, 0, NULL, &arena, &err));
    interrupt_at(11); /* two questions a token */
    assert_int_equal(keel_generate(model, &job, 1, 0, NULL, &arena, &err), KEEL_E_INTERRUPTED);
    interrupt_set(false);
    assert_int_equal(job.ended, KEEL_ENDED_NOT);
    assert_true(job.tokens > 0 && job.tokens < whole.tokens);
    assert_memory_equal(job.id, whole.id, job.tokens * sizeof *job.id);
    assert_true(strncmp(job.text, whole.text, strlen(job.text)) == 0);
    keel_arena_reset(&arena);
    close_model();
}

static void failed_allocations_are_told(void **state) {
    (void)state;
    open_model();
    keel_generation alone = job_of(1);
    alone.max_tokens = 4;
    assert_ok(keel_generate(model, &alone, 1, 0, NULL, &arena, &err));
    keel_status status = KEEL_E_NOMEM;
    for (size_t fail_at = 1; status != KEEL_OK; fail_at++) {
        faults memory;
        keel_arena room = {0};
        keel_generation jobs[] = {job_of(1), job_of(2)};
        jobs[0].max_tokens = jobs[1].max_tokens = 4;
        faults_begin(&memory, fail_at);
        status = keel_generate(model, jobs, 2, 1, NULL, &room, &err);
        if (status != KEEL_OK) assert_int_equal(status, KEEL_E_NOMEM);
        if (status == KEEL_OK) is_the_same_answer(&alone, &jobs[0]);
        keel_arena_free(&room);
        faults_end();
        assert_int_equal(memory.live, 0);
    }
    keel_arena_reset(&arena);
    close_model();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_those_of_the_definition),
        cmocka_unit_test(a_large_vocabulary_is_cut_alike),
        cmocka_unit_test(frequencies_are_the_probabilities),
        cmocka_unit_test(sampling_out_of_range_is_refused),
        cmocka_unit_test(whole_code_points_are_said),
        cmocka_unit_test(stop_strings_end_the_text_before_them),
        cmocka_unit_test(an_end_that_may_stop_is_held_back),
        cmocka_unit_test(a_cut_text_ends_with_a_whole_code_point),
        cmocka_unit_test(an_answer_is_its_tokens_one_by_one),
        cmocka_unit_test(an_answer_does_not_depend_on_the_others),
        cmocka_unit_test(answers_end_where_they_should),
        cmocka_unit_test(jobs_that_cannot_be_done_are_refused),
        cmocka_unit_test(an_interrupt_leaves_what_was_said),
        cmocka_unit_test(failed_allocations_are_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
