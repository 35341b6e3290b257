// The one definition of attention in eight bits, softmax(scale q k^T + bias) v of one head and one row of q. Rows of q and k and columns
// of v become integers as int8.h says, sums of their products are exact in 32 bits, all else is float32, each operation rounded once:
//
//   score_j   = float(sum_j) * k_scale_j * q_factor        with a bias: fma(float(sum_j) * k_scale_j, q_factor, bias_j * log2(e))
//                                                          q_factor = q_scale * (scale log2(e)); each row of q and of k has its scale
//
// The keys that are attended to are taken in blocks of kAttentionInt8Keys, from the sequence's first. In a block a column of v has a
// scale, and, m being the largest score so far (this block's among them; m' before it), a key weighs 0 .. 255:
//
//   weight_j  = attention_weight(score_j - m)              without a bias: of fma(float(sum_j) * k_scale_j, q_factor, -m)
//   decay     = attention_decay(m' - m)
//   total     = fma(total, decay, sum of weight_j)         the first block: the sum alone
//   result_d  = fma(float(sum of weight_j v_jd), v_scale_d, result_d * decay)      the first block: the product alone
//
// and in the end result_d * (1 / total). The total is of the rounded weights, so that they add up to one. A result has the same bits on
// every machine and in every batch. Against exact arithmetic on the same integers a weight is off by kAttentionWeightError of 255 at most.
// Where q or a key is not finite the row is NaN, and where a value is not its column is.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>

#include "quant/int8.h"

namespace bertie {

inline constexpr int64_t kAttentionInt8Keys = 128;
inline constexpr float kAttentionWeightOne = 255.0f;
inline constexpr double kAttentionWeightError = 0.53;

// 255 * 2^f on [-1/2, 1/2] within 1.1e-4 of it, from the constant term up; exact at 0.
inline constexpr float kAttentionPower[] = {255.0f, 176.787153f, 61.7638907f, 14.0273156f};
inline constexpr float kAttentionLeastWeight = -12.0f;  // weighs nothing
inline constexpr float kAttentionLeastDecay = -126.0f;

// 255 * 2^x for x from `lowest` to 0, and as at these beyond them (what rounding leaves above 0); NaN as `lowest`.
inline float attention_power(float x, float lowest) {
  constexpr float kRounder = 0x1.8p23f;  // leaves round(x) in the low bits
  x = std::min(x > lowest ? x : lowest, 0.0f);
  const float shifted = x + kRounder, fraction = x - (shifted - kRounder);
  float power = kAttentionPower[3];
  for (int i = 2; i >= 0; --i) power = std::fma(power, fraction, kAttentionPower[i]);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(power) + (std::bit_cast<uint32_t>(shifted) << 23));
}

inline float attention_weight(float x) { return std::nearbyint(attention_power(x, kAttentionLeastWeight)); }

inline float attention_decay(float x) { return attention_power(x, kAttentionLeastDecay) * (1 / kAttentionWeightOne); }

struct AttentionRow {
  std::span<const float> q;  // [D]
  float factor;              // scale log2(e)
  int64_t keys;
  const float *k, *v;  // [keys, D]
  const float* bias;   // [keys], or nullptr
};
// out [D]; of no keys: zeros.
void attend_int8(const AttentionRow& row, std::span<int8_t> scratch, float* out);
// Elements of `scratch`.
inline size_t attend_int8_scratch(int64_t head_dim) { return 2 * static_cast<size_t>(head_dim); }

}  // namespace bertie
