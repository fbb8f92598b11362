/* BERT encoders as ONNX, for onnxruntime and what else runs it. Built where libprotobuf-c, protoc-c and the
 * onnx.proto of Debian's libonnx-dev are. */
#ifndef KEEL_POLICIES_TRANSFORMER_ONNX_H
#define KEEL_POLICIES_TRANSFORMER_ONNX_H

#include "policies/transformer/bert.h"

/* Writes the encoder as a graph from tokens to vectors, pooling and normalisation inside:
 *
 *   input_ids, attention_mask, token_type_ids [texts, tokens] int64  ->  sentence_embedding [texts, hidden]
 *
 * with any number of texts and of tokens up to config.positions; the mask is 1 for tokens of a text and 0 for
 * what fills up behind them. Weights are F32; tokenizer and heads are not part of it. KEEL_E_USAGE while
 * matrices are compressed or corrections not merged, KEEL_E_UNSUPPORTED above 2 GB. */
keel_status keel_onnx_save(const keel_bert *bert, const char *path, keel_err *err);

#endif
