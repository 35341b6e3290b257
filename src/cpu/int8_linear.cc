// int8_linear: exact integer products; scales, bias, activation and residual in the GEMM's epilogue, and rows quantised there too.
#include <fmt/format.h>

#include "backend/mode_names.h"
#include "base/panels.h"
#include "cpu/int8_gemm.h"
#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"
#include "cpu/quantized_rows.h"
#include "network/eight_bit_linear.h"

namespace bertie::cpu {
namespace {

class Int8LinearKernel final : public Kernel {
 public:
  Int8LinearKernel(const KernelRequest& request, const Operands& operands, const Tensor& weight, Activation activation)
      : kernels_(kernels_of(request)),
        weight_(kernels_, weight, request.pool),
        weight_scales_(operands.constant(kLinearWeightScale, "the weight's scale")),
        activation_(activation),
        output_(request) {
    if (operands.has(kLinearBias)) bias_ = operands.constant(kLinearBias, "the bias");
    if (weight.layout != TensorLayout::rows) in_place_ = weight;
    // The kernels read whole vectors of them.
    const size_t padded = static_cast<size_t>(panel_count(weight.shape[0]) * kPanelWidth);
    weight_scales_.resize(padded);
    if (!bias_.empty()) bias_.resize(padded);
  }

  void run(const KernelContext& context) const override {
    const Int8Weight weight = weight_.view();
    const TensorView &x = context.inputs[kLinearX], &x_scale = context.inputs[kLinearXScale];
    const TensorView residual = context.inputs.size() > kLinearResidual ? context.inputs[kLinearResidual] : TensorView{};
    Int8GemmProblem problem = {};
    problem.a = x.as<int8_t>();
    problem.a_stride = weight.k;
    problem.a_scales = x_scale.as<float>();
    problem.a_scale_stride = x_scale.shape.rank() == 0 ? 0 : 1;
    problem.weight = weight;
    problem.w_scales = weight_scales_.data();
    problem.bias = bias_.empty() ? nullptr : bias_.data();
    problem.activation = activation_;
    problem.residual = residual.as<float>();
    problem.residual_stride = weight.n;
    problem.c_stride = weight.n;
    if (output_.floats) problem.c = context.outputs[0].as<float>();
    const QuantizeRows rows = output_.of(context, nullptr, weight.n, weight.n);
    if (output_.fixed) {
      problem.values = rows.values;
      problem.inverse = rows.inverse;
      problem.offset = rows.offset;
    }
    run_int8_gemm(kernels_, problem, row_count(x.shape), rows.scales ? &rows : nullptr, context.pool, context.workspace);
  }

  // Of any number of rows: the plan's ranges are bounded.
  size_t workspace_bytes(const BatchLimits&, int threads) const override {
    constexpr int64_t kManyRows = int64_t{1} << 20;
    return int8_gemm_workspace(kernels_, kManyRows, weight_.view().n, weight_.view().k, output_.integers && !output_.fixed,
                               threads);
  }
  bool reads_constant(size_t index) const override {
    return index == kLinearXScale || (index == kLinearWeight && in_place_.has_value());
  }
  size_t packed_bytes() const override {
    return weight_.bytes() + (weight_scales_.size() + bias_.size()) * sizeof(float) + output_.bytes();
  }

 private:
  const IsaKernels& kernels_;
  std::optional<Tensor> in_place_;  // kept alive where it is not packed
  PackedInt8Weight weight_;
  std::vector<float> weight_scales_, bias_;
  Activation activation_;
  QuantizedRows output_;
};

}  // namespace

PrepareResult prepare_int8_linear(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    const Operands operands(request);
    const std::optional<Tensor>& weight = operands.value(kLinearWeight).constant;
    if (!weight) throw Refused{"the weight is not constant"};
    if (operands.fixed_width(kLinearX, "x") > kInt8MaxDepth) throw Refused{fmt::format("rows longer than {}", kInt8MaxDepth)};
    operands.require_f32(kLinearXScale, "x's scale");
    if (operands.has(kLinearResidual)) operands.require_f32(kLinearResidual, "the residual");
    const Activation activation = activation_named<Activation>(request.node.text("activation", "none"));
    return Preparation{std::make_unique<Int8LinearKernel>(request, operands, *weight, activation),
                       weight->layout == TensorLayout::rows ? "weights packed in panels of 16 columns by 4"
                                                            : "weights in panels of 16 columns by 4, read in place"};
  });
}

}  // namespace bertie::cpu
