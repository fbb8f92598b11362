#include "policies/decoder_base/units.h"

#include <string.h>

#include "policies/corpus_pass.h"

/* ---- what a response is worth ---- */

typedef enum worth { UNKNOWN, GOOD, BAD } worth;

/* By its feedback, else by what it is judged to be and what the conversation's risk calls for. */
static worth worth_of(const keel_conversation *conversation, const keel_candidate *candidate) {
    if (candidate->feedback.present && candidate->feedback.value != 0)
        return candidate->feedback.value > 0 ? GOOD : BAD;
    if (candidate->outcome == KEEL_OUTCOME_NONE || conversation->risk == KEEL_RISK_UNKNOWN) return UNKNOWN;
    const keel_outcome right =
        conversation->risk == KEEL_RISK_BENIGN ? KEEL_OUTCOME_COMPLIANCE : KEEL_OUTCOME_REFUSAL;
    return candidate->outcome == right ? GOOD : BAD;
}

static bool prefers(const keel_conversation *conversation, const keel_candidate *a, const keel_candidate *b) {
    if (a->text && b->text && strcmp(a->text, b->text) == 0) return false;
    if (a->feedback.present && b->feedback.present && a->feedback.value != b->feedback.value)
        return a->feedback.value > b->feedback.value;
    const worth x = worth_of(conversation, a), y = worth_of(conversation, b);
    if (x != UNKNOWN && y != UNKNOWN) return x == GOOD && y == BAD;
    return a->taken && !b->taken;
}

/* ---- listing ---- */

/* A response that may teach. */
typedef struct wish {
    uint32_t decision, response, other;
    bool good;
} wish;

typedef struct listing {
    const keel_decoder_base *model;
    const keel_conversation *conversation;
    keel_buf wishes;
    size_t undeserving;
} listing;

static void add(listing *l, size_t decision, size_t response, size_t other, bool good) {
    const wish one = {(uint32_t)decision, (uint32_t)response, (uint32_t)other, good};
    keel_buf_append(&l->wishes, &one, sizeof one);
}

static void list_imitated(listing *l, size_t d, size_t i) {
    const keel_candidate *candidate = &l->conversation->decisions[d].candidates[i];
    const bool good = worth_of(l->conversation, candidate) == GOOD;
    if (l->model->config.imitate == KEEL_IMITATE_GOOD ? good : candidate->taken)
        add(l, d, i, i, good);
    else
        l->undeserving += candidate->taken;
}

static void list_response(listing *l, size_t d, size_t i) {
    const keel_decision *decision = &l->conversation->decisions[d];
    const keel_candidate *one = &decision->candidates[i];
    const worth is = worth_of(l->conversation, one);
    if (l->model->config.loss == KEEL_LOSS_SFT) list_imitated(l, d, i);
    if (l->model->config.loss == KEEL_LOSS_KTO && is != UNKNOWN) add(l, d, i, i, is == GOOD);
    for (size_t k = 0; l->model->config.loss == KEEL_LOSS_DPO && k < decision->n_candidates; k++)
        if (k != i && prefers(l->conversation, one, &decision->candidates[k])) add(l, d, i, k, true);
}

/* ---- texts ---- */

static keel_status read_text(const keel_decoder_base *model, const keel_tokens *prompt,
                             const keel_candidate *candidate, keel_arena *arena, keel_decoder_text *out,
                             size_t *cut, keel_err *err) {
    keel_tokens said;
    *out = (keel_decoder_text){0};
    KEEL_TRY(keel__decoder_lesson(model, candidate, arena, &said, cut, err));
    if (said.count == 0) return KEEL_OK;
    const size_t n = prompt->count + said.count;
    *out = (keel_decoder_text){.id = keel_arena_alloc(arena, n * sizeof *out->id),
                               .n = n,
                               .prompt = prompt->count,
                               .learned = keel_arena_calloc(arena, n, sizeof *out->learned),
                               .supervised = said.count};
    if (!out->id || !out->learned) return keel_nomem(err, "decoder base");
    memcpy(out->id, prompt->id, prompt->count * sizeof *out->id);
    memcpy(out->id + prompt->count, said.id, said.count * sizeof *out->id);
    for (size_t t = prompt->count; t < n; t++) out->learned[t] = true;
    return KEEL_OK;
}

static keel_status read_response(const keel_decoder_base *model, const keel_conversation *conversation,
                                 size_t d, size_t response, keel_arena *arena, keel_decoder_text *out,
                                 keel_decoder_prompt *prompt, size_t *cut, keel_err *err) {
    const keel_decision *decision = &conversation->decisions[d];
    KEEL_TRY(keel__decoder_prompt(model, conversation, decision->turn, NULL, arena, prompt, err));
    return read_text(model, &prompt->tokens, &decision->candidates[response], arena, out, cut, err);
}

/* Whether a text begins with another, whole. */
static bool goes_on(const keel_decoder_text *text, const keel_decoder_text *from) {
    return from->n > 0 && from->n <= text->prompt &&
           memcmp(text->id, from->id, from->n * sizeof *text->id) == 0;
}

/* What was learned of the earlier text is learned in this one. */
static void take_over(keel_decoder_text *text, const keel_decoder_text *from) {
    for (size_t t = 0; t < from->n; t++) text->learned[t] |= from->learned[t];
    text->supervised += from->supervised;
}

keel_status keel__decoder_texts(const keel_decoder_base *model, const keel_conversation *conversation,
                                const keel_decoder_unit *unit, const keel_decoder_link *links,
                                keel_arena *arena, keel_decoder_text out[KEEL_DECODER_MOST_TEXTS], size_t *n,
                                keel_err *err) {
    const keel_decoder_link *link = links + unit->link;
    keel_decoder_prompt prompt;
    keel_decoder_text before = {0};
    size_t cut;
    *n = model->config.loss == KEEL_LOSS_DPO ? 2 : 1;
    for (uint32_t i = 0; i < unit->n_links; i++) {
        KEEL_TRY(read_response(model, conversation, link[i].decision, link[i].response, arena, &out[0],
                               &prompt, &cut, err));
        if (i > 0) take_over(&out[0], &before);
        before = out[0];
    }
    if (*n == 1) return KEEL_OK;
    return read_response(model, conversation, link->decision, unit->other, arena, &out[1], &prompt, &cut,
                         err);
}

/* ---- from responses to units ---- */

/* Units of one conversation, found on one thread. */
typedef struct finding {
    keel_buf units, links; /* keel_decoder_unit with links from 0, keel_decoder_link */
    keel_decoder_units count;
    keel_arena scratch;
} finding;

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* What stays of a response: false where it says nothing or is too long. */
static keel_status read_wish(const keel_decoder_base *model, const keel_conversation *conversation,
                             const wish *one, finding *to, keel_decoder_text *text, bool *stays,
                             keel_err *err) {
    const bool drops = model->config.too_long == KEEL_TOO_LONG_DROP;
    const size_t wanted = model->config.loss == KEEL_LOSS_DPO ? 2 : 1;
    size_t cuts = 0;
    *stays = false;
    keel_decoder_prompt prompt;
    size_t prompt_tokens = 0, response = 0;
    for (size_t i = wanted; i-- > 0;) { /* the response itself last: its text is what is kept */
        size_t cut;
        KEEL_TRY(read_response(model, conversation, one->decision, i ? one->other : one->response,
                               &to->scratch, text, &prompt, &cut, err));
        if (text->n == 0) return KEEL_OK;
        cuts += cut > 0;
        prompt_tokens = larger(prompt_tokens, text->prompt);
        response = larger(response, text->n - text->prompt);
        to->count.tokens += i > 0 ? text->n : 0;
    }
    to->count.too_long += cuts > 0 && drops;
    if (cuts > 0 && drops) return KEEL_OK;
    to->count.cut += cuts > 0;
    to->count.window_cut += prompt.cut || prompt.turns_cut > 0;
    to->count.longest_prompt = larger(to->count.longest_prompt, prompt_tokens);
    to->count.longest_response = larger(to->count.longest_response, response);
    *stays = true;
    return KEEL_OK;
}

static void add_unit(finding *to, size_t place, const wish *one, bool chained, const keel_decoder_text *text,
                     const keel_decoder_text *before) {
    const keel_decoder_link link = {one->decision, one->response};
    const keel_decoder_unit unit = {.place = place,
                                    .link = to->links.length / sizeof link,
                                    .n_links = 1,
                                    .other = one->other,
                                    .good = one->good};
    keel_buf_append(&to->links, &link, sizeof link);
    to->count.tokens += text->n - (chained ? before->n : 0);
    to->count.supervised += text->n - text->prompt;
    if (chained)
        ((keel_decoder_unit *)(void *)(to->units.data + to->units.length))[-1].n_links++;
    else
        keel_buf_append(&to->units, &unit, sizeof unit);
}

static keel_status find_units(const keel_decoder_base *model, const keel_conversation *conversation,
                              size_t place, finding *to, keel_err *err) {
    listing l = {.model = model, .conversation = conversation};
    keel_decoder_text before = {0};
    keel_status status = KEEL_OK;
    for (size_t d = 0; d < conversation->n_decisions; d++)
        for (size_t i = 0; i < conversation->decisions[d].n_candidates; i++) list_response(&l, d, i);
    const wish *list = (const wish *)(const void *)l.wishes.data;
    keel_arena_reset(&to->scratch);
    for (size_t i = 0; i < l.wishes.length / sizeof *list && status == KEEL_OK; i++) {
        keel_decoder_text text;
        bool stays;
        status = read_wish(model, conversation, &list[i], to, &text, &stays, err);
        if (status != KEEL_OK || !stays) continue;
        add_unit(to, place, &list[i], model->config.loss == KEEL_LOSS_SFT && goes_on(&text, &before), &text,
                 &before);
        before = text;
    }
    to->count.undeserving += l.undeserving;
    const bool failed = l.wishes.failed || to->links.failed || to->units.failed;
    keel_buf_free(&l.wishes);
    return status == KEEL_OK && failed ? keel_nomem(err, "decoder base") : status;
}

/* ---- the corpus ---- */

typedef struct passing {
    const keel_decoder_base *model;
    finding *found; /* [KEEL_PASS_ONCE] */
    keel_buf units, links;
    keel_decoder_units *out;
} passing;

static keel_status find_one(void *context, const keel_corpus_some *some, size_t i, keel_err *err) {
    const passing *p = context;
    return find_units(p->model, some->read[i], some->place[i], &p->found[i], err);
}

static void take_found(passing *p, finding *from) {
    const size_t n = from->units.length / sizeof(keel_decoder_unit),
                 first = p->links.length / sizeof(keel_decoder_link);
    keel_decoder_unit *unit = (keel_decoder_unit *)(void *)from->units.data;
    for (size_t i = 0; i < n; i++) unit[i].link += first;
    keel_buf_append(&p->units, unit, from->units.length);
    keel_buf_append(&p->links, from->links.data, from->links.length);
    p->out->undeserving += from->count.undeserving;
    p->out->too_long += from->count.too_long;
    p->out->cut += from->count.cut;
    p->out->window_cut += from->count.window_cut;
    p->out->longest_prompt = larger(p->out->longest_prompt, from->count.longest_prompt);
    p->out->longest_response = larger(p->out->longest_response, from->count.longest_response);
    p->out->tokens += from->count.tokens;
    p->out->supervised += from->count.supervised;
    from->count = (keel_decoder_units){0};
    keel_buf_clear(&from->units);
    keel_buf_clear(&from->links);
}

static keel_status take_some(void *context, const keel_corpus_some *some, keel_err *err) {
    passing *p = context;
    (void)err;
    for (size_t i = 0; i < some->n; i++) take_found(p, &p->found[i]);
    return KEEL_OK;
}

static keel_status fail_nothing(const keel_decoder_base *model, const keel_base_tuning *job,
                                const keel_decoder_units *units, keel_err *err) {
    static const char *const hints[] = {
        "log what the assistant said, or use --set imitate=taken",
        "log feedback, several responses of which one was taken, or judge them: keel label",
        "log feedback, or risks and outcomes (keel label)"};
    keel_fail(err, KEEL_E_NOT_FOUND, job->corpus->name, "no response teaches a decoder");
    if (units->too_long > 0)
        return keel_hint(err, "%zu are longer than candidate_tokens=%lld: use a larger one, or too_long=cut",
                         units->too_long, (long long)model->config.candidate_tokens);
    if (units->undeserving > 0)
        return keel_hint(
            err,
            "%zu are not known to be good: log risks and feedback, run `keel label`, or use imitate=taken",
            units->undeserving);
    return keel_hint(err, "%s", hints[model->config.loss]);
}

keel_status keel__decoder_units(const keel_decoder_base *model, const keel_base_tuning *job,
                                keel_decoder_units *out, keel_err *err) {
    finding *found = keel_calloc(KEEL_PASS_ONCE, sizeof *found);
    passing p = {.model = model, .found = found, .out = out};
    const keel_corpus_pass pass = {
        .what = "read responses", .who = "sft", .look = find_one, .take = take_some, .context = &p};
    *out = (keel_decoder_units){0};
    if (!found) return keel_nomem(err, "decoder base");
    keel_status status = keel_corpus_pass_run(&pass, job->corpus, job->pool, err);
    for (size_t i = 0; i < KEEL_PASS_ONCE; i++) {
        keel_buf_free(&found[i].units);
        keel_buf_free(&found[i].links);
        keel_arena_free(&found[i].scratch);
    }
    keel_free(found);
    if (status == KEEL_OK && (p.units.failed || p.links.failed)) status = keel_nomem(err, "decoder base");
    out->unit = (keel_decoder_unit *)(void *)p.units.data;
    out->link = (keel_decoder_link *)(void *)p.links.data;
    out->n = p.units.length / sizeof *out->unit;
    out->responses = p.links.length / sizeof *out->link;
    return status == KEEL_OK && out->n == 0 ? fail_nothing(model, job, out, err) : status;
}

void keel__decoder_units_free(keel_decoder_units *units) {
    keel_free(units->unit);
    keel_free(units->link);
    *units = (keel_decoder_units){0};
}
