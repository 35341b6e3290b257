// What QuantizeLinear and DequantizeLinear ask of their scales.
#pragma once

#include "network/op.h"

namespace bertie {

// x, scale, zero_point: one scale; a vector of them along `axis`; or, where `block_size` is given, as x but for the axis, which has one for
// each block.
inline void require_scales(OpContext& context) {
  context.require_float(1);
  const SymbolicShape& x = context.shape(0);
  const SymbolicShape& scale = context.shape(1);
  const int64_t block = context.node().integer("block_size");
  context.require(block >= 0, "a block_size of 0 or more");
  const auto is_one = [](const SymbolicShape& shape) { return shape.empty() || shape == SymbolicShape{Dim(1)}; };
  if (context.has(2)) {
    const SymbolicShape& zero_point = context.shape(2);
    context.require(zero_point == scale || (is_one(zero_point) && is_one(scale)), "a zero_point of the scale's shape");
  }
  if (block == 0 && is_one(scale)) return;
  const size_t axis = context.axis(context.node().integer("axis", 1), x.size());
  if (block == 0) {
    context.require(scale.size() == 1, "a scale for the tensor or for an axis");
    if (scale[0].is_fixed() && x[axis].is_fixed()) context.require(scale[0] == x[axis], "a scale for each place of the axis");
    return;
  }
  context.require(scale.size() == x.size(), "a scale of x's rank beside block_size");
  for (size_t i = 0; i < x.size(); ++i) {
    if (!x[i].is_fixed() || !scale[i].is_fixed()) continue;
    const int64_t wanted = i == axis ? (x[i].size + block - 1) / block : x[i].size;
    context.require(scale[i].size == wanted, "a scale for each block");
  }
}

}  // namespace bertie
