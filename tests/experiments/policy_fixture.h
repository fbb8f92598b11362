/* Small policies that tests serve, made by the verbs themselves. */
#ifndef KEEL_TESTS_EXPERIMENTS_POLICY_FIXTURE_H
#define KEEL_TESTS_EXPERIMENTS_POLICY_FIXTURE_H

#include "core/file.h"
#include "experiments/verbs.h"
#include "support/check.h"
#include "support/scratch.h"

static char folder[256]; /* of the test */
static keel_err err;
static keel_arena arena;

static inline char *in(const char *name) {
    return keel_arena_strdup(&arena, scratch_path(folder, name));
}

static inline void fixture_run(const keel_verb *verb, const char *const *argv) {
    keel_cli cli;
    size_t argc = 0;
    bool help;
    while (argv[argc]) argc++;
    assert_ok(keel_cli_parse(&cli, verb, argc, argv, &help, &err));
    assert_ok(keel_cli_run(&cli, &err));
    keel_cli_free(&cli);
}

/* Sixty conversations of one request, half of them dangerous, each with a refusal and an answer. */
static inline void fixture_log(const char *path) {
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
    assert_false(log.failed);
    assert_ok(keel_file_write(path, log.data, log.length, &err));
    keel_buf_free(&log);
}

/* The log in a store, and a base on it, both in the folder. space: "candidates", "outcomes". */
static inline void fixture_base(const char *store, const char *base, const char *space) {
    char set[64];
    snprintf(set, sizeof set, "action_space=%s", space);
    fixture_log(in("log.jsonl"));
    fixture_run(&keel_verb_import, (const char *const[]){"--store", in(store), in("log.jsonl"), NULL});
    fixture_run(&keel_verb_sft,
                (const char *const[]){"--store", in(store), "--base", "builtin", "--out", in(base), "--set",
                                      "epochs=1", "--set", "buckets=4096", "--set", set, NULL});
}

static inline void fixture_policy(const char *store, const char *base, const char *policy, const char *seed) {
    fixture_run(&keel_verb_train, (const char *const[]){"--store", in(store), "--base", in(base), "--algo",
                                                        "cql", "--out", in(policy), "--seed", seed, "--set",
                                                        "steps=10", "--set", "hidden=8", NULL});
}

#endif
