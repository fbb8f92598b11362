/* The end of a job: its answer, what the monitor and the log hear of it, and its release. */
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "experiments/choice_view.h"
#include "experiments/serve/choose.h"
#include "experiments/serve/openai.h"
#include "experiments/serve/serve_internal.h"

/* ---- letting go ---- */

void keel__serve_send(keel_serve *serve, keel_job *job, keel_http_response *response) {
    keel_http_send(job->exchange, response);
    if (job->arena.used > 0) job->usual = job->arena.used;
    keel_version_release(job->version);
    keel_jobs_give(serve->jobs, job);
}

void keel__serve_fail(keel_serve *serve, keel_job *job, int status, const keel_err *err) {
    keel_http_response response = {0};
    char code[16];
    keel_http_fail(&response, status, err);
    keel_http_response_header(&response, "X-Request-Id", job->id);
    snprintf(code, sizeof code, "%d", status);
    keel_monitor_add(serve->monitor, KEEL_MONITOR_FAILURE, code, 1);
    keel__serve_send(serve, job, &response);
}

void keel__serve_drop(keel_serve *serve, keel_job *job) {
    keel_http_response response = {0};
    keel_http_error(&response, 408, NULL, NULL, "nobody waited for the answer");
    keel_monitor_add(serve->monitor, KEEL_MONITOR_GONE, NULL, 1);
    keel__serve_send(serve, job, &response);
}

/* ---- what is said ---- */

keel_outcome keel__serve_judge(const keel_serve *serve, const keel_job *job, const keel_candidate *candidate,
                               keel_judge_verdict *verdict) {
    const bool judged = candidate->outcome != KEEL_OUTCOME_NONE || candidate->judge != KEEL_AUTHORITY_NONE;
    const keel_judge_input input = {candidate->text, job->talk.turns, job->talk.n_turns};
    keel_judge_verdict said = {.label = KEEL_UNJUDGED};
    if (!judged && candidate->text && candidate->text[0] &&
        keel_judge_predict(serve->judge, &input, &said, NULL) != KEEL_OK)
        said.label = KEEL_UNJUDGED;
    if (verdict) *verdict = said;
    if (said.label == KEEL_UNJUDGED) return candidate->outcome;
    return (keel_outcome)((int)KEEL_OUTCOME_COMPLIANCE + said.label);
}

/* In shadow: what would be said without Keel, the first upstream's answer or the caller's first. SIZE_MAX:
 * nothing of it came. */
static size_t in_shadow(const keel_serve *serve, const keel_job *job) {
    if (job->kind == KEEL_JOB_CHOOSE) return 0;
    for (size_t u = 0; u < serve->options.n_upstreams; u++)
        for (size_t i = 0; i < job->decision.n_candidates; i++)
            if (strcmp(job->source[i].from, serve->options.upstreams[u].name) == 0) return i;
    return SIZE_MAX;
}

static bool nothing_arrived(const keel_serve *serve, const keel_job *job) {
    return keel_gather_writes(serve->gather, job) && job->gathered.n_replies == 0 &&
           job->gathered.n_texts == 0;
}

static keel_outcome outcome_of_action(const keel_serve *serve, const keel_job *job, size_t action) {
    const keel_base *base = job->version->base;
    const size_t own = job->decision.n_candidates;
    if (base->space == KEEL_SPACE_OUTCOMES) return (keel_outcome)(action + 1);
    if (base->space != KEEL_SPACE_CANDIDATES || action < own) return KEEL_OUTCOME_NONE;
    return keel__serve_judge(serve, job, &base->fixed[action - own], NULL);
}

/* The action of the policy, or another's answer in shadow. */
static keel__serve_said say(const keel_serve *serve, const keel_job *job, const keel_serve_choice *choice) {
    const keel_base *base = job->version->base;
    const size_t shadow = serve->options.shadow ? in_shadow(serve, job) : SIZE_MAX;
    keel__serve_said said = {.action = choice->action,
                             .propensity = choice->propensity,
                             .explored = choice->explored,
                             .verdict = {.label = KEEL_UNJUDGED},
                             .candidate = keel_serve_candidate(base, &job->decision, choice->action)};
    if (nothing_arrived(serve, job))
        said.why = "nothing_arrived";
    else if (choice->choice.fallback && shadow == SIZE_MAX)
        said.why = choice->choice.unfamiliar && serve->options.fallback_unfamiliar ? "unfamiliar" : "harm";
    if (shadow != SIZE_MAX) {
        said.candidate = shadow;
        said.propensity = 1;
        said.explored = false;
    }
    if (said.candidate == SIZE_MAX) {
        said.text = keel_choice_view_says(base, &job->decision, said.action);
        said.outcome = outcome_of_action(serve, job, said.action);
    } else {
        keel_candidate candidate = job->decision.candidates[said.candidate];
        if (job->source[said.candidate].guessed) candidate.outcome = KEEL_OUTCOME_NONE;
        said.text = candidate.text && candidate.text[0] ? candidate.text : candidate.act ? candidate.act : "";
        said.outcome = keel__serve_judge(serve, job, &candidate, &said.verdict);
    }
    return said;
}

/* ---- the response ---- */

/* What a request cost: the tokens of all calls whose upstream told them, chosen or not; -1: none did. */
static void count_tokens(const keel_job *job, keel_openai_answer *answer) {
    answer->prompt_tokens = answer->completion_tokens = -1;
    for (size_t i = 0; i < job->gathered.n_replies; i++) {
        const keel_upstream_reply *reply = &job->gathered.replies[i];
        if (reply->prompt_tokens < 0 || reply->completion_tokens < 0) continue;
        answer->prompt_tokens =
            reply->prompt_tokens + (answer->prompt_tokens < 0 ? 0 : answer->prompt_tokens);
        answer->completion_tokens =
            reply->completion_tokens + (answer->completion_tokens < 0 ? 0 : answer->completion_tokens);
    }
}

static void write_chat(const keel_job *job, const keel__serve_said *said, const char *details,
                       keel_http_response *response) {
    const bool own = said->candidate == SIZE_MAX;
    const keel_job_source *source = own ? NULL : &job->source[said->candidate];
    const char *model = own ? NULL : job->decision.candidates[said->candidate].model;
    keel_openai_answer answer = {.id = job->id,
                                 .created = (int64_t)job->at,
                                 .model = model              ? model
                                          : job->asked.model ? job->asked.model
                                                             : "keel",
                                 .text = source && source->message ? source->content : said->text,
                                 .message = source ? source->message : NULL,
                                 .finish = source ? source->finish : NULL,
                                 .keel = details};
    count_tokens(job, &answer);
    response->type = "application/json";
    if (!job->asked.stream) {
        keel_openai_write(&answer, &response->body);
        return;
    }
    response->type = "text/event-stream";
    if (keel_openai_write_stream(&answer, job->asked.usage, &response->body, NULL) != KEEL_OK)
        response->body.failed = true;
}

static void write_choice(const keel_job *job, const keel__serve_said *said, const char *details,
                         keel_http_response *response) {
    const keel_choose_answer answer = {
        .id = job->id,
        .index = said->candidate == SIZE_MAX ? -1 : job->source[said->candidate].place,
        .says = said->text,
        .outcome = said->outcome,
        .fallback = said->why != NULL,
        .propensity = said->propensity,
        .policy = job->version->hash,
        .arm = job->version->arm,
        .keel = details};
    response->type = "application/json";
    keel_choose_write(&answer, &response->body);
}

/* ---- what others hear of it ---- */

static void tell_monitor(const keel_serve *serve, const keel_job *job, const keel_serve_choice *choice,
                         const keel__serve_said *said) {
    keel_monitor *monitor = serve->monitor;
    const char *arm = job->version->arm;
    const keel_job_source *source = said->candidate == SIZE_MAX ? NULL : &job->source[said->candidate];
    keel_monitor_add(monitor, KEEL_MONITOR_SUCCESS, source && source->finish ? source->finish : "stop", 1);
    keel_monitor_observe(monitor, KEEL_MONITOR_E2E_TIME, NULL, said->total_ms / 1e3);
    keel_monitor_observe(monitor, KEEL_MONITOR_CANDIDATES, NULL, (double)job->decision.n_candidates);
    keel_monitor_add(monitor, KEEL_MONITOR_DECISIONS, arm, 1);
    if (job->gathered.begun > 0)
        keel_monitor_observe(monitor, KEEL_MONITOR_UPSTREAM_WAIT, NULL, said->upstream_ms / 1e3);
    if (said->why) {
        keel_monitor_add(monitor, KEEL_MONITOR_FALLBACKS, arm, 1);
        keel_monitor_add(monitor, KEEL_MONITOR_FALLBACK_REASONS, said->why, 1);
    }
    if (job->version->arm_index == 0 && !serve->options.shadow)
        keel_drift_answered(serve->drift, job->id, choice->choice.unfamiliar,
                            said->outcome == KEEL_OUTCOME_REFUSAL);
    if (said->explored) keel_monitor_add(monitor, KEEL_MONITOR_EXPLORED, arm, 1);
    if (choice->choice.unfamiliar) keel_monitor_add(monitor, KEEL_MONITOR_UNFAMILIAR, arm, 1);
    if (said->outcome == KEEL_OUTCOME_REFUSAL) keel_monitor_add(monitor, KEEL_MONITOR_REFUSALS, arm, 1);
    if (said->outcome == KEEL_OUTCOME_NONE) keel_monitor_add(monitor, KEEL_MONITOR_UNJUDGED, arm, 1);
    for (size_t i = 0; i < job->gathered.n_replies; i++) {
        const keel_upstream_reply *reply = &job->gathered.replies[i];
        if (reply->prompt_tokens > 0)
            keel_monitor_add(monitor, KEEL_MONITOR_PROMPT_TOKENS, NULL, (double)reply->prompt_tokens);
        if (reply->completion_tokens > 0)
            keel_monitor_add(monitor, KEEL_MONITOR_GENERATION_TOKENS, NULL, (double)reply->completion_tokens);
    }
}

/* The place among the candidates of what an action says, which joins them if it is the base's own; its texts
 * are the version's, which may be gone before the log is written. */
static size_t logged_place(keel_job *job, size_t candidate, size_t action, const char *text) {
    const keel_base *base = job->version->base;
    const size_t own = job->decision.n_candidates;
    if (candidate != SIZE_MAX) return candidate;
    keel_candidate said = {.text = keel_arena_strdup(&job->arena, text)};
    if (base->space == KEEL_SPACE_CANDIDATES && action >= own && action - own < base->n_fixed) {
        said.outcome = base->fixed[action - own].outcome;
        said.act = keel_arena_strdup(&job->arena, base->fixed[action - own].act);
        said.judge = said.outcome ? KEEL_AUTHORITY_RULE : KEEL_AUTHORITY_NONE;
    } else if (base->space == KEEL_SPACE_ACTS) {
        said.act = said.text;
        said.text = "";
    }
    if (!said.text ||
        keel_job_offer(job, &said, &(keel_job_source){.from = "base", .place = -1}, NULL) != KEEL_OK)
        return SIZE_MAX;
    for (size_t i = 0; i < job->decision.n_candidates; i++) /* it may have been there */
        if (strcmp(job->decision.candidates[i].text, said.text) == 0 &&
            (!said.act ||
             (job->decision.candidates[i].act && strcmp(job->decision.candidates[i].act, said.act) == 0)))
            return i;
    return SIZE_MAX;
}

/* The talk with the answer at its end. False when out of memory. */
static bool end_talk(keel_job *job, const keel_candidate *taken, double total_ms) {
    keel_turn *turns = keel_arena_alloc(&job->arena, (job->talk.n_turns + 1) * sizeof *turns);
    if (!turns) return false;
    memcpy(turns, job->talk.turns, job->talk.n_turns * sizeof *turns);
    turns[job->talk.n_turns++] = (keel_turn){.role = KEEL_ROLE_ASSISTANT,
                                             .text = taken->text,
                                             .model = taken->model,
                                             .act = taken->act,
                                             .latency_ms = {true, total_ms}};
    job->talk.turns = turns;
    return true;
}

/* Who says of the candidates what they are: the caller, or the service or the file that they come from. What
 * the server's judge made of them is not theirs. */
static void mark_judges(keel_job *job) {
    for (size_t i = 0; i < job->decision.n_candidates; i++) {
        keel_candidate *candidate = &job->decision.candidates[i];
        if (job->source[i].guessed) candidate->outcome = KEEL_OUTCOME_NONE;
        if (candidate->outcome == KEEL_OUTCOME_NONE)
            candidate->judge = KEEL_AUTHORITY_NONE;
        else if (candidate->judge == KEEL_AUTHORITY_NONE)
            candidate->judge = job->source[i].place >= 0 ? KEEL_AUTHORITY_MODEL : KEEL_AUTHORITY_RULE;
    }
}

/* How long the user waited: the server alone, and before it the caller, where that made the answer. */
static double waited_for(const keel_job *job, size_t taken, double total_ms) {
    const keel_candidate *given = &job->decision.candidates[taken];
    const bool by_caller = strcmp(job->source[taken].from, "caller") == 0 && given->latency_ms.present;
    return total_ms + (by_caller ? given->latency_ms.value : 0);
}

/* The talk with the answer that was taken, in the arena; NULL when out of memory. */
static keel_conversation *log_talk(keel_job *job, size_t taken, const keel__serve_said *said) {
    keel_candidate *given = &job->decision.candidates[taken];
    keel_conversation *talk = keel_arena_alloc(&job->arena, sizeof *talk);
    keel_decision *decision = keel_arena_alloc(&job->arena, sizeof *decision);
    given->taken = true;
    given->propensity = (keel_optional){true, said->propensity};
    given->latency_ms = (keel_optional){true, waited_for(job, taken, said->total_ms)};
    mark_judges(job);
    if (!talk || !decision || !end_talk(job, given, given->latency_ms.value)) return NULL;
    *decision = job->decision;
    *talk = job->talk;
    talk->decisions = decision;
    talk->external_id = keel_arena_strdup(&job->arena, job->name);
    return talk->external_id ? talk : NULL;
}

static void add_verdict(const keel_serve *serve, const keel__serve_said *said, keel_served *served) {
    const keel_judge_verdict *verdict = &said->verdict;
    if (verdict->label == KEEL_UNJUDGED) return;
    served->judged = said->outcome;
    served->authority = verdict->authority;
    served->judge = serve->judge->name;
    served->confidence = (double)verdict->p[verdict->label];
}

static keel_served *record(const keel_serve *serve, keel_job *job, const keel_serve_choice *choice,
                           const keel__serve_said *said) {
    const keel_version *version = job->version;
    keel_arena *arena = &job->arena;
    const char *says = keel_choice_view_says(version->base, &job->decision, choice->action);
    const size_t would_be = keel_serve_candidate(version->base, &job->decision, choice->action);
    keel_served *served = keel_arena_calloc(arena, 1, sizeof *served);
    const size_t taken = logged_place(job, said->candidate, said->action, said->text);
    const size_t would = serve->options.shadow ? logged_place(job, would_be, choice->action, says) : SIZE_MAX;
    keel_conversation *talk = taken == SIZE_MAX ? NULL : log_talk(job, taken, said);
    if (!served || !talk) return NULL;
    *served = (keel_served){.request = keel_arena_strdup(arena, job->id),
                            .conversation = talk,
                            .taken = taken,
                            .would = would == SIZE_MAX ? -1 : (int64_t)would,
                            .policy = keel_arena_strdup(arena, version->hash),
                            .base = keel_arena_strdup(arena, version->base_hash),
                            .arm = version->arm,
                            .segment = keel_arena_strdup(arena, job->asked.segment ? job->asked.segment : ""),
                            .user = keel_arena_strdup(arena, job->asked.user),
                            .at = job->at,
                            .propensity = {true, said->propensity},
                            .explored = said->explored,
                            .fallback = said->why != NULL,
                            .shadow = serve->options.shadow,
                            .stopped = job->stopped,
                            .total_ms = {true, said->total_ms},
                            .upstream_ms = {job->gathered.begun > 0, said->upstream_ms},
                            .encode_ms = {true, said->encode_ms},
                            .decide_ms = {true, said->decide_ms}};
    add_verdict(serve, said, served);
    return served->request && served->segment && served->policy && served->base ? served : NULL;
}

/* The next request of this talk is known by what was answered here. */
static void remember(keel_serve *serve, keel_job *job, const keel_serve_choice *choice,
                     const keel__serve_said *said) {
    keel_served *served = record(serve, job, choice, said);
    const keel_conversation *talk = served ? served->conversation : NULL;
    if (talk)
        keel_threads_put(serve->threads, job->asked.conversation, job->asked.user, talk->turns, talk->n_turns,
                         job->name);
    if (!serve->log) return;
    if (served) job->usual = job->arena.used;
    keel_served_log_put(serve->log, served, &job->arena); /* one that there is no memory for is counted */
}

void keel__serve_answer(keel_serve *serve, keel_job *job, const keel_serve_choice *choice,
                        double encode_seconds, double decide_seconds) {
    keel_http_response response = {.status = 200};
    keel__serve_said said = say(serve, job, choice);
    said.total_ms = 1e3 * (keel_clock() - job->begun);
    said.upstream_ms = job->gathered.begun > 0 ? 1e3 * (job->gathered.ended - job->gathered.begun) : 0;
    said.encode_ms = 1e3 * encode_seconds;
    said.decide_ms = 1e3 * decide_seconds;
    const char *details = job->asked.details ? keel__serve_details(serve, job, choice, &said) : NULL;
    (job->kind == KEEL_JOB_CHOOSE ? write_choice : write_chat)(job, &said, details, &response);
    keel_http_response_header(&response, "X-Request-Id", job->id);
    if (said.why) keel_http_response_header(&response, "X-Keel-Fallback", said.why);
    tell_monitor(serve, job, choice, &said);
    remember(serve, job, choice, &said);
    keel__serve_send(serve, job, &response);
}
