#include "datasets/tree.h"

#include <math.h>
#include <string.h>

#include "core/hash.h"

static keel_status fail_node(const keel__tree *tree, const char *id, const char *what, keel_err *err) {
    return keel_fail(err, KEEL_E_INVALID, tree->where, "message \"%.80s\": %s", id, what);
}

keel_status keel__tree_add(keel__tree *tree, const keel__tree_node *node, keel_err *err) {
    if (!keel_arena_grow(tree->arena, &tree->nodes, tree->count, &tree->capacity, sizeof *tree->nodes))
        return keel_nomem(err, tree->where);
    keel__tree_node *made = &tree->nodes[tree->count++];
    *made = *node;
    made->parent = made->child = made->last_child = made->sibling = KEEL__TREE_NONE;
    return KEEL_OK;
}

/* ---- joining ---- */

static size_t slot_of(const keel__tree *tree, const char *id) {
    size_t at = (size_t)keel_hash64(id, strlen(id), 0) % tree->index_size;
    while (tree->index[at] != KEEL__TREE_NONE && strcmp(tree->nodes[tree->index[at]].id, id) != 0)
        at = (at + 1) % tree->index_size;
    return at;
}

int64_t keel__tree_find(const keel__tree *tree, const char *id) {
    return id && tree->index_size ? tree->index[slot_of(tree, id)] : KEEL__TREE_NONE;
}

static keel_status make_index(keel__tree *tree, keel_err *err) {
    tree->index_size = 2 * tree->count + 1;
    tree->index = keel_arena_alloc(tree->arena, tree->index_size * sizeof *tree->index);
    if (!tree->index) return keel_nomem(err, tree->where);
    for (size_t i = 0; i < tree->index_size; i++) tree->index[i] = KEEL__TREE_NONE;
    for (size_t i = 0; i < tree->count; i++) {
        const size_t at = slot_of(tree, tree->nodes[i].id);
        if (tree->index[at] != KEEL__TREE_NONE)
            return fail_node(tree, tree->nodes[i].id, "this id is given twice", err);
        tree->index[at] = (int64_t)i;
    }
    return KEEL_OK;
}

static keel_status join(keel__tree *tree, int64_t i, keel_err *err) {
    keel__tree_node *node = &tree->nodes[i];
    if (!node->parent_id) return KEEL_OK;
    node->parent = keel__tree_find(tree, node->parent_id);
    if (node->parent == KEEL__TREE_NONE) return fail_node(tree, node->id, "its parent is not there", err);
    keel__tree_node *parent = &tree->nodes[node->parent];
    if (parent->child == KEEL__TREE_NONE)
        parent->child = i;
    else
        tree->nodes[parent->last_child].sibling = i;
    parent->last_child = i;
    return KEEL_OK;
}

/* Depths from the roots down: what is not reached stands in a circle. */
static keel_status check(keel__tree *tree, keel_err *err) {
    int64_t *queue = tree->order = keel_arena_alloc(tree->arena, (tree->count + 1) * sizeof *queue);
    int32_t *depth = keel_arena_calloc(tree->arena, tree->count + 1, sizeof *depth);
    size_t filled = 0;
    if (!queue || !depth) return keel_nomem(err, tree->where);
    for (size_t i = 0; i < tree->count; i++)
        if (tree->nodes[i].parent == KEEL__TREE_NONE) depth[queue[filled++] = (int64_t)i] = 1;
    for (size_t at = 0; at < filled; at++) {
        size_t replies = 0;
        const keel__tree_node *node = &tree->nodes[queue[at]];
        for (int64_t k = node->child; k != KEEL__TREE_NONE; k = tree->nodes[k].sibling) {
            if (++replies > KEEL__TREE_WIDEST)
                return fail_node(tree, node->id, "it has more than 10000 replies", err);
            depth[k] = depth[queue[at]] + 1;
            queue[filled++] = k;
        }
        if (depth[queue[at]] > KEEL__TREE_DEEPEST)
            return fail_node(tree, node->id, "it lies deeper than 10000 messages", err);
    }
    for (size_t i = 0; filled < tree->count && i < tree->count; i++)
        if (!depth[i]) return fail_node(tree, tree->nodes[i].id, "its parents run in a circle", err);
    return KEEL_OK;
}

keel_status keel__tree_link(keel__tree *tree, keel_err *err) {
    KEEL_TRY(make_index(tree, err));
    for (size_t i = 0; i < tree->count; i++) KEEL_TRY(join(tree, (int64_t)i, err));
    return check(tree, err);
}

int64_t keel__tree_best_leaf(const keel__tree *tree, int64_t from) {
    for (size_t i = 0; from == KEEL__TREE_NONE && i < tree->count; i++)
        if (tree->nodes[tree->count - 1 - i].parent == KEEL__TREE_NONE) from = (int64_t)(tree->count - 1 - i);
    for (int64_t best = from; best != KEEL__TREE_NONE;) {
        double lowest = INFINITY;
        from = best;
        best = KEEL__TREE_NONE;
        for (int64_t k = tree->nodes[from].child; k != KEEL__TREE_NONE; k = tree->nodes[k].sibling) {
            if (!(tree->nodes[k].rank < lowest)) continue;
            best = k;
            lowest = tree->nodes[k].rank;
        }
    }
    return from;
}

/* ---- the path ---- */

/* The nearest message above that is shown. */
static int64_t shown_above(const keel__tree *tree, int64_t node) {
    do node = tree->nodes[node].parent;
    while (node != KEEL__TREE_NONE && !tree->nodes[node].message);
    return node;
}

/* The node that follows in a walk of the tree below top, hidden messages being passed through. */
static int64_t walk(const keel__tree *tree, int64_t top, int64_t node) {
    if ((node == top || !tree->nodes[node].message) && tree->nodes[node].child != KEEL__TREE_NONE)
        return tree->nodes[node].child;
    while (node != top && tree->nodes[node].sibling == KEEL__TREE_NONE) node = tree->nodes[node].parent;
    return node == top ? KEEL__TREE_NONE : tree->nodes[node].sibling;
}

/* What the assistant replied to the message at `top` besides the reply `taken`. */
static void put_candidates(const keel__tree *tree, keel__value *build, int64_t top, int64_t taken,
                           cJSON *message, int64_t *used) {
    cJSON *list = NULL;
    for (int64_t k = walk(tree, top, top); k != KEEL__TREE_NONE; k = walk(tree, top, k)) {
        const keel__tree_node *node = &tree->nodes[k];
        if (k == taken || !node->message || !node->assistant) continue;
        static const char *const not_of_candidates[] = {"role", NULL};
        if (!list) keel__value_put(build, message, "candidates", list = keel__value_array(build));
        keel__value_put(build, list, NULL, keel__value_copy(build, node->message, not_of_candidates));
        *used += 1;
    }
}

keel_status keel__tree_messages(const keel__tree *tree, int64_t leaf, keel_arena *arena, cJSON **out,
                                int64_t *shown, keel_err *err) {
    keel__value build = {.arena = arena};
    size_t n = 0;
    int64_t path[KEEL__TREE_DEEPEST];
    for (int64_t at = leaf; at != KEEL__TREE_NONE; at = tree->nodes[at].parent)
        if (tree->nodes[at].message) path[n++] = at;
    *out = keel__value_array(&build);
    *shown += (int64_t)n;
    while (n-- > 0) {
        const keel__tree_node *node = &tree->nodes[path[n]];
        const int64_t above = shown_above(tree, path[n]);
        cJSON *message = keel__value_same(&build, node->message);
        keel__value_put(&build, *out, NULL, message);
        if (node->assistant && above != KEEL__TREE_NONE && message)
            put_candidates(tree, &build, above, path[n], message, shown);
    }
    return build.failed ? keel_nomem(err, tree->where) : KEEL_OK;
}

int64_t keel__tree_shown(const keel__tree *tree) {
    int64_t shown = 0;
    for (size_t i = 0; i < tree->count; i++) shown += tree->nodes[i].message != NULL;
    return shown;
}

keel_status keel__tree_next(keel_reader *reader, keel__objects *objects, keel__tree_read *read,
                            keel_arena *arena, keel_read *out, keel_err *err) {
    for (int64_t shown = 0; !shown;) {
        const cJSON *object = NULL;
        KEEL_TRY(keel__objects_next(objects, reader->source, arena, &object, &out->where, err));
        out->conversation = object ? keel_arena_calloc(arena, 1, sizeof *out->conversation) : NULL;
        if (!object) return KEEL_OK;
        if (!out->conversation) return keel_nomem(err, out->where);
        KEEL_TRY(read(reader, arena, object, out->where, out->conversation, &shown, err));
        reader->counts[KEEL__TREE_EMPTY] += !shown;
    }
    return KEEL_OK;
}
