/* Importing: formats, lists of files, and one transaction per file. */
#include "datasets/import.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/log.h"
#include "core/progress.h"
#include "datasets/import_internal.h"
#include "datasets/store_internal.h"

enum { MAX_DEPTH = 32 };

/* ---- formats ---- */

static bool ends_with(const char *name, const char *suffix) {
    size_t length = strlen(name), tail = strlen(suffix);
    return length >= tail && strcmp(name + length - tail, suffix) == 0;
}

/* The name without ".gz". */
static size_t plain_length(const char *name) {
    return strlen(name) - (ends_with(name, ".gz") ? 3 : 0);
}

static bool is_named(const char *name, const char *prefix, const char *suffix) {
    size_t length = plain_length(name), tail = strlen(suffix);
    return strncmp(name, prefix, strlen(prefix)) == 0 && length >= strlen(prefix) + tail &&
           strncmp(name + length - tail, suffix, tail) == 0;
}

static bool is_lines(const char *name) {
    return is_named(name, "", ".jsonl");
}

static bool is_sgd(const char *name) {
    return is_named(name, "dialogues_", ".json");
}

static bool is_xstest(const char *name) {
    return is_named(name, "xstest_prompts", ".csv") ||
           (strstr(name, "completions") && is_named(name, "", ".csv"));
}

typedef struct format {
    const char *name, *files;
    bool (*matches)(const char *name); /* which files of a folder are of this format */
    keel__import_file *read;
} format;

static const format formats[] = {
    {"chat", "*.jsonl", is_lines, keel__import_chat},
    {"hh-rlhf", "*.jsonl", is_lines, keel__import_hh},
    {"sgd", "dialogues_*.json", is_sgd, keel__import_sgd},
    {"xstest", "xstest_prompts.csv and *completions*.csv", is_xstest, keel__import_xstest},
};
enum { N_FORMATS = sizeof formats / sizeof *formats };
const char *const keel_import_formats[] = {"chat", "hh-rlhf", "sgd", "xstest", NULL};

static const format *find_format(const char *name, keel_err *err) {
    for (size_t i = 0; i < N_FORMATS; i++)
        if (strcmp(formats[i].name, name) == 0) return &formats[i];
    keel_fail(err, KEEL_E_USAGE, "format", "no format is named \"%s\"", name);
    keel_hint(err, "the formats are chat, hh-rlhf, sgd and xstest");
    return NULL;
}

/* ---- lists of files ---- */

typedef struct file_list {
    keel_arena arena;
    const char **paths;
    size_t count, capacity;
} file_list;

static keel_status list_add(file_list *list, const char *path, keel_err *err) {
    if (!keel_arena_grow(&list->arena, &list->paths, list->count, &list->capacity, sizeof *list->paths))
        return keel_nomem(err, path);
    list->paths[list->count++] = path;
    return KEEL_OK;
}

static keel_status list_folder(file_list *list, const format *form, const char *folder, int depth,
                               keel_err *err);

static keel_status list_entry(file_list *list, const format *form, const char *path, const char *name,
                              int depth, keel_err *err) {
    struct stat about;
    if (stat(path, &about) != 0) return KEEL_OK; /* a dangling link is no log */
    if (S_ISDIR(about.st_mode)) return list_folder(list, form, path, depth + 1, err);
    return S_ISREG(about.st_mode) && form->matches(name) ? list_add(list, path, err) : KEEL_OK;
}

static keel_status list_folder(file_list *list, const format *form, const char *folder, int depth,
                               keel_err *err) {
    if (depth > MAX_DEPTH)
        return keel_fail(err, KEEL_E_INVALID, folder, "folders lie too deep (a link in a circle?)");
    DIR *entries = opendir(folder);
    if (!entries) return keel_fail(err, KEEL_E_IO, folder, "cannot read the folder");
    keel_status status = KEEL_OK;
    for (struct dirent *entry; status == KEEL_OK && (entry = readdir(entries));) {
        if (entry->d_name[0] == '.') continue;
        char *path = keel_path_join(&list->arena, folder, entry->d_name);
        status =
            path ? list_entry(list, form, path, strrchr(path, '/') + 1, depth, err) : keel_nomem(err, folder);
    }
    closedir(entries);
    return status;
}

static int compare_paths(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A file stands for itself, whatever its name; a folder for the files of the format in it and below, sorted.
 */
static keel_status list_path(file_list *list, const format *form, const char *path, keel_err *err) {
    size_t first = list->count;
    if (!keel_file_exists(path)) return keel_fail(err, KEEL_E_NOT_FOUND, path, "no such file or folder");
    if (!keel_file_is_folder(path)) return list_add(list, path, err);
    KEEL_TRY(list_folder(list, form, path, 0, err));
    if (list->count == first) {
        keel_fail(err, KEEL_E_NOT_FOUND, path, "no file of format %s is in this folder", form->name);
        keel_hint(err, "files of this format are named %s, gzipped or not", form->files);
        return KEEL_E_NOT_FOUND;
    }
    qsort(list->paths + first, list->count - first, sizeof *list->paths, compare_paths);
    return KEEL_OK;
}

/* ---- shared by the importers ---- */

static bool is_blank(const char *line) {
    return line[strspn(line, " \t\r")] == '\0';
}

static void note_empty(const char *path) {
    keel_log(KEEL_LOG_INFO, "note: %s holds no conversation", path);
}

static keel_status import_line(keel__import *import, keel__import_object *each, const char *line,
                               size_t length, const char *where, keel_err *err) {
    const cJSON *object = NULL;
    KEEL_TRY(keel__import_next(import, err));
    keel_status status = keel_json_parse_in(import->arena, line, length, where, &object, err);
    if (status == KEEL_OK && !cJSON_IsObject(object))
        status = keel_fail(err, KEEL_E_PARSE, where, "expected a JSON object");
    if (status == KEEL_E_PARSE && err)
        keel_hint(err, strstr(err->message, "UTF-8")
                           ? "convert the file to UTF-8, for example with iconv"
                           : "in JSON Lines a line is one whole object; a chat log that "
                             "is one array is named *.json");
    return status == KEEL_OK ? each(import, object, where, err) : status;
}

keel_status keel__import_lines(keel__import *import, keel__import_object *each, keel_err *err) {
    keel_line_reader *reader;
    char *line, where[400];
    size_t length, number;
    bool empty = true;
    KEEL_TRY(keel_line_reader_open(&reader, import->path, err));
    keel_status status;
    while ((status = keel_line_reader_next(reader, &line, &length, &number, err)) == KEEL_OK && line) {
        if (is_blank(line) && strlen(line) == length) continue;
        snprintf(where, sizeof where, "%s:%zu", import->path, number);
        status = import_line(import, each, line, length, where, err);
        if (status != KEEL_OK) break;
        empty = false;
    }
    keel_line_reader_close(reader);
    if (status == KEEL_OK && empty) note_empty(import->path);
    return status;
}

keel_status keel__import_items(keel__import *import, const char *of, keel__import_item *each, void *user,
                               keel_err *err) {
    keel_buf text = {0};
    keel_json_items items;
    const cJSON *item = NULL;
    keel_status status = keel_file_read(import->path, 0, &text, err);
    if (status == KEEL_OK)
        status = keel_json_items_open(&items, text.data, text.length, import->path, of, err);
    while (status == KEEL_OK) {
        status = keel__import_next(import, err);
        if (status == KEEL_OK) status = keel_json_items_next(&items, import->arena, &item, err);
        if (status != KEEL_OK || !item) break;
        status = each(import, item, items.count - 1, user, err);
    }
    if (status == KEEL_OK && items.count == 0) note_empty(import->path);
    keel_buf_free(&text);
    return status;
}

keel_status keel__import_print(keel__import *import, const cJSON *value, const char **out, keel_err *err) {
    keel_buf text = {0};
    const char *copy = NULL;
    if (value && value->child) {
        keel_status status = keel_json_print(value, false, &text, err);
        if (status == KEEL_OK && !(copy = keel_arena_strndup(import->arena, text.data, text.length)))
            status = keel_nomem(err, import->path);
        keel_buf_free(&text);
        if (status != KEEL_OK) return status;
    }
    *out = copy;
    return KEEL_OK;
}

size_t keel__import_decide_turns(keel__import *import, const keel_turn *turns, size_t n_turns,
                                 keel_decision *decisions) {
    size_t n = 0;
    for (size_t i = 0; i < n_turns; i++) {
        if (turns[i].role != KEEL_ROLE_ASSISTANT) continue;
        keel_candidate *candidate = keel_arena_calloc(import->arena, 1, sizeof *candidate);
        if (!candidate) return SIZE_MAX;
        *candidate = (keel_candidate){.text = turns[i].text,
                                      .act = turns[i].act,
                                      .model = turns[i].model,
                                      .latency_ms = turns[i].latency_ms,
                                      .taken = true};
        decisions[n++] = (keel_decision){.turn = i, .n_candidates = 1, .candidates = candidate};
    }
    return n;
}

/* ---- one file, one transaction ---- */

static void bind_import(sqlite3_stmt *statement, const keel__import *import, const char *hash,
                        const char *form) {
    keel__bind_text(statement, 1, hash);
    keel__bind_text(statement, 2, form);
    keel__bind_text(statement, 3, import->split ? import->split : "");
    keel__bind_text(statement, 4, import->name);
}

/* The name counts too: xstest has the model in it, and sgd repeats ids between folders. */
static keel_status is_known(keel__import *import, const char *hash, const char *form, bool *known,
                            keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(import->store, KEEL__SQL_KNOWN_IMPORT, &statement, err));
    bind_import(statement, import, hash, form);
    KEEL_TRY(keel__store_step(import->store, statement, known, "looking for an import", err));
    sqlite3_reset(statement);
    return KEEL_OK;
}

static keel_status record_import(keel__import *import, const char *hash, const char *form,
                                 int64_t conversations, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(import->store, KEEL__SQL_ADD_IMPORT, &statement, err));
    bind_import(statement, import, hash, form);
    sqlite3_bind_int64(statement, 5, conversations);
    return keel__store_run(import->store, statement, "recording an import", err);
}

static keel_status import_in_transaction(keel__import *import, const keel__files *files, size_t file,
                                         keel_err *err) {
    char hash[65];
    bool known;
    int64_t before = import->report->conversations;
    KEEL_TRY(keel__prefetch_begin(import->ahead, hash, err));
    KEEL_TRY(is_known(import, hash, files->format, &known, err));
    import->report->files++;
    import->report->files_known += known;
    KEEL_TRY(keel__prefetch_add(import->ahead, import, file, known, err));
    if (known) return KEEL_OK;
    return record_import(import, hash, files->format, import->report->conversations - before, err);
}

keel_status keel__import_name(keel__import *import, const char *path, keel_arena *arena, keel_err *err) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *folder = slash ? slash : path;
    while (folder > path && folder[-1] != '/') folder--;
    char *plain = keel_arena_strndup(arena, name, plain_length(name));
    char *last = keel_arena_strndup(arena, folder, slash ? (size_t)(slash - folder) : 0);
    if (!plain || !last) return keel_nomem(err, path);
    import->path = path;
    import->folder = last;
    import->name = plain;
    return KEEL_OK;
}

/* common: what all files share. */
static keel_status import_file(const keel__import *common, const keel__files *files, size_t file,
                               keel_err *err) {
    keel_arena names = {0};
    keel_import_report before = *common->report;
    keel__import import = *common;
    keel_status status = keel__import_name(&import, files->paths[file], &names, err);
    if (status == KEEL_OK) status = keel_store_begin(import.store, err);
    if (status == KEEL_OK) {
        keel_store_gather(import.store);
        status = import_in_transaction(&import, files, file, err);
        if (status == KEEL_OK) status = keel_store_commit(import.store, err);
        if (status != KEEL_OK) keel_store_rollback(import.store);
    }
    if (status != KEEL_OK) *import.report = before;
    keel_arena_free(&names);
    return status;
}

static keel_status import_files(keel__import *common, const keel__files *files, keel_err *err) {
    keel_progress progress;
    keel_status status = KEEL_OK;
    size_t done = 0;
    KEEL_TRY(keel__prefetch_open(&common->ahead, files, err));
    keel__store_check_references(common->store, false);
    keel_progress_start(&progress, "import", files->count);
    while (done < files->count && status == KEEL_OK) {
        status = import_file(common, files, done, err);
        if (status == KEEL_OK) keel_progress_step(&progress, ++done, NULL);
    }
    keel_progress_end(&progress, done);
    keel__store_check_references(common->store, true);
    keel__prefetch_close(common->ahead);
    return status;
}

keel_status keel_import(keel_store *store, const char *format_name, const char *split,
                        const char *const *paths, size_t count, keel_import_each *each, void *user,
                        keel_import_report *report, keel_err *err) {
    keel__import common = {.store = store, .split = split, .each = each, .user = user, .report = report};
    file_list list = {0};
    const format *form = find_format(format_name, err);
    if (!form) return KEEL_E_USAGE;
    if (split) KEEL_TRY(keel_split_check_name(split, "split", err));
    keel_status status = KEEL_OK;
    *report = (keel_import_report){0};
    for (size_t i = 0; i < count && status == KEEL_OK; i++) status = list_path(&list, form, paths[i], err);
    const keel__files files = {form->name, form->read, list.paths, list.count};
    if (status == KEEL_OK) status = import_files(&common, &files, err);
    keel_arena_free(&list.arena);
    return status;
}
