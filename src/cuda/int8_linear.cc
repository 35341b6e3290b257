// int8_linear: by wgmma_linear, with quantize_rows behind it where rows have scales of their own; or sums of products of eight-bit integers by
// cuBLASLt, and a kernel behind them that makes results of sums. There rows are taken so many at a time that their sums are still in the L2
// cache when they are read.
#include "cuda/kernels/int8_linear.h"

#include <algorithm>

#include "backend/batch_shape.h"
#include "cuda/kernels/quantize_rows.h"
#include "cuda/kernels/wgmma_linear.h"
#include "cuda/ops.h"
#include "cuda/products.h"
#include "cuda/quantized_rows.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

enum Input : size_t { kX, kXScale, kWeight, kWeightScale, kBias, kResidual };

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
  Int8Linear(Operands&& operands, const RowOutput& output, Activation activation, int64_t columns, int64_t depth)
      : Step(std::move(operands), operands.computed()),
        output_(output),
        element_(element_of(operands.computed())),
        activation_(activation),
        columns_(columns),
        one_scale_(operands.value(kXScale).shape.empty()),
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
    const TensorView& x = context.inputs[kX];
    const int64_t rows = row_count(x.shape), depth = x.shape.back();
    const auto input = [&](size_t index) { return index < context.inputs.size() ? context.inputs[index] : TensorView{}; };
    auto* sums = reinterpret_cast<int32_t*>(context.workspace.data());
    Int8ResultsParams params{};
    params.sums = sums;
    params.one_scale = one_scale_;
    params.w_scale = context.inputs[kWeightScale].as<float>();
    params.bias = input(kBias).as<float>();
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
      params.x_scale = context.inputs[kXScale].as<float>() + (one_scale_ ? 0 : row);
      params.residual = from(const_cast<void*>(input(kResidual).data), row);
      params.y = from(output_.y(context), row);
      params.quantized = from_row(output_.quantized(context), row, columns_);
      product_.enqueue(x.as<int8_t>() + row * depth, context.inputs[kWeight].as<int8_t>(), sums, params.rows,
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

class WgmmaInt8Linear final : public Step {
 public:
  WgmmaInt8Linear(Operands&& operands, const RowOutput& output, Activation activation, int64_t columns)
      : Step(std::move(operands), operands.computed()),
        output_(output),
        result_shape_(operands.result().shape),
        activation_(activation),
        columns_(columns),
        one_scale_(operands.value(kXScale).shape.empty()),
        launcher_(device().launcher<WgmmaLinearParams>("wgmma_linear")),
        quantize_(device().launcher<QuantizeRowsParams>("quantize_rows")) {}

 protected:
  size_t own_workspace_bytes(const BatchLimits& limits) const override {
    return by_row() ? bytes_of(row_count(shape_in(limits, result_shape_))) : 0;
  }
  size_t own_run_workspace_bytes(const BatchLimits&, std::span<const TensorView> inputs) const override {
    return by_row() ? bytes_of(row_count(inputs[kX].shape)) : 0;
  }

  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[kX];
    WgmmaLinearParams params{};
    params.x = x.data;
    params.weight = context.inputs[kWeight].data;
    if (context.inputs.size() > kBias) params.bias = context.inputs[kBias].as<float>();
    params.y = by_row() ? context.workspace.data() : output_.y(context);
    params.operands = LinearOperands::int8;
    params.element = Element::f16;
    params.x_scale = context.inputs[kXScale].as<float>();
    params.one_scale = one_scale_;
    params.w_scale = context.inputs[kWeightScale].as<float>();
    if (output_.fixed) params.quantized = output_.quantized(context);
    params.activation = activation_;
    params.rows = row_count(x.shape);
    params.columns = columns_;
    params.depth = x.shape.back();
    params.live_rows = x.shape.rank() == 2 ? live(context) : nullptr;
    params.overflow = overflow(context);
    params.step = context.device->step;
    device().launch(launcher_, params, context.device->stream);
    if (!by_row()) return;
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
  // Whether rows are quantised once all their columns are there.
  bool by_row() const { return output_.integers && !output_.fixed; }
  size_t bytes_of(int64_t rows) const { return static_cast<size_t>(rows * columns_) * sizeof(uint16_t); }

  RowOutput output_;
  SymbolicShape result_shape_;
  Activation activation_;
  int64_t columns_;
  bool one_scale_;
  Launcher<WgmmaLinearParams> launcher_;
  Launcher<QuantizeRowsParams> quantize_;
};

void want_operands(Operands& operands) {
  operands.want_as_it_is(kX);
  operands.want(kXScale, DType::f32, "the scale of x");
  operands.want_as_it_is(kWeight);
  operands.want(kWeightScale, DType::f32, "the scales of the weight");
  if (operands.has(kBias)) operands.want(kBias, DType::f32, "the bias");
  if (operands.has(kResidual)) operands.want(kResidual, operands.computed(), "the residual");
  const SymbolicShape& weight = operands.value(kWeight).shape;
  if (!weight[0].is_fixed() || !weight[1].is_fixed()) throw Refused{"the weight's shape is not fixed"};
}

}  // namespace

PrepareResult prepare_int8_linear(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const Activation activation = activation_of(request.node);
    want_operands(operands);
    const RowOutput output(operands);
    const SymbolicShape& weight = operands.value(kWeight).shape;
    auto kernel = std::make_unique<Int8Linear>(std::move(operands), output, activation, weight[0].size, weight[1].size);
    const char* reason = kernel->on_matrix_units() ? "cuBLASLt, sums in 32-bit integers"
                                                   : "plain loops: K and N in sixteens alone suit matrix units";
    return Preparation{std::move(kernel), reason};
  });
}

PrepareResult prepare_wgmma_int8_linear(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    refuse_without_wgmma(*operands.device());
    const Activation activation = activation_of(request.node);
    if (activation != Activation::none && activation != Activation::gelu) throw Refused{"another activation than GELU (erf)"};
    if (operands.computed() != DType::f16) throw Refused{"results that are not f16"};
    if (operands.has(kResidual)) throw Refused{"a residual"};
    want_operands(operands);
    const SymbolicShape& weight = operands.value(kWeight).shape;
    if (!wgmma_linear_takes_eight_bits(weight[0].size, weight[1].size)) {
      throw Refused{fmt::format("{} columns, {} deep: multiples of 16, and at least {} deep", weight[0].size, weight[1].size,
                                kWgmmaLinearLeastDepth)};
    }
    const RowOutput output(operands);
    const int64_t columns = weight[0].size;
    return Preparation{std::make_unique<WgmmaInt8Linear>(std::move(operands), output, activation, columns),
                       "sums in 32-bit integers, scales and GELU beside products"};
  });
}

}  // namespace bertie::cuda
