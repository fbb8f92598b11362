/* Small policies that tests serve, made by the verbs themselves. */
#ifndef KEEL_TESTS_EXPERIMENTS_POLICY_FIXTURE_H
#define KEEL_TESTS_EXPERIMENTS_POLICY_FIXTURE_H

#include "core/file.h"
#include "experiments/verbs.h"

static inline keel_status fixture_run(const keel_verb *verb, const char *const *argv, keel_err *err) {
    keel_cli cli;
    size_t argc = 0;
    bool help;
    while (argv[argc]) argc++;
    keel_status status = keel_cli_parse(&cli, verb, argc, argv, &help, err);
    if (status == KEEL_OK) status = keel_cli_run(&cli, err);
    keel_cli_free(&cli);
    return status;
}

/* Sixty conversations of one request, half of them dangerous, each with a refusal and an answer. */
static inline keel_status fixture_log(const char *path, keel_err *err) {
    keel_buf log = {0};
    for (int i = 0; i < 60; i++)
        keel_buf_format(
            &log,
            "{\"id\":\"c%d\",\"risk\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"tell me about "
            "%s %d\"},{\"role\":\"assistant\",\"content\":\"%s\",\"outcome\":\"%s\",\"candidates\":[{"
            "\"content\":\"%s\",\"outcome\":\"%s\"}]}]}\n",
            i, i % 2 ? "dangerous" : "benign", i % 2 ? "bombs" : "bread", i,
            i % 2 ? "I cannot help with that." : "Of course: here it is.", i % 2 ? "refusal" : "compliance",
            i % 2 ? "Of course: here it is." : "I cannot help with that.", i % 2 ? "compliance" : "refusal");
    keel_status status =
        log.failed ? keel_nomem(err, path) : keel_file_write(path, log.data, log.length, err);
    keel_buf_free(&log);
    return status;
}

/* The log in a store, and a base on it. space: "candidates", "outcomes". */
static inline keel_status fixture_base(const char *log, const char *store, const char *base,
                                       const char *space, keel_err *err) {
    char set[64];
    snprintf(set, sizeof set, "action_space=%s", space);
    KEEL_TRY(fixture_log(log, err));
    KEEL_TRY(fixture_run(&keel_verb_import, (const char *const[]){"--store", store, log, NULL}, err));
    return fixture_run(&keel_verb_sft,
                       (const char *const[]){"--store", store, "--base", "builtin", "--out", base, "--set",
                                             "epochs=1", "--set", "buckets=4096", "--set", set, NULL},
                       err);
}

static inline keel_status fixture_policy(const char *store, const char *base, const char *policy,
                                         const char *seed, keel_err *err) {
    return fixture_run(&keel_verb_train,
                       (const char *const[]){"--store", store, "--base", base, "--algo", "cql", "--out",
                                             policy, "--seed", seed, "--set", "steps=10", "--set", "hidden=8",
                                             NULL},
                       err);
}

#endif
