/* How a decision becomes bags of weighted n-grams. Only what was said before the decision and the candidates'
 * own texts and acts are read here: nothing else of the conversation reaches the model. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "policies/ngram_base/model.h"

/* ---- which texts a field holds ---- */

typedef struct decision_view {
    const keel_conversation *conversation;
    size_t decision;
    size_t last_user; /* index of the last user turn before the decision, n_turns if there is none */
} decision_view;

static decision_view view_of(const keel_conversation *conversation, size_t decision) {
    size_t before = conversation->decisions[decision].turn, last = conversation->n_turns;
    for (size_t i = before; i > 0 && last == conversation->n_turns; i--)
        if (conversation->turns[i - 1].role == KEEL_ROLE_USER) last = i - 1;
    return (decision_view){conversation, decision, last};
}

static size_t before(const decision_view *view) {
    return view->conversation->decisions[view->decision].turn;
}

/* The first of the turns whose texts are read. */
static size_t first_read(const decision_view *view, size_t context_turns) {
    return before(view) > context_turns + 1 ? before(view) - context_turns - 1 : 0;
}

/* Texts of the field's turns, newest first, into texts (room for all turns that are read). */
static size_t state_texts(const decision_view *view, int field, size_t context_turns, const char **texts) {
    size_t end = before(view), first = first_read(view, context_turns), n = 0;
    if (field == KEEL_FIELD_LAST) {
        if (view->last_user < view->conversation->n_turns)
            texts[n++] = view->conversation->turns[view->last_user].text;
        return n;
    }
    for (size_t i = end; i-- > first;) {
        bool user = view->conversation->turns[i].role == KEEL_ROLE_USER;
        if (i != view->last_user && user == (field == KEEL_FIELD_USER))
            texts[n++] = view->conversation->turns[i].text;
    }
    return n;
}

enum {
    OFTEN = 3,        /* times an act came are told up to this */
    REMEMBERED = 1024 /* turns whose acts are: all of them would cost a long conversation the square of it */
};

typedef struct act_count {
    const char *act;
    unsigned char times;
} act_count;

/* times [n]: how often a turn's act has come with it, 0 where it has none or it came often enough before.
 * By a table with open addressing: acts may be many. */
static bool count_acts(const keel_turn *turns, size_t n, unsigned char *times) {
    size_t room = 1;
    for (size_t i = 0; i < n; i++) room += turns[i].act ? 2 : 0;
    act_count *table = keel_calloc(room, sizeof *table);
    for (size_t i = 0; table && i < n; i++) {
        const char *act = turns[i].act;
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

/* Acts by place ("-1:request"), all that are remembered with how often they came (at most 3), and how many
 * turns there were, by doubling. turns [end] are the remembered ones before the decision, times theirs. */
static keel_status act_tokens(const keel_ngram_base *model, size_t n_before, const keel_turn *turns,
                              size_t end, const unsigned char *times, keel_arena *arena, keel_grams *out,
                              keel_err *err) {
    size_t context = (size_t)model->config.context_turns, n = 0, n_tokens = 1, room = 64;
    size_t first = end > context ? end - context : 0;
    for (size_t i = 0; i < end; i++) {
        size_t said = turns[i].act ? (size_t)(times[i] > 0) + (i >= first) : 0;
        n_tokens += said;
        if (said) room += said * (strlen(turns[i].act) + 32);
    }
    const char **tokens = keel_arena_alloc(arena, n_tokens * sizeof *tokens);
    char *at = keel_arena_alloc(arena, room);
    if (!tokens || !at) return keel_nomem(err, "n-gram base");
    for (size_t i = 0; i < end; i++) {
        if (times[i]) tokens[n++] = at, at += sprintf(at, "%d*%s", times[i], turns[i].act) + 1;
        if (turns[i].act && i >= first)
            tokens[n++] = at, at += sprintf(at, "-%zu:%s", end - i, turns[i].act) + 1;
    }
    tokens[n++] = at;
    sprintf(at, "turns:%d", ilogb((double)n_before + 1));
    return keel_ngram_tokens(&model->rules, tokens, n, KEEL_FIELD_ACTS, arena, out, err);
}

static keel_status act_grams(const keel_ngram_base *model, const decision_view *view, keel_arena *arena,
                             keel_grams *out, keel_err *err) {
    size_t n_before = before(view), end = n_before < REMEMBERED ? n_before : REMEMBERED;
    const keel_turn *turns = view->conversation->turns + (n_before - end);
    unsigned char *times = keel_alloc(end);
    keel_status status = times && count_acts(turns, end, times)
                             ? act_tokens(model, n_before, turns, end, times, arena, out, err)
                             : keel_nomem(err, "n-gram base");
    keel_free(times);
    return status;
}

/* The n-grams of one field; for KEEL_FIELD_TEXT and ACT of the candidate. */
static keel_status field_grams(const keel_ngram_base *model, const decision_view *view,
                               const keel_candidate *candidate, int field, keel_arena *arena, keel_grams *out,
                               keel_err *err) {
    uint64_t salt = (uint64_t)field;
    bool characters = field == KEEL_FIELD_LAST || field == KEEL_FIELD_TEXT;
    if (field == KEEL_FIELD_ACTS) return act_grams(model, view, arena, out, err);
    if (field == KEEL_FIELD_ACT)
        return keel_ngram_tokens(&model->rules, &candidate->act, candidate->act != NULL, salt, arena, out,
                                 err);
    size_t context = (size_t)model->config.context_turns, n = 1;
    const char **texts =
        keel_arena_alloc(arena, (before(view) - first_read(view, context) + 1) * sizeof *texts);
    if (!texts) return keel_nomem(err, "n-gram base");
    if (field == KEEL_FIELD_TEXT)
        texts[0] = candidate->text ? candidate->text : "";
    else
        n = state_texts(view, field, context, texts);
    return keel_ngram_texts(&model->rules, texts, n, salt, characters, arena, out, NULL, err);
}

/* ---- weights ---- */

/* idf = log((1 + documents) / (1 + documents with it)) + 1, over the L2 norm of the text, unseen n-grams
 * included: a text that is mostly unknown is far from everything known. */
static void weigh(const keel_ngram_base *model, int field, keel_bag *bag) {
    double log_documents = log1p((double)model->documents[field]), square = 0;
    size_t known = 0;
    for (size_t i = 0; i < bag->count; i++) {
        const keel_bucket *bucket = &model->bucket[bag->row[i]];
        double idf = log_documents - (double)bucket->log_frequency + 1;
        idf = idf > 0.1 ? idf : 0.1; /* a bucket of several fields may occur oftener than this has texts */
        square += idf * idf;
        if (bucket->row < 0) continue;
        bag->row[known] = (uint32_t)bucket->row;
        bag->weight[known++] = (float)idf;
    }
    float scale = square > 0 ? (float)(1 / sqrt(square)) : 0;
    for (size_t i = 0; i < known; i++) bag->weight[i] *= scale;
    bag->count = known;
}

void keel__ngram_base_weigh(const keel_ngram_base *model, keel_sample *sample) {
    for (int field = 0; field < KEEL_N_STATE_FIELDS; field++) weigh(model, field, &sample->field[field]);
    for (size_t i = 0; i < sample->n_candidates; i++)
        for (int k = 0; k < KEEL_N_CANDIDATE_FIELDS; k++)
            weigh(model, KEEL_FIELD_TEXT + k, &sample->candidate[i].field[k]);
}

/* ---- samples ---- */

/* Share of the user's words that the candidate takes up, and the candidate's share of distinct words: both
 * texts hashed with the same salt. */
static keel_status compare_words(const keel_ngram_base *model, const decision_view *view, const char *text,
                                 keel_arena *arena, float *extra, keel_err *err) {
    const char *user = "";
    keel_grams asked, said;
    size_t shared = 0, n_words = 0;
    keel_ngram_rules words = model->rules;
    words.word_high = 1;
    if (view->last_user < view->conversation->n_turns) user = view->conversation->turns[view->last_user].text;
    KEEL_TRY(keel_ngram_texts(&words, &user, 1, 0, false, arena, &asked, NULL, err));
    KEEL_TRY(keel_ngram_texts(&words, &text, 1, 0, false, arena, &said, &n_words, err));
    for (size_t i = 0, j = 0; i < asked.count && j < said.count;) {
        shared += asked.bucket[i] == said.bucket[j];
        if (asked.bucket[i] < said.bucket[j])
            i++;
        else
            j++;
    }
    extra[KEEL_EXTRA_OVERLAP] = (float)shared / (float)(1 + asked.count);
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

static keel_status read_surface(const keel_ngram_base *model, const decision_view *view, const char *text,
                                keel_arena *arena, float *extra, keel_err *err) {
    extra[KEEL_EXTRA_ASKS] = ends_as_question(text);
    extra[KEEL_EXTRA_QUESTIONS] = log1pf((float)(occurrences(text, "?") + occurrences(text, wide_question)));
    extra[KEEL_EXTRA_LINES] = log1pf((float)occurrences(text, "\n"));
    extra[KEEL_EXTRA_DIGITS] = strpbrk(text, "0123456789") != NULL;
    return compare_words(model, view, text, arena, extra, err);
}

/* A bag of the field's n-grams, yet to be weighed. */
static keel_status fill_bag(const keel_ngram_base *model, const decision_view *view,
                            const keel_candidate *candidate, int field, keel_arena *arena, keel_bag *out,
                            keel_err *err) {
    keel_grams grams;
    KEEL_TRY(field_grams(model, view, candidate, field, arena, &grams, err));
    *out = (keel_bag){grams.count, grams.bucket, keel_arena_alloc(arena, grams.count * sizeof *out->weight)};
    return out->weight ? KEEL_OK : keel_nomem(err, "n-gram base");
}

static keel_status sample_candidate(const keel_ngram_base *model, const decision_view *view,
                                    const keel_candidate *candidate, keel_arena *arena,
                                    keel_sample_candidate *out, keel_err *err) {
    for (int k = 0; k < KEEL_N_CANDIDATE_FIELDS; k++)
        KEEL_TRY(fill_bag(model, view, candidate, KEEL_FIELD_TEXT + k, arena, &out->field[k], err));
    return read_surface(model, view, candidate->text ? candidate->text : "", arena, out->extra, err);
}

keel_status keel__ngram_base_sample(const keel_ngram_base *model, const keel_conversation *conversation,
                                    size_t decision, keel_arena *arena, keel_sample *out, keel_err *err) {
    const keel_decision *at = &conversation->decisions[decision];
    decision_view view = view_of(conversation, decision);
    keel_sample sample = {.log_turns = log1pf((float)at->turn)};
    for (int field = 0; field < KEEL_N_STATE_FIELDS; field++)
        KEEL_TRY(fill_bag(model, &view, NULL, field, arena, &sample.field[field], err));
    if (model->base.space == KEEL_SPACE_CANDIDATES) {
        sample.n_candidates = at->n_candidates;
        sample.candidate = keel_arena_calloc(arena, at->n_candidates, sizeof *sample.candidate);
        if (!sample.candidate) return keel_nomem(err, "n-gram base");
    }
    for (size_t i = 0; i < sample.n_candidates; i++)
        KEEL_TRY(sample_candidate(model, &view, &at->candidates[i], arena, &sample.candidate[i], err));
    *out = sample;
    return KEEL_OK;
}
