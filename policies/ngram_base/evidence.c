#include "policies/ngram_base/evidence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policies/ngram_base/encode.h"

/* One text and the probe that reads it. */
typedef struct evidence_of {
    const keel_linear_probes *heads;
    size_t head, field;
    const char *about, *text;
} evidence_of;

/* text NULL: nothing is read. */
static evidence_of what_is_read(const keel_ngram_base *model, const keel_conversation *conversation,
                                const keel_decision *decision, size_t action) {
    if (action == SIZE_MAX) {
        evidence_of state = {model->state_heads, 0, KEEL_FIELD_LAST, "dangerous request", NULL};
        for (size_t i = 0; i < decision->turn && i < conversation->n_turns; i++)
            if (conversation->turns[i].role == KEEL_ROLE_USER) state.text = conversation->turns[i].text;
        return state;
    }
    evidence_of said = {model->candidate_heads, KEEL_PROBE_REFUSAL, KEEL_FIELD_TEXT, "refusal", NULL};
    if (model->base.space == KEEL_SPACE_CANDIDATES)
        said.text = action < decision->n_candidates ? decision->candidates[action].text
                                                    : model->base.fixed[action - decision->n_candidates].text;
    return said;
}

static size_t find_bucket(const keel_linear_probes_row *row, uint32_t bucket) {
    size_t low = 0, high = row->n_ids;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (row->id[middle] < bucket)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* part [n_ids] of distinct n-grams -> share [n_words] of words as they come. */
static bool share_out(const keel_ngram_trace *trace, const keel_linear_probes_row *row, const double *part,
                      double *share, keel_arena *arena) {
    size_t *times = keel_arena_calloc(arena, row->n_ids, sizeof *times);
    if (!times) return false;
    for (size_t i = 0; i < trace->start[trace->n_words]; i++) times[find_bucket(row, trace->bucket[i])]++;
    for (size_t w = 0; w < trace->n_words; w++)
        for (size_t i = trace->start[w]; i < trace->start[w + 1]; i++) {
            size_t id = find_bucket(row, trace->bucket[i]), nth = i - trace->start[w];
            size_t length = nth < trace->runs[w] ? nth + 1 : 1;
            for (size_t k = 0; k < length; k++) share[w - k] += part[id] / (double)times[id] / (double)length;
        }
    return true;
}

static int by_text(const void *a, const void *b) { /* then by part, so that sums do not depend on the sort */
    const keel_base_word *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->part > y->part) - (x->part < y->part);
}

static int by_size(const void *a, const void *b) {
    const keel_base_word *x = a, *y = b;
    double p = fabs(x->part), q = fabs(y->part);
    return p != q ? (p < q) - (p > q) : strcmp(x->text, y->text);
}

/* Each word once. */
static keel_status list_words(const keel_ngram_trace *trace, const double *share, keel_arena *arena,
                              keel_base_evidence *out, keel_err *err) {
    keel_base_word *word = keel_arena_alloc(arena, trace->n_words * sizeof *word);
    if (!word) return keel_nomem(err, "n-gram base");
    for (size_t w = 0; w < trace->n_words; w++) {
        const keel_word *from = &trace->word[w];
        char *text = keel_arena_alloc(arena, (size_t)from->length + 1);
        if (!text) return keel_nomem(err, "n-gram base");
        memcpy(text, from->text, from->length);
        text[from->length] = '\0';
        word[w] = (keel_base_word){text, share[w]};
    }
    qsort(word, trace->n_words, sizeof *word, by_text);
    for (size_t w = 0; w < trace->n_words; w++) {
        if (out->n > 0 && strcmp(word[out->n - 1].text, word[w].text) == 0)
            word[out->n - 1].part += word[w].part;
        else
            word[out->n++] = word[w];
    }
    qsort(word, out->n, sizeof *word, by_size);
    out->word = word;
    return KEEL_OK;
}

keel_status keel__ngram_base_evidence(const keel_base *base, const keel_conversation *conversation,
                                      size_t decision, size_t action, keel_arena *arena,
                                      keel_base_evidence *out, keel_err *err) {
    const keel_ngram_base *model = (const keel_ngram_base *)base;
    const evidence_of of = what_is_read(model, conversation, &conversation->decisions[decision], action);
    const float no_dense[KEEL_N_EXTRAS] = {0}; /* heads with labels have no weight on them */
    keel_ngram_trace trace;
    keel_grams grams;
    if (!of.heads || !of.text) return KEEL_OK;
    KEEL_TRY(keel_ngram_trace_text(&model->rules, of.text, of.field, true, arena, &trace, err));
    KEEL_TRY(keel_ngram_texts(&model->rules, &of.text, 1, of.field, true, arena, &grams, NULL, err));
    const keel_linear_probes_row row = {.id = grams.bucket, .n_ids = grams.count, .dense = no_dense};
    double *part = keel_arena_alloc(arena, grams.count * sizeof *part);
    double *share = keel_arena_calloc(arena, trace.n_words, sizeof *share);
    if (!part || !share) return keel_nomem(err, "n-gram base");
    if (!keel_linear_probes_parts(of.heads, &row, keel_conversation_group_hash(conversation), of.head, part,
                                  &out->rest))
        return KEEL_OK;
    if (!share_out(&trace, &row, part, share, arena)) return keel_nomem(err, "n-gram base");
    KEEL_TRY(list_words(&trace, share, arena, out, err));
    out->about = of.about;
    out->logit = out->rest;
    for (size_t i = 0; i < grams.count; i++) out->logit += part[i];
    return KEEL_OK;
}
