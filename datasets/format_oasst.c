/* Open Assistant's exports: JSON Lines, a message tree a line, {"message_tree_id", "prompt": {"message_id",
 * "text", "role", "rank", "replies": [...]}}, or a message a line, {"message_id", "parent_id",
 * "message_tree_id", ...}. One conversation a tree: the path of the best-ranked replies; the other replies of
 * the assistant are candidates, with feedback from 1 for the best rank to -1 for the worst. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "datasets/tree.h"

static const double UNRANKED = 1e300;

enum { LEFT_OUT = KEEL__TREE_EMPTY + 1 };

/* Of the flat form all messages are read before the first conversation is given. */
typedef struct state {
    keel__objects objects;
    keel_arena arena; /* of the flat form */
    keel__tree flat;
    bool is_flat, read;
    size_t next_root;
} state;

static bool is_left_out(const cJSON *item) {
    return cJSON_IsTrue(keel_json_get(item, "deleted")) ||
           cJSON_IsFalse(keel_json_get(item, "review_result"));
}

static keel_status fill_node(keel__tree *tree, keel__value *build, const cJSON *item, keel__tree_node *node,
                             keel_err *err) {
    static const char *const kept[] = {"lang", "labels", "emojis", "synthetic", "created_date"};
    const cJSON *rank = keel_json_get(item, "rank");
    const char *text = NULL, *role = NULL;
    KEEL_TRY(keel_json_string(item, "message_id", true, &node->id, tree->where, err));
    KEEL_TRY(keel_json_string(item, "text", true, &text, tree->where, err));
    KEEL_TRY(keel_json_string(item, "role", true, &role, tree->where, err));
    node->rank = cJSON_IsNumber(rank) ? rank->valuedouble : UNRANKED;
    node->assistant = strcmp(role, "assistant") == 0;
    node->message = keel__value_object(build);
    keel__value_put_text(build, node->message, "role", role);
    keel__value_put_text(build, node->message, "content", text);
    if (node->assistant)
        keel__value_put_text(build, node->message, "model", keel__string_at(item, "model_name"));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        keel__value_put_same(build, node->message, kept[i], keel_json_get(item, kept[i]));
    return build->failed ? keel_nomem(err, tree->where) : KEEL_OK;
}

/* The item and its replies. Nesting is bounded by the reader of JSON. */
static keel_status add_nested(keel__tree *tree, const cJSON *item, const char *parent, int64_t *left_out,
                              keel_err *err) {
    keel__value build = {.arena = tree->arena};
    keel__tree_node node = {.parent_id = parent};
    const cJSON *replies = NULL;
    *left_out += is_left_out(item);
    if (is_left_out(item)) return KEEL_OK;
    KEEL_TRY(fill_node(tree, &build, item, &node, err));
    KEEL_TRY(keel__tree_add(tree, &node, err));
    KEEL_TRY(keel_json_array(item, "replies", false, &replies, tree->where, err));
    for (const cJSON *reply = replies ? replies->child : NULL; reply; reply = reply->next)
        KEEL_TRY(add_nested(tree, reply, node.id, left_out, err));
    return KEEL_OK;
}

static void put_feedback(keel__tree *tree, keel__value *build, int64_t first, double worst) {
    for (int64_t k = first; k != KEEL__TREE_NONE; k = tree->nodes[k].sibling) {
        const keel__tree_node *reply = &tree->nodes[k];
        if (!reply->assistant || !reply->message || !(reply->rank >= 0 && reply->rank < UNRANKED)) continue;
        keel__value_put(build, reply->message, "feedback",
                        keel__value_number(build, 1 - 2 * reply->rank / worst));
    }
}

typedef struct reply {
    uint64_t said;
    const keel__tree_node *node;
} reply;

static int compare_replies(const void *a, const void *b) {
    const reply *x = a, *y = b;
    if (x->node->parent != y->node->parent) return x->node->parent < y->node->parent ? -1 : 1;
    if (x->said != y->said) return x->said < y->said ? -1 : 1;
    return x->node->rank < y->node->rank ? -1 : x->node->rank > y->node->rank;
}

/* Two people may have replied the same words: it is one reply, of the better rank. */
static keel_status judge_same_words(keel__tree *tree, keel_err *err) {
    reply *all = keel_arena_alloc(tree->arena, (tree->count + 1) * sizeof *all);
    size_t n = 0;
    if (!all) return keel_nomem(err, tree->where);
    for (size_t i = 0; i < tree->count; i++) {
        const keel__tree_node *node = &tree->nodes[i];
        const char *text = keel__string_at(node->message, "content");
        if (keel_json_get(node->message, "feedback"))
            all[n++] = (reply){keel_hash64(text, strlen(text), 0), node};
    }
    if (n) qsort(all, n, sizeof *all, compare_replies);
    for (size_t i = 1; i < n; i++)
        if (all[i].node->parent == all[i - 1].node->parent && all[i].said == all[i - 1].said)
            cJSON_DetachItemFromObjectCaseSensitive(all[i].node->message, "feedback");
    return KEEL_OK;
}

/* Feedback for the assistant's replies to each message, which are ranked among themselves. */
static keel_status judge_by_rank(keel__tree *tree, keel_err *err) {
    keel__value build = {.arena = tree->arena};
    for (size_t i = 0; i < tree->count; i++) {
        double worst = 0;
        for (int64_t k = tree->nodes[i].child; k != KEEL__TREE_NONE; k = tree->nodes[k].sibling)
            if (tree->nodes[k].rank < UNRANKED) worst = fmax(worst, tree->nodes[k].rank);
        if (worst > 0) put_feedback(tree, &build, tree->nodes[i].child, worst);
    }
    return build.failed ? keel_nomem(err, tree->where) : judge_same_words(tree, err);
}

static keel_status read_root(const keel__tree *tree, int64_t root, const char *id, const cJSON *meta,
                             keel_arena *arena, keel_conversation *out, int64_t *shown, keel_err *err) {
    keel__value build = {.arena = arena};
    cJSON *messages, *made = keel__value_object(&build);
    KEEL_TRY(keel__tree_messages(tree, keel__tree_best_leaf(tree, root), arena, &messages, shown, err));
    keel__value_put_text(&build, made, "id", id);
    keel__value_put(&build, made, "messages", messages);
    keel__value_put_same(&build, made, "meta", meta);
    if (build.failed) return keel_nomem(err, tree->where);
    return keel__chat_read_object(made, tree->where, arena, NULL, out, err);
}

/* ---- a tree a line ---- */

static keel_status read_tree(keel_reader *reader, keel_arena *arena, const cJSON *object, const char *where,
                             keel_conversation *out, int64_t *shown, keel_err *err) {
    static const char *const used[] = {"message_tree_id", "prompt", NULL};
    keel__tree tree = {.arena = arena, .where = where};
    keel__value build = {.arena = arena};
    const cJSON *prompt = NULL;
    const char *id = NULL;
    KEEL_TRY(keel_json_object(object, "prompt", true, &prompt, where, err));
    KEEL_TRY(keel_json_string(object, "message_tree_id", false, &id, where, err));
    KEEL_TRY(add_nested(&tree, prompt, NULL, &reader->counts[LEFT_OUT], err));
    if (!tree.count) return KEEL_OK;
    KEEL_TRY(keel__tree_link(&tree, err));
    KEEL_TRY(judge_by_rank(&tree, err));
    cJSON *meta = keel__value_copy(&build, object, used);
    if (build.failed) return keel_nomem(err, where);
    KEEL_TRY(read_root(&tree, 0, id ? id : tree.nodes[0].id, meta, arena, out, shown, err));
    reader->counts[KEEL__TREE_OTHER_BRANCHES] += keel__tree_shown(&tree) - *shown;
    return KEEL_OK;
}

/* ---- a message a line ---- */

/* A message below one that was left out is left out too. */
static void drop_orphans(keel__tree *tree, int64_t *left_out) {
    for (size_t i = 0; i < tree->count; i++) {
        keel__tree_node *node = &tree->nodes[tree->order[i]];
        if (node->parent != KEEL__TREE_NONE && !tree->nodes[node->parent].message) node->message = NULL;
        if (!node->message) node->rank = INFINITY;
        *left_out += !node->message;
    }
}

static keel_status read_flat(keel_reader *reader, state *s, keel_err *err) {
    keel__tree *tree = &s->flat;
    keel__value build = {.arena = &s->arena};
    const cJSON *object;
    const char *where = NULL;
    for (*tree = (keel__tree){.arena = &s->arena};;) {
        KEEL_TRY(keel__objects_next(&s->objects, reader->source, &s->arena, &object, &where, err));
        if (!object) break;
        keel__tree_node node = {0};
        tree->where = where;
        KEEL_TRY(fill_node(tree, &build, object, &node, err));
        KEEL_TRY(keel_json_string(object, "parent_id", false, &node.parent_id, where, err));
        if (is_left_out(object)) node.message = NULL;
        KEEL_TRY(keel__tree_add(tree, &node, err));
    }
    tree->where = keel_source_name(reader->source);
    KEEL_TRY(keel__tree_link(tree, err));
    drop_orphans(tree, &reader->counts[LEFT_OUT]);
    return judge_by_rank(tree, err);
}

static keel_status next_root(keel_reader *reader, state *s, keel_arena *arena, keel_read *out,
                             keel_err *err) {
    int64_t shown = 0;
    const keel__tree_node *nodes = s->flat.nodes;
    while (s->next_root < s->flat.count && (nodes[s->next_root].parent_id || !nodes[s->next_root].message))
        s->next_root++;
    if (s->next_root == s->flat.count) return KEEL_OK;
    out->where = s->flat.where;
    out->conversation = keel_arena_calloc(arena, 1, sizeof *out->conversation);
    if (!out->conversation) return keel_nomem(err, out->where);
    const size_t root = s->next_root++;
    KEEL_TRY(read_root(&s->flat, (int64_t)root, nodes[root].id, NULL, arena, out->conversation, &shown, err));
    reader->counts[KEEL__TREE_OTHER_BRANCHES] -= shown;
    return KEEL_OK;
}

/* ---- the reader ---- */

static keel_status open_state(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    keel_sniff sniff;
    KEEL_TRY(keel__sniff(reader->source, &sniff, err));
    s->is_flat = keel_formats_has(&sniff, "message_id");
    return KEEL_OK;
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    if (!s->is_flat) return keel__tree_next(reader, &s->objects, read_tree, arena, out, err);
    if (!s->read) {
        KEEL_TRY(read_flat(reader, s, err));
        reader->counts[KEEL__TREE_OTHER_BRANCHES] = keel__tree_shown(&s->flat);
        s->read = true;
    }
    return next_root(reader, s, arena, out, err);
}

static void close_state(keel_reader *reader) {
    state *s = reader->state;
    keel__objects_close(&s->objects);
    keel_arena_free(&s->arena);
}

static bool looks_like(const keel_sniff *sniff) {
    const bool tree = keel_formats_has(sniff, "message_tree_id") && keel_formats_has(sniff, "prompt");
    const bool flat = keel_formats_has(sniff, "message_id") && keel_formats_has(sniff, "parent_id");
    return sniff->shape != KEEL_SHAPE_TABLE && (tree || (flat && keel_formats_has(sniff, "role")));
}

const keel_reader_kind keel__oasst_reader = {.looks_like = looks_like,
                                             .state_size = sizeof(state),
                                             .open = open_state,
                                             .next = next,
                                             .close = close_state};
