// The shape rule of linear layers: x [..., K] by weight [N, K] gives [..., N].
#pragma once

#include "network/op.h"

namespace bertie {

// Checks these three inputs but for x's and the weight's dtypes; the bias may be left out.
inline SymbolicShape linear_shape(const OpContext& context, size_t x, size_t weight, size_t bias) {
  context.require_rank(weight, 2);
  const Dim &rows = context.shape(weight)[0], &columns = context.shape(weight)[1];
  context.require(context.last_dim(x) == columns, "x [..., K] and weight [N, K] of one K");
  if (context.has(bias)) context.require_vector(bias, rows);
  SymbolicShape shape = context.shape(x);
  shape.back() = rows;
  return shape;
}

}  // namespace bertie
