/* The importers (FORMAT: one of keel_formats), from a file into an empty store. A failed import leaves
 * the store empty; after a good one all can be read, and the same file again, under this name or another,
 * adds nothing. Input: the file; sgd: dialogues and schema; xstest: completions and prompts. */
#include <sys/stat.h>

#include "datasets/import.h"
#include "gunzip.h"
#include "store_walk.h"

static keel_status import_file(keel_store *store, const char *path, keel_import_report *report) {
    const keel_format *format = NULL;
    FUZZ_CHECK(keel_formats_find(FORMAT, &format, &fuzz_err) == KEEL_OK);
    return keel_import(store, &(keel_import_options){.format = format}, &path, 1, report, &fuzz_err);
}

/* SQLite says of some damaged files that memory ran out; a log of llm is such a file. */
static bool imported(keel_status status) {
    if (status == KEEL_E_NOMEM && strcmp(FORMAT, "llm") == 0) return false;
    return fuzz_ok(status);
}

static void import_into(keel_store *store, const char *path, const char *copy) {
    keel_import_report report, again;
    char before[65], after[65];
    FUZZ_CHECK(keel_store_content_hash(store, NULL, before, &fuzz_err) == KEEL_OK);
    size_t walked = fuzz_walk_store(store, NULL);
    if (imported(import_file(store, path, &report))) {
        FUZZ_CHECK(fuzz_walk_store(store, NULL) == walked + (size_t)report.conversations);
        FUZZ_CHECK(keel_store_content_hash(store, NULL, before, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(import_file(store, path, &again) == KEEL_OK);
        FUZZ_CHECK(again.files_known == 1 && again.conversations == 0);
        FUZZ_CHECK(!copy || import_file(store, copy, &again) == KEEL_OK);
        FUZZ_CHECK(again.conversations == 0 && again.candidates == 0);
    } else {
        FUZZ_CHECK(report.conversations == 0 && fuzz_walk_store(store, NULL) == walked);
    }
    FUZZ_CHECK(keel_store_content_hash(store, NULL, after, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(strcmp(before, after) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char schema[] = "[{\"service_name\":\"S\",\"intents\":[{\"name\":\"Book\","
                                 "\"is_transactional\":true}]}]";
    keel_store *store = NULL;
    fuzz_part parts[2] = {{NULL, 0}, {NULL, 0}};
    bool sgd = strcmp(FORMAT, "sgd") == 0, xstest = strcmp(FORMAT, "xstest") == 0;
    size_t n = fuzz_parts(data, size, parts, sgd || xstest ? 2 : 1);
    const char *path, *copy = NULL;
    FUZZ_CHECK(fuzz_empty_store(&store, fuzz_path("store.db"), &fuzz_err) == KEEL_OK);
    if (sgd) {
        fuzz_put("schema.json", n == 2 ? parts[1].data : (const uint8_t *)schema,
                 n == 2 ? parts[1].size : sizeof schema - 1);
        path = fuzz_put("dialogues_001.json", parts[0].data, parts[0].size);
        copy = fuzz_put("dialogues_002.json", parts[0].data, parts[0].size);
    } else if (xstest) { /* the name says the model, so a copy would be another model's answers */
        path = fuzz_put("completions_m.csv", parts[0].data, parts[0].size);
    } else {
        path = fuzz_put("log.jsonl", data, size);
    }
    import_into(store, path, copy);
    if (xstest && n == 2)
        import_into(store, fuzz_put("xstest_prompts.csv", parts[1].data, parts[1].size), NULL);
    keel_store_close(store);
    return 0;
}
