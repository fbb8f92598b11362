#include "policies/decoder_base/memory.h"

#include <stdio.h>

#include "core/log.h"
#include "policies/transformer/llama_plan.h"

keel_keep keel__decoder_keep(const struct keel_decoder_base_config *c) {
    static const keel_keep by_precision[] = {KEEL_KEEP_ALL, KEEL_KEEP_BF16, KEEL_KEEP_HALF};
    return c->recompute ? KEEL_KEEP_NOTHING : by_precision[c->precision];
}

/* Settings that memory depends on. */
typedef struct settings {
    size_t threads, shard_tokens, state_tokens;
    bool recompute;
} settings;

typedef struct planning {
    const keel_decoder_base *model;
    const keel_llama *teacher; /* or NULL */
    const keel_decoder_units *units;
    size_t texts; /* of a unit that are run at once: dpo's pairs */
} planning;

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Tokens of the largest unit. */
static size_t longest_of(const planning *p, const settings *s) {
    return p->texts * (least(p->units->longest_prompt, s->state_tokens) + p->units->longest_response);
}

static keel_llama_memory memory_of(const planning *p, const settings *s) {
    struct keel_decoder_base_config c = p->model->config;
    const size_t longest = longest_of(p, s), batch = least((size_t)c.batch, p->units->n),
                 shard = s->shard_tokens > longest ? s->shard_tokens : longest,
                 tokens = least(shard, batch * longest);
    c.recompute = s->recompute;
    const keel_llama_plan plan = {.tuning = keel_llama_tuning_of(p->model->llama),
                                  .keep = keel__decoder_keep(&c),
                                  .texts = p->texts,
                                  .tokens = tokens,
                                  .longest = longest / p->texts,
                                  .counted = tokens,
                                  .shards = least(s->threads, batch),
                                  .fake = c.fake_quant != 0,
                                  .fake_inputs = c.fake_quant && c.fake_inputs,
                                  .teacher = p->teacher ? &p->teacher->config : NULL,
                                  .gradients = s->threads + 1};
    return keel_llama_memory_of(&p->model->llama->config, &plan);
}

/* Less by one: layers that run again and fewer threads change no result; then smaller shards, and dialogues
 * that are cut to fit into one. false: there is no less. */
static bool shrink(const planning *p, settings *s) {
    enum { LEAST_SHARD = 64, LEAST_STATE = 32 };
    if (!s->recompute) {
        s->recompute = true;
        return true;
    }
    if (s->threads > 1) {
        s->threads = 1;
        return true;
    }
    s->shard_tokens /= 2;
    if (s->shard_tokens < LEAST_SHARD) return false;
    if (longest_of(p, s) <= s->shard_tokens) return true;
    if (s->shard_tokens / p->texts < p->units->longest_response + LEAST_STATE) return false;
    s->state_tokens = s->shard_tokens / p->texts - p->units->longest_response;
    return true;
}

/* What is still to be taken: the weights are there, and a tape's arena holds some that nobody asked for. */
static size_t to_come(const planning *p, const settings *s) {
    const keel_llama_memory m = memory_of(p, s);
    const size_t shards = least(s->threads, least((size_t)p->model->config.batch, p->units->n)),
                 spare = m.tape / 8 + least(m.tape, KEEL_ARENA_STEP);
    return m.total - m.weights + shards * spare;
}

static keel_status hint_settings(const settings *asked, const settings *found, keel_err *err) {
    char text[160] = "";
    size_t n = 0;
    const struct {
        const char *flag;
        size_t value, before;
    } rows[] = {{"--threads ", found->threads, asked->threads},
                {"--set shard_tokens=", found->shard_tokens, asked->shard_tokens},
                {"--set state_tokens=", found->state_tokens, asked->state_tokens}};
    if (found->recompute != asked->recompute)
        n += (size_t)snprintf(text + n, sizeof text - n, " --set recompute=true");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].value != rows[i].before)
            n += (size_t)snprintf(text + n, sizeof text - n, " %s%zu", rows[i].flag, rows[i].value);
    return keel_hint(err, "it fits with%s", text);
}

static keel_status refuse(const planning *p, const settings *asked, size_t left, keel_err *err) {
    const double mb = 1.0 / (1 << 20);
    settings s = *asked;
    bool found = false, more = true;
    while (!found && more) {
        more = shrink(p, &s);
        found = more && to_come(p, &s) <= left;
    }
    keel_fail(err, KEEL_E_NOMEM, "sft", "an update takes %.0f MB more, and %.0f are left of --memory",
              (double)to_come(p, asked) * mb, (double)left * mb);
    if (found) return hint_settings(asked, &s, err);
    return keel_hint(err, "give it more memory, or tune less of it: --mode lora, prompt, or freeze with "
                          "more frozen_layers");
}

keel_status keel__decoder_check_memory(const keel_decoder_base *model, const keel_llama *teacher,
                                       const keel_decoder_units *units, size_t threads, keel_err *err) {
    const struct keel_decoder_base_config *c = &model->config;
    const planning p = {model, teacher, units, c->loss == KEEL_LOSS_DPO ? 2 : 1};
    const settings asked = {threads, (size_t)c->shard_tokens, (size_t)c->state_tokens, c->recompute};
    const keel_llama_memory m = memory_of(&p, &asked);
    const size_t left = keel_memory_left();
    const double mb = 1.0 / (1 << 20);
    keel_log(
        KEEL_LOG_INFO,
        "sft: memory planned: %.0f MB: weights %.0f, gradients %.0f, moments %.0f, and for each of %zu threads "
        "activations %.0f, logits %.0f",
        (double)m.total * mb, (double)m.weights * mb, (double)m.gradients * mb, (double)m.moments * mb,
        threads, (double)m.activations * mb, (double)m.logits * mb);
    return to_come(&p, &asked) <= left ? KEEL_OK : refuse(&p, &asked, left, err);
}
