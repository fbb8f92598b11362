/* Tuning, in this order: the encoder's weights, what a teacher says, which decisions teach, the n-gram base
 * beside it, training, scaling, the tables of crossed logits. */
#include "policies/encoder_base/tune.h"

#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/progress.h"
#include "policies/corpus_pass.h"
#include "policies/encoder_base/encode.h"
#include "policies/encoder_base/train.h"
#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/peft.h"
#include "policies/transformer/tuning_rows.h"

/* ---- which decisions teach ---- */

enum { HELD_OUT_SALT = 7 };

/* Independent of the folds of splits and of probes. */
static double draw_of(int64_t group, uint64_t salt) {
    return (double)(keel_hash64_mix((uint64_t)group, salt) >> 11) * 0x1p-53;
}

typedef struct counting {
    keel_encoder_tuning *tuning;
    size_t room;
} counting;

static keel_status add_unit(counting *to, const keel_encoder_unit *unit, keel_err *err) {
    keel_encoder_tuning *tuning = to->tuning;
    if (tuning->n == to->room) {
        const size_t room = to->room ? 2 * to->room : 256;
        keel_encoder_unit *grown = keel_realloc(tuning->unit, room * sizeof *grown);
        if (!grown) return keel_nomem(err, "encoder base");
        tuning->unit = grown;
        to->room = room;
    }
    tuning->unit[tuning->n++] = *unit;
    tuning->n_candidates += unit->n_candidates;
    if (keel__encoder_reads_candidates(tuning->model)) tuning->n_candidates += tuning->job->n_fixed;
    return KEEL_OK;
}

static keel_status count_conversation(counting *to, size_t place, const keel_conversation *conversation,
                                      keel_err *err) {
    const keel_encoder_base *model = to->tuning->model;
    const int64_t group = keel_conversation_group_hash(conversation);
    for (size_t d = 0; d < conversation->n_decisions; d++) {
        const keel_encoder_labels labels =
            keel__encoder_labels(model, conversation, d, keel_soft_label_of(to->tuning->soft, place, d));
        size_t sum = 0;
        for (int h = 0; h < KEEL_N_HEADS; h++) sum += keel__encoder_terms(model, &labels, h);
        const keel_encoder_unit unit = {.place = place,
                                        .decision = (uint32_t)d,
                                        .n_candidates = keel__encoder_reads_candidates(model)
                                                            ? (uint32_t)labels.decision->n_candidates
                                                            : 0,
                                        .fold = (uint32_t)(draw_of(group, 1) * (double)model->config.folds),
                                        .held_out = draw_of(group, HELD_OUT_SALT) < model->config.held_out,
                                        .first_candidate = to->tuning->n_candidates};
        if (sum > 0) KEEL_TRY(add_unit(to, &unit, err));
    }
    return KEEL_OK;
}

static keel_status count_some(void *context, const keel_corpus_some *some, keel_err *err) {
    for (size_t i = 0; i < some->n; i++)
        KEEL_TRY(count_conversation(context, some->place[i], some->read[i], err));
    return KEEL_OK;
}

static keel_status count_units(keel_encoder_tuning *tuning, keel_err *err) {
    keel_corpus *corpus = tuning->job->corpus;
    counting to = {.tuning = tuning};
    const keel_corpus_pass pass = {
        .what = "count decisions", .who = "sft", .take = count_some, .context = &to};
    const keel_status status = keel_corpus_pass_run(&pass, corpus, NULL, err);
    if (status != KEEL_OK || tuning->n > 0) return status;
    keel_fail(err, KEEL_E_NOT_FOUND, corpus->name, "no decision has a label that a loss with a weight needs");
    if (tuning->model->base.space != KEEL_SPACE_CANDIDATES)
        return keel_hint(err, "log risks or acts, or use --base builtin");
    if (tuning->model->config.candidates != KEEL_CANDIDATES_NONE)
        return keel_hint(err, "run `keel label` first, or log risks or preferences");
    return keel_hint(err, "with candidates=none an encoder learns from risks alone: log them, or use --set "
                          "candidates=apart, or --base builtin");
}

/* ---- lessons ---- */

keel_status keel__encoder_reader_open(keel_encoder_reader *reader, keel_encoder_tuning *tuning, size_t room,
                                      keel_err *err) {
    *reader = (keel_encoder_reader){.tuning = tuning, .room = room};
    reader->arena = keel_calloc(room, sizeof *reader->arena);
    reader->place = keel_calloc(room, sizeof *reader->place);
    reader->read = keel_calloc(room, sizeof *reader->read);
    reader->lesson = keel_calloc(room, sizeof *reader->lesson);
    return reader->arena && reader->place && reader->read && reader->lesson ? KEEL_OK
                                                                            : keel_nomem(err, "encoder base");
}

void keel__encoder_reader_close(keel_encoder_reader *reader) {
    for (size_t i = 0; reader->arena && i < reader->room; i++) keel_arena_free(&reader->arena[i]);
    keel_free(reader->arena);
    keel_free(reader->place);
    keel_free(reader->read);
    keel_free(reader->lesson);
    *reader = (keel_encoder_reader){0};
}

/* The decision's candidates, and the answers offered beside them where they are asked for. */
static keel_status list_candidates(const keel_encoder_tuning *tuning, const keel_decision *decision,
                                   keel_arena *arena, const keel_candidate **out, size_t *n, keel_err *err) {
    const keel_base_tuning *job = tuning->job;
    *out = decision->candidates;
    *n = decision->n_candidates;
    if (!tuning->offers || job->n_fixed == 0) return KEEL_OK;
    keel_candidate *all = keel_arena_calloc(arena, *n + job->n_fixed, sizeof *all);
    if (!all) return keel_nomem(err, "encoder base");
    for (size_t i = 0; i < *n + job->n_fixed; i++)
        all[i] = i < *n ? decision->candidates[i] : job->fixed[i - *n];
    *out = all;
    *n += job->n_fixed;
    return KEEL_OK;
}

static const float *vectors_at_hand(const keel_encoder_reader *reader, size_t unit) {
    return reader->vectors && reader->vectors->of ? reader->vectors->of[unit] : NULL;
}

/* The candidates of a unit whose vectors are at hand. */
static keel_status recall(const keel_encoder_reader *reader, size_t unit, keel_arena *arena,
                          keel_lesson_texts *out, keel_err *err) {
    const keel_encoder_tuning *tuning = reader->tuning;
    const size_t n = reader->vectors->candidates ? tuning->unit[unit].n_candidates : 0;
    *out = (keel_lesson_texts){.n_candidates = n,
                               .candidate = keel_arena_calloc(arena, n + 1, sizeof *out->candidate)};
    if (!out->candidate) return keel_nomem(err, "encoder base");
    for (size_t k = 0; k < n; k++)
        out->candidate[k].hash = tuning->candidate_hash[tuning->unit[unit].first_candidate + k];
    return KEEL_OK;
}

static keel_status read_lesson(void *context, size_t i, size_t thread, keel_err *err) {
    keel_encoder_reader *reader = context;
    const keel_encoder_base *model = reader->tuning->model;
    const size_t unit = reader->at[i], decision = reader->tuning->unit[unit].decision;
    const keel_conversation *conversation = reader->read[i];
    (void)thread;
    const keel_soft_label *soft = keel_soft_label_of(reader->tuning->soft, reader->place[i], decision);
    reader->lesson[i] =
        (keel_encoder_lesson){.labels = keel__encoder_labels(model, conversation, decision, soft),
                              .vectors = vectors_at_hand(reader, unit)};
    if (reader->recalls) return recall(reader, unit, &reader->arena[i], &reader->lesson[i].texts, err);
    const keel_decision *at = reader->lesson[i].labels.decision;
    const keel_candidate *candidates;
    size_t n;
    KEEL_TRY(list_candidates(reader->tuning, at, &reader->arena[i], &candidates, &n, err));
    return keel__encoder_read(model, conversation, at->turn, candidates, n, &reader->arena[i],
                              &reader->lesson[i].texts, err);
}

keel_status keel__encoder_fetch(keel_encoder_reader *reader, const size_t *at, size_t n, keel_err *err) {
    keel_corpus *corpus = reader->tuning->job->corpus;
    reader->at = at;
    reader->n = n;
    reader->recalls = reader->vectors != NULL;
    for (size_t i = 0; i < n; i++) {
        keel_arena_reset(&reader->arena[i]);
        reader->recalls &= vectors_at_hand(reader, at[i]) != NULL;
        reader->place[i] = reader->tuning->unit[at[i]].place;
    }
    KEEL_TRY(corpus->read(corpus, reader->place, n, reader->arena, reader->read, err));
    return keel_pool_run(reader->tuning->job->pool, n, read_lesson, reader, err);
}

/* ---- passes over units ---- */

enum { RUNS = 8 };

typedef struct passing {
    keel_encoder_tuning *tuning;
    keel_encoder_reader reader;
    keel_encoder_look *look;
    keel_arena scratch[RUNS];
} passing;

static keel_status look_at_run(void *context, size_t run, size_t thread, keel_err *err) {
    passing *to = context;
    const size_t first = run * KEEL_ENCODER_ONCE, left = to->reader.n - first;
    (void)thread;
    keel_arena_reset(&to->scratch[run]);
    return to->look(to->tuning, to->reader.at + first, to->reader.lesson + first,
                    left < KEEL_ENCODER_ONCE ? left : KEEL_ENCODER_ONCE, &to->scratch[run], err);
}

keel_status keel__encoder_look_at(keel_encoder_tuning *tuning, const char *what, const size_t *at, size_t n,
                                  keel_encoder_look *look, keel_err *err) {
    passing to = {.tuning = tuning, .look = look};
    const size_t room = RUNS * KEEL_ENCODER_ONCE;
    keel_progress progress;
    keel_status status = keel__encoder_reader_open(&to.reader, tuning, room, err);
    keel_progress_start(&progress, what, n);
    for (size_t done = 0; done < n && status == KEEL_OK; done += room) {
        const size_t some = n - done < room ? n - done : room;
        status = keel_interrupted()
                     ? keel_fail(err, KEEL_E_INTERRUPTED, what, "stopped after %zu decisions", done)
                     : keel__encoder_fetch(&to.reader, at + done, some, err);
        if (status == KEEL_OK)
            status = keel_pool_run(tuning->job->pool, (some + KEEL_ENCODER_ONCE - 1) / KEEL_ENCODER_ONCE,
                                   look_at_run, &to, err);
        keel_progress_step(&progress, done + some, NULL);
    }
    keel_progress_end(&progress, n);
    for (size_t i = 0; i < RUNS; i++) keel_arena_free(&to.scratch[i]);
    keel__encoder_reader_close(&to.reader);
    return status;
}

keel_status keel__encoder_vectors(const keel_encoder_base *model, const keel_encoder_lesson *lesson, size_t n,
                                  keel_arena *scratch, float *out, keel_err *err) {
    const size_t hidden = model->bert->config.hidden, states = keel__encoder_reads_states(model);
    size_t texts = 0, at = 0;
    for (size_t i = 0; i < n; i++) texts += states + lesson[i].texts.n_candidates;
    const keel_reading **text = keel_arena_alloc(scratch, (texts + 1) * sizeof *text);
    float *vector = keel_arena_alloc(scratch, (texts + 1) * hidden * sizeof *vector);
    if (!text || !vector) return keel_nomem(err, "encoder base");
    for (size_t i = 0; i < n; i++) {
        if (states) text[at++] = &lesson[i].texts.state;
        for (size_t k = 0; k < lesson[i].texts.n_candidates; k++) text[at++] = &lesson[i].texts.candidate[k];
    }
    KEEL_TRY(keel__encoder_readings(model, text, texts, scratch, vector, err));
    for (size_t i = 0; i < n; i++) {
        const size_t own = states + lesson[i].texts.n_candidates;
        if (!states) memset(out, 0, hidden * sizeof *out);
        memcpy(out + (1 - states) * hidden, vector, own * hidden * sizeof *out);
        vector += own * hidden;
        out += (1 + lesson[i].texts.n_candidates) * hidden;
    }
    return KEEL_OK;
}

/* ---- what is read of them ---- */

static void count_tokens(const keel_encoder_tuning *tuning, const keel_reading *text, int32_t unknown,
                         keel_encoder_read_counts *to) {
    const keel_tokenizer *tokenizer = tuning->model->bert->tokenizer;
    for (size_t i = 0; i < text->n; i++) {
        to->unknown += text->id[i] == unknown;
        to->read += text->id[i] == unknown || !keel_tokenizer_special(tokenizer, text->id[i]);
    }
}

static keel_status note_texts(keel_encoder_tuning *tuning, const size_t *at, keel_encoder_lesson *lesson,
                              size_t n, keel_arena *scratch, keel_err *err) {
    const int32_t unknown = keel_tokenizer_find(tuning->model->bert->tokenizer, "[UNK]");
    (void)scratch, (void)err;
    for (size_t i = 0; i < n; i++) {
        const keel_lesson_texts *texts = &lesson[i].texts;
        const size_t first = tuning->unit[at[i]].first_candidate;
        tuning->state_key[at[i]] = texts->state_key;
        keel_encoder_read_counts *counts = &tuning->counts[at[i]];
        counts->cut_state = texts->state.cut;
        count_tokens(tuning, &texts->state, unknown, counts);
        for (size_t k = 0; k < texts->n_candidates; k++) {
            tuning->candidate_key[first + k] = texts->candidate_key[k];
            tuning->candidate_hash[first + k] = texts->candidate[k].hash;
            if (k >= tuning->unit[at[i]].n_candidates) continue; /* one that is offered beside them */
            counts->cut_candidates += texts->candidate[k].cut;
            count_tokens(tuning, &texts->candidate[k], unknown, counts);
        }
    }
    return KEEL_OK;
}

static keel_status make_room(keel_encoder_tuning *tuning, keel_err *err) {
    const keel_encoder_base *model = tuning->model;
    keel_arena *arena = &tuning->arena;
    const size_t n = tuning->n + 1, m = tuning->n_candidates + 1;
    tuning->counts = keel_arena_calloc(arena, n, sizeof *tuning->counts);
    tuning->state_key = keel_arena_calloc(arena, n, sizeof *tuning->state_key);
    tuning->candidate_key = keel_arena_calloc(arena, m, sizeof *tuning->candidate_key);
    tuning->candidate_hash = keel_arena_calloc(arena, m, sizeof *tuning->candidate_hash);
    tuning->state_logits = keel_arena_calloc(arena, n * (model->n_state + 1), sizeof *tuning->state_logits);
    tuning->candidate_logits =
        keel_arena_calloc(arena, m * (model->n_candidate + 1), sizeof *tuning->candidate_logits);
    return tuning->counts && tuning->state_key && tuning->candidate_key && tuning->candidate_hash &&
                   tuning->state_logits && tuning->candidate_logits
               ? KEEL_OK
               : keel_nomem(err, "encoder base");
}

static keel_status read_units(keel_encoder_tuning *tuning, keel_err *err) {
    KEEL_TRY(count_units(tuning, err));
    KEEL_TRY(make_room(tuning, err));
    size_t *all = keel_arena_calloc(&tuning->arena, tuning->n, sizeof *all);
    if (!all) return keel_nomem(err, "encoder base");
    for (size_t i = 0; i < tuning->n; i++) all[i] = i;
    tuning->offers = true;
    keel_status status = keel__encoder_look_at(tuning, "read texts", all, tuning->n, note_texts, err);
    tuning->offers = false;
    return status;
}

/* ---- scaling ---- */

static void finish_moments(const float *x, size_t n, size_t width, float *mean, float *scale) {
    for (size_t k = 0; k < width && n > 0; k++) {
        double sum = 0, square = 0;
        for (size_t i = 0; i < n; i++) sum += (double)x[i * width + k];
        const double average = sum / (double)n;
        for (size_t i = 0; i < n; i++) square += pow((double)x[i * width + k] - average, 2);
        mean[k] = (float)average;
        scale[k] = square / (double)n > 1e-10 ? (float)(1 / sqrt(square / (double)n)) : 0;
    }
}

static keel_status keep_tables(keel_encoder_tuning *tuning, keel_err *err) {
    keel_encoder_base *model = tuning->model;
    finish_moments(tuning->state_logits, tuning->n, model->n_state, model->mean, model->scale);
    finish_moments(tuning->candidate_logits, tuning->n_candidates, model->n_candidate,
                   model->mean + model->n_state, model->scale + model->n_state);
    model->base.crossed = model->config.folds > 0;
    if (!model->base.crossed) return KEEL_OK;
    KEEL_TRY(keel_crossed_make(&model->states, tuning->state_key, tuning->state_logits, tuning->n,
                               model->n_state, &model->arena, err));
    return keel_crossed_make(&model->candidates, tuning->candidate_key, tuning->candidate_logits,
                             tuning->n_candidates, model->n_candidate, &model->arena, err);
}

/* ---- all together ---- */

static keel_status check_folds(const struct keel_encoder_base_config *config, keel_err *err) {
    if (config->folds != 1) return KEEL_OK;
    keel_fail(err, KEEL_E_USAGE, "folds", "one fold leaves nothing to learn from");
    return keel_hint(err, "folds is 0, for none, or 2 and more");
}

static keel_status check_layers(const struct keel_encoder_base_config *config, const keel_bert *bert,
                                keel_err *err) {
    const keel_tuning_fake fake = {config->fake_quant, config->fake_inputs, false};
    const bool freezes = config->mode == KEEL_BERT_FREEZE;
    KEEL_TRY(keel_tuning_check_fake(&fake, freezes || config->mode == KEEL_BERT_FULL, err));
    return freezes ? keel_tuning_check_frozen(config->frozen_layers, bert->config.layers, "encoder", err)
                   : KEEL_OK;
}

static keel_status widen(keel_bert *bert, keel_err *err) {
    if (!bert->compressed) return KEEL_OK;
    keel_log(
        KEEL_LOG_INFO,
        "sft: the encoder's matrices are compressed: they are tuned as float32, from what they hold now; "
        "keel compress makes what comes out small again");
    return keel_bert_widen(bert, err);
}

static keel_status make_model(keel_encoder_tuning *tuning, keel_err *err) {
    const keel_base_tuning *job = tuning->job;
    const struct keel_encoder_base_config *config = (const struct keel_encoder_base_config *)job->config;
    const keel_base_space space = {.space = job->space, .n_acts = job->n_acts, .acts = job->acts};
    keel_bert *bert;
    if (!job->model) {
        keel_fail(err, KEEL_E_USAGE, "encoder base", "an encoder is tuned from the folder of one");
        return keel_hint(
            err, "give --base the folder of a BERT encoder; experiments/fetch-base.sh minilm gets one");
    }
    KEEL_TRY(check_folds(config, err));
    KEEL_TRY(keel_peft_open(&bert, job->model, err));
    keel_status status = check_layers(config, bert, err);
    if (status == KEEL_OK) status = widen(bert, err);
    if (status != KEEL_OK) {
        keel_bert_close(bert);
        return status;
    }
    struct keel_encoder_base_config own = *config;
    own.teacher_width = job->teacher_base ? job->teacher_base->vector_width : 0;
    KEEL_TRY(keel__encoder_base_make(&tuning->model, &own, bert, &space, NULL, err));
    tuning->model->split = keel_arena_strdup(&tuning->model->arena, job->corpus->name);
    return tuning->model->split ? KEEL_OK : keel_nomem(err, "encoder base");
}

/* Heads are drawn, or those of the base to go on from. */
static keel_status start_parameters(keel_encoder_tuning *tuning, keel_err *err) {
    keel_encoder_base *model = tuning->model;
    const keel_encoder_base *from = (const keel_encoder_base *)tuning->job->from;
    keel_bert *bert = model->bert;
    keel_rng rng = keel_rng_stream((uint64_t)model->config.common.seed, KEEL_STREAM_BASE_INIT, 0);
    keel_bert_adapt_init(bert, &rng);
    for (int h = 0; from && h < KEEL_N_HEADS; h++)
        for (size_t k = 0; k < 2 && from->uses[h] && model->uses[h]; k++) {
            const size_t to = keel__encoder_head(model, h) + k;
            const keel_param *param = &bert->params.table[to];
            memcpy(keel_params_at(&bert->params, to),
                   keel_params_at(&from->bert->params, keel__encoder_head(from, h) + k),
                   param->rows * param->cols * sizeof(keel_real));
        }
    tuning->first = keel_bert_first_trained(bert, (keel_bert_mode)model->config.mode,
                                            (size_t)model->config.frozen_layers);
    const keel_params trained = keel_params_from(&bert->params, tuning->first);
    tuning->origin = keel_arena_calloc(&tuning->arena, trained.size, sizeof *tuning->origin);
    if (!tuning->origin) return keel_nomem(err, "encoder base");
    memcpy(tuning->origin, trained.data, trained.size * sizeof *trained.data);
    return KEEL_OK;
}

static size_t count_trained(const keel_encoder_tuning *tuning) {
    const keel_params trained = keel_params_from(&tuning->model->bert->params, tuning->first);
    size_t sum = 0;
    for (size_t i = 0; i < trained.count; i++) sum += trained.table[i].rows * trained.table[i].cols;
    return sum;
}

/* Decisions that taught the base to go on from, as far as its crossed logits tell: its encoder knows them by
 * heart, whichever fold is left out now. */
static size_t count_known(const keel_encoder_tuning *tuning) {
    const keel_encoder_base *from = (const keel_encoder_base *)tuning->job->from;
    size_t known = 0;
    for (size_t i = 0; from && i < tuning->n; i++)
        known += keel_crossed_find(&from->states, tuning->state_key[i]) != NULL;
    if (known > 0)
        keel_log(
            KEEL_LOG_INFO,
            "sft: %zu of %zu decisions taught the base before: their features are too good, also over folds",
            known, tuning->n);
    return known;
}

typedef struct reading_totals {
    size_t cut, cut_states, cut_candidates; /* decisions */
    size_t tokens_cut, read, unknown;
} reading_totals;

static reading_totals total_reading(const keel_encoder_tuning *tuning) {
    reading_totals sum = {0};
    for (size_t i = 0; i < tuning->n; i++) {
        const keel_encoder_read_counts *one = &tuning->counts[i];
        sum.cut += one->cut_state + one->cut_candidates > 0;
        sum.cut_states += one->cut_state > 0;
        sum.cut_candidates += one->cut_candidates > 0;
        sum.tokens_cut += one->cut_state + one->cut_candidates;
        sum.read += one->read;
        sum.unknown += one->unknown;
    }
    return sum;
}

/* A twentieth: of English logs fewer than one token in a thousand is unknown, of Korean ones to an English
 * vocabulary a good part. */
static const double much_unknown = 0.05;

/* What of a log an encoder cannot read, and how often it is tuned: said before minutes of it. */
static void warn_of_reading(const keel_encoder_tuning *tuning) {
    const reading_totals sum = total_reading(tuning);
    const size_t most = tuning->model->bert->config.max_tokens;
    const double unknown = sum.read ? (double)sum.unknown / (double)sum.read : 0;
    if (unknown > much_unknown)
        keel_log(KEEL_LOG_INFO,
                 "warning: %.0f %% of the tokens are [UNK], words that this encoder does not know: it was "
                 "likely made for another language",
                 100 * unknown);
    if (2 * sum.cut_states > tuning->n)
        keel_log(KEEL_LOG_INFO,
                 "note: the conversation of %zu of %zu decisions is cut: state_tokens goes up to %zu",
                 sum.cut_states, tuning->n, most);
    if (2 * sum.cut_candidates > tuning->n)
        keel_log(KEEL_LOG_INFO,
                 "note: candidates of %zu of %zu decisions are cut: candidate_tokens goes up to %zu",
                 sum.cut_candidates, tuning->n, most);
    const int64_t folds = tuning->model->config.folds;
    if (folds > 0)
        keel_log(
            KEEL_LOG_INFO,
            "sft: the encoder is tuned %lld times: once without each of %lld folds, and once on everything "
            "(fewer folds or epochs take less time)",
            (long long)folds + 1, (long long)folds);
}

static void write_report(const keel_encoder_tuning *tuning, const keel_encoder_trained *trained,
                         keel_base_report *report) {
    const keel_encoder_base *from = (const keel_encoder_base *)tuning->job->from;
    const reading_totals sum = total_reading(tuning);
    *report = (keel_base_report){
        .n_figures = 6,
        .figure = {{"decisions_learned_from", (double)tuning->n},
                   {"decisions_cut", (double)sum.cut},
                   {"tokens_cut", (double)sum.tokens_cut},
                   {"unknown_tokens", sum.read ? (double)sum.unknown / (double)sum.read : 0},
                   {"parameters_trained", (double)count_trained(tuning)},
                   {"updates", (double)trained->updates}}};
    if (tuning->model->config.held_out > 0)
        report->figure[report->n_figures++] = (keel_base_figure){"best_epoch", (double)trained->best_epoch};
    if (tuning->soft)
        report->figure[report->n_figures++] =
            (keel_base_figure){"decisions_taught", (double)tuning->soft->taught};
    if (from && from->states.n > 0) /* else it does not tell */
        report->figure[report->n_figures++] =
            (keel_base_figure){"decisions_known_before", (double)count_known(tuning)};
    for (int h = 0; h < KEEL_N_HEADS; h++)
        if (tuning->model->uses[h] && trained->loss[h] >= 0)
            report->loss[report->n_losses++] = (keel_base_figure){keel__encoder_heads[h], trained->loss[h]};
}

/* The answers that it offers from now on: they are no part of what is learned from. */
static keel_status offer(keel_encoder_base *model, const keel_base_tuning *job, keel_err *err) {
    const keel_base_space space = {.space = job->space,
                                   .n_acts = job->n_acts,
                                   .acts = job->acts,
                                   .n_fixed = job->n_fixed,
                                   .fixed = job->fixed};
    return keel_base_space_set(&model->base, &space, &model->arena, err);
}

static keel_status run(keel_encoder_tuning *tuning, keel_base_report *report, keel_err *err) {
    const keel_encoder_base *from = (const keel_encoder_base *)tuning->job->from;
    keel_encoder_trained trained = {0};
    keel_base *beside = NULL;
    KEEL_TRY(make_model(tuning, err));
    KEEL_TRY(keel_soft_labels_ask(&tuning->soft, tuning->job, "encoder base",
                                  tuning->model->uses[KEEL_HEAD_VECTOR], err));
    KEEL_TRY(read_units(tuning, err));
    warn_of_reading(tuning);
    if (keel_beside_wanted(tuning->model->config.ngrams, tuning->model->base.space))
        KEEL_TRY(keel_beside_tune(tuning->job, from ? from->base.beside : NULL, KEEL_CHECKPOINT_BESIDE,
                                  &beside, err));
    tuning->model->base.beside = beside; /* owned from here on */
    KEEL_TRY(start_parameters(tuning, err));
    KEEL_TRY(keel__encoder_train(tuning, &trained, err));
    write_report(tuning, &trained, report);
    tuning->model->uses[KEEL_HEAD_VECTOR] = false; /* it has said its part */
    KEEL_TRY(keep_tables(tuning, err));
    KEEL_TRY(keel_bert_merge(tuning->model->bert, err));
    KEEL_TRY(offer(tuning->model, tuning->job, err));
    return keel__encoder_base_join(tuning->model, beside, err);
}

keel_status keel__encoder_base_tune(const keel_base_tuning *job, keel_base **out, keel_base_report *report,
                                    keel_err *err) {
    keel_encoder_tuning tuning = {.job = job};
    keel_status status = run(&tuning, report, err);
    keel_soft_labels_free(tuning.soft);
    keel_free(tuning.unit);
    keel_arena_free(&tuning.arena);
    if (status == KEEL_OK)
        *out = &tuning.model->base;
    else if (tuning.model)
        keel_base_close(&tuning.model->base);
    return status;
}
