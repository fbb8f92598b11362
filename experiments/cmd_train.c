#include "experiments/open.h"
#include "experiments/verbs.h"
#include "rl/train.h"

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--base", "DIR", true, false, "folder of the tuned base"},
    {"--algo", "NAME", true, false, "what learns (listed below)"},
    {"--out", "DIR", true, false, "folder of the policy"},
    {"--preset", "NAME", false, false,
     "keel (default), or a peer's exact settings: d3rlpy (cql, dqn, bc), tianshou (cql), atari (cql)"},
    {"--split", "NAME", false, false, "what it is trained on (default: train)"},
    {"--config", "FILE", false, false, "JSON object of configuration keys"},
    {"--set", "KEY=VALUE", false, true, "one configuration key"},
    {"--metrics", "FILE", false, false, "JSON Lines of each part of the loss"},
    KEEL_FLAG_SEED,
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

static keel_status resolve(keel_cli *cli, keel_learner_config *config, keel_err *err) {
    int algorithm = 0, preset = 0;
    KEEL_TRY(keel_cli_choice(cli, "--algo", keel_algorithms, &algorithm, err));
    KEEL_TRY(keel_cli_choice(cli, "--preset", keel_presets, &preset, err));
    KEEL_TRY(keel_cli_blame(
        keel_learner_preset(keel_presets[preset], keel_algorithms[algorithm], config, err), err));
    KEEL_TRY(keel_cli_options(cli, keel_learner_options, config, err));
    if (config->algorithm == algorithm) return KEEL_OK;
    return keel_fail(err, KEEL_E_USAGE, "algorithm", "--algo says %s, the configuration says %s",
                     keel_algorithms[algorithm], keel_algorithms[config->algorithm]);
}

static keel_status train(keel_cli *cli, keel_store *store, const keel_base *base, keel_pool *pool,
                         const keel_learner_config *config, keel_err *err) {
    const char *out = keel_cli_value(cli, "--out");
    keel_split split;
    KEEL_TRY(keel_open_split(cli, store, "train", &split, err));
    KEEL_TRY(keel_open_out(out, "policy", err));
    KEEL_TRY(keel_encode_store(store, &split, base, pool, NULL, err));
    KEEL_TRY(keel_train(store, &split, base, config, out, keel_cli_value(cli, "--metrics"), pool, err));
    KEEL_TRY(keel_artefact_result(cli, out, "policy", split.text, err));
    return keel_record_run(cli, store, err);
}

static keel_status run(keel_cli *cli, keel_err *err) {
    keel_learner_config config;
    keel_store *store = NULL;
    keel_base *base = NULL;
    keel_pool *pool = NULL;
    keel_status status;
    KEEL_TRY(resolve(cli, &config, err));
    KEEL_TRY_GOTO(keel_open_store(cli, KEEL_STORE_WRITE, &store, err), done);
    KEEL_TRY_GOTO(keel_base_load(&base, keel_cli_value(cli, "--base"), err), done);
    KEEL_TRY_GOTO(keel_open_pool(cli, &pool, err), done);
    status = train(cli, store, base, pool, &config, err);
done:
    keel_pool_close(pool);
    keel_base_close(base);
    keel_store_close(store);
    return status;
}

static const keel_option *const options[] = {keel_learner_options, NULL};

#define LINE(id, name, kind, help) "  " name ": " help "\n"

const keel_verb keel_verb_train = {
    .name = "train",
    .brief = "offline learning: conservative Q-learning and its baselines",
    .flags = flags,
    .options = options,
    .more = "Algorithms:\n" KEEL_LEARNERS(LINE) "Decisions without features under that base are encoded "
                                                "first. A run that was interrupted goes on "
                                                "when the same command is\n"
                                                "given again, to the same bytes. A loss that diverges stops "
                                                "with an error; the last good checkpoint "
                                                "is kept.\n"
                                                "example: keel train --store logs.db --base runs/base --algo "
                                                "cql --out runs/policy --set alpha=0.5\n",
    .run = run,
    .print = keel_artefact_print,
};
