/* keel info: version and build, libraries, processor, BLAS kernel, threads. */
#include <cblas.h>
#include <sqlite3.h>
#include <utf8proc.h>
#include <zlib.h>

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/parallel.h"
#include "experiments/cli_resources.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "policies/artefact.h"

static const keel_flag flags[] = {KEEL_FLAG_THREADS, KEEL_FLAG_END};

/* The processor's name as the kernel reports it; "unknown" elsewhere. */
static void read_processor(char *out, size_t size) {
    snprintf(out, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (!file) return;
    char line[512];
    while (fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", 10) != 0) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(out, size, "%s", colon + 2);
        break;
    }
    fclose(file);
}

static cJSON *libraries_json(void) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "openblas", openblas_get_config());
    cJSON_AddStringToObject(json, "blas_kernel", openblas_get_corename());
    cJSON_AddStringToObject(json, "blas_kernel_set_by",
                            getenv("OPENBLAS_CORETYPE") ? "OPENBLAS_CORETYPE" : "openblas");
    cJSON_AddStringToObject(json, "sqlite", sqlite3_libversion());
    cJSON_AddStringToObject(json, "cjson", cJSON_Version());
    cJSON_AddStringToObject(json, "zlib", zlibVersion());
    cJSON_AddStringToObject(json, "utf8proc", utf8proc_version());
    return json;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    keel_pool *pool = NULL;
    KEEL_TRY(keel_cli_open_pool(cli, &pool, err));
    char processor[256];
    read_processor(processor, sizeof processor);
    cli->result = cJSON_CreateObject();
    keel_json_add(cli->result, "build", keel_build_info());
    keel_json_add(cli->result, "libraries", libraries_json());
    cJSON_AddStringToObject(cli->result, "processor", processor);
    cJSON_AddNumberToObject(cli->result, "threads", (double)keel_pool_threads(pool));
    keel_pool_close(pool);
    return KEEL_OK;
}

static void print(const cJSON *result, FILE *out) {
    keel_print_leaves(out, result);
}

const keel_verb keel_verb_info = {
    .name = "info",
    .brief = "show build, libraries, processor, BLAS kernel, threads",
    .flags = flags,
    .run = run,
    .print = print,
};
