// cluster_linear: y = activation(x weight^T + bias) on Hopper (9.0a) where there are few tiles: the depth is shared out over the blocks of a
// cluster, and weights are on their way before the kernel before has ended. Elements have 16 bits, or x and weight have eight; of those y is as
// wgmma_linear has it, of integers to the bit.
#pragma once

#include "cuda/kernels/wgmma_linear.h"

namespace bertie::cuda {

// Of results, by so many blocks: 64 x 64 by 1, 2 or 4, 128 x 64 or 128 x 128 by 1.
struct ClusterLinearTile {
  int32_t rows, columns, blocks;
};

struct ClusterLinearParams {
  const void* x;            // [rows, depth]
  const void* weight;       // [columns, depth]
  const float* bias;        // [columns]; nullptr: none
  void* y;                  // [rows, columns]
  LinearOperands operands;  // x and weight
  Element element;          // of y, and of x and weight where they are elements: f16 or bf16; f16 where they are not
  const float* x_scale;     // where x and weight have eight bits, as w_scale
  int32_t one_scale;        // x_scale is one number, else [rows]
  const float* w_scale;     // [columns]
  QuantizedRows quantized;  // of x's kind, by fixed scales alone: in the place of y. All but x_scale is 16-byte aligned
  Activation activation;    // none or gelu
  int64_t rows, columns, depth;
  const int32_t* live_rows;  // of `rows`; nullptr: all. Others are not written
  int32_t* overflow;         // gets min(*overflow, step) where a live sum is not finite in f16; nullptr: not looked for
  int32_t step;
  ClusterLinearTile tile;
};

// What is fastest there, by measurement (docs/performance/gpu.md) in 16 bits; no rows: wgmma_linear. `depth_bytes`: of a row of x, as pieces of it
// take the same time whatever they hold.
constexpr ClusterLinearTile cluster_linear_tile(int64_t rows, int64_t columns, int64_t depth_bytes, bool gelu,
                                                int multiprocessors) {
  const auto tiles = [&](int64_t high, int64_t wide) { return (rows + high - 1) / high * ((columns + wide - 1) / wide); };
  constexpr int64_t kDeep = 3072, kDeepest = 6144, kMostRows = 560;
  // A cluster finds its place within a quarter or an eighth of the device, so that these do not fill it.
  for (const int blocks : {4, 2}) {
    if (depth_bytes >= kDeep && tiles(64, 64) * blocks * 4 <= multiprocessors * 3) return {64, 64, blocks};
  }
  if (tiles(64, 64) <= multiprocessors) return {64, 64, 1};
  if ((rows <= kMostRows || depth_bytes >= kDeepest) && tiles(128, 64) <= multiprocessors) return {128, 64, 1};
  if (rows > kMostRows) return {};
  if (gelu && tiles(128, 128) <= multiprocessors) return {128, 128, 1};
  return {};
}

constexpr bool cluster_linear_takes(Element element, int64_t columns, int64_t depth) {
  return element != Element::f32 && columns % 8 == 0 && depth % 8 == 0 && depth > 0;
}
// launch_cluster_linear's, for operands of eight bits: it takes what wgmma_linear_takes_eight_bits says.
cudaError_t launch_eight_bit_cluster_linear(const ClusterLinearParams& params, cudaStream_t stream);

// The device must be of compute capability 9.0. Weights and live_rows are no other kernel's results, nor, in 16 bits, is the bias.
cudaError_t launch_cluster_linear(const ClusterLinearParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
