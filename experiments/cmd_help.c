/* keel help: the overview of all verbs, the manual page or shell completion.
 *
 *  1. Without a flag the result is the text of `keel --help`. main turns `keel help VERB` into `keel VERB
 * --help`.
 *  2. --man and --completion print what CMake installs: both are made from the flag tables. */
#include <stdlib.h>

#include "core/json.h"
#include "experiments/explain.h"
#include "experiments/verbs.h"
#include "policies/artefact.h"

static const keel_flag flags[] = {
    {"--man", NULL, false, false, "the manual page keel(1), as roff"},
    {"--outputs", NULL, false, false, "what the outputs of all verbs mean, as docs/outputs.md"},
    {"--completion", "SHELL", false, false, "the completion script of a shell: bash or zsh"},
    KEEL_FLAG_END,
};
static const keel_flag_choices choices[] = {{"--completion", keel_cli_shells}, {NULL, NULL}};

static keel_status write_text(keel_cli *cli, FILE *out, keel_err *err) {
    int shell = -1;
    KEEL_TRY(keel_cli_choice(cli, "--completion", keel_cli_shells, &shell, err));
    if (shell >= 0 && keel_cli_has(cli, "--man"))
        return keel_fail(err, KEEL_E_USAGE, "--man", "cannot be given with --completion");
    if (keel_cli_has(cli, "--outputs") && (shell >= 0 || keel_cli_has(cli, "--man")))
        return keel_fail(err, KEEL_E_USAGE, "--outputs", "cannot be given with another page");
    if (keel_cli_has(cli, "--outputs"))
        keel_explain_document(out);
    else if (shell >= 0)
        keel_cli_completion(shell, out);
    else if (keel_cli_has(cli, "--man"))
        keel_cli_manual(out);
    else
        keel_cli_overview(out);
    return KEEL_OK;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    char *text = NULL;
    size_t length;
    FILE *memory = open_memstream(&text, &length);
    if (!memory) return keel_nomem(err, "for the help");
    keel_status status = write_text(cli, memory, err);
    if (fclose(memory) != 0 && status == KEEL_OK) status = keel_nomem(err, "for the help");
    if (status == KEEL_OK) {
        cli->result = cJSON_CreateObject();
        cJSON_AddStringToObject(cli->result, "help", text);
    }
    free(text);
    return status;
}

static void print(const cJSON *result, FILE *out) {
    fputs(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(result, "help")), out);
}

const keel_verb keel_verb_help = {
    .name = "help",
    .brief = "show this overview, the help of a verb, the manual page, shell completion",
    .flags = flags,
    .choices = choices,
    .words = "VERB",
    .words_max = 1,
    .more = "`keel help VERB` is `keel VERB --help`.\n"
            "example: keel help --completion bash >~/.local/share/bash-completion/completions/keel\n",
    .run = run,
    .print = print,
};
