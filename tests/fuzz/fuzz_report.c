/* The report of a run folder: run.json, two steps ("a", "b") and a file of metrics ("${out}/m.jsonl").
 * Whatever they say, the page is text without markup of theirs. An eighth of the inputs also writes gnuplot's
 * scripts. */
#include <sys/stat.h>

#include "core/text.h"
#include "experiments/html.h"
#include "experiments/report/report.h"
#include "fuzz.h"
#include "no_sync.h"

/* A PATH with a gnuplot that draws nothing, or with none. */
static void choose_gnuplot(bool there) {
    static bool made;
    if (!made && symlink("/bin/true", fuzz_path("gnuplot")) != 0) abort();
    made = true;
    setenv("PATH", there ? fuzz_folder() : "/nowhere", 1);
}

static void check_page(const keel_buf *html) {
    FUZZ_CHECK(keel_utf8_valid_prefix(html->data, html->length) == html->length);
    const char *own = strstr(html->data, "<script>"); /* the page's only script ends it */
    FUZZ_CHECK(own && strncmp(own + 8, (const char *)keel_embedded_report_js,
                              strlen((const char *)keel_embedded_report_js)) == 0);
    FUZZ_CHECK(strstr(html->data, "<script") == own && !strstr(own + 1, "<script"));
    FUZZ_CHECK(!strstr(html->data, "<x") && !strstr(html->data, "<img"));
    for (size_t i = 0; i < html->length; i++)
        FUZZ_CHECK((unsigned char)html->data[i] >= ' ' || html->data[i] == '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"run/run.json", "run/steps/a.json", "run/steps/b.json",
                                        "run/m.jsonl"};
    fuzz_part parts[4];
    keel_run_folder folder = {0};
    keel_buf html = {0};
    size_t n = fuzz_parts(data, size, parts, 4);
    mkdir(fuzz_path("run"), 0700);
    mkdir(fuzz_path("run/steps"), 0700);
    for (size_t i = 0; i < 4; i++) {
        if (i < n)
            fuzz_put(names[i], parts[i].data, parts[i].size);
        else
            unlink(fuzz_path(names[i]));
    }
    choose_gnuplot(size % 8 == 0);
    if (fuzz_ok(keel_run_folder_read(&folder, fuzz_path("run"), &fuzz_err)) &&
        fuzz_ok(keel_report_html(&folder, &html, &fuzz_err)))
        check_page(&html);
    keel_run_folder_free(&folder);
    keel_buf_free(&html);
    return 0;
}
