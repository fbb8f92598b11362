/* Bodies that clients send: the first byte says which. What is read is text that can be answered, and what is
 * answered is JSON: whole, and the same in the pieces of a stream. */
#include "core/json.h"
#include "core/text.h"
#include "experiments/serve/choose.h"
#include "experiments/serve/feedback.h"
#include "experiments/serve/openai.h"
#include "fuzz.h"

static void check_text(const char *text) {
    if (text) FUZZ_CHECK(keel_utf8_valid_prefix(text, strlen(text)) == strlen(text));
}

static void check_asked(const keel_asked *asked) {
    FUZZ_CHECK(asked->turns || asked->n_turns == 0);
    for (size_t i = 0; i < asked->n_turns; i++) {
        FUZZ_CHECK(asked->turns[i].text);
        check_text(asked->turns[i].text);
        check_text(asked->turns[i].act);
    }
    const char *const texts[] = {asked->model, asked->user, asked->conversation, asked->segment};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_text(texts[i]);
}

static cJSON *parse(const keel_buf *text) {
    cJSON *value = NULL;
    FUZZ_CHECK(!text->failed);
    FUZZ_CHECK(keel_json_parse(text->data, text->length, "response", &value, &fuzz_err) == KEEL_OK);
    return value;
}

static const char *content_of(const cJSON *response, const char *message) {
    const cJSON *choice = keel_json_get(response, "choices")->child;
    const cJSON *content = keel_json_get(keel_json_get(choice, message), "content");
    return cJSON_IsString(content) ? content->valuestring : "";
}

/* The events of a stream; what their deltas say, joined. */
static void check_stream(char *events, const char *text) {
    keel_buf said = {0};
    keel_buf_text(&said, "");
    for (char *end; (end = strstr(events, "\n\n")); events = end + 2) {
        *end = '\0';
        FUZZ_CHECK(strncmp(events, "data: ", 6) == 0);
        if (strcmp(events + 6, "[DONE]") == 0) {
            FUZZ_CHECK(end[2] == '\0' && strcmp(said.data, text) == 0);
            keel_buf_free(&said);
            return;
        }
        const keel_buf event = {.data = events + 6, .length = (size_t)(end - events) - 6};
        cJSON *chunk = parse(&event);
        if (keel_json_get(chunk, "choices")->child) keel_buf_text(&said, content_of(chunk, "delta"));
        cJSON_Delete(chunk);
    }
    FUZZ_CHECK(false); /* a stream has an end */
}

/* Says the last turn back. */
static void check_chat(const keel_asked *asked) {
    const char *text = asked->n_turns ? asked->turns[asked->n_turns - 1].text : "";
    const keel_openai_answer answer = {.id = "id",
                                       .model = asked->model ? asked->model : "",
                                       .text = text,
                                       .finish = asked->user,
                                       .prompt_tokens = asked->stream,
                                       .completion_tokens = asked->details ? -1 : 2};
    keel_buf whole = {0}, stream = {0};
    keel_openai_write(&answer, &whole);
    cJSON *response = parse(&whole);
    FUZZ_CHECK(strcmp(content_of(response, "message"), text) == 0);
    cJSON_Delete(response);
    FUZZ_CHECK(keel_openai_write_stream(&answer, asked->usage, &stream, &fuzz_err) == KEEL_OK &&
               !stream.failed);
    check_stream(stream.data, text);
    keel_buf_free(&whole);
    keel_buf_free(&stream);
}

static void check_choice(const keel_asked *asked) {
    FUZZ_CHECK(asked->n_candidates > 0 && asked->n_candidates <= KEEL_CHOOSE_MOST);
    keel_buf out = {0};
    for (size_t i = 0; i < asked->n_candidates; i++) {
        const keel_candidate *one = &asked->candidates[i];
        FUZZ_CHECK(one->text && asked->place[i] >= i && (i == 0 || asked->place[i] > asked->place[i - 1]));
        check_text(one->text);
        check_text(one->act);
        check_text(one->model);
    }
    keel_choose_write(&(keel_choose_answer){.id = "id",
                                            .index = (int64_t)asked->place[0],
                                            .says = asked->candidates[0].text,
                                            .outcome = asked->candidates[0].outcome,
                                            .propensity = 1,
                                            .policy = "p",
                                            .arm = "a"},
                      &out);
    cJSON_Delete(parse(&out));
    keel_buf_free(&out);
}

static void check_feedback(const keel_feedback *f) {
    FUZZ_CHECK(f->request && f->request[0] && f->source);
    FUZZ_CHECK(!f->feedback.present || (f->feedback.value >= -1 && f->feedback.value <= 1));
    FUZZ_CHECK(f->feedback.present || f->outcome || f->completed != KEEL_UNKNOWN || f->risk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static keel_arena arena;
    keel_asked asked;
    keel_feedback feedback;
    if (size == 0) return 0;
    char *body = fuzz_text(data + 1, size - 1);
    keel_arena_reset(&arena);
    switch (data[0] % 3) {
    case 0:
        if (!fuzz_ok(keel_openai_read(body, size - 1, &arena, &asked, &fuzz_err))) break;
        check_asked(&asked);
        check_chat(&asked);
        break;
    case 1:
        if (!fuzz_ok(keel_choose_read(body, size - 1, &arena, &asked, &fuzz_err))) break;
        check_asked(&asked);
        check_choice(&asked);
        break;
    default:
        if (fuzz_ok(keel_feedback_read(body, size - 1, &arena, &feedback, &fuzz_err)))
            check_feedback(&feedback);
    }
    free(body);
    return 0;
}
