/* keel decide: what a policy answers, without a store.
 *
 *  1. Opens the policy with its base, and the log, or lines of text (--text).
 *  2. Asks the policy at each open decision: where a conversation ends with somebody waiting for an answer.
 *  3. Prints each as it is decided, as a table or as a line of JSON, on standard output or into --out.
 *
 * One conversation is in memory at a time.
 */
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/log.h"
#include "core/text.h"
#include "datasets/reader.h"
#include "experiments/choice_view.h"
#include "experiments/cli_choice.h"
#include "experiments/cli_policy.h"
#include "experiments/decision.h"
#include "experiments/table.h"
#include "experiments/verbs.h"

static const keel_flag flags[] = {
    {"--policy", "DIR", true, false, "the policy that is asked"},
    {"--base", "DIR", false, false, "its base (default: the folder beside it that holds it)"},
    {"--weights", "A,S,S", false, false, KEEL_WEIGHTS_HELP},
    KEEL_FLAG_THRESHOLD,
    KEEL_FLAG_UNFAMILIAR,
    {"--format", "NAME", false, false, "format of the log (default: the one that it looks like)"},
    {"--text", NULL, false, false, "no log: each line that is not blank is what a user says"},
    {"--skip-bad", "N", false, false,
     "go on after up to N lines that cannot be read or decided; name them (default: 0)"},
    {"--out", "FILE", false, false,
     "lines of JSON into this file, gzipped if its name ends in .gz (default: standard output)"},
    KEEL_FLAG_END,
};

static const keel_flag_choices choices[] = {{"--format", keel_formats_names}, {NULL, NULL}};

typedef struct deciding {
    const keel_policy *policy;
    const keel_base *base;
    keel_source *text;   /* with --text; owned */
    keel_reader *reader; /* else; owned */
    keel_file_writer *to;
    bool json;
    keel_arena arena, scratch;
    keel_buf line;
    int64_t skip_bad;
    int64_t decided, fallbacks, unfamiliar, answered, skipped, apart;
    int64_t alone; /* without candidates: nothing to choose among but the fixed answers */
} deciding;

/* ---- what is to be decided ---- */

/* The next line as a conversation of one turn; NULL at the end. */
static keel_status next_text(deciding *work, keel_read *out, keel_err *err) {
    char *line, place[400];
    size_t length, number;
    *out = (keel_read){0};
    do {
        KEEL_TRY(keel_source_line(work->text, &line, &length, &number, err));
        if (!line) return KEEL_OK;
    } while (strspn(line, " \t\r") == length);
    snprintf(place, sizeof place, "%s:%zu", keel_source_name(work->text), number);
    keel_conversation *c = keel_arena_calloc(&work->arena, 1, sizeof *c);
    keel_turn *turn = keel_arena_calloc(&work->arena, 1, sizeof *turn);
    out->where = keel_arena_strdup(&work->arena, place);
    if (!c || !turn || !out->where) return keel_nomem(err, place);
    if (strlen(line) != length || keel_utf8_valid_prefix(line, length) != length)
        return keel_fail(err, KEEL_E_PARSE, out->where, "the line is not UTF-8 text");
    *turn = (keel_turn){.role = KEEL_ROLE_USER, .text = line};
    *c = (keel_conversation){.source = "text", .external_id = out->where, .n_turns = 1, .turns = turn};
    out->conversation = c;
    return KEEL_OK;
}

/* ---- what comes out ---- */

static void print_decision(const cJSON *json, FILE *out) {
    keel_print_line(out, keel_json_get(json, "where")->valuestring, 100);
    fprintf(out, ", turn %.0f%s%s\nuser: ", keel_json_get(json, "turn")->valuedouble,
            cJSON_IsTrue(keel_json_get(json, "unfamiliar")) ? ", unfamiliar" : "",
            cJSON_IsTrue(keel_json_get(json, "fallback")) ? ", fallback" : "");
    keel_print_line(out, keel_json_get(json, "user")->valuestring, 200);
    fputc('\n', out);
    keel_choice_view_print(keel_json_get(json, "actions"), out);
    keel_choice_view_print_why(keel_json_get(json, "why"), out);
    fputc('\n', out);
}

static void print_bad(const cJSON *json, FILE *out) {
    fputs("skipped: ", out);
    keel_print_text(out, keel_json_get(json, "where")->valuestring);
    fputs(": ", out);
    keel_print_text(out, keel_json_get(json, "error")->valuestring);
    fputs("\n\n", out);
}

typedef void print_json(const cJSON *json, FILE *out);

static keel_status put_text(deciding *work, const cJSON *json, print_json *print, keel_err *err) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out) return keel_nomem(err, "a table");
    print(json, out);
    const bool whole = fclose(out) == 0;
    keel_status status =
        whole ? keel_file_writer_add(work->to, text, length, err) : keel_nomem(err, "a table");
    free(text);
    return status;
}

/* A line of JSON, or what print makes of it. */
static keel_status put_json(deciding *work, const cJSON *json, print_json *print, keel_err *err) {
    if (!work->json) return put_text(work, json, print, err);
    keel_buf_clear(&work->line);
    KEEL_TRY(keel_json_print(json, false, &work->line, err));
    keel_buf_text(&work->line, "\n");
    if (work->line.failed) return keel_nomem(err, "a line of JSON");
    return keel_file_writer_add(work->to, work->line.data, work->line.length, err);
}

/* ---- deciding ---- */

static keel_status decide(deciding *work, const keel_read *read, keel_err *err) {
    keel_choice choice;
    cJSON *json = NULL;
    size_t place;
    KEEL_TRY(keel_decision_find(read->conversation, &work->arena, &place, err));
    work->answered += place == SIZE_MAX;
    if (place == SIZE_MAX) return KEEL_OK;
    KEEL_TRY(keel_decision_make(work->policy, work->base, read, place, &work->scratch, &choice, &json, err));
    work->decided++;
    work->fallbacks += choice.fallback;
    work->unfamiliar += choice.unfamiliar;
    work->apart += read->merge;
    work->alone +=
        work->base->space == KEEL_SPACE_CANDIDATES && read->conversation->decisions[place].n_candidates == 0;
    keel_status status = put_json(work, json, print_decision, err);
    cJSON_Delete(json);
    return status;
}

/* In place of a decision: {"where", "error"}. */
static keel_status put_bad(deciding *work, const keel_err *bad, keel_err *err) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "where", bad->where);
    cJSON_AddStringToObject(json, "error", bad->message);
    keel_status status = json && json->child && json->child->next ? put_json(work, json, print_bad, err)
                                                                  : keel_nomem(err, bad->where);
    cJSON_Delete(json);
    return status;
}

/* A line that cannot be decided is named and passed over, while there are few of them. */
static keel_status pass_over(deciding *work, const keel_err *bad, keel_err *err) {
    if (work->skipped == work->skip_bad) {
        *err = *bad;
        if (!work->skip_bad) {
            char cure[sizeof err->hint];
            memcpy(cure, err->hint, sizeof cure);
            keel_hint(err, "%.200s%s--skip-bad N goes on after up to N such lines", cure,
                      cure[0] ? "; " : "");
        }
        return bad->code;
    }
    work->skipped++;
    return put_bad(work, bad, err);
}

static keel_status decide_next(deciding *work, bool *end, keel_err *err) {
    keel_read read;
    keel_err bad = {0};
    keel_arena_reset(&work->arena);
    if (keel_interrupted())
        return keel_fail(err, KEEL_E_INTERRUPTED, "decide", "stopped after %lld decisions",
                         (long long)work->decided);
    keel_status status =
        work->text ? next_text(work, &read, &bad) : keel_reader_next(work->reader, &work->arena, &read, &bad);
    if (status == KEEL_OK && read.bad) return pass_over(work, read.bad, err);
    *end = status == KEEL_OK && !read.conversation;
    if (status == KEEL_OK && !*end) status = decide(work, &read, &bad);
    if (status == KEEL_OK) return KEEL_OK;
    bad.code = status;
    const bool bad_line = status == KEEL_E_PARSE && (work->text || !work->skip_bad);
    if (status == KEEL_E_INVALID || bad_line) return pass_over(work, &bad, err);
    *err = bad;
    return status;
}

/* ---- the verb ---- */

static keel_status open_log(keel_cli *cli, deciding *work, keel_err *err) {
    const char *const *paths, *name = keel_cli_value(cli, "--format");
    const keel_format *format = NULL;
    keel_source *source;
    size_t count;
    KEEL_TRY(keel_cli_values(cli, NULL, &paths, &count, err));
    if (name && keel_cli_has(cli, "--text"))
        return keel_fail(err, KEEL_E_USAGE, "--text", "excludes --format");
    if (name) KEEL_TRY(keel_formats_find(name, &format, err));
    KEEL_TRY(strcmp(paths[0], "-") == 0 ? keel_source_open_stream(&source, 0, "standard input", err)
                                        : keel_source_open(&source, paths[0], err));
    if (keel_cli_has(cli, "--text"))
        work->text = source;
    else
        KEEL_TRY(keel_reader_open(&work->reader, format, source, err));
    if (work->reader) work->reader->skip_bad = work->skip_bad > 0;
    return KEEL_OK;
}

static keel_status decide_all(keel_cli *cli, deciding *work, keel_err *err) {
    const char *path = keel_cli_value(cli, "--out");
    const size_t length = path ? strlen(path) : 0;
    bool end = false;
    KEEL_TRY(open_log(cli, work, err));
    work->json = path || keel_cli_has(cli, "--json");
    KEEL_TRY(
        keel_file_writer_open(&work->to, path, length > 3 && strcmp(path + length - 3, ".gz") == 0, err));
    keel_status status = KEEL_OK;
    while (status == KEEL_OK && !end) status = decide_next(work, &end, err);
    if (status == KEEL_OK) return keel_file_writer_commit(work->to, err);
    keel_file_writer_abandon(work->to);
    return status;
}

static void tell(keel_cli *cli, const deciding *work) {
    const char *path = keel_cli_value(cli, "--out");
    if (!path)
        keel_log(KEEL_LOG_INFO, "decided %lld, %lld by fallback, %lld unfamiliar", (long long)work->decided,
                 (long long)work->fallbacks, (long long)work->unfamiliar);
    if (work->answered)
        keel_log(KEEL_LOG_INFO, "note: left out %lld conversations whose last message is an answer",
                 (long long)work->answered);
    if (work->skipped) keel_log(KEEL_LOG_INFO, "note: skipped %lld lines", (long long)work->skipped);
    if (work->alone)
        keel_log(
            KEEL_LOG_INFO,
            "note: %lld conversations bring no candidates, so the policy could only give a fixed answer of its "
            "base: name candidates (`keel decide --help`), or have them written (`keel chat --writer`, `keel "
            "serve`)",
            (long long)work->alone);
    if (work->apart)
        keel_log(KEEL_LOG_INFO,
                 "note: rows and files that each hold one model's answer are decided one by one; to choose "
                 "among their answers, import them and use `keel replay`");
    if (!path) return;
    cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(cli->result, "out", path);
    cJSON_AddNumberToObject(cli->result, "decided", (double)work->decided);
    cJSON_AddNumberToObject(cli->result, "fallbacks", (double)work->fallbacks);
    cJSON_AddNumberToObject(cli->result, "unfamiliar", (double)work->unfamiliar);
    cJSON_AddNumberToObject(cli->result, "answered", (double)work->answered);
    cJSON_AddNumberToObject(cli->result, "skipped", (double)work->skipped);
}

static keel_status run(keel_cli *cli, keel_err *err) {
    deciding work = {0};
    keel_policy *policy = NULL;
    keel_base *base = NULL;
    keel_status status;
    KEEL_TRY(keel_cli_integer(cli, "--skip-bad", 0, 1000000000, &work.skip_bad, err));
    KEEL_TRY_GOTO(keel_cli_open_chooser(cli, &policy, &base, err), done);
    work.policy = policy;
    work.base = base;
    KEEL_TRY_GOTO(decide_all(cli, &work, err), done);
    tell(cli, &work);
    status = KEEL_OK;
done:
    keel_reader_close(work.reader);
    keel_source_close(work.text);
    keel_arena_free(&work.arena);
    keel_arena_free(&work.scratch);
    keel_buf_free(&work.line);
    keel_policy_close(policy);
    keel_base_close(base);
    return status;
}

static void print(const cJSON *result, FILE *out) {
    fprintf(out, "%s: %.0f decisions, %.0f by fallback, %.0f unfamiliar\n",
            keel_json_get(result, "out")->valuestring, keel_json_get(result, "decided")->valuedouble,
            keel_json_get(result, "fallbacks")->valuedouble,
            keel_json_get(result, "unfamiliar")->valuedouble);
}

const keel_verb keel_verb_decide = {
    .name = "decide",
    .brief = "answer open conversations or new prompts with a policy, without a store",
    .flags = flags,
    .choices = choices,
    .words = "FILE",
    .words_min = 1,
    .words_max = 1,
    .more =
        "FILE is a log in any format that `keel import` reads, or - for standard input. A conversation is decided if it waits for an\n"
        "answer: its last message is a user's or a tool's, or an assistant's that has `candidates` and no content. Other conversations\n"
        "are left out and counted. A policy over candidates needs candidates; a policy over acts or outcomes names the act.\n"
        "--json prints a line of JSON for each decision: says, action, fallback, and for each action its probability, its Q of each\n"
        "component and its prior.\n"
        "example: keel decide --policy runs/policy --json waiting.jsonl\n",
    .run = run,
    .print = print,
};
