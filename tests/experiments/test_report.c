/* The report: what a hostile log or recipe says stays text, tables are grouped, curves of folds are averaged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/json.h"
#include "experiments/report/report.h"
#include "support/scratch.h"

static char folder[256];

static void put(const char *name, const char *text) {
    assert_int_equal(keel_file_write(scratch_path(folder, name), text, strlen(text), NULL), KEEL_OK);
}

#define RATE(value) "{\"value\": " value ", \"low\": 0.1, \"high\": 0.9, \"n\": 50}"
#define METRICS(value)                                                                                       \
    "{\"metrics\": {\"refusal_rate\": " RATE(value) ", \"completion_rate\": {\"value\": null, \"n\": 0}}}"
#define EVIL "<img src=x onerror=alert(1)>'`$(touch pwned)`\\n\\u001b[2J"

static void put_run(void) {
    put("run.json", "{\"recipe\": \"<script>alert(1)</script>\", \"about\": \"a & b\", \"out\": "
                    "\"old/place\", \"build\": {},"
                    "\"steps\": [\"fold-0\", \"fold-1\", \"eval\", \"again\", \"replay\", \"unfinished\"]}");
    put("steps/fold-0.json", "{\"name\": \"fold-0\", \"title\": \"CQL\", \"verb\": \"train\", \"result\": "
                             "{\"metrics_file\": \"old/place/0.jsonl\"}}");
    put("steps/fold-1.json", "{\"name\": \"fold-1\", \"title\": \"CQL\", \"verb\": \"train\", \"result\": "
                             "{\"metrics_file\": \"old/place/1.jsonl\"}}");
    put("0.jsonl", "{\"step\": 1, \"td\": 2}\n{\"step\": 2, \"td\": 4}\n");
    put("1.jsonl",
        "{\"step\": 1, \"td\": 6}\n{\"step\": 2, \"td\": null}\n{\"step\": 3, \"td\": 1}\n{\"step\": 4, \"t");
    const char *eval =
        "{\"name\": \"eval\", \"title\": \"" EVIL
        "\", \"group\": \"held out\", \"verb\": \"eval\", \"result\": {\"policy\": " METRICS(
            "0.5") ", \"baselines\": {\"logged\": " METRICS("0.25") ", \"base\": " METRICS("0.75") "}, "
                                                                                                   "\"models"
                                                                                                   "\": "
                                                                                                   "{\"gpt<4>"
                                                                                                   "\":"
                                                                                                   " " METRICS(
                                                                                                       "1") "}}}";
    put("steps/eval.json", eval);
    put("steps/again.json", eval);
    put("steps/replay.json",
        "{\"name\": \"replay\", \"title\": \"CQL\", \"verb\": \"replay\", \"result\": {\"seen\": 1, "
        "\"differing\": 1, \"decisions\": [{"
        "\"conversation\": \"" EVIL "\", \"risk\": \"benign\", \"turn\": 1, \"user\": \"" EVIL
        "\", \"agrees\": false, \"value\": 0, \"kl\": 0,"
        "\"why\": {\"against\": 1, \"parts\": {\"prior\": 0.5, \"" EVIL
        "\": 1}}, \"actions\": [{\"says\": \"" EVIL "\", \"taken\": true,"
        "\"chosen\": true, \"masked\": false, \"q\": {\"" EVIL
        "\": 1}, \"advantage\": 0, \"log_prior\": null, \"log_pi\": 0}]}]}}");
}

static void read_run(keel_run_folder *run) {
    keel_err err = {0};
    if (keel_run_folder_read(run, folder, &err) != KEEL_OK) fail_msg("%s: %s", err.where, err.message);
}

static void evaluations_of_one_group_share_a_table(void **state) {
    (void)state;
    keel_run_folder run;
    read_run(&run);
    cJSON *tables = keel_report_tables(&run);
    assert_int_equal(cJSON_GetArraySize(tables), 1);
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(tables->child, "rows"), *row;
    static const char *const kinds[] = {"logged", "model", "base", "policy", "policy"};
    int i = 0;
    assert_int_equal(cJSON_GetArraySize(rows), 5);
    cJSON_ArrayForEach (row, rows)
        assert_string_equal(cJSON_GetObjectItemCaseSensitive(row, "kind")->valuestring, kinds[i++]);
    cJSON_Delete(tables);
    keel_run_folder_free(&run);
}

static void curves_of_one_title_are_averaged_step_by_step(void **state) {
    (void)state;
    keel_run_folder run;
    cJSON *curves = NULL;
    keel_buf text = {0};
    read_run(&run);
    assert_int_equal(keel_report_curves(&run, "train", &curves, NULL), KEEL_OK);
    assert_int_equal(keel_json_print(curves, false, &text, NULL), KEEL_OK);
    assert_string_equal(text.data, "[{\"name\":\"td\",\"lines\":[{\"name\":\"CQL\",\"points\":[[1,4,2],[2,4,"
                                   "1],[3,1,1]],\"place\":0}]}]");
    keel_buf_free(&text);
    cJSON_Delete(curves);
    keel_run_folder_free(&run);
}

static void nothing_that_was_logged_becomes_markup(void **state) {
    (void)state;
    keel_run_folder run;
    keel_buf html = {0};
    read_run(&run);
    assert_int_equal(keel_report_html(&run, &html, NULL), KEEL_OK);
    const char *own = strstr(html.data, "<script"); /* the page's own ends it */
    assert_non_null(own);
    assert_memory_equal(own, "<script>// Tables sort", 22);
    assert_null(strstr(own + 1, "<script"));
    assert_null(strstr(html.data, "<img"));
    assert_null(strstr(html.data, "gpt<4>"));
    assert_null(strchr(html.data, '\033'));
    assert_non_null(strstr(html.data, "&lt;img src=x"));
    assert_non_null(strstr(html.data, "a &amp; b"));
    assert_false(keel_file_exists("pwned"));
    keel_buf_free(&html);
    keel_run_folder_free(&run);
}

static void without_gnuplot_the_numbers_stand_in_tables(void **state) {
    (void)state;
    keel_run_folder run;
    keel_buf html = {0};
    char *path = keel_strdup(getenv("PATH"));
    read_run(&run);
    setenv("PATH", "/nowhere", 1);
    assert_int_equal(keel_report_html(&run, &html, NULL), KEEL_OK);
    setenv("PATH", path, 1);
    assert_null(strstr(html.data, "<svg"));
    assert_non_null(strstr(html.data, "gnuplot was not found"));
    assert_non_null(strstr(html.data, "Each part of the loss at three steps"));
    assert_non_null(strstr(html.data, "role=rowheader>td</th>"));
    keel_free(path);
    keel_buf_free(&html);
    keel_run_folder_free(&run);
}

static void the_same_run_gives_the_same_page(void **state) {
    (void)state;
    keel_buf html[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        keel_run_folder run;
        read_run(&run);
        assert_int_equal(keel_report_html(&run, &html[i], NULL), KEEL_OK);
        keel_run_folder_free(&run);
    }
    assert_int_equal(html[0].length, html[1].length);
    assert_memory_equal(html[0].data, html[1].data, html[0].length);
    keel_buf_free(&html[0]);
    keel_buf_free(&html[1]);
}

static int make(void **state) {
    (void)state;
    if (!scratch_make(folder, "report") || keel_folder_make(scratch_path(folder, "steps"), NULL) != KEEL_OK)
        return -1;
    put_run();
    return 0;
}

static int clear(void **state) {
    (void)state;
    return keel_folder_remove(folder, NULL) == KEEL_OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluations_of_one_group_share_a_table),
        cmocka_unit_test(curves_of_one_title_are_averaged_step_by_step),
        cmocka_unit_test(nothing_that_was_logged_becomes_markup),
        cmocka_unit_test(without_gnuplot_the_numbers_stand_in_tables),
        cmocka_unit_test(the_same_run_gives_the_same_page),
    };
    return cmocka_run_group_tests(tests, make, clear);
}
