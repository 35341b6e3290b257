// Four floats at once: what every target has registers for, and compilers make of loops alone at best.
#pragma once

#include <cstdint>
#include <cstring>

namespace bertie {

using FourFloats [[gnu::vector_size(16)]] = float;
using FourWords [[gnu::vector_size(16)]] = int32_t;

// Of any alignment.
inline FourFloats load_four(const float* from) {
  FourFloats floats;
  std::memcpy(&floats, from, sizeof(floats));
  return floats;
}

}  // namespace bertie
