// wgmma_attention: tile_attention's function on Hopper (9.0a): K and V by the bulk tensor copy engine, products by warpgroups.
#pragma once

#include "cuda/kernels/any_attention.h"

namespace bertie::cuda {

constexpr int kWgmmaAttentionQueries = 128;  // of a tile at most

// As any_attention, save that tiles have at most kWgmmaAttentionQueries queries, heads are 32, 64 or 128 wide, elements have 16 bits, and
// q, k, v are 16-byte aligned. The device must be of compute capability 9.0.
cudaError_t launch_wgmma_attention(const AnyAttentionParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
