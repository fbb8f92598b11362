/* The overview of the program and its version. */
#include <string.h>

#include "core/json.h"
#include "experiments/cli.h"
#include "policies/artefact.h"

const char keel_cli_session[] =
    "  keel import --store logs.db conversations.jsonl.gz\n"
    "  keel stats --store logs.db\n"
    "  keel label --store logs.db\n"
    "  keel sft --store logs.db --base builtin --out runs/base\n"
    "  keel train --store logs.db --base runs/base --algo cql --out runs/policy\n"
    "  keel eval --store logs.db --policy runs/policy --gate \"refusal_rate.low >= 0.95\"\n"
    "  keel report --store logs.db --policy runs/policy\n"
    "  keel replay --store logs.db --policy runs/policy --disagree\n"
    "  keel decide --policy runs/policy waiting.jsonl\n";

void keel_cli_overview(FILE *out) {
    fputs("keel: safety-aligned dialogue policies from logged conversations\n\n"
          "usage: keel VERB --store FILE [flags]\n\n",
          out);
    for (size_t i = 0; keel_verbs[i]; i++)
        fprintf(out, "  %-9s %s\n", keel_verbs[i]->name, keel_verbs[i]->brief);
    fprintf(out, "\nA first session, from logs to an evaluated policy:\n\n%s\n", keel_cli_session);
    fputs(
        "Without logs of your own: keel simulate --store logs.db --env support-desk --behaviour support-82 "
        "--episodes 3000\n"
        "In front of your models: keel serve --policy runs/policy --upstream http://127.0.0.1:8000/v1,n=3 "
        "--store live.db\n\n"
        "`keel VERB --help` lists a verb's flags; `keel sft --help` and `keel train --help` list every "
        "configuration key\n"
        "that --set KEY=VALUE and --config FILE take. Results go to stdout (--json for machines), log and "
        "progress to stderr.\n"
        "`keel --version` names the version and the commit. Exit: 0 done, 1 failed, 2 used wrongly, 3 a gate "
        "was not met.\n",
        out);
}

void keel_cli_version(bool with_commit, FILE *out) {
    cJSON *build = keel_build_info();
    const char *version = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(build, "keel"));
    const char *commit = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(build, "commit"));
    fprintf(out, "keel %s", version ? version : "");
    if (with_commit && commit && version && strcmp(commit, version) != 0) fprintf(out, " (%s)", commit);
    cJSON_Delete(build);
}
