#include "experiments/cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal.h"
#include "core/json.h"
#include "core/options_internal.h"
#include "core/process.h"
#include "core/text.h"
#include "experiments/explain.h"

const keel_flag keel_cli_common_flags[] = {
    {"--quiet", NULL, false, false, "no log and no progress on stderr"},
    {"--json", NULL, false, false, "the result as JSON"},
    {"--memory", "MB", false, false,
     "most memory to take; beyond it the command stops with an error (default: no limit)"},
    {"--explain", NULL, false, false, "explain what the output means and what is healthy, and run nothing"},
    {"--help", NULL, false, false, "this text"},
    KEEL_FLAG_END,
};

/* ---- nearest names ---- */

const char *keel_nearest(const char *name, const char *const *names) {
    const char *nearest = NULL;
    size_t fewest = 0;
    for (; *names; names++)
        if (keel_text_nearer(name, *names, &fewest)) nearest = *names;
    return nearest;
}

keel_status keel_verb_find(const char *name, const keel_verb **out, keel_err *err) {
    const char *names[32] = {0};
    for (size_t i = 0; keel_verbs[i]; i++) {
        if (strcmp(keel_verbs[i]->name, name) == 0) {
            *out = keel_verbs[i];
            return KEEL_OK;
        }
        if (i + 1 < sizeof names / sizeof names[0]) names[i] = keel_verbs[i]->name;
    }
    keel_fail(err, KEEL_E_USAGE, NULL, "there is no verb '%s'", name);
    const char *nearest = keel_nearest(name, names);
    return nearest ? keel_hint(err, "did you mean '%s'? `keel --help` lists all verbs", nearest)
                   : keel_hint(err, "`keel --help` lists all verbs");
}

/* ---- parsing ---- */

static const keel_flag *flag_in(const keel_flag *flags, const char *name, size_t length) {
    for (; flags->name; flags++)
        if (strlen(flags->name) == length && memcmp(flags->name, name, length) == 0) return flags;
    return NULL;
}

bool keel_verb_has_flag(const keel_verb *verb, const char *flag) {
    return flag_in(verb->flags, flag, strlen(flag)) != NULL;
}

static const keel_flag *flag_find(const keel_verb *verb, const char *name, size_t length) {
    const keel_flag *flag = flag_in(verb->flags, name, length);
    return flag ? flag : flag_in(keel_cli_common_flags, name, length);
}

static keel_status fail_unknown_flag(const keel_verb *verb, const char *name, size_t length, keel_err *err) {
    const char *names[64] = {0};
    size_t count = 0;
    for (const keel_flag *flag = verb->flags; flag->name && count < 60; flag++) names[count++] = flag->name;
    for (const keel_flag *flag = keel_cli_common_flags; flag->name && count < 63; flag++)
        names[count++] = flag->name;
    char given[64];
    snprintf(given, sizeof given, "%.*s", (int)(length < sizeof given ? length : sizeof given - 1), name);
    keel_fail(err, KEEL_E_USAGE, NULL, "unknown flag %s", given);
    const char *nearest = keel_nearest(given, names);
    return nearest ? keel_hint(err, "did you mean %s? `%s%s --help` lists the flags", nearest,
                               KEEL_VERB_WORDS(verb))
                   : keel_hint(err, "`%s%s --help` lists the flags", KEEL_VERB_WORDS(verb));
}

static keel_status add_given(keel_cli *cli, const keel_flag *flag, const char *value, keel_err *err) {
    if (flag && !flag->repeatable && keel_cli_has(cli, flag->name))
        return keel_fail(err, KEEL_E_USAGE, flag->name, "given twice");
    if (flag && flag->placeholder && value && *value == '\0')
        return keel_fail(err, KEEL_E_USAGE, flag->name, "its value is empty");
    cli->given[cli->n_given++] = (keel_given){flag, value};
    return KEEL_OK;
}

/* One flag at argv[*at], moving *at past a value that stands apart. */
static keel_status parse_flag(keel_cli *cli, size_t argc, const char *const *argv, size_t *at,
                              keel_err *err) {
    const char *text = argv[*at], *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : strlen(text);
    const keel_flag *flag = flag_find(cli->verb, text, length);
    if (!flag) return fail_unknown_flag(cli->verb, text, length, err);
    if (!flag->placeholder) {
        if (equals) return keel_fail(err, KEEL_E_USAGE, flag->name, "takes no value");
        return add_given(cli, flag, NULL, err);
    }
    if (equals) return add_given(cli, flag, equals + 1, err);
    if (*at + 1 >= argc)
        return keel_fail(err, KEEL_E_USAGE, flag->name, "needs a value: %s", flag->placeholder);
    *at += 1;
    return add_given(cli, flag, argv[*at], err);
}

static keel_status check_complete(const keel_cli *cli, size_t words, keel_err *err) {
    const keel_verb *verb = cli->verb;
    for (const keel_flag *flag = verb->flags; flag->name; flag++)
        if (flag->required && !keel_cli_has(cli, flag->name)) {
            keel_fail(err, KEEL_E_USAGE, flag->name, "is missing: %s", flag->help);
            return keel_hint(err, "`%s%s --help` shows what it takes", KEEL_VERB_WORDS(verb));
        }
    if (words < verb->words_min) {
        keel_fail(err, KEEL_E_USAGE, NULL, "%s is missing", verb->words);
        return keel_hint(err, "`%s%s --help` shows what it takes", KEEL_VERB_WORDS(verb));
    }
    return KEEL_OK;
}

static bool asks(const char *flag, const char *in_short, size_t argc, const char *const *argv) {
    for (size_t i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], flag) == 0 || strcmp(argv[i], in_short) == 0) return true;
    return false;
}

/* The value of verb->named->flag among the arguments. */
static int find_name(const keel_verb *verb, size_t argc, const char *const *argv) {
    size_t length = verb->named ? strlen(verb->named->flag) : 0;
    for (size_t i = 0; verb->named && i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], verb->named->flag, length) != 0) continue;
        const char *value = argv[i][length] == '=' ? argv[i] + length + 1 : i + 1 < argc ? argv[i + 1] : "";
        for (int name = 0; verb->named->name(name); name++)
            if (strcmp(verb->named->name(name), value) == 0) return name;
    }
    return -1;
}

keel_status keel_cli_parse(keel_cli *cli, const keel_verb *verb, size_t argc, const char *const *argv,
                           bool *help, keel_err *err) {
    *cli = (keel_cli){.verb = verb, .json_lost = keel_json_lost(), .named = find_name(verb, argc, argv)};
    const bool explain = asks("--explain", "--explain", argc, argv);
    cli->asked = explain ? KEEL_CLI_EXPLAIN : KEEL_CLI_HELP;
    *help = explain || asks("--help", "-h", argc, argv);
    if (*help) return KEEL_OK;
    cli->given = keel_arena_calloc(&cli->arena, argc + 1, sizeof *cli->given);
    if (!cli->given) return keel_fail(err, KEEL_E_NOMEM, NULL, "for %zu arguments", argc);
    size_t words = 0;
    bool only_words = false;
    for (size_t i = 0; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0') {
            KEEL_TRY(parse_flag(cli, argc, argv, &i, err));
        } else if (words >= verb->words_max) {
            keel_fail(err, KEEL_E_USAGE, NULL, "does not expect '%s'", argv[i]);
            return keel_hint(err, "values follow their flag; `%s%s --help` shows them",
                             KEEL_VERB_WORDS(verb));
        } else {
            words++;
            KEEL_TRY(add_given(cli, NULL, argv[i], err));
        }
    }
    return check_complete(cli, words, err);
}

keel_status keel_cli_check_result(keel_cli *cli, keel_err *err) {
    keel_json_mend(cli->result);
    if (keel_json_lost() == cli->json_lost) return KEEL_OK;
    return keel_fail(err, KEEL_E_NOMEM, NULL, "for the result");
}

keel_status keel_cli_run(keel_cli *cli, keel_err *err) {
    int64_t megabytes = 0;
    KEEL_TRY(keel_cli_integer(cli, "--memory", 1, 1 << 30, &megabytes, err));
    if (megabytes) keel_process_limit_memory((size_t)megabytes << 20);
    keel_status status = cli->verb->run(cli, err);
    if (status == KEEL_OK) status = keel_cli_check_result(cli, err);
    if (status == KEEL_E_NOMEM && keel_memory_left() != SIZE_MAX && !(err && err->hint[0]))
        keel_hint(err, "--memory allows no more: give it more");
    return status;
}

void keel_cli_tell(keel_cli *cli) {
    while (cli->told && cli->told->child) {
        cJSON *item = cJSON_DetachItemViaPointer(cli->told, cli->told->child);
        keel_json_add(cli->result, item->string, item);
    }
}

void keel_cli_free(keel_cli *cli) {
    cJSON_Delete(cli->result);
    cJSON_Delete(cli->told);
    keel_arena_free(&cli->arena);
    *cli = (keel_cli){0};
}

/* ---- what was given ---- */

bool keel_cli_has(const keel_cli *cli, const char *flag) {
    for (size_t i = 0; i < cli->n_given; i++)
        if (cli->given[i].flag && strcmp(cli->given[i].flag->name, flag) == 0) return true;
    return false;
}

const char *keel_cli_value(const keel_cli *cli, const char *flag) {
    for (size_t i = 0; i < cli->n_given; i++)
        if (cli->given[i].flag && strcmp(cli->given[i].flag->name, flag) == 0) return cli->given[i].value;
    return NULL;
}

keel_status keel_cli_values(keel_cli *cli, const char *flag, const char *const **values, size_t *count,
                            keel_err *err) {
    const char **found = keel_arena_calloc(&cli->arena, cli->n_given + 1, sizeof *found);
    if (!found)
        return keel_fail(err, KEEL_E_NOMEM, NULL, "for the values of %s", flag ? flag : cli->verb->words);
    size_t n = 0;
    for (size_t i = 0; i < cli->n_given; i++) {
        const keel_given *given = &cli->given[i];
        if (flag ? given->flag && strcmp(given->flag->name, flag) == 0 : !given->flag)
            found[n++] = given->value;
    }
    *values = found;
    *count = n;
    return KEEL_OK;
}

keel_status keel_cli_integer(const keel_cli *cli, const char *flag, int64_t low, int64_t high, int64_t *out,
                             keel_err *err) {
    const char *text = keel_cli_value(cli, flag);
    if (!text) return KEEL_OK;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0)
        return keel_fail(err, KEEL_E_USAGE, flag, "expected a whole number, got '%s'", text);
    if (value < low || value > high)
        return keel_fail(err, KEEL_E_USAGE, flag, "expected %lld to %lld, got %lld", (long long)low,
                         (long long)high, value);
    *out = value;
    return KEEL_OK;
}

keel_status keel_cli_numbers(const char *flag, const char *text, double *out, size_t count, keel_err *err) {
    const char *at = text;
    bool good = true;
    for (size_t i = 0; good && i < count; i++) {
        char *end;
        good = i == 0 || *at++ == ',';
        if (!good) break;
        out[i] = keel_decimal_read(at, &end);
        good = end != at && isfinite(out[i]);
        at = end;
    }
    if (good && !*at) return KEEL_OK;
    return keel_fail(err, KEEL_E_USAGE, flag, "expected %zu numbers with commas between, got \"%s\"", count,
                     text);
}

keel_status keel_cli_number(const keel_cli *cli, const char *flag, double low, double high, double *out,
                            keel_err *err) {
    const char *text = keel_cli_value(cli, flag);
    double value;
    if (!text) return KEEL_OK;
    if (keel_cli_numbers(flag, text, &value, 1, NULL) != KEEL_OK || value < low || value > high)
        return keel_fail(err, KEEL_E_USAGE, flag, "expected a number from %g to %g, got \"%.40s\"", low, high,
                         text);
    *out = value;
    return KEEL_OK;
}

keel_status keel_cli_share(const keel_cli *cli, const char *flag, double *out, keel_err *err) {
    const char *text = keel_cli_value(cli, flag);
    if (!text) return KEEL_OK;
    KEEL_TRY(keel_cli_numbers(flag, text, out, 1, err));
    if (*out > 0 && *out < 1) return KEEL_OK;
    return keel_fail(err, KEEL_E_USAGE, flag, "expected a number between 0 and 1, got \"%s\"", text);
}

keel_status keel_cli_duration(const keel_cli *cli, const char *flag, double *out, keel_err *err) {
    const char *text = keel_cli_value(cli, flag);
    if (!text || keel_decimal_duration(text, out)) return KEEL_OK;
    keel_fail(err, KEEL_E_USAGE, flag, "\"%.40s\" is no duration", text);
    return keel_hint(err, "write a number with s, m or h, as 90s, 10m or 2h");
}

keel_status keel_cli_choice(const keel_cli *cli, const char *flag, const char *const *choices, int *out,
                            keel_err *err) {
    const char *text = keel_cli_value(cli, flag);
    if (!text) return KEEL_OK;
    keel_buf list = {0};
    for (int i = 0; choices[i]; i++) {
        if (strcmp(choices[i], text) == 0) {
            keel_buf_free(&list);
            *out = i;
            return KEEL_OK;
        }
        keel_buf_format(&list, "%s%s", i ? ", " : "", choices[i]);
    }
    keel_fail(err, KEEL_E_USAGE, flag, "expected one of %s; got '%s'", list.data ? list.data : "", text);
    keel_buf_free(&list);
    const char *nearest = keel_nearest(text, choices);
    return nearest ? keel_hint(err, "did you mean '%s'?", nearest) : KEEL_E_USAGE;
}

keel_status keel_cli_blame(keel_status status, keel_err *err) {
    bool value_is_wrong = status == KEEL_E_INVALID || status == KEEL_E_PARSE || status == KEEL_E_NOT_FOUND;
    if (!value_is_wrong) return status;
    if (err) err->code = KEEL_E_USAGE;
    return KEEL_E_USAGE;
}

/* ---- configuration keys ---- */

static bool has_key(const keel_option *table, const char *key) {
    for (; table->key; table++)
        if (strcmp(table->key, key) == 0) return true;
    return false;
}

void keel_cli_named_rows(const keel_verb *verb, keel_option *rows, size_t room) {
    const keel_named_options *named = verb->named;
    size_t n = 0;
    memset(rows, 0, room * sizeof *rows);
    for (int i = 0; named && named->name(i); i++)
        for (const keel_option *row = named->table(i); row->key && n + 1 < room; row++)
            if (!(verb->options && has_key(verb->options[0], row->key)) && !has_key(rows, row->key))
                rows[n++] = *row;
}

keel_status keel_cli_check_key(const keel_cli *cli, const keel_option *table, const char *key,
                               const char *where, keel_err *err) {
    const keel_named_options *named = cli->verb->named;
    keel_buf owners = {0};
    if (!named || has_key(table, key)) return KEEL_OK;
    for (int i = 0; named->name(i); i++)
        if (has_key(named->table(i), key))
            keel_buf_format(&owners, "%s%s", owners.length ? ", " : "", named->name(i));
    if (!owners.length) return KEEL_OK;
    keel_fail(err, KEEL_E_USAGE, where, "%s has no key \"%s\": it is a key of %s",
              cli->named < 0 ? named->flag : named->name(cli->named), key,
              owners.data ? owners.data : "others");
    keel_hint(err, "`keel %s %s %s --help` lists the keys", cli->verb->name, named->flag,
              cli->named < 0 ? "NAME" : named->name(cli->named));
    keel_buf_free(&owners);
    return KEEL_E_USAGE;
}

keel_status keel_cli_assign(const keel_cli *cli, const keel_option *table, void *config,
                            const char *key_equals_value, keel_err *err) {
    char key[64];
    const char *equals = strchr(key_equals_value, '=');
    if (equals && (size_t)(equals - key_equals_value) < sizeof key) {
        snprintf(key, sizeof key, "%.*s", (int)(equals - key_equals_value), key_equals_value);
        KEEL_TRY(keel_cli_check_key(cli, table, key, "--set", err));
    }
    return keel_cli_blame(keel_options_assign(table, config, key_equals_value, err), err);
}

static keel_status read_config(const keel_cli *cli, const char *path, const keel_option *table, void *config,
                               keel_err *err) {
    cJSON *object = NULL;
    keel_status status = keel_json_parse_file(path, &object, err);
    const cJSON *item = cJSON_IsObject(object) ? object->child : NULL;
    for (; status == KEEL_OK && item; item = item->next)
        status = keel_cli_check_key(cli, table, item->string, path, err);
    if (status == KEEL_OK) status = keel_cli_blame(keel_options_json(table, config, object, path, err), err);
    cJSON_Delete(object);
    return status;
}

keel_status keel_cli_options(keel_cli *cli, const keel_option *table, void *config, keel_err *err) {
    const char *path = keel_cli_value(cli, "--config");
    const char *const *settings;
    size_t count;
    if (path) KEEL_TRY(read_config(cli, path, table, config, err));
    KEEL_TRY(keel_cli_values(cli, "--set", &settings, &count, err));
    for (size_t i = 0; i < count; i++) KEEL_TRY(keel_cli_assign(cli, table, config, settings[i], err));
    const char *seed = keel_cli_value(cli, "--seed");
    return seed ? keel_cli_blame(keel_options_set(table, config, "seed", seed, "--seed", err), err) : KEEL_OK;
}

/* ---- help ---- */

static void help_flags(const keel_flag *flags, FILE *out) {
    for (; flags->name; flags++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", flags->name, flags->placeholder ? " " : "",
                 flags->placeholder ? flags->placeholder : "");
        fprintf(out, "  %-22s %s%s%s\n", left, flags->help, flags->required ? " (required)" : "",
                flags->repeatable ? " (may be repeated)" : "");
    }
}

static void help_named(const keel_named_options *named, int name, FILE *out) {
    fprintf(out, "\nkeys of --set and --config with %s %s:\n", named->flag, named->name(name));
    keel_options_help(named->table(name), out);
}

void keel_cli_help(const keel_cli *cli, FILE *out) {
    const keel_verb *verb = cli->verb;
    if (cli->asked == KEEL_CLI_EXPLAIN) {
        keel_explain_print(verb->name, out);
        return;
    }
    fprintf(out, "%s%s: %s\n\n", KEEL_VERB_WORDS(verb), verb->brief);
    fprintf(out, "usage: %s%s", KEEL_VERB_WORDS(verb));
    for (const keel_flag *flag = verb->flags; flag->name; flag++)
        if (flag->required) fprintf(out, " %s %s", flag->name, flag->placeholder);
    fprintf(out, " [flags]%s%s\n\n", verb->words ? " " : "", verb->words ? verb->words : "");
    help_flags(verb->flags, out);
    help_flags(keel_cli_common_flags, out);
    if (verb->more) fprintf(out, "\n%s", verb->more);
    if (cli->named >= 0) {
        help_named(verb->named, cli->named, out);
        return;
    }
    if (verb->more_tables) verb->more_tables(out);
    for (int i = 0; verb->named && !verb->options && verb->named->name(i); i++)
        help_named(verb->named, i, out);
    for (size_t i = 0; verb->options && verb->options[i]; i++) {
        if (i == 0 && verb->named)
            fprintf(out, "\nkeys of --set and --config with every %s:\n", verb->named->flag);
        else
            fputs(i == 0 ? "\nkeys of --set and --config:\n" : "\n", out);
        keel_options_help(verb->options[i], out);
    }
}
