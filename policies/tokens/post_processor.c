#include "policies/tokens/post_processor.h"

#include <string.h>

#include "policies/tokens/vocabulary.h"

typedef keel__frame frame;

static keel_status add(const keel__reader *r, frame *to, int32_t token, int text, int32_t type) {
    if (to->n == KEEL__FRAME_PIECES)
        return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->name, "post_processor: more than %d pieces",
                         KEEL__FRAME_PIECES);
    to->tokens += token >= 0;
    to->piece[to->n++] = (keel__frame_piece){token, text, type};
    return KEEL_OK;
}

static keel_status not_there(const keel__reader *r, const char *token) {
    return keel_fail(r->err, KEEL_E_PARSE, r->name, "post_processor: \"%s\" is not in the vocabulary", token);
}

/* ---- TemplateProcessing ---- */

/* The ids of a name: special_tokens lists them. */
static keel_status add_named(const keel__reader *r, const cJSON *processor, const char *name, int32_t type,
                             frame *to) {
    const cJSON *named = keel_json_get(processor, "special_tokens"), *ids = NULL, *item;
    if (!keel_json_get(named, name)) return not_there(r, name);
    KEEL_TRY(keel_json_array(keel_json_get(named, name), "ids", true, &ids, r->name, r->err));
    cJSON_ArrayForEach (item, ids) {
        const double id = cJSON_IsNumber(item) ? item->valuedouble : -1;
        if (!(id >= 0 && id < (double)r->vocabulary->size) || !r->vocabulary->token[(size_t)id])
            return not_there(r, name);
        KEEL_TRY(add(r, to, (int32_t)id, 0, type));
    }
    return KEEL_OK;
}

static keel_status add_item(const keel__reader *r, const cJSON *processor, const cJSON *item, frame *to) {
    const cJSON *special = keel_json_get(item, "SpecialToken"), *sequence = keel_json_get(item, "Sequence");
    const char *id = NULL;
    double type = 0;
    KEEL_TRY(keel_json_string(special ? special : sequence, "id", true, &id, r->name, r->err));
    KEEL_TRY(keel_json_number(special ? special : sequence, "type_id", false, &type, r->name, r->err));
    if (!(type == 0 || type == 1))
        return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->name, "post_processor: type_id: expected 0 or 1");
    if (special) return add_named(r, processor, id, (int32_t)type, to);
    return add(r, to, -1, strcmp(id, "B") == 0, (int32_t)type);
}

static keel_status read_template(const keel__reader *r, const cJSON *processor, void *into) {
    static const char *const keys[] = {"single", "pair"};
    frame *to = into;
    for (int i = 0; i < 2; i++) {
        const cJSON *list = NULL, *item;
        if (to[i].n)
            return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->name, "post_processor: two that add tokens");
        KEEL_TRY(keel_json_array(processor, keys[i], true, &list, r->name, r->err));
        cJSON_ArrayForEach (item, list) KEEL_TRY(add_item(r, processor, item, &to[i]));
    }
    return KEEL_OK;
}

/* ---- BertProcessing, RobertaProcessing ---- */

/* ["[SEP]", 102] */
static keel_status read_mark(const keel__reader *r, const cJSON *processor, const char *key, int32_t *out) {
    const cJSON *pair = NULL;
    KEEL_TRY(keel_json_array(processor, key, true, &pair, r->name, r->err));
    const cJSON *token = cJSON_GetArrayItem(pair, 0);
    *out = cJSON_IsString(token) ? keel__vocabulary_find(r->vocabulary, token->valuestring) : -1;
    return *out < 0 ? not_there(r, key) : KEEL_OK;
}

/* again: the mark stands twice between two texts; segment: of the second. */
static keel_status read_marks(const keel__reader *r, const cJSON *processor, bool again, int32_t segment,
                              frame *to) {
    int32_t first, last;
    KEEL_TRY(read_mark(r, processor, "cls", &first));
    KEEL_TRY(read_mark(r, processor, "sep", &last));
    if (to->n) return keel_fail(r->err, KEEL_E_UNSUPPORTED, r->name, "post_processor: two that add tokens");
    for (int i = 0; i < 2; i++) {
        KEEL_TRY(add(r, &to[i], first, 0, 0));
        KEEL_TRY(add(r, &to[i], -1, 0, 0));
        KEEL_TRY(add(r, &to[i], last, 0, 0));
    }
    if (again) KEEL_TRY(add(r, &to[1], last, 0, 0));
    KEEL_TRY(add(r, &to[1], -1, 1, segment));
    return add(r, &to[1], last, 0, segment);
}

static keel_status read_bert(const keel__reader *r, const cJSON *processor, void *to) {
    return read_marks(r, processor, false, 1, to);
}

static keel_status read_roberta(const keel__reader *r, const cJSON *processor, void *to) {
    return read_marks(r, processor, true, 0, to);
}

/* Cuts white space off the places of tokens, which nobody here asks for. */
static keel_status read_byte_level(const keel__reader *r, const cJSON *processor, void *to) {
    (void)r, (void)processor, (void)to;
    return KEEL_OK;
}

static const keel__component_row rows[] = {{"TemplateProcessing", read_template},
                                           {"BertProcessing", read_bert},
                                           {"RobertaProcessing", read_roberta},
                                           {"ByteLevel", read_byte_level}};
static const keel__component_kind kind = {"post_processor", "processors", rows, sizeof rows / sizeof *rows};

keel_status keel__post_processor_read(const keel__reader *r, const cJSON *json, keel__frame to[2]) {
    KEEL_TRY(keel__component_read(r, &kind, json, to));
    if (to[0].n || to[1].n) return KEEL_OK;
    KEEL_TRY(add(r, &to[0], -1, 0, 0));
    KEEL_TRY(add(r, &to[1], -1, 0, 0));
    return add(r, &to[1], -1, 1, 1);
}
