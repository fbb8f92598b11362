/* keel compress: a smaller and faster base of the same kind.
 *
 *  1. Resolves the configuration: --config, --set, then flags.
 *  2. Opens the log to look at, where --store names one.
 *  3. Makes the model or base smaller, in memory, step by step, and writes it with its lineage.
 */
#include <string.h>

#include "core/json.h"
#include "datasets/store_corpus.h"
#include "experiments/cli_resources.h"
#include "experiments/verbs.h"
#include "policies/compress_base.h"

static const keel_flag flags[] = {
    {"--base", "PATH", true, false,
     "what is made smaller: a tuned base, or an encoder or decoder as it came (a folder, or a .gguf file)"},
    {"--out", "DIR", true, false, "folder of the smaller one"},
    {"--weights", "NAME", false, false, "number format of matrices, as --set weights=NAME"},
    {"--activations", "NAME", false, false, "what they are multiplied with, as --set activations=NAME"},
    {"--store", "FILE", false, false, "a log to look at: for scales, for what matters"},
    {"--split", "NAME", false, false, "the part of it that is looked at (default: train)"},
    {"--config", "FILE", false, false, "JSON object of configuration keys"},
    {"--set", "KEY=VALUE", false, true, "one configuration key"},
    KEEL_FLAG_REPLACE,
    KEEL_FLAG_SEED,
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

static const keel_flag_choices choices[] = {
    {"--weights", keel_compress_weights}, {"--activations", keel_compress_activations}, {NULL, NULL}};

/* Flags that say the same as a key of --set. */
static const char *const keys[][2] = {{"--weights", "weights"}, {"--activations", "activations"}};

static keel_status configure(keel_cli *cli, keel_compress_config *config, keel_err *err) {
    KEEL_TRY(keel_options_defaults(keel_compress_options, config, err));
    KEEL_TRY(keel_cli_options(cli, keel_compress_options, config, err));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = keel_cli_value(cli, keys[i][0]);
        if (value)
            KEEL_TRY(keel_cli_blame(
                keel_options_set(keel_compress_options, config, keys[i][1], value, keys[i][0], err), err));
    }
    return KEEL_OK;
}

typedef struct compressing {
    keel_compress_config config;
    keel_compress_report report;
    keel_store *store;
    keel_split split;
    keel_corpus *logged;
    keel_pool *pool;
} compressing;

static keel_status open_log(keel_cli *cli, compressing *c, keel_err *err) {
    if (!keel_cli_has(cli, "--store")) {
        if (!keel_cli_has(cli, "--split")) return KEEL_OK;
        return keel_fail(err, KEEL_E_USAGE, "--split", "is one of a store: give --store too");
    }
    KEEL_TRY(keel_cli_open_store(cli, KEEL_STORE_WRITE, &c->store, err));
    KEEL_TRY(keel_cli_open_split(cli, c->store, "train", &c->split, err));
    return keel_store_corpus_open(&c->logged, c->store, &c->split, (size_t)c->config.memory_mb << 20, err);
}

static keel_status put_result(keel_cli *cli, const compressing *c, keel_err *err) {
    const keel_compress_report *r = &c->report;
    cJSON *result = cli->result = cJSON_CreateObject(),
          *metrics = result ? cJSON_AddObjectToObject(result, "metrics") : NULL;
    if (!metrics) return keel_nomem(err, "compress");
    cJSON_AddStringToObject(result, "base", keel_cli_value(cli, "--base"));
    cJSON_AddStringToObject(result, "out", keel_cli_value(cli, "--out"));
    cJSON_AddNumberToObject(metrics, "parameters_before", r->parameters_before);
    cJSON_AddNumberToObject(metrics, "parameters", r->parameters);
    cJSON_AddNumberToObject(metrics, "bytes_before", r->bytes_before);
    cJSON_AddNumberToObject(metrics, "bytes", r->bytes);
    cJSON_AddNumberToObject(metrics, "smaller", r->bytes > 0 ? r->bytes_before / r->bytes : 0);
    for (size_t i = 0; i < r->n_figures; i++)
        cJSON_AddNumberToObject(metrics, r->figure[i].name, r->figure[i].value);
    return KEEL_OK;
}

static keel_status compress(keel_cli *cli, compressing *c, keel_err *err) {
    KEEL_TRY(open_log(cli, c, err));
    KEEL_TRY(keel_cli_open_pool(cli, &c->pool, err));
    const keel_compress_job job = {
        .config = &c->config, .logged = c->logged, .pool = c->pool, .report = &c->report};
    KEEL_TRY(keel_compress_base(keel_cli_value(cli, "--base"), keel_cli_value(cli, "--out"),
                                  keel_cli_has(cli, "--replace"), &job, err));
    KEEL_TRY(put_result(cli, c, err));
    return c->store ? keel_record_run(cli, c->store, err) : KEEL_OK;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    compressing c = {0};
    KEEL_TRY(configure(cli, &c.config, err));
    const keel_status status = compress(cli, &c, err);
    keel_pool_close(c.pool);
    keel_store_corpus_close(c.logged);
    keel_store_close(c.store);
    return status;
}

static const keel_option *const options[] = {keel_compress_options, NULL};

const keel_verb keel_verb_compress = {
    .name = "compress",
    .brief = "a smaller, faster base of the same kind",
    .flags = flags,
    .choices = choices,
    .options = options,
    .more =
        "sft, train, eval, serve and decide take what comes out as any other base, or model. It is another base: a "
        "policy that was\n"
        "trained on the old one belongs to the old one. keel.json (of a model as it came: compress.json) says what it "
        "was made\n"
        "from. The same command gives the same bytes, for any number of threads; docs/compress.md explains all.\n"
        "example: keel compress --base smollm2 --weights q8_0 --out smollm2-q8\n"
        "example: keel compress --base runs/base --weights int8 --store logs.db --set calibrate=mse --out runs/small\n",
    .run = run,
    .print = keel_artefact_print,
};
