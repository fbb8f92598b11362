/* keel sft: supervised tuning of a base.
 *
 *  1. Resolves the configuration: --config, then --set, then --seed.
 *  2. Opens the store and the split, and checks that --out may be written.
 *  3. Tunes the base on the logged responses, with checkpoints, so that an interrupted run goes on.
 *  4. Writes the artefact, records the run, prints the result.
 */
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "core/text.h"
#include "experiments/cli_resources.h"
#include "experiments/verbs.h"
#include "policies/artefact.h"
#include "policies/sft.h"

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--base", "SPEC", true, false,
     "builtin, decoder (a new one), an encoder or decoder (a folder, or a .gguf file), or the folder of a base to go on "
     "from"},
    {"--mode", "NAME", false, false,
     "an encoder or decoder: what is tuned: full, freeze, lora, head (encoder), prompt, none (decoder); as --set "
     "mode=NAME"},
    {"--teacher", "DIR", false, false,
     "a policy: the base learns what it would choose at each decision, in place of what was said"},
    {"--teacher-base", "DIR", false, false,
     "without --teacher: a base to learn from beside the log (distil); with it: that policy's base (default: the folder "
     "beside it that holds it)"},
    {"--out", "DIR", true, false, "folder of the tuned base"},
    {"--split", "NAME", false, false, "what it is tuned on (default: train)"},
    {"--config", "FILE", false, false, "JSON object of configuration keys"},
    {"--set", "KEY=VALUE", false, true, "one configuration key"},
    {"--refusal", "TEXT", false, true,
     "candidate sets: offer this refusal at every decision, instead of the standard one; @FILE: the text of a file"},
    {"--hand-over", "TEXT", false, true, "the same of an answer that hands over to a person"},
    {"--metrics", "FILE", false, false, "JSON Lines of each part of the loss"},
    KEEL_FLAG_REPLACE,
    KEEL_FLAG_SEED,
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

/* The text that a flag gives, or that of the file it names, without line breaks at its end. */
static keel_status read_text(keel_cli *cli, const char *flag, const char *given, const char **out,
                             keel_err *err) {
    keel_buf file = {0};
    const char *text = given;
    size_t n = strlen(given);
    keel_status status = KEEL_OK;
    if (given[0] == '@') {
        status = keel_file_read(given + 1, 1 << 20, &file, err);
        text = file.data;
        n = file.length;
        while (n > 0 && strchr("\r\n", text[n - 1])) n--;
    }
    if (status == KEEL_OK && (n == 0 || memchr(text, 0, n) || keel_utf8_valid_prefix(text, n) != n))
        status = keel_fail(err, KEEL_E_USAGE, flag, "expected UTF-8 text, got %s",
                           n ? "something else" : "nothing");
    char *copy = status == KEEL_OK ? keel_arena_calloc(&cli->arena, n + 1, 1) : NULL;
    if (copy) memcpy(copy, text, n);
    if (status == KEEL_OK && !copy) status = keel_nomem(err, flag);
    *out = copy;
    keel_buf_free(&file);
    return status;
}

/* --refusal and --hand-over, in the cli's arena. */
static keel_status read_fixed(keel_cli *cli, const keel_candidate **out, size_t *n_out, keel_err *err) {
    static const char *const flags_of[] = {"--refusal", "--hand-over"};
    const char *const *texts[2];
    size_t n[2];
    for (size_t f = 0; f < 2; f++) KEEL_TRY(keel_cli_values(cli, flags_of[f], &texts[f], &n[f], err));
    if (n[0] + n[1] > KEEL_MOST_FIXED)
        return keel_fail(err, KEEL_E_USAGE, flags_of[0], "at most %d fixed answers", (int)KEEL_MOST_FIXED);
    keel_candidate *fixed = keel_arena_calloc(&cli->arena, n[0] + n[1] + 1, sizeof *fixed);
    if (!fixed) return keel_nomem(err, "sft");
    *n_out = 0;
    for (size_t f = 0; f < 2; f++)
        for (size_t i = 0; i < n[f]; i++) {
            keel_candidate *one = &fixed[(*n_out)++];
            *one = (keel_candidate){.act = f ? KEEL_HAND_OVER : NULL, .outcome = KEEL_OUTCOME_REFUSAL};
            KEEL_TRY(read_text(cli, flags_of[f], texts[f][i], &one->text, err));
        }
    *out = fixed;
    return KEEL_OK;
}

static keel_status tune_with(keel_cli *cli, keel_store *store, keel_pool *pool,
                             const keel_base_config *config, keel_sft_extras *extras, keel_err *err) {
    const char *out = keel_cli_value(cli, "--out");
    keel_split split;
    KEEL_TRY(read_fixed(cli, &extras->fixed, &extras->n_fixed, err));
    KEEL_TRY(keel_cli_open_split(cli, store, "train", &split, err));
    KEEL_TRY(keel_artefact_check_out(out, "base", NULL, NULL, true, err));
    KEEL_TRY(keel_cli_open_out_file(keel_cli_value(cli, "--metrics"), 0, KEEL_METRICS_BEGIN, err));
    KEEL_TRY(keel_sft_with(store, &split, keel_cli_value(cli, "--base"), config, extras, out,
                           keel_cli_has(cli, "--replace"), keel_cli_value(cli, "--metrics"), pool, err));
    KEEL_TRY(keel_artefact_result(cli, out, "base", split.text, err));
    return keel_record_run(cli, store, err);
}

/* What a base to learn from was tuned on, as its keel.json says; NULL: a model as it came. */
static keel_status read_teacher_split(keel_cli *cli, const char *dir, const char **out, keel_err *err) {
    const char *split = keel_cli_value(cli, "--split"), *found = NULL, *path;
    cJSON *manifest = NULL;
    *out = NULL;
    if (!split) split = "train";
    if (!(path = keel_path_join(&cli->arena, dir, "keel.json"))) return keel_nomem(err, dir);
    if (!keel_file_exists(path)) return KEEL_OK;
    KEEL_TRY(keel_manifest_read(dir, &manifest, err));
    keel_status status =
        keel_json_string(keel_json_get(manifest, "lineage"), "split", false, &found, path, err);
    if (status == KEEL_OK && found && !(*out = keel_arena_strdup(&cli->arena, found)))
        status = keel_nomem(err, dir);
    if (*out && strcmp(*out, split) != 0)
        keel_log(
            KEEL_LOG_INFO,
            "note: the teacher was tuned on %s, and this base on %s: on what the teacher alone was tuned on, "
            "rates flatter",
            *out, split);
    cJSON_Delete(manifest);
    return status;
}

static keel_status tune(keel_cli *cli, keel_store *store, keel_pool *pool, const keel_base_config *config,
                        keel_err *err) {
    const char *dir = keel_cli_value(cli, "--teacher"), *base_dir = keel_cli_value(cli, "--teacher-base");
    keel_policy *teacher = NULL;
    keel_base *teacher_base = NULL;
    keel_status status = KEEL_OK;
    if (dir)
        status = keel_cli_open_policy(dir, base_dir, &teacher, &teacher_base, err);
    else if (base_dir)
        status = keel_base_open(&teacher_base, base_dir, err);
    keel_sft_extras extras = {.teacher = teacher, .teacher_base = teacher_base};
    if (status == KEEL_OK && !dir && base_dir)
        status = read_teacher_split(cli, base_dir, &extras.teacher_split, err);
    if (status == KEEL_OK) status = tune_with(cli, store, pool, config, &extras, err);
    keel_policy_close(teacher);
    keel_base_close(teacher_base);
    return status;
}

/* --mode says the same as --set mode=NAME: two of them must agree. */
static keel_status check_mode_once(keel_cli *cli, const char *mode, keel_err *err) {
    const char *const *settings;
    size_t n;
    KEEL_TRY(keel_cli_values(cli, "--set", &settings, &n, err));
    for (size_t i = 0; i < n; i++)
        if (strncmp(settings[i], "mode=", 5) == 0 && strcmp(settings[i] + 5, mode) != 0)
            return keel_fail(err, KEEL_E_USAGE, "--mode", "says %s, --set says %s", mode, settings[i] + 5);
    return KEEL_OK;
}

static keel_status set_mode(keel_cli *cli, const keel_base_kind *kind, keel_base_config *config,
                            keel_err *err) {
    const char *mode = keel_cli_value(cli, "--mode");
    if (!mode) return KEEL_OK;
    KEEL_TRY(check_mode_once(cli, mode, err));
    if (keel_cli_check_key(cli, kind->options, "mode", "--mode", NULL) != KEEL_OK) {
        keel_fail(err, KEEL_E_USAGE, "--mode", "a %s base has no modes: encoders and decoders have",
                  kind->type);
        return keel_hint(err, "leave --mode out, or give --base an encoder or a decoder");
    }
    return keel_cli_blame(keel_options_set(kind->options, config, "mode", mode, "--mode", err), err);
}

/* The configuration of the kind that --base names, in the cli's arena. */
static keel_status configure(keel_cli *cli, keel_base_config **out, keel_err *err) {
    const keel_base_kind *kind;
    KEEL_TRY(keel_base_find_kind(keel_cli_value(cli, "--base"), &kind, err));
    *out = keel_arena_calloc(&cli->arena, 1, kind->config_size);
    if (!*out) return keel_nomem(err, "sft");
    if (!kind->tune) return KEEL_OK; /* keel_sft says so */
    KEEL_TRY(keel_options_defaults(kind->options, *out, err));
    KEEL_TRY(keel_cli_options(cli, kind->options, *out, err));
    return set_mode(cli, kind, *out, err);
}

static keel_status run(keel_cli *cli, keel_err *err) {
    keel_base_config *config;
    keel_store *store = NULL;
    keel_pool *pool = NULL;
    keel_status status;
    KEEL_TRY(configure(cli, &config, err));
    KEEL_TRY_GOTO(keel_cli_open_store(cli, KEEL_STORE_WRITE, &store, err), done);
    KEEL_TRY_GOTO(keel_cli_open_pool(cli, &pool, err), done);
    status = tune(cli, store, pool, config, err);
done:
    keel_pool_close(pool);
    keel_store_close(store);
    return status;
}

/* The i-th kind of base that can be tuned, or NULL. */
static const keel_base_kind *tuned_kind(int i) {
    for (size_t k = 0; keel_base_kinds[k]; k++)
        if (keel_base_kinds[k]->tune && i-- == 0) return keel_base_kinds[k];
    return NULL;
}

static const char *kind_name(int i) {
    const keel_base_kind *kind = tuned_kind(i);
    return kind ? kind->type : NULL;
}

static const keel_option *kind_options(int i) {
    return tuned_kind(i)->options;
}

static const keel_named_options named = {"--base", kind_name, kind_options};

const keel_verb keel_verb_sft = {
    .name = "sft",
    .brief = "tune a base on the logged responses",
    .flags = flags,
    .more =
        "The base encodes conversations and gives the prior over responses; policies are trained on top of it. The same command\n"
        "continues an interrupted run, to the same bytes. The output has the parts of the loss at the end: rank, act, outcome,\n"
        "preference and risk; of an encoder only those that this log trains.\n"
        "An encoder is a folder as Hugging Face or sentence-transformers lay it out (docs/bases.md); experiments/fetch-base.sh minilm\n"
        "fetches one. It is tuned once on everything and once without each fold, so that policies see of each conversation what an\n"
        "encoder says that never saw it.\n"
        "A decoder (experiments/fetch-base.sh smollm2, or a new one by --base decoder) learns the tokens of responses; --set imitate,\n"
        "--set loss and --teacher say which responses and how.\n"
        "--refusal and --hand-over replace the standard refusal of candidate sets. Both earn what a refusal earns by rule (they do no\n"
        "harm, and complete nothing), and neither is ever masked as harm.\n"
        "example: keel sft --store logs.db --base builtin --out runs/base --set epochs=4\n"
        "example: keel sft --store logs.db --base minilm --mode lora --set rank=16 --out runs/minilm\n"
        "example: keel sft --store logs.db --base smollm2 --mode lora --set imitate=good --out runs/smollm2\n",
    .named = &named,
    .run = run,
    .print = keel_artefact_print,
};
