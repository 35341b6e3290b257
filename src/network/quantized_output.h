// Ops whose rows may be given in eight bits while they are in the cache. Attribute `quantize_output`:
//
//   none (or absent)   floats [..., N]
//   rows               values [..., N] and scales f32 [...] in their place
//   both               floats, values, scales
//   fixed              values alone, by the op's last input: quantization f32 [2, N], the inverse scales and the offsets of columns
//   fixed_both         floats, values
//
// Attribute `quantize_element`: int8 (or absent), values of i8 (src/quant/int8.h), or e4m3, values of u8 that are codes (src/quant/fp8.h).
#pragma once

#include <cstddef>

#include "network/op.h"

namespace bertie {

inline bool quantizes_to_e4m3(const Node& node) { return node.text("quantize_element", "int8") == "e4m3"; }

// Of rows in eight bits; checks the attribute.
inline DType eight_bit_type(const OpContext& context) {
  context.require_one_of("quantize_element", context.node().text("quantize_element", "int8"), {"int8", "e4m3"});
  return quantizes_to_e4m3(context.node()) ? DType::u8 : DType::i8;
}

struct QuantizedOutput {
  explicit QuantizedOutput(const Node& node) {
    const std::string mode = node.text("quantize_output", "none");
    floats = mode == "none" || mode == "both" || mode == "fixed_both";
    integers = mode != "none";
    e4m3 = quantizes_to_e4m3(node);
    fixed = mode == "fixed" || mode == "fixed_both";
  }
  bool floats, integers;  // the latter: eight bits, of either element
  bool e4m3;
  bool fixed;  // no scales among the outputs
  // Places among the node's outputs; floats are the first.
  size_t values() const { return floats ? 1 : 0; }
  size_t scales() const { return values() + 1; }
};

// The input `quantization`, of ops that know the attribute and of quantize_rows.
inline size_t quantization_input(const Node& node) { return find_op(node.op).inputs.size() - 1; }

inline void require_quantization(const OpContext& context, const SymbolicShape& rows) {
  const size_t input = quantization_input(context.node());
  context.require_float(input);
  context.require(context.shape(input) == SymbolicShape{Dim(2), rows.back()}, "quantization [2, N] for rows of N");
}

// The outputs of an op whose floats have this shape.
inline void output_rows(OpContext& context, const SymbolicShape& shape) {
  context.require_one_of("quantize_output", context.node().text("quantize_output", "none"),
                         {"none", "rows", "both", "fixed", "fixed_both"});
  const DType eight_bits = eight_bit_type(context);
  const QuantizedOutput output(context.node());
  context.require(context.has(quantization_input(context.node())) == output.fixed,
                  "quantization where quantize_output is fixed or fixed_both, and only there");
  if (output.floats) context.output(DType::f32, shape);
  if (!output.integers) return;
  context.require(!shape.empty() && shape.back().is_fixed(), "rows of a fixed width, to quantise them");
  if (output.fixed) require_quantization(context, shape);
  context.output(eight_bits, shape);
  if (!output.fixed) context.output(DType::f32, SymbolicShape(shape.begin(), shape.end() - 1));
}

}  // namespace bertie
