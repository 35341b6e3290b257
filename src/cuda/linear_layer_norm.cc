// linear_skip_layer_norm on Hopper: in one kernel where that is faster (`linear_layer_norm_pays`) and the stream has mailboxes, else by the two
// kernels that it stands for, the product in parts where there are few tiles of it.
#include "cuda/kernels/linear_layer_norm.h"

#include "backend/batch_shape.h"
#include "cuda/eight_bit_linear.h"
#include "cuda/hopper_linear.h"
#include "cuda/ops.h"
#include "cuda/quantized_rows.h"
#include "network/linear_skip_layer_norm.h"

namespace bertie::cuda {
namespace {

class LinearLayerNorm final : public Step {
 public:
  LinearLayerNorm(Operands& operands, const RowOutput& output, LinearOperands x, int64_t columns)
      : Step(operands, operands.computed()),
        output_(output),
        result_shape_(operands.result().shape),
        operands_(x),
        element_(element_of(operands.computed())),
        columns_(columns),
        depth_(operands.value(kLinearWeight).shape[1].size),
        one_scale_(operands.has(kLinearXScale) && operands.value(kLinearXScale).shape.empty()),
        epsilon_(static_cast<float>(operands.node().real("epsilon"))),
        launcher_(device().launcher<LinearLayerNormParams>("linear_layer_norm")),
        split_(device().launcher<SplitLinearParams>("split_linear")),
        linear_(device()),
        norm_(device().launcher<AnyLayerNormParams>("warp_layer_norm")) {}

 protected:
  // The linear layer's rows, or their parts, where the two kernels run.
  size_t own_workspace_bytes(const BatchLimits& limits) const override {
    const int64_t rows = row_count(shape_in(limits, result_shape_));
    return bytes_of(std::max(rows, std::min(rows, kMostSplitLinearRows) * kMostLayerNormParts));
  }
  size_t own_run_workspace_bytes(const BatchLimits&, std::span<const TensorView> inputs) const override {
    const int64_t rows = row_count(inputs[kLinearX].shape);
    return bytes_of(rows * std::max(split_of(rows).parts, 1));
  }

  void enqueue(const KernelContext& context) const override {
    LinearLayerNormParams params{};
    set_linear_operands(params, context, one_scale_);
    params.residual = context.inputs[kLinearResidual].data;
    params.gamma = context.inputs[kLinearGamma].as<float>();
    params.beta = context.inputs[kLinearBeta].as<float>();
    params.y = output_.y(context);
    params.operands = operands_;
    params.element = element_;
    params.quantized = output_.quantized(context);
    params.epsilon = epsilon_;
    params.columns = columns_;
    params.live_rows = context.outputs[0].shape.rank() == 2 ? live(context) : nullptr;
    params.overflow = overflow(context);
    params.step = context.device->step;
    params.mailboxes = context.device->stream.mailboxes();
    const Stream& stream = context.device->stream;
    if (params.mailboxes && linear_layer_norm_pays(params.rows, columns_, operands_, device().properties().multiprocessors)) {
      device().launch(launcher_, params, stream);
    } else if (params.rows > 0) {
      void* const product = context.workspace.data();
      const SplitLinearTile tile = split_of(params.rows);
      if (tile.parts > 0) {
        device().launch(split_, split_linear_of(params, product, tile), stream);
      } else {
        linear_.launch(linear_of(params, product), stream);
      }
      device().launch(norm_, layer_norm_of(params, product, tile.parts), stream);
    }
  }

 private:
  // Of the product's parts where it has some, else of the product.
  SplitLinearTile split_of(int64_t rows) const {
    if (operands_ != LinearOperands::elements) return {};
    return split_linear_tile(rows, columns_, depth_, device().properties().multiprocessors);
  }
  size_t bytes_of(int64_t rows) const { return static_cast<size_t>(rows * columns_) * sizeof(uint16_t); }

  RowOutput output_;
  SymbolicShape result_shape_;
  LinearOperands operands_;
  Element element_;
  int64_t columns_, depth_;
  bool one_scale_;
  float epsilon_;
  Launcher<LinearLayerNormParams> launcher_;
  Launcher<SplitLinearParams> split_;
  HopperLinear linear_;
  Launcher<AnyLayerNormParams> norm_;
};

LinearOperands linear_operands_of(DType element) {
  return element == DType::i8 ? LinearOperands::int8 : element == DType::u8 ? LinearOperands::fp8 : LinearOperands::elements;
}

void want_operands(Operands& operands, LinearOperands x) {
  operands.want_constants(
      {kLinearWeight, kLinearWeightScale, kLinearBias, kLinearGamma, kLinearBeta, quantization_input(operands.node())});
  if (x == LinearOperands::elements) {
    operands.want(kLinearX, operands.computed(), "x");
    operands.want(kLinearWeight, operands.computed(), "the weight");
    if (operands.has(kLinearBias)) operands.want(kLinearBias, DType::f32, "the bias");
    operands.want(kLinearResidual, operands.computed(), "the residual");
  } else {
    want_eight_bit_operands(operands);
  }
  operands.want(kLinearGamma, DType::f32, "gamma");
  operands.want(kLinearBeta, DType::f32, "beta");
}

}  // namespace

PrepareResult prepare_linear_layer_norm(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    refuse_without_wgmma(*operands.device());
    const LinearOperands x = linear_operands_of(operands.value(kLinearX).dtype);
    const bool eight_bits = x != LinearOperands::elements;
    if (operands.computed() == DType::f32 || (eight_bits && operands.computed() != DType::f16))
      throw Refused{eight_bits ? "results that are not f16" : "operands of f32"};
    want_operands(operands, x);
    const RowOutput output(operands);
    if (!output.floats || (output.integers && !output.fixed)) throw Refused{"eight bits by scales of their own, or alone"};
    if (output.integers && (!eight_bits || output.e4m3 != (x == LinearOperands::fp8)))
      throw Refused{"eight bits of another kind as its result"};
    const SymbolicShape& weight = operands.value(kLinearWeight).shape;
    const int64_t columns = weight[0].size, depth_bytes = weight[1].size * (eight_bits ? 1 : 2);
    if (!linear_layer_norm_takes(columns, depth_bytes))
      throw Refused{fmt::format("{} columns, {} bytes deep: it has no tiles for them", columns, depth_bytes)};
    return Preparation{
        std::make_unique<LinearLayerNorm>(operands, output, x, columns),
        "sums, means and variances in registers; fewer tiles: product, few: in parts, and layer norm one after the other"};
  });
}

}  // namespace bertie::cuda
