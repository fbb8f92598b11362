/* The command line: a table of flags per verb drives parsing, `--help` and the suggestions for misspelt
 * names. A verb returns a JSON result; main prints it as JSON or through the verb's print function, so that
 * people and machines read the same numbers, and `keel run` keeps them. */
#ifndef KEEL_EXPERIMENTS_CLI_H
#define KEEL_EXPERIMENTS_CLI_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/memory.h"
#include "core/options.h"

typedef struct keel_flag {
    const char *name;        /* "--store" */
    const char *placeholder; /* "FILE"; NULL: a switch that takes no value */
    bool required;
    bool repeatable;
    const char *help;
} keel_flag;

/* The names that a flag takes, for completion. A table ends with a row whose flag is NULL. */
typedef struct keel_flag_choices {
    const char *flag;
    const char *const *names; /* NULL-terminated */
} keel_flag_choices;

/* Every verb takes --quiet, --json, --memory, --explain and --help; these rows are common to several. */
#define KEEL_FLAG_STORE                                                                                      \
    { "--store", "FILE", true, false, "the store" }
#define KEEL_FLAG_SEED                                                                                       \
    { "--seed", "N", false, false, "seed of every random draw (default: the recorded one)" }
#define KEEL_FLAG_THREADS                                                                                    \
    { "--threads", "N", false, false, "threads; 0: one per processor (default). Results do not depend on it" }
#define KEEL_FLAG_END                                                                                        \
    { NULL, NULL, false, false, NULL }

/* A verb whose configuration keys depend on the name that a flag takes. */
typedef struct keel_named_options {
    const char *flag;                      /* "--algo" */
    const char *(*name)(int i);            /* NULL after the last */
    const keel_option *(*table)(int name); /* all keys under that name */
} keel_named_options;

enum { KEEL_MOST_NAMED_ROWS = 128 };

typedef struct keel_cli keel_cli;

typedef struct keel_verb {
    const char *name;
    const char *brief;                /* one line for `keel --help` */
    const keel_flag *flags;           /* the verb's own, ended by KEEL_FLAG_END */
    const keel_flag_choices *choices; /* or NULL */
    const char *words;                /* what stands without a flag ("PATH..."), or NULL */
    size_t words_min, words_max;
    const keel_option *const
        *options; /* tables of configuration keys that --help lists, NULL-terminated; or NULL */
    const keel_named_options *named; /* or NULL; options then has the keys that all names share */
    const char *more;                /* further help: what comes out, an example */
    void (*more_tables)(FILE *out);  /* further help from tables (names a flag takes); or NULL */
    /* cli->result gets the result; it may be set on KEEL_E_GATE too. */
    keel_status (*run)(keel_cli *cli, keel_err *err);
    void (*print)(const cJSON *result, FILE *out);
    const char *alone; /* the program that is this verb and nothing else; NULL: `keel NAME` */
} keel_verb;

/* How it is called, for "%s%s". */
#define KEEL_VERB_WORDS(verb) (verb)->alone ? "" : "keel ", (verb)->alone ? (verb)->alone : (verb)->name

typedef struct keel_given {
    const keel_flag *flag; /* NULL: a word */
    const char *value;     /* NULL for a switch */
} keel_given;

/* What --help and --explain ask for. */
typedef enum keel_cli_asked { KEEL_CLI_HELP, KEEL_CLI_EXPLAIN } keel_cli_asked;

struct keel_cli {
    const keel_verb *verb;
    keel_cli_asked asked;
    keel_given *given; /* in the order of the command line; strings are argv's */
    size_t n_given;
    cJSON *result;    /* owned */
    cJSON *told;      /* owned, or NULL: what was left to do for this very call, see keel_cli_tell */
    size_t json_lost; /* keel_json_lost when parsed */
    int named;        /* index of the name that verb->named->flag takes; -1: none, or an unknown one */
    keel_arena arena; /* lives as long as the cli */
};

extern const keel_verb *const keel_verbs[]; /* NULL-terminated */
/* KEEL_E_USAGE, with the nearest name as a hint, for an unknown verb. */
keel_status keel_verb_find(const char *name, const keel_verb **out, keel_err *err);
bool keel_verb_has_flag(const keel_verb *verb, const char *flag); /* its own, as "--out" */

/* argv: what follows the verb. Unknown flags, missing values, missing required flags and doubled flags are
 * KEEL_E_USAGE. *help is set (and nothing else checked) when --help or --explain is among them. Free in any
 * case. */
keel_status keel_cli_parse(keel_cli *cli, const keel_verb *verb, size_t argc, const char *const *argv,
                           bool *help, keel_err *err);
void keel_cli_free(keel_cli *cli);

/* Runs the verb, within --memory if that is given. A result that lacks a part for want of memory is
 * KEEL_E_NOMEM, not KEEL_OK. */
keel_status keel_cli_run(keel_cli *cli, keel_err *err);
/* The same check, before a result is kept somewhere. */
keel_status keel_cli_check_result(keel_cli *cli, keel_err *err);

/* Puts what was told at the end of the result, for printing. Told, not kept: a command that was cut off and
 * given again is recorded, and marked as done in a run, as one that was not. */
void keel_cli_tell(keel_cli *cli);

bool keel_cli_has(const keel_cli *cli, const char *flag);
const char *keel_cli_value(const keel_cli *cli, const char *flag); /* the value given, or NULL */
/* All values of a repeatable flag (flag NULL: the words), in order, into the cli's arena. */
keel_status keel_cli_values(keel_cli *cli, const char *flag, const char *const **values, size_t *count,
                            keel_err *err);
/* A whole number within bounds; *out untouched when the flag is not given. */
keel_status keel_cli_integer(const keel_cli *cli, const char *flag, int64_t low, int64_t high, int64_t *out,
                             keel_err *err);
/* A number within bounds; *out untouched when the flag is not given. */
keel_status keel_cli_number(const keel_cli *cli, const char *flag, double low, double high, double *out,
                            keel_err *err);
/* "0.2,0.7,0.1", a value of `flag`: so many numbers into out; KEEL_E_USAGE for anything else. */
keel_status keel_cli_numbers(const char *flag, const char *text, double *out, size_t count, keel_err *err);
/* A number between 0 and 1, both left out; *out untouched when the flag is not given. */
keel_status keel_cli_share(const keel_cli *cli, const char *flag, double *out, keel_err *err);
/* "90s", "10m" or "2h": seconds above 0; *out untouched when the flag is not given. */
keel_status keel_cli_duration(const keel_cli *cli, const char *flag, double *out, keel_err *err);
/* Index of a flag's value in a NULL-terminated list; *out untouched when the flag is not given. */
keel_status keel_cli_choice(const keel_cli *cli, const char *flag, const char *const *choices, int *out,
                            keel_err *err);
/* A key that the table does not have, but that has one under another name of verb->named, is KEEL_E_USAGE and
 * names those; KEEL_OK for all others. */
keel_status keel_cli_check_key(const keel_cli *cli, const keel_option *table, const char *key,
                               const char *where, keel_err *err);
/* One "key=value" of --set, with that check. config NULL: only checked. */
keel_status keel_cli_assign(const keel_cli *cli, const keel_option *table, void *config,
                            const char *key_equals_value, keel_err *err);
/* Options from --config FILE, then --set KEY=VALUE in order, then --seed if the verb has it. config holds the
 * defaults. */
keel_status keel_cli_options(keel_cli *cli, const keel_option *table, void *config, keel_err *err);

/* The rows of the keys that only some names of verb->named take, each once, as the first name has it; {0} at
 * the end, rows beyond `room` are left out. For help. */
void keel_cli_named_rows(const keel_verb *verb, keel_option *rows, size_t room);
/* With the keys of the name that cli->named says; or, for --explain, what the output means. */
void keel_cli_help(const keel_cli *cli, FILE *out);
void keel_cli_overview(FILE *out);                  /* `keel --help` */
void keel_cli_version(bool with_commit, FILE *out); /* "keel 0.3.0 (commit)", no newline */
extern const char keel_cli_session[];               /* commands from logs to a judged policy, a line each */
extern const keel_flag keel_cli_common_flags[];     /* of every verb */
void keel_cli_manual(FILE *out);                    /* keel(1) in man(7) */
/* A completion script; shell: an index into keel_cli_shells. */
extern const char *const keel_cli_shells[]; /* "bash", "zsh"; NULL-terminated */
void keel_cli_completion(int shell, FILE *out);

/* The name of a NULL-terminated list that is nearest to the given one, or NULL when none is near. */
const char *keel_nearest(const char *name, const char *const *names);
/* A failure whose cause is a value on the command line: the same text as KEEL_E_USAGE, which exits with 2. */
keel_status keel_cli_blame(keel_status status, keel_err *err);

#endif
