// int8_linear and fp8_linear where wgmma_linear does not take them: sums of products by cuBLASLt, and a kernel behind them that makes results of
// sums. Rows are taken so many at a time that their sums are still in the L2 cache when they are read.
#include "cuda/kernels/eight_bit_sums.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "base/error.h"
#include "cuda/backend.h"
#include "cuda/eight_bit_linear.h"
#include "cuda/ops.h"
#include "cuda/products.h"
#include "cuda/quantized_rows.h"
#include "cuda/step.h"
#include "quant/fp8.h"

namespace bertie::cuda {
namespace {

constexpr int64_t kRowsOfTiles = 256, kLeastRows = 1024;  // fewer would leave multiprocessors idle

// A refusal would leave layers to the CPU's plain loops.
void fail_without_fp8(const CudaDevice& device, const Node& node) {
  if (device.capability() >= kFp8Capability) return;
  fail(ErrorCode::unsupported,
       "linear layer '{}' in fp8: that is for compute capability {}.{} and above; device {} has {}.{}, and the precisions {}",
       node.name, kFp8Capability / 10, kFp8Capability % 10, device.name(), device.capability() / 10, device.capability() % 10,
       fmt::join(cuda_precisions(device), ", "));
}

// Sums of products, d [m, n] = a [m, k] b^T [n, k], of integers in 32-bit integers, of e4m3 in f32: the one place that knows how they are made.
class Sums {
 public:
  Sums(const CudaDevice& device, bool e4m3, int64_t n, int64_t k)
      : device_(device), e4m3_(e4m3), n_(n), k_(k), int8_sums_(device.launcher<Int8SumsParams>("int8_sums")) {
    // What matrix units take (16 columns are more than cuBLASLt says that it asks for).
    if (n % 16 != 0 || k % 16 != 0 || k == 0) return;
    const BertieCudaProduct product = of_rows(kLeastRows);
    int32_t count = 0;
    by_library_ =
        device.api().product_candidates(device.index(), &product, kProductWorkspace, 1, &count) == BERTIE_CUDA_OK && count > 0;
  }

  bool e4m3() const { return e4m3_; }
  bool by_library() const { return by_library_; }
  size_t workspace_bytes() const { return by_library_ ? kProductWorkspace : 0; }

  void enqueue(const void* a, const void* b, void* d, int64_t rows, std::byte* workspace, const Stream& stream) const {
    if (!by_library_) {
      device_.launch(
          int8_sums_,
          Int8SumsParams{static_cast<const int8_t*>(a), static_cast<const int8_t*>(b), static_cast<int32_t*>(d), rows, n_, k_},
          stream);
      return;
    }
    const BertieCudaProduct product = of_rows(rows);
    BertieCudaOperands operands{};
    operands.a = a;
    operands.b = b;
    operands.d = d;
    operands.workspace = workspace;
    operands.workspace_bytes = kProductWorkspace;
    device_.check(device_.api().run_product(device_.index(), &product, &operands, stream.handle()), "a product in eight bits");
  }

 private:
  BertieCudaProduct of_rows(int64_t rows) const {
    BertieCudaProduct product{};
    product.element = e4m3_ ? BERTIE_CUDA_E4M3 : BERTIE_CUDA_I8;
    product.result = BERTIE_CUDA_F32;
    product.transposed = 1;
    product.batch = 1;
    product.m = rows;
    product.n = n_;
    product.k = k_;
    return product;
  }

  const CudaDevice& device_;
  bool e4m3_;  // else integers
  int64_t n_, k_;
  bool by_library_ = false;
  Launcher<Int8SumsParams> int8_sums_;
};

class EightBitSums final : public Step {
 public:
  EightBitSums(Operands& operands, const RowOutput& output, Activation activation, const Sums& sums)
      : Step(operands, operands.computed()),
        output_(output),
        element_(element_of(operands.computed())),
        activation_(activation),
        columns_(operands.value(kLinearWeight).shape[0].size),
        one_scale_(operands.value(kLinearXScale).shape.empty()),
        sums_(sums),
        results_(device().launcher<EightBitResultsParams>("eight_bit_results")) {
    const int64_t row_bytes = std::max<int64_t>(columns_, 1) * static_cast<int64_t>(sizeof(int32_t));
    const auto cached = static_cast<int64_t>(device().properties().l2_bytes) / 2 / row_bytes / kRowsOfTiles * kRowsOfTiles;
    rows_at_once_ = std::max(cached, kLeastRows);
  }

 protected:
  size_t own_workspace_bytes(const BatchLimits&) const override { return sums_.workspace_bytes() + sums_bytes(); }

  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[kLinearX];
    const int64_t rows = row_count(x.shape), depth = x.shape.back();
    const auto input = [&](size_t index) { return index < context.inputs.size() ? context.inputs[index] : TensorView{}; };
    EightBitResultsParams params{};
    params.sums = context.workspace.data();
    params.float_sums = sums_.e4m3();
    params.one_scale = one_scale_;
    params.w_scale = context.inputs[kLinearWeightScale].as<float>();
    params.bias = input(kLinearBias).as<float>();
    params.element = element_;
    params.activation = activation_;
    params.width = columns_;
    params.live_rows = x.shape.rank() == 2 ? live(context) : nullptr;
    params.overflow = overflow(context);
    params.step = context.device->step;
    const auto from = [&](void* floats, int64_t row) -> void* {
      const size_t bytes = element_ == Element::f32 ? 4 : 2;
      return floats ? static_cast<std::byte*>(floats) + static_cast<size_t>(row * columns_) * bytes : nullptr;
    };
    for (int64_t row = 0; row < rows; row += rows_at_once_) {
      params.rows = std::min(rows - row, rows_at_once_);
      params.first_row = row;
      params.x_scale = context.inputs[kLinearXScale].as<float>() + (one_scale_ ? 0 : row);
      params.residual = from(const_cast<void*>(input(kLinearResidual).data), row);
      params.y = from(output_.y(context), row);
      params.quantized = from_row(output_.quantized(context), row, columns_);
      sums_.enqueue(x.as<std::byte>() + row * depth, context.inputs[kLinearWeight].data, context.workspace.data(), params.rows,
                    context.workspace.data() + sums_bytes(), context.device->stream);
      device().launch(results_, params, context.device->stream);
    }
  }

 private:
  size_t sums_bytes() const { return static_cast<size_t>(rows_at_once_ * columns_) * sizeof(int32_t); }  // f32 is as wide

  RowOutput output_;
  Element element_;
  Activation activation_;
  int64_t columns_;
  bool one_scale_;  // for all of x
  int64_t rows_at_once_ = 0;
  Sums sums_;
  Launcher<EightBitResultsParams> results_;
};

PrepareResult prepare_sums_kernel(const KernelRequest& request, bool e4m3) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    if (e4m3) fail_without_fp8(*operands.device(), request.node);
    const Activation activation = activation_of(request.node);
    want_eight_bit_operands(operands);
    const RowOutput output(operands);
    const SymbolicShape& weight = operands.value(kLinearWeight).shape;
    const Sums sums(*operands.device(), e4m3, weight[0].size, weight[1].size);
    const char* reason = e4m3                ? "cuBLASLt, e4m3, sums in f32"
                         : sums.by_library() ? "cuBLASLt, sums in 32-bit integers"
                                             : "plain loops: K and N in sixteens alone suit matrix units";
    if (e4m3 && !sums.by_library()) {
      throw Refused{fmt::format("{} columns, {} deep: cuBLASLt has no product of e4m3 of them (it wants multiples of {})",
                                weight[0].size, weight[1].size, kFp8Multiple)};
    }
    return Preparation{std::make_unique<EightBitSums>(operands, output, activation, sums), reason};
  });
}

}  // namespace

PrepareResult prepare_cublaslt_fp8_linear(const KernelRequest& request) { return prepare_sums_kernel(request, true); }
PrepareResult prepare_int8_linear(const KernelRequest& request) { return prepare_sums_kernel(request, false); }

}  // namespace bertie::cuda
