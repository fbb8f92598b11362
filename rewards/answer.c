#include "rewards/answer.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

static bool begins(const keel_answer *at, const char *with) {
    const size_t n = strlen(with);
    return at->length >= n && strncasecmp(at->text, with, n) == 0;
}

static keel_answer after(keel_answer at, size_t n) {
    return (keel_answer){at.text + n, at.length - n};
}

static keel_answer skip_space(keel_answer at) {
    while (at.length > 0 && isspace((unsigned char)*at.text)) at = after(at, 1);
    return at;
}

/* Bytes before the first (or last) place of a text that says so; SIZE_MAX when none does. */
static size_t find(const keel_answer *at, const char *what, bool last) {
    size_t found = SIZE_MAX;
    for (keel_answer rest = *at; rest.length > 0; rest = after(rest, 1)) {
        if (!begins(&rest, what)) continue;
        found = at->length - rest.length;
        if (!last) break;
    }
    return found;
}

/* ---- reasoning ---- */

static const char *const blocks[][2] = {
    {"<think>", "</think>"},
    {"<thinking>", "</thinking>"},
    {"<reasoning>", "</reasoning>"},
    {"<thought>", "</thought>"},
    {"<thoughts>", "</thoughts>"},
    {"<scratchpad>", "</scratchpad>"},
    {"<analysis>", "</analysis>"},
    {"<reflection>", "</reflection>"},
    {"[think]", "[/think]"},
    {"◁think▷", "◁/think▷"},
    {"<|begin_of_thought|>", "<|end_of_thought|>"},
    {"<details type=\"reasoning\"", "</details>"},
};

/* One block that the text begins with; false when there is none. */
static bool skip_block(keel_answer *at) {
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        if (!begins(at, blocks[i][0])) continue;
        const size_t end = find(at, blocks[i][1], false);
        *at = after(*at, end == SIZE_MAX ? at->length : end + strlen(blocks[i][1]));
        return true;
    }
    return false;
}

/* Templates put the opening tag into the prompt, so that only the closing one is in the response. */
static void skip_unopened(keel_answer *at) {
    for (size_t i = 0; i < 3; i++) {
        const size_t end = find(at, blocks[i][1], true);
        if (end != SIZE_MAX && find(at, blocks[i][0], false) == SIZE_MAX)
            *at = after(*at, end + strlen(blocks[i][1]));
    }
}

static void skip_channels(keel_answer *at) {
    static const char channel[] = "<|channel|>", message[] = "<|message|>";
    const size_t final = find(at, "<|channel|>final", true);
    if (final == SIZE_MAX && !begins(at, channel) && !begins(at, "<|start|>")) return;
    *at = after(*at, final == SIZE_MAX ? at->length : final + strlen("<|channel|>final"));
    const size_t start = find(at, message, false);
    if (start != SIZE_MAX) *at = after(*at, start + strlen(message));
    const size_t end = find(at, "<|", false);
    if (end != SIZE_MAX) at->length = end;
}

static void skip_thought(keel_answer *at) {
    static const char answer[] = "answer:";
    if (!begins(at, "thought:") && !begins(at, "thoughts:") && !begins(at, "reasoning:")) return;
    const size_t end = find(at, answer, true);
    if (end != SIZE_MAX) *at = after(*at, end + strlen(answer));
}

keel_answer keel_answer_of(const char *response) {
    keel_answer at = {response, strlen(response)};
    skip_channels(&at);
    skip_unopened(&at);
    at = skip_space(at);
    while (skip_block(&at)) at = skip_space(at);
    skip_thought(&at);
    return skip_space(at);
}

/* ---- stubs ---- */

/* How messages of services and programs begin. */
static const char *const errors[] = {
    "error",
    "http error",
    "http 4",
    "http 5",
    "exception",
    "traceback",
    "internal server",
    "bad gateway",
    "gateway timeout",
    "service unavailable",
    "request timed out",
    "request timeout",
    "rate limit",
    "too many requests",
    "connection ",
    "timeout",
    "timed out",
    "{\"error\"",
    "{'error'",
    "undefined",
    "null",
    "nan",
    "n/a",
    "no response",
    "empty response",
    "failed to",
    "api error",
    "openai error",
    "server error",
    "context length exceeded",
    "model overloaded",
    "overloaded",
};

static bool is_status_code(const keel_answer *at) {
    return at->length >= 3 && (*at->text == '4' || *at->text == '5') && isdigit((unsigned char)at->text[1]) &&
           isdigit((unsigned char)at->text[2]) &&
           (at->length == 3 || at->text[3] == ' ' || at->text[3] == ':');
}

/* `error` followed by more than a short message may be an answer about errors. */
static bool is_error(keel_answer at) {
    enum { LONGEST = 160 };
    if (at.length > LONGEST) return false;
    while (at.length > 0 && (strchr("[(<*# ", *at.text))) at = after(at, 1);
    if (is_status_code(&at)) return true;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        const size_t n = strlen(errors[i]);
        if (!begins(&at, errors[i])) continue;
        const keel_answer rest = skip_space(after(at, n));
        const bool phrase = strchr(errors[i], ' ') != NULL; /* a word alone may begin a sentence */
        if (phrase || rest.length == 0 || !isalpha((unsigned char)*rest.text)) return true;
    }
    return false;
}

bool keel_answer_is_placeholder(const keel_answer *answer) {
    bool says = false;
    for (size_t i = 0; i < answer->length && !says; i++) {
        const unsigned char byte = (unsigned char)answer->text[i];
        /* Beyond ASCII: not the general punctuation (ellipsis, dashes), which begins with E2 80. */
        if (byte == 0xE2 && i + 2 < answer->length && (unsigned char)answer->text[i + 1] == 0x80)
            i += 2;
        else
            says = isalnum(byte) || byte >= 0x80;
    }
    return !says || is_error(*answer);
}
