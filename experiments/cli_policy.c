#include "experiments/cli_policy.h"

#include <dirent.h>
#include <string.h>

#include "core/file.h"
#include "policies/artefact.h"
#include "policies/policy_internal.h"

/* Whether dir is a base artefact of that hash, by its manifest. Anything else is simply not the one, but
 * without memory nobody knows. */
static keel_status is_base(const char *dir, const char *hash, bool *is, keel_err *err) {
    char hex[65];
    keel_status status = keel_artefact_claim(dir, "base", hex, NULL);
    if (status == KEEL_E_NOMEM) return keel_fail(err, status, dir, "looking for a base");
    *is = status == KEEL_OK && strcmp(hex, hash) == 0;
    return KEEL_OK;
}

keel_status keel_cli_find_base(const char *policy_dir, const char *hash, char *out, size_t size,
                               keel_err *err) {
    char parent[2048];
    bool found = false;
    keel_status status = KEEL_OK;
    keel_path_parent(policy_dir, parent, sizeof parent);
    DIR *folder = opendir(parent);
    for (struct dirent *entry; folder && !found && status == KEEL_OK && (entry = readdir(folder));) {
        char manifest[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(out, size, "%s/%s", parent, entry->d_name);
        snprintf(manifest, sizeof manifest, "%s/%s/keel.json", parent, entry->d_name);
        if (keel_file_exists(manifest)) status = is_base(out, hash, &found, err);
    }
    if (folder) closedir(folder);
    if (status != KEEL_OK || found) return status;
    keel_fail(err, KEEL_E_NOT_FOUND, policy_dir, "no folder beside it holds its base %.12s", hash);
    return keel_hint(err, "name the base it was trained on: --base DIR");
}

keel_status keel_cli_open_policy(const char *policy_dir, const char *base_dir, keel_policy **policy,
                                 keel_base **base, keel_err *err) {
    keel_policy *loaded = NULL;
    keel_base *under = NULL;
    char found[4096];
    keel_status status;
    KEEL_TRY(keel_policy_load(&loaded, policy_dir, err));
    if (!base_dir) {
        KEEL_TRY_GOTO(keel_cli_find_base(policy_dir, loaded->base_hash, found, sizeof found, err), fail);
        base_dir = found;
    }
    KEEL_TRY_GOTO(keel_base_load(&under, base_dir, err), fail);
    KEEL_TRY_GOTO(keel_policy_check_base(loaded, under, err), fail);
    *policy = loaded;
    *base = under;
    return KEEL_OK;
fail:
    keel_base_close(under);
    keel_policy_close(loaded);
    return status;
}
