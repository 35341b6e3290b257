// Reading float32, half and bfloat16 memory as float lanes.
#pragma once

#include <cstdint>

namespace bertie::cpu {
enum class FloatType : uint8_t { f32, f16, bf16 };
}

#ifdef BERTIE_ISA
#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {

// Up to sixteen elements from element `offset` of `data`; lanes from `count` on are zero.
template <FloatType type>
BERTIE_INLINE Vec16 read_floats(const void* data, int64_t offset, int64_t count) {
  if constexpr (type == FloatType::f32) {
    const float* p = static_cast<const float*>(data) + offset;
    return count >= 16 ? load(p) : load_partial(p, count);
  } else {
    const uint16_t* p = static_cast<const uint16_t*>(data) + offset;
    if constexpr (type == FloatType::f16) return count >= 16 ? load_f16(p) : load_f16_partial(p, count);
    return count >= 16 ? load_bf16(p) : load_bf16_partial(p, count);
  }
}

// The same for a type known at run time.
BERTIE_INLINE Vec16 read_floats(FloatType type, const void* data, int64_t offset, int64_t count) {
  switch (type) {
    case FloatType::f16: return read_floats<FloatType::f16>(data, offset, count);
    case FloatType::bf16: return read_floats<FloatType::bf16>(data, offset, count);
    default: return read_floats<FloatType::f32>(data, offset, count);
  }
}

BERTIE_INLINE void store_up_to_16(float* p, Vec16 a, int64_t count) {
  if (count >= 16) {
    store(p, a);
  } else {
    store_partial(p, a, count);
  }
}

BERTIE_INLINE Vec16 load_up_to_16(const float* p, int64_t count) { return count >= 16 ? load(p) : load_partial(p, count); }

}  // namespace bertie::cpu::BERTIE_ISA
#endif
