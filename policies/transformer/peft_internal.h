/* Between the files that read and write adapters of PEFT: peft_files.c knows the files, peft.c encoders,
 * peft_llama.c decoders. */
#ifndef KEEL_POLICIES_TRANSFORMER_PEFT_INTERNAL_H
#define KEEL_POLICIES_TRANSFORMER_PEFT_INTERNAL_H

#include "core/json.h"
#include "core/params.h"
#include "core/safetensors.h"
#include "policies/transformer/lora.h"

enum { KEEL__MOST_MODULES = 8 };

/* What an adapter is for. */
typedef struct keel__peft_host {
    const char *kind;      /* "BERT encoders" */
    const char *task;      /* as JSON: "null" */
    const char *path;      /* "encoder.layer": of layers */
    const char *prefix[3]; /* before the path in a file, the likeliest last; NULL ends them */
    const char *module[KEEL__MOST_MODULES]; /* [n_modules] "attention.self.query", in the order of bits */
    size_t n_modules, layers, width;        /* width: the largest rank */
    bool tied;                              /* the embedding is the head too */
} keel__peft_host;

/* The two files of a folder. */
typedef struct keel__peft_files {
    const keel__peft_host *host;
    keel_arena arena;
    const char *config, *weights; /* paths */
    const cJSON *json;
    keel_safetensors tensors;
    keel_err *err;
} keel__peft_files;

keel_status keel__peft_open(keel__peft_files *files, const char *dir); /* host and err are set */
void keel__peft_close(keel__peft_files *files);
/* Every key is in read or idle (both end with NULL), or says that it changes nothing. */
keel_status keel__peft_check_keys(const keel__peft_files *files, const char *const *read,
                                  const char *const *idle);
/* rank, factor, dropout and targets of a LoRA adapter. */
keel_status keel__peft_read_lora(keel__peft_files *files, keel_lora_config *out);
/* Its tensors, in the order of layers, bits, A and B, to rows first .. of params. */
keel_status keel__peft_copy_lora(const keel__peft_files *files, const keel_lora_config *lora,
                                 const keel_params *params, size_t first);
/* Writes the folder: A and B are rows first .. of params. */
keel_status keel__peft_save_lora(const keel__peft_host *host, const keel_lora_config *lora,
                                 const keel_params *params, size_t first, const char *dir, keel_err *err);
/* The two configurations do the same. */
keel_status keel__peft_agree(const keel__peft_files *files, const keel_lora_config *has,
                             const keel_lora_config *lora);

#endif
