// layer_norm, skip_layer_norm and embedding_layer_norm: three sources of the rows that one of two kernels normalises.
#include "cuda/kernels/any_layer_norm.h"
#include "cuda/kernels/warp_layer_norm.h"
#include "cuda/ops.h"
#include "cuda/quantized_rows.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

class LayerNorm final : public Step {
 public:
  // `sources`: inputs before gamma and beta. Of an embedding those are three of ids, then three tables.
  LayerNorm(Operands& operands, const RowOutput& output, bool embeds, size_t sources, const char* launcher)
      : Step(operands, operands.computed()),
        output_(output),
        element_(element_of(operands.computed())),
        embeds_(embeds),
        sources_(sources),
        constant_(is_constant(operands, sources) && is_constant(operands, sources + 1)),
        epsilon_(static_cast<float>(operands.node().real("epsilon"))),
        launcher_(device().launcher<AnyLayerNormParams>(launcher)) {
    for (size_t i = 0; embeds && i < 3; ++i) looked_up_[i] = operands.has(i) && operands.has(3 + i);
  }

 protected:
  void enqueue(const KernelContext& context) const override {
    const MutableTensorView& y = context.outputs[0];
    AnyLayerNormParams params{};
    if (embeds_) {
      for (size_t i = 0; i < 3; ++i) {
        if (!looked_up_[i]) continue;
        params.ids[i] = context.inputs[i].data;
        params.wide_ids[i] = context.inputs[i].dtype == DType::i64;
        params.tables[i] = context.inputs[3 + i].data;
      }
    } else {
      params.x = context.inputs[0].data;
      if (sources_ > 1) params.residual = context.inputs[1].data;
    }
    params.gamma = context.inputs[sources_].as<float>();
    params.beta = context.inputs[sources_ + 1].as<float>();
    params.y = output_.y(context);
    params.quantized = output_.quantized(context);
    params.element = element_;
    params.constant = constant_;
    params.epsilon = epsilon_;
    params.rows = row_count(y.shape);
    params.width = y.shape.back();
    params.live_rows = y.shape.rank() == 2 ? live(context) : nullptr;
    params.overflow = overflow(context);
    params.step = context.device->step;
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  static bool is_constant(const Operands& operands, size_t input) { return operands.value(input).constant.has_value(); }

  RowOutput output_;
  Element element_;
  bool embeds_;
  size_t sources_;
  bool constant_;
  float epsilon_;
  bool looked_up_[3] = {};
  Launcher<AnyLayerNormParams> launcher_;
};

// Of the rows' width, as the kernels take it.
enum class Rows { any, vectors };

Preparation finish(Operands& operands, bool embeds, size_t sources, Rows rows) {
  operands.want(sources, DType::f32, "gamma");
  operands.want(sources + 1, DType::f32, "beta");
  const RowOutput output(operands);
  if (rows == Rows::any) {
    return {std::make_unique<LayerNorm>(operands, output, embeds, sources, "any_layer_norm"),
            "a block a row, the row in registers"};
  }
  const int64_t width = operands.fixed_width(sources, "gamma");
  if (!warp_layer_norm_takes(element_of(operands.computed()), width))
    throw Refused{fmt::format("rows of {}: whole vectors of 16 bytes, at most {}", width, kWarpLayerNormWidest)};
  return {std::make_unique<LayerNorm>(operands, output, embeds, sources, "warp_layer_norm"),
          "a warp a row, the row in registers"};
}

PrepareResult prepare_rows(const KernelRequest& request, size_t sources, Rows rows) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    operands.want(0, operands.computed(), "x");
    if (sources > 1) operands.want(1, operands.computed(), "the residual");
    return finish(operands, false, sources, rows);
  });
}

PrepareResult prepare_embedded(const KernelRequest& request, Rows rows) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    for (size_t i = 0; i < 3; ++i) {
      if (!operands.has(i) || !operands.has(3 + i)) continue;
      operands.want_as_it_is(i);
      operands.want(3 + i, operands.computed(), "a table");
    }
    return finish(operands, true, 6, rows);
  });
}

}  // namespace

PrepareResult prepare_any_layer_norm(const KernelRequest& request) { return prepare_rows(request, 1, Rows::any); }
PrepareResult prepare_any_skip_layer_norm(const KernelRequest& request) { return prepare_rows(request, 2, Rows::any); }
PrepareResult prepare_any_embedding_layer_norm(const KernelRequest& request) { return prepare_embedded(request, Rows::any); }
PrepareResult prepare_warp_layer_norm(const KernelRequest& request) { return prepare_rows(request, 1, Rows::vectors); }
PrepareResult prepare_warp_skip_layer_norm(const KernelRequest& request) { return prepare_rows(request, 2, Rows::vectors); }
PrepareResult prepare_warp_embedding_layer_norm(const KernelRequest& request) { return prepare_embedded(request, Rows::vectors); }

}  // namespace bertie::cuda
