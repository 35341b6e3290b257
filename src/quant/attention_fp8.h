// Attention in fp8, softmax(scale q k^T + bias) v of one head and one row of q: weights and values in e4m3. Scores are attention_int8.h's, of
// integers: q and k rounded to three bits of mantissa cost more than all else in eight bits (docs/design/eight-bit-attention.md). Blocks of keys, m
// and m' are that definition's too:
//
//   weight_j  = e4m3(256 * 2^(score_j - m))
//   decay     = 2^(m' - m)
//   total     = fma(total, decay, sum of weight_j)         the first block: the sum alone
//   value_jd  = e4m3(v_jd * min(448 / largest_d, the largest float))       largest_d: the largest magnitude of the block's column d
//   result_d  = fma(sum of weight_j value_jd, largest_d / 448, result_d * decay)      the first block: the product alone
//
// and in the end result_d * (1 / total). The total is of the rounded weights, so that they add up to one. Sums and powers of two are those of the
// machine: results agree within kAttentionFp8Agreement of their norm, not bit for bit. Where q or a key is not finite the row is NaN, and where a
// value is not its column is.
#pragma once

#include "quant/attention_int8.h"

namespace bertie {

inline constexpr float kAttentionFp8WeightOne = 256.0f;
inline constexpr double kAttentionFp8Agreement = 2e-3;  // a weight near the middle of two codes may take either

// out [D]; of no keys: zeros. `scratch`: attend_int8_scratch.
void attend_fp8(const AttentionRow& row, std::span<int8_t> scratch, float* out);

}  // namespace bertie
