/* Rows of the option tables of bases that tune a transformer, alike for all: as core/option_rows.h. */
#ifndef KEEL_POLICIES_TRANSFORMER_TUNING_ROWS_H
#define KEEL_POLICIES_TRANSFORMER_TUNING_ROWS_H

#include "core/option_rows.h"
#include "core/schedule.h"
#include "policies/transformer/lora.h"

#define KEEL_TUNING_FROZEN_LAYERS                                                                            \
    INT(frozen_layers, "0", 0, 1024,                                                                         \
        "freeze: layers from below that stay as they are, the embeddings with them")
#define KEEL_TUNING_RSLORA BOOL(rslora, "false", "lora: alpha / sqrt(rank) times instead")
#define KEEL_TUNING_LORA_DROPOUT                                                                             \
    REAL(lora_dropout, "0", 0, 0.9, "lora: share of the corrections' input that tuning drops")
#define KEEL_TUNING_TARGETS                                                                                  \
    CHOICE(targets, "all", keel_lora_target_names,                                                           \
           "lora: which layers are corrected: query and value alone, or every one")
#define KEEL_TUNING_WEIGHT_DECAY                                                                             \
    REAL(weight_decay, "0.01", 0, 1, "decoupled weight decay of AdamW, of matrices only")
#define KEEL_TUNING_CLIP_NORM                                                                                \
    REAL(clip_norm, "1", 0, 1e6, "largest norm of an update's gradient; 0: no limit")

/* Names of number formats: policies/compress/config.h. */
extern const char *const keel_fake_input_names[]; /* none, int8; NULL-terminated */
#define KEEL_TUNING_FAKE_QUANT                                                                                      \
    CHOICE(                                                                                                         \
        fake_quant, "none", keel_compress_weights,                                                                  \
        "full, freeze: compute with weights as keel compress --weights will hold them (calibrate=absmax), so that " \
        "tuning makes up for it")
#define KEEL_TUNING_FAKE_INPUTS                                                                              \
    CHOICE(fake_inputs, "int8", keel_fake_input_names,                                                       \
           "fake_quant: and with inputs rounded as activations=int8 will have them; none: weights alone")
#define KEEL_TUNING_LEARNED_SCALES                                                                           \
    BOOL(learned_scales, "false",                                                                            \
         "fake_quant: learn a factor of each row's scales as well (LSQ; Esser et al. 2020)")

/* What the rows of fake quantisation were set to. */
typedef struct keel_tuning_fake {
    int quant, inputs;
    bool scales;
} keel_tuning_fake;

/* KEEL_E_USAGE names a row that would do nothing. tunes: matrices are tuned themselves. */
keel_status keel_tuning_check_fake(const keel_tuning_fake *fake, bool tunes, keel_err *err);
/* KEEL_E_USAGE where the model, a "decoder" say, has fewer layers than are to stay as they are. */
keel_status keel_tuning_check_frozen(int64_t frozen, size_t layers, const char *model, keel_err *err);

#endif
