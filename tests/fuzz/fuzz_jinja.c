/* Chat templates: the input is a template, a line "----" and the JSON of a request {"messages", "tools",
 * ...}. What is rendered is UTF-8, and spans lie within it. */
#include <string.h>

#include "core/json.h"
#include "core/text.h"
#include "fuzz.h"
#include "policies/tokens/chat_template.h"

static void render(const keel_chat_template *chat, const cJSON *json, bool prompt) {
    const keel_chat_request request = {.messages = keel_json_get(json, "messages"),
                                       .tools = keel_json_get(json, "tools"),
                                       .extra = keel_json_get(json, "extra"),
                                       .generation_prompt = prompt,
                                       .bos = "<s>",
                                       .eos = "</s>"};
    keel_arena arena = {0};
    keel_span *spans;
    const char *text, *again;
    size_t n;
    if (fuzz_ok(keel_chat_template_render(chat, &request, &arena, &text, &fuzz_err))) {
        FUZZ_CHECK(keel_utf8_valid_prefix(text, strlen(text)) == strlen(text));
        if (fuzz_ok(keel_chat_template_spans(chat, &request, &arena, &again, &spans, &n, &fuzz_err))) {
            FUZZ_CHECK(strcmp(text, again) == 0);
            for (size_t i = 0; i < n; i++)
                FUZZ_CHECK(spans[i].from <= spans[i].to && spans[i].to <= strlen(text));
        }
    }
    keel_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_part parts[2];
    keel_chat_template *chat = NULL;
    cJSON *json = NULL;
    if (fuzz_parts(data, size, parts, 2) < 2) return 0;
    char *template = fuzz_text(parts[0].data, parts[0].size);
    if (fuzz_ok(keel_json_parse((const char *)parts[1].data, parts[1].size, "request", &json, &fuzz_err)) &&
        fuzz_ok(keel_chat_template_parse(&chat, template, "template", &fuzz_err))) {
        render(chat, json, true);
        render(chat, json, false);
    }
    free(template);
    keel_chat_template_close(chat);
    cJSON_Delete(json);
    return 0;
}
