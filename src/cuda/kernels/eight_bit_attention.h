// int8_attention and fp8_attention: any_attention's function over packed rows as quant/attention_int8.h and quant/attention_fp8.h define it, both
// products in eight bits on matrix units, all else float32, of any element. In int8 bit for bit; in fp8 from compute capability 8.9 on.
#pragma once

#include "cuda/kernels/any_attention.h"

namespace bertie::cuda {

constexpr int kEightBitAttentionQueries = 128;  // of a tile at most
constexpr int kEightBitAttentionWidest = 128;   // head

// Heads of other widths than 32, 64 and 128 cost as much as the next of these.
inline bool eight_bit_attention_takes(int head_dim) {
  return head_dim > 0 && head_dim <= kEightBitAttentionWidest && head_dim % 8 == 0;
}

// As any_attention, save that there are tiles, of at most kEightBitAttentionQueries queries; that scale is times log2(e), at least 0; and that q, k
// and v are 16-byte aligned.
cudaError_t launch_int8_attention(const AnyAttentionParams& params, cudaStream_t stream);
cudaError_t launch_fp8_attention(const AnyAttentionParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
