#include "datasets/import.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/text.h"
#include "datasets/dedupe.h"
#include "datasets/prefetch.h"
#include "datasets/reader_internal.h"
#include "datasets/store_internal.h"
#include "datasets/stratify.h"

enum { MAX_DEPTH = 32, NAME_SIZE = 4096, MOST_NAMES = 200 /* bytes of names in a note */ };

/* ---- lists of files ---- */

typedef struct file_list {
    const keel_format *format; /* NULL: files of any format */
    keel_arena arena;
    const char **paths;
    size_t count, capacity;
    int64_t passed_over;
    keel_buf others; /* names of the first files that are no logs by their names */
} file_list;

static keel_status list_add(file_list *list, const char *path, keel_err *err) {
    if (!keel_arena_grow(&list->arena, &list->paths, list->count, &list->capacity, sizeof *list->paths))
        return keel_nomem(err, path);
    list->paths[list->count++] = path;
    return KEEL_OK;
}

static keel_status list_folder(file_list *list, const char *folder, int depth, keel_err *err);

/* In a folder lie other files too. What looks like another format than the one that is asked for is passed
 * over and named; so is what looks like none, unless its name (named) is of a format that is asked for. A
 * file that cannot be read is listed, so that reading it says why. */
static bool is_log(const keel_format *format, const char *path, bool named) {
    keel_source *source = NULL;
    const keel_format *found = NULL;
    const char *text;
    size_t length;
    keel_err why;
    if (keel_source_open(&source, path, NULL) != KEEL_OK) return true;
    const bool readable = keel_source_peek(source, 1, &text, &length, NULL) == KEEL_OK && length;
    const bool known = readable && keel_formats_detect(source, &found, &why) == KEEL_OK;
    const bool other = known && format && found != format;
    const bool none = readable && !known && (!format || format == &keel_formats[0] || !named);
    keel_source_close(source);
    if (other)
        keel_log(KEEL_LOG_INFO, "note: passed over %s: it looks like %s, not %s", path, found->name,
                 format->name);
    if (none) keel_log(KEEL_LOG_INFO, "note: passed over %s: %s", path, why.message);
    return !other && !none;
}

static keel_status list_entry(file_list *list, const char *path, const char *name, int depth, keel_err *err) {
    struct stat about;
    if (stat(path, &about) != 0) return KEEL_OK; /* a dangling link is no log */
    if (S_ISDIR(about.st_mode)) return list_folder(list, path, depth + 1, err);
    if (!S_ISREG(about.st_mode)) return KEEL_OK;
    const bool named = keel_formats_match(list->format, name), log = named || keel_formats_plausible(name);
    if (log && is_log(list->format, path, named)) return list_add(list, path, err);
    if (!log && list->others.length < MOST_NAMES)
        keel_buf_format(&list->others, "%s%s", list->others.length ? ", " : "", name);
    list->passed_over++;
    return KEEL_OK;
}

static keel_status list_folder(file_list *list, const char *folder, int depth, keel_err *err) {
    if (depth > MAX_DEPTH)
        return keel_fail(err, KEEL_E_INVALID, folder, "folders lie too deep (a link in a circle?)");
    DIR *entries = opendir(folder);
    if (!entries) return keel_fail(err, KEEL_E_IO, folder, "cannot read the folder");
    keel_status status = KEEL_OK;
    for (struct dirent *entry; status == KEEL_OK && (entry = readdir(entries));) {
        if (entry->d_name[0] == '.') continue;
        char *path = keel_path_join(&list->arena, folder, entry->d_name);
        status = path ? list_entry(list, path, strrchr(path, '/') + 1, depth, err) : keel_nomem(err, folder);
    }
    closedir(entries);
    return status;
}

static int compare_paths(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static keel_status fail_no_files(const file_list *list, const char *folder, keel_err *err) {
    keel_buf patterns = {0};
    for (const keel_format *format = keel_formats; format->name; format++)
        for (size_t i = 0; (!list->format || format == list->format) && format->files[i]; i++)
            if (!patterns.length || !strstr(patterns.data, format->files[i]))
                keel_buf_format(&patterns, "%s%s", patterns.length ? ", " : "", format->files[i]);
    keel_fail(err, KEEL_E_NOT_FOUND, folder, "no file of %s%s is in this folder",
              list->format ? "format " : "any known format", list->format ? list->format->name : "");
    keel_hint(
        err,
        "in a folder these are read, gzipped or not: %s, and of .json, .jsonl, .ndjson, .csv and .tsv what has "
        "such content. Any other file is read by its own path",
        patterns.data ? patterns.data : "");
    keel_buf_free(&patterns);
    return KEEL_E_NOT_FOUND;
}

/* The descriptor that a path stands for: of standard input, or of what the shell writes for <(command). -1:
 * none, the path is that of a file. */
static int stream_of(const char *path) {
    static const char folder[] = "/dev/fd/";
    if (strcmp(path, "-") == 0 || strcmp(path, "/dev/stdin") == 0) return 0;
    if (strncmp(path, folder, sizeof folder - 1) != 0) return -1;
    const char *digits = path + sizeof folder - 1;
    const size_t length = strlen(digits);
    return length && length < 6 && strspn(digits, "0123456789") == length ? atoi(digits) : -1;
}

/* A file stands for itself, whatever its name; a folder for the files of the format in it and below, sorted.
 */
static keel_status list_path(file_list *list, const char *path, keel_err *err) {
    size_t first = list->count;
    if (stream_of(path) >= 0) return list_add(list, path, err);
    if (!keel_file_exists(path)) return keel_fail(err, KEEL_E_NOT_FOUND, path, "no such file or folder");
    if (!keel_file_is_folder(path)) return list_add(list, path, err);
    KEEL_TRY(list_folder(list, path, 0, err));
    if (list->count == first) return fail_no_files(list, path, err);
    qsort(list->paths + first, list->count - first, sizeof *list->paths, compare_paths);
    return KEEL_OK;
}

/* ---- one import ---- */

typedef struct import {
    keel_store *store;
    keel_import_options options;
    keel_import_report *report;
    keel_reader *reader;      /* prefetching; NULL before the first file is open */
    const char *const *paths; /* [count] */
    size_t count, opened;     /* opened: how many, of which the last may have failed so: */
    keel_status status;
    keel_err err;
} import;

static keel_status open_reader(const import *in, keel_source *source, keel_reader **out, keel_err *err) {
    const keel_format *format = in->options.format;
    if (in->options.columns && !format) format = keel_formats_of_rows(source);
    KEEL_TRY(keel_reader_open(out, format, source, err));
    (*out)->columns = in->options.columns;
    (*out)->skip_bad = in->options.skip_bad > 0;
    return KEEL_OK;
}

static keel_status open_source(import *in, keel_source *source, keel_err *err) {
    keel_reader *plain;
    KEEL_TRY(open_reader(in, source, &plain, err));
    if (!in->reader) return keel_prefetch_open(&in->reader, plain, err);
    keel_prefetch_follow(in->reader, plain);
    return KEEL_OK;
}

static keel_status open_path(import *in, const char *path, keel_err *err) {
    keel_source *source;
    const int stream = stream_of(path);
    KEEL_TRY(stream < 0 ? keel_source_open(&source, path, err)
                        : keel_source_open_stream(&source, stream, stream ? path : "standard input", err));
    return open_source(in, source, err);
}

/* The next file is opened as soon as the thread has read the current one. Not a stream: it may have to
 * be waited for, which must not happen inside a transaction. */
static void open_next(import *in, bool may_wait) {
    if (in->opened == in->count || (!may_wait && stream_of(in->paths[in->opened]) >= 0)) return;
    in->status = open_path(in, in->paths[in->opened++], &in->err);
}

/* ---- one file, one transaction ---- */

/* The name counts too: the model is in the names of xstest, and sgd repeats ids between folders. name: room
 * for it with the source that was asked for. */
static void bind_import(sqlite3_stmt *statement, const import *in, const keel_reader *reader,
                        const char *hash, char name[NAME_SIZE]) {
    const char *source = in->options.source, *columns = in->options.columns;
    snprintf(name, NAME_SIZE, "%s%s%s%s%s", source ? source : "", source ? ":" : "", reader->name,
             columns ? " " : "", columns ? columns : "");
    keel_utf8_mend(name); /* of a file, and cut */
    keel__bind_text(statement, 1, hash);
    keel__bind_text(statement, 2, reader->format->name);
    keel__bind_text(statement, 3, in->options.split ? in->options.split : "");
    keel__bind_text(statement, 4, name);
}

static keel_status is_known(const import *in, const keel_reader *reader, const char *hash, bool *known,
                            keel_err *err) {
    sqlite3_stmt *statement;
    char name[NAME_SIZE];
    KEEL_TRY(keel__store_statement(in->store, KEEL__SQL_KNOWN_IMPORT, &statement, err));
    bind_import(statement, in, reader, hash, name);
    KEEL_TRY(keel__store_step(in->store, statement, known, "looking for an import", err));
    sqlite3_reset(statement);
    return KEEL_OK;
}

static keel_status record_import(const import *in, const keel_reader *reader, const char *hash,
                                 int64_t conversations, keel_err *err) {
    sqlite3_stmt *statement;
    char name[NAME_SIZE];
    KEEL_TRY(keel__store_statement(in->store, KEEL__SQL_ADD_IMPORT, &statement, err));
    bind_import(statement, in, reader, hash, name);
    sqlite3_bind_int64(statement, 5, conversations);
    return keel__store_run(in->store, statement, "recording an import", err);
}

/* A line that cannot be used: passed over while there are few of them. Fails as the line did otherwise. */
static keel_status pass_over(import *in, const keel_err *bad, keel_err *err) {
    if (in->report->skipped == in->options.skip_bad) {
        if (err) *err = *bad;
        if (in->options.skip_bad)
            keel_hint(err, "before this one, %lld bad lines were skipped; --skip-bad says how many may be",
                      (long long)in->options.skip_bad);
        return bad->code;
    }
    in->report->skipped++;
    if (in->options.bad) in->options.bad(in->options.bad_user, bad);
    return KEEL_OK;
}

static keel_status add_one(import *in, const keel_read *read, keel_err *err) {
    keel_added added;
    keel__more more;
    keel_err bad;
    keel_import_report *report = in->report;
    keel_conversation *conversation = read->conversation;
    if (keel_interrupted())
        return keel_fail(err, KEEL_E_INTERRUPTED, read->where, "nothing of this file was kept");
    if (in->options.split) conversation->split = in->options.split;
    if (in->options.source) conversation->source = in->options.source;
    keel_status status =
        keel__store_add(in->store, conversation, read->merge, read->where, &added, &more, &bad);
    if (status == KEEL_E_CONFLICT || status == KEEL_E_INVALID) return pass_over(in, &bad, err);
    if (status != KEEL_OK && err) *err = bad;
    KEEL_TRY(status);
    report->turns += more.turns;
    report->decisions += more.decisions;
    report->candidates += more.candidates;
    report->unchanged += added == KEEL_ADDED_NOTHING;
    report->extended += added == KEEL_ADDED_MORE;
    const bool seen = added == KEEL_ADDED_NEW && !read->merge && in->options.each;
    report->unseen += added != KEEL_ADDED_NOTHING && !seen;
    const keel_added how = added == KEEL_ADDED_NEW && !seen ? KEEL_ADDED_MORE : added;
    if (in->options.came) KEEL_TRY(in->options.came(in->options.came_user, conversation->id, how, err));
    if (added != KEEL_ADDED_NEW) return KEEL_OK;
    report->conversations++;
    report->completed += conversation->completed == KEEL_YES;
    return seen ? in->options.each(in->options.each_user, conversation, err) : KEEL_OK;
}

/* file: its number. */
static keel_status add_all(import *in, size_t file, keel_err *err) {
    keel_read read;
    for (bool empty = true;; empty = false) {
        if (in->opened == file + 1 && keel_prefetch_done(in->reader)) open_next(in, false);
        KEEL_TRY(keel_reader_next(in->reader, NULL, &read, err));
        if (!read.conversation && !read.bad && empty)
            keel_log(KEEL_LOG_INFO, "note: %s holds no conversation",
                     keel_prefetch_current(in->reader)->place);
        if (!read.conversation && !read.bad) return KEEL_OK;
        KEEL_TRY(read.bad ? pass_over(in, read.bad, err) : add_one(in, &read, err));
    }
}

/* What the format counts, added to the report under its names. */
static void add_counts(keel_import_report *report, const keel_format *format, const int64_t *counts) {
    for (size_t k = 0; k < KEEL_FORMAT_COUNTS && format->counts[k].name; k++) {
        const char *name = format->counts[k].name;
        size_t i = 0;
        while (i < report->n_counts && strcmp(report->counts[i].name, name) != 0) i++;
        if (i == KEEL_IMPORT_COUNTS) return;
        if (i == report->n_counts) report->counts[report->n_counts++] = (keel_import_count){name, 0};
        report->counts[i].count += counts[k];
    }
}

static keel_status import_in_transaction(import *in, size_t file, keel_err *err) {
    char hash[65];
    bool known;
    int64_t before = in->report->conversations;
    const keel_reader *current = keel_prefetch_current(in->reader);
    KEEL_TRY(keel_prefetch_hash(in->reader, hash, err));
    KEEL_TRY(is_known(in, current, hash, &known, err));
    in->report->files++;
    in->report->files_known += known;
    if (!known) KEEL_TRY(add_all(in, file, err));
    add_counts(in->report, current->format, in->reader->counts);
    if (in->opened == file + 1) open_next(in, false);
    return known ? KEEL_OK : record_import(in, current, hash, in->report->conversations - before, err);
}

static keel_status import_file(import *in, size_t file, keel_err *err) {
    keel_import_report before = *in->report;
    if (in->opened == file) open_next(in, true);
    if (in->status != KEEL_OK && err) *err = in->err;
    if (in->status != KEEL_OK) return in->status;
    if (file > 0) keel_prefetch_advance(in->reader);
    KEEL_TRY(keel_store_begin(in->store, err));
    keel_store_gather(in->store);
    keel_status status = import_in_transaction(in, file, err);
    if (status == KEEL_OK && file + 1 == in->count && in->options.near > 0)
        status = keel_dedupe_join(in->store, in->options.near, &in->report->near, err);
    if (status == KEEL_OK && file + 1 == in->count) status = keel_stratify(in->store, err);
    status = keel__store_end(in->store, true, status, err);
    if (status != KEEL_OK) *in->report = before;
    return status;
}

/* ---- one message, within a transaction ---- */

/* What is wrong with the message as a whole; of a reader that gave it as `bad` before it is known already. */
static keel_status end_message(import *in, int64_t skipped_before, keel_status status, const keel_err *bad,
                               keel_err *err) {
    if (keel__is_bad_input(status) && in->options.skip_bad > 0)
        return in->report->skipped > skipped_before ? KEEL_OK : pass_over(in, bad, err);
    if (status != KEEL_OK && err) *err = *bad;
    return status;
}

static keel_status add_message(import *in, keel_reader *reader, keel_err *err) {
    keel_arena arena = {0};
    keel_read read = {0};
    keel_err bad = {0};
    keel_status status = KEEL_OK;
    const int64_t before = in->report->skipped;
    do {
        keel_arena_reset(&arena);
        const keel_status given = keel_reader_next(reader, &arena, &read, &bad);
        if (given != KEEL_OK) read = (keel_read){0};
        if (given != KEEL_OK) status = end_message(in, before, given, &bad, err);
        if (given == KEEL_OK && read.bad) status = pass_over(in, read.bad, err);
        if (given == KEEL_OK && read.conversation) status = add_one(in, &read, err);
    } while (status == KEEL_OK && (read.conversation || read.bad));
    keel_arena_free(&arena);
    return status;
}

keel_status keel_import_message(keel_store *store, const keel_import_options *options, keel_source *source,
                                keel_import_report *report, keel_err *err) {
import in = {.store = store, .options = * options, .report = report };
    keel_reader *reader = NULL;
    keel_err bad = {0};
    const keel_status opened = open_reader(&in, source, &reader, &bad);
    if (opened != KEEL_OK) return end_message(&in, report->skipped, opened, &bad, err);
    store->by_prompt = true;
    const keel_status status = add_message(&in, reader, err);
    store->by_prompt = false;
    if (status == KEEL_OK) add_counts(report, reader->format, reader->counts);
    keel_reader_close(reader);
    return status;
}

/* ---- all files ---- */

static keel_status import_files(import *in, keel_err *err) {
    keel_progress progress;
    keel_status status = KEEL_OK;
    size_t done = 0;
    keel__store_check_references(in->store, false);
    in->store->by_prompt = true;
    keel_progress_start(&progress, "import", in->count);
    while (done < in->count && status == KEEL_OK) {
        status = import_file(in, done, err);
        if (status == KEEL_OK) keel_progress_step(&progress, ++done, NULL);
    }
    keel_progress_end(&progress, done);
    keel__store_check_references(in->store, true);
    in->store->by_prompt = false;
    keel_reader_close(in->reader);
    return status;
}

keel_status keel_import(keel_store *store, const keel_import_options *options, const char *const *paths,
                        size_t count, keel_import_report *report, keel_err *err) {
import in = {.store = store, .report = report };
    if (options) in.options = *options;
    file_list list = {.format = in.options.format};
    keel_status status = KEEL_OK;
    *report = (keel_import_report){0};
    if (in.options.split) KEEL_TRY(keel_split_check_name(in.options.split, "split", err));
    for (size_t i = 0; i < count && status == KEEL_OK; i++) status = list_path(&list, paths[i], err);
    in.paths = list.paths;
    in.count = list.count;
    report->passed_over = list.passed_over;
    if (status == KEEL_OK && list.others.length)
        keel_log(KEEL_LOG_INFO, "note: passed over, as their names are not those of logs: %s%s",
                 list.others.data, list.others.length < MOST_NAMES ? "" : ", ...");
    keel_buf_free(&list.others);
    if (status == KEEL_OK) status = import_files(&in, err);
    keel_arena_free(&list.arena);
    return status;
}

keel_status keel_import_source(keel_store *store, const keel_import_options *options, keel_source *source,
                               keel_import_report *report, keel_err *err) {
import in = {.store = store, .report = report };
    if (options) in.options = *options;
    *report = (keel_import_report){0};
    keel_status status = in.options.split ? keel_split_check_name(in.options.split, "split", err) : KEEL_OK;
    if (status != KEEL_OK) {
        keel_source_close(source);
        return status;
    }
    KEEL_TRY(open_source(&in, source, err));
    in.count = in.opened = 1;
    return import_files(&in, err);
}
