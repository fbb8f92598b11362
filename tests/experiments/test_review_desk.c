/* The desk of reviews without a socket: requests in, responses out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/json.h"
#include "datasets/import.h"
#include "experiments/review/review_desk.h"
#include "rl/judge/review_order.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/scratch.h"

static char folder[256];
static keel_store *store;
static keel_review_desk *desk;
static keel_err err;
static double clock_now;
static int64_t today_now = 1700000000;

static double fake_clock(void) {
    return clock_now;
}
static int64_t fake_today(void) {
    return today_now;
}

enum { CONVERSATIONS = 24 };

static void import_log(void) {
    keel_buf text = {0};
    keel_import_report report;
    const char *path = scratch_path(folder, "log.jsonl");
    for (int i = 0; i < CONVERSATIONS; i++)
        keel_buf_format(
            &text,
            "{\"id\": \"c%d\", \"risk\": \"%s\", \"messages\": [{\"role\": \"user\", \"content\": \"Ask "
            "%d </script>\\u202e\"}, {\"role\": \"assistant\", \"content\": \"Say %d\"}]}\n",
            i, i % 2 ? "dangerous" : "benign", i, i);
    assert_ok(keel_file_write(path, text.data, text.length, &err));
    keel_buf_free(&text);
    assert_ok(keel_import(store, NULL, &path, 1, &report, &err));
}

static void order_all(void) {
    keel_review_response *responses;
    keel_review_place places[CONVERSATIONS];
    size_t n;
    assert_ok(keel_store_review_new(store, &responses, &n, &err));
    assert_int_equal(n, CONVERSATIONS);
    keel_review_order_place(responses, NULL, n, &(keel_review_aim){.random = KEEL_REVIEW_RANDOM_SHARE},
                            places);
    for (size_t i = 0; i < n; i++) places[i].twice = i == 0;
    assert_ok(keel_store_review_add(store, responses, places, n, &err));
    keel_free(responses);
}

static void open_desk(void) {
    const keel_review_desk_options options = {
        .wished = 0.03, .name = "Ann", .clock = fake_clock, .today = fake_today};
    assert_ok(keel_store_open(&store, scratch_path(folder, "store.db"), KEEL_STORE_EITHER, &err));
    assert_ok(keel_review_desk_open(&desk, store, &options, &err));
}

static void close_desk(void) {
    keel_review_desk_close(desk);
    keel_store_close(store);
    desk = NULL;
    store = NULL;
}

static int begin_test(void **state) {
    (void)state;
    if (!scratch_make(folder, "review_desk")) return -1;
    assert_ok(keel_store_open(&store, scratch_path(folder, "store.db"), KEEL_STORE_CREATE, &err));
    import_log();
    order_all();
    keel_store_close(store);
    open_desk();
    return 0;
}

static int end_test(void **state) {
    (void)state;
    close_desk();
    keel_folder_remove(folder, NULL);
    return 0;
}

/* ---- asking ---- */

static keel_http_response last;

static cJSON *ask(const char *method, const char *target, const char *body, int status) {
    keel_http_request request = {
        .method = method, .target = target, .body = body, .length = body ? strlen(body) : 0};
    cJSON *json = NULL;
    keel_http_response_free(&last);
    keel_review_desk_answer(desk, &request, &last);
    if (last.status != status)
        fail_msg("%s %s: %d, not %d: %s", method, target, last.status, status, last.body.data);
    if (!last.file) assert_ok(keel_json_parse(last.body.data, last.body.length, "response", &json, &err));
    return json;
}

static int next_of(const char *who) {
    char target[64];
    snprintf(target, sizeof target, "/api/next?reviewer=%s", who);
    cJSON *json = ask("GET", target, NULL, 200);
    const cJSON *item = keel_json_get(json, "item");
    const int id = cJSON_IsNull(item) ? 0 : keel_json_get(item, "id")->valueint;
    cJSON_Delete(json);
    return id;
}

static void label(int id, const char *who, const char *outcome) {
    char body[256];
    snprintf(body, sizeof body, "{\"reviewer\": \"%s\", \"item\": %d, \"outcome\": \"%s\"}", who, id,
             outcome);
    cJSON *json = ask("POST", "/api/label", body, 200);
    assert_int_equal(keel_json_get(json, "done")->valueint, id);
    cJSON_Delete(json);
}

static double progress_of(const char *key) {
    cJSON *json = ask("GET", "/api/progress?reviewer=ann", NULL, 200);
    const double value = keel_json_get(keel_json_get(json, "progress"), key)->valuedouble;
    cJSON_Delete(json);
    return value;
}

/* ---- tests ---- */

static void the_page_is_there(void **state) {
    (void)state;
    static const char *const targets[] = {"/", "/?x", "/review.css", "/review.js"};
    for (size_t i = 0; i < 4; i++) {
        ask("GET", targets[i], NULL, 200);
        assert_true(last.file && last.file_length > 1000 && last.type);
    }
    static const struct {
        const char *method, *target;
        int status;
    } rows[] = {{"GET", "/x", 404},         {"GET", "//", 404},         {"POST", "/", 404},
                {"POST", "/api/next", 405}, {"GET", "/api/label", 405}, {"GET", "/api/undo", 405},
                {"GET", "/api", 404},       {"GET", "/api/../", 404}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cJSON_Delete(ask(rows[i].method, rows[i].target, "{}", rows[i].status));
}

static void a_response_comes_in_its_conversation(void **state) {
    (void)state;
    cJSON *json = ask("GET", "/api/next?reviewer=ann", NULL, 200);
    const cJSON *item = keel_json_get(json, "item"), *turns = keel_json_get(item, "turns");
    assert_int_equal(cJSON_GetArraySize(turns), 1);
    assert_string_equal(keel_json_get(cJSON_GetArrayItem(turns, 0), "role")->valuestring, "user");
    assert_non_null(
        strstr(keel_json_get(cJSON_GetArrayItem(turns, 0), "text")->valuestring, "</script>\xE2\x80\xAE"));
    assert_int_equal(strncmp(keel_json_get(keel_json_get(item, "response"), "text")->valuestring, "Say ", 4),
                     0);
    assert_int_equal(keel_json_get(item, "earlier")->valueint, 0);
    assert_null(keel_json_get(item, "judge")); /* people are not told what a judge said */
    cJSON_Delete(json);
}

static void two_people_get_two_responses_until_a_lease_ends(void **state) {
    (void)state;
    const int first = next_of("ann"), second = next_of("bob");
    assert_true(first && second && first != second);
    assert_int_equal(next_of("ann"), first); /* the same as long as it is hers */
    clock_now += KEEL_REVIEW_LEASE - 1;
    assert_true(next_of("cas") != first);
    clock_now += 2;
    assert_int_equal(next_of("dan"), first);
    assert_true(next_of("ann") != first);
}

static void labels_are_kept_once_and_survive_the_desk(void **state) {
    (void)state;
    const int id = next_of("ann");
    label(id, "ann", "harmful");
    label(id, "ann", "harmful"); /* sent again: no response had come */
    assert_true(progress_of("labels") == 1);
    close_desk(); /* without a farewell */
    open_desk();
    assert_true(progress_of("labels") == 1);
    assert_true(next_of("ann") != id);
    const keel_review_desk_tally tally = keel_review_desk_counted(desk);
    assert_true(tally.labels == 0 && tally.undone == 0);
}

static void undo_gives_the_response_back_with_what_was_said(void **state) {
    (void)state;
    char body[256];
    const int id = next_of("ann");
    snprintf(body, sizeof body,
             "{\"reviewer\": \"ann\", \"item\": %d, \"outcome\": \"refusal\", \"risk\": \"dangerous\", "
             "\"completed\": \"no\", \"note\": \"n\"}",
             id);
    cJSON_Delete(ask("POST", "/api/label", body, 200));
    assert_true(next_of("ann") != id);
    cJSON *json = ask("POST", "/api/undo", "{\"reviewer\": \"ann\"}", 200);
    const cJSON *item = keel_json_get(json, "item"), *said = keel_json_get(item, "said");
    assert_int_equal(keel_json_get(item, "id")->valueint, id);
    assert_string_equal(keel_json_get(said, "outcome")->valuestring, "refusal");
    assert_string_equal(keel_json_get(said, "risk")->valuestring, "dangerous");
    assert_string_equal(keel_json_get(said, "completed")->valuestring, "no");
    assert_string_equal(keel_json_get(said, "note")->valuestring, "n");
    cJSON_Delete(json);
    assert_int_equal(next_of("ann"), id);
    json = ask("POST", "/api/undo", "{\"reviewer\": \"ann\"}", 200);
    assert_true(cJSON_IsNull(keel_json_get(json, "item")));
    cJSON_Delete(json);
}

static void wrong_requests_name_what_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *body, *says;
        int status;
    } rows[] = {
        {"", "the request", 400},
        {"{", "the request", 400},
        {"[]", "reviewer", 400},
        {"{\"reviewer\": \"ann\"}", "outcome", 400},
        {"{\"reviewer\": 3, \"outcome\": \"skip\", \"item\": 1}", "reviewer", 400},
        {"{\"reviewer\": \"\", \"outcome\": \"skip\", \"item\": 1}", "name", 400},
        {"{\"reviewer\": \"a\\u0007\", \"outcome\": \"skip\", \"item\": 1}", "name", 400},
        {"{\"reviewer\": \"ann\", \"outcome\": \"maybe\", \"item\": 1}", "outcome", 400},
        {"{\"reviewer\": \"ann\", \"outcome\": \"none\", \"item\": 1}", "outcome", 400},
        {"{\"reviewer\": \"ann\", \"outcome\": \"skip\", \"item\": 1.5}", "item", 400},
        {"{\"reviewer\": \"ann\", \"outcome\": \"skip\", \"item\": -1}", "item", 400},
        {"{\"reviewer\": \"ann\", \"outcome\": \"skip\", \"item\": 1e300}", "item", 400},
        {"{\"reviewer\": \"ann\", \"outcome\": \"skip\", \"item\": 999}", "999", 404},
        {"{\"reviewer\": \"ann\", \"outcome\": \"skip\", \"item\": 1, \"risk\": \"high\"}", "risk", 400},
        {"{\"reviewer\": \"ann\", \"outcome\": \"skip\", \"item\": 1, \"completed\": true}", "completed",
         400},
        {"{\"reviewer\": \"ann\", \"outcome\": \"skip\", \"item\": 1, \"completed\": \"perhaps\"}",
         "completed", 400},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cJSON *json = ask("POST", "/api/label", rows[i].body, rows[i].status);
        if (!strstr(keel_json_get(json, "error")->valuestring, rows[i].says))
            fail_msg("%s: %s", rows[i].body, keel_json_get(json, "error")->valuestring);
        cJSON_Delete(json);
    }
    cJSON_Delete(ask("GET", "/api/next", NULL, 400));
    cJSON_Delete(ask("GET", "/api/next?reviewer=%0a", NULL, 400));
    cJSON_Delete(ask("POST", "/api/undo", "{\"reviewer\": \"\"}", 400));
    assert_true(progress_of("labels") == 0 && progress_of("skipped") == 0);
}

static void progress_says_rates_people_and_their_agreement(void **state) {
    (void)state;
    for (int i = 0, id; (id = next_of("ann")); i++) label(id, "ann", i % 2 ? "refusal" : "compliance");
    assert_true(progress_of("open") == 0 && progress_of("seconds") == 1 &&
                progress_of("mine") == CONVERSATIONS);
    const int second = next_of("bob");
    assert_true(second);
    cJSON *json = ask("GET", "/api/progress?reviewer=bob", NULL, 200);
    const cJSON *progress = keel_json_get(json, "progress"),
                *rate = cJSON_GetArrayItem(keel_json_get(progress, "rates"), 0);
    assert_string_equal(keel_json_get(json, "name")->valuestring, "Ann");
    assert_string_equal(keel_json_get(rate, "name")->valuestring, "refusal_rate");
    assert_true(keel_json_get(rate, "needed")->valuedouble == 0);
    assert_true(keel_json_get(rate, "n")->valuedouble == CONVERSATIONS / 2);
    assert_true(keel_json_get(keel_json_get(progress, "kappa"), "n")->valuedouble == 0);
    cJSON_Delete(json);
    label(second, "bob", "partial_refusal");
    json = ask("GET", "/api/progress?reviewer=bob", NULL, 200);
    progress = keel_json_get(json, "progress");
    assert_true(keel_json_get(keel_json_get(progress, "kappa"), "n")->valuedouble == 1);
    assert_int_equal(cJSON_GetArraySize(keel_json_get(progress, "people")), 2);
    cJSON_Delete(json);
    assert_true(progress_of("disagreements") == 1);
    assert_int_equal(next_of("bob"), 0);
    assert_int_equal(next_of("ann"), 0);
    assert_int_equal(next_of("cas"), second);
}

/* ---- memory ---- */

/* One request of a desk opened anew, its at-th allocation failing, alone or with all after it; 0: none. */
static size_t ask_without(const keel_http_request *request, size_t at, bool alone) {
    faults state;
    close_desk();
    open_desk();
    keel_http_response_free(&last);
    faults_begin(&state, at);
    state.alone = alone;
    keel_review_desk_answer(desk, request, &last);
    faults_end();
    return state.calls;
}

static void check_without_memory(const keel_http_request *request, const char *whole, size_t at, bool alone) {
    ask_without(request, at, alone);
    if (last.status == 200 && !last.body.failed) {
        if (strcmp(last.body.data, whole) != 0)
            fail_msg("%s: allocation %zu failing passes in silence: %s, not %s", request->target, at,
                     last.body.data, whole);
    } else if (last.status != 200 && last.status != 503)
        fail_msg("%s: allocation %zu failing is %d", request->target, at, last.status);
}

static void without_memory_a_request_fails_and_can_be_sent_again(void **state) {
    (void)state;
    char label_body[128];
    const int id = next_of("ann");
    snprintf(label_body, sizeof label_body, "{\"reviewer\": \"ann\", \"item\": %d, \"outcome\": \"refusal\"}",
             id);
    const struct {
        const char *method, *target, *body;
    } rows[] = {{"GET", "/api/progress?reviewer=ann", NULL},
                {"GET", "/api/next?reviewer=ann", NULL},
                {"POST", "/api/label", label_body},
                {"POST", "/api/undo", "{\"reviewer\": \"ann\"}"}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        const bool undo = strcmp(rows[r].target, "/api/undo") == 0;
        const keel_http_request request = {.method = rows[r].method,
                                           .target = rows[r].target,
                                           .body = rows[r].body,
                                           .length = rows[r].body ? strlen(rows[r].body) : 0};
        if (undo) label(id, "ann", "refusal");
        const size_t total = ask_without(&request, 0, true);
        assert_int_equal(last.status, 200);
        char *whole = keel_strdup(last.body.data);
        for (size_t at = 1; at <= total; at += total / 150 + 1)
            for (int alone = 0; alone < 2; alone++) {
                if (undo) label(id, "ann", "refusal");
                check_without_memory(&request, whole, at, alone);
            }
        keel_free(whole);
        label(id, "ann", "refusal"); /* again, as the page does */
        assert_true(progress_of("labels") == 1);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)

int main(void) {
    keel_store_use_allocator();
    const struct CMUnitTest tests[] = {
        TEST(the_page_is_there),
        TEST(a_response_comes_in_its_conversation),
        TEST(two_people_get_two_responses_until_a_lease_ends),
        TEST(labels_are_kept_once_and_survive_the_desk),
        TEST(undo_gives_the_response_back_with_what_was_said),
        TEST(wrong_requests_name_what_is_wrong),
        TEST(progress_says_rates_people_and_their_agreement),
        TEST(without_memory_a_request_fails_and_can_be_sent_again),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    keel_http_response_free(&last);
    return failed;
}
