#define GOLDEN_FILE "templates.json"
#include "golden_fixture.h"

#include "core/parallel.h"
#include "policies/tokens/chat_template.h"
#include "support/faults.h"
#include "support/threads.h"

/* Parses and renders; what comes of it, and the text in the arena. */
static keel_status render(const char *source, const keel_chat_request *request, const char **out) {
    keel_chat_template *chat = NULL;
    *out = NULL;
    keel_status status = keel_chat_template_parse(&chat, source, "made.jinja", &err);
    if (status == KEEL_OK) status = keel_chat_template_render(chat, request, &arena, out, &err);
    keel_chat_template_close(chat);
    return status;
}

static cJSON *no_messages;

/* A request of variables alone. */
static keel_chat_request of_variables(const cJSON *variables) {
    if (!no_messages) no_messages = cJSON_CreateArray();
    return (keel_chat_request){
        .messages = no_messages, .extra = variables, .now = keel_json_get(golden, "now")->valueint};
}

static void texts_are_those_of_jinja2(void **state) {
    const keel_chat_request request = of_variables(keel_json_get(golden, "variables"));
    const cJSON *one;
    int wrong = 0;
    (void)state;
    cJSON_ArrayForEach (one, keel_json_get(golden, "snippets")) {
        const char *source = keel_json_get(one, "template")->valuestring, *found;
        const cJSON *text = keel_json_get(one, "text");
        const keel_status status = render(source, &request, &found);
        if (text ? status == KEEL_OK && strcmp(found, text->valuestring) == 0 : status != KEEL_OK) continue;
        print_error("%s\n  %s\n  %s\n", source, found ? found : err.message,
                    text ? text->valuestring : keel_json_get(one, "error")->valuestring);
        wrong++;
    }
    assert_int_equal(wrong, 0);
}

static keel_chat_request of_chat(const cJSON *one) {
    return (keel_chat_request){.messages = keel_json_get(one, "messages"),
                               .tools = keel_json_get(one, "tools"),
                               .generation_prompt = cJSON_IsTrue(keel_json_get(one, "add_generation_prompt")),
                               .bos = "<s>",
                               .eos = "<|im_end|>"};
}

static const cJSON *chat_of(const char *name) {
    const cJSON *one;
    cJSON_ArrayForEach (one, keel_json_get(golden, "chats"))
        if (strcmp(keel_json_get(one, "name")->valuestring, name) == 0) return one;
    fail_msg("no chat \"%s\"", name);
    return NULL;
}

static keel_status spans_of(const char *source, const keel_chat_request *request, const char **text,
                            keel_span **spans, size_t *n) {
    keel_chat_template *chat = NULL;
    assert_ok(keel_chat_template_parse(&chat, source, "made.jinja", &err));
    keel_status status = keel_chat_template_spans(chat, request, &arena, text, spans, n, &err);
    keel_chat_template_close(chat);
    return status;
}

/* Where a mark encloses the words without the mark that ends the turn, that one is taken in. */
static void marked_spans_are_those_of_transformers(void **state) {
    const char *names[] = {"marked", "asked", "tools", "no tools"};
    (void)state;
    for (size_t k = 0; k < 4; k++) {
        const cJSON *one = chat_of(names[k]), *expected = keel_json_get(one, "spans");
        const keel_chat_request request = of_chat(one);
        const char *text, *end = "<|im_end|>";
        keel_span *spans;
        size_t n;
        assert_ok(spans_of(keel_json_get(one, "template")->valuestring, &request, &text, &spans, &n));
        assert_string_equal(text, keel_json_get(one, "text")->valuestring);
        assert_int_equal(n, cJSON_GetArraySize(expected));
        for (size_t i = 0; i < n; i++) {
            const cJSON *span = cJSON_GetArrayItem(expected, (int)i);
            size_t to = (size_t)cJSON_GetArrayItem(span, 1)->valueint;
            if (strncmp(text + to, end, strlen(end)) == 0) to += strlen(end);
            assert_int_equal(spans[i].from, cJSON_GetArrayItem(span, 0)->valueint);
            assert_int_equal(spans[i].to, to);
            assert_memory_equal(text + spans[i].to - strlen(end), end, strlen(end));
        }
    }
}

/* Without what is null, and with its reasoning under each name. */
static void messages_are_as_transformers_hands_them_on(void **state) {
    const cJSON *one = chat_of("null");
    const keel_chat_request request = of_chat(one);
    const char *text;
    (void)state;
    assert_ok(render(keel_json_get(one, "template")->valuestring, &request, &text));
    assert_string_equal(text, keel_json_get(one, "text")->valuestring);
}

/* Without marks, what the assistant says is told by the texts of the first messages: the same bytes. */
static void spans_without_marks_are_the_same(void **state) {
    const cJSON *marked = chat_of("marked"), *plain = chat_of("plain");
    const keel_chat_request request = of_chat(marked);
    const char *text[2];
    keel_span *spans[2];
    size_t n[2];
    (void)state;
    assert_ok(spans_of(keel_json_get(marked, "template")->valuestring, &request, &text[0], &spans[0], &n[0]));
    assert_ok(spans_of(keel_json_get(plain, "template")->valuestring, &request, &text[1], &spans[1], &n[1]));
    assert_string_equal(text[0], text[1]);
    assert_int_equal(n[0], 2);
    assert_int_equal(n[1], 2);
    assert_memory_equal(spans[0], spans[1], 2 * sizeof *spans[0]);
}

static void refuses_spans(const char *source, const char *messages, const char *says) {
    cJSON *list;
    const char *text;
    keel_span *spans;
    size_t n;
    assert_ok(keel_json_parse(messages, strlen(messages), "messages", &list, &err));
    const keel_chat_request request = {.messages = list, .eos = "</s>"};
    assert_int_equal(spans_of(source, &request, &text, &spans, &n), KEEL_E_UNSUPPORTED);
    contains(err.message, says);
    cJSON_Delete(list);
}

#define TURNS(assistant)                                                                                     \
    "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\"," assistant "},"                         \
    "{\"role\":\"user\",\"content\":\"b\"},{\"role\":\"assistant\",\"content\":\"last\"}]"
#define EACH(says)                                                                                           \
    "{% for m in messages %}{{ m.role }}:{% if m.role == 'assistant' %}" says                                \
    "{% else %}{{ m.content }}{% endif %}</s>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"

/* A template that drops the reasoning of earlier turns, as that of DeepSeek-R1, is no silent loss. */
static void what_a_template_drops_is_refused(void **state) {
    const char *forgets = EACH("{{ m.content.split('</think>')[-1] }}"),
               *asks = "{% for m in messages %}{{ m.role }}:{{ m.content }}</s>{% endfor %}"
                       "{% if add_generation_prompt %}assistant:<think>{% endif %}",
               *last_alone = EACH("{% if loop.last %}<think></think>{% endif %}{{ m.content }}"),
               *silent = EACH("{{ m.content }}");
    cJSON *list;
    const char *text, *messages = TURNS("\"content\":\"fine\"");
    keel_span *spans;
    size_t n;
    (void)state;
    refuses_spans(forgets, TURNS("\"content\":\"<think>why</think>so\""), "message 2");
    refuses_spans(asks, messages, "cannot be told");
    refuses_spans(last_alone, messages, "cannot be told");
    refuses_spans(silent, TURNS("\"content\":\"fine\",\"reasoning\":\"why\""), "leaves out");
    refuses_spans(silent, TURNS("\"content\":\"fine\",\"tool_calls\":[{\"function\":{\"name\":\"get\"}}]"),
                  "leaves out");
    refuses_spans(EACH("{{ m.content if m.content is string }}"),
                  TURNS("\"content\":[{\"type\":\"text\",\"text\":\"part\"}]"), "leaves out");
    assert_ok(keel_json_parse(messages, strlen(messages), "messages", &list, &err));
    assert_ok(spans_of(forgets, &(keel_chat_request){.messages = list, .eos = "</s>"}, &text, &spans, &n));
    assert_int_equal(n, 2); /* where nothing is lost */
    assert_memory_equal(text + spans[0].from, "fine</s>", spans[0].to - spans[0].from);
    cJSON_Delete(list);
}

static void a_hidden_mark_is_refused(void **state) {
    (void)state;
    refuses_spans("{% macro say(x) %}{% generation %}{{ x }}{% endgeneration %}{% endmacro %}"
                  "{% for m in messages %}{{ say(m.content) }}{% endfor %}",
                  "[{\"role\":\"assistant\",\"content\":\"a\"}]", "in a macro");
}

static void our_own_template_marks_its_spans(void **state) {
    const keel_chat_request request = of_chat(chat_of("marked"));
    const char *text;
    keel_span *spans;
    size_t n;
    (void)state;
    assert_ok(spans_of(keel_chat_template_chatml, &request, &text, &spans, &n));
    assert_string_equal(text, keel_json_get(chat_of("marked"), "text")->valuestring);
    assert_int_equal(n, 2);
    assert_memory_equal(text + spans[1].from, "So long.<|im_end|>", spans[1].to - spans[1].from);
}

/* ---- bounds ---- */

static void fails(const char *source, const char *says) {
    const keel_chat_request request = of_variables(keel_json_get(golden, "variables"));
    const char *text;
    if (render(source, &request, &text) == KEEL_OK) fail_msg("%s: is rendered", source);
    contains(err.message, says);
}

#define DEEP "{% set ns = namespace(v=[]) %}{% for i in range(100000) %}{% set ns.v = [ns.v] %}{% endfor %}"

static void a_hostile_template_cannot_run_away(void **state) {
    (void)state;
    fails("{% for i in range(100000) %}{% for k in range(100000) %}{% endfor %}{% endfor %}",
          "the template takes");
    fails("{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
          "MB");
    fails("{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
          "MB");
    fails("{% for i in range(100000) %}{{ 'x' * 10000 }}{% endfor %}", "");
    fails("{{ 'x' * 10000000000 }}", "repeated");
    fails("{{ range(100001) }}", "range");
    fails("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested deeper");
    fails(DEEP "{{ ns.v }}", "nested deeper");
    fails(DEEP "{{ ns.v | tojson }}", "nested deeper");
    fails(DEEP "{{ ns.v == [ns.v] }}", "too many steps");
    fails(DEEP "{% if ns.v == [ns.v] %}{% endif %}", "too many steps"); /* with nothing behind it */
    fails("{% set ns = namespace(v=[1]) %}{% for i in range(60) %}{% set ns.v = [ns.v, ns.v] %}{% endfor %}"
          "{{ ns.v == [1] + ns.v }}{{ ns.v }}",
          "");
    fails("{% set s = 'ab' * 10000000 %}{{ ('a' * 5000000 ~ 'c') in s }}", "too many steps");
    fails("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", "nested deeper");
    fails("{{ 9223372036854775806 + 2 }}", "64 bits");
    fails("{{ 11111111111111111111111111111111111111111111111111111111111111e-1 }}", ""); /* 62 digits */
    keel_buf source = {0};
    keel_buf_text(&source, "{{ ");
    for (int i = 0; i < 5000; i++) keel_buf_text(&source, "(");
    keel_buf_text(&source, "1");
    for (int i = 0; i < 5000; i++) keel_buf_text(&source, ")");
    keel_buf_text(&source, " }}");
    fails(source.data, "nested deeper");
    keel_buf_clear(&source);
    keel_buf_text(&source, "{{ 1");
    for (int i = 0; i < 5000; i++) keel_buf_text(&source, " + 1");
    keel_buf_text(&source, " }}");
    fails(source.data, "nested deeper");
    keel_buf_clear(&source);
    for (int i = 0; i < 5000; i++) keel_buf_text(&source, "{% if 1 %}");
    fails(source.data, "nested deeper");
    keel_buf_free(&source);
}

static void a_range_ends_where_whole_numbers_do(void **state) {
    (void)state;
    const keel_chat_request request = of_variables(NULL);
    const char *text;
    assert_ok(render("{{ range(9223372036854775000, 9223372036854775806) | length }},"
                     "{{ range(-9223372036854775000, -9223372036854775806, -1) | last }},"
                     "{{ range(9223372036854775000, 9223372036854775806, 9223372036854775806) | list }}",
                     &request, &text));
    assert_string_equal(text, "806,-9223372036854775805,[9223372036854775000]");
}

static void errors_name_the_line(void **state) {
    (void)state;
    fails("a\nb {{ missing.x }}", "'missing' is undefined");
    contains(err.where, "made.jinja:2");
    fails("a\n\n{% for %}", "expected a name");
    contains(err.where, "made.jinja:3");
    fails("{{ raise_exception('roles must alternate') }}", "roles must alternate");
    assert_int_equal(err.code, KEEL_E_INVALID);
    fails("{% extends 'x' %}", "\"extends\"");
    fails("a\n{#}", "a comment does not end");
    contains(err.where, "made.jinja:2");
    fails("\xFF", "UTF-8");
}

static void messages_that_are_none_are_refused(void **state) {
    cJSON *list = cJSON_CreateArray();
    const char *text;
    (void)state;
    assert_true(keel_json_add(list, NULL, cJSON_CreateString("no message")));
    assert_int_equal(render("x", &(keel_chat_request){.messages = list}, &text), KEEL_E_INVALID);
    assert_int_equal(render("x", &(keel_chat_request){0}, &text), KEEL_E_INVALID);
    cJSON_Delete(list);
}

static void each_allocation_may_fail(void **state) {
    const cJSON *one = chat_of("tools");
    const keel_chat_request request = of_chat(one);
    keel_status status = KEEL_E_NOMEM;
    (void)state;
    for (size_t fail_at = 1; status != KEEL_OK; fail_at++) {
        faults memory;
        keel_chat_template *chat = NULL;
        keel_arena own = {0};
        const char *text = NULL;
        keel_span *spans;
        size_t n;
        faults_begin(&memory, fail_at);
        status =
            keel_chat_template_parse(&chat, keel_json_get(one, "template")->valuestring, "made.jinja", &err);
        if (status == KEEL_OK)
            status = keel_chat_template_spans(chat, &request, &own, &text, &spans, &n, &err);
        if (status != KEEL_OK) assert_int_equal(status, KEEL_E_NOMEM);
        if (status == KEEL_OK) assert_string_equal(text, keel_json_get(one, "text")->valuestring);
        keel_chat_template_close(chat);
        keel_arena_free(&own);
        faults_end();
        assert_int_equal(memory.live, 0);
    }
}

/* ---- threads ---- */

static keel_status render_one(void *context, size_t shard, size_t thread, keel_err *failed) {
    const keel_chat_request request = of_chat(chat_of("tools"));
    keel_arena own = {0};
    const char *text = "";
    (void)shard, (void)thread;
    keel_status status = keel_chat_template_render(context, &request, &own, &text, failed);
    if (status == KEEL_OK && strcmp(text, keel_json_get(chat_of("tools"), "text")->valuestring) != 0)
        status = keel_fail(failed, KEEL_E_INVALID, "tools", "another text");
    keel_arena_free(&own);
    return status;
}

static void threads_share_a_template(void **state) {
    keel_chat_template *chat;
    keel_pool *pool;
    (void)state;
    assert_ok(keel_chat_template_parse(&chat, keel_json_get(chat_of("tools"), "template")->valuestring,
                                       "tools", &err));
    assert_ok(keel_pool_open(&pool, 4, &err));
    assert_ok(keel_pool_run(pool, 200, render_one, chat, &err));
    keel_pool_close(pool);
    keel_chat_template_close(chat);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_those_of_jinja2),
        cmocka_unit_test(marked_spans_are_those_of_transformers),
        cmocka_unit_test(messages_are_as_transformers_hands_them_on),
        cmocka_unit_test(spans_without_marks_are_the_same),
        cmocka_unit_test(what_a_template_drops_is_refused),
        cmocka_unit_test(a_hidden_mark_is_refused),
        cmocka_unit_test(our_own_template_marks_its_spans),
        cmocka_unit_test(a_hostile_template_cannot_run_away),
        cmocka_unit_test(a_range_ends_where_whole_numbers_do),
        cmocka_unit_test(errors_name_the_line),
        cmocka_unit_test(messages_that_are_none_are_refused),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(threads_share_a_template),
    };
    only_threads_for_tsan();
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    cJSON_Delete(no_messages);
    return failed;
}
