#include "policies/transformer/peft.h"

#include "core/file.h"
#include "policies/transformer/bert_internal.h"
#include "policies/transformer/peft_internal.h"

/* In a model with a head the names have one part more. */
static keel__peft_host host_of(const keel_bert *bert) {
    keel__peft_host host = {.kind = "BERT encoders",
                            .task = "null",
                            .path = "encoder.layer",
                            .prefix = {"base_model.model.bert.", "base_model.model."},
                            .n_modules = KEEL__N_LORA_TARGETS,
                            .layers = bert->config.layers,
                            .width = bert->config.hidden};
    for (size_t t = 0; t < KEEL__N_LORA_TARGETS; t++) host.module[t] = keel__lora_targets[t].module;
    return host;
}

static size_t first_row(const keel_bert *bert) {
    return keel_bert_first_trained(bert, KEEL_BERT_LORA, 0);
}

keel_status keel_peft_config(const keel_bert *bert, const char *dir, keel_lora_config *out, keel_err *err) {
    const keel__peft_host host = host_of(bert);
    keel__peft_files files = {.host = &host, .err = err};
    keel_status status = keel__peft_open(&files, dir);
    if (status == KEEL_OK) status = keel__peft_read_lora(&files, out);
    keel__peft_close(&files);
    return status;
}

keel_status keel_peft_load(keel_bert *bert, const char *dir, keel_err *err) {
    const keel__peft_host host = host_of(bert);
    keel__peft_files files = {.host = &host, .err = err};
    keel_lora_config lora;
    if (bert->unmerged) return keel_fail(err, KEEL_E_USAGE, dir, "the encoder is merged with an adapter");
    keel_status status = keel__peft_open(&files, dir);
    if (status == KEEL_OK) status = keel__peft_read_lora(&files, &lora);
    if (status == KEEL_OK)
        status = bert->lora.rank ? keel__peft_agree(&files, &bert->lora, &lora)
                                 : keel_bert_extend(bert, &lora, NULL, 0, err);
    if (status == KEEL_OK) status = keel__peft_copy_lora(&files, &lora, &bert->params, first_row(bert));
    keel__peft_close(&files);
    return status;
}

keel_status keel_peft_save(const keel_bert *bert, const char *dir, keel_err *err) {
    const keel__peft_host host = host_of(bert);
    if (!bert->lora.rank) return keel_fail(err, KEEL_E_USAGE, dir, "the encoder has no LoRA to write");
    return keel__peft_save_lora(&host, &bert->lora, &bert->params, first_row(bert), dir, err);
}

/* ---- a folder with an adapter in it ---- */

static keel_status take_adapter(keel_bert *bert, const char *dir, keel_err *err) {
    keel_arena arena = {0};
    const char *path = keel_path_join(&arena, dir, "adapter_config.json");
    keel_status status = path ? KEEL_OK : keel_nomem(err, dir);
    if (status == KEEL_OK && keel_file_exists(path)) {
        status = keel_peft_load(bert, dir, err);
        if (status == KEEL_OK) status = keel_bert_settle(bert, err);
    }
    keel_arena_free(&arena);
    return status;
}

keel_status keel_peft_open(keel_bert **out, const char *dir, keel_err *err) {
    keel_bert *bert;
    KEEL_TRY(keel_bert_load(&bert, dir, err));
    keel_status status = take_adapter(bert, dir, err);
    if (status == KEEL_OK)
        *out = bert;
    else
        keel_bert_close(bert);
    return status;
}
