/* Each reader of outside data, with a small sound file (of the fuzz targets' corpus) that is cut off at every
 * length and has every byte changed. Either the change was harmless, or the error names the file; and nothing
 * else changes.
 *
 *   test_hostile [STRIDE]   tries every STRIDE-th byte of the store's file (default 41); 1: each */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants the headers above first */
#include <cmocka.h>

#include "core/checkpoint.h"
#include "core/json.h"
#include "core/options_internal.h"
#include "datasets/import.h"
#include "envs/env.h"
#include "experiments/recipe.h"
#include "experiments/report/report.h"
#include "fuzz/no_sync.h"
#include "fuzz/store_use.h"
#include "policies/artefact.h"
#include "policies/base.h"
#include "policies/policy.h"
#include "rewards/judge.h"
#include "rl/learn/learner.h"

static size_t stride = 41;

/* ---- one reader and its file ---- */

typedef keel_status read_fn(const char *path, keel_err *err);
typedef void check_fn(const char *path, keel_status status);

typedef struct subject {
    const char *name, *file; /* the file that is changed */
    const char *path;        /* what the reader is given: the file, or a folder around it */
    read_fn *read;
    check_fn *check; /* what else must hold after a try; may be NULL */
    bool sealed;     /* no change may pass as the whole */
} subject;

static void put(const char *path, const void *bytes, size_t length) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
        fail_msg("cannot write %s", path);
}

/* The bytes as they are, gzipped or not. */
static void get(const char *path, keel_buf *out) {
    char block[4096];
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("cannot read %s", path);
    for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0;) keel_buf_append(out, block, got);
    fclose(file);
}

/* Puts a committed input, by parts, into files of these names. */
static void sample(const char *input, const char *const *names, size_t n_names) {
    char path[512];
    keel_buf bytes = {0};
    fuzz_part parts[4];
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/%s", KEEL_SOURCE_DIR, input);
    get(path, &bytes);
    size_t n = fuzz_parts((const uint8_t *)bytes.data, bytes.length, parts, n_names);
    for (size_t i = 0; i < n; i++) put(names[i], parts[i].data, parts[i].size);
    keel_buf_free(&bytes);
}

static size_t count_files(void) {
    keel_arena arena = {0};
    const char **names;
    size_t count = 0;
    assert_int_equal(keel_folder_list(".", NULL, &arena, &names, &count, NULL), KEEL_OK);
    keel_arena_free(&arena);
    return count;
}

static bool names(const keel_err *err, const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return strstr(err->where, name) || strstr(err->message, name);
}

static void try_it(const subject *s, const char *what, size_t at) {
    keel_err err = {0};
    keel_status status = s->read(s->path, &err);
    if (status == KEEL_OK && s->sealed) fail_msg("%s: %s %zu passes in silence", s->name, what, at);
    if (status != KEEL_OK && (status != err.code || status == KEEL_E_NOMEM || !err.message[0]))
        fail_msg("%s: %s %zu gives status %d without a word", s->name, what, at, (int)status);
    if (status != KEEL_OK && !names(&err, s->path) && !names(&err, s->file))
        fail_msg("%s: %s %zu: the error names no file: %s: %s", s->name, what, at, err.where, err.message);
    if (s->check) s->check(s->path, status);
}

/* Every length, then every byte under several masks: those of even places, those of odd ones. */
static void damage(const subject *s) {
    static const unsigned char masks[] = {0x01, 0x02, 0x04, 0x10, 0x20, 0x80, 0xff};
    keel_buf sound = {0};
    keel_err err = {0};
    get(s->file, &sound);
    if (s->read(s->path, &err) != KEEL_OK)
        fail_msg("%s: the sample: %s: %s", s->name, err.where, err.message);
    if (s->check) s->check(s->path, KEEL_OK);
    /* The line end after a manifest is no part of it. */
    size_t files = count_files(), whole = sound.length - (s->sealed && sound.data[sound.length - 1] == '\n');
    for (size_t length = 0; length < whole; length++) {
        put(s->file, sound.data, length);
        try_it(s, "cut off at", length);
    }
    for (size_t at = 0; at < sound.length; at++) {
        for (size_t m = at % 2; m < sizeof masks; m += 2) {
            sound.data[at] = (char)(sound.data[at] ^ masks[m]);
            put(s->file, sound.data, sound.length);
            sound.data[at] = (char)(sound.data[at] ^ masks[m]);
            try_it(s, "changed at", at);
        }
    }
    put(s->file, sound.data, sound.length);
    assert_int_equal(count_files(), files);
    keel_buf_free(&sound);
}

/* ---- importers ---- */

static keel_store *store; /* what the files are imported into */
static char content[65];  /* its hash */
static const char *format;

static void open_store(void) {
    assert_int_equal(fuzz_empty_store(&store, fuzz_path("empty.db"), NULL), KEEL_OK);
    assert_int_equal(keel_store_content_hash(store, NULL, content, NULL), KEEL_OK);
}

static keel_status import_file(const char *path, keel_err *err) {
    keel_import_report report;
    const keel_format *row = NULL;
    assert_int_equal(keel_formats_find(format, &row, err), KEEL_OK);
    return keel_import(store, &(keel_import_options){.format = row}, &path, 1, &report, err);
}

/* A refused file leaves the store as it was; what another file brings is thrown away again. */
static void check_store(const char *path, keel_status status) {
    char hash[65];
    assert_int_equal(keel_store_content_hash(store, NULL, hash, NULL), KEEL_OK);
    bool same = strcmp(hash, content) == 0;
    if (status != KEEL_OK && !same) fail_msg("%s is refused, and changes the store", path);
    if (status != KEEL_OK) return;
    fuzz_walk_store(store, NULL);
    keel_store_close(store);
    open_store();
}

static void importing_a_damaged_file_is_whole_or_nothing(void **state) {
    (void)state;
    static const struct {
        const char *format, *input, *files[2];
        int damaged;
    } rows[] = {{"chat", "chat/two.jsonl", {"log.jsonl"}, 0},
                {"chat", "chat/one.jsonl.gz", {"log.jsonl.gz"}, 0},
                {"chat", "chat/array.json", {"log.json"}, 0},
                {"hh-rlhf", "hh_rlhf/two.jsonl", {"pairs.jsonl"}, 0},
                {"sgd", "sgd/schema.json", {"dialogues_001.json", "schema.json"}, 0},
                {"sgd", "sgd/schema.json", {"dialogues_001.json", "schema.json"}, 1},
                {"xstest", "xstest/completions.csv", {"completions_m.csv"}, 0}};
    open_store();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        subject s = {
            rows[i].input, rows[i].files[rows[i].damaged], rows[i].files[0], import_file, check_store, false};
        format = rows[i].format;
        sample(rows[i].input, rows[i].files, rows[i].files[1] ? 2 : 1);
        damage(&s);
    }
    keel_store_close(store);
}

/* ---- configurations, recipes, environments ---- */

static keel_status read_config(const char *path, keel_err *err) {
    keel_learner_config config = {0}, before;
    cJSON *json = NULL;
    KEEL_TRY(keel_learner_preset("keel", "cql", &config, err));
    before = config;
    KEEL_TRY(keel_json_parse_file(path, &json, err));
    keel_status status = keel_options_json(keel_learner_options(config.algorithm), &config, json, path, err);
    cJSON_Delete(json);
    if (status != KEEL_OK) assert_memory_equal(&config, &before, sizeof config);
    return status;
}

/* The file's text as what follows --set. */
static keel_status read_set(const char *path, keel_err *err) {
    keel_learner_config config = {0}, before;
    keel_buf text = {0};
    KEEL_TRY(keel_learner_preset("keel", "cql", &config, err));
    before = config;
    get(path, &text);
    keel_buf_append(&text, "", 1);
    keel_status status = keel_options_assign(keel_learner_options(config.algorithm), &config, text.data, err);
    keel_buf_free(&text);
    if (status != KEEL_OK) assert_memory_equal(&config, &before, sizeof config);
    return status;
}

static keel_status read_environment(const char *path, keel_err *err) {
    keel_env *env = NULL;
    keel_status status = keel_env_open(&env, path, 1, err);
    keel_env_close(env);
    return status;
}

static keel_status read_recipe(const char *path, keel_err *err) {
    keel_recipe recipe;
    keel_status status =
        keel_recipe_load(&recipe, path, &(keel_recipe_places){.data = ".", .out = "out"}, err);
    keel_recipe_free(&recipe);
    return status;
}

/* What the report is made of; the page itself is fuzz_report's. */
static keel_status read_report(const char *path, keel_err *err) {
    keel_run_folder folder = {0};
    cJSON *curves = NULL;
    keel_status status = keel_run_folder_read(&folder, path, err);
    if (status == KEEL_OK) cJSON_Delete(keel_report_tables(&folder));
    if (status == KEEL_OK) status = keel_report_curves(&folder, "sft", &curves, err);
    cJSON_Delete(curves);
    keel_run_folder_free(&folder);
    return status;
}

static void a_damaged_configuration_names_itself_and_sets_nothing(void **state) {
    (void)state;
    static const char *const run[] = {"run/run.json", "run/steps/a.json", "run/steps/b.json", "run/m.jsonl"};
    sample("options/config.json", &(const char *){"config.json"}, 1);
    sample("env/desk.json", &(const char *){"./desk.json"}, 1);
    put("xstest", "", 0); /* what the recipe needs */
    sample("recipe/loop.json", &(const char *){"recipe.json"}, 1);
    put("--set", "hidden=256,16", 13);
    damage(&(subject){"--config", "config.json", "config.json", read_config, NULL, false});
    damage(&(subject){"--set", "--set", "--set", read_set, NULL, false});
    damage(&(subject){"environment", "./desk.json", "./desk.json", read_environment, NULL, false});
    damage(&(subject){"recipe", "recipe.json", "recipe.json", read_recipe, NULL, false});
    assert_int_equal(keel_folder_make("run/steps", NULL), KEEL_OK);
    sample("report/replay-sft", run, 4);
    for (int i = 0; i < 4; i++) damage(&(subject){"report", run[i], "run", read_report, NULL, false});
}

/* ---- weights, artefacts, checkpoints, judges ---- */

static keel_status read_safetensors(const char *path, keel_err *err) {
    keel_safetensors file = {0};
    keel_status status = keel_safetensors_read(path, &file, err);
    keel_safetensors_free(&file);
    return status;
}

static keel_status read_base(const char *path, keel_err *err) {
    keel_base *base = NULL;
    keel_status status = keel_base_load(&base, path, err);
    keel_base_close(base);
    return status;
}

static keel_status read_policy(const char *path, keel_err *err) {
    keel_policy *policy = NULL;
    keel_status status = keel_policy_load(&policy, path, err);
    keel_policy_close(policy);
    return status;
}

static keel_status read_judge(const char *path, keel_err *err) {
    keel_judge *judge = NULL;
    keel_status status = keel_judge_load(&judge, path, err);
    keel_judge_free(judge);
    return status;
}

static const char identity[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static float loaded[6];

/* As the tuning of a base has it: tensors of its own. What is loaded is what was saved, to the bit. */
static keel_status read_checkpoint(const char *path, keel_err *err) {
    static const float saved[6] = {1, 2, 3, -1, 0.5f, 0};
    keel_named_tensor tensor = {"layers", KEEL_F32, 1, {6}, loaded, sizeof loaded};
    bool found = false;
    memset(loaded, 0, sizeof loaded);
    KEEL_TRY(keel_checkpoint_load(path, identity, &tensor, 1, &found, err));
    assert_true(found);
    assert_memory_equal(loaded, saved, sizeof saved);
    return KEEL_OK;
}

static void put_checkpoint(const char *path) {
    static const float saved[6] = {1, 2, 3, -1, 0.5f, 0};
    const keel_named_tensor tensor = {"layers", KEEL_F32, 1, {6}, saved, sizeof saved};
    assert_int_equal(keel_checkpoint_save(path, identity, &tensor, 1, NULL), KEEL_OK);
}

/* The parts of a committed input under a manifest whose hashes are right. */
static void put_artefact(const char *input, const char *kind, const char *type, const char *const *names,
                         size_t n) {
    char paths[4][4200];
    const char *list[4];
    keel_folder_write folder;
    assert_int_equal(keel_folder_begin(&folder, kind, NULL), KEEL_OK);
    for (size_t i = 0; i < n; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s", folder.temporary, names[i]);
        list[i] = paths[i];
    }
    sample(input, list, n);
    assert_int_equal(keel_artefact_commit(&folder, kind, type, NULL, NULL, NULL, NULL, NULL), KEEL_OK);
}

static void damage_artefact(const char *input, const char *kind, const char *type, read_fn *read) {
    static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json", "keel.json"};
    static const char *const of_base[] = {"config.json", "tokenizer.json", "model.safetensors"};
    bool base = strcmp(kind, "base") == 0;
    put_artefact(input, kind, type, base ? of_base : names, base ? 3 : 2);
    for (size_t i = 0; i < 4; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s/%s", kind, names[i]);
        if (keel_file_exists(file)) damage(&(subject){input, file, kind, read, NULL, true});
    }
}

static void no_change_to_an_artefact_passes_in_silence(void **state) {
    (void)state;
    damage_artefact("policy/acts", "policy", "cql", read_policy);
    damage_artefact("policy/sets", "policy", "cql", read_policy);
    damage_artefact("base/acts", "base", "builtin", read_base);
}

static void damaged_weights_checkpoints_and_judges_name_themselves(void **state) {
    (void)state;
    sample("safetensors/two.safetensors", &(const char *){"two.safetensors"}, 1);
    sample("judge/rules", &(const char *){"judge"}, 1);
    put_checkpoint(".base.checkpoint");
    damage(&(subject){"safetensors", "two.safetensors", "two.safetensors", read_safetensors, NULL, false});
    damage(&(subject){"judge", "judge", "judge", read_judge, NULL, false});
    damage(&(subject){"checkpoint", ".base.checkpoint", ".base.checkpoint", read_checkpoint, NULL, false});
}

/* ---- the store's file ---- */

/* One changed byte: read, sampled and written to as the verbs do, without harm; reading changes nothing. */
static void use_damaged(const keel_buf *bytes, size_t length) {
    keel_buf after = {0};
    keel_store *opened = NULL;
    put("s.db", bytes->data, length);
    keel_err err = {0};
    if (keel_store_open(&opened, "s.db", KEEL_STORE_READ, &err) != KEEL_OK && !strstr(err.where, "s.db"))
        fail_msg("the error does not name the store: %s: %s", err.where, err.message);
    keel_store_close(opened);
    fuzz_use_store_read("s.db");
    get("s.db", &after);
    assert_int_equal(after.length, length);
    assert_memory_equal(after.data, bytes->data, length);
    keel_buf_free(&after);
    fuzz_use_store_write("s.db");
    unlink("s.db-wal");
    unlink("s.db-shm");
    unlink("s.db-journal");
}

static void a_damaged_store_is_used_without_harm(void **state) {
    (void)state;
    keel_buf sound = {0};
    sample("store/small.sqlite", &(const char *){"s.db"}, 1);
    get("s.db", &sound);
    size_t tried = 0;
    for (size_t length = 0; length < sound.length; length += length < 128 ? 1 : 61 * stride)
        use_damaged(&sound, length);
    for (size_t at = 0; at < sound.length; at += at < 100 ? 1 : stride, tried++) {
        char mask = (char)(1 << at % 8);
        sound.data[at] ^= mask;
        use_damaged(&sound, sound.length);
        sound.data[at] ^= mask;
    }
    print_message("%zu of %zu bytes changed\n", tried, sound.length);
    keel_buf_free(&sound);
}

/* In memory where there is such a place: some file systems wait for the disk whenever a file is written anew.
 */
static int begin(void **state) {
    (void)state;
    return chdir(fuzz_folder());
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(importing_a_damaged_file_is_whole_or_nothing),
        cmocka_unit_test(a_damaged_configuration_names_itself_and_sets_nothing),
        cmocka_unit_test(no_change_to_an_artefact_passes_in_silence),
        cmocka_unit_test(damaged_weights_checkpoints_and_judges_name_themselves),
        cmocka_unit_test(a_damaged_store_is_used_without_harm),
    };
    if (argc > 1) stride = strtoul(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, begin, NULL);
}
