#include "quant/attention_int8.h"

#include "quant/attend_eight_bits.h"

namespace bertie {
namespace {

struct Int8Format {
  using Sum = int32_t;
  static Sum weight(float x) { return static_cast<Sum>(attention_weight(x)); }
  static float decay(float x) { return attention_decay(x); }
  static Sum value(float x, float largest) { return to_int8(x, largest); }
  static float scale(float largest) { return largest / kInt8Largest; }
};

}  // namespace

void attend_int8(const AttentionRow& row, std::span<int8_t> scratch, float* out) {
  attend_eight_bits<Int8Format>(row, scratch, out);
}

}  // namespace bertie
