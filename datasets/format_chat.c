/* The chat format: JSON Lines, or one array, of conversations as chat.h describes them. */
#include "datasets/tau.h"

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    const cJSON *object = NULL;
    KEEL_TRY(keel__objects_next(reader->state, reader->source, arena, &object, &out->where, err));
    if (!object) return KEEL_OK;
    out->conversation = keel_arena_alloc(arena, sizeof *out->conversation);
    if (!out->conversation) return keel_nomem(err, out->where);
    return keel__chat_read_object(object, out->where, arena, reader->counts, out->conversation, err);
}

/* ShareGPT and its relatives call the list otherwise. */
static bool has_messages(const keel_sniff *sniff) {
    const bool said = keel_formats_contains(sniff, "\"from\""),
               roles = keel_formats_contains(sniff, "\"role\"");
    const bool pair = keel_formats_has(sniff, "request") && keel_formats_has(sniff, "response");
    const bool asks =
        keel_formats_contains(sniff, "\"messages\"") || keel_formats_contains(sniff, "\"input\"");
    return keel_formats_has(sniff, "messages") || (pair && asks) ||
           (keel_formats_has(sniff, "conversations") && (said || roles)) ||
           (keel_formats_has(sniff, "conversation") && said);
}

/* With two answers to choose from beside the messages it is a preference pair; with the end of a task it may
 * be a simulation of tau2-bench. */
static bool looks_like(const keel_sniff *sniff) {
    const bool pair = keel_formats_has(sniff, "chosen") && keel_formats_has(sniff, "rejected");
    return sniff->shape != KEEL_SHAPE_TABLE && !pair && !keel__tau_is_simulation(sniff) &&
           has_messages(sniff) && !keel_formats_has(sniff, "history"); /* Open WebUI keeps both */
}

const keel_reader_kind keel__chat_reader = {
    .looks_like = looks_like, .state_size = sizeof(keel__objects), .next = next, .close = keel__objects_end};
