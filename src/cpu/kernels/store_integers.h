// Rows of floats stored as eight-bit integers.
#pragma once

#include "cpu/kernels/float_type.h"
#include "cpu/kernels/math.h"

namespace bertie::cpu::BERTIE_ISA {

// value(i, count): the vector at element i, held already.
template <typename Value>
BERTIE_INLINE void store_values(int8_t* values, int64_t extent, Value value) {
  int64_t i = 0;
  for (; i + 16 <= extent; i += 16) store_i8(values + i, round_to_int(value(i, 16)));
  if (i < extent) {
    int8_t rest[16];
    store_i8(rest, round_to_int(value(i, extent - i)));
    __builtin_memcpy(values + i, rest, static_cast<size_t>(extent - i));
  }
}

// By fixed scales. Not inlined: the GEMM's epilogues are compiled once for each activation.
[[maybe_unused]] __attribute__((noinline)) static void store_integers(const float* floats, int64_t count, const float* inverse,
                                                                      const float* offset, int8_t* to) {
  store_values(
      to, count, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
        return held(fused(load_up_to_16(floats + i, lanes), load_up_to_16(inverse + i, lanes), load_up_to_16(offset + i, lanes)));
      });
}

}  // namespace bertie::cpu::BERTIE_ISA
