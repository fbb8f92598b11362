/* A verb from outside the tree (tests/experiments/extending.sh): says how long its words are. */
#include <string.h>

#include "core/json.h"
#include "experiments/table.h"
#include "experiments/verbs.h"

static const keel_flag flags[] = {{"--twice", NULL, false, false, "count each twice"}, KEEL_FLAG_END};

static keel_status run(keel_cli *cli, keel_err *err) {
    const char *const *words;
    size_t n_words;
    double sum = 0;
    KEEL_TRY(keel_cli_values(cli, NULL, &words, &n_words, err));
    for (size_t i = 0; i < n_words; i++) sum += (double)strlen(words[i]);
    cli->result = cJSON_CreateObject();
    const bool good =
        cJSON_AddNumberToObject(cli->result, "letters", keel_cli_has(cli, "--twice") ? 2 * sum : sum);
    return good ? KEEL_OK : keel_nomem(err, "toy");
}

static void print(const cJSON *result, FILE *out) {
    keel_print_leaves(out, result);
}

const keel_verb keel_verb_toy = {.name = "toy",
                                 .brief = "count letters",
                                 .flags = flags,
                                 .words = "WORD...",
                                 .words_min = 1,
                                 .words_max = 9,
                                 .run = run,
                                 .print = print};
