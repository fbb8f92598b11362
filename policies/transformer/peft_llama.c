/* Adapters of decoders: LoRA and prompt tuning. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "policies/transformer/llama_internal.h"
#include "policies/transformer/peft.h"
#include "policies/transformer/peft_internal.h"

static keel__peft_host host_of(const keel_llama *llama) {
    keel__peft_host host = {.kind = "decoders of the Llama family",
                            .task = "\"CAUSAL_LM\"",
                            .path = "model.layers",
                            .prefix = {"base_model.model.", "base_model."},
                            .n_modules = KEEL__N_LLAMA_TARGETS,
                            .layers = llama->config.layers,
                            .width = llama->config.hidden,
                            .tied = llama->config.tied};
    for (size_t t = 0; t < KEEL__N_LLAMA_TARGETS; t++) host.module[t] = keel__llama_targets[t].module;
    return host;
}

/* ---- prompt tuning ---- */

static const char tensor_name[] = "prompt_embeddings";

/* How virtual tokens began does not matter. */
static keel_status read_prompt(keel__peft_files *files, size_t hidden, keel_llama_tuning *out) {
    static const char *const read[] = {"peft_type", "num_virtual_tokens", "token_dim",
                                       "num_transformer_submodules", NULL};
    static const char *const idle[] = {"auto_mapping",
                                       "base_model_name_or_path",
                                       "inference_mode",
                                       "num_attention_heads",
                                       "num_layers",
                                       "peft_version",
                                       "prompt_tuning_init",
                                       "prompt_tuning_init_text",
                                       "tokenizer_kwargs",
                                       "tokenizer_name_or_path",
                                       "revision",
                                       "task_type",
                                       NULL};
    double n = 0, width = (double)hidden, modules = 1;
    KEEL_TRY(keel__peft_check_keys(files, read, idle));
    KEEL_TRY(keel_json_number(files->json, "num_virtual_tokens", true, &n, files->config, files->err));
    KEEL_TRY(keel_json_number(files->json, "token_dim", false, &width, files->config, files->err));
    KEEL_TRY(keel_json_number(files->json, "num_transformer_submodules", false, &modules, files->config,
                              files->err));
    if (!(n >= 1 && n <= KEEL_LLAMA_MOST_VIRTUAL && floor(n) == n))
        return keel_fail(files->err, KEEL_E_INVALID, files->config,
                         "num_virtual_tokens: expected 1 to %d, got %g", KEEL_LLAMA_MOST_VIRTUAL, n);
    if (width != (double)hidden || modules != 1)
        return keel_fail(files->err, KEEL_E_INVALID, files->config,
                         "expected one module of width %zu, got %g of %g", hidden, modules, width);
    *out = (keel_llama_tuning){.mode = KEEL_LLAMA_PROMPT, .n_virtual = (size_t)n};
    return keel_safetensors_read(files->weights, &files->tensors, files->err);
}

static keel_status copy_prompt(const keel__peft_files *files, const keel_llama *llama) {
    const size_t row = llama->params.count - 1, shape[2] = {llama->n_virtual, llama->config.hidden};
    if (files->tensors.count != 1)
        return keel_fail(files->err, KEEL_E_UNSUPPORTED, files->weights,
                         "expected \"%s\" alone, got %zu tensors", tensor_name, files->tensors.count);
    return keel_safetensors_copy(&files->tensors, tensor_name, shape, 2, keel_params_at(&llama->params, row),
                                 files->err);
}

static keel_status save_prompt(const keel_llama *llama, const char *config, const char *weights,
                               keel_err *err) {
    const size_t row = llama->params.count - 1;
    const keel_named_tensor tensor = keel_named_tensor_of(
        tensor_name, KEEL_F32, llama->n_virtual, llama->config.hidden, keel_params_at(&llama->params, row));
    keel_buf text = {0};
    keel_buf_format(&text,
                    "{\n  \"peft_type\": \"PROMPT_TUNING\",\n  \"task_type\": \"CAUSAL_LM\",\n"
                    "  \"base_model_name_or_path\": null,\n  \"inference_mode\": true,\n"
                    "  \"num_virtual_tokens\": %zu,\n  \"token_dim\": %zu,\n  \"num_layers\": %zu,\n"
                    "  \"num_attention_heads\": %zu,\n  \"num_transformer_submodules\": 1,\n"
                    "  \"prompt_tuning_init\": \"RANDOM\"\n}\n",
                    llama->n_virtual, llama->config.hidden, llama->config.layers, llama->config.heads);
    keel_status status = keel_safetensors_write(weights, &tensor, 1, NULL, err);
    if (status == KEEL_OK)
        status = text.failed ? keel_nomem(err, config) : keel_file_write(config, text.data, text.length, err);
    keel_buf_free(&text);
    return status;
}

/* ---- either ---- */

static keel_status read_tuning(keel__peft_files *files, const keel_llama *llama, const char *dir,
                               keel_llama_tuning *out) {
    const char *type = "";
    KEEL_TRY(keel__peft_open(files, dir));
    KEEL_TRY(keel_json_string(files->json, "peft_type", true, &type, files->config, files->err));
    if (strcmp(type, "PROMPT_TUNING") == 0) return read_prompt(files, llama->config.hidden, out);
    *out = (keel_llama_tuning){.mode = KEEL_LLAMA_LORA};
    return keel__peft_read_lora(files, &out->lora);
}

keel_status keel_peft_tuning(const keel_llama *llama, const char *dir, keel_llama_tuning *out,
                             keel_err *err) {
    const keel__peft_host host = host_of(llama);
    keel__peft_files files = {.host = &host, .err = err};
    keel_status status = read_tuning(&files, llama, dir, out);
    keel__peft_close(&files);
    return status;
}

static keel_status check_agrees(const keel__peft_files *files, const keel_llama *llama,
                                const keel_llama_tuning *tuning) {
    if (tuning->mode == KEEL_LLAMA_LORA) return keel__peft_agree(files, &llama->lora, &tuning->lora);
    if (llama->n_virtual == tuning->n_virtual) return KEEL_OK;
    return keel_fail(files->err, KEEL_E_INVALID, files->config, "%zu virtual tokens; the model has %zu",
                     tuning->n_virtual, llama->n_virtual);
}

keel_status keel_peft_load_llama(keel_llama *llama, const char *dir, keel_err *err) {
    const keel__peft_host host = host_of(llama);
    keel__peft_files files = {.host = &host, .err = err};
    keel_llama_tuning tuning;
    if (llama->unmerged) return keel_fail(err, KEEL_E_USAGE, dir, "the decoder is merged with an adapter");
    keel_status status = read_tuning(&files, llama, dir, &tuning);
    if (status == KEEL_OK)
        status =
            llama->params.data ? check_agrees(&files, llama, &tuning) : keel_llama_train(llama, &tuning, err);
    if (status == KEEL_OK)
        status = tuning.mode == KEEL_LLAMA_LORA
                     ? keel__peft_copy_lora(&files, &tuning.lora, &llama->params, 0)
                     : copy_prompt(&files, llama);
    keel__peft_close(&files);
    return status;
}

keel_status keel_peft_save_llama(const keel_llama *llama, const char *dir, keel_err *err) {
    const keel__peft_host host = host_of(llama);
    keel_arena arena = {0};
    if (llama->lora.rank) return keel__peft_save_lora(&host, &llama->lora, &llama->params, 0, dir, err);
    if (!llama->n_virtual)
        return keel_fail(err, KEEL_E_USAGE, dir, "the decoder has neither LoRA nor virtual tokens to write");
    char *config = keel_path_join(&arena, dir, "adapter_config.json"),
         *weights = keel_path_join(&arena, dir, "adapter_model.safetensors");
    keel_status status = config && weights ? keel_folder_make(dir, err) : keel_nomem(err, dir);
    if (status == KEEL_OK) status = save_prompt(llama, config, weights, err);
    keel_arena_free(&arena);
    return status;
}

keel_status keel_peft_open_llama(keel_llama **out, const char *path, keel_llama_weights weights,
                                 keel_err *err) {
    keel_arena arena = {0};
    const char *adapter = keel_path_join(&arena, path, "adapter");
    keel_status status = adapter ? keel_llama_open(out, path, weights, err) : keel_nomem(err, path);
    if (status == KEEL_OK && keel_file_is_folder(adapter)) {
        status = keel_peft_load_llama(*out, adapter, err);
        if (status != KEEL_OK) keel_llama_close(*out);
    }
    keel_arena_free(&arena);
    return status;
}
