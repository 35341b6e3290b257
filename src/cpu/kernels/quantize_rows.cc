#include "cpu/kernels/quantize_rows.h"

#include "cpu/kernels/store_integers.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

// The largest magnitude; NaN where there is one: as integers the bits of magnitudes are ordered, NaN above infinity.
float largest_magnitude(const float* x, int64_t extent) {
  const auto magnitude = [x](int64_t i, int64_t count) __attribute__((always_inline)) {
    return bits(abs(load_up_to_16(x + i, count)));
  };
  IVec16 first = broadcast_int(0), second = first;
  int64_t i = 0;
  for (; i + 32 <= extent; i += 32) {
    first = max(first, magnitude(i, 16));
    second = max(second, magnitude(i + 16, 16));
  }
  for (; i < extent; i += 16) first = max(first, magnitude(i, extent - i));
  alignas(64) int32_t lanes[16];
  store_int(lanes, max(first, second));
  int32_t largest = 0;
  for (const int32_t lane : lanes) largest = lane > largest ? lane : largest;
  float result;
  __builtin_memcpy(&result, &largest, sizeof result);
  return result;
}

}  // namespace

void quantize_rows(const QuantizeRows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* x = rows.x + row * rows.x_stride;
    int8_t* values = rows.values + row * rows.extent;
    if (!rows.scales) {
      store_integers(x, rows.extent, rows.inverse, rows.offset, values);
      continue;
    }
    const float largest = largest_magnitude(x, rows.extent);
    const float factor = 127.0f / largest;
    rows.scales[row] = largest / 127.0f;
    const auto scaled = [ x, factor ](int64_t i, int64_t count) __attribute__((always_inline)) {
      return load_up_to_16(x + i, count) * broadcast(factor);
    };
    if (factor > 0 && factor < __builtin_inff()) {
      store_values(values, rows.extent, scaled);  // |value| rounds to at most 127
    } else if (largest == 0) {
      __builtin_memset(values, 0, static_cast<size_t>(rows.extent));
    } else {  // so small that the factor overflows, or not finite
      store_values(
          values, rows.extent, [&](int64_t i, int64_t count) __attribute__((always_inline)) { return held(scaled(i, count)); });
    }
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
