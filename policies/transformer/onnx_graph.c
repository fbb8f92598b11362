#include "policies/transformer/onnx_graph.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <onnx.pb-c.h>

#include "core/file.h"

enum { IR = ONNX__VERSION__IR_VERSION, OPERATORS = 17 };

struct keel_onnx_graph {
    Onnx__GraphProto proto;
    size_t nodes, constants, inputs, outputs; /* room for so many */
    const char *scope;
    keel_arena *arena;
    bool failed;
};

/* A message in the arena, as its init function makes it. */
#define MAKE(graph, to, type, init)                                                                          \
    do {                                                                                                     \
        (to) = keel_arena_alloc((graph)->arena, sizeof *(to));                                               \
        if (to) *(to) = (type)init;                                                                          \
    } while (0)

keel_onnx_graph *keel_onnx_begin(const char *name, keel_arena *arena) {
    keel_onnx_graph *graph = keel_arena_calloc(arena, 1, sizeof *graph);
    if (!graph) return NULL;
    graph->proto = (Onnx__GraphProto)ONNX__GRAPH_PROTO__INIT;
    graph->arena = arena;
    graph->scope = "";
    graph->proto.name = keel_arena_strdup(arena, name);
    graph->failed = !graph->proto.name;
    return graph;
}

void keel_onnx_scope(keel_onnx_graph *graph, const char *prefix) {
    graph->scope = prefix;
}

/* ---- memory ---- */

static char *fail(keel_onnx_graph *graph) {
    graph->failed = true;
    return NULL;
}

static char *name_of(keel_onnx_graph *graph, const char *name) {
    const size_t size = strlen(graph->scope) + strlen(name) + 1;
    char *whole = keel_arena_alloc(graph->arena, size);
    if (!whole) return fail(graph);
    snprintf(whole, size, "%s%s", graph->scope, name);
    return whole;
}

static int64_t *list_of(keel_onnx_graph *graph, const int64_t *from, size_t n) {
    int64_t *list = keel_arena_alloc(graph->arena, (n + 1) * sizeof *list);
    if (list && n) memcpy(list, from, n * sizeof *list);
    return list;
}

/* ---- inputs, outputs ---- */

static Onnx__TensorShapeProto *make_shape(keel_onnx_graph *graph, const keel_onnx_dimension *dims, size_t n) {
    Onnx__TensorShapeProto *shape;
    MAKE(graph, shape, Onnx__TensorShapeProto, ONNX__TENSOR_SHAPE_PROTO__INIT);
    if (!shape) return NULL;
    shape->dim = keel_arena_calloc(graph->arena, n, sizeof *shape->dim);
    for (; shape->dim && shape->n_dim < n; shape->n_dim++) {
        Onnx__TensorShapeProto__Dimension *dim;
        const keel_onnx_dimension *from = &dims[shape->n_dim];
        MAKE(graph, dim, Onnx__TensorShapeProto__Dimension, ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT);
        if (!dim) return NULL;
        if (from->name) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim->dim_param = (char *)(uintptr_t)from->name;
        } else {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = (int64_t)from->size;
        }
        shape->dim[shape->n_dim] = dim;
    }
    return shape->dim ? shape : NULL;
}

static Onnx__ValueInfoProto *make_value(keel_onnx_graph *graph, char *name, int32_t type,
                                        const keel_onnx_dimension *dims, size_t n) {
    Onnx__ValueInfoProto *value;
    Onnx__TypeProto *any;
    Onnx__TypeProto__Tensor *tensor;
    MAKE(graph, value, Onnx__ValueInfoProto, ONNX__VALUE_INFO_PROTO__INIT);
    MAKE(graph, any, Onnx__TypeProto, ONNX__TYPE_PROTO__INIT);
    MAKE(graph, tensor, Onnx__TypeProto__Tensor, ONNX__TYPE_PROTO__TENSOR__INIT);
    Onnx__TensorShapeProto *shape = make_shape(graph, dims, n);
    if (!value || !any || !tensor || !shape || !name) return NULL;
    tensor->has_elem_type = true;
    tensor->elem_type = type;
    tensor->shape = shape;
    any->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    any->tensor_type = tensor;
    value->name = name;
    value->type = any;
    return value;
}

keel_onnx_value keel_onnx_input(keel_onnx_graph *graph, const char *name, const keel_onnx_dimension *dims,
                                size_t n_dims) {
    char *whole = name_of(graph, name);
    Onnx__ValueInfoProto *value =
        make_value(graph, whole, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, dims, n_dims);
    if (!value || !keel_arena_grow(graph->arena, &graph->proto.input, graph->proto.n_input, &graph->inputs,
                                   sizeof(void *)))
        return fail(graph);
    graph->proto.input[graph->proto.n_input++] = value;
    return whole;
}

void keel_onnx_output(keel_onnx_graph *graph, keel_onnx_value value, const keel_onnx_dimension *dims,
                      size_t n_dims) {
    Onnx__ValueInfoProto *made =
        make_value(graph, (char *)(uintptr_t)value, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, dims, n_dims);
    if (!made || !keel_arena_grow(graph->arena, &graph->proto.output, graph->proto.n_output, &graph->outputs,
                                  sizeof(void *))) {
        fail(graph);
        return;
    }
    graph->proto.output[graph->proto.n_output++] = made;
}

/* ---- constants: numbers little-endian, as they lie in memory ---- */

static keel_onnx_value add_constant(keel_onnx_graph *graph, const char *name, int32_t type, const void *data,
                                    size_t bytes, const int64_t *dims, size_t n_dims) {
    Onnx__TensorProto *tensor;
    MAKE(graph, tensor, Onnx__TensorProto, ONNX__TENSOR_PROTO__INIT);
    char *whole = name_of(graph, name);
    int64_t *shape = list_of(graph, dims, n_dims);
    if (!tensor || !whole || !shape || !data ||
        !keel_arena_grow(graph->arena, &graph->proto.initializer, graph->proto.n_initializer,
                         &graph->constants, sizeof(void *)))
        return fail(graph);
    tensor->name = whole;
    tensor->n_dims = n_dims;
    tensor->dims = shape;
    tensor->has_data_type = tensor->has_raw_data = true;
    tensor->data_type = type;
    tensor->raw_data = (ProtobufCBinaryData){bytes, (uint8_t *)(uintptr_t)data};
    graph->proto.initializer[graph->proto.n_initializer++] = tensor;
    return whole;
}

keel_onnx_value keel_onnx_floats(keel_onnx_graph *graph, const char *name, const float *data, size_t rows,
                                 size_t cols) {
    const int64_t dims[2] = {rows ? (int64_t)rows : (int64_t)cols, (int64_t)cols};
    return add_constant(graph, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, data,
                        (rows ? rows : 1) * cols * sizeof *data, dims, rows ? 2 : 1);
}

keel_onnx_value keel_onnx_scalar(keel_onnx_graph *graph, const char *name, float x) {
    float *kept = keel_arena_alloc(graph->arena, sizeof *kept);
    if (kept) *kept = x;
    return add_constant(graph, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, kept, sizeof x, NULL, 0);
}

keel_onnx_value keel_onnx_wholes(keel_onnx_graph *graph, const char *name, const int64_t *x, size_t n) {
    const int64_t size = (int64_t)n;
    return add_constant(graph, name, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, list_of(graph, x, n),
                        n * sizeof *x, &size, 1);
}

keel_onnx_value keel_onnx_whole(keel_onnx_graph *graph, const char *name, int64_t x) {
    return add_constant(graph, name, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, list_of(graph, &x, 1), sizeof x,
                        NULL, 0);
}

/* ---- operators ---- */

static Onnx__AttributeProto *make_attribute(keel_onnx_graph *graph, const keel_onnx_attribute *from) {
    Onnx__AttributeProto *made;
    MAKE(graph, made, Onnx__AttributeProto, ONNX__ATTRIBUTE_PROTO__INIT);
    if (!made) return NULL;
    made->name = (char *)(uintptr_t)from->name;
    made->has_type = true;
    made->type = from->n         ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS
                 : from->is_real ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT
                                 : ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    made->n_ints = from->n;
    made->ints = list_of(graph, from->list, from->n);
    made->has_f = from->n == 0 && from->is_real;
    made->f = from->real;
    made->has_i = from->n == 0 && !from->is_real;
    made->i = from->whole;
    return made->ints ? made : NULL;
}

static bool fill_node(keel_onnx_graph *graph, Onnx__NodeProto *node, const keel_onnx_value in[3],
                      const keel_onnx_attribute *attribute) {
    node->input = keel_arena_calloc(graph->arena, 3, sizeof *node->input);
    node->output = keel_arena_calloc(graph->arena, 1, sizeof *node->output);
    node->attribute = keel_arena_calloc(graph->arena, 1, sizeof(void *));
    if (!node->input || !node->output || !node->attribute) return false;
    while (node->n_input < 3 && in[node->n_input]) {
        node->input[node->n_input] = (char *)(uintptr_t)in[node->n_input];
        node->n_input++;
    }
    node->n_output = 1;
    node->output[0] = node->name;
    if (!attribute->name) return true;
    node->attribute[0] = make_attribute(graph, attribute);
    node->n_attribute = 1;
    return node->attribute[0] != NULL;
}

keel_onnx_value keel_onnx_make(keel_onnx_graph *graph, const char *op, const char *name,
                               const keel_onnx_value in[3], keel_onnx_attribute attribute) {
    Onnx__NodeProto *node;
    MAKE(graph, node, Onnx__NodeProto, ONNX__NODE_PROTO__INIT);
    if (!node) return fail(graph);
    node->name = name_of(graph, name);
    node->op_type = (char *)(uintptr_t)op;
    if (!node->name || !in[0] || !fill_node(graph, node, in, &attribute) ||
        !keel_arena_grow(graph->arena, &graph->proto.node, graph->proto.n_node, &graph->nodes,
                         sizeof(void *)))
        return fail(graph);
    graph->proto.node[graph->proto.n_node++] = node;
    return node->name;
}

/* ---- the file ---- */

static keel_status pack(const Onnx__ModelProto *model, const char *path, keel_err *err) {
    const size_t size = onnx__model_proto__get_packed_size(model);
    if (size > INT_MAX) {
        keel_fail(err, KEEL_E_UNSUPPORTED, path, "the model has %zu bytes, and a file of ONNX at most %d",
                  size, INT_MAX);
        return keel_hint(err, "Keel does not write weights beside the file");
    }
    uint8_t *bytes = keel_alloc(size);
    if (!bytes) return keel_nomem(err, path);
    onnx__model_proto__pack(model, bytes);
    const keel_status status = keel_file_write(path, bytes, size, err);
    keel_free(bytes);
    return status;
}

keel_status keel_onnx_write(keel_onnx_graph *graph, const char *path, keel_err *err) {
    static char producer[] = "keel", standard[] = "";
    Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
    Onnx__OperatorSetIdProto operators = ONNX__OPERATOR_SET_ID_PROTO__INIT, *all = &operators;
    if (!graph || graph->failed) return keel_nomem(err, path);
    operators.domain = standard;
    operators.has_version = true;
    operators.version = OPERATORS;
    model.has_ir_version = true;
    model.ir_version = IR;
    model.producer_name = producer;
    model.n_opset_import = 1;
    model.opset_import = &all;
    model.graph = &graph->proto;
    return pack(&model, path, err);
}
