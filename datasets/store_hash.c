/* The content hash: each conversation's SHA-256, added up, so that neither the order of imports nor the
 * number of conversations matters to it or to memory. */
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "datasets/store_internal.h"

typedef struct digest {
    unsigned char bytes[32];
} digest;

static int compare_digests(const void *a, const void *b) {
    return memcmp(a, b, sizeof(digest));
}

/* Whatever the machine's byte order. */
static void add_bits(keel_sha256 *hash, uint64_t bits) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(bits >> 8 * i);
    keel_sha256_add(hash, bytes, sizeof bytes);
}

static void add_optional(keel_sha256 *hash, bool present, double value) {
    uint64_t bits = 0;
    value += 0.0; /* one zero */
    if (present) memcpy(&bits, &value, sizeof bits);
    keel_sha256_add(hash, present ? "1" : "0", 1);
    if (present) add_bits(hash, bits);
}

static void hash_candidate(const keel_candidate *candidate, digest *out) {
    keel_sha256 hash;
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, candidate->text);
    keel_sha256_add_text(&hash, candidate->act);
    keel_sha256_add_text(&hash, candidate->model);
    add_optional(&hash, candidate->propensity.present, candidate->propensity.value);
    add_optional(&hash, candidate->latency_ms.present, candidate->latency_ms.value);
    add_optional(&hash, candidate->feedback.present, candidate->feedback.value);
    for (int k = 0; k < KEEL_N_REWARDS; k++)
        add_optional(&hash, candidate->logged_reward.present[k], (double)candidate->logged_reward.value[k]);
    const unsigned char labels[3] = {candidate->taken, (unsigned char)candidate->outcome,
                                     (unsigned char)candidate->judge};
    keel_sha256_add(&hash, labels, sizeof labels);
    keel_sha256_finish(&hash, out->bytes);
}

/* Candidates count as a set: files of one family may come in any order. */
static keel_status hash_decision(keel_sha256 *hash, const keel_decision *decision, keel_arena *arena,
                                 keel_err *err) {
    digest *each = keel_arena_calloc(arena, decision->n_candidates + 1, sizeof *each);
    if (!each) return keel_nomem(err, "content hash");
    for (size_t i = 0; i < decision->n_candidates; i++) hash_candidate(&decision->candidates[i], &each[i]);
    qsort(each, decision->n_candidates, sizeof *each, compare_digests);
    add_bits(hash, decision->turn);
    add_bits(hash, decision->n_candidates);
    keel_sha256_add(hash, each, decision->n_candidates * sizeof *each);
    return KEEL_OK;
}

/* Split and meta are left out: where a conversation was put, and remarks on it, are not what was said. */
static keel_status hash_conversation(const keel_conversation *conversation, keel_arena *arena, digest *out,
                                     keel_err *err) {
    keel_sha256 hash;
    const unsigned char about[3] = {(unsigned char)conversation->risk, (unsigned char)conversation->completed,
                                    conversation->truncated};
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, conversation->source);
    keel_sha256_add_text(&hash, conversation->external_id);
    keel_sha256_add_text(&hash, conversation->group);
    keel_sha256_add(&hash, about, sizeof about);
    add_bits(&hash, conversation->n_turns);
    for (size_t i = 0; i < conversation->n_turns; i++) {
        const keel_turn *turn = &conversation->turns[i];
        const unsigned char role = (unsigned char)turn->role;
        keel_sha256_add(&hash, &role, 1);
        keel_sha256_add_text(&hash, turn->text);
        keel_sha256_add_text(&hash, turn->model);
        keel_sha256_add_text(&hash, turn->act);
        add_optional(&hash, turn->latency_ms.present, turn->latency_ms.value);
    }
    for (size_t i = 0; i < conversation->n_decisions; i++)
        KEEL_TRY(hash_decision(&hash, &conversation->decisions[i], arena, err));
    keel_sha256_finish(&hash, out->bytes);
    return KEEL_OK;
}

/* sum += one modulo 2^256, the first byte the lowest. */
static void add_digest(digest *sum, const digest *one) {
    unsigned carry = 0;
    for (size_t i = 0; i < sizeof one->bytes; i++) {
        carry += (unsigned)sum->bytes[i] + one->bytes[i];
        sum->bytes[i] = (unsigned char)carry;
        carry >>= 8;
    }
}

typedef struct walk {
    keel_cursor *cursor;
    keel_arena *keep; /* NULL once nothing more is kept */
    keel_store_look *look;
    void *context;
    keel_arena arena;
    digest sum;
    uint64_t count;
} walk;

static keel_status hash_all(walk *w, keel_err *err) {
    for (;; ++w->count) {
        keel_conversation *conversation;
        digest one;
        keel_arena_reset(&w->arena);
        KEEL_TRY(keel_cursor_next(w->cursor, w->keep ? w->keep : &w->arena, &conversation, err));
        if (!conversation) return KEEL_OK;
        KEEL_TRY(hash_conversation(conversation, &w->arena, &one, err));
        add_digest(&w->sum, &one);
        if (w->look && !w->look(w->context, conversation)) w->keep = NULL;
    }
}

keel_status keel_store_walk(keel_store *store, const keel_split *split, keel_arena *keep,
                            keel_store_look *look, void *context, char hex[65], keel_err *err) {
    walk w = {.keep = keep, .look = look, .context = context};
    KEEL_TRY(keel_cursor_open(&w.cursor, store, split, KEEL_ORDER_STORED, err));
    bool held = false;
    keel_status status = keel_store_hold(store, &held, err);
    if (status == KEEL_OK) status = hash_all(&w, err);
    keel_cursor_close(w.cursor);
    keel_store_release(store, held);
    keel_arena_free(&w.arena);
    if (status != KEEL_OK) return status;
    keel_sha256 hash;
    keel_sha256_init(&hash);
    add_bits(&hash, w.count);
    keel_sha256_add(&hash, w.sum.bytes, sizeof w.sum.bytes);
    keel_sha256_hex(&hash, hex);
    return KEEL_OK;
}

keel_status keel_store_content_hash(keel_store *store, const keel_split *split, char hex[65], keel_err *err) {
    return keel_store_walk(store, split, NULL, NULL, NULL, hex, err);
}
