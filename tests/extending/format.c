/* A log format from outside the tree (tests/experiments/extending.sh): a line a conversation,
 * "toy|risk|act|question|answer". */
#include <stdio.h>
#include <string.h>

#include "datasets/reader_internal.h"

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    char *line, *field[5], *place = keel_arena_alloc(arena, 256);
    size_t length, number, n = 0;
    KEEL_TRY(keel_source_line(reader->source, &line, &length, &number, err));
    if (!line) return KEEL_OK;
    keel_conversation *c = keel_arena_calloc(arena, 1, sizeof *c);
    keel_turn *turns = keel_arena_calloc(arena, 2, sizeof *turns);
    keel_decision *decision = keel_arena_calloc(arena, 1, sizeof *decision);
    char *text = keel_arena_strndup(arena, line, length);
    if (!place || !c || !turns || !decision || !text) return keel_nomem(err, reader->place);
    snprintf(place, 256, "%.200s:%zu", reader->place, number);
    for (char *at = text; at && n < 5; at = strchr(at, '|')) {
        if (n) *at++ = '\0';
        field[n++] = at;
    }
    out->where = place;
    if (n < 5 || !keel_risk_parse(field[1], &c->risk))
        return keel_fail(err, KEEL_E_PARSE, place, "expected toy|risk|act|question|answer");
    turns[0] = (keel_turn){.role = KEEL_ROLE_USER, .text = field[3]};
    turns[1] = (keel_turn){.role = KEEL_ROLE_ASSISTANT, .act = field[2], .text = field[4]};
    c->external_id = place;
    c->completed = KEEL_UNKNOWN;
    c->turns = turns, c->n_turns = 2, c->decisions = decision;
    c->n_decisions = keel__decide_turns(arena, turns, 2, decision);
    out->conversation = c;
    return KEEL_OK;
}

static bool looks_like(const keel_sniff *sniff) {
    return sniff->length >= 4 && memcmp(sniff->text, "toy|", 4) == 0;
}

const keel_reader_kind keel__toy_reader = {.looks_like = looks_like, .next = next};
