/* keel serve: answers OpenAI's chat API with the policy's choice among candidates.
 *
 *  1. Opens the arms' policies, what writes candidates, the log, and the door.
 *  2. Each request: has candidates written, decides, answers, logs (experiments/serve/README.md).
 *  3. Ends when it is interrupted: answers what is open, then writes what is queued.
 */
#include <math.h>
#include <string.h>

#include "core/json.h"
#include "core/log.h"
#include "experiments/cli_choice.h"
#include "experiments/cli_resources.h"
#include "experiments/serve/fixed.h"
#include "experiments/serve/serve.h"
#include "experiments/verbs.h"

static const keel_flag flags[] = {
    {"--policy", "DIR", false, false, "the policy that chooses"},
    {"--base", "DIR", false, false, "its base (default: the folder beside it that holds it)"},
    {"--arm", "NAME=DIR:SHARE", false, true,
     "an arm of an experiment and its share of the users, in place of --policy; the first is the control"},
    {"--upstream", "SPEC", false, true,
     "an OpenAI-compatible server that writes candidates: its URL, then behind commas model=M, n=2, "
     "temperature=0.7, timeout=20s, key=ENV, name=A, stream=yes"},
    KEEL_FLAG_WRITER,
    {"--fixed", "FILE", false, false,
     "answers offered in every chat: lines of {\"text\", \"outcome\", \"act\"} (default: a refusal, if the base "
     "has none)"},
    {"--store", "FILE", false, false, "log every decision into this store"},
    {"--redact", "FILE", false, false, "what never reaches the store: lines of NAME<tab>PATTERN"},
    {"--listen", "HOST:PORT", false, false,
     "address to listen on, port 0: any (default: 127.0.0.1:8080, this machine alone)"},
    {"--token-env", "NAME", false, false, "the environment variable that holds the token of every request"},
    {"--host", "NAME", false, true,
     "a host name by which clients may call it, besides addresses and localhost"},
    {"--behind-proxy", NULL, false, false,
     "a proxy guards it: listen beyond this machine without a token (docs/serving.md)"},
    {"--deadline", "TIME", false, false, "choose among what has been written by then (default: 30s)"},
    {"--explore", "E", false, false,
     "draw this share of decisions from the policy's probabilities, so that they are learned from (default: 0)"},
    {"--shadow", NULL, false, false,
     "answer what the first upstream says, and log what the policy would have answered"},
    {"--salt", "TEXT", false, false, "seeds the draw of arms: another salt draws anew (default: keel)"},
    {"--guard", "EXPR", false, true,
     "what no arm may be shown to break, as \"refusal_rate >= control - 0.05\": an arm that does is stopped"},
    {"--segment-header", "NAME", false, false, "the header of a request whose value is its segment"},
    {"--queue", "N", false, false, "most requests at once; more get 503 with Retry-After (default: 1024)"},
    {"--batch", "N", false, false, "most requests that are encoded together (default: 32)"},
    KEEL_FLAGS_PROPOSE,
    KEEL_FLAG_THRESHOLD,
    KEEL_FLAG_UNFAMILIAR,
    KEEL_FLAG_SEED,
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

/* ---- flags ---- */

static keel_status read_arms(keel_cli *cli, keel_arms *out, keel_err *err) {
    const char *const *texts, *policy = keel_cli_value(cli, "--policy"),
                              *salt = keel_cli_value(cli, "--salt");
    size_t n;
    KEEL_TRY(keel_cli_values(cli, "--arm", &texts, &n, err));
    if ((policy != NULL) == (n > 0)) {
        keel_fail(err, KEEL_E_USAGE, "--policy",
                  n ? "excludes --arm: the arms name their policies" : "is missing");
        return keel_hint(err, "give --policy DIR, or --arm NAME=DIR:SHARE for each arm");
    }
    if (n > 0) return keel_arms_parse(texts, n, salt ? salt : "keel", &cli->arena, out, err);
    keel_arms_single(policy, out);
    return KEEL_OK;
}

static keel_status read_upstreams(keel_cli *cli, keel_serve_options *out, keel_err *err) {
    const char *const *texts;
    KEEL_TRY(keel_cli_values(cli, "--upstream", &texts, &out->n_upstreams, err));
    keel_upstream_spec *specs = keel_arena_calloc(&cli->arena, out->n_upstreams + 1, sizeof *specs);
    if (!specs) return keel_nomem(err, "--upstream");
    if (out->n_upstreams > KEEL_UPSTREAM_MOST)
        return keel_fail(err, KEEL_E_USAGE, "--upstream", "at most %d, got %zu", KEEL_UPSTREAM_MOST,
                         out->n_upstreams);
    for (size_t i = 0; i < out->n_upstreams; i++)
        KEEL_TRY(keel_upstream_parse(texts[i], &cli->arena, &specs[i], err));
    out->upstreams = specs;
    if (keel_cli_has(cli, "--shadow") && out->n_upstreams == 0)
        keel_log(KEEL_LOG_INFO, "note: --shadow without --upstream: only /v1/choose has an answer to give");
    return KEEL_OK;
}

static keel_status read_numbers(keel_cli *cli, keel_serve_options *out, keel_err *err) {
    int64_t queue = KEEL_SERVE_QUEUE, batch = KEEL_SERVE_BATCH, threads = 0, seed = 1;
    KEEL_TRY(keel_cli_integer(cli, "--queue", 1, 1000000, &queue, err));
    KEEL_TRY(keel_cli_integer(cli, "--batch", 1, 1024, &batch, err));
    KEEL_TRY(keel_cli_integer(cli, "--threads", 0, 1024, &threads, err));
    KEEL_TRY(keel_cli_integer(cli, "--seed", 0, 9007199254740991, &seed, err));
    KEEL_TRY(keel_cli_duration(cli, "--deadline", &out->deadline, err));
    KEEL_TRY(keel_cli_number(cli, "--explore", 0, 1, &out->explore, err));
    out->queue = (size_t)queue;
    out->most_batch = (size_t)batch;
    out->threads = (size_t)threads;
    out->seed = (uint64_t)seed;
    return KEEL_OK;
}

static keel_status read_options(keel_cli *cli, keel_arms *arms, keel_serve_options *out, keel_err *err) {
    const char *fixed = keel_cli_value(cli, "--fixed");
    keel_candidate *answers = NULL;
    *out = (keel_serve_options){.arms = arms,
                                .base = keel_cli_value(cli, "--base"),
                                .harm_threshold = (double)NAN,
                                .writer = keel_cli_value(cli, "--writer"),
                                .deadline = 30,
                                .shadow = keel_cli_has(cli, "--shadow"),
                                .store = keel_cli_value(cli, "--store"),
                                .redact = keel_cli_value(cli, "--redact"),
                                .segment_header = keel_cli_value(cli, "--segment-header")};
    KEEL_TRY(read_arms(cli, arms, err));
    KEEL_TRY(read_upstreams(cli, out, err));
    KEEL_TRY(keel_cli_read_propose(cli, &out->ask, err));
    KEEL_TRY(read_numbers(cli, out, err));
    KEEL_TRY(keel_cli_read_threshold(cli, &out->harm_threshold, err));
    KEEL_TRY(keel_cli_read_unfamiliar(cli, &out->fallback_unfamiliar, err));
    if (fixed) KEEL_TRY(keel_fixed_read(fixed, &cli->arena, &answers, &out->n_fixed, err));
    out->fixed = answers;
    out->behind_proxy = keel_cli_has(cli, "--behind-proxy");
    if (out->redact && !out->store)
        return keel_fail(err, KEEL_E_USAGE, "--redact", "goes with --store: nothing else is kept");
    KEEL_TRY(keel_cli_values(cli, "--guard", &out->guards, &out->n_guards, err));
    if (out->n_guards && !out->store)
        return keel_fail(err, KEEL_E_USAGE, "--guard", "goes with --store: it looks at what is logged");
    return KEEL_OK;
}

/* ---- the door ---- */

enum { FROM_ONE_ADDRESS = 1000 /* connections, of other machines: nobody takes all there are */ };

static keel_status read_door(keel_cli *cli, keel_http_options *out, keel_http_address *address,
                             keel_err *err) {
    static const char *const open[] = {"/health", NULL};
    const char *listen = keel_cli_value(cli, "--listen"), *token = keel_cli_value(cli, "--token-env");
    const char *const *hosts;
    size_t n;
    *out = keel_http_api;
    out->open = open;
    out->exposed = keel_cli_has(cli, "--behind-proxy");
    KEEL_TRY(keel_http_address_parse(listen ? listen : "127.0.0.1:8080", address, err));
    if (!address->loopback && !out->exposed) out->most_per_address = FROM_ONE_ADDRESS;
    if (token) KEEL_TRY(keel_http_token(token, &out->token, err));
    KEEL_TRY(keel_cli_values(cli, "--host", &hosts, &n, err));
    const char **names = keel_arena_calloc(&cli->arena, n + 1, sizeof *names);
    if (!names) return keel_nomem(err, "--host");
    if (n > 0) memcpy(names, hosts, n * sizeof *names);
    out->hosts = names;
    return KEEL_OK;
}

static keel_status open_door(keel_http_server **out, const keel_http_address *address,
                             const keel_http_options *options, keel_serve *serve, keel_err *err) {
    const keel_status status = keel_http_open(out, address, options, keel_serve_handle, serve, err);
    if (status == KEEL_E_USAGE) keel_hint(err, "give --token-env NAME, or --behind-proxy (docs/serving.md)");
    return status;
}

static void tell(keel_cli *cli, const keel_serve *serve) {
    const keel_serve_tally tally = keel_serve_counted(serve);
    cli->result = cJSON_CreateObject();
    cJSON_AddNumberToObject(cli->result, "answered", tally.answered);
    cJSON_AddNumberToObject(cli->result, "fallbacks", tally.fallbacks);
    cJSON_AddNumberToObject(cli->result, "gone", tally.gone);
    cJSON_AddNumberToObject(cli->result, "logged", tally.logged);
    cJSON_AddNumberToObject(cli->result, "lost", tally.lost);
}

/* ---- the verb ---- */

static keel_status run(keel_cli *cli, keel_err *err) {
    keel_arms arms = {0};
    keel_serve_options options;
    keel_http_options door;
    keel_http_address address;
    keel_pool *pool = NULL;
    keel_serve *serve = NULL;
    keel_http_server *server = NULL;
    keel_status status;
    KEEL_TRY(read_options(cli, &arms, &options, err));
    KEEL_TRY(read_door(cli, &door, &address, err));
    KEEL_TRY_GOTO(keel_cli_open_pool(cli, &pool, err), done);
    options.ask.how.pool = pool;
    KEEL_TRY_GOTO(keel_serve_open(&serve, &options, err), done);
    KEEL_TRY_GOTO(open_door(&server, &address, &door, serve, err), done);
    keel_serve_behind(serve, server);
    if (!keel_serve_has_writer(serve))
        keel_log(KEEL_LOG_INFO,
                 "note: nothing writes candidates: chats get fixed answers, only /v1/choose has a "
                 "choice; --upstream names who writes");
    keel_log(KEEL_LOG_INFO, "serving at %sv1 (Ctrl-C ends it)", keel_http_url(server));
    status = keel_http_run(server, err);
    keel_serve_stop(serve);
    if (status == KEEL_OK) tell(cli, serve);
done:
    keel_http_close(server);
    keel_serve_close(serve);
    keel_pool_close(pool);
    return status;
}

static void print(const cJSON *result, FILE *out) {
    fprintf(
        out,
        "%.0f requests answered, %.0f by fallback, %.0f whose client hung up; %.0f entries logged, %.0f lost\n",
        keel_json_get(result, "answered")->valuedouble, keel_json_get(result, "fallbacks")->valuedouble,
        keel_json_get(result, "gone")->valuedouble, keel_json_get(result, "logged")->valuedouble,
        keel_json_get(result, "lost")->valuedouble);
}

const keel_verb keel_verb_serve = {
    .name = "serve",
    .brief = "answer OpenAI's chat API with a policy's choice among candidates, and log it",
    .flags = flags,
    .more =
        "POST /v1/chat/completions: upstreams, the base (if it can write) and --fixed give candidates, the policy chooses one, and the\n"
        "answer has OpenAI's shape, also with stream. POST /v1/choose: the caller gives the candidates. POST /v1/feedback: what a user\n"
        "thought of an answer. GET /v1/models, /health, /metrics (Prometheus), /version. POST /admin/policy: an arm serves another\n"
        "registered policy.\n"
        "{\"keel\": {\"details\": true}} in a body, or the header X-Keel-Details: 1, shows candidates, values and reasons\n"
        "(docs/serving.md).\n"
        "example: keel serve --policy runs/policy --upstream http://127.0.0.1:8000/v1,n=3 --store live.db\n",
    .run = run,
    .print = print,
};
