/* Internal header of the chat templates: the tokens of a template and its tree. */
#ifndef KEEL_POLICIES_TOKENS_JINJA_AST_H
#define KEEL_POLICIES_TOKENS_JINJA_AST_H

#include "policies/tokens/jinja.h"

typedef enum keel__jinja_token_kind {
    JINJA_T_END,
    JINJA_T_DATA, /* text outside of marks */
    JINJA_T_PRINT_BEGIN,
    JINJA_T_PRINT_END,
    JINJA_T_BLOCK_BEGIN,
    JINJA_T_BLOCK_END,
    JINJA_T_NAME,
    JINJA_T_VALUE, /* a number or a string */
    JINJA_T_OPERATOR
} keel__jinja_token_kind;

typedef struct keel__jinja_token {
    keel__jinja_token_kind kind;
    int line;
    const char *text; /* into the source */
    size_t length;
    keel__jinja_value value;
} keel__jinja_token;

/* All tokens, the last of kind END, in the arena of the budget. */
keel_status keel__jinja_lex(keel__jinja_budget *on, const char *source, keel__jinja_token **out);
/* Whether the token's text is this one. */
bool keel__jinja_token_is(const keel__jinja_token *token, const char *text);

typedef enum keel__jinja_node_kind {
    /* statements, linked by next */
    JINJA_DATA,         /* value */
    JINJA_PRINT,        /* first */
    JINJA_IF,           /* first, body, other */
    JINJA_FOR,          /* target second in first, if third: body; other: where there was none */
    JINJA_SET,          /* second = first */
    JINJA_SET_BLOCK,    /* second = body through the filters first */
    JINJA_FILTER_BLOCK, /* body through the filters first */
    JINJA_MACRO,        /* value(second: list of PARAMETER) body */
    JINJA_GENERATION,   /* body */
    JINJA_BREAK,
    JINJA_CONTINUE,
    /* expressions; lists of them are linked by next */
    JINJA_CONSTANT,  /* value */
    JINJA_NAME,      /* value: the name */
    JINJA_MAKE_LIST, /* second: list */
    JINJA_MAKE_TUPLE,
    JINJA_MAKE_DICT, /* second: key, value, key, value ... */
    JINJA_ATTRIBUTE, /* first.value */
    JINJA_ITEM,      /* first[second] */
    JINJA_SLICE,     /* first[second:third:body], any of them NULL */
    JINJA_CALL,      /* first(second: arguments) */
    JINJA_FILTER,    /* first | value(second); first NULL: the block's text */
    JINJA_TEST,      /* first is value(second) */
    JINJA_UNARY,     /* op first */
    JINJA_BINARY,    /* first op second */
    JINJA_COMPARE,   /* first op second, second op third...: second: list of OPERAND */
    JINJA_OPERAND,   /* op first */
    JINJA_AND,
    JINJA_OR,
    JINJA_NOT,
    JINJA_CONDITION, /* first ? second : third */
    JINJA_KEYWORD,   /* value = first */
    JINJA_PARAMETER  /* value = first, or NULL */
} keel__jinja_node_kind;

typedef enum keel__jinja_operator {
    JINJA_ADD,
    JINJA_SUBTRACT,
    JINJA_MULTIPLY,
    JINJA_DIVIDE,
    JINJA_FLOOR_DIVIDE,
    JINJA_MODULO,
    JINJA_POWER,
    JINJA_CONCATENATE,
    JINJA_EQUAL,
    JINJA_NOT_EQUAL,
    JINJA_LESS,
    JINJA_LESS_EQUAL,
    JINJA_GREATER,
    JINJA_GREATER_EQUAL,
    JINJA_IN,
    JINJA_NOT_IN
} keel__jinja_operator;

struct keel__jinja_node {
    keel__jinja_node_kind kind;
    keel__jinja_operator op;
    int line;
    keel__jinja_value value;
    keel__jinja_node *first, *second, *third, *body, *other, *next;
};

#endif
