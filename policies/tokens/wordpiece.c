#include "policies/tokens/wordpiece.h"

#include <string.h>

#include "core/hash.h"

keel_status keel__wordpiece_read(const keel__reader *r, const cJSON *model, keel__wordpiece *to) {
    const char *unknown = "[UNK]", *prefix = "##";
    double most = 100;
    KEEL_TRY(keel_json_string(model, "continuing_subword_prefix", false, &prefix, r->name, r->err));
    KEEL_TRY(keel_json_string(model, "unk_token", false, &unknown, r->name, r->err));
    KEEL_TRY(keel_json_number(model, "max_input_chars_per_word", false, &most, r->name, r->err));
    if (!(most >= 1 && most <= 10000))
        return keel_fail(r->err, KEEL_E_PARSE, r->name,
                         "model.max_input_chars_per_word: expected 1 to 10000, got %g", most);
    *to = (keel__wordpiece){r->vocabulary, keel_arena_strdup(r->arena, prefix), (size_t)most,
                            keel__vocabulary_find(r->vocabulary, unknown)};
    if (to->unknown < 0)
        return keel_fail(r->err, KEEL_E_PARSE, r->name, "model.unk_token \"%s\" is not in the vocabulary",
                         unknown);
    return to->prefix ? KEEL_OK : keel_nomem(r->err, r->name);
}

static bool begins_character(char c) {
    return ((unsigned char)c & 0xC0) != 0x80;
}

/* The longest piece that begins at byte `from`; its end in *to, -1 if there is none. */
static int32_t longest(const keel__wordpiece *model, const char *word, size_t length, size_t from,
                       uint64_t *hashes, size_t *to) {
    const char *prefix = from > 0 ? model->prefix : "";
    const size_t n_prefix = strlen(prefix);
    uint64_t running = keel_hash64_begin(0);
    for (size_t i = 0; i < n_prefix; i++) running = keel_hash64_add(running, (unsigned char)prefix[i]);
    for (size_t i = from; i < length; i++) {
        running = keel_hash64_add(running, (unsigned char)word[i]);
        hashes[i] = running;
    }
    for (size_t end = length; end > from; end--) {
        if (end < length && !begins_character(word[end])) continue;
        int32_t id = keel__vocabulary_find_hashed(model->vocabulary, keel_hash64_end(hashes[end - 1]), prefix,
                                                  n_prefix, word + from, end - from);
        if (id >= 0) return *to = end, id;
    }
    return -1;
}

/* A word of which any part is unknown is unknown as a whole. */
keel_status keel__wordpiece_encode(const keel__wordpiece *model, const char *word, size_t length,
                                   keel_arena *scratch, keel__ids *out, keel_err *err) {
    const size_t before = out->count;
    size_t characters = 0;
    for (size_t i = 0; i < length; i++) characters += begins_character(word[i]);
    uint64_t few[128], *hashes = few;
    if (characters <= model->max_word && length > sizeof few / sizeof *few)
        hashes = keel_arena_alloc(scratch, length * sizeof *hashes);
    if (!hashes) return keel_nomem(err, "tokenizer");
    bool known = characters <= model->max_word, room = true;
    for (size_t from = 0; from < length && known && room;) {
        const int32_t id = longest(model, word, length, from, hashes, &from);
        known = id >= 0;
        room = !known || keel__ids_add(out, id);
    }
    if (!known) {
        out->count = before;
        room = keel__ids_add(out, model->unknown);
    }
    return room ? KEEL_OK : keel_nomem(err, "tokenizer");
}
