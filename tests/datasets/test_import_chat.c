#define SCRATCH "import-chat"
#include <pthread.h>
#include <stdatomic.h>
#include <zlib.h>

#include "fixture.h"
#include "support/interrupt.h"

#define USER "{\"role\":\"user\",\"content\":\"Hi\"}"

static void import_chat(const char *text) {
    assert_ok(import_as("chat", NULL, put("log.jsonl", text)));
}

static void a_plain_conversation_is_turns_and_decisions(void **state) {
    (void)state;
    import_chat("{\"id\":\"a\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"}," USER
                ",{\"role\":\"assistant\",\"content\":\"Yes\",\"latency_ms\":250,\"model\":\"m\",\"act\":"
                "\"HELP\"}," USER "]}\n\n{\"messages\":[" USER "]}\n");
    assert_int_equal(report.conversations, 2);
    assert_int_equal(report.decisions, 3);
    keel_conversation *a = get("a");
    assert_string_equal(a->source, "chat");
    assert_int_equal(a->risk, KEEL_RISK_UNKNOWN);
    assert_int_equal(a->completed, KEEL_UNKNOWN);
    assert_false(a->truncated);
    assert_null(a->meta);
    assert_int_equal(a->n_turns, 4);
    assert_int_equal(a->turns[0].role, KEEL_ROLE_SYSTEM);
    assert_int_equal(a->n_decisions, 2);
    assert_int_equal(a->decisions[0].turn, 2);
    const keel_candidate *taken = &a->decisions[0].candidates[0];
    assert_true(taken->taken && taken->latency_ms.value == 250);
    assert_string_equal(taken->text, "Yes");
    assert_string_equal(taken->model, "m");
    assert_string_equal(taken->act, "HELP");
    assert_int_equal(a->decisions[1].turn, 4); /* the user waits: still open */
    assert_int_equal(a->decisions[1].n_candidates, 0);
}

static void every_optional_key_finds_its_place(void **state) {
    (void)state;
    import_chat("{\"id\":7,\"risk\":\"dangerous\",\"completed\":false,\"split\":\"dev\",\"group\":\"g\","
                "\"truncated\":true,"
                "\"meta\":{\"k\":1},\"lang\":\"zh\",\"messages\":["
                "{\"role\":\"user\",\"content\":\"Hi\",\"ip\":\"::1\"},"
                "{\"role\":\"assistant\",\"content\":\"No\",\"propensity\":0.5,\"feedback\":\"down\","
                "\"outcome\":\"refusal\","
                "\"reward\":{\"speed\":0.5,\"safety\":-1},\"candidates\":[\"Maybe\",{\"content\":\"No\","
                "\"model\":\"m\"},"
                "{\"content\":\"Sure\",\"propensity\":0.25,\"reward\":0.75,\"feedback\":0.5,\"latency_ms\":3,"
                "\"taken\":true,\"score\":9}]}]}\n");
    keel_conversation *c = get("7");
    assert_int_equal(c->risk, KEEL_RISK_DANGEROUS);
    assert_int_equal(c->completed, KEEL_NO);
    assert_string_equal(c->split, "dev");
    assert_string_equal(c->group, "g");
    assert_true(c->truncated);
    contains(c->meta, "\"k\":1");
    contains(c->meta, "\"lang\":\"zh\"");
    contains(c->meta, "{\"turn\":0,\"ip\":\"::1\"}");
    contains(c->meta, "{\"turn\":1,\"candidate\":2,\"score\":9}");
    const keel_decision *d = &c->decisions[0];
    assert_int_equal(d->n_candidates, 3);
    assert_string_equal(d->candidates[0].text, "No"); /* the message, joined with its mention in the list */
    assert_string_equal(d->candidates[0].model, "m");
    assert_true(d->candidates[0].taken && d->candidates[0].feedback.value == -1);
    assert_int_equal(d->candidates[0].outcome, KEEL_OUTCOME_REFUSAL);
    assert_int_equal(d->candidates[0].judge, KEEL_AUTHORITY_HUMAN);
    assert_false(d->candidates[0].logged_reward.present[KEEL_ACCURACY]);
    assert_true(d->candidates[0].logged_reward.value[KEEL_SAFETY] == -1);
    assert_false(d->candidates[1].taken);
    assert_true(d->candidates[2].taken && d->candidates[2].logged_reward.value[KEEL_ACCURACY] == 0.75f);
}

static void a_decision_may_never_have_been_taken(void **state) {
    (void)state;
    import_chat("{\"id\":\"a\",\"messages\":[" USER
                ",{\"role\":\"assistant\",\"content\":null,\"candidates\":[\"A\",\"B\",\"A\",{\"content\":"
                "\"B\",\"taken\":true}]}]}\n");
    keel_conversation *a = get("a");
    assert_int_equal(a->n_turns, 1);
    assert_int_equal(a->n_decisions, 1);
    assert_int_equal(a->decisions[0].turn, 1);
    assert_int_equal(a->decisions[0].n_candidates, 2);
    assert_false(a->decisions[0].candidates[0].taken);
    assert_true(a->decisions[0].candidates[1].taken); /* said at its second mention: somewhere it was */
}

/* As OpenAI's chat API logs them. */
static void content_in_parts_is_their_texts_and_the_rest_is_kept(void **state) {
    (void)state;
    import_chat(
        "{\"id\":\"a\",\"messages\":[{\"role\":\"developer\",\"content\":\"S\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"What\"},{\"type\":\"image_url\"},"
        "\"is it?\"]},{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"A cat\"}],"
        "\"candidates\":[{\"content\":[\"A\",\"dog\"]}]},{\"role\":\"user\",\"content\":[]},"
        "{\"role\":\"assistant\",\"content\":null,\"refusal\":\"I can't\"}]}\n");
    keel_conversation *a = get("a");
    assert_int_equal(a->turns[0].role, KEEL_ROLE_SYSTEM);
    assert_string_equal(a->turns[1].text, "What\nis it?");
    assert_string_equal(a->decisions[0].candidates[0].text, "A cat");
    assert_string_equal(a->decisions[0].candidates[1].text, "A\ndog");
    assert_string_equal(a->turns[3].text, "");
    assert_string_equal(a->turns[4].text, "I can't");
    contains(a->meta,
             "{\"turn\":1,\"content\":[{\"type\":\"text\",\"text\":\"What\"},{\"type\":\"image_url\"}");
    assert_null(strstr(a->meta, "A cat"));
}

static void other_tools_names_are_read(void **state) {
    (void)state;
    import_chat("{\"id\":\"s\",\"conversations\":[{\"from\":\"human\",\"value\":\"Hi\"},"
                "{\"from\":\"gpt\",\"value\":\"Hello\"},{\"from\":\"observation\",\"value\":\"3\"}]}\n");
    const keel_conversation *c = get("s");
    assert_int_equal(c->n_turns, 3);
    assert_int_equal(c->turns[0].role, KEEL_ROLE_USER);
    assert_int_equal(c->turns[1].role, KEEL_ROLE_ASSISTANT);
    assert_string_equal(c->turns[1].text, "Hello");
    assert_int_equal(c->turns[2].role, KEEL_ROLE_TOOL);
    assert_null(c->meta);
    assert_int_equal(import_as("chat", NULL, put("t.jsonl", "{\"messages\":[{\"role\":\"wizard\"}]}")),
                     KEEL_E_INVALID);
    contains(err.hint, "human");
}

/* OpenAI's, Anthropic's and those of request logs. */
static void what_a_service_says_of_an_answer_counts(void **state) {
    (void)state;
    import_chat(
        "{\"id\":\"part\",\"messages\":[" USER
        ",{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"I can't.\"}]}]}\n"
        "{\"id\":\"stop\",\"messages\":[" USER
        ",{\"role\":\"assistant\",\"content\":[],\"stop_reason\":\"refusal\"}]}\n"
        "{\"id\":\"cut\",\"messages\":[" USER
        ",{\"role\":\"assistant\",\"content\":\"One, tw\",\"finish_reason\":\"length\"}]}\n"
        "{\"id\":\"weight\",\"messages\":[" USER
        ",{\"role\":\"assistant\",\"content\":\"Bad\",\"weight\":0}," USER
        ",{\"role\":\"assistant\",\"content\":\"Good\",\"weight\":1}]}\n"
        "{\"id\":\"response\",\"system\":[{\"type\":\"text\",\"text\":\"Sell shoes.\"}],\"messages\":[" USER
        "],\"response\":{\"model\":\"m\",\"choices\":[{\"message\":{\"content\":\"Yes\"}},"
        "{\"message\":{\"content\":\"No\"},\"finish_reason\":\"content_filter\"}]}}\n");
    assert_int_equal(get("part")->decisions[0].candidates[0].outcome, KEEL_OUTCOME_REFUSAL);
    assert_int_equal(get("part")->decisions[0].candidates[0].judge, KEEL_AUTHORITY_RULE);
    assert_string_equal(get("part")->turns[1].text, "I can't.");
    assert_int_equal(get("stop")->decisions[0].candidates[0].outcome, KEEL_OUTCOME_REFUSAL);
    assert_true(get("cut")->truncated);
    assert_int_equal(get("weight")->n_decisions, 1);
    assert_int_equal(get("weight")->decisions[0].turn, 3);
    const keel_conversation *c = get("response");
    assert_int_equal(c->n_turns, 3);
    assert_int_equal(c->turns[0].role, KEEL_ROLE_SYSTEM);
    assert_string_equal(c->turns[0].text, "Sell shoes.");
    assert_int_equal(c->decisions[0].n_candidates, 2);
    assert_true(c->decisions[0].candidates[0].taken);
    assert_string_equal(c->decisions[0].candidates[0].model, "m");
    assert_int_equal(c->decisions[0].candidates[1].outcome, KEEL_OUTCOME_REFUSAL);
    assert_int_equal(counted("service_refusals"), 3);
    assert_int_equal(counted("cut_off"), 1);
    assert_int_equal(counted("context_only"), 1);
}

static void tools_call_and_answer_in_words(void **state) {
    (void)state;
    import_chat(
        "{\"id\":\"a\",\"messages\":[" USER
        ",{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"Hm\"},"
        "{\"type\":\"tool_use\",\"id\":\"1\",\"name\":\"weather\",\"input\":{\"city\":\"Oslo\"}}]},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"1\",\"content\":\"3 degrees\"},"
        "{\"type\":\"text\",\"text\":\"Well?\"}]}]}\n"
        "{\"id\":\"o\",\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":null,\"function_call\":"
        "{\"name\":\"weather\",\"arguments\":\"{}\"}},{\"role\":\"function\",\"content\":\"3\"}]}\n");
    const keel_conversation *c = get("a");
    assert_int_equal(c->n_turns, 4);
    assert_string_equal(c->turns[1].text, "weather({\"city\":\"Oslo\"})");
    assert_int_equal(c->turns[2].role, KEEL_ROLE_TOOL);
    assert_string_equal(c->turns[2].text, "3 degrees");
    assert_string_equal(c->turns[3].text, "Well?");
    assert_string_equal(get("o")->turns[1].text, "weather({})");
    assert_int_equal(get("o")->turns[2].role, KEEL_ROLE_TOOL);
}

static void keys_at_the_wrong_place_are_counted(void **state) {
    (void)state;
    import_chat("{\"id\":\"a\",\"outcome\":\"refusal\",\"messages\":[" USER "]}\n"
                "{\"id\":\"b\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\",\"risk\":\"benign\"}]}\n");
    assert_int_equal(counted("misplaced"), 2);
    assert_int_equal(counted("unanswered"), 2);
}

static void one_object_may_fill_a_file(void **state) {
    (void)state;
    assert_ok(
        import_as("chat", NULL, put("one.json", "{\n  \"id\": \"one\",\n  \"messages\": [" USER "]\n}\n")));
    assert_int_equal(get("one")->n_turns, 1);
}

static void any_language_passes_unharmed(void **state) {
    (void)state;
    import_chat("{\"id\":\"\xe4\xb8\x80\",\"messages\":[{\"role\":\"user\",\"content\":"
                "\"\xe4\xbd\xa0\xe5\xa5\xbd\"}]}\n");
    assert_string_equal(get("\xe4\xb8\x80")->turns[0].text, "\xe4\xbd\xa0\xe5\xa5\xbd");
}

static void the_same_file_twice_changes_nothing(void **state) {
    (void)state;
    char before[65], after[65];
    const char *line =
        "{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"Yes\",\"outcome\":\"compliance\"}]}\n";
    import_chat(line);
    assert_int_equal(report.conversations, 1);
    assert_ok(keel_store_content_hash(store, NULL, before, &err));
    import_chat(line);
    assert_int_equal(report.files, 1);
    assert_int_equal(report.files_known, 1);
    assert_int_equal(report.conversations + report.unchanged, 0);
    assert_ok(
        import_as("chat", NULL, put("copy.jsonl", line))); /* ids by content: known under another name too */
    assert_int_equal(report.files_known, 0);
    assert_int_equal(report.unchanged, 1);
    assert_int_equal(report.conversations + report.turns + report.candidates, 0);
    assert_ok(keel_store_content_hash(store, NULL, after, &err));
    assert_string_equal(before, after);
}

/* The second mention is compared with rows that may not be in the file of the store yet. */
static void what_one_file_says_twice_is_taken_once(void **state) {
    (void)state;
#define SAID "{\"id\":\"a\",\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"Yes\"}]}\n"
    import_chat(SAID "{\"id\":\"b\",\"messages\":[" USER "]}\n" SAID);
    assert_int_equal(report.conversations, 2);
    assert_int_equal(report.unchanged, 1);
    assert_int_equal(get("a")->decisions[0].n_candidates, 1);
    import_fails("chat",
                 put("other.jsonl",
                     "{\"id\":\"c\",\"messages\":[" USER "]}\n"
                     "{\"id\":\"c\",\"messages\":[{\"role\":\"system\",\"content\":\"Hi\"}]}\n"),
                 KEEL_E_CONFLICT, "other.jsonl:2", "the role of turn 0");
#undef SAID
}

static void gzipped_lines_and_arrays_read_as_plain_lines(void **state) {
    (void)state;
    gzFile file = gzopen(in("log.jsonl.gz"), "wb");
    gzputs(file, "{\"id\":\"a\",\"messages\":[" USER "]}\n");
    gzclose(file);
    put("list.json", "[{\"id\":\"a\",\"messages\":[" USER "]}, {\"id\":\"b\",\"messages\":[" USER "]}]");
    assert_ok(import_as("chat", NULL, in("log.jsonl.gz")));
    assert_ok(import_as("chat", NULL, in("list.json")));
    assert_int_equal(report.conversations, 1);
    assert_int_equal(report.unchanged, 1);
}

static void an_explicit_split_wins_over_the_logs_own(void **state) {
    (void)state;
    const char *path = put("log.jsonl", "{\"id\":\"a\",\"split\":\"dev\",\"messages\":[" USER "]}\n");
    assert_ok(import_as("chat", "train", path));
    assert_string_equal(get("a")->split, "train");
    assert_int_equal(import_as("chat", NULL, path), KEEL_E_CONFLICT);
    assert_int_equal(import_as("chat", "a,b", path), KEEL_E_INVALID);
}

static void bad_lines_are_named_and_nothing_of_the_file_is_kept(void **state) {
    (void)state;
    static const struct {
        const char *line;
        keel_status code;
        const char *message;
    } bad[] = {
        {"{\"messages\":[", KEEL_E_PARSE, ""},
        {"[1]", KEEL_E_PARSE, "object"},
        {"{\"id\":\"x\"}", KEEL_E_PARSE, "messages"},
        {"{\"messages\":[]}", KEEL_E_PARSE, "messages"},
        {"{\"messages\":[5]}", KEEL_E_PARSE, "object"},
        {"{\"messages\":[{\"role\":\"boss\",\"content\":\"x\"}]}", KEEL_E_INVALID, "boss"},
        {"{\"messages\":[{\"content\":\"x\"}]}", KEEL_E_PARSE, "role"},
        {"{\"messages\":[{\"role\":\"user\"}]}", KEEL_E_PARSE, "content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":5}]}", KEEL_E_PARSE, "content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[5]}]}", KEEL_E_PARSE, "content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":5}]}]}", KEEL_E_PARSE, "text"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"feedback\":1}]}", KEEL_E_INVALID, "feedback"},
        {"{\"id\":true,\"messages\":[" USER "]}", KEEL_E_PARSE, "id"},
        {"{\"id\":\"\",\"messages\":[" USER "]}", KEEL_E_INVALID, "id"},
        {"{\"risk\":\"high\",\"messages\":[" USER "]}", KEEL_E_INVALID, "risk"},
        {"{\"completed\":1,\"messages\":[" USER "]}", KEEL_E_PARSE, "completed"},
        {"{\"split\":\"a b\",\"messages\":[" USER "]}", KEEL_E_INVALID, "a b"},
        {"{\"meta\":{\"messages\":1},\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"odd\":1}]}",
         KEEL_E_INVALID, "meta.messages"},
        {"{\"k\":1,\"meta\":{\"k\":2},\"messages\":[" USER "]}", KEEL_E_INVALID, "\"k\""},
        {"{\"id\":\"first\",\"messages\":[{\"role\":\"user\",\"content\":\"?\"}]}", KEEL_E_CONFLICT, "first"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}", KEEL_E_PARSE, "UTF-8"},
    };
    static const struct {
        const char *keys, *message;
    } bad_response[] = {
        {"\"content\":\"x\",\"propensity\":0", "propensity"},
        {"\"content\":\"x\",\"propensity\":1.5", "propensity"},
        {"\"content\":\"x\",\"latency_ms\":-1", "latency_ms"},
        {"\"content\":\"x\",\"latency_ms\":1e13", "latency_ms"},
        {"\"content\":\"x\",\"feedback\":\"good\"", "feedback"},
        {"\"content\":\"x\",\"feedback\":2", "feedback"},
        {"\"content\":\"x\",\"reward\":2", "reward"},
        {"\"content\":\"x\",\"reward\":{\"kindness\":1}", "kindness"},
        {"\"content\":\"x\",\"reward\":{\"speed\":-3}", "speed"},
        {"\"content\":\"x\",\"outcome\":\"none\"", "outcome"},
        {"\"content\":\"x\",\"feedback\":1,\"candidates\":[{\"content\":\"x\",\"feedback\":-1}]", "twice"},
        {"\"content\":\"x\",\"outcome\":\"refusal\",\"candidates\":[{\"content\":\"x\",\"outcome\":"
         "\"compliance\"}]",
         "as refusal and compliance"},
    };
    char text[1024];
    import_chat("{\"id\":\"first\",\"messages\":[" USER "]}\n");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "{\"id\":\"good\",\"messages\":[" USER "]}\n%s\n", bad[i].line);
        import_fails("chat", put("bad.jsonl", text), bad[i].code, "bad.jsonl:2", bad[i].message);
    }
    for (size_t i = 0; i < sizeof bad_response / sizeof *bad_response; i++) {
        snprintf(text, sizeof text, "\n\n{\"messages\":[" USER ",{\"role\":\"assistant\",%s}]}",
                 bad_response[i].keys);
        import_fails("chat", put("bad.jsonl", text), KEEL_E_INVALID, "bad.jsonl:3: messages[1]",
                     bad_response[i].message);
    }
    snprintf(text, sizeof text,
             "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"candidates\":[\"a\"]},%s]}", USER);
    import_fails("chat", put("bad.jsonl", text), KEEL_E_INVALID, "bad.jsonl:1: messages[0]", "only the last");
    snprintf(text, sizeof text,
             "{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"candidates\":[4]}]}");
    import_fails("chat", put("bad.jsonl", text), KEEL_E_PARSE, "messages[0]", "candidates[0]");
    snprintf(
        text, sizeof text,
        "{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"candidates\":[{\"model\":\"m\"}]}]}");
    import_fails("chat", put("bad.jsonl", text), KEEL_E_PARSE, "messages[0]", "expected content or an act");
    import_fails("chat", put("bad.json", "[{\"messages\":[" USER "]},5]"), KEEL_E_PARSE, "bad.json: [1]",
                 "expected an object");
}

static void a_bad_file_leaves_the_good_ones_before_it(void **state) {
    (void)state;
    const char *paths[] = {put("a.jsonl", "{\"id\":\"a\",\"messages\":[" USER "]}\n"),
                           put("b.jsonl", "{\"id\":\"b\",\"messages\":[" USER "]}\n{"), in("missing.jsonl")};
    assert_int_equal(
        keel_import(store, &(keel_import_options){.format = keel_formats}, paths, 3, &report, &err),
        KEEL_E_NOT_FOUND);
    assert_int_equal(report.conversations, 0); /* a missing path is seen before anything is read */
    assert_int_equal(
        keel_import(store, &(keel_import_options){.format = keel_formats}, paths, 2, &report, &err),
        KEEL_E_PARSE);
    assert_int_equal(report.files, 1);
    assert_int_equal(report.conversations, 1);
    get("a");
    int64_t id;
    assert_int_equal(keel_store_find_conversation(store, "b", &id, &err), KEEL_E_NOT_FOUND);
}

static void a_folder_stands_for_its_files_and_those_below(void **state) {
    (void)state;
    assert_ok(keel_folder_make(in("logs/deep/er"), &err));
    assert_int_equal(import_as("chat", NULL, in("logs")), KEEL_E_NOT_FOUND);
    contains(err.hint, "*.jsonl");
    put("logs/deep/er/a.jsonl", "{\"id\":\"a\",\"messages\":[" USER "]}\n");
    put("logs/b.jsonl", "{\"id\":\"b\",\"messages\":[" USER "]}\n");
    put("logs/.hidden.jsonl", "not JSON");
    put("logs/notes.txt", "not JSON");
    assert_int_equal(symlink("..", in("logs/deep/loop")), 0);
    assert_int_equal(import_as("chat", NULL, in("logs")), KEEL_E_INVALID);
    unlink(in("logs/deep/loop"));
    assert_ok(import_as("chat", NULL, in("logs")));
    assert_int_equal(report.files, 2);
    assert_int_equal(get("b")->id, 1);
    assert_ok(import_as(NULL, NULL, in("logs")));
    assert_int_equal(report.files_known, 2);
    assert_int_equal(report.passed_over, 1);
}

static void a_folder_is_read_by_content_whatever_the_case_of_names(void **state) {
    (void)state;
    assert_ok(keel_folder_make(in("logs"), &err));
    put("logs/a.JSONL", "{\"id\":\"a\",\"messages\":[" USER "]}\n");
    put("logs/b.json", "[{\"id\":\"b\",\"messages\":[" USER "]}]");
    put("logs/c.ndjson", "{\"id\":\"c\",\"messages\":[" USER "]}\n");
    put("logs/d.Csv", "id,role,content\nd,user,hi\n");
    put("logs/package.json", "{\"name\":\"x\",\"version\":\"1\"}");
    put("logs/LICENSE", "MIT");
    assert_ok(import_as("chat", NULL, in("logs")));
    assert_int_equal(report.files, 3);
    assert_int_equal(report.passed_over, 3);
    assert_ok(import_as(NULL, NULL, in("logs")));
    assert_int_equal(report.files, 4);
    assert_int_equal(report.files_known, 3);
    assert_int_equal(report.passed_over, 2);
    assert_int_equal(import_as("sgd", NULL, in("logs")), KEEL_E_NOT_FOUND);
}

static pthread_t here;
static atomic_size_t elsewhere; /* allocations in other threads */

static void *count_elsewhere(void *user, void *old, size_t bytes) {
    (void)user;
    elsewhere += !pthread_equal(pthread_self(), here);
    return realloc(old, bytes);
}

static void release(void *user, void *old) {
    (void)user;
    free(old);
}

static void a_thread_that_reads_ahead_works_under_the_context_of_the_caller(void **state) {
    (void)state;
    keel_context context = *keel_context_current();
    context.allocator = (keel_allocator){count_elsewhere, release, NULL, NULL};
    here = pthread_self();
    const keel_context *before = keel_context_use(&context);
    import_chat("{\"messages\":[" USER "]}\n");
    keel_context_use(before);
    assert_true(elsewhere > 0);
}

static void an_interrupt_rolls_the_file_back(void **state) {
    (void)state;
    interrupt_set(true);
    keel_status status =
        import_as("chat", NULL, put("log.jsonl", "{\"id\":\"a\",\"messages\":[" USER "]}\n"));
    interrupt_set(false);
    assert_int_equal(status, KEEL_E_INTERRUPTED);
    int64_t id;
    assert_int_equal(keel_store_find_conversation(store, "a", &id, &err), KEEL_E_NOT_FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_plain_conversation_is_turns_and_decisions),
        TEST(every_optional_key_finds_its_place),
        TEST(a_decision_may_never_have_been_taken),
        TEST(content_in_parts_is_their_texts_and_the_rest_is_kept),
        TEST(other_tools_names_are_read),
        TEST(what_a_service_says_of_an_answer_counts),
        TEST(tools_call_and_answer_in_words),
        TEST(keys_at_the_wrong_place_are_counted),
        TEST(one_object_may_fill_a_file),
        TEST(any_language_passes_unharmed),
        TEST(the_same_file_twice_changes_nothing),
        TEST(what_one_file_says_twice_is_taken_once),
        TEST(gzipped_lines_and_arrays_read_as_plain_lines),
        TEST(an_explicit_split_wins_over_the_logs_own),
        TEST(bad_lines_are_named_and_nothing_of_the_file_is_kept),
        TEST(a_bad_file_leaves_the_good_ones_before_it),
        TEST(a_folder_stands_for_its_files_and_those_below),
        TEST(a_folder_is_read_by_content_whatever_the_case_of_names),
        TEST(a_thread_that_reads_ahead_works_under_the_context_of_the_caller),
        TEST(an_interrupt_rolls_the_file_back),
    };
    interrupt_listen();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
