#include "policies/tokens/chat_template.h"

struct keel_chat_template {
    char *source;
};

const char keel_chat_template_chatml[] =
    "{%- for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}"
    "{%- else %}{{ message['content'] + '<|im_end|>\\n' }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}";

keel_status keel_chat_template_parse(keel_chat_template **out, const char *source, const char *name,
                                     keel_err *err) {
    keel_chat_template *made = keel_calloc(1, sizeof *made);
    if (!made || !(made->source = keel_strdup(source))) {
        keel_free(made);
        return keel_nomem(err, name);
    }
    *out = made;
    return KEEL_OK;
}

void keel_chat_template_close(keel_chat_template *chat) {
    if (!chat) return;
    keel_free(chat->source);
    keel_free(chat);
}

const char *keel_chat_template_source(const keel_chat_template *chat) {
    return chat->source;
}

/* Until the interpreter is here: says so. */
keel_status keel_chat_template_render(const keel_chat_template *chat, const keel_chat_request *request,
                                      keel_arena *arena, const char **out, keel_err *err) {
    (void)chat, (void)request, (void)arena, (void)out;
    return keel_fail(err, KEEL_E_UNSUPPORTED, "chat template", "the interpreter of templates is not built");
}

keel_status keel_chat_template_spans(const keel_chat_template *chat, const keel_chat_request *request,
                                     keel_arena *arena, const char **text, keel_span **spans, size_t *n,
                                     keel_err *err) {
    (void)spans, (void)n;
    return keel_chat_template_render(chat, request, arena, text, err);
}
