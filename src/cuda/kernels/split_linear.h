// split_linear: parts of y = x weight^T + bias on Hopper (9.0a), in 16 bits, where there are few tiles: each block takes a tile and a share of
// the depth, and whoever reads the rows adds the parts up (AnyLayerNormParams::parts).
#pragma once

#include <algorithm>

#include "cuda/kernels/any_layer_norm.h"

namespace bertie::cuda {

// Of a block's results, 64 x 64, 128 x 64 or 128 x 96, and 2 to kMostLayerNormParts shares of the depth.
struct SplitLinearTile {
  int32_t rows, columns, parts;
};

struct SplitLinearParams {
  const void* x;       // [rows, depth]
  const void* weight;  // [columns, depth]
  const float* bias;   // [columns], of the first part; nullptr: none
  void* y;             // [parts, rows, columns]
  Element element;     // of x, weight and y: f16 or bf16
  int64_t rows, columns, depth;
  const int32_t* live_rows;  // of `rows`; nullptr: all. Others are not written
  int32_t* overflow;         // gets min(*overflow, step) where a live part is not finite in f16; nullptr: not looked for
  int32_t step;
  SplitLinearTile tile;
};

constexpr int64_t kMostSplitLinearRows = 1024;

// What is faster there than a product and a layer norm that reads it whole, by measurement (docs/performance/gpu.md); no parts: none is.
constexpr SplitLinearTile split_linear_tile(int64_t rows, int64_t columns, int64_t depth, int multiprocessors) {
  constexpr int64_t kDeep = 2048;
  if (rows == 0 || rows > kMostSplitLinearRows || depth < kDeep) return {};
  const auto parts = [&](int64_t high, int64_t wide) {  // that all find a multiprocessor
    const int64_t tiles = (rows + high - 1) / high * ((columns + wide - 1) / wide);
    return static_cast<int32_t>(std::min<int64_t>(multiprocessors / tiles, kMostLayerNormParts));
  };
  if (parts(64, 64) == kMostLayerNormParts) return {64, 64, kMostLayerNormParts};
  for (const int32_t wide : {64, 96})
    if (parts(128, wide) >= 2) return {128, wide, parts(128, wide)};
  return {};
}

// The device must be of compute capability 9.0, columns and depth multiples of 8. Weights, bias and live_rows are no other kernel's results.
cudaError_t launch_split_linear(const SplitLinearParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
