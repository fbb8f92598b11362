/* Graphs of ONNX (onnx.proto of Debian's libonnx-dev: IR version 8, operators of version 17), made value by
 * value and packed by protobuf-c. A value is called by its name. Where memory is missing values are NULL,
 * which every function takes, and keel_onnx_write says so. */
#ifndef KEEL_POLICIES_TRANSFORMER_ONNX_GRAPH_H
#define KEEL_POLICIES_TRANSFORMER_ONNX_GRAPH_H

#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"

typedef struct keel_onnx_graph keel_onnx_graph;
typedef const char *keel_onnx_value;

/* In the arena, which holds all that is made; NULL without memory. */
keel_onnx_graph *keel_onnx_begin(const char *name, keel_arena *arena);
/* What names of values start with from now on, "layer.3." say; borrowed. At first nothing. */
void keel_onnx_scope(keel_onnx_graph *graph, const char *prefix);

/* A dimension that may be anything has a name; else its size counts. */
typedef struct keel_onnx_dimension {
    const char *name;
    size_t size;
} keel_onnx_dimension;
/* An input of whole numbers of 64 bits, and an output of floats. */
keel_onnx_value keel_onnx_input(keel_onnx_graph *graph, const char *name, const keel_onnx_dimension *dims,
                                size_t n_dims);
void keel_onnx_output(keel_onnx_graph *graph, keel_onnx_value value, const keel_onnx_dimension *dims,
                      size_t n_dims);

/* Constants. Floats are borrowed until the graph is written: [rows, cols], a vector [cols] where rows is 0.
 */
keel_onnx_value keel_onnx_floats(keel_onnx_graph *graph, const char *name, const float *data, size_t rows,
                                 size_t cols);
keel_onnx_value keel_onnx_scalar(keel_onnx_graph *graph, const char *name, float x);
keel_onnx_value keel_onnx_wholes(keel_onnx_graph *graph, const char *name, const int64_t *x, size_t n);
keel_onnx_value keel_onnx_whole(keel_onnx_graph *graph, const char *name, int64_t x); /* a scalar */

/* An operator's attribute: a list where n is above 0; else a float where is_real; else a whole number. */
typedef struct keel_onnx_attribute {
    const char *name; /* NULL: the operator has none */
    int64_t whole;
    float real;
    bool is_real;
    int64_t list[5];
    size_t n;
} keel_onnx_attribute;

/* What an operator makes of one to three values; those after the last are NULL. */
keel_onnx_value keel_onnx_make(keel_onnx_graph *graph, const char *op, const char *name,
                               const keel_onnx_value in[3], keel_onnx_attribute attribute);

/* Writes the model; the file appears whole or not at all. KEEL_E_UNSUPPORTED above 2 GB, which is all that
 * protobuf holds. */
keel_status keel_onnx_write(keel_onnx_graph *graph, const char *path, keel_err *err);

#endif
