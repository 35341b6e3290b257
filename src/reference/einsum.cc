// For each place of the result the sum over all places of the other letters, in the order in which they first occur: floats in double.
#include "network/einsum.h"

#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

constexpr size_t kOperands = 8;
using Offsets = std::array<int64_t, kOperands>;

struct Contraction {
  Shape result, summed;
  std::array<Strides, kOperands> result_strides{}, summed_strides{};
};

Contraction contraction_of(const EinsumPlan& plan, const KernelContext& context) {
  std::vector<int64_t> extents(static_cast<size_t>(plan.labels), 1);
  Contraction contraction;
  for (size_t i = 0; i < plan.operands.size(); ++i) {
    const Shape& shape = context.inputs[i].shape;
    const Strides own = row_major_strides(shape);
    for (size_t axis = 0; axis < plan.operands[i].size(); ++axis) {
      const int64_t extent = shape[static_cast<int>(axis)];
      if (extent == 1) continue;
      const size_t label = static_cast<size_t>(plan.operands[i][axis]);
      extents[label] = extent;
      const size_t outputs = static_cast<size_t>(plan.outputs);
      // A letter that an operand has twice walks its diagonal.
      (label < outputs ? contraction.result_strides[i][label] : contraction.summed_strides[i][label - outputs]) += own[axis];
    }
  }
  contraction.result = Shape(std::span<const int64_t>(extents).first(static_cast<size_t>(plan.outputs)));
  contraction.summed = Shape(std::span<const int64_t>(extents).subspan(static_cast<size_t>(plan.outputs)));
  return contraction;
}

template <typename Sum, typename Out, typename Element>
void contract(const Contraction& contraction, size_t operands, Out* out, Element element) {
  walk(contraction.result, contraction.result_strides, [&](int64_t i, const Offsets& first) {
    Sum sum = 0;
    walk(contraction.summed, contraction.summed_strides, [&](int64_t, const Offsets& at) {
      Sum product = 1;
      for (size_t k = 0; k < operands; ++k) product *= static_cast<Sum>(element(k, first[k] + at[k]));
      sum += product;
    });
    out[i] = static_cast<Out>(sum);
  });
}

}  // namespace

PrepareResult prepare_einsum(const KernelRequest& request) {
  std::vector<size_t> ranks;
  for (ValueId operand : request.node.inputs) ranks.push_back(request.network.value(operand).shape.size());
  std::string problem;
  auto plan = plan_einsum(request.node.text("equation"), ranks, problem);
  if (!plan) fail(ErrorCode::invalid_argument, "einsum '{}': {}", request.node.text("equation"), problem);
  return take([plan = *plan](const KernelContext& context) {
    const Contraction contraction = contraction_of(plan, context);
    const size_t operands = plan.operands.size();
    const MutableTensorView& out = context.outputs[0];
    if (is_float(out.dtype)) {
      contract<double>(contraction, operands, out.as<float>(),
                       [&](size_t k, int64_t at) { return number(context.inputs[k], at); });
      return;
    }
    with_integer_type(out.dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      contract<uint64_t>(contraction, operands, out.as<T>(),
                         [&](size_t k, int64_t at) { return integer(context.inputs[k], at); });
    });
  });
}

}  // namespace bertie::reference
