// cluster_linear: y = activation(x weight^T + bias) on Hopper (9.0a) where there are few tiles: the depth is shared out over the blocks of a
// cluster, and weights are on their way before the kernel before has ended.
#pragma once

#include "cuda/kernels/activation.h"

namespace bertie::cuda {

// Of results, by so many blocks: 64 x 64 by 1, 2 or 4, 128 x 64 or 128 x 128 by 1.
struct ClusterLinearTile {
  int32_t rows, columns, blocks;
};

struct ClusterLinearParams {
  const void* x;          // [rows, depth]
  const void* weight;     // [columns, depth]
  const float* bias;      // [columns]; nullptr: none
  void* y;                // [rows, columns]; all four are 16-byte aligned
  Element element;        // of x, weight and y: f16 or bf16
  Activation activation;  // none or gelu
  int64_t rows, columns, depth;
  const int32_t* live_rows;  // of `rows`; nullptr: all. Others are not written
  int32_t* overflow;         // gets min(*overflow, step) where a live sum is not finite in f16; nullptr: not looked for
  int32_t step;
  ClusterLinearTile tile;
};

// What is fastest there, by measurement (docs/performance/gpu.md); no rows: wgmma_linear.
constexpr ClusterLinearTile cluster_linear_tile(int64_t rows, int64_t columns, int64_t depth, bool gelu, int multiprocessors) {
  const auto tiles = [&](int64_t high, int64_t wide) { return (rows + high - 1) / high * ((columns + wide - 1) / wide); };
  constexpr int64_t kDeep = 1536, kMostRows = 560;
  // A cluster finds its place within a quarter or an eighth of the device, so that these do not fill it.
  for (const int blocks : {4, 2}) {
    if (depth >= kDeep && tiles(64, 64) * blocks * 4 <= multiprocessors * 3) return {64, 64, blocks};
  }
  if (tiles(64, 64) <= multiprocessors) return {64, 64, 1};
  if (rows > kMostRows) return {};
  if (tiles(128, 64) <= multiprocessors) return {128, 64, 1};
  if (gelu && tiles(128, 128) <= multiprocessors) return {128, 128, 1};
  return {};
}

constexpr bool cluster_linear_takes(Element element, int64_t columns, int64_t depth) {
  return element != Element::f32 && columns % 8 == 0 && depth % 8 == 0 && depth > 0;
}

// The device must be of compute capability 9.0. Weights, bias and live_rows are no other kernel's results.
cudaError_t launch_cluster_linear(const ClusterLinearParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
