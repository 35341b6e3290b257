// linear: x [..., K] times weight [N, K] transposed, + bias, activation in the GEMM's epilogue.
#include <optional>
#include <string>

#include "backend/mode_names.h"
#include "cpu/bf16_gemm.h"
#include "cpu/gemm.h"
#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"
#include "cpu/shared_packing.h"
#include "network/embedding_tables.h"

namespace bertie::cpu {
namespace {

class LinearKernel : public Kernel {
 public:
  // A weight that lies in panels is read where it is. `packing` without a weight: packed on the fly from `weight`.
  LinearKernel(const IsaKernels& kernels, const Tensor& weight, SharedPacking<PackedWeight> packing, std::vector<float> bias,
               Activation activation)
      : kernels_(kernels), packing_(std::move(packing)), bias_(std::move(bias)) {
    if (!packing_.weight) source_ = weight;
    problem_.a_stride = weight.shape[1];
    problem_.weight = gemm_weight(weight);
    problem_.panels = packing_.weight                            ? packing_.weight->panels()
                      : weight.layout == TensorLayout::panels_16 ? weight.data.get()
                                                                 : nullptr;
    problem_.c_stride = weight.shape[0];
    problem_.bias = bias_.empty() ? nullptr : bias_.data();
    problem_.activation = activation;
  }

  void run(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    GemmProblem problem = problem_;
    problem.a = x.as<float>();
    problem.c = context.outputs[0].as<float>();
    run_gemm(kernels_, problem, row_count(x.shape), context.pool, context.workspace);
  }

  size_t workspace_bytes(const BatchLimits&, int threads) const override {
    return gemm_scratch_bytes(kernels_, problem_, threads);
  }
  bool reads_constant(size_t index) const override { return index == 1 && !packing_.weight; }
  size_t packed_bytes() const override { return bias_.size() * sizeof(float) + (packing_.fresh ? packing_.weight->bytes() : 0); }

 private:
  const IsaKernels& kernels_;
  std::optional<Tensor> source_;  // kept alive where it is not packed
  SharedPacking<PackedWeight> packing_;
  std::vector<float> bias_;
  GemmProblem problem_ = {};  // without what a run brings
};

// Packed: the weight in panels, made now or read in place. On the fly: what an embedding table is multiplied by, so that it is
// held once; where kernels are chosen by timing, any row-major weight.
Preparation prepare(const KernelRequest& request, bool on_the_fly) {
  const Network& network = request.network;
  const Node& node = request.node;
  const Operands operands(request);
  if (request.by_timing && node.text("precision", "fp32") == "bf16") throw Refused{"its sums are not those of bfloat16"};
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
  SharedPacking<PackedWeight> packing = {};
  if (!on_the_fly && !in_place) packing = shared_packing<PackedWeight>(kernels, *weight, request.pool);
  std::string reason = table        ? "weights shared with an embedding, packed on the fly"
                       : on_the_fly ? "weights packed on the fly"
                       : in_place   ? "weights in panels of 16 columns, read in place from the engine file"
                                    : "weights packed in panels of 16 columns";
  if (kernels.gemm_in_parts()) reason += "; each float as three bfloat16";
  return {std::make_unique<LinearKernel>(kernels, *weight, std::move(packing), bias, activation), std::move(reason)};
}

// Products of bfloat16. x and what is made may lie in either width.
class Bf16LinearKernel final : public Kernel {
 public:
  Bf16LinearKernel(const IsaKernels& kernels, SharedPacking<PackedBf16Weight> packing, std::vector<float> bias,
                   Activation activation, bool bf16_rows)
      : kernels_(kernels), packing_(std::move(packing)), bias_(std::move(bias)), activation_(activation), bf16_rows_(bf16_rows) {
    // The kernels read whole vectors of it.
    if (!bias_.empty()) bias_.resize(static_cast<size_t>(panel_count(packing_.weight->view().n) * kGemmPanel));
  }

  void run(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const MutableTensorView& out = context.outputs[0];
    const Bf16Weight weight = packing_.weight->view();
    const Bf16GemmProblem problem = {x.data,   float_type_of(x.dtype).value(),         weight.k,
                                     weight,   bias_.empty() ? nullptr : bias_.data(), activation_,
                                     out.data, float_type_of(out.dtype).value(),       weight.n};
    run_bf16_gemm(kernels_, problem, row_count(x.shape), context.pool, context.workspace);
  }

  size_t workspace_bytes(const BatchLimits&, int threads) const override {
    return bf16_gemm_workspace(kernels_, packing_.weight->view().k, threads);
  }
  bool reads_constant(size_t) const override { return false; }
  DType stored(size_t, DType declared) const override { return bf16_rows_ ? DType::bf16 : declared; }
  size_t packed_bytes() const override { return bias_.size() * sizeof(float) + (packing_.fresh ? packing_.weight->bytes() : 0); }

 private:
  const IsaKernels& kernels_;
  SharedPacking<PackedBf16Weight> packing_;
  std::vector<float> bias_;
  Activation activation_;
  bool bf16_rows_;  // made
};

Preparation prepare_bf16(const KernelRequest& request) {
  if (request.node.text("precision", "fp32") != "bf16") throw Refused{""};
  const Operands operands(request);
  const IsaKernels& kernels = kernels_of(request);
  if (!has_bf16_gemm(kernels)) throw Refused{"this instruction set has no bfloat16 products"};
  if (operands.float_type(0, "x") == FloatType::f16) throw Refused{"x is f16"};
  operands.float_type(1, "the weight");
  const std::optional<Tensor>& weight = operands.value(1).constant;
  if (!weight) throw Refused{"the weight is not constant"};
  std::vector<float> bias = operands.has(2) ? operands.constant(2, "the bias") : std::vector<float>();
  const Activation activation = activation_named<Activation>(request.node.text("activation", "none"));
  return {std::make_unique<Bf16LinearKernel>(kernels, shared_packing<PackedBf16Weight>(kernels, *weight, request.pool),
                                             std::move(bias), activation, request.node.text("rows", "f32") == "bf16"),
          "weights packed in panels of 16 columns by 2"};
}

}  // namespace

PrepareResult prepare_bf16_linear(const KernelRequest& request) {
  return prepare_or_refuse([&] { return prepare_bf16(request); });
}
PrepareResult prepare_linear(const KernelRequest& request) {
  return prepare_or_refuse([&] { return prepare(request, false); });
}
PrepareResult prepare_linear_shared(const KernelRequest& request) {
  return prepare_or_refuse([&] { return prepare(request, true); });
}

}  // namespace bertie::cpu
