// int8_attention: any_attention's function over packed rows as quant/attention_int8.h defines it, bit for bit: both products in eight bits on
// matrix units, exact, all else float32. Any element.
#pragma once

#include "cuda/kernels/any_attention.h"

namespace bertie::cuda {

constexpr int kInt8AttentionQueries = 128;  // of a tile at most
constexpr int kInt8AttentionWidest = 128;   // head

// Heads of other widths than 32, 64 and 128 cost as much as the next of these.
inline bool int8_attention_takes(int head_dim) { return head_dim > 0 && head_dim <= kInt8AttentionWidest && head_dim % 8 == 0; }

// As any_attention, save that there are tiles, of at most kInt8AttentionQueries queries; that scale is times log2(e), at least 0; and that q, k and
// v are 16-byte aligned.
cudaError_t launch_int8_attention(const AnyAttentionParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
