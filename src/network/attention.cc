#include "network/attention_bias.h"
#include "network/quantized_output.h"

namespace bertie {
namespace {

enum Input : size_t { kQuery, kKey, kValue, kMask, kRelativeBias, kQueryRows, kBias };

void infer_attention(OpContext& context) {
  const bool packed_qkv = context.node().integer("packed_qkv") != 0;
  const int64_t heads = context.node().integer("heads");
  context.require(heads > 0, "heads > 0");
  context.require_float(kQuery);
  const SymbolicShape& q = context.shape(kQuery);
  context.require(q.size() == 2 || q.size() == 3, "q [batch, sequence, H*D] or packed [tokens, H*D]");
  context.require(q.back().is_fixed() && q.back().size % (packed_qkv ? 3 * heads : heads) == 0,
                  fmt::format("a width divisible by {} heads", heads));
  if (packed_qkv) {
    context.require(!context.has(kKey) && !context.has(kValue), "k and v inside q");
  } else {
    for (size_t input : {kKey, kValue}) {
      context.require(context.has(input), "k and v");
      context.require_float(input);
      context.require(context.shape(input) == q, "q, k and v of one shape");
    }
  }
  if (context.node().input(kMask) != kNone) {
    context.require(q.size() == 3 && context.shape(kMask) == SymbolicShape{q[0], q[1]},
                    "mask [batch, sequence] beside q of rank 3");
  }
  if (context.node().input(kRelativeBias) != kNone) {
    context.require_float(kRelativeBias);
    const SymbolicShape& bias = context.shape(kRelativeBias);
    context.require(bias.size() == 2 && bias[0] == Dim(heads) && bias[1].is_fixed() && bias[1].size % 2 == 1,
                    "relative_bias [H, 2P-1]");
  }
  if (context.has(kBias)) {
    context.require_float(kBias);
    context.require(q.size() == 3 && is_attention_bias(context.shape(kBias), q[0], heads, q[1]),
                    "bias [batch or 1, H or 1, sequence or 1, sequence] beside q of rank 3");
    context.require(!context.has(kRelativeBias), "one bias");
  }
  context.require_one_of("precision", context.node().text("precision", "fp32"), {"fp32", "tf32", "fp16", "bf16", "int8", "fp8"});
  SymbolicShape shape = q;
  if (packed_qkv) shape.back() = q.back().size / 3;
  if (context.node().input(kQueryRows) != kNone) {
    context.require_index(kQueryRows);
    context.require(q.size() == 2 && context.shape(kQueryRows).size() == 1, "query_rows [rows] beside packed q");
    shape[0] = context.shape(kQueryRows)[0];
  }
  output_rows(context, shape);
}

}  // namespace

const OpDescriptor& attention_op() {
  static const OpDescriptor op{"attention",
                               1,
                               {"q", "k", "v", "mask", "relative_bias", "query_rows", "bias", "quantization"},
                               {"heads", "scale", "packed_qkv", "precision", "quantize_output", "quantize_element"},
                               infer_attention};
  return op;
}

ValueId Network::add_attention(ValueId q, ValueId k, ValueId v, ValueId mask, ValueId relative_bias, int64_t heads, double scale,
                               std::string name) {
  return add_node("attention", {q, k, v, mask, relative_bias}, {{"heads", heads}, {"scale", scale}}, std::move(name))[0];
}

}  // namespace bertie
