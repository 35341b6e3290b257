// Pieces that several fused ONNX ops are made of.
#pragma once

#include "models/onnx_node.h"

namespace bertie::models {

// Layer normalisation over the last axis; `beta` may be kNone.
ValueId layer_norm(OnnxNode& node, ValueId x, ValueId gamma, ValueId beta, double epsilon);
// x / sqrt(mean(x^2) + epsilon) * scale, the mean over the axes from `axis` on.
ValueId rms_norm(OnnxNode& node, ValueId x, ValueId scale, int64_t axis, double epsilon);
// alpha * A' B' + beta * C of the node's inputs and attributes.
ValueId gemm(OnnxNode& node);

// com.microsoft's attention over q, k, v [B, S, H*D].
struct HeadAttention {
  ValueId q = kNone, k = kNone, v = kNone;
  ValueId mask = kNone;  // of keys: see key_mask
  ValueId bias = kNone;  // added to the scores [B, H, S, S']
  int64_t heads = 0;
  double scale = 0;  // 0: 1 / sqrt(D)
  double mask_filter = 0;
};
// heads, scale and mask_filter from the node's attributes; refuses causal and rotary attention.
HeadAttention attention_attributes(OnnxNode& node);
ValueId head_attention(OnnxNode& node, const HeadAttention& attention);
// q, k and v side by side in the last axis.
ValueId attention_of_packed(OnnxNode& node, ValueId qkv, HeadAttention attention);

}  // namespace bertie::models
