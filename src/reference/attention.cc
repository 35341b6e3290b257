// softmax(scale * q k^T + relative_bias + bias + mask) v, one query row and head at a time; in eight bits as src/quant/attention_int8.h and
// attention_fp8.h say.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "network/attention_bias.h"
#include "network/eight_bit_linear.h"
#include "quant/attention_fp8.h"
#include "reference/kernel.h"
#include "reference/ops.h"
#include "reference/row_output.h"

namespace bertie::reference {
namespace {

enum Input : size_t { kQuery, kKey, kValue, kMask, kRelativeBias, kQueryRows, kBias };

class Attention final : public Kernel {
 public:
  explicit Attention(const KernelRequest& request)
      : heads_(request.node.integer("heads")),
        scale_(request.node.real("scale", 1)),
        in_eight_bits_(!is_eight_bit_attention(request.node)     ? nullptr
                       : request.node.text("precision") == "fp8" ? attend_fp8
                                                                 : attend_int8),
        packed_qkv_(request.node.integer("packed_qkv") != 0),
        head_dim_(request.network.value(request.node.inputs[kQuery]).shape.back().size / heads_ / (packed_qkv_ ? 3 : 1)),
        output_(request) {}

  // A row's scratch for each thread, then its floats.
  size_t workspace_bytes(const BatchLimits& limits, int threads) const override {
    return static_cast<size_t>(threads) * (scratch_bytes(limits.longest) + output_.bytes_per_thread());
  }

  void run(const KernelContext& context) const override {
    const auto input = [&](size_t index) { return index < context.inputs.size() ? context.inputs[index] : TensorView{}; };
    const TensorView& q = context.inputs[kQuery];
    const Shape& shape = q.shape;
    const bool packed = shape.rank() == 2;
    const Operands operands{q,
                            packed_qkv_ ? q : input(kKey),
                            packed_qkv_ ? q : input(kValue),
                            input(kMask),
                            input(kRelativeBias),
                            packed ? context.batch.columns : nullptr,
                            input(kBias)};
    const TensorView query_rows = input(kQueryRows);
    const int32_t* starts = context.batch.cumulative_lengths;
    const int64_t longest = packed ? context.batch.longest : shape[1];
    const int64_t rows = query_rows.data ? query_rows.shape[0] : row_count(shape);

    context.pool.parallel_for(rows, [&](int64_t index, int worker) {
      const int64_t row = query_rows.data ? integer(query_rows, index) : index;
      // The keys that the row attends to are [begin, end).
      int64_t begin = packed ? 0 : row / longest * longest;
      int64_t end = begin + longest;
      if (packed) {
        // Row T, "the first" of an empty last sequence, falls to that sequence.
        const int32_t* next = std::upper_bound(starts + 1, starts + context.batch.sequences, static_cast<int32_t>(row));
        begin = context.batch.first_key(next - 1 - starts);
        end = next[0];
      }
      std::byte* scratch = context.workspace.data() + static_cast<size_t>(worker) * scratch_bytes(longest);
      std::byte* floats = context.workspace.data() + static_cast<size_t>(context.pool.threads()) * scratch_bytes(longest);
      output_.write(context, index, floats + static_cast<size_t>(worker) * output_.bytes_per_thread(), [&](float* out) {
        for (int64_t head = 0; head < heads_; ++head) {
          if (in_eight_bits_) {
            attend_in_eight_bits(operands, row, begin, end, head, scratch, out + head * head_dim_);
          } else {
            double* scores = reinterpret_cast<double*>(scratch);
            attend(operands, row, begin, end, head, scores, scores + longest, out + head * head_dim_);
          }
        }
      });
    });
  }

 private:
  struct Operands {
    const TensorView& q;
    TensorView k, v, mask, relative_bias;
    const int32_t* columns;
    TensorView bias;
    bool is_biased() const { return relative_bias.data || bias.data; }
    // `first`: the row of the sequence's first token.
    double bias_of(int64_t head, int64_t first, int64_t row, int64_t key) const {
      const auto column = [&](int64_t token) { return columns ? columns[token] : token - first; };
      if (relative_bias.data) {
        const int64_t entries = relative_bias.shape[1];  // 2P-1, the middle one for a token and itself
        return number(relative_bias, head * entries + entries / 2 + column(key) - column(row));
      }
      const AttentionBiasStrides strides(bias.shape);
      const int64_t entry =
          first / q.shape[1] * strides.sequence + head * strides.head + (row - first) * strides.query + key - first;
      return std::max(number(bias, entry), double{kLeastAttentionBias});
    }
  };

  // In float32 the scores and the weighted sum of values; in eight bits the keys' rows, values and biases, then integers.
  size_t scratch_bytes(int64_t longest) const {
    const auto keys = static_cast<size_t>(longest), width = static_cast<size_t>(head_dim_);
    if (!in_eight_bits_) return (keys + width) * sizeof(double);
    return ((keys * (2 * width + 1) + width) * sizeof(float) + attend_int8_scratch(head_dim_) + 7) / 8 * 8;
  }

  // `scores` has room for end - begin values, `sum` for head_dim. A row that attends to nothing gives 0.
  void attend(const Operands& in, int64_t row, int64_t begin, int64_t end, int64_t head, double* scores, double* sum,
              float* out) const {
    const int64_t width = in.q.shape.back();
    const int64_t key_offset = head * head_dim_ + (packed_qkv_ ? heads_ * head_dim_ : 0);
    const int64_t value_offset = head * head_dim_ + (packed_qkv_ ? 2 * heads_ * head_dim_ : 0);

    double largest = -std::numeric_limits<double>::infinity();
    for (int64_t key = begin; key < end; ++key) {
      double score = -std::numeric_limits<double>::infinity();
      if (attended(in.mask, key)) {
        double dot = 0;
        for (int64_t d = 0; d < head_dim_; ++d) {
          dot += number(in.q, row * width + head * head_dim_ + d) * number(in.k, key * width + key_offset + d);
        }
        score = scale_ * dot;
        if (in.is_biased()) score += in.bias_of(head, begin, row, key);
      }
      scores[key - begin] = score;
      largest = std::max(largest, score);
    }

    std::fill(sum, sum + head_dim_, 0.0);
    double total = 0;
    for (int64_t key = begin; key < end; ++key) {
      if (!attended(in.mask, key)) continue;
      const double weight = std::exp(scores[key - begin] - largest);
      total += weight;
      for (int64_t d = 0; d < head_dim_; ++d) sum[d] += weight * number(in.v, key * width + value_offset + d);
    }
    for (int64_t d = 0; d < head_dim_; ++d) out[d] = total == 0 ? 0.0f : static_cast<float>(sum[d] / total);
  }

  void attend_in_eight_bits(const Operands& in, int64_t row, int64_t begin, int64_t end, int64_t head, std::byte* scratch,
                            float* out) const {
    if (begin == end) {  // where the row of an empty last sequence does not exist
      std::fill_n(out, head_dim_, 0.0f);
      return;
    }
    const int64_t width = in.q.shape.back();
    const int64_t key_offset = head * head_dim_ + (packed_qkv_ ? heads_ * head_dim_ : 0);
    const int64_t value_offset = head * head_dim_ + (packed_qkv_ ? 2 * heads_ * head_dim_ : 0);
    const auto copy = [this](const TensorView& from, int64_t first, float* to) {
      for (int64_t d = 0; d < head_dim_; ++d) to[d] = static_cast<float>(number(from, first + d));
    };
    float* const q = reinterpret_cast<float*>(scratch);
    float *const k = q + head_dim_, *const v = k + (end - begin) * head_dim_, *const bias = v + (end - begin) * head_dim_;
    copy(in.q, row * width + head * head_dim_, q);
    int64_t keys = 0;
    for (int64_t key = begin; key < end; ++key) {
      if (!attended(in.mask, key)) continue;
      copy(in.k, key * width + key_offset, k + keys * head_dim_);
      copy(in.v, key * width + value_offset, v + keys * head_dim_);
      if (in.is_biased()) bias[keys] = static_cast<float>(in.bias_of(head, begin, row, key));
      ++keys;
    }
    const std::span<int8_t> integers(reinterpret_cast<int8_t*>(bias + (end - begin)), attend_int8_scratch(head_dim_));
    in_eight_bits_({std::span<const float>(q, static_cast<size_t>(head_dim_)), static_cast<float>(scale_ * std::numbers::log2e),
                    keys, k, v, in.is_biased() ? bias : nullptr},
                   integers, out);
  }

  int64_t heads_;
  double scale_;
  void (*in_eight_bits_)(const AttentionRow& row, std::span<int8_t> scratch, float* out);  // nullptr: in floats
  bool packed_qkv_;
  int64_t head_dim_;
  RowOutput output_;
};

}  // namespace

PrepareResult prepare_attention(const KernelRequest& request) {
  return Preparation{std::make_unique<Attention>(request), "plain loops"};
}

}  // namespace bertie::reference
