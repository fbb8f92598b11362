/* The stages of the server: batches that change nothing, what is tried and how likely, deadlines of writers,
 * jobs and the threads that take them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <unistd.h>

#include "core/clock.h"
#include "experiments/serve/crew.h"
#include "experiments/serve/fixed.h"
#include "experiments/serve/gather.h"
#include "experiments/serve/serve_decide.h"
#include "policy_fixture.h"

static keel_arena scratch;
static keel_arms arms, outcome_arms;
static keel_versions *versions, *outcome_versions;
static const keel_version *version, *outcome_version;

static int make(void **state) {
    (void)state;
    const keel_versions_options options = {.harm_threshold = NAN};
    if (!scratch_make(folder, "serve")) return -1;
    fixture_base("s.db", "base", "candidates");
    fixture_policy("s.db", "base", "policy", "1");
    fixture_base("o.db", "outcomes", "outcomes");
    fixture_policy("o.db", "outcomes", "outcome-policy", "1");
    keel_arms_single(in("policy"), &arms);
    keel_arms_single(in("outcome-policy"), &outcome_arms);
    assert_ok(keel_versions_open(&versions, &arms, &options, &err));
    assert_ok(keel_versions_open(&outcome_versions, &outcome_arms, &options, &err));
    version = keel_versions_take(versions, 0);
    outcome_version = keel_versions_take(outcome_versions, 0);
    return 0;
}

static int unmake(void **state) {
    (void)state;
    keel_version_release(version);
    keel_version_release(outcome_version);
    keel_versions_close(versions);
    keel_versions_close(outcome_versions);
    keel_arena_free(&arena);
    keel_arena_free(&scratch);
    keel_folder_remove(folder, NULL);
    return 0;
}

/* ---- talks ---- */

static keel_conversation *talk_of(const char *says, const keel_candidate *candidates, size_t n) {
    keel_conversation *talk = keel_arena_calloc(&arena, 1, sizeof *talk);
    keel_turn *turn = keel_arena_calloc(&arena, 1, sizeof *turn);
    keel_decision *decision = keel_arena_calloc(&arena, 1, sizeof *decision);
    decision->candidates = keel_arena_calloc(&arena, n + 1, sizeof *decision->candidates);
    for (size_t i = 0; i < n; i++) decision->candidates[i] = candidates[i];
    decision->n_candidates = n;
    decision->turn = 1;
    *turn = (keel_turn){.role = KEEL_ROLE_USER, .text = keel_arena_strdup(&arena, says)};
    *talk = (keel_conversation){.source = KEEL_SERVED_SOURCE,
                                .external_id = "t",
                                .completed = KEEL_UNKNOWN,
                                .n_turns = 1,
                                .turns = turn,
                                .n_decisions = 1,
                                .decisions = decision};
    return talk;
}

static const keel_candidate answers[] = {{.text = "Of course: here it is."},
                                         {.text = "I cannot help with that."},
                                         {.text = "Which one do you mean?"},
                                         {.text = "Here is half of it."},
                                         {.text = "Yes."}};
enum { N_ANSWERS = sizeof answers / sizeof *answers };

static keel_serve_deciding deciding(const keel_version *by, double explore, uint64_t seed) {
    return (keel_serve_deciding){by->policy, by->base, explore, seed};
}

/* ---- batches ---- */

static void check_same(const keel_serve_choice *a, const keel_serve_choice *b) {
    assert_int_equal(a->action, b->action);
    assert_int_equal(a->explored, b->explored);
    assert_true(a->propensity == b->propensity);
    assert_int_equal(a->choice.n, b->choice.n);
    assert_memory_equal(a->choice.log_pi, b->choice.log_pi, a->choice.n * sizeof *a->choice.log_pi);
    assert_memory_equal(&a->choice.distance, &b->choice.distance, sizeof a->choice.distance);
}

static void what_is_chosen_does_not_depend_on_the_batch(void **state) {
    (void)state;
    enum { N = 13 };
    const keel_serve_deciding by = deciding(version, 0.4, 3);
    keel_serve_request requests[N], turned[N];
    keel_serve_choice alone[N], together[N], backwards[N];
    double seconds;
    size_t differing = 0;
    keel_arena_reset(&scratch);
    for (size_t i = 0; i < N; i++) {
        char says[64];
        snprintf(says, sizeof says, "tell me about %s %zu", i % 3 ? "bread" : "bombs", i * i);
        requests[i] = (keel_serve_request){talk_of(says, answers, 1 + i % N_ANSWERS), i + 1};
        turned[N - 1 - i] = requests[i];
        assert_ok(keel_serve_decide(&by, &requests[i], 1, &scratch, &alone[i], &seconds, &err));
    }
    assert_ok(keel_serve_decide(&by, requests, N, &scratch, together, &seconds, &err));
    assert_ok(keel_serve_decide(&by, turned, N, &scratch, backwards, &seconds, &err));
    for (size_t i = 0; i < N; i++) {
        check_same(&alone[i], &together[i]);
        check_same(&alone[i], &backwards[N - 1 - i]);
        differing += alone[i].action != alone[0].action;
    }
    assert_true(differing > 0); /* else nothing was compared */
}

/* ---- exploration ---- */

static void without_exploration_the_best_is_certain(void **state) {
    (void)state;
    const keel_serve_deciding by = deciding(version, 0, 1);
    double seconds;
    keel_arena_reset(&scratch);
    for (uint64_t number = 1; number <= 50; number++) {
        const keel_serve_request request = {talk_of("tell me about bread", answers, N_ANSWERS), number};
        keel_serve_choice choice;
        assert_ok(keel_serve_decide(&by, &request, 1, &scratch, &choice, &seconds, &err));
        assert_int_equal(choice.action, choice.choice.chosen);
        assert_true(choice.propensity == 1 && !choice.explored);
    }
}

/* Frequencies of what is done against (1 - e) [best] + e pi: within 4 standard errors of each, with a seed
 * that is fixed, and so for good. */
static void what_is_tried_is_as_likely_as_it_says(void **state) {
    (void)state;
    enum { N = 20000 };
    const double e = 0.3;
    const keel_serve_deciding by = deciding(version, e, 11);
    const keel_conversation *talk = talk_of("tell me about bread", answers, N_ANSWERS);
    size_t count[N_ANSWERS + 1] = {0}, explored = 0, n = 0;
    double expected[N_ANSWERS + 1] = {0}, seconds;
    for (uint64_t number = 1; number <= N; number++) {
        const keel_serve_request request = {talk, number};
        keel_serve_choice choice;
        keel_arena_reset(&scratch);
        assert_ok(keel_serve_decide(&by, &request, 1, &scratch, &choice, &seconds, &err));
        n = choice.choice.n;
        assert_true(n <= N_ANSWERS + 1 && choice.action < n);
        for (size_t a = 0; a < n; a++)
            expected[a] = e * exp((double)choice.choice.log_pi[a]) + (a == choice.choice.chosen ? 1 - e : 0);
        assert_true(fabs(choice.propensity - expected[choice.action]) < 1e-12);
        count[choice.action]++;
        explored += choice.explored;
    }
    size_t tried = 0;
    for (size_t a = 0; a < n; a++) {
        const double error = sqrt(expected[a] * (1 - expected[a]) / N);
        assert_true(fabs((double)count[a] / N - expected[a]) <= 4 * error + 1e-12);
        tried += count[a] > 0;
    }
    assert_true(fabs((double)explored / N - e) <= 4 * sqrt(e * (1 - e) / N));
    assert_true(tried >= 3);
}

/* ---- fixed spaces ---- */

static void of_outcomes_only_those_that_are_offered_are_chosen(void **state) {
    (void)state;
    const keel_candidate two[] = {{.text = "Yes.", .outcome = KEEL_OUTCOME_COMPLIANCE},
                                  {.text = "Yes!", .outcome = KEEL_OUTCOME_COMPLIANCE},
                                  {.text = "Half.", .outcome = KEEL_OUTCOME_PARTIAL}};
    const keel_serve_deciding by = deciding(outcome_version, 1, 5);
    const keel_base *base = outcome_version->base;
    const keel_conversation *talk = talk_of("tell me about bombs", two, 3);
    double seconds;
    keel_serve_choice choice;
    for (uint64_t number = 1; number <= 100; number++) {
        const keel_serve_request request = {talk, number};
        keel_arena_reset(&scratch);
        assert_ok(keel_serve_decide(&by, &request, 1, &scratch, &choice, &seconds, &err));
        assert_int_equal(choice.choice.n, 3);
        assert_true(choice.action < 2);
        assert_true(choice.choice.log_pi[2] == -INFINITY);
        assert_true(fabs(exp((double)choice.choice.log_pi[0]) + exp((double)choice.choice.log_pi[1]) - 1) <
                    1e-5);
    }
    assert_int_equal(keel_serve_candidate(base, &talk->decisions[0], 0), 0);
    assert_int_equal(keel_serve_candidate(base, &talk->decisions[0], 1), 2);
    assert_true(keel_serve_candidate(base, &talk->decisions[0], 2) == SIZE_MAX);
    const keel_serve_request open = {talk_of("tell me about bombs", NULL, 0), 1};
    assert_ok(keel_serve_decide(&by, &open, 1, &scratch, &choice, &seconds, &err));
    assert_true(choice.choice.log_pi[2] > -INFINITY); /* where nothing is offered, everything is */
}

/* ---- a writer that waits until it is told to write ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool may_write, is_writing;
static size_t calls, largest;
static int told[2] = {
    -1, -1}; /* a pipe into which each writing puts a byte: it orders nobody before the writer */

static keel_status write_slowly(const keel_base *base, const keel_proposal_item *items, size_t n,
                                const keel_proposal_config *config, keel_arena *to, keel_err *e) {
    (void)base, (void)config, (void)to, (void)e;
    if (told[1] >= 0 && write(told[1], "", 1) != 1) return KEEL_E_IO;
    pthread_mutex_lock(&lock);
    is_writing = true;
    calls++;
    if (n > largest) largest = n;
    pthread_cond_broadcast(&changed);
    while (!may_write) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < items[i].n; k++)
            items[i].proposal[k] = (keel_proposal){.text = k ? "second" : "first", .ended = k > 0};
    return KEEL_OK;
}

static const keel_base_kind slow_kind = {.type = "slow", .propose = write_slowly};
static const keel_base slow_writer = {.kind = &slow_kind, .space = KEEL_SPACE_CANDIDATES};

enum { MOST_READY = 8 };
static keel_job *ready[MOST_READY];
static size_t n_ready;
static bool hung_up;

static void take_ready(void *context, keel_job *job) {
    (void)context;
    pthread_mutex_lock(&lock);
    ready[n_ready++] = job;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static bool is_hung_up(const keel_job *job) {
    (void)job;
    pthread_mutex_lock(&lock);
    const bool gone = hung_up;
    pthread_mutex_unlock(&lock);
    return gone;
}

static void set(bool *what, bool to) {
    pthread_mutex_lock(&lock);
    *what = to;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void await_writing(void) {
    pthread_mutex_lock(&lock);
    while (!is_writing) pthread_cond_wait(&changed, &lock);
    is_writing = false;
    pthread_mutex_unlock(&lock);
}

static void await_ready(size_t n) {
    pthread_mutex_lock(&lock);
    while (n_ready < n) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static keel_jobs *jobs;
static keel_gather *gather;
static const keel_propose_ask two_texts = {.n = 2, .how = {.max_tokens = 16}};

static void open_gather(void) {
    const keel_gather_options options = {
        .writer = &slow_writer, .ask = &two_texts, .gone = is_hung_up, .ready = take_ready};
    n_ready = 0, calls = 0, largest = 0, may_write = is_writing = hung_up = false;
    assert_ok(keel_jobs_open(&jobs, MOST_READY, &err));
    assert_ok(keel_gather_open(&gather, &options, &err));
}

static void close_gather(void) {
    set(&may_write, true);
    keel_gather_close(gather);
    keel_jobs_close(jobs);
}

static keel_job *begin_job(double seconds, const char *says) {
    keel_job *job = keel_jobs_take(jobs);
    assert_non_null(job);
    keel_turn *turn = keel_arena_calloc(&job->arena, 1, sizeof *turn);
    *turn = (keel_turn){.role = KEEL_ROLE_USER, .text = says};
    job->version = keel_version_hold(version);
    job->asked = (keel_asked){.turns = turn, .n_turns = 1};
    job->deadline = keel_clock() + seconds;
    assert_ok(keel_job_begin(job, &err));
    assert_true(keel_gather_begin(gather, job));
    return job;
}

static void end_job(keel_job *job) {
    keel_version_release(job->version);
    keel_jobs_give(jobs, job);
}

static void a_writer_that_is_late_is_not_waited_for(void **state) {
    (void)state;
    open_gather();
    keel_job *job = begin_job(0.05, "hello");
    await_ready(1); /* by the deadline: the writer still writes */
    assert_ptr_equal(ready[0], job);
    assert_true(job->gathered.late);
    assert_ok(keel_gather_collect(job, &err));
    assert_int_equal(job->decision.n_candidates, 0);
    const uint64_t number = job->number;
    end_job(job);
    keel_job *next = begin_job(1000, "next"); /* the same memory, for another request */
    assert_ptr_equal(next, job);
    assert_true(next->number > number);
    set(&may_write, true); /* what was written for the first one must not reach it */
    await_ready(2);
    assert_int_equal(calls, 2);
    assert_false(next->gathered.late);
    assert_ok(keel_gather_collect(next, &err));
    assert_int_equal(next->decision.n_candidates, 2);
    assert_string_equal(next->decision.candidates[0].text, "first");
    assert_string_equal(next->source[1].from, "writer");
    assert_string_equal(next->source[0].finish, "length"); /* it was cut */
    assert_null(next->source[1].finish);
    end_job(next);
    close_gather();
}

/* The writer comes to its end while the job that it wrote for is given back: it looks at nothing of it.
 * Whether it does ThreadSanitizer says, if the writer comes to its end before a lock orders the two: that it
 * writes for the next one is heard over a pipe. */
static void a_job_is_given_back_while_the_writer_ends(void **state) {
    (void)state;
    char byte;
    open_gather();
    assert_int_equal(pipe(told), 0);
    keel_job *job = begin_job(1000, "hello");
    await_writing();
    set(&hung_up, true);
    await_ready(1);
    set(&hung_up, false);
    keel_job *next = begin_job(1000, "next");
    set(&may_write, true);
    end_job(job);
    for (int writings = 0; writings < 2; writings++) assert_int_equal(read(told[0], &byte, 1), 1);
    await_ready(2);
    assert_ptr_equal(ready[1], next);
    end_job(next);
    close_gather();
    assert_int_equal(n_ready, 2);
    assert_int_equal(calls, 2);
    for (size_t i = 0; i < 2; i++) close(told[i]), told[i] = -1;
}

static void whoever_hung_up_is_not_written_for(void **state) {
    (void)state;
    open_gather();
    keel_job *job = begin_job(1000, "hello");
    await_writing();
    set(&hung_up, true);
    await_ready(1);
    end_job(job);
    close_gather();
    assert_int_equal(calls, 1);
}

static void all_that_wait_are_written_together(void **state) {
    (void)state;
    open_gather();
    keel_job *first = begin_job(1000, "one"), *others[3];
    await_writing(); /* the others come meanwhile */
    for (int i = 0; i < 3; i++) others[i] = begin_job(1000, "more");
    set(&may_write, true);
    await_ready(4);
    assert_int_equal(calls, 2);
    assert_int_equal(largest, 3);
    end_job(first);
    for (int i = 0; i < 3; i++) {
        assert_ok(keel_gather_collect(others[i], &err));
        assert_int_equal(others[i]->decision.n_candidates, 2);
        end_job(others[i]);
    }
    close_gather();
}

/* What waits is handed on, and what comes after that waits for nothing. */
static void the_end_leaves_nobody_waiting(void **state) {
    (void)state;
    open_gather();
    keel_job *waiting = begin_job(1000, "hello");
    await_writing();
    keel_gather_stop(gather);
    keel_job *late = keel_jobs_take(jobs);
    late->version = keel_version_hold(version);
    assert_false(keel_gather_begin(gather, late));
    set(&may_write, true);
    keel_gather_drain(gather);
    await_ready(1);
    assert_ptr_equal(ready[0], waiting);
    end_job(waiting);
    end_job(late);
    close_gather();
}

/* ---- jobs and their threads ---- */

static void there_are_so_many_jobs_and_no_more(void **state) {
    (void)state;
    keel_job *taken[3];
    assert_ok(keel_jobs_open(&jobs, 3, &err));
    for (int i = 0; i < 3; i++) assert_non_null(taken[i] = keel_jobs_take(jobs));
    assert_null(keel_jobs_take(jobs));
    assert_int_equal(keel_jobs_flying(jobs), 3);
    assert_string_not_equal(taken[0]->id, taken[1]->id);
    assert_int_equal(strlen(taken[0]->id), strlen("chatcmpl-") + 32);
    char id[sizeof taken[1]->id];
    memcpy(id, taken[1]->id, sizeof id);
    keel_jobs_give(jobs, taken[1]);
    assert_ptr_equal(keel_jobs_take(jobs), taken[1]);
    assert_int_equal(taken[1]->number, 4);
    assert_string_not_equal(taken[1]->id, id);
    keel_jobs_close(jobs);
}

static void a_response_is_offered_once(void **state) {
    (void)state;
    const keel_candidate same[] = {{.text = "a"}, {.text = "b"}, {.text = "a"}, {.text = "a", .act = "x"}};
    assert_ok(keel_jobs_open(&jobs, 1, &err));
    keel_job *job = keel_jobs_take(jobs);
    for (int i = 0; i < 4; i++)
        assert_ok(keel_job_offer(job, &same[i], &(keel_job_source){.place = i}, &err));
    assert_int_equal(job->decision.n_candidates, 3);
    assert_int_equal(job->source[2].place, 3);
    keel_jobs_close(jobs);
}

enum { MANY = 500, MOST_BATCH = 7 };
static _Atomic int worked[MANY + 1];
static _Atomic size_t biggest, done;

static void work(void *context, keel_job **batch, size_t n, keel_arena *own) {
    (void)context;
    assert_non_null(keel_arena_alloc(own, 100));
    if (n > biggest) biggest = n;
    for (size_t i = 0; i < n; i++) worked[batch[i]->number]++;
    done += n;
}

static void each_job_is_worked_on_once_in_batches(void **state) {
    (void)state;
    keel_crew *crew;
    assert_ok(keel_jobs_open(&jobs, MANY, &err));
    assert_ok(keel_crew_open(&crew, 3, MOST_BATCH, work, NULL, &err));
    for (int i = 0; i < MANY; i++) keel_crew_put(crew, keel_jobs_take(jobs));
    keel_crew_close(crew); /* works on what waits */
    assert_int_equal(done, MANY);
    assert_true(biggest >= 1 && biggest <= MOST_BATCH);
    for (int i = 1; i <= MANY; i++) assert_int_equal(worked[i], 1);
    keel_jobs_close(jobs);
}

/* ---- fixed answers ---- */

static void fixed_answers_are_read_or_named(void **state) {
    (void)state;
    keel_candidate *fixed;
    size_t n;
    const char *path = in("fixed.jsonl");
    const char good[] =
        "{\"text\": \"No.\", \"outcome\": \"refusal\"}\n\n{\"text\": \"A colleague will see to it.\", \"act\": \"handover\"}\n";
    assert_ok(keel_file_write(path, good, sizeof good - 1, &err));
    assert_ok(keel_fixed_read(path, &arena, &fixed, &n, &err));
    assert_int_equal(n, 2);
    assert_int_equal(fixed[0].outcome, KEEL_OUTCOME_REFUSAL);
    assert_string_equal(fixed[1].act, "handover");
    static const char *const wrong[] = {"7",
                                        "{\"text\": \"\"}",
                                        "{\"act\": \"x\"}",
                                        "{\"text\": \"a\", \"outcome\": \"x\"}",
                                        "{\"text\": \"a\", \"outcom\": \"refusal\"}",
                                        "{"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_ok(keel_file_write(path, wrong[i], strlen(wrong[i]), &err));
        assert_int_not_equal(keel_fixed_read(path, &arena, &fixed, &n, &err), KEEL_OK);
        assert_non_null(strstr(err.where, "fixed.jsonl:1"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_chosen_does_not_depend_on_the_batch),
                                       cmocka_unit_test(without_exploration_the_best_is_certain),
                                       cmocka_unit_test(what_is_tried_is_as_likely_as_it_says),
                                       cmocka_unit_test(of_outcomes_only_those_that_are_offered_are_chosen),
                                       cmocka_unit_test(a_writer_that_is_late_is_not_waited_for),
                                       cmocka_unit_test(a_job_is_given_back_while_the_writer_ends),
                                       cmocka_unit_test(whoever_hung_up_is_not_written_for),
                                       cmocka_unit_test(all_that_wait_are_written_together),
                                       cmocka_unit_test(the_end_leaves_nobody_waiting),
                                       cmocka_unit_test(there_are_so_many_jobs_and_no_more),
                                       cmocka_unit_test(a_response_is_offered_once),
                                       cmocka_unit_test(each_job_is_worked_on_once_in_batches),
                                       cmocka_unit_test(fixed_answers_are_read_or_named)};
    return cmocka_run_group_tests(tests, make, unmake);
}
