// wgmma_attention: tile_attention's function on Hopper (9.0a): K and V by the bulk tensor copy engine, products by warpgroups.
#pragma once

#include "cuda/kernels/any_attention.h"

namespace bertie::cuda {

// Of a tile at most.
constexpr int wgmma_attention_queries(int head_dim) { return head_dim == 128 ? 128 : 192; }

// As any_attention, save that tiles have at most wgmma_attention_queries queries, heads are 32, 64 or 128 wide, elements have 16 bits, q has
// key_rows rows as k and v have, there are no query_rows, and q, k, v and tiles are 16-byte aligned. The device must be of compute capability 9.0.
cudaError_t launch_wgmma_attention(const AnyAttentionParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
