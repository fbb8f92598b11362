#include "policies/decoder_base/fresh.h"

#include <string.h>

#include "policies/corpus_pass.h"
#include "policies/decoder_base/model.h"
#include "policies/tokens/bpe_train.h"

enum { POSITIONS = 2048 };

static const char *const marks[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
enum { END_OF_TEXT, BEGIN, END, N_MARKS };

/* ---- the tokenizer ---- */

static keel_status add_conversation(keel_bpe_train *train, const keel_conversation *conversation,
                                    keel_err *err) {
    for (size_t t = 0; t < conversation->n_turns; t++)
        KEEL_TRY(keel_bpe_train_add(train, conversation->turns[t].text, err));
    for (size_t d = 0; d < conversation->n_decisions; d++) {
        const keel_decision *decision = &conversation->decisions[d];
        for (size_t i = 0; i < decision->n_candidates && decision->turn == conversation->n_turns; i++)
            if (decision->candidates[i].text)
                KEEL_TRY(keel_bpe_train_add(train, decision->candidates[i].text, err));
    }
    return KEEL_OK;
}

static keel_status add_some(void *context, const keel_corpus_some *some, keel_err *err) {
    for (size_t i = 0; i < some->n; i++) KEEL_TRY(add_conversation(context, some->read[i], err));
    return KEEL_OK;
}

static keel_status train_tokenizer(keel_corpus *corpus, size_t size, keel_tokenizer **out, keel_err *err) {
    const keel_bpe_training how = {.size = size, .special = marks, .n_special = N_MARKS, .least = 2};
    keel_bpe_train *train;
    keel_buf json = {0};
    KEEL_TRY(keel_bpe_train_open(&train, &how, err));
    const keel_corpus_pass pass = {.what = "count words", .who = "sft", .take = add_some, .context = train};
    keel_status status = keel_corpus_pass_run(&pass, corpus, NULL, err);
    if (status == KEEL_OK) status = keel_bpe_train_write(train, &json, err);
    if (status == KEEL_OK) status = keel_tokenizer_parse(out, json.data, json.length, "tokenizer.json", err);
    keel_bpe_train_close(train);
    keel_buf_free(&json);
    return status;
}

/* ---- the model ---- */

/* A student speaks as its teacher does. */
static const keel_llama *teacher_of(const keel_base_tuning *job) {
    return job->teacher_base ? ((const keel_decoder_base *)job->teacher_base)->llama : NULL;
}

static keel_status find_tokenizer(const keel_base_tuning *job, size_t size, keel_tokenizer **out,
                                  keel_err *err) {
    size_t length;
    if (!job->teacher_base) return train_tokenizer(job->corpus, size, out, err);
    const char *json = keel_tokenizer_file(teacher_of(job)->tokenizer, &length);
    return keel_tokenizer_parse(out, json, length, "tokenizer.json", err);
}

static void speak_as(keel_llama_config *shape, const keel_llama *teacher) {
    const keel_llama_config *c = &teacher->config;
    shape->bos = c->bos;
    shape->pad = c->pad;
    shape->adds_bos = c->adds_bos;
    shape->n_eos = c->n_eos;
    memcpy(shape->eos, c->eos, sizeof shape->eos);
}

static keel_status check(const struct keel_decoder_base_config *c, keel_err *err) {
    if (c->hidden % c->heads == 0 && c->heads % c->kv_heads == 0 && c->hidden / c->heads % 2 == 0)
        return KEEL_OK;
    keel_fail(err, KEEL_E_USAGE, "heads", "hidden=%lld, heads=%lld and kv_heads=%lld do not fit each other",
              (long long)c->hidden, (long long)c->heads, (long long)c->kv_heads);
    return keel_hint(err, "hidden is a multiple of twice the heads, and heads are a multiple of kv_heads");
}

keel_status keel__decoder_fresh(const keel_base_tuning *job, const struct keel_decoder_base_config *config,
                                keel_llama **out, keel_err *err) {
    const struct keel_decoder_base_config *c = config;
    const size_t wanted = (size_t)(c->state_tokens + c->candidate_tokens);
    keel_tokenizer *tokenizer;
    KEEL_TRY(check(c, err));
    KEEL_TRY(find_tokenizer(job, (size_t)c->vocabulary, &tokenizer, err));
    keel_llama_config shape = {.vocab = keel_tokenizer_size(tokenizer),
                               .hidden = (size_t)c->hidden,
                               .layers = (size_t)c->layers,
                               .heads = (size_t)c->heads,
                               .kv_heads = (size_t)c->kv_heads,
                               .head_dim = (size_t)(c->hidden / c->heads),
                               .inner = (size_t)c->inner,
                               .positions = wanted > POSITIONS ? wanted : POSITIONS,
                               .epsilon = 1e-5,
                               .rope_theta = 10000,
                               .tied = true,
                               .bos = END_OF_TEXT,
                               .eos = {END, END_OF_TEXT},
                               .n_eos = 2,
                               .pad = END_OF_TEXT};
    if (teacher_of(job)) speak_as(&shape, teacher_of(job));
    const char *chat = teacher_of(job) ? teacher_of(job)->chat_source : NULL;
    return keel_llama_make(out, &shape, tokenizer, chat ? chat : keel_chat_template_chatml,
                           (uint64_t)c->common.seed, err);
}
