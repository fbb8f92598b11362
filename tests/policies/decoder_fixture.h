/* What the tests of the decoder base share: a tiny new decoder to tune on a log. */
#ifndef KEEL_TESTS_DECODER_FIXTURE_H
#define KEEL_TESTS_DECODER_FIXTURE_H

#include "sft_fixture.h"

#include "policies/decoder_base/model.h"

static struct keel_decoder_base_config config;

static inline void set_tiny_decoder(void) {
    assert_ok(keel_options_defaults(keel_decoder_base_options, &config, &err));
    config.mode = KEEL_DECODER_FULL;
    config.ngrams = KEEL_BESIDE_NO;
    config.layers = 2;
    config.hidden = 32;
    config.heads = 4;
    config.kv_heads = 2;
    config.inner = 64;
    config.state_tokens = 128;
    config.batch = 8;
    config.shard_tokens = 96;
    config.learning_rate = 0.01;
    config.common.fixed_answers = 1; /* none */
}

#endif
