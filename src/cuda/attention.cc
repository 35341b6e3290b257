// attention over packed rows, whole sequences or the query rows that a network input names, and over padded rows with a mask of keys or a
// bias by query and key.
#include <numbers>

#include "backend/batch_shape.h"
#include "cuda/eight_bit_linear.h"
#include "cuda/kernels/any_attention.h"
#include "cuda/kernels/eight_bit_attention.h"
#include "cuda/kernels/quantize_rows.h"
#include "cuda/kernels/tf32_attention.h"
#include "cuda/kernels/tile_attention.h"
#include "cuda/kernels/wgmma_attention.h"
#include "cuda/numbers.h"
#include "cuda/ops.h"
#include "cuda/quantized_rows.h"
#include "cuda/step.h"
#include "network/attention_bias.h"

namespace bertie::cuda {
namespace {

enum Input : size_t { kQuery, kKey, kValue, kMask, kRelativeBias, kQueryRows, kBias };

static_assert(sizeof(QueryTile) == sizeof(AttentionTile) && offsetof(QueryTile, key_count) == offsetof(AttentionTile, key_count),
              "kernels read the engine's tiles");

struct AttentionShape {
  bool packed_qkv, padded;
  int64_t heads, head_dim;
  float scale;  // as the kernel wants it
};

AttentionShape shape_of(const Operands& operands) {
  AttentionShape shape{};
  shape.packed_qkv = operands.node().integer("packed_qkv") != 0;
  shape.padded = operands.value(kQuery).shape.size() == 3;
  shape.heads = operands.node().integer("heads");
  shape.head_dim = operands.fixed_width(kQuery, "q") / shape.heads / (shape.packed_qkv ? 3 : 1);
  shape.scale = static_cast<float>(operands.node().real("scale", 1));
  return shape;
}

void want_operands(Operands& operands, const AttentionShape& shape) {
  operands.want(kQuery, operands.computed(), "q");
  if (!shape.packed_qkv) {
    operands.want(kKey, operands.computed(), "k");
    operands.want(kValue, operands.computed(), "v");
  }
  if (operands.has(kMask)) want_number(operands, kMask, "the mask");
  if (operands.has(kRelativeBias)) operands.want(kRelativeBias, DType::f32, "the relative bias");
  if (operands.has(kBias)) operands.want(kBias, DType::f32, "the bias");
  if (operands.has(kQueryRows)) {
    if (operands.value(kQueryRows).dtype != DType::i32) throw Refused{"query_rows are not i32"};
    operands.want_as_it_is(kQueryRows);
  }
}

class Attention final : public Step {
 public:
  // `launcher`: of a kernel whose tiles have at most `queries` queries.
  Attention(Operands& operands, const RowOutput& output, const AttentionShape& shape, const char* launcher, int64_t queries)
      : Step(operands, operands.computed()),
        output_(output),
        shape_(shape),
        result_shape_(operands.result().shape),
        queries_(queries),
        launcher_(device().launcher<AnyAttentionParams>(launcher)),
        quantize_(device().launcher<QuantizeRowsParams>("quantize_rows")) {}

  int64_t query_block() const override { return shape_.padded ? 0 : queries_; }

 protected:
  void enqueue(const KernelContext& context) const override {
    const auto input = [&](size_t index) { return index < context.inputs.size() ? context.inputs[index] : TensorView{}; };
    const DeviceBatch& batch = *context.device;
    const int64_t width = shape_.heads * shape_.head_dim;
    const TensorView& q = context.inputs[kQuery];
    const size_t bytes = dtype_size(q.dtype);
    const auto* first = q.as<std::byte>();
    AnyAttentionParams params{};
    params.q = first;
    params.k = shape_.packed_qkv ? first + static_cast<size_t>(width) * bytes : input(kKey).data;
    params.v = shape_.packed_qkv ? first + static_cast<size_t>(2 * width) * bytes : input(kValue).data;
    params.y = output_.y(context);
    if (output_.fixed) params.quantized = output_.quantized(context);
    if (by_row() && !params.y) params.y = context.workspace.data();
    params.element = element_of(q.dtype);
    params.row_stride = shape_.packed_qkv ? 3 * width : width;
    params.key_rows = row_count(q.shape);
    params.heads = static_cast<int32_t>(shape_.heads);
    params.head_dim = static_cast<int32_t>(shape_.head_dim);
    params.scale = shape_.scale;
    params.tiles = shape_.padded ? nullptr : reinterpret_cast<const AttentionTile*>(batch.tiles);
    params.tile_capacity = static_cast<int32_t>(batch.tile_capacity);
    params.tile_count = batch.tile_count;
    params.query_rows = input(kQueryRows).as<int32_t>();
    if (shape_.padded) {
      params.sequences = q.shape[0];
      params.sequence = q.shape[1];
      params.mask = row_mask(input(kMask));
    } else {
      params.columns = context.batch.columns;
    }
    params.relative_bias = input(kRelativeBias).as<float>();
    if (params.relative_bias) params.bias_entries = static_cast<int32_t>(input(kRelativeBias).shape[1]);
    if (const TensorView bias = input(kBias); bias.data) {
      const AttentionBiasStrides strides(bias.shape);
      params.bias = bias.as<float>();
      params.bias_sequence_stride = strides.sequence;
      params.bias_head_stride = strides.head;
      params.bias_query_stride = strides.query;
      params.least_bias = kLeastAttentionBias;
    }
    params.overflow = overflow(context);
    params.step = batch.step;
    device().launch(launcher_, params, batch.stream);
    if (!by_row()) return;
    QuantizeRowsParams quantize{};
    quantize.x = params.y;
    quantize.element = params.element;
    quantize.quantized = output_.quantized(context);
    quantize.rows = row_count(context.outputs[0].shape);
    quantize.width = width;
    quantize.live_rows = shape_.padded ? nullptr : live(context);
    device().launch(quantize_, quantize, batch.stream);
  }

  size_t own_workspace_bytes(const BatchLimits& limits) const override {
    return by_row() && !output_.floats ? bytes_of(shape_in(limits, result_shape_).elements()) : 0;
  }
  size_t own_run_workspace_bytes(const BatchLimits& limits, std::span<const TensorView> inputs) const override {
    if (!shape_.padded) return own_workspace_bytes(limits);
    const int64_t width = shape_.heads * shape_.head_dim;
    return by_row() && !output_.floats ? bytes_of(row_count(inputs[kQuery].shape) * width) : 0;
  }

 private:
  // Whether rows are quantised once all heads of them are there.
  bool by_row() const { return output_.integers && !output_.fixed; }
  static size_t bytes_of(int64_t elements) { return static_cast<size_t>(elements) * sizeof(float); }

  RowOutput output_;
  AttentionShape shape_;
  SymbolicShape result_shape_;
  int64_t queries_;
  Launcher<AnyAttentionParams> launcher_;
  Launcher<QuantizeRowsParams> quantize_;
};

Preparation prepare(Operands& operands, const AttentionShape& shape, const char* launcher, int64_t queries, const char* reason) {
  want_operands(operands, shape);
  const RowOutput output(operands);
  return {std::make_unique<Attention>(operands, output, shape, launcher, queries), reason};
}

// `queries`: of a tile, by the head's width. `refuse`: throws Refused for what this kernel in particular does not take.
template <typename Queries, typename Refuse>
PrepareResult prepare_in_floats(const KernelRequest& request, const char* launcher, Queries queries, const char* reason,
                                Refuse refuse) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const AttentionShape shape = shape_of(operands);
    refuse(operands, shape);
    return prepare(operands, shape, launcher, queries(static_cast<int>(shape.head_dim)), reason);
  });
}

void refuse_what_matrix_units_do_not_take(const AttentionShape& shape) {
  if (!tile_attention_takes(static_cast<int>(shape.head_dim)))
    throw Refused{fmt::format("heads of {}: 32, 64 or 128", shape.head_dim)};
}

void refuse_what_16_bit_products_do_not_take(const Operands& operands, const AttentionShape& shape) {
  if (operands.computed() == DType::f32) throw Refused{"q, k and v of f32"};
  refuse_what_matrix_units_do_not_take(shape);
}

Preparation prepare_in_eight_bits(Operands& operands, const char* launcher, const char* reason) {
  AttentionShape shape = shape_of(operands);
  const double scale = operands.node().real("scale", 1);
  if (shape.padded) throw Refused{"q, k and v that run padded"};
  if (!eight_bit_attention_takes(static_cast<int>(shape.head_dim)))
    throw Refused{fmt::format("heads of {}: multiples of 8 up to {}", shape.head_dim, kEightBitAttentionWidest)};
  if (!(scale >= 0)) throw Refused{"a scale below 0"};
  shape.scale = static_cast<float>(scale * std::numbers::log2e);
  return prepare(operands, shape, launcher, kEightBitAttentionQueries, reason);
}

}  // namespace

PrepareResult prepare_int8_attention(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    if (request.node.text("precision", "fp32") != "int8") throw Refused{""};
    Operands operands(request, kQuery);
    return prepare_in_eight_bits(operands, "int8_attention", "eight-bit products on matrix units, exact, softmax in f32");
  });
}

PrepareResult prepare_fp8_attention(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    if (request.node.text("precision", "fp32") != "fp8") throw Refused{""};
    Operands operands(request, kQuery);
    if (operands.device()->capability() < kFp8Capability) throw Refused{"no e4m3 in the device's matrix units"};
    return prepare_in_eight_bits(operands, "fp8_attention",
                                 "eight-bit products on matrix units, weights and values in e4m3, softmax in f32");
  });
}

PrepareResult prepare_any_attention(const KernelRequest& request) {
  return prepare_in_floats(
      request, "any_attention", [](int) { return kAnyAttentionQueries; }, "any head width, arithmetic in f32",
      [](const Operands&, const AttentionShape& shape) {
        if (shape.head_dim > kAnyAttentionWidest)
          throw Refused{fmt::format("heads of {}: at most {}", shape.head_dim, kAnyAttentionWidest)};
      });
}

PrepareResult prepare_tile_attention(const KernelRequest& request) {
  return prepare_in_floats(
      request, "tile_attention", [](int) { return kTileAttentionQueries; }, "16-bit products on matrix units, softmax in f32",
      refuse_what_16_bit_products_do_not_take);
}

PrepareResult prepare_tf32_attention(const KernelRequest& request) {
  return prepare_in_floats(request, "tf32_attention", tf32_attention_queries, "products of tf32 on matrix units, softmax in f32",
                           [](const Operands& operands, const AttentionShape& shape) {
                             if (!operands.tf32()) throw Refused{"a precision other than tf32"};
                             refuse_what_matrix_units_do_not_take(shape);
                           });
}

PrepareResult prepare_wgmma_attention(const KernelRequest& request) {
  return prepare_in_floats(request, "wgmma_attention", wgmma_attention_queries,
                           "16-bit products by warpgroups, K and V by the copy engine, softmax in f32",
                           [](const Operands& operands, const AttentionShape& shape) {
                             refuse_what_16_bit_products_do_not_take(operands, shape);
                             refuse_without_wgmma(*operands.device());
                             if (shape.padded) throw Refused{"q, k and v that run padded"};
                             if (operands.has(kQueryRows)) throw Refused{"few queries a sequence: smaller tiles waste less"};
                           });
}

}  // namespace bertie::cuda
