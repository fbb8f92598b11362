/* Shell completion for bash and zsh, made from the flag tables of the verbs. */
#include <stdlib.h>
#include <string.h>

#include "experiments/cli.h"

typedef enum value_kind { VALUE_NONE, VALUE_ANY, VALUE_FILE, VALUE_FOLDER } value_kind;

/* What a placeholder stands for: "DIR" is a folder, "FILE", "PATH..." and the like are files. */
static value_kind kind_of(const char *placeholder) {
    static const char *const files[] = {"FILE", "PATH", "SPEC", "RECIPE"};
    if (!placeholder) return VALUE_NONE;
    if (strcmp(placeholder, "DIR") == 0) return VALUE_FOLDER;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (strstr(placeholder, files[i])) return VALUE_FILE;
    return VALUE_ANY;
}

/* The names that a flag takes, or NULL. */
static const char *const *choices_of(const keel_verb *verb, const char *flag) {
    for (const keel_flag_choices *row = verb->choices; row && row->flag; row++)
        if (strcmp(row->flag, flag) == 0) return row->names;
    return NULL;
}

static void put_names(const char *const *names, FILE *out) {
    for (size_t i = 0; names && names[i]; i++) fprintf(out, "%s%s", i ? " " : "", names[i]);
}

static void put_keys(const keel_verb *verb, FILE *out) {
    for (size_t i = 0; verb->options && verb->options[i]; i++)
        for (const keel_option *row = verb->options[i]; row->key; row++) fprintf(out, " %s", row->key);
    keel_option rows[KEEL_MOST_NAMED_ROWS];
    keel_cli_named_rows(verb, rows, KEEL_MOST_NAMED_ROWS);
    for (const keel_option *row = rows; row->key; row++) fprintf(out, " %s", row->key);
}

static void put_verbs(FILE *out) {
    for (size_t i = 0; keel_verbs[i]; i++) fprintf(out, "%s%s", i ? " " : "", keel_verbs[i]->name);
}

/* What stands without a flag: the alternatives of "test|fit", else files or verbs, which `files` and `verbs`
 * stand for. */
static void put_words(const char *words, const char *files, const char *verbs, FILE *out) {
    if (!strchr(words, '|')) {
        fputs(kind_of(words) == VALUE_FILE ? files : verbs, out);
        return;
    }
    for (; *words; words++) fputc(*words == '|' ? ' ' : *words, out);
}

/* ---- bash ---- */

static void bash_flags_of_kind(const keel_flag *flags, value_kind kind, FILE *out) {
    for (; flags->name; flags++)
        if (kind_of(flags->placeholder) == kind) fprintf(out, " %s", flags->name);
}

static void bash_verb(const keel_verb *verb, FILE *out) {
    static const struct {
        const char *variable;
        value_kind kind;
    } lists[] = {
        {"switches", VALUE_NONE}, {"values", VALUE_ANY}, {"files", VALUE_FILE}, {"folders", VALUE_FOLDER}};
    fprintf(out, "    %s)\n", verb->name);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        fprintf(out, "        %s=\"", lists[i].variable);
        bash_flags_of_kind(verb->flags, lists[i].kind, out);
        bash_flags_of_kind(keel_cli_common_flags, lists[i].kind, out);
        fputs(" \"\n", out);
    }
    fputs("        keys=\"", out);
    put_keys(verb, out);
    fputs("\"\n", out);
    if (verb->words) {
        fputs("        words=\"", out);
        put_words(verb->words, "files", "$verbs", out);
        fputs("\"\n", out);
    }
    if (verb->choices) fputs("        case $previous in\n", out);
    for (const keel_flag_choices *row = verb->choices; row && row->flag; row++) {
        fprintf(out, "        %s) choices=\"", row->flag);
        put_names(row->names, out);
        fputs("\" ;;\n", out);
    }
    fputs(verb->choices ? "        esac\n        ;;\n" : "        ;;\n", out);
}

static void bash(FILE *out) {
    fputs("# bash completion for keel; made by `keel help --completion bash`.\n"
          "_keel() {\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} verbs=\"",
          out);
    put_verbs(out);
    fputs("\"\n"
          "    local switches= values= files= folders= keys= words= choices=\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -le 1 ]; then\n"
          "        COMPREPLY=($(compgen -W \"$verbs --help --version\" -- \"$current\"))\n"
          "        return\n"
          "    fi\n"
          "    # --flag=value comes in three words.\n"
          "    if [ \"$current\" = = ]; then\n"
          "        current=\n"
          "    elif [ \"$previous\" = = ] && [ \"$COMP_CWORD\" -gt 2 ]; then\n"
          "        previous=${COMP_WORDS[COMP_CWORD-2]}\n"
          "    fi\n"
          "    case ${COMP_WORDS[1]} in\n",
          out);
    for (size_t i = 0; keel_verbs[i]; i++) bash_verb(keel_verbs[i], out);
    fputs("    *) return ;;\n"
          "    esac\n"
          "    if [ \"$choices\" ]; then\n"
          "        COMPREPLY=($(compgen -W \"$choices\" -- \"$current\"))\n"
          "    elif [ \"$previous\" = --set ] && [ \"$keys\" ]; then\n"
          "        compopt -o nospace 2>/dev/null\n"
          "        COMPREPLY=($(compgen -W \"$keys\" -S = -- \"$current\"))\n"
          "    elif [[ $files == *\" $previous \"* ]]; then\n"
          "        compopt -o filenames 2>/dev/null\n"
          "        COMPREPLY=($(compgen -f -- \"$current\"))\n"
          "    elif [[ $folders == *\" $previous \"* ]]; then\n"
          "        compopt -o filenames 2>/dev/null\n"
          "        COMPREPLY=($(compgen -d -- \"$current\"))\n"
          "    elif [[ $values == *\" $previous \"* ]]; then\n"
          "        return\n"
          "    elif [[ $current == -* || ! $words ]]; then\n"
          "        COMPREPLY=($(compgen -W \"$switches $values $files $folders\" -- \"$current\"))\n"
          "    elif [ \"$words\" = files ]; then\n"
          "        compopt -o filenames 2>/dev/null\n"
          "        COMPREPLY=($(compgen -f -- \"$current\"))\n"
          "    else\n"
          "        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
          "    fi\n"
          "}\n"
          "complete -F _keel keel\n",
          out);
}

/* ---- zsh ---- */

/* Within '...[HERE]...' or '...:HERE:...' of a specification. */
static void zsh_text(const char *text, FILE *out) {
    for (; *text; text++) {
        if (strchr("[]:\\", *text)) fputc('\\', out);
        fputs(*text == '\'' ? "'\\''" : (char[]){*text, '\0'}, out);
    }
}

static void zsh_action(const keel_verb *verb, const keel_flag *flag, FILE *out) {
    const char *const *names = choices_of(verb, flag->name);
    value_kind kind = kind_of(flag->placeholder);
    if (names) {
        fputc('(', out);
        put_names(names, out);
        fputc(')', out);
    } else if (strcmp(flag->name, "--set") == 0 && (verb->options || verb->named)) {
        fputs("{compadd -S = --", out);
        put_keys(verb, out);
        fputc('}', out);
    } else {
        fputs(kind == VALUE_FILE ? "_files" : kind == VALUE_FOLDER ? "_files -/" : " ", out);
    }
}

static void zsh_flags(const keel_verb *verb, const keel_flag *flags, FILE *out) {
    for (; flags->name; flags++) {
        fprintf(out, " \\\n            '%s%s%s[", flags->repeatable ? "*" : "", flags->name,
                flags->placeholder ? "=" : "");
        zsh_text(flags->help, out);
        fputc(']', out);
        if (flags->placeholder) {
            fputc(':', out);
            zsh_text(flags->placeholder, out);
            fputc(':', out);
            zsh_action(verb, flags, out);
        }
        fputc('\'', out);
    }
}

static void zsh(FILE *out) {
    fputs("#compdef keel\n# zsh completion for keel; made by `keel help --completion zsh`.\n_keel() {\n"
          "    local -a verbs=(\n",
          out);
    for (size_t i = 0; keel_verbs[i]; i++) {
        fprintf(out, "        '%s:", keel_verbs[i]->name);
        zsh_text(keel_verbs[i]->brief, out);
        fputs("'\n", out);
    }
    fputs("    )\n"
          "    if (( CURRENT == 2 )); then\n"
          "        _describe verb verbs\n"
          "        compadd -- --help --version\n"
          "        return\n"
          "    fi\n"
          "    shift words\n"
          "    (( CURRENT-- ))\n"
          "    case $words[1] in\n",
          out);
    for (size_t i = 0; keel_verbs[i]; i++) {
        const keel_verb *verb = keel_verbs[i];
        fprintf(out, "    %s)\n        _arguments", verb->name);
        zsh_flags(verb, verb->flags, out);
        zsh_flags(verb, keel_cli_common_flags, out);
        if (verb->words) {
            fputs(" \\\n            '*:", out);
            zsh_text(verb->words, out);
            fputs(kind_of(verb->words) == VALUE_FILE ? ":_files'" : ":(", out);
            if (strchr(verb->words, '|'))
                put_words(verb->words, "", "", out), fputs(")'", out);
            else if (kind_of(verb->words) != VALUE_FILE)
                put_verbs(out), fputs(")'", out);
        }
        fputs(" ;;\n", out);
    }
    fputs("    esac\n}\n_keel \"$@\"\n", out);
}

const char *const keel_cli_shells[] = {"bash", "zsh", NULL};

void keel_cli_completion(int shell, FILE *out) {
    (shell == 0 ? bash : zsh)(out);
}
