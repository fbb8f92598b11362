#include "datasets/formats.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/text.h"
#include "datasets/csv.h"
#include "datasets/reader_internal.h"
#include "datasets/reshape.h"

/* X(id, name, what it is, patterns of file names, counts): its reader is keel__<id>_reader. The first one
 * that looks like a source is taken; the very first is the chat format. */
/* clang-format off */
#define ROWS_COUNTS \
    {{"without_prompt", "rows that have no prompt: left out"}, {"without_answer", "rows that have no answer: kept, nothing in them can be learned"}, \
     {"unclear", "rows whose risk, outcome or feedback is no word that Keel knows: the word is kept in meta, and what it says is unknown"}}
#define TREE_COUNTS \
    {{"other_branches", "messages on other branches, which are no candidates"}, {"empty", "conversations in which nothing was said"}}
#define FORMATS(X) \
    X(chat, "chat", "JSON Lines or a JSON array of {\"messages\": [{\"role\", \"content\"}, ...]}", {"*.jsonl", "*.json", "*.ndjson"}, \
      {{"service_refusals", "answers that the service itself marked as refusals"}, \
       {"cut_off", "answers that the service cut off at a limit of length"}, \
       {"context_only", "answers with weight 0: kept as context, not as decisions"}, \
       {"misplaced", "conversations with keys that mean nothing where they stand: reward, latency_ms, feedback, propensity, outcome" \
        " belong to an assistant's message, risk and completed to the conversation"}, \
       {"unanswered", "conversations without an answer: nothing in them can be learned or judged"}}) \
    X(tau_bench, "tau-bench", "results of tau-bench: a JSON array of {\"task_id\", \"reward\", \"traj\"}", {"*.json"}, \
      {{"crashed", "trials that crashed: left out, since neither their end nor their reward is known"}, \
       {"must_not_act", "conversations of tasks in which the agent must not change anything"}, \
       {"forbidden_writes", "of those, conversations in which it did"}}) \
    X(tau2, "tau2", "results of tau2-bench: a JSON object with info, tasks and simulations", {"*.json"}, \
      {{"crashed", "simulations that crashed: left out, since neither their end nor their reward is known"}, \
       {"must_not_act", "conversations of tasks in which the agent must not change anything"}, \
       {"forbidden_writes", "of those, conversations in which it did"}, \
       {"actions_differ", "simulations whose checked actions are not those of their task: their task_id may be wrong, so their risk is left unknown"}, \
       {"in_files", "simulations that results.json lists and that lie in simulations/: import the folder"}}) \
    X(promptfoo, "promptfoo", "results of promptfoo: results.json, or one result a line", {"*.json", "*.jsonl"}, \
      {{"errors", "results without an answer, or that failed with an error: left out"}, \
       {"repeated", "answers that repeat one of the same provider to the same prompt: counted once"}}) \
    X(inspect, "inspect", "logs of Inspect: archives (.eval), or JSON of {\"eval\", \"samples\"}", {"*.eval", "*.json"}, \
      {{"unfinished", "samples that an error or a limit ended: truncated, or left out if nothing was said"}}) \
    X(lm_eval, "lm-eval", "samples of lm-evaluation-harness: JSON Lines of {\"doc_id\", \"arguments\", \"resps\"}", {"samples_*.jsonl"}, \
      {{"other_filters", "rows that repeat an answer under another filter: left out"}, \
       {"without_answer", "rows that have no answer: kept, nothing in them can be learned"}}) \
    X(chatgpt, "chatgpt", "ChatGPT's export, conversations.json: a JSON array of {\"mapping\", \"current_node\"}", \
      {"conversations*.json"}, TREE_COUNTS) \
    X(open_webui, "open-webui", "Open WebUI's exports of chats and of ratings: JSON arrays of {\"chat\": {\"history\"}}", \
      {"chat-export*.json", "feedback-history-export*.json"}, TREE_COUNTS) \
    X(oasst, "oasst", "JSON Lines of Open Assistant's message trees, or of its messages", {"*.jsonl"}, \
      {{"other_branches", "messages on other branches, which are no candidates"}, \
       {"empty", "trees in which nothing is left"}, \
       {"left_out", "messages that were deleted or did not pass the review"}}) \
    X(llm, "llm", "the log of the command llm, a SQLite file", {"logs.db"}, \
      {{"tool_calls", "calls of tools in a table of other columns: not read"}}) \
    X(wildchat, "wildchat", "rows of WildChat and LMSYS-Chat-1M: JSON Lines or an array of {\"conversation\", \"model\"}", {"*.json", "*.jsonl"}, {{0}}) \
    X(arena, "arena", "votes between two models: {\"model_a\", \"model_b\", \"winner\", \"conversation_a\", \"conversation_b\"}, or response_a, response_b", \
      {"*.jsonl", "*.json", "*.csv"}, \
      {{"prompts_differ", "votes on answers to different prompts: kept as two conversations"}, \
       {"machine_votes", "votes that a model gave: kept in meta, no feedback"}, \
       {"undecided", "votes without a winner in which both answers may be good: no feedback"}}) \
    X(langfuse, "langfuse", "Langfuse's observations, traces and scores, in JSON Lines or an array", {"*.json", "*.jsonl"}, \
      {{"other_observations", "observations that are no generations"}, \
       {"without_answer", "generations without a readable input or output"}, \
       {"scores_unused", "scores that no person gave, that are no verdict, or whose observation is not in the file"}}) \
    X(otel, "otel", "OpenTelemetry's spans or logs of generative AI, as OTLP in JSON", {"*.json", "*.jsonl"}, \
      {{"without_messages", "spans and records that are no call of a model, or do not have its messages"}, \
       {"evaluations_unused", "evaluations whose answer is not in the file"}}) \
    X(fastchat, "fastchat", "JSON Lines of the events of a FastChat server: chat, votes, votes between two models", {"*.json", "*.jsonl"}, \
      {{"no_answer", "events without a question and an answer"}, {"other_events", "events of other types"}}) \
    X(hh_rlhf, "hh-rlhf", "JSON Lines of {\"chosen\", \"rejected\"}, transcripts with Human: and Assistant:", {"*.jsonl"}, \
      {{"early_difference", "pairs that differ in more than the last turn"}, \
       {"prompts_differ", "of those, pairs whose human turns differ: kept as two conversations"}}) \
    X(sgd, "sgd", "JSON arrays of task-oriented dialogues, with schema.json in the same folder", {"dialogues_*.json"}, {{0}}) \
    X(xstest, "xstest", "CSV of prompts, and CSV of completions with human labels, one file a model", \
      {"xstest_prompts*.csv", "*completions*.csv"}, {{0}}) \
    X(pair, "pairs", "preferred and other answers: {\"prompt\", \"chosen\", \"rejected\"} of TRL, messages beside them, OpenAI's preferred_output", \
      {"*.jsonl"}, \
      {{"early_difference", "pairs that differ in more than the last turn"}, \
       {"prompts_differ", "of those, pairs whose users' messages differ: kept as two conversations"}, \
       {"same_answers", "pairs whose answers are the same: one conversation without feedback"}}) \
    X(prompt, "prompts", "a prompt and its answer in one object: instruction, input, output; prompt, completion; question, answer; ...", \
      {"*.jsonl"}, ROWS_COUNTS) \
    X(csv, "csv", "tables (CSV, TSV) with columns for prompt and answer, or for role and content", {"*.csv", "*.tsv"}, ROWS_COUNTS)
/* clang-format on */

#define DECLARE(id, ...) extern const keel_reader_kind keel__##id##_reader;
FORMATS(DECLARE)

#define ROW(id, ...)        {__VA_ARGS__, &keel__##id##_reader},
#define NAME(id, name, ...) name,
const keel_format keel_formats[] = {FORMATS(ROW){0}};
const char *const keel_formats_names[] = {FORMATS(NAME) NULL};

keel_status keel_formats_find(const char *name, const keel_format **out, keel_err *err) {
    const char *nearest = NULL;
    size_t fewest = 0;
    keel_buf list = {0};
    for (size_t i = 0; keel_formats[i].name; i++) {
        if (strcmp(keel_formats[i].name, name) == 0) {
            *out = &keel_formats[i];
            keel_buf_free(&list);
            return KEEL_OK;
        }
        if (keel_text_nearer(name, keel_formats[i].name, &fewest)) nearest = keel_formats[i].name;
        keel_buf_format(&list, "%s%s", i ? ", " : "", keel_formats[i].name);
    }
    keel_fail(err, KEEL_E_USAGE, "format", "expected one of %s; got '%s'", list.data ? list.data : "", name);
    keel_buf_free(&list);
    return nearest ? keel_hint(err, "did you mean '%s'?", nearest) : KEEL_E_USAGE;
}

static bool matches(const keel_format *format, const char *plain) {
    for (size_t i = 0; format->files[i]; i++)
        if (fnmatch(format->files[i], plain, 0) == 0) return true;
    return false;
}

bool keel_formats_match(const keel_format *format, const char *file_name) {
    char plain[1024];
    size_t length = keel__plain_length(file_name);
    if (length >= sizeof plain) return false;
    for (size_t i = 0; i < length; i++) plain[i] = (char)tolower((unsigned char)file_name[i]);
    plain[length] = '\0';
    if (format) return matches(format, plain);
    for (size_t i = 0; keel_formats[i].name; i++)
        if (matches(&keel_formats[i], plain)) return true;
    return false;
}

bool keel_formats_plausible(const char *file_name) {
    static const char *const endings[] = {".jsonl", ".json", ".ndjson", ".csv", ".tsv"};
    const size_t length = keel__plain_length(file_name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t size = strlen(endings[i]);
        if (length > size && strncasecmp(file_name + length - size, endings[i], size) == 0) return true;
    }
    return false;
}

/* ---- looking at the beginning ---- */

typedef struct scan {
    const char *at, *end;
} scan;

static void skip_space(scan *s) {
    while (s->at < s->end && keel__is_space(*s->at)) s->at++;
}

/* At a quote: to behind the closing one. False if the text ends before. */
static bool skip_string(scan *s) {
    for (s->at++; s->at < s->end && *s->at != '"'; s->at++)
        if (*s->at == '\\' && s->at + 1 < s->end) s->at++;
    return s->at < s->end && s->at++;
}

/* To the comma or bracket that follows the value. */
static bool skip_value(scan *s) {
    for (int depth = 0; s->at < s->end;) {
        const char c = *s->at;
        if (depth == 0 && (c == ',' || c == '}')) return true;
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        if (c != '"')
            s->at++;
        else if (!skip_string(s))
            return false;
    }
    return false;
}

bool keel__member(const char *text, size_t length, const char *key, const char **value, size_t *size) {
    scan s = {text, text + length};
    const size_t key_length = strlen(key);
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) s.at += 3;
    skip_space(&s);
    if (s.at == s.end || *s.at != '{') return false;
    do {
        s.at++;
        skip_space(&s);
        const char *name = s.at + 1;
        if (s.at == s.end || *s.at != '"' || !skip_string(&s)) return false;
        const bool found = (size_t)(s.at - 1 - name) == key_length && memcmp(name, key, key_length) == 0;
        skip_space(&s);
        if (s.at == s.end || *s.at != ':') return false;
        *value = ++s.at;
        const bool ended = skip_value(&s);
        *size = (size_t)(s.at - *value);
        if (found) return true;
        if (!ended) return false;
    } while (*s.at == ',');
    return false;
}

static void add_name(keel_sniff *out, const char *name, size_t length) {
    if (out->n_names == KEEL_SNIFF_NAMES) return;
    if (length >= KEEL_SNIFF_SIZE) length = keel_utf8_valid_prefix(name, KEEL_SNIFF_SIZE - 1);
    memcpy(out->names[out->n_names], name, length);
    out->names[out->n_names++][length] = '\0';
}

/* Behind the opening brace: the keys of the object. */
static void add_keys(scan *s, keel_sniff *out) {
    for (;;) {
        skip_space(s);
        if (s->at == s->end || *s->at != '"') return;
        const char *name = s->at + 1;
        if (!skip_string(s)) return;
        const size_t length = (size_t)(s->at - 1 - name);
        skip_space(s);
        if (s->at == s->end || *s->at != ':') return;
        add_name(out, name, length);
        s->at++;
        if (!skip_value(s) || *s->at != ',') return;
        s->at++;
    }
}

static void add_columns(scan *s, keel_sniff *out) {
    s->at += keel__csv_sep_line(s->at, (size_t)(s->end - s->at));
    const char separator = keel__csv_separator(s->at, (size_t)(s->end - s->at));
    while (s->at < s->end && *s->at != '\n' && *s->at != '\r') {
        const bool quoted = *s->at == '"';
        const char *name = s->at + quoted;
        const char *close = quoted ? memchr(name, '"', (size_t)(s->end - name)) : NULL;
        if (quoted && !close) return;
        if (close) s->at = close;
        while (s->at < s->end && *s->at != separator && !memchr("\r\n", *s->at, 2)) s->at++;
        const char *after = close ? close : s->at;
        while (name < after && *name == ' ') name++;
        while (after > name && after[-1] == ' ') after--;
        add_name(out, name, (size_t)(after - name));
        if (s->at < s->end && *s->at == separator) s->at++;
    }
}

void keel_formats_sniff(const char *text, size_t length, keel_sniff *out) {
    scan s = {text, text + length};
    *out = (keel_sniff){.text = text, .length = length};
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) s.at += 3;
    skip_space(&s);
    if (s.at == s.end) return;
    out->shape = *s.at == '{' ? KEEL_SHAPE_OBJECTS : *s.at == '[' ? KEEL_SHAPE_ARRAY : KEEL_SHAPE_TABLE;
    if (out->shape == KEEL_SHAPE_TABLE) {
        add_columns(&s, out);
        return;
    }
    s.at++;
    if (out->shape == KEEL_SHAPE_ARRAY) {
        skip_space(&s);
        if (s.at == s.end || *s.at++ != '{') return;
    }
    add_keys(&s, out);
}

keel_status keel__sniff(keel_source *source, keel_sniff *out, keel_err *err) {
    const char *text;
    size_t length;
    KEEL_TRY(keel_source_peek(source, 1 << 16, &text, &length, err));
    keel_formats_sniff(text, length, out);
    return KEEL_OK;
}

bool keel_formats_has(const keel_sniff *sniff, const char *name) {
    for (size_t i = 0; i < sniff->n_names; i++)
        if (strcmp(sniff->names[i], name) == 0) return true;
    return false;
}

bool keel_formats_calls(const keel_sniff *sniff, const char *name) {
    for (size_t i = 0; i < sniff->n_names; i++)
        if (strcasecmp(sniff->names[i], name) == 0) return true;
    return false;
}

bool keel_formats_contains(const keel_sniff *sniff, const char *part) {
    const size_t length = strlen(part);
    const char *at = sniff->text, *end = sniff->text + sniff->length;
    while ((size_t)(end - at) >= length && (at = memchr(at, part[0], (size_t)(end - at) - length + 1))) {
        if (memcmp(at, part, length) == 0) return true;
        at++;
    }
    return false;
}

/* What formats cannot do without, to name the one that a source is nearest to. */
static const struct {
    const char *format, *keys[4], *smallest;
} shapes[] = {
    {"chat",
     {"messages"},
     "{\"messages\": [{\"role\": \"user\", \"content\": \"...\"}, {\"role\": \"assistant\", \"content\": \"...\"}]}"},
    {"pairs",
     {"prompt", "chosen", "rejected"},
     "{\"prompt\": \"...\", \"chosen\": \"...\", \"rejected\": \"...\"}"},
    {"prompts", {"prompt", "response"}, "{\"prompt\": \"...\", \"response\": \"...\"}"},
    {"prompts", {"instruction", "output"}, "{\"instruction\": \"...\", \"output\": \"...\"}"},
    {"csv", {"prompt", "response"}, "the header prompt,response and a line for each answer"},
    {"csv", {"id", "role", "content"}, "the header id,role,content and a line for each message"},
    {"xstest", {"id", "type", "prompt", "completion"}, "the header id,type,prompt,completion"},
};

/* How much of the shape is there: a key itself counts more than one that is nearly spelt so. */
static double nearness(const keel_sniff *sniff, size_t shape) {
    const bool table =
        strcmp(shapes[shape].format, "csv") == 0 || strcmp(shapes[shape].format, "xstest") == 0;
    double sum = 0;
    size_t n = 0;
    if (table != (sniff->shape == KEEL_SHAPE_TABLE)) return 0;
    for (; n < 4 && shapes[shape].keys[n]; n++) {
        double best = 0;
        for (size_t i = 0; i < sniff->n_names; i++) {
            size_t fewest = 0;
            if (strcmp(sniff->names[i], shapes[shape].keys[n]) == 0)
                best = 1;
            else if (best < 0.5 && keel_text_nearer(sniff->names[i], shapes[shape].keys[n], &fewest))
                best = 0.5;
        }
        sum += best;
    }
    return sum / (double)n;
}

/* What people have that holds logs, and how these come out of it. */
static const struct {
    const char *begins;
    size_t length;
    const char *what, *cure;
} containers[] = {
    {"\xFF\xFE", 2, "UTF-16", "as some programs of Windows write: iconv -f UTF-16 -t UTF-8"},
    {"\xFE\xFF", 2, "UTF-16", "as some programs of Windows write: iconv -f UTF-16 -t UTF-8"},
    {"{'", 2, "an object as Python prints it, not JSON", "write it with json.dumps"},
    {"[{'", 3, "a list as Python prints it, not JSON", "write it with json.dumps"},
    {"version https://git-lfs", 23, "a pointer of Git LFS, not the data", "git lfs pull"},
    {"PK\x03\x04", 4, "a zip archive", "unpack it first"},
    {"PAR1", 4, "a Parquet file",
     "write it as JSON Lines first: duckdb -c \"COPY (SELECT * FROM 'x.parquet') TO 'x.jsonl'\""},
    {"ARROW1", 6, "an Arrow file", "write it as JSON Lines first, with pandas or the program that made it"},
    {"SQLite format 3", 16, "a SQLite file without the tables that Keel knows",
     "write what it holds as JSON Lines first, one conversation a line"},
    {"BZh", 3, "compressed with bzip2", "bunzip2 it first"},
    {"\xFD"
     "7zXZ",
     5, "compressed with xz", "unxz it first"},
};

bool keel__container_hint(const char *text, size_t length, keel_err *err) {
    if (length >= 4 && text[0] && !text[1] && text[2] && !text[3]) {
        keel_hint(err, "this is UTF-16 without a mark: iconv -f UTF-16LE -t UTF-8");
        return true;
    }
    for (size_t i = 0; i < sizeof containers / sizeof *containers; i++) {
        if (length < containers[i].length || memcmp(text, containers[i].begins, containers[i].length) != 0)
            continue;
        keel_hint(err, "this is %s: %s", containers[i].what, containers[i].cure);
        return true;
    }
    return false;
}

/* Whether the first line has something before an object: a time, data: of a stream of events. */
static bool is_prefixed(const keel_sniff *sniff) {
    const char *line_end = memchr(sniff->text, '\n', sniff->length);
    const keel_sniff line = {.text = sniff->text,
                             .length = line_end ? (size_t)(line_end - sniff->text) : sniff->length};
    return sniff->shape == KEEL_SHAPE_TABLE && line.length && keel_formats_contains(&line, "{\"") &&
           memchr("}\r", line.text[line.length - 1], 2);
}

/* What the nearest format does not mend. */
static const char *known_cure(const keel_sniff *sniff) {
    if (keel_formats_has(sniff, "custom_id") &&
        (keel_formats_has(sniff, "body") || keel_formats_has(sniff, "response")))
        return "this is half of a batch, whose requests and responses stand in two files; join them: cat "
               "input.jsonl output.jsonl | jq -sc 'group_by(.custom_id)[] | add | {request: .body, response: "
               ".response.body}'";
    if (keel_formats_has(sniff, "custom_id") &&
        (keel_formats_has(sniff, "params") || keel_formats_has(sniff, "result")))
        return "this is half of a batch, whose requests and results stand in two files; join them: cat "
               "input.jsonl output.jsonl | jq -sc 'group_by(.custom_id)[] | add | {request: .params, response: "
               ".result.message}'";
    if (keel_formats_has(sniff, "request_body") && keel_formats_has(sniff, "response_body"))
        return "name the pair as Keel does: jq -c '. + {request: .request_body, response: .response_body} | "
               "del(.request_body, .response_body)' FILE | keel import --store FILE -";
    if (keel_formats_has(sniff, "context") && keel_formats_has(sniff, "attributes"))
        return "these are spans as OpenTelemetry's console exporter prints them: export OTLP as JSON, for "
               "example with the file exporter of the collector";
    if (is_prefixed(sniff))
        return "take away what stands before the object in each line: sed 's/^[^{]*//' FILE | keel import --store FILE -";
    if (sniff->shape == KEEL_SHAPE_TABLE && sniff->n_names > 1)
        return "say which columns hold what: --columns prompt=NAME,response=NAME, as risk, outcome, model and "
               "others (`keel import --help`)";
    return NULL;
}

static keel_status fail_unknown(const keel_sniff *sniff, const char *name, keel_err *err) {
    static const char *const what[] = {"", "a JSON object", "a JSON array", "lines of text"};
    keel_buf names = {0};
    size_t best = 0;
    double most = 0;
    if (keel__container_hint(sniff->text, sniff->length, NULL)) {
        keel_fail(err, KEEL_E_PARSE, name, "this is no log format that Keel knows");
        keel__container_hint(sniff->text, sniff->length, err);
        return KEEL_E_PARSE;
    }
    for (size_t i = 0; i < sniff->n_names && i < 12; i++)
        keel_buf_format(&names, "%s%s", i ? ", " : "", sniff->names[i]);
    keel_fail(err, KEEL_E_PARSE, name, "this is no log format that Keel knows: it begins with %s%s%s",
              what[sniff->shape], sniff->n_names ? ", which has " : "", names.data ? names.data : "");
    keel_buf_free(&names);
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        const double near = nearness(sniff, k);
        if (near > most) best = k, most = near;
    }
    if (known_cure(sniff)) return keel_hint(err, "%s", known_cure(sniff));
    if (most < 1 && keel__reshape_hint(sniff, err)) return KEEL_E_PARSE;
    if (most > 0)
        return keel_hint(err, "the nearest format is %s: %s", shapes[best].format, shapes[best].smallest);
    return keel_hint(err, "the smallest line that works: %s", shapes[0].smallest);
}

keel_status keel_formats_detect(keel_source *source, const keel_format **out, keel_err *err) {
    static const size_t sizes[] = {1 << 16, 1 << 20};
    keel_sniff sniff;
    const char *text;
    size_t length;
    for (size_t k = 0; k < 2; k++) {
        KEEL_TRY(keel_source_peek(source, sizes[k], &text, &length, err));
        keel_formats_sniff(text, length, &sniff);
        for (size_t i = 0; keel_formats[i].name; i++) {
            if (sniff.shape != KEEL_SHAPE_EMPTY && !keel_formats[i].reader->looks_like(&sniff)) continue;
            *out = &keel_formats[i];
            return KEEL_OK;
        }
        if (length < sizes[k]) break;
    }
    return fail_unknown(&sniff, keel_source_name(source), err);
}

void keel_formats_insist(keel_source *source, const keel_format **format) {
    const keel_format *found;
    keel_sniff sniff;
    if (keel__sniff(source, &sniff, NULL) != KEEL_OK) return;
    if (sniff.shape == KEEL_SHAPE_EMPTY || (*format)->reader->looks_like(&sniff)) return;
    if (keel_formats_detect(source, &found, NULL) == KEEL_OK) *format = found;
}

const keel_format *keel_formats_of_rows(keel_source *source) {
    const keel_format *found = &keel_formats[0];
    keel_sniff sniff;
    const bool table = keel__sniff(source, &sniff, NULL) == KEEL_OK && sniff.shape == KEEL_SHAPE_TABLE;
    (void)keel_formats_find(table ? "csv" : "prompts", &found, NULL);
    return found;
}
