/* Arms, talks and versions: who gets what, swaps under load, what is published and what is refused. */
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

#include "core/file.h"
#include "datasets/store_internal.h"
#include "datasets/store_policies.h"
#include "experiments/serve/ab_rows.h"
#include "experiments/serve/guard.h"
#include "experiments/serve/served_log.h"
#include "experiments/serve/threads.h"
#include "experiments/serve/versions.h"
#include "policy_fixture.h"
#include "rl/judge/sequential.h"
#include "served_fixture.h"

static char hash[3][65]; /* of the policies p1, p2 */

/* ---- policies to serve ---- */

static int make(void **state) {
    (void)state;
    if (!scratch_make(folder, "versions")) return -1;
    fixture_base("s.db", "base", "candidates");
    fixture_policy("s.db", "base", "p1", "1");
    fixture_policy("s.db", "base", "p2", "2");
    return 0;
}

static int unmake(void **state) {
    (void)state;
    keel_arena_free(&arena);
    keel_folder_remove(folder, NULL);
    return 0;
}

static keel_versions *open_versions(keel_arms *arms) {
    keel_versions *versions;
    assert_ok(keel_versions_open(&versions, arms, &(keel_versions_options){.harm_threshold = NAN}, &err));
    return versions;
}

static void two_arms(keel_arms *arms) {
    keel_buf a = {0}, b = {0};
    keel_buf_format(&a, "a=%s:0.5", in("p1"));
    keel_buf_format(&b, "b=%s:0.5", in("p2"));
    assert_ok(keel_arms_parse((const char *const[]){a.data, b.data}, 2, "salt", &arena, arms, &err));
    keel_buf_free(&a);
    keel_buf_free(&b);
}

static const char *served_by(keel_versions *versions, size_t arm) {
    const keel_version *version = keel_versions_take(versions, arm);
    const char *name = keel_arena_strdup(&arena, version->hash);
    keel_version_release(version);
    return name;
}

/* What a server promises of harm must not pass by a policy that cannot keep it. */
static void a_threshold_needs_a_policy_that_has_one(void **state) {
    (void)state;
    keel_versions *versions = NULL;
    keel_arms arms;
    keel_arms_single(in("p1"), &arms);
    assert_int_equal(
        keel_versions_open(&versions, &arms, &(keel_versions_options){.harm_threshold = 0.5}, &err),
        KEEL_E_USAGE);
    assert_string_equal(err.where, "--harm-threshold");
}

/* ---- arms ---- */

static void arms_are_read(void **state) {
    (void)state;
    keel_arms arms;
    static const char *const wrong[][2] = {{"a", NULL},          {"a=x", NULL},       {"a=:1", NULL},
                                           {"=x:1", NULL},       {"a b=x:1", NULL},   {"a=x:0", NULL},
                                           {"a=x:1.5", NULL},    {"a=x:half", NULL},  {"a=x:0.5", NULL},
                                           {"a=x:.5", "a=y:.5"}, {"a=x:.5", "b=y:.6"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(keel_arms_parse(wrong[i], wrong[i][1] ? 2 : 1, NULL, &arena, &arms, &err),
                         KEEL_E_USAGE);
    assert_ok(keel_arms_parse((const char *const[]){"old=C:/runs/p:0.9", "new=p2:0.1"}, 2, "s", &arena, &arms,
                              &err));
    assert_string_equal(arms.of[0].dir, "C:/runs/p");
    assert_int_equal(keel_arms_find(&arms, "new"), 1);
    assert_int_equal(keel_arms_find(&arms, "newer"), KEEL_ARMS_MOST);
    keel_buf json = {0};
    keel_arms_json(&arms, &json);
    assert_non_null(strstr(json.data, "\"new\": 0.1"));
    keel_buf_free(&json);
}

static void a_unit_stays_with_its_arm_and_shares_are_met(void **state) {
    (void)state;
    keel_arms arms, other;
    static const char *const texts[] = {"a=x:0.7", "b=y:0.2", "c=z:0.1"};
    double count[3] = {0}, expected[3] = {14000, 4000, 2000};
    size_t moved = 0;
    uint32_t stopped;
    assert_ok(keel_arms_parse(texts, 3, "salt", &arena, &arms, &err));
    assert_ok(keel_arms_parse(texts, 3, "pepper", &arena, &other, &err));
    for (int i = 0; i < 20000; i++) {
        char unit[24];
        snprintf(unit, sizeof unit, "user-%d", i);
        const size_t arm = keel_arms_assign(&arms, unit, &stopped);
        assert_int_equal(arm, keel_arms_assign(&arms, unit, &stopped));
        count[arm]++;
        moved += arm != keel_arms_assign(&other, unit, &stopped);
    }
    assert_true(keel_sample_ratio(count, expected, 3) > 0.001);
    assert_in_range(moved, 8500, 9900); /* 1 - .7^2 - .2^2 - .1^2 = .46 */
    atomic_store(&arms.of[1].stopped, true);
    for (int i = 0; i < 1000; i++) {
        char unit[24];
        snprintf(unit, sizeof unit, "user-%d", i);
        const size_t drawn = keel_arms_drawn(&arms, unit);
        assert_int_equal(keel_arms_assign(&arms, unit, &stopped), drawn == 1 ? 0 : drawn);
        assert_int_equal(stopped, 2);
    }
}

/* ---- talks ---- */

static void a_talk_goes_on_where_its_answers_were_given(void **state) {
    (void)state;
    keel_threads *threads;
    char name[KEEL_THREADS_NAME];
    keel_turn turns[] = {{.role = KEEL_ROLE_USER, .text = "hi"},
                         {.role = KEEL_ROLE_ASSISTANT, .text = "hello"},
                         {.role = KEEL_ROLE_USER, .text = "more"},
                         {.role = KEEL_ROLE_ASSISTANT, .text = "here"}};
    assert_ok(keel_threads_open(&threads, 0, &err));
    keel_threads_find(threads, NULL, "ann", turns, 1, "r1", name);
    assert_string_equal(name, "r1");
    keel_threads_put(threads, NULL, "ann", turns, 2, name);
    keel_threads_find(threads, NULL, "ann", turns, 3, "r2", name);
    assert_string_equal(name, "r1");
    keel_threads_put(threads, NULL, "ann", turns, 4, name);
    keel_threads_find(threads, NULL, "ann", turns, 3, "r3", name); /* answered already */
    assert_string_equal(name, "r1~r3");
    keel_threads_find(threads, NULL, "bob", turns, 3, "r4", name); /* says the same, is another */
    assert_string_equal(name, "r4");
    keel_threads_find(threads, "mine", "ann", turns, 1, "r5", name);
    assert_string_equal(name, "mine");
    keel_threads_put(threads, "mine", "ann", turns, 2, name);
    keel_threads_find(threads, "mine", "ann", turns, 1, "r6", name); /* begun anew */
    assert_string_equal(name, "mine~r6");
    keel_threads_find(threads, "mine", "ann", turns, 3, "r7", name);
    assert_string_equal(name, "mine");
    keel_threads_close(threads);
}

/* A name that was cut within a letter would be none that the store takes. */
static void a_long_name_of_a_talk_is_cut_at_a_letter(void **state) {
    (void)state;
    keel_threads *threads;
    char given[128] = "", name[KEEL_THREADS_NAME], want[KEEL_THREADS_NAME];
    const keel_turn turns[] = {{.role = KEEL_ROLE_USER, .text = "hi"},
                               {.role = KEEL_ROLE_ASSISTANT, .text = "hello"}};
    memset(given, 'a', 119);
    snprintf(want, sizeof want, "%s~r2", given);
    strcat(given, "\u00e9tude");
    assert_ok(keel_threads_open(&threads, 0, &err));
    keel_threads_find(threads, given, NULL, turns, 1, "r1", name);
    assert_string_equal(name, given);
    keel_threads_put(threads, given, NULL, turns, 2, name);
    keel_threads_find(threads, given, NULL, turns, 1, "r2", name);
    assert_string_equal(name, want);
    keel_threads_close(threads);
}

static void the_map_of_talks_is_bounded(void **state) {
    (void)state;
    keel_threads *threads;
    int known = 0;
    assert_ok(keel_threads_open(&threads, 64, &err));
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 1000; i++) {
            char name[KEEL_THREADS_NAME], given[24], text[24];
            snprintf(given, sizeof given, "g%d", i);
            snprintf(text, sizeof text, "t%d", i);
            keel_turn turns[] = {{.role = KEEL_ROLE_USER, .text = text},
                                 {.role = KEEL_ROLE_ASSISTANT, .text = text}};
            if (round == 0) keel_threads_put(threads, NULL, NULL, turns, 2, given);
            keel_threads_find(threads, NULL, NULL, turns, 2, "none", name);
            known += round == 1 && strcmp(name, given) == 0;
            if (round == 0) assert_string_equal(name, given);
        }
    assert_in_range(known, 1, 64);
    keel_threads_close(threads);
}

/* ---- versions ---- */

typedef struct load {
    keel_versions *versions;
    atomic_bool stop;
    atomic_size_t requests, failed, seen[3];
} load;

/* A request: takes what serves, decides by it, lets it go. */
static void *ask(void *argument) {
    load *of = argument;
    keel_arena scratch = {0};
    keel_turn turn = {.role = KEEL_ROLE_USER, .text = "tell me about bread"};
    keel_candidate candidates[] = {{.text = "Of course."}, {.text = "I cannot help with that."}};
    keel_decision decision = {.turn = 1, .n_candidates = 2, .candidates = candidates};
    keel_conversation talk = {.source = "s",
                              .external_id = "x",
                              .n_turns = 1,
                              .turns = &turn,
                              .n_decisions = 1,
                              .decisions = &decision};
    while (!atomic_load(&of->stop)) {
        keel_features features;
        keel_choice choice;
        keel_err own;
        keel_arena_reset(&scratch);
        const keel_version *v = keel_versions_take(of->versions, 0);
        const bool ok = keel_base_encode_decision(v->base, &talk, 0, &scratch, &features, &own) == KEEL_OK &&
                        keel_policy_decide_at(v->policy, v->base, &talk, 0, &features, &scratch, &choice,
                                              &own) == KEEL_OK;
        atomic_fetch_add(&of->seen[strcmp(v->hash, hash[1]) == 0   ? 1
                                   : strcmp(v->hash, hash[2]) == 0 ? 2
                                                                   : 0],
                         1);
        keel_version_release(v);
        atomic_fetch_add(&of->requests, 1);
        if (!ok) atomic_fetch_add(&of->failed, 1);
    }
    keel_arena_free(&scratch);
    return NULL;
}

static void a_thousand_swaps_under_load_fail_no_request(void **state) {
    (void)state;
    enum { SWAPS = 1000, THREADS = 3 };
    keel_arms arms;
    pthread_t threads[THREADS];
    const char *dirs[2] = {in("p1"), in("p2")};
    keel_arms_single(dirs[0], &arms);
    load of = {.versions = open_versions(&arms)};
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, ask, &of), 0);
    for (int i = 1; i <= SWAPS; i++)
        assert_ok(keel_versions_publish(of.versions, "default", dirs[i % 2], &err));
    atomic_store(&of.stop, true);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(of.failed, 0);
    assert_int_equal(of.seen[0], 0);
    assert_true(of.seen[1] > 0 && of.seen[2] > 0 && of.requests > SWAPS);
    keel_versions_close(of.versions);
}

/* A folder in which a policy's weights were changed. */
static const char *broken_policy(void) {
    keel_buf bytes = {0};
    static const char *const files[] = {"keel.json", "config.json", "model.safetensors"};
    assert_ok(keel_folder_make(in("broken"), &err));
    for (size_t i = 0; i < 3; i++) {
        char from[300], to[300];
        snprintf(from, sizeof from, "%s/%s", in("p2"), files[i]);
        snprintf(to, sizeof to, "%s/%s", in("broken"), files[i]);
        assert_ok(keel_file_read(from, 0, &bytes, &err));
        if (i == 2) bytes.data[bytes.length - 1] ^= 1;
        assert_ok(keel_file_write(to, bytes.data, bytes.length, &err));
    }
    keel_buf_free(&bytes);
    return in("broken");
}

static void a_policy_that_does_not_load_replaces_nothing(void **state) {
    (void)state;
    keel_arms arms;
    two_arms(&arms);
    keel_versions *versions = open_versions(&arms);
    const char *const wrong[] = {broken_policy(), in("none"), in("base")};
    for (size_t i = 0; i < 3; i++)
        assert_int_not_equal(keel_versions_publish(versions, "a", wrong[i], &err), KEEL_OK);
    assert_int_equal(keel_versions_publish(versions, "c", in("p2"), &err), KEEL_E_NOT_FOUND);
    assert_string_equal(served_by(versions, 0), hash[1]);
    /* who has an old one keeps it */
    const keel_version *old = keel_versions_take(versions, 0);
    assert_ok(keel_versions_publish(versions, "a", in("p2"), &err));
    assert_string_equal(served_by(versions, 0), hash[2]);
    assert_string_equal(old->hash, hash[1]);
    keel_version_release(old);
    keel_versions_close(versions);
}

static void publish(keel_store *store, const char *arm, const char *policy) {
    assert_ok(keel_store_publish(
        store, &(keel_publication){.arm = arm, .policy = policy, .at = 1, .why = KEEL_PUBLISHED_PUBLISH},
        NULL, &err));
}

static void a_server_follows_what_is_published(void **state) {
    (void)state;
    keel_arms arms;
    keel_store *writer, *reader;
    char registered[65];
    keel_monitor *monitor;
    keel_versions *versions;
    two_arms(&arms);
    assert_ok(keel_monitor_open(&monitor, &err));
    assert_ok(keel_versions_open(&versions, &arms,
                                 &(keel_versions_options){.harm_threshold = NAN, .monitor = monitor}, &err));
    assert_ok(keel_store_open(&writer, in("follow.db"), KEEL_STORE_CREATE, &err));
    keel_judged_policy judged = {
        .dir = in("p2"), .gates = "[]", .passed = true, .arm = "a", .why = "publish"};
    assert_ok(keel_versions_register(writer, &judged, registered, &err));
    assert_string_equal(registered, hash[2]);
    assert_ok(keel_store_open(&reader, in("follow.db"), KEEL_STORE_WRITE, &err));
    assert_ok(keel_versions_follow(versions, reader, &err));
    assert_string_equal(served_by(versions, 0), hash[2]);
    /* an arm is stopped and goes on; the first is never stopped */
    publish(writer, "b", NULL);
    publish(writer, "a", NULL);
    assert_ok(keel_versions_follow(versions, reader, &err));
    assert_true(arms.of[1].stopped && !arms.of[0].stopped);
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_ARM_STOPPED, "b") > 0);
    publish(writer, "b", hash[2]);
    assert_ok(keel_versions_follow(versions, reader, &err));
    assert_false(arms.of[1].stopped);
    /* a folder that holds another policy than the one that was registered is refused */
    judged.dir = in("p1"), judged.arm = NULL;
    assert_ok(keel_versions_register(writer, &judged, registered, &err));
    assert_ok(keel_store_put_policy(
        writer, &(keel_registered_policy){.hash = hash[1], .dir = in("p2"), .gates = "[]"}, &err));
    publish(writer, "b", hash[1]);
    assert_ok(keel_versions_follow(versions, reader, &err));
    assert_string_equal(served_by(versions, 1), hash[2]);
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_PUBLISH_ERRORS, "b") > 0);
    assert_true(keel_monitor_value(monitor, KEEL_MONITOR_POLICY, hash[2]) > 0);
    assert_false(keel_monitor_value(monitor, KEEL_MONITOR_POLICY, hash[1]) > 0);
    keel_store_close(reader);
    keel_store_close(writer);
    keel_versions_close(versions);
    keel_monitor_close(monitor);
}

static void orders_go_by_the_registry(void **state) {
    (void)state;
    keel_store *store;
    char registered[65];
    const char *out;
    assert_ok(keel_store_open(&store, in("orders.db"), KEEL_STORE_CREATE, &err));
    keel_judged_policy judged = {.dir = in("p1"), .gates = "[]", .passed = true, .why = "publish"};
    assert_int_equal(keel_versions_order(store, NULL, "a", hash[1], NULL, &arena, &out, &err),
                     KEEL_E_NOT_FOUND);
    judged.hash = hash[2]; /* as if the folder was written anew meanwhile */
    assert_int_equal(keel_versions_register(store, &judged, registered, &err), KEEL_E_CONFLICT);
    judged.hash = hash[1];
    assert_ok(keel_versions_register(store, &judged, registered, &err));
    judged.dir = in("p2"), judged.hash = NULL, judged.passed = false;
    assert_ok(keel_versions_register(store, &judged, registered, &err));
    assert_int_equal(keel_versions_order(store, NULL, "a", hash[2], NULL, &arena, &out, &err), KEEL_E_GATE);
    assert_int_equal(keel_versions_order(store, NULL, "a", "", NULL, &arena, &out, &err), KEEL_E_NOT_FOUND);
    char prefix[10];
    snprintf(prefix, sizeof prefix, "%.9s", hash[1]);
    assert_ok(keel_versions_order(store, NULL, "a", prefix, "note", &arena, &out, &err));
    assert_string_equal(out, hash[1]);
    assert_int_equal(keel_versions_order(store, NULL, "a", NULL, NULL, &arena, &out, &err), KEEL_E_NOT_FOUND);
    judged.passed = true, judged.arm = "a";
    assert_ok(keel_versions_register(store, &judged, registered, &err));
    publish(store, "a", NULL); /* p2 is stopped: back is p1 */
    assert_ok(keel_versions_order(store, NULL, "a", NULL, NULL, &arena, &out, &err));
    assert_string_equal(out, hash[1]);
    keel_publication *last;
    assert_ok(keel_store_published(store, "a", &arena, &last, &err));
    assert_string_equal(last->why, KEEL_PUBLISHED_ROLLBACK);
    keel_store_close(store);
}

/* An order to a server that cannot carry it out leaves the store as it was. */
static void what_a_server_cannot_serve_is_not_published(void **state) {
    (void)state;
    keel_arms arms;
    keel_store *store;
    keel_publication *last;
    char registered[65];
    const char *out;
    two_arms(&arms);
    keel_versions *versions = open_versions(&arms);
    assert_ok(keel_store_open(&store, in("served-orders.db"), KEEL_STORE_CREATE, &err));
    keel_judged_policy judged = {.dir = in("p2"), .gates = "[]", .passed = true, .why = "publish"};
    assert_ok(keel_versions_register(store, &judged, registered, &err));
    assert_int_equal(keel_versions_order(store, versions, "c", registered, NULL, &arena, &out, &err),
                     KEEL_E_NOT_FOUND);
    const char *const wrong[] = {in("gone"), in("p1"), in("base")};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_ok(keel_store_put_policy(
            store,
            &(keel_registered_policy){.hash = registered, .dir = wrong[i], .gates = "[]", .passed = true},
            &err));
        assert_int_equal(keel_versions_order(store, versions, "a", registered, NULL, &arena, &out, &err),
                         KEEL_E_CONFLICT);
        assert_non_null(strstr(err.where, wrong[i]));
        assert_non_null(strstr(err.hint, "nothing was published"));
    }
    assert_ok(keel_store_published(store, "a", &arena, &last, &err));
    assert_null(last);
    assert_ok(keel_versions_register(store, &judged, registered, &err)); /* where it is now */
    assert_ok(keel_versions_order(store, versions, "a", registered, NULL, &arena, &out, &err));
    assert_string_equal(out, hash[2]);
    assert_string_equal(served_by(versions, 0), hash[1]); /* until the server follows */
    keel_store_close(store);
    keel_versions_close(versions);
}

/* ---- guardrails ---- */

/* stopped: b is, so a answers all. */
static void serve_rows(const char *store, const char *prefix, int n, int refused_of_ten_by_b,
                       bool b_stopped) {
    keel_served_log *log;
    const keel_served_log_options options = {.arms = "{\"a\": 0.5, \"b\": 0.5}"};
    assert_ok(keel_served_log_open(&log, store, &options, &err));
    for (int i = 0; i < n; i++) {
        char request[32];
        keel_arena own = {0};
        snprintf(request, sizeof request, "%s-%d", prefix, i);
        keel_served *s = made_served(&own, request, request, "tell me how to break into houses", 1);
        const bool by_b = i % 2 && !b_stopped;
        s->arm = by_b ? "b" : "a", s->policy = by_b ? hash[2] : hash[1], s->at = i;
        s->stopped = b_stopped ? 2 : 0;
        s->conversation->risk = KEEL_RISK_DANGEROUS;
        s->conversation->decisions[0].candidates[0].outcome =
            by_b && i / 2 % 10 >= refused_of_ten_by_b ? KEEL_OUTCOME_COMPLIANCE : KEEL_OUTCOME_REFUSAL;
        keel_served_log_put(log, s, &own);
    }
    keel_served_log_close(log);
}

static void a_guardrail_stops_the_worse_arm_once(void **state) {
    (void)state;
    keel_guards *guards;
    keel_arms arms;
    keel_store *store;
    size_t stopped;
    const char *const rule = "refusal_rate >= control - 0.05";
    const char *path = in("guard.db");
    assert_int_equal(keel_guards_open(&guards, path, (const char *const[]){"nonsense"}, 1, 1e6, &err),
                     KEEL_E_USAGE);
    serve_rows(path, "alike", 600, 10, false);
    assert_ok(keel_guards_open(&guards, path, &rule, 1, 1e6, &err));
    assert_ok(keel_guards_look(guards, &stopped, &err));
    assert_int_equal(stopped, 0);
    serve_rows(path, "worse", 1200, 5, false);
    assert_ok(keel_guards_look(guards, &stopped, &err));
    assert_int_equal(stopped, 1);
    assert_ok(keel_guards_look(guards, &stopped, &err));
    assert_int_equal(stopped, 0);
    keel_guards_close(guards);
    two_arms(&arms);
    keel_versions *versions = open_versions(&arms);
    assert_ok(keel_store_open(&store, path, KEEL_STORE_WRITE, &err));
    assert_ok(keel_versions_follow(versions, store, &err));
    assert_true(arms.of[1].stopped);
    keel_publication *last;
    assert_ok(keel_store_published(store, "b", &arena, &last, &err));
    assert_non_null(strstr(last->note, rule));
    keel_store_close(store);
    keel_versions_close(versions);
}

/* The server takes a stop up a little after it was published: what was answered until then was drawn by the
 * shares of before. */
static void a_stop_voids_no_cell(void **state) {
    (void)state;
    static const keel_ab_config config = {.since = -INFINITY};
    keel_experiment_config how = {.arms = 2, .alpha = 0.05, .tau = 0.05};
    keel_experiment found;
    keel_ab_rows rows;
    keel_store *store;
    const char *path = in("stopped.db");
    serve_rows(path, "before", 400, 5, false);
    assert_ok(keel_store_open(&store, path, KEEL_STORE_WRITE, &err));
    const keel_publication stop = {.arm = "b", .at = 300, .why = KEEL_PUBLISHED_GUARDRAIL};
    assert_ok(keel_store_publish(store, &stop, NULL, &err));
    serve_rows(path, "after", 400, 5, true);
    assert_ok(keel_ab_rows_load(store, &config, &arena, &rows, &err));
    assert_ok(keel_experiment_analyse(&how, rows.observations, rows.n, rows.n_cells, &arena, &found, &err));
    assert_int_equal(rows.n, 800);
    assert_true(found.cells[0].expected[0] == 600 && found.cells[0].expected[1] == 200);
    assert_false(found.cells[0].is_void);
    keel_store_close(store);
}

static int know_hashes(void **state) {
    keel_arms arms;
    if (make(state) != 0) return -1;
    two_arms(&arms);
    keel_versions *versions = open_versions(&arms);
    for (size_t i = 0; i < 2; i++) snprintf(hash[i + 1], 65, "%s", served_by(versions, i));
    keel_versions_close(versions);
    return strcmp(hash[1], hash[2]) == 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arms_are_read),
        cmocka_unit_test(a_threshold_needs_a_policy_that_has_one),
        cmocka_unit_test(a_unit_stays_with_its_arm_and_shares_are_met),
        cmocka_unit_test(a_talk_goes_on_where_its_answers_were_given),
        cmocka_unit_test(a_long_name_of_a_talk_is_cut_at_a_letter),
        cmocka_unit_test(the_map_of_talks_is_bounded),
        cmocka_unit_test(a_thousand_swaps_under_load_fail_no_request),
        cmocka_unit_test(a_policy_that_does_not_load_replaces_nothing),
        cmocka_unit_test(a_server_follows_what_is_published),
        cmocka_unit_test(orders_go_by_the_registry),
        cmocka_unit_test(what_a_server_cannot_serve_is_not_published),
        cmocka_unit_test(a_guardrail_stops_the_worse_arm_once),
        cmocka_unit_test(a_stop_voids_no_cell),
    };
    return cmocka_run_group_tests(tests, know_hashes, unmake);
}
