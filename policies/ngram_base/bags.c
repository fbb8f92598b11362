/* From a decision to bags of weighted n-grams. This file reads the turns before the decision and the
 * candidates' texts and acts; nothing else of a conversation reaches the model. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "policies/ngram_base/bags.h"

/* ---- which texts a field holds ---- */

/* A conversation of which several decisions are read: the n-grams of an earlier turn are made once. */
typedef struct reading {
    const keel_ngram_base *model;
    const keel_conversation *conversation;
    size_t first;     /* the turn that turn[0] is of */
    keel_grams *turn; /* of KEEL_FIELD_USER or KEEL_FIELD_ASSISTANT; bucket NULL: not made yet */
    keel_arena *arena;
} reading;

typedef struct decision_view {
    reading *of;
    const keel_conversation *conversation;
    size_t before;    /* turns before the decision */
    size_t first;     /* of them, the first whose text is read as an earlier turn */
    const char *last; /* text of the last user turn before the decision, or NULL */
    size_t last_user; /* its index, n_turns if there is none */
    keel_grams asked; /* its single words, for candidates to be compared with; candidate sets only */
} decision_view;

static size_t first_read(const keel_ngram_base *model, size_t before) {
    size_t context = (size_t)model->config.context_turns;
    return before > context + 1 ? before - context - 1 : 0;
}

static decision_view view_of(reading *of, size_t decision) {
    const keel_conversation *conversation = of->conversation;
    size_t before = conversation->decisions[decision].turn, last = conversation->n_turns;
    for (size_t i = before; i > 0 && last == conversation->n_turns; i--)
        if (conversation->turns[i - 1].role == KEEL_ROLE_USER) last = i - 1;
    return (decision_view){.of = of,
                           .conversation = conversation,
                           .before = before,
                           .first = first_read(of->model, before),
                           .last = last < conversation->n_turns ? conversation->turns[last].text : NULL,
                           .last_user = last};
}

/* Room for the n-grams of all turns that these decisions read. decisions NULL: the first n. */
static keel_status open_reading(const keel_ngram_base *model, const keel_conversation *conversation,
                                const size_t *decisions, size_t n, keel_arena *arena, reading *out,
                                keel_err *err) {
    size_t first = SIZE_MAX, end = 0;
    for (size_t i = 0; i < n; i++) {
        size_t before = conversation->decisions[decisions ? decisions[i] : i].turn;
        if (first_read(model, before) < first) first = first_read(model, before);
        if (before > end) end = before;
    }
    *out = (reading){.model = model, .conversation = conversation, .first = first, .arena = arena};
    out->turn = keel_arena_calloc(arena, n > 0 ? end - first : 0, sizeof *out->turn);
    return out->turn ? KEEL_OK : keel_nomem(err, "n-gram base");
}

/* Words and runs of the earlier turns of the user, or of anybody else. */
static keel_status earlier_grams(const decision_view *view, int field, keel_grams *out, keel_err *err) {
    reading *of = view->of;
    size_t n = 0;
    keel_grams *parts = keel_arena_alloc(of->arena, (view->before - view->first) * sizeof *parts);
    if (!parts) return keel_nomem(err, "n-gram base");
    for (size_t i = view->first; i < view->before; i++) {
        const keel_turn *turn = &view->conversation->turns[i];
        keel_grams *grams = &of->turn[i - of->first];
        if (i == view->last_user || (turn->role == KEEL_ROLE_USER) != (field == KEEL_FIELD_USER)) continue;
        if (!grams->bucket)
            KEEL_TRY(keel_ngram_texts(&of->model->rules, &turn->text, 1, (uint64_t)field, false, of->arena,
                                      grams, NULL, err));
        parts[n++] = *grams;
    }
    return keel_ngram_union(&of->model->rules, parts, n, of->arena, out, err);
}

enum {
    OFTEN = 3,        /* an act is counted up to this */
    REMEMBERED = 1024 /* last turns whose acts are counted: with all turns, the cost would be quadratic in
                         their number */
};

typedef struct act_count {
    const char *act;
    unsigned char times;
} act_count;

/* The act of a turn, if the model reads it: a user in front of the assistant brings none. */
static const char *act_of(const keel_ngram_base *model, const keel_turn *turn) {
    return turn->role == KEEL_ROLE_USER && !model->config.user_acts ? NULL : turn->act;
}

/* times [n]: how often the act of each turn has occurred up to that turn; 0 where the turn has none, or its
 * act has occurred OFTEN times before. The counts are in a hash table with open addressing, since acts may be
 * many. */
static bool count_acts(const keel_ngram_base *model, const keel_turn *turns, size_t n, unsigned char *times) {
    size_t room = 1;
    for (size_t i = 0; i < n; i++) room += act_of(model, &turns[i]) ? 2 : 0;
    act_count *table = keel_calloc(room, sizeof *table);
    for (size_t i = 0; table && i < n; i++) {
        const char *act = act_of(model, &turns[i]);
        times[i] = 0;
        if (!act) continue;
        size_t at = keel_hash64(act, strlen(act), 0) % room;
        while (table[at].act && strcmp(table[at].act, act) != 0) at = (at + 1) % room;
        table[at].act = act;
        if (table[at].times < OFTEN) times[i] = ++table[at].times;
    }
    keel_free(table);
    return table != NULL;
}

/* Three sorts of token: acts of the context by distance ("-1:request"), acts of all counted turns by
 * occurrence
 * ("2*request"), and the logarithm of the number of turns. turns [end] are the counted turns before the
 * decision, times [end] belongs to them. */
static keel_status act_tokens(const keel_ngram_base *model, size_t n_before, const keel_turn *turns,
                              size_t end, const unsigned char *times, keel_arena *arena, keel_grams *out,
                              keel_err *err) {
    size_t context = (size_t)model->config.context_turns, n = 0, n_tokens = 1, room = 64;
    size_t first = end > context ? end - context : 0;
    for (size_t i = 0; i < end; i++) {
        const char *act = act_of(model, &turns[i]);
        size_t said = act ? (size_t)(times[i] > 0) + (i >= first) : 0;
        n_tokens += said;
        if (said) room += said * (strlen(act) + 32);
    }
    const char **tokens = keel_arena_alloc(arena, n_tokens * sizeof *tokens);
    char *at = keel_arena_alloc(arena, room);
    if (!tokens || !at) return keel_nomem(err, "n-gram base");
    for (size_t i = 0; i < end; i++) {
        const char *act = act_of(model, &turns[i]);
        if (times[i]) tokens[n++] = at, at += sprintf(at, "%d*%s", times[i], act) + 1;
        if (act && i >= first) tokens[n++] = at, at += sprintf(at, "-%zu:%s", end - i, act) + 1;
    }
    tokens[n++] = at;
    sprintf(at, "turns:%d", ilogb((double)n_before + 1));
    return keel_ngram_tokens(&model->rules, tokens, n, KEEL_FIELD_ACTS, arena, out, err);
}

static keel_status act_grams(const decision_view *view, keel_grams *out, keel_err *err) {
    size_t n_before = view->before, end = n_before < REMEMBERED ? n_before : REMEMBERED;
    const keel_turn *turns = view->conversation->turns + (n_before - end);
    unsigned char *times = keel_alloc(end);
    keel_status status =
        times && count_acts(view->of->model, turns, end, times)
            ? act_tokens(view->of->model, n_before, turns, end, times, view->of->arena, out, err)
            : keel_nomem(err, "n-gram base");
    keel_free(times);
    return status;
}

/* The n-grams of one field; for KEEL_FIELD_TEXT and ACT of the candidate. */
static keel_status field_grams(const decision_view *view, const keel_candidate *candidate, int field,
                               keel_grams *out, keel_err *err) {
    const keel_ngram_rules *rules = &view->of->model->rules;
    keel_arena *arena = view->of->arena;
    uint64_t salt = (uint64_t)field;
    const char *text = view->last;
    switch (field) {
    case KEEL_FIELD_USER:
    case KEEL_FIELD_ASSISTANT:
        return earlier_grams(view, field, out, err);
    case KEEL_FIELD_ACTS:
        return act_grams(view, out, err);
    case KEEL_FIELD_ACT:
        return keel_ngram_tokens(rules, &candidate->act, candidate->act != NULL, salt, arena, out, err);
    case KEEL_FIELD_TEXT:
        text = candidate->text ? candidate->text : "";
    }
    return keel_ngram_texts(rules, &text, text != NULL, salt, true, arena, out, NULL, err);
}

/* ---- weights ---- */

/* Weight of an n-gram: idf = log((1 + documents) / (1 + documents with it)) + 1, divided by the L2 norm of
 * the text. The norm includes n-grams that the model does not know, so that a text of mostly unknown n-grams
 * has small weights. */
static double idf_of(const keel_ngram_base *model, int field, double log_frequency) {
    const double idf = log1p((double)model->documents[field]) - log_frequency + 1;
    return idf > 0.1 ? idf : 0.1; /* several fields share a bucket: its count may exceed this field's texts */
}

static void weigh(const keel_ngram_base *model, int field, keel_bag *bag) {
    double square = 0;
    size_t known = 0;
    for (size_t i = 0; i < bag->count; i++) {
        const keel_bucket *bucket = &model->bucket[bag->row[i]];
        const double idf = idf_of(model, field, (double)bucket->log_frequency);
        square += idf * idf;
        if (bucket->row < 0) continue;
        bag->row[known] = (uint32_t)bucket->row;
        bag->weight[known++] = (float)idf;
    }
    float scale = square > 0 ? (float)(1 / sqrt(square)) : 0;
    for (size_t i = 0; i < known; i++) bag->weight[i] *= scale;
    bag->count = known;
}

void keel__ngram_base_weigh(const keel_ngram_base *model, keel_ngram_sample *sample) {
    for (int field = 0; field < KEEL_N_STATE_FIELDS; field++) weigh(model, field, &sample->field[field]);
    for (size_t i = 0; i < sample->n_candidates; i++)
        for (int k = 0; k < KEEL_N_CANDIDATE_FIELDS; k++)
            weigh(model, KEEL_FIELD_TEXT + k, &sample->candidate[i].field[k]);
}

/* ---- samples ---- */

/* The single words of a text, in a salt of their own. */
static keel_status single_words(const decision_view *view, const char *text, keel_grams *out, size_t *n_words,
                                keel_err *err) {
    keel_ngram_rules words = view->of->model->rules;
    words.word_high = 1;
    return keel_ngram_texts(&words, &text, 1, 0, false, view->of->arena, out, n_words, err);
}

/* Share of the user's words that the candidate takes up, and the candidate's share of distinct words. */
static keel_status compare_words(const decision_view *view, const char *text, float *extra, keel_err *err) {
    const keel_grams *asked = &view->asked;
    keel_grams said;
    size_t shared = 0, n_words = 0;
    KEEL_TRY(single_words(view, text, &said, &n_words, err));
    for (size_t i = 0, j = 0; i < asked->count && j < said.count;) {
        shared += asked->bucket[i] == said.bucket[j];
        if (asked->bucket[i] < said.bucket[j])
            i++;
        else
            j++;
    }
    extra[KEEL_EXTRA_OVERLAP] = (float)shared / (float)(1 + asked->count);
    extra[KEEL_EXTRA_DISTINCT] = (float)said.count / (float)(1 + n_words);
    extra[KEEL_EXTRA_WORDS] = log1pf((float)n_words);
    return KEEL_OK;
}

static const char wide_question[] = "\xef\xbc\x9f"; /* U+FF1F */

static bool ends_as_question(const char *text) {
    size_t n = strlen(text);
    while (n > 0 && strchr(" \t\r\n\"')", text[n - 1])) n--;
    return (n >= 1 && text[n - 1] == '?') || (n >= 3 && memcmp(text + n - 3, wide_question, 3) == 0);
}

static size_t occurrences(const char *text, const char *mark) {
    size_t n = 0;
    while ((text = strstr(text, mark)) != NULL) n++, text += strlen(mark);
    return n;
}

static keel_status read_surface(const decision_view *view, const char *text, float *extra, keel_err *err) {
    extra[KEEL_EXTRA_ASKS] = ends_as_question(text);
    extra[KEEL_EXTRA_QUESTIONS] = log1pf((float)(occurrences(text, "?") + occurrences(text, wide_question)));
    extra[KEEL_EXTRA_LINES] = log1pf((float)occurrences(text, "\n"));
    extra[KEEL_EXTRA_DIGITS] = strpbrk(text, "0123456789") != NULL;
    return compare_words(view, text, extra, err);
}

/* A bag of the field's n-grams, not weighed yet. */
static keel_status fill_bag(const decision_view *view, const keel_candidate *candidate, int field,
                            keel_bag *out, keel_err *err) {
    keel_grams grams;
    KEEL_TRY(field_grams(view, candidate, field, &grams, err));
    *out = (keel_bag){grams.count, grams.bucket,
                      keel_arena_alloc(view->of->arena, grams.count * sizeof *out->weight)};
    return out->weight ? KEEL_OK : keel_nomem(err, "n-gram base");
}

static keel_status sample_candidate(const decision_view *view, const keel_candidate *candidate,
                                    keel_sample_candidate *out, keel_err *err) {
    for (int k = 0; k < KEEL_N_CANDIDATE_FIELDS; k++)
        KEEL_TRY(fill_bag(view, candidate, KEEL_FIELD_TEXT + k, &out->field[k], err));
    return read_surface(view, candidate->text ? candidate->text : "", out->extra, err);
}

static keel_status sample_decision(reading *of, size_t decision, keel_ngram_sample *out, keel_err *err) {
    const keel_decision *at = &of->conversation->decisions[decision];
    decision_view view = view_of(of, decision);
    keel_ngram_sample sample = {.log_turns = log1pf((float)at->turn)};
    for (int field = 0; field < KEEL_N_STATE_FIELDS; field++)
        KEEL_TRY(fill_bag(&view, NULL, field, &sample.field[field], err));
    if (of->model->base.space == KEEL_SPACE_CANDIDATES) {
        sample.n_candidates = keel_base_n_actions(&of->model->base, at);
        sample.candidate = keel_arena_calloc(of->arena, sample.n_candidates, sizeof *sample.candidate);
        if (!sample.candidate) return keel_nomem(err, "n-gram base");
        KEEL_TRY(single_words(&view, view.last ? view.last : "", &view.asked, NULL, err));
    }
    for (size_t i = 0; i < sample.n_candidates; i++) {
        const keel_candidate *one =
            i < at->n_candidates ? &at->candidates[i] : &of->model->base.fixed[i - at->n_candidates];
        KEEL_TRY(sample_candidate(&view, one, &sample.candidate[i], err));
    }
    *out = sample;
    return KEEL_OK;
}

keel_status keel__ngram_base_samples(const keel_ngram_base *model, const keel_conversation *conversation,
                                     const size_t *decisions, size_t n, keel_arena *arena,
                                     keel_ngram_sample *out, keel_err *err) {
    reading of;
    KEEL_TRY(open_reading(model, conversation, decisions, n, arena, &of, err));
    for (size_t i = 0; i < n; i++) KEEL_TRY(sample_decision(&of, decisions ? decisions[i] : i, &out[i], err));
    return KEEL_OK;
}

/* ---- places ---- */

keel_status keel__ngram_base_place(const keel_base *base, const keel_conversation *conversation,
                                   size_t decision, bool seen, keel_arena *scratch, keel_sparse_vector *out,
                                   keel_err *err) {
    const keel_ngram_base *model = (const keel_ngram_base *)base;
    reading of;
    keel_bag bag;
    KEEL_TRY(open_reading(model, conversation, &decision, 1, scratch, &of, err));
    const decision_view view = view_of(&of, decision);
    KEEL_TRY(fill_bag(&view, NULL, KEEL_FIELD_LAST, &bag, err));
    int32_t *bucket = keel_arena_alloc(scratch, bag.count * sizeof *bucket);
    if (!bucket) return keel_nomem(err, "n-gram base");
    for (size_t i = 0; i < bag.count; i++) {
        bucket[i] = (int32_t)bag.row[i];
        const keel_bucket *known = &model->bucket[bag.row[i]];
        const double texts = known->row < 0 ? 0 : (double)model->frequency[known->row];
        bag.weight[i] = (float)idf_of(model, KEEL_FIELD_LAST, log1p(fmax(0, texts - seen)));
    }
    *out = (keel_sparse_vector){bag.count, bucket, bag.weight};
    return KEEL_OK;
}
