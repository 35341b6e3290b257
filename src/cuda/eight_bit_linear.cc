// int8_linear and fp8_linear by wgmma_linear, few tiles by cluster_linear. Behind it run, where they are needed, an activation that it does not know,
// and quantize_rows of rows with scales of their own.
#include "cuda/eight_bit_linear.h"

#include "backend/batch_shape.h"
#include "cuda/hopper_linear.h"
#include "cuda/kernels/activation.h"
#include "cuda/kernels/quantize_rows.h"
#include "cuda/ops.h"
#include "cuda/products.h"
#include "cuda/quantized_rows.h"

namespace bertie::cuda {
namespace {

class WgmmaEightBits final : public Step {
 public:
  WgmmaEightBits(Operands& operands, const RowOutput& output, LinearOperands element, Activation activation, int64_t columns)
      : Step(operands, operands.computed()),
        output_(output),
        result_shape_(operands.result().shape),
        element_(element),
        activation_(activation),
        columns_(columns),
        one_scale_(operands.value(kLinearXScale).shape.empty()),
        linear_(device()),
        activate_(device().launcher<ActivationParams>("activation")),
        quantize_(device().launcher<QuantizeRowsParams>("quantize_rows")) {}

 protected:
  size_t own_workspace_bytes(const BatchLimits& limits) const override {
    return quantizes_behind() ? bytes_of(row_count(shape_in(limits, result_shape_))) : 0;
  }
  size_t own_run_workspace_bytes(const BatchLimits&, std::span<const TensorView> inputs) const override {
    return quantizes_behind() ? bytes_of(row_count(inputs[kLinearX].shape)) : 0;
  }

  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[kLinearX];
    WgmmaLinearParams params{};
    set_linear_operands(params, context, one_scale_);
    params.y = quantizes_behind() ? context.workspace.data() : output_.y(context);
    params.operands = element_;
    params.element = Element::f16;
    if (output_.integers && !quantizes_behind()) params.quantized = output_.quantized(context);
    params.activation = activates_behind() ? Activation::none : activation_;
    params.columns = columns_;
    params.live_rows = x.shape.rank() == 2 ? live(context) : nullptr;
    params.overflow = overflow(context);
    params.step = context.device->step;
    linear_.launch(params, context.device->stream);
    if (activates_behind()) {
      ActivationParams activate{};
      activate.x = activate.y = params.y;
      activate.x_element = activate.y_element = Element::f16;
      activate.function = activation_;
      activate.rows = params.rows;
      activate.width = columns_;
      activate.live_rows = params.live_rows;
      activate.overflow = params.overflow;
      activate.step = params.step;
      device().launch(activate_, activate, context.device->stream);
    }
    if (!quantizes_behind()) return;
    QuantizeRowsParams quantize{};
    quantize.x = params.y;
    quantize.element = Element::f16;
    quantize.quantized = output_.quantized(context);
    quantize.rows = params.rows;
    quantize.width = columns_;
    quantize.live_rows = params.live_rows;
    device().launch(quantize_, quantize, context.device->stream);
  }

 private:
  bool activates_behind() const { return activation_ != Activation::none && activation_ != Activation::gelu; }
  // Once all columns of a row are there, and final.
  bool quantizes_behind() const { return output_.integers && (!output_.fixed || activates_behind()); }
  size_t bytes_of(int64_t rows) const { return static_cast<size_t>(rows * columns_) * sizeof(uint16_t); }

  RowOutput output_;
  SymbolicShape result_shape_;
  LinearOperands element_;
  Activation activation_;
  int64_t columns_;
  bool one_scale_;
  HopperLinear linear_;
  Launcher<ActivationParams> activate_;
  Launcher<QuantizeRowsParams> quantize_;
};

// x and weight in eight bits as `element` says, results in f16 or of the same element.
Preparation prepare(const KernelRequest& request, LinearOperands element) {
  Operands operands(request);
  const Activation activation = activation_of(request.node);
  const bool integers = element == LinearOperands::int8;
  if (integers && activation != Activation::none && activation != Activation::gelu)
    throw Refused{"another activation than GELU (erf)"};
  if (operands.computed() != DType::f16) throw Refused{"results that are not f16"};
  if (operands.has(kLinearResidual)) throw Refused{"a residual"};
  operands.want_constants({kLinearWeight, kLinearWeightScale, kLinearBias, quantization_input(request.node)});
  want_eight_bit_operands(operands);
  const SymbolicShape& weight = operands.value(kLinearWeight).shape;
  if (!wgmma_linear_takes_eight_bits(weight[0].size, weight[1].size)) {
    throw Refused{
        fmt::format("{} columns, {} deep: multiples of {}", weight[0].size, weight[1].size, kWgmmaLinearEightBitMultiple)};
  }
  const RowOutput output(operands);
  if (output.integers && output.e4m3 == integers) throw Refused{"eight bits of another kind as its result"};
  const int64_t columns = weight[0].size;
  return Preparation{std::make_unique<WgmmaEightBits>(operands, output, element, activation, columns),
                     integers ? "sums in 32-bit integers, scales and GELU beside products; few tiles: cluster_linear"
                              : "e4m3, sums in f32, scales and GELU beside products; few tiles: cluster_linear"};
}

PrepareResult prepare_on_hopper(const KernelRequest& request, LinearOperands element) {
  return prepare_or_refuse([&] {
    refuse_without_wgmma(*Operands(request).device());
    return prepare(request, element);
  });
}

}  // namespace

void want_eight_bit_operands(Operands& operands) {
  operands.want_as_it_is(kLinearX);
  operands.want(kLinearXScale, DType::f32, "the scale of x");
  operands.want_as_it_is(kLinearWeight);
  operands.want(kLinearWeightScale, DType::f32, "the scales of the weight");
  if (operands.has(kLinearBias)) operands.want(kLinearBias, DType::f32, "the bias");
  if (operands.has(kLinearResidual)) operands.want(kLinearResidual, operands.computed(), "the residual");
  const SymbolicShape& weight = operands.value(kLinearWeight).shape;
  if (!weight[0].is_fixed() || !weight[1].is_fixed()) throw Refused{"the weight's shape is not fixed"};
}

PrepareResult prepare_wgmma_fp8_linear(const KernelRequest& request) { return prepare_on_hopper(request, LinearOperands::fp8); }
PrepareResult prepare_wgmma_int8_linear(const KernelRequest& request) { return prepare_on_hopper(request, LinearOperands::int8); }

}  // namespace bertie::cuda
