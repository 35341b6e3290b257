// A function of two tensors' elements.
#pragma once

#include <cstdint>

namespace bertie::cpu {

enum class BinaryFunction : uint8_t { add, sub, mul, div, min, max };

// out[r, i] = function(a[r, i], b[r, i]). A row stride of 0 gives every row the same operand; where `scalar`, every element too.
struct BinaryRows {
  struct Operand {
    const float* data;
    int64_t row_stride;
    bool scalar;
  };
  BinaryFunction function;
  Operand a, b;
  float* out;  // [rows, extent]
  int64_t extent;
};

}  // namespace bertie::cpu

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {
void elementwise(const BinaryRows& rows, int64_t begin, int64_t end);
}  // namespace bertie::cpu::BERTIE_ISA
#endif
