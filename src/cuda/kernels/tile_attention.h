// tile_attention: any_attention's function with matrix units: 16-bit elements, heads of 32, 64 or 128. Scores, softmax and sums are
// float32; weights are rounded to the element before they meet v.
#pragma once

#include "cuda/kernels/any_attention.h"

namespace bertie::cuda {

constexpr int kTileAttentionQueries = 64;  // of a tile at most

inline bool tile_attention_takes(int head_dim) { return head_dim == 32 || head_dim == 64 || head_dim == 128; }

// As any_attention, save that tiles have at most kTileAttentionQueries queries and q, k, v are 16-byte aligned.
cudaError_t launch_tile_attention(const AnyAttentionParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
