// attention over packed q, k, v (or one packed qkv) without transposes; a padded batch's masked keys are left out before any work.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"
#include "cpu/quantized_rows.h"
#include "network/attention_bias.h"

namespace bertie::cpu {
namespace {

enum Input : size_t { kQuery, kKey, kValue, kMask, kRelativeBias, kQueryRows, kBias };

// Whether element `index` of a mask is not zero.
bool attended(const TensorView& mask, int64_t index) {
  switch (mask.dtype) {
    case DType::f32: return mask.as<float>()[index] != 0;
    case DType::i64: return mask.as<int64_t>()[index] != 0;
    case DType::i32: return mask.as<int32_t>()[index] != 0;
    default: return mask.as<uint8_t>()[index] != 0;  // bool, i8, u8: all that is prepared
  }
}

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

class Attention final : public Kernel {
 public:
  Attention(const KernelRequest& request, const Operands& operands, bool int8)
      : kernels_(kernels_of(request)),
        attend_(int8 ? kernels_.attention_int8 : kernels_.attention),
        packed_qkv_(request.node.integer("packed_qkv") != 0),
        padded_(operands.value(kQuery).shape.size() == 3),
        masked_(operands.has(kMask)),
        heads_(request.node.integer("heads")),
        head_dim_(operands.fixed_width(kQuery, "q") / heads_ / (packed_qkv_ ? 3 : 1)),
        scale_(static_cast<float>(request.node.real("scale", 1) * M_LOG2E)),
        scratch_bytes_(aligned(
            static_cast<size_t>((int8 ? kernels_.attention_int8_scratch_floats : kernels_.attention_scratch_floats)(head_dim_)) *
            sizeof(float))),
        output_(request) {}

  // A block of scratch for each thread, then what a mask leaves, then rows that are wanted as integers alone, then the work list.
  size_t workspace_bytes(const BatchLimits& limits, int threads) const override {
    const int64_t rows = padded_ ? limits.sequences * limits.longest : limits.tokens;
    const int64_t items = limits.sequences + std::max(rows, limits.rows) / kLeastQueries + limits.rows + 1;
    size_t bytes = scratch_bytes_ * static_cast<size_t>(threads) + aligned(static_cast<size_t>(items) * sizeof(AttentionItem));
    if (masked_) bytes += 2 * aligned(static_cast<size_t>(rows) * sizeof(int32_t));
    return bytes + float_bytes(std::max(rows, limits.rows), threads);
  }

  void run(const KernelContext& context) const override {
    const auto input = [&](size_t index) { return index < context.inputs.size() ? context.inputs[index] : TensorView{}; };
    const int64_t width = heads_ * head_dim_;
    AttentionProblem problem = {};
    problem.q = context.inputs[kQuery].as<float>();
    problem.k = packed_qkv_ ? problem.q + width : context.inputs[kKey].as<float>();
    problem.v = packed_qkv_ ? problem.q + 2 * width : context.inputs[kValue].as<float>();
    problem.row_stride = packed_qkv_ ? 3 * width : width;
    problem.heads = heads_;
    problem.head_dim = head_dim_;
    problem.scale = scale_;
    if (output_.floats) problem.out = context.outputs[0].as<float>();
    const TensorView relative_bias = input(kRelativeBias), bias = input(kBias);
    if (relative_bias.data) {
      problem.relative_bias = relative_bias.as<float>();
      problem.bias_entries = relative_bias.shape[1];
    }
    if (bias.data) {
      const AttentionBiasStrides strides(bias.shape);
      problem.bias = bias.as<float>();
      problem.sequence = bias.shape[3];
      problem.bias_sequence_stride = strides.sequence;
      problem.bias_head_stride = strides.head;
      problem.bias_query_stride = strides.query;
      problem.least_bias = kLeastAttentionBias;
    }
    const TensorView query_rows = input(kQueryRows);
    problem.query_rows = query_rows.as<int32_t>();
    if (!padded_) problem.columns = context.batch.columns;

    const int threads = context.pool.threads();
    std::byte* memory = context.workspace.data() + scratch_bytes_ * static_cast<size_t>(threads);
    const TensorView mask = input(kMask);
    int32_t *key_rows = nullptr, *columns = nullptr;
    if (masked_) {
      const size_t bytes = aligned(static_cast<size_t>(mask.shape.elements()) * sizeof(int32_t));
      problem.key_rows = key_rows = reinterpret_cast<int32_t*>(memory);
      problem.columns = columns = reinterpret_cast<int32_t*>(memory + bytes);
      memory += 2 * bytes;
    }
    const int64_t queries = query_rows.data ? query_rows.shape[0] : row_count(context.inputs[kQuery].shape);
    if (!output_.floats) problem.out = reinterpret_cast<float*>(memory);
    memory += float_bytes(queries, threads);
    WorkList list{reinterpret_cast<AttentionItem*>(memory), queries_at_once(queries, threads)};
    if (masked_) {
      list_masked(mask, key_rows, columns, list);
    } else if (padded_) {
      for (int64_t b = 0; b < context.inputs[kQuery].shape[0]; ++b) {
        const int64_t length = context.inputs[kQuery].shape[1];
        list.add(b * length, length, b * length, length);
      }
    } else if (query_rows.data) {
      list_query_rows(context.batch, query_rows, list);
    } else {
      const int32_t* starts = context.batch.cumulative_lengths;
      for (int64_t b = 0; b < context.batch.sequences; ++b) {
        const int64_t first_key = context.batch.first_key(b);
        list.add(starts[b], starts[b + 1] - starts[b], first_key, starts[b + 1] - first_key);
      }
    }

    // Heads are taken together where single ones would be too many tasks; all of them where rows are quantised by the task that
    // made them, which needs as many blocks of queries for each thread, and none that is more than a thread's share.
    const bool whole_rows =
        output_.integers && (list.count % threads == 0 || list.count >= 4 * threads) && list.largest * threads <= list.total;
    const int64_t heads_at_once =
        whole_rows ? heads_ : std::clamp<int64_t>(list.count * heads_ / (kTasksPerThread * threads), 1, heads_);
    const int64_t groups = (heads_ + heads_at_once - 1) / heads_at_once;
    const int64_t tasks = list.count * groups;
    const auto first_of = [&](int64_t task) {
      return AttentionHead{task < tasks ? &list.items[task / groups] : nullptr, task % groups * heads_at_once};
    };
    const QuantizeRows quantized = output_.of(context, problem.out, width, width);
    context.pool.parallel_for(tasks, [&](int64_t task, int worker) {
      float* scratch = reinterpret_cast<float*>(context.workspace.data() + scratch_bytes_ * static_cast<size_t>(worker));
      const AttentionHead task_begin = first_of(task);
      const AttentionItem& item = *task_begin.item;
      const int64_t end = std::min(heads_, task_begin.head + heads_at_once);
      AttentionProblem part = problem;
      if (whole_rows && !output_.floats) {  // into this thread's block
        part.out = problem.out + worker * kAttentionQueryBlock * width;
        part.first_out_query = item.query_begin;
      }
      for (int64_t head = task_begin.head; head < end; ++head) {
        const AttentionHead next = head + 1 < end ? AttentionHead{&item, head + 1} : first_of(task + threads);
        attend_(part, {&item, head}, next, scratch);
      }
      if (whole_rows) {
        QuantizeRows rows = from_row(quantized, item.query_begin);
        rows.x = part.out + (item.query_begin - part.first_out_query) * width;
        kernels_.quantize_rows(rows, 0, item.query_count);
      }
    });
    if (output_.integers && !whole_rows) {
      for_row_pieces(context.pool, queries, width,
                     [&](int64_t begin, int64_t end) { kernels_.quantize_rows(quantized, begin, end); });
    }
  }

  size_t packed_bytes() const override { return output_.bytes(); }

 private:
  static constexpr int64_t kTasksPerThread = 16;
  static constexpr int64_t kLeastQueries = 32;  // worth packing the keys for

  struct WorkList {
    AttentionItem* items;
    int64_t queries_at_once;
    int64_t count = 0;
    int64_t largest = 0, total = 0;  // scores of an item, of all

    void add(int64_t query_begin, int64_t query_count, int64_t key_begin, int64_t key_count) {
      for (int64_t done = 0; done < query_count; done += queries_at_once) {
        const int64_t queries = std::min(queries_at_once, query_count - done);
        items[count++] = {static_cast<int32_t>(query_begin + done), static_cast<int32_t>(queries),
                          static_cast<int32_t>(key_begin), static_cast<int32_t>(key_count)};
        largest = std::max(largest, queries * key_count);
        total += queries * key_count;
      }
    }
  };

  // Fewer where there would not be enough tasks for all threads. No effect on the result.
  int64_t queries_at_once(int64_t rows, int threads) const {
    int64_t queries = kAttentionQueryBlock;
    while (queries > kLeastQueries && rows * heads_ < queries * 3 * threads) queries /= 2;
    return queries;
  }

  // Rows that are not given as floats: a block for each thread, or all.
  size_t float_bytes(int64_t queries, int threads) const {
    if (output_.floats) return 0;
    return aligned(static_cast<size_t>(std::max(queries, kAttentionQueryBlock * threads) * heads_ * head_dim_) * sizeof(float));
  }

  static void list_query_rows(const PackedBatch& batch, const TensorView& query_rows, WorkList& list) {
    const int32_t* starts = batch.cumulative_lengths;
    const int32_t* rows = query_rows.as<int32_t>();
    for (int64_t i = 0; i < query_rows.shape[0];) {
      // Row T, "the first" of an empty last sequence, falls to that sequence.
      const int32_t* next = std::upper_bound(starts + 1, starts + batch.sequences, rows[i]);
      const int32_t begin = next[-1], end = next[0];
      int64_t last = i + 1;  // of the run of rows in this sequence
      while (last < query_rows.shape[0] && rows[last] >= begin && rows[last] < end) ++last;
      const int64_t first_key = batch.first_key(next - 1 - starts);
      list.add(i, last - i, first_key, end - first_key);
      i = last;
    }
  }

  // Writes the rows of the keys that the mask [B, S] leaves, and the columns of all rows.
  static void list_masked(const TensorView& mask, int32_t* key_rows, int32_t* columns, WorkList& list) {
    const int64_t sequences = mask.shape[0], length = mask.shape[1];
    int64_t keys = 0;
    for (int64_t b = 0; b < sequences; ++b) {
      const int64_t first_key = keys;
      for (int64_t i = 0; i < length; ++i) {
        const int64_t row = b * length + i;
        columns[row] = static_cast<int32_t>(i);
        if (attended(mask, row)) key_rows[keys++] = static_cast<int32_t>(row);
      }
      list.add(b * length, length, first_key, keys - first_key);
    }
  }

  const IsaKernels& kernels_;
  decltype(IsaKernels::attention) attend_;
  bool packed_qkv_, padded_, masked_;
  int64_t heads_, head_dim_;
  float scale_;
  size_t scratch_bytes_;
  QuantizedRows output_;
};

PrepareResult prepare_attention_kernel(const KernelRequest& request, bool int8) {
  return prepare_or_refuse([&] {
    const std::string precision = request.node.text("precision", "fp32");
    if (precision == "fp8") throw Refused{"no kernel in fp8"};
    if ((precision == "int8") != int8) throw Refused{""};
    const Operands operands(request);
    operands.require_f32(kQuery, "q");
    if (!request.node.integer("packed_qkv")) {
      operands.require_f32(kKey, "k");
      operands.require_f32(kValue, "v");
    }
    if (operands.has(kRelativeBias)) operands.require_f32(kRelativeBias, "the relative bias");
    if (operands.has(kBias)) operands.require_f32(kBias, "the bias");
    if (operands.has(kQueryRows) && operands.value(kQueryRows).dtype != DType::i32) throw Refused{"query_rows are not i32"};
    if (operands.has(kMask)) {
      const DType mask = operands.value(kMask).dtype;
      if (mask == DType::f16 || mask == DType::bf16 || mask == DType::f64)
        throw Refused{fmt::format("the mask is {}", dtype_name(mask))};
    }
    if (int8 && request.node.real("scale", 1) < 0) throw Refused{"a scale below 0"};
    const int64_t heads = request.node.integer("heads");
    const int64_t head_dim = operands.fixed_width(kQuery, "q") / heads / (request.node.integer("packed_qkv") ? 3 : 1);
    if (head_dim > kAttentionMaxHeadDim) throw Refused{fmt::format("heads of {}: at most {}", head_dim, kAttentionMaxHeadDim)};
    return Preparation{std::make_unique<Attention>(request, operands, int8),
                       int8 ? "eight-bit products, online softmax in float32, in cached tiles"
                            : "scores, online softmax and values in cached tiles"};
  });
}

}  // namespace

PrepareResult prepare_attention(const KernelRequest& request) { return prepare_attention_kernel(request, false); }
PrepareResult prepare_int8_attention(const KernelRequest& request) { return prepare_attention_kernel(request, true); }

}  // namespace bertie::cpu
