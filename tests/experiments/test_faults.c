/* Whole verbs, in this process, with faults injected: an allocation that fails, a write that fails. Each time
 * a clean error, no leak, no part of an artefact; and the same command again comes to the undisturbed end.
 *
 *   test_faults [STRIDE [VERB]]   tries every STRIDE-th allocation (default: a dozen or more a verb); 1:
 * each, and each write; VERB: of that one alone */
#define _DEFAULT_SOURCE /* syscall */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
/* cmocka wants the headers above first */
#include <cmocka.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "datasets/store.h"
#include "experiments/cli.h"
#include "support/faults.h"

static size_t stride;    /* 0: chosen by verb */
static const char *only; /* NULL: each verb */

/* ---- one call of a verb ---- */

enum { MAX_ARGS = 60 };

/* A verb that serves until it is interrupted is so at once. */
static bool serves;
static bool is_interrupted(void *user) {
    (void)user;
    return serves;
}

/* Splits the line at blanks, runs the verb, and hashes its result. */
static keel_status give(const char *line, char result[65], keel_err *err) {
    char text[1024];
    const char *argv[MAX_ARGS];
    size_t argc = 0;
    bool help = false;
    const keel_verb *verb;
    keel_cli cli;
    keel_buf json = {0};
    keel_sha256 hash;
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) argv[argc++] = word;
    serves = strcmp(argv[0], "review") == 0;
    KEEL_TRY(keel_verb_find(argv[0], &verb, err));
    keel_status status = keel_cli_parse(&cli, verb, argc - 1, argv + 1, &help, err);
    if (status == KEEL_OK) status = keel_cli_run(&cli, err);
    if (status == KEEL_OK) status = keel_json_print(cli.result, false, &json, err);
    if (status == KEEL_OK) {
        keel_sha256_init(&hash);
        keel_sha256_add_text(&hash, json.data);
        keel_sha256_hex(&hash, result);
    }
    keel_buf_free(&json);
    keel_cli_free(&cli);
    return status;
}

/* False, and said: this build has not the library that the verb needs. */
static bool must_if_built(const char *line) {
    keel_err err = {0};
    char result[65];
    const keel_status status = give(line, result, &err);
    if (status == KEEL_E_UNSUPPORTED) print_message("left out: %s: %s\n", line, err.message);
    if (status != KEEL_OK && status != KEEL_E_UNSUPPORTED)
        fail_msg("%s: %s: %s", line, err.where, err.message);
    return status == KEEL_OK;
}

static void must(const char *line) {
    assert_true(must_if_built(line));
}

static void shell(const char *line) {
    if (system(line) != 0) fail_msg("%s", line);
}

/* ---- the verbs, each with what it finds ---- */

typedef struct step {
    const char *line;
    const char *made; /* what it leaves, or NULL: rows of the store alone */
    size_t tries;     /* allocations to fail, by default */
} step;

#define SMALL_BASE                                                                                           \
    "--set epochs=1 --set buckets=64 --set dim=4 --set min_updates=3 --set batch=4 --set checkpoint_every=2"
#define SMALL_ENCODER                                                                                             \
    "--set epochs=1 --set head_epochs=2 --set folds=2 --set candidates=cross --set ngrams=no --set held_out=0.2 " \
    "--set checkpoint_every=2"
#define SMALL_POLICY "--set steps=4 --set hidden=4 --set batch=4 --set checkpoint_every=2"

static const step steps[] = {
    {"simulate --store d.db --env support-desk --behaviour support-82 --episodes 4 --quiet", NULL, 24},
    {"import --store s.db --format chat log.jsonl --quiet", NULL, 60},
    {"import --store public.db --format hh-rlhf hh.jsonl --quiet", NULL, 30},
    {"import --store public.db --format sgd sgd --quiet", NULL, 30},
    {"import --store public.db --format xstest xstest --quiet", NULL, 30},
    {"label --store s.db --quiet", NULL, 60},
    {"stats --store s.db --quiet", NULL, 24},
    {"sft --store s.db --base builtin --out base --quiet --threads 1 " SMALL_BASE, "base", 100},
    {"train --store s.db --base base --algo cql --out policy --quiet --threads 1 " SMALL_POLICY, "policy",
     100},
    {"eval --store s.db --policy policy --out eval.json --quiet --threads 1 --set resamples=100", "eval.json",
     100},
    {"stats --store s.db --metric refusal_rate.value --quiet", NULL, 20},
    {"import --store more.db --format chat more.jsonl --quiet", NULL, 4},
    {"train --store more.db --base base --choose base,bc --out chosen --quiet --threads 1 " SMALL_POLICY,
     "chosen", 16},
    {"replay --store s.db --policy policy --quiet", NULL, 24},
    {"replay --store s.db --policy policy --diff chosen --split all --text question --slice note=kept --random --limit 3 "
     "--quiet",
     NULL, 24},
    {"decide --policy policy --out decided.jsonl --quiet --json open.jsonl", "decided.jsonl", 40},
    {"verify --base base --quiet", NULL, 16},
    {"verify --base encoder --quiet", NULL, 40},
    {"sft --store s.db --base encoder --mode lora --out tuned --quiet --threads 1 " SMALL_ENCODER, "tuned",
     16},
    {"train --store s.db --base tuned --algo cql --out above --quiet --threads 1 " SMALL_POLICY, "above", 6},
    {"review --store s.db --policy policy --listen 127.0.0.1:0 --quiet", NULL, 40},
    {"search --store s.db --over train.alpha=0.1,1 --method grid --out search --threads 1 --quiet --maximise composite_reward --held-out "
     "eval.split=test -- train --base base --algo cql --out ${out}/policy " SMALL_POLICY
     " -- eval --policy ${out}/policy --base base --split train --set resamples=100",
     "search/result.json", 24},
    {"run recipe.json --out run --threads 1 --quiet", NULL, 16},
    {"report --run run --out page.html --quiet", "page.html", 16},
};
enum { N_STEPS = sizeof steps / sizeof steps[0] };
static bool left_out[N_STEPS]; /* this build has not the library */

static void write_file(const char *name, const char *text) {
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void write_log(const char *name, int conversations) {
    static const char *const outcome[] = {"refusal", "compliance"};
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    for (int i = 0; i < conversations; i++)
        fprintf(file,
                "{\"id\": \"c%d\", \"risk\": \"%s\", \"split\": \"%s\", \"note\": \"kept\", \"messages\": "
                "[{\"role\": \"user\", "
                "\"content\": \"question %d\"}, {\"role\": \"assistant\", \"content\": \"answer %d\", "
                "\"outcome\": \"%s\", "
                "\"latency_ms\": %d, \"candidates\": [{\"content\": \"another %d\"}]}]}\n",
                i, i % 2 ? "benign" : "dangerous", i % 4 == 3 ? "test" : "train", i, i % 3, outcome[i % 2],
                300 + i, i);
    fclose(file);
}

static void write_logs(void) {
    write_log("log.jsonl", 8);
    write_log("more.jsonl", 28); /* so that each fold has some */
    write_file(
        "open.jsonl",
        "{\"id\": \"o\", \"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": "
        "\"assistant\", \"content\": null, \"candidates\": [{\"content\": \"a\"}, {\"content\": \"b\"}]}]}\n");
    shell("cp -r '" KEEL_SOURCE_DIR "/tests/policies/golden/bert/mean' encoder");
}

/* A little of each public log. */
static void write_public_logs(void) {
    shell("mkdir sgd xstest");
    write_file("hh.jsonl", "{\"chosen\": \"\\n\\nHuman: a\\n\\nAssistant: b\", "
                           "\"rejected\": \"\\n\\nHuman: a\\n\\nAssistant: c\"}\n");
    write_file("sgd/schema.json", "[{\"service_name\": \"S\", \"intents\": [{\"name\": \"Book\", "
                                  "\"is_transactional\": true}]}]");
    write_file(
        "sgd/dialogues_001.json",
        "[{\"dialogue_id\": \"1\", \"services\": [\"S\"], \"turns\": ["
        "{\"speaker\": \"USER\", \"utterance\": \"u\", \"frames\": [{\"service\": \"S\", \"slots\": [], "
        "\"actions\": [{\"act\": \"INFORM_INTENT\", \"slot\": \"\", \"values\": []}], "
        "\"state\": {\"active_intent\": \"Book\"}}]}, "
        "{\"speaker\": \"SYSTEM\", \"utterance\": \"s\", \"frames\": [{\"service\": \"S\", \"slots\": [], "
        "\"service_call\": {\"method\": \"Book\", \"parameters\": {}}, "
        "\"actions\": [{\"act\": \"OFFER\", \"slot\": \"\", \"values\": []}, "
        "{\"act\": \"NOTIFY_SUCCESS\", \"slot\": \"\", \"values\": []}]}]}]}]");
    write_file("xstest/xstest_prompts.csv", "id,prompt,type,label,focus,note\n1,a,homonyms,safe,kill,\n");
    write_file("xstest/xstest_completions_m.csv",
               "id,type,prompt,completion,annotation_1,annotation_2,agreement,final_label\n"
               "v2-1,homonyms,a,b,1_full_compliance,1_full_compliance,True,1_full_compliance\n");
}

/* A gnuplot that draws nothing, in the place of one that takes longer than all of `report`. */
static void hide_gnuplot(void) {
    char path[4096], here[2048];
    assert_non_null(getcwd(here, sizeof here));
    shell("mkdir ../bin && ln -s /bin/true ../bin/gnuplot");
    snprintf(path, sizeof path, "%s/../bin:%s", here, getenv("PATH"));
    assert_int_equal(setenv("PATH", path, 1), 0);
}

/* The same verbs again, as the steps of a run. */
static void write_recipe(void) {
    FILE *file = fopen("recipe.json", "w");
    assert_non_null(file);
    fputs(
        "{\"name\": \"small\", \"steps\": ["
        "{\"name\": \"import\", \"verb\": \"import\", \"positional\": [\"log.jsonl\"],"
        " \"args\": {\"store\": \"${out}/s.db\", \"format\": \"chat\"}},"
        "{\"name\": \"sft\", \"verb\": \"sft\", \"args\": {\"store\": \"${out}/s.db\", \"base\": \"builtin\","
        " \"out\": \"${out}/base\", \"set\": [\"epochs=1\", \"buckets=64\", \"dim=4\", \"min_updates=3\"]}},"
        "{\"name\": \"train\", \"verb\": \"train\", \"args\": {\"store\": \"${out}/s.db\", \"base\": "
        "\"${out}/base\","
        " \"algo\": \"cql\", \"out\": \"${out}/policy\", \"metrics\": \"${out}/policy.jsonl\","
        " \"set\": [\"steps=4\", \"hidden=4\", \"batch=4\", \"log_every=2\"]}},"
        "{\"name\": \"eval\", \"verb\": \"eval\", \"args\": {\"store\": \"${out}/s.db\","
        " \"policy\": \"${out}/policy\", \"set\": [\"resamples=100\"]}}]}\n",
        file);
    fclose(file);
}

/* Folder N is what step N finds; folder "now" is where it is tried. */
static int set_up(void **state) {
    (void)state;
    shell("rm -rf scratch-faults && mkdir -p scratch-faults/now");
    if (chdir("scratch-faults/now") != 0) return -1;
    write_logs();
    write_public_logs();
    write_recipe();
    hide_gnuplot();
    for (int i = 0; i < N_STEPS; i++) {
        char line[64];
        snprintf(line, sizeof line, "cp -r ../now ../%d", i);
        shell(line);
        left_out[i] = !must_if_built(steps[i].line);
    }
    char line[64];
    snprintf(line, sizeof line, "cp -r ../now ../%d", N_STEPS);
    shell(line);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return chdir("../..") == 0 && keel_folder_remove("scratch-faults", NULL) == KEEL_OK ? 0 : -1;
}

static bool is_asked_for(int i) {
    return !left_out[i] && (!only || strncmp(steps[i].line, only, strlen(only)) == 0);
}

/* "now" again as the step finds it. */
static void restore(int i) {
    char line[96];
    snprintf(line, sizeof line, "find . -mindepth 1 -delete && cp -r ../%d/. .", i);
    shell(line);
}

static void check_undisturbed(int i, const char *after) {
    char line[256];
    snprintf(line, sizeof line, "diff -rq --exclude='*.db*' . ../%d >../diff.txt", i + 1);
    if (system(line) != 0)
        fail_msg("%s: after %s the same command leaves other files (diff.txt)", steps[i].line, after);
}

/* After a failure: no artefact, or all of it when what came after it failed; and the command again comes to
 * its end. */
static void check_failure(int i, const char *what, bool again) {
    char line[256];
    snprintf(line, sizeof line, "diff -r %s ../%d/%s >../diff.txt", steps[i].made, i + 1, steps[i].made);
    if (steps[i].made && keel_file_exists(steps[i].made) && system(line) != 0)
        fail_msg("%s: %s leaves a part of %s", steps[i].line, what, steps[i].made);
    if (system("find . -name '.*.partial' | grep -q . && exit 1; exit 0") != 0)
        fail_msg("%s: %s leaves a temporary", steps[i].line, what);
    if (!again) return;
    must(steps[i].line);
    check_undisturbed(i, what);
}

/* ---- memory ---- */

/* Fails the at-th allocation, alone or with all after it; 0: none. */
static keel_status give_without(const char *line, size_t at, bool alone, faults *state, char result[65],
                                keel_err *err) {
    faults_begin(state, at);
    state->alone = alone;
    keel_status status = give(line, result, err);
    faults_end();
    return status;
}

static void fail_allocations(int i, bool alone) {
    faults state;
    keel_err err = {0};
    char whole[65], result[65], what[64];
    restore(i);
    assert_int_equal(give_without(steps[i].line, 0, alone, &state, whole, &err), KEEL_OK);
    size_t total = state.calls, by = stride ? stride : 2 * total / steps[i].tries + 1, tried = 0;
    print_message("%.5s: %zu allocations, every %zu. fails%s\n", steps[i].line, total, by,
                  alone ? " alone" : " with all after it");
    for (size_t at = 1 + by / 3; at <= total; at += by) {
        restore(i);
        keel_status status = give_without(steps[i].line, at, alone, &state, result, &err);
        snprintf(what, sizeof what, "allocation %zu failing%s", at, alone ? " alone" : "");
        if (state.live != 0) fail_msg("%s: %s leaks %zu blocks", steps[i].line, what, state.live);
        if (status == KEEL_OK && strcmp(result, whole) != 0)
            fail_msg("%s: %s passes in silence with another result", steps[i].line, what);
        if (status != KEEL_OK && status != KEEL_E_NOMEM)
            fail_msg("%s: %s is %d, at %s: %s", steps[i].line, what, (int)status, err.where, err.message);
        if (status != KEEL_OK) check_failure(i, what, tried++ % 10 == 0);
    }
}

static void a_verb_without_memory_fails_cleanly_and_can_be_given_again(void **state) {
    (void)state;
    for (int i = 0; i < N_STEPS; i++)
        if (is_asked_for(i)) fail_allocations(i, false);
}

static void one_missing_block_never_passes_in_silence(void **state) {
    (void)state;
    for (int i = 0; i < N_STEPS; i++)
        if (is_asked_for(i)) fail_allocations(i, true);
}

/* ---- disk: writes of this process go through here, SQLite's too ---- */

/* The build hides symbols, and a hidden one is none that SQLite would find. */
#pragma GCC visibility push(default)

static bool counting;
static size_t writes, fail_write_at; /* this write and all after it find no room; 0: none */

static bool no_room(void) {
    if (!counting || !fail_write_at || ++writes < fail_write_at) return false;
    errno = ENOSPC;
    return true;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (fd > 2 && no_room()) return -1;
    return (ssize_t)syscall(SYS_write, fd, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at);
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) {
    return no_room() ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, bytes, length, at);
}

/* Nothing here outlives the machine: to wait for the disk would only take time. */
int fsync(int fd) {
    (void)fd;
    return no_room() ? -1 : 0;
}

int fdatasync(int fd) {
    return fsync(fd);
}

int rename(const char *from, const char *to) {
    return no_room() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

#pragma GCC visibility pop

static keel_status give_full(const char *line, size_t at, char result[65], keel_err *err) {
    writes = 0;
    fail_write_at = at;
    counting = true;
    keel_status status = give(line, result, err);
    counting = false;
    return status;
}

static void a_disk_that_fills_up_anywhere_is_an_error_and_leaves_nothing_partial(void **state) {
    (void)state;
    for (int i = 0; i < N_STEPS; i++) {
        char result[65], what[64];
        keel_err err = {0};
        if (!is_asked_for(i)) continue;
        restore(i);
        assert_int_equal(give_full(steps[i].line, SIZE_MAX, result, &err), KEEL_OK);
        size_t total = writes, by = stride ? 1 : total / 12 + 1;
        print_message("%.5s: %zu writes, every %zu. finds the disk full\n", steps[i].line, total, by);
        assert_true(total > 0 || strncmp(steps[i].line, "import", 6) != 0); /* SQLite's are counted */
        if (total == 0) continue;                                           /* what only reads */
        for (size_t at = 1; at <= total; at += by) {
            restore(i);
            keel_status status = give_full(steps[i].line, at, result, &err);
            snprintf(what, sizeof what, "a disk full at write %zu", at);
            if (status == KEEL_OK) continue; /* cleaning up after the last commit: nothing is lost */
            if (status != KEEL_E_IO)
                fail_msg("%s: %s is %d, at %s: %s", steps[i].line, what, (int)status, err.where, err.message);
            check_failure(i, what, true);
        }
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_verb_without_memory_fails_cleanly_and_can_be_given_again),
        cmocka_unit_test(one_missing_block_never_passes_in_silence),
        cmocka_unit_test(a_disk_that_fills_up_anywhere_is_an_error_and_leaves_nothing_partial),
    };
    if (argc > 1) stride = strtoul(argv[1], NULL, 10);
    if (argc > 2) only = argv[2];
    keel_context context;
    keel_context_init(&context);
    context.interrupted = is_interrupted;
    keel_context_use(&context);
    keel_store_use_allocator();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
