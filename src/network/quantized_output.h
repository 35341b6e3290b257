// Ops whose rows may be given as eight-bit integers (src/quant/int8.h) while they are in the cache. Attribute `quantize_output`:
//
//   none (or absent)   floats [..., N]
//   rows               values i8 [..., N] and scales f32 [...] in their place
//   both               floats, values, scales
#pragma once

#include <cstddef>

#include "network/op.h"

namespace bertie {

struct QuantizedOutput {
  explicit QuantizedOutput(const Node& node) {
    const std::string mode = node.text("quantize_output", "none");
    floats = mode != "rows";
    rows = mode != "none";
  }
  bool floats, rows;
  // Places among the node's outputs; floats are the first.
  size_t values() const { return floats ? 1 : 0; }
  size_t scales() const { return values() + 1; }
};

// The outputs of an op whose floats have this shape.
inline void output_rows(OpContext& context, const SymbolicShape& shape) {
  context.require_one_of("quantize_output", context.node().text("quantize_output", "none"), {"none", "rows", "both"});
  const QuantizedOutput output(context.node());
  if (output.floats) context.output(DType::f32, shape);
  if (!output.rows) return;
  context.require(!shape.empty() && shape.back().is_fixed(), "rows of a fixed width, to quantise them");
  context.output(DType::i8, shape);
  context.output(DType::f32, SymbolicShape(shape.begin(), shape.end() - 1));
}

}  // namespace bertie
