/* A small interpreter of ONNX graphs in double, by the words of the standard alone: the operators that Keel's
 * graphs are made of, over whole arrays in memory. */
#ifndef KEEL_TESTS_ONNX_RUN_H
#define KEEL_TESTS_ONNX_RUN_H

#include <math.h>

#include <onnx.pb-c.h>

enum { MOST_DIMS = 6, MOST_VALUES = 1000 };

typedef struct array {
    const char *name;
    size_t n, dim[MOST_DIMS], size;
    double *x; /* [size] */
} array;

typedef struct machine {
    keel_arena *arena;
    array value[MOST_VALUES];
    size_t n;
} machine;

static array make_array(machine *m, const char *name, size_t n, const size_t *dim) {
    array made = {.name = name, .n = n, .size = 1};
    assert_true(n <= MOST_DIMS);
    for (size_t i = 0; i < n; i++) made.size *= made.dim[i] = dim[i];
    made.x = keel_arena_calloc(m->arena, made.size + 1, sizeof *made.x);
    assert_non_null(made.x);
    return made;
}

static const array *find_array(const machine *m, const char *name) {
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->value[i].name, name) == 0) return &m->value[i];
    fail_msg("\"%s\" is used before it is there", name);
    return NULL;
}

static void keep_array(machine *m, array made) {
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->value[i].name, made.name) == 0) fail_msg("\"%s\" is there twice", made.name);
    assert_true(m->n < MOST_VALUES);
    m->value[m->n++] = made;
}

/* ---- attributes ---- */

static const Onnx__AttributeProto *attribute(const Onnx__NodeProto *node, const char *name) {
    for (size_t i = 0; i < node->n_attribute; i++)
        if (strcmp(node->attribute[i]->name, name) == 0) return node->attribute[i];
    return NULL;
}

static int64_t whole(const Onnx__NodeProto *node, const char *name, int64_t otherwise) {
    const Onnx__AttributeProto *found = attribute(node, name);
    return found ? found->i : otherwise;
}

static size_t axis_of(int64_t axis, size_t n) {
    return (size_t)(axis < 0 ? axis + (int64_t)n : axis);
}

/* Numbers before an axis, of it, and behind it. */
static void cut_at(const array *a, size_t axis, size_t *before, size_t *of, size_t *behind) {
    *before = *behind = 1;
    *of = a->dim[axis];
    for (size_t i = 0; i < axis; i++) *before *= a->dim[i];
    for (size_t i = axis + 1; i < a->n; i++) *behind *= a->dim[i];
}

/* ---- operators ---- */

static double combine(const char *op, double a, double b) {
    if (strcmp(op, "Add") == 0) return a + b;
    if (strcmp(op, "Sub") == 0) return a - b;
    if (strcmp(op, "Mul") == 0) return a * b;
    if (strcmp(op, "Div") == 0) return a / b;
    return fmax(a, b);
}

/* Place of element i of `to` in an array that is broadcast to it. */
static size_t broadcast(const array *from, const array *to, size_t i) {
    size_t at = 0, step = 1;
    for (size_t d = 0; d < to->n; d++) {
        const size_t dim = to->n - 1 - d, place = i % to->dim[dim];
        i /= to->dim[dim];
        if (d >= from->n) continue;
        const size_t own = from->dim[from->n - 1 - d];
        assert_true(own == 1 || own == to->dim[dim]);
        at += own == 1 ? 0 : place * step;
        step *= own;
    }
    return at;
}

static array elementwise(machine *m, const char *op, const array *a, const array *b) {
    size_t dim[MOST_DIMS];
    const size_t n = a->n > b->n ? a->n : b->n;
    for (size_t d = 0; d < n; d++) {
        const size_t left = d < a->n ? a->dim[a->n - 1 - d] : 1, right = d < b->n ? b->dim[b->n - 1 - d] : 1;
        dim[n - 1 - d] = left > right ? left : right;
    }
    array y = make_array(m, NULL, n, dim);
    for (size_t i = 0; i < y.size; i++)
        y.x[i] = combine(op, a->x[broadcast(a, &y, i)], b->x[broadcast(b, &y, i)]);
    return y;
}

static array gather(machine *m, const array *a, const array *index, size_t axis) {
    size_t dim[MOST_DIMS], n = 0, before, of, behind;
    for (size_t i = 0; i < axis; i++) dim[n++] = a->dim[i];
    for (size_t i = 0; i < index->n; i++) dim[n++] = index->dim[i];
    for (size_t i = axis + 1; i < a->n; i++) dim[n++] = a->dim[i];
    array y = make_array(m, NULL, n, dim);
    cut_at(a, axis, &before, &of, &behind);
    for (size_t i = 0; i < before * index->size; i++) {
        const double at = index->x[i % index->size];
        assert_true(at >= 0 && at < (double)of);
        memcpy(y.x + i * behind, a->x + (i / index->size * of + (size_t)at) * behind, behind * sizeof *y.x);
    }
    return y;
}

static array reshape(machine *m, const array *a, const array *shape) {
    size_t dim[MOST_DIMS], known = 1, open = MOST_DIMS;
    for (size_t i = 0; i < shape->size; i++) {
        if (shape->x[i] < 0) open = i;
        dim[i] = shape->x[i] < 0 ? 1 : (size_t)shape->x[i];
        known *= dim[i];
    }
    if (open < MOST_DIMS) dim[open] = a->size / known;
    array y = make_array(m, NULL, shape->size, dim);
    assert_int_equal(y.size, a->size);
    memcpy(y.x, a->x, a->size * sizeof *y.x);
    return y;
}

static array transpose(machine *m, const array *a, const Onnx__AttributeProto *order) {
    size_t dim[MOST_DIMS], step[MOST_DIMS], all = 1;
    for (size_t i = a->n; i-- > 0; all *= a->dim[i]) step[i] = all;
    assert_int_equal(order->n_ints, a->n);
    for (size_t i = 0; i < a->n; i++) dim[i] = a->dim[order->ints[i]];
    array y = make_array(m, NULL, a->n, dim);
    for (size_t i = 0; i < y.size; i++) {
        size_t rest = i, at = 0;
        for (size_t d = a->n; d-- > 0; rest /= dim[d]) at += rest % dim[d] * step[order->ints[d]];
        y.x[i] = a->x[at];
    }
    return y;
}

/* The last two dimensions; those before them are alike. */
static array multiply(machine *m, const array *a, const array *b, bool turned, const array *bias) {
    const size_t rows = a->dim[a->n - 2], in = a->dim[a->n - 1], out = b->dim[b->n - (turned ? 2 : 1)],
                 times = a->size / (rows * in);
    size_t dim[MOST_DIMS];
    memcpy(dim, a->dim, sizeof dim);
    dim[a->n - 1] = out;
    assert_int_equal(b->size, times * in * out);
    array y = make_array(m, NULL, a->n, dim);
    for (size_t i = 0; i < y.size; i++) {
        const size_t t = i / (rows * out), row = i / out, o = i % out;
        double sum = bias ? bias->x[o] : 0;
        for (size_t k = 0; k < in; k++)
            sum += a->x[row * in + k] * b->x[t * in * out + (turned ? o * in + k : k * out + o)];
        y.x[i] = sum;
    }
    return y;
}

static array copy_of(machine *m, const array *a) {
    array y = make_array(m, NULL, a->n, a->dim);
    memcpy(y.x, a->x, a->size * sizeof *y.x);
    return y;
}

static array layer_norm(machine *m, const array *a, const array *gain, const array *bias, double epsilon) {
    const size_t width = a->dim[a->n - 1];
    array y = copy_of(m, a);
    for (size_t r = 0; r < a->size / width; r++) {
        double *x = y.x + r * width, mean = 0, square = 0;
        for (size_t i = 0; i < width; i++) mean += x[i] / (double)width;
        for (size_t i = 0; i < width; i++) square += (x[i] - mean) * (x[i] - mean) / (double)width;
        for (size_t i = 0; i < width; i++)
            x[i] = (x[i] - mean) / sqrt(square + epsilon) * gain->x[i] + bias->x[i];
    }
    return y;
}

static array softmax(machine *m, const array *a) {
    const size_t width = a->dim[a->n - 1];
    array y = copy_of(m, a);
    for (size_t r = 0; r < a->size / width; r++) {
        double *x = y.x + r * width, most = -INFINITY, sum = 0;
        for (size_t i = 0; i < width; i++) most = fmax(most, x[i]);
        for (size_t i = 0; i < width; i++) sum += x[i] = exp(x[i] - most);
        for (size_t i = 0; i < width; i++) x[i] /= sum;
    }
    return y;
}

static array reduce(machine *m, const array *a, size_t axis, bool keeps, bool squares) {
    size_t dim[MOST_DIMS], n = 0, before, of, behind;
    for (size_t i = 0; i < a->n; i++)
        if (i != axis || keeps) dim[n++] = i == axis ? 1 : a->dim[i];
    array y = make_array(m, NULL, n, dim);
    cut_at(a, axis, &before, &of, &behind);
    for (size_t i = 0; i < a->size; i++) {
        double *to = &y.x[i / (of * behind) * behind + i % behind];
        *to += squares ? a->x[i] * a->x[i] : a->x[i];
    }
    for (size_t i = 0; squares && i < y.size; i++) y.x[i] = sqrt(y.x[i]);
    return y;
}

static array unsqueeze(machine *m, const array *a, const array *axes) {
    size_t dim[MOST_DIMS], from = 0;
    const size_t n = a->n + axes->size;
    for (size_t i = 0; i < n; i++) {
        bool added = false;
        for (size_t k = 0; k < axes->size; k++) added |= axis_of((int64_t)axes->x[k], n) == i;
        dim[i] = added ? 1 : a->dim[from++];
    }
    array y = make_array(m, NULL, n, dim);
    memcpy(y.x, a->x, a->size * sizeof *y.x);
    return y;
}

/* Of vectors along their only dimension; of a table along the first. */
static array cut_or_join(machine *m, bool joins, const array *a, const array *b, const array *end) {
    size_t dim[MOST_DIMS];
    memcpy(dim, a->dim, sizeof dim);
    dim[0] = joins ? a->size + b->size : (size_t)end->x[0] - (size_t)b->x[0];
    assert_true(joins || (end->x[0] <= (double)a->dim[0] && b->x[0] == 0));
    array y = make_array(m, NULL, a->n, dim);
    memcpy(y.x, a->x, (joins ? a->size : y.size) * sizeof *y.x);
    if (joins) memcpy(y.x + a->size, b->x, b->size * sizeof *y.x);
    return y;
}

static array run_node(machine *m, const Onnx__NodeProto *node) {
    const array *in[3] = {NULL, NULL, NULL};
    const char *op = node->op_type;
    for (size_t i = 0; i < node->n_input && i < 3; i++) in[i] = find_array(m, node->input[i]);
    const array *a = in[0], *b = in[1], *c = in[2];
    if (strcmp(op, "Identity") == 0 || strcmp(op, "Cast") == 0) return copy_of(m, a);
    if (strcmp(op, "Gather") == 0) return gather(m, a, b, axis_of(whole(node, "axis", 0), a->n));
    if (strcmp(op, "Reshape") == 0) return reshape(m, a, b);
    if (strcmp(op, "Transpose") == 0) return transpose(m, a, attribute(node, "perm"));
    if (strcmp(op, "MatMul") == 0) return multiply(m, a, b, false, NULL);
    if (strcmp(op, "Gemm") == 0) return multiply(m, a, b, whole(node, "transB", 0) != 0, c);
    if (strcmp(op, "LayerNormalization") == 0)
        return layer_norm(m, a, b, c, (double)attribute(node, "epsilon")->f);
    if (strcmp(op, "Softmax") == 0) return softmax(m, a);
    if (strcmp(op, "Unsqueeze") == 0) return unsqueeze(m, a, b);
    if (strcmp(op, "Slice") == 0 || strcmp(op, "Concat") == 0)
        return cut_or_join(m, strcmp(op, "Concat") == 0, a, b, c);
    if (strcmp(op, "ReduceSum") == 0)
        return reduce(m, a, axis_of((int64_t)b->x[0], a->n), whole(node, "keepdims", 1) != 0, false);
    if (strcmp(op, "ReduceL2") == 0)
        return reduce(m, a, axis_of(attribute(node, "axes")->ints[0], a->n), whole(node, "keepdims", 1) != 0,
                      true);
    if (strcmp(op, "Shape") == 0) {
        array y = make_array(m, NULL, 1, &a->n);
        for (size_t i = 0; i < a->n; i++) y.x[i] = (double)a->dim[i];
        return y;
    }
    if (strcmp(op, "Erf") == 0) {
        array y = copy_of(m, a);
        for (size_t i = 0; i < y.size; i++) y.x[i] = erf(y.x[i]);
        return y;
    }
    if (strcmp(op, "Add") && strcmp(op, "Sub") && strcmp(op, "Mul") && strcmp(op, "Div") && strcmp(op, "Max"))
        fail_msg("operator %s is not known here", op);
    return elementwise(m, op, a, b);
}

/* ---- a graph ---- */

static void take_constants(machine *m, const Onnx__GraphProto *graph) {
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const Onnx__TensorProto *from = graph->initializer[i];
        size_t dim[MOST_DIMS] = {0};
        const bool floats = from->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
        assert_true(floats || from->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT64);
        for (size_t d = 0; d < from->n_dims; d++) dim[d] = (size_t)from->dims[d];
        array made = make_array(m, from->name, from->n_dims, dim);
        assert_int_equal(from->raw_data.len, made.size * (floats ? sizeof(float) : sizeof(int64_t)));
        for (size_t k = 0; k < made.size; k++) {
            float real;
            int64_t number;
            if (floats)
                memcpy(&real, from->raw_data.data + k * sizeof real, sizeof real), made.x[k] = (double)real;
            else
                memcpy(&number, from->raw_data.data + k * sizeof number, sizeof number),
                    made.x[k] = (double)number;
        }
        keep_array(m, made);
    }
}

/* Inputs are kept before. */
static const array *run_graph(machine *m, const Onnx__GraphProto *graph) {
    take_constants(m, graph);
    for (size_t i = 0; i < graph->n_node; i++) {
        array made = run_node(m, graph->node[i]);
        made.name = graph->node[i]->output[0];
        keep_array(m, made);
    }
    return find_array(m, graph->output[0]->name);
}

#endif
