/* The manual page keel(1) in man(7), made from the flag tables of the verbs. */
#include <stdlib.h>
#include <string.h>

#include "experiments/cli.h"

/* Text within a line of roff: nothing in it is a request, a macro or a special character. */
static void put_text(const char *text, size_t length, FILE *out) {
    for (size_t i = 0; i < length; i++) {
        switch (text[i]) {
        case '\\':
            fputs("\\e", out);
            break;
        case '-':
            fputs("\\-", out);
            break;
        case '\'':
            fputs("\\(aq", out);
            break;
        case '`':
            fputs("\\(ga", out);
            break;
        case '^':
            fputs("\\(ha", out);
            break;
        case '~':
            fputs("\\(ti", out);
            break;
        case '.':
            fputs(i == 0 ? "\\&." : ".", out);
            break;
        default:
            fputc(text[i], out);
        }
    }
}

static void put(const char *text, FILE *out) {
    put_text(text, strlen(text), out);
}

/* One line that begins with a font, back to roman at its end. */
static void put_bold(const char *text, FILE *out) {
    fputs("\\fB", out);
    put(text, out);
    fputs("\\fR", out);
}

/* Help as it is printed on a terminal: lines of a table stay lines, the others become paragraphs. */
static void put_help(const char *text, FILE *out) {
    bool table = false, paragraph = false;
    while (*text) {
        size_t length = strcspn(text, "\n");
        bool row = *text == ' ', example = strncmp(text, "example: ", 9) == 0;
        if (row != table && length) fputs(row ? ".PP\n.nf\n" : ".fi\n", out);
        if (length) table = row;
        if (!row && length && (!paragraph || example)) fputs(".PP\n", out);
        paragraph = !row && length;
        if (length) {
            put_text(text, length, out);
            fputc('\n', out);
        }
        text += length + (text[length] == '\n');
    }
    if (table) fputs(".fi\n", out);
}

static void put_flags(const keel_flag *flags, FILE *out) {
    for (; flags->name; flags++) {
        fputs(".TP\n", out);
        put_bold(flags->name, out);
        if (flags->placeholder) {
            fputs(" \\fI", out);
            put(flags->placeholder, out);
            fputs("\\fR", out);
        }
        fputc('\n', out);
        put(flags->help, out);
        fprintf(out, "%s%s\n", flags->required ? " (required)" : "",
                flags->repeatable ? " (may be repeated)" : "");
    }
}

static void put_options(const keel_option *row, FILE *out) {
    for (; row->key; row++) {
        keel_buf wanted = {0};
        keel_options_wanted(row, &wanted);
        fputs(".TP\n", out);
        put_bold(row->key, out);
        fputs(" (default: ", out);
        put(row->standard, out);
        fputs(")\n", out);
        put(row->help, out);
        fputs("; ", out);
        put(wanted.data ? wanted.data : "", out);
        fputc('\n', out);
        keel_buf_free(&wanted);
    }
}

static void put_verb(const keel_verb *verb, FILE *out) {
    fprintf(out, ".SS keel %s\n", verb->name);
    put(verb->brief, out);
    fputs("\n.PP\n", out);
    put_bold("keel ", out);
    put_bold(verb->name, out);
    for (const keel_flag *flag = verb->flags; flag->name; flag++) {
        if (!flag->required) continue;
        fputc(' ', out);
        put_bold(flag->name, out);
        fprintf(out, " \\fI%s\\fR", flag->placeholder);
    }
    fputs(" [flags]", out);
    if (verb->words) fprintf(out, " \\fI%s\\fR", verb->words);
    fputc('\n', out);
    put_flags(verb->flags, out);
    if (verb->more) put_help(verb->more, out);
    if (verb->more_tables) {
        char *text = NULL;
        size_t length;
        FILE *memory = open_memstream(&text, &length);
        if (memory) verb->more_tables(memory);
        if (memory && fclose(memory) == 0) put_help(text, out);
        free(text);
    }
    for (size_t i = 0; verb->options && verb->options[i]; i++) {
        if (i == 0) fputs(".PP\nKeys of \\fB\\-\\-set\\fR and \\fB\\-\\-config\\fR:\n", out);
        put_options(verb->options[i], out);
    }
    if (!verb->named) return;
    keel_option rows[KEEL_MOST_NAMED_ROWS];
    keel_cli_named_rows(verb, rows, KEEL_MOST_NAMED_ROWS);
    fprintf(out, ".PP\nKeys of \\fB\\-\\-set\\fR and \\fB\\-\\-config\\fR that depend on %s:\n",
            verb->named->flag);
    put_options(rows, out);
}

void keel_cli_manual(FILE *out) {
    fputs(".\\\" Made by `keel help --man`.\n.TH KEEL 1 " KEEL_RELEASED " \"", out);
    keel_cli_version(false, out);
    fputs(
        "\" \"User Commands\"\n"
        ".SH NAME\nkeel \\- safety\\-aligned dialogue policies from logged conversations\n"
        ".SH SYNOPSIS\n\\fBkeel\\fR \\fIVERB\\fR \\fB\\-\\-store\\fR \\fIFILE\\fR [flags]\n.br\n"
        "\\fBkeel help\\fR [\\fIVERB\\fR]\n.br\n\\fBkeel \\-\\-version\\fR\n"
        ".SH DESCRIPTION\n"
        "Keel reads conversations that an assistant has had, trains a policy from them offline, and estimates how\n"
        "often that policy refuses and completes what it is asked. The policy chooses among candidate answers or\n"
        "dialogue acts. A decoder can write the candidates.\n.PP\n"
        "Results go to standard output, as text or with \\fB\\-\\-json\\fR as JSON. Log and progress go to standard\n"
        "error. The same command continues an interrupted run.\n"
        ".SH COMMON FLAGS\nEvery verb takes these.\n",
        out);
    put_flags(keel_cli_common_flags, out);
    fputs(".SH VERBS\n", out);
    for (size_t i = 0; keel_verbs[i]; i++) put_verb(keel_verbs[i], out);
    fputs(
        ".SH EXIT STATUS\n.TP\n0\nThe command is done.\n.TP\n1\nIt failed.\n.TP\n2\nIt was used wrongly.\n.TP\n3\n"
        "A gate was not met.\n"
        ".SH ENVIRONMENT\n.TP\n\\fBKEEL_DATA\\fR\nThe folder that \\fBkeel run\\fR uses for ${data} without "
        "\\fB\\-\\-data\\fR.\n"
        ".TP\n\\fBTMPDIR\\fR\nThe folder of temporary files.\n"
        ".TP\n\\fBOPENBLAS_CORETYPE\\fR\nThe kernel that OpenBLAS uses. Two machines give the same bits only with the "
        "same kernel.\n"
        ".SH EXAMPLES\n.nf\n",
        out);
    put(keel_cli_session, out);
    fputs(".fi\n.SH SEE ALSO\nThe folder docs/ of the source code.\n", out);
}
