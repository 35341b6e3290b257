// int8_linear where wgmma_linear does not take it: sums of products of eight-bit integers by cuBLASLt, and a kernel behind them that makes results
// of sums. Rows are taken so many at a time that their sums are still in the L2 cache when they are read.
#include "cuda/kernels/int8_linear.h"

#include <algorithm>

#include "cuda/eight_bit_linear.h"
#include "cuda/ops.h"
#include "cuda/products.h"
#include "cuda/quantized_rows.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

constexpr int64_t kRowsOfTiles = 256, kLeastRows = 1024;  // fewer would leave multiprocessors idle

// Sums of products, d [m, n] = a [m, k] b^T [n, k]: the one place that knows how they are made.
class Int8Product {
 public:
  Int8Product(const CudaDevice& device, int64_t n, int64_t k)
      : device_(device), n_(n), k_(k), launcher_(device.launcher<Int8SumsParams>("int8_sums")) {
    // What matrix units take (16 columns are more than cuBLASLt says that it asks for).
    if (n % 16 != 0 || k % 16 != 0 || k == 0) return;
    const BertieCudaProduct product = of_rows(kLeastRows);
    int32_t count = 0;
    by_library_ =
        device.api().product_candidates(device.index(), &product, kProductWorkspace, 1, &count) == BERTIE_CUDA_OK && count > 0;
  }

  bool by_library() const { return by_library_; }
  size_t workspace_bytes() const { return by_library_ ? kProductWorkspace : 0; }

  void enqueue(const int8_t* a, const int8_t* b, int32_t* d, int64_t rows, std::byte* workspace, const Stream& stream) const {
    if (!by_library_) {
      device_.launch(launcher_, Int8SumsParams{a, b, d, rows, n_, k_}, stream);
      return;
    }
    const BertieCudaProduct product = of_rows(rows);
    BertieCudaOperands operands{};
    operands.a = a;
    operands.b = b;
    operands.d = d;
    operands.workspace = workspace;
    operands.workspace_bytes = kProductWorkspace;
    device_.check(device_.api().run_product(device_.index(), &product, &operands, stream.handle()), "a product of integers");
  }

 private:
  BertieCudaProduct of_rows(int64_t rows) const {
    BertieCudaProduct product{};
    product.element = BERTIE_CUDA_I8;
    product.transposed = 1;
    product.batch = 1;
    product.m = rows;
    product.n = n_;
    product.k = k_;
    return product;
  }

  const CudaDevice& device_;
  int64_t n_, k_;
  bool by_library_ = false;
  Launcher<Int8SumsParams> launcher_;
};

class Int8Linear final : public Step {
 public:
  Int8Linear(Operands& operands, const RowOutput& output, Activation activation, int64_t columns, int64_t depth)
      : Step(operands, operands.computed()),
        output_(output),
        element_(element_of(operands.computed())),
        activation_(activation),
        columns_(columns),
        one_scale_(operands.value(kLinearXScale).shape.empty()),
        product_(device(), columns, depth),
        launcher_(device().launcher<Int8ResultsParams>("int8_results")) {
    const int64_t row_bytes = std::max<int64_t>(columns, 1) * static_cast<int64_t>(sizeof(int32_t));
    const auto cached = static_cast<int64_t>(device().properties().l2_bytes) / 2 / row_bytes / kRowsOfTiles * kRowsOfTiles;
    rows_at_once_ = std::max(cached, kLeastRows);
  }

  bool on_matrix_units() const { return product_.by_library(); }

 protected:
  size_t own_workspace_bytes(const BatchLimits&) const override { return product_.workspace_bytes() + sums_bytes(); }

  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[kLinearX];
    const int64_t rows = row_count(x.shape), depth = x.shape.back();
    const auto input = [&](size_t index) { return index < context.inputs.size() ? context.inputs[index] : TensorView{}; };
    auto* sums = reinterpret_cast<int32_t*>(context.workspace.data());
    Int8ResultsParams params{};
    params.sums = sums;
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
      product_.enqueue(x.as<int8_t>() + row * depth, context.inputs[kLinearWeight].as<int8_t>(), sums, params.rows,
                       context.workspace.data() + sums_bytes(), context.device->stream);
      device().launch(launcher_, params, context.device->stream);
    }
  }

 private:
  size_t sums_bytes() const { return static_cast<size_t>(rows_at_once_ * columns_) * sizeof(int32_t); }

  RowOutput output_;
  Element element_;
  Activation activation_;
  int64_t columns_;
  bool one_scale_;  // for all of x
  int64_t rows_at_once_ = 0;
  Int8Product product_;
  Launcher<Int8ResultsParams> launcher_;
};

}  // namespace

PrepareResult prepare_int8_linear(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const Activation activation = activation_of(request.node);
    want_eight_bit_operands(operands);
    const RowOutput output(operands);
    const SymbolicShape& weight = operands.value(kLinearWeight).shape;
    auto kernel = std::make_unique<Int8Linear>(operands, output, activation, weight[0].size, weight[1].size);
    const char* reason = kernel->on_matrix_units() ? "cuBLASLt, sums in 32-bit integers"
                                                   : "plain loops: K and N in sixteens alone suit matrix units";
    return Preparation{std::move(kernel), reason};
  });
}

}  // namespace bertie::cuda
