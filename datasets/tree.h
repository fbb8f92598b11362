/* Logs that are trees: messages with ids and parents, where a message may have been answered more than once.
 * The conversation is the path from a root to one message; the other replies of the assistant at a point of
 * that path are candidates of its decision. Everything lies in the arena. Not for other folders. */
#ifndef KEEL_DATASETS_TREE_H
#define KEEL_DATASETS_TREE_H

#include <stdint.h>

#include "datasets/reader_internal.h"
#include "datasets/value.h"

enum { KEEL__TREE_NONE = -1, KEEL__TREE_DEEPEST = 10000, KEEL__TREE_WIDEST = KEEL__MOST_ANSWERS };

typedef struct keel__tree_node {
    const char *id, *parent_id; /* parent_id NULL: a root */
    cJSON *message;             /* in the chat format; NULL: hidden, its replies are replies to its parent */
    bool assistant;             /* the message is the assistant's */
    double rank; /* among replies to one message, the lowest is the best; INFINITY: not to be followed */
    int64_t parent, child, last_child, sibling; /* KEEL__TREE_NONE: there is none */
} keel__tree_node;

typedef struct keel__tree {
    keel_arena *arena;
    const char *where; /* for errors */
    keel__tree_node *nodes;
    size_t count, capacity;
    int64_t *index; /* [index_size] by hash of id */
    size_t index_size;
    int64_t *order; /* [count] after linking: every node behind its parent */
} keel__tree;

/* Adds a node; id must not be NULL. */
keel_status keel__tree_add(keel__tree *tree, const keel__tree_node *node, keel_err *err);
/* Joins the nodes to their parents, children in the order in which they were added. KEEL_E_INVALID names the
 * node: an id given twice, a parent that is not there, a circle, a path longer than KEEL__TREE_DEEPEST, more
 * replies to one message than KEEL__TREE_WIDEST. */
keel_status keel__tree_link(keel__tree *tree, keel_err *err);
/* The node of that id, or KEEL__TREE_NONE. After linking. */
int64_t keel__tree_find(const keel__tree *tree, const char *id);
/* From the node (KEEL__TREE_NONE: the last root) down, each time to the reply of the lowest rank, of those
 * the one that was added first. */
int64_t keel__tree_best_leaf(const keel__tree *tree, int64_t from);
/* The messages from the root to the leaf, as the array "messages" of the chat format, built in an arena.
 * *shown: adds how many messages it holds, candidates among them. */
keel_status keel__tree_messages(const keel__tree *tree, int64_t leaf, keel_arena *arena, cJSON **out,
                                int64_t *shown, keel_err *err);
int64_t keel__tree_shown(const keel__tree *tree); /* nodes with a message */

/* What the readers of trees count, in the order of their rows in formats.c. */
enum { KEEL__TREE_OTHER_BRANCHES, KEEL__TREE_EMPTY };

/* Reads one object of a log; *shown as above, 0 if nothing was said. */
typedef keel_status keel__tree_read(keel_reader *reader, keel_arena *arena, const cJSON *object,
                                    const char *where, keel_conversation *out, int64_t *shown, keel_err *err);
/* The next conversation of a log that has one object for each. Those in which nothing was said are passed
 * over, and counted. */
keel_status keel__tree_next(keel_reader *reader, keel__objects *objects, keel__tree_read *read,
                            keel_arena *arena, keel_read *out, keel_err *err);

#endif
