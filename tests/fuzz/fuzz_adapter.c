/* An adapter of PEFT's for a tiny encoder or decoder: configuration, then tensors. What loads comes back from
 * what is written, bit for bit, and merges and unmerges, or says why not. */
#include "fuzz.h"
#include "policies/transformer/peft.h"

static const char *const encoder = KEEL_SOURCE_DIR "/tests/policies/golden/bert/mean";

static const char *const decoder = KEEL_SOURCE_DIR "/tests/policies/golden/decoder/tied";

static const char *lay_out(const uint8_t *data, size_t size) {
    fuzz_part parts[2] = {0};
    fuzz_parts(data, size, parts, 2);
    FUZZ_CHECK(keel_folder_make(fuzz_path("adapter"), &fuzz_err) == KEEL_OK);
    fuzz_put("adapter/adapter_config.json", parts[0].data, parts[0].size);
    fuzz_put("adapter/adapter_model.safetensors", parts[1].data, parts[1].size);
    return fuzz_path("adapter");
}

static keel_bert *load(void) {
    keel_bert *bert = NULL;
    FUZZ_CHECK(keel_bert_load(&bert, encoder, &fuzz_err) == KEEL_OK);
    return bert;
}

static bool same_block(const keel_bert *one, const float *data, size_t size) {
    return one->params.size == size && memcmp(one->params.data, data, size * sizeof *data) == 0;
}

static void check_loaded(keel_bert *bert) {
    keel_bert *again = load();
    const size_t size = bert->params.size;
    float *before = malloc(size * sizeof *before);
    if (!before) abort();
    memcpy(before, bert->params.data, size * sizeof *before);
    FUZZ_CHECK(keel_peft_save(bert, fuzz_path("again"), &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(keel_peft_load(again, fuzz_path("again"), &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(same_block(again, before, size));
    FUZZ_CHECK(again->lora.alpha == bert->lora.alpha && again->lora.rslora == bert->lora.rslora);
    if (fuzz_ok(keel_bert_merge(bert, &fuzz_err))) keel_bert_unmerge(bert);
    FUZZ_CHECK(same_block(bert, before, size));
    free(before);
    keel_bert_close(again);
}

static keel_llama *load_decoder(void) {
    keel_llama *llama = NULL;
    FUZZ_CHECK(keel_llama_open(&llama, decoder, KEEL_LLAMA_AS_STORED, &fuzz_err) == KEEL_OK);
    return llama;
}

static void check_decoder(keel_llama *llama) {
    keel_llama *again = load_decoder();
    const keel_params *had = &llama->params, *has = &again->params;
    FUZZ_CHECK(keel_peft_save_llama(llama, fuzz_path("again"), &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(keel_peft_load_llama(again, fuzz_path("again"), &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(had->size == has->size && memcmp(had->data, has->data, had->size * sizeof *had->data) == 0);
    if (fuzz_ok(keel_llama_merge(llama, &fuzz_err))) keel_llama_unmerge(llama);
    keel_llama_close(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *adapter = lay_out(data, size);
    keel_bert *bert = load();
    if (fuzz_ok(keel_peft_load(bert, adapter, &fuzz_err))) check_loaded(bert);
    keel_bert_close(bert);
    keel_llama *llama = load_decoder();
    if (fuzz_ok(keel_peft_load_llama(llama, adapter, &fuzz_err))) check_decoder(llama);
    keel_llama_close(llama);
    return 0;
}
