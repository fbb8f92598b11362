#include "fixture.h"

#include "core/json.h"
#include "policies/artefact.h"

static char folder[256];

static int set_up(void **state) {
    (void)state;
    return scratch_make(folder, "artefact") ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return keel_folder_remove(folder, &err);
}

static const char *in(const char *name) {
    return scratch_path(folder, name);
}

/* An artefact of two small files; `note` goes into its lineage. */
static void write_one(const char *dir, const char *kind, const char *note, char hash[65]) {
    keel_folder_write write;
    cJSON *lineage = cJSON_CreateObject();
    assert_non_null(cJSON_AddStringToObject(lineage, "note", note));
    assert_ok(keel_folder_begin(&write, dir, &err));
    char path[4200];
    snprintf(path, sizeof path, "%s/config.json", write.temporary);
    assert_ok(keel_file_write(path, "{}", 2, &err));
    snprintf(path, sizeof path, "%s/weights", write.temporary);
    assert_ok(keel_file_write(path, "abc", 3, &err));
    assert_ok(keel_artefact_commit(&write, kind, "test", lineage, NULL, NULL, hash, &err));
    cJSON_Delete(lineage);
}

static void what_was_written_opens_with_the_same_hash(void **state) {
    (void)state;
    char written[65], read[65];
    cJSON *manifest = NULL;
    write_one(in("one"), "base", "first", written);
    assert_ok(keel_artefact_open(in("one"), "base", &manifest, read, &err));
    assert_string_equal(read, written);
    const cJSON *lineage = NULL;
    const char *note = NULL;
    assert_ok(keel_json_object(manifest, "lineage", true, &lineage, "test", &err));
    assert_ok(keel_json_string(lineage, "note", true, &note, "test", &err));
    assert_string_equal(note, "first");
    cJSON_Delete(manifest);
}

static void the_hash_is_of_the_files_and_not_of_who_made_them(void **state) {
    (void)state;
    char one[65], other[65];
    write_one(in("one"), "base", "first", one);
    write_one(in("elsewhere"), "base", "second", other);
    assert_string_equal(one, other);
}

static void a_damaged_file_is_named(void **state) {
    (void)state;
    char hash[65];
    cJSON *manifest = NULL;
    write_one(in("one"), "base", "first", hash);
    assert_ok(keel_file_write(in("one/weights"), "abd", 3, &err));
    assert_int_equal(keel_artefact_open(in("one"), "base", &manifest, hash, &err), KEEL_E_INVALID);
    assert_null(manifest);
    contains(err.where, "weights");
    contains(err.message, "damaged");
}

/* Replaces one piece of keel.json. */
static void tamper(const char *dir, const char *from, const char *to) {
    keel_buf text = {0}, changed = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/keel.json", dir);
    assert_ok(keel_file_read(path, 0, &text, &err));
    const char *at = strstr(text.data, from);
    assert_non_null(at);
    keel_buf_append(&changed, text.data, (size_t)(at - text.data));
    keel_buf_text(&changed, to);
    keel_buf_text(&changed, at + strlen(from));
    assert_ok(keel_file_write(path, changed.data, changed.length, &err));
    keel_buf_free(&text);
    keel_buf_free(&changed);
}

static void a_lineage_that_was_tampered_with_is_refused(void **state) {
    (void)state;
    cJSON *manifest = NULL;
    write_one(in("one"), "base", "first", NULL);
    tamper(in("one"), "first", "worst");
    assert_int_equal(keel_artefact_open(in("one"), "base", &manifest, NULL, &err), KEEL_E_INVALID);
    assert_null(manifest);
    contains(err.where, "keel.json");
    contains(err.message, "damaged");
}

static void a_manifest_without_its_seal_is_refused(void **state) {
    (void)state;
    cJSON *manifest = NULL;
    write_one(in("one"), "base", "first", NULL);
    tamper(in("one"), "\"sha256\"", "\"sha257\"");
    assert_int_equal(keel_artefact_open(in("one"), "base", &manifest, NULL, &err), KEEL_E_PARSE);
    contains(err.message, "sha256");
}

static void white_space_in_a_manifest_says_nothing(void **state) {
    (void)state;
    cJSON *manifest = NULL;
    write_one(in("one"), "base", "first", NULL);
    tamper(in("one"), "\"keel\": 2", "\"keel\" :\n2");
    assert_ok(keel_artefact_open(in("one"), "base", &manifest, NULL, &err));
    cJSON_Delete(manifest);
}

static void a_missing_file_is_an_error(void **state) {
    (void)state;
    char hash[65];
    cJSON *manifest = NULL;
    write_one(in("one"), "base", "first", hash);
    assert_int_equal(remove(in("one/weights")), 0);
    assert_int_equal(keel_artefact_open(in("one"), "base", &manifest, hash, &err), KEEL_E_IO);
    contains(err.where, "weights");
}

static void a_base_is_not_taken_for_a_policy(void **state) {
    (void)state;
    cJSON *manifest = NULL;
    write_one(in("one"), "base", "first", NULL);
    assert_int_equal(keel_artefact_open(in("one"), "policy", &manifest, NULL, &err), KEEL_E_CONFLICT);
    contains(err.message, "expected a policy, but this folder holds a base");
}

static void folders_that_are_no_artefact_say_so(void **state) {
    (void)state;
    cJSON *manifest = NULL;
    assert_int_equal(keel_artefact_open(in("none"), "base", &manifest, NULL, &err), KEEL_E_NOT_FOUND);
    contains(err.message, "no such folder");
    assert_int_equal(keel_artefact_open(folder, "base", &manifest, NULL, &err), KEEL_E_NOT_FOUND);
    contains(err.message, "not an artefact");
    contains(err.hint, "keel sft");
}

static void a_manifest_cannot_lead_out_of_its_folder(void **state) {
    (void)state;
    cJSON *manifest = NULL;
    const char text[] =
        "{\"keel\": 2, \"kind\": \"base\", \"type\": \"test\", \"files\": {\"../secret\": \"00\"}}";
    assert_ok(keel_folder_make(in("evil"), &err));
    assert_ok(keel_file_write(in("evil/keel.json"), text, strlen(text), &err));
    assert_int_equal(keel_artefact_open(in("evil"), "base", &manifest, NULL, &err), KEEL_E_INVALID);
    contains(err.message, "names inside the folder");
}

static void a_manifest_that_lists_no_files_vouches_for_none(void **state) {
    (void)state;
    cJSON *manifest = NULL;
    const char text[] = "{\"keel\": 2, \"kind\": \"base\", \"type\": \"test\", \"files\": {}}";
    assert_ok(keel_folder_make(in("bare"), &err));
    assert_ok(keel_file_write(in("bare/keel.json"), text, strlen(text), &err));
    assert_int_equal(keel_artefact_open(in("bare"), "base", &manifest, NULL, &err), KEEL_E_INVALID);
    contains(err.message, "files");
}

static void an_artefact_of_an_older_keel_is_refused_by_name(void **state) {
    (void)state;
    static const char *const kinds[] = {"base", "policy"}, *const verbs[] = {"keel sft", "keel train"};
    for (size_t i = 0; i < 2; i++) {
        cJSON *manifest = NULL;
        write_one(in("old"), kinds[i], "first", NULL);
        tamper(in("old"), "\"keel\": 2", "\"keel\": 1");
        assert_int_equal(keel_artefact_open(in("old"), kinds[i], &manifest, NULL, &err), KEEL_E_UNSUPPORTED);
        contains(err.where, "old");
        contains(err.message, "written by Keel 0.1");
        contains(err.hint, verbs[i]);
    }
    cJSON *manifest = NULL;
    write_one(in("new"), "base", "first", NULL);
    tamper(in("new"), "\"keel\": 2", "\"keel\": 3");
    assert_int_equal(keel_artefact_open(in("new"), "base", &manifest, NULL, &err), KEEL_E_UNSUPPORTED);
    contains(err.message, "expected manifest version 2, got 3");
}

static void an_identity_is_of_all_inputs_and_of_nothing_else(void **state) {
    (void)state;
    char identity[4][65];
    for (size_t i = 0; i < 4; i++) {
        cJSON *lineage = cJSON_CreateObject(), *config = cJSON_CreateObject();
        cJSON_AddNumberToObject(config, "steps", i == 1 ? 2 : 1);
        cJSON_AddStringToObject(lineage, "store", i == 2 ? "b" : "a");
        assert_ok(keel_artefact_identify(lineage, config, identity[i], &err));
        assert_string_equal(keel_json_get(lineage, "identity")->valuestring, identity[i]);
        assert_true(cJSON_IsString(keel_json_get(keel_json_get(lineage, "build"), "commit")));
        cJSON_Delete(lineage);
        cJSON_Delete(config);
    }
    assert_string_not_equal(identity[0], identity[1]);
    assert_string_not_equal(identity[0], identity[2]);
    assert_string_equal(identity[0], identity[3]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_artefact_of_an_older_keel_is_refused_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_identity_is_of_all_inputs_and_of_nothing_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_written_opens_with_the_same_hash, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_hash_is_of_the_files_and_not_of_who_made_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lineage_that_was_tampered_with_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_manifest_without_its_seal_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(white_space_in_a_manifest_says_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_file_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_base_is_not_taken_for_a_policy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(folders_that_are_no_artefact_say_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_manifest_that_lists_no_files_vouches_for_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_manifest_cannot_lead_out_of_its_folder, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
