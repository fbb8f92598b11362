/* A request to the desk of reviews: method, target, Host, Origin, Sec-Fetch-Site, Content-Type, body.
 * Whatever comes, the response is a page or JSON; what is refused changes nothing, what is kept can be taken
 * back. */
#include "core/json.h"
#include "datasets/import.h"
#include "experiments/review/review_desk.h"
#include "fuzz.h"
#include "no_sync.h"
#include "rl/judge/review_order.h"

static keel_store *store;
static keel_review_desk *desk;

static const char log_text[] =
    "{\"id\": \"1\", \"risk\": \"benign\", \"messages\": [{\"role\": \"user\", \"content\": \"Q\"},"
    " {\"role\": \"assistant\", \"content\": \"A\"}, {\"role\": \"user\", \"content\": \"R\"},"
    " {\"role\": \"assistant\", \"content\": \"B\", \"model\": \"m\"}]}\n"
    "{\"id\": \"2\", \"messages\": [{\"role\": \"user\", \"content\": \"S\"}, {\"role\": \"assistant\","
    " \"content\": \"C\"}]}\n";

static double no_clock(void) {
    return 0;
}
static int64_t no_date(void) {
    return 1;
}

static void open_desk(void) {
    const keel_review_desk_options options = {.wished = 0.03, .clock = no_clock, .today = no_date};
    const char *path = fuzz_put("log.jsonl", log_text, sizeof log_text - 1);
    keel_import_report report;
    keel_review_response *responses;
    keel_review_place places[8];
    size_t n = 0;
    if (keel_store_open(&store, fuzz_path("s.db"), KEEL_STORE_CREATE, &fuzz_err) != KEEL_OK ||
        keel_import(store, NULL, &path, 1, &report, &fuzz_err) != KEEL_OK ||
        keel_store_review_new(store, &responses, &n, &fuzz_err) != KEEL_OK || n != 3)
        abort();
    keel_review_order_place(responses, NULL, n, &(keel_review_aim){.random = KEEL_REVIEW_RANDOM_SHARE},
                            places);
    if (keel_store_review_add(store, responses, places, n, &fuzz_err) != KEEL_OK ||
        keel_review_desk_open(&desk, store, &options, &fuzz_err) != KEEL_OK)
        abort();
    keel_free(responses);
}

static keel_review_counts count(keel_arena *arena) {
    keel_review_counts counts;
    FUZZ_CHECK(keel_store_review_counts(store, arena, &counts, &fuzz_err) == KEEL_OK);
    return counts;
}

/* What was kept is there once, and is taken back. */
static void take_back(const keel_http_request *request, keel_arena *arena) {
    cJSON *body;
    keel_review review;
    FUZZ_CHECK(keel_json_parse(request->body, request->length, "body", &body, &fuzz_err) == KEEL_OK);
    const char *reviewer = keel_json_get(body, "reviewer")->valuestring;
    const keel_review_counts kept = count(arena);
    FUZZ_CHECK(kept.labels + kept.skipped == 1);
    FUZZ_CHECK(keel_store_review_undo(store, reviewer, arena, &review, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK((double)review.candidate == keel_json_get(body, "item")->valuedouble);
    cJSON_Delete(body);
}

static void check_response(const keel_http_response *response) {
    cJSON *json = NULL;
    FUZZ_CHECK(response->status >= 200 && response->status < 600 && response->type);
    if (response->file) return;
    FUZZ_CHECK(keel_json_parse(response->body.data, response->body.length, "response", &json, &fuzz_err) ==
               KEEL_OK);
    FUZZ_CHECK((response->status >= 400) == (keel_json_get(json, "error") != NULL));
    cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { PARTS = 7 };
    fuzz_part parts[PARTS];
    char *texts[PARTS] = {0};
    keel_http_response response = {0};
    keel_http_address address;
    keel_arena arena = {0};
    if (!desk) open_desk();
    const size_t n = fuzz_parts(data, size, parts, PARTS);
    for (size_t i = 0; i < n; i++) texts[i] = fuzz_text(parts[i].data, parts[i].size);
    const keel_http_request request = {.method = texts[0],
                                       .target = texts[1] ? texts[1] : "",
                                       .host = texts[2],
                                       .origin = texts[3] && texts[3][0] ? texts[3] : NULL,
                                       .site = texts[4] && texts[4][0] ? texts[4] : NULL,
                                       .type = texts[5],
                                       .body = texts[6],
                                       .length = n == PARTS ? parts[6].size : 0};
    if (texts[2]) (void)fuzz_ok(keel_http_address_parse(texts[2], &address, &fuzz_err));
    if (keel_http_check(&request, &keel_http_pages, 8090, &response))
        keel_review_desk_answer(desk, &request, &response);
    check_response(&response);
    if (response.status == 200 && keel_http_is(&request, "/api/label")) take_back(&request, &arena);
    const keel_review_counts left = count(&arena);
    FUZZ_CHECK(left.labels == 0 && left.skipped == 0 && left.items == 3);
    keel_http_response_free(&response);
    keel_arena_free(&arena);
    for (size_t i = 0; i < PARTS; i++) free(texts[i]);
    return 0;
}
