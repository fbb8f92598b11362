#include "policies/transformer/onnx.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "policies/transformer/bert_internal.h"
#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/onnx_graph.h"

/* Values that are used in many places. */
typedef struct drawing {
    const keel_bert *bert;
    keel_onnx_graph *graph;
    keel_onnx_value ids, mask, types; /* inputs [texts, tokens] */
    keel_onnx_value sizes;            /* [2]: texts, tokens */
    keel_onnx_value floats;           /* the mask in floats */
    keel_onnx_value unseen;           /* [texts, 1, 1, tokens]: 0, or what softmax makes 0 of */
    keel_onnx_value rows;             /* [2]: the shape of [texts x tokens, hidden] */
} drawing;

typedef keel_onnx_value value;
static const keel_onnx_attribute none = {.name = NULL};

static value one(drawing *d, const char *op, const char *name, value a) {
    return keel_onnx_make(d->graph, op, name, (const value[3]){a}, none);
}

static value two(drawing *d, const char *op, const char *name, value a, value b) {
    return keel_onnx_make(d->graph, op, name, (const value[3]){a, b}, none);
}

static value constant(drawing *d, size_t row, const char *name) {
    const keel_matrix matrix = keel_bert_matrix(d->bert, row);
    return keel_onnx_floats(d->graph, name, matrix.data, keel_bert_is_matrix(row) ? matrix.rows : 0,
                            matrix.cols);
}

/* x of the sizes of texts and tokens with more behind them. */
static value reshape(drawing *d, value x, const char *name, const char *shape_name, const int64_t *more,
                     size_t n) {
    char parts[64];
    snprintf(parts, sizeof parts, "%s_rest", shape_name);
    const value rest = keel_onnx_wholes(d->graph, parts, more, n);
    const value shape = keel_onnx_make(d->graph, "Concat", shape_name, (const value[3]){d->sizes, rest},
                                       (keel_onnx_attribute){.name = "axis"});
    return two(d, "Reshape", name, x, shape);
}

/* The gain is at the row, the bias at the next. */
static value norm(drawing *d, value x, size_t gain, const char *name) {
    char names[2][64];
    snprintf(names[0], sizeof names[0], "%s.weight", name);
    snprintf(names[1], sizeof names[1], "%s.bias", name);
    const value weight = constant(d, gain, names[0]), bias = constant(d, gain + 1, names[1]);
    return keel_onnx_make(
        d->graph, "LayerNormalization", name, (const value[3]){x, weight, bias},
        (keel_onnx_attribute){.name = "epsilon", .is_real = true, .real = (float)d->bert->config.epsilon});
}

/* x [rows, in] w^T + bias; w lies as [out, in]. */
static value linear(drawing *d, value x, size_t row, const char *name) {
    char names[2][64];
    snprintf(names[0], sizeof names[0], "%s.weight", name);
    snprintf(names[1], sizeof names[1], "%s.bias", name);
    const value weight = constant(d, row, names[0]), bias = constant(d, row + 1, names[1]);
    return keel_onnx_make(d->graph, "Gemm", name, (const value[3]){x, weight, bias},
                          (keel_onnx_attribute){.name = "transB", .whole = 1});
}

static value transpose(drawing *d, value x, const char *name, const int64_t *order, size_t n) {
    keel_onnx_attribute attribute = {.name = "perm", .n = n};
    for (size_t i = 0; i < n; i++) attribute.list[i] = order[i];
    return keel_onnx_make(d->graph, "Transpose", name, (const value[3]){x}, attribute);
}

/* ---- before the layers ---- */

static void draw_inputs(drawing *d) {
    const keel_onnx_dimension dims[2] = {{.name = "texts"}, {.name = "tokens"}};
    d->ids = keel_onnx_input(d->graph, "input_ids", dims, 2);
    d->mask = keel_onnx_input(d->graph, "attention_mask", dims, 2);
    d->types = keel_onnx_input(d->graph, "token_type_ids", dims, 2);
    d->sizes = one(d, "Shape", "sizes", d->ids);
    d->rows = keel_onnx_wholes(d->graph, "rows", (const int64_t[]){-1, (int64_t)d->bert->config.hidden}, 2);
}

/* (mask - 1) times the largest float: added to a score it leaves nothing of its e^x. */
static void draw_mask(drawing *d) {
    enum { TYPE_FLOAT = 1 }; /* of TensorProto.DataType */
    d->floats = keel_onnx_make(d->graph, "Cast", "mask", (const value[3]){d->mask},
                               (keel_onnx_attribute){.name = "to", .whole = TYPE_FLOAT});
    const value missing = two(d, "Sub", "mask_minus_1", d->floats, keel_onnx_scalar(d->graph, "1", 1)),
                far = two(d, "Mul", "mask_far", missing, keel_onnx_scalar(d->graph, "largest", FLT_MAX));
    d->unseen = two(d, "Unsqueeze", "unseen", far,
                    keel_onnx_wholes(d->graph, "heads_and_queries", (const int64_t[]){1, 2}, 2));
}

/* [texts x tokens, hidden] */
static value draw_tables(drawing *d) {
    const value word = two(d, "Gather", "words", constant(d, KEEL_BERT_WORD, "word_embeddings"), d->ids),
                type =
                    two(d, "Gather", "types", constant(d, KEEL_BERT_TYPE, "token_type_embeddings"), d->types),
                zero = keel_onnx_wholes(d->graph, "first", (const int64_t[]){0}, 1),
                tokens = two(d, "Gather", "tokens", d->sizes,
                             keel_onnx_wholes(d->graph, "second", (const int64_t[]){1}, 1)),
                table = constant(d, KEEL_BERT_POSITION, "position_embeddings"),
                place = keel_onnx_make(d->graph, "Slice", "positions", (const value[3]){table, zero, tokens},
                                       none),
                both = two(d, "Add", "words_and_types", word, type),
                all = two(d, "Add", "embeddings", both, place),
                x = norm(d, all, KEEL_BERT_GAIN, "embeddings.LayerNorm");
    return two(d, "Reshape", "x", x, d->rows);
}

/* ---- a layer ---- */

/* One of queries, keys, values: [texts, heads, tokens, head_dim], of [3, texts, heads, tokens, head_dim]. */
static value part(drawing *d, value three, const char *name, const char *place, int64_t which) {
    return two(d, "Gather", name, three, keel_onnx_whole(d->graph, place, which));
}

static value draw_attention(drawing *d, size_t layer, value x) {
    const size_t row = keel__bert_row(layer, KEEL_BERT_QKV), dim = keel_bert_head_dim(&d->bert->config),
                 width = keel_bert_matrix(d->bert, row).rows / 3;
    const value qkv = linear(d, x, row, "attention.self"),
                apart = reshape(d, qkv, "attention.heads", "attention.shape",
                                (const int64_t[]){3, (int64_t)(width / dim), (int64_t)dim}, 3),
                three = transpose(d, apart, "attention.three", (const int64_t[]){2, 0, 3, 1, 4}, 5),
                q = part(d, three, "attention.query", "0", 0), k = part(d, three, "attention.key", "1", 1),
                v = part(d, three, "attention.value", "2", 2),
                turned = transpose(d, k, "attention.key_turned", (const int64_t[]){0, 1, 3, 2}, 4),
                products = two(d, "MatMul", "attention.products", q, turned),
                factor = keel_onnx_scalar(d->graph, "attention.factor", (float)(1 / sqrt((double)dim))),
                scores = two(d, "Mul", "attention.scores", products, factor),
                masked = two(d, "Add", "attention.masked", scores, d->unseen),
                shares = keel_onnx_make(d->graph, "Softmax", "attention.shares", (const value[3]){masked},
                                        (keel_onnx_attribute){.name = "axis", .whole = -1}),
                seen = two(d, "MatMul", "attention.seen", shares, v),
                together = transpose(d, seen, "attention.together", (const int64_t[]){0, 2, 1, 3}, 4),
                flat = two(
                    d, "Reshape", "attention.flat", together,
                    keel_onnx_wholes(d->graph, "attention.rows", (const int64_t[]){-1, (int64_t)width}, 2));
    return linear(d, flat, keel__bert_row(layer, KEEL_BERT_OUT), "attention.output");
}

/* x (1 + erf(x / sqrt 2)) / 2, in the order in which others know it again. */
static value draw_gelu(drawing *d, value x) {
    const value root = keel_onnx_scalar(d->graph, "gelu.root", (float)sqrt(2)),
                unit = keel_onnx_scalar(d->graph, "gelu.1", 1),
                half = keel_onnx_scalar(d->graph, "gelu.half", 0.5f),
                erf_of = one(d, "Erf", "gelu.erf", two(d, "Div", "gelu.scaled", x, root)),
                raised = two(d, "Add", "gelu.raised", erf_of, unit),
                twice = two(d, "Mul", "gelu.twice", x, raised);
    return two(d, "Mul", "gelu", twice, half);
}

static value draw_layer(drawing *d, size_t layer, value x) {
    char scope[64];
    snprintf(scope, sizeof scope, "layer.%zu.", layer);
    keel_onnx_scope(d->graph, scope);
    const value seen = draw_attention(d, layer, x), a = two(d, "Add", "attention.sum", x, seen),
                normed = norm(d, a, keel__bert_row(layer, KEEL_BERT_GAIN_1), "attention.LayerNorm"),
                up = linear(d, normed, keel__bert_row(layer, KEEL_BERT_UP), "up"),
                down = linear(d, draw_gelu(d, up), keel__bert_row(layer, KEEL_BERT_DOWN), "down"),
                b = two(d, "Add", "sum", normed, down);
    const value out = norm(d, b, keel__bert_row(layer, KEEL_BERT_GAIN_2), "LayerNorm");
    keel_onnx_scope(d->graph, "");
    return out;
}

/* ---- behind the layers ---- */

static value draw_mean(drawing *d, value x) {
    const value last = keel_onnx_wholes(d->graph, "behind", (const int64_t[]){-1}, 1),
                tokens = keel_onnx_wholes(d->graph, "over_tokens", (const int64_t[]){1}, 1),
                weights = two(d, "Unsqueeze", "weights", d->floats, last),
                weighted = two(d, "Mul", "weighted", x, weights),
                sum = keel_onnx_make(d->graph, "ReduceSum", "pooled.sum", (const value[3]){weighted, tokens},
                                     (keel_onnx_attribute){.name = "keepdims", .whole = 0}),
                counted = two(d, "ReduceSum", "pooled.tokens", d->floats, tokens),
                least = keel_onnx_scalar(d->graph, "pooled.least", 1e-9f);
    return two(d, "Div", "pooled.mean", sum, two(d, "Max", "pooled.count", counted, least));
}

static value draw_first(drawing *d, value x) {
    return keel_onnx_make(d->graph, "Gather", "pooled.first",
                          (const value[3]){x, keel_onnx_whole(d->graph, "first_token", 0)},
                          (keel_onnx_attribute){.name = "axis", .whole = 1});
}

static value normalise(drawing *d, value x) {
    const value length = keel_onnx_make(d->graph, "ReduceL2", "length", (const value[3]){x},
                                        (keel_onnx_attribute){.name = "axes", .list = {1}, .n = 1}),
                least = keel_onnx_scalar(d->graph, "length.least", 1e-12f);
    return two(d, "Div", "sentence_embedding", x, two(d, "Max", "length.limited", length, least));
}

static void draw_vector(drawing *d, value x) {
    const keel_bert_config *c = &d->bert->config;
    const keel_onnx_dimension dims[2] = {{.name = "texts"}, {.size = c->hidden}};
    const value all = reshape(d, x, "token_embeddings", "token_embeddings_shape",
                              (const int64_t[]){(int64_t)c->hidden}, 1),
                pooled = c->first_token ? draw_first(d, all) : draw_mean(d, all);
    keel_onnx_output(d->graph,
                     c->normalise ? normalise(d, pooled) : one(d, "Identity", "sentence_embedding", pooled),
                     dims, 2);
}

/* ---- all of it ---- */

static keel_status draw(const keel_bert *bert, keel_arena *arena, const char *path, keel_err *err) {
    drawing d = {.bert = bert, .graph = keel_onnx_begin("encoder", arena)};
    if (!d.graph) return keel_nomem(err, path);
    draw_inputs(&d);
    draw_mask(&d);
    value x = draw_tables(&d);
    for (size_t layer = 0; layer < bert->config.layers; layer++) x = draw_layer(&d, layer, x);
    draw_vector(&d, x);
    return keel_onnx_write(d.graph, path, err);
}

keel_status keel_onnx_save(const keel_bert *bert, const char *path, keel_err *err) {
    keel_arena arena = {0};
    if (bert->compressed || (bert->lora.rank && !bert->unmerged))
        return keel_fail(err, KEEL_E_USAGE, path,
                         "ONNX is written of matrices in F32, corrections merged: widen or merge them first");
    const keel_status status = draw(bert, &arena, path, err);
    keel_arena_free(&arena);
    return status;
}
