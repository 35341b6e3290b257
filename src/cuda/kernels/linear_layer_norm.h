// linear_layer_norm: y = layer_norm(linear(x) + residual) on Hopper (9.0a), in one kernel: a group of blocks has all columns of its rows, and tells
// each other the rows' means and variances. linear(x) is as wgmma_linear has it, without activation, and rounded to 16 bits as there; the rest is
// warp_layer_norm's.
#pragma once

#include "cuda/kernels/split_linear.h"
#include "cuda/kernels/wgmma_linear.h"

namespace bertie::cuda {

struct LinearLayerNormParams {
  const void* x;            // [rows, depth]
  const void* weight;       // [columns, depth]
  const float* bias;        // [columns]; nullptr: none
  const void* residual;     // [rows, columns]
  const float* gamma;       // [columns]
  const float* beta;        // [columns]
  void* y;                  // [rows, columns]
  LinearOperands operands;  // x and weight
  Element element;          // of residual and y, and of x and weight where they are elements: f16 or bf16; f16 where they are not
  const float* x_scale;     // where x and weight have eight bits, as w_scale
  int32_t one_scale;        // x_scale is one number, else [rows]
  const float* w_scale;     // [columns]
  QuantizedRows quantized;  // of x's kind, by fixed scales alone: beside y. All but x_scale is 16-byte aligned
  float epsilon;
  int64_t rows, columns, depth;
  const int32_t* live_rows;  // of `rows`; nullptr: all
  int32_t* overflow;         // gets min(*overflow, step) where a live y is not finite; nullptr: not looked for
  int32_t step;
  void*
      mailboxes;  // linear_layer_norm_mailbox_bytes, zeros before the first launch; launches that share them stand in one stream
};

// What a product in the place of `params` has of them, its rows at `product`.
template <typename LinearParams>
LinearParams product_of(const LinearLayerNormParams& params, void* product) {
  LinearParams linear{};
  linear.x = params.x;
  linear.weight = params.weight;
  linear.bias = params.bias;
  linear.y = product;
  linear.element = params.element;
  linear.rows = params.rows;
  linear.columns = params.columns;
  linear.depth = params.depth;
  linear.live_rows = params.live_rows;
  linear.overflow = params.overflow;
  linear.step = params.step;
  return linear;
}

// The two launches that one stands for, the rows between them at `product`, [rows, columns].
inline WgmmaLinearParams linear_of(const LinearLayerNormParams& params, void* product) {
  auto linear = product_of<WgmmaLinearParams>(params, product);
  linear.operands = params.operands;
  linear.x_scale = params.x_scale;
  linear.one_scale = params.one_scale;
  linear.w_scale = params.w_scale;
  linear.activation = Activation::none;
  return linear;
}
// The product of 16-bit elements in parts, at `product`: [parts, rows, columns].
inline SplitLinearParams split_linear_of(const LinearLayerNormParams& params, void* product, const SplitLinearTile& tile) {
  auto split = product_of<SplitLinearParams>(params, product);
  split.tile = tile;
  return split;
}
// `parts`: of the product; 0: it is whole.
inline AnyLayerNormParams layer_norm_of(const LinearLayerNormParams& params, const void* product, int32_t parts = 0) {
  AnyLayerNormParams norm{};
  norm.x = product;
  norm.residual = params.residual;
  norm.gamma = params.gamma;
  norm.beta = params.beta;
  norm.y = params.y;
  norm.element = params.element;
  norm.quantized = params.quantized;
  norm.parts = parts;
  norm.constant = true;
  norm.epsilon = params.epsilon;
  norm.rows = params.rows;
  norm.width = params.columns;
  norm.live_rows = params.live_rows;
  norm.overflow = params.overflow;
  norm.step = params.step;
  return norm;
}

constexpr int64_t linear_layer_norm_mailbox_bytes(int multiprocessors) { return (1 + int64_t{multiprocessors} * 1024) * 16; }
// Whose launches may run at a time: blocks that wait for others of their group, at most three of a launch, leave these multiprocessors to run on.
constexpr int most_linear_layer_norm_streams(int multiprocessors) { return multiprocessors / 8; }

// `depth_bytes`: of a row of x.
inline bool linear_layer_norm_takes(int64_t columns, int64_t depth_bytes) {
  return (columns == 768 || columns == 1024) && depth_bytes % 16 == 0 && depth_bytes >= 6 * 128;
}

// Whether it is faster than the product and the layer norm one after the other, by measurement (docs/performance/gpu.md): where a block takes so
// many tiles that what begins and ends it is little.
constexpr bool linear_layer_norm_pays(int64_t rows, int64_t columns, LinearOperands operands, int multiprocessors) {
  const int64_t groups = multiprocessors * 256 / columns;
  return (rows + 127) / 128 > groups * (operands == LinearOperands::elements ? 2 : 4);
}

// The device must be of compute capability 9.0. Weights, bias, scales, gamma, beta, quantization and live_rows are no other kernel's results.
cudaError_t launch_linear_layer_norm(const LinearLayerNormParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
