// layer_norm, skip_layer_norm and embedding_layer_norm: rows shared between the threads.
#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"
#include "cpu/quantized_rows.h"

namespace bertie::cpu {
namespace {

// gamma and beta, widened and held.
struct Affine {
  Affine(const Operands& operands, const Node& node, size_t gamma_input)
      : gamma(operands.constant(gamma_input, "gamma")),
        beta(operands.constant(gamma_input + 1, "beta")),
        epsilon(static_cast<float>(node.real("epsilon"))) {}
  LayerNormScale scale() const { return {gamma.data(), beta.data(), static_cast<int64_t>(gamma.size()), epsilon}; }
  size_t bytes() const { return (gamma.size() + beta.size()) * sizeof(float); }

  std::vector<float> gamma, beta;
  float epsilon;
};

// Rows that are wanted as integers alone pass through a row of floats of their thread's.
class Output {
 public:
  Output(const KernelRequest& request, int64_t extent) : output_(request), extent_(extent) {}
  size_t workspace_bytes(int threads) const { return output_.floats ? 0 : row_bytes() * static_cast<size_t>(threads); }
  LayerNormOutput rows(const KernelContext& context, int worker) const {
    LayerNormOutput out = {};
    if (output_.floats) {
      out.floats = context.outputs[0].as<float>();
      out.stride = extent_;
    } else {
      out.floats = reinterpret_cast<float*>(context.workspace.data() + row_bytes() * static_cast<size_t>(worker));
    }
    out.quantized = output_.of(context, out.floats, out.stride, extent_);
    return out;
  }
  size_t bytes() const { return output_.bytes(); }

 private:
  size_t row_bytes() const { return (static_cast<size_t>(extent_) * sizeof(float) + 63) / 64 * 64; }
  QuantizedRows output_;
  int64_t extent_;
};

class LayerNorm final : public Kernel {
 public:
  LayerNorm(const KernelRequest& request, bool with_residual)
      : kernels_(kernels_of(request)),
        affine_(Operands(request), request.node, with_residual ? 2 : 1),
        output_(request, affine_.scale().extent),
        with_residual_(with_residual) {}

  void run(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const float* residual = with_residual_ ? context.inputs[1].as<float>() : nullptr;
    for_row_pieces(context.pool, row_count(x.shape), affine_.scale().extent, [&](int64_t begin, int64_t end, int worker) {
      kernels_.layer_norm({x.as<float>(), residual, affine_.scale(), output_.rows(context, worker)}, begin, end);
    });
  }
  size_t workspace_bytes(const BatchLimits&, int threads) const override { return output_.workspace_bytes(threads); }
  bool reads_constant(size_t index) const override { return index < (with_residual_ ? 2 : 1); }
  size_t packed_bytes() const override { return affine_.bytes() + output_.bytes(); }

 private:
  const IsaKernels& kernels_;
  Affine affine_;
  Output output_;
  bool with_residual_;
};

class EmbeddingLayerNorm final : public Kernel {
 public:
  explicit EmbeddingLayerNorm(const KernelRequest& request)
      : kernels_(kernels_of(request)),
        affine_(Operands(request), request.node, 2 * kTables),
        output_(request, affine_.scale().extent) {
    const Operands operands(request);
    for (size_t table : {0, 1, 2}) {
      if (!operands.has(table)) continue;
      types_[table] = operands.float_type(table + kTables, "a table");
      wide_[table] = operands.value(table).dtype == DType::i64;
    }
  }

  void run(const KernelContext& context) const override {
    EmbeddingLayerNormRows rows = {};
    for (size_t table = 0; table < kTables; ++table) {
      const TensorView& ids = context.inputs[table];
      if (ids.data)
        rows.tables[rows.table_count++] = {context.inputs[table + kTables].data, ids.data, types_[table], wide_[table]};
    }
    rows.scale = affine_.scale();
    for_row_pieces(context.pool, context.inputs[0].shape.elements(), rows.scale.extent,
                   [&](int64_t begin, int64_t end, int worker) {
                     EmbeddingLayerNormRows piece = rows;
                     piece.out = output_.rows(context, worker);
                     kernels_.embedding_layer_norm(piece, begin, end);
                   });
  }
  size_t workspace_bytes(const BatchLimits&, int threads) const override { return output_.workspace_bytes(threads); }
  bool reads_constant(size_t index) const override { return index < 2 * kTables; }
  size_t packed_bytes() const override { return affine_.bytes() + output_.bytes(); }

 private:
  static constexpr size_t kTables = EmbeddingLayerNormRows::kMaxTables;
  const IsaKernels& kernels_;
  Affine affine_;
  Output output_;
  FloatType types_[kTables] = {};
  bool wide_[kTables] = {};
};

PrepareResult prepare_layer_norm_kernel(const KernelRequest& request, bool with_residual) {
  return prepare_or_refuse([&] {
    const Operands operands(request);
    operands.require_f32(0, "x");
    if (with_residual) operands.require_f32(1, "the residual");
    return Preparation{std::make_unique<LayerNorm>(request, with_residual), "two passes over rows in the first-level cache"};
  });
}

}  // namespace

PrepareResult prepare_layer_norm(const KernelRequest& request) { return prepare_layer_norm_kernel(request, false); }
PrepareResult prepare_skip_layer_norm(const KernelRequest& request) { return prepare_layer_norm_kernel(request, true); }

PrepareResult prepare_embedding_layer_norm(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    return Preparation{std::make_unique<EmbeddingLayerNorm>(request),
                       "tables read where they lie, summed and normalised in one pass"};
  });
}

}  // namespace bertie::cpu
