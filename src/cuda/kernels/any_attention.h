// any_attention: softmax(scale * q k^T + relative_bias + bias + mask) v over packed or padded rows, heads side by side in the last axis. Any head width up to 256,
// any element, float32 arithmetic without matrix units: what the faster kernels refuse.
#pragma once

#include "cuda/kernels/quantized_rows.h"
#include "cuda/kernels/row_mask.h"

namespace bertie::cuda {

constexpr int kAnyAttentionQueries = 32;  // of a tile at most
constexpr int kAnyAttentionWidest = 256;  // head

struct AnyAttentionParams {
  const void *q, *k, *v;    // row r, head h begins at r * row_stride + h * head_dim
  void* y;                  // row r, head h at (r * heads + h) * head_dim; nullptr: in eight bits alone
  Element element;          // of all four
  QuantizedRows quantized;  // places as of y; by fixed scales alone
  int64_t row_stride;       // elements
  int64_t key_rows;         // that k and v have memory for
  int32_t heads, head_dim;
  float scale;
  // Of padded rows there are no tiles: every `sequence` rows are one, and those whose mask is 0 are no keys.
  const AttentionTile* tiles;  // [tile_capacity], of at most kAnyAttentionQueries queries
  int32_t tile_capacity;
  const int32_t* tile_count;  // how many are live
  int64_t sequences, sequence;
  RowMask mask;                // [sequences * sequence]
  const int32_t* query_rows;   // row of q for each query; nullptr: its own number
  const int32_t* columns;      // place of each row in its sequence, for the bias; nullptr: its row
  const float* relative_bias;  // [heads, bias_entries], entry bias_entries / 2 + (key column - query column); nullptr: none
  int32_t bias_entries;
  // Of padded rows: element (sequence, head, query, key), keys side by side; nullptr: none. What is below least_bias counts as it.
  const float* bias;
  int64_t bias_sequence_stride, bias_head_stride, bias_query_stride;
  float least_bias;
  int32_t* overflow;  // gets min(*overflow, step) where a result is not finite; nullptr: not looked for
  int32_t step;
};

cudaError_t launch_any_attention(const AnyAttentionParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
