/* Internal header of the tokenizers: the components of a tokenizer.json, each kind (normalizer,
 * pre_tokenizer, post_processor, decoder) a table of types. A new type is one row; "Sequence" is every
 * table's. */
#ifndef KEEL_POLICIES_TOKENS_COMPONENT_H
#define KEEL_POLICIES_TOKENS_COMPONENT_H

#include <cjson/cJSON.h>

#include "core/json.h"
#include "core/memory.h"
#include "core/status.h"

/* What reading needs. */
typedef struct keel__reader {
    const char *name;                    /* of the file, for errors */
    keel_arena *arena;                   /* the tokenizer's: what is made lives there */
    struct keel__vocabulary *vocabulary; /* read already when post-processors are */
    struct keel__pattern **patterns;     /* all that are made, to be closed with the tokenizer */
    keel_err *err;
} keel__reader;

typedef struct keel__component_row {
    const char *type;
    keel_status (*read)(const keel__reader *r, const cJSON *json, void *to);
} keel__component_row;

typedef struct keel__component_kind {
    const char *name; /* "pre_tokenizer" */
    const char *list; /* key of a Sequence's parts: "pretokenizers" */
    const keel__component_row *row;
    size_t n;
} keel__component_kind;

/* Reads the component, or each of a Sequence in order, into `to`; json NULL or null: nothing. A type that is
 * not in the table is KEEL_E_UNSUPPORTED by name. */
keel_status keel__component_read(const keel__reader *r, const keel__component_kind *kind, const cJSON *json,
                                 void *to);
/* KEEL_E_UNSUPPORTED: "kind: "what": expected ...". */
keel_status keel__component_refuse(const keel__reader *r, const char *kind, const char *what,
                                   const char *expected);
/* A copy that lives as long as the tokenizer. KEEL_E_PARSE where it is missing. */
keel_status keel__component_text(const keel__reader *r, const cJSON *json, const char *key, const char **out);

/* Adds one, of `size` bytes, to a chain in the arena that holds *n: chain is the address of the pointer to
 * it. KEEL_E_UNSUPPORTED where it grows too long. */
keel_status keel__component_add(const keel__reader *r, void *chain, size_t *n, size_t size, const void *one);

#endif
