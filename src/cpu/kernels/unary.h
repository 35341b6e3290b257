// A function of each element.
#pragma once

#include <cstdint>

namespace bertie::cpu {
enum class UnaryFunction : uint8_t { relu, silu, tanh, sigmoid, erf, exp, sqrt, reciprocal, neg, abs, gelu, gelu_tanh };
}

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {
// `out` may be x.
void unary(UnaryFunction function, const float* x, float* out, int64_t count);
}  // namespace bertie::cpu::BERTIE_ISA
#endif
