/* keel chat: talk to a policy in the terminal.
 *
 *  1. Opens the policy with its base, and what writes candidates: the base itself, or --writer; or --server,
 * where a policy is served.
 *  2. For each line: has candidates written and asks the policy, or asks the server; shows them with what the
 * policy thinks of each, and its choice, which is the answer.
 */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "core/json.h"
#include "core/process.h"
#include "core/text.h"
#include "experiments/chat_server.h"
#include "experiments/choice_view.h"
#include "experiments/cli_propose.h"
#include "experiments/cli_resources.h"
#include "experiments/line.h"
#include "experiments/program.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "policies/policy_internal.h"

static const keel_flag flags[] = {
    {"--policy", "DIR", false, false, "the policy that chooses"},
    {"--base", "DIR", false, false, "its base (default: the folder beside it that holds it)"},
    {"--server", "URL", false, false,
     "without --policy: the `keel serve` that chooses, as http://127.0.0.1:8080"},
    {"--token-env", "NAME", false, false, "with --server: the environment variable that holds its token"},
    KEEL_FLAG_WRITER,
    {"--system", "TEXT", false, false, "what the assistant is told at the beginning"},
    KEEL_FLAGS_PROPOSE,
    {"--weights", "A,S,S", false, false, KEEL_WEIGHTS_HELP},
    KEEL_FLAG_THRESHOLD,
    KEEL_FLAG_UNFAMILIAR,
    KEEL_FLAG_SEED,
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

typedef struct chatting {
    keel_chat_server *server; /* NULL: the policy below answers */
    const keel_policy *policy;
    const keel_base *base, *writer; /* writer NULL: the fixed answers, or acts, alone */
    keel_propose_ask ask;
    bool json;
    const char *system;
    keel_arena said;    /* turns */
    keel_arena scratch; /* of one answer */
    keel_conversation talk;
    size_t room;       /* of turns */
    size_t unanswered; /* requests that a server gave no answer to */
} chatting;

/* ---- what was said ---- */

static keel_status say(chatting *c, keel_role role, const char *text, keel_err *err) {
    if (c->talk.n_turns == c->room) {
        const size_t room = c->room ? 2 * c->room : 16;
        keel_turn *grown = keel_arena_calloc(&c->said, room, sizeof *grown);
        if (!grown) return keel_nomem(err, "chat");
        if (c->talk.n_turns > 0) memcpy(grown, c->talk.turns, c->talk.n_turns * sizeof *grown);
        c->talk.turns = grown;
        c->room = room;
    }
    const char *copy = keel_arena_strdup(&c->said, text);
    if (!copy) return keel_nomem(err, "chat");
    c->talk.turns[c->talk.n_turns++] = (keel_turn){.role = role, .text = copy};
    return KEEL_OK;
}

static keel_status begin(chatting *c, keel_err *err) {
    keel_arena_reset(&c->said);
    c->room = 0;
    c->talk = (keel_conversation){.source = "chat", .external_id = "chat"};
    if (c->server) KEEL_TRY(keel_chat_server_begin(c->server, err));
    return c->system ? say(c, KEEL_ROLE_SYSTEM, c->system, err) : KEEL_OK;
}

/* ---- an answer ---- */

static keel_status show(const chatting *c, const cJSON *choice, keel_err *err) {
    keel_buf line = {0};
    keel_status status = KEEL_OK;
    if (c->json) status = keel_json_print(choice, false, &line, err);
    if (status == KEEL_OK && c->json) printf("%s\n", line.data);
    if (!c->json) keel_choice_view_print_choice(choice, stdout);
    fflush(stdout);
    keel_buf_free(&line);
    return status;
}

/* What the policy thinks of the actions; NULL when out of memory. */
static cJSON *view(const chatting *c, const keel_decision *decision, const keel_choice *choice) {
    cJSON *json = cJSON_CreateObject(), *actions = cJSON_AddArrayToObject(json, "actions");
    const size_t lost = keel_json_lost();
    for (size_t a = 0; a < choice->n; a++) {
        cJSON *action = keel_choice_view_action(c->policy, c->base, decision, choice, a);
        cJSON_DeleteItemFromObjectCaseSensitive(action, "taken"); /* nothing was */
        keel_json_add(actions, NULL, action);
    }
    cJSON_AddStringToObject(json, "says", keel_choice_view_says(c->base, decision, choice->chosen));
    cJSON_AddBoolToObject(json, "fallback", choice->fallback);
    if (isfinite(c->policy->harm_threshold))
        cJSON_AddNumberToObject(json, "harm_threshold", c->policy->harm_threshold);
    keel_choice_view_familiarity(json, choice);
    const int64_t other = keel_choice_view_runner_up(choice);
    if (other >= 0) keel_json_add(json, "why", keel_choice_view_why(c->policy, choice, (size_t)other, false));
    if (actions && keel_json_lost() == lost) return json;
    cJSON_Delete(json);
    return NULL;
}

static keel_status decide(chatting *c, cJSON **out, keel_err *err) {
    keel_decision decision = {.turn = c->talk.n_turns};
    keel_features features;
    keel_choice choice;
    c->talk.decisions = &decision;
    c->talk.n_decisions = 1;
    keel_arena_reset(&c->scratch);
    if (c->writer)
        KEEL_TRY(keel_cli_propose(&c->ask, c->writer, &(keel_propose_place){.conversation = &c->talk}, 1,
                                  &c->scratch, err));
    KEEL_TRY(keel_cli_offer_refusal(c->base, &decision, &c->scratch, err));
    KEEL_TRY(keel_base_encode_decision(c->base, &c->talk, 0, &c->scratch, &features, err));
    KEEL_TRY(keel_policy_decide_at(c->policy, c->base, &c->talk, 0, &features, &c->scratch, &choice, err));
    *out = view(c, &decision, &choice);
    c->talk.n_decisions = 0;
    c->talk.decisions = NULL;
    return *out ? KEEL_OK : keel_nomem(err, "chat");
}

static keel_status answer(chatting *c, keel_err *err) {
    cJSON *choice = NULL;
    keel_status status =
        c->server ? keel_chat_server_answer(c->server, &c->talk, &choice, err) : decide(c, &choice, err);
    if (status == KEEL_OK) status = show(c, choice, err);
    if (status == KEEL_OK)
        status = say(c, KEEL_ROLE_ASSISTANT, keel_json_get(choice, "says")->valuestring, err);
    cJSON_Delete(choice);
    return status;
}

/* ---- lines ---- */

/* What a server did not do, while the talk goes on. */
static void complain(const keel_err *err) {
    (void)keel_program_fail(&keel_verb_chat, err);
}

/* Says the line and answers it. On a terminal an interrupt ends the answer, not the talk; where a server does
 * not answer, the talk goes on, too: the line is taken back, as if it had not been said. */
static keel_status reply(chatting *c, const char *line, keel_err *err) {
    const size_t before = c->talk.n_turns;
    keel_status status = say(c, KEEL_ROLE_USER, line, err);
    if (status == KEEL_OK) status = answer(c, err);
    const bool stopped = isatty(STDIN_FILENO) && keel_process_go_on() && status == KEEL_E_INTERRUPTED;
    const bool silent = c->server && status == KEEL_E_IO;
    if (!stopped && !silent) return status;
    c->talk.n_turns = before;
    c->talk.n_decisions = 0;
    c->unanswered += silent;
    if (silent) complain(err);
    if (stopped) fputs("\n(stopped; the line is taken back)\n", stderr);
    return KEEL_OK;
}

static keel_status tell(chatting *c, const char *key, cJSON *value, keel_err *err) {
    const keel_status status = keel_chat_server_feedback(c->server, key, value, err);
    if (status == KEEL_OK && !c->json) puts("noted");
    if (status != KEEL_E_IO && status != KEEL_E_NOT_FOUND) return status;
    complain(err);
    c->unanswered += status == KEEL_E_IO;
    return KEEL_OK;
}

static keel_status do_new(chatting *c, keel_err *err) {
    return begin(c, err);
}
static keel_status do_good(chatting *c, keel_err *err) {
    return tell(c, "feedback", cJSON_CreateString("up"), err);
}
static keel_status do_bad(chatting *c, keel_err *err) {
    return tell(c, "feedback", cJSON_CreateString("down"), err);
}
static keel_status do_done(chatting *c, keel_err *err) {
    KEEL_TRY(tell(c, "completed", cJSON_CreateTrue(), err));
    return begin(c, err);
}

static const struct command {
    const char *name, *help;
    bool server;                                    /* there alone */
    keel_status (*run)(chatting *c, keel_err *err); /* NULL: ends */
} commands[] = {
    {"/good", "likes the last answer", true, do_good},
    {"/bad", "does not", true, do_bad},
    {"/done", "says that the task is done, and begins anew", true, do_done},
    {"/new", "begins anew", false, do_new},
    {"/quit", "ends", false, NULL},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_commands(const chatting *c, FILE *out) {
    const char *comma = "";
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (commands[i].server && !c->server) continue;
        fprintf(out, "%s%s %s", comma, commands[i].name, commands[i].help);
        comma = ", ";
    }
    fputs(", Ctrl-C ends an answer\n", out);
}

static keel_status obey(chatting *c, const char *line, bool *ends, keel_err *err) {
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(line, commands[i].name) != 0 || (commands[i].server && !c->server)) continue;
        *ends = !commands[i].run;
        return *ends ? KEEL_OK : commands[i].run(c, err);
    }
    print_commands(c, stderr);
    return KEEL_OK;
}

static keel_status talk(chatting *c, keel_err *err) {
    keel_arena line_arena = {0};
    const char *line;
    bool ends = false;
    keel_status status = begin(c, err);
    if (!c->json && status == KEEL_OK) print_commands(c, stdout);
    if (!c->json && status == KEEL_OK && c->base && c->base->space != KEEL_SPACE_CANDIDATES)
        printf("this policy names %s and writes nothing\n", keel_space_name(c->base->space));
    while (status == KEEL_OK && !ends) {
        keel_arena_reset(&line_arena);
        status = keel_line_read("you> ", &line_arena, &line, err);
        if (status == KEEL_E_PARSE) { /* the next line may be one */
            fprintf(stderr, "keel chat: %s\n", err->message);
            status = KEEL_OK;
            continue;
        }
        if (status != KEEL_OK || !line) break;
        if (line[0] == '/')
            status = obey(c, line, &ends, err);
        else if (strspn(line, " \t") != strlen(line))
            status = reply(c, line, err);
    }
    keel_line_close();
    keel_arena_free(&line_arena);
    if (status == KEEL_OK && c->unanswered > 0)
        status = keel_fail(err, KEEL_E_IO, "--server", "%zu requests got no answer", c->unanswered);
    return status;
}

/* ---- the verb ---- */

static keel_status open_writer(keel_cli *cli, chatting *c, keel_base **own, keel_err *err) {
    KEEL_TRY(keel_cli_open_writer(cli, c->base, own, &c->writer, err));
    if (c->writer || c->base->space != KEEL_SPACE_CANDIDATES) return KEEL_OK;
    keel_fail(err, KEEL_E_USAGE, "--writer", "the policy chooses among candidates, and nothing writes any");
    return keel_hint(err, "give --writer a decoder: experiments/fetch-base.sh smollm2");
}

static keel_status run_here(keel_cli *cli, chatting *c, keel_err *err) {
    keel_policy *policy = NULL;
    keel_base *base = NULL, *writer = NULL;
    keel_pool *pool = NULL;
    keel_status status;
    if (keel_cli_has(cli, "--token-env"))
        return keel_fail(err, KEEL_E_USAGE, "--token-env", "needs --server");
    KEEL_TRY(keel_cli_read_propose(cli, &c->ask, err));
    KEEL_TRY(keel_cli_check_propose(&c->ask, err));
    KEEL_TRY_GOTO(keel_cli_open_pool(cli, &pool, err), done);
    KEEL_TRY_GOTO(keel_cli_open_chooser(cli, &policy, &base, err), done);
    c->policy = policy;
    c->base = base;
    c->ask.how.pool = pool;
    KEEL_TRY_GOTO(open_writer(cli, c, &writer, err), done);
    status = talk(c, err);
done:
    keel_policy_close(policy);
    keel_base_close(base);
    keel_base_close(writer);
    keel_pool_close(pool);
    return status;
}

static keel_status run_there(keel_cli *cli, chatting *c, keel_err *err) {
    static const char *const both[] = {"--server", "--token-env", "--system", NULL};
    for (const keel_flag *flag = flags; flag->name; flag++) {
        bool fits = false;
        for (const char *const *name = both; *name; name++) fits = fits || strcmp(flag->name, *name) == 0;
        if (!fits && keel_cli_has(cli, flag->name))
            return keel_fail(err, KEEL_E_USAGE, flag->name,
                             "is for a policy in a folder: with --server the server decides it");
    }
    KEEL_TRY(keel_chat_server_open(&c->server, keel_cli_value(cli, "--server"),
                                   keel_cli_value(cli, "--token-env"), err));
    const keel_status status = talk(c, err);
    keel_chat_server_close(c->server);
    return status;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    chatting c = {.json = keel_cli_has(cli, "--json"), .system = keel_cli_value(cli, "--system")};
    const bool server = keel_cli_has(cli, "--server");
    if (!server && !keel_cli_has(cli, "--policy"))
        return keel_fail(err, KEEL_E_USAGE, "--policy",
                         "give the folder of a policy, or --server where one is served");
    const keel_status status = server ? run_there(cli, &c, err) : run_here(cli, &c, err);
    keel_arena_free(&c.said);
    keel_arena_free(&c.scratch);
    return status;
}

static void print(const cJSON *result, FILE *out) {
    (void)result, (void)out;
}

const keel_verb keel_verb_chat = {
    .name = "chat",
    .brief = "talk to a policy in the terminal, and see what it chooses among",
    .flags = flags,
    .more =
        "For each line a decoder writes candidates. The policy chooses among them and the fixed answers of its base (or a refusal).\n"
        "The table shows for each its prior, Q of each component, cost of harm against the harm threshold, and probability. /new\n"
        "begins a new conversation, /quit ends, Ctrl-C stops an answer that is being written. Lines may come from a file or a pipe;\n"
        "--json prints a line of JSON for each.\n"
        "example: keel chat --policy runs/policy --writer smollm2 --told \"Refuse politely.\"\n"
        "example: KEEL_TOKEN=... keel chat --server http://127.0.0.1:8080 --token-env KEEL_TOKEN\n",
    .run = run,
    .print = print,
};
