#include "quant/attention_fp8.h"

#include "quant/attend_eight_bits.h"
#include "quant/fp8.h"

namespace bertie {
namespace {

float rounded(float x) { return fp8_to_float(float_to_fp8(x)); }

struct Fp8Format {
  using Sum = float;
  static Sum weight(float x) { return rounded(kAttentionFp8WeightOne * std::exp2(x)); }
  static float decay(float x) { return std::exp2(x); }
  static Sum value(float x, float largest) {
    if (largest == 0) return 0;
    return rounded(x * std::fmin(kFp8Largest / largest, std::numeric_limits<float>::max()));
  }
  static float scale(float largest) { return largest / kFp8Largest; }
};

}  // namespace

void attend_fp8(const AttentionRow& row, std::span<int8_t> scratch, float* out) {
  attend_eight_bits<Fp8Format>(row, scratch, out);
}

}  // namespace bertie
