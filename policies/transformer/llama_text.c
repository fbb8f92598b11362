#include "policies/transformer/llama_text.h"

#include <string.h>

#include "core/json.h"

bool keel_llama_add_message(cJSON *messages, const char *role, const char *text) {
    cJSON *message = cJSON_CreateObject();
    return keel_json_add(messages, NULL, message) && text && cJSON_AddStringToObject(message, "role", role) &&
           cJSON_AddStringToObject(message, "content", text);
}

static const char *mark(const keel_llama *llama, int32_t id) {
    const char *text = id >= 0 ? keel_tokenizer_token(llama->tokenizer, id) : NULL;
    return text ? text : "";
}

keel_chat_request keel_llama_request(const keel_llama *llama, const cJSON *messages, bool generation) {
    const keel_llama_config *c = &llama->config;
    return (keel_chat_request){.messages = messages,
                               .generation_prompt = generation,
                               .bos = mark(llama, c->bos),
                               .eos = mark(llama, c->n_eos ? c->eos[0] : -1)};
}

keel_status keel_llama_read_text(const keel_llama *llama, const char *text, bool marks, keel_arena *arena,
                                 keel_tokens *out, keel_err *err) {
    const int32_t bos = llama->config.bos;
    KEEL_TRY(keel_tokenizer_encode(llama->tokenizer, text, marks, arena, out, err));
    if (!llama->config.adds_bos || bos < 0 || (out->count > 0 && out->id[0] == bos)) return KEEL_OK;
    int32_t *id = keel_arena_alloc(arena, (out->count + 1) * sizeof *id);
    if (!id) return keel_nomem(err, "decoder");
    id[0] = bos;
    if (out->count > 0) memcpy(id + 1, out->id, out->count * sizeof *id);
    *out = (keel_tokens){out->count + 1, id};
    return KEEL_OK;
}
