#include "engine/step_cost.h"

#include "network/linear_skip_layer_norm.h"

namespace bertie {
namespace {

double attention_flops(const Node& node, const KernelContext& context) {
  const double width = static_cast<double>(context.outputs[0].shape.back());
  const PackedBatch& batch = context.batch;
  const bool some_queries = node.input(5) != kNone;
  const Shape& q = context.inputs[0].shape;
  if (q.rank() == 3) return 4.0 * static_cast<double>(q[0] * q[1] * q[1]) * width;  // padded
  double pairs = 0;
  for (int64_t b = 0; b < batch.sequences; ++b) {
    const double length = batch.cumulative_lengths[b + 1] - batch.cumulative_lengths[b];
    pairs += some_queries ? 0 : length * length;
  }
  if (some_queries) {
    // Query rows ascend with their sequences.
    const TensorView& rows = context.inputs[5];
    int64_t b = 0;
    for (int64_t i = 0; i < rows.shape[0]; ++i) {
      const int32_t row = rows.as<int32_t>()[i];
      b = b < batch.sequences && batch.cumulative_lengths[b] <= row ? b : 0;
      while (b + 1 < batch.sequences && batch.cumulative_lengths[b + 1] <= row) ++b;
      pairs += batch.cumulative_lengths[b + 1] - batch.cumulative_lengths[b];
    }
  }
  return 4.0 * pairs * width;
}

}  // namespace

StepTime step_cost(const Node& node, const KernelContext& context) {
  StepTime cost;
  const bool looks_up = node.op == "embedding" || node.op == "embedding_layer_norm" || node.op == "gather_rows";
  for (const TensorView& input : context.inputs) {
    // Of a table only the rows looked up are read: as many as are written.
    if (!looks_up || input.dtype == DType::i32) cost.bytes += static_cast<double>(input.shape.rank() == 0 ? 0 : input.bytes());
  }
  for (const MutableTensorView& output : context.outputs)
    cost.bytes += static_cast<double>(TensorView(output).bytes()) * (looks_up ? 2 : 1);
  if (node.op == "linear" || is_eight_bit_linear(node) || is_linear_skip_layer_norm(node)) {
    cost.flops =
        2.0 * static_cast<double>(context.outputs[0].shape.elements()) * static_cast<double>(context.inputs[0].shape.back());
  } else if (node.op == "attention") {
    cost.flops = attention_flops(node, context);
  }
  return cost;
}

}  // namespace bertie
