// tf32_attention: any_attention's function with matrix units in tf32: rows of f32, heads of 32, 64 or 128. Scores, softmax and sums are
// float32; q, k and v are rounded to tf32 (by at most 2^-11 of each), the weights cut to it before they are added up.
#pragma once

#include "cuda/kernels/any_attention.h"

namespace bertie::cuda {

// Of a tile at most.
constexpr int tf32_attention_queries(int head_dim) { return head_dim == 128 ? 64 : 128; }

// As any_attention, save that tiles have at most tf32_attention_queries queries and q, k, v and y are 16-byte aligned.
cudaError_t launch_tf32_attention(const AnyAttentionParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
