/* A model's folder as Hugging Face lays it out: its files of JSON, and its tokenizer. Hostile until checked.
 */
#ifndef KEEL_POLICIES_TRANSFORMER_MODEL_FOLDER_H
#define KEEL_POLICIES_TRANSFORMER_MODEL_FOLDER_H

#include <cjson/cJSON.h>

#include "policies/tokens/tokenizer.h"

typedef struct keel_model_folder {
    const char *dir;
    char path[4096]; /* of the file that is read, for errors */
    keel_err *err;
} keel_model_folder;

/* path becomes that of a file. */
keel_status keel_model_folder_name(keel_model_folder *folder, const char *file);
/* The file's value, to be deleted; NULL where it is missing and not required. */
keel_status keel_model_folder_json(keel_model_folder *folder, const char *file, bool required, cJSON **out);
/* Reads the file's value, where it is there. */
typedef keel_status keel_model_folder_look(void *context, const cJSON *json);
keel_status keel_model_folder_read(keel_model_folder *folder, const char *file, bool required,
                                   keel_model_folder_look *look, void *context);
/* A whole number of 1 to most. *out 0 before: the key is required. */
keel_status keel_model_folder_size(const keel_model_folder *folder, const cJSON *json, const char *key,
                                   size_t most, size_t *out);
/* Sizes of layers: a list of n numbers 1 .. most of which the largest is `most`, in the arena; *out NULL
 * where the key is missing. */
keel_status keel_model_folder_sizes(const keel_model_folder *f, const cJSON *json, const char *key, size_t n,
                                    size_t most, keel_arena *arena, uint32_t **out);
/* What config.json says of matrices that `keel compress` put into other number formats (weights.h). */
typedef struct keel_model_quantised {
    bool is;
    bool wide; /* they are multiplied with floats, not with whole numbers of 8 bits */
} keel_model_quantised;
/* Its quantization_config; another library's is KEEL_E_UNSUPPORTED. */
keel_status keel_model_folder_quantised(const keel_model_folder *folder, const cJSON *json,
                                        keel_model_quantised *out);
/* The same key and value as text, for a config.json that is written. */
const char *keel_model_folder_quantised_text(bool wide);
/* `, "key": [..]` */
void keel_model_folder_put_sizes(const char *key, const uint32_t *size, size_t n, keel_buf *to);
/* tokenizer.json, of at most so many tokens as the model has. */
keel_status keel_model_folder_tokenizer(keel_model_folder *folder, size_t vocab, keel_tokenizer **out);

#endif
