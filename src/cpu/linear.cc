// linear: x [..., K] times weight [N, K] transposed, + bias, activation in the GEMM's epilogue.
#include <optional>

#include "backend/mode_names.h"
#include "cpu/gemm.h"
#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"
#include "network/embedding_tables.h"

namespace bertie::cpu {
namespace {

class LinearKernel : public Kernel {
 public:
  // A weight that lies in panels is read where it is. `packing` without a weight: packed on the fly from `weight`.
  LinearKernel(const IsaKernels& kernels, const Tensor& weight, SharedPacking packing, std::vector<float> bias,
               Activation activation)
      : kernels_(kernels),
        weight_(gemm_weight(weight)),
        packing_(std::move(packing)),
        bias_(std::move(bias)),
        activation_(activation) {
    if (!packing_.weight) source_ = weight;
    panels_ = packing_.weight ? packing_.weight->panels() : nullptr;
    if (weight.layout == TensorLayout::panels_16) panels_ = static_cast<const float*>(weight.data.get());
  }

  void run(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    int64_t rows = 1;
    for (int axis = 0; axis + 1 < x.shape.rank(); ++axis) rows *= x.shape[axis];
    GemmProblem problem = {};
    problem.a = x.as<float>();
    problem.a_stride = weight_.k;
    problem.weight = weight_;
    problem.panels = panels_;
    problem.c = context.outputs[0].as<float>();
    problem.c_stride = weight_.n;
    problem.bias = bias_.empty() ? nullptr : bias_.data();
    problem.activation = activation_;
    run_gemm(kernels_, problem, rows, context.pool, context.workspace);
  }

  size_t workspace_bytes(const BatchLimits&, int threads) const override {
    return gemm_scratch_bytes(panels_ != nullptr, threads);
  }
  bool reads_constant(size_t index) const override { return index == 1 && !packing_.weight; }
  size_t packed_bytes() const override { return bias_.size() * sizeof(float) + (packing_.fresh ? packing_.weight->bytes() : 0); }

 private:
  const IsaKernels& kernels_;
  GemmWeight weight_;
  std::optional<Tensor> source_;  // kept alive where it is not packed
  SharedPacking packing_;
  const float* panels_ = nullptr;
  std::vector<float> bias_;
  Activation activation_;
};

// Packed: the weight in panels, made now or read in place. On the fly: what an embedding table is multiplied by, so that it is
// held once; where kernels are chosen by timing, any row-major weight.
Preparation prepare(const KernelRequest& request, bool on_the_fly) {
  const Network& network = request.network;
  const Node& node = request.node;
  const Operands operands(request);
  operands.require_f32(0, "x");
  operands.float_type(1, "the weight");
  const std::optional<Tensor>& weight = operands.value(1).constant;
  if (!weight) throw Refused{"the weight is not constant"};
  const std::vector<float> bias = operands.has(2) ? operands.constant(2, "the bias") : std::vector<float>();
  const Activation activation = activation_named<Activation>(node.text("activation", "none"));
  const bool in_place = weight->layout == TensorLayout::panels_16;
  if (on_the_fly && in_place) throw Refused{"the weight is packed already"};
  const bool table = embedding_tables(network).contains(weight->data.get());
  if (!on_the_fly && table) throw Refused{"the weight is an embedding table too: packed, it would be held twice"};
  if (on_the_fly && !table && !request.by_timing) throw Refused{"the weight is no embedding table"};

  const IsaKernels& kernels = kernels_of(request);
  SharedPacking packing = {};
  if (!on_the_fly && !in_place) packing = shared_packing(kernels, *weight, request.pool);
  const char* reason = table        ? "weights shared with an embedding, packed on the fly"
                       : on_the_fly ? "weights packed on the fly"
                       : in_place   ? "weights in panels of 16 columns, read in place from the engine file"
                                    : "weights packed in panels of 16 columns";
  return {std::make_unique<LinearKernel>(kernels, *weight, std::move(packing), bias, activation), reason};
}

}  // namespace

PrepareResult prepare_linear(const KernelRequest& request) {
  return prepare_or_refuse([&] { return prepare(request, false); });
}
PrepareResult prepare_linear_shared(const KernelRequest& request) {
  return prepare_or_refuse([&] { return prepare(request, true); });
}

}  // namespace bertie::cpu
