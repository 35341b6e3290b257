// What the kernels of attention have in common.
#pragma once

#include <type_traits>

#include "cuda/kernels/elements.cuh"
#include "cuda/kernels/tile_attention.h"

namespace bertie::cuda {

// Which row of q a tile's query is.
__device__ inline int64_t query_row(const AnyAttentionParams& p, const AttentionTile& tile, int query) {
  return p.query_rows ? p.query_rows[tile.query_begin + query] : tile.query_begin + query;
}

// p.relative_bias, which is there, of row `to` of k for row `from` of q.
__device__ inline float relative_bias(const AnyAttentionParams& p, int head, int64_t from, int64_t to) {
  const int distance = p.columns ? p.columns[to] - p.columns[from] : static_cast<int>(to - from);
  return p.relative_bias[static_cast<int64_t>(head) * p.bias_entries + p.bias_entries / 2 + distance];
}

// Calls body(T{}, std::integral_constant<int, D>()) for elements of 16 bits and the heads that matrix units take.
template <typename Body>
cudaError_t with_matrix_heads(const AnyAttentionParams& p, Body body) {
  if (p.element == Element::f32 || !tile_attention_takes(p.head_dim) || p.row_stride % 8 != 0) return cudaErrorInvalidValue;
  const auto with_width = [&](auto element) {
    if (p.head_dim == 32) return body(element, std::integral_constant<int, 32>());
    if (p.head_dim == 64) return body(element, std::integral_constant<int, 64>());
    return body(element, std::integral_constant<int, 128>());
  };
  return p.element == Element::f16 ? with_width(__half{}) : with_width(__nv_bfloat16{});
}

}  // namespace bertie::cuda
