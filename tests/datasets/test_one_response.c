/* One answer a decision out of a log with several: what stays of a conversation, that the draw is by names
 * and not by the order of imports, and that every answer is drawn equally often. */
#define SCRATCH "one-response"
#include "datasets/one_response.h"
#include "fixture.h"

#define USER "{\"role\":\"user\",\"content\":\"Hi\"}"
#define GIVEN(x)                                                                                             \
    "{\"content\":\"" x "\",\"model\":\"" x "\",\"taken\":true,\"outcome\":\"refusal\",\"propensity\":0.5}"
#define LINE(id, ...)                                                                                        \
    "{\"id\":\"" id "\",\"risk\":\"dangerous\",\"group\":\"g\",\"messages\":[" __VA_ARGS__ "]}\n"
#define OPEN(list) "{\"role\":\"assistant\",\"content\":null,\"candidates\":[" list "]}"

static keel_one_response one;

static void export_seed(uint64_t seed, const char *name) {
    keel_file_writer *to;
    int64_t count;
    one = (keel_one_response){.seed = seed};
    assert_ok(keel_file_writer_open(&to, in(name), false, &err));
    assert_ok(keel_export_one_response(store, NULL, &one, to, &count, &err));
    assert_ok(keel_file_writer_commit(to, &err));
}

/* In place of the store, what is exported from it. */
static void exchange(uint64_t seed) {
    export_seed(seed, "one.jsonl");
    close_store();
    unlink(in("store.db"));
    open_store(KEEL_STORE_CREATE);
    assert_ok(import_as("chat", NULL, in("one.jsonl")));
}

static void one_answer_stays_with_what_is_known_of_it(void **state) {
    (void)state;
    assert_ok(import_as(
        "chat", NULL, put("log.jsonl", LINE("a", USER "," OPEN(GIVEN("x") ",\"never given\"," GIVEN("y"))))));
    exchange(3);
    assert_int_equal(one.answers, 1);
    assert_int_equal(one.left_out, 2);
    assert_int_equal(one.decisions, 0);
    const keel_conversation *c = get("a");
    assert_int_equal(c->n_turns, 2);
    assert_int_equal(c->decisions[0].turn, 1);
    assert_int_equal(c->decisions[0].n_candidates, 1);
    const keel_candidate *kept = &c->decisions[0].candidates[0];
    assert_true(kept->taken && !kept->propensity.present);
    assert_string_equal(kept->text, kept->model);
    assert_string_equal(c->turns[1].text, kept->text);
    assert_int_equal(kept->outcome, KEEL_OUTCOME_REFUSAL);
    assert_int_equal(kept->judge, KEEL_AUTHORITY_HUMAN);
    assert_string_equal(c->group, "g");
    assert_int_equal(c->risk, KEEL_RISK_DANGEROUS);
}

static void a_conversation_goes_on_from_what_was_said(void **state) {
    (void)state;
    char id[2] = "a";
    keel_buf log = {0};
    for (; *id <= 'p'; id[0]++)
        keel_buf_format(&log,
                        "{\"id\":\"%s\",\"messages\":[" USER
                        ",{\"role\":\"assistant\",\"content\":\"said\",\"why\":1,\"candidates\":[" GIVEN(
                            "x") "]}," USER "," OPEN("\"never\"") "]}\n",
                        id);
    assert_ok(import_as("chat", NULL, put("log.jsonl", log.data)));
    keel_buf_free(&log);
    exchange(1);
    assert_int_equal(one.answers, 16);
    assert_int_equal(one.left_out, 32);
    assert_int_equal(one.decisions, 16);
    for (id[0] = 'a'; *id <= 'p'; id[0]++) {
        const keel_conversation *c = get(id);
        assert_int_equal(c->n_turns, 3);
        assert_string_equal(c->decisions[0].candidates[0].text, "said");
        assert_int_equal(c->decisions[1].n_candidates, 0); /* still to be answered */
        contains(c->meta, "why");
    }
}

static void what_was_said_of_others_is_left_out(void **state) {
    (void)state;
    assert_ok(import_as(
        "chat", NULL,
        put("log.jsonl",
            LINE("a", USER ",{\"role\":\"assistant\",\"content\":\"said\",\"why\":1,\"candidates\":["
                           "{\"content\":\"other\",\"taken\":true,\"score\":9}]}"))));
    bool said[2] = {false, false};
    for (uint64_t seed = 0; seed < 16; seed++) {
        keel_conversation *c = get("a");
        one = (keel_one_response){.seed = seed};
        assert_ok(keel_one_response_keep(&one, c, &arena, &err));
        const bool is_said = strcmp(c->turns[1].text, "said") == 0;
        assert_string_equal(c->turns[1].text, c->decisions[0].candidates[0].text);
        assert_true(is_said == (c->meta != NULL)); /* what was said of the message goes with the message */
        assert_true(!c->meta || (strstr(c->meta, "why") && !strstr(c->meta, "score")));
        said[is_said] = true;
    }
    assert_true(said[0] && said[1]);
}

/* Models in this order, in a store of their own; exported. */
static void import_models(const char *order, uint64_t seed, const char *out) {
    close_store();
    unlink(in("store.db"));
    open_store(KEEL_STORE_CREATE);
    for (; *order; order++) {
        keel_buf log = {0};
        for (int i = 0; i < 300; i++)
            keel_buf_format(&log, "{\"prompt\":\"p%d\",\"completion\":\"%c\",\"model\":\"%c\"}\n", i, *order,
                            *order);
        const char name[] = {*order, '.', 'j', 's', 'o', 'n', 'l', '\0'};
        assert_ok(import_as(NULL, NULL, put(name, log.data)));
        keel_buf_free(&log);
    }
    export_seed(seed, out);
    assert_int_equal(one.answers, 300);
    assert_int_equal(one.left_out, 600);
}

static int compare_lines(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The lines of a file in order. */
static char **lines_of(const char *name, size_t *count) {
    keel_buf text = {0};
    char **lines = keel_arena_calloc(&arena, 400, sizeof *lines);
    assert_ok(keel_file_read(in(name), SIZE_MAX, &text, &err));
    *count = 0;
    for (char *at = strtok(text.data, "\n"); at; at = strtok(NULL, "\n"))
        lines[(*count)++] = keel_arena_strdup(&arena, at);
    keel_buf_free(&text);
    qsort(lines, *count, sizeof *lines, compare_lines);
    return lines;
}

static void the_draw_goes_by_names(void **state) {
    (void)state;
    size_t n, m, differ = 0, of[3] = {0};
    import_models("abc", 7, "abc");
    import_models("cab", 7, "cab");
    char **abc = lines_of("abc", &n), **cab = lines_of("cab", &m);
    assert_int_equal(n, 300);
    assert_int_equal(m, 300);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(abc[i], cab[i]);
        for (int k = 0; k < 3; k++) {
            const char model[] = {'\"', 'm', 'o', 'd', 'e', 'l', '\"', ':', ' ', '\"', (char)('a' + k), '\0'};
            of[k] += strstr(abc[i], model) != NULL;
        }
    }
    for (int k = 0; k < 3; k++)
        assert_in_range(of[k], 70, 130); /* 100 expected, 8.2 the standard deviation */
    import_models("abc", 8, "other");
    char **other = lines_of("other", &m);
    for (size_t i = 0; i < n; i++) differ += strcmp(abc[i], other[i]) != 0;
    assert_in_range(differ, 150, 250); /* 200 expected */
}

/* Models that are not named, in the order of the text. */
static const char *drawn_of(const char *texts, uint64_t seed) {
    keel_conversation c;
    keel_candidate *two = keel_arena_calloc(&arena, 2, sizeof *two);
    make(&c, "a", NULL, NULL, "Hi", "x");
    for (int k = 0; k < 2; k++) {
        const char text[] = {texts[k], '\0'};
        two[k] = (keel_candidate){.text = keel_arena_strdup(&arena, text), .taken = true};
    }
    c.decisions[0] = (keel_decision){.turn = 1, .n_candidates = 2, .candidates = two};
    one = (keel_one_response){.seed = seed};
    assert_ok(keel_one_response_keep(&one, &c, &arena, &err));
    return c.decisions[0].candidates[0].text;
}

static void answers_without_a_model_are_drawn_by_their_texts(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) assert_string_equal(drawn_of("xy", seed), drawn_of("yx", seed));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(one_answer_stays_with_what_is_known_of_it),
        TEST(a_conversation_goes_on_from_what_was_said),
        TEST(what_was_said_of_others_is_left_out),
        TEST(the_draw_goes_by_names),
        TEST(answers_without_a_model_are_drawn_by_their_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
